"""Every graph learner on every world: what can be found where, and what cannot."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from causal_rl.benchmarks.cells import Cell, Outcome, Row
from causal_rl.benchmarks.learners import METHODS, OURS, Method, require_peers, warmed_learner
from causal_rl.benchmarks.recordings import record, score
from causal_rl.benchmarks.report import Findings, markdown_table
from causal_rl.benchmarks.results import Benchmark, Results
from causal_rl.benchmarks.statistics import number
from causal_rl.benchmarks.timing import timed_fit
from causal_rl.discovery import Transitions, learner_options
from causal_rl.envs import GYM_DYNAMICS, random_transitions, resolve_spec, sortability
from causal_rl.envs.worlds import BUILT_IN
from causal_rl.graphs import CausalGraph

ROWS, SMOKE_ROWS = 5_000, 400
#: NOTEARS takes its time in proportion to the rows, and its graphs hardly depend on them.
NOTEARS_ROWS = 1_000
SMOKE_WORLDS = ("chain-scm", "front-door", "cartpole")
SMOKE_METHODS = (OURS, "algorithm5-linear", "empty")
# On graph seeds below this the default learner's floors were settled.
FRESH_GRAPHS = 1000


def grid(seeds: int, smoke: bool) -> list[Cell]:
    """Seeds outermost, so that a table of few seeds is there soon: world x method."""
    cells = []
    names = [*BUILT_IN, *GYM_DYNAMICS]
    for seed in range(min(seeds, 1) if smoke else seeds):
        for world in names:
            if smoke and world not in SMOKE_WORLDS:
                continue
            for name, method in METHODS.items():
                if smoke and name not in SMOKE_METHODS:
                    continue
                rows = SMOKE_ROWS if smoke else NOTEARS_ROWS if name == "notears" else ROWS
                parameters: Row = {"world": world, "method": name, "rows": rows, "seed": seed}
                cells.append(Cell(parameters, _settings(world, method, seed, smoke)))
    return cells


def _settings(world: str, method: Method, seed: int, smoke: bool) -> dict[str, Any]:
    options = learner_options(method.learner) | dict(method.options)
    options |= dict(method.smoke) if smoke else {}
    options |= {"seed": seed} if method.seeded else {}
    made: dict[str, Any] = {}
    if world in BUILT_IN:
        fields = {field.name for field in dataclasses.fields(BUILT_IN[world].options)}
        made = {"graph_seed": FRESH_GRAPHS + seed} if "graph_seed" in fields else {}
        made = dataclasses.asdict(BUILT_IN[world].options(**made))
    return {
        **{f"world.{key}": value for key, value in made.items()},
        **{f"learner.{key}": value for key, value in options.items()},
    }


def run(cell: Cell) -> Outcome:
    """Fit one learner to the rows that every other learner gets too."""
    method, options = METHODS[str(cell.parameters["method"])], cell.part("learner")
    data, truth, leaks = _data(cell)
    learner = warmed_learner(method.learner, options)
    graph, seconds = timed_fit(learner, data)
    figures = score(graph, truth, lagged=method.lagged)
    return Outcome({**figures, **leaks, "seconds": round(seconds, 4)})


def _data(cell: Cell) -> tuple[Transitions, CausalGraph, Row]:
    """The transitions of a cell's world, its true graph, and how far its order leaks."""
    world, rows = str(cell.parameters["world"]), int(cell.parameters["rows"] or 0)
    seed = FRESH_GRAPHS + int(cell.parameters["seed"] or 0)
    if world in GYM_DYNAMICS:
        known = GYM_DYNAMICS[world]
        drawn = random_transitions(known, rows, np.random.default_rng(seed))
        return drawn.without_contexts(), known.causal_graph, {}
    spec = resolve_spec(world, **cell.part("world"))
    recorded = record(spec, rows, seed=seed, interventions=True)
    return recorded.without_contexts(), spec.causal_graph, {**sortability(spec)}


def findings(results: Results) -> Findings:
    """A table for each block and metric: worlds down, learners across."""
    protocol = [
        f"{ROWS:,} transitions of uniformly random interventions (NOTEARS, whose time grows with "
        f"the rows, gets the first {NOTEARS_ROWS:,}); seed k draws graph, labels and mechanisms as "
        f"graph seed {FRESH_GRAPHS} + k where the world has such, and the data everywhere. "
        "Gymnasium's simulators run under a uniformly random policy; their action is a variable "
        "that is set at every step.",
        "Data and graphs are over the observed state and action variables, without contexts and "
        "reward. Truth is the graph derived from the specification (hidden variables "
        "marginalised). All learners have their defaults; no option is chosen by the truth.",
        "Without the context `goal`, what follows it (the proxies of `proxy-chain-scm` and "
        "`cues-scm`) is confounded for every learner: most of the false edges there are of that "
        "kind.",
        "NOTEARS and DAGMA have no lagged block and ignore interventions. Where a world is "
        "confounded, categorical or deterministic, the assumptions of every learner here are "
        "broken; the table shows by how much.",
        "SHD counts a reversal once. Varsortability and R2-sortability of the world left to "
        "itself: .5 says nothing about the order, 0 and 1 give it away.",
    ]
    sections = [
        _table(results, "shd_contemporaneous", "Within step: SHD (mean; true edges)"),
        _table(results, "f1_contemporaneous", "Within step: F1"),
        _table(results, "shd_lagged", "From step to step: SHD (mean; true edges)"),
        _table(results, "f1_lagged", "From step to step: F1"),
        _leaks(results),
        _winners(results),
        _seconds(results),
    ]
    return Findings(protocol, (), sections)


