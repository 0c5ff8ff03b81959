"""Counterfactually augmented data (Kaushik et al. 2020): texts revised so that the label changes.

People were asked to change as little of a film review, or of one sentence of a pair, as it takes
to make another label right. A cue that merely goes with the label tends to stay.
"""

from __future__ import annotations

import csv
import gzip
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from causal_rl.datasets.locate import DataFile, locate
from causal_rl.datasets.sentence_pairs import SentencePair

_SOURCE = (
    "https://raw.githubusercontent.com/acmi-lab/counterfactually-augmented-data/"
    "24d94ba4fccde76af36b051d5ca8acb9d5b8f084"
)
#: Checksums of the packed file and of the plain one as published.
_FILES = {
    "sentiment/orig/train": (
        "4e5207251bbc283be355c16aa8ed501dcd242e5f8017948d2164c161cbc4249b",
        "adccf2763b67ddbfbd4571b7ee96c9bb689e98c4295e779151148c014b2b1050",
    ),
    "sentiment/orig/dev": (
        "21f0d5a7507481fd51582b7d35985c2b9f742e38c02c6aa6fc6241b3768451ba",
        "b7d815d31ddc6eed7bdeb9dc78e18db88ebb22dd347cf72cc797791edfd7bab0",
    ),
    "sentiment/orig/test": (
        "ccd57129df91cba77060f5ed8be8a76427b6b1dad150bafad7eef2141dafa4f3",
        "35e8fab251220685ae47f95ef86bad1fd7fa0017a6ce4afe803ab18a71ff61ff",
    ),
    "sentiment/new/train": (
        "06af86a55909da1491a5d0ad55eb83df741e2b68b4c40f8aea06a224a505f1fa",
        "c9f65a2425e9aa358082040961d9d0e215fb8631b85242cbb410b82f9c62c0d4",
    ),
    "sentiment/new/dev": (
        "a6dd572471dbdacccc1b6c1b48127ca357e1e8f2ae641249c9ced88a98acefc0",
        "69f559bfbf9eb2e0545d2d2f14482a699ec81f94e2bca110e4fa15670fdf78e6",
    ),
    "sentiment/new/test": (
        "58e85a4f5a1b82bc6674fcae4f08ac15779cd2e60ed4b74ad587c06e9a8a58bf",
        "28d32ca405131d87ef095109cc1764d6e917a3df63584b2f16e9465020b7f29d",
    ),
    "NLI/original/train": (
        "82844488a4651a1928e0cb4f01ab5d06e7027c439ed32aa2f36ca3357d7fdcb7",
        "016b1657b1c0eb89e163aa194e5e2da6ca890fd6e97ee42c33de914e7e0a7ce6",
    ),
    "NLI/original/dev": (
        "0db7527cb341c43fe34e4c664604da6aa3a01547410479425cd96066fbbeb487",
        "27ef042f87b7181c79609b56734caed8fb9c09ba2627d0fe876f7248141fdff7",
    ),
    "NLI/original/test": (
        "0e3954675be1bd10b4502faf72f277ee3235cd33a4043d5ce5694f121ecc1de9",
        "07154b31ea7cf1bb0ac33e37bec143b928edbf2c964a73988973e5c0fe039b07",
    ),
    "NLI/revised_combined/train": (
        "8cdecb7629e3eebf7ee59b6de3051bccba8ddd99083b81410e3f3f6798a590b8",
        "054a8cf808bcd4a5b3a849eba4e6c1fb49f2f789e3a0f88d21e05f3f38fa5428",
    ),
    "NLI/revised_combined/dev": (
        "3bbcd584f4ba9b465f14e70f886d3d9ea24f74927a25cf96d9ab4c4db190b642",
        "ff7d6d40a26c5bca5b9d9030db14000a42fbf5bc8a0e6d0d86cc9b378198eb88",
    ),
    "NLI/revised_combined/test": (
        "fef8cb3868d859b388d5f452ef63df826782bf7f1b359d514c327e93ed77e215",
        "e5a3e55f7df0319decbb34dfa8ab4a4820be1b5ae4af9ee54aeaba539b9636f5",
    ),
}
_SPLITS = ("train", "dev", "test")
#: Revisions of every pair of sentences: two of each sentence.
_REVISIONS = 4


@dataclass(frozen=True)
class Review:
    """A film review.

    Attributes:
        text: as published, with ``<br />`` between paragraphs.
        positive: its sentiment.
    """

    text: str
    positive: bool


