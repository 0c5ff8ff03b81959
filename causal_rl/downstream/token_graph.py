"""A posterior over causal graphs of nominal columns: words at the positions of a sequence.

Learners by name read the number of a word as a quantity. Here the evidence of a set of parents is
that of a table of counts with a Dirichlet prior (BDeu: Heckerman, Geiger and Chickering 1995),

    sum over configurations c of the parents [ log G(a) - log G(a + N_c)
        + sum over values k ( log G(b + N_ck) - log G(b) ) ],  a = ess / q,  b = a / values

with q the product of the parents' numbers of values, so that a rule of any form is one table, and
a parity is found as well as a majority. Rows in which a column was set do not count for its own
table (Cooper and Yoo 1999). What is made of these weights is `GraphPosterior`.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import gammaln

from causal_rl.discovery.graph_posterior import EXACT_LIMIT, GraphPosterior
from causal_rl.discovery.parent_tables import Orders, ParentTables, subsets
from causal_rl.discovery.variational import least_expected_distance
from causal_rl.graphs import CausalGraph
from causal_rl.options import check_integer, check_number

Array = NDArray[np.float64]
BoolMatrix = NDArray[np.bool_]


def learn_token_graph(
    columns: ArrayLike,
    *,
    do_target: ArrayLike | None = None,
    names: Sequence[str] | None = None,
    contexts: Sequence[str] = (),
    max_parents: int = 5,
    max_candidates: int = 8,
    sample_size: float = 1.0,
    steps: int = 400,
    seed: int = 0,
) -> CausalGraph:
    """The DAG of least expected Hamming distance under the posterior.

    Up to 12 columns the posterior is exact. Beyond, every column chooses among ``max_candidates``
    others, those of its best single parents and pairs, and orders are sampled.

    Args:
        columns: (N, n) whole numbers, 0 or more, each a value of its own.
        do_target: (N, n) bool, true where a column was set; nowhere if None.
        names: n distinct names; X1 to Xn if None.
        contexts: names of columns that nothing here causes, such as where a row was collected.
        max_parents: of one column.
        max_candidates: see above.
        sample_size: rows that the prior of every table is worth, > 0.
        steps: by which the distribution of orders is learned beyond 12 columns.
        seed: of those.

    Returns:
        The graph; confidences are posterior probabilities. An edge whose direction the data
        cannot tell is in the graph one way or the other, with a confidence near one half.

    Raises:
        TypeError: not numbers.
        ValueError: another shape, numbers that are not whole or negative, an unknown context, an
            option out of range.
    """
    table, held = _read(columns, do_target)
    check_integer("max_parents", max_parents, least=1)
    check_integer("max_candidates", max_candidates, least=1)
    check_integer("steps", steps, least=1)
    check_number("sample_size", sample_size, least=0.0, open_end=True)
    frame = CausalGraph(np.zeros((table.shape[1],) * 2), names=names)
    exogenous = frame.indices(contexts)
    allowed = ~np.eye(frame.n, dtype=bool)
    allowed[:, exogenous] = False
    kinds = ["context" if j in exogenous else "state" for j in range(frame.n)]
    evidence = CountEvidence(table, held, sample_size)
    tables = _tables(evidence, allowed, max_parents, max_candidates)
    posterior = GraphPosterior(tables, frame.names, steps=steps, seed=seed)
    probability = posterior.edge_probabilities
    return CausalGraph(
        least_expected_distance(probability) & allowed,
        names=frame.names,
        kinds=kinds,
        contemporaneous_confidence=probability,
    )


class CountEvidence:
    """Log BDeu evidence of parents of nominal columns.

    Args:
        columns: (N, n) whole numbers, 0 or more.
        do_target: (N, n) bool, true where a column was set.
        sample_size: rows that the prior is worth, > 0.
    """

    def __init__(
        self, columns: NDArray[np.int64], do_target: BoolMatrix, sample_size: float
    ) -> None:
        self._columns = np.ascontiguousarray(columns.T)
        self._free = [np.flatnonzero(~held) for held in do_target.T]
        self._values = columns.max(axis=0) + 1
        self._sample_size = sample_size

    def __call__(self, target: int, parents: Sequence[int]) -> float:
        """Log evidence of the target's values given those of the parents."""
        rows, r = self._free[target], int(self._values[target])
        place, q = np.zeros(len(rows), dtype=np.int64), 1
        for parent in parents:
            place = place * self._values[parent] + self._columns[parent, rows]
            q *= int(self._values[parent])
        counts = np.bincount(place * r + self._columns[target, rows])
        counts = np.append(counts, np.zeros(-len(counts) % r, dtype=counts.dtype)).reshape(-1, r)
        # A configuration that never occurs adds nothing.
        counts = counts[counts.any(axis=1)]
        a = self._sample_size / q
        per_cell = gammaln(a / r + counts).sum() - counts.size * gammaln(a / r)
        per_row = len(counts) * gammaln(a) - gammaln(a + counts.sum(axis=1)).sum()
        return float(per_cell + per_row)


