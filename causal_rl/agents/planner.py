"""Planning in a known structural causal model: the oracle that a learned policy is held against."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from causal_rl.envs import SCMEnvSpec

# Rows simulated at a time; bounds the planner's memory to about 100 MB for 20 variables.
_CHUNK_ROWS = 400_000


class Plan(NamedTuple):
    """What a planner chose.

    Attributes:
        action: (batch, 2) target and value index.
        value: (batch,) expected return of it over the planner's horizon.
    """

    action: NDArray[np.int64]
    value: NDArray[np.float64]


class SCMPlanner:
    """Model-predictive control by exhaustive search over single interventions.

    For every state, every legal action is tried: it is repeated for ``horizon`` steps of the true
    model under a fixed bank of antithetic exogenous noise (common random numbers), and the action
    of the highest mean return is taken, once; the next step plans anew. With ``horizon`` 1 that is
    the exact greedy policy up to the noise bank's sampling error.

    Args:
        spec: the world, mechanisms and reward known.
        horizon: steps looked ahead, at least 1.
        samples: noise samples per step, even.
        seed: seed of the noise bank.

    Raises:
        ValueError: horizon below one, or samples not a positive even number.
    """

    def __init__(
        self, spec: SCMEnvSpec, *, horizon: int = 1, samples: int = 32, seed: int = 0
    ) -> None:
        if horizon < 1:
            raise ValueError(f"horizon must be at least 1, got {horizon}")
        if samples < 2 or samples % 2:
            raise ValueError(f"samples must be a positive even number, got {samples}")
        self.spec = spec
        self.horizon = horizon
        self.actions = spec.interventions.all_actions()
        rng = np.random.default_rng(seed)
        half = rng.random((horizon, samples // 2, spec.scm.n))
        uniform = np.concatenate([half, 1.0 - half], axis=1)
        self._noise = np.stack([spec.scm.noise_from_uniforms(step) for step in uniform])
        self._samples = samples

    def plan(self, values: NDArray[np.float64]) -> Plan:
        """Choose an action for every state.

        Args:
            values: (batch, n) values of all variables of the model, hidden ones and contexts
                included.

        Returns:
            Actions and their expected returns.
        """
        per_state = len(self.actions) * self._samples
        chunk = max(1, _CHUNK_ROWS // per_state)
        scores = np.concatenate(
            [self._score(values[start : start + chunk]) for start in range(0, len(values), chunk)]
        )
        best = scores.argmax(axis=1)
        return Plan(self.actions[best], scores[np.arange(len(best)), best])

    def _score(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """(batch, actions) mean return over the horizon."""
        batch, count = len(values), len(self.actions)
        do_mask, do_value, cost = self.spec.action_tables.decode(self.actions)
        tile = (batch, 1, self._samples, 1)
        mask = np.tile(do_mask[None, :, None, :], tile).reshape(-1, values.shape[1])
        setting = np.tile(do_value[None, :, None, :], tile).reshape(-1, values.shape[1])
        previous = np.repeat(values, count * self._samples, axis=0)
        context = previous
        total = np.zeros((batch, count))
        for step in range(self.horizon):
            noise = np.tile(self._noise[step], (batch * count, 1))
            current = self.spec.scm.step(
                previous, noise, context=context, do_mask=mask, do_value=setting
            )
            reward = self.spec.scm.reward_value(previous, current)
            total += reward.reshape(batch, count, self._samples).mean(axis=-1) - cost
            previous = current
        return total
