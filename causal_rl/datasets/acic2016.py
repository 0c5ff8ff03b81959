"""ACIC 2016: real covariates, simulated treatment and outcomes (Dorie et al. 2019)."""

from __future__ import annotations

import csv
import gzip
from pathlib import Path

import numpy as np

from causal_rl.datasets.effect_data import Array, EffectData
from causal_rl.datasets.locate import DataFile, locate

_SOURCE = (
    "https://raw.githubusercontent.com/BiomedSciAI/causallib/"
    "{commit}/causallib/datasets/data/acic_challenge_2016/{name}"
)
_X_COMMIT = "de64cf65d0e2fa1cc5a12d2cc847c970fc43a717"
_COMMIT = "aa73b8fd9f8d5fbd6cd7db78e0f0c2f24a70f713"
#: Name, checksum packed, checksum as published.
_COVARIATES = (
    "x.csv",
    "a84a4ff2c0827552f0ffcfc02542048e21e4d6b1dc6f7081cd6ce3dfadc65285",
    "0d6387ad45d23e54b11cbf967248fb68ad5e578db80d193208b8b4c98b1ed0c1",
)
_SETTINGS = (
    (
        "zymu_1.csv",
        "77b9151978a88001d841c9a69e0c2b2a0a25c9a124eff825cd02ccc4e9dfe7b2",
        "002fad96bb55d54edec08a0af46ef4f8ad69e0cfe6294ab48f351f22976a6e76",
    ),
    (
        "zymu_2.csv",
        "654aa574af69946dd22ce7c264b6f4917e570aca9c2480415a5b2296858bb1ae",
        "bc3a03bb461bb1629add09c01dfc77053cf36e8faf8e48a7645b35ddb4005d1c",
    ),
    (
        "zymu_3.csv",
        "e420747ad55a868820013f00fee8e790fff85dac5cb8903443d36d339dcc1cf3",
        "8090562d3fcf5a3b02ff5493592a2880b95b106e1c12e2c3a6e6c28ae8468ff6",
    ),
    (
        "zymu_4.csv",
        "7223373f586e11e15b3a9b783a83af1555ab9f4fc232c96293fee9a720c7d45d",
        "61b405c545a451b7e2ce31614150834f94aa4b27069e2755876ed6e11cfee5fd",
    ),
    (
        "zymu_5.csv",
        "9ffa861372fb9115225e21027a515844e117b32e7d7509c5796d340acbda1b78",
        "e350ac76d0b8e83f45f7f04a4b76b9a32a0d53098452075617e61ce62ad0463a",
    ),
)


def load_acic2016(setting: int = 1) -> EffectData:
    """Load one simulation over the 4802 rows and 58 covariates of the challenge.

    Args:
        setting: 1 to 5. The three covariates of categories become a 0/1 column for every level
            but the first.

    Raises:
        DataUnavailableError: a file is not at hand and cannot be fetched.
        ValueError: no such setting, or a file is not the published one.
    """
    if setting not in range(1, len(_SETTINGS) + 1):
        raise ValueError(f"setting is {setting!r}; it must be 1 .. {len(_SETTINGS)}")
    X, names = _covariates(_find(_COVARIATES))
    table = np.loadtxt(_find(_SETTINGS[setting - 1]), delimiter=",", skiprows=1)
    t, y0, y1, mu0, mu1 = table.T
    return EffectData(
        X=X,
        names=names,
        t=t.astype(np.int64),
        y=np.where(t == 1, y1, y0),
        y0=y0,
        y1=y1,
        mu0=mu0,
        mu1=mu1,
    )


def _find(entry: tuple[str, str, str]) -> Path:
    name, packed, plain = entry
    commit = _X_COMMIT if name in ("x.csv", "zymu_5.csv") else _COMMIT
    return locate(
        DataFile(f"acic2016/{name}.gz", packed),
        DataFile(f"acic2016/{name}", plain, _SOURCE.format(commit=commit, name=name)),
    )


def _covariates(path: Path) -> tuple[Array, tuple[str, ...]]:
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt", encoding="ascii", newline="") as stream:
        header, *rows = csv.reader(stream)
    columns: list[Array] = []
    names: list[str] = []
    for name, cells in zip(header, zip(*rows, strict=True), strict=True):
        if cells[0].isalpha():
            for level in sorted(set(cells))[1:]:
                columns.append(np.array([cell == level for cell in cells], dtype=np.float64))
                names.append(f"{name}={level}")
        else:
            columns.append(np.array(cells, dtype=np.float64))
            names.append(name)
    return np.column_stack(columns), tuple(names)
