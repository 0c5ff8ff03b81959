from __future__ import annotations

import itertools

import networkx as nx
import numpy as np
import pytest
import scipy.linalg
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from causal_rl.graphs import (
    find_cycle,
    h_expm,
    h_expm_torch,
    h_logdet,
    h_logdet_torch,
    is_dag,
    reachability,
    topological_order,
)

seeds = st.integers(0, 2**32 - 1).map(np.random.default_rng)


def random_weights(rng, n, radius=0.9):
    """Weights whose W∘W has a spectral radius of `radius`, unless it is nilpotent."""
    W = rng.normal(size=(n, n)) * (rng.random((n, n)) < rng.random())
    found = np.abs(np.linalg.eigvals(W * W)).max()
    return W * np.sqrt(radius / found) if found > 1e-3 else W


def random_dag_weights(rng, n, scale):
    order = rng.permutation(n)
    return (scale * np.triu(rng.normal(size=(n, n)), 1))[np.ix_(order, order)]


@settings(deadline=None)
@given(seeds, st.integers(1, 8))
def test_orders_and_cycles_agree_with_networkx(rng, n):
    # Few edges, so that both outcomes come up; any nonzero number is an edge.
    weights = rng.normal(size=(n, n)) * (rng.random((n, n)) < rng.uniform(0, 1.5 / n))
    oracle = nx.from_numpy_array((weights != 0).astype(int), create_using=nx.DiGraph)
    acyclic = nx.is_directed_acyclic_graph(oracle)
    assert is_dag(weights) == acyclic
    cycle = find_cycle(weights)
    if acyclic:
        assert cycle is None
        order = topological_order(weights)
        assert order == list(nx.lexicographical_topological_sort(oracle))
        return
    assert cycle[0] == cycle[-1]
    assert all(weights[i, j] != 0 for i, j in itertools.pairwise(cycle))
    assert len(cycle) - 1 == min(len(c) for c in nx.simple_cycles(oracle))
    with pytest.raises(ValueError, match=r"adjacency must be acyclic.* -> "):
        topological_order(weights)


@settings(deadline=None)
@given(seeds, st.integers(0, 9))
def test_reachability_is_the_reflexive_closure_of_networkx(rng, n):
    edges = rng.random((n, n)) < rng.uniform(0, 0.6)
    graph = nx.from_numpy_array(edges.astype(int), create_using=nx.DiGraph)
    closure = nx.to_numpy_array(nx.transitive_closure(graph, reflexive=True), dtype=bool)
    np.testing.assert_array_equal(reachability(edges), closure)


def test_small_cycles():
    assert find_cycle([[1]]) == [0, 0]
    assert find_cycle([[0, 1], [1, 0]]) == [0, 1, 0]
    assert topological_order([[0, 0], [1, 0]]) == [1, 0]


@settings(deadline=None)
@given(seeds, st.integers(1, 7))
def test_values_agree_with_expm_and_slogdet(rng, n):
    W = random_weights(rng, n)
    value, gradient = h_expm(W)
    assert value == pytest.approx(np.trace(scipy.linalg.expm(W * W)) - n, abs=1e-10)
    assert gradient.shape == W.shape
    s = rng.uniform(1.0, 3.0)
    value, _ = h_logdet(W, s)
    sign, logdet = np.linalg.slogdet(s * np.eye(n) - W * W)
    assert sign == 1
    assert value == pytest.approx(n * np.log(s) - logdet, abs=1e-9)


@settings(deadline=None, max_examples=30)
@given(seeds, st.integers(1, 6))
def test_gradients_agree_with_central_differences_and_autograd(rng, n):
    W = random_weights(rng, n, radius=0.6)
    before, step = W.copy(), 1e-5
    for ours, theirs in (
        (h_expm, h_expm_torch),
        (h_logdet, h_logdet_torch),
        (lambda W: h_logdet(W, 1.7), lambda W: h_logdet_torch(W, 1.7)),
    ):
        value, gradient = ours(W)
        np.testing.assert_array_equal(W, before)
        for i, j in np.ndindex(n, n):
            bump = np.zeros((n, n))
            bump[i, j] = step
            slope = (ours(W + bump)[0] - ours(W - bump)[0]) / (2 * step)
            assert gradient[i, j] == pytest.approx(slope, rel=1e-4, abs=1e-6)
        tensor = torch.tensor(W, requires_grad=True)
        result = theirs(tensor)
        result.backward()
        assert result.dtype == torch.float64
        assert result.item() == pytest.approx(value, abs=1e-9)
        np.testing.assert_allclose(tensor.grad.numpy(), gradient, rtol=1e-6, atol=1e-9)


@settings(deadline=None)
@given(seeds, st.integers(1, 8))
def test_zero_on_dags_and_positive_on_cycles(rng, n):
    dag = random_dag_weights(rng, n, scale=1.0)
    assert h_expm(dag)[0] == pytest.approx(0.0, abs=1e-9)
    assert h_expm_torch(torch.tensor(dag)).item() == pytest.approx(0.0, abs=1e-9)
    assert h_logdet_torch(torch.tensor(dag)).item() == pytest.approx(0.0, abs=1e-9)
    # Every acyclic matrix lies in the domain of the determinant, however large its weights.
    dag = random_dag_weights(rng, n, scale=10.0)
    assert h_logdet(dag)[0] == 0.0
    assert h_logdet(dag, 0.5)[0] == pytest.approx(0.0, abs=1e-12)
    # One ring through all variables: its eigenvalues are w² times the roots of unity.
    ring, w = np.roll(np.eye(n), 1, axis=1), rng.uniform(0.5, 0.9)
    roots = w**2 * np.exp(2j * np.pi * np.arange(n) / n)
    assert h_expm(w * ring)[0] == pytest.approx(np.exp(roots).sum().real - n, abs=1e-10)
    value, _ = h_logdet(w * ring)
    assert value == pytest.approx(-np.log(1 - w ** (2 * n)))
    assert value > 0


def test_torch_versions_take_batches():
    rng = np.random.default_rng(0)
    batch = np.stack([random_weights(rng, 4, radius=0.5) for _ in range(6)]).reshape(2, 3, 4, 4)
    for ours, theirs in ((h_expm, h_expm_torch), (h_logdet, h_logdet_torch)):
        found = theirs(torch.tensor(batch))
        assert found.shape == (2, 3)
        expected = [ours(W)[0] for W in batch.reshape(6, 4, 4)]
        np.testing.assert_allclose(found.ravel(), expected, atol=1e-10)
