from __future__ import annotations

import itertools
import json
import re

import networkx as nx
import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from causal_rl.graphs import KINDS, CausalGraph

EDGE_MATRICES = [
    f"{block}_{what}"
    for block, what in itertools.product(("contemporaneous", "lagged"), ("weights", "confidence"))
]
MATRICES = ["contemporaneous", "lagged", *EDGE_MATRICES]
AWKWARD = ['say "hi"', "back\\slash", "new\nline", "a -> b", "ümlaut", "node", "1.5", "a;b"]


@st.composite
def graphs(draw):
    """Random graphs, each matrix of weights and confidences there or not."""
    n = draw(st.integers(1, 6))
    names = draw(st.lists(st.sampled_from(AWKWARD), min_size=n, max_size=n, unique=True))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    order = rng.permutation(n)
    upper = np.triu(rng.random((n, n)) < draw(st.floats(0, 1)), 1)
    return CausalGraph(
        upper[np.ix_(order, order)],
        rng.random((n, n)) < draw(st.floats(0, 0.5)),
        names,
        draw(st.lists(st.sampled_from(KINDS), min_size=n, max_size=n)),
        **{
            field: rng.normal(size=(n, n)) if field.endswith("weights") else rng.random((n, n))
            for field in EDGE_MATRICES
            if draw(st.booleans())
        },
    )


def assert_same(found, graph):
    assert found == graph
    for field in MATRICES:
        a, b = getattr(found, field), getattr(graph, field)
        assert (a is None) == (b is None)
        if b is not None:
            np.testing.assert_array_equal(a, b)


def assert_same_on_edges(found, graph):
    """An edge list knows nothing of absent edges."""
    assert found == graph
    for field in EDGE_MATRICES:
        a, b = getattr(found, field), getattr(graph, field)
        edges = getattr(graph, field.split("_")[0])
        assert (a is None) == (b is None or not edges.any())
        if a is not None:
            np.testing.assert_array_equal(a, np.where(edges, b, 0.0))


@settings(max_examples=50, deadline=None)
@given(graphs())
def test_dict_and_json_round_trip(graph):
    data = graph.to_dict()
    assert_same(CausalGraph.from_dict(data), graph)
    assert_same(CausalGraph.from_dict(json.loads(json.dumps(data, allow_nan=False))), graph)


def test_files_round_trip(tmp_path):
    path = tmp_path / "graph.json"

    @settings(max_examples=50, deadline=None)
    @given(graphs())
    def check(graph):
        graph.save(path)
        assert_same(CausalGraph.load(str(path)), graph)
        assert [file.name for file in tmp_path.iterdir()] == ["graph.json"]

    check()


def test_a_cyclic_graph_stays_allowed_on_every_way():
    full = CausalGraph.full(["a", "b"])
    for found in (
        CausalGraph.from_dict(full.to_dict()),
        CausalGraph.from_networkx(full.to_networkx()),
        CausalGraph.from_dot(full.to_dot()),
        CausalGraph.from_pandas(full.to_pandas(), allow_cycles=True),
    ):
        assert found == full
        assert found.allow_cycles


@settings(max_examples=50, deadline=None)
@given(graphs())
def test_networkx_round_trip(graph):
    exported = graph.to_networkx()
    assert isinstance(exported, nx.MultiDiGraph)
    assert list(exported) == list(graph.names)
    edges = {(("contemporaneous", "lagged")[lag], u, v) for u, v, lag in exported.edges.data("lag")}
    assert edges == set(graph.edges())
    assert_same_on_edges(CausalGraph.from_networkx(exported), graph)


@settings(max_examples=50, deadline=None)
@given(graphs())
def test_pandas_round_trip(graph):
    table = graph.to_pandas()
    assert list(table.columns) == ["parent", "child", "lag", "weight", "confidence"]
    assert len(table) == len(graph.edges())
    assert table.lag.dtype == np.int64
    assert table.weight.dtype == table.confidence.dtype == np.float64
    assert_same_on_edges(CausalGraph.from_pandas(table, graph.names, graph.kinds), graph)


@settings(max_examples=50, deadline=None)
@given(graphs())
def test_dot_round_trip_and_every_edge_on_a_line(graph):
    text = graph.to_dot()
    if not any("\n" in name or "->" in name for name in graph.names):
        assert sum("->" in line for line in text.splitlines()) == len(graph.edges())
    for block, parent, child in graph.edges():
        ends = [re.sub(r'(["\\])', r"\\\1", name) for name in (parent, child)]
        lag = int(block == "lagged")
        assert f'  "{ends[0]}" -> "{ends[1]}" [lag={lag}' in text
    assert_same_on_edges(CausalGraph.from_dot(text), graph)


def test_plain_foreign_graphs_are_read():
    wanted = CausalGraph(np.eye(3, k=1), names=["a", "b", "c"])
    assert CausalGraph.from_networkx(nx.DiGraph([("a", "b"), ("b", "c")])) == wanted
    assert CausalGraph.from_dot("strict digraph { a -> b -> c; } // done") == wanted
    table = pd.DataFrame({"parent": ["a", "b"], "child": ["b", "c"]})
    assert CausalGraph.from_pandas(table) == wanted
    assert (
        CausalGraph.from_dict({"names": ["a", "b", "c"], "contemporaneous": np.eye(3, k=1)})
        == wanted
    )
