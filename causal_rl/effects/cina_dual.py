"""Balancing weights of CInA by their exact dual, a support vector machine of treatments.

With W_i = +1 for treated and -1 for control rows and K_ij = W_i W_j <phi(X_i), phi(X_j)>, the
weights that balance the arms in the features phi solve

    minimise  a^T K a - 2 lambda 1^T a   subject to   W^T a = 0,  0 <= a <= 1,

the dual of  lambda / 2 |beta|^2 + sum_i [1 - W_i (<beta, phi(X_i)> + b)]_+  at
beta = sum_i a_i W_i phi(X_i) / lambda (Zhang et al. 2023, arXiv 2310.00809, after Tarr & Imai).
A small lambda asks for balance at any price, a large one keeps the weights even.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import LinAlgError, cho_factor, cho_solve

from causal_rl.options import check_number

FloatArray = NDArray[np.float64]

_MAX_STEPS = 100
_INDEFINITE = "gram is not positive semi-definite"
# Share of the way to the boundary that a step of the interior-point method may go.
_STEP_SHARE = 0.99


@dataclass(frozen=True, eq=False)
class DualSolution:
    """Solution of the balancing problem.

    Attributes:
        a: (N,) float64 dual variables in [0, 1].
        bias: b, the multiplier of W^T a = 0.
        decision: (N,) <beta, phi(X_i)> + b.
        primal: lambda / 2 |beta|^2 + the sum of hinge losses of ``decision``.
        dual: 1^T a - a^T K a / (2 lambda), which no primal value is below.
    """

    a: FloatArray
    bias: float
    decision: FloatArray
    primal: float
    dual: float

    @property
    def gap(self) -> float:
        """Duality gap, primal - dual: by at most so much either differs from the optimum."""
        return self.primal - self.dual


def solve_dual(
    gram: ArrayLike, sign: ArrayLike, penalty: float, *, tolerance: float = 1e-10
) -> DualSolution:
    """Solve the balancing problem by a primal-dual interior-point method (Mehrotra 1992).

    Its work grows as N^3: some fifteen factorisations of an (N, N) matrix.

    Args:
        gram: (N, N) <phi(X_i), phi(X_j)>, symmetric and positive semi-definite.
        sign: (N,) W, +1 or -1, both of them present.
        penalty: lambda, above 0.
        tolerance: relative duality gap at which to stop, in (0, 1).

    Returns:
        The solution, feasible to rounding, with its duality gap.

    Raises:
        ValueError: shapes disagree, a number is not finite, the gram matrix is not symmetric and
            positive semi-definite, a sign is neither +1 nor -1 or all are the same, ``penalty``
            or ``tolerance`` is out of range, or rounding ended the method before it converged.
    """
    kernel, signs = _check_problem(gram, sign, penalty)
    check_number("tolerance", tolerance, least=0.0, below=1.0, open_end=True)
    state = _InteriorPoint(kernel * np.outer(signs, signs) / penalty, signs)
    for _ in range(_MAX_STEPS):
        found = dual_point(kernel, signs, penalty, state.a)
        size = 1.0 + abs(found.dual)
        norm = float(found.a.sum()) - found.dual
        if norm < -1e-8 * (size + float(np.abs(kernel).max()) / penalty):
            raise ValueError(_INDEFINITE)
        if found.gap <= tolerance * size:
            return found
        state.step()
    raise ValueError(
        f"gram: the balancing weights did not converge, duality gap {found.gap:.3g} after "
        f"{_MAX_STEPS} steps; allowed: features on a common scale, or a penalty above {penalty:g}"
    )


def dual_point(gram: FloatArray, sign: FloatArray, penalty: float, a: FloatArray) -> DualSolution:
    """What given dual variables amount to, with the best bias for them.

    Args:
        gram: (N, N), as in `solve_dual`.
        sign: (N,).
        penalty: lambda.
        a: (N,) with 0 <= a <= 1 and W^T a = 0, see `equal_sums`.
    """
    score = gram @ (a * sign) / penalty
    bias = best_bias(score, sign)
    decision = score + bias
    norm = float((a * sign) @ score) / 2
    hinge = float(np.maximum(1.0 - sign * decision, 0.0).sum())
    return DualSolution(a, bias, decision, norm + hinge, float(a.sum()) - norm)


def equal_sums(a: FloatArray, sign: FloatArray) -> FloatArray:
    """Scale the heavier arm down, so that W^T a = 0; the box 0 <= a <= 1 is kept."""
    treated, control = float(a[sign > 0].sum()), float(a[sign < 0].sum())
    least = min(treated, control)
    return np.asarray(a * np.where(sign > 0, least / treated, least / control))


def best_bias(score: FloatArray, sign: FloatArray) -> float:
    """The bias of the least hinge loss, the middle of them where several are.

    The loss bends where W_i (score_i + b) = 1, so where b = W_i - score_i. Left of all bends its
    slope is minus the number of treated rows; each bend adds one.
    """
    bends = np.sort(sign - score)
    treated = int((sign > 0).sum())
    return float(bends[treated - 1] + bends[treated]) / 2


class _InteriorPoint:
    """Iterates of: minimise a^T Q a / 2 - 1^T a, 0 <= a <= 1, W^T a = 0."""

    def __init__(self, quadratic: FloatArray, signs: FloatArray) -> None:
        self.quadratic, self.signs = quadratic, signs
        # Inside the box and with equal sums, so that every iterate is feasible.
        treated = float((signs > 0).mean())
        self.a = np.where(signs > 0, 1 - treated, treated)
        self.bias = 0.0
        start = 1.0 + float(np.abs(quadratic @ self.a).max())
        self.lower, self.upper = np.full(signs.size, start), np.full(signs.size, start)

    def step(self) -> None:
        """Predict with no barrier, then correct towards the central path."""
        a, lower, upper = self.a, self.lower, self.upper
        room = 1.0 - a
        gradient = self.quadratic @ a - 1.0 + self.bias * self.signs - lower + upper
        matrix = self.quadratic + np.diag(lower / a + upper / room)
        try:
            factor = cho_factor(matrix, lower=True, overwrite_a=True, check_finite=False)
        except LinAlgError:
            raise ValueError(_INDEFINITE) from None
        column = cho_solve(factor, self.signs, check_finite=False)

        def direction(low: FloatArray, high: FloatArray) -> tuple[FloatArray, float]:
            """Newton's step to complementarities lower * a = low, upper * room = high."""
            d_a = cho_solve(factor, low / a - lower - high / room + upper - gradient)
            # Rounding in the sums of a is taken back at every step.
            d_bias = float(self.signs @ (a + d_a)) / float(self.signs @ column)
            return d_a - d_bias * column, d_bias

        nothing = np.zeros_like(a)
        d_a, _ = direction(nothing, nothing)
        d_lower, d_upper = -lower - lower * d_a / a, -upper + upper * d_a / room
        size = _longest(a, d_a, room, -d_a, lower, d_lower, upper, d_upper)
        mu = float(lower @ a + upper @ room)
        ahead = float(
            (lower + size * d_lower) @ (a + size * d_a)
            + (upper + size * d_upper) @ (room - size * d_a)
        )
        target = mu / (2 * len(a)) * (ahead / mu) ** 3
        low, high = target - d_lower * d_a, target + d_upper * d_a
        d_a, d_bias = direction(low, high)
        d_lower = (low - lower * d_a) / a - lower
        d_upper = (high + upper * d_a) / room - upper
        size = _STEP_SHARE * _longest(a, d_a, room, -d_a, lower, d_lower, upper, d_upper)
        self.a = a + size * d_a
        self.bias += size * d_bias
        self.lower, self.upper = lower + size * d_lower, upper + size * d_upper


