"""Noise with the distribution of some residuals, smoothed: a kernel density with their variance."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import logsumexp, ndtr

from causal_rl.effects.noise_law import NoiseWithLaw

Array = NDArray[np.float64]

# Residuals are represented by so many of their quantiles; the inverse CDF by a table between them.
_CENTRES = 128
_TABLE = 2049
_TAIL = 7.0


class EmpiricalNoise(NoiseWithLaw):
    """Mean-zero noise shaped as residuals are.

    A Gaussian of Silverman's width about each of up to 128 quantiles of the residuals, the whole
    rescaled to a given standard deviation. Its support is the whole line, so no value contradicts
    a fitted model for being a little farther out than all that were seen.

    Args:
        residuals: ``(n,)`` finite, at least two and not all equal.
        std: standard deviation wanted; default that of the residuals.

    Raises:
        ValueError: too few residuals, all equal or not finite, or ``std`` not above 0.
    """

    def __init__(self, residuals: ArrayLike, std: float | None = None) -> None:
        given = np.asarray(residuals, dtype=np.float64)
        if given.ndim != 1 or len(given) < 2 or not np.isfinite(given).all():
            raise ValueError("residuals must be two or more finite numbers")
        spread = float(given.std())
        wanted = spread if std is None else float(std)
        if not spread > 0 or not wanted > 0 or not np.isfinite(wanted):
            raise ValueError(f"residuals must vary and std be > 0, got {spread:g} and {wanted:g}")
        levels = (np.arange(min(len(given), _CENTRES)) + 0.5) / min(len(given), _CENTRES)
        centres = np.quantile((given - given.mean()) / spread, levels)
        centres -= centres.mean()
        low, high = np.quantile(centres, [0.25, 0.75])
        size = min(float(centres.std()), float(high - low) / 1.34) or float(centres.std())
        self._width = max(0.9 * size * len(given) ** -0.2, 1e-3)
        # The kernels widen the distribution; its centres are drawn together to make up for it.
        self._scale = wanted
        factor = 1.0 / float(np.hypot(centres.std(), self._width))
        self._centres, self._width = centres * factor, self._width * factor
        reach = _TAIL * self._width
        self._grid = np.linspace(self._centres[0] - reach, self._centres[-1] + reach, _TABLE)
        self._levels = self._standard_cdf(self._grid)

    @property
    def std(self) -> float:
        """Standard deviation."""
        return self._scale

    def ppf(self, u: Array) -> Array:
        """Inverse CDF by the table; see `Noise.ppf`."""
        return np.asarray(np.interp(u, self._levels, self._grid) * self._scale)

    def cdf(self, values: Array) -> Array:
        """Distribution function by the same table."""
        return np.asarray(np.interp(values / self._scale, self._grid, self._levels))

    def log_density(self, values: Array) -> Array:
        """Log density; see `NoiseWithLaw.log_density`."""
        x = np.asarray(values, dtype=np.float64) / self._scale
        inside = np.interp(x, self._grid, self._table)
        # Beyond the table: the outermost kernel alone.
        edge = np.where(x < 0, self._centres[0], self._centres[-1])
        far = -0.5 * ((x - edge) / self._width) ** 2 - self._norm
        outside = (x < self._grid[0]) | (x > self._grid[-1])
        return np.asarray(np.where(outside, far, inside) - np.log(self._scale))

    def tables(self) -> tuple[Array, Array, Array]:
        """Values, and the distribution function and the log density there; all ``(T,)``."""
        return (
            self._grid * self._scale,
            self._levels.copy(),
            self._table - np.log(self._scale),
        )

    @property
    def _norm(self) -> float:
        return float(np.log(self._width * np.sqrt(2 * np.pi) * len(self._centres)))

    @property
    def _table(self) -> Array:
        if not hasattr(self, "_log_table"):
            z = (self._grid[:, None] - self._centres) / self._width
            self._log_table: Array = logsumexp(-0.5 * z * z, axis=1) - self._norm
        return self._log_table

    def _standard_cdf(self, x: Array) -> Array:
        return np.asarray(ndtr((x[:, None] - self._centres) / self._width).mean(axis=1))
