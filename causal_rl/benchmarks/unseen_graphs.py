"""One network for many worlds: does it predict and act in graphs and sizes it never saw?"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray

from causal_rl.agents import evaluate, measure_yardsticks
from causal_rl.agents.do_prediction import METHODS, DoPredictor, train_predictor
from causal_rl.agents.mechanism_evidence import FittedSCM, MechanismEvidence, fit_evidence
from causal_rl.agents.world_family import (
    Queries,
    WorldFamily,
    WorldSplit,
    ask,
    random_transitions,
)
from causal_rl.agents.zero_shot import Prediction, greedy_controller, without_contexts
from causal_rl.benchmarks.cells import Cell, Outcome, Row
from causal_rl.benchmarks.report import Findings, Mark, decide, markdown_table
from causal_rl.benchmarks.results import Benchmark, Results
from causal_rl.benchmarks.statistics import number
from causal_rl.discovery import make_learner
from causal_rl.envs import SCMEnvSpec, record, resolve_spec
from causal_rl.graphs import CausalGraph, within_step_reach

OURS = "ecam"
FITTED = ("fitted-linear", "fitted-curve")
#: Methods by mechanism of the family; all of them where the marks are.
FAMILIES: Mapping[str, tuple[str, ...]] = {
    "tanh": (*METHODS, *FITTED),
    "linear": (OURS, *FITTED),
    "mlp": (OURS, *FITTED),
}
MARKED = "tanh"
TRAIN_SIZE = 6
SIZES = (6, 9, 12)
MARKS = {6: 0.95, 9: 0.90, 12: 0.90}
NEEDED_SEEDS = 10
ROWS = (100, 500, 2000)
GRAPHS = ("oracle", "learned")
#: The first transitions of training worlds, in turn.
TRAIN_ROWS = (100, 250, 500, 1000, 2000)
CONTROL_ROWS = 500
#: Worlds that are acted in: chains are no graphs of the family, and as deep as a graph can be.
CONTROL_WORLDS: Mapping[str, Mapping[str, Any]] = {
    "er-scm": {"density": 1.5, "noise_share": 0.2},
    "chain-scm": {},
}
CONTROL_SEED = 4000
FULL = {"worlds": 1000, "steps": 1500, "unseen": 12, "queries": 64, "control": 2, "episodes": 16}
SMOKE = {"worlds": 20, "steps": 10, "unseen": 2, "queries": 16, "control": 1, "episodes": 2}


def grid(seeds: int, smoke: bool) -> list[Cell]:
    """Seeds outermost: mechanism x method. A cell trains one network and tries it on all sizes."""
    settings: dict[str, Any] = {
        **(SMOKE if smoke else FULL),
        "sizes": list(SIZES[:2] if smoke else SIZES),
        "rows": list(ROWS[1:2] if smoke else ROWS),
        "train_rows": list(TRAIN_ROWS),
    }
    return [
        Cell({"mechanism": mechanism, "method": method, "seed": seed}, settings)
        for seed in range(min(seeds, 1) if smoke else seeds)
        for mechanism, methods in FAMILIES.items()
        for method in methods
        if not smoke or mechanism == MARKED
    ]


def run(cell: Cell) -> Outcome:
    """Train where the method trains, then predict in unseen worlds and, for ours, act in them."""
    mechanism, method = str(cell.parameters["mechanism"]), str(cell.parameters["method"])
    seed, use = int(cell.parameters["seed"] or 0), cell.settings
    family = WorldFamily(mechanism=mechanism)
    unseen = {int(n): int(use["unseen"]) for n in use["sizes"]}
    split = family.split((TRAIN_SIZE, int(use["worlds"])), unseen, seed=seed)
    figures: Row = {}
    network: DoPredictor | None = None
    if method in METHODS:
        worlds = _training_worlds(family, split, method, use)
        torch.manual_seed(seed)
        network = DoPredictor(method)  # type: ignore[arg-type]
        started = time.process_time()
        train_predictor(network, worlds, steps=int(use["steps"]), seed=seed)
        figures["train_seconds"] = round(time.process_time() - started, 2)
        figures["weights"] = sum(p.numel() for p in network.parameters())
    for n, seeds in split.unseen.items():
        figures |= _predict(family, n, seeds, method, network, use)
    if network is not None and method == OURS and mechanism == MARKED:
        figures |= _act(network, seed, use)
    return Outcome(figures)


def _training_worlds(
    family: WorldFamily, split: WorldSplit, method: str, use: Mapping[str, Any]
) -> list[tuple[MechanismEvidence, Queries]]:
    worlds = []
    for k, seed in enumerate(split.train):
        scm = family.world(split.size, seed)
        rows = int(use["train_rows"][k % len(use["train_rows"])])
        data = random_transitions(scm, rows, seed=seed)
        graph = _full(scm.graph) if method == "attention" else scm.graph
        worlds.append((fit_evidence(data, graph), ask(scm, int(use["queries"]), seed=seed)))
    return worlds


def _full(graph: CausalGraph) -> CausalGraph:
    """Everything causes everything, inside the step and across it."""
    full = CausalGraph.full(graph.names)
    return full.with_(lagged=np.ones_like(graph.lagged))


def _predictor(method: str, network: DoPredictor | None, evidence: MechanismEvidence) -> Prediction:
    if network is None:
        return FittedSCM(evidence, curved=method == "fitted-curve").predict
    return lambda previous, mask, value: network.predict(evidence, previous, mask, value)


def _predict(
    family: WorldFamily,
    n: int,
    seeds: tuple[int, ...],
    method: str,
    network: DoPredictor | None,
    use: Mapping[str, Any],
) -> Row:
    """R2 over all variables that are not set, and over those that the set one causes."""
    errors: dict[str, list[NDArray[np.float64]]] = {}
    figures: Row = {}
    wrong: dict[int, list[int]] = {}
    for seed in seeds:
        scm = family.world(n, seed)
        queries = ask(scm, int(use["queries"]), seed=seed)
        free = ~queries.do_mask
        reached = queries.do_mask @ within_step_reach(scm.graph) & free
        for rows in use["rows"]:
            data = random_transitions(scm, int(rows), seed=seed)
            learned = make_learner("interventional").fit(data)
            wrong.setdefault(rows, []).append(learned.compare(scm.graph).contemporaneous.shd)
            for source, graph in zip(GRAPHS, (scm.graph, learned), strict=True):
                evidence = fit_evidence(data, _full(graph) if method == "attention" else graph)
                predict = _predictor(method, network, evidence)
                mean, _ = predict(queries.previous, queries.do_mask, queries.do_value)
                for what, rows_of in (("r2", free), ("reached", reached)):
                    pair = np.stack([(mean - queries.mean)[rows_of], queries.mean[rows_of]])
                    errors.setdefault(f"{what}_n{n}_{source}_{rows}", []).append(pair)
    for name, pairs in errors.items():
        error, truth = np.concatenate(pairs, axis=1)
        total = ((truth - truth.mean()) ** 2).sum()
        figures[name] = round(float(1.0 - (error**2).sum() / total), 5)
    for rows, count in wrong.items():
        figures[f"shd_n{n}_{rows}"] = float(np.mean(count))
    return figures


def _act(network: DoPredictor, seed: int, use: Mapping[str, Any]) -> Row:
    """Normalised returns in fresh control worlds, each a mean over the worlds of this seed."""
    figures: Row = {}
    count, episodes = int(use["control"]), int(use["episodes"])
    for world, options in CONTROL_WORLDS.items():
        for n in use["sizes"]:
            found: dict[str, list[float]] = {}
            for k in range(count):
                graph_seed = CONTROL_SEED + count * seed + k
                spec = resolve_spec(world, n=int(n), graph_seed=graph_seed, **options)
                for name, value in _returns(spec, network, episodes, graph_seed).items():
                    found.setdefault(name, []).append(value)
            for name, values in found.items():
                figures[f"return_{world}_n{n}_{name}"] = round(float(np.mean(values)), 5)
    return figures


def _returns(spec: SCMEnvSpec, network: DoPredictor, episodes: int, seed: int) -> dict[str, float]:
    data = without_contexts(record(spec, CONTROL_ROWS, seed=seed))
    learned = make_learner("interventional").fit(data)
    yardsticks = measure_yardsticks(spec, episodes=episodes, seed=seed)
    found = {"noop": yardsticks.normalise(yardsticks.noop)}
    for source, graph in zip(GRAPHS, (spec.causal_graph, learned), strict=True):
        evidence = fit_evidence(data, graph)
        for method in (OURS, *FITTED):
            predict = _predictor(method, network if method == OURS else None, evidence)
            controller = greedy_controller(spec, predict)
            value = float(evaluate(spec, controller, episodes=episodes, seed=seed).mean())
            found[f"{method}_{source}"] = yardsticks.normalise(value)
    return {name: value for name, value in found.items() if value is not None}


def findings(results: Results) -> Findings:
    """The marks, R2 by size and method, returns, and what a graph learned early costs."""
    protocol = [
        f"Training worlds: {FULL['worlds']:,} random ER graphs of {TRAIN_SIZE} variables (1.5 "
        "expected edges a variable, noise share .2, half the variables remember themselves), "
        f"{FULL['queries']} questions each, {FULL['steps']:,} updates. Unseen worlds: "
        f"{FULL['unseen']} for each size and seed, none of whose graphs is a training graph with "
        "other labels; 9 and 12 variables are not trained on.",
        "A question is a state and an intervention on one variable or none, the answer the mean of "
        "all variables after the step (64 simulations). R2 is pooled over worlds, questions and "
        "all variables but the one set; `reached` over the set one's effects alone.",
        "What every method is given of a world: its graph (`oracle`, or `learned` by the default "
        "learner) and its first transitions under random interventions, as a fit of each variable "
        "to its parents: ridge weights, a cubic of their sum, residuals. Mechanisms are not given. "
        "In training the graph is the true one and rows vary from 100 to 2,000.",
        "`attention` is the same network told that everything causes everything, its fit too; "
        "`adjacency` reads rows and columns of the weighted graph as features. `fitted-linear` and "
        "`fitted-curve` propagate through the fit itself by simulation and train nothing.",
        "Acting: the single intervention with the best predicted reward, from predicted mean and "
        f"spread, after {CONTROL_ROWS} transitions; two fresh worlds for each seed and size. "
        "Normalised return is (return - random) / (oracle - random), the oracle a planner that "
        "knows the world; above 1 is the luck of the episodes and of its horizon.",
    ]
    sections = [
        *(_r2_table(results, "r2", mechanism) for mechanism in _families(results)),
        _r2_table(results, "reached", MARKED),
        _return_table(results),
        _learned_table(results),
        _cost_table(results),
    ]
    return Findings(protocol, _marks(results), sections)


def _families(results: Results) -> list[str]:
    return [name for name in FAMILIES if results.select(mechanism=name)]


def _marks(results: Results) -> list[Mark]:
    marks = []
    for source in GRAPHS:
        for n, needed in MARKS.items():
            where: Row = {"mechanism": MARKED, "method": OURS}
            metric = f"r2_n{n}_{source}_500"
            values = results.values(metric, **where)
            found = results.estimate(metric, **where)
            kind = "unseen" if n == TRAIN_SIZE else "zero-shot"
            marks.append(
                Mark(
                    f"R2 of {OURS} on {kind} n = {n} graphs, {source} graph, 500 transitions "
                    f">= {needed:.2f}",
                    f"mean {found}; lowest {number(float(values.min()))}" if found else "-",
                    decide(values.size, NEEDED_SEEDS, bool(found and found.value >= needed)),
                )
            )
    return marks


def _r2_table(results: Results, what: str, mechanism: str) -> str:
    header = ["graph, transitions, n", *FAMILIES[mechanism]]
    lines: list[list[object]] = []
    for source in GRAPHS:
        for rows in ROWS:
            for n in SIZES:
                metric = f"{what}_n{n}_{source}_{rows}"
                found = [
                    results.estimate(metric, mechanism=mechanism, method=method)
                    for method in FAMILIES[mechanism]
                ]
                if any(found):
                    cells = [estimate or "-" for estimate in found]
                    lines.append([f"{source}, {rows:,}, {n}", *cells])
    over = "all variables" if what == "r2" else "effects of the set variable alone"
    return f"## R2, {mechanism} worlds, {over}\n\n" + markdown_table(header, lines)


def _return_table(results: Results) -> str:
    controllers = ["noop", *(f"{m}_{g}" for m in (OURS, *FITTED) for g in GRAPHS)]
    lines: list[list[object]] = []
    for world in CONTROL_WORLDS:
        for n in SIZES:
            found = [results.estimate(f"return_{world}_n{n}_{c}") for c in controllers]
            if any(found):
                lines.append([f"{world}, {n}", *(estimate or "-" for estimate in found)])
    header = ["world, n", *(name.replace("_", ", ") for name in controllers)]
    return "## Normalised return in unseen worlds\n\n" + markdown_table(header, lines)


def _learned_table(results: Results) -> str:
    lines: list[list[object]] = []
    for n in SIZES:
        found = [
            results.estimate(f"shd_n{n}_{rows}", mechanism=MARKED, method=OURS) for rows in ROWS
        ]
        lines.append([n, *(estimate or "-" for estimate in found)])
    header = ["n", *(f"{rows:,} transitions" for rows in ROWS)]
    return "## SHD of the learned graphs\n\n" + markdown_table(header, lines)


def _cost_table(results: Results) -> str:
    lines: list[list[object]] = []
    for method in METHODS:
        seconds = results.estimate("train_seconds", mechanism=MARKED, method=method)
        weights = results.values("weights", mechanism=MARKED, method=method)
        lines.append([method, number(float(weights[0])) if weights.size else "-", seconds or "-"])
    header = ["method", "parameters", "processor seconds of training"]
    return "## Cost\n\n" + markdown_table(header, lines)


def figures(results: Results) -> Mapping[str, Figure]:
    """R2 over size, and normalised return over size."""
    figure = Figure(figsize=(12, 4.2), layout="constrained")
    panels = figure.subplots(1, 3)
    for axes, source in zip(panels, GRAPHS, strict=False):
        for index, method in enumerate(FAMILIES[MARKED]):
            points = [
                (n, found)
                for n in SIZES
                if (
                    found := results.estimate(
                        f"r2_n{n}_{source}_500", mechanism=MARKED, method=method
                    )
                )
            ]
            _line(axes, points, f"C{index}", method)
        axes.set(title=f"R2, graph {source}, 500 transitions", xlabel="variables")
    for index, method in enumerate((OURS, *FITTED)):
        for world, style in zip(CONTROL_WORLDS, ("-", "--"), strict=True):
            points = [
                (n, found)
                for n in SIZES
                if (found := results.estimate(f"return_{world}_n{n}_{method}_learned"))
            ]
            _line(panels[2], points, f"C{index}", f"{method}, {world}", style)
    panels[2].set(title="normalised return, graph learned", xlabel="variables")
    for axes in panels:
        axes.set_xticks(SIZES)
        axes.grid(alpha=0.3)
        if axes.lines:
            axes.legend(fontsize=7)
    return {"unseen.png": figure}


def _line(
    axes: Any, points: list[tuple[int, Any]], colour: str, label: str, style: str = "-"
) -> None:
    if not points:
        return
    x, found = [n for n, _ in points], [estimate for _, estimate in points]
    y = np.array([e.value for e in found])
    bars = [y - [e.low for e in found], [e.high for e in found] - y]
    axes.errorbar(x, y, bars, color=colour, linestyle=style, marker="o", markersize=3, label=label)


def _headline(results: Results) -> str:
    found = {
        n: results.estimate(f"r2_n{n}_learned_500", mechanism=MARKED, method=OURS) for n in SIZES
    }
    parts = [f"n={n} {number(e.value)}" for n, e in found.items() if e]
    return f"R2 of {OURS}, learned graphs: {', '.join(parts)}" if parts else ""


BENCHMARK = Benchmark(
    name="unseen-graphs",
    title="Predicting and acting in graphs and sizes never trained on",
    description="R2 of do-predictions in unseen random worlds of 6, 9 and 12 variables by networks "
    "trained on worlds of 6, beside propagation through a fitted model; and the returns of acting "
    "by them.",
    grid=grid,
    function=run,
    findings=findings,
    figures=figures,
    headline=_headline,
)
