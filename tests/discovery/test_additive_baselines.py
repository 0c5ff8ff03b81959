from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from causal_rl.discovery import Transitions, make_learner
from causal_rl.discovery.additive import (
    AdditiveModels,
    nearest,
    prune_order,
    spline_size,
)
from causal_rl.discovery.cam import cam_order
from causal_rl.discovery.prior import EdgePrior
from causal_rl.discovery.score_matching import score_jacobian_diagonal, score_order
from causal_rl.graphs import shd, topological_order
from causal_rl.scm import topology

EVERYWHERE = ~np.eye(4, dtype=bool)


def bent(rows: int = 600, seed: int = 0) -> np.ndarray:
    """X3 -> X1, X3 -> X4 <- X1, X4 -> X2: additive, bent, noises of one size."""
    rng = np.random.default_rng(seed)
    e = 0.5 * rng.normal(size=(rows, 4))
    x = np.empty((rows, 4))
    x[:, 2] = 2.0 * e[:, 2]
    x[:, 0] = 1.5 * np.sin(1.5 * x[:, 2]) + e[:, 0]
    x[:, 3] = x[:, 0] ** 2 - np.tanh(2 * x[:, 2]) + e[:, 3]
    x[:, 1] = 2 * np.cos(x[:, 3]) + e[:, 1]
    return x


BENT = [("X1", "X4"), ("X3", "X1"), ("X3", "X4"), ("X4", "X2")]


def pairs(graph) -> list[tuple[str, str]]:
    return sorted((cause, effect) for _, cause, effect in graph.edges())


@pytest.mark.parametrize(
    ("name", "options"), [("cam", {}), ("score", {"standardise": False}), ("score", {})]
)
def test_a_bent_model_is_found(name: str, options: dict):
    learner = make_learner(name, **options)
    graph = learner.fit(bent())
    assert pairs(graph) == BENT
    confidence = graph.contemporaneous_confidence
    assert np.array_equal(confidence > 0.5, graph.contemporaneous)
    assert confidence.min() >= 0
    assert confidence.max() <= 1
    assert not graph.lagged.any()


@pytest.mark.parametrize("name", ["cam", "score"])
def test_columns_in_another_order_give_the_same_graph(name: str):
    order = [2, 0, 3, 1]
    names = [f"X{i + 1}" for i in range(4)]
    turned = Transitions.from_table(bent()[:, order], names=[names[i] for i in order])
    graph = make_learner(name, standardise=False) if name == "score" else make_learner(name)
    assert pairs(graph.fit(turned)) == BENT


@pytest.mark.slow
@pytest.mark.parametrize(("name", "options"), [("cam", {}), ("score", {"standardise": False})])
def test_the_published_level_on_gaussian_processes(name: str, options: dict):
    errors = []
    for seed in range(8):
        rng = np.random.default_rng(seed)
        adjacency = topology("er", 10, rng, density=1.0)
        x = np.zeros((1000, 10))
        for j in topological_order(adjacency):
            parents = x[:, adjacency[:, j]]
            angles = parents @ rng.normal(size=(parents.shape[1], 200)) + rng.uniform(0, 7, 200)
            x[:, j] = np.cos(angles) @ rng.normal(size=200) / 10 * parents.any()
            x[:, j] += rng.normal(size=1000)
        errors.append(shd(adjacency, make_learner(name, **options).fit(x).contemporaneous))
    assert np.mean(errors) <= 2.0  # about 1.2 each; the rows themselves hide the rest


def test_the_score_of_a_gaussian_has_a_constant_jacobian():
    rng = np.random.default_rng(0)
    cause = rng.normal(size=800)
    x = np.column_stack([cause, 0.8 * cause + 0.6 * rng.normal(size=800)])
    truth = -np.diag(np.linalg.inv(np.cov(x.T)))
    middle = (np.abs(x) < 1).all(axis=1)  # Stein's estimate is shrunk where rows are rare
    estimate = np.median(score_jacobian_diagonal(x)[middle], axis=0)
    assert estimate == pytest.approx(truth, rel=0.25)


def test_the_score_does_not_see_shifts():
    x = bent(200)
    moved = score_jacobian_diagonal(x + 50.0)
    assert np.allclose(moved, score_jacobian_diagonal(x), atol=1e-6)


def test_score_order_obeys_what_is_possible():
    x = bent(300)
    assert score_order(x) in ([2, 0, 3, 1],)
    never = EVERYWHERE.copy()
    never[[0, 2, 3], 1] = False  # X2 has no parents, so it comes before what it may cause
    assert score_order(x, never)[0] == 1
    assert score_order(x[:, :1]) == [0]


def test_cam_order_obeys_what_is_possible():
    models = AdditiveModels(bent(300), 8)
    order = cam_order(models, EVERYWHERE)
    truth = np.zeros((4, 4), dtype=bool)
    truth[[2, 2, 0, 3], [0, 3, 3, 1]] = True
    assert order == topological_order(truth)
    backwards = cam_order(models, truth.T)
    assert [backwards.index(j) for j in (1, 3, 0, 2)] == [0, 1, 2, 3]
    assert cam_order(models, np.zeros((4, 4), dtype=bool)) == [0, 1, 2, 3]


