"""Which of two columns causes the other, from their joint distribution alone."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtri

from causal_rl.discovery.kernel_evidence import KernelEvidence
from causal_rl.options import check_choice

Array = NDArray[np.float64]

_LEAST_ROWS = 8
_INDUCING = 100
_CUBIC = 3


def direction_score(x: ArrayLike, y: ArrayLike, method: str = "evidence") -> float:
    """How much more "x causes y" explains than "y causes x".

    Args:
        x: ``(N,)`` finite numbers, not all equal.
        y: the same.
        method: "evidence", log evidence in nats of Gaussian processes with additive Gaussian noise
            on standardised columns (the score of ``gp-network``); "evidence-ranks", the same on
            normal scores of the ranks; "igci", the slope-based estimate of information-geometric
            inference with the uniform reference (Janzing et al. 2012); "reci", the difference of
            squared errors of cubic regressions on columns scaled to [0, 1] (Blöbaum et al. 2018).

    Returns:
        Positive where x is the cause, negative where y is; exactly the negative when the columns
        are exchanged. Sizes of different methods do not compare.

    Raises:
        ValueError: an unknown method, columns of unequal length, fewer than 8 rows, a value that
            is not finite, or a column that does not vary.
    """
    check_choice("method", method, DIRECTION_METHODS)
    columns = []
    for name, column in (("x", x), ("y", y)):
        array = np.asarray(column, dtype=np.float64)
        if array.ndim != 1 or len(array) < _LEAST_ROWS:
            raise ValueError(f"{name} must have one axis and at least {_LEAST_ROWS} rows")
        if not np.isfinite(array).all():
            raise ValueError(f"{name} has values that are not finite")
        if np.ptp(array) == 0:
            raise ValueError(f"{name} does not vary")
        columns.append(array)
    if len(columns[0]) != len(columns[1]):
        raise ValueError(
            f"x and y must have as many rows, got {len(columns[0])} and {len(columns[1])}"
        )
    return _SCORES[method](columns[0], columns[1])


def _evidence(x: Array, y: Array) -> float:
    table = np.column_stack([x, y])
    table = (table - table.mean(axis=0)) / table.std(axis=0)
    score = KernelEvidence(table, table, np.ones(table.shape, bool), inducing=_INDUCING)
    return score(1, [0]) - score(0, [1])


def _evidence_ranks(x: Array, y: Array) -> float:
    return _evidence(_normal_scores(x), _normal_scores(y))


def _normal_scores(x: Array) -> Array:
    from scipy.stats import rankdata

    return np.asarray(ndtri((rankdata(x) - 0.5) / len(x)))


def _unit(x: Array) -> Array:
    return np.asarray((x - x.min()) / np.ptp(x))


def _igci(x: Array, y: Array) -> float:
    return _mean_log_slope(_unit(y), _unit(x)) - _mean_log_slope(_unit(x), _unit(y))


def _mean_log_slope(x: Array, y: Array) -> float:
    order = np.lexsort((y, x))
    run, rise = np.diff(x[order]), np.abs(np.diff(y[order]))
    kept = (run > 0) & (rise > 0)
    return float(np.log(rise[kept] / run[kept]).mean()) if kept.any() else 0.0


def _reci(x: Array, y: Array) -> float:
    return _cubic_error(_unit(y), _unit(x)) - _cubic_error(_unit(x), _unit(y))


def _cubic_error(x: Array, y: Array) -> float:
    powers = np.vander(x, _CUBIC + 1)
    left = y - powers @ np.linalg.lstsq(powers, y, rcond=None)[0]
    return float((left**2).mean())


_SCORES: dict[str, Callable[[Array, Array], float]] = {
    "evidence": _evidence,
    "evidence-ranks": _evidence_ranks,
    "igci": _igci,
    "reci": _reci,
}
DIRECTION_METHODS = tuple(_SCORES)
