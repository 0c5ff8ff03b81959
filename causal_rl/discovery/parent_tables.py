"""Weights of all sets of parents of every variable: what a modular posterior over DAGs is made of.

The posterior weight of a DAG is the product of its variables' weights. Tables are over subsets of
each variable's candidates, a bit a candidate, so that sums over "all sets of parents among those
placed before" are looked up.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from causal_rl.discovery.local_evidence import LocalEvidence

Array = NDArray[np.float64]
BoolMatrix = NDArray[np.bool_]
Orders = NDArray[np.intp]


@dataclass(frozen=True)
class ParentTables:
    """Log weights of sets of parents.

    Attributes:
        candidates: ``(n, K)`` the possible parents of every variable.
        log_weights: ``(n, 2^K)``, entry s of row j for the parents ``candidates[j, b]`` of all bits
            b in s; minus infinity where that set cannot be. Lagged parents are summed out.
        lagged: ``(n, L)`` the possible lagged parents of every variable; L is 0 in a table.
        lagged_log_weights: ``(n, 2^L, 2^K)`` before the sum, or None where L is 0.
    """

    candidates: Orders
    log_weights: Array
    lagged: Orders | None = None
    lagged_log_weights: Array | None = None

    @property
    def n(self) -> int:
        """Number of variables."""
        return len(self.candidates)

    @property
    def bits(self) -> int:
        """K, the number of candidates of a variable."""
        return int(self.candidates.shape[1])

    def sums(self) -> Array:
        """``(n, 2^K)`` log of the summed weights of all subsets of each set."""
        return subset_sums(self.log_weights)

    def needed(self) -> BoolMatrix:
        """``(n, n)`` true at [i, j] where every set of parents that j may have holds i."""
        found = np.zeros((self.n, self.n), dtype=bool)
        for j in range(self.n):
            common = np.bitwise_and.reduce(np.flatnonzero(np.isfinite(self.log_weights[j])))
            bits = (int(common) >> np.arange(self.bits)) & 1
            found[self.candidates[j], j] = bits.astype(bool)
        return found

    def sets_of(self, graphs: BoolMatrix) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Where the parents of ``(M, n, n)`` graphs stand in the tables.

        Returns:
            ``(sets (M, n), inside (M, n))``; not inside: a parent that is no candidate.
        """
        graphs = np.asarray(graphs, dtype=bool)
        powers = 1 << np.arange(self.bits, dtype=np.int64)
        chosen = np.stack(
            [graphs[:, self.candidates[j], j] for j in range(self.n)], axis=1
        )  # (M, n, K)
        inside = chosen.sum(axis=2) == graphs.sum(axis=1)
        return chosen @ powers, inside

    def log_weight(self, graphs: BoolMatrix) -> Array:
        """``(M,)`` log weights of ``(M, n, n)`` DAGs."""
        sets, inside = self.sets_of(graphs)
        weights = self.log_weights[np.arange(self.n), sets]
        total: Array = np.where(inside, weights, -np.inf).sum(axis=1)
        return total

    def lagged_probabilities(self, graph: BoolMatrix) -> Array:
        """``(n, n)`` of every lagged edge, given the parents ``(n, n)`` inside the step."""
        found = np.zeros((self.n, self.n))
        if self.lagged is None or self.lagged_log_weights is None:
            return found
        sets = self.sets_of(graph[None])[0][0]
        bits = self.lagged.shape[1]
        members = (np.arange(1 << bits)[:, None] >> np.arange(bits)) & 1
        for j in range(self.n):
            table = self.lagged_log_weights[j, :, sets[j]]
            if np.isfinite(table.max()):
                share = np.exp(table - table.max())
                found[self.lagged[j], j] = (share / share.sum()) @ members
        probability: Array = np.clip(found, 0.0, 1.0)
        return probability

    def predecessors(self, orders: Orders) -> NDArray[np.int64]:
        """``(M, n)``: for every variable the set of candidates that stand before it."""
        position = np.argsort(orders, axis=1)
        before = position[:, self.candidates] < position[:, :, None]  # (M, n, K)
        found: NDArray[np.int64] = before @ (1 << np.arange(self.bits, dtype=np.int64))
        return found

    def draw_graphs(
        self, orders: Orders, sums: Array, rng: np.random.Generator
    ) -> tuple[BoolMatrix, Array]:
        """One DAG a order, exactly from the posterior given that order.

        Args:
            orders: ``(M, n)`` variables, causes first.
            sums: as `sums` returns them.
            rng: the generator.

        Returns:
            ``(graphs (M, n, n), log_probability (M,))`` of each graph given its order.
        """
        before = self.predecessors(orders)
        graphs = np.zeros((len(orders), self.n, self.n), dtype=bool)
        log_probability = np.zeros(len(orders))
        every = np.arange(1 << self.bits, dtype=np.int64)
        uniform = rng.random((self.n, len(orders)))
        for j in range(self.n):
            available, group = np.unique(before[:, j], return_inverse=True)
            log_p = self.log_weights[j] - sums[j, available][:, None]
            log_p[(every & ~available[:, None]) != 0] = -np.inf
            steps = np.exp(log_p).cumsum(axis=1)
            # All groups in one ascending array, so that one search serves all rows.
            ladder = steps / steps[:, -1:] + np.arange(len(available))[:, None]
            place = np.searchsorted(ladder.ravel(), group + uniform[j], side="right")
            drawn = np.minimum(place - group * len(every), len(every) - 1)
            log_probability += log_p[group, drawn]
            bits = (drawn[:, None] >> np.arange(self.bits)) & 1
            graphs[:, self.candidates[j], j] = bits.astype(bool)
        return graphs, log_probability


