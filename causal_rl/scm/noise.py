"""Noise distributions, each given by its inverse CDF so that keyed uniforms can drive it."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from causal_rl.scm.arguments import FloatArray, as_finite, as_positive
from causal_rl.scm.keyed_noise import UintArray, bits_to_uniforms
from causal_rl.scm.normal_quantile import normal_from_bits, normal_quantile

# Half the least step of Generator.random, which can return 0 where most inverse CDFs are infinite.
_LEAST_UNIFORM = 2.0**-54
_QUADRATURE_POINTS = 100_000


class Noise(ABC):
    """An exogenous distribution. A subclass needs `ppf` alone.

    Noise is additive: a variable is its mechanism's value plus its noise.
    """

    @abstractmethod
    def ppf(self, u: FloatArray) -> FloatArray:
        """Inverse CDF, element by element.

        Args:
            u: Uniforms in the open interval (0, 1), any shape, float64.

        Returns:
            Draws, float64, of the shape of `u`.
        """

    def from_bits(self, bits: UintArray, out: FloatArray) -> None:
        """`ppf` of the uniforms of `bits_to_uniforms`; override it only to be faster.

        Args:
            bits: Random words, uint64, any shape; changed in place.
            out: Takes the draws, float64, C order, of the shape of `bits`.
        """
        out[...] = self.ppf(bits_to_uniforms(bits))

    def sample(self, rng: np.random.Generator, size: int | tuple[int, ...]) -> FloatArray:
        """Draw independent values.

        Args:
            rng: The generator to draw from.
            size: The shape of the result.

        Returns:
            float64 of shape `size`.
        """
        return self.ppf(np.maximum(rng.random(size), _LEAST_UNIFORM))

    @property
    def std(self) -> float:
        """Standard deviation; by quadrature over `ppf` unless a subclass knows better."""
        grid = (np.arange(_QUADRATURE_POINTS) + 0.5) / _QUADRATURE_POINTS
        return float(np.std(self.ppf(grid)))

    def scaled(self, factor: float) -> Noise:
        """The distribution of `factor` times this noise.

        Args:
            factor: A finite number above zero.

        Returns:
            A new noise.

        Raises:
            ValueError: If `factor` is not above zero.
        """
        return ScaledNoise(self, factor)

    @property
    def unscaled(self) -> tuple[Noise, float]:
        """A noise and the factor that makes it this one.

        Variables whose noises differ in scale alone are drawn in one go by it.
        """
        return self, 1.0


@dataclass(frozen=True)
class Gaussian(Noise):
    """Normal noise with mean 0.

    Attributes:
        scale: Standard deviation, above zero.
    """

    scale: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "scale", as_positive(self.scale, "Gaussian scale"))

    def ppf(self, u: FloatArray) -> FloatArray:
        """Inverse CDF; see `Noise.ppf`."""
        return normal_quantile(u) * self.scale

    def from_bits(self, bits: UintArray, out: FloatArray) -> None:
        """As `ppf`; see `Noise.from_bits`."""
        normal_from_bits(bits, out)
        if self.scale != 1.0:
            out *= self.scale

    def sample(self, rng: np.random.Generator, size: int | tuple[int, ...]) -> FloatArray:
        """Draw by the generator's own method; see `Noise.sample`."""
        return rng.normal(0.0, self.scale, size)

    @property
    def std(self) -> float:
        """The scale."""
        return self.scale

    def scaled(self, factor: float) -> Gaussian:
        """Normal noise with `factor` times the scale."""
        return Gaussian(self.scale * as_positive(factor, "factor"))

    @property
    def unscaled(self) -> tuple[Gaussian, float]:
        """The standard normal and the scale."""
        return Gaussian(1.0), self.scale


@dataclass(frozen=True)
class Uniform(Noise):
    """Uniform noise on [low, high].

    Attributes:
        low: Lower end.
        high: Upper end, above `low`.
    """

    low: float = -1.0
    high: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "low", as_finite(self.low, "Uniform low"))
        object.__setattr__(self, "high", as_finite(self.high, "Uniform high"))
        if self.low >= self.high:
            raise ValueError(f"Uniform low must be below high, got {self.low} and {self.high}")

    def ppf(self, u: FloatArray) -> FloatArray:
        """Inverse CDF; see `Noise.ppf`."""
        return self.low + (self.high - self.low) * u

    @property
    def std(self) -> float:
        """(high - low) / sqrt(12)."""
        return (self.high - self.low) / math.sqrt(12.0)

    def scaled(self, factor: float) -> Uniform:
        """Uniform noise with both ends times `factor`."""
        factor = as_positive(factor, "factor")
        return Uniform(self.low * factor, self.high * factor)


