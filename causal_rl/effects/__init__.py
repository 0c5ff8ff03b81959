"""Effects of a treatment and counterfactuals: estimators, adjustment sets, abduction."""

from causal_rl.effects.abduction import NoisePosterior, abduct
from causal_rl.effects.base import EffectEstimator
from causal_rl.effects.counterfactual import counterfactual, intervene, predict
from causal_rl.effects.counterfactual_answer import CounterfactualAnswer
from causal_rl.effects.empirical_noise import EmpiricalNoise
from causal_rl.effects.fit_scm import fit_scm
from causal_rl.effects.identify import (
    Adjustment,
    NotIdentifiedError,
    find_adjustment,
    is_valid_adjustment,
)
from causal_rl.effects.registry import estimator_options, list_estimators, make_estimator

__all__ = [
    "Adjustment",
    "CounterfactualAnswer",
    "EffectEstimator",
    "EmpiricalNoise",
    "NoisePosterior",
    "NotIdentifiedError",
    "abduct",
    "counterfactual",
    "estimator_options",
    "find_adjustment",
    "fit_scm",
    "intervene",
    "is_valid_adjustment",
    "list_estimators",
    "make_estimator",
    "predict",
]
