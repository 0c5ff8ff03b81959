"""The Chemical worlds' graphs: perturbed, enumerated, as published, and by context."""

from __future__ import annotations

import numpy as np
import pytest
from chemical_worlds import BUILDERS, KINDS, SWITCHING

from causal_rl.envs import SCMEnv, SCMEnvSpec
from causal_rl.envs.worlds.chemical import (
    VARIANTS,
    ChemicalOptions,
    ChemicalSwitchOptions,
    chemical_full,
    object_names,
)
from causal_rl.envs.worlds.chemical_labels import (
    enumerated_one_step_graph,
    local_graph,
    published_label,
    transition_table,
)
from causal_rl.envs.worlds.chemical_mechanisms import dry
from causal_rl.graphs import CausalGraph
from causal_rl.scm import perturbation_graph, perturbation_one_step


def cross(graph: CausalGraph) -> int:
    lagged = graph.lagged.copy()
    np.fill_diagonal(lagged, False)
    return int(lagged.sum())


@pytest.mark.parametrize("variant", list(VARIANTS))
@pytest.mark.parametrize("kind", KINDS)
def test_perturbing_the_simulator_gives_the_stated_graph(kind: str, variant: str) -> None:
    for seed in range(2):
        options = ChemicalOptions(variant=variant, graph_seed=seed)
        spec = BUILDERS[kind](options)
        graph = perturbation_graph(spec.scm, seed)
        assert graph == spec.causal_graph == spec.scm.graph
        names = object_names(options)
        label = published_label(kind, 5, names)
        objects = graph.subgraph(names)
        # A + I is right as two graphs: A inside the step, I from step to step.
        assert (objects.contemporaneous | objects.lagged == label.lagged).all()
        assert (objects.lagged == np.eye(5, dtype=bool)).all()


def test_where_nothing_is_done_colours_stay() -> None:
    spec = chemical_full(ChemicalOptions())
    graph = perturbation_one_step(spec.scm, 0).subgraph(sorted(object_names(ChemicalOptions())))
    np.testing.assert_array_equal(graph.lagged, np.eye(5, dtype=bool))
    env = SCMEnv(spec)
    start = env.reset(seed=0)[0]
    assert ((start >= 1) & (start <= 5)).all()
    for _ in range(3):
        np.testing.assert_array_equal(env.see()[0], start)


#: Cross edges S_i -> S'_j of the released rules, 4 objects: what going through all cases finds.
TRUE_CROSS = {"chain": 0, "collider": 3, "full": 3, "jungle": 1, "full-fork": 3, "full-chain": 3}
LABEL_CROSS = {"chain": 3, "collider": 3, "full": 6, "jungle": 4, "full-fork": 6, "full-chain": 6}


@pytest.mark.parametrize("variant", ["ke", "cdl"])
@pytest.mark.parametrize("kind", KINDS)
def test_enumeration_finds_another_graph_than_the_published_label(kind: str, variant: str) -> None:
    for seed in range(3):
        options = ChemicalOptions(objects=4, colours=3, variant=variant, graph_seed=seed)
        spec = BUILDERS[kind](options)
        graph = enumerated_one_step_graph(spec)
        label = published_label(kind, 4, object_names(options)).subgraph(graph.names)
        assert (cross(graph), cross(label)) == (TRUE_CROSS[kind], LABEL_CROSS[kind])
        assert graph.lagged.diagonal().all()
        assert (graph.lagged <= label.lagged).all()
        assert (graph.lagged <= spec.one_step_graph.subgraph(graph.names).lagged).all()
        expected = held_back(spec.scm.graph.subgraph(graph.names).contemporaneous)
        if kind not in SWITCHING:
            np.testing.assert_array_equal(graph.lagged, expected | np.eye(4, dtype=bool))


def held_back(adjacency: np.ndarray) -> np.ndarray:
    """Edges i -> j for which some other k repaints j and leaves i as it was."""
    n = len(adjacency)
    reach = np.linalg.matrix_power(np.eye(n) + adjacency, n) > 0
    edges = np.zeros_like(adjacency)
    for i, j in np.argwhere(adjacency):
        edges[i, j] = any(reach[k, j] and not reach[k, i] and k not in (i, j) for k in range(n))
    return edges


