"""Do-shift tests: which variables move when one is set, from Gram matrices alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import fdtrc

from causal_rl.discovery.basis import BASIS_SIZE
from causal_rl.discovery.gram import GramStore

Matrix = NDArray[np.float64]

# Directions with less than this share of a feature's own variance are numerically absent.
JITTER = 1e-9
# Rows wanted for each regressor before a richer adjustment is used.
_ROWS_PER_REGRESSOR = 5.0


@dataclass(frozen=True)
class DoShifts:
    """What setting i does to j, for all pairs.

    Attributes:
        p_value: ``(n, n)`` of "setting i leaves j alone"; 1 where it could not be tested.
        effect: ``(n, n)`` share of j's variance (in the rows where i is set, other influences
            known before the step removed) that the set value explains, bias removed.
        rows: ``(n,)`` rows in which i alone was set.
    """

    p_value: Matrix
    effect: Matrix
    rows: NDArray[np.int64]


def residual_gram(gram: Matrix, columns: NDArray[np.intp], scale: Matrix) -> Matrix:
    """The Gram matrix after regressing every feature on some of them (Schur complement).

    Args:
        gram: ``(F, F)``.
        columns: indices of the regressors.
        scale: ``(F,)`` root of every feature's own sum of squares, zero for absent features.
    """
    unit = np.where(scale > 0, scale, 1.0)
    block = gram[np.ix_(columns, columns)] / np.outer(unit[columns], unit[columns])
    block[np.diag_indices_from(block)] += JITTER
    cross = gram[columns] / unit[columns, None]
    left: Matrix = gram - cross.T @ np.linalg.solve(block, cross)
    return left


def do_shifts(store: GramStore, context: NDArray[np.bool_]) -> DoShifts:
    """Test for every settable i and every j whether setting i moves j.

    In the rows where i alone was set, j is regressed on the set value (a line with one degree of
    freedom, or all four functions) beside what the do-value may have depended on: the contexts and
    the state before the step, with all their basis functions if the rows suffice, else linear.

    Args:
        store: Gram matrices over ``[1, basis(next_state), basis(state)]``.
        context: ``(n,)`` true for contexts, whose value before and after the step is the same.
    """
    n, k = store.n, BASIS_SIZE
    p_value, effect = np.ones((n, n)), np.zeros((n, n))
    counts = np.zeros(n, dtype=np.int64)
    targets = 1 + k * np.arange(n)
    for i in range(n):
        gram, rows = store.where(i)
        counts[i] = rows
        adjust = _adjustment(n, context, rows)
        if adjust is None:
            continue
        scale = np.sqrt(np.maximum(np.diag(gram), 0.0))
        left = residual_gram(gram, adjust, scale)
        value = 1 + k * i + np.arange(k)
        total = np.maximum(left[targets, targets], 0.0)
        alive = total > 1e-8 * np.maximum(gram[targets, targets], 1e-300)
        tests: Sequence[NDArray[np.intp]] = (value[:1], value)
        for used in tests:
            freedom = rows - len(adjust) - len(used)
            if freedom < 2 * len(used) or left[used[0], used[0]] <= 1e-6 * scale[used[0]] ** 2:
                continue
            block = left[np.ix_(used, used)] / np.outer(scale[used], scale[used])
            block[np.diag_indices_from(block)] += JITTER
            cross = left[np.ix_(used, targets)] / scale[used, None]
            gained = np.einsum("aj,aj->j", cross, np.linalg.solve(block, cross))
            gained = np.clip(gained, 0.0, total)
            noise = np.maximum(total - gained, 1e-12 * np.maximum(total, 1e-300)) / freedom
            ratio = gained / len(used) / noise
            p = np.minimum(1.0, len(tests) * fdtrc(len(used), freedom, ratio))
            share = np.where(alive, (gained - len(used) * noise) / np.maximum(total, 1e-300), 0.0)
            p_value[i] = np.where(alive, np.minimum(p_value[i], p), p_value[i])
            effect[i] = np.maximum(effect[i], share)
        p_value[i, i], effect[i, i] = 1.0, 0.0
    return DoShifts(p_value, np.clip(effect, 0.0, 1.0), counts)


def moved_order(
    shifts: DoShifts,
    *,
    alpha: float,
    min_effect: float,
    exogenous: NDArray[np.bool_],
    known: NDArray[np.bool_] | None = None,
) -> NDArray[np.bool_]:
    """Ancestors proved by the tests, transitively closed and free of cycles.

    Pairs enter from the largest effect down; one that contradicts those already in is left out.

    Args:
        shifts: the tests.
        alpha: level over all pairs together (Bonferroni).
        min_effect: share of variance below which an effect proves nothing.
        exogenous: ``(n,)`` variables that nothing can move.
        known: ``(n, n)`` ancestors known beforehand, transitively closed; they go before all tests.

    Returns:
        ``(n, n)``, true at [i, j] where i is an ancestor of j.
    """
    n = len(shifts.p_value)
    level = alpha / max(n * (n - 1), 1)
    found = (shifts.p_value < level) & (shifts.effect >= min_effect) & ~exogenous[None, :]
    reach = np.zeros((n, n), dtype=bool) if known is None else known.copy()
    pairs = np.argwhere(found)
    order = np.argsort(-shifts.effect[found], kind="stable")
    for i, j in pairs[order]:
        add_path(reach, int(i), int(j))
    return reach


def add_path(reach: NDArray[np.bool_], i: int, j: int) -> bool:
    """Enter i -> j into a transitive closure, in place; False, unchanged, if that is a cycle."""
    if i == j or reach[j, i]:
        return False
    before = reach[:, i].copy()
    before[i] = True
    after = reach[j].copy()
    after[j] = True
    reach |= np.outer(before, after)
    return True


def _adjustment(n: int, context: NDArray[np.bool_], rows: int) -> NDArray[np.intp] | None:
    """Columns to adjust for, as rich as the rows allow; None if there are too few rows."""
    k = BASIS_SIZE
    blocks = np.flatnonzero(context) * k + 1
    lagged = (n + np.flatnonzero(~context)) * k + 1
    full = np.concatenate([blocks, lagged]).astype(np.intp)
    rich = (full[:, None] + np.arange(k)).ravel()
    intercept = np.zeros(1, dtype=np.intp)
    for columns in (rich, full, blocks.astype(np.intp), intercept[:0]):
        used = np.concatenate([intercept, columns])
        if rows >= _ROWS_PER_REGRESSOR * (len(used) + k):
            return used
    return None
