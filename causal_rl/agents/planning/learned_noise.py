"""The noise of a learned model: what its mechanisms left unexplained, and points to draw it at."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_LEVELS = np.linspace(0.0, 1.0, 257)
# With fewer residuals than this their quantiles are mere luck: the old shape is kept.
_ROWS_FOR_SHAPE = 128


class ResidualNoise:
    """Independent noises, one a variable, by the quantiles of its residuals.

    Args:
        n: number of variables.

    Attributes:
        quantiles: float64 (n, 257) at evenly spaced levels from 0 to 1; 0 until fitted.
        sigma: float64 (n,), standard deviations.
    """

    def __init__(self, n: int) -> None:
        self.quantiles = np.zeros((n, len(_LEVELS)))
        self.sigma = np.zeros(n)

    def fit(self, j: int, residual: Floats, variance: float) -> None:
        """Take the shape of a variable's noise from residuals and its size from ``variance``.

        Args:
            j: the variable.
            residual: (rows,), at least two.
            variance: of the noise; residuals of a fit are smaller, as it took some of the noise.
        """
        centred = residual - residual.mean()
        spread = float(centred.std())
        if spread > 0:
            centred *= np.sqrt(variance) / spread
        self.quantiles[j] = np.quantile(centred, _LEVELS)
        self.sigma[j] = centred.std()

    def refit(self, j: int, residual: Floats, variance: float) -> None:
        """As `fit`; the shape so far is kept, and resized, where there are few residuals."""
        if len(residual) >= _ROWS_FOR_SHAPE or self.sigma[j] <= 0:
            if len(residual) > 1:
                self.fit(j, residual, variance)
            return
        sigma = float(np.sqrt(variance))
        self.quantiles[j] *= sigma / self.sigma[j]
        self.sigma[j] = sigma

    def from_uniforms(self, uniforms: Floats) -> Floats:
        """Noise by the inverse distribution functions, (batch, n) in [0, 1] -> (batch, n)."""
        return np.column_stack(
            [np.interp(u, _LEVELS, q) for u, q in zip(uniforms.T, self.quantiles, strict=True)]
        )


def noise_points(samples: int, steps: int, n: int, seed: int) -> Floats:
    """Scrambled Sobol points moved to the middles of their strata, (steps, samples, n) in (0, 1).

    A scrambled Sobol sequence of 2^k points has one in each of 2^k equal strata of every axis. In
    the middle of it, what depends on one noise alone is integrated by the midpoint rule.

    Raises:
        ValueError: ``samples`` is no power of two.
    """
    if isinstance(samples, bool) or not isinstance(samples, int) or samples < 1:
        raise ValueError(f"samples must be a power of two, got {samples!r}")
    if samples & (samples - 1):
        raise ValueError(f"samples must be a power of two, got {samples}")
    from scipy.stats import qmc

    points = qmc.Sobol(steps * n, rng=np.random.default_rng(seed)).random(samples)
    strata = np.minimum(np.floor(points * samples), samples - 1)
    middles = ((strata + 0.5) / samples).reshape(samples, steps, n)
    return np.ascontiguousarray(middles.swapaxes(0, 1))
