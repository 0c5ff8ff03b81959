"""DYNOTEARS: a linear model of one step given itself and the step before (Pamfil et al. 2020).

Written from the paper, since nothing installable has it. It minimises
``|X - X W - Y A|^2 / 2N + lambda (|W|_1 + |A|_1)`` with W acyclic, X the columns after the step and
Y those before it. The solver is Algorithm 5's: a path of growing penalties on h(W) in place of the
paper's augmented Lagrangian, with the same minimisers in the limit. What differs from Algorithm 5
is the loss: squares, as if all noises were of one size, and rows in which a variable was set count
like all others.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from causal_rl.discovery.batch import Array, BoolMatrix, Found, Rows
from causal_rl.discovery.linear_path import fit_linear
from causal_rl.discovery.weighted import WeightedLearner
from causal_rl.graphs import project_to_dag
from causal_rl.options import check_integer

_TOLERANCE = 1e-8


class DynotearsLearner(WeightedLearner):
    """Within-step and lagged weights at once, by least squares with L1 and acyclicity.

    Args:
        sparsity: lambda, of both blocks; the paper's experiments have 0.05.
        threshold: edges of smaller absolute weight are dropped, in the units of the data given.
        max_iter: steps of one descent.
        standardise: as in `WeightedLearner`.
        reward_node: add the reward as the last node.
    """

    name: ClassVar[str] = "dynotears"
    obeys: ClassVar[frozenset[str]] = frozenset({"forbidden"})
    uses_lags: ClassVar[bool] = True
    most_variables: ClassVar[int] = 100

    def __init__(
        self,
        *,
        sparsity: float = 0.05,
        threshold: float = 0.1,
        max_iter: int = 1000,
        standardise: bool = True,
        reward_node: bool = False,
    ) -> None:
        super().__init__(
            sparsity=sparsity,
            threshold=threshold,
            standardise=standardise,
            reward_node=reward_node,
        )
        self.max_iter = max_iter

    def check_options(self) -> None:
        """Validate the options; see `GraphLearner.check_options`."""
        super().check_options()
        check_integer("max_iter", self.max_iter, least=1)

    def _weights(self, columns: Array) -> Array:
        raise NotImplementedError("dynotears learns both blocks at once, in _learn")

    def _learn(self, rows: Rows, within: BoolMatrix, lagged: BoolMatrix) -> Found:
        before = rows.lagged - rows.lagged.mean(axis=0)
        fit = fit_linear(
            SquaredLoss(rows.current, before),
            (within, lagged),
            required=np.zeros_like(within),
            sparsity=self.sparsity,
            acyclicity="expm",
            penalty_start=0.1,
            penalty_growth=4.0,
            penalty_end=1e8,
            tolerance=_TOLERANCE,
            max_iter=self.max_iter,
        )
        large = [
            np.where(np.abs(weights) > self.threshold, weights, 0.0)
            for weights in (fit.contemporaneous, fit.lagged)
        ]
        kept = project_to_dag(large[0])
        return Found(
            edges=kept != 0,
            weights=kept,
            confidence=self._confidence(fit.contemporaneous),
            lagged=large[1] != 0,
            lagged_weights=large[1],
            lagged_confidence=self._confidence(fit.lagged),
        )


class SquaredLoss:
    """``|X - X W - Y A|^2 / 2N`` as a function of ``[W; A]``, from second moments alone.

    Args:
        current: ``(N, m)`` X, centred.
        lagged: ``(N, m)`` Y, centred.
    """

    def __init__(self, current: Array, lagged: Array) -> None:
        columns = np.hstack([current, lagged])
        self._moments: Array = columns.T @ columns / len(columns)
        self._m = current.shape[1]

    def __call__(self, weights: Array) -> tuple[float, Array]:
        """Value and gradient.

        Args:
            weights: ``(2 m, m)``, column j the weights of target j.

        Returns:
            The value, and the gradient of the shape of ``weights``.
        """
        residual = -weights
        residual[: self._m] += np.eye(self._m)
        moved = self._moments @ residual
        return float((residual * moved).sum()) / 2, -moved
