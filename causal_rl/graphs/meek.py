"""Meek's four orientation rules (Meek 1995), and the class of a DAG that they complete.

A partially directed graph is given by two (n, n) boolean matrices: ``directed[i, j]`` for i -> j
and the symmetric ``undirected``. A pair is in at most one of them. The rules orient undirected
edges where one of the two directions would make a new v-structure or a directed cycle:

1. a -> b, b - c, a and c not adjacent: b -> c.
2. a -> b -> c, a - c: a -> c.
3. a - b, a - c, a - d, c -> b, d -> b, c and d not adjacent: a -> b.
4. a - b, a - d, d -> c -> b, a and c adjacent, d and b not adjacent: a -> b.

In a graph that some DAG extends, the order of application does not matter (Meek 1995, theorem 4),
and whole rules are applied at once. Finite data also give graphs that no DAG extends: there edges
are turned one by one in a fixed order, and none that would close a directed cycle.
"""

from __future__ import annotations

import numpy as np

from causal_rl.graphs.acyclicity import bool_product, reachability
from causal_rl.graphs.adjacency import BoolMatrix
from causal_rl.graphs.dag_extension import extend


def close_under_meek(directed: BoolMatrix, undirected: BoolMatrix) -> tuple[BoolMatrix, BoolMatrix]:
    """Apply the four rules until none applies.

    Args:
        directed: (n, n) bool, not changed.
        undirected: (n, n) bool, symmetric, not changed.

    Returns:
        (directed, undirected) after the rules; the skeleton is that given, no directed edge turned.
    """
    directed, undirected = directed.copy(), undirected.copy()
    if undirected.any():
        _, broken = extend(directed, undirected, np.arange(len(directed)))
        (_one_by_one if broken else _at_once)(directed, undirected)
    return directed, undirected


def _at_once(directed: BoolMatrix, undirected: BoolMatrix) -> None:
    """Apply the rules in place to a graph that some DAG extends."""
    apart = _apart(directed | directed.T | undirected)
    while True:
        for rule in (_rule_1, _rule_2, _rule_3, _rule_4):
            found = rule(directed, undirected, apart)
            if found.any():
                directed |= found
                undirected &= ~(found | found.T)
                break
        else:
            return


def _one_by_one(directed: BoolMatrix, undirected: BoolMatrix) -> None:
    """Apply the rules in place to a graph that no DAG extends.

    Rule by rule, the edges that it may turn are gone through in a fixed order; each is turned if
    the rule applies to it then and no directed cycle is closed.
    """
    apart = _apart(directed | directed.T | undirected)
    reach = reachability(directed)

    def turn(a: int, b: int) -> bool:
        if not undirected[a, b] or reach[b, a]:
            return False
        directed[a, b] = True
        undirected[a, b] = undirected[b, a] = False
        reach[np.ix_(reach[:, a], reach[b])] = True
        return True

    # Edges that are undirected now first, then those directed; by their second end.
    second, first = np.nonzero(undirected.T)
    edges = list(zip(first.tolist(), second.tolist(), strict=True))
    second, first = np.nonzero(directed.T)
    edges += zip(first.tolist(), second.tolist(), strict=True)
    adjacent = ~apart
    np.fill_diagonal(adjacent, False)
    chains = [(a, b, int(c)) for a, b in edges for c in np.flatnonzero(adjacent[b]) if c != a]
    moved = True
    while moved:
        moved = False
        for a, b, c in chains:
            if apart[a, c] and directed[a, b]:
                moved |= turn(b, c)
        for a, b, c in chains:
            if adjacent[a, c] and directed[a, b] and directed[b, c]:
                moved |= turn(a, c)
        for rule in (_rule_3, _rule_4):
            for a, b in np.argwhere(rule(directed, undirected, apart)):
                moved |= turn(int(a), int(b))


def _apart(joined: BoolMatrix) -> BoolMatrix:
    apart = ~joined
    np.fill_diagonal(apart, False)
    return apart


def v_structures(adjacency: BoolMatrix) -> BoolMatrix:
    """The edges of a DAG that take part in a v-structure.

    Args:
        adjacency: (n, n) bool, a DAG.

    Returns:
        (n, n) bool: i -> j is in it if j has another parent that is not adjacent to i.
    """
    found: BoolMatrix = adjacency & bool_product(_apart(adjacency | adjacency.T), adjacency)
    return found


def cpdag_of_dag(adjacency: BoolMatrix) -> tuple[BoolMatrix, BoolMatrix]:
    """The class of a DAG: its v-structures, closed under the rules (Meek 1995, theorem 3).

    Args:
        adjacency: (n, n) bool, a DAG.

    Returns:
        (directed, undirected): the edges that all Markov equivalent DAGs share, and the rest.
    """
    directed = v_structures(adjacency)
    rest = adjacency & ~directed
    undirected = rest | rest.T
    _at_once(directed, undirected)
    return directed, undirected


def _rule_1(directed: BoolMatrix, undirected: BoolMatrix, apart: BoolMatrix) -> BoolMatrix:
    return undirected & bool_product(directed.T, apart)


def _rule_2(directed: BoolMatrix, undirected: BoolMatrix, apart: BoolMatrix) -> BoolMatrix:
    return undirected & bool_product(directed, directed)


def _rule_3(directed: BoolMatrix, undirected: BoolMatrix, apart: BoolMatrix) -> BoolMatrix:
    found = np.zeros_like(undirected)
    for a, b in np.argwhere(undirected & (bool_product(undirected, directed))):
        middle = np.flatnonzero(undirected[a] & directed[:, b])
        found[a, b] = apart[np.ix_(middle, middle)].any()
    return found


def _rule_4(directed: BoolMatrix, undirected: BoolMatrix, apart: BoolMatrix) -> BoolMatrix:
    found = np.zeros_like(undirected)
    for a, b in np.argwhere(undirected & bool_product(undirected, apart)):
        first = np.flatnonzero(undirected[a] & apart[:, b])
        # a is adjacent to itself in no sense, so c = a is ruled out with the pairs apart.
        second = np.flatnonzero(~apart[a] & directed[:, b])
        found[a, b] = directed[np.ix_(first, second[second != a])].any()
    return found
