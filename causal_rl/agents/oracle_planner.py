"""Planning in a known structural causal model: the oracle that a learned policy is held against."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from causal_rl.agents.plan_simulation import ActionEffects, Plan, plan_returns
from causal_rl.envs import SCMEnvSpec
from causal_rl.options import check_integer


class SCMPlanner:
    """The oracle: model-predictive control in the true model by exhaustive search.

    For every state, every legal action is tried: it is repeated for ``horizon`` steps of the true
    model under a fixed bank of exogenous noise, scrambled Sobol points shared by all actions and
    states, and the action of the highest mean return is taken, once; the next step plans anew.
    (A second look at the best few through sampled next states was measured and gained nothing.)

    Returns are normalised by it, so that what it plans stays as it is; an agent plans by
    `causal_rl.agents.planning.ModelPlanner`.

    Args:
        spec: the world, mechanisms and reward known.
        horizon: steps for which an action is repeated, at least 1; 1 is greedy.
        samples: noise samples per step, a power of two.
        seed: seed of the noise bank.

    Raises:
        TypeError: horizon no integer.
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
        check_integer("horizon", horizon, least=1)
        if samples < 1 or samples & (samples - 1):
            raise ValueError(f"samples must be a power of two, got {samples}")
        self.spec = spec
        self.horizon = horizon
        self.actions = spec.interventions.all_actions()
        self._effects = ActionEffects(*spec.action_tables.decode(self.actions))
        from scipy.stats import qmc

        points = qmc.Sobol(horizon * spec.scm.n, rng=np.random.default_rng(seed)).random(samples)
        # Scrambled points may touch 0, where unbounded noise has no finite value.
        uniform = np.clip(points, 1e-9, 1 - 1e-9).reshape(samples, horizon, spec.scm.n)
        self._noise = np.stack(
            [spec.scm.noise_from_uniforms(uniform[:, step]) for step in range(horizon)]
        )
        # (1, actions, horizon): each action held.
        self._plans = np.arange(len(self.actions))[None, :, None].repeat(horizon, axis=2)

    def plan(self, values: NDArray[np.float64]) -> Plan:
        """Choose an action for every state.

        Args:
            values: (batch, n) values of all variables of the model, hidden ones and contexts
                included.

        Returns:
            Actions and their expected returns.
        """
        scores = plan_returns(self.spec.scm, values, self._plans, self._effects, self._noise)
        best = scores.argmax(axis=1)
        return Plan(self.actions[best], scores[np.arange(len(best)), best])
