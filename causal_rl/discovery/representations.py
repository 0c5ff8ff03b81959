"""Vectors that stand for variables, as the columns that a test of blocks takes."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

# A component of a smaller share of a variable's variance is rounding.
_LEAST_SHARE = 1e-6


def read_representations(value: ArrayLike) -> Array:
    """Copy representations.

    Args:
        value: (N, n, d) real numbers.

    Returns:
        (N, n, d) float64, a fresh copy.

    Raises:
        TypeError: not numbers.
        ValueError: another shape, no rows or variables, NaN or infinite values.
    """
    array = np.asarray(value)
    if array.dtype.kind not in "biuf":
        raise TypeError(f"representations must hold real numbers, got dtype {array.dtype}")
    if array.ndim != 3 or 0 in array.shape:
        raise ValueError(
            f"representations has shape {array.shape}; it must be (rows, variables, dimensions), "
            "each at least 1"
        )
    array = array.astype(np.float64)
    finite = np.isfinite(array).all(axis=(1, 2))
    if not finite.all():
        raise ValueError(
            f"representations has NaN or infinite values, first in row {int(np.argmin(finite))}"
        )
    return array


def blocks_of(representations: Array, components: int) -> tuple[Array, list[NDArray[np.intp]]]:
    """Reduce each variable's vectors to its leading principal components.

    Args:
        representations: (N, n, d).
        components: how many at most.

    Returns:
        The correlation of all columns together, (m, m), and for each variable its columns: none
        where its vectors do not vary.
    """
    columns: list[Array] = []
    blocks = []
    count = 0
    for vectors in representations.transpose(1, 0, 2):
        size = np.abs(vectors).max()
        centred = vectors / size if size > 0 else vectors
        centred = centred - centred.mean(axis=0)
        left, spread, _ = np.linalg.svd(centred, full_matrices=False)
        kept = spread[:components] ** 2 > max(_LEAST_SHARE * (spread**2).sum(), 1e-20 * len(left))
        columns += list(left[:, : len(kept)][:, kept].T)
        blocks.append(np.arange(count, count + int(kept.sum())))
        count += int(kept.sum())
    stacked = np.array(columns).reshape(count, len(representations))
    return stacked @ stacked.T, blocks
