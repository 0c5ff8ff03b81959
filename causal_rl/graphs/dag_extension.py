"""A DAG out of a partially directed graph: Dor and Tarsi's rule (1992), with a way out."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from causal_rl.graphs.adjacency import BoolMatrix


def extend(
    directed: BoolMatrix, undirected: BoolMatrix, ranks: NDArray[np.intp]
) -> tuple[BoolMatrix, int]:
    """Orient the undirected edges so that there is no cycle and no new v-structure, if that can be.

    One variable after another is taken away as a sink: no directed edge leaves it, and whoever is
    joined to it by an undirected edge is adjacent to all else that is joined to it. Its edges
    are turned towards it. Any such choice leads to an extension if there is one; here it is the
    variable of the highest rank. If no variable may be taken, the one is taken for which the fewest
    directed edges are turned, then the fewest new v-structures made.

    Args:
        directed: (n, n) bool.
        undirected: (n, n) bool, symmetric, apart from ``directed``.
        ranks: (n,) distinct; causes are preferred to have low ones.

    Returns:
        The DAG, (n, n) bool, on the same skeleton; and how many variables were taken against the
        rule: 0 says that the DAG is a consistent extension.
    """
    joined = directed | directed.T | undirected
    left = joined.copy()
    out = directed.copy()
    dag = np.zeros_like(joined)
    remaining = np.ones(len(joined), dtype=bool)
    clashes = {int(x): _clashes(left, undirected, int(x)) for x in np.flatnonzero(remaining)}
    broken = 0
    while remaining.any():
        turned = out.sum(axis=1)
        cost = {x: (int(turned[x]), clashes[x], -int(ranks[x])) for x in clashes}
        sink = min(cost, key=cost.__getitem__)
        broken += cost[sink][:2] != (0, 0)
        neighbours = left[sink].copy()
        dag[neighbours, sink] = True
        left[sink] = left[:, sink] = False
        out[sink] = out[:, sink] = False
        remaining[sink] = False
        del clashes[sink]
        for x in np.flatnonzero(neighbours):
            clashes[int(x)] = _clashes(left, undirected, int(x))
    return dag, broken


def _clashes(left: BoolMatrix, undirected: BoolMatrix, x: int) -> int:
    """Pairs of neighbours that taking x as a sink would newly join in a v-structure."""
    around = np.flatnonzero(left[x])
    free = undirected[x, around]
    if not free.any():
        return 0
    apart = ~left[np.ix_(around, around)]
    np.fill_diagonal(apart, False)
    apart &= free[:, np.newaxis] | free[np.newaxis, :]
    return int(apart.sum()) // 2
