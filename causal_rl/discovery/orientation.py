"""From a skeleton and its separating sets to a partially directed graph: v-structures, then Meek.

What the separating sets say of an unshielded triple x - y - z may contradict what they say of
another, and the answers of tests on finite data do. Here the triples are taken one after another,
and one that would turn an edge already directed is passed over.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from causal_rl.discovery.skeleton import SeparatingSets
from causal_rl.graphs import PartialGraph

BoolMatrix = NDArray[np.bool_]
Triple = tuple[int, int, int]

ColliderRule = Literal["none", "majority"]
COLLIDER_RULES: tuple[ColliderRule, ...] = ("none", "majority")


def unshielded_colliders(
    adjacency: BoolMatrix,
    separating_sets: SeparatingSets,
    rule: ColliderRule = "none",
    allowed: BoolMatrix | None = None,
) -> list[Triple]:
    """The triples x - y - z, x and z apart, at which both edges point to y.

    Args:
        adjacency: (n, n) bool, symmetric.
        separating_sets: of the pairs apart; a pair without any says nothing.
        rule: "none", y is in none of the sets that separate x and z; or "majority", in fewer than
            half of them.
        allowed: (n, n) bool, [i, j] where i may cause j; everywhere if None.

    Returns:
        (x, y, z) with x < z, ordered by y, then x, then z.
    """
    found = []
    for y in range(len(adjacency)):
        around = np.flatnonzero(adjacency[y])
        apart = np.triu(~adjacency[np.ix_(around, around)], 1)
        for a, b in np.argwhere(apart):
            x, z = int(around[a]), int(around[b])
            sets = separating_sets.get((x, z))
            if sets is None or (allowed is not None and not (allowed[x, y] and allowed[z, y])):
                continue
            share = sum(y in given for given in sets) / len(sets)
            if share == 0.0 or (rule == "majority" and share < 0.5):
                found.append((x, y, z))
    return found


def orient(
    adjacency: BoolMatrix,
    colliders: list[Triple],
    *,
    allowed: BoolMatrix | None = None,
    strength: Callable[[Triple], float] | None = None,
) -> PartialGraph:
    """Direct the edges of v-structures, and those that follow by Meek's rules.

    Args:
        adjacency: (n, n) bool, symmetric.
        colliders: see `unshielded_colliders`.
        allowed: (n, n) bool, [i, j] where i may cause j; edges that may lead one way only do,
            before all else. Everywhere if None.
        strength: the stronger of two triples at odds wins; the earlier in the list if None, and
            where they are equally strong.

    Returns:
        A graph of directed and undirected edges on the skeleton. Where no triples are at odds and
        the independences are those of a DAG, it is the DAG's CPDAG (as far as ``allowed`` adds
        nothing).
    """
    directed = np.zeros_like(adjacency)
    if allowed is not None:
        directed |= adjacency & allowed & ~allowed.T
    if strength is not None:
        colliders = sorted(colliders, key=strength, reverse=True)
    for x, y, z in colliders:
        if not (directed[y, x] or directed[y, z]):
            directed[x, y] = directed[z, y] = True
    both = adjacency & ~directed & ~directed.T
    return PartialGraph.from_adjacency(directed | both).close()
