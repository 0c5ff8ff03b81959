"""Gates of edges that open and close in time: A.1.3 edge by edge, fitted by likelihood.

The paper's G_t = sigmoid(W_g G_{t-1} + W_x X_{t-1} + b) has a W_g of m^2 x m^2 entries, and W_x X
has to tell from one row's values whether an edge is there. Here both terms belong to one edge:

    logit g_t(e) = f(logit g_{t-1}(e)) + E_t(e)
    f(l) = log((1 - h) e^l + h) - log(h e^l + 1 - h)

E_t(e) is the log-likelihood ratio of the rows just seen with e and without it, all other edges at
their mean: quadratic in X, with no parameter that the mechanism does not have anyway. f is a
two-state Markov chain's prediction, h the chance of a change: the smoothness pressure. At g = 0
and g = 1 it has the values of W_g g + b with W_g = 2 log((1 - h) / h) and b = -W_g / 2; that
straight line is the paper's form ("printed" here). It forgets: evidence that falls short of closing
a gate in one block is mostly gone by the next, since the line leads every gate above 1/2 back up.

Slopes, noise and gates are found by expectation maximisation with independent gates (mean field).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

Array = NDArray[np.float64]

RECURSIONS = ("markov", "printed")
_LEAST_VARIANCE = 1e-6  # of standardised columns: keeps mechanisms without noise finite


@dataclass(frozen=True)
class TargetGates:
    """The mechanism of one target and the gates of its parents.

    Attributes:
        slopes: ``(p,)``.
        smoothed: ``(K, p)`` gate probabilities given all blocks.
        filtered: ``(K, p)`` those given the blocks so far.
        worth: ``(p,)`` log-likelihood gained by each parent with its gate, in nats.
        converged: whether the gates settled.
    """

    slopes: Array
    smoothed: Array
    filtered: Array
    worth: Array
    converged: bool


def block_moments(columns: Array, kept: NDArray[np.bool_], block: int) -> Array:
    """Sums of outer products of rows, block by block.

    Args:
        columns: ``(N, q)``.
        kept: ``(N,)`` rows that count.
        block: rows in a block.

    Returns:
        ``(K, q, q)``, K the number of blocks, the last of which may be shorter.
    """
    rows, q = columns.shape
    used = np.where(kept[:, None], columns, 0.0)
    padded = np.zeros((-(-rows // block) * block, q))
    padded[:rows] = used
    parts = padded.reshape(-1, block, q)
    sums: Array = np.matmul(parts.transpose(0, 2, 1), parts)
    return sums


def transition(logit: Array, hazard: float, recursion: str) -> Array:
    """One step of the gates before new evidence: f, or the paper's straight line."""
    stay, change = np.log1p(-hazard), np.log(hazard)
    if recursion == "printed":
        slope = 2.0 * (stay - change)
        line: Array = slope * (expit(logit) - 0.5)
        return line
    moved: Array = np.logaddexp(logit + stay, change) - np.logaddexp(logit + change, stay)
    return moved


def run_gates(evidence: Array, hazard: float, recursion: str) -> tuple[Array, Array, Array]:
    """Filter and smooth.

    Args:
        evidence: ``(K, p)`` log-likelihood ratios.
        hazard: chance of a change from block to block.
        recursion: one of `RECURSIONS`; the printed one has no backward pass.

    Returns:
        Filtered and smoothed probabilities ``(K, p)``, and the log of the evidence's mean under
        the filter ``(p,)``: what the gate gains over an edge that is never there.
    """
    K, p = evidence.shape
    forward, backward = np.empty((K, p)), np.zeros((K, p))
    worth, ahead = np.zeros(p), np.zeros(p)
    for k in range(K):
        # log(q e^E + 1 - q) with q = sigmoid(ahead)
        worth += np.logaddexp(ahead + evidence[k], 0.0) - np.logaddexp(ahead, 0.0)
        forward[k] = ahead + evidence[k]
        ahead = transition(forward[k], hazard, recursion)
    filtered = expit(forward)
    if recursion == "printed":
        return filtered, filtered, worth
    for k in range(K - 2, -1, -1):
        backward[k] = transition(backward[k + 1] + evidence[k + 1], hazard, recursion)
    return filtered, expit(forward + backward), worth


def fit_gates(
    moments: Array,
    start: Array,
    opened: Array,
    *,
    hazard: float,
    recursion: str,
    max_iter: int,
) -> TargetGates:
    """Expectation maximisation of one target's slopes, noise and gates.

    Args:
        moments: ``(K, p + 2, p + 2)`` `block_moments` of a column of ones, the p parents and the
            target, in this order, over the rows in which the target was not set.
        start: ``(p,)`` first slopes.
        opened: ``(K, p)`` first gates. Where parents could stand in for each other it decides
            which of them do.
        hazard: chance of a change from block to block.
        recursion: one of `RECURSIONS`.
        max_iter: rounds at most.

    Returns:
        The fit; finite whether it converged or not.
    """
    K, p = len(moments), len(start)
    rows = max(float(moments[:, 0, 0].sum()), 1.0)
    gates = np.column_stack([np.ones(K), opened])
    inner, cross = moments[:, :-1, :-1], moments[:, :-1, -1]
    squares = np.diagonal(moments, axis1=1, axis2=2)
    total = float(squares[:, -1].sum())
    slopes = np.concatenate([[0.0], start])
    explained = np.einsum("ka,ka,a->", inner[:, 0, 1:], opened, start)
    slopes[0] = (float(cross[:, 0].sum()) - float(explained)) / rows
    converged = False
    filtered = smoothed = np.ones((K, p))
    worth = np.zeros(p)
    for round_ in range(max_iter):
        if round_ or p == 0:
            slopes = _slopes(gates, inner, cross, rows)
        variance = _variance(slopes, gates, inner, cross, squares, total) / rows
        if p == 0:
            converged = True
            break
        open_slopes = gates * slopes
        # sum of x_e (y - what all others contribute), a block
        left = cross - np.einsum("kab,kb->ka", inner, open_slopes)
        left += squares[:, :-1] * open_slopes
        evidence = slopes * (left - slopes * squares[:, :-1] / 2) / (variance + _LEAST_VARIANCE)
        filtered, smoothed, worth = run_gates(evidence[:, 1:], hazard, recursion)
        moved = float(np.abs(smoothed - gates[:, 1:]).max())
        gates = np.column_stack([np.ones(K), smoothed])
        if moved < 1e-3 and round_ > 1:
            converged = True
            break
    return TargetGates(slopes[1:], smoothed, filtered, worth, converged)


def _slopes(gates: Array, inner: Array, cross: Array, rows: float) -> Array:
    """Least squares under uncertain gates: E[g g'] in place of g g'."""
    normal = np.einsum("ka,kab,kb->ab", gates, inner, gates)
    spread = gates * (1.0 - gates)
    extra = np.einsum("ka,kaa->a", spread, inner)
    # The ridge is for copies among the parents and for gates that never open.
    normal[np.diag_indices(len(normal))] += extra + 1e-8 * rows
    solved: Array = np.linalg.solve(normal, np.einsum("ka,ka->a", gates, cross))
    return solved


def _variance(
    slopes: Array, gates: Array, inner: Array, cross: Array, squares: Array, total: float
) -> float:
    """Expected sum of squared residuals."""
    means = gates * slopes
    value = total - 2.0 * float((means * cross).sum())
    value += float(np.einsum("ka,kab,kb->", means, inner, means))
    value += float((gates * (1.0 - gates) * slopes**2 * squares[:, :-1]).sum())
    return max(value, 0.0)
