"""Sorting columns by a number and regressing each on those before it: what needs no causality.

sort-n-regress (Reisach, Seiler and Weichwald 2021) sorts by variance, R2-sort-regress (Reisach et
al. 2023) by the share of variance that all other columns explain. Where one of them does well, a
benchmark gives its causal order away, and other methods' success on it proves little.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import numpy as np

from causal_rl.discovery.adapters import EXTRA
from causal_rl.discovery.adapters.peer import call_peer
from causal_rl.discovery.batch import Array, BatchLearner, BoolMatrix, Found, Rows
from causal_rl.errors import import_extra, require_extra
from causal_rl.options import check_integer
from causal_rl.scm import explained_by_others


class _SortRegressLearner(BatchLearner):
    """Sort, then adaptive lasso with BIC of each column on those before it.

    Args:
        seed: of the order of columns whose numbers tie, as on standardised data.
        reward_node: add the reward as the last node.
    """

    obeys: ClassVar[frozenset[str]] = frozenset({"forbidden"})

    def __init__(self, *, seed: int = 0, reward_node: bool = False) -> None:
        super().__init__(reward_node=reward_node)
        self.seed = seed

    def check_options(self) -> None:
        """Validate the options, and that scikit-learn is there; see `GraphLearner.check_options`.

        Raises:
            MissingExtraError: scikit-learn is not installed.
        """
        super().check_options()
        require_extra("sklearn", extra=EXTRA)
        check_integer("seed", self.seed, least=0)

    @abstractmethod
    def _numbers(self, columns: Array) -> Array:
        """What to sort by, ``(m,)``."""

    def _learn(self, rows: Rows, within: BoolMatrix, lagged: BoolMatrix) -> Found:
        columns = rows.current
        d = columns.shape[1]
        numbers = self._numbers(columns)
        # Rounding must not decide between equal numbers, nor must the order of the columns.
        exponent = np.floor(np.log10(np.maximum(numbers, 1e-300)))
        rounded = np.round(numbers / 10**exponent, 9) * 10**exponent
        shuffled = np.random.default_rng(self.seed).permutation(d)
        order = shuffled[np.argsort(rounded[shuffled], kind="stable")]
        weights = np.zeros((d, d))
        with call_peer(self.name):
            for place, j in enumerate(order):
                before = np.sort(order[:place])
                before = before[within[before, j]]
                if len(before):
                    weights[before, j] = _adaptive_lasso(columns[:, before], columns[:, j])
        return Found(edges=weights != 0, weights=weights)


class SortRegressLearner(_SortRegressLearner):
    """sort-n-regress: by ascending variance (Reisach, Seiler and Weichwald 2021).

    It reads the scale of the columns, and nothing else, for directions.

    Args:
        seed: of the order of columns whose variances tie, as on standardised data.
        reward_node: add the reward as the last node.
    """

    name: ClassVar[str] = "sort-regress"
    scale_free: ClassVar[bool] = False
    standardise = False

    def _numbers(self, columns: Array) -> Array:
        variances: Array = columns.var(axis=0)
        return variances


class R2SortRegressLearner(_SortRegressLearner):
    """R2-sort-regress: by the share of variance that the others explain (Reisach et al. 2023).

    Args:
        seed: of the order of columns whose shares tie.
        reward_node: add the reward as the last node.
    """

    name: ClassVar[str] = "r2-sort-regress"
    needs_full_rank: ClassVar[bool] = True

    def _numbers(self, columns: Array) -> Array:
        return explained_by_others(columns)


def _adaptive_lasso(parents: Array, target: Array) -> Array:
    """Coefficients of the lasso that BIC picks, each penalised by its inverse least-squares size.

    Args:
        parents: ``(N, k)`` centred.
        target: ``(N,)`` centred.

    Returns:
        ``(k,)``, zeros where the path has no way to begin.
    """
    size = np.abs(np.linalg.lstsq(parents, target, rcond=None)[0])
    scaled = parents * size
    usable = scaled.std(axis=0) > 0
    weights = np.zeros(parents.shape[1])
    # The noise variance of the criterion needs rows beyond the columns and the intercept.
    if not usable.any() or len(target) <= usable.sum() + 1:
        return weights
    lasso = import_extra("sklearn.linear_model", extra=EXTRA).LassoLarsIC(criterion="bic")
    lasso.fit(scaled[:, usable], target)
    weights[usable] = lasso.coef_ * size[usable]
    return weights
