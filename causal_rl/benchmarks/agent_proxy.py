"""Which encoders keep their return when distractors that followed the goal betray it?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from causal_rl.agents import evaluate_run_agent
from causal_rl.agents.config import EncoderName
from causal_rl.benchmarks.agent_runs import (
    SMOKE_OPTIONS,
    SMOKE_WORLD,
    run_settings,
    train_cell,
)
from causal_rl.benchmarks.bars import draw_bar
from causal_rl.benchmarks.cells import Cell, Outcome, Row
from causal_rl.benchmarks.report import Findings, Mark, decide, markdown_table
from causal_rl.benchmarks.results import Benchmark, Results
from causal_rl.benchmarks.statistics import (
    Estimate,
    estimate,
    interquartile_mean,
    number,
)
from causal_rl.envs import ProxyOptions

ENV = "proxy-chain-scm"
ENCODERS = ("ecam", "masked-mlp", "mlp", "attention")
#: Shifts by whether a graph can be expected to help under them.
SHIFTS = {"flip": True, "randomise": True, "noise": False, "mechanism": False}
TRAIN = "train"
MARKED = ("ecam", "masked-mlp")
NEEDED_SEEDS = 10
KEPT_MARK = 0.9


def grid(seeds: int, smoke: bool) -> list[Cell]:
    """Seeds outermost; every encoder of a seed meets the same world."""
    options: dict[str, Any] = SMOKE_OPTIONS if smoke else {}
    world: dict[str, Any] = {**SMOKE_WORLD, "distractors": 2} if smoke else {}
    chosen = [name for name in ENCODERS if name in get_args(EncoderName)]
    return [
        Cell(
            {"encoder": encoder, "seed": seed},
            run_settings(
                ENV, ProxyOptions(graph_seed=seed, **world), seed, encoder=encoder, **options
            ),
        )
        for seed in range(min(seeds, 1) if smoke else seeds)
        for encoder in (chosen[:2] if smoke else chosen)
    ]


def run(cell: Cell) -> Outcome:
    """Train once, evaluate in the world as trained on and under every shift."""
    with train_cell(cell) as (folder, trained):
        figures: Row = dict(trained)
        before = figures.pop("return_normalised")
        figures[f"normalised_{TRAIN}"] = before
        for shift in SHIFTS:
            found = evaluate_run_agent(folder, shift=shift).to_dict()
            after = float(found["return_normalised"])
            figures[f"return_{shift}"] = float(found["return_mean"])
            figures[f"normalised_{shift}"] = after
            # A share of a return no better than random is no share of anything.
            learned = isinstance(before, float) and before > 0
            figures[f"kept_{shift}"] = after / float(before or 1.0) if learned else None
    return Outcome(figures)


def findings(results: Results) -> Findings:
    """The marks under flip, the returns, the shares kept, and the shifts without advantage."""
    marks = []
    for encoder in MARKED:
        kept = results.estimate("kept_flip", encoder=encoder)
        values = results.values("kept_flip", encoder=encoder)
        above = int((values >= KEPT_MARK).sum())
        measured = f"mean {kept}; {above} of {values.size} seeds" if kept else "-"
        holds = kept is not None and kept.value >= KEPT_MARK
        marks.append(
            Mark(
                f"{encoder} with the learned graph keeps >= 90 % of its normalised return "
                "under flip",
                measured,
                decide(kept.count if kept else 0, NEEDED_SEEDS, holds),
            )
        )
    steps = sorted({int(value) for value in results.values("env_steps")})
    protocol = [
        f"`{ENV}` with its default options, except that the seed of a run also draws graph, labels "
        f"and mechanisms; all options of training at their defaults but the encoder, "
        f"{' or '.join(f'{s:,}' for s in steps) or 'no'} environment steps.",
        "`ecam` and `masked-mlp` read the graph that their own run learned; `mlp` and `attention` "
        "read every variable.",
        "Distractors follow the goal in training. flip turns their sign, randomise cuts them off; "
        "noise doubles the noise of every variable and mechanism changes the mechanism that the "
        "reward reads: under these two structure is not expected to help.",
        "Normalised return is (return - random) / (oracle - random) with random and oracle of the "
        "same, shifted, world on the same episodes. Kept is normalised return under the shift "
        "over normalised return in training, by seed; it does not exist where the latter is not "
        "above 0.",
    ]
    sections = [
        _table(results, "Normalised return", "normalised", (TRAIN, *SHIFTS)),
        _iqm_table(results),
        _table(results, "Share of the normalised return kept", "kept", tuple(SHIFTS)),
        _differences(results),
        _cost_table(results),
    ]
    return Findings(protocol, marks, sections)


def _encoders(results: Results) -> list[str]:
    return [name for name in ENCODERS if results.select(encoder=name)]


def _table(results: Results, title: str, metric: str, worlds: tuple[str, ...]) -> str:
    lines: list[list[object]] = []
    for encoder in _encoders(results):
        found = [results.estimate(f"{metric}_{world}", encoder=encoder) or "-" for world in worlds]
        lines.append([encoder, *found])
    lines.append(["best mean", *(_best(results, f"{metric}_{world}") for world in worlds)])
    return f"## {title}\n\nMean over seeds.\n\n" + markdown_table(["encoder", *worlds], lines)


def _best(results: Results, metric: str) -> str:
    means = {
        encoder: found.value
        for encoder in _encoders(results)
        if (found := results.estimate(metric, encoder=encoder))
    }
    return max(means, key=lambda name: means[name]) if means else "-"


def _iqm_table(results: Results) -> str:
    worlds = (TRAIN, *SHIFTS)
    lines: list[list[object]] = []
    for encoder in _encoders(results):
        line: list[object] = [encoder]
        for world in worlds:
            values = results.values(f"normalised_{world}", encoder=encoder)
            line.append(estimate(values, interquartile_mean) if values.size else "-")
        lines.append(line)
    return "Interquartile mean over seeds.\n\n" + markdown_table(["encoder", *worlds], lines)


def _differences(results: Results) -> str:
    """What the graph is worth under each shift: ecam against plain attention, seed by seed."""
    lines: list[list[object]] = []
    for with_graph, without in (("ecam", "attention"), ("masked-mlp", "mlp")):
        line: list[object] = [f"{with_graph} - {without}"]
        line += [
            _paired(results, f"normalised_{world}", with_graph, without) or "-"
            for world in (TRAIN, *SHIFTS)
        ]
        lines.append(line)
    expected = ", ".join(shift for shift, helps in SHIFTS.items() if not helps)
    return (
        "## What the graph is worth\n\nDifference of normalised returns, paired by seed; no "
        f"advantage is expected under {expected}.\n\n"
        + markdown_table(["encoders", TRAIN, *SHIFTS], lines)
    )


def _paired(results: Results, metric: str, first: str, second: str) -> Estimate | None:
    found = results.differences(metric, {"encoder": first}, {"encoder": second})
    return estimate(found) if found.size else None


def _cost_table(results: Results) -> str:
    lines: list[list[object]] = []
    for encoder in _encoders(results):
        rows = results.select(encoder=encoder)
        exact = sum(r["shd_contemporaneous"] == 0 and r["shd_lagged"] == 0 for r in rows)
        seconds = results.estimate("seconds", encoder=encoder)
        lines.append(
            [encoder, f"{exact} of {len(rows)}", number(seconds.value if seconds else None)]
        )
    header = ["encoder", "learned graph exact", "seconds a run"]
    return "## Graphs and seconds\n\n" + markdown_table(header, lines)


def figures(results: Results) -> Mapping[str, Figure]:
    """Grouped bars with intervals, every seed a point."""
    figure = Figure(figsize=(13, 4.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    _panel(left, results, "normalised", (TRAIN, *SHIFTS))
    left.set(ylabel="normalised return", title="Return (0 random, 1 oracle of the same world)")
    _panel(right, results, "kept", tuple(SHIFTS))
    right.axhline(KEPT_MARK, color="black", linestyle=":", linewidth=1)
    right.set(ylabel="share kept", title="Share of the training world's return that is kept")
    if left.patches:
        left.legend(fontsize=8)
    return {"shifts.png": figure}


def _panel(axes: Axes, results: Results, metric: str, worlds: tuple[str, ...]) -> None:
    encoders = _encoders(results)
    width = 0.8 / max(len(encoders), 1)
    for index, encoder in enumerate(encoders):
        for place, world in enumerate(worlds):
            found = results.estimate(f"{metric}_{world}", encoder=encoder)
            if found is None:
                continue
            x = place - 0.4 + width * (index + 0.5)
            label = encoder if place == 0 else None
            draw_bar(axes, x, found, f"C{index}", width=0.9 * width, cap=2, label=label)
            values = results.values(f"{metric}_{world}", encoder=encoder)
            spread = x + np.linspace(-0.3, 0.3, values.size) * width
            axes.plot(spread, values, "k.", markersize=2.5)
    axes.axhline(0.0, color="grey", linewidth=0.8)
    axes.set_xticks(range(len(worlds)), worlds)


BENCHMARK = Benchmark(
    name="agent-proxy",
    title="Distractors that follow the goal in training and betray it at test",
    description="Normalised return of four encoders on proxy-chain-scm as trained and under four "
    "shifts, two of which structure is not expected to help with.",
    grid=grid,
    function=run,
    findings=findings,
    figures=figures,
    headline=lambda results: (
        "kept under flip: "
        + ", ".join(
            f"{encoder} {number(found.value)}"
            for encoder in _encoders(results)
            if (found := results.estimate("kept_flip", encoder=encoder))
        )
    ),
)
