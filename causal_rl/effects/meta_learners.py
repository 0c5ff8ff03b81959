"""S-, T- and X-learner (Künzel et al. 2019): effects from any regression."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np

from causal_rl.effects.aipw import AIPW
from causal_rl.effects.base import Array, EffectEstimator, Treatments
from causal_rl.effects.propensity import fit_propensity
from causal_rl.effects.regressors import REGRESSORS, Predictor, fit_regressor
from causal_rl.options import check_choice


class MetaLearner(EffectEstimator):
    """What the three have in common: a regression, and a standard error by cross-fitting.

    The standard error of `ate` over the rows of `fit` is that of the augmented inverse-propensity
    estimate (`AIPW`) with the same regression: no refits on resampled rows. Over other rows it is
    the bootstrap's.

    Args:
        regressor: ``"boosting"`` or ``"ridge"``, see `fit_regressor`.
        **options: as in `EffectEstimator`.
    """

    def __init__(
        self,
        *,
        regressor: str = "boosting",
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.regressor = regressor

    def check_options(self) -> None:
        """Check the options; see `EffectEstimator.check_options`."""
        super().check_options()
        check_choice("regressor", self.regressor, REGRESSORS)

    def _regress(self, X: Array, y: Array) -> Predictor:
        return fit_regressor(self.regressor, X, y, self.seed)

    @abstractmethod
    def _fit_outcomes(self, X: Array, t: Treatments, y: Array) -> Predictor:
        """From ``(M, p)`` to ``(M, K)``, the expected outcome of each arm."""

    def _fit(self, X: Array, t: Treatments, y: Array) -> None:
        self._predict = self._fit_outcomes(X, t, y)

    def _outcomes(self, X: Array) -> Array:
        return self._predict(X)

    def _standard_error(self, X: Array | None, t0: int, t1: int, draws: int) -> float:
        if X is not None:
            return super()._standard_error(X, t0, t1, draws)
        scored = AIPW(regressor=self.regressor, seed=self.seed).fit(*self._rows())
        return scored._standard_error(None, t0, t1, draws)


class SLearner(MetaLearner):
    """One regression on covariates and treatment; arms beyond two have a column each.

    With ``"ridge"`` the effect is the same for every row.

    Args: as in `MetaLearner`.
    """

    def _fit_outcomes(self, X: Array, t: Treatments, y: Array) -> Predictor:
        arms = np.eye(self.n_arms_)[:, 1:]
        predict = self._regress(np.column_stack([X, arms[t]]), y)

        def outcomes(rows: Array) -> Array:
            columns = [np.column_stack([rows, np.tile(arm, (len(rows), 1))]) for arm in arms]
            return np.column_stack([predict(column) for column in columns])

        return outcomes


class TLearner(MetaLearner):
    """A regression for every arm.

    Args: as in `MetaLearner`.
    """

    def _fit_outcomes(self, X: Array, t: Treatments, y: Array) -> Predictor:
        return _stack(self._regress_arms(X, t, y))

    def _regress_arms(self, X: Array, t: Treatments, y: Array) -> list[Predictor]:
        return [self._regress(X[t == arm], y[t == arm]) for arm in range(self.n_arms_)]


class XLearner(TLearner):
    """The T-learner's regressions, and then regressions of the effects that they impute.

    For arm k against arm 0: the imputed effects are ``y - mu_0(x)`` among rows of k and
    ``mu_k(x) - y`` among rows of 0; both are regressed on x and mixed by the propensity.

    Args: as in `MetaLearner`.
    """

    def _fit_outcomes(self, X: Array, t: Treatments, y: Array) -> Predictor:
        arms = self._regress_arms(X, t, y)
        chance = fit_propensity(X, t, self.n_arms_)
        control = t == 0
        effects = []
        for arm in range(1, self.n_arms_):
            taken = t == arm
            treated = self._regress(X[taken], y[taken] - arms[0](X[taken]))
            untreated = self._regress(X[control], arms[arm](X[control]) - y[control])
            effects.append((arm, treated, untreated))

        def outcomes(rows: Array) -> Array:
            chances, found = chance(rows), [arms[0](rows)]
            for arm, treated, untreated in effects:
                share = chances[:, 0] / (chances[:, 0] + chances[:, arm])
                found.append(found[0] + share * treated(rows) + (1.0 - share) * untreated(rows))
            return np.column_stack(found)

        return outcomes


def _stack(arms: Sequence[Predictor]) -> Predictor:
    return lambda rows: np.column_stack([predict(rows) for predict in arms])
