"""A model of the next state without a graph: every variable on the state and the intervention."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from causal_rl.agents.evaluation import Controller
from causal_rl.discovery import Transitions
from causal_rl.discovery.basis import FeatureMap, wide_basis_functions
from causal_rl.envs import SCMEnvSpec

FloatArray = NDArray[np.float64]

_PENALTIES = 10.0 ** np.arange(-4.0, 5.0)
_SAMPLES = 16


class DenseDynamics:
    """Ridge regression of all next values at once on functions of all that is known beforehand.

    The features are eight functions of every variable before the step, and of every value set
    together with the mark that it was set, so that each intervention has an effect of its own on
    each variable.

    Args:
        spec: the world; its reward, costs and actions are read, its model is not.
    """

    def __init__(self, spec: SCMEnvSpec) -> None:
        self.spec = spec
        self.weights = np.zeros((0, 0))
        self.sigma = np.zeros(0)
        self._map: FeatureMap | None = None

    def fit(self, transitions: Transitions) -> DenseDynamics:
        """Fit all weights on these rows."""
        self._map = FeatureMap.of(transitions.state)
        features = self._rows(transitions)
        zero = np.zeros((features.shape[1], transitions.n))
        self._update(features, transitions.next_state, zero)
        return self

    def refit(self, transitions: Transitions) -> None:
        """Fit all weights anew, drawn towards the old ones; the penalty by leave-one-out error.

        Each variable has a penalty of its own, and may have its old prediction changed by a line
        before it, as the mechanisms of the causal model may.
        """
        features = self._rows(transitions)
        target, prior = transitions.next_state, self.weights.copy()
        old = features @ prior
        rows = len(target)
        for j in range(target.shape[1]):
            line = np.column_stack([np.ones(rows), old[:, j]])
            gram = line.T @ line + 1e-6 * np.eye(2)
            solved = np.linalg.solve(gram, line.T)
            weight = solved @ target[:, j]
            left = (target[:, j] - line @ weight) / (1.0 - np.einsum("nf,fn->n", line, solved))
            if (left**2).mean() < ((target[:, j] - old[:, j]) ** 2).mean():
                prior[:, j] *= weight[1]
                prior[0, j] += weight[0]
        self._update(features, target, prior)

    def mean(
        self, state: FloatArray, do_target: NDArray[np.bool_], do_value: FloatArray
    ) -> FloatArray:
        """(B, n) expected next values."""
        predicted = self._features(state, do_target, do_value) @ self.weights
        return np.where(do_target, do_value, predicted)

    def controller(self, seed: int) -> Controller:
        """Takes the action of the highest expected reward of the next step."""
        spec = self.spec
        actions = spec.interventions.all_actions()
        mask, value, cost = spec.action_tables.decode(actions)
        noise = np.random.default_rng(seed).normal(size=(_SAMPLES, len(self.sigma))) * self.sigma
        noise[:, [kind == "context" for kind in spec.observed_kinds]] = 0.0
        count = len(actions)

        def control(
            observation: NDArray[np.floating[Any]], values: FloatArray
        ) -> NDArray[np.int64]:
            state = np.repeat(values, count, axis=0)
            masks, sets = np.tile(mask, (len(values), 1)), np.tile(value, (len(values), 1))
            mean = self.mean(state, masks, sets)
            total = np.zeros(len(state))
            for sample in noise:
                total += spec.scm.reward_value(state, np.where(masks, sets, mean + sample))
            score = total.reshape(len(values), count) / _SAMPLES - cost
            return np.asarray(actions[score.argmax(axis=1)])

        return control

    def _update(self, features: FloatArray, target: FloatArray, prior: FloatArray) -> None:
        """Ridge towards ``prior``, by one decomposition for all penalties and variables."""
        rest = target - features @ prior
        left, singular, right = np.linalg.svd(features, full_matrices=False)
        moment = left.T @ rest
        best = np.full(target.shape[1], np.inf)
        weights = prior.copy()
        for penalty in _PENALTIES:
            shrink = singular**2 / (singular**2 + penalty)
            leverage = (left**2) @ shrink
            error = (rest - left @ (shrink[:, None] * moment)) / (1.0 - leverage)[:, None]
            score = (error**2).mean(axis=0)
            gain = right.T @ ((shrink / np.maximum(singular, 1e-12))[:, None] * moment)
            better = score < best
            weights[:, better] = (prior + gain)[:, better]
            best = np.where(better, score, best)
        self.weights, self.sigma = weights, np.sqrt(best)

    def _rows(self, transitions: Transitions) -> FloatArray:
        return self._features(transitions.state, transitions.do_target, transitions.do_value)

    def _features(
        self, state: FloatArray, do_target: NDArray[np.bool_], do_value: FloatArray
    ) -> FloatArray:
        assert self._map is not None
        before = wide_basis_functions(self._map.standardise(state)).reshape(len(state), -1)
        marks = do_target.astype(np.float64)
        values = wide_basis_functions(self._map.standardise(do_value)) * marks[:, :, None]
        return np.hstack([np.ones((len(state), 1)), before, marks, values.reshape(len(state), -1)])
