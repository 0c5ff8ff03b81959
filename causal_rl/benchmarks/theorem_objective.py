"""The objective of theorem 6: Algorithm 5's, with gradients that batches of rows estimate.

Two things are needed for the theorem's own condition, a gradient that is there and Lipschitz: |G|
is sqrt(G^2 + eps^2), and the noise variances are parameters (theta) instead of being profiled out,
so that the gradient of a batch has that of all rows as its mean.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import expm

from causal_rl.scm import Gaussian, Variable, random_scm, topology

Array = NDArray[np.float64]


class CausalObjective:
    """Mean negative log-likelihood + lambda sum sqrt(G^2 + eps^2) + mu (tr exp(G*G) - n).

    Row r, variable j not set in it: ``(s_j + (x_rj - sum_i x_ri G_ij)^2 exp(-s_j)) / 2``. All
    methods take S pairs (G, s) at a time.

    Args:
        rows: (N, n) values.
        kept: (N, n) 1 where the variable was not set, else 0.
        sparsity: lambda.
        acyclicity: mu.
        eps: where |G| is round.
    """

    def __init__(
        self, rows: Array, kept: Array, *, sparsity: float, acyclicity: float, eps: float
    ) -> None:
        self.rows, self.kept = rows, kept
        self.sparsity, self.acyclicity, self.eps = sparsity, acyclicity, eps
        # Of all rows the gradient needs moments only, one set a target.
        self._scatter = np.einsum("rj,ra,rb->jab", kept, rows, rows) / len(rows)
        self._cross = np.einsum("rj,ra,rj->aj", kept, rows, rows) / len(rows)
        self._square = np.einsum("rj,rj->j", kept, rows**2) / len(rows)
        self._share = kept.mean(axis=0)

    def value(self, G: Array, s: Array) -> Array:
        """(S,) the objective over all rows."""
        moved = np.einsum("jab,kbj->kaj", self._scatter, G)
        error = self._square - 2 * np.einsum("aj,kaj->kj", self._cross, G)
        error = error + np.einsum("kaj,kaj->kj", moved, G)
        likelihood = (self._share * s + error * np.exp(-s)).sum(axis=1) / 2
        size = np.sqrt(G**2 + self.eps**2).sum(axis=(1, 2))
        cycles = np.trace(expm(G * G), axis1=1, axis2=2) - G.shape[-1]
        return np.asarray(likelihood + self.sparsity * size + self.acyclicity * cycles)

    def gradient(self, G: Array, s: Array) -> tuple[Array, Array]:
        """(S, n, n) and (S, n): over all rows; the diagonal of G is no parameter."""
        moved = np.einsum("jab,kbj->kaj", self._scatter, G)
        error = self._square - 2 * np.einsum("aj,kaj->kj", self._cross, G)
        error = error + np.einsum("kaj,kaj->kj", moved, G)
        of_G = (moved - self._cross) * np.exp(-s)[:, None, :]
        return self._with_penalties(of_G, G), (self._share - error * np.exp(-s)) / 2

    def batch_gradient(self, G: Array, s: Array, index: NDArray[np.intp]) -> tuple[Array, Array]:
        """As `gradient`, over the rows of a batch."""
        x, kept = self.rows[index], self.kept[index]
        residual = (x - x @ G) * kept
        precision = np.exp(-s)
        of_G = -(x.T @ residual) / len(index) * precision[:, None, :]
        of_s = (kept.mean(axis=0) - (residual**2).mean(axis=1) * precision) / 2
        return self._with_penalties(of_G, G), of_s

    def _with_penalties(self, gradient: Array, G: Array) -> Array:
        found = gradient + self.sparsity * G / np.sqrt(G**2 + self.eps**2)
        found = found + self.acyclicity * 2 * G * expm(G * G).swapaxes(-1, -2)
        diagonal = np.arange(G.shape[-1])
        found[..., diagonal, diagonal] = 0.0
        return np.asarray(found)


def draw_objective(use: Mapping[str, Any], rng: np.random.Generator) -> CausalObjective:
    """Rows of a random linear model, each with one variable set at random or none."""
    n = int(use["n"])
    scm = random_scm(topology("er", n, rng, density=use["density"]), "linear", rng)
    target = rng.integers(0, n + 1, use["rows"])
    kept = np.ones((use["rows"], n))
    rows = np.empty((use["rows"], n))
    for j in range(n + 1):
        chosen = target == j
        model = scm
        if j < n:
            model = scm.soft_do({scm.names[j]: Variable(scm.names[j], noise=Gaussian(1.0))})
            kept[chosen, j] = 0.0
        rows[chosen] = model.sample(max(int(chosen.sum()), 1), rng)[: int(chosen.sum())]
    return CausalObjective(
        rows,
        kept,
        sparsity=use["sparsity"],
        acyclicity=use["acyclicity"],
        eps=use["eps"],
    )


def least_curvature(objective: CausalObjective, G: Array, s: Array) -> float:
    """Smallest eigenvalue of the Hessian at one point (n, n), (n,), by central differences.

    At a saddle it is negative: gradients vanish there too, and it is no local optimum.
    """
    n = len(s)
    free = np.argwhere(~np.eye(n, dtype=bool))
    size = len(free) + n
    step = 1e-5
    moved_G = np.repeat(G[None], 2 * size, axis=0)
    moved_s = np.repeat(s[None], 2 * size, axis=0)
    for k in range(size):
        for side, sign in ((k, 1.0), (size + k, -1.0)):
            if k < len(free):
                moved_G[side, free[k][0], free[k][1]] += sign * step
            else:
                moved_s[side, k - len(free)] += sign * step
    of_G, of_s = objective.gradient(moved_G, moved_s)
    flat = np.hstack([of_G[:, free[:, 0], free[:, 1]], of_s])
    hessian = (flat[:size] - flat[size:]) / (2 * step)
    return float(np.linalg.eigvalsh((hessian + hessian.T) / 2)[0])
