"""Checks at the public doors of this package: seeds, finite numbers, arrays of a given width."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]


def as_generator(rng: np.random.Generator | int) -> np.random.Generator:
    """Return a generator from a generator or an integer seed.

    Args:
        rng: A `numpy.random.Generator`, used as it is, or a non-negative integer seed.

    Returns:
        The generator.

    Raises:
        TypeError: If `rng` is neither.
        ValueError: If the seed is negative.
    """
    if isinstance(rng, np.random.Generator):
        return rng
    if isinstance(rng, bool) or not isinstance(rng, int | np.integer):
        raise TypeError(
            f"rng must be a numpy.random.Generator or an integer seed, got {type(rng).__name__}"
        )
    if rng < 0:
        raise ValueError(f"rng as a seed must be >= 0, got {rng}")
    return np.random.default_rng(int(rng))


def as_finite(value: Any, name: str) -> float:
    """Return `value` as a finite float.

    Args:
        value: A real number.
        name: What to call it in the error.

    Returns:
        The float.

    Raises:
        TypeError: If it is no number.
        ValueError: If it is NaN or infinite.
    """
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise TypeError(f"{name} must be a number, got {value!r}") from None
    if not math.isfinite(number):
        raise ValueError(f"{name} must be finite, got {number}")
    return number


def as_positive(value: Any, name: str) -> float:
    """Return `value` as a finite float above zero; errors as `as_finite`."""
    number = as_finite(value, name)
    if number <= 0:
        raise ValueError(f"{name} must be > 0, got {number}")
    return number


def as_count(value: Any, name: str, least: int = 1) -> int:
    """Return `value` as an integer that is at least `least`.

    Raises:
        TypeError: If it is no integer.
        ValueError: If it is below `least`.
    """
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise TypeError(f"{name} must be an integer >= {least}, got {value!r}")
    if value < least:
        raise ValueError(f"{name} must be >= {least}, got {value}")
    return int(value)


def as_columns(values: ArrayLike, width: int, name: str) -> FloatArray:
    """Turn a (batch, width) array into contiguous columns.

    An array in Fortran order, such as `DynamicSCM.step` returns, is turned without a copy.

    Args:
        values: Real array of shape (batch, width).
        width: The number of columns there must be.
        name: What to call it in the error.

    Returns:
        float64 of shape (width, batch), C order. It may share memory with `values`.

    Raises:
        ValueError: If the shape is another.
    """
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 2 or array.shape[1] != width:
        raise ValueError(f"{name} must have shape (batch, {width}), got {array.shape}")
    return np.ascontiguousarray(array.T)


def as_finite_columns(values: ArrayLike, width: int, name: str) -> FloatArray:
    """As `as_columns`, and refuse NaN and infinity, naming the first bad row."""
    columns = as_columns(values, width, name)
    finite = np.isfinite(columns)
    if not finite.all():
        row = int(np.flatnonzero(~finite.all(axis=0))[0])
        raise ValueError(f"{name} must be finite, row {row} is not")
    return columns
