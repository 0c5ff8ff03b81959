"""Regressions that estimators of effects are made from, by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from causal_rl.errors import import_extra

Array = NDArray[np.float64]
Predictor = Callable[[Array], Array]

REGRESSORS = ("ridge", "boosting")
_PENALTIES = np.logspace(-4, 4, 25)
# Fewer rows than this and a tree ensemble is a constant.
_LEAST_BOOSTED = 5


def fit_regressor(name: str, X: Array, y: Array, seed: int = 0) -> Predictor:
    """Regress an outcome on covariates.

    Args:
        name: ``"ridge"``, linear, its penalty by leave-one-out errors; ``"boosting"``,
            scikit-learn's histogram gradient boosting (extra ``effects``).
        X: ``(N, p)``, N >= 1; without columns that vary the fit is the mean.
        y: ``(N,)``.
        seed: of what is drawn.

    Returns:
        From ``(M, p)`` to ``(M,)``.
    """
    varying = np.flatnonzero(np.ptp(X, axis=0) > 0)
    if len(X) < 2 or not varying.size or np.ptp(y) == 0:
        mean = float(y.mean())
        return lambda rows: np.full(len(rows), mean)
    centre, spread = X[:, varying].mean(axis=0), X[:, varying].std(axis=0)
    level, scale = float(y.mean()), float(y.std())
    Z, w = (X[:, varying] - centre) / spread, (y - level) / scale
    predict = _FITS[name](Z, w, seed)
    return lambda rows: level + scale * predict((rows[:, varying] - centre) / spread)


def _fit_ridge(Z: Array, w: Array, seed: int) -> Predictor:
    """The penalty of least leave-one-out error, for which there is a closed form."""
    left, sizes, right = np.linalg.svd(Z, full_matrices=False)
    projected = left.T @ w
    best, found = np.inf, 1.0
    for penalty in _PENALTIES * len(Z):
        kept = sizes**2 / (sizes**2 + penalty)
        # The mean is fitted too: 1 / N of every row's leverage.
        leverage = (left**2) @ kept + 1.0 / len(Z)
        error = float(np.mean(((w - left @ (kept * projected)) / (1.0 - leverage).clip(1e-9)) ** 2))
        if error < best:
            best, found = error, penalty
    weights = right.T @ (sizes / (sizes**2 + found) * projected)
    return lambda rows: np.asarray(rows @ weights)


def _fit_boosting(Z: Array, w: Array, seed: int) -> Predictor:
    if len(Z) < _LEAST_BOOSTED:
        return _fit_ridge(Z, w, seed)
    ensemble: Any = import_extra("sklearn.ensemble", extra="effects")
    model = ensemble.HistGradientBoostingRegressor(random_state=seed).fit(Z, w)
    return lambda rows: np.asarray(model.predict(rows), dtype=np.float64)


_FITS: dict[str, Callable[[Array, Array, int], Predictor]] = {
    "ridge": _fit_ridge,
    "boosting": _fit_boosting,
}
