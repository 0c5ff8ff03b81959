"""On-policy rollouts, generalised advantages and the normalisation of returns."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from causal_rl.agents.policy import ActorCritic


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


class RolloutTransitions(NamedTuple):
    """One rollout as rows, time outermost.

    Attributes:
        observation: (rows, n) float32.
        action: (rows,) int64, flat actions.
        reward: (rows,), normalised.
        reached: (rows, n), before any reset.
    """

    observation: Tensor
    action: Tensor
    reward: Tensor
    reached: Tensor


class RolloutRecorder:
    """Lets a policy act, and keeps of every step what its update needs.

    Args:
        policy: acts.
        sampler: of its actions.
        device: of the policy.
    """

    def __init__(self, policy: ActorCritic, sampler: torch.Generator, device: torch.device) -> None:
        self.policy, self.sampler, self.device = policy, sampler, device
        self._columns: defaultdict[str, list[Tensor]] = defaultdict(list)

    def act(self, observation: NDArray[np.floating]) -> NDArray[np.int64]:
        """Actions (envs, 2) of the policy, targets and value indices, for (envs, n)."""
        state = self._tensor(observation)
        action, log_prob, value = self.policy.act(state, self.sampler)
        self._append(observation=state, action=action, log_prob=log_prob, value=value)
        return self.policy.unflatten(action)

    def add(
        self,
        reward: NDArray[np.float64],
        reached: NDArray[np.floating],
        terminated: NDArray[np.bool_],
        done: NDArray[np.bool_],
    ) -> None:
        """What became of the last actions.

        Args:
            reward: (envs,), normalised.
            reached: (envs, n), the states reached, before any reset.
            terminated: (envs,); there is no value after it.
            done: (envs,); terminated or truncated.
        """
        self._append(
            reward=self._tensor(reward),
            reached=self._tensor(reached),
            terminated=torch.tensor(terminated, device=self.device),
            done=torch.tensor(done, device=self.device),
        )

    def batch(self, *, gamma: float, gae_lambda: float) -> RolloutBatch:
        """All steps, with generalised advantages (lines 15-17 of Algorithm 5).

        Args:
            gamma: discount.
            gae_lambda: see `generalised_advantages`.
        """
        stacked = {key: torch.stack(items) for key, items in self._columns.items()}
        with torch.no_grad():  # line 15, for the states reached, before any reset
            next_value = self.policy(stacked["reached"].flatten(0, 1)).value
        advantage = generalised_advantages(  # lines 16-17
            stacked["reward"],
            stacked["value"],
            next_value.view_as(stacked["value"]),
            stacked["terminated"],
            stacked["done"],
            gamma=gamma,
            gae_lambda=gae_lambda,
        )
        flat = {key: item.flatten(0, 1) for key, item in stacked.items()}
        return RolloutBatch(
            observation=flat["observation"],
            action=flat["action"],
            log_prob=flat["log_prob"],
            value=flat["value"],
            advantage=advantage.flatten(),
            value_target=advantage.flatten() + flat["value"],
        )

    def transitions(self) -> RolloutTransitions:
        """All steps as rows."""
        flat = {key: torch.cat(items) for key, items in self._columns.items()}
        return RolloutTransitions(
            flat["observation"], flat["action"], flat["reward"], flat["reached"]
        )

    def _append(self, **columns: Tensor) -> None:
        for key, item in columns.items():
            self._columns[key].append(item)

    def _tensor(self, array: NDArray[np.floating]) -> Tensor:
        # A copy: rows may be read-only, which torch tensors cannot express.
        return torch.tensor(array, dtype=torch.float32, device=self.device)


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

    @property
    def scale(self) -> float:
        """What rewards are divided by now."""
        return float(np.sqrt(self.variance + 1e-8)) if self.enabled else 1.0

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
