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


class RowBasis:
    """The basis of every candidate on stored rows, each function centred and scaled.

    Args:
        z: ``(M, C)`` standardised candidates.

    Attributes:
        full: ``(C, M, 8)``; functions that do not vary are zero.
        screened: ``(M, 2 C)``, line and bend of every candidate.
    """

    def __init__(self, z: Matrix) -> None:
        self.rows, self.candidates = z.shape
        full = wide_basis_functions(np.ascontiguousarray(z.T))
        full -= full.mean(axis=1, keepdims=True)
        spread = np.sqrt(np.einsum("cms,cms->cs", full, full) / max(self.rows, 1))
        full *= np.where(spread > 1e-9, 1.0 / np.maximum(spread, 1e-9), 0.0)[:, None, :]
        self.full = full
        self.screened = np.concatenate(list(full[:, :, :SCREENED]), axis=1)
        self.squared = self.screened**2


@dataclass(frozen=True)
class Loss:
    """What one parent is worth in a model, as shares of the target's variance, bias removed.

    Attributes:
        alone: lost when its own functions go, all products with it being gone already.
        alone_p: p-value of that, the better of two tests: its line, and all its functions.
        full: lost when it goes with all its products.
        full_p: p-value of the full loss.
    """

    alone: float
    alone_p: float
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
        basis: of the candidates, on the same M rows.
        used: ``(M,)`` booleans, the rows to fit on.
        covariates: ``(M, q)`` columns that every model contains beside the intercept, or None.
    """

    def __init__(
        self,
        target: NDArray[np.float64],
        basis: RowBasis,
        used: NDArray[np.bool_],
        covariates: Matrix | None = None,
    ) -> None:
        self._index = np.flatnonzero(used)
        self._basis = basis
        self.rows, self.candidates = len(self._index), basis.candidates
        target = target[self._index]
        covariates = np.zeros((basis.rows, 0)) if covariates is None else covariates
        covariates = covariates[self._index]
        moving = covariates[:, (covariates != covariates[:1]).any(axis=0)]
        self._fixed = np.column_stack([np.ones(self.rows), moving])
        weight = np.linalg.lstsq(self._fixed, target, rcond=None)[0]
        self._target = target - self._fixed @ weight
        self._total = float(self._target @ self._target)
        magnitude = float(target @ target)
        self.testable = bool(self.rows >= 16 and self._total > 1e-12 * max(magnitude, 1e-300))
        self._fits: dict[tuple[int, ...], Fit] = {}
        self._blocks: dict[int, Matrix] = {}

    def block(self, c: int) -> Matrix:
        """``(rows, 8)`` basis of one candidate on the rows used."""
        if c not in self._blocks:
            self._blocks[c] = self._basis.full[c][self._index]
        return self._blocks[c]

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

    def nonlinearity(self, parents: Sequence[int]) -> float:
        """Share of the target's variance that the model explains beyond straight lines.

        Args:
            parents: indices of candidates.
        """
        if not parents or not self.testable:
            return 0.0
        design = np.column_stack([self._fixed, *(self.block(c)[:, 0] for c in parents)])
        weight = np.linalg.lstsq(design, self._target, rcond=None)[0]
        rest = self._target - design @ weight
        lines = float(rest @ rest) / max(self.rows - design.shape[1], 1)
        base = self._total / max(self.rows - self._fixed.shape[1], 1)
        return float(max(lines / base - self.fit(parents).left, 0.0))

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
        power = max(float(residual @ residual), 1e-300)
        spread = self._spread(residual)
        cross = (spread @ self._basis.screened).reshape(self.candidates, SCREENED)
        score: Matrix = (cross**2).sum(axis=1) / (self.rows * power)
        if len(parents):
            score = score + self.pair_screen(residual, parents).sum(axis=1)
        score[list(parents)] = 0.0
        return score * power / max(self._total, 1e-300)

    def pair_screen(self, residual: NDArray[np.float64], others: Sequence[int]) -> Matrix:
        """``(C, len(others))`` squared correlations with products of two, summed over four."""
        chosen = (np.array(list(others))[:, None] * SCREENED + np.arange(SCREENED)).ravel()
        basis, power = self._basis, max(float(residual @ residual), 1e-300)
        cross = basis.screened.T @ (self._spread(residual)[:, None] * basis.screened[:, chosen])
        size = (basis.squared.T @ basis.squared[:, chosen]) * (self.rows / basis.rows)
        least = 1e-9 * self.rows
        ratio = np.where(size > least, cross**2 / np.maximum(size, least), 0.0) / power
        shape = (self.candidates, SCREENED, len(others), SCREENED)
        summed: Matrix = ratio.reshape(shape).sum(axis=(1, 3))
        summed[list(others), np.arange(len(others))] = 0.0
        return summed

    def _spread(self, residual: NDArray[np.float64]) -> NDArray[np.float64]:
        """The residual on all stored rows, zero where they are not used."""
        full = np.zeros(self._basis.rows)
        full[self._index] = residual
        return full

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
        columns = [model._fixed, *(model.block(c) for c in parents)]
        self._members: list[tuple[int, ...]] = [(), *((c,) for c in parents)]
        size = model._product_size(len(parents))
        if size:
            for a, b in combinations(parents, 2):
                product = model.block(a)[:, :size, None] * model.block(b)[:, None, :size]
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
        members = self._members
        whole = self._error(np.ones(len(self._moment), dtype=bool))
        losses = {}
        for c in self._parents:
            none = np.repeat([c not in who for who in members], self._widths)
            own = none | np.repeat([who == (c,) for who in members], self._widths)
            line = none.copy()
            line[np.flatnonzero(own & ~none)[0]] = True
            without, alone = self._error(none), self._error(own)
            share, p = self._gain(without, alone)
            _, line_p = self._gain(without, self._error(line))
            full, full_p = self._gain(without, whole)
            losses[c] = Loss(share, min(1.0, 2.0 * min(p, line_p)), full, full_p)
        return losses

    def _error(self, used: NDArray[np.bool_]) -> tuple[float, int]:
        """Sum of squared errors with some of the columns, and their number."""
        index = np.flatnonzero(used)
        moment = self._moment[index]
        weight = np.linalg.solve(self._gram[np.ix_(index, index)], moment)
        return max(self._model._total - float(weight @ moment), 0.0), len(index)

    def _gain(self, small: tuple[float, int], large: tuple[float, int]) -> tuple[float, float]:
        """Share of variance that the larger model adds, bias removed, and its p-value (F test)."""
        total, extra = self._model._total, max(large[1] - small[1], 1)
        freedom = max(self._model.rows - large[1], 1)
        noise = max(large[0] / freedom, 1e-12 * total)
        ratio = max(small[0] - large[0], 0.0) / extra / noise
        share = (small[0] - large[0] - extra * noise) / total
        return share, float(fdtrc(extra, freedom, ratio))


@dataclass(frozen=True)
class Worth:
    """What a parent must be worth to stay.

    Attributes:
        alone: least share of variance for its own functions.
        full: least share with its products, when its own functions fall short.
        level: p-value above which a share counts for nothing.
    """

    alone: float
    full: float
    level: float = 1e-3

    def of(self, loss: Loss) -> float:
        """Worth in units of what is asked: at least 1 for a parent that stays."""
        alone = loss.alone / self.alone if loss.alone_p < self.level else 0.0
        full = loss.full / self.full if loss.full_p < self.level else 0.0
        return max(alone, full, 0.0)


def prune(
    model: InteractionModel, parents: Sequence[int], worth: Worth, required: Sequence[int] = ()
) -> tuple[tuple[int, ...], dict[int, float]]:
    """Drop parents, weakest first, that the model with interactions does not need.

    Args:
        model: scores sets of candidates.
        parents: where to begin.
        worth: what a parent must be worth.
        required: parents that stay whatever they are worth.

    Returns:
        The parents left, ascending, and the worth of each parent there was, dropped ones
        included with what they had when they went.
    """
    chosen = tuple(sorted(parents))
    values: dict[int, float] = {}
    while len(chosen) > len(required) and model.testable:
        current = {c: worth.of(loss) for c, loss in model.losses(chosen).items()}
        values.update(current)
        weakest = min(set(chosen) - set(required), key=lambda c: (current[c], c))
        if current[weakest] >= 1.0:
            break
        chosen = tuple(c for c in chosen if c != weakest)
    return chosen, values
