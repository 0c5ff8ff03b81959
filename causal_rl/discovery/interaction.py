"""Regression with interactions on stored rows: what an additive model leaves, and who needs it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy.special import fdtrc

from causal_rl.discovery.basis import WIDE_SIZE, wide_basis_functions
from causal_rl.discovery.do_shift import JITTER

Matrix = NDArray[np.float64]

# A model has at most this many features, and this many rows for each of them.
MOST_FEATURES = 320
ROWS_PER_FEATURE = 5
# Functions of the basis that are multiplied with each other, the richest that the rows allow.
PRODUCT_SIZES = (4, 2, 1, 0)
# Products of these two, the line and the bend, are enough to see that an interaction is there.
SCREENED = 2


def centred_basis(z: Matrix) -> Matrix:
    """The basis of standardised columns, each function centred and scaled over the rows.

    Args:
        z: ``(M, C)``.

    Returns:
        ``(M, C, 8)``; functions that do not vary are zero.
    """
    basis = wide_basis_functions(z)
    basis = basis - basis.mean(axis=0)
    spread = basis.std(axis=0)
    scaled: Matrix = np.where(spread > 1e-9, basis / np.where(spread > 1e-9, spread, 1.0), 0.0)
    return scaled


@dataclass(frozen=True)
class Loss:
    """What one parent is worth in a model, as shares of the target's variance, bias removed.

    Attributes:
        alone: lost when its own functions go, all products with it being gone already.
        full: lost when it goes with all its products.
        full_p: p-value of the full loss.
    """

    alone: float
    full: float
    full_p: float


@dataclass(frozen=True)
class Fit:
    """A fitted model.

    Attributes:
        left: share of the target's variance left unexplained, degrees of freedom accounted for.
        residual: ``(M,)``.
    """

    left: float
    residual: NDArray[np.float64]


class InteractionModel:
    """Explains a target by the bases of some variables and the products of each pair of bases.

    Args:
        target: ``(M,)``.
        basis: ``(M, C, 8)`` from `centred_basis`.
        covariates: ``(M, q)`` columns that every model contains beside the intercept.
    """

    def __init__(self, target: NDArray[np.float64], basis: Matrix, covariates: Matrix) -> None:
        self.rows, self.candidates = basis.shape[:2]
        self._basis = basis
        moving = covariates[:, covariates.std(axis=0) > 0]
        self._fixed = np.column_stack([np.ones(self.rows), moving])
        weight = np.linalg.lstsq(self._fixed, target, rcond=None)[0]
        self._target = target - self._fixed @ weight
        self._total = float(self._target @ self._target)
        magnitude = float(target @ target)
        self.testable = bool(self.rows >= 16 and self._total > 1e-12 * max(magnitude, 1e-300))
        self._fits: dict[tuple[int, ...], Fit] = {}

    def fit(self, parents: Sequence[int]) -> Fit:
        """The model with these parents.

        Args:
            parents: indices of candidates.
        """
        key = tuple(sorted(parents))
        if key not in self._fits:
            if key and self.testable:
                self._fits[key] = _Equations(self, key).fit()
            else:
                self._fits[key] = Fit(1.0, self._target)
        return self._fits[key]

    def losses(self, parents: Sequence[int]) -> dict[int, Loss]:
        """What each of these parents is worth in the model with all of them.

        Args:
            parents: indices of candidates.
        """
        key = tuple(sorted(parents))
        return _Equations(self, key).losses() if key and self.testable else {}

    def screen(self, residual: NDArray[np.float64], parents: Sequence[int]) -> Matrix:
        """Roughly how much each candidate would add to a model with these parents.

        Sums the squared correlations of the residual with the candidate's functions and with
        their products with the parents' (the line and the bend of each). One matrix product
        serves all candidates.

        Args:
            residual: ``(M,)`` of the model so far.
            parents: that model's parents.

        Returns:
            ``(C,)`` shares of the target's variance.
        """
        part = self._basis[:, :, :SCREENED]
        cross = np.einsum("m,mcs->cs", residual, part, optimize=True)
        power = max(float(residual @ residual), 1e-300)
        score: Matrix = (cross**2).sum(axis=1) / (self.rows * power)
        if len(parents):
            score = score + self.pair_screen(residual, parents).sum(axis=1)
        score[list(parents)] = 0.0
        return score * power / max(self._total, 1e-300)

    def pair_screen(self, residual: NDArray[np.float64], others: Sequence[int]) -> Matrix:
        """``(C, len(others))`` squared correlations with products of two, summed over four."""
        part = self._basis[:, :, :SCREENED].reshape(self.rows, -1)
        other = self._basis[:, list(others), :SCREENED].reshape(self.rows, -1)
        cross = part.T @ (residual[:, None] * other)
        size = (part * part).T @ (other * other)
        power = max(float(residual @ residual), 1e-300)
        ratio = np.where(size > 1e-9 * self.rows, cross**2 / np.maximum(size, 1e-300), 0.0) / power
        shape = (self.candidates, SCREENED, len(others), SCREENED)
        summed: Matrix = ratio.reshape(shape).sum(axis=(1, 3))
        summed[list(others), np.arange(len(others))] = 0.0
        return summed

    def _product_size(self, parents: int) -> int:
        pairs = parents * (parents - 1) // 2
        most = min(MOST_FEATURES, self.rows // ROWS_PER_FEATURE)
        for size in PRODUCT_SIZES:
            if self._fixed.shape[1] + WIDE_SIZE * parents + size * size * pairs <= most:
                return size
        return 0


class _Equations:
    """The normal equations of one model, in blocks: covariates, each parent, each product."""

    def __init__(self, model: InteractionModel, parents: tuple[int, ...]) -> None:
        self._model, self._parents = model, parents
        basis = model._basis
        columns = [model._fixed, *(basis[:, c] for c in parents)]
        self._members: list[tuple[int, ...]] = [(), *((c,) for c in parents)]
        size = model._product_size(len(parents))
        if size:
            for a, b in combinations(parents, 2):
                product = basis[:, a, :size, None] * basis[:, b, None, :size]
                columns.append(product.reshape(model.rows, size * size))
                self._members.append((a, b))
        self._widths = [block.shape[1] for block in columns]
        design = np.concatenate(columns, axis=1)
        gram = design.T @ design
        unit = np.sqrt(np.maximum(np.diag(gram), 1e-300))
        self._gram = gram / np.outer(unit, unit)
        self._gram[np.diag_indices_from(gram)] += JITTER
        self._moment = (design.T @ model._target) / unit
        self._design, self._unit = design, unit

    def fit(self) -> Fit:
        model = self._model
        weight = np.linalg.solve(self._gram, self._moment) / self._unit
        residual = model._target - self._design @ weight
        rest = float(residual @ residual) / max(model.rows - len(weight), 1)
        base = model._total / max(model.rows - model._fixed.shape[1], 1)
        return Fit(rest / base, residual)

    def losses(self) -> dict[int, Loss]:
        rows, total = self._model.rows, self._model._total
        rest, freedom = self._error([True] * len(self._members))
        noise = rest / max(rows - freedom, 1)
        losses = {}
        for c in self._parents:
            none, none_size = self._error([c not in who for who in self._members])
            own, own_size = self._error([c not in who or who == (c,) for who in self._members])
            own_noise = own / max(rows - own_size, 1)
            alone = (none - own) - (own_size - none_size) * own_noise
            extra = freedom - none_size
            full = (none - rest) - extra * noise
            ratio = max(none - rest, 0.0) / extra / max(noise, 1e-12 * total)
            p = float(fdtrc(extra, max(rows - freedom, 1), ratio))
            losses[c] = Loss(alone / total, full / total, p)
        return losses

    def _error(self, blocks: list[bool]) -> tuple[float, int]:
        """Sum of squared errors with some of the blocks, and their number of columns."""
        used = np.flatnonzero(np.repeat(blocks, self._widths))
        moment = self._moment[used]
        weight = np.linalg.solve(self._gram[np.ix_(used, used)], moment)
        return max(self._model._total - float(weight @ moment), 0.0), len(used)


@dataclass(frozen=True)
class Worth:
    """What a parent must be worth to stay.

    Attributes:
        alone: least share of variance for its own functions.
        full: least share with its products, when its own functions fall short.
        level: p-value above which the full share counts for nothing.
    """

    alone: float
    full: float
    level: float = 1e-3

    def of(self, loss: Loss) -> float:
        """Worth in units of what is asked: at least 1 for a parent that stays."""
        full = loss.full / self.full if loss.full_p < self.level else 0.0
        return max(loss.alone / self.alone, full, 0.0)


def prune(
    model: InteractionModel, parents: Sequence[int], worth: Worth
) -> tuple[tuple[int, ...], dict[int, float]]:
    """Drop parents, weakest first, that the model with interactions does not need.

    Args:
        model: scores sets of candidates.
        parents: where to begin.
        worth: what a parent must be worth.

    Returns:
        The parents left, ascending, and the worth of each parent there was, dropped ones
        included with what they had when they went.
    """
    chosen = tuple(sorted(parents))
    values: dict[int, float] = {}
    while chosen and model.testable:
        current = {c: worth.of(loss) for c, loss in model.losses(chosen).items()}
        values.update(current)
        weakest = min(chosen, key=lambda c: (current[c], c))
        if current[weakest] >= 1.0:
            break
        chosen = tuple(c for c in chosen if c != weakest)
    return chosen, values
