from __future__ import annotations

import itertools

import numpy as np
import pytest

from causal_rl.agents.transfer import (
    FittedSCM,
    WorldFamily,
    ask,
    fit_evidence,
    graph_shape,
    random_transitions,
)
from causal_rl.graphs import CausalGraph, is_dag
from causal_rl.scm import DynamicSCM, Gaussian, Linear, Variable

LINEAR = WorldFamily(mechanism="linear")


def chain() -> DynamicSCM:
    """A -> B -> C, B remembers itself."""
    return DynamicSCM(
        [
            Variable("C", Linear([-0.5], 1.0), Gaussian(0.3), ("B",)),
            Variable("A", None, Gaussian(1.0)),
            Variable("B", Linear([0.8, 0.4]), Gaussian(0.2), ("A",), ("B",)),
        ]
    )


def test_one_seed_makes_one_world() -> None:
    family = WorldFamily()
    first, second = family.world(6, 3), family.world(6, 3)
    assert first.graph == second.graph
    state = np.random.default_rng(0).standard_normal((4, 6))
    np.testing.assert_array_equal(
        first.step(state, np.zeros((4, 6))), second.step(state, np.zeros((4, 6)))
    )
    assert family.world(6, 4).graph != first.graph


def test_the_cheap_graph_is_that_of_the_world() -> None:
    for seed in range(4):
        adjacency = LINEAR.adjacency(6, seed)
        np.testing.assert_array_equal(adjacency, LINEAR.world(6, seed).graph.contemporaneous)
        assert is_dag(adjacency)
        assert adjacency.any()


def test_memory_is_a_self_edge_of_that_share_of_variables() -> None:
    none, all_ = WorldFamily(memory=0.0).world(6, 1), WorldFamily(memory=1.0).world(6, 1)
    assert not none.graph.lagged.any()
    np.testing.assert_array_equal(all_.graph.lagged, np.eye(6, dtype=bool))


@pytest.mark.parametrize("mechanism", ["linear", "tanh"])
def test_variances_are_about_one(mechanism: str) -> None:
    for seed in range(5):
        values = WorldFamily(mechanism=mechanism).world(6, seed).simulate(40, 0, batch=500).values
        assert np.all(np.abs(values[20:].std(axis=(0, 1)) - 1.0) < 0.15)


def relabelled(first: np.ndarray, second: np.ndarray) -> bool:
    return any(
        np.array_equal(first[np.ix_(p, p)], second)
        for p in itertools.permutations(range(len(first)))
    )


def test_unseen_worlds_share_neither_seed_nor_graph_with_training() -> None:
    family = WorldFamily(density=0.75)
    split = family.split((4, 6), {4: 5, 5: 3}, seed=2)
    assert len(set(split.train)) == 6
    assert [len(split.unseen[n]) for n in (4, 5)] == [5, 3]
    assert not set(split.train) & {s for seeds in split.unseen.values() for s in seeds}
    for train, test in itertools.product(split.train, split.unseen[4]):
        assert not relabelled(family.adjacency(4, train), family.adjacency(4, test))


def test_a_shape_outlives_relabelling_and_tells_graphs_apart() -> None:
    chain_of_four = np.eye(4, k=1, dtype=bool)
    order = [2, 0, 3, 1]
    assert graph_shape(chain_of_four) == graph_shape(chain_of_four[np.ix_(order, order)])
    fork = np.zeros((4, 4), dtype=bool)
    fork[0, 1:] = True
    assert len({graph_shape(g) for g in (chain_of_four, fork, fork.T)}) == 3


def test_splits_of_different_seeds_share_no_world() -> None:
    splits = [LINEAR.split((6, 5), {6: 5}, seed=seed) for seed in (0, 1)]
    seeds = [{*split.train, *split.unseen[6]} for split in splits]
    assert not seeds[0] & seeds[1]
    assert splits[0] == LINEAR.split((6, 5), {6: 5}, seed=0)


def test_a_topology_of_one_graph_has_no_unseen_one() -> None:
    family = WorldFamily(topology="chain")
    assert family.split((4, 2), {5: 2}).unseen[5]
    with pytest.raises(ValueError, match=r"unseen\[4\]: only 0 of 1"):
        family.split((4, 2), {4: 1})


def test_transitions_are_of_the_world_and_fewer_are_the_beginning_of_more() -> None:
    scm = chain()
    few, many = random_transitions(scm, 50, seed=1), random_transitions(scm, 200, seed=1)
    np.testing.assert_array_equal(few.next_state, many.next_state[:50])
    assert many.do_target.sum(axis=1).max() == 1
    own = ~many.do_target[:, 2]
    noise = (many.next_state[:, 2] - 0.8 * many.next_state[:, 1] - 0.4 * many.state[:, 2])[own]
    assert abs(noise.std() - 0.2) < 0.04
    assert np.all(np.abs(many.do_value) <= 2.0)


