"""Planning in a known structural causal model: the oracle that a learned policy is held against."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from causal_rl.envs import SCMEnvSpec

# Rows simulated at a time: few enough to stay in cache, many enough to hide the overhead of NumPy.
_CHUNK_ROWS = 6_000


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
    model under a fixed bank of exogenous noise, scrambled Sobol points shared by all actions and
    states, and the action of the highest mean return is taken, once; the next step plans anew.
    (A second look at the best few through sampled next states was measured and gained nothing.)

    Args:
        spec: the world, mechanisms and reward known.
        horizon: steps for which an action is repeated, at least 1; 1 is greedy.
        samples: noise samples per step, a power of two.
        seed: seed of the noise bank.

    Raises:
        ValueError: horizon below one, or samples no power of two.
    """

    def __init__(
        self,
        spec: SCMEnvSpec,
        *,
        horizon: int = 1,
        samples: int = 32,
        seed: int = 0,
    ) -> None:
        if horizon < 1:
            raise ValueError(f"horizon must be at least 1, got {horizon}")
        if samples < 1 or samples & (samples - 1):
            raise ValueError(f"samples must be a power of two, got {samples}")
        self.spec = spec
        self.horizon = horizon
        self.actions = spec.interventions.all_actions()
        self._do_mask, self._do_value, self._cost = spec.action_tables.decode(self.actions)
        from scipy.stats import qmc

        points = qmc.Sobol(horizon * spec.scm.n, rng=np.random.default_rng(seed)).random(samples)
        # Scrambled points may touch 0, where unbounded noise has no finite value.
        uniform = np.clip(points, 1e-9, 1 - 1e-9).reshape(samples, horizon, spec.scm.n)
        self._noise = np.stack(
            [spec.scm.noise_from_uniforms(uniform[:, step]) for step in range(horizon)]
        )

    def plan(self, values: NDArray[np.float64]) -> Plan:
        """Choose an action for every state.

        Args:
            values: (batch, n) values of all variables of the model, hidden ones and contexts
                included.

        Returns:
            Actions and their expected returns.
        """
        scores = self._scores(values)
        best = scores.argmax(axis=1)
        return Plan(self.actions[best], scores[np.arange(len(best)), best])

    def _scores(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """(batch, actions) mean return of repeating each action over the horizon."""
        count, samples = len(self.actions), self._noise.shape[1]
        chunk = max(1, _CHUNK_ROWS // (count * samples))
        parts = []
        for start in range(0, len(values), chunk):
            rows = values[start : start + chunk]
            previous = np.repeat(rows, count * samples, axis=0)
            action = np.tile(np.repeat(np.arange(count), samples), len(rows))
            mask, value, cost = self._do_mask[action], self._do_value[action], self._cost[action]
            total = np.zeros(len(previous))
            for noise in self._noise:
                tiled = np.tile(noise, (len(previous) // samples, 1))
                current = self.spec.scm.step(previous, tiled, None, mask, value)
                total += self.spec.scm.reward_value(previous, current) - cost
                previous = current
            parts.append(total.reshape(len(rows), count, samples).mean(axis=-1))
        return np.concatenate(parts)
