"""Correlations as each pair's tests need them: the past held fixed, its own do-rows left out.

A mechanism ``x_i = f(parents) + noise`` holds in the rows where x_i was not set, whatever was set
there besides. In those rows x_i is independent, given its parents, of all that it does not cause,
and stays so however interventions on others are mixed. Rows where the other variable of the pair
was set dilute what joins them. So a pair is tested on the rows where neither was set; where there
are none, on those where the one whose neighbours are given was not.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from causal_rl.discovery.independence import LEAST_VARIANCE, Side
from causal_rl.graphs.adjacency import read_matrix

Array = NDArray[np.float64]

# Floats that may be kept so as not to be calculated again for the next size.
_KEPT = 20_000_000

# Fewer rows than this where neither of a pair was set are too few.
LEAST_ROWS = 30


class SideCorrelations:
    """The correlations of N rows, for each pair over the rows that say something of it.

    Args:
        current: (N, m) centred columns of about unit size.
        past: (N, p) centred columns to be held fixed by linear regression; p may be 0.
        do_target: (N, m) bool, where a variable was set.
        share: independent rows that one row is worth, at most 1.
    """

    def __init__(
        self, current: Array, past: Array, do_target: NDArray[np.bool_], share: float = 1.0
    ) -> None:
        self._columns = np.column_stack([current, past, np.ones(len(current))])
        self._m = int(current.shape[1])
        self._share = share
        self._do_target = do_target
        self._set = frozenset(np.flatnonzero(do_target.any(axis=0)).tolist())
        self._whole = self._columns.T @ self._columns
        self._shared = self._side(self._whole)
        self._kept: dict[tuple[int, int], Side] = {}

    def __len__(self) -> int:
        return self._m

    @property
    def shared(self) -> Side | None:
        """The one side of all pairs, where nothing was ever set; else None."""
        return None if self._set else self._shared

    @property
    def whole(self) -> Side:
        """All rows."""
        return self._shared

    def of(self, i: int) -> Side:
        """The rows where i was not set."""
        return self._without(i, i)

    def between(self, i: int, j: int) -> Side:
        """The rows where neither was set, or, where those are too few, where i was not."""
        pair = self._without(min(i, j), max(i, j))
        return pair if pair.rows > LEAST_ROWS else self.of(i)

    def _without(self, i: int, j: int) -> Side:
        if i not in self._set and j not in self._set:
            return self._shared
        if (i, j) in self._kept:
            return self._kept[i, j]
        out = self._columns[self._do_target[:, i] | self._do_target[:, j]]
        side = self._side(self._whole - out.T @ out)
        if (len(self._kept) + 1) * self._m**2 <= _KEPT:
            self._kept[i, j] = side
        return side

    def _side(self, products: Array) -> Side:
        m = self._m
        rows = float(products[-1, -1])
        nothing = Side(np.eye(m), np.zeros(m), 0.0)
        if rows < 2:
            return nothing
        mean = products[-1, :-1] / rows
        covariance = products[:-1, :-1] / rows - np.outer(mean, mean)
        before = np.diagonal(covariance)[:m].copy()
        rest, rank = _given(covariance, m)
        variance = np.diagonal(rest).copy()
        # Rounding in the products of unit-size columns is some 1e-16.
        varies = (variance > LEAST_VARIANCE * np.maximum(before, 1e-2)) & (before > 1e-13)
        scale = np.where(varies, np.sqrt(np.maximum(variance, 0.0)), 0.0)
        inverse = np.divide(1.0, scale, out=np.zeros(m), where=varies)
        correlation = np.clip(rest * np.outer(inverse, inverse), -1.0, 1.0)
        np.fill_diagonal(correlation, 1.0)
        return Side(correlation, scale, self._share * rows - rank)


def _given(covariance: Array, m: int) -> tuple[Array, int]:
    """The covariance of the first m columns, the others held fixed, and the rank of those."""
    inner = covariance[m:, m:]
    if not inner.size:
        return covariance[:m, :m], 0
    size = np.sqrt(np.maximum(np.diagonal(inner), 0.0))
    varies = size > 1e-6
    inner = inner[np.ix_(varies, varies)] / np.outer(size[varies], size[varies])
    across = covariance[m:, :m][varies] / size[varies, None]
    values, vectors = np.linalg.eigh(inner) if inner.size else (np.zeros(0), inner)
    kept = values > LEAST_VARIANCE
    loadings = (vectors[:, kept].T @ across) / np.sqrt(values[kept])[:, None]
    return covariance[:m, :m] - loadings.T @ loadings, int(kept.sum())


def side_of_covariance(covariance: ArrayLike, rows: float) -> Side:
    """What tests on a given covariance rest on.

    Args:
        covariance: (n, n) symmetric, positive semidefinite.
        rows: independent rows behind it, or inf.

    Returns:
        The side that all variables share.

    Raises:
        TypeError: not numbers.
        ValueError: not such a matrix, or rows that are not positive.
    """
    matrix = read_matrix(covariance, "covariance")
    if isinstance(rows, bool) or not isinstance(rows, int | float):
        raise TypeError(f"rows must be a number, not {rows!r}")
    if not rows > 0:
        raise ValueError(f"rows is {rows}; it must be more than 0, or inf")
    variance = np.diagonal(matrix)
    size = np.sqrt(np.maximum(variance, 0.0))
    if not np.allclose(matrix, matrix.T, rtol=1e-9, atol=1e-9 * size.max() ** 2):
        raise ValueError("covariance must be symmetric")
    scale = np.where(variance > LEAST_VARIANCE**2 * variance.max(), size, 0.0)
    inverse = np.divide(1.0, scale, out=np.zeros_like(scale), where=scale > 0)
    correlation = matrix * np.outer(inverse, inverse)
    np.fill_diagonal(correlation, 1.0)
    if (variance < 0).any() or np.linalg.eigvalsh(correlation)[0] < -1e-8:
        raise ValueError("covariance must be positive semidefinite")
    return Side(np.clip((correlation + correlation.T) / 2, -1.0, 1.0), scale, float(rows))