def subsets(mask: int) -> NDArray[np.int64]:
    """All subsets of a set of bits, the empty one first."""
    found = np.zeros(1, dtype=np.int64)
    bit = 1
    while bit <= mask:
        if mask & bit:
            found = np.concatenate([found, found + bit])
        bit <<= 1
    return found


def subset_sums(log_weights: Array) -> Array:
    """The zeta transform of the last axis in logarithms: sums over all subsets."""
    sums = log_weights.copy()
    size = sums.shape[-1]
    bit = 1
    while bit < size:
        halves = sums.reshape(*sums.shape[:-1], size // (2 * bit), 2, bit)
        halves[..., 1, :] = np.logaddexp(halves[..., 1, :], halves[..., 0, :])
        bit *= 2
    return sums


@dataclass(frozen=True)
class TableOptions:
    """What weights are made of.

    Attributes:
        mechanism: of `LocalEvidence`.
        sparsity: lambda of the prior, a parent.
        beta: weight of the divergence from the prior in the ELBO.
        max_parents: larger sets have no weight, lagged parents counted; required ones are not.
        max_candidates: where there are more possible parents, a forward search picks so many.
        max_lagged: how many possible lagged parents a forward search picks.
    """

    mechanism: str = "mixed"
    sparsity: float = 1.0
    beta: float = 1.0
    max_parents: int = 6
    max_candidates: int = 8
    max_lagged: int = 4


def build_tables(
    values: Array,
    do_target: BoolMatrix,
    allowed: BoolMatrix,
    required: BoolMatrix,
    options: TableOptions,
    *,
    past: Array | None = None,
    allowed_past: BoolMatrix | None = None,
    exact_limit: int = 12,
) -> ParentTables:
    """Weights ``exp(log evidence / beta - sparsity |parents|)``, the prior obeyed.

    Args:
        values: ``(N, n)`` columns of about unit variance.
        do_target: ``(N, n)`` true where the column was set.
        allowed: ``(n, n)`` true at [i, j] where i may be a parent of j.
        required: ``(n, n)`` true where it must be.
        options: see there.
        past: ``(N, n)`` the same variables before the step, or None.
        allowed_past: ``(n, n)`` true where i may be a lagged parent of j.
        exact_limit: up to so many variables nothing is screened inside the step.

    Returns:
        The tables; K is n - 1 up to ``exact_limit`` variables, beyond it at most
        ``max_candidates``, or as many as are required of one variable.
    """
    n = len(allowed)
    bits = n - 1
    if n > exact_limit:
        bits = min(n - 1, max(options.max_candidates, int(required.sum(axis=0).max(initial=0))))
    lag_bits = 0 if past is None else min(n, options.max_lagged)
    screening = bits < n - 1
    whole = LocalEvidence(
        values, do_target, mechanism=options.mechanism, products=not (screening or lag_bits)
    )
    candidates = np.zeros((n, bits), dtype=np.intp)
    lagged = np.zeros((n, lag_bits), dtype=np.intp)
    log_weights = np.full((n, 1 << lag_bits, 1 << bits), -np.inf)
    for j in range(n):
        candidates[j] = np.array([i for i in range(n) if i != j], dtype=np.intp)[:bits]
        if screening:
            candidates[j] = _screened(whole, j, allowed[:, j], required[:, j], bits)
        may, must = allowed[candidates[j], j], required[candidates[j], j]
        evidence, own, target = whole, candidates[j], j
        if past is not None and allowed_past is not None:
            both = np.column_stack([past, values[:, j]])
            lagged[j] = _screened(
                _evidence_of_last(both, do_target[:, j], options.mechanism, products=False),
                n,
                allowed_past[:, j],
                np.zeros(n, dtype=bool),
                lag_bits,
            )
            may = np.concatenate([may, allowed_past[lagged[j], j]])
            must = np.concatenate([must, np.zeros(lag_bits, dtype=bool)])
        if screening or lag_bits:
            before = values[:, :0] if past is None else past[:, lagged[j]]
            columns = np.column_stack([values[:, candidates[j]], before, values[:, j]])
            evidence = _evidence_of_last(columns, do_target[:, j], options.mechanism)
            own, target = np.arange(bits + lag_bits), bits + lag_bits
        log_weights[j] = set_weights(evidence, target, own, may, must, options).reshape(
            1 << lag_bits, 1 << bits
        )
    if not lag_bits:
        return ParentTables(candidates, log_weights[:, 0])
    return ParentTables(candidates, logsumexp(log_weights, axis=1), lagged, log_weights)


def _evidence_of_last(
    columns: Array, set_here: NDArray[np.bool_], mechanism: str, *, products: bool = True
) -> LocalEvidence:
    """Evidence of sets of columns for the last one, which was set in some rows."""
    do_target = np.zeros(columns.shape, dtype=bool)
    do_target[:, -1] = set_here
    return LocalEvidence(columns, do_target, mechanism=mechanism, products=products)


def set_weights(
    evidence: LocalEvidence,
    target: int,
    columns: NDArray[np.intp],
    allowed: NDArray[np.bool_],
    required: NDArray[np.bool_],
    options: TableOptions,
) -> Array:
    """Log weights of all sets of some columns as parents of one.

    Args:
        evidence: of the columns.
        target: the column explained.
        columns: ``(K,)`` the candidates, a bit each.
        allowed: ``(K,)`` which may be parents.
        required: ``(K,)`` which must be.
        options: see there.

    Returns:
        ``(2^K,)``, minus infinity where a set cannot be.
    """
    bits = len(columns)
    powers = 1 << np.arange(bits, dtype=np.int64)
    needed = int(powers[required].sum())
    sets = subsets(int(powers[allowed].sum()))
    members = ((sets[:, None] >> np.arange(bits)) & 1).astype(bool)
    few = (members & ~required).sum(axis=1) <= options.max_parents
    usable = few & ((sets & needed) == needed)
    sets, members = sets[usable], members[usable]
    parents = [tuple(sorted(columns[row].tolist())) for row in members]
    log_weights = np.full(1 << bits, -np.inf)
    factors = evidence.log_factors(target, parents)
    log_weights[sets] = factors / options.beta - options.sparsity * members.sum(axis=1)
    return log_weights


def _screened(
    evidence: LocalEvidence,
    j: int,
    allowed: NDArray[np.bool_],
    required: NDArray[np.bool_],
    bits: int,
) -> NDArray[np.intp]:
    """Forward selection by evidence: the required, then what adds most given those before."""
    chosen = [int(i) for i in np.flatnonzero(required)]
    left = [int(i) for i in np.flatnonzero(allowed & ~required) if i != j]
    while len(chosen) < bits and left:
        gains = evidence.log_factors(j, [tuple(sorted([*chosen, i])) for i in left])
        chosen.append(left.pop(int(np.argmax(gains))))
    # Filled up with variables that cannot be parents, so that the tables are rectangular.
    rest = [i for i in range(len(allowed)) if i != j and i not in chosen]
    return np.array((chosen + rest)[:bits], dtype=np.intp)
