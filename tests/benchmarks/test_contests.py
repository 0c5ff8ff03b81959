"""Contests: ours beside the best of the others; and the page that is made of them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from causal_rl.benchmarks import list_benchmarks
from causal_rl.benchmarks.cells import Row
from causal_rl.benchmarks.contests import Contest, Entry, by_method, by_metric, stand
from causal_rl.benchmarks.headlines import HEADLINES, WITHOUT_CONTEST
from causal_rl.benchmarks.index import INDEX_FILE, write_index
from causal_rl.benchmarks.statistics import estimate
from causal_rl.benchmarks.store import read_table

RESULTS = Path(__file__).resolve().parents[2] / "results"


def _rows(**figures: list[float]) -> list[Row]:
    """A row a method and seed, with the figure "error"."""
    return [
        {"method": method.replace("_", "-"), "seed": seed, "error": value}
        for method, values in figures.items()
        for seed, value in enumerate(values)
    ]


def _contest(less: bool = True) -> Contest:
    return Contest("error", *by_method("error", "ours", ("one", "two")), less=less)


@pytest.mark.parametrize(
    ("ours", "less", "verdict"),
    [
        ([1.0, 2.0, 3.0], True, "better"),
        ([1.0, 2.0, 3.0], False, "worse"),
        ([2.0, 2.0, 3.5], True, "even"),
        ([4.0, 5.0, 6.0], True, "worse"),
        ([4.0, 5.0, 6.0], False, "better"),
    ],
)
def test_the_verdict_is_the_side_of_zero_of_paired_differences(
    ours: list[float], less: bool, verdict: str
) -> None:
    # Between seeds the figures overlap; paired they do not.
    rows = _rows(ours=ours, one=[2.0, 3.0, 4.0], two=[2.5, 3.5, 4.5] if less else [1.0, 1.0, 1.0])
    found = stand(_contest(less), rows)
    assert found is not None
    assert found.verdict == verdict


def test_the_best_of_the_others_is_by_mean_on_the_right_side() -> None:
    rows = _rows(ours=[1.0, 1.0], one=[2.0, 4.0], two=[5.0, 0.5])
    less, more = stand(_contest(True), rows), stand(_contest(False), rows)
    assert less is not None
    assert less.best == f"two {estimate([5.0, 0.5])}"
    assert more is not None
    assert more.best == f"one {estimate([2.0, 4.0])}"


def test_rows_are_paired_whatever_their_order() -> None:
    rng = np.random.default_rng(0)
    base = rng.normal(scale=100.0, size=20)
    rows = _rows(ours=list(base), one=list(base + 1.0))
    shuffled = [rows[i] for i in rng.permutation(len(rows))]
    found = stand(_contest(), shuffled)
    assert found is not None
    assert found.verdict == "better"


def test_there_is_no_verdict_without_pairs_and_no_line_without_ours() -> None:
    alone = stand(_contest(), _rows(ours=[1.0, 2.0]))
    assert alone is not None
    assert (alone.best, alone.verdict, alone.claimed) == ("-", "-", "-")
    single = stand(_contest(), _rows(ours=[1.0], one=[2.0]))
    assert single is not None
    assert single.verdict == "-"
    assert stand(_contest(), _rows(one=[1.0, 2.0])) is None
    assert stand(_contest(), []) is None


def test_contenders_may_have_columns_of_their_own() -> None:
    rows: list[Row] = [{"seed": k, "rate_own": 3.0 + k, "rate_peer": 1.0 + k} for k in range(4)]
    contest = Contest("rate", *by_metric("rate_{}", "own", ("peer",)), less=False)
    found = stand(contest, rows)
    assert found is not None
    assert found.verdict == "better"
    # Rows without a number, or with None for one, are left out.
    rows += [{"seed": 9, "rate_own": None, "rate_peer": "x"}]
    assert stand(contest, rows) == found


def test_several_rows_of_a_pair_count_once() -> None:
    rows: list[Row] = [
        {"seed": 0, "world": w, "a": float(w), "b": float(w) + 1.0} for w in range(5)
    ]
    entries = Entry("a", "a", {}), [Entry("b", "b", {})]
    one = stand(Contest("x", *entries, by=("seed",)), rows)
    five = stand(Contest("x", *entries, by=("world", "seed")), rows)
    assert one is not None
    assert one.verdict == "-"
    assert five is not None
    assert five.verdict == "better"


def test_every_benchmark_has_its_headlines() -> None:
    assert sorted([*HEADLINES, *WITHOUT_CONTEST]) == sorted(list_benchmarks())
    assert all(HEADLINES.values())


PUBLISHED = sorted(path.parent.name for path in RESULTS.glob("*/provenance.json"))


@pytest.mark.parametrize("name", [name for name in PUBLISHED if name in HEADLINES])
def test_headlines_find_their_rows(name: str) -> None:
    rows = read_table(RESULTS / name / "raw.csv")
    command = json.loads((RESULTS / name / "provenance.json").read_text())["command"]
    for contest in HEADLINES[name]:
        entries = [contest.ours, *contest.others]
        found = [
            any(
                all(row.get(key) == value for key, value in entry.where.items())
                and row.get(entry.metric) is not None
                for row in rows
            )
            for entry in entries
        ]
        if "--only" in command and not any(found):
            continue  # a part that is not published yet
        assert found[0], f"{contest.asks}: no row of {contest.ours}"
        assert not contest.others or any(found[1:]), f"{contest.asks}: no row of any other"


@pytest.mark.slow
def test_the_page_of_results_is_up_to_date(tmp_path: Path) -> None:
    for name in PUBLISHED:
        (tmp_path / name).mkdir()
        for file in ("provenance.json", "raw.csv"):
            (tmp_path / name / file).symlink_to(RESULTS / name / file)
    write_index(tmp_path)
    assert (tmp_path / INDEX_FILE).read_text() == (RESULTS / INDEX_FILE).read_text()
