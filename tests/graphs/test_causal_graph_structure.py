from __future__ import annotations

import itertools

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from causal_rl.graphs import KINDS, CausalGraph

MATRICES = [
    f"{block}{suffix}"
    for block in ("contemporaneous", "lagged")
    for suffix in ("", "_weights", "_confidence")
]


@st.composite
def graphs(draw):
    """Random graphs with random names, kinds, weights and confidences."""
    n = draw(st.integers(1, 6))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    order = rng.permutation(n)
    upper = np.triu(rng.random((n, n)) < draw(st.floats(0, 1)), 1)
    return CausalGraph(
        upper[np.ix_(order, order)],
        rng.random((n, n)) < draw(st.floats(0, 0.5)),
        [f"v{i}" for i in rng.permutation(n)],
        rng.choice(KINDS, n),
        contemporaneous_weights=rng.normal(size=(n, n)),
        lagged_weights=rng.normal(size=(n, n)),
        contemporaneous_confidence=rng.random((n, n)),
        lagged_confidence=rng.random((n, n)),
    )


def entries(graph):
    """Everything that the graph says, keyed by names instead of positions."""
    pairs = itertools.product(range(graph.n), repeat=2)
    facts = {
        (field, graph.names[i], graph.names[j]): getattr(graph, field)[i, j]
        for i, j in pairs
        for field in MATRICES
    }
    return facts | dict(zip(graph.names, graph.kinds, strict=True))


@settings(deadline=None)
@given(graphs())
def test_relatives_agree_with_networkx_on_the_summary(graph):
    oracle = nx.from_numpy_array(graph.summary, create_using=nx.DiGraph)
    oracle = nx.relabel_nodes(oracle, dict(enumerate(graph.names)))
    for name in graph.names:
        assert set(graph.parents(name)) == set(oracle.predecessors(name))
        assert set(graph.children(name)) == set(oracle.successors(name))
        for own, theirs in (
            (graph.ancestors, nx.ancestors),
            (graph.descendants, nx.descendants),
        ):
            found = own(name)
            assert list(found) == sorted(found, key=graph.index)
            assert set(own(name, include_self=False)) == theirs(oracle, name) - {name}
            assert set(found) == theirs(oracle, name) | {name}
    together = set().union(*(graph.ancestors(name) for name in graph.names[:2]))
    assert set(graph.ancestors(graph.names[:2])) == together


@settings(deadline=None)
@given(graphs())
def test_parents_of_one_block_are_its_columns(graph):
    for block, name in itertools.product(("contemporaneous", "lagged"), graph.names):
        column = getattr(graph, block)[:, graph.index(name)]
        row = getattr(graph, block)[graph.index(name)]
        assert graph.indices(graph.parents(name, block=block)) == list(np.flatnonzero(column))
        assert graph.indices(graph.children(name, block=block)) == list(np.flatnonzero(row))


@settings(deadline=None)
@given(graphs(), st.data())
def test_subgraph_and_permute_keep_what_is_said_of_each_variable(graph, data):
    names = data.draw(st.permutations(graph.names))
    permuted = graph.permute(names)
    assert permuted.names == tuple(names)
    assert entries(permuted) == entries(graph)
    assert permuted.permute(graph.names) == graph
    kept = names[: data.draw(st.integers(1, graph.n))]
    smaller = graph.subgraph(kept)
    assert smaller.names == tuple(kept)
    assert entries(smaller).items() <= entries(graph).items()


@settings(deadline=None)
@given(graphs())
def test_relabel_changes_nothing_but_names(graph):
    renamed = graph.relabel({graph.names[0]: "new"})
    assert renamed.names == ("new", *graph.names[1:])
    assert renamed.relabel({"new": graph.names[0]}) == graph
    for field in MATRICES:
        np.testing.assert_array_equal(getattr(renamed, field), getattr(graph, field))


@settings(deadline=None)
@given(graphs())
def test_with_drops_what_belonged_to_a_replaced_block(graph):
    changed = graph.with_(lagged=np.zeros((graph.n, graph.n)))
    assert not changed.lagged.any()
    assert changed.lagged_weights is None
    assert changed.lagged_confidence is None
    for field in MATRICES[:3]:
        np.testing.assert_array_equal(getattr(changed, field), getattr(graph, field))
    kept = graph.with_(lagged=graph.lagged, lagged_weights=graph.lagged_weights)
    np.testing.assert_array_equal(kept.lagged_weights, graph.lagged_weights)


def test_unknown_names_and_arguments_are_refused():
    graph = CausalGraph(np.eye(3, k=1), names=("alpha", "beta", "gamma"))
    for call in (graph.index, graph.parents, graph.children, graph.ancestors, graph.descendants):
        with pytest.raises(ValueError, match=r"'alfa'.*did you mean alpha"):
            call("alfa")
    for call, argument, error, message in (
        (graph.subgraph, [], ValueError, "names must have at least one"),
        (graph.subgraph, ["beta", "beta"], ValueError, "names must be distinct.*beta"),
        (graph.subgraph, "beta", TypeError, "names must be a sequence"),
        (graph.permute, ["alpha", "beta"], ValueError, "missing: gamma"),
        (graph.permute, ["alpha", "beta", "x"], ValueError, "unknown: x"),
        (graph.relabel, {"alpha": "beta"}, ValueError, "more than once: beta"),
        (graph.relabel, {"x": "y"}, ValueError, "'x'"),
        (graph.relabel, ["a", "b", "c"], TypeError, "names must map"),
    ):
        with pytest.raises(error, match=message):
            call(argument)
    with pytest.raises(ValueError, match=r"block must be summary.*'both'"):
        graph.parents("alpha", block="both")
    with pytest.raises(TypeError, match="edges"):
        graph.with_(edges=[])
