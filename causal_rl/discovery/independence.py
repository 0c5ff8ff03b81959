"""Tests of conditional independence, in the batches that the search for a skeleton asks for."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtrc, ndtr

Array = NDArray[np.float64]

# Shares of a variable's variance that are taken for nothing, and correlations taken for none where
# the covariance is that of the population: rounding leaves some 1e-13.
LEAST_VARIANCE = 1e-10
LEAST_CORRELATION = 1e-9


class IndependenceTest(Protocol):
    """What the search for a skeleton asks of a test."""

    @property
    def n(self) -> int:
        """Number of variables."""

    def possible(self, i: int, size: int) -> bool:
        """Whether variable i can be tested given ``size`` others."""

    def p_values(self, i: int, sets: NDArray[np.intp]) -> Array:
        """Test i with each member of each set, given the other members.

        Args:
            i: a variable.
            sets: (m, k + 1) variables other than i, distinct in each row.

        Returns:
            (m, k + 1) p-values in [0, 1]; NaN where a test says nothing, since the given
            variables determine one of the two.
        """


@dataclass(frozen=True)
class Side:
    """What the tests of one variable rest on.

    Attributes:
        correlation: (n, n), unit diagonal; zeros off it for a variable that does not vary.
        scale: (n,) standard deviations, 0 where a variable does not vary.
        rows: number of independent rows, less those that what is held fixed took up; inf for the
            correlations of the population.
    """

    correlation: Array
    scale: Array
    rows: float

    @cached_property
    def regular(self) -> bool:
        """Whether no variable is a weighted sum of others."""
        return bool(np.linalg.eigvalsh(self.correlation)[0] > LEAST_VARIANCE)


class Sides(Protocol):
    """What the tests of all pairs rest on."""

    def __len__(self) -> int: ...

    @property
    def shared(self) -> Side | None:
        """The side of all pairs, if they have one and the same."""

    def between(self, i: int, j: int, /) -> Side:
        """What the tests of i and j given neighbours of i rest on."""


class OneSide:
    """The same correlations for all pairs.

    Args:
        side: what the tests rest on.
    """

    def __init__(self, side: Side) -> None:
        self.shared = side

    def __len__(self) -> int:
        return len(self.shared.scale)

    def between(self, i: int, j: int, /) -> Side:
        """That side, for any pair."""
        return self.shared


class FisherZ:
    """Fisher's z test of partial correlations, exact for Gaussian variables.

    ``sqrt(N - |S| - 3) |atanh r|`` is compared with the normal distribution, where r is the partial
    correlation of i and j given S and N the rows that stand behind it. For the correlations of the
    population (N infinite) only a correlation of 0 is independence.

    Args:
        sides: the correlations, scales and rows that the tests of each pair rest on.
    """

    def __init__(self, sides: Sides) -> None:
        self._sides = sides

    @property
    def n(self) -> int:
        """Number of variables."""
        return len(self._sides)

    def possible(self, i: int, size: int) -> bool:
        """Whether rows are left for a test of i given ``size`` others."""
        shared = self._sides.shared
        sides = (
            [shared]
            if shared is not None
            else [self._sides.between(i, j) for j in range(self.n) if j != i]
        )
        return any(side.rows - size - 3 > 0 for side in sides)

    def p_values(self, i: int, sets: NDArray[np.intp]) -> Array:
        """Test i with each member of each set, given the others; see `IndependenceTest`."""
        size = sets.shape[1] - 1
        shared = self._sides.shared
        if shared is not None:
            r = _partial(shared, i, sets)
            r = np.where(shared.scale[sets] == 0.0, np.nan, r)
            return _fisher(r, shared, i, size)
        p = np.empty(sets.shape)
        for j in np.unique(sets):
            row, place = np.nonzero(sets == j)
            others = sets[row][np.arange(sets.shape[1]) != place[:, None]].reshape(len(row), size)
            members = np.concatenate([np.full((len(row), 1), j), others], axis=1)
            side = self._sides.between(i, int(j))
            r = _partial(side, i, members, only_first=True)[:, 0]
            if side.scale[j] == 0.0:
                r = np.full(len(row), np.nan)
            p[row, place] = _fisher(r, side, i, size)
        return p


class WilksLambda:
    """Wilks' test of canonical correlations, Fisher's z for variables that are vectors.

    Given the blocks of S, ``-(N - |S| d - (p + q + 3) / 2) log prod(1 - c^2)`` over the canonical
    correlations c of the p columns of i and the q of j is compared with chi-squared of p q degrees
    of freedom (Bartlett's approximation). It weighs all canonical correlations: the largest alone
    has a distribution of its own for every number of rows and columns.

    Args:
        correlation: (m, m) of all columns, well-conditioned or not.
        blocks: for each variable the columns that are its own; none for a constant one.
        rows: rows behind the correlations.
    """

    def __init__(self, correlation: Array, blocks: list[NDArray[np.intp]], rows: float) -> None:
        self._correlation = correlation
        self._blocks = blocks
        self._rows = rows

    @property
    def n(self) -> int:
        """Number of variables."""
        return len(self._blocks)

    def possible(self, i: int, size: int) -> bool:
        """Whether rows are left for a test of i given ``size`` others."""
        widest = max(len(block) for block in self._blocks)
        return self._rows - size * widest - widest - 1.5 > 1

    def p_values(self, i: int, sets: NDArray[np.intp]) -> Array:
        """Test i with each member of each set, given the others; see `IndependenceTest`."""
        result = np.empty(sets.shape)
        for row, members in enumerate(sets):
            for place, j in enumerate(members):
                result[row, place] = self._p_value(i, int(j), np.delete(members, place))
        return result

    def _p_value(self, i: int, j: int, given: NDArray[np.intp]) -> float:
        a, b = self._blocks[i], self._blocks[j]
        if not len(a) or not len(b):
            return 1.0
        s = np.concatenate([self._blocks[int(k)] for k in given] or [np.zeros(0, dtype=np.intp)])
        ab = np.concatenate([a, b])
        rest = self._correlation[np.ix_(ab, ab)]
        if len(s):
            across = self._correlation[np.ix_(s, ab)]
            inner = self._correlation[np.ix_(s, s)]
            rest = (
                rest
                - across.T @ np.linalg.pinv(inner, rcond=LEAST_VARIANCE, hermitian=True) @ across
            )
        left, right = _whiten(rest[: len(a), : len(a)]), _whiten(rest[len(a) :, len(a) :])
        if not left.shape[1] or not right.shape[1]:
            return math.nan
        canonical = np.linalg.svd(left.T @ rest[: len(a), len(a) :] @ right, compute_uv=False)
        p, q = left.shape[1], right.shape[1]
        freedom = self._rows - len(s) - (p + q + 3) / 2
        canonical = np.minimum(canonical, 1.0 - 1e-15)
        return float(chdtrc(p * q, -freedom * np.log1p(-(canonical**2)).sum()))


def _fisher(r: Array, side: Side, i: int, size: int) -> Array:
    if side.scale[i] == 0.0 or side.rows - size - 3 <= 0:
        return np.full(r.shape, np.nan)
    if math.isinf(side.rows):
        return np.where(np.isnan(r), np.nan, (np.abs(r) <= LEAST_CORRELATION).astype(float))
    with np.errstate(divide="ignore"):
        z = math.sqrt(side.rows - size - 3) * np.arctanh(np.abs(r))
    return np.asarray(2.0 * ndtr(-z), dtype=np.float64)


def _partial(side: Side, i: int, sets: NDArray[np.intp], *, only_first: bool = False) -> Array:
    """Partial correlations of i with the members of sets (m, k + 1) given the others.

    Args:
        side: the correlations.
        i: a variable.
        sets: (m, k + 1).
        only_first: of the first member alone.

    Returns:
        (m, k + 1), or (m, 1), in [-1, 1]; NaN where those given determine one of the two.
    """
    if sets.shape[1] == 1:
        return np.asarray(side.correlation[i, sets], dtype=np.float64)
    members = np.concatenate([np.full((len(sets), 1), i), sets], axis=1)
    blocks = side.correlation[members[:, :, None], members[:, None, :]]
    # The smallest eigenvalue of a block is never below that of the whole matrix.
    if side.regular:
        return _from_precision(np.linalg.inv(blocks))
    fine = np.linalg.eigvalsh(blocks)[:, 0] > LEAST_VARIANCE
    places = range(1, 2 if only_first else blocks.shape[1])
    r = np.empty((len(blocks), len(places)))
    r[fine] = _from_precision(np.linalg.inv(blocks[fine]))[:, : len(places)]
    for row in np.flatnonzero(~fine):
        r[row] = [_residual(blocks[row], place) for place in places]
    return r


def _from_precision(precision: Array) -> Array:
    diagonal = np.sqrt(np.abs(np.diagonal(precision, axis1=1, axis2=2)))
    r = -precision[:, 0, 1:] / (diagonal[:, :1] * diagonal[:, 1:])
    return np.asarray(np.clip(r, -1.0, 1.0), dtype=np.float64)


def _residual(block: Array, place: int) -> float:
    """The partial correlation of the first and one other variable of a singular block."""
    given = [k for k in range(1, len(block)) if k != place]
    pair = [0, place]
    inner = np.linalg.pinv(block[np.ix_(given, given)], rcond=LEAST_VARIANCE, hermitian=True)
    across = block[np.ix_(given, pair)]
    rest = block[np.ix_(pair, pair)] - across.T @ inner @ across
    if min(rest[0, 0], rest[1, 1]) <= LEAST_VARIANCE:
        return math.nan
    return float(np.clip(rest[0, 1] / math.sqrt(rest[0, 0] * rest[1, 1]), -1.0, 1.0))


def _whiten(covariance: Array) -> Array:
    """Columns (p, r) that make r uncorrelated unit variables of p, leaving out null directions."""
    values, vectors = np.linalg.eigh(covariance)
    kept = values > LEAST_VARIANCE
    whitened: Array = vectors[:, kept] / np.sqrt(values[kept])
    return whitened
