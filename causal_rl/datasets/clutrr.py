"""CLUTRR: kinship stories whose answer follows by composing relations (Sinha et al. 2019)."""

from __future__ import annotations

import csv
import io
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass

from causal_rl.datasets.locate import DataFile, locate

_SOURCE = (
    "https://raw.githubusercontent.com/uclnlp/ctp/"
    "c6f3306a3b3f13aa44665e2e6763545420cbfd4f/data/clutrr-emnlp"
)
_CHECKSUMS = {
    "089907f8": "6b1ca22a4a48710124f15c848494db3c355373f931a6d4e09fea10b5cb569334",
    "db9b8f04": "52571c7feb2dc628d6cd56cc9e03f2572d343fdccbbc5c7301caa02f12f1b7bd",
}
#: All relations, of edges and of answers, in alphabetical order.
CLUTRR_RELATIONS = (
    "aunt",
    "brother",
    "daughter",
    "daughter-in-law",
    "father",
    "father-in-law",
    "granddaughter",
    "grandfather",
    "grandmother",
    "grandson",
    "husband",
    "mother",
    "mother-in-law",
    "nephew",
    "niece",
    "sister",
    "son",
    "son-in-law",
    "uncle",
    "wife",
)

# Columns are written as Python's literals; to parse them as such takes ten times as long.
_WORD = re.compile(r"'([\w-]+)'")
_PAIR = re.compile(r"\((\d+), (\d+)\)")
_FACT = re.compile(r"\('([\w-]+)', '([\w-]+)', '([\w-]+)'\)")

Fact = tuple[int, str, int]


@dataclass(frozen=True)
class ClutrrProofStep:
    """Two facts and what follows of them. A fact ``(i, r, j)`` reads "j is the r of i".

    Attributes:
        conclusion: the fact that follows.
        premises: ``(i, r, m)`` and ``(m, s, j)``, each an edge or the conclusion of a later step.
    """

    conclusion: Fact
    premises: tuple[Fact, Fact]


@dataclass(frozen=True)
class ClutrrStory:
    """One story and its question. Entities are numbered as in ``entities``.

    Attributes:
        k: number of edges on the way from one end of the query to the other.
        text: the story, its sentences in random order and every name in square brackets.
        ordered_text: the same sentences in the order of ``edges``.
        entities: names.
        genders: ``"male"`` or ``"female"``, one for each entity.
        edges: k pairs ``(i, j)``, a walk from the first end of the query to the second.
        relations: k words; edge ``(i, j)`` with relation r reads "j is the r of i".
        query: the pair ``(i, j)`` asked about: what is j of i?
        target: the answer, one of `CLUTRR_RELATIONS`.
        proof: k - 1 steps, the one that concludes the answer first.
    """

    k: int
    text: str
    ordered_text: str
    entities: tuple[str, ...]
    genders: tuple[str, ...]
    edges: tuple[tuple[int, int], ...]
    relations: tuple[str, ...]
    query: tuple[int, int]
    target: str
    proof: tuple[ClutrrProofStep, ...]


@dataclass(frozen=True)
class Clutrr:
    """One of the official sets.

    Attributes:
        version: its name.
        train: stories by k.
        test: stories by k, 2 .. 10.
    """

    version: str
    train: dict[int, tuple[ClutrrStory, ...]]
    test: dict[int, tuple[ClutrrStory, ...]]


def load_clutrr(version: str = "089907f8") -> Clutrr:
    """Load a set of stories.

    Args:
        version: ``"089907f8"`` (10,094 training stories of k = 2, 3) or ``"db9b8f04"`` (15,083
            of k = 2, 3, 4); the test stories have k = 2 .. 10 in both.

    Raises:
        DataUnavailableError: the file is not at hand and cannot be fetched.
        ValueError: no such version, or the file is not the published one.
    """
    if version not in _CHECKSUMS:
        raise ValueError(f"version is {version!r}; it must be one of {', '.join(_CHECKSUMS)}")
    name = f"data_{version}.zip"
    path = locate(DataFile(f"clutrr/{name}", _CHECKSUMS[version], f"{_SOURCE}/{name}"))
    stories: dict[str, dict[int, list[ClutrrStory]]] = {"train": {}, "test": {}}
    for row in _rows(path.read_bytes()):
        story = _story(row)
        stories[row["task_split"]].setdefault(story.k, []).append(story)
    train, test = (
        {k: tuple(of_k) for k, of_k in sorted(stories[split].items())}
        for split in ("train", "test")
    )
    return Clutrr(version, train, test)


def _rows(packed: bytes) -> Iterator[dict[str, str]]:
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        for name in archive.namelist():
            if name.endswith(".csv"):
                yield from csv.DictReader(io.StringIO(archive.read(name).decode("utf-8")))


def _story(row: dict[str, str]) -> ClutrrStory:
    people = [person.split(":") for person in row["genders"].split(",")]
    number = {name: i for i, (name, _) in enumerate(people)}
    facts = [(number[a], r, number[b]) for a, r, b in _FACT.findall(row["proof_state"])]
    ((first, last),) = _PAIR.findall(row["query_edge"])
    return ClutrrStory(
        k=int(row["task_name"].rpartition(".")[2]),
        text=row["story"],
        ordered_text=row["clean_story"],
        entities=tuple(number),
        genders=tuple(gender for _, gender in people),
        edges=tuple((int(i), int(j)) for i, j in _PAIR.findall(row["story_edges"])),
        relations=tuple(_WORD.findall(row["edge_types"])),
        query=(int(first), int(last)),
        target=row["target"],
        # A step is written as {conclusion: [premise, premise]}.
        proof=tuple(
            ClutrrProofStep(facts[i], (facts[i + 1], facts[i + 2])) for i in range(0, len(facts), 3)
        ),
    )
