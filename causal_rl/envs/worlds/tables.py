"""Mechanisms of small discrete worlds, written as tables over the categories of the parents.

A table is an array with one axis for each parent, the contemporaneous parents first and in the
order in which the variable declares them. Values of parents are the categories 0, 1, ..., K - 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from causal_rl.scm import Categorical, Mechanism, Noise, NoNoise

# Rows of probabilities that are this far from a sum of 1 are a mistake, not rounding.
_SUM_TOLERANCE = 1e-9


@dataclass(frozen=True, eq=False)
class Lookup(Mechanism):
    """table[parents]: a number for each combination of categories, without noise.

    Attributes:
        table: float64, one axis a parent; read-only. -inf is legal, for logits.
        n_categories: K if the entries are themselves categories 0..K-1, so that the variable is
            one of K categories; None for numbers.
        default_noise: none where the entries are categories, which noise must not move.
    """

    table: NDArray[np.float64]
    n_categories: int | None
    default_noise: Noise | None = field(init=False, repr=False)
    n_parents: int | None = field(init=False, repr=False)

    def __init__(self, table: ArrayLike, n_categories: int | None = None) -> None:
        """Check and keep the table.

        Args:
            table: At least one axis; no NaN.
            n_categories: K, or None.

        Raises:
            ValueError: If the table has no axis or holds NaN, or an entry is no category.
        """
        array = np.array(table, dtype=np.float64)
        if array.ndim < 1 or array.size == 0 or np.isnan(array).any():
            raise ValueError(f"table must be numbers with one axis a parent, got {table!r}")
        if n_categories is not None and not np.isin(array, np.arange(n_categories)).all():
            raise ValueError(f"table must hold categories 0..{n_categories - 1}, got {table!r}")
        array.flags.writeable = False
        object.__setattr__(self, "table", array)
        object.__setattr__(self, "n_categories", n_categories)
        object.__setattr__(self, "default_noise", None if n_categories is None else NoNoise())
        object.__setattr__(self, "n_parents", array.ndim)

    def __call__(self, parents: NDArray[np.float64]) -> NDArray[np.float64]:
        """Look up each row, (batch, k) -> (batch,)."""
        return self.evaluate(list(np.ascontiguousarray(parents.T)), len(parents))

    def evaluate(self, columns: Sequence[NDArray[np.float64]], batch: int) -> NDArray[np.float64]:
        """Look up columns of shape (batch,); a value off the grid counts as the nearest category.

        It can only come from a counterfactual that sets one, since actions offer categories alone.
        """
        index = np.zeros(batch, dtype=np.int64)
        for column, size in zip(columns, self.table.shape, strict=True):
            index *= size
            index += np.clip(np.rint(column), 0, size - 1).astype(np.int64)
        return self.table.ravel().take(index)


def conditional(table: ArrayLike) -> Categorical:
    """A category drawn by a conditional probability table.

    Args:
        table: probabilities, one axis a parent (at least one) and a last axis of K categories along
            which they sum to 1; zeros are legal.

    Raises:
        ValueError: no probabilities, or they do not sum to 1.
    """
    array = np.array(table, dtype=np.float64)
    if array.ndim < 2 or array.shape[-1] < 2:
        raise ValueError(f"table must have an axis a parent and one of K >= 2, got {array.shape}")
    if not ((array >= 0.0) & (array <= 1.0)).all():
        raise ValueError(f"table must hold probabilities, got {table!r}")
    if (np.abs(array.sum(axis=-1) - 1.0) > _SUM_TOLERANCE).any():
        raise ValueError(f"table must sum to 1 along its last axis, got {array.sum(axis=-1)!r}")
    with np.errstate(divide="ignore"):  # a logit of -inf is a probability of 0
        logits = np.log(array)
    return Categorical([Lookup(logits[..., k]) for k in range(array.shape[-1])])


def chance(table: ArrayLike) -> Categorical:
    """0 or 1, drawn with the probability of 1 that a table gives for the parents.

    Args:
        table: probabilities of 1, one axis a parent (at least one).

    Raises:
        ValueError: no probabilities.
    """
    one = np.asarray(table, dtype=np.float64)
    return conditional(np.stack([1.0 - one, one], axis=-1))


def coin(probability: float) -> Categorical:
    """0 or 1 without parents, 1 with a probability in (0, 1)."""
    return Categorical.from_probabilities([1.0 - probability, probability])
