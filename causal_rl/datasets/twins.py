"""Twins: mortality of 11,400 pairs of US twins, the heavier one "treated" (Almond et al. 2005)."""

from __future__ import annotations

import gzip

import numpy as np
from scipy.special import expit

from causal_rl.datasets.effect_data import EffectData
from causal_rl.datasets.locate import DataFile, locate

_TABLE = DataFile(
    "twins/Twin_data.csv.gz",
    "0128e5dfdeb468e85fd2818330beff49d4d433b7f7d56d3eb678f87ab15b00a9",
    "https://raw.githubusercontent.com/jsyoon0823/GANITE/"
    "e2997317d5e8699d6fd56e704cae35890f5599c8/data/Twin_data.csv.gz",
)
# Days until death; this stands for a twin that lived through its first year.
_LIVED = 9999
_OUTCOMES = 2


def load_twins(*, seed: int = 0, confounding: float = 0.1) -> EffectData:
    """Load the pairs; which twin of each is seen is drawn here, for both are in the file.

    The heavier twin is seen with probability ``sigmoid(w . z + n)``, z the covariates in standard
    units, ``w ~ U(-confounding, confounding)``, ``n ~ N(0, 0.1^2)``, after Yoon et al. (2018).

    Args:
        seed: of that draw.
        confounding: 0 makes it an experiment.

    Returns:
        Outcomes are 1 where the twin died in its first year; arm 1 is the heavier one.

    Raises:
        DataUnavailableError: the file is not at hand and cannot be fetched.
        ValueError: the file is not the published one, or ``confounding`` is negative.
    """
    if not 0.0 <= confounding < float("inf"):
        raise ValueError(f"confounding is {confounding!r}; it must be finite and >= 0")
    with gzip.open(locate(_TABLE), "rt", encoding="utf-8") as stream:
        header = stream.readline()
        table = np.loadtxt(stream, delimiter=",")
    names = tuple(name.strip("'‘’\n") for name in header.split(","))
    X, days = table[:, :-_OUTCOMES], table[:, -_OUTCOMES:]
    y0, y1 = (days < _LIVED).astype(np.float64).T
    rng = np.random.default_rng(seed)
    spread = X.std(axis=0)
    z = (X - X.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    weights = rng.uniform(-confounding, confounding, X.shape[1])
    chance = expit(z @ weights + rng.normal(scale=0.1, size=len(X)))
    t = (rng.random(len(X)) < chance).astype(np.int64)
    return EffectData(X=X, names=names[:-_OUTCOMES], t=t, y=np.where(t == 1, y1, y0), y0=y0, y1=y1)
