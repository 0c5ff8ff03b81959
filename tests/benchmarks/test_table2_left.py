"""The left half of Table 2: its grid, and what it says about made-up rows."""

from __future__ import annotations

import pytest

from causal_rl.benchmarks import table2_text
from causal_rl.benchmarks.cells import Row, check_grid
from causal_rl.benchmarks.results import Results
from causal_rl.benchmarks.table2_left import BENCHMARK
from causal_rl.benchmarks.table2_methods import COLUMNS, KNOWS, LEARNED, METHODS, OURS, OURS_REAL


def rows(ours: float, other: float, ihdp: float) -> list[Row]:
    made: list[Row] = []
    for seed in range(25):
        for data in table2_text.WORLDS:
            for knows, name, value in ((LEARNED, OURS, ours), (COLUMNS, "transformer", other)):
                spread = value * (1 + 0.01 * seed)
                made.append(
                    {
                        "data": data, "knows": knows, "seed": seed,
                        f"{name}: pehe squared": spread, f"{name}: pehe": spread**0.5,
                        f"{name}: ate error": 0.1, f"{name}: ate error squared": 0.01,
                        f"{name}: seconds": 1.0, "shd": 1, "clean": True, "valid": True,
                        "graph seconds": 2.0,
                    }
                )  # fmt: skip
    for seed in range(20):
        pehe = 30.0 if seed == table2_text.OUTLYING else ihdp
        made.append(
            {
                "data": "ihdp", "knows": COLUMNS, "seed": seed, f"{OURS_REAL}: pehe": pehe,
                f"{OURS_REAL}: pehe, train": pehe, f"{OURS_REAL}: ate error": 0.1,
            }
        )  # fmt: skip
    return made


def test_every_method_stands_in_the_grid_and_no_cell_twice() -> None:
    cells = BENCHMARK.grid(25, False)
    check_grid(cells)
    assert len(cells) == 2 * 25 * len(KNOWS) + 20 + 5 + 1
    assert {name for cell in cells for name in cell.part("method")} == set(METHODS)


@pytest.mark.parametrize(("ours", "ihdp", "holds"), [(0.1, 0.4, True), (0.2, 0.6, False)])
def test_marks_are_read_off_the_rows(ours: float, ihdp: float, holds: bool) -> None:
    findings = BENCHMARK.findings(Results(rows(ours, 0.5, ihdp), []))
    first, better, *real = findings.marks
    assert first.holds is holds
    assert better.holds is True
    assert [mark.holds for mark in real] == [holds, holds]
    text = "\n".join(findings.sections)
    assert "ecam, learned graph" in text
    assert "## IHDP" in text


def test_a_part_of_the_rows_decides_nothing() -> None:
    findings = BENCHMARK.findings(Results(rows(0.1, 0.5, 0.4)[:6], []))
    assert all(mark.holds is None for mark in findings.marks)
    assert BENCHMARK.findings(Results([], [])).sections == []
