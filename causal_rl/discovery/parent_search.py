"""Greedy search for both graphs at once on a do-masked BIC with an effect-size floor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from causal_rl.discovery.basis import BASIS_SIZE
from causal_rl.discovery.do_shift import JITTER, add_path, residual_gram

Matrix = NDArray[np.float64]


class Regression:
    """One variable's regression on groups of basis functions, from its do-masked Gram matrix.

    Group c < n is the basis of ``next_state[c]``, group n + c that of ``state[c]``.

    Args:
        gram: ``(F, F)`` over ``[1, basis(next_state), basis(state)]``, rows with j set left out.
        rows: their number.
        j: the regressed variable.
    """

    def __init__(self, gram: Matrix, rows: float, j: int) -> None:
        k = BASIS_SIZE
        self.gram, self.rows = gram, rows
        self.target = 1 + k * j
        self.groups = (len(gram) - 1) // k
        self._columns = 1 + np.arange(self.groups * k).reshape(self.groups, k)
        centred = residual_gram(gram, np.zeros(1, dtype=np.intp), np.sqrt(np.diag(gram)))
        self.total = max(float(centred[self.target, self.target]), 0.0)
        spread = np.maximum(np.diag(centred), 0.0)
        raw = np.maximum(np.diag(gram), 0.0)
        self._scale = np.where(spread > 1e-12 * raw, np.sqrt(spread), 0.0)
        self._unit = np.where(self._scale > 0, self._scale, 1.0)
        dead = self._scale == 0
        centred[dead] = 0.0
        centred[:, dead] = 0.0
        self._centred = centred / np.outer(self._unit, self._unit)
        self.testable = bool(rows >= 4 and self._scale[self.target] > 0)

    def residual(self, parents: tuple[int, ...]) -> tuple[Matrix, float]:
        """Standardised Gram matrix given some parents, and the residual share of variance."""
        if not parents:
            return self._centred, 1.0
        columns = self._columns[list(parents)].ravel()
        block = self._centred[np.ix_(columns, columns)].copy()
        block[np.diag_indices_from(block)] += JITTER
        cross = self._centred[columns]
        left: Matrix = self._centred - cross.T @ np.linalg.solve(block, cross)
        return left, max(float(left[self.target, self.target]), 1e-12)

    def gains(self, left: Matrix) -> tuple[Matrix, Matrix]:
        """Variance shares that each group would add: by its linear function, and by all four."""
        k = BASIS_SIZE
        blocks = left[self._columns[:, :, None], self._columns[:, None, :]].copy()
        blocks[:, np.arange(k), np.arange(k)] += JITTER
        cross = left[self._columns, self.target]
        full = np.einsum("ga,ga->g", cross, np.linalg.solve(blocks, cross[:, :, None])[:, :, 0])
        linear = cross[:, 0] ** 2 / blocks[:, 0, 0]
        return np.maximum(linear, 0.0), np.maximum(full, 0.0)

    def losses(self, parents: tuple[int, ...]) -> Matrix:
        """Variance share that each parent alone accounts for, given the others."""
        k = BASIS_SIZE
        columns = self._columns[list(parents)].ravel()
        block = self._centred[np.ix_(columns, columns)].copy()
        block[np.diag_indices_from(block)] += JITTER
        inverse = np.linalg.inv(block)
        weight = inverse @ self._centred[columns, self.target]
        lost = np.empty(len(parents))
        for index in range(len(parents)):
            own = slice(index * k, (index + 1) * k)
            lost[index] = weight[own] @ np.linalg.solve(inverse[own, own], weight[own])
        return np.maximum(lost, 0.0)

    def linear_weights(self, parents: tuple[int, ...]) -> Matrix:
        """Coefficients of a regression on the parents themselves, in standard units."""
        if not parents:
            return np.zeros(0)
        columns = self._columns[list(parents), 0]
        block = self._centred[np.ix_(columns, columns)].copy()
        block[np.diag_indices_from(block)] += JITTER
        weight = np.linalg.solve(block, self._centred[columns, self.target])
        result: Matrix = weight * self._scale[self.target] / self._unit[columns]
        return np.where(self._scale[columns] > 0, result, 0.0)


def bic_gain(gain: Matrix, left: float | Matrix, rows: float, freedom: int, choices: int) -> Matrix:
    """Rise of the extended BIC (half scale) when more parameters explain a share of variance.

    The extended criterion (Chen and Chen 2008) also pays for having had many groups to choose
    from: the logarithm of their number.
    """
    rest = np.maximum(left - gain, 1e-12)
    price = 0.5 * freedom * np.log(max(rows, 2.0)) + np.log(max(choices, 1))
    result: Matrix = 0.5 * rows * np.log(left / rest) - price
    return result


@dataclass(frozen=True)
class Rules:
    """What the search may do.

    Attributes:
        allowed: ``(n, 2 n)`` true at [j, c] where group c may be a parent of j.
        floor: ``(n, 2 n)`` least share of j's variance that the edge must account for.
        reach: ``(n, n)`` ancestors already proved, transitively closed.
        required: groups that stay parents of each variable; none if empty.
    """

    allowed: NDArray[np.bool_]
    floor: Matrix
    reach: NDArray[np.bool_]
    required: Sequence[tuple[int, ...]] = ()


def best_gain(regression: Regression, left: Matrix, share: float) -> tuple[Matrix, Matrix]:
    """Best BIC rise of each group (its line, or all four functions), and its variance share."""
    linear, full = regression.gains(left)
    rows = regression.rows
    score = np.maximum(
        bic_gain(linear, share, rows, 1, regression.groups),
        bic_gain(full, share, rows, BASIS_SIZE, regression.groups),
    )
    return score, full


def search_parents(regressions: list[Regression], rules: Rules) -> list[tuple[int, ...]]:
    """Parents of every variable.

    Edges enter one at a time, the largest rise of BIC first, as long as a rise is left, the floor
    is met and no cycle arises inside the step. Then every variable gives up, weakest first,
    parents that no longer pay, and edges are turned round where the sum of the two scores gains;
    the three moves alternate until nothing changes.

    Args:
        regressions: one a variable.
        rules: allowed parents, floors, proved ancestors.

    Returns:
        For every variable its groups, ascending; below n within the step, from n on lagged.
    """
    n = len(regressions)
    required = rules.required or [()] * n
    parents: list[tuple[int, ...]] = list(required)
    for _ in range(4):
        before = list(parents)
        _add(regressions, rules, parents)
        for j in range(n):
            parents[j] = _thin(regressions[j], rules.floor[j], parents[j], required[j])
        _turn(regressions, rules, parents)
        if parents == before:
            break
    return parents


def _closure(parents: list[tuple[int, ...]], reach: NDArray[np.bool_]) -> NDArray[np.bool_]:
    closed = reach.copy()
    n = len(parents)
    for j, groups in enumerate(parents):
        for c in groups:
            if c < n:
                add_path(closed, c, j)
    return closed


def _add(regressions: list[Regression], rules: Rules, parents: list[tuple[int, ...]]) -> None:
    n = len(regressions)
    reach = _closure(parents, rules.reach)
    score = np.full((n, 2 * n), -np.inf)

    def refresh(j: int) -> None:
        score[j] = -np.inf
        if regressions[j].testable:
            left, share = regressions[j].residual(parents[j])
            rise, gain = best_gain(regressions[j], left, share)
            usable = rules.allowed[j] & (gain >= rules.floor[j])
            usable[list(parents[j])] = False
            score[j] = np.where(usable, rise, -np.inf)

    for j in range(n):
        refresh(j)
    while True:
        cyclic = np.zeros((n, 2 * n), dtype=bool)
        cyclic[:, :n] = reach | np.eye(n, dtype=bool)  # j already reaches c: c -> j is a cycle
        legal = np.where(cyclic, -np.inf, score)
        j, c = divmod(int(np.argmax(legal)), 2 * n)
        if not legal[j, c] > 0:
            return
        parents[j] = tuple(sorted((*parents[j], c)))
        if c < n:
            add_path(reach, c, j)
        refresh(j)


def _thin(
    regression: Regression, floor: Matrix, parents: tuple[int, ...], required: tuple[int, ...]
) -> tuple[int, ...]:
    while len(parents) > len(required):
        _, share = regression.residual(parents)
        lost = regression.losses(parents)
        score = bic_gain(lost, share + lost, regression.rows, 1, regression.groups)
        excess = np.minimum(score, 0.0) + np.minimum(lost / floor[list(parents)] - 1.0, 0.0)
        held = np.isin(parents, required)
        lost[held] = excess[held] = np.inf
        if not (excess < 0).any():
            return parents
        drop = int(np.argmin(lost))
        if excess[drop] >= 0:
            drop = int(np.argmin(excess))
        parents = parents[:drop] + parents[drop + 1 :]
    return parents


def _turn(regressions: list[Regression], rules: Rules, parents: list[tuple[int, ...]]) -> None:
    n = len(regressions)

    def objective(j: int, groups: tuple[int, ...]) -> float:
        _, share = regressions[j].residual(groups)
        rows = regressions[j].rows
        penalty = 0.5 * BASIS_SIZE * len(groups) * np.log(max(rows, 2.0))
        return -0.5 * rows * float(np.log(share)) - float(penalty)

    for j in range(n):
        for c in parents[j]:
            if c >= n or not rules.allowed[c, j] or rules.reach[c, j]:
                continue
            if not regressions[c].testable:
                continue
            trial = list(parents)
            trial[j] = tuple(g for g in parents[j] if g != c)
            if _closure(trial, rules.reach)[c, j]:
                continue
            trial[c] = tuple(sorted((*parents[c], j)))
            now = objective(j, parents[j]) + objective(c, parents[c])
            if objective(j, trial[j]) + objective(c, trial[c]) > now + 1e-6:
                parents[:] = trial
