"""Smooth random functions: draws of a Gaussian process by random features, and polynomials."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike

from causal_rl.scm.arguments import FloatArray, as_count, as_finite, as_generator, as_positive
from causal_rl.scm.mechanisms import ColumnMechanism, frozen_array, sum_of_rows, weighted_sum


@dataclass(frozen=True, eq=False)
class RandomFeatures(ColumnMechanism):
    """sum_h out_weights[h] cos(frequencies[:, h] . x + phases[h]).

    With frequencies from N(0, 1 / length_scale^2), phases uniform on a circle and weights from
    N(0, 2 / features), it is approximately a draw of the Gaussian process with the squared
    exponential kernel (Rahimi & Recht 2007).

    Attributes:
        frequencies: float64 of shape (k, features), read-only.
        phases: float64 of shape (features,), read-only.
        out_weights: float64 of shape (features,), read-only.
    """

    frequencies: FloatArray
    phases: FloatArray
    out_weights: FloatArray
    n_parents: int | None = field(init=False, repr=False)

    def __init__(self, frequencies: ArrayLike, phases: ArrayLike, out_weights: ArrayLike) -> None:
        """Check and keep the parameters.

        Args:
            frequencies: Shape (k, features), k and features at least 1.
            phases: Shape (features,).
            out_weights: Shape (features,).

        Raises:
            ValueError: If a number is not finite or the shapes disagree.
        """
        matrix = frozen_array(frequencies, "frequencies", 2)
        if 0 in matrix.shape:
            raise ValueError(f"frequencies must not be empty, got shape {matrix.shape}")
        for name, values in (("phases", phases), ("out_weights", out_weights)):
            vector = frozen_array(values, name, 1)
            if vector.shape != (matrix.shape[1],):
                raise ValueError(
                    f"{name} must have shape ({matrix.shape[1]},) as frequencies has "
                    f"{matrix.shape}, got {vector.shape}"
                )
            object.__setattr__(self, name, vector)
        object.__setattr__(self, "frequencies", matrix)
        object.__setattr__(self, "n_parents", matrix.shape[0])

    @classmethod
    def random(
        cls, k: int, rng: np.random.Generator, features: int = 64, length_scale: float = 1.5
    ) -> RandomFeatures:
        """Draw a function of k parents from the Gaussian process.

        Args:
            k: Number of parents, at least 1.
            rng: The generator to draw from.
            features: Number of random features, at least 1.
            length_scale: Of the kernel, above zero, in units of the parents. It is multiplied by
                the root of k, so that many parents do not make the function rougher.

        Raises:
            TypeError: If a number has the wrong type.
            ValueError: If a number is out of range.
        """
        k, features = as_count(k, "k"), as_count(features, "features")
        rng = as_generator(rng)
        scale = as_positive(length_scale, "length_scale") * math.sqrt(k)
        return cls(
            rng.normal(0.0, 1.0 / scale, size=(k, features)),
            rng.uniform(0.0, 2 * math.pi, size=features),
            rng.normal(0.0, math.sqrt(2.0 / features), size=features),
        )

    def evaluate(self, columns: Sequence[FloatArray], batch: int) -> FloatArray:
        """The function's value on the columns; see `Mechanism.evaluate`."""
        angle = self.frequencies[0][:, None] * columns[0]
        for weights, column in zip(self.frequencies[1:], columns[1:], strict=True):
            angle += weights[:, None] * column
        angle += self.phases[:, None]
        np.cos(angle, out=angle)
        angle *= self.out_weights[:, None]
        return sum_of_rows(angle)


@dataclass(frozen=True, eq=False)
class Polynomial(ColumnMechanism):
    """bound * tanh(p(s) / bound), where p is a polynomial in s = sum_k weights[k] x_k.

    A polynomial of an unbounded value can throw a world out of the floats within a few steps. The
    bound leaves it alone near zero and keeps it finite far off; `bound=None` takes it away.

    Attributes:
        weights: float64 of shape (k,), read-only.
        coefficients: float64 of shape (degree + 1,), read-only, the constant first.
        bound: The greatest absolute value, or None.
    """

    weights: FloatArray
    coefficients: FloatArray
    bound: float | None = 5.0
    n_parents: int | None = field(init=False, repr=False)

    def __init__(
        self, weights: ArrayLike, coefficients: ArrayLike, bound: float | None = 5.0
    ) -> None:
        """Check and keep the parameters.

        Args:
            weights: One finite number a parent, at least one.
            coefficients: One finite number a power, the constant first, at least one.
            bound: A number above zero, or None.

        Raises:
            ValueError: If a number is not finite, a vector is empty, or `bound` is not above zero.
        """
        for name, values in (("weights", weights), ("coefficients", coefficients)):
            vector = frozen_array(values, name, 1)
            if not len(vector):
                raise ValueError(f"{name} must not be empty")
            object.__setattr__(self, name, vector)
        object.__setattr__(self, "bound", None if bound is None else as_positive(bound, "bound"))
        object.__setattr__(self, "n_parents", len(self.weights))

    @classmethod
    def random(cls, k: int, rng: np.random.Generator, degree: int = 3) -> Polynomial:
        """Draw a polynomial of k parents in which every parent matters.

        Args:
            k: Number of parents, at least 1.
            rng: The generator to draw from.
            degree: At least 1.

        Raises:
            TypeError: If a number has the wrong type.
            ValueError: If a number is out of range.
        """
        k, degree = as_count(k, "k"), as_count(degree, "degree")
        rng = as_generator(rng)
        weights = rng.choice([-1.0, 1.0], size=k) * rng.uniform(0.5, 1.5, size=k) / math.sqrt(k)
        # Powers of a standard normal grow as the root of (2p)!; their share is held down.
        powers = np.arange(degree + 1)
        sizes = np.array([1.0 / math.sqrt(math.factorial(int(p))) for p in powers])
        signs = rng.choice([-1.0, 1.0], size=degree + 1)
        return cls(weights, signs * rng.uniform(0.3, 1.0, size=degree + 1) * sizes)

    def evaluate(self, columns: Sequence[FloatArray], batch: int) -> FloatArray:
        """The polynomial's value on the columns, by Horner's rule; see `Mechanism.evaluate`."""
        s = weighted_sum(tuple(self.weights.tolist()), columns, 0.0, batch)
        total = np.full(batch, float(self.coefficients[-1]))
        for c in self.coefficients[-2::-1].tolist():
            total *= s
            total += c
        if self.bound is None:
            return total
        total /= as_finite(self.bound, "bound")
        np.tanh(total, out=total)
        total *= self.bound
        return total
