"""Refutations: what should pass passes, and an estimate that cannot be right does not."""

from __future__ import annotations

import numpy as np
import pytest

from causal_rl.effects import EffectEstimator, make_estimator
from causal_rl.effects.refutation import REFUTATIONS, Refutation, refute
from causal_rl.graphs import CausalGraph

RNG = np.random.default_rng(0)
N = 400
X = RNG.normal(size=(N, 2))
T = (RNG.random(N) < 1 / (1 + np.exp(-X[:, 0]))).astype(int)
Y = X[:, 0] + 2.0 * T + RNG.normal(size=N)


def by_name(results: tuple[Refutation, ...]) -> dict[str, Refutation]:
    return {result.name: result for result in results}


def test_a_sound_estimate_passes() -> None:
    estimator = make_estimator("aipw").fit(X, T, Y)
    ticks: list[int] = []
    found = refute(estimator, X, T, Y, draws=4, progress=ticks.append)
    results = by_name(found[0, 1])
    assert tuple(results) == tuple(REFUTATIONS)
    assert ticks == list(range(1, 13))
    assert results["placebo treatment"].expected == 0.0
    assert abs(results["placebo treatment"].mean) < 0.3
    for name in ("random common cause", "data subset"):
        assert results[name].expected == estimator.ate()
        assert results[name].mean == pytest.approx(estimator.ate(), abs=0.2)
    assert all(result.passed for result in results.values())
    again = refute(estimator, X, T, Y, draws=4)
    assert again == found


class Wrong(EffectEstimator):
    """Says 1 whatever the rows, and a little more for every column."""

    def _fit(self, X: np.ndarray, t: np.ndarray, y: np.ndarray) -> None:
        self.answer = float(X.shape[1]) - 1.0

    def _effect(self, X: np.ndarray, t0: int, t1: int) -> np.ndarray:
        return np.full(len(X), self.answer)


def test_an_estimate_that_looks_at_nothing_is_refuted() -> None:
    results = by_name(refute(Wrong().fit(X, T, Y), X, T, Y, draws=3)[0, 1])
    assert not results["placebo treatment"].passed
    assert not results["random common cause"].passed
    assert results["data subset"].passed


def test_a_graph_gets_the_new_cause_and_several_arms_are_compared() -> None:
    arms = np.arange(N) % 3
    edges = np.zeros((4, 4), dtype=bool)
    edges[0, [2, 3]] = edges[2, 3] = True
    graph = CausalGraph(edges, names=["a", "b", "dose", "cure"])
    estimator = make_estimator("aipw", graph=graph, treatment="dose", outcome="cure")
    estimator.fit(X, arms, Y + arms, names=("a", "b"))
    pairs = ((0, 1), (0, 2))
    found = refute(estimator, X, arms, Y + arms, draws=2, contrasts=pairs)
    assert set(found) == set(pairs)
    assert by_name(found[0, 2])["data subset"].expected == estimator.ate(t1=2)


def test_bad_input() -> None:
    estimator = make_estimator("aipw")
    with pytest.raises(RuntimeError, match="call fit first"):
        refute(estimator, X, T, Y)
    with pytest.raises(ValueError, match="draws is 1"):
        refute(estimator.fit(X, T, Y), X, T, Y, draws=1)
