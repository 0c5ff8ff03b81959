"""On-policy rollouts, generalised advantages and the normalisation of returns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True)
class RolloutBatch:
    """One rollout, time and environments flattened into rows.

    Attributes:
        observation: (rows, n) float32.
        action: (rows,) int64, flat actions.
        log_prob: (rows,) under the policy that acted.
        value: (rows,) value estimates when acting.
        advantage: (rows,) generalised advantages.
        value_target: (rows,) advantage + value.
    """

    observation: Tensor
    action: Tensor
    log_prob: Tensor
    value: Tensor
    advantage: Tensor
    value_target: Tensor

    def __len__(self) -> int:
        return int(self.action.shape[0])


def generalised_advantages(
    reward: Tensor,
    value: Tensor,
    next_value: Tensor,
    terminated: Tensor,
    done: Tensor,
    *,
    gamma: float,
    gae_lambda: float,
) -> Tensor:
    """Generalised advantage estimates (Schulman et al. 2016, Eq. 16).

    Args:
        reward: (steps, envs).
        value: (steps, envs), V of the state acted in.
        next_value: (steps, envs), V of the state reached, before any reset.
        terminated: (steps, envs) bool; there is no value after it.
        done: (steps, envs) bool; terminated or truncated, no advantage flows across it.
        gamma: discount.
        gae_lambda: lambda; 0 gives the one-step TD error of Algorithm 5.

    Returns:
        (steps, envs) advantages.
    """
    delta = reward + gamma * next_value * (~terminated) - value
    advantage = torch.zeros_like(reward)
    carried = torch.zeros_like(reward[0])
    for step in range(reward.shape[0] - 1, -1, -1):
        carried = delta[step] + gamma * gae_lambda * carried * (~done[step])
        advantage[step] = carried
    return advantage


class ReturnNormaliser:
    """Divides rewards by the running standard deviation of the discounted return.

    A raw value loss starves a trunk that actor and critic share; unit returns do not.

    Args:
        num_envs: environments whose returns are tracked.
        gamma: discount of the return.
        enabled: False leaves rewards as they are.
    """

    def __init__(self, num_envs: int, gamma: float, *, enabled: bool = True) -> None:
        self.gamma = gamma
        self.enabled = enabled
        self.returns = np.zeros(num_envs)
        self.count = 1e-4
        self.mean = 0.0
        self.variance = 1.0

    def __call__(self, reward: NDArray[np.float64], done: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Update with one step's rewards (num_envs,) and return them normalised."""
        if not self.enabled:
            return reward
        self.returns = self.returns * self.gamma + reward
        count = self.returns.size
        mean, variance = float(self.returns.mean()), float(self.returns.var())
        delta, total = mean - self.mean, self.count + count
        self.variance = (
            self.variance * self.count + variance * count + delta**2 * self.count * count / total
        ) / total
        self.mean += delta * count / total
        self.count = total
        self.returns[done] = 0.0
        scaled: NDArray[np.float64] = reward / np.sqrt(self.variance + 1e-8)
        return scaled

    def state_dict(self) -> dict[str, Any]:
        """Everything that is needed to go on."""
        return {
            "returns": self.returns.copy(),
            "count": self.count,
            "mean": self.mean,
            "variance": self.variance,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a state of ``state_dict``."""
        self.returns = np.array(state["returns"], dtype=np.float64)
        self.count = float(state["count"])
        self.mean = float(state["mean"])
        self.variance = float(state["variance"])
