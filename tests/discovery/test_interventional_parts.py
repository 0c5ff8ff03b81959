"""Gram matrices, memory of rows, do-shift tests and interaction models, each against an oracle."""

from __future__ import annotations

import numpy as np
import pytest

from causal_rl.discovery.basis import BASIS_SIZE, FeatureMap
from causal_rl.discovery.do_shift import add_path, do_shifts, moved_order
from causal_rl.discovery.gram import GramStore
from causal_rl.discovery.interaction import InteractionModel, RowBasis, Worth, prune
from causal_rl.discovery.parent_search import Regression
from causal_rl.discovery.reservoir import Reservoir
from causal_rl.discovery.reward_parents import select_parents


def filled_store(state, reached, target):
    n = state.shape[1]
    units = FeatureMap.of(reached)
    store = GramStore(n, 1 + 2 * BASIS_SIZE * n)
    design = np.hstack([np.ones((len(state), 1)), units(reached), units(state)])
    store.add(design, target)
    return store, design


def test_gram_without_a_target_is_the_sum_over_its_rows():
    rng = np.random.default_rng(0)
    target = rng.random((500, 4)) < 0.3  # rows with none, one and several targets
    store, design = filled_store(rng.normal(size=(500, 4)), rng.normal(size=(500, 4)), target)
    for j in range(4):
        rows = design[~target[:, j]]
        gram, count = store.without(j)
        np.testing.assert_allclose(gram, rows.T @ rows, atol=1e-9)
        assert count == len(rows)
        alone = design[target[:, j] & (target.sum(axis=1) == 1)]
        np.testing.assert_allclose(store.where(j)[0], alone.T @ alone, atol=1e-9)
    assert store.rows == 500


def test_regression_agrees_with_least_squares():
    rng = np.random.default_rng(1)
    reached = rng.normal(size=(800, 3))
    reached[:, 2] += np.sin(reached[:, 0]) + 0.5 * reached[:, 1]
    store, design = filled_store(rng.normal(size=(800, 3)), reached, np.zeros((800, 3), dtype=bool))
    regression = Regression(*store.without(2), 2)
    y = design[:, 1 + 2 * BASIS_SIZE]
    total = ((y - y.mean()) ** 2).sum()

    def left(parents):
        columns = [0, *(1 + BASIS_SIZE * c + f for c in parents for f in range(BASIS_SIZE))]
        weight = np.linalg.lstsq(design[:, columns], y, rcond=None)[0]
        return ((y - design[:, columns] @ weight) ** 2).sum() / total

    assert regression.residual((0, 1))[1] == pytest.approx(left((0, 1)), rel=1e-5)
    losses = regression.losses((0, 1))
    assert losses[0] == pytest.approx(left((1,)) - left((0, 1)), rel=1e-4)
    gains = regression.gains(regression.residual((0,))[0])[1]
    assert gains[1] == pytest.approx(left((0,)) - left((0, 1)), rel=1e-4)


def test_reservoir_is_bounded_balanced_and_blind_to_cuts():
    rng = np.random.default_rng(2)
    rows = rng.normal(size=(3000, 2))
    stratum = np.where(rng.random(3000) < 0.95, 0, 1)
    whole, pieces = Reservoir(2, 2, 100), Reservoir(2, 2, 100)
    whole.add(rows, stratum)
    for start in range(0, 3000, 71):
        pieces.add(rows[start : start + 71], stratum[start : start + 71])
    assert np.array_equal(whole.rows, pieces.rows)
    assert np.array_equal(rows[whole.index], whole.rows)
    assert [(whole.stratum == s).sum() for s in range(2)] == [100, 100]
    first = np.flatnonzero(stratum == 0)[:50]
    assert np.isin(first, whole.index).all()
    late = whole.index[(whole.stratum == 0) & ~np.isin(whole.index, first)]
    assert 1200 < late.mean() < 1900  # a sample of the whole stream, not its end


def test_do_shift_sees_descendants_and_only_those():
    # x -> y, z apart; the value given to x follows a goal that moves z: a policy's confounding.
    rng = np.random.default_rng(3)
    rows = 3000
    goal = rng.normal(size=rows)
    x = goal + 0.7 * rng.normal(size=rows)
    y = np.tanh(x) + 0.5 * rng.normal(size=rows)
    z = goal + 0.5 * rng.normal(size=rows)
    reached = np.column_stack([x, y, z, goal])
    state = np.column_stack([rng.normal(size=(rows, 3)), goal])
    target = np.zeros((rows, 4), dtype=bool)
    target[:, 0] = True
    store, _ = filled_store(state, reached, target)
    context = np.array([False, False, False, True])
    shifts = do_shifts(store, context)
    reach = moved_order(shifts, alpha=1e-3, min_effect=0.002, exogenous=context)
    assert reach.tolist()[0] == [False, True, False, False]
    assert not reach[1:].any()
    # With the goal kept from the test, z seems to follow x: the adjustment is what saves it.
    reached[:, 3], state[:, 3] = 0.0, 0.0
    blind, _ = filled_store(state, reached, target)
    assert do_shifts(blind, context).p_value[0, 2] < 1e-6


def test_paths_close_transitively_and_refuse_cycles():
    reach = np.zeros((4, 4), dtype=bool)
    assert add_path(reach, 0, 1)
    assert add_path(reach, 2, 3)
    assert add_path(reach, 1, 2)
    assert np.array_equal(reach, np.triu(np.ones((4, 4), dtype=bool), 1))
    before = reach.copy()
    assert not add_path(reach, 3, 0)
    assert not add_path(reach, 1, 1)
    assert np.array_equal(reach, before)


def test_prune_drops_an_ancestor_that_stood_in_for_an_interaction():
    rng = np.random.default_rng(4)
    a = rng.normal(size=4000)
    b = np.sign(a) * np.abs(rng.normal(size=4000))
    y = a * b + 0.3 * rng.normal(size=4000)
    z = np.column_stack([a, b, a**2 + 0.3 * rng.normal(size=4000)])
    model = InteractionModel(y, RowBasis(z), np.ones(4000, dtype=bool))
    kept, worth = prune(model, (0, 1, 2), Worth(alone=0.002, full=0.01))
    assert kept == (0, 1)
    assert worth[2] < 1 <= min(worth[0], worth[1])


def test_losses_of_a_useless_parent_are_unbiased():
    values = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        z = rng.normal(size=(400, 2))
        model = InteractionModel(
            z[:, 0] + rng.normal(size=400), RowBasis(z), np.ones(400, dtype=bool)
        )
        values.append(model.losses((0, 1))[1].full)
    spread = np.std(values) / np.sqrt(len(values))
    assert abs(np.mean(values)) < 4 * spread + 1e-6


def test_pure_interaction_is_found_from_pairs():
    rng = np.random.default_rng(5)
    z = rng.normal(size=(1500, 12))
    model = InteractionModel(z[:, 3] * z[:, 9], RowBasis(z), np.ones(1500, dtype=bool))
    parents, worth = select_parents(model, range(12), Worth(alone=0.01, full=0.01))
    assert parents == (3, 9)
    assert set(worth) == set(range(12))
