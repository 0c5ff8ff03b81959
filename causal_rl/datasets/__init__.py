"""Real data: loaders that find a file, check it, and say what it means; none at import.

A file is looked for in the folder that the environment variable ``CAUSAL_RL_DATA`` names, then in
the user's cache, then at its public source, and must have the known checksum wherever it lies.
"""

from causal_rl.datasets.acic2016 import load_acic2016
from causal_rl.datasets.effect_data import EffectData
from causal_rl.datasets.ihdp import load_ihdp
from causal_rl.datasets.lalonde import load_lalonde
from causal_rl.datasets.locate import DataFile, DataUnavailableError, locate
from causal_rl.datasets.sachs import SachsData, load_sachs
from causal_rl.datasets.tuebingen import CauseEffectPair, load_tuebingen
from causal_rl.datasets.twins import load_twins

__all__ = [
    "CauseEffectPair",
    "DataFile",
    "DataUnavailableError",
    "EffectData",
    "SachsData",
    "load_acic2016",
    "load_ihdp",
    "load_lalonde",
    "load_sachs",
    "load_tuebingen",
    "load_twins",
    "locate",
]
