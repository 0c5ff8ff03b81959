"""Table 2, left half: effects where the roles of the columns are unknown, and where they are known.

A cell is a data set and what the methods are told; it runs all methods of that kind, since those
with a learned graph share one, and learning it costs more than all the rest.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, cast

import networkx as nx
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from causal_rl.benchmarks import table2_text
from causal_rl.benchmarks.bars import draw_ranking
from causal_rl.benchmarks.cells import Cell, Outcome, Row, Value
from causal_rl.benchmarks.results import Benchmark, Results
from causal_rl.benchmarks.static_models import STRUCTURES, Structure
from causal_rl.benchmarks.statistics import estimate, number
from causal_rl.benchmarks.table2_methods import (
    COLUMNS,
    DIFFERENCE,
    FRESH,
    KNOWS,
    LEARNED,
    LEARNER,
    METHODS,
    TRUE,
    chosen_methods,
    require_peers,
)
from causal_rl.benchmarks.treatment_worlds import OUTCOME, TREATMENT, draw_treatment_world
from causal_rl.datasets import load_acic2016, load_ihdp, load_lalonde
from causal_rl.discovery import learner_options, make_learner
from causal_rl.effects import (
    NotIdentifiedError,
    find_adjustment,
    is_valid_adjustment,
    make_estimator,
)
from causal_rl.effects.learned_graph import learn_graph
from causal_rl.graphs import CausalGraph

Array = NDArray[np.float64]
Integers = NDArray[np.int64]

ROWS, SMOKE_ROWS = 2_000, 200
SEEDS = 25
IHDP, ACIC, LALONDE = table2_text.REAL
_INSTANCES = {IHDP: 20, ACIC: 5, LALONDE: 1}
_ACIC_TEST_SHARE = 0.2


def grid(seeds: int, smoke: bool) -> list[Cell]:
    """Worlds by seed, structure and knowledge; then the real data."""
    cells = []
    for seed in range(1 if smoke else seeds):
        for structure in STRUCTURES[:1] if smoke else STRUCTURES:
            for knows in KNOWS:
                settings: dict[str, Any] = {"rows": SMOKE_ROWS if smoke else ROWS, "fresh": FRESH}
                if knows == LEARNED:
                    settings |= {"learner": "pc" if smoke else LEARNER}
                    options = learner_options(settings["learner"])
                    options |= {"seed": seed} if "seed" in options else {}
                    settings |= {f"learner.{k}": v for k, v in options.items()}
                cells.append(_cell(structure, knows, seed, settings, smoke))
    if not smoke:
        for data, count in _INSTANCES.items():
            cells += [_cell(data, COLUMNS, seed, {}, smoke) for seed in range(min(seeds, count))]
    return cells


def _cell(data: str, knows: str, seed: int, settings: Mapping[str, Any], smoke: bool) -> Cell:
    names = chosen_methods(knows, real=data in table2_text.REAL, smoke=smoke)
    options = {f"method.{name}": METHODS[name].settings(seed, smoke) for name in names}
    return Cell({"data": data, "knows": knows, "seed": seed}, {**settings, **options})


def run(cell: Cell) -> Outcome:
    """Run all methods of a cell on the same rows."""
    data = str(cell.parameters["data"])
    return _run_real(cell) if data in table2_text.REAL else _run_world(cell)


def _run_world(cell: Cell) -> Outcome:
    settings, seed = cell.settings, int(cell.parameters["seed"] or 0)
    structure = cast(Structure, cell.parameters["data"])
    world = draw_treatment_world(structure, settings["fresh"] + seed)
    rng = np.random.default_rng([settings["fresh"], STRUCTURES.index(structure), seed])
    train = world.sample(settings["rows"], rng)
    twins = world.twins(settings["rows"], rng)
    effect = twins.y1 - twins.y0
    study, asked = world.study(train), twins.table[:, world.covariates]
    figures: Row = {}
    graph: CausalGraph | None = study.truth if cell.parameters["knows"] == TRUE else None
    if cell.parameters["knows"] == LEARNED:
        started = time.process_time()
        learner = make_learner(settings["learner"], **cell.part("learner"))
        graph = learn_graph(learner, study.table, study.names, TREATMENT, OUTCOME)
        figures |= {"graph seconds": round(time.process_time() - started, 3)}
        figures |= _compare(graph, study.truth)
    for name, options in cell.part("method").items():
        started = time.process_time()
        found = _effects(name, options, graph, study.X, study.t, study.y, asked)
        figures |= {f"{name}: {key}": value for key, value in _score(found, effect).items()}
        figures[f"{name}: seconds"] = round(time.process_time() - started, 3)
    return Outcome(figures)


def _effects(
    name: str,
    options: Mapping[str, Any],
    graph: CausalGraph | None,
    X: Array,
    t: Integers,
    y: Array,
    rows: Array,
) -> Array:
    """Effects of rows; none where the learned graph makes the outcome a cause of the treatment."""
    estimator = METHODS[name].estimator
    if estimator is None:
        gap = float(y[t == 1].mean() - y[t == 0].mean()) if name == DIFFERENCE else 0.0
        return np.full(len(rows), gap)
    try:
        return make_estimator(estimator, graph=graph, **options).fit(X, t, y).effect(rows)
    except NotIdentifiedError:
        return np.zeros(len(rows))


def _score(found: Array, effect: Array) -> dict[str, Value]:
    squared = float(np.mean((found - effect) ** 2))
    bias = float(found.mean() - effect.mean())
    return {
        "pehe": squared**0.5, "pehe squared": squared, "ate error": abs(bias),
        "ate error squared": bias**2,
    }  # fmt: skip


def _compare(graph: CausalGraph, truth: CausalGraph) -> Row:
    """How good a learned graph is, and whether what it says to adjust for is right."""
    needed = find_adjustment(truth, TREATMENT, OUTCOME)
    try:
        chosen = set(find_adjustment(graph, TREATMENT, OUTCOME).covariates)
    except NotIdentifiedError:
        return {"shd": graph.compare(truth).contemporaneous.shd, "clean": False, "valid": False}
    return {
        "shd": graph.compare(truth).contemporaneous.shd,
        # No descendant of the treatment on a path to the outcome, or below one, is adjusted for.
        "clean": not chosen & set(needed.forbidden),
        "valid": is_valid_adjustment(nx.DiGraph(truth.to_networkx()), TREATMENT, OUTCOME, chosen),
    }


def _run_real(cell: Cell) -> Outcome:
    data, seed = str(cell.parameters["data"]), int(cell.parameters["seed"] or 0)
    table = _load(data, seed)
    train = test = np.arange(len(table.X))
    if data == ACIC:
        shuffled = np.random.default_rng([FRESH, seed]).permutation(len(table.X))
        cut = int(_ACIC_TEST_SHARE * len(table.X))
        train, test = np.sort(shuffled[cut:]), np.sort(shuffled[:cut])
    elif table.train is not None and table.test is not None:
        train, test = table.train, table.test
    figures: Row = {}
    for name, options in cell.part("method").items():
        started = time.process_time()
        found = _effects(
            name, options, None, table.X[train], table.t[train], table.y[train], table.X
        )
        seconds = round(time.process_time() - started, 3)
        scores: dict[str, Value] = {}
        if table.effect is None:
            att = float(found[table.t == 1].mean())
            scores = {"att": att, "att error": abs(att - float(table.att or 0.0))}
        else:
            scores = _score(found[test], table.effect[test])
            inside = _score(found[train], table.effect[train])
            scores |= {f"{key}, train": value for key, value in inside.items()}
        figures |= {f"{name}: {key}": value for key, value in scores.items()}
        figures[f"{name}: seconds"] = seconds
    return Outcome(figures)


def _load(data: str, seed: int) -> Any:
    if data == IHDP:
        return load_ihdp(seed + 1)
    return load_acic2016(seed + 1) if data == ACIC else load_lalonde()


def figures(results: Results) -> Mapping[str, Figure]:
    """Squared PEHE of every row on the worlds, and root PEHE on IHDP."""
    made = {}
    kinds = {COLUMNS: "C0", LEARNED: "C1", TRUE: "C2"}
    for file, data, metric, label in (
        ("worlds.png", table2_text.WORLDS, "pehe squared", "PEHE² [squared units of y]"),
        ("ihdp.png", (IHDP,), "pehe", "IHDP, held out: root PEHE [units of y]"),
    ):
        lines = table2_text.lines(results, metric, data)
        if not lines:
            continue
        figure = Figure(figsize=(8, 1 + 0.24 * len(lines)), layout="constrained")
        axes = figure.subplots()
        found = [
            (line.label, estimate(np.array(list(line.values.values()))), line.knows)
            for line in lines
        ]
        draw_ranking(axes, found, kinds)
        axes.set_xlabel(f"{label}; mean with 95 % interval")
        made[file] = figure
    return made


def _headline(results: Results) -> str:
    lines = table2_text.lines(results, "pehe squared", table2_text.WORLDS)
    best = sorted(lines, key=lambda line: line.mean)[:3]
    return "PEHE²: " + (", ".join(f"{line.label} {number(line.mean)}" for line in best) or "-")


BENCHMARK = Benchmark(
    name="table2-left",
    title="Table 2, left half: effects of a treatment",
    description="Root and squared PEHE and ATE error of every estimator on random models whose "
    "roles are unknown, and on IHDP, ACIC 2016 and LaLonde.",
    grid=grid,
    function=run,
    findings=table2_text.findings,
    figures=figures,
    headline=_headline,
    prepare=require_peers,
    seeds=SEEDS,
)
