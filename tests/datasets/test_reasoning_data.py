"""SICK, e-CARE and ACRE: counts, label sets, and the answers of ACRE by exhaustion."""

from __future__ import annotations

import importlib
import itertools
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from causal_rl.datasets import (
    ACRE_KINDS,
    NLI_LABELS,
    AcreProblem,
    DataUnavailableError,
    load_acre,
    load_ecare,
    load_sick,
)

needs_data = pytest.mark.skipif(
    not os.environ.get("CAUSAL_RL_DATA"), reason="CAUSAL_RL_DATA names no folder of real data"
)


@needs_data
def test_sick_is_the_set_of_semeval() -> None:
    data = load_sick()
    assert [len(split) for split in (data.train, data.trial, data.test)] == [4500, 500, 4927]
    # The task's description gives these counts of the test labels.
    counts = Counter(pair.label for pair in data.test)
    assert [counts[label] for label in NLI_LABELS] == [1414, 2793, 720]
    scores = [pair.relatedness for pair in (*data.train, *data.trial, *data.test)]
    assert all(score is not None and 1 <= score <= 5 for score in scores)


@needs_data
def test_ecare_has_two_candidates_and_balanced_answers() -> None:
    data = load_ecare()
    assert [len(data.train), len(data.dev)] == [14928, 2132]
    for split in (data.train, data.dev):
        assert {question.ask_for for question in split} == {"cause", "effect"}
        assert {question.answer for question in split} == {0, 1}
        assert abs(sum(question.answer for question in split) / len(split) - 0.5) < 0.03
        assert all(a and b and a != b for a, b in (question.hypotheses for question in split))


def _answer(problem: AcreProblem, objects: tuple[int, ...]) -> str:
    """By trying every set of objects that may set off the light."""
    names = sorted({o for trial in problem.trials for o in trial.objects})
    lights = set()
    for chosen in itertools.product((False, True), repeat=len(names)):
        active = {name for name, on in zip(names, chosen, strict=True) if on}
        if all(bool(active & set(t.objects)) == t.light for t in problem.trials):
            lights.add(bool(active & set(objects)))
    return "undetermined" if len(lights) == 2 else ("off", "on")[lights.pop()]


@needs_data
@pytest.mark.parametrize(("split", "n_objects"), [("iid", 48), ("comp", 24)])
def test_acre_answers_follow_from_the_trials(split: str, n_objects: int) -> None:
    data = load_acre(split)
    assert data.n_objects == n_objects
    assert [len(data.train), len(data.val), len(data.test)] == [2000, 500, 1000]
    for problem in (*data.train, *data.val, *data.test):
        assert [len(problem.trials), len(problem.queries)] == [6, 4]
        named = {o for trial in problem.trials for o in trial.objects}
        assert named <= set(range(n_objects))
        for query in problem.queries:
            assert set(query.objects) <= named
            assert query.kind in ACRE_KINDS
            if query.trial is not None:
                assert set(problem.trials[query.trial].objects) < set(query.objects)
    for problem in data.test[:50]:
        for query in problem.queries:
            assert query.answer == _answer(problem, query.objects)


def test_acre_has_two_splits() -> None:
    with pytest.raises(ValueError, match=r"split is 'sys'; it must be one of iid, comp$"):
        load_acre("sys")


@pytest.mark.parametrize(
    ("load", "name"),
    [
        (load_sick, "sick/SICK_train.txt"),
        (load_ecare, "ecare/dataset/Causal_Reasoning/train.jsonl"),
        (load_acre, "acre_symbolic/IID/train.json.gz"),
    ],
)
def test_a_missing_file_says_where_to_put_it(
    load: Callable[[], object], name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    locate = importlib.import_module("causal_rl.datasets.locate")
    monkeypatch.setattr(locate, "_cache", lambda: tmp_path / "cache")
    monkeypatch.setenv("CAUSAL_RL_DATA", str(tmp_path))
    with pytest.raises(DataUnavailableError, match=rf"^{name} is not at hand .*CAUSAL_RL_DATA"):
        load()
