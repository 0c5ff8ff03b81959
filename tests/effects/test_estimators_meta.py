"""Meta-learners, their regressions, learned graphs and averages over graphs."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pytest

from causal_rl.discovery import EdgePrior, GraphLearner, Transitions
from causal_rl.effects import list_estimators, make_estimator
from causal_rl.effects.propensity import fit_propensity
from causal_rl.effects.regressors import fit_regressor
from causal_rl.graphs import CausalGraph

RNG = np.random.default_rng(0)
N = 400
X = RNG.normal(size=(N, 2))
T = (RNG.random(N) < 1 / (1 + np.exp(-X[:, 0]))).astype(int)
Y = X @ [1.0, -0.5] + 2.0 * T + RNG.normal(scale=0.1, size=N)
NAMES = ("X1", "X2", "t", "y")


def graph(*edges: tuple[str, str], names: tuple[str, ...] = NAMES) -> CausalGraph:
    adjacency = np.zeros((len(names),) * 2, dtype=bool)
    for cause, effect in edges:
        adjacency[names.index(cause), names.index(effect)] = True
    return CausalGraph(adjacency, names=names)


class Told(GraphLearner):
    """Learns what it was told, and keeps the rows."""

    name: ClassVar[str] = "told"
    obeys: ClassVar[frozenset[str]] = frozenset({"forbidden"})

    def __init__(self, found: CausalGraph) -> None:
        super().__init__()
        self.found = found

    def update(self, transitions: Transitions) -> CausalGraph:
        self.seen, self.rules = transitions, self.prior
        return self.found


@pytest.mark.parametrize("name", ["s-learner", "t-learner", "x-learner"])
def test_meta_learners_recover_a_constant_effect(name: str) -> None:
    found = make_estimator(name, regressor="ridge").fit(X, T, Y)
    np.testing.assert_allclose(found.effect(X), 2.0, atol=0.1)
    low, high = found.ate_interval()
    assert low < found.ate() < high
    assert high - low < 0.1
    boosted = make_estimator(name).fit(X, T, Y)
    assert boosted.ate() == pytest.approx(2.0, abs=0.3)


@pytest.mark.parametrize("name", ["t-learner", "x-learner"])
def test_an_effect_linear_in_x_is_found_exactly_without_noise(name: str) -> None:
    effect = 1.0 + X[:, 1]
    found = make_estimator(name, regressor="ridge").fit(X, T, X[:, 0] + T * effect)
    np.testing.assert_allclose(found.effect(X), effect, atol=1e-2)


@pytest.mark.parametrize("name", ["s-learner", "t-learner", "x-learner"])
def test_arms_beyond_two_have_effects_of_their_own(name: str) -> None:
    arms = RNG.integers(0, 3, N)
    y = X[:, 0] + np.array([0.0, 1.0, -3.0])[arms]
    found = make_estimator(name, regressor="ridge").fit(X, arms, y)
    assert found.ate(t0=0, t1=1) == pytest.approx(1.0, abs=0.02)
    assert found.ate(t0=1, t1=2) == pytest.approx(-4.0, abs=0.02)


@pytest.mark.parametrize("name", ["s-learner", "t-learner", "x-learner"])
def test_effects_follow_the_unit_of_the_outcome_and_not_those_of_covariates(name: str) -> None:
    plain = make_estimator(name, regressor="ridge").fit(X, T, Y).effect(X)
    moved = make_estimator(name, regressor="ridge").fit(X * [100.0, 0.01] + 7.0, T, 3.0 * Y - 5.0)
    np.testing.assert_allclose(moved.effect(X * [100.0, 0.01] + 7.0), 3.0 * plain, atol=1e-8)


@pytest.mark.parametrize(
    ("name", "regressor"),
    [("s-learner", "ridge"), ("t-learner", "boosting"), ("x-learner", "ridge")],
)
def test_with_nothing_to_adjust_for_it_is_the_difference_of_means(
    name: str, regressor: str
) -> None:
    found = make_estimator(name, regressor=regressor, graph=graph(("t", "y"))).fit(X, T, Y)
    gap = Y[T == 1].mean() - Y[T == 0].mean()
    assert found.adjustment_ is not None
    assert found.adjustment_.covariates == ()
    np.testing.assert_allclose(found.effect(X), gap, rtol=1e-2)


def test_ridge_penalty_minimises_the_leave_one_out_error() -> None:
    rows, target = X[:15], Y[:15]
    centre, spread = rows.mean(axis=0), rows.std(axis=0)
    Z, w = (rows - centre) / spread, target - target.mean()

    def weights(penalty: float, kept: np.ndarray) -> tuple[np.ndarray, float]:
        A, b = Z[kept], w[kept]
        inner = A - A.mean(axis=0)
        slopes = np.linalg.solve(inner.T @ inner + penalty * np.eye(2), inner.T @ (b - b.mean()))
        return slopes, float(b.mean() - A.mean(axis=0) @ slopes)

    def error(penalty: float) -> float:
        total = 0.0
        for i in range(len(w)):
            slopes, base = weights(penalty, np.arange(len(w)) != i)
            total += (w[i] - Z[i] @ slopes - base) ** 2
        return total

    penalties = np.logspace(-4, 4, 25) * len(w)
    best = min(penalties, key=error)
    expected = target.mean() + Z @ weights(best, np.ones(len(w), dtype=bool))[0]
    np.testing.assert_allclose(fit_regressor("ridge", rows, target)(rows), expected, atol=1e-9)


def test_propensities_are_those_of_the_logistic_model() -> None:
    rng = np.random.default_rng(1)
    rows = rng.normal(size=(20_000, 2))
    truth = 1 / (1 + np.exp(-(0.5 + rows @ [1.0, -2.0])))
    arms = (rng.random(len(rows)) < truth).astype(np.int64)
    found = fit_propensity(rows, arms, 2)(rows)
    np.testing.assert_allclose(found.sum(axis=1), 1.0)
    assert np.abs(found[:, 1] - truth).max() < 0.05


def test_the_learner_of_the_graph_is_told_that_the_outcome_is_no_cause_and_no_more() -> None:
    learner = Told(graph(("X1", "t"), ("X1", "y"), ("t", "y"), ("t", "X2")))
    found = make_estimator("t-learner", regressor="ridge", graph=learner).fit(X, T, Y)
    assert learner.seen.names == NAMES
    np.testing.assert_allclose(learner.seen.next_state.std(axis=0), 1.0)
    assert learner.rules == EdgePrior(forbidden=frozenset({("y", "t")}))
    assert learner.prior is None
    assert found.graph_ == learner.found
    assert found.adjustment_ is not None
    assert found.adjustment_.covariates == ("X1",)
    assert found.ate_interval(X)[0] < 2.0


def test_a_learned_graph_may_come_from_a_name() -> None:
    found = make_estimator("s-learner", regressor="ridge", graph="empty").fit(X, T, Y)
    assert found.graph_ == CausalGraph.empty(NAMES)
    assert found.adjustment_ is not None
    assert found.adjustment_.no_effect


def test_by_a_learned_graph_a_cause_of_the_treatment_does_not_answer_to_it() -> None:
    found = make_estimator("t-learner", graph=Told(graph(("y", "X1"), ("X1", "t"), ("y", "t"))))
    with pytest.warns(UserWarning, match="y a cause of t"):
        found.fit(X, T, Y)
    assert not found.effect(X).any()
    assert found.ate() == 0.0
    assert found.ate_interval() == (0.0, 0.0)
    assert found.adjustment_ is None


def test_posterior_average_of_a_clear_graph_is_the_estimate_under_it() -> None:
    rng = np.random.default_rng(2)
    c = rng.uniform(-2, 2, 600)
    t = (rng.random(600) < 1 / (1 + np.exp(-3 * np.sin(2 * c)))).astype(int)
    collider = np.tanh(t + rng.normal(size=600)) + 0.3 * rng.normal(size=600)
    y = c**2 + 2.0 * t + 0.5 * rng.normal(size=600)
    table = np.column_stack([c, collider])
    made = make_estimator(
        "posterior-average",
        estimator="t-learner",
        estimator_options={"regressor": "ridge"},
        draws=15,
    )
    found = made.fit(table, t, y)
    assert sum(each.weight for each in found.sets_) == pytest.approx(1.0)
    shares = {each.adjustment and each.adjustment.covariates: each.weight for each in found.sets_}
    alone = sum(
        weight
        * make_estimator("t-learner", regressor="ridge")
        .fit(table[:, [int(name[1:]) - 1 for name in names]], t, y)
        .ate()
        for names, weight in shares.items()
        if names
    )
    rest = shares.get((), 0.0) * (y[t == 1].mean() - y[t == 0].mean())
    assert found.ate() == pytest.approx(alone + rest, abs=1e-9)
    # The bootstrap refits the estimators of all the sets that were drawn.
    low, high = found.ate_interval(draws=5)
    assert low < found.ate() < high


@pytest.mark.parametrize(
    ("name", "options", "error", "says"),
    [
        ("t-learner", {"regressor": "forest"}, ValueError, "regressor is 'forest'"),
        ("t-learner", {"graph": "gp-netwrk"}, ValueError, "did you mean 'gp-network'"),
        ("t-learner", {"graph": 3}, TypeError, "graph must be a CausalGraph, a graph learner"),
        ("posterior-average", {"graph": "pc"}, ValueError, "needs a posterior"),
        ("posterior-average", {"draws": 0}, ValueError, "draws is 0"),
        ("posterior-average", {"estimator": "posterior-average"}, ValueError, "that is averaged"),
        ("posterior-average", {"estimator_options": {"graph": 1}}, ValueError, "'graph'"),
        ("posterior-average", {"estimator_options": {"depth": 1}}, ValueError, "no option 'depth'"),
        ("cat", {}, ValueError, "graph is None"),
    ],
)
def test_bad_options_are_named(
    name: str, options: dict[str, Any], error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        make_estimator(name, **options)


def test_a_cyclic_learned_graph_is_refused() -> None:
    with pytest.raises(ValueError, match="cycle"):
        make_estimator("t-learner", graph="full").fit(X, T, Y)


def test_the_list_has_what_the_table_compares() -> None:
    wanted = "ecam s-learner t-learner x-learner transformer cat attn-mask catt irm tarnet cfr-wass"
    assert set(wanted.split()) <= set(list_estimators())
