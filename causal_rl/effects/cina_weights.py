"""Balancing weights as a user reads them: normalised in each arm, with what they cost and buy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class BalancingWeights:
    """Weights of the rows of two arms.

    Attributes:
        weights: (N,) float64, at least 0; they sum to 1 over the treated and to 1 over the others.
        treated: (N,) bool.
        penalty: lambda they were made with.
        gap: duality gap of the problem that they solve, a row; 0 for the exact weights.
    """

    weights: FloatArray
    treated: NDArray[np.bool_]
    penalty: float
    gap: float

    @property
    def effective_sample_size(self) -> tuple[float, float]:
        """Kish's 1 / sum w^2 of the controls and of the treated: rows of even weight as good."""
        squares = self.weights**2
        return float(1 / squares[~self.treated].sum()), float(1 / squares[self.treated].sum())

    def contrast(self, y: ArrayLike) -> float:
        """Weighted mean of the treated less that of the others.

        Args:
            y: (N,) outcomes.
        """
        values = np.asarray(y, dtype=np.float64)
        return float((self.weights * np.where(self.treated, 1.0, -1.0)) @ values)

    def imbalance(self, X: ArrayLike) -> FloatArray:
        """Standardised differences of the weighted means of covariates.

        Args:
            X: (N, p).

        Returns:
            (p,) treated less others, in standard deviations over all rows; 0 where a column does
            not vary.
        """
        table = np.asarray(X, dtype=np.float64)
        spread = table.std(axis=0)
        difference = (self.weights * np.where(self.treated, 1.0, -1.0)) @ table
        shares: FloatArray = np.zeros_like(difference)
        np.divide(difference, spread, out=shares, where=spread > 0)
        return shares

    def standard_error(self, X: ArrayLike, y: ArrayLike) -> float:
        """Of the contrast, given covariates and treatments: sqrt(sum of w^2 times residuals^2).

        Residuals are of a ridge regression of the outcome on the covariates within each arm, made
        larger for the degrees of freedom that it takes. What imbalance is left is no part of it.

        Args:
            X: (N, p) standardised covariates.
            y: (N,) outcomes.
        """
        table, values = np.asarray(X, dtype=np.float64), np.asarray(y, dtype=np.float64)
        variance = 0.0
        for arm in (False, True):
            rows = self.treated == arm
            weights = self.weights[rows]
            variance += float(weights**2 @ _residual_squares(table[rows], values[rows]))
        return float(np.sqrt(variance))


def normalise(a: FloatArray, treated: NDArray[np.bool_]) -> FloatArray:
    """Dual variables (N,) as weights that sum to 1 over each arm; even where all are 0."""
    weights = np.empty_like(a)
    for arm in (False, True):
        rows = treated == arm
        total = float(a[rows].sum())
        weights[rows] = a[rows] / total if total > 0 else 1.0 / rows.sum()
    return weights


def _residual_squares(X: FloatArray, y: FloatArray) -> FloatArray:
    centred = X - X.mean(axis=0)
    left, sizes, _ = np.linalg.svd(centred, full_matrices=False)
    # One unit of penalty a row of a hundred: enough to keep columns that barely vary in check.
    shrink = sizes**2 / (sizes**2 + 0.01 * len(y)) if sizes.size else sizes
    fitted = left @ (shrink * (left.T @ (y - y.mean())))
    freedom = max(len(y) - 1.0 - float(shrink.sum()), 1.0)
    squares: FloatArray = (y - y.mean() - fitted) ** 2 * (len(y) / freedom)
    return squares
