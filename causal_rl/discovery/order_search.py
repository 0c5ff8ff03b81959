"""Search over causal orders for a score that is a sum of local ones.

Teyssier and Koller (2005): given an order, every column takes its best parents among those before
it, here by growing and shrinking (Margaritis and Thrun 1999); what is searched is the order. A move
takes one column to another place, as in BOSS (Andrews et al. 2023). Local scores may be costly:
all that is asked is remembered.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

BoolMatrix = NDArray[np.bool_]
#: ``score(target, parents)``: higher is better, parents in rising order.
LocalScore = Callable[[int, Sequence[int]], float]

_TIE = 1e-9


class OrderSearch:
    """Best parents given predecessors, and orders improved one column at a time.

    Columns 0 to d - 1 are ordered; columns from d on are parents that need no place in the order,
    the values before the step.

    Args:
        score: of a target and its parents.
        candidates: ``(c, d)``, c >= d, true at [i, j] where i may be a parent of j.
        required: ``(c, d)`` true at [i, j] where i must be one; acyclic among the first d.
        penalty: taken off for each parent, in units of the score.
        most_parents: no column takes more, required ones apart.
    """

    def __init__(
        self,
        score: LocalScore,
        candidates: BoolMatrix,
        required: BoolMatrix | None = None,
        *,
        penalty: float = 0.0,
        most_parents: int = 8,
    ) -> None:
        self._score = score
        self._candidates = candidates
        self._required = np.zeros_like(candidates) if required is None else required
        self._penalty = penalty
        self._most_parents = most_parents
        self._known: dict[tuple[int, frozenset[int]], tuple[float, tuple[int, ...]]] = {}

    @property
    def size(self) -> int:
        """Number d of ordered columns."""
        return int(self._candidates.shape[1])

    def local(self, target: int, parents: Sequence[int]) -> float:
        """The penalised score of one column."""
        return self._score(target, sorted(parents)) - self._penalty * len(parents)

    def best_parents(self, target: int, before: Sequence[int]) -> tuple[float, tuple[int, ...]]:
        """Grow, then shrink, the parents of a column among its predecessors.

        Args:
            target: the column.
            before: ordered columns that come before it.

        Returns:
            ``(score, parents)``, parents in rising order.
        """
        d = self.size
        usable = [i for i in before if self._candidates[i, target]]
        usable += (d + np.flatnonzero(self._candidates[d:, target])).tolist()
        key = (target, frozenset(usable))
        if key not in self._known:
            self._known[key] = self._grow_and_shrink(target, sorted(usable))
        return self._known[key]

    def _grow_and_shrink(self, target: int, usable: list[int]) -> tuple[float, tuple[int, ...]]:
        needed = np.flatnonzero(self._required[:, target]).tolist()
        parents = list(needed)
        best = self.local(target, parents)
        while len(parents) < self._most_parents + len(needed):
            tried = [(self.local(target, [*parents, i]), -i) for i in usable if i not in parents]
            score, chosen = max(tried, default=(best, 0))
            if score <= best + _TIE:
                break
            best = score
            parents.append(-chosen)
        while len(parents) > len(needed):
            tried = [
                (self.local(target, [p for p in parents if p != i]), -i)
                for i in parents
                if i not in needed
            ]
            score, chosen = max(tried)
            if score <= best + _TIE:
                break
            best = score
            parents.remove(-chosen)
        return best, tuple(sorted(parents))

    def total(self, order: Sequence[int]) -> float:
        """Score of the best graph of an order."""
        return sum(self.best_parents(j, order[:place])[0] for place, j in enumerate(order))

    def improve(self, order: Sequence[int]) -> tuple[float, list[int]]:
        """Move columns to better places until no column has one.

        Args:
            order: all columns, causes first, required edges pointing forwards.

        Returns:
            ``(score, order)``.
        """
        current, best = list(order), self.total(order)
        moved = True
        while moved:
            moved = False
            for column in list(current):
                others = [i for i in current if i != column]
                for place in self._legal_places(column, others):
                    tried = [*others[:place], column, *others[place:]]
                    score = self.total(tried)
                    if score > best + _TIE:
                        best, current, moved = score, tried, True
        return best, current

    def _legal_places(self, column: int, others: list[int]) -> range:
        needed = [i for i, other in enumerate(others) if self._required[other, column]]
        needing = [i for i, other in enumerate(others) if self._required[column, other]]
        first = max(needed) + 1 if needed else 0
        last = min(needing) if needing else len(others)
        return range(first, last + 1)

    def random_order(self, rng: np.random.Generator) -> list[int]:
        """A random order in which required edges point forwards."""
        left, order = rng.permutation(self.size).tolist(), list[int]()
        while left:
            free = next(i for i in left if not any(self._required[k, i] for k in left))
            left.remove(free)
            order.append(free)
        return order

    def edges(self, order: Sequence[int]) -> BoolMatrix:
        """The best graph of an order, ``(c, d)``: true at [i, j] where i is a parent of j."""
        found = np.zeros_like(self._candidates)
        for place, j in enumerate(order):
            found[list(self.best_parents(j, order[:place])[1]), j] = True
        return found
