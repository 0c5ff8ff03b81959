"""Reading matrices that users hand in: square, finite, of the right size, copied.

Every door of this package goes through these two functions, so that a bad matrix is refused in the
same words everywhere. The convention is fixed here and nowhere else: ``matrix[i, j]`` nonzero means
that variable ``i`` causes variable ``j``.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

BoolMatrix = NDArray[np.bool_]
FloatMatrix = NDArray[np.float64]


def read_matrix(value: ArrayLike, argument: str, *, n: int | None = None) -> FloatMatrix:
    """Copy a square matrix of finite numbers.

    Args:
        value: (n, n) bool, integer or real array-like; it is not changed.
        argument: name of the argument, for the error messages.
        n: number of variables that the matrix must have; any number if None.

    Returns:
        (n, n) float64, a fresh copy.

    Raises:
        TypeError: the entries are not real numbers.
        ValueError: not a square matrix, of another size than ``n``, without rows, or not finite.
    """
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise ValueError(f"{argument} must be a square matrix, but its rows differ") from error
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{argument} must hold numbers, got dtype {array.dtype}")
    if array.ndim != 2 or array.shape[0] != array.shape[1] or array.shape[0] == 0:
        raise ValueError(f"{argument} must have shape (n, n) with n >= 1, got {array.shape}")
    if n is not None and array.shape[0] != n:
        raise ValueError(f"{argument} must have shape {(n, n)}, got {array.shape}")
    matrix = array.astype(np.float64)
    if not np.isfinite(matrix).all():
        i, j = np.argwhere(~np.isfinite(matrix))[0]
        raise ValueError(f"{argument} must be finite, got {matrix[i, j]} at [{i}, {j}]")
    return matrix


def read_adjacency(
    value: ArrayLike, argument: str, *, n: int | None = None, binary: bool = True
) -> BoolMatrix:
    """Copy an adjacency matrix as booleans.

    Args:
        value: (n, n) array-like; it is not changed.
        argument: name of the argument, for the error messages.
        n: number of variables that the matrix must have; any number if None.
        binary: allow only 0 and 1 (or booleans). If False, every nonzero entry is an edge.

    Returns:
        (n, n) bool, a fresh copy.

    Raises:
        TypeError: the entries are not real numbers.
        ValueError: not a square finite matrix, or entries other than 0 and 1 while ``binary``.
    """
    matrix = read_matrix(value, argument, n=n)
    edges: BoolMatrix = matrix != 0.0
    if binary and not np.array_equal(matrix, edges):
        i, j = np.argwhere(matrix != edges)[0]
        raise ValueError(f"{argument} must hold only 0 and 1, got {matrix[i, j]:g} at [{i}, {j}]")
    return edges
