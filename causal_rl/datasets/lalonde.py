"""LaLonde: earnings after a job programme, with its experiment as the target (1986)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from causal_rl.datasets.effect_data import EffectData
from causal_rl.datasets.locate import DataFile, locate
from causal_rl.errors import import_extra

_SOURCE = "https://users.nber.org/~rdehejia/data"
_EXPERIMENT = DataFile(
    "lalonde/nsw_dw.dta",
    "27a61a9ac68ddf1b0383c1977d07b794a6a5dc7f2d3fc6a0040ac743087697cc",
    f"{_SOURCE}/nsw_dw.dta",
)
_CPS = DataFile(
    "lalonde/cps_controls.dta",
    "80f0123eaf723870bd060ba9f8569617a7cb519a462dc20badbfb3443cd8374b",
    f"{_SOURCE}/cps_controls.dta",
)
CONTROLS = ("cps", "experiment")
COVARIATES = (
    "age", "education", "black", "hispanic", "married", "nodegree", "re74", "re75",
)  # fmt: skip


def load_lalonde(controls: str = "cps") -> EffectData:
    """Load the treated of the experiment (Dehejia and Wahba's sample) and people to compare with.

    Args:
        controls: ``"cps"``, 15,992 people of a population survey, or ``"experiment"``, the 260
            that the experiment drew.

    Returns:
        Outcomes are earnings of 1978 in dollars; ``att`` is the difference in means of the
        experiment, whatever the controls.

    Raises:
        DataUnavailableError: a file is not at hand and cannot be fetched.
        MissingExtraError: pandas, which reads such files, is not installed.
        ValueError: no such controls, or a file is not the published one.
    """
    if controls not in CONTROLS:
        raise ValueError(f"controls is {controls!r}; it must be one of {', '.join(CONTROLS)}")
    X, t, y = _read(locate(_EXPERIMENT))
    att = float(y[t == 1].mean() - y[t == 0].mean())
    if controls == "cps":
        others = _read(locate(_CPS))
        X, t, y = (
            np.concatenate([part[t == 1], other])
            for part, other in zip((X, t, y), others, strict=True)
        )
    return EffectData(X=X, names=COVARIATES, t=t, y=y, att=att)


def _read(path: Path) -> tuple[Any, Any, Any]:
    frame = import_extra("pandas", extra="pandas").read_stata(path)
    columns = {name: frame[name].to_numpy(np.float64) for name in (*COVARIATES, "treat", "re78")}
    X = np.column_stack([columns[name] for name in COVARIATES])
    return X, columns["treat"].astype(np.int64), columns["re78"]
