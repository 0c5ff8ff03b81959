from __future__ import annotations

import itertools

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from causal_rl.graphs import CausalGraph, is_dag, project_graph, project_to_dag

seeds = st.integers(0, 2**32 - 1).map(np.random.default_rng)


def random_weights(rng, n):
    """Signed weights; rounded in half of the cases, so that ties come up."""
    weights = rng.normal(size=(n, n)) * (rng.random((n, n)) < rng.random())
    return np.round(weights) if rng.random() < 0.5 else weights


def greedy_weight(weights):
    """Weight kept by adding edges in descending order, skipping those that close a cycle."""
    kept = nx.DiGraph()
    kept.add_nodes_from(range(len(weights)))
    for i, j in sorted(np.argwhere(weights), key=lambda e: -abs(weights[tuple(e)])):
        if i != j and not nx.has_path(kept, j, i):
            kept.add_edge(i, j)
    return sum(abs(weights[edge]) for edge in kept.edges)


def best_weight(weights):
    n = len(weights)
    orders = (np.ix_(order, order) for order in itertools.permutations(range(n)))
    return max(np.triu(np.abs(weights)[order], 1).sum() for order in orders)


@settings(deadline=None)
@given(seeds, st.integers(1, 9))
def test_some_edges_go_and_the_rest_stays_as_it_was(rng, n):
    weights = random_weights(rng, n)
    before = weights.copy()
    projected = project_to_dag(weights)
    np.testing.assert_array_equal(weights, before)
    assert is_dag(projected)
    kept = projected != 0
    np.testing.assert_array_equal(projected, np.where(kept, weights, 0.0))
    # Maximal: any dropped edge would close a cycle.
    for i, j in np.argwhere((weights != 0) & ~kept):
        back = projected.copy()
        back[i, j] = weights[i, j]
        assert not is_dag(back)
    np.testing.assert_array_equal(project_to_dag(projected), projected)


@settings(deadline=None)
@given(seeds, st.integers(1, 9))
def test_a_dag_is_untouched(rng, n):
    order = rng.permutation(n)
    dag = np.triu(random_weights(rng, n), 1)[np.ix_(order, order)]
    np.testing.assert_array_equal(project_to_dag(dag), dag)


@settings(deadline=None)
@given(seeds, st.integers(1, 4))
def test_no_dag_keeps_more_weight(rng, n):
    weights = random_weights(rng, n)
    kept = np.abs(project_to_dag(weights)).sum()
    assert kept == pytest.approx(best_weight(weights))


@pytest.mark.parametrize("sizes", [(2, 9), (13, 16)])
def test_at_least_the_weight_of_greedy_insertion(sizes):
    @settings(deadline=None, max_examples=30)
    @given(seeds, st.integers(*sizes))
    def check(rng, n):
        weights = random_weights(rng, n)
        projected = project_to_dag(weights)
        assert is_dag(projected)
        assert np.abs(projected).sum() >= greedy_weight(weights) - 1e-9

    check()


def test_greedy_insertion_is_beaten_where_it_is_wrong():
    # The heaviest edge 0 -> 1 closes four cycles, each through an edge 1 -> k -> 0.
    weights = np.zeros((5, 5))
    weights[0, 1] = 3.0
    weights[1, 2:] = weights[2:, 0] = -2.0
    projected = project_to_dag(weights)
    assert greedy_weight(weights) == 9.0
    assert np.abs(projected).sum() == 12.0
    assert projected[0, 1] == 0.0


def test_extreme_weights_are_no_trouble():
    for scale in (1e300, 1e-300):
        projected = project_to_dag(np.array([[0.0, 3.0], [-2.0, 0.0]]) * scale)
        np.testing.assert_array_equal(projected, np.array([[0.0, 3.0], [0.0, 0.0]]) * scale)


def test_project_graph_drops_by_weight_then_confidence_and_leaves_the_lagged_block():
    ring = np.array([[0, 1, 0], [0, 0, 1], [1, 0, 0]])
    evidence = {
        "contemporaneous_confidence": [[0, 0.9, 0], [0, 0, 0.2], [0.8, 0, 0]],
        "contemporaneous_weights": [[0, -3.0, 7.0], [0, 0, 2.0], [-1.0, 0, 0]],
        "lagged": np.ones((3, 3)),
        "lagged_weights": np.arange(9.0).reshape(3, 3),
        "lagged_confidence": np.eye(3),
        "names": ("a", "b", "c"),
        "kinds": ("state", "hidden", "state"),
    }
    graph = CausalGraph(ring, allow_cycles=True, **evidence)
    projected = project_graph(graph)
    assert not projected.allow_cycles
    assert projected.edges()[:2] == [("contemporaneous", "a", "b"), ("contemporaneous", "b", "c")]
    np.testing.assert_array_equal(
        projected.contemporaneous_weights, [[0, -3.0, 7.0], [0, 0, 2.0], [0, 0, 0]]
    )
    for field in evidence.keys() - {"contemporaneous_weights"}:
        np.testing.assert_array_equal(getattr(projected, field), evidence[field])
    by_confidence = project_graph(graph.with_(contemporaneous_weights=None))
    assert by_confidence.contemporaneous[2, 0]
    assert not by_confidence.contemporaneous[1, 2]
    plain = project_graph(CausalGraph(ring, allow_cycles=True))
    assert plain.contemporaneous.sum() == 2


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32 - 1), st.integers(1, 6))
def test_project_graph_leaves_acyclic_graphs_alone(seed, n):
    graph = CausalGraph.random([f"v{i}" for i in range(n)], None, (n - 1) / 4, seed)
    assert project_graph(graph) == graph


def test_bad_input_is_refused_by_name():
    with pytest.raises(ValueError, match="weights must have shape"):
        project_to_dag(np.zeros((2, 3)))
    with pytest.raises(ValueError, match="weights must be finite"):
        project_to_dag(np.full((2, 2), np.nan))
    with pytest.raises(TypeError, match="graph must be a CausalGraph"):
        project_graph(np.zeros((2, 2)))
