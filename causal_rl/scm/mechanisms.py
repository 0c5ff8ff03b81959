"""Mechanisms: the deterministic part of a variable as a function of its parents' values.

The built-in mechanisms use element-wise operations and sums in a fixed order. A matrix product
would let the result of a row depend on how many other rows are in the batch (BLAS picks its
kernel by size), and then a scalar and a vector environment would drift apart.
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from causal_rl.scm.arguments import FloatArray, as_count, as_finite, as_generator


class Mechanism(ABC):
    """A function of parents' values. A subclass needs `__call__` alone.

    Attributes:
        n_parents: How many parents it takes, or None where it takes any number.
    """

    n_parents: int | None = None
    #: Whether a variable is the mechanism's value plus its noise; see `NonAdditiveMechanism`.
    additive: ClassVar[bool] = True

    @abstractmethod
    def __call__(self, parents: FloatArray) -> FloatArray:
        """Evaluate at each row.

        Args:
            parents: float64 of shape (batch, k): the contemporaneous parents in the order in
                which the variable declares them, then its lagged parents.

        Returns:
            float64 of shape (batch,). Row b must depend on row b alone.
        """

    def evaluate(self, columns: Sequence[FloatArray], batch: int) -> FloatArray:
        """Evaluate on columns; what the simulators call.

        Override it only to save the stacking: the values must be those of `__call__`.

        Args:
            columns: One contiguous float64 array of shape (batch,) a parent; not to be changed.
            batch: The number of rows, needed where there is no parent.

        Returns:
            float64 of shape (batch,). It may be one of `columns`.
        """
        stacked = np.stack(columns, axis=1) if len(columns) else np.empty((batch, 0))
        return np.asarray(self(stacked), dtype=np.float64)

    def evaluate_one(self, values: Sequence[float]) -> float:
        """Evaluate one row; what an environment alone calls.

        Override it only to save the arrays: the result must be that of `evaluate`, bit for bit.

        Args:
            values: One float a parent.

        Raises:
            ValueError: If `evaluate` returns another shape than (1,).
        """
        result = self.evaluate([np.array([value]) for value in values], 1)
        if result.shape != (1,):
            raise ValueError(
                f"its mechanism must return shape (1,) for a batch of 1, got {result.shape}"
            )
        return float(result[0])

    def respond(self, columns: Sequence[FloatArray], noise: FloatArray, batch: int) -> FloatArray:
        """The value of the variable: here the mechanism's plus the noise.

        Args:
            columns: As for `evaluate`.
            noise: float64 of shape (batch,).
            batch: The number of rows.

        Returns:
            float64 of shape (batch,).
        """
        return self.evaluate(columns, batch) + noise

    def abduct(
        self,
        value: FloatArray,
        columns: Sequence[FloatArray],
        rng: np.random.Generator | None = None,
    ) -> FloatArray:
        """The noise that explains a value; here the difference.

        Args:
            value: float64 of shape (batch,).
            columns: As for `evaluate`.
            rng: Draws from the posterior where many noises explain the value; without it a middle
                one is taken.

        Returns:
            float64 of shape (batch,).

        Raises:
            ValueError: If no noise explains a value.
        """
        return value - self.evaluate(columns, len(value))


class ColumnMechanism(Mechanism):
    """Base of mechanisms that are written over columns: implement `evaluate`."""

    def __call__(self, parents: FloatArray) -> FloatArray:
        """Evaluate at each row; see `Mechanism.__call__`.

        Raises:
            ValueError: If `parents` is not (batch, n_parents).
        """
        array = np.asarray(parents, dtype=np.float64)
        if array.ndim != 2 or self.n_parents not in (None, array.shape[1]):
            width = "k" if self.n_parents is None else self.n_parents
            raise ValueError(f"parents must have shape (batch, {width}), got {array.shape}")
        return self.evaluate(list(np.ascontiguousarray(array.T)), array.shape[0])

    @abstractmethod
    def evaluate(self, columns: Sequence[FloatArray], batch: int) -> FloatArray:
        """Evaluate on columns; see `Mechanism.evaluate`."""


@dataclass(frozen=True, eq=False)
class Constant(ColumnMechanism):
    """The same value whatever happens; the mechanism of a root and of a hard intervention.

    Attributes:
        value: The value.
    """

    value: float = 0.0
    n_parents: int | None = field(default=0, init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "value", as_finite(self.value, "Constant value"))

    def evaluate(self, columns: Sequence[FloatArray], batch: int) -> FloatArray:
        """The value in every row."""
        return np.full(batch, self.value)

    def evaluate_one(self, values: Sequence[float]) -> float:
        """The value."""
        return self.value


@dataclass(frozen=True, eq=False)
class Linear(ColumnMechanism):
    """sum_k weights[k] x_k + bias.

    Attributes:
        weights: float64 of shape (k,), read-only.
        bias: Added at the end.
    """

    weights: FloatArray
    bias: float = 0.0
    n_parents: int | None = field(init=False, repr=False)
    _coefficients: tuple[float, ...] = field(init=False, repr=False)

    def __init__(self, weights: ArrayLike, bias: float = 0.0) -> None:
        """Check and keep the parameters.

        Args:
            weights: One finite number a parent.
            bias: A finite number.

        Raises:
            ValueError: If a number is not finite or `weights` is not one-dimensional.
        """
        vector = frozen_array(weights, "weights", 1)
        object.__setattr__(self, "weights", vector)
        object.__setattr__(self, "bias", as_finite(bias, "bias"))
        object.__setattr__(self, "n_parents", len(vector))
        # Python floats: NumPy scalars would cost a conversion in every product.
        object.__setattr__(self, "_coefficients", tuple(vector.tolist()))

    def evaluate(self, columns: Sequence[FloatArray], batch: int) -> FloatArray:
        """The weighted sum of the columns, in their order."""
        return weighted_sum(self._coefficients, columns, self.bias, batch)

    def evaluate_one(self, values: Sequence[float]) -> float:
        """The weighted sum; see `Mechanism.evaluate_one`."""
        return _weighted_one(self._coefficients, values, self.bias)


@dataclass(frozen=True, eq=False)
class Tanh(ColumnMechanism):
    """scale * tanh(sum_k weights[k] x_k + bias).

    Attributes:
        weights: float64 of shape (k,), read-only.
        bias: Added before the tanh.
        scale: Multiplies the tanh.
    """

    weights: FloatArray
    bias: float = 0.0
    scale: float = 1.0
    n_parents: int | None = field(init=False, repr=False)
    _coefficients: tuple[float, ...] = field(init=False, repr=False)

    def __init__(self, weights: ArrayLike, bias: float = 0.0, scale: float = 1.0) -> None:
        """Check and keep the parameters.

        Args:
            weights: One finite number a parent.
            bias: A finite number.
            scale: A finite number.

        Raises:
            ValueError: If a number is not finite or `weights` is not one-dimensional.
        """
        vector = frozen_array(weights, "weights", 1)
        object.__setattr__(self, "weights", vector)
        object.__setattr__(self, "bias", as_finite(bias, "bias"))
        object.__setattr__(self, "scale", as_finite(scale, "scale"))
        object.__setattr__(self, "n_parents", len(vector))
        object.__setattr__(self, "_coefficients", tuple(vector.tolist()))

    def evaluate(self, columns: Sequence[FloatArray], batch: int) -> FloatArray:
        """The squashed weighted sum of the columns."""
        total = weighted_sum(self._coefficients, columns, self.bias, batch)
        np.tanh(total, out=total)
        if self.scale != 1.0:
            total *= self.scale
        return total

    def evaluate_one(self, values: Sequence[float]) -> float:
        """The squashed weighted sum; see `Mechanism.evaluate_one`."""
        # NumPy's tanh, which need not round as the C library's does.
        return float(np.tanh(_weighted_one(self._coefficients, values, self.bias))) * self.scale


@dataclass(frozen=True, eq=False)
class MLP(ColumnMechanism):
    """One hidden layer: out_weights . tanh(in_weights^T x + in_bias) + out_bias.

    Attributes:
        in_weights: float64 of shape (k, hidden), read-only.
        in_bias: float64 of shape (hidden,), read-only.
        out_weights: float64 of shape (hidden,), read-only.
        out_bias: Added at the end.
    """

    in_weights: FloatArray
    in_bias: FloatArray
    out_weights: FloatArray
    out_bias: float = 0.0
    n_parents: int | None = field(init=False, repr=False)

    def __init__(
        self,
        in_weights: ArrayLike,
        in_bias: ArrayLike,
        out_weights: ArrayLike,
        out_bias: float = 0.0,
    ) -> None:
        """Check and keep the parameters.

        Args:
            in_weights: Shape (k, hidden), k and hidden at least 1.
            in_bias: Shape (hidden,).
            out_weights: Shape (hidden,).
            out_bias: A finite number.

        Raises:
            ValueError: If a number is not finite or the shapes disagree.
        """
        first = frozen_array(in_weights, "in_weights", 2)
        bias = frozen_array(in_bias, "in_bias", 1)
        second = frozen_array(out_weights, "out_weights", 1)
        if 0 in first.shape:
            raise ValueError(f"in_weights must not be empty, got shape {first.shape}")
        for name, vector in (("in_bias", bias), ("out_weights", second)):
            if vector.shape != (first.shape[1],):
                raise ValueError(
                    f"{name} must have shape ({first.shape[1]},) as in_weights has "
                    f"{first.shape}, got {vector.shape}"
                )
        object.__setattr__(self, "in_weights", first)
        object.__setattr__(self, "in_bias", bias)
        object.__setattr__(self, "out_weights", second)
        object.__setattr__(self, "out_bias", as_finite(out_bias, "out_bias"))
        object.__setattr__(self, "n_parents", first.shape[0])

    @classmethod
    def random(cls, k: int, rng: np.random.Generator, hidden: int = 16) -> MLP:
        """Draw a network in which every parent matters.

        Input weights keep away from zero, so that no parent is lost; biases spread the units
        over the range of inputs with unit variance.

        Args:
            k: Number of parents, at least 1.
            rng: The generator to draw from.
            hidden: Number of hidden units, at least 1.

        Returns:
            The mechanism.

        Raises:
            ValueError: If `k` or `hidden` is below 1.
        """
        k, hidden = as_count(k, "k"), as_count(hidden, "hidden")
        rng = as_generator(rng)
        signs = rng.choice([-1.0, 1.0], size=(k, hidden))
        in_weights = signs * rng.uniform(0.5, 2.0, size=(k, hidden)) / np.sqrt(k)
        in_bias = rng.uniform(-1.5, 1.5, size=hidden)
        return cls(in_weights, in_bias, rng.normal(0.0, hidden**-0.5, size=hidden))

    def evaluate(self, columns: Sequence[FloatArray], batch: int) -> FloatArray:
        """The network's value on the columns."""
        layer = self.in_weights[0][:, None] * columns[0]
        for weights, column in zip(self.in_weights[1:], columns[1:], strict=True):
            layer += weights[:, None] * column
        layer += self.in_bias[:, None]
        np.tanh(layer, out=layer)
        layer *= self.out_weights[:, None]
        return sum_of_rows(layer) + self.out_bias