def test_answers_are_those_of_a_linear_world_in_closed_form() -> None:
    scm = chain()
    queries = ask(scm, 60, seed=0, samples=32)
    before, mask, value = queries.previous, queries.do_mask, queries.do_value
    a = np.where(mask[:, 1], value[:, 1], 0.0)
    b = np.where(mask[:, 2], value[:, 2], 0.8 * a + 0.4 * before[:, 2])
    c = np.where(mask[:, 0], value[:, 0], 1.0 - 0.5 * b)
    np.testing.assert_allclose(queries.mean, np.stack([c, a, b], 1), atol=1e-9)
    assert np.all(queries.spread[mask] < 1e-12)
    assert np.all(queries.spread[~mask] > 0.0)


def test_a_fit_to_the_true_graph_finds_a_linear_world() -> None:
    scm = chain()
    evidence = fit_evidence(random_transitions(scm, 4000, seed=0), scm.graph)
    weights = evidence.now * evidence.scale / evidence.scale[:, None]
    np.testing.assert_allclose(weights[1, 2], 0.8, atol=0.02)
    np.testing.assert_allclose(weights[2, 0], -0.5, atol=0.02)
    np.testing.assert_array_equal(evidence.now != 0, scm.graph.contemporaneous)
    np.testing.assert_array_equal(evidence.lagged != 0, scm.graph.lagged)
    queries = ask(scm, 100, seed=1, samples=2000)
    for curved in (False, True):
        fitted = FittedSCM(evidence, curved=curved)
        mean, spread = fitted.predict(queries.previous, queries.do_mask, queries.do_value)
        np.testing.assert_allclose(mean, queries.mean, atol=0.1)
        np.testing.assert_allclose(spread, queries.spread, atol=0.1)


def test_rows_in_which_a_variable_was_set_do_not_enter_its_fit() -> None:
    scm = chain()
    data = random_transitions(scm, 500, seed=0)
    rows = ~data.do_target[:, 2]
    kept = fit_evidence(data[rows], scm.graph)
    scale = kept.scale / kept.scale[:, None]
    whole = fit_evidence(data, scm.graph)
    expected = (kept.now * scale)[1, 2]
    np.testing.assert_allclose(
        (whole.now * whole.scale / whole.scale[:, None])[1, 2], expected, rtol=0.01
    )


def test_a_variable_that_was_always_set_is_left_a_root() -> None:
    data = random_transitions(chain(), 400, seed=0)
    evidence = fit_evidence(data[data.do_target[:, 2]], chain().graph)
    assert not evidence.now[:, 2].any()
    assert np.isfinite(evidence.curve).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"topology": "ring"}, "topology must be one of"),
        ({"mechanism": "cubic"}, "mechanism must be one of"),
        ({"density": 0.0}, "density must be above 0"),
        ({"noise_share": 1.0}, "noise_share must be in"),
        ({"noise_share": "equal"}, "noise_share must be in"),
        ({"memory": 1.5}, "memory must be in"),
    ],
)
def test_bad_families_are_named(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        WorldFamily(**arguments)  # type: ignore[arg-type]


def test_other_bad_input_is_named() -> None:
    scm = chain()
    with pytest.raises(ValueError, match="n is 1; it must be >= 2"):
        LINEAR.world(1, 0)
    with pytest.raises(ValueError, match="seed is -1; it must be >= 0"):
        LINEAR.world(4, -1)
    with pytest.raises(ValueError, match="train must be at least 1"):
        LINEAR.split((4, 0), {4: 1})
    with pytest.raises(ValueError, match="rows is 0; it must be >= 1"):
        random_transitions(scm, 0, seed=0)
    with pytest.raises(ValueError, match="samples must be even"):
        ask(scm, 4, seed=0, samples=3)
    context = DynamicSCM(
        [
            Variable("goal", kind="context"),
            Variable("X", parents=("goal",), mechanism=Linear([1.0])),
        ]
    )
    with pytest.raises(ValueError, match="no context, got one named 'goal'"):
        random_transitions(context, 10, seed=0)
    data = random_transitions(scm, 20, seed=0)
    with pytest.raises(ValueError, match="must have 16 rows, got 5"):
        fit_evidence(data[:5], scm.graph)
    with pytest.raises(ValueError, match="graph has no variable 'C'"):
        fit_evidence(data, CausalGraph.empty(["A", "B"]))
    cyclic = fit_evidence(data, CausalGraph.full(scm.names))
    with pytest.raises(ValueError, match="cycle"):
        FittedSCM(cyclic, curved=False)
    with pytest.raises(ValueError, match="samples must be a power of two"):
        FittedSCM(fit_evidence(data, scm.graph), curved=True, samples=3)
