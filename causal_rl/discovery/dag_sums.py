"""Sums over all DAGs in 3^n steps: the normalising constant of a modular posterior, and marginals.

Let W(U) be the summed weight of the ways to complete an ancestrally closed set U to a DAG over all
variables. Those without a parent outside of U come next; inclusion and exclusion over them gives
(Tian and He 2009)

    W(U) = sum over nonempty T outside of U of (-1)^(|T| + 1) W(U + T) prod_{j in T} A_j(U),

with A_j(U) the summed weight of j's sets of parents inside U. No term exceeds the sum, so that the
differences lose at most n bits; everything is kept as logarithms. The derivatives of log W({})
by the log weights are the marginal probabilities of the sets of parents, by the chain rule.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from causal_rl.discovery.parent_tables import Array, ParentTables, subsets


@dataclass(frozen=True)
class DagSums:
    """What is summed over all DAGs.

    Attributes:
        log_total: log of the summed weights.
        edge_probabilities: ``(n, n)`` share of the weight in which [i, j] is an edge.
    """

    log_total: float
    edge_probabilities: Array


def sum_over_dags(tables: ParentTables) -> DagSums:
    """Sum the weights of all DAGs, and of those with each edge.

    Args:
        tables: with all other variables as candidates of each, ``K = n - 1``.

    Raises:
        ValueError: candidates are missing.
    """
    n = tables.n
    if tables.bits != n - 1:
        raise ValueError(f"tables have {tables.bits} candidates a variable; {n - 1} are needed")
    full = (1 << n) - 1
    available = _over_all(tables, tables.sums())
    # W(U), from the whole set down.
    completions = np.full(full + 1, -np.inf)
    completions[full] = 0.0
    layers: list[tuple[NDArray[np.int64], NDArray[np.float64], Array] | None] = [None] * full
    for placed in range(full - 1, -1, -1):
        outside = [j for j in range(n) if not placed >> j & 1]
        sets = subsets(full ^ placed)[1:]
        weight = np.zeros(1)
        for j in outside:
            weight = np.concatenate([weight, weight + available[j, placed]])
        signs = np.where(np.bitwise_count(sets) % 2 == 1, 1.0, -1.0)
        terms = completions[placed | sets] + weight[1:]
        completions[placed] = _signed_log_sum(terms, signs)
        layers[placed] = (sets, signs, terms)
    log_total = float(completions[0])
    # Derivatives: V(U) = d log W({}) / d W(U) * W(U), signed and in [0, 1] by combinatorics.
    flow = np.zeros(full + 1)
    flow[0] = 1.0
    by_available = np.zeros((n, full + 1))
    for placed in range(full):
        layer = layers[placed]
        if layer is None or not np.isfinite(completions[placed]):
            continue
        sets, signs, terms = layer
        share = flow[placed] * signs * np.exp(terms - completions[placed])
        flow[placed | sets] += share
        for j in range(n):
            if not placed >> j & 1:
                by_available[j, placed] = share[(sets >> j & 1) == 1].sum()
    return DagSums(log_total, _edges(tables, available, by_available))


def _edges(tables: ParentTables, available: Array, by_available: Array) -> Array:
    """Marginals of edges, from the derivatives by the log of every A_j(U)."""
    n, bits = tables.n, tables.bits
    edges = np.zeros((n, n))
    members = ((np.arange(1 << bits)[:, None] >> np.arange(bits)) & 1).astype(bool)
    for j in range(n):
        index = _without(n, j)
        derivative = np.zeros(1 << bits)
        reachable = (np.arange(1 << n) >> j & 1) == 0
        np.add.at(derivative, index[reachable], by_available[j, reachable])
        sums = available[j, _with_gap(bits, j)]
        # P(parents) = weight * sum over U containing them of derivative / A(U).
        log_parts = np.where(np.isfinite(sums), -sums, -np.inf)
        probability = _superset_share(tables.log_weights[j], log_parts, derivative)
        for b in range(bits):
            edges[tables.candidates[j, b], j] = probability[members[:, b]].sum()
    return np.clip(edges, 0.0, 1.0)


def _superset_share(log_weights: Array, log_inverse: Array, derivative: Array) -> Array:
    """``exp(log_weights[s]) * sum over u >= s of derivative[u] exp(log_inverse[u])``, stably."""
    positive = np.where(derivative > 0, np.log(np.maximum(derivative, 1e-300)), -np.inf)
    negative = np.where(derivative < 0, np.log(np.maximum(-derivative, 1e-300)), -np.inf)
    result = np.zeros(len(log_weights))
    for part, sign in ((positive, 1.0), (negative, -1.0)):
        sums = (part + log_inverse)[::-1].copy()
        size, bit = len(sums), 1
        while bit < size:  # subsets of the complement are supersets
            halves = sums.reshape(size // (2 * bit), 2, bit)
            halves[:, 1] = np.logaddexp(halves[:, 1], halves[:, 0])
            bit *= 2
        log_share = log_weights + sums[::-1]
        result += sign * np.exp(np.minimum(log_share, 50.0))
    return np.maximum(result, 0.0)


def _signed_log_sum(terms: Array, signs: Array) -> float:
    top = float(terms.max())
    if not np.isfinite(top):
        return -np.inf
    total = float((signs * np.exp(terms - top)).sum())
    return top + np.log(total) if total > 0 else -np.inf


def _without(n: int, j: int) -> NDArray[np.int64]:
    """Every set of n variables as a set of the n - 1 others than j."""
    sets = np.arange(1 << n, dtype=np.int64)
    low = (1 << j) - 1
    return (sets & low) | ((sets >> 1) & ~low)


def _with_gap(bits: int, j: int) -> NDArray[np.int64]:
    """Every set of the others than j as a set of all variables."""
    sets = np.arange(1 << bits, dtype=np.int64)
    low = (1 << j) - 1
    return (sets & low) | ((sets & ~low) << 1)


def _over_all(tables: ParentTables, sums: Array) -> Array:
    """``(n, 2^n)`` A_j(U) in logarithms, U over all variables; j's own bit does not matter."""
    n = tables.n
    return np.stack([sums[j, _without(n, j)] for j in range(n)])
