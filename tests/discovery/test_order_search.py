"""Search over orders, on scores whose best graph is known."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations, permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from causal_rl.discovery.order_search import OrderSearch
from causal_rl.graphs import is_dag, topological_order


class _Table:
    """A random score for every set of parents."""

    def __init__(self, d: int, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.values = {
            (j, parents): float(rng.normal())
            for j in range(d)
            for k in range(d)
            for parents in combinations([i for i in range(d) if i != j], k)
        }

    def __call__(self, target: int, parents: Sequence[int]) -> float:
        return self.values[target, tuple(parents)]


def _gaussian(covariance: np.ndarray, rows: int):  # type: ignore[no-untyped-def]
    """Log-likelihood of linear-Gaussian mechanisms at a population covariance."""

    def score(target: int, parents: Sequence[int]) -> float:
        own, chosen = covariance[target, target], list(parents)
        if chosen:
            cross = covariance[chosen, target]
            own -= cross @ np.linalg.solve(covariance[np.ix_(chosen, chosen)], cross)
        return float(-0.5 * rows * np.log(own))

    return score


def _free(d: int) -> np.ndarray:
    return ~np.eye(d, dtype=bool)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), d=st.integers(2, 5))
def test_the_graph_is_that_of_the_order_and_no_single_move_betters_it(seed: int, d: int) -> None:
    search = OrderSearch(_Table(d, seed), _free(d))
    start = np.random.default_rng(seed).permutation(d).tolist()
    best, order = search.improve(start)
    edges = search.edges(order)
    assert sorted(order) == list(range(d))
    assert is_dag(edges)
    place = np.argsort(order)
    assert all(place[i] < place[j] for i, j in np.argwhere(edges))
    assert best == pytest.approx(
        sum(search.local(j, np.flatnonzero(edges[:, j]).tolist()) for j in range(d))
    )
    assert best >= search.total(start) - 1e-9
    for column in order:
        others = [i for i in order if i != column]
        for k in range(d):
            assert search.total([*others[:k], column, *others[k:]]) <= best + 1e-6


@pytest.mark.parametrize("seed", range(8))
def test_it_finds_the_best_order_of_a_gaussian_model(seed: int) -> None:
    rng, d = np.random.default_rng(seed), 5
    weights = np.triu(rng.uniform(0.5, 1.5, (d, d)) * (rng.random((d, d)) < 0.6), 1)
    labels = rng.permutation(d)
    weights = weights[np.ix_(labels, labels)]
    inverse = np.linalg.inv(np.eye(d) - weights)
    search = OrderSearch(_gaussian(inverse.T @ inverse, 1000), _free(d), penalty=3.0)
    found = max(search.improve(search.random_order(rng))[0] for _ in range(4))
    best = max(search.total(order) for order in permutations(range(d)))
    assert found == pytest.approx(best)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_required_and_forbidden_edges_and_the_past(seed: int) -> None:
    d, rng = 4, np.random.default_rng(seed)
    past = 2
    candidates = rng.random((d + past, d)) < 0.7
    candidates[:d] &= ~np.eye(d, dtype=bool)
    required = np.triu(rng.random((d, d)) < 0.3, 1)
    required = np.vstack([required, np.zeros((past, d), bool)])
    candidates |= required
    table = rng.normal(size=(d, 2 ** (d + past)))

    def score(target: int, parents: Sequence[int]) -> float:
        return float(table[target, sum(2**i for i in parents)])

    search = OrderSearch(score, candidates, required, most_parents=2)
    _, order = search.improve(search.random_order(rng))
    edges = search.edges(order)
    assert not (edges & ~candidates).any()
    assert (edges & required == required).all()
    assert is_dag(edges[:d])
    assert ((edges & ~required).sum(axis=0) <= 2).all()
    assert topological_order(edges[:d]) is not None
