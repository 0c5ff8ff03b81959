"""Mechanisms of an SCM that were fitted to rows: lines, smooth functions, trees, logits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax, softmax

from causal_rl.discovery.basis import FeatureMap
from causal_rl.discovery.smooth_regression import SmoothRegression
from causal_rl.errors import import_extra
from causal_rl.scm import Constant, Linear, Mechanism
from causal_rl.scm.mechanisms import ColumnMechanism

Array = NDArray[np.float64]

# Ridge penalties of the logits, in units of rows; the best on held-out rows is taken.
_PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
_FOLDS = 4
_NEWTON_STEPS = 30


@dataclass(frozen=True, eq=False)
class Smooth(ColumnMechanism):
    """A `SmoothRegression` as a mechanism.

    Attributes:
        regression: fitted.
    """

    regression: SmoothRegression
    n_parents: int | None = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "n_parents", self.regression.k)

    def evaluate(self, columns: Sequence[Array], batch: int) -> Array:
        """The regression function; see `Mechanism.evaluate`."""
        return self.regression.evaluate(list(columns), batch)


@dataclass(frozen=True, eq=False)
class Estimated(Mechanism):
    """Any estimator with ``predict`` as a mechanism.

    Attributes:
        estimator: fitted; maps ``(batch, k)`` to ``(batch,)``.
        k: number of parents.
    """

    estimator: Any
    k: int

    @property
    def n_parents(self) -> int:  # type: ignore[override]
        """How many parents it takes."""
        return self.k

    def __call__(self, parents: Array) -> Array:
        """The prediction; see `Mechanism.__call__`."""
        return np.asarray(self.estimator.predict(parents), dtype=np.float64)


@dataclass(frozen=True, eq=False)
class BasisLogit(ColumnMechanism):
    """A logit: bias plus weights times four functions of each standardised parent.

    Attributes:
        features: standardisation and functions.
        weights: ``(4 k,)``.
        bias: added.
    """

    features: FeatureMap
    weights: Array
    bias: float
    n_parents: int | None = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "n_parents", len(self.features.center))

    def evaluate(self, columns: Sequence[Array], batch: int) -> Array:
        """The logit; see `Mechanism.evaluate`."""
        return np.asarray(self.features(np.column_stack(columns)) @ self.weights + self.bias)


def fit_linear(parents: Array, target: Array) -> tuple[Mechanism, Array, float]:
    """Least squares.

    Args:
        parents: ``(N, k)``.
        target: ``(N,)``.

    Returns:
        The mechanism, its residuals ``(N,)``, and the noise's standard deviation, degrees of
        freedom accounted for.
    """
    centre, spread = parents.mean(axis=0), _spread(parents)
    inputs, own = (parents - centre) / spread, float(target.mean())
    found, _, rank, _ = np.linalg.lstsq(inputs, target - own, rcond=None)
    weights = found / spread
    mechanism = Linear(weights, own - float(centre @ weights))
    residual = target - own - inputs @ found
    freedom = max(len(target) - 1 - int(rank), 1)
    return mechanism, residual, float(np.sqrt(residual @ residual / freedom))


def fit_smooth(parents: Array, target: Array) -> tuple[Mechanism, Array, float]:
    """Ridge on nested families of functions; family and penalty by generalised cross-validation.

    Args:
        parents: ``(N, k)``.
        target: ``(N,)``.

    Returns:
        As `fit_linear`.
    """
    regression = SmoothRegression(parents.mean(axis=0), _spread(parents), float(target.mean()))
    regression.add(parents, target)
    regression.solve()
    mechanism = Smooth(regression)
    residual = target - regression(parents)
    return mechanism, residual, float(np.sqrt(max(regression.noise_variance, 0.0)))


def fit_boosted(parents: Array, target: Array, seed: int) -> tuple[Mechanism, Array, float]:
    """Gradient-boosted trees, stopped early; residuals out of fold.

    Args:
        parents: ``(N, k)``.
        target: ``(N,)``.
        seed: of folds and of the rows that stop the growth.

    Returns:
        As `fit_linear`.

    Raises:
        MissingExtraError: scikit-learn is not installed.
    """
    ensemble = import_extra("sklearn.ensemble", extra="effects")
    options = {"learning_rate": 0.06, "max_leaf_nodes": 15, "early_stopping": True}
    estimator = ensemble.HistGradientBoostingRegressor(random_state=seed, **options)
    estimator.fit(parents, target)
    residual = np.empty(len(target))
    for fold in _folds(len(target), seed):
        other = ensemble.HistGradientBoostingRegressor(random_state=seed, **options)
        other.fit(parents[~fold], target[~fold])
        residual[fold] = target[fold] - other.predict(parents[fold])
    return Estimated(estimator, parents.shape[1]), residual, float(residual.std())


def fit_logits(
    parents: Array, target: NDArray[np.int64], categories: int, seed: int
) -> list[Mechanism]:
    """Multinomial logistic regression on functions of the parents, one logit a category.

    The ridge penalty is the one of the least log loss on held-out rows.

    Args:
        parents: ``(N, k)``; none for a root.
        target: ``(N,)`` in 0..categories - 1.
        categories: K.
        seed: of the folds.
    """
    # Half a row more of each category keeps a probability from being zero.
    counts = np.bincount(target, minlength=categories) + 0.5
    if not parents.shape[1]:
        return [Constant(float(np.log(c / counts.sum()))) for c in counts]
    features = FeatureMap.of(parents)
    inputs = features(parents)
    scale = _spread(inputs)
    hot = np.eye(categories)[target]
    folds = _folds(len(target), seed)
    losses = []
    for penalty in _PENALTIES:
        loss = 0.0
        for fold in folds:
            weights = _logistic(inputs[~fold] / scale, hot[~fold], penalty)
            scores = log_softmax(inputs[fold] / scale @ weights[:-1] + weights[-1], axis=1)
            loss -= float((hot[fold] * scores).sum())
        losses.append(loss)
    weights = _logistic(inputs / scale, hot, _PENALTIES[int(np.argmin(losses))])
    return [
        BasisLogit(features, weights[:-1, c] / scale, float(weights[-1, c]))
        for c in range(categories)
    ]


def _logistic(inputs: Array, hot: Array, penalty: float) -> Array:
    """``(features + 1, K)`` weights and biases: the penalised likelihood's maximum, by Newton."""
    rows, width = inputs.shape
    categories = hot.shape[1]
    design = np.column_stack([inputs, np.ones(rows)])
    ridge = np.append(np.full(width, penalty), 1e-6)
    weights = np.zeros((width + 1, categories))
    loss = _log_loss(design, hot, ridge, weights)
    for _ in range(_NEWTON_STEPS):
        chance = softmax(design @ weights, axis=1)
        gradient = design.T @ (chance - hot) / rows + ridge[:, None] * weights
        curvature = np.zeros((categories, width + 1, categories, width + 1))
        for a in range(categories):
            for b in range(categories):
                share = chance[:, a] * (float(a == b) - chance[:, b])
                curvature[a, :, b] = (design * share[:, None]).T @ design / rows
        flat = curvature.reshape(weights.size, weights.size)
        flat[np.diag_indices_from(flat)] += np.tile(ridge, categories)
        step = np.linalg.solve(flat, gradient.T.ravel()).reshape(categories, -1).T
        size = 1.0
        while size > 1e-6 and _log_loss(design, hot, ridge, weights - size * step) > loss:
            size /= 2.0
        before, weights = loss, weights - size * step
        loss = _log_loss(design, hot, ridge, weights)
        if before - loss < 1e-9:
            break
    return weights


def _log_loss(design: Array, hot: Array, ridge: Array, weights: Array) -> float:
    fit = (hot * log_softmax(design @ weights, axis=1)).sum() / len(design)
    return float(0.5 * (ridge[:, None] * weights**2).sum() - fit)


def _folds(rows: int, seed: int) -> list[NDArray[np.bool_]]:
    place = np.random.default_rng(seed).permutation(rows) % _FOLDS
    return [place == fold for fold in range(_FOLDS)]


def _spread(columns: Array) -> Array:
    spread = columns.std(axis=0)
    dead = spread <= 1e-12 * np.maximum(1.0, np.abs(columns).max(axis=0, initial=0.0))
    return np.asarray(np.where(dead, 1.0, spread))
