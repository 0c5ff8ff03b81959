"""Table 3's second column: effects with one part of the estimator changed, and their PEHE."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from causal_rl.benchmarks.cells import Cell, Outcome, Row
from causal_rl.benchmarks.static_models import STRUCTURES
from causal_rl.benchmarks.table3_rows import (
    CORRELATION,
    COUNTERFACTUAL,
    FULL,
    GENERALISED,
    KERNEL,
    LOG,
    MULTI_LEVEL,
    NO_GRAPH,
    NO_INTERVENTION,
    PEHE,
    SCALE,
    measured,
)
from causal_rl.benchmarks.treatment_worlds import OUTCOME, TREATMENT, draw_treatment_world
from causal_rl.discovery import Transitions, learner_options, make_learner
from causal_rl.effects import NotIdentifiedError, estimator_options, make_estimator
from causal_rl.effects.encoder_scm import EncoderSCM
from causal_rl.effects.learned_graph import learn_graph
from causal_rl.graphs import CausalGraph

Array = NDArray[np.float64]
Integers = NDArray[np.int64]

#: Cells take all rows: they share a graph, and to learn it costs more than the rest.
ALL = "all rows"
LEARNER = "gp-network"
_ROWS, _SMOKE_ROWS = 1_000, 200
_SMOKE_STEPS = 20

#: By row the estimator, whether it gets the learned graph, and what differs from the defaults.
_ESTIMATORS: dict[str, tuple[str, bool, dict[str, str]]] = {
    FULL: ("ecam", True, {}),
    NO_GRAPH: ("transformer", False, {}),
    NO_INTERVENTION: ("attn-mask", True, {}),
    CORRELATION: ("attn-mask", False, {}),
    COUNTERFACTUAL: ("ecam", True, {}),
    SCALE: ("ecam", True, {"modulation": "scale"}),
    LOG: ("ecam", True, {"modulation": "log"}),
    KERNEL: ("ecam", True, {"attention": "kernel"}),
    GENERALISED: ("ecam", True, {"attention": "generalised"}),
    MULTI_LEVEL: ("ecam", True, {"attention": "multi-level"}),
}


def cells(seeds: int, smoke: bool, fresh: int) -> list[Cell]:
    """A cell a world; structures take turns."""
    found = []
    for seed in range(1 if smoke else seeds):
        learner = "pc" if smoke else LEARNER
        options = learner_options(learner)
        options |= {"seed": seed} if "seed" in options else {}
        settings: dict[str, Any] = {
            "rows": _SMOKE_ROWS if smoke else _ROWS, "fresh": fresh, "learner": learner,
            "structure": STRUCTURES[seed % len(STRUCTURES)],
            "twins": {"seed": seed} | ({"steps": _SMOKE_STEPS} if smoke else {}),
        }  # fmt: skip
        settings |= {f"learner.{key}": value for key, value in options.items()}
        for row in measured(PEHE):
            name, _, changes = _ESTIMATORS[row]
            chosen = estimator_options(name) | changes | {"seed": seed}
            if smoke:
                chosen["steps"] = _SMOKE_STEPS
            dropped = ("graph", "treatment", "outcome")
            settings[f"row.{row}"] = {k: v for k, v in chosen.items() if k not in dropped}
        found.append(Cell({"column": PEHE, "row": ALL, "seed": seed}, settings))
    return found


def run(cell: Cell) -> Outcome:
    """Learn the graph of one world and run every row on the same table."""
    settings, seed = cell.settings, int(cell.parameters["seed"] or 0)
    world = draw_treatment_world(settings["structure"], settings["fresh"] + seed)
    rng = np.random.default_rng([settings["fresh"], seed])
    train, twins = world.sample(settings["rows"], rng), world.twins(settings["rows"], rng)
    study, asked = world.study(train), twins.table[:, world.covariates]
    started = time.process_time()
    learner = make_learner(settings["learner"], **cell.part("learner"))
    graph = learn_graph(learner, study.table, study.names, TREATMENT, OUTCOME)
    figures: Row = {
        "graph seconds": round(time.process_time() - started, 2),
        "graph shd": graph.compare(study.truth).contemporaneous.shd,
    }
    told = _covariate_edges(graph)
    figures["edges between tokens"] = told
    made = settings["twins"] | {"device": cell.device}
    for row, options in cell.part("row").items():
        started = time.process_time()
        found = _effects(row, options, made, graph, study.X, study.t, study.y)(asked)
        error = found - (twins.y1 - twins.y0)
        figures |= {
            f"{row}: pehe squared": float(np.mean(error**2)),
            f"{row}: ate error": abs(float(error.mean())),
            f"{row}: seconds": round(time.process_time() - started, 2),
        }
    return Outcome(figures)


def _covariate_edges(graph: CausalGraph) -> int:
    """Edges between the covariates that are adjusted for: all that a form of attention can use."""
    from causal_rl.effects import find_adjustment

    try:
        chosen = find_adjustment(graph, TREATMENT, OUTCOME).covariates
    except NotIdentifiedError:
        return 0
    at = [graph.index(name) for name in chosen]
    return int(graph.contemporaneous[np.ix_(at, at)].sum())


def _effects(
    row: str,
    options: Mapping[str, Any],
    twins: Mapping[str, Any],
    graph: CausalGraph,
    X: Array,
    t: Integers,
    y: Array,
) -> Callable[[Array], Array]:
    """The fitted row; no effect where the graph makes the outcome a cause of the treatment."""
    name, learned, _ = _ESTIMATORS[row]
    try:
        if row == COUNTERFACTUAL:
            X, t, y = with_twins(graph, X, t, y, twins)
        return make_estimator(name, graph=graph if learned else None, **options).fit(X, t, y).effect
    except NotIdentifiedError:
        return lambda rows: np.zeros(len(rows))


def with_twins(
    graph: CausalGraph, X: Array, t: Integers, y: Array, options: Mapping[str, Any]
) -> tuple[Array, Integers, Array]:
    """Rows, and after them what each would have been under the other treatment.

    Args:
        graph: over the columns of ``X``, the treatment and the outcome, in this order.
        X: ``(N, p)`` covariates.
        t: ``(N,)`` 0 or 1.
        y: ``(N,)`` outcomes.
        options: of `EncoderSCM`.

    Returns:
        ``(2 N, p)``, ``(2 N,)``, ``(2 N,)``.
    """
    table = np.column_stack([X, t, y])
    model = EncoderSCM(graph, **options).fit(Transitions.from_table(table, names=graph.names))
    answer = model.counterfactual(table, {TREATMENT: 1.0 - t}, targets=graph.names)
    other = answer.mean()
    return np.vstack([X, other[:, :-2]]), np.concatenate([t, 1 - t]), np.append(y, other[:, -1])
