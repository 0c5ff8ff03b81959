from __future__ import annotations

import numpy as np
import pytest

from causal_rl.discovery import Transitions, list_learners, make_learner
from causal_rl.discovery.dynotears import SquaredLoss
from causal_rl.discovery.registry import learner_class, learner_options
from causal_rl.scm import explained_by_others, r2_sortability


def growing(rows: int = 500, seed: int = 0) -> np.ndarray:
    """X2 -> X1 -> X3 with variances that grow along it."""
    rng = np.random.default_rng(seed)
    e = rng.normal(size=(rows, 3))
    x = e.copy()
    x[:, 0] += 1.5 * x[:, 1]
    x[:, 2] += 1.5 * x[:, 0]
    return x


def in_time(rows: int = 800, seed: int = 0) -> Transitions:
    """X1 -> X2 inside the step; X1 -> X1 and X2 -> X3 over time."""
    rng = np.random.default_rng(seed)
    before, e = rng.normal(size=(rows, 3)), rng.normal(size=(rows, 3))
    x = e.copy()
    x[:, 0] += 0.8 * before[:, 0]
    x[:, 1] += 0.9 * x[:, 0]
    x[:, 2] -= 0.8 * before[:, 1]
    return Transitions(state=before, next_state=x)


def test_sorting_by_variance():
    learner = make_learner("sort-regress")
    graph = learner.fit(growing())
    assert graph.edges() == [("contemporaneous", "X1", "X3"), ("contemporaneous", "X2", "X1")]
    assert graph.contemporaneous_weights[1, 0] == pytest.approx(1.5, abs=0.15)
    assert not graph.lagged.any()
    turned = learner.fit(growing() * [1.0, 100.0, 1.0])
    assert turned.contemporaneous[0, 1]


def test_ties_are_broken_by_the_seed_and_not_by_the_columns():
    x = growing()
    x /= x.std(axis=0)
    seen = {tuple(make_learner("sort-regress", seed=s).fit(x).edges()) for s in range(8)}
    assert len(seen) > 2
    assert make_learner("sort-regress", seed=5).fit(x) == make_learner("sort-regress", seed=5).fit(
        x
    )


def test_sorting_by_r2():
    # The common effect of three is explained better than any of them.
    x = np.random.default_rng(1).normal(size=(800, 4))
    x[:, 1] += x[:, 0] + x[:, 2] + x[:, 3]
    learner = make_learner("r2-sort-regress")
    graph = learner.fit(x)
    assert [edge[1:] for edge in graph.edges()] == [("X1", "X2"), ("X3", "X2"), ("X4", "X2")]
    assert r2_sortability(x, graph.contemporaneous) == 1.0
    assert learner.fit(x * [1.0, 1e-6, 5.0, 1e3]) == graph


def test_explained_by_others_is_the_r2():
    x = growing()
    design = np.column_stack([np.ones(500), x[:, [1, 2]]])
    residual = x[:, 0] - design @ np.linalg.lstsq(design, x[:, 0], rcond=None)[0]
    assert explained_by_others(x)[0] == pytest.approx(1 - residual.var() / x[:, 0].var())


def test_dynotears_learns_both_blocks():
    graph = make_learner("dynotears", standardise=False).fit(in_time())
    assert set(graph.edges()) == {
        ("contemporaneous", "X1", "X2"),
        ("lagged", "X1", "X1"),
        ("lagged", "X2", "X3"),
    }
    assert graph.contemporaneous_weights[0, 1] == pytest.approx(0.9, abs=0.15)
    assert graph.lagged_weights[1, 2] == pytest.approx(-0.8, abs=0.15)
    scaled = make_learner("dynotears").fit(in_time())
    assert np.array_equal(scaled.lagged, graph.lagged)
    assert scaled.lagged_weights[1, 2] == pytest.approx(-0.8, abs=0.15)  # in the data's units


def test_dynotears_resumes_with_its_past():
    data = in_time(300)
    graph = make_learner("dynotears").fit(data)
    broken, resumed = make_learner("dynotears"), make_learner("dynotears")
    broken.update(data[:100])
    resumed.load_state_dict(broken.state_dict())
    assert resumed.update(data[100:]) == graph
    table = make_learner("dynotears").fit(data.next_state)
    assert not table.lagged.any()
    with pytest.raises(ValueError, match="max_iter is 0"):
        make_learner("dynotears", max_iter=0)


def test_squared_loss_and_its_gradient():
    rng = np.random.default_rng(0)
    current, lagged = rng.normal(size=(20, 3)), rng.normal(size=(20, 3))
    weights = rng.normal(size=(6, 3))
    loss = SquaredLoss(current, lagged)
    value, gradient = loss(weights)
    residual = current - current @ weights[:3] - lagged @ weights[3:]
    assert value == pytest.approx((residual**2).sum() / 40)
    step = rng.normal(size=(6, 3))
    slope = (loss(weights + 1e-5 * step)[0] - loss(weights - 1e-5 * step)[0]) / 2e-5
    assert slope == pytest.approx(float((gradient * step).sum()), rel=1e-6)


# Slow learners would only repeat what their faster kin show.
SLOW = (
    "notears-mlp",
    "notears",
    "dagma",
    "gp-network",
    "abcd",
    "multi-level",
    "ecam",
    "attn-mask",
    "catt",
)
QUICK = [name for name in list_learners() if name not in SLOW]


def fitted(name: str, data: Transitions) -> list[tuple[str, str, str]]:
    options = {}
    if not learner_class(name).scale_free and "standardise" in learner_options(name):
        options["standardise"] = False
    learner = make_learner(name, **options)
    graph = learner.fit(data)
    marks = learner.equivalence_class_
    return [*graph.edges(), *([] if marks is None else marks.edges())]


@pytest.mark.parametrize("name", QUICK)
def test_the_flag_scale_free_is_true(name: str):
    x = growing()
    bent = x + 0.3 * np.column_stack([x[:, 1] ** 2, np.zeros(500), x[:, 0] ** 2])
    factors = np.array([1.0, 64.0, 2.0**-10])
    for values in (x, bent):
        plain = fitted(name, Transitions.from_table(values))
        if plain != fitted(name, Transitions.from_table(values * factors)):
            assert not learner_class(name).scale_free
            return
    assert learner_class(name).scale_free


@pytest.mark.parametrize("name", QUICK)
def test_the_flag_uses_interventions_is_true(name: str):
    e = np.random.default_rng(3).normal(size=(400, 2))
    target = np.zeros((400, 2), dtype=bool)
    target[200:, 1] = True
    # Either what was set drowns an edge that the other rows show, or it proves a direction.
    drowned = [e[:, 0], np.where(target[:, 1], 20 * e[:, 1], 0.7 * e[:, 0] + e[:, 1])]
    turned = [e[:, 0] + 2 * e[:, 1], np.where(target[:, 1], 2 * e[:, 1], e[:, 1])]
    changed = False
    for columns in (drowned, turned):
        values = np.column_stack(columns)
        told = fitted(name, Transitions.from_table(values, do_target=target))
        changed |= told != fitted(name, Transitions.from_table(values))
    assert changed == learner_class(name).uses_interventions


@pytest.mark.parametrize("name", QUICK)
def test_the_flag_uses_lags_is_true(name: str):
    data = in_time(300)
    shuffled = Transitions(
        state=np.random.default_rng(0).permutation(data.state), next_state=data.next_state
    )
    changed = make_learner(name).fit(data) != make_learner(name).fit(shuffled)
    assert changed == learner_class(name).uses_lags
