from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import trim_mean

from causal_rl.benchmarks.cells import Row
from causal_rl.benchmarks.report import Findings, Mark, decide, markdown_table, results_text
from causal_rl.benchmarks.results import Results
from causal_rl.benchmarks.statistics import estimate, interquartile_mean, mean, number, summarise
from causal_rl.benchmarks.store import from_text, to_csv

finite = st.floats(-1e6, 1e6)


@given(st.lists(finite, min_size=1, max_size=30))
def test_interquartile_mean_is_the_quarter_trimmed_mean(values: list[float]) -> None:
    expected = trim_mean(values, 0.25)
    assert float(interquartile_mean(np.array(values))) == pytest.approx(expected, abs=1e-6)


def test_interval_covers_the_mean_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    samples = rng.normal(size=(200, 30))
    covered = [(e := estimate(sample)).low <= 0 <= e.high for sample in samples]
    assert 0.88 <= np.mean(covered) <= 0.99


def test_estimates_repeat_and_do_not_depend_on_the_statistic_before() -> None:
    values = [0.1, 0.5, 0.9, 0.2]
    first = estimate(values)
    estimate(values, interquartile_mean)
    assert estimate(values, mean) == first
    assert first.low <= first.value <= first.high
    assert estimate([3.0]).low == estimate([3.0]).high == 3.0


@pytest.mark.parametrize("values", [[], [[1.0]], [1.0, float("nan")]])
def test_estimate_refuses(values: list) -> None:
    with pytest.raises(ValueError, match="values must be"):
        estimate(values)


def test_summary_groups_rows() -> None:
    rows = [{"cell": "1", "kind": k, "seed": s, "x": s + (k == "b")} for k in "ab" for s in (0, 2)]
    lines = summarise(rows, ["kind"], "seed")
    assert [(r["kind"], r["metric"], r["mean"], r["count"]) for r in lines] == [
        ("a", "x", 1.0, 2), ("b", "x", 2.0, 2),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("value", "shown"),
    [(None, "-"), (3, "3"), (2.0, "2"), (0.12345, "0.123"), (-15.04, "-15.0"), (1234.5, "1234")],
)
def test_numbers_for_people(value: float | None, shown: str) -> None:
    assert number(value) == shown


scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False)
)


@given(st.lists(scalars, min_size=1, max_size=5))
def test_tables_keep_values(values: list) -> None:
    row = {f"x{i}": value for i, value in enumerate(values)}
    header, line = to_csv([{"cell": "12e4", **row}]).splitlines()
    read = from_text(dict(zip(header.split(","), line.split(","), strict=True)))
    assert read == {"cell": "12e4", **row}


def test_report_says_what_holds_and_what_is_missing() -> None:
    findings = Findings(["p"], [Mark("x | y", "1", False), Mark("z", "2", None)])
    provenance = {
        "cells": {"planned": 3, "finished": 2, "wall_seconds": 1.0}, "smoke": False,
        "commits": {"abc": 2}, "machine": {"cpu": "c", "cores": 2, "python": "3"},
        "command": "causal-rl benchmark x",
    }  # fmt: skip
    failures = [{"cell": "a=1", "error": "ValueError: no"}]
    text = results_text("T", "D", findings, ["f.png"], provenance, failures)
    assert "| x \\| y | 1 | **falls short** |" in text
    assert "| z | 2 | undecided |" in text
    assert "2 of 3 cells" in text
    assert "- failed: a=1: ValueError: no" in text
    assert "![f](f.png)" in text


def test_marks_wait_for_enough_seeds() -> None:
    assert decide(9, 10, True) is None
    assert decide(10, 10, True) is True
    assert decide(12, 10, False) is False
    assert markdown_table(["a", "b"], [[1, 2]]).splitlines()[1] == "| --- | ---: |"


def test_differences_pair_rows_and_leave_out_those_without_a_partner() -> None:
    rows: list[Row] = [
        {"method": method, "world": world, "seed": seed, "score": score}
        for method, world, seed, score in (
            ("a", "x", 0, 3.0), ("a", "x", 1, 5.0), ("a", "y", 0, 7.0), ("a", "y", 1, None),
            ("b", "x", 1, 1.0), ("b", "x", 0, 2.0), ("b", "y", 1, 9.0),
        )
    ]  # fmt: skip
    results = Results(rows[::-1], [])
    both = results.differences("score", {"method": "a"}, {"method": "b"}, by=("world", "seed"))
    assert both.tolist() == [4.0, 1.0]
    in_x = results.differences(
        "score", {"method": "b", "world": "x"}, {"method": "a", "world": "x"}
    )
    assert in_x.tolist() == [-1.0, -4.0]
    assert results.differences("score", {"method": "a"}, {"method": "c"}).shape == (0,)