@dataclass(frozen=True)
class Laplace(Noise):
    """Laplace noise with mean 0.

    Attributes:
        scale: The scale b, above zero; the standard deviation is b sqrt(2).
    """

    scale: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "scale", as_positive(self.scale, "Laplace scale"))

    def ppf(self, u: FloatArray) -> FloatArray:
        """Inverse CDF; see `Noise.ppf`."""
        # The smaller tail is used on each side, so that precision is kept near 0.
        lower = np.log(2.0 * np.minimum(u, 1.0 - u))
        return np.where(u < 0.5, lower, -lower) * self.scale

    @property
    def std(self) -> float:
        """Scale times sqrt(2)."""
        return self.scale * math.sqrt(2.0)

    def scaled(self, factor: float) -> Laplace:
        """Laplace noise with `factor` times the scale."""
        return Laplace(self.scale * as_positive(factor, "factor"))

    @property
    def unscaled(self) -> tuple[Laplace, float]:
        """Laplace(1) and the scale."""
        return Laplace(1.0), self.scale


@dataclass(frozen=True)
class NoNoise(Noise):
    """The noise of a deterministic variable: always 0."""

    def ppf(self, u: FloatArray) -> FloatArray:
        """Zeros of the shape of `u`."""
        return np.zeros_like(u, dtype=np.float64)

    def sample(self, rng: np.random.Generator, size: int | tuple[int, ...]) -> FloatArray:
        """Zeros; the generator is not touched."""
        return np.zeros(size)

    @property
    def std(self) -> float:
        """Zero."""
        return 0.0

    def scaled(self, factor: float) -> NoNoise:
        """Itself."""
        as_positive(factor, "factor")
        return self


@dataclass(frozen=True)
class ScaledNoise(Noise):
    """A multiple of another noise.

    Attributes:
        noise: The noise that is multiplied.
        factor: The multiple, above zero.
    """

    noise: Noise
    factor: float

    def __post_init__(self) -> None:
        if not isinstance(self.noise, Noise):
            raise TypeError(f"noise must be a Noise, got {self.noise!r}")
        object.__setattr__(self, "factor", as_positive(self.factor, "factor"))

    def ppf(self, u: FloatArray) -> FloatArray:
        """Inverse CDF; see `Noise.ppf`."""
        return self.noise.ppf(u) * self.factor

    def sample(self, rng: np.random.Generator, size: int | tuple[int, ...]) -> FloatArray:
        """Draw from the inner noise and multiply; see `Noise.sample`."""
        return self.noise.sample(rng, size) * self.factor

    @property
    def std(self) -> float:
        """The inner noise's standard deviation times the factor."""
        return self.noise.std * self.factor

    def scaled(self, factor: float) -> ScaledNoise:
        """The inner noise with both factors."""
        return ScaledNoise(self.noise, self.factor * as_positive(factor, "factor"))

    @property
    def unscaled(self) -> tuple[Noise, float]:
        """The inner noise and the factor."""
        noise, factor = self.noise.unscaled
        return noise, factor * self.factor


_UNIT_NOISES: dict[str, Callable[[], Noise]] = {
    "gaussian": lambda: Gaussian(1.0),
    "uniform": lambda: Uniform(-math.sqrt(3.0), math.sqrt(3.0)),
    "laplace": lambda: Laplace(1.0 / math.sqrt(2.0)),
}


def unit_noise(kind: str) -> Noise:
    """Noise of a named kind with mean 0 and standard deviation 1.

    Args:
        kind: "gaussian", "uniform" or "laplace".

    Returns:
        The noise.

    Raises:
        ValueError: If `kind` is another.
    """
    if kind not in _UNIT_NOISES:
        raise ValueError(f"noise must be one of {', '.join(_UNIT_NOISES)}, got {kind!r}")
    return _UNIT_NOISES[kind]()
