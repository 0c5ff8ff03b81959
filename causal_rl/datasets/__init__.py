"""Real data: loaders that find a file, check it, and say what it means; none at import.

A file is looked for in the folder that the environment variable ``CAUSAL_RL_DATA`` names, then in
the user's cache, then at its public source, and must have the known checksum wherever it lies.
"""

from causal_rl.datasets.acic2016 import load_acic2016
from causal_rl.datasets.acre import (
    ACRE_ANSWERS,
    ACRE_KINDS,
    Acre,
    AcreProblem,
    AcreQuery,
    AcreTrial,
    load_acre,
)
from causal_rl.datasets.cad import (
    Review,
    RevisedImdb,
    RevisedNli,
    RevisedPairs,
    RevisedReviews,
    load_revised_imdb,
    load_revised_nli,
)
from causal_rl.datasets.clutrr import (
    CLUTRR_RELATIONS,
    Clutrr,
    ClutrrProofStep,
    ClutrrStory,
    load_clutrr,
)
from causal_rl.datasets.ecare import CausalQuestion, Ecare, load_ecare
from causal_rl.datasets.effect_data import EffectData
from causal_rl.datasets.ihdp import load_ihdp
from causal_rl.datasets.lalonde import load_lalonde
from causal_rl.datasets.locate import DataFile, DataUnavailableError, locate
from causal_rl.datasets.sachs import SachsData, load_sachs
from causal_rl.datasets.sentence_pairs import NLI_LABELS, SentencePair
from causal_rl.datasets.sick import Sick, load_sick
from causal_rl.datasets.tuebingen import CauseEffectPair, load_tuebingen
from causal_rl.datasets.twins import load_twins

__all__ = [
    "ACRE_ANSWERS",
    "ACRE_KINDS",
    "CLUTRR_RELATIONS",
    "NLI_LABELS",
    "Acre",
    "AcreProblem",
    "AcreQuery",
    "AcreTrial",
    "CausalQuestion",
    "CauseEffectPair",
    "Clutrr",
    "ClutrrProofStep",
    "ClutrrStory",
    "DataFile",
    "DataUnavailableError",
    "Ecare",
    "EffectData",
    "Review",
    "RevisedImdb",
    "RevisedNli",
    "RevisedPairs",
    "RevisedReviews",
    "SachsData",
    "SentencePair",
    "Sick",
    "load_acic2016",
    "load_acre",
    "load_clutrr",
    "load_ecare",
    "load_ihdp",
    "load_lalonde",
    "load_revised_imdb",
    "load_revised_nli",
    "load_sachs",
    "load_sick",
    "load_tuebingen",
    "load_twins",
    "locate",
]