@dataclass(frozen=True)
class RevisedReviews:
    """One split: review i and its revision.

    Attributes:
        original: reviews.
        revised: as many; ``revised[i]`` is ``original[i]`` revised to the other sentiment.
    """

    original: tuple[Review, ...]
    revised: tuple[Review, ...]


@dataclass(frozen=True)
class RevisedImdb:
    """The three splits of the reviews."""

    train: RevisedReviews
    dev: RevisedReviews
    test: RevisedReviews


@dataclass(frozen=True)
class RevisedPairs:
    """One split: pair i and its four revisions.

    Attributes:
        original: pairs of sentences.
        revised: as many groups of four, each towards one of the two other labels: two have a
            revised premise and two a revised hypothesis, in no fixed order.
    """

    original: tuple[SentencePair, ...]
    revised: tuple[tuple[SentencePair, ...], ...]


@dataclass(frozen=True)
class RevisedNli:
    """The three splits of the pairs of sentences, which come from SNLI."""

    train: RevisedPairs
    dev: RevisedPairs
    test: RevisedPairs


def load_revised_imdb() -> RevisedImdb:
    """Load film reviews and their revisions: 1,707 / 245 / 488 of each.

    The published files do not say which revision belongs to which review; revisions are matched
    to reviews of the other sentiment by the words they share.

    Raises:
        DataUnavailableError: a file is not at hand and cannot be fetched.
        ValueError: a file is not the published one.
    """
    return RevisedImdb(*(_reviews(split) for split in _SPLITS))


def load_revised_nli() -> RevisedNli:
    """Load pairs of sentences, 1,666 / 200 / 400, and four revisions of each.

    Raises:
        DataUnavailableError: a file is not at hand and cannot be fetched.
        ValueError: a file is not the published one.
    """
    return RevisedNli(*(_pairs(split) for split in _SPLITS))


def _reviews(split: str) -> RevisedReviews:
    original, revised = (
        tuple(
            Review(row["Text"], row["Sentiment"] == "Positive")
            for row in _rows(f"sentiment/{kind}/{split}")
        )
        for kind in ("orig", "new")
    )
    order = np.empty(len(original), dtype=np.int64)
    for positive in (False, True):
        here = [i for i, review in enumerate(original) if review.positive is positive]
        there = [i for i, review in enumerate(revised) if review.positive is not positive]
        match = _match([original[i].text for i in here], [revised[i].text for i in there])
        order[here] = np.asarray(there)[match]
    return RevisedReviews(original, tuple(revised[i] for i in order))


def _pairs(split: str) -> RevisedPairs:
    original, revised = (
        tuple(
            SentencePair(row["sentence1"], row["sentence2"], row["gold_label"])
            for row in _rows(f"NLI/{kind}/{split}")
        )
        for kind in ("original", "revised_combined")
    )
    groups = (revised[i : i + _REVISIONS] for i in range(0, len(revised), _REVISIONS))
    return RevisedPairs(original, tuple(groups))


def _match(left: Sequence[str], right: Sequence[str]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """For each text on the left its partner: the matching with the most words shared in all.

    A word counts the more the fewer texts have it, and relative to the lengths of both texts.
    """
    from scipy.optimize import linear_sum_assignment
    from scipy.sparse import csr_array

    columns: dict[str, int] = {}
    place: list[tuple[int, int]] = []
    for row, text in enumerate([*left, *right]):
        words = set(re.findall(r"[a-z0-9']+", text.lower()))
        place += [(row, columns.setdefault(word, len(columns))) for word in sorted(words)]
    rows, cols = np.array(place).T
    weight = np.log((len(left) + len(right)) / np.bincount(cols))
    table = csr_array((weight[cols], (rows, cols)))
    norms = np.sqrt(table.multiply(table).sum(axis=1))
    a, b = table[: len(left)], table[len(left) :]
    alike = (a @ b.T).toarray() / np.outer(norms[: len(left)], norms[len(left) :])
    return np.asarray(linear_sum_assignment(alike, maximize=True)[1], dtype=np.int64)


def _rows(name: str) -> list[dict[str, str]]:
    packed, plain = _FILES[name]
    path = locate(
        DataFile(f"cad/{name}.tsv.gz", packed),
        DataFile(f"cad/{name}.tsv", plain, f"{_SOURCE}/{name}.tsv"),
    )
    content = path.read_bytes()
    if path.suffix == ".gz":
        content = gzip.decompress(content)
    return list(csv.DictReader(io.StringIO(content.decode("utf-8")), delimiter="\t"))
