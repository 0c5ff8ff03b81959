"""A table of numbers, from an array or a data frame: rows are draws, columns are variables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Matrix = NDArray[np.float64]


def read_table(
    values: ArrayLike | Any, names: Sequence[str] | None = None
) -> tuple[Matrix, tuple[str, ...]]:
    """Read a table.

    Args:
        values: ``(N, n)`` numbers, or a data frame (anything with ``columns`` whose columns have
            ``to_numpy``, as those of pandas and polars), whose column labels become the names.
        names: one name a column; default those of the frame, else ``X1 .. Xn``.

    Returns:
        ``(N, n)`` float64, a copy, and the names.

    Raises:
        TypeError: not numbers; a column of a frame is named.
        ValueError: not two-dimensional, no columns, labels that repeat, or a value that is NaN or
            infinite; row (counted from 0) and column are named.
    """
    if hasattr(values, "columns") and hasattr(values, "to_numpy"):
        array, labels = _read_frame(values)
    else:
        array = _read_array(values)
        labels = tuple(f"X{i + 1}" for i in range(array.shape[1]))
    if names is not None:
        if isinstance(names, str) or not all(isinstance(name, str) and name for name in names):
            raise TypeError(f"names must be a sequence of non-empty strings, not {names!r}")
        if len(names) != array.shape[1]:
            raise ValueError(f"names has {len(names)} entries; values has {array.shape[1]} columns")
        labels = tuple(names)
    bad = np.argwhere(~np.isfinite(array))
    if len(bad):
        row, column = bad[0]
        what = "NaN" if np.isnan(array[row, column]) else "an infinite value"
        raise ValueError(
            f"values has {what} in row {row}, column {labels[column]!r}; every value must be finite"
        )
    return array, labels


def real_array(value: ArrayLike, refusal: str) -> NDArray[Any]:
    """An array of booleans, integers or real numbers, of whatever shape.

    Raises:
        TypeError: anything else; ``refusal`` is the message.
    """
    try:
        raw = np.asarray(value)
        if raw.dtype.kind not in "biuf":
            raise TypeError
    except (TypeError, ValueError):
        raise TypeError(refusal) from None
    return raw


def _read_array(values: ArrayLike) -> Matrix:
    raw = real_array(values, "values must be a table of real numbers, or a data frame")
    if raw.ndim != 2 or raw.shape[1] == 0:
        raise ValueError(
            f"values has shape {raw.shape}; it must be (rows, variables), variables >= 1"
        )
    return np.array(raw, dtype=np.float64)


def _read_frame(frame: Any) -> tuple[Matrix, tuple[str, ...]]:
    labels = tuple(str(label) for label in frame.columns)
    if not labels:
        raise ValueError("values has no columns; it must have at least one")
    repeated = sorted({label for label in labels if labels.count(label) > 1})
    if repeated:
        raise ValueError(
            f"values has more than one column named {', '.join(repeated)}; names must be distinct"
        )
    columns = [
        _numbers(frame[label], name) for label, name in zip(frame.columns, labels, strict=True)
    ]
    return np.column_stack(columns), labels


def _numbers(column: Any, name: str) -> Matrix:
    raw = column.to_numpy()
    if raw.dtype.kind in "biuf":
        return np.asarray(raw, dtype=np.float64)
    # Nullable numbers and categories of numbers come as objects; dates must not pass as numbers.
    if raw.dtype.kind == "O" and not any(isinstance(value, str) for value in raw):
        try:
            missing = [value is None or bool(value != value) for value in raw]
            return np.array(
                [np.nan if gone else float(v) for gone, v in zip(missing, raw, strict=True)]
            )
        except (TypeError, ValueError):
            # pandas.NA has no truth value and lands here too: its column says how to read it.
            try:
                return np.asarray(column.to_numpy(dtype=np.float64, na_value=np.nan))
            except (TypeError, ValueError):
                pass
    raise TypeError(f"column {name!r} of values holds no numbers but {column.dtype}")
