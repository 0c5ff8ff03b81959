"""Graphs over two steps: what is valid there is valid in a longer history."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from causal_rl.effects import NotIdentifiedError, find_adjustment, is_valid_adjustment
from causal_rl.effects.two_steps import two_step_graph
from causal_rl.graphs import CausalGraph

STEPS = 4


def unrolled(graph: CausalGraph) -> nx.DiGraph:
    """Several steps; the last one has the plain names, the one before ``_before``."""

    def node(name: str, step: int) -> str:
        kind = graph.kinds[graph.index(name)]
        if kind == "context" or step == STEPS - 1:
            return name
        return f"{name}_before" if step == STEPS - 2 else f"{name}@{step}"

    dag = nx.DiGraph()
    for step in range(STEPS):
        dag.add_nodes_from(node(name, step) for name in graph.names)
        for block, cause, effect in graph.edges():
            earlier = step - (block == "lagged")
            if earlier >= 0:
                dag.add_edge(node(cause, earlier), node(effect, step))
    return dag


@st.composite
def worlds(draw: st.DrawFn) -> CausalGraph:
    kinds = ["state", "state", "state", draw(st.sampled_from(["state", "hidden"])), "context"]
    names = ["t", "m", "c", "h", "k"]
    seed = draw(st.integers(0, 10_000))
    return CausalGraph.random([*names, "y"], [*kinds, "reward"], 1.2, seed, lagged_density=0.8)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(worlds())
def test_what_is_valid_over_two_steps_is_valid_in_the_history(graph: CausalGraph) -> None:
    try:
        found = find_adjustment(two_step_graph(graph), "t", "y")
    except NotIdentifiedError:
        return
    assert is_valid_adjustment(unrolled(graph), "t", "y", found.covariates)


def test_the_edges_of_both_steps() -> None:
    kinds = ["state", "context", "reward"]
    graph = CausalGraph(
        [[0, 0, 1], [1, 0, 0], [0, 0, 0]], [[1, 0, 1], [0, 0, 0], [0, 0, 0]], ["x", "k", "r"], kinds
    )
    found = two_step_graph(graph)
    assert found.names == ("the past", "x_before", "x", "k", "r")
    assert found.kinds == ("hidden", "state", *kinds)
    assert not found.lagged.any()
    assert {(cause, effect) for _, cause, effect in found.edges()} == {
        ("the past", "x_before"),
        ("k", "the past"),
        ("k", "x_before"),
        ("k", "x"),
        ("x_before", "x"),
        ("x", "r"),
        ("x_before", "r"),
    }


def test_what_an_agent_sets_is_caused_by_what_it_saw() -> None:
    edges = np.zeros((4, 4), dtype=bool)
    edges[0, 1] = edges[1, 3] = True
    kinds = ["state", "state", "hidden", "reward"]
    found = two_step_graph(
        CausalGraph(edges, np.eye(4) * [1, 1, 1, 0], ["a", "b", "h", "r"], kinds),
        set_by_agent=["b"],
    )
    assert set(found.parents("b")) == {"a_before", "b_before"}
    assert set(found.parents("b_before")) == {"the past", "a_before"}


def test_bad_input() -> None:
    graph = CausalGraph.empty(["x", "y"])
    with pytest.raises(ValueError, match="set_by_agent: no variable is named 'z'"):
        two_step_graph(graph, set_by_agent=["z"])
    with pytest.raises(ValueError, match="x_before"):
        two_step_graph(CausalGraph.empty(["x", "x_before"]))
