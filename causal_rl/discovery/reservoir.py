"""A bounded, balanced, deterministic memory of raw rows, for fits that need more than moments."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray


class Reservoir:
    """Keeps up to ``capacity`` rows of each stratum: its first ones, and a sample of the rest.

    The first half of the places goes to the rows that came first, which were gathered before any
    policy narrowed what is seen; the other half to the rows with the smallest hash of their
    number in the stream, a uniform sample that does not depend on how the stream was cut up.

    Args:
        width: numbers in a row.
        strata: number of strata.
        capacity: rows kept of each.
    """

    def __init__(self, width: int, strata: int, capacity: int) -> None:
        self.width, self.strata, self.capacity = width, strata, capacity
        self.rows = np.zeros((0, width))
        self.index = np.zeros(0, dtype=np.int64)
        self.stratum = np.zeros(0, dtype=np.int64)
        self.early = np.zeros(0, dtype=bool)
        self.seen = np.zeros(strata, dtype=np.int64)
        self.total = 0

    def add(self, rows: NDArray[np.float64], stratum: NDArray[np.int64]) -> None:
        """Offer rows, in the order of the stream.

        Args:
            rows: ``(N, width)``.
            stratum: ``(N,)`` in ``[0, strata)``.
        """
        index = self.total + np.arange(len(rows))
        self.total += len(rows)
        rank = np.empty(len(rows), dtype=np.int64)
        for s in range(self.strata):
            own = np.flatnonzero(stratum == s)
            rank[own] = self.seen[s] + np.arange(len(own))
            self.seen[s] += len(own)
        early = rank < self.capacity // 2
        self.rows = np.concatenate([self.rows, rows])
        self.index = np.concatenate([self.index, index])
        self.stratum = np.concatenate([self.stratum, stratum])
        self.early = np.concatenate([self.early, early])
        keep = self.early.copy()
        places = self.capacity - self.capacity // 2
        key = _mix(self.index)
        for s in range(self.strata):
            late = np.flatnonzero((self.stratum == s) & ~self.early)
            keep[late[np.argsort(key[late], kind="stable")[:places]]] = True
        if not keep.all():
            self.rows, self.index = self.rows[keep], self.index[keep]
            self.stratum, self.early = self.stratum[keep], self.early[keep]

    def state_dict(self) -> dict[str, Any]:
        """Copies of everything kept."""
        return {
            "rows": self.rows.copy(),
            "index": self.index.copy(),
            "stratum": self.stratum.copy(),
            "early": self.early.copy(),
            "seen": self.seen.copy(),
            "total": self.total,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` gave."""
        self.rows = np.array(state["rows"], dtype=np.float64)
        for name in ("index", "stratum", "seen"):
            setattr(self, name, np.array(state[name], dtype=np.int64))
        self.early = np.array(state["early"], dtype=bool)
        self.total = int(state["total"])


def _mix(index: NDArray[np.int64]) -> NDArray[np.uint64]:
    """The splitmix64 finaliser: numbers in the stream to well-spread keys."""
    z = (index.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: NDArray[np.uint64] = z ^ (z >> np.uint64(31))
    return mixed
