"""Is the graph that ABCD reads from attention nearer the truth than what needs no attention?"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from causal_rl.benchmarks.abcd_readings import (
    DRAWN,
    FRESH,
    MENDED,
    MENDED_FEW,
    PRINTED,
    PRINTED_MEAN,
    SESSIONS,
    run,
)
from causal_rl.benchmarks.bars import draw_bar
from causal_rl.benchmarks.cells import Cell
from causal_rl.benchmarks.report import Findings, Mark, decide, markdown_table
from causal_rl.benchmarks.results import Benchmark, Results
from causal_rl.benchmarks.statistics import Estimate, estimate, number
from causal_rl.discovery import learner_options
from causal_rl.discovery.sequence_model import ModelOptions
from causal_rl.graphs import PartialGraph

WORLDS = ("rows linear", "rows mlp", "rows hidden", SESSIONS)
METHODS: Mapping[str, str] = {
    PRINTED: "`A A^T` of one sequence; tests as of as many rows as a token has features",
    PRINTED_MEAN: "the same, correlations averaged over the rows read",
    MENDED: "attention as a regression; tests as of the sequences trained on",
    MENDED_FEW: "the same, tests as of as many rows as a token has features",
    "untrained-printed": f"`{PRINTED}` of a model that was not trained",
    "untrained": f"`{MENDED}` of a model that was not trained",
    "relabelled": f"the graph of `{MENDED}` with its variables shuffled",
    "complete": "all pairs joined, circles everywhere",
    "empty": "none joined",
    "model": "FCI on the covariance that the trained model's predictions imply; no attention",
    "pc": "PC (Algorithm 2) on the raw data",
    "fci": "FCI on the raw data",
}
#: What each reading is held against, on the same data and model.
AGAINST: Mapping[str, tuple[str, ...]] = {
    PRINTED: ("untrained-printed", "complete", "pc", "fci"),
    MENDED: (PRINTED, "untrained", "relabelled", "complete", "pc", "fci"),
}
METRICS = {
    "f1": "skeleton F1",
    "shd": "skeleton SHD",
    "ends": "ends right",
    "arrow_f1": "arrowhead F1",
    "edges": "edges",
}
NEEDED_SEEDS = 10
FULL = {
    "rows": 2000, "n": 8, "density": 1.25, "hidden": 2, "read": 256, "tried": 40,
    "sessions": 3000, "length": 9,
}  # fmt: skip
SMOKE = FULL | {
    "rows": 150, "n": 4, "density": 1.0, "hidden": 1, "read": 8, "tried": 2, "sessions": 60,
    "length": 5,
}  # fmt: skip


def grid(seeds: int, smoke: bool) -> list[Cell]:
    """Seeds outermost: a cell trains one model and reads it in every way."""
    options = learner_options("abcd")
    model = {f.name: options.get(f.name, f.default) for f in dataclasses.fields(ModelOptions)}
    settings = {**(SMOKE if smoke else FULL), "alpha": options["alpha"]}
    cells = []
    for seed in range(min(seeds, 1) if smoke else seeds):
        use = model | {"seed": seed} | ({"steps": 3} if smoke else {})
        for world in WORLDS[2:] if smoke else WORLDS:
            cells.append(
                Cell(
                    {"world": world, "seed": seed},
                    {**settings, **{f"model.{key}": value for key, value in use.items()}},
                )
            )
    return cells


def findings(results: Results) -> Findings:
    """Both readings against every control, and a table a world."""
    protocol = [
        f"Tables: random ER graphs of {FULL['n']} variables, {FULL['density']:g} expected edges "
        f"each, {FULL['rows']:,} rows, standardised, noise shares balanced so that sorting by R2 "
        f"gives no order away; `rows hidden` has {FULL['hidden']} more variables, those with most "
        "effects, that no method sees. A transformer over the variables of a row is trained to "
        "predict hidden ones.",
        f"`{SESSIONS}`: a small shop whose items come of themselves, of one or two earlier items, "
        f"or of an event that nobody sees; {FULL['sessions']:,} sessions of {FULL['length']} "
        "items to train on as BERT4Rec is, and graphs of the places of "
        f"{FULL['tried']} other sessions, one each. Raw-data methods see the presence of each item "
        "in each session of the training set; their edges among a session's items are its graph "
        "(with conditioning sets of one at most).",
        "The truth is the PAG that d-separation in the true graph determines. F1 and SHD are of "
        "skeletons; `ends right` is, of the ends of edges in both graphs, the share on whose "
        "arrowhead both agree; arrowhead F1 asks for the adjacency too. Circles and the tails of "
        "undirected edges count as no arrowhead.",
        f"All tests at the learners' default level. Seed k is graph seed {FRESH} + k; the mended "
        "reading was settled on others. Differences are paired, within a seed.",
    ]
    marks = [
        _mark(results, method, control)
        for method, controls in AGAINST.items()
        for control in controls
    ]
    meaning = markdown_table(["row", "what it is"], list(METHODS.items()), text=True)
    tables = [_table(results, world) for world in WORLDS if results.select(world=world)]
    return Findings(protocol, marks, [f"## Rows\n\n{meaning}", *tables])


def difference(
    results: Results, metric: str, method: str, control: str, world: str
) -> Estimate | None:
    """Mean over seeds of a metric of one method less that of another."""
    pairs = [
        (row.get(f"{metric}_{method}"), row.get(f"{metric}_{control}"))
        for row in results.select(world=world)
    ]
    values = [a - b for a, b in pairs if isinstance(a, int | float) and isinstance(b, int | float)]
    return estimate(values) if values else None


def _mark(results: Results, method: str, control: str) -> Mark:
    measured, above, count = [], True, NEEDED_SEEDS
    for world in WORLDS:
        found = difference(results, "f1", method, control, world)
        measured.append(f"{world}: {found or '-'}")
        above = above and found is not None and found.low > 0
        count = min(count, found.count if found else 0)
    return Mark(
        f"skeleton F1 of `{method}` less that of `{control}` is above 0 in every world",
        "; ".join(measured),
        decide(count, NEEDED_SEEDS, above),
    )


def _table(results: Results, world: str) -> str:
    lines: list[list[object]] = []
    for method in METHODS:
        found = [results.estimate(f"{metric}_{method}", world=world) for metric in METRICS]
        if any(found):
            seconds = results.estimate(f"seconds_{method}", world=world)
            lines.append([method, *(e or "-" for e in found), seconds or "-"])
    edges = results.estimate("true_edges", world=world)
    train = results.estimate("seconds_train", world=world)
    note = (
        f"True graphs have {number(edges.value) if edges else '-'} edges; training took "
        f"{number(train.value) if train else '-'} CPU seconds, which the last column leaves out."
    )
    header = ["method", *METRICS.values(), "CPU seconds"]
    return f"## {world}\n\n{markdown_table(header, lines)}\n\n{note}"


def figures(results: Results) -> Mapping[str, Figure]:
    """Skeleton F1 of every method by world, and graphs of the first seed beside the truth."""
    bars = Figure(figsize=(15, 4), layout="constrained")
    for axes, world in zip(bars.subplots(1, len(WORLDS), sharey=True), WORLDS, strict=True):
        _bars(axes, results, world)
    drawn = [world for world in WORLDS if results.select(world=world)]
    graphs = Figure(figsize=(4 * len(DRAWN), 4 * len(drawn)), layout="constrained")
    panels = graphs.subplots(len(drawn), len(DRAWN), squeeze=False)
    for row, world in zip(panels, drawn, strict=True):
        first = results.select(world=world)[0]
        truth = _graph(str(first["pag_truth"]))
        for axes, name in zip(row, DRAWN, strict=True):
            _graph(str(first[f"pag_{name}"])).plot(axes, truth=None if name == "truth" else truth)
            axes.set_title(f"{world}: {name}")
    return {"skeletons.png": bars, "graphs.png": graphs}


def _graph(text: str) -> PartialGraph:
    marks = np.array([int(digit) for digit in text[1:]])
    n = math.isqrt(marks.size)
    return PartialGraph(marks.reshape(n, n))


def _bars(axes: Axes, results: Results, world: str) -> None:
    for place, method in enumerate(METHODS):
        found = results.estimate(f"f1_{method}", world=world)
        if found is None:
            continue
        draw_bar(axes, place, found, f"C{place}")
    axes.set_xticks(range(len(METHODS)), list(METHODS), rotation=60, ha="right", fontsize=8)
    axes.set(title=world, ylim=(0, 1))
    if world == WORLDS[0]:
        axes.set_ylabel("skeleton F1")


def _headline(results: Results) -> str:
    parts = []
    for method in (PRINTED, MENDED, "complete", "fci"):
        values = results.values(f"f1_{method}")
        if values.size:
            parts.append(f"{method} {number(float(values.mean()))}")
    return f"skeleton F1: {', '.join(parts)}" if parts else ""


BENCHMARK = Benchmark(
    name="abcd",
    title="Graphs from attention (ABCD), and what needs none",
    description="Skeletons and arrowheads of PAGs read from the attention of transformers trained "
    "here, as printed and mended, beside untrained models, trivial graphs and PC and FCI on the "
    "raw data.",
    grid=grid,
    function=run,
    findings=findings,
    figures=figures,
    headline=_headline,
)
