"""The text part of Table 2, right: its grid, a smoke cell where data are, verdicts from rows."""

from __future__ import annotations

import os

import numpy as np
import pytest

from causal_rl.benchmarks.cells import Row, check_grid
from causal_rl.benchmarks.results import Results
from causal_rl.benchmarks.right_text import (
    ECARE,
    LEARNED,
    PART,
    SICK,
    SPLITS,
    _right,
    cells,
    figures,
    findings,
    run,
)
from causal_rl.downstream.text_model import TextTransformer
from causal_rl.downstream.token_model import TokenOptions, count_parameters


def _results(gap: float) -> Results:
    rows: list[Row] = [
        {
            "task": PART, "split": split, "method": method, "seed": seed, "parameters": 100,
            "accuracy": 0.6 + (gap if method == LEARNED else 0.0) + 0.001 * seed,
            "accuracy_in": 0.7, "accuracy_both": 0.5, "most_frequent": 0.5,
        }
        for split, methods in SPLITS.items() for method in methods for seed in range(5)
    ]  # fmt: skip
    return Results(rows, [])


def test_the_grid_has_every_method_of_every_split_once() -> None:
    made = cells(2, smoke=False)
    check_grid(made)
    assert len(made) == 2 * sum(len(methods) for methods in SPLITS.values())
    assert all(set(c.parameters) == {"task", "split", "method", "seed"} for c in made)
    assert len(cells(5, smoke=True)) == 2


def test_methods_have_as_many_parameters() -> None:
    for split, most in ((SICK, 1868), (ECARE, 6002)):
        counts = {
            count_parameters(TextTransformer(most, 40, 2, TokenOptions(**c.part("model"))))
            for c in cells(1, smoke=False)
            if c.parameters["split"] == split
        }
        assert max(counts) / min(counts) < 1.05


@pytest.mark.skipif(
    not os.environ.get("CAUSAL_RL_DATA"), reason="CAUSAL_RL_DATA names no folder of real data"
)
@pytest.mark.parametrize("number", [0, 1])
def test_a_smoke_cell_runs(number: int) -> None:
    found = run(cells(1, smoke=True)[number]).figures
    assert 0.3 < float(found["accuracy"] or 0) < 0.7
    assert float(found["accuracy_both"] or 0) <= float(found["accuracy"] or 0)


def test_of_two_candidates_the_higher_score_is_the_answer() -> None:
    logits = np.array([[0.0, -1.0], [0.0, -2.0], [0.0, 3.0], [0.0, 4.0]])
    labels = np.array([1, 0, 1, 0])
    assert _right(logits, labels, ECARE).tolist() == [True, False]
    assert _right(logits, labels, SICK).tolist() == [False, True, True, False]


def test_verdicts_follow_from_the_rows() -> None:
    def verdicts(results: Results) -> set[bool | None]:
        return {mark.holds for mark in findings(results).marks}

    assert verdicts(_results(0.1)) == {True}
    assert verdicts(_results(-0.1)) == {False}
    assert verdicts(Results([], [])) == {None}
    tables = findings(_results(0.0)).sections
    assert [table.splitlines()[0] for table in tables] == [f"## Text: {split}" for split in SPLITS]
    assert list(figures(_results(0.0))) == ["text.png"]
    assert figures(Results([], [])) == {}
