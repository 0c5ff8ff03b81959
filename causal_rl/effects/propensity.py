"""How likely each arm is, given covariates: a penalised multinomial logistic regression."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax

from causal_rl.effects.regressors import Array, Predictor

_PENALTY = 1.0


def fit_propensity(X: Array, t: NDArray[np.int64], n_arms: int) -> Predictor:
    """Regress the arm on covariates.

    Args:
        X: ``(N, p)``.
        t: ``(N,)`` arms.
        n_arms: K.

    Returns:
        From ``(M, p)`` to ``(M, K)`` probabilities, rows adding up to 1. Slopes of standardised
        columns have a standard normal prior, intercepts none.
    """
    centre = X.mean(axis=0)
    spread = X.std(axis=0)
    spread = np.where(spread > 0, spread, 1.0)

    def design(rows: Array) -> Array:
        return np.column_stack([np.ones(len(rows)), (rows - centre) / spread])

    Z, chosen = design(X), np.eye(n_arms)[t]

    def loss(flat: Array) -> tuple[float, Array]:
        weights = flat.reshape(Z.shape[1], n_arms)
        scores = Z @ weights
        slopes = weights.copy()
        slopes[0] = 0.0
        value = -float((log_softmax(scores, axis=1) * chosen).sum())
        gradient = Z.T @ (softmax(scores, axis=1) - chosen) + _PENALTY * slopes
        return value + 0.5 * _PENALTY * float((slopes**2).sum()), gradient.ravel()

    start = np.zeros((Z.shape[1], n_arms))
    start[0] = np.log(np.bincount(t, minlength=n_arms).clip(1) / len(t))
    weights = minimize(loss, start.ravel(), jac=True, method="L-BFGS-B").x.reshape(start.shape)
    return lambda rows: np.asarray(softmax(design(rows) @ weights, axis=1))
