"""A small function basis per variable: what the parent search takes a mechanism to be made of."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

BASIS_SIZE = 4
WIDE_SIZE = 8
_BUMPS = (-1.8, -0.6, 0.6, 1.8)


def basis_functions(z: NDArray[np.float64]) -> NDArray[np.float64]:
    """Four functions of a standardised variable: linear, bent, saturating and bumped.

    None grows faster than its argument, so that a far-out value has bounded leverage; the first
    is the variable itself, from which linear weights and regression targets are read.

    Args:
        z: ``(...)`` standardised values.

    Returns:
        ``(..., 4)``: ``z, log cosh(1.5 z), tanh(1.5 z), exp(-z^2)``.
    """
    bent = np.logaddexp(1.5 * z, -1.5 * z) - np.log(2.0)
    return np.stack([z, bent, np.tanh(1.5 * z), np.exp(-z * z)], axis=-1)


def wide_basis_functions(z: NDArray[np.float64]) -> NDArray[np.float64]:
    """The four functions of `basis_functions` and four bumps more, for fits on stored rows.

    Args:
        z: ``(...)`` standardised values.

    Returns:
        ``(..., 8)``, the four first.
    """
    bumps = [np.exp(-2.0 * (z - centre) ** 2) for centre in _BUMPS]
    return np.concatenate([basis_functions(z), np.stack(bumps, axis=-1)], axis=-1)


class FeatureMap:
    """Standardisation fixed once, then the basis of every column.

    Args:
        center: ``(n,)`` subtracted.
        scale: ``(n,)`` positive divisors.
    """

    def __init__(self, center: NDArray[np.float64], scale: NDArray[np.float64]) -> None:
        self.center = np.array(center, dtype=np.float64)
        self.scale = np.array(scale, dtype=np.float64)

    @classmethod
    def of(cls, values: NDArray[np.float64]) -> FeatureMap:
        """Standardise by these rows; a column that does not move keeps its units.

        Args:
            values: ``(N, n)``, at least one row.
        """
        center = values.mean(axis=0)
        spread = values.std(axis=0)
        dead = spread <= 1e-12 * np.maximum(1.0, np.abs(center))
        return cls(center, np.where(dead, 1.0, spread))

    def standardise(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """``(N, n)`` values in standard units."""
        return (values - self.center) / self.scale

    def __call__(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """``(N, n)`` values to ``(N, n * 4)`` features, a variable's four side by side."""
        z = self.standardise(values)
        return basis_functions(z).reshape(len(z), -1)
