from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from causal_rl.graphs import KINDS, CausalGraph, possible_edges

NAMES = [f"v{i}" for i in range(8)]


def test_empty_has_no_edges():
    graph = CausalGraph.empty(["a", "b"], ["state", "reward"])
    assert graph == CausalGraph(np.zeros((2, 2)), None, ["a", "b"], ["state", "reward"])
    assert graph.edges() == []


def test_full_has_every_edge_that_the_kinds_leave_possible():
    names, kinds = ("s", "h", "a", "c", "r"), ("state", "hidden", "action", "context", "reward")
    blocks = {"contemporaneous": set(), "lagged": set()}
    for block, parent, child in CausalGraph.full(names, kinds).edges():
        blocks[block].add((parent, child))
    # Nothing points at an action or a context, a reward points at nothing.
    allowed = set(itertools.product("shac", "shr"))
    loops = {("s", "s"), ("h", "h")}
    assert blocks["contemporaneous"] == allowed - loops
    # A context is held in its episode: it has no lagged effect.
    assert blocks["lagged"] == {edge for edge in allowed if edge[0] != "c"}


@settings(deadline=None)
@given(st.lists(st.sampled_from(KINDS), min_size=1, max_size=8), st.integers(0, 99))
def test_random_graphs_respect_the_kinds_and_the_seed(kinds, seed):
    names = NAMES[: len(kinds)]
    contemporaneous, lagged = possible_edges(kinds)
    pairs = int(np.triu(contemporaneous | contemporaneous.T, 1).sum())
    empty = CausalGraph.random(names, kinds, 0.0, seed, lagged_density=0.0)
    assert empty == CausalGraph.empty(names, kinds)
    graph = CausalGraph.random(names, kinds, pairs / len(kinds), seed)
    # The constructor has refused cycles: a DAG that joins every pair that can be joined.
    assert graph.contemporaneous.sum() == pairs
    assert not (graph.contemporaneous & ~contemporaneous).any()
    assert not (graph.lagged & ~lagged).any()
    again = np.random.default_rng(seed)
    assert graph == CausalGraph.random(names, kinds, pairs / len(kinds), again)
    middle = CausalGraph.random(names, kinds, pairs / len(kinds) / 2, seed)
    assert not (middle.contemporaneous & ~contemporaneous).any()


def test_random_density_is_the_expected_number_of_edges_per_variable():
    rng = np.random.default_rng(0)
    drawn = [CausalGraph.random(NAMES, None, 2.0, rng, lagged_density=1.0) for _ in range(400)]
    counts = np.array([(g.contemporaneous.sum(), g.lagged.sum()) for g in drawn])
    # Standard deviations of the mean: sqrt(16 * 3/7 / 400) = 0.13 and sqrt(8 * 7/8 / 400) = 0.13.
    np.testing.assert_allclose(counts.mean(axis=0), [16, 8], atol=0.65)
    # No order of the variables is preferred.
    forward = np.mean([np.triu(g.contemporaneous).sum() for g in drawn])
    assert forward == pytest.approx(8, abs=0.8)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((["a", "b"], None, 0.6, 0), ValueError, r"density must lie in \[0, 0.5\].*got 0.6"),
        ((["a", "b"], None, -0.1, 0), ValueError, "density must lie in"),
        ((["a", "b"], None, float("nan"), 0), ValueError, "density must lie in"),
        ((["a", "a"], None, 0.1, 0), ValueError, "names must be distinct"),
        ((["a", "b"], ["state", "x"], 0.1, 0), ValueError, "kinds must be among"),
        (("ab", None, 0.1, 0), TypeError, "names must be a sequence"),
    ],
)
def test_random_refuses_bad_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        CausalGraph.random(*arguments)


def test_random_refuses_more_lagged_edges_than_there_can_be():
    with pytest.raises(ValueError, match=r"lagged_density must lie in \[0, 2\]"):
        CausalGraph.random(["a", "b"], None, 0.1, 0, lagged_density=2.5)


@pytest.mark.parametrize(
    "build", [CausalGraph.empty, CausalGraph.full, lambda n: CausalGraph.random(n, None, 0.0, 0)]
)
def test_no_names_are_refused(build):
    with pytest.raises(ValueError, match=r"at least one entry|n >= 1"):
        build([])
