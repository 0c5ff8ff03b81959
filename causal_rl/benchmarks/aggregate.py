"""Scores of several tasks taken together, as rliable takes them (Agarwal et al. 2021, 2108.13264).

A task is a world; its runs are the seeds. Intervals are stratified percentile bootstraps: runs are
resampled within each task, so that every resample has every task as often as the data.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from causal_rl.benchmarks.statistics import Estimate, interquartile_mean

_RESAMPLES = 2_000
_LEVEL = 0.95
_SEED = 20_240_229

Statistic = Callable[[NDArray[np.float64]], NDArray[np.float64]]


def stratified_estimate(
    tasks: Sequence[ArrayLike], statistic: Statistic = interquartile_mean
) -> Estimate:
    """A statistic of the runs of all tasks, and its interval.

    Args:
        tasks: (runs,) finite scores each, at least one.
        statistic: maps (..., runs of all tasks) to (...); by default rliable's IQM.

    Raises:
        ValueError: no tasks, or one without finite scores.
    """
    arrays = _check("tasks", tasks)
    drawn = np.concatenate(_resampled(arrays, np.random.default_rng(_SEED)), axis=1)
    pooled = np.concatenate(arrays)
    return _estimate(float(statistic(pooled)), statistic(drawn), pooled.size)


def probability_of_improvement(first: Sequence[ArrayLike], second: Sequence[ArrayLike]) -> Estimate:
    """How likely a run of the first method beats one of the second, mean over tasks.

    In a task it is the share of pairs of runs in which the first scores higher, ties counted half
    (the Mann-Whitney statistic). ``count`` is that of tasks.

    Args:
        first: (runs,) scores a task.
        second: likewise, as many tasks in the same order.

    Raises:
        ValueError: unequally many tasks, none, or one without finite scores.
    """
    a, b = _check("first", first), _check("second", second)
    if len(a) != len(b):
        raise ValueError(
            f"first and second must have the same tasks, got {len(a)} and {len(b)} of them"
        )
    rng = np.random.default_rng(_SEED)
    drawn = [_beats(x, y) for x, y in zip(_resampled(a, rng), _resampled(b, rng), strict=True)]
    value = np.mean([_beats(x[None], y[None])[0] for x, y in zip(a, b, strict=True)])
    return _estimate(float(value), np.mean(drawn, axis=0), len(a))


def performance_profile(tasks: Sequence[ArrayLike], levels: ArrayLike) -> NDArray[np.float64]:
    """Share of runs that score above each level, mean over tasks.

    Args:
        tasks: (runs,) scores each, at least one.
        levels: (l,) scores.

    Returns:
        (l,) shares in [0, 1], falling.

    Raises:
        ValueError: no tasks, or one without finite scores.
    """
    arrays = _check("tasks", tasks)
    at = np.asarray(levels, dtype=np.float64)
    shares = [(array[:, None] > at).mean(axis=0) for array in arrays]
    return np.asarray(np.mean(shares, axis=0))


def _check(argument: str, tasks: Sequence[ArrayLike]) -> list[NDArray[np.float64]]:
    arrays = [np.asarray(task, dtype=np.float64) for task in tasks]
    if not arrays or any(a.ndim != 1 or not a.size or not np.isfinite(a).all() for a in arrays):
        raise ValueError(f"{argument} must be one or more rows of finite scores, got {tasks!r}")
    return arrays


def _resampled(
    tasks: Sequence[NDArray[np.float64]], rng: np.random.Generator
) -> list[NDArray[np.float64]]:
    """(resamples, runs) a task."""
    return [task[rng.integers(0, task.size, size=(_RESAMPLES, task.size))] for task in tasks]


def _beats(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    """(..., a) and (..., b) scores to (...) shares of pairs that the first wins."""
    left, right = first[..., :, None], second[..., None, :]
    won = (left > right).mean(axis=(-2, -1)) + 0.5 * (left == right).mean(axis=(-2, -1))
    return np.asarray(won)


def _estimate(value: float, drawn: NDArray[np.float64], count: int) -> Estimate:
    tail = (1 - _LEVEL) / 2
    low, high = np.quantile(drawn, [tail, 1 - tail])
    return Estimate(value, float(low), float(high), count)