@pytest.mark.parametrize("name", ["cam", "score"])
def test_priors_and_kinds_are_obeyed(name: str):
    learner = make_learner(name)
    learner.prior = EdgePrior(forbidden=frozenset({("X3", "X1")}))
    assert ("X3", "X1") not in pairs(learner.fit(bent(200)))
    learner = make_learner(name, reward_node=True)
    x = bent(200)
    data = Transitions(
        state=np.zeros(x.shape),
        next_state=x,
        reward=x[:, 0] + x[:, 1],
        kinds=["state", "context", "state", "state"],
    )
    graph = learner.fit(data)
    assert not graph.contemporaneous[:, 1].any()
    assert not graph.contemporaneous[4].any()
    assert graph.contemporaneous[0, 4]
    assert graph.contemporaneous[1, 4]


def test_additive_models_against_least_squares():
    rng = np.random.default_rng(3)
    x = rng.normal(size=(200, 3))
    x[:, 2] += np.sin(2 * x[:, 0])
    models = AdditiveModels(x, 7)
    assert models.freedom.tolist() == [6, 6, 6]

    def left(parents: list[int]) -> float:
        columns = [np.ones((200, 1))] + [cubic(x[:, p], 7) for p in parents]
        design = np.hstack(columns)
        weights = np.linalg.lstsq(design, x[:, 2], rcond=None)[0]
        return float(((x[:, 2] - design @ weights) ** 2).mean() / x[:, 2].var())

    assert models.unexplained(2, [0]) == pytest.approx(left([0]), rel=1e-6)
    assert models.unexplained_with(2, [0], [1])[0] == pytest.approx(left([0, 1]), rel=1e-6)
    assert models.unexplained_with(2, [], [1, 0]) == pytest.approx([left([1]), left([0])], rel=1e-6)
    spare = 200 - 1 - 12
    for parent, other in ((0, 1), (1, 0)):
        ratio = (left([other]) - left([0, 1])) / 6 / (left([0, 1]) / spare)
        p = models.p_values(2, [0, 1])[parent]
        assert p == pytest.approx(stats.f.sf(ratio, 6, spare), rel=1e-3)


def cubic(x: np.ndarray, size: int) -> np.ndarray:
    """Truncated powers: another basis of the same splines."""
    knots = np.quantile(x, np.linspace(0, 1, size - 2)[1:-1])
    powers = [x[:, None] ** d for d in (1, 2, 3)]
    return np.hstack([*powers, np.maximum(x[:, None] - knots, 0.0) ** 3])


def test_p_values_are_uniform_without_an_edge():
    models = AdditiveModels(np.random.default_rng(0).normal(size=(120, 200)), 6)
    p = [models.p_values(j, [j + 1])[0] for j in range(0, 200, 2)]
    assert stats.kstest(p, "uniform").pvalue > 1e-3


def test_columns_with_few_values_and_few_rows():
    rng = np.random.default_rng(0)
    coin = rng.integers(0, 2, size=300).astype(float)
    x = np.column_stack([coin, 3 * coin + rng.normal(size=300), coin])
    models = AdditiveModels(x, 10)
    assert models.freedom.tolist() == [1, 9, 1]
    assert models.p_values(1, [0])[0] < 1e-6
    assert np.isfinite(models.p_values(1, [0, 2])).all()
    assert spline_size(1000, 9, 10) == 10
    assert spline_size(200, 9, 10) == 7
    assert spline_size(50, 9, 10) == 1
    tiny = AdditiveModels(rng.normal(size=(3, 3)), 1)
    assert tiny.p_values(0, [1, 2]).tolist() == [1.0, 1.0]


def test_neighbourhoods_keep_the_best_alone():
    models = AdditiveModels(bent(), 8)
    kept = nearest(models, 1, EVERYWHERE)
    assert kept.sum(axis=0).tolist() == [1, 1, 1, 1]
    assert kept[3, 1]
    assert np.array_equal(nearest(models, 3, EVERYWHERE), EVERYWHERE)
    edges, p = prune_order(models, [2, 0, 3, 1], kept, 0.001)
    assert not (edges & ~kept).any()
    assert (p[~kept] == 1).all()
    assert pairs(make_learner("cam", neighbours=2).fit(bent())) == BENT


def test_a_subset_of_rows_makes_the_order():
    x = bent(900)
    assert pairs(make_learner("score", kernel_rows=300, standardise=False).fit(x)) == BENT


@pytest.mark.parametrize(
    ("name", "options", "text"),
    [
        ("cam", {"alpha": 0.0}, "alpha is 0"),
        ("cam", {"splines": 0}, "splines is 0"),
        ("cam", {"neighbours": 0}, "neighbours is 0"),
        ("score", {"ridge": 0.0}, "ridge is 0"),
        ("score", {"kernel_rows": 1}, "kernel_rows is 1"),
    ],
)
def test_options_are_checked(name: str, options: dict, text: str):
    with pytest.raises(ValueError, match=text):
        make_learner(name, **options)
