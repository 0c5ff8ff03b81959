"""Symbolic ACRE: which objects light up a detector (abstract causal reasoning, Zhang et al. 2021).

The light is on when any object on the detector is of the hidden kind that sets it off. Six trials
are shown; four queries ask whether the light would be on under other sets of the same objects.
"""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass
from typing import Any

from causal_rl.datasets.locate import DataFile, locate

#: Answers, in the order of the numbers of the files.
ACRE_ANSWERS = ("off", "undetermined", "on")
#: Ways of a query, in the generator's words.
ACRE_KINDS = ("direct", "indirect", "screen_off", "potential")
_FOLDERS = {"iid": "IID", "comp": "Comp"}
_CHECKSUMS = {
    "iid": (
        "ab475177ce350ff0a8ddab59b0661574e007aa6e1cf2fec629f5dfa7e9af95f1",
        "ada1e9c3cd73e3c3dd87ff5e6e0995380d63c0c5a75a272982f58f7415a3eec5",
        "f90f11ab16cbceb468cca7ad8118341e39c827715abb15d687cfc8d8800c8eae",
    ),
    "comp": (
        "f3ecfad6a75e030594e0b63dfda59980bd0157671ba9f39d127b144ed2a4a8eb",
        "1ac2506880ef36c3bc89fb8792e9ef1d1f1f2387a6aac30231f8c19c558e2137",
        "2e1bb47730a08c52d4e3a6b476498a12511b5d3f6270b25a2977c0baef30f9f9",
    ),
}


@dataclass(frozen=True)
class AcreTrial:
    """What was seen once.

    Attributes:
        objects: numbers of the objects on the detector.
        light: whether it was on.
    """

    objects: tuple[int, ...]
    light: bool


@dataclass(frozen=True)
class AcreQuery:
    """A set of objects to judge.

    Attributes:
        objects: numbers of the objects put on the detector.
        answer: one of `ACRE_ANSWERS`; "undetermined" where the trials leave it open.
        kind: one of `ACRE_KINDS`.
        trial: index of the trial that the query changes (what if in that trial ...?), None for
            a query of its own.
    """

    objects: tuple[int, ...]
    answer: str
    kind: str
    trial: int | None


@dataclass(frozen=True)
class AcreProblem:
    """Six trials and four queries about the same objects."""

    trials: tuple[AcreTrial, ...]
    queries: tuple[AcreQuery, ...]


@dataclass(frozen=True)
class Acre:
    """One way to split, with 2,000 / 500 / 1,000 problems.

    Attributes:
        n_objects: objects are numbered 0 .. n_objects - 1.
        train: problems.
        val: problems, to choose settings on.
        test: problems.
    """

    n_objects: int
    train: tuple[AcreProblem, ...]
    val: tuple[AcreProblem, ...]
    test: tuple[AcreProblem, ...]


def load_acre(split: str = "iid") -> Acre:
    """Load problems. They were made by the authors' generator and must be put in place by hand.

    Args:
        split: ``"iid"`` (48 objects) or ``"comp"`` (24). In the rendered form of the latter the
            numbers stand for other looks in training than in the test; in this symbolic form
            both have the same numbers, so it asks for no composition of attributes.

    Raises:
        DataUnavailableError: a file is not at hand.
        ValueError: no such split, or a file is not the known one.
    """
    if split not in _FOLDERS:
        raise ValueError(f"split is {split!r}; it must be one of {', '.join(_FOLDERS)}")
    parts = [
        _problems(DataFile(f"acre_symbolic/{_FOLDERS[split]}/{name}.json.gz", checksum))
        for name, checksum in zip(("train", "val", "test"), _CHECKSUMS[split], strict=True)
    ]
    return Acre({"iid": 48, "comp": 24}[split], *parts)


def _problems(file: DataFile) -> tuple[AcreProblem, ...]:
    with gzip.open(locate(file), "rt", encoding="ascii") as stream:
        return tuple(_problem(panels) for panels in json.load(stream))


def _problem(panels: list[dict[str, Any]]) -> AcreProblem:
    trials, queries = [], []
    for panel in panels:
        objects = tuple(panel["objects"])
        if "label" in panel:
            answer = ACRE_ANSWERS[panel["label"]]
            queries.append(AcreQuery(objects, answer, panel["type"], panel.get("ref")))
        else:
            trials.append(AcreTrial(objects, panel["light_state"] == "on"))
    return AcreProblem(tuple(trials), tuple(queries))