def _longest(*pairs: FloatArray) -> float:
    """The longest step, 1 / 0.99 at the most, along which no value (value, change, ...) sinks to 0.

    The longest is cut by 0.99 afterwards, so that a whole step stays possible.
    """
    longest = 1.0 / _STEP_SHARE
    for value, change in zip(pairs[::2], pairs[1::2], strict=True):
        falling = change < 0
        if falling.any():
            longest = min(longest, float((-value[falling] / change[falling]).min()))
    return longest


def _check_problem(
    gram: ArrayLike, sign: ArrayLike, penalty: float
) -> tuple[FloatArray, FloatArray]:
    kernel, signs = np.asarray(gram, dtype=np.float64), np.asarray(sign, dtype=np.float64)
    if signs.ndim != 1 or kernel.shape != (signs.size, signs.size):
        raise ValueError(
            f"gram has shape {kernel.shape} and sign {signs.shape}; allowed: (N, N) and (N,)"
        )
    if not np.isfinite(kernel).all():
        raise ValueError("gram holds a value that is not finite")
    if not np.allclose(kernel, kernel.T, rtol=1e-8, atol=1e-10 * np.abs(kernel).max(initial=0.0)):
        raise ValueError("gram is not symmetric")
    if not np.isin(signs, (-1.0, 1.0)).all() or np.unique(signs).size < 2:
        raise ValueError("sign must be +1 or -1, and each in at least one row")
    check_number("penalty", penalty, least=0.0, open_end=True)
    return kernel, signs
