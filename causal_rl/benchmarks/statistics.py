"""Means and interquartile means over seeds, with bootstrap intervals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from causal_rl.benchmarks.cells import BOOK_COLUMNS, Row

_RESAMPLES = 10_000
_LEVEL = 0.95
# Drawn anew for every estimate: the same figures give the same interval, wherever they stand.
_SEED = 20_240_229


@dataclass(frozen=True)
class Estimate:
    """A statistic with its 95 % percentile-bootstrap interval.

    Attributes:
        value: the statistic.
        low: lower bound.
        high: upper bound.
        count: values it was taken from.
    """

    value: float
    low: float
    high: float
    count: int

    def __str__(self) -> str:
        return f"{number(self.value)} [{number(self.low)}, {number(self.high)}]"


def mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean over the last axis."""
    return np.asarray(values.mean(axis=-1))


def interquartile_mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean of what is left over the last axis when a quarter at each end is cut (rliable's IQM)."""
    count = values.shape[-1]
    cut = count // 4
    return np.asarray(np.sort(values, axis=-1)[..., cut : count - cut].mean(axis=-1))


def estimate(
    values: ArrayLike, statistic: Callable[[NDArray[np.float64]], NDArray[np.float64]] = mean
) -> Estimate:
    """A statistic of independent values and its bootstrap interval.

    Args:
        values: (n,) finite numbers, n >= 1.
        statistic: maps (..., n) to (...).

    Raises:
        ValueError: no values, more than one axis, or a value that is not finite.
    """
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or not array.size or not np.isfinite(array).all():
        raise ValueError(f"values must be one or more finite numbers, got {values!r}")
    index = np.random.default_rng(_SEED).integers(0, array.size, size=(_RESAMPLES, array.size))
    tail = (1 - _LEVEL) / 2
    low, high = np.quantile(statistic(array[index]), [tail, 1 - tail])
    return Estimate(float(statistic(array)), float(low), float(high), array.size)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjustment of p-values, in their order."""
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(np.argsort(p_values, kind="stable")):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted


def number(value: float | int | None) -> str:
    """A figure for people: whole numbers whole, others to three significant places or so."""
    if value is None:
        return "-"
    if isinstance(value, int) or (float(value).is_integer() and abs(value) < 1e6):
        return f"{int(value)}"
    size = abs(value)
    return f"{value:.3f}" if size < 10 else f"{value:.1f}" if size < 1000 else f"{value:.0f}"


def numbers(rows: Sequence[Row], metric: str) -> NDArray[np.float64]:
    """(n,) values of ``metric``, rows without it left out."""
    values = [row.get(metric) for row in rows]
    return np.array([v for v in values if isinstance(v, int | float)], dtype=np.float64)


def summarise(rows: Sequence[Row], groups: Sequence[str], replicate: str) -> list[Row]:
    """A row per group and metric: mean and interquartile mean with their intervals.

    Args:
        rows: finished cells.
        groups: parameters that tell the groups apart.
        replicate: the parameter over which is averaged.

    Returns:
        Rows of the groups' parameters, ``metric``, ``count``, ``mean``, ``mean_low``,
        ``mean_high``, ``iqm``, ``iqm_low``, ``iqm_high``; metrics without numbers are left out.
    """
    cells: dict[tuple[object, ...], list[Row]] = {}
    for row in rows:
        cells.setdefault(tuple(row.get(name) for name in groups), []).append(row)
    skipped = {*groups, replicate, *BOOK_COLUMNS} - {"wall_seconds", "cpu_seconds"}
    summary: list[Row] = []
    for group in cells.values():
        for metric in dict.fromkeys(key for row in group for key in row if key not in skipped):
            values = numbers(group, metric)
            if not values.size:
                continue
            line: Row = {name: group[0].get(name) for name in groups}
            line |= {"metric": metric, "count": int(values.size)}
            for name, statistic in (("mean", mean), ("iqm", interquartile_mean)):
                found = estimate(values, statistic)
                line |= {
                    name: round(found.value, 6),
                    f"{name}_low": round(found.low, 6),
                    f"{name}_high": round(found.high, 6),
                }
            summary.append(line)
    return summary
