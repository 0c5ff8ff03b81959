"""CLUTRR: the counts of the published sets, and that every story and proof holds together."""

from __future__ import annotations

import importlib
import os
from pathlib import Path

import pytest

from causal_rl.datasets import (
    CLUTRR_RELATIONS,
    Clutrr,
    ClutrrStory,
    DataUnavailableError,
    load_clutrr,
)

needs_data = pytest.mark.skipif(
    not os.environ.get("CAUSAL_RL_DATA"), reason="CAUSAL_RL_DATA names no folder of real data"
)
TEST_COUNTS = {
    "089907f8": [38, 105, 190, 174, 107, 144, 150, 119, 119],
    "db9b8f04": [38, 107, 77, 185, 105, 155, 135, 124, 122],
}
TRAIN_COUNTS = {"089907f8": {2: 5096, 3: 4998}, "db9b8f04": {2: 5063, 3: 4996, 4: 5024}}


@pytest.fixture(scope="module", params=sorted(TEST_COUNTS))
def data(request: pytest.FixtureRequest) -> Clutrr:
    return load_clutrr(request.param)


def _stories(data: Clutrr) -> list[ClutrrStory]:
    return [s for part in (data.train, data.test) for of_k in part.values() for s in of_k]


@needs_data
def test_counts_are_the_published_ones(data: Clutrr) -> None:
    assert {k: len(of_k) for k, of_k in data.train.items()} == TRAIN_COUNTS[data.version]
    assert list(data.test) == list(range(2, 11))
    assert [len(of_k) for of_k in data.test.values()] == TEST_COUNTS[data.version]


@needs_data
def test_edges_lead_from_one_end_of_the_query_to_the_other(data: Clutrr) -> None:
    for story in _stories(data):
        assert len(story.edges) == len(story.relations) == story.k
        assert {i for edge in story.edges for i in edge} == set(range(len(story.entities)))
        reached = {story.query[0]}
        for i, j in story.edges:
            assert i in reached
            reached.add(j)
        assert story.query[1] in reached


@needs_data
def test_every_step_of_a_proof_rests_on_edges_or_later_steps(data: Clutrr) -> None:
    for story in _stories(data):
        assert len(story.proof) == story.k - 1
        known = {(i, r, j) for (i, j), r in zip(story.edges, story.relations, strict=True)}
        for step in reversed(story.proof):
            (i, _, m), (n, _, j) = step.premises
            assert m == n
            assert step.conclusion[::2] == (i, j)
            assert set(step.premises) <= known
            known.add(step.conclusion)
        assert story.proof[0].conclusion == (story.query[0], story.target, story.query[1])


@needs_data
def test_words_and_names_are_what_they_should_be(data: Clutrr) -> None:
    stories = _stories(data)
    used = {r for s in stories for r in (*s.relations, s.target)}
    assert used == set(CLUTRR_RELATIONS)
    assert {r for s in stories for r in s.relations}.isdisjoint({"nephew", "niece", "son-in-law"})
    for story in stories:
        assert len(story.genders) == len(story.entities) == len(set(story.entities))
        assert set(story.genders) <= {"male", "female"}
        assert all(f"[{name}]" in story.text for name in story.entities)


def test_an_unknown_version_is_refused() -> None:
    with pytest.raises(ValueError, match=r"version is '1'; it must be one of 089907f8, db9b8f04"):
        load_clutrr("1")


def test_a_corrupt_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "clutrr" / "data_089907f8.zip"
    path.parent.mkdir()
    path.write_bytes(b"not a zip")
    monkeypatch.setenv("CAUSAL_RL_DATA", str(tmp_path))
    with pytest.raises(ValueError, match=r"data_089907f8\.zip has the checksum"):
        load_clutrr()


def test_a_missing_file_that_cannot_be_fetched_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CAUSAL_RL_DATA", str(tmp_path))
    locate = importlib.import_module("causal_rl.datasets.locate")
    monkeypatch.setattr(locate, "_cache", lambda: tmp_path / "cache")

    def down(*args: object, **keywords: object) -> None:
        raise ConnectionError("no network")

    monkeypatch.setattr("pooch.retrieve", down)
    with pytest.raises(DataUnavailableError, match=r"^clutrr/data_089907f8\.zip is not .*$"):
        load_clutrr()
