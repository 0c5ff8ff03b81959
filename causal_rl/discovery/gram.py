"""Gram matrices of the transition features, kept online per intervened variable."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]


class GramStore:
    """Sums of outer products of feature rows, one matrix a stratum of interventions.

    Strata: rows without an intervention, rows where variable i alone was set (one stratum each),
    and rows where several were set (kept as their total and, for every i, the part in which i
    was among them). From these follow, without touching the rows again, the Gram matrix of
    "all rows where j was not set" and that of "the rows where i alone was set". Memory is
    ``(n + 1) F^2`` numbers, twice that once a row with several targets has come.

    Args:
        n: number of variables.
        features: F, length of a feature row.
    """

    def __init__(self, n: int, features: int) -> None:
        self.n = n
        self.features = features
        self.strata = np.zeros((n + 1, features, features))
        self.counts = np.zeros(n + 1, dtype=np.int64)
        self.multi_total: Matrix | None = None
        self.multi_by: Matrix | None = None
        self.multi_count = 0
        self.multi_by_count = np.zeros(n, dtype=np.int64)

    @property
    def rows(self) -> int:
        """Rows counted so far."""
        return int(self.counts.sum()) + self.multi_count

    def add(self, features: Matrix, do_target: NDArray[np.bool_]) -> None:
        """Count some rows.

        Args:
            features: ``(N, F)``.
            do_target: ``(N, n)``, true where the step set the variable.
        """
        stratum = stratum_of(do_target)
        for index in range(self.n + 1):
            rows = features[stratum == index]
            if len(rows):
                self.strata[index] += rows.T @ rows
                self.counts[index] += len(rows)
        several = stratum > self.n
        if several.any():
            if self.multi_total is None or self.multi_by is None:
                self.multi_total = np.zeros((self.features, self.features))
                self.multi_by = np.zeros((self.n, self.features, self.features))
            rows, targets = features[several], do_target[several]
            self.multi_total += rows.T @ rows
            self.multi_count += len(rows)
            for i in range(self.n):
                part = rows[targets[:, i]]
                self.multi_by[i] += part.T @ part
                self.multi_by_count[i] += len(part)

    def without(self, j: int) -> tuple[Matrix, float]:
        """Gram matrix of the rows where j was not set, and their number."""
        weight = np.ones(self.n + 1)
        weight[1 + j] = 0.0
        total: Matrix = np.einsum("s,sab->ab", weight, self.strata)
        count = float(weight @ self.counts)
        if self.multi_total is not None and self.multi_by is not None:
            rows = self.multi_count - int(self.multi_by_count[j])
            if rows:
                total += self.multi_total - self.multi_by[j]
                count += rows
        return total, count

    def where(self, i: int) -> tuple[Matrix, int]:
        """Gram matrix of the rows where i alone was set, and their number."""
        return self.strata[1 + i], int(self.counts[1 + i])

    def state_dict(self) -> dict[str, Any]:
        """Copies of all sums."""
        return {
            "strata": self.strata.copy(),
            "counts": self.counts.copy(),
            "multi_total": None if self.multi_total is None else self.multi_total.copy(),
            "multi_by": None if self.multi_by is None else self.multi_by.copy(),
            "multi_count": self.multi_count,
            "multi_by_count": self.multi_by_count.copy(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` gave."""
        self.strata = np.array(state["strata"], dtype=np.float64)
        self.counts = np.array(state["counts"], dtype=np.int64)
        for name in ("multi_total", "multi_by"):
            value = state[name]
            setattr(self, name, None if value is None else np.array(value, dtype=np.float64))
        self.multi_count = int(state["multi_count"])
        self.multi_by_count = np.array(state["multi_by_count"], dtype=np.int64)


def stratum_of(do_target: NDArray[np.bool_]) -> NDArray[np.int64]:
    """The stratum of every row: 0 nothing set, 1 + i only i set, n + 1 several set.

    Args:
        do_target: ``(N, n)`` booleans.
    """
    n = do_target.shape[1]
    several = do_target.sum(axis=1)
    first = do_target.argmax(axis=1) + 1
    return np.where(several == 0, 0, np.where(several == 1, first, n + 1)).astype(np.int64)
