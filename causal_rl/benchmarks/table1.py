"""Table 1: graphs from observational tables, every learner on the same rows, on two scales."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from typing import cast

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from causal_rl.benchmarks import table1_real, table1_text
from causal_rl.benchmarks.bars import draw_bar
from causal_rl.benchmarks.cells import Cell, Outcome, Row
from causal_rl.benchmarks.learners import warmed_learner
from causal_rl.benchmarks.recordings import score_within_step
from causal_rl.benchmarks.results import Benchmark, Results
from causal_rl.benchmarks.static_methods import METHODS, OURS, require_peers
from causal_rl.benchmarks.static_models import (
    MECHANISMS,
    STRUCTURES,
    BoolMatrix,
    Mechanism,
    Structure,
    draw,
)
from causal_rl.benchmarks.statistics import number
from causal_rl.benchmarks.timing import timed_fit
from causal_rl.discovery import GraphLearner
from causal_rl.graphs import CausalGraph, PartialGraph

VARIABLES, DEGREE, ROWS = 10, 2, 1000
SMOKE_VARIABLES, SMOKE_ROWS = 5, 200
SMOKE_METHODS = ("gp-network", "pc", "empty")
SEEDS = 20
# Our options were settled on graphs of another package's generator; none is among these.
FRESH = 1_000


def grid(seeds: int, smoke: bool) -> list[Cell]:
    """Seeds outermost, and the paper's own mechanisms first: a part of the table is a table too."""
    cells = []
    sizes = {
        "variables": SMOKE_VARIABLES if smoke else VARIABLES,
        "degree": 1 if smoke else DEGREE,
        "rows": SMOKE_ROWS if smoke else ROWS,
        "fresh": FRESH,
    }
    names = SMOKE_METHODS if smoke else tuple(METHODS)
    mechanisms = ("mlp",) if smoke else ("mlp", *(m for m in MECHANISMS if m != "mlp"))
    for seed, mechanism in product(range(1 if smoke else seeds), mechanisms):
        for structure, name in product(STRUCTURES, names):
            method = METHODS[name]
            if mechanism in method.skip:
                continue
            options = {f"learner.{k}": v for k, v in method.settings(seed).items()}
            for scale in ("any",) if method.scale_free else ("raw", "standardised"):
                parameters: Row = {
                    "structure": structure, "mechanism": mechanism, "scale": scale,
                    "method": name, "seed": seed,
                }  # fmt: skip
                cells.append(Cell(parameters, {**sizes, **options}))
    if not smoke:
        cells += table1_real.cells(METHODS, seeds)
    return sorted(cells, key=_is_slow)


def _is_slow(cell: Cell) -> bool:
    method = METHODS.get(str(cell.parameters["method"]))
    return method is not None and method.slow


def run(cell: Cell) -> Outcome:
    """Fit one learner to the table that every other learner gets too."""
    if table1_real.is_real(cell):
        return table1_real.run(cell)
    where, settings = cell.parameters, cell.settings
    structure, mechanism = str(where["structure"]), str(where["mechanism"])
    code = (
        STRUCTURES.index(cast(Structure, structure)),
        MECHANISMS.index(cast(Mechanism, mechanism)),
    )
    rng = np.random.default_rng([settings["fresh"] + int(where["seed"] or 0), *code])
    drawn = draw(
        cast(Structure, structure),
        cast(Mechanism, mechanism),
        d=settings["variables"],
        degree=settings["degree"],
        rows=settings["rows"],
        rng=rng,
    )
    method, options = METHODS[str(where["method"])], cell.part("learner")
    table = drawn.values if where["scale"] == "raw" else drawn.standardised()
    learner = warmed_learner(method.learner, options)
    graph, seconds = timed_fit(learner, table)
    return Outcome(
        {
            **score_within_step(graph, drawn.adjacency),
            "cpdag_shd": _class_distance(learner, graph, drawn.adjacency),
            "seconds": round(seconds, 4),
        }
    )


def _class_distance(learner: GraphLearner, graph: CausalGraph, adjacency: BoolMatrix) -> int | None:
    """SHD of the learned equivalence class from the true one; None of a cyclic graph."""
    found = learner.equivalence_class_
    if found is None:
        if not graph.is_acyclic:
            return None
        found = PartialGraph.cpdag(graph)
    truth = PartialGraph.cpdag(CausalGraph(adjacency, names=graph.names))
    return found.compare(truth).shd


def figures(results: Results) -> Mapping[str, Figure]:
    """SHD of every row of the table, a panel for each kind of data."""
    kinds = table1_text.kinds(results)
    figure = Figure(figsize=(13, 3.4 * max(len(kinds), 1)), layout="constrained")
    panels = np.atleast_1d(figure.subplots(max(len(kinds), 1), 1))
    for axes, (mechanism, structure) in zip(panels, kinds, strict=False):
        _bars(axes, results, mechanism, structure)
    return {"shd.png": figure, **table1_real.figures(results)}


def _bars(axes: Axes, results: Results, mechanism: str, structure: str) -> None:
    # The full graph is far off every scale; it is in the table.
    names = [n for n in table1_text.methods(results) if n != "full"]
    for shift, scale, color in ((-0.2, "raw", "C1"), (0.2, "standardised", "C0")):
        for place, name in enumerate(names):
            where = {"mechanism": mechanism, "structure": structure}
            values = table1_text.values(results, "shd", name, scale, **where)
            found = table1_text.estimated(results, "shd", name, scale, **where)
            if found is None:
                continue
            x = place + shift
            label = scale if place == 0 else None
            draw_bar(axes, x, found, color, width=0.38, cap=2, label=label)
            axes.plot(x + np.linspace(-0.12, 0.12, values.size), values, "k.", markersize=2)
    axes.set_xticks(range(len(names)), names, rotation=25, ha="right", fontsize=8)
    axes.set(title=f"{mechanism} mechanisms, {structure} graphs", ylabel="SHD [edges]")
    axes.legend(fontsize=7)


def _headline(results: Results) -> str:
    parts = []
    for mechanism, structure in table1_text.kinds(results):
        where = {"mechanism": mechanism, "structure": structure}
        found = table1_text.estimated(results, "shd", OURS, "standardised", **where)
        if found is not None:
            parts.append(f"{mechanism} {structure} {number(found.value)}")
    return f"SHD of {OURS}: {', '.join(parts) or '-'}"


BENCHMARK = Benchmark(
    name="table1",
    title="Table 1: graphs from observational tables",
    description="SHD, SID, F1, CPDAG distance and seconds of every graph learner and the strongest "
    "baselines on linear, MLP and Gaussian-process models, raw and standardised.",
    grid=grid,
    function=run,
    findings=table1_text.findings,
    figures=figures,
    headline=_headline,
    prepare=require_peers,
    seeds=SEEDS,
)
