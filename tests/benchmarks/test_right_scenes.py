"""The scenes part of Table 2, right: its grid, a smoke cell, and verdicts from made-up rows."""

from __future__ import annotations

import pytest

from causal_rl.benchmarks.cells import Row, check_grid
from causal_rl.benchmarks.results import Results
from causal_rl.benchmarks.right_scenes import (
    IRM,
    LEARNED,
    PART,
    SHIFT,
    SPLITS,
    TRANSFORMER,
    VIT,
    VIT_LEARNED,
    cells,
    figures,
    findings,
    run,
)


def _results(gap: float, seeds: int = 5) -> Results:
    rows: list[Row] = []
    for split, methods in SPLITS.items():
        for method in methods:
            for seed in range(seeds):
                better = gap if method in (LEARNED, VIT_LEARNED) else 0.0
                rows.append(
                    {
                        "task": PART, "split": split, "method": method, "seed": seed,
                        "accuracy": 0.6 + better + 0.001 * seed, "parameters": 100,
                    }
                )  # fmt: skip
    return Results(rows, [])


def test_the_grid_has_every_method_of_every_split_once() -> None:
    made = cells(2, smoke=False)
    check_grid(made)
    assert len(made) == 2 * sum(len(methods) for methods in SPLITS.values())
    assert all(set(c.parameters) == {"task", "split", "method", "seed"} for c in made)
    assert {c.parameters["split"] for c in cells(5, smoke=True)} == {SHIFT}


@pytest.mark.parametrize("method", [TRANSFORMER, IRM, VIT])
def test_a_smoke_cell_runs(method: str) -> None:
    cell = next(c for c in cells(1, smoke=True) if c.parameters["method"] == method)
    found = run(cell).figures
    assert 0 <= float(found["accuracy"] or 0) <= 1
    assert run(cell).figures["accuracy"] == found["accuracy"]


def test_methods_have_as_many_parameters() -> None:
    from causal_rl.downstream.pendulum_model import SceneTransformer
    from causal_rl.downstream.pendulum_vit import SceneViT
    from causal_rl.downstream.token_model import TokenOptions, count_parameters

    counts = []
    for cell in cells(1, smoke=False):
        if cell.parameters["split"] == SHIFT:
            vit = cell.parameters["method"] in (VIT, VIT_LEARNED)
            made = (SceneViT if vit else SceneTransformer)(TokenOptions(**cell.part("model")))
            counts.append(count_parameters(made))
    assert max(counts) / min(counts) < 1.05


def test_verdicts_follow_from_the_rows() -> None:
    def verdicts(results: Results) -> set[bool | None]:
        return {mark.holds for mark in findings(results).marks}

    assert verdicts(_results(0.1)) == {True}
    assert verdicts(_results(-0.1)) == verdicts(_results(0.0)) == {False}
    assert verdicts(_results(0.1, seeds=2)) == verdicts(Results([], [])) == {None}


def test_tables_and_figures_of_some_rows_or_none() -> None:
    results, none = _results(0.1), Results([], [])
    sections = "\n".join(findings(results).sections)
    assert all(f"## Scenes: {split}\n" in sections for split in SPLITS)
    assert list(figures(results)) == ["scenes.png"]
    assert figures(none) == {}
    assert not findings(none).sections
