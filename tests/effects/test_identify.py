"""Adjustment sets against brute force: linear models, in which a valid set is one that is right."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

import networkx as nx
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from causal_rl.effects import NotIdentifiedError, find_adjustment, is_valid_adjustment
from causal_rl.graphs import CausalGraph


def graph_of(edges: str, hidden: str = "") -> CausalGraph:
    """``"a>b b>c"`` as a graph; the letters of ``hidden`` are not observed."""
    pairs = [edge.split(">") for edge in edges.split()]
    names = sorted({name for pair in pairs for name in pair})
    adjacency = np.zeros((len(names), len(names)), dtype=bool)
    for cause, effect in pairs:
        adjacency[names.index(cause), names.index(effect)] = True
    kinds = ["hidden" if name in hidden else "state" for name in names]
    return CausalGraph(adjacency, names=names, kinds=kinds)


class LinearModel:
    """A random linear-Gaussian model on a DAG: covariances and total effects of the population."""

    def __init__(self, adjacency: np.ndarray, seed: int) -> None:
        rng = np.random.default_rng(seed)
        n = len(adjacency)
        weights = adjacency * rng.uniform(0.4, 1.6, (n, n)) * rng.choice([-1, 1], (n, n))
        self.totals = np.linalg.inv(np.eye(n) - weights)  # [i, j] effect of i on j
        self.covariance = self.totals.T @ np.diag(rng.uniform(0.5, 2.0, n)) @ self.totals

    def residual(self, target: int, given: list[int]) -> float:
        """Variance of one variable given others."""
        S = self.covariance
        if not given:
            return float(S[target, target])
        slopes = np.linalg.solve(S[np.ix_(given, given)], S[given, target])
        return float(S[target, target] - slopes @ S[given, target])

    def slope(self, treatment: int, outcome: int, given: list[int]) -> float:
        """Coefficient of the treatment in the regression on it and the set."""
        columns = [treatment, *given]
        S = self.covariance
        return float(np.linalg.solve(S[np.ix_(columns, columns)], S[columns, outcome])[0])

    def variance(self, treatment: int, outcome: int, given: list[int]) -> float:
        """Asymptotic variance of that coefficient, times the number of rows."""
        return self.residual(outcome, [treatment, *given]) / self.residual(treatment, given)


@st.composite
def problems(draw: st.DrawFn) -> tuple[CausalGraph, int]:
    """A random DAG of four to six nodes; the first is the treatment, the last the outcome."""
    n = draw(st.integers(4, 6))
    order = draw(st.permutations(range(n)))
    bits = draw(st.lists(st.booleans(), min_size=n * n, max_size=n * n))
    upper = np.triu(np.array(bits).reshape(n, n), k=1)
    adjacency = upper[np.ix_(order, order)]
    hidden = draw(st.sets(st.integers(1, n - 2), max_size=2))
    kinds = ["hidden" if i in hidden else "state" for i in range(n)]
    return CausalGraph(adjacency, kinds=kinds), draw(st.integers(0, 10_000))


def subsets(items: Iterable[int]) -> list[list[int]]:
    listed = list(items)
    sizes = range(len(listed) + 1)
    return [list(some) for size in sizes for some in itertools.combinations(listed, size)]


@settings(max_examples=40, deadline=None, derandomize=True)
@given(problems())
def test_against_brute_force(problem: tuple[CausalGraph, int]) -> None:
    graph, seed = problem
    n, names = graph.n, graph.names
    t, y = 0, n - 1
    model = LinearModel(graph.contemporaneous, seed)
    dag = nx.DiGraph()
    dag.add_nodes_from(names)
    dag.add_edges_from((a, b) for _, a, b in graph.edges())
    right = []
    for some in subsets(range(1, n - 1)):
        fits = abs(model.slope(t, y, some) - model.totals[t, y]) < 1e-9
        assert is_valid_adjustment(dag, names[t], names[y], [names[i] for i in some]) == fits
        if fits and all(graph.kinds[i] != "hidden" for i in some):
            right.append(some)
    if not right:
        with pytest.raises(NotIdentifiedError, match="not identified"):
            find_adjustment(graph, names[t], names[y])
        return
    found = find_adjustment(graph, names[t], names[y])
    chosen = graph.indices(found.covariates)
    assert sorted(chosen) in right
    assert found.no_effect == (abs(model.totals[t, y]) < 1e-12)
    if found.optimal:
        best = min(model.variance(t, y, some) for some in right)
        assert model.variance(t, y, chosen) <= best * (1 + 1e-9)
    elif not found.no_effect:
        # Nothing could be left out.
        for name in found.covariates:
            rest = set(found.covariates) - {name}
            assert not is_valid_adjustment(dag, names[t], names[y], rest)


@settings(max_examples=15, deadline=None, derandomize=True)
@given(problems())
def test_with_all_observed_the_effect_of_a_cause_is_identified(
    problem: tuple[CausalGraph, int],
) -> None:
    graph, _ = problem
    graph = graph.with_(kinds=["state"] * graph.n)
    assume(graph.names[-1] in graph.descendants(graph.names[0], include_self=False))
    assert find_adjustment(graph, graph.names[0], graph.names[-1]).optimal


@pytest.mark.parametrize(
    ("edges", "hidden", "covariates", "mediators"),
    [
        ("t>y", "", (), ()),
        ("c>t c>y t>y", "", ("c",), ()),
        ("t>m m>y c>t c>m", "", ("c",), ("m",)),
        # M-bias: the collider m is left alone.
        ("a>t a>m b>m b>y t>y", "ab", (), ()),
        # A collider and the outcome's consequence.
        ("t>y t>c y>c y>d", "", (), ()),
        # A cause of the outcome alone sharpens, a cause of the treatment alone blunts.
        ("z>t p>y t>y", "", ("p",), ()),
        # The confounder is hidden, what lies between it and the treatment is not.
        ("u>a a>t u>y t>y", "u", ("a",), ()),
    ],
)
def test_textbook_cases(
    edges: str, hidden: str, covariates: tuple[str, ...], mediators: tuple[str, ...]
) -> None:
    found = find_adjustment(graph_of(edges, hidden), "t", "y")
    assert found.covariates == covariates
    assert found.mediators == mediators
    told = found.explain()
    assert f"Adjusting for {', '.join(covariates) or 'nothing'} blocks" in told
    assert ("smallest asymptotic variance" in told) is found.optimal


def test_consequences_are_named() -> None:
    told = find_adjustment(graph_of("t>m m>y m>d c>t c>y"), "t", "y").explain()
    assert "m carries the effect and is left alone" in told
    assert "d is a consequence of it and left out" in told


def test_an_unobserved_confounder() -> None:
    with pytest.raises(NotIdentifiedError, match="effect of t on y is not identified"):
        find_adjustment(graph_of("u>t u>y t>y", "u"), "t", "y")


@pytest.mark.parametrize("edges", ["c>t c>y", "y>m m>t", "a>t b>y"])
def test_no_path_from_treatment_to_outcome(edges: str) -> None:
    found = find_adjustment(graph_of(edges), "t", "y")
    assert found.no_effect
    assert not found.optimal
    assert "no directed path from t to y" in found.explain()


def test_an_outcome_that_causes_the_treatment() -> None:
    with pytest.raises(NotIdentifiedError, match="y causes t"):
        find_adjustment(graph_of("y>t c>t"), "t", "y")


@pytest.mark.parametrize(
    ("graph", "treatment", "outcome", "message"),
    [
        (graph_of("t>y"), "t", "t", "outcome must be another variable"),
        (graph_of("t>y"), "s", "y", "treatment 's' is not in the graph; it has t, y"),
        (graph_of("t>y"), "t", "z", "outcome 'z' is not in the graph"),
        (graph_of("t>y", "t"), "t", "y", "treatment 't' is hidden"),
        (CausalGraph.full(["t", "y"]), "t", "y", "lagged edges"),
        (CausalGraph([[0, 1], [1, 0]], names=["t", "y"], allow_cycles=True), "t", "y", "cycle"),
    ],
)
def test_bad_input(graph: CausalGraph, treatment: str, outcome: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        find_adjustment(graph, treatment, outcome)