def _tables(
    evidence: CountEvidence, allowed: BoolMatrix, max_parents: int, max_candidates: int
) -> ParentTables:
    """Weights of all sets of parents, each parent costing log n beforehand."""
    n = len(allowed)
    exact = n <= EXACT_LIMIT
    bits = n - 1 if exact else min(n - 1, max_candidates)
    candidates = np.zeros((n, bits), dtype=np.intp)
    log_weights = np.full((n, 1 << bits), -np.inf)
    for j in range(n):
        possible = np.flatnonzero(allowed[:, j])
        if not exact:
            possible = _nearest(evidence, j, possible, bits)
        rest = [i for i in range(n) if i != j and i not in possible]
        candidates[j] = np.array([*possible, *rest], dtype=np.intp)[:bits]
        alone = evidence(j, ())
        for chosen in subsets((1 << len(possible)) - 1).tolist():
            parents = [int(possible[b]) for b in range(len(possible)) if chosen >> b & 1]
            if len(parents) <= max_parents:
                gain = evidence(j, parents) - alone
                log_weights[j, chosen] = gain - np.log(n) * len(parents)
    return ParentTables(candidates, log_weights)


def _nearest(evidence: CountEvidence, target: int, possible: Orders, count: int) -> Orders:
    """The members of the best single parents and pairs, until there are enough."""
    sets = [(int(i),) for i in possible] + list(itertools.combinations(possible.tolist(), 2))
    found: list[int] = []
    for chosen in sorted(sets, key=lambda parents: -evidence(target, parents)):
        found += [i for i in chosen if i not in found]
    return np.array(sorted(found[:count]), dtype=np.intp)


def _read(columns: ArrayLike, do_target: ArrayLike | None) -> tuple[NDArray[np.int64], BoolMatrix]:
    table = np.asarray(columns)
    if table.dtype.kind not in "biuf":
        raise TypeError(f"columns must hold whole numbers, got dtype {table.dtype}")
    if table.ndim != 2 or 0 in table.shape:
        raise ValueError(f"columns has shape {table.shape}; it must be (rows, columns)")
    if not np.isfinite(table).all() or (table != np.floor(table)).any() or table.min() < 0:
        raise ValueError("columns must hold whole numbers, 0 or more")
    held = np.zeros(table.shape, dtype=bool) if do_target is None else np.asarray(do_target)
    if held.shape != table.shape or held.dtype.kind != "b":
        raise ValueError(f"do_target must be booleans {table.shape}, got {held.dtype} {held.shape}")
    # Values that never occur would make a column dearer to explain than it is.
    found = [np.unique(column, return_inverse=True)[1].ravel() for column in table.T]
    return np.stack(found, axis=1).astype(np.int64), held
