"""Worlds with a treatment: what the recipe promises."""

from __future__ import annotations

import numpy as np
import pytest

from causal_rl.benchmarks.treatment_worlds import draw_treatment_world


@pytest.fixture(scope="module", params=[("er", 0), ("sf", 1)])
def world(request):
    structure, seed = request.param
    return draw_treatment_world(structure, seed)


def test_columns_are_standardised_and_the_treatment_is_a_coin(world):
    table = world.sample(20_000, 0)
    t = table[:, world.treatment]
    assert set(np.unique(t)) == {0.0, 1.0}
    assert 0.3 < t.mean() < 0.7
    others = np.delete(table, world.treatment, axis=1)
    assert np.abs(others.mean(axis=0)).max() < 0.05
    assert np.abs(others.std(axis=0) - 1).max() < 0.05


def test_the_treatment_is_confounded_and_reaches_the_outcome(world):
    graph = world.graph
    causes = graph.ancestors(["t"], include_self=False)
    assert "t" in graph.ancestors(["y"])
    without = graph.subgraph([n for n in graph.names if n != "t"])
    assert set(causes) & set(without.ancestors(["y"]))
    unaffected = {world.names[i] for i in world.unaffected}
    assert set(causes) <= unaffected
    assert "y" not in unaffected


def test_twins_share_their_noise(world):
    twins = world.twins(200, 3)
    t, y = twins.table[:, world.treatment], twins.table[:, world.outcome]
    assert np.array_equal(np.where(t == 1, twins.y1, twins.y0), y)
    # The effect is modified: it is not the same in every row.
    assert (twins.y1 - twins.y0).std() > 0.02


def test_cate_is_the_mean_effect_of_rows_alike(world):
    twins = world.twins(300, 4)
    cate = world.cate(twins.table, 0, draws=64)
    scrambled = twins.table.copy()
    reached = [i for i in range(10) if i not in (*world.unaffected, world.treatment)]
    scrambled[:, reached] = 0.0
    assert np.allclose(world.cate(scrambled, 0, draws=64), cate, atol=1e-9)
    effect = twins.y1 - twins.y0
    assert abs((effect - cate).mean()) < 4 * (effect - cate).std() / 300**0.5 + 0.02
    assert ((effect - cate) ** 2).mean() <= effect.var() + 1e-9


def test_a_seed_is_a_world_and_columns_are_shuffled():
    one, two = draw_treatment_world("sf", 5), draw_treatment_world("sf", 5)
    assert np.array_equal(one.sample(5, 0), two.sample(5, 0))
    assert one.treatment == two.treatment
    places = {draw_treatment_world("sf", seed).treatment for seed in range(8)}
    assert len(places) > 2


def test_a_graph_too_small_for_a_treatment_is_refused():
    with pytest.raises(ValueError, match="no graph of 3 variables and degree 0"):
        draw_treatment_world("er", 0, variables=3, degree=0)
