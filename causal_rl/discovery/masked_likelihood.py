"""Do-masked Gaussian likelihood of a linear transition model, from second moments alone.

Node j's term of L_causal (Algorithm 5, line 30) is the Gaussian negative log-likelihood of x'_j
given the other nodes after the step and all nodes before it, over the rows in which j was NOT
set: a set value says nothing of j's mechanism, only of those of its children. With the noise
variance profiled out, the term is ``log(residual variance) / 2`` up to a constant, and it depends
on the rows only through their count, means and scatter: cost does not grow with N.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


class MaskedMoments:
    """Count, mean and scatter of all columns, kept once per target with its do-rows left out.

    Columns are the m nodes after the step, then the m nodes before it. Batches are merged by the
    pairwise formula of Chan, Golub and LeVeque (1983), which does not cancel for large means.

    Args:
        n_nodes: m, the number of nodes.
    """

    def __init__(self, n_nodes: int) -> None:
        # Entry m belongs to no target: all rows, for the scale of the columns.
        self.count: Array = np.zeros(n_nodes + 1)
        self.mean: Array = np.zeros((n_nodes + 1, 2 * n_nodes))
        self.scatter: Array = np.zeros((n_nodes + 1, 2 * n_nodes, 2 * n_nodes))

    @property
    def n_nodes(self) -> int:
        """Number of nodes m."""
        return len(self.count) - 1

    @property
    def rows(self) -> int:
        """Number of rows seen, do-rows included."""
        return int(self.count[-1])

    def add(self, current: Array, lagged: Array, do_target: NDArray[np.bool_]) -> None:
        """Take in rows.

        Args:
            current: ``(N, m)`` nodes after the step.
            lagged: ``(N, m)`` nodes before it.
            do_target: ``(N, m)`` true where the node was set.
        """
        columns = np.hstack([current, lagged])
        for j in range(self.n_nodes):
            self._merge(j, columns[~do_target[:, j]])
        self._merge(self.n_nodes, columns)

    def _merge(self, entry: int, columns: Array) -> None:
        new = len(columns)
        if new == 0:
            return
        old = self.count[entry]
        total = old + new
        mean = columns.mean(axis=0)
        centred = columns - mean
        shift = mean - self.mean[entry]
        self.scatter[entry] += centred.T @ centred + np.outer(shift, shift) * (old * new / total)
        self.mean[entry] += shift * (new / total)
        self.count[entry] = total

    def scale(self) -> Array:
        """Standard deviation of every column over all rows, 1 where a column is constant.

        Returns:
            ``(2 m,)``.
        """
        variance = np.diagonal(self.scatter[-1]) / max(self.count[-1], 1.0)
        # Rounding leaves a constant column a variance of about eps * mean^2.
        constant = variance <= 1e-14 * (1.0 + self.mean[-1] ** 2)
        return np.where(constant, 1.0, np.sqrt(np.where(constant, 1.0, variance)))

    def covariances(self) -> Array:
        """Do-masked covariance of the standardised columns, one a target.

        Returns:
            ``(m, 2 m, 2 m)``; zeros for a target that was set in every row.
        """
        scale = self.scale()
        count = np.maximum(self.count[:-1], 1.0)[:, None, None]
        scaled: Array = self.scatter[:-1] / count / np.outer(scale, scale)
        return scaled

    def state_dict(self) -> dict[str, Any]:
        """Copies of the moments."""
        return {
            "count": self.count.copy(),
            "mean": self.mean.copy(),
            "scatter": self.scatter.copy(),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> MaskedMoments:
        """Moments as `state_dict` returned them."""
        moments = cls(len(state["count"]) - 1)
        moments.count = np.array(state["count"], dtype=np.float64)
        moments.mean = np.array(state["mean"], dtype=np.float64)
        moments.scatter = np.array(state["scatter"], dtype=np.float64)
        return moments


class MaskedLikelihood:
    """L_causal of a linear-Gaussian transition model as a function of its weights.

    ``L(W) = sum_j (N_j / N) log(v_j(w_j) + v_min) / 2`` with N_j the rows in which j was not set
    and v_j the residual variance there, in units of node j's variance.

    Args:
        moments: at least one row.
        v_min: keeps the logarithm finite for mechanisms without noise.
    """

    def __init__(self, moments: MaskedMoments, *, v_min: float = 1e-6) -> None:
        m = moments.n_nodes
        covariance = moments.covariances()
        nodes = np.arange(m)
        self.covariance = covariance
        self.target_cross: Array = covariance[nodes, :, nodes]  # (m, 2m): cov(column, target j)
        self.target_variance: Array = covariance[nodes, nodes, nodes]
        self.share: Array = moments.count[:-1] / max(moments.rows, 1)
        self.v_min = v_min

    def __call__(self, weights: Array) -> tuple[float, Array]:
        """Value and gradient.

        Args:
            weights: ``(2 m, m)``, column j the weights of target j, in standardised units.

        Returns:
            The value, and the gradient of the shape of ``weights``.
        """
        moved = np.einsum("jab,bj->ja", self.covariance, weights)
        explained = np.einsum("ja,ja->j", moved, weights.T)
        crossed = np.einsum("ja,ja->j", self.target_cross, weights.T)
        # Rounding may push a perfect fit a hair below zero.
        variance = np.maximum(self.target_variance - 2 * crossed + explained, 0.0) + self.v_min
        value = float(self.share @ np.log(variance)) / 2
        gradient = (moved - self.target_cross) * (self.share / variance)[:, None]
        return value, gradient.T
