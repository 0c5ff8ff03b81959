"""Estimators of effects by name."""

from __future__ import annotations

from typing import Any

from causal_rl.catalogue import Catalogue
from causal_rl.effects.base import EffectEstimator

_ESTIMATORS: Catalogue[EffectEstimator] = Catalogue(
    "effect estimator",
    {
        "aipw": ("causal_rl.effects.aipw", "AIPW"),
        "ecam": ("causal_rl.effects.ecam_estimator", "EcamEstimator"),
        "s-learner": ("causal_rl.effects.meta_learners", "SLearner"),
        "t-learner": ("causal_rl.effects.meta_learners", "TLearner"),
        "x-learner": ("causal_rl.effects.meta_learners", "XLearner"),
        "gaussian-process": ("causal_rl.effects.gaussian_process", "GaussianProcessEstimator"),
        "attn-mask": ("causal_rl.effects.attention_baselines", "AttnMaskEstimator"),
        "catt": ("causal_rl.effects.attention_baselines", "CattEstimator"),
        "irm": ("causal_rl.effects.attention_baselines", "IrmEstimator"),
        "cat": ("causal_rl.effects.dag_transformer", "CatEstimator"),
        "cina": ("causal_rl.effects.cina", "CInA"),
        "cina-zs": ("causal_rl.effects.cina", "ZeroShotCInA"),
        "causal-forest": ("causal_rl.effects.peers", "CausalForest"),
        "linear-dml": ("causal_rl.effects.peers", "LinearDML"),
        "dr-learner": ("causal_rl.effects.peers", "DRLearner"),
        "posterior-average": ("causal_rl.effects.posterior_average", "PosteriorAverage"),
        "tarnet": ("causal_rl.effects.representation", "TARNet"),
        "cfr-wass": ("causal_rl.effects.representation", "CFRWass"),
        "cevae": ("causal_rl.effects.latent_confounder", "CEVAE"),
        "site": ("causal_rl.effects.local_similarity", "SITE"),
        "dragonnet": ("causal_rl.effects.representation", "DragonNet"),
        "transformer": ("causal_rl.effects.token_networks", "TransformerEstimator"),
    },
)


def list_estimators() -> list[str]:
    """Names that `make_estimator` knows, the default first."""
    return _ESTIMATORS.names()


def estimator_class(name: str) -> type[EffectEstimator]:
    """The class behind a name.

    Raises:
        ValueError: unknown name; the nearest known ones are offered.
        TypeError: ``name`` is no string.
    """
    return _ESTIMATORS.find(name)


def estimator_options(name: str) -> dict[str, Any]:
    """The options of an estimator and their defaults.

    Raises:
        ValueError: unknown name.
    """
    return _ESTIMATORS.options(name)


def make_estimator(name: str, **options: Any) -> EffectEstimator:
    """Build an estimator.

    Args:
        name: one of `list_estimators`.
        **options: keyword options of that estimator, see `estimator_options`.

    Returns:
        An estimator that has seen nothing yet.

    Raises:
        ValueError: unknown name or option (the nearest are offered), or a value out of range.
        TypeError: an option of the wrong type.
    """
    return _ESTIMATORS.make(name, options)
