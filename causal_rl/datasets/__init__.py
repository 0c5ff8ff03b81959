"""Real data: loaders that find a file, check it, and say what it means; none at import.

A file is looked for in the folder that the environment variable ``CAUSAL_RL_DATA`` names, then in
the user's cache, then at its public source, and must have the known checksum wherever it lies.
"""

from causal_rl.datasets.locate import DataFile, DataUnavailableError, locate
from causal_rl.datasets.sachs import SachsData, load_sachs
from causal_rl.datasets.tuebingen import CauseEffectPair, load_tuebingen

__all__ = [
    "CauseEffectPair",
    "DataFile",
    "DataUnavailableError",
    "SachsData",
    "load_sachs",
    "load_tuebingen",
    "locate",
]
