"""Random static models by the recipes on which graph learners are usually compared.

Structure, weights and noise as in the literature from Zheng et al. (2018, 2020) on, whatever they
betray: on raw columns the order of variances is nearly the causal one (Reisach et al. 2021). The
worlds of this package's own generators do not have that fault; these are here because the published
tables stand on them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import networkx as nx
import numpy as np
from numpy.typing import NDArray

from causal_rl.graphs import topological_order
from causal_rl.scm import topology

Array = NDArray[np.float64]
BoolMatrix = NDArray[np.bool_]

Structure = Literal["er", "sf"]
Mechanism = Literal["linear", "mlp", "gp"]
STRUCTURES: tuple[Structure, ...] = get_args(Structure)
MECHANISMS: tuple[Mechanism, ...] = get_args(Mechanism)

_HIDDEN = 100
_LEAST_WEIGHT, _MOST_WEIGHT = 0.5, 2.0
# A draw of a Gaussian process needs a root of its covariance, whose last eigenvalues are rounding.
_JITTER = 1e-6


@dataclass(frozen=True)
class StaticDraw:
    """A table and the graph behind it.

    Attributes:
        values: ``(N, d)`` raw columns.
        adjacency: ``(d, d)`` bool, [i, j] true if i causes j.
    """

    values: Array
    adjacency: BoolMatrix

    def standardised(self) -> Array:
        """``(N, d)`` columns of mean 0 and variance 1."""
        centred = self.values - self.values.mean(axis=0)
        return np.asarray(centred / centred.std(axis=0))


def draw_structure(
    structure: Structure, d: int, degree: int, rng: np.random.Generator
) -> BoolMatrix:
    """A DAG with about ``degree * d`` edges and shuffled labels.

    Args:
        structure: "er", every pair with equal probability; or "sf", the undirected graph of
            Barabási and Albert with ``degree`` edges a new node, oriented by a random order.
        d: variables, more than ``2 * degree``.
        degree: edges a variable.
        rng: draws.

    Returns:
        ``(d, d)`` bool.
    """
    if structure == "er":
        return topology("er", d, rng, density=degree)
    joined = nx.to_numpy_array(nx.barabasi_albert_graph(d, degree, seed=rng), dtype=bool)
    place = rng.permutation(d)
    return np.asarray(joined & (place[:, None] < place[None, :]))


def draw(
    structure: Structure,
    mechanism: Mechanism,
    *,
    d: int,
    degree: int,
    rows: int,
    rng: np.random.Generator,
) -> StaticDraw:
    """Draw a graph, its mechanisms, and rows; noise is standard normal everywhere.

    Args:
        structure: see `draw_structure`.
        mechanism: "linear", weights uniform in ±[0.5, 2]; "mlp", one hidden layer of 100 sigmoids
            and weights from the same range; "gp", one draw of a Gaussian process in all parents
            with a squared-exponential kernel of unit length and variance.
        d: variables.
        degree: edges a variable.
        rows: rows N.
        rng: draws.
    """
    adjacency = draw_structure(structure, d, degree, rng)
    values = rng.standard_normal((rows, d))
    for j in topological_order(adjacency):
        parents = values[:, adjacency[:, j]]
        if parents.shape[1]:
            values[:, j] += _EFFECTS[mechanism](parents, rng)
    return StaticDraw(values, adjacency)


def _weights(rng: np.random.Generator, *shape: int) -> Array:
    size = rng.uniform(_LEAST_WEIGHT, _MOST_WEIGHT, shape)
    return np.asarray(size * rng.choice([-1.0, 1.0], shape))


def _linear(parents: Array, rng: np.random.Generator) -> Array:
    return np.asarray(parents @ _weights(rng, parents.shape[1]))


def _mlp(parents: Array, rng: np.random.Generator) -> Array:
    inner = parents @ _weights(rng, parents.shape[1], _HIDDEN)
    return np.asarray((1.0 / (1.0 + np.exp(-inner))) @ _weights(rng, _HIDDEN))


def _gp(parents: Array, rng: np.random.Generator) -> Array:
    square = (parents**2).sum(axis=1)
    apart = np.maximum(square[:, None] + square - 2.0 * parents @ parents.T, 0.0)
    covariance = np.exp(-0.5 * apart)
    covariance[np.diag_indices_from(covariance)] += _JITTER
    return np.asarray(np.linalg.cholesky(covariance) @ rng.standard_normal(len(parents)))


_EFFECTS = {"linear": _linear, "mlp": _mlp, "gp": _gp}
