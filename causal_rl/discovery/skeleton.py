"""Who is adjacent to whom: the order-independent first half of PC (Colombo and Maathuis 2014)."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from causal_rl.discovery.independence import IndependenceTest

SeparatingSets = dict[tuple[int, int], tuple[tuple[int, ...], ...]]

# Floats in the batch of matrices that one call of a test works on.
_BATCH = 2_000_000


@dataclass(frozen=True)
class Skeleton:
    """What the tests said.

    Attributes:
        adjacency: (n, n) bool, symmetric: pairs that no set of neighbours separates.
        separating_sets: for a pair i < j that was separated, all sets that separated it at the
            size at which the first was found, each sorted; one empty set where there was no
            test at all.
        p_values: (n, n) the largest p-value of each pair over its tests, 0 where there was none.
        tested: (n, n) bool, pairs of which some test said something.
        tests: number of tests.
        depth: size of the largest conditioning sets tried, -1 if none was.
        stopped: whether the bound on tests ended the search.
    """

    adjacency: NDArray[np.bool_]
    separating_sets: SeparatingSets
    p_values: NDArray[np.float64]
    tested: NDArray[np.bool_]
    tests: int
    depth: int
    stopped: bool


def find_skeleton(
    test: IndependenceTest,
    alpha: float,
    *,
    possible: NDArray[np.bool_] | None = None,
    max_conditioning: int | None = None,
    max_tests: int | None = None,
) -> Skeleton:
    """Remove the edges between pairs that some set of neighbours separates.

    Size by size, i and j are tested given every set of that size among the neighbours of i, and
    among those of j, and separated if independence is not rejected at ``alpha``. Neighbours are
    those of the beginning of the size, so the answer does not depend on the order of the variables.
    Each size is done whole or not begun.

    Args:
        test: of conditional independence.
        alpha: level of the tests.
        possible: (n, n) bool, symmetric, pairs that may be adjacent; all if None. The rest are not
            tested and have no separating set.
        max_conditioning: largest conditioning set; no bound if None.
        max_tests: the search ends before a size that would need more tests than this in all.

    Returns:
        The skeleton.
    """
    n = test.n
    adjacency = ~np.eye(n, dtype=bool)
    if possible is not None:
        adjacency &= possible
    largest = np.zeros((n, n))
    found: SeparatingSets = {}
    tested = np.zeros((n, n), dtype=bool)
    count, depth = 0, -1
    stopped = False
    for size in range(n - 1):
        degrees = adjacency.sum(axis=1)
        sides = [i for i in range(n) if degrees[i] > size and test.possible(i, size)]
        if not sides:
            break
        needed = sum(math.comb(int(degrees[i]), size + 1) * (size + 1) for i in sides)
        if max_conditioning is not None and size > max_conditioning:
            break
        if max_tests is not None and count + needed > max_tests:
            stopped = True
            break
        separated: dict[tuple[int, int], set[tuple[int, ...]]] = {}
        for i in sides:
            for sets in _subsets(np.flatnonzero(adjacency[i]), size + 1):
                p = test.p_values(i, sets)
                known = np.where(np.isnan(p), 0.0, p)
                np.maximum.at(largest[i], sets, known)
                tested[i, sets[~np.isnan(p)]] = True
                for row, place in np.argwhere(known > alpha):
                    j = int(sets[row, place])
                    given = tuple(int(k) for k in np.delete(sets[row], place))
                    separated.setdefault((min(i, j), max(i, j)), set()).add(given)
        count += needed
        depth = size
        for (i, j), given_sets in separated.items():
            found[i, j] = tuple(sorted(given_sets))
            adjacency[i, j] = adjacency[j, i] = False
    # Without a single test there is no evidence of an edge.
    tested |= tested.T
    untested = adjacency & ~tested
    for i, j in np.argwhere(np.triu(untested)):
        found[int(i), int(j)] = ((),)
    adjacency &= ~untested
    return Skeleton(adjacency, found, np.maximum(largest, largest.T), tested, count, depth, stopped)


def _subsets(members: NDArray[np.intp], size: int) -> Iterator[NDArray[np.intp]]:
    """All subsets of one size, in batches (m, size)."""
    rows = max(1, _BATCH // (size + 1) ** 2)
    combinations = itertools.combinations(members.tolist(), size)
    while batch := list(itertools.islice(combinations, rows)):
        yield np.array(batch, dtype=np.intp)
