"""L1-regularised minimisation of a smooth function with a domain, by orthant-wise L-BFGS.

The log-det penalty of acyclicity is infinite outside its domain, which line searches of general
packages do not survive; this one backtracks until it is inside again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Objective = Callable[[Array], tuple[float, Array]]


@dataclass(frozen=True)
class Descent:
    """Where a minimisation ended.

    Attributes:
        x: ``(d,)`` the point; always finite, never worse than the start.
        value: the objective there, L1 term included.
        converged: the pseudo-gradient fell below the tolerance, or no step of the smallest
            length improves the value any more.
    """

    x: Array
    value: float
    converged: bool


def minimise_l1(
    objective: Objective,
    start: Array,
    l1: float,
    *,
    exempt: NDArray[np.bool_] | None = None,
    max_iter: int = 500,
    tolerance: float = 1e-5,
    memory: int = 12,
) -> Descent:
    """Minimise ``f(x) + l1 |x|_1`` (orthant-wise quasi-Newton, Andrew and Gao 2007).

    Args:
        objective: x to (value, gradient); a value of inf marks a point outside the domain.
        start: ``(d,)``, inside the domain.
        l1: weight of the L1 term, >= 0.
        exempt: ``(d,)`` entries that the L1 term leaves out; none if None.
        max_iter: steps at most.
        tolerance: largest entry of the pseudo-gradient at which to stop.
        memory: number of curvature pairs kept.

    Returns:
        The best point found.
    """
    x = start.copy()
    rate = l1 if exempt is None else np.where(exempt, 0.0, l1)

    def norm(point: Array) -> float:
        return l1 * float(np.abs(point if exempt is None else point[~exempt]).sum())

    smooth, gradient = objective(x)
    value = smooth + norm(x)
    pairs: deque[tuple[Array, Array]] = deque(maxlen=memory)
    for _ in range(max_iter):
        pseudo = _pseudo_gradient(x, gradient, rate)
        if x.size == 0 or float(np.abs(pseudo).max()) < tolerance:
            return Descent(x, value, True)
        direction = -_inverse_hessian_times(pseudo, pairs)
        direction[direction * pseudo >= 0] = 0.0
        if float(direction @ pseudo) > -1e-20:
            direction = -pseudo
        orthant = np.where(x != 0, np.sign(x), -np.sign(pseudo))
        size = 1.0 if pairs else min(1.0, 1.0 / float(np.abs(pseudo).sum()))
        for _ in range(40):
            candidate = x + size * direction
            candidate[candidate * orthant < 0] = 0.0
            new_smooth, new_gradient = objective(candidate)
            new_value = new_smooth + norm(candidate)
            if new_value <= value + 1e-4 * float(pseudo @ (candidate - x)):
                break
            size /= 2
        else:
            if not pairs:
                return Descent(x, value, True)
            # The curvature pairs are stale; try once more along the plain pseudo-gradient.
            pairs.clear()
            continue
        step, change = candidate - x, new_gradient - gradient
        if float(step @ change) > 1e-10 * float(step @ step):
            pairs.append((step, change))
        settled = value - new_value <= 1e-10 * max(1.0, abs(value))
        x, value, gradient = candidate, new_value, new_gradient
        if settled:
            return Descent(x, value, True)
    return Descent(x, value, False)


def _pseudo_gradient(x: Array, gradient: Array, l1: float | Array) -> Array:
    """The steepest one-sided derivative of ``f + l1 |x|_1``; zero exactly at a minimum."""
    at_zero = np.sign(gradient) * np.maximum(np.abs(gradient) - l1, 0.0)
    return np.where(x != 0, gradient + l1 * np.sign(x), at_zero)


def _inverse_hessian_times(vector: Array, pairs: deque[tuple[Array, Array]]) -> Array:
    """Two-loop recursion of L-BFGS (Nocedal 1980)."""
    result = vector.copy()
    if not pairs:
        return result
    factors = []
    for step, change in reversed(pairs):
        factor = float(step @ result) / float(step @ change)
        result -= factor * change
        factors.append(factor)
    step, change = pairs[-1]
    result *= float(step @ change) / float(change @ change)
    for (step, change), factor in zip(pairs, reversed(factors), strict=True):
        result += step * (factor - float(change @ result) / float(step @ change))
    return result
