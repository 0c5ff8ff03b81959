"""Densities and distribution functions of exogenous noise, which itself only knows its inverse CDF.

Abduction under partial evidence weighs noises by their density, and a change of a noise's
distribution keeps the rank of each value; `Noise` asks its authors for neither. Here they are in
closed form for the noises of this package and from a table of the inverse CDF for any other.
"""

from __future__ import annotations

from abc import abstractmethod
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from causal_rl.scm import Gaussian, Laplace, Noise, NoNoise, Uniform

Array = NDArray[np.float64]

#: How far a value may be from what a variable without noise must be, relative to its size.
TOLERANCE = 1e-7
_LEVELS = 8192
_LEAST = 2.0**-53
# The outermost quantiles may be infinite: the table ends just inside of them.
_GRID = np.concatenate([[_LEAST], np.arange(1, _LEVELS) / _LEVELS, [1.0 - _LEAST]])


class NoiseWithLaw(Noise):
    """Noise that knows its density and its distribution function; others are tabulated."""

    @abstractmethod
    def log_density(self, values: Array) -> Array:
        """Log density, element by element; -inf where it is zero."""

    @abstractmethod
    def cdf(self, values: Array) -> Array:
        """Probability of at most each value."""


def log_density(noise: Noise, values: Array) -> Array:
    """Log density of a noise.

    Args:
        noise: the distribution. That of `NoNoise` is a point: 0 near it, -inf elsewhere.
        values: any shape.

    Returns:
        float64 of the shape of ``values``; -inf outside of the support.
    """
    noise, factor = noise.unscaled
    x = np.asarray(values, dtype=np.float64) / factor
    if isinstance(noise, NoNoise):
        return np.where(np.abs(x) <= TOLERANCE, 0.0, -np.inf)
    shift = np.log(factor)
    if isinstance(noise, Gaussian):
        z = x / noise.scale
        return np.asarray(-0.5 * z * z - np.log(noise.scale * np.sqrt(2 * np.pi)) - shift)
    if isinstance(noise, Laplace):
        return np.asarray(-np.abs(x) / noise.scale - np.log(2 * noise.scale) - shift)
    if isinstance(noise, Uniform):
        slack = TOLERANCE * (noise.high - noise.low)
        inside = (x >= noise.low - slack) & (x <= noise.high + slack)
        return np.where(inside, -np.log(noise.high - noise.low) - shift, -np.inf)
    if isinstance(noise, NoiseWithLaw):
        return np.asarray(noise.log_density(x) - shift)
    knots, density = _table(noise)
    slack = TOLERANCE * (knots[-1] - knots[0])
    inside = (x >= knots[0] - slack) & (x <= knots[-1] + slack)
    cell = np.searchsorted(knots, x, side="right") - 1
    found = density[np.clip(cell, 0, len(density) - 1)]
    return np.where(inside, found - shift, -np.inf)


def cumulative(noise: Noise, values: Array) -> Array:
    """Distribution function of a noise, kept inside (0, 1) so that an inverse CDF takes it.

    Args:
        noise: the distribution. For `NoNoise` it is one half everywhere.
        values: any shape.

    Returns:
        float64 of the shape of ``values``.
    """
    noise, factor = noise.unscaled
    x = np.asarray(values, dtype=np.float64) / factor
    if isinstance(noise, NoNoise):
        level = np.full(x.shape, 0.5)
    elif isinstance(noise, Gaussian):
        level = ndtr(x / noise.scale)
    elif isinstance(noise, Laplace):
        tail = 0.5 * np.exp(-np.abs(x) / noise.scale)
        level = np.where(x < 0, tail, 1.0 - tail)
    elif isinstance(noise, Uniform):
        level = (x - noise.low) / (noise.high - noise.low)
    elif isinstance(noise, NoiseWithLaw):
        level = noise.cdf(x)
    else:
        knots, _ = _table(noise)
        level = np.interp(x, knots, _GRID)
    return np.asarray(np.clip(level, _LEAST, 1.0 - _LEAST), dtype=np.float64)


def moved_noise(values: Array, old: Noise, new: Noise) -> Array:
    """The noise of equal rank in another distribution; the very values where both are the same.

    Args:
        values: noise of the old distribution.
        old: the distribution it came from.
        new: the one wanted.
    """
    if old is new or old == new:
        return values
    if isinstance(new, NoNoise):
        return np.zeros_like(values)
    before, after = old.unscaled, new.unscaled
    if before[0] == after[0]:
        return np.asarray(values * (after[1] / before[1]))
    return new.ppf(cumulative(old, values))


@lru_cache(maxsize=64)
def _table(noise: Noise) -> tuple[Array, Array]:
    """Quantiles at even levels, and the log density between each two of them."""
    knots = np.asarray(noise.ppf(_GRID), dtype=np.float64)
    width = np.maximum(np.diff(knots), np.finfo(np.float64).tiny)
    return knots, np.log(np.diff(_GRID)) - np.log(width)
