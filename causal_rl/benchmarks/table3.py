"""Table 3: what each part of ECAM is worth, on graphs, effects and composition."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from causal_rl.benchmarks import table3_effects, table3_graphs, table3_stories, table3_text
from causal_rl.benchmarks.bars import draw_bar
from causal_rl.benchmarks.cells import Cell, Outcome
from causal_rl.benchmarks.results import Benchmark, Results
from causal_rl.benchmarks.statistics import estimate, number
from causal_rl.benchmarks.table3_rows import CLUTRR, COLUMNS, FULL, METRICS, UNITS, measured

_PARTS = dict(zip(COLUMNS, (table3_graphs, table3_effects, table3_stories), strict=True))
#: Seeds of worlds, rows and first weights from here on; none was looked at in development.
FRESH = 73_000
SEEDS = 10


def grid(seeds: int, smoke: bool) -> list[Cell]:
    """All cells, seeds outermost within a column."""
    return [cell for part in _PARTS.values() for cell in part.cells(seeds, smoke, FRESH)]


def run(cell: Cell) -> Outcome:
    """Run a cell by its column."""
    outcome: Outcome = _PARTS[str(cell.parameters["column"])].run(cell)
    return outcome


def figures(results: Results) -> Mapping[str, Figure]:
    """A panel a column with all rows, and CLUTRR by the length of the story."""
    made = {}
    bars = Figure(figsize=(12, 4.5), layout="constrained")
    for axes, column in zip(bars.subplots(1, len(COLUMNS)), COLUMNS, strict=True):
        labels: list[str] = []
        for row in measured(column):
            values = table3_text.figures_of(results, column, row)
            if values:
                found = estimate(list(values.values()))
                draw_bar(axes, len(labels), found, "C0" if row == FULL else "C7")
                labels.append(row)
        axes.set_xticks(range(len(labels)), labels, rotation=60, ha="right", fontsize=8)
        axes.set_ylabel(UNITS[column])
    made["table3.png"] = bars
    curves = Figure(figsize=(6.5, 4.2), layout="constrained")
    axes = curves.subplots()
    for place, row in enumerate(measured(CLUTRR)):
        by_k = table3_text.lengths(results, row)
        if by_k:
            middle = [found.value for found in by_k.values()]
            axes.plot(list(by_k), middle, "o-", color=f"C{place}", markersize=3, label=row)
            axes.fill_between(
                list(by_k),
                [found.low for found in by_k.values()],
                [found.high for found in by_k.values()],
                color=f"C{place}",
                alpha=0.12,
            )
    axes.set(xlabel="edges of the story", ylabel="accuracy", ylim=(0.0, 1.02))
    if axes.lines:
        axes.legend(fontsize=7, loc="center left", bbox_to_anchor=(1.0, 0.5))
        made["lengths.png"] = curves
    return made


def _headline(results: Results) -> str:
    words = []
    for column in COLUMNS:
        values = list(table3_text.figures_of(results, column, FULL).values())
        if values:
            words.append(f"{METRICS[column]} {number(float(np.mean(values)))}")
    return f"full row: {', '.join(words) or '-'}"


BENCHMARK = Benchmark(
    name="table3",
    title="Table 3: what each part is worth",
    description="SHD of learned graphs, PEHE of effects and CLUTRR's accuracy with one part of "
    "ECAM taken away or changed at a time, held against the full row seed by seed.",
    grid=grid,
    function=run,
    findings=table3_text.findings,
    figures=figures,
    headline=_headline,
    seeds=SEEDS,
    devices=True,
)