def _worlds(results: Results) -> list[str]:
    return list(dict.fromkeys(str(row["world"]) for row in results.rows))


def _methods(results: Results) -> list[str]:
    return [name for name in METHODS if results.select(method=name)]


def _table(results: Results, metric: str, title: str) -> str:
    block = metric.rpartition("_")[2]
    methods = [name for name in _methods(results) if block != "lagged" or METHODS[name].lagged]
    lines: list[list[object]] = []
    for world in _worlds(results):
        edges = results.values(f"n_true_{block}", world=world, method="empty")
        true = f"{edges.mean():.1f}" if edges.size else "-"
        cells = [results.values(metric, world=world, method=name) for name in methods]
        lines.append([world, true, *(f"{c.mean():.2f}" if c.size else "-" for c in cells)])
    return f"## {title}\n\n" + markdown_table(["world", "edges", *methods], lines)


def _leaks(results: Results) -> str:
    lines: list[list[object]] = []
    for world in _worlds(results):
        found = [
            results.estimate(metric, world=world, method="empty")
            for metric in ("varsortability", "r2_sortability")
        ]
        lines.append([world, *(e or "-" for e in found)])
    header = ["world", "varsortability", "R2-sortability"]
    return "## What sorting would tell\n\n" + markdown_table(header, lines)


def _winners(results: Results) -> str:
    """Say where another method's mean is better than the default learner's."""
    lines = []
    for world in _worlds(results):
        for metric in ("shd_contemporaneous", "shd_lagged"):
            values = {
                name: results.values(metric, world=world, method=name) for name in _methods(results)
            }
            means = {name: float(v.mean()) for name, v in values.items() if v.size}
            ours = means.pop(OURS, None)
            better = {n: m for n, m in means.items() if ours is not None and m < ours}
            if better:
                best = min(better, key=lambda n: better[n])
                lines.append(
                    f"- {world}, {metric}: {best} {number(better[best])}, {OURS} {number(ours)}"
                )
    text = "\n".join(lines) or "Nowhere among these means."
    return f"## Where another learner is better than {OURS} (the best of them)\n\n{text}"


def _seconds(results: Results) -> str:
    lines: list[list[object]] = []
    for name in _methods(results):
        values = results.values("seconds", method=name)
        lines.append([name, f"{np.median(values):.2f}", f"{values.max():.2f}"])
    return "## Processor seconds of a fit\n\n" + markdown_table(
        ["learner", "median", "longest"], lines
    )


def figures(results: Results) -> Mapping[str, Figure]:
    """F1 of every learner on every world, a panel a block."""
    figure = Figure(figsize=(13, 0.3 * len(_worlds(results)) + 2), layout="constrained")
    panels = figure.subplots(1, 2)
    for axes, block in zip(panels, ("contemporaneous", "lagged"), strict=True):
        worlds, methods = _worlds(results), _methods(results)
        grid_ = np.full((len(worlds), len(methods)), np.nan)
        for i, world in enumerate(worlds):
            for j, name in enumerate(methods):
                values = results.values(f"f1_{block}", world=world, method=name)
                if values.size:
                    grid_[i, j] = values.mean()
        image = axes.imshow(grid_, vmin=0.0, vmax=1.0, cmap="viridis", aspect="auto")
        axes.set_xticks(range(len(methods)), methods, rotation=40, ha="right", fontsize=8)
        axes.set_yticks(range(len(worlds)), worlds, fontsize=8)
        axes.set_title("within step" if block == "contemporaneous" else "from step to step")
        for (i, j), value in np.ndenumerate(grid_):
            if not np.isnan(value):
                colour = "white" if value < 0.6 else "black"
                axes.text(j, i, f"{value:.2f}", ha="center", va="center", fontsize=6, color=colour)
        figure.colorbar(image, ax=axes, label="F1")
    return {"recovery.png": figure}


def _headline(results: Results) -> str:
    values = results.values("f1_contemporaneous", method=OURS)
    return f"mean F1 of {OURS} over worlds {values.mean():.2f}" if values.size else ""


BENCHMARK = Benchmark(
    name="world-recovery",
    title="Every learner on every world",
    description="SHD and F1 of every graph learner of the package on every world of the suite, "
    "with empty, full and random graphs beside them.",
    grid=grid,
    function=run,
    findings=findings,
    figures=figures,
    headline=_headline,
    prepare=require_peers,
)
