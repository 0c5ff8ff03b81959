"""Counterfactually augmented data: counts of the paper, labels, and originals beside revisions."""

from __future__ import annotations

import os
import re
from collections import Counter
from pathlib import Path

import pytest

from causal_rl.datasets import (
    NLI_LABELS,
    RevisedImdb,
    RevisedNli,
    load_revised_imdb,
    load_revised_nli,
)
from causal_rl.datasets.cad import _match

needs_data = pytest.mark.skipif(
    not os.environ.get("CAUSAL_RL_DATA"), reason="CAUSAL_RL_DATA names no folder of real data"
)


@pytest.fixture(scope="module")
def imdb() -> RevisedImdb:
    return load_revised_imdb()


@pytest.fixture(scope="module")
def nli() -> RevisedNli:
    return load_revised_nli()


def _words(text: str) -> set[str]:
    return set(re.findall(r"[a-z0-9']+", text.lower()))


@needs_data
def test_reviews_are_as_many_as_in_the_paper_and_balanced(imdb: RevisedImdb) -> None:
    for split, count in ((imdb.train, 1707), (imdb.dev, 245), (imdb.test, 488)):
        assert len(split.original) == len(split.revised) == count
        positive = sum(review.positive for review in split.original)
        assert abs(positive / count - 0.5) < 0.01


@needs_data
def test_a_revision_has_the_other_sentiment_and_most_of_the_words(imdb: RevisedImdb) -> None:
    for split in (imdb.train, imdb.dev, imdb.test):
        shared = []
        for review, revision in zip(split.original, split.revised, strict=True):
            assert review.positive is not revision.positive
            a, b = _words(review.text), _words(revision.text)
            shared.append(len(a & b) / len(a | b))
        # Reviews of different films share less than a tenth.
        assert min(shared) > 0.25
        assert sum(shared) / len(shared) > 0.75
        assert len({revision.text for revision in split.revised}) == len(split.revised)


@needs_data
def test_a_pair_as_published_with_an_id(imdb: RevisedImdb) -> None:
    assert "how bad this movie is" in imdb.dev.original[0].text
    assert "how good this movie is" in imdb.dev.revised[0].text


def test_texts_are_matched_by_their_rare_words() -> None:
    left = ["a dull film about whales", "the film was a bore on Mars", "nothing in it"]
    right = ["everything in it", "the film was a joy on Mars", "a bright film about whales"]
    assert _match(left, right).tolist() == [2, 1, 0]


@needs_data
def test_sentence_pairs_have_four_revisions_each(nli: RevisedNli) -> None:
    for split, count in ((nli.train, 1666), (nli.dev, 200), (nli.test, 400)):
        assert len(split.original) == len(split.revised) == count
        assert {pair.label for pair in split.original} == set(NLI_LABELS)
        one_sentence_kept = 0
        for pair, group in zip(split.original, split.revised, strict=True):
            labels = Counter(revision.label for revision in group)
            assert labels == {label: 2 for label in NLI_LABELS if label != pair.label}
            same_premise = sum(revision.premise == pair.premise for revision in group)
            same_hypothesis = sum(revision.hypothesis == pair.hypothesis for revision in group)
            one_sentence_kept += same_premise == same_hypothesis == 2
        # In a few the kept sentence was also retyped, or the one to revise was left.
        assert one_sentence_kept > 0.97 * count


def test_a_corrupt_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "cad" / "NLI" / "original" / "train.tsv.gz"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"not packed")
    monkeypatch.setenv("CAUSAL_RL_DATA", str(tmp_path))
    with pytest.raises(ValueError, match=r"original/train\.tsv\.gz has the checksum"):
        load_revised_nli()
