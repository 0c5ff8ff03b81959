"""Projection to a DAG: drop edges until no cycle is left, and keep as much weight as possible.

The paper's ProjectToDAG (Algorithms 4 and 5) says only that a DAG comes out. Only edges inside a
strongly connected component can lie on a cycle, so every component is treated alone: small ones
exactly, by dynamic programming over the subsets that may come first in an order, large ones by a
greedy choice improved by moving single variables in the order.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from causal_rl.graphs.acyclicity import topological_order
from causal_rl.graphs.adjacency import BoolMatrix, FloatMatrix, read_matrix
from causal_rl.graphs.causal_graph import CausalGraph

EXACT_LIMIT = 12
"""Largest strongly connected component that is solved exactly; time grows as 2^size."""


def project_to_dag(weights: ArrayLike) -> FloatMatrix:
    """Drop edges from a weighted graph until it is acyclic.

    The result keeps the largest possible sum of absolute weights if no strongly connected component
    has more than `EXACT_LIMIT` variables, and never less than greedy choice by absolute weight. It
    is maximal: putting any dropped edge back would close a cycle. A DAG comes back unchanged.

    Args:
        weights: (n, n) real, nonzero at [i, j] if i causes j. Diagonal entries are cycles, and so
            they are dropped.

    Returns:
        (n, n) float64, the same weights with zeros at the dropped edges.

    Raises:
        TypeError: the entries are not real numbers.
        ValueError: not a square finite matrix.
    """
    matrix = read_matrix(weights, "weights")
    return np.where(_acyclic_edges(matrix != 0.0, np.abs(matrix)), matrix, 0.0)


def project_graph(graph: CausalGraph) -> CausalGraph:
    """Drop contemporaneous edges until that block is acyclic; the lagged block is never touched.

    Edges are valued by absolute weight where the graph has contemporaneous weights, else by
    confidence, else all alike.

    Args:
        graph: a graph built with ``allow_cycles=True``, or any other.

    Returns:
        A graph that refuses cycles. Weights of dropped edges are set to 0; confidences stay.

    Raises:
        TypeError: graph is not a CausalGraph.
    """
    if not isinstance(graph, CausalGraph):
        raise TypeError(f"graph must be a CausalGraph, got {type(graph).__name__}")
    edges = graph.contemporaneous
    weights = graph.contemporaneous_weights
    if weights is not None:
        strength = np.abs(weights)
    elif graph.contemporaneous_confidence is not None:
        strength = graph.contemporaneous_confidence
    else:
        strength = np.ones(edges.shape)
    kept = _acyclic_edges(edges, strength)
    return graph.with_(
        contemporaneous=kept,
        contemporaneous_weights=None if weights is None else np.where(edges & ~kept, 0.0, weights),
        contemporaneous_confidence=graph.contemporaneous_confidence,
        allow_cycles=False,
    )


def _acyclic_edges(edges: BoolMatrix, strength: FloatMatrix) -> BoolMatrix:
    """Choose the edges to keep; an edge of strength 0 is still an edge."""
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import connected_components

    kept = edges.copy()
    np.fill_diagonal(kept, False)
    count, component = connected_components(csr_array(kept), directed=True, connection="strong")
    for label in range(count):
        members = np.flatnonzero(component == label)
        if len(members) == 1:
            continue
        block = np.ix_(members, members)
        inside = kept[block]
        # Scaled so that sums can neither overflow nor vanish.
        value = np.where(inside, strength[block], 0.0)
        value /= value.max() or 1.0
        greedy = _greedy(inside, value)
        if len(members) <= EXACT_LIMIT:
            order = _best_order(value)
        else:
            order = _improve(topological_order(greedy), value)
        position = np.argsort(order)
        chosen = inside & (position[:, np.newaxis] < position[np.newaxis, :])
        # Rounding decides between sums that tie, and must not put us behind plain greedy.
        if value[chosen].sum() < value[greedy].sum():
            chosen = greedy
        kept[block] = _greedy(inside, value, start=chosen)
    return kept


def _greedy(edges: BoolMatrix, value: FloatMatrix, start: BoolMatrix | None = None) -> BoolMatrix:
    """Add edges by descending value, skipping those that would close a cycle."""
    chosen = np.zeros_like(edges) if start is None else start.copy()
    reach = _closure(chosen)
    candidates = np.argwhere(edges & ~chosen)
    # Stable, so that ties fall to the smaller indices and the result is deterministic.
    for k in np.argsort(-value[tuple(candidates.T)], kind="stable"):
        i, j = candidates[k]
        if reach[j, i]:
            continue
        chosen[i, j] = True
        reach |= reach[:, i, np.newaxis] & reach[np.newaxis, j]
    return chosen


def _closure(edges: BoolMatrix) -> BoolMatrix:
    """Who reaches whom along zero or more edges."""
    reach = edges | np.eye(len(edges), dtype=bool)
    for k in range(len(edges)):
        reach |= reach[:, k, np.newaxis] & reach[np.newaxis, k]
    return reach


def _best_order(value: FloatMatrix) -> list[int]:
    """Order whose forward edges carry the most value, by dynamic programming over subsets.

    best[S] is the most that the variables of S can keep among themselves; the last of them, v,
    keeps its edges from all the others: best[S] = max_v best[S - v] + sum_{u in S - v} value[u, v].
    """
    n = len(value)
    subsets = 1 << n
    incoming = np.zeros((n, subsets))
    for u in range(n):
        incoming[:, 1 << u : 2 << u] = incoming[:, : 1 << u] + value[u][:, np.newaxis]
    best = np.zeros(subsets)
    last = np.zeros(subsets, dtype=np.int64)
    for group in _subsets_by_size(n):
        gains = np.full((n, len(group)), -np.inf)
        for v in range(n):
            has = (group >> v) & 1 == 1
            without = group[has] ^ (1 << v)
            gains[v, has] = best[without] + incoming[v, without]
        last[group] = gains.argmax(axis=0)
        best[group] = gains.max(axis=0)
    order: list[int] = []
    remaining = subsets - 1
    while remaining:
        v = int(last[remaining])
        order.append(v)
        remaining ^= 1 << v
    return order[::-1]


def _subsets_by_size(n: int) -> list[NDArray[np.int64]]:
    masks = np.arange(1 << n, dtype=np.int64)
    sizes = np.zeros(1 << n, dtype=np.int64)
    for v in range(n):
        sizes += (masks >> v) & 1
    return [masks[sizes == size] for size in range(1, n + 1)]


def _improve(order: list[int], value: FloatMatrix) -> list[int]:
    """Move single variables to their best place in the order until none gains."""
    order = list(order)
    gain_matrix = value - value.T
    improved = True
    while improved:
        improved = False
        for v in list(order):
            rest = [u for u in order if u != v]
            # kept[p]: what v keeps at place p, less a constant: parents before it, children after.
            kept = np.concatenate([[0.0], np.cumsum(gain_matrix[rest, v])])
            here, there = order.index(v), int(kept.argmax())
            # A margin above rounding, so that the loop must end.
            if kept[there] > kept[here] + 1e-9:
                rest.insert(there, v)
                order = rest
                improved = True
    return order
