"""Levels of Algorithm 4: one graph fitted under one inductive bias, linear or in a small basis.

A level minimises over the strengths G of its edges

    L_causal(G) + lambda R(G) + mu h(G_contemporaneous)

with L_causal the do-masked likelihood of `MaskedLikelihood`, h the log-det of acyclicity, and R

    sparse    |G|_1
    smooth    TV(G) = sum of ||G_e| - |G_f|| over neighbouring edges e, f of a block, by 2m - 4
    modular   |G|_1 (1 - Q), Q Newman's modularity of |G| + |G|^T, lags added

Edges are neighbours if they share a cause or share an effect. A matrix of weights has no order: a
total variation along rows and columns as they are printed would change with the labels, this one
does not. It says that causes tend to reach their effects, and effects to be reached, with like
strengths. All three are homogeneous, and an edge alone costs lambda times its strength in each, so
that one lambda means one thing.

Q needs communities. They are those of Newman's spectral bisections (2006) of the strengths where
the descent for the last mu ended; during a descent they stand still, so that R is differentiable.
Before the first there is one community, Q is zero and R is |G|_1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from causal_rl.discovery.basis import BASIS_SIZE, basis_functions
from causal_rl.discovery.l1_descent import minimise_l1
from causal_rl.discovery.masked_likelihood import MaskedLikelihood, MaskedMoments
from causal_rl.graphs import h_logdet

Array = NDArray[np.float64]
BoolMatrix = NDArray[np.bool_]
#: Strengths ``(2 m, m)`` to value and gradient.
Penalty = Callable[[Array], tuple[float, Array]]

BIASES = ("sparse", "smooth", "modular")

# Rounds the corner of |x| at zero; well below any threshold, well above rounding.
_CORNER = 1e-3
# h below which no cycle can be above any useful threshold, as for Algorithm 5.
_ACYCLIC = 1e-6
_PENALTIES = (0.1, 4.0, 1e5)  # first mu, growth, last


def contributions(current: Array, lagged: Array, mechanism: str) -> Array:
    """Features whose weights are contributions: their group norm is a standard deviation.

    Args:
        current: ``(N, m)`` standardised values after the step.
        lagged: ``(N, m)`` those before it, in the same units.
        mechanism: ``"linear"`` or ``"basis"``.

    Returns:
        ``(N, F)``: the 2m centred columns, those after the step first; with a basis its other
        functions follow, orthogonal within their variable and of unit variance, 2m columns for
        the second function, then for the third and so on. A function that is a combination of
        those before it (a binary variable has but one) is a column of zeros.
    """
    columns: Array = np.hstack([current, lagged])
    columns -= columns.mean(axis=0)
    if mechanism == "linear":
        return columns
    spread = columns.std(axis=0)
    z = columns / np.where(spread > 1e-9, spread, 1.0)
    functions = basis_functions(z)
    functions -= functions.mean(axis=0)
    made = np.zeros((BASIS_SIZE, *columns.shape))
    made[0] = z
    for k in range(1, BASIS_SIZE):
        rest = functions[:, :, k]
        for _ in range(2):  # once more for rounding
            for earlier in made[:k]:
                rest = rest - earlier * (earlier * rest).mean(axis=0)
        size = rest.std(axis=0)
        independent = size > 1e-3 * (functions[:, :, k].std(axis=0) + 1e-9)
        made[k] = np.where(independent, rest / np.where(independent, size, 1.0), 0.0)
    made[0] = columns
    return np.hstack(list(made))


class FeatureMoments(MaskedMoments):
    """`MaskedMoments` of any number of columns, the m nodes after the step first.

    Args:
        n_nodes: m.
        features: number of columns F.
    """

    def __init__(self, n_nodes: int, features: int) -> None:
        super().__init__(n_nodes)
        self.mean = np.zeros((n_nodes + 1, features))
        self.scatter = np.zeros((n_nodes + 1, features, features))

    @classmethod
    def of(cls, features: Array, do_target: BoolMatrix) -> FeatureMoments:
        """The moments of rows ``(N, F)`` with targets ``(N, m)``."""
        m = do_target.shape[1]
        moments = cls(m, features.shape[1])
        moments.add(features[:, :m], features[:, m:], do_target)
        return moments


def strengths(weights: Array) -> Array:
    """Norms of the weights of each input's functions, ``(F, m)`` to ``(2 m, m)``."""
    m = weights.shape[1]
    groups = weights.reshape(-1, 2 * m, m)
    norms: Array = np.sqrt((groups * groups).sum(axis=0))
    return norms


