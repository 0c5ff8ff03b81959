from __future__ import annotations

import csv
from pathlib import Path

import pytest
import torch

from causal_rl.benchmarks.attention import BASE, LABELS, PASSES, SMOKE_SHAPES, run


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("results") / "attention"
    threads = torch.get_num_threads()
    run(out, smoke=True)
    assert torch.get_num_threads() == threads
    return out


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_every_cell_is_there_once(results: Path) -> None:
    raw, summary = read(results / "raw.csv"), read(results / "summary.csv")
    cells = [(r["batch"], r["n"], r["pass"], r["peer"]) for r in summary]
    expected = {
        (str(batch), str(n), kind, peer)
        for batch, n in SMOKE_SHAPES
        for kind in PASSES
        for peer in LABELS
    }
    assert len(cells) == len(expected)
    assert set(cells) == expected
    assert len(raw) == 3 * len(cells)
    assert all(float(r["microseconds"]) > 0 for r in raw)


def test_ratios_are_those_of_the_raw_times(results: Path) -> None:
    raw = read(results / "raw.csv")
    base = {
        (r["batch"], r["n"], r["pass"], r["repeat"]): float(r["microseconds"])
        for r in raw
        if r["peer"] == BASE
    }
    for r in raw:
        expected = float(r["microseconds"]) / base[r["batch"], r["n"], r["pass"], r["repeat"]]
        assert float(r["ratio"]) == pytest.approx(expected, rel=1e-3, abs=1e-3)


def test_report_and_figure(results: Path) -> None:
    report = (results / "RESULTS.md").read_text()
    assert all(label in report for label in LABELS.values())
    assert (results / "cost.png").read_bytes().startswith(b"\x89PNG")
    assert {path.name for path in results.iterdir()} == {
        "RESULTS.md", "cost.png", "raw.csv", "summary.csv"
    }  # fmt: skip