@dataclass(frozen=True, eq=False)
class Scaled(ColumnMechanism):
    """shift + scale * mechanism(parents): an affine map of another mechanism's output.

    Attributes:
        mechanism: The inner mechanism.
        shift: Added.
        scale: Multiplies.
    """

    mechanism: Mechanism
    shift: float = 0.0
    scale: float = 1.0
    n_parents: int | None = field(init=False, repr=False)

    def __init__(self, mechanism: Mechanism, shift: float = 0.0, scale: float = 1.0) -> None:
        """Check and keep the parameters.

        Args:
            mechanism: The inner mechanism.
            shift: A finite number.
            scale: A finite number.

        Raises:
            TypeError: If `mechanism` is no `Mechanism`.
            ValueError: If a number is not finite.
        """
        if not isinstance(mechanism, Mechanism):
            raise TypeError(f"mechanism must be a Mechanism, got {type(mechanism).__name__}")
        if not mechanism.additive:
            raise TypeError(
                f"mechanism must have additive noise, got {type(mechanism).__name__}: its value "
                "cannot be scaled apart from its noise"
            )
        object.__setattr__(self, "mechanism", mechanism)
        object.__setattr__(self, "shift", as_finite(shift, "shift"))
        object.__setattr__(self, "scale", as_finite(scale, "scale"))
        object.__setattr__(self, "n_parents", mechanism.n_parents)

    def evaluate(self, columns: Sequence[FloatArray], batch: int) -> FloatArray:
        """The affine map of the inner value."""
        result = self.mechanism.evaluate(columns, batch) * self.scale
        result += self.shift
        return result

    def evaluate_one(self, values: Sequence[float]) -> float:
        """The affine map of the inner value; see `Mechanism.evaluate_one`."""
        return self.mechanism.evaluate_one(values) * self.scale + self.shift


