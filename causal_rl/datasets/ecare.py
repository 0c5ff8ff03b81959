"""e-CARE: which of two sentences is the cause, or the effect, of a third (Du et al. 2022)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Literal

from causal_rl.datasets.locate import DataFile, locate

_FOLDER = "ecare/dataset/Causal_Reasoning"
_FILES = (
    DataFile(
        f"{_FOLDER}/train.jsonl",
        "540f828fe640f0bbef0e16c47a933b65625f49f20aef8a45884a836eb9c034c3",
    ),
    DataFile(
        f"{_FOLDER}/dev.jsonl",
        "cc95861592d28f49e25d540b9993fb01732306220e16a66b27f85b051c6dd433",
    ),
)


@dataclass(frozen=True)
class CausalQuestion:
    """A sentence and two candidates, of which one is its cause or effect.

    Attributes:
        premise: the sentence.
        ask_for: which of the two is asked for.
        hypotheses: the candidates.
        answer: index of the right one, 0 or 1.
    """

    premise: str
    ask_for: Literal["cause", "effect"]
    hypotheses: tuple[str, str]
    answer: int


@dataclass(frozen=True)
class Ecare:
    """The two splits with published answers.

    Attributes:
        train: 14,928 questions.
        dev: 2,132 questions.
    """

    train: tuple[CausalQuestion, ...]
    dev: tuple[CausalQuestion, ...]


def load_ecare() -> Ecare:
    """Load the questions. The files must be put in place by hand, in the folders of the repository.

    Raises:
        DataUnavailableError: a file is not at hand.
        ValueError: a file is not the published one.
    """
    return Ecare(*(_questions(file) for file in _FILES))


def _questions(file: DataFile) -> tuple[CausalQuestion, ...]:
    questions = []
    for line in locate(file).read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        hypotheses = (row["hypothesis1"], row["hypothesis2"])
        questions.append(CausalQuestion(row["premise"], row["ask-for"], hypotheses, row["label"]))
    return tuple(questions)
