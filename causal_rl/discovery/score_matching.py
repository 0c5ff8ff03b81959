"""SCORE: a causal order from the score function of the data (Rolland et al. 2022).

Written from the paper. In an additive model with Gaussian noise the diagonal of the score's
Jacobian is constant exactly at the leaves. The Jacobian is estimated by Stein's identities of first
and second order with an RBF kernel; the column of least variance is the last in the order, is taken
away, and so on. The pruning is CAM's.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve

from causal_rl.discovery.additive import AdditiveModels
from causal_rl.discovery.batch import BoolMatrix, Rows, spread_rows
from causal_rl.discovery.cam import CamLearner
from causal_rl.options import check_integer, check_number

Array = NDArray[np.float64]


class ScoreLearner(CamLearner):
    """A causal order by the score's Jacobian, then CAM's pruning.

    Knows neither interventions nor lags: rows are pooled, and the lagged block stays empty. The
    order is not that of another scale of the columns: it does far better on raw data of models
    whose noises are all of one size, which in a benchmark is an artefact.

    Args:
        alpha: level of the tests of the pruning; the published 0.001.
        ridge: regularisation of both estimates by Stein's identities; the published 0.001.
        kernel_rows: rows for the order, spread evenly over all; memory grows as its square and
            time as its cube.
        splines: as in `CamLearner`.
        neighbours: as in `CamLearner`, for the pruning alone.
        standardise: give every column unit variance first.
        reward_node: add the reward as the last node.
    """

    name: ClassVar[str] = "score"
    scale_free: ClassVar[bool] = False

    def __init__(
        self,
        *,
        alpha: float = 0.001,
        ridge: float = 0.001,
        kernel_rows: int = 2000,
        splines: int = 10,
        neighbours: int = 20,
        standardise: bool = True,
        reward_node: bool = False,
    ) -> None:
        super().__init__(
            alpha=alpha, splines=splines, neighbours=neighbours, reward_node=reward_node
        )
        self.ridge = ridge
        self.kernel_rows = kernel_rows
        self.standardise = standardise

    def check_options(self) -> None:
        """Validate the options; see `GraphLearner.check_options`."""
        super().check_options()
        check_number("ridge", self.ridge, least=0.0, open_end=True)
        check_integer("kernel_rows", self.kernel_rows, least=2)

    def _order(self, models: AdditiveModels, rows: Rows, candidates: BoolMatrix) -> list[int]:
        values = rows.current[spread_rows(len(rows.current), self.kernel_rows)]
        return score_order(values, candidates, ridge=self.ridge)


def score_order(
    values: Array, candidates: NDArray[np.bool_] | None = None, *, ridge: float = 0.001
) -> list[int]:
    """Order the columns, causes first.

    Args:
        values: ``(N, d)`` finite, at least two rows.
        candidates: ``(d, d)`` true at [i, j] where i may be a parent of j; default everywhere. A
            column that may cause another one, but not the reverse, comes before it.
        ridge: of both estimates of `score_jacobian_diagonal`.

    Returns:
        The d columns, causes first.
    """
    d = values.shape[1]
    before = np.zeros((d, d), dtype=bool) if candidates is None else candidates & ~candidates.T
    left = list(range(d))
    last_first: list[int] = []
    while len(left) > 1:
        spread = score_jacobian_diagonal(values[:, left], ridge=ridge).var(axis=0)
        inner = before[np.ix_(left, left)].any(axis=1)
        if not inner.all():
            spread[inner] = np.inf
        last_first.append(left.pop(int(np.argmin(spread))))
    return [*left, *last_first[::-1]]


def score_jacobian_diagonal(values: Array, *, ridge: float = 0.001) -> Array:
    """Diagonal of the Jacobian of ``grad log p`` at every row.

    Args:
        values: ``(N, d)``; memory grows as N squared.
        ridge: regularisation of the two linear systems.

    Returns:
        ``(N, d)``.
    """
    # The kernel sees differences alone; centred numbers lose fewer digits in the products below.
    x = values - values.mean(axis=0)
    square = x * x
    norm = square.sum(axis=1)
    distance = np.maximum(norm[:, None] + norm[None, :] - 2 * x @ x.T, 0.0)
    width = float(np.median(distance)) or float(distance.max()) or 1.0  # of the kernel, squared
    kernel = np.exp(distance / (-2 * width))
    total = kernel.sum(axis=1)[:, None]
    smooth = kernel @ x
    # Sums of dK/dx_j and of its second derivative over the rows, as matrix products.
    first = (smooth - x * total) / width
    second = (square * total - 2 * x * smooth + kernel @ square) / width**2 - total / width
    kernel[np.diag_indices_from(kernel)] += ridge
    factor = cho_factor(kernel, lower=True, overwrite_a=True, check_finite=False)
    solved = cho_solve(factor, np.hstack([first, second]), check_finite=False)
    d = x.shape[1]
    result: Array = solved[:, d:] - solved[:, :d] ** 2
    return result