@dataclass(frozen=True, eq=False)
class Function(ColumnMechanism):
    """Any callable over columns: ``f(*columns)``, one (batch,) array a parent.

    To pickle the model the callable must be picklable: a function at a module's top level.

    Attributes:
        f: The callable. It must act row by row, must not change its arguments and must return
            (batch,) numbers; `SCM.check` tests all three.
    """

    f: Callable[..., Any]
    n_parents: int | None = field(init=False, repr=False)

    def __init__(self, f: Callable[..., Any]) -> None:
        """Wrap a callable.

        Args:
            f: The callable; its number of parents is read off its signature where it is fixed.

        Raises:
            TypeError: If `f` cannot be called.
        """
        if not callable(f):
            raise TypeError(f"mechanism must be a Mechanism or a callable, got {f!r}")
        object.__setattr__(self, "f", f)
        object.__setattr__(self, "n_parents", fixed_arity(f))

    def evaluate(self, columns: Sequence[FloatArray], batch: int) -> FloatArray:
        """The callable's value on the columns."""
        given = np.asarray(self.f(*columns))
        if given.dtype.kind == "c":  # a conversion would only warn
            raise TypeError("the callable must return real numbers, got complex ones")
        result = np.asarray(given, dtype=np.float64)
        # Without arguments the callable cannot know the batch.
        return np.full(batch, result) if not columns and result.ndim == 0 else result