# -------------------------------------------------------------------- the biases


def sparse_penalty(free: BoolMatrix) -> Penalty:
    """|G|_1; ``free (2 m, m)`` are the edges that may be."""

    def penalty(strength: Array) -> tuple[float, Array]:
        return float(strength[free].sum()), free.astype(np.float64)

    return penalty


def smooth_penalty(free: BoolMatrix) -> Penalty:
    """Total variation over edges that share a cause or an effect, inside each block."""
    m = free.shape[1]
    share = 1.0 / max(2 * (m - 2), 1)

    def along(strength: Array, there: BoolMatrix) -> tuple[float, Array]:
        """Pairs in the same column."""
        difference = strength[:, None] - strength[None, :]
        pairs = there[:, None] & there[None, :]
        size = np.sqrt(difference * difference + _CORNER**2)
        value = float((size - _CORNER)[pairs].sum()) / 2
        return value, np.where(pairs, difference / size, 0.0).sum(axis=1)

    def penalty(strength: Array) -> tuple[float, Array]:
        total, gradient = 0.0, np.zeros_like(strength)
        for block in (slice(0, m), slice(m, 2 * m)):
            part, there = strength[block], free[block]
            value, slope = along(part, there)
            value_across, slope_across = along(part.T, there.T)
            total += value + value_across
            gradient[block] += slope + slope_across.T
        return share * total, share * gradient

    return penalty


def modular_penalty(free: BoolMatrix, together: BoolMatrix) -> Penalty:
    """|G|_1 (1 - Q) for the communities ``together (m, m)``, true where two nodes share one."""
    m = free.shape[1]
    same = together.astype(np.float64)

    def penalty(strength: Array) -> tuple[float, Array]:
        joint = np.where(free, strength, 0.0)
        directed = joint[:m] + joint[m:]
        adjacency = directed + directed.T
        total = float(adjacency.sum())
        if total <= 0:
            return 0.0, free.astype(np.float64)
        degree = adjacency.sum(axis=0)
        met = same @ degree
        expected = float(degree @ met) / total
        value = (total - float((adjacency * same).sum()) + expected) / 2
        slope = (1.0 - same + (met[:, None] + met[None, :]) / total - expected / total) / 2
        gradient = slope + slope.T
        return value, np.where(free, np.vstack([gradient, gradient]), 0.0)

    return penalty


def communities(strength: Array) -> BoolMatrix:
    """Newman's spectral communities (2006): bisect by leading eigenvectors while Q grows.

    Args:
        strength: ``(2 m, m)``, not negative.

    Returns:
        ``(m, m)`` true where two nodes are in one community; they do not depend on the labels.
    """
    m = strength.shape[1]
    directed = strength[:m] + strength[m:]
    adjacency = directed + directed.T
    degree = adjacency.sum(axis=0)
    total = float(degree.sum())
    label = np.zeros(m, dtype=np.int64)
    if total <= 0:
        return np.ones((m, m), dtype=bool)
    modularity = (adjacency - np.outer(degree, degree) / total) / total
    waiting, used = [np.arange(m)], 1
    while waiting:
        group = waiting.pop()
        part = modularity[np.ix_(group, group)]
        part = part - np.diag(part.sum(axis=1))
        value, vectors = np.linalg.eigh(part)
        side = vectors[:, -1] > 0
        sign = np.where(side, 1.0, -1.0)
        # Rounding apart, a gain of zero is no reason to part nodes.
        if value[-1] <= 1e-9 or side.all() or not side.any() or sign @ part @ sign <= 1e-9:
            continue
        label[group[side]] = used
        used += 1
        waiting += [group[side], group[~side]]
    return np.equal.outer(label, label)


