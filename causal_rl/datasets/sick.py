"""SICK: sentence pairs with entailment and relatedness (Marelli et al. 2014; SemEval-2014)."""

from __future__ import annotations

import csv
from dataclasses import dataclass

from causal_rl.datasets.locate import DataFile, locate
from causal_rl.datasets.sentence_pairs import SentencePair

_FILES = (
    DataFile(
        "sick/SICK_train.txt", "266cf8047149bd1d68138dd30439f3122bff30069740ac6705bb6197d9f1b48e"
    ),
    DataFile(
        "sick/SICK_trial.txt", "5a88cfb62f8c6bd2a3cce0f2421ba2cb8c2be5ab4a800f6f01e2c64aafb7db56"
    ),
    DataFile(
        "sick/SICK_test_annotated.txt",
        "2b8aa806658d6fc23c6824c83776c2d4fee7556000817b5ec0f982861413b7d0",
    ),
)


@dataclass(frozen=True)
class Sick:
    """The three splits.

    Attributes:
        train: 4,500 pairs.
        trial: 500 pairs, to choose settings on.
        test: 4,927 pairs.
    """

    train: tuple[SentencePair, ...]
    trial: tuple[SentencePair, ...]
    test: tuple[SentencePair, ...]


def load_sick() -> Sick:
    """Load the pairs. The files have no public address; they must be put in place by hand.

    Raises:
        DataUnavailableError: a file is not at hand.
        ValueError: a file is not the published one.
    """
    return Sick(*(_pairs(file) for file in _FILES))


def _pairs(file: DataFile) -> tuple[SentencePair, ...]:
    with locate(file).open(encoding="utf-8", newline="") as stream:
        return tuple(
            SentencePair(
                row["sentence_A"],
                row["sentence_B"],
                row["entailment_judgment"].lower(),
                float(row["relatedness_score"]),
            )
            for row in csv.DictReader(stream, delimiter="\t", quoting=csv.QUOTE_NONE)
        )