def affine(mechanism: Mechanism, shift: float = 0.0, scale: float = 1.0) -> Mechanism:
    """``shift + scale * mechanism(parents)`` with as few operations as may be.

    A `Linear` gives a `Linear` and a `Scaled` one `Scaled`; others are wrapped in `Scaled`.
    """
    if isinstance(mechanism, Linear):
        return Linear(mechanism.weights * scale, mechanism.bias * scale + shift)
    if isinstance(mechanism, Scaled):
        return Scaled(mechanism.mechanism, shift + scale * mechanism.shift, scale * mechanism.scale)
    return Scaled(mechanism, shift, scale)


def frozen_array(values: ArrayLike, name: str, ndim: int) -> FloatArray:
    """A read-only float64 copy.

    Raises:
        TypeError: If it holds no numbers.
        ValueError: If it has another number of dimensions or a number is not finite.
    """
    try:
        array = np.array(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise TypeError(f"{name} must be an array of numbers, got {values!r}") from None
    if array.ndim != ndim:
        raise ValueError(f"{name} must have {ndim} dimension(s), got shape {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} must be finite, got {array.tolist()}")
    array.flags.writeable = False
    return array


def weighted_sum(
    weights: tuple[float, ...], columns: Sequence[FloatArray], bias: float, batch: int
) -> FloatArray:
    """The sum of weights[k] columns[k], in this order, plus the bias, (batch,)."""
    if not weights:
        return np.full(batch, bias)
    total: FloatArray = weights[0] * columns[0]
    for k in range(1, len(weights)):
        total += weights[k] * columns[k]
    if bias:
        total += bias
    return total


def _weighted_one(weights: tuple[float, ...], values: Sequence[float], bias: float) -> float:
    """`weighted_sum` of one row, in the same order of additions."""
    if not weights:
        return bias
    total = weights[0] * values[0]
    for k in range(1, len(weights)):
        total += weights[k] * values[k]
    return total + bias if bias else total


def sum_of_rows(rows: FloatArray) -> FloatArray:
    """Sum over axis 0 by halving, in place: the order of additions is that of any batch size."""
    n = len(rows)
    while n > 1:
        half = n // 2
        rows[:half] += rows[n - half : n]
        n -= half
    total: FloatArray = rows[0]
    return total


def fixed_arity(f: Callable[..., Any]) -> int | None:
    """How many positional arguments a callable takes, or None where that is not fixed."""
    try:
        parameters = inspect.signature(f).parameters.values()
    except (TypeError, ValueError):
        return None
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    if any(p.kind not in positional or p.default is not p.empty for p in parameters):
        return None
    return len(parameters)
