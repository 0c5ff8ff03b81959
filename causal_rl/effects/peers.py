"""Estimators of the package econml under this house's interface (extra ``effects``)."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from scipy.special import ndtri

from causal_rl.effects.base import Array, EffectEstimator, Treatments, some_column
from causal_rl.errors import import_extra
from causal_rl.options import check_integer

# econml tells intervals; base builds them from a standard error. Any level would do.
_TAIL = 0.1
_QUANTILE = float(ndtri(1.0 - _TAIL / 2.0))
_LEAST_PROPENSITY = 0.01


class EconmlEstimator(EffectEstimator):
    """An estimator of econml with its own intervals.

    The outcome is regressed by boosting, the treatment by logistic regression.

    Args:
        folds: of its cross-fitting.
        **options: as in `EffectEstimator`.
    """

    def __init__(self, *, folds: int = 2, **options: Any) -> None:
        super().__init__(**options)
        self.folds = folds

    def check_options(self) -> None:
        """Check the options; see `EffectEstimator.check_options`."""
        super().check_options()
        check_integer("folds", self.folds, least=2)

    @abstractmethod
    def _make(self, regressor: Any, classifier: Any) -> Any:
        """The estimator as econml has it."""

    def _fit(self, X: Array, t: Treatments, y: Array) -> None:
        ensemble = import_extra("sklearn.ensemble", extra="effects")
        linear = import_extra("sklearn.linear_model", extra="effects")
        pipeline = import_extra("sklearn.pipeline", extra="effects")
        scaling = import_extra("sklearn.preprocessing", extra="effects")
        self._model = self._make(
            ensemble.HistGradientBoostingRegressor(random_state=self.seed),
            pipeline.make_pipeline(
                scaling.StandardScaler(), linear.LogisticRegression(max_iter=1000)
            ),
        )
        self._model.fit(y, t, X=some_column(X))

    def _effect(self, X: Array, t0: int, t1: int) -> Array:
        found = self._model.effect(some_column(X), T0=t0, T1=t1)
        return np.asarray(found, dtype=np.float64).reshape(len(X))

    def _standard_error(self, X: Array | None, t0: int, t1: int, draws: int) -> float:
        rows = self._rows()[0] if X is None else X
        low, high = self._model.ate_interval(some_column(rows), T0=t0, T1=t1, alpha=_TAIL)
        return float(np.squeeze(high - low)) / (2.0 * _QUANTILE)


class _ResidualEstimator(EconmlEstimator):
    """Double machine learning: the outcome's residuals against those of the treatment."""

    peer: ClassVar[str]
    peer_options: ClassVar[Mapping[str, Any]] = {}

    def _make(self, regressor: Any, classifier: Any) -> Any:
        peer = getattr(import_extra("econml.dml", extra="effects"), self.peer)
        return peer(
            model_y=regressor,
            model_t=classifier,
            discrete_treatment=True,
            cv=self.folds,
            random_state=self.seed,
            **self.peer_options,
        )


class CausalForest(_ResidualEstimator):
    """CausalForestDML: residuals of outcome and treatment, and a forest of local slopes.

    Args: as in `EconmlEstimator`.
    """

    peer: ClassVar[str] = "CausalForestDML"
    peer_options: ClassVar[Mapping[str, Any]] = {"n_jobs": 1}


class LinearDML(_ResidualEstimator):
    """LinearDML: residuals of outcome and treatment, and an effect linear in the covariates.

    Args: as in `EconmlEstimator`.
    """

    peer: ClassVar[str] = "LinearDML"


class DRLearner(EconmlEstimator):
    """DRLearner: doubly robust scores, regressed linearly on the covariates.

    Args: as in `EconmlEstimator`.
    """

    def _make(self, regressor: Any, classifier: Any) -> Any:
        dr = import_extra("econml.dr", extra="effects")
        return dr.LinearDRLearner(
            model_regression=regressor,
            model_propensity=classifier,
            min_propensity=_LEAST_PROPENSITY,
            cv=self.folds,
            random_state=self.seed,
        )
