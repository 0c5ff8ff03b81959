"""One-step graphs against counting all paths, and against simulators."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from causal_rl.graphs import CausalGraph, one_step_graph, within_step_reach
from causal_rl.scm import DynamicSCM, Linear, Variable, perturbation_one_step

SEEDS = st.integers(0, 2**32 - 1)


def random_graph(seed: int, n: int) -> CausalGraph:
    """Any density, labels in no causal order; contexts and a reward keep to their rules."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(n)
    now = np.zeros((n, n), dtype=bool)
    now[np.ix_(order, order)] = np.triu(rng.random((n, n)) < rng.random(), k=1)
    lag = rng.random((n, n)) < rng.random()
    kinds = rng.choice(["state", "context", "hidden", "action"], size=n, p=[0.4, 0.3, 0.2, 0.1])
    context = kinds == "context"
    now[:, context] = lag[:, context] = lag[context] = False
    if n > 1 and rng.random() < 0.5:
        now[-1] = lag[-1] = False
        kinds[-1] = "reward"
    return CausalGraph(now, lag, [f"v{i}" for i in range(n)], kinds.tolist())


def within_step_paths(graph: CausalGraph, start: int) -> Iterator[list[int]]:
    """Every path inside a step, the one of no edges included."""
    stack = [[start]]
    while stack:
        path = stack.pop()
        yield path
        stack += [[*path, int(k)] for k in np.flatnonzero(graph.contemporaneous[path[-1]])]


def enumerated(graph: CausalGraph) -> set[tuple[int, int]]:
    """(i, j) if something leads from i at t over the border of the step to j at t + 1."""
    edges = set()
    for i, kind in enumerate(graph.kinds):
        entries = [int(k) for k in np.flatnonzero(graph.lagged[i])]
        if kind == "context":
            entries.append(i)
        edges |= {(i, path[-1]) for k in entries for path in within_step_paths(graph, k)}
    return edges


@settings(max_examples=150, deadline=None)
@given(SEEDS, st.integers(1, 6))
def test_it_counts_every_path_over_one_border(seed: int, n: int) -> None:
    graph = random_graph(seed, n)
    one = one_step_graph(graph)
    assert {(int(i), int(j)) for i, j in np.argwhere(one.lagged)} == enumerated(graph)
    assert not one.contemporaneous.any()
    assert (one.names, one.kinds) == (graph.names, graph.kinds)


@settings(max_examples=150, deadline=None)
@given(SEEDS, st.integers(1, 6))
def test_reach_is_the_ends_of_all_paths(seed: int, n: int) -> None:
    graph = random_graph(seed, n)
    reach = within_step_reach(graph)
    for i in range(n):
        ends = {path[-1] for path in within_step_paths(graph, i)}
        assert ends == {int(j) for j in np.flatnonzero(reach[i])}
    # Reflexive and transitive, and lagged edges play no part.
    assert reach.diagonal().all()
    assert ((reach @ reach) == reach).all()
    bare = graph.with_(lagged=np.zeros((n, n), dtype=bool))
    np.testing.assert_array_equal(within_step_reach(bare), reach)


@settings(max_examples=40, deadline=None)
@given(SEEDS, st.integers(2, 6))
def test_it_is_what_moving_values_of_a_simulator_finds(seed: int, n: int) -> None:
    graph = random_graph(seed, n)
    variables = []
    for name, kind in zip(graph.names, graph.kinds, strict=True):
        now, lag = (graph.parents(name, block=b) for b in ("contemporaneous", "lagged"))
        k = len(now) + len(lag)
        # All effects are positive, so that no two paths cancel.
        rng = np.random.default_rng([seed, len(variables)])
        mechanism = Linear(rng.uniform(0.2, 0.9, size=k) / max(k, 1)) if k else None
        variables.append(Variable(name, mechanism, parents=now, lagged_parents=lag, kind=kind))
    scm = DynamicSCM(variables)
    assert perturbation_one_step(scm, seed, 8) == one_step_graph(scm.graph)
    assert one_step_graph(scm.graph) == one_step_graph(graph)


def test_an_order_of_nodes_does_not_matter() -> None:
    graph = random_graph(3, 6)
    names = tuple(reversed(graph.names))
    assert one_step_graph(graph.permute(names)) == one_step_graph(graph).permute(names)


@pytest.mark.parametrize(
    ("now", "lag", "kinds", "expected"),
    [
        # a -> b inside, b remembers: a leaves nothing behind, its effect was in b already.
        ([(0, 1)], [(1, 1)], ["state"] * 3, {("b", "b")}),
        # a acts a step later on b, b at once on c.
        ([(1, 2)], [(0, 1)], ["state"] * 3, {("a", "b"), ("a", "c")}),
        # A context is carried over and acts inside the next step.
        (
            [(0, 1), (1, 2)],
            [],
            ["context", "state", "reward"],
            {("a", "a"), ("a", "b"), ("a", "c")},
        ),
        # Two lags make two steps, not one.
        ([], [(0, 1), (1, 2)], ["state"] * 3, {("a", "b"), ("b", "c")}),
        ([(0, 1)], [], ["state"] * 3, set()),
    ],
)
def test_by_hand(
    now: list[tuple[int, int]],
    lag: list[tuple[int, int]],
    kinds: list[str],
    expected: set[tuple[str, str]],
) -> None:
    blocks = np.zeros((2, 3, 3), dtype=bool)
    for block, edges in zip(blocks, (now, lag), strict=True):
        for i, j in edges:
            block[i, j] = True
    one = one_step_graph(CausalGraph(blocks[0], blocks[1], list("abc"), kinds))
    assert {edge[1:] for edge in one.edges()} == expected