def test_with_the_colour_excluded_more_edges_are_real() -> None:
    counts = {}
    for kind in ("chain", "collider", "full", "jungle"):
        options = [
            ChemicalOptions(objects=4, colours=4, variant="grader", graph_seed=s) for s in (0, 3)
        ]
        counts[kind] = [cross(enumerated_one_step_graph(BUILDERS[kind](o))) for o in options]
    assert counts == {"chain": [0, 0], "collider": [3, 3], "full": [5, 5], "jungle": [2, 1]}


def test_the_table_holds_the_distributions_that_the_simulator_draws_from() -> None:
    options = ChemicalOptions(objects=3, colours=2, graph_seed=2)
    spec = chemical_full(options)
    names, table = transition_table(spec)
    np.testing.assert_allclose(table.sum(axis=-1), 1.0)
    actions = spec.interventions.all_actions()
    state, batch = (1, 0, 1), 3000
    previous = np.ones((batch, spec.scm.n))
    previous[:, :3] = np.add(state, 1)
    for a, action in enumerate(actions):
        mask, value, _ = spec.interventions.decode(np.tile(action, (batch, 1)), spec.scm.names)
        after = spec.scm.step(previous, spec.scm.sample_noise(a, batch), None, mask, value)
        share = (dry(after[:, :3], 2) == 2).mean(axis=0)
        expected = np.array([table[(j, *state, a, 1)] for j in range(len(names))])
        assert (np.abs(share - expected) <= 5 * np.sqrt(0.25 / batch)).all()


def test_enumeration_refuses_what_it_cannot_do() -> None:
    with pytest.raises(ValueError, match="too large to enumerate"):
        enumerated_one_step_graph(chemical_full(ChemicalOptions(objects=10)))
    spec = chemical_full(ChemicalOptions(objects=4, colours=3))
    with pytest.raises(ValueError, match="without smeared objects"):
        enumerated_one_step_graph(spec.shifted("noisy-2"))


@pytest.mark.parametrize("kind", SWITCHING)
def test_each_context_has_its_own_graph(kind: str) -> None:
    for seed in range(2):
        options = ChemicalOptions(objects=5, colours=4, variant="cdl", graph_seed=seed)
        spec, names = BUILDERS[kind](options), object_names(options)
        full = np.triu(published_label(kind, 5, names).lagged, k=1)
        here = local_graph(kind, 5, names).contemporaneous
        for colour in (1, 2, 4):
            expected = here if colour == 1 else full
            for wet in (0, 4):
                fixed = spec.scm.do({names[0]: colour + wet})
                found = perturbation_graph(fixed, seed, 32).subgraph(names).contemporaneous
                np.testing.assert_array_equal(found[1:, 1:], expected[1:, 1:])
            np.testing.assert_array_equal(painted_by_first(spec, names, colour), expected[0, 1:])


def painted_by_first(spec: SCMEnvSpec, names: tuple[str, ...], colour: int) -> np.ndarray:
    """Which of the others turn wet if the first is painted and the rest held dry, one at a time."""
    n = len(names)
    columns = [spec.scm.names.index(name) for name in names]
    previous = np.ones((n - 1, spec.scm.n))
    mask, value = np.zeros(previous.shape, dtype=bool), previous.copy()
    mask[:, columns] = True
    mask[np.arange(n - 1), columns[1:]] = False
    value[:, columns[0]] = colour + spec.interventions.n_values
    after = spec.scm.step(previous, spec.scm.sample_noise(0, n - 1), None, mask, value)
    return after[np.arange(n - 1), columns[1:]] > spec.interventions.n_values


@pytest.mark.parametrize("kind", SWITCHING)
def test_what_is_painted_in_a_context_reaches_its_local_descendants(kind: str) -> None:
    options = ChemicalSwitchOptions(objects=6, graph_seed=1)
    spec, names = BUILDERS[kind](options), object_names(options)
    for colour in (1, 3):
        env = SCMEnv(spec)
        env.reset(seed=0)
        first = env.do(names[0], 5 + colour)[0]
        assert (first[:6] > 5).all()
        after = env.do(names[2], 5 + 2)[0]
        wet = {name for name in names if after[spec.observed_names.index(name)] > 5}
        if colour == 1 and kind == "full-fork":
            assert wet == {names[2]}
        else:
            assert wet == set(names[2:])


def test_bad_labels_are_named() -> None:
    with pytest.raises(ValueError, match="kind must be one of chain, collider"):
        published_label("ring", 4)
    with pytest.raises(ValueError, match="n is 1; it must be >= 2"):
        published_label("chain", 1)
    with pytest.raises(ValueError, match="names must be 4, got 2"):
        local_graph("full-fork", 4, ["a", "b"])
