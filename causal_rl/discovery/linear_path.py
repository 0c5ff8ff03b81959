"""The graph weights of Algorithm 5 with linear mechanisms: one smooth path of penalties."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from causal_rl.discovery.l1_descent import minimise_l1
from causal_rl.graphs import h_expm, h_logdet

Array = NDArray[np.float64]


@dataclass(frozen=True)
class LinearFit:
    """End of the path.

    Attributes:
        contemporaneous: ``(m, m)`` G within the step, in standardised units.
        lagged: ``(m, m)`` G from step to step, in standardised units.
        acyclicity: the penalty's value at the end.
        converged: every descent on the path converged and the acyclicity ended below tolerance.
    """

    contemporaneous: Array
    lagged: Array
    acyclicity: float
    converged: bool


def fit_linear(
    likelihood: Callable[[Array], tuple[float, Array]],
    allowed: tuple[NDArray[np.bool_], NDArray[np.bool_]],
    *,
    required: NDArray[np.bool_],
    sparsity: float,
    acyclicity: str,
    penalty_start: float,
    penalty_growth: float,
    penalty_end: float,
    tolerance: float,
    max_iter: int,
) -> LinearFit:
    """Minimise L_causal + lambda |G|_1 + mu h(G_contemporaneous) while mu grows.

    Args:
        likelihood: L_causal, from weights ``(2 m, m)`` to (value, gradient): `MaskedLikelihood`.
        allowed: edges that may be, contemporaneous and lagged, each ``(m, m)``.
        required: contemporaneous edges known to be, ``(m, m)``; L1 does not shrink them.
        sparsity: lambda.
        acyclicity: ``"expm"`` or ``"logdet"``, the h.
        penalty_start: the first mu.
        penalty_growth: factor from one mu to the next.
        penalty_end: the last mu.
        tolerance: h below which G counts as acyclic; the path then ends early.
        max_iter: steps of one descent.

    Returns:
        The weights; finite whether it converged or not.
    """
    m = len(allowed[0])
    free = np.vstack(allowed)
    exempt = np.vstack([required, np.zeros_like(required)])[free] if required.any() else None
    smooth_h = h_expm if acyclicity == "expm" else h_logdet
    weights = np.zeros((2 * m, m))
    mu, h, converged = penalty_start, np.inf, True

    def objective(x: Array) -> tuple[float, Array]:
        W = np.zeros((2 * m, m))
        W[free] = x
        value, gradient = likelihood(W)
        try:
            penalty, slope = smooth_h(W[:m])
        except ValueError:  # outside the domain of the log-det, or the exponential overflows
            return np.inf, np.zeros_like(x)
        gradient[:m] += mu * slope
        return value + mu * penalty, gradient[free]

    while True:
        descent = minimise_l1(objective, weights[free], sparsity, exempt=exempt, max_iter=max_iter)
        converged = converged and descent.converged
        weights[free] = descent.x
        h = smooth_h(weights[:m])[0]
        if h < tolerance or mu >= penalty_end:
            break
        mu = min(mu * penalty_growth, penalty_end)
    return LinearFit(weights[:m], weights[m:], float(h), bool(converged and h < tolerance))
