"""AIPW: the augmented inverse-propensity-weighted estimate, cross-fitted; the default estimator."""

from __future__ import annotations

from typing import Any

import numpy as np

from causal_rl.effects.base import Array, EffectEstimator, Treatments
from causal_rl.effects.propensity import fit_propensity
from causal_rl.effects.regressors import REGRESSORS, fit_regressor
from causal_rl.options import check_choice, check_integer, check_number


class AIPW(EffectEstimator):
    """Outcome regressions, corrected by residuals weighted with the inverse propensity.

    For arm k the score of a row is ``s_k = m_k(x) + 1[t = k] (y - m_k(x)) / p_k(x)``, regression
    ``m`` and propensity ``p`` fitted to the other folds. The mean of ``s_k - s_0`` is right if
    either of the two is (Robins, Rotnitzky, Zhao 1994), and its standard error is that of a mean.
    The effect of a row is the ridge regression of ``s_k - s_0`` on the covariates, the DR-learner
    of Kennedy (2023), whose mean over the rows of `fit` is the average effect.

    Args:
        regressor: of the outcomes: ``"ridge"`` or ``"boosting"``, see `fit_regressor`.
        folds: of the cross-fitting; no more than the rows of the smallest arm are made.
        clip: propensities below this count as this much.
        **options: as in `EffectEstimator`; ``seed`` is of the folds.

    Attributes:
        scores_: ``(N, K)`` the scores of the rows of `fit`.
    """

    scores_: Array

    def __init__(
        self,
        *,
        regressor: str = "ridge",
        folds: int = 5,
        clip: float = 0.01,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.regressor = regressor
        self.folds = folds
        self.clip = clip

    def check_options(self) -> None:
        """Check the options; see `EffectEstimator.check_options`."""
        super().check_options()
        check_choice("regressor", self.regressor, REGRESSORS)
        check_integer("folds", self.folds, least=2)
        check_number("clip", self.clip, least=0.0, below=0.5, open_end=True)

    def _fit(self, X: Array, t: Treatments, y: Array) -> None:
        fold = self._folds(t)
        self.scores_ = np.empty((len(X), self.n_arms_))
        for held in range(int(fold.max()) + 1):
            inside, outside = fold == held, fold != held
            chance = fit_propensity(X[outside], t[outside], self.n_arms_)(X[inside])
            for arm in range(self.n_arms_):
                seen = outside & (t == arm)
                expected = fit_regressor(self.regressor, X[seen], y[seen], self.seed)(X[inside])
                weight = (t[inside] == arm) / chance[:, arm].clip(self.clip)
                self.scores_[inside, arm] = expected + weight * (y[inside] - expected)

    def _folds(self, t: Treatments) -> Treatments:
        """The fold of every row; each has rows of every arm."""
        rng = np.random.default_rng(self.seed)
        count = min(self.folds, int(np.bincount(t).min()))
        fold = np.empty(len(t), dtype=np.int64)
        for arm in range(self.n_arms_):
            members = rng.permutation(np.flatnonzero(t == arm))
            fold[members] = np.arange(members.size) % count
        return fold

    def _effect(self, X: Array, t0: int, t1: int) -> Array:
        seen = self._rows()[0]
        difference = self.scores_[:, t1] - self.scores_[:, t0]
        return fit_regressor("ridge", seen, difference, self.seed)(X)

    def _standard_error(self, X: Array | None, t0: int, t1: int, draws: int) -> float:
        if X is not None:
            return super()._standard_error(X, t0, t1, draws)
        difference = self.scores_[:, t1] - self.scores_[:, t0]
        return float(difference.std(ddof=1) / np.sqrt(len(difference)))