# -------------------------------------------------------------------- the descent


@dataclass(frozen=True)
class Level:
    """Where the descent of a level ended.

    Attributes:
        graph: ``(2 m, m)`` signed strengths G, contemporaneous first: standard deviations of
            contributions in standardised units, with the sign of the linear part.
        together: ``(m, m)`` the communities, all true but for the modular bias.
        converged: every descent converged and G is acyclic up to tolerance.
    """

    graph: Array
    together: BoolMatrix
    converged: bool


def fit_level(
    likelihood: MaskedLikelihood,
    allowed: tuple[BoolMatrix, BoolMatrix],
    bias: str,
    *,
    strength: float,
    max_iter: int,
) -> Level:
    """Descend on one level while mu grows.

    Args:
        likelihood: of F features, ``FeatureMoments`` behind it.
        allowed: edges that may be, contemporaneous and lagged, each ``(m, m)``.
        bias: one of `BIASES`.
        strength: lambda.
        max_iter: steps of one descent.

    Returns:
        The level; finite whether it converged or not.
    """
    within, lagged = allowed
    m, features = len(within), likelihood.covariance.shape[1]
    free = np.vstack([within, lagged])
    spanned = np.diagonal(likelihood.covariance, axis1=1, axis2=2).max(axis=0) > 0
    weighed = np.tile(free, (features // (2 * m), 1)) & spanned[:, None]
    weights = np.zeros((features, m))
    together = np.ones((m, m), dtype=bool)
    mu, growth, last = _PENALTIES
    converged = True
    while True:
        if bias == "modular":
            prior = modular_penalty(free, together)
        else:
            prior = smooth_penalty(free) if bias == "smooth" else sparse_penalty(free)
        objective = _objective(likelihood, weighed, prior, strength, mu)
        descent = minimise_l1(objective, weights[weighed], 0.0, max_iter=max_iter)
        converged = converged and descent.converged
        weights[weighed] = descent.x
        size = strengths(weights)
        h = h_logdet(size[:m])[0]
        if bias == "modular":
            together = communities(np.where(size > 10 * _CORNER, size, 0.0))
        if h < _ACYCLIC or mu >= last:
            break
        mu = min(mu * growth, last)
    sign = np.where(weights[: 2 * m] < 0, -1.0, 1.0)
    return Level(sign * size, together, bool(converged and h < _ACYCLIC))


def _objective(
    likelihood: MaskedLikelihood, weighed: BoolMatrix, prior: Penalty, strength: float, mu: float
) -> Callable[[Array], tuple[float, Array]]:
    m = weighed.shape[1]
    shape = weighed.shape

    def objective(x: Array) -> tuple[float, Array]:
        weights = np.zeros(shape)
        weights[weighed] = x
        value, gradient = likelihood(weights)
        size = strengths(weights)
        try:
            cyclic, slope = h_logdet(size[:m])
        except ValueError:  # outside the domain of the log-det
            return np.inf, np.zeros_like(x)
        rounded = np.sqrt(size * size + _CORNER**2)
        cost, cost_slope = prior(rounded - _CORNER)
        factor = strength * cost_slope / rounded
        # d|w| / dw = w / |w|; where |w| is 0 so is the slope of h.
        factor[:m] += mu * slope / np.maximum(size[:m], 1e-300)
        gradient += (weights.reshape(-1, 2 * m, m) * factor).reshape(shape)
        return value + strength * cost + mu * cyclic, gradient[weighed]

    return objective
