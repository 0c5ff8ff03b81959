"""Figure 2: counterfactual error and policy regret where roles and graph are unknown."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from causal_rl.benchmarks.bars import draw_bar
from causal_rl.benchmarks.cells import Cell, Outcome, Row
from causal_rl.benchmarks.figure2_methods import (
    GROUPS,
    LEARNED_ENCODER,
    LEARNED_FIT,
    LEARNER,
    MASKED,
    NO_CHANGE,
    REGRESSION,
    RESIDUAL,
)
from causal_rl.benchmarks.report import Findings, Mark, decide, markdown_table
from causal_rl.benchmarks.results import Benchmark, Results
from causal_rl.benchmarks.static_models import STRUCTURES, Structure
from causal_rl.benchmarks.statistics import Estimate, estimate, number
from causal_rl.benchmarks.treatment_worlds import DEGREE, VARIABLES, draw_treatment_world
from causal_rl.discovery import learner_options
from causal_rl.graphs import shd

ROWS = 2_000
#: No world with a seed below this is in the published run: development used those.
FRESH = 7_000
SEEDS = 20
NEEDED_GRAPHS = 30
RMSE_MARK = 0.30
ENCODER: Mapping[str, Any] = {"steps": 600, "learning_rate": 0.02, "embed_dim": 32}
NETWORK_STEPS = 800
SMOKE_ENCODER: Mapping[str, Any] = {**ENCODER, "steps": 20, "embed_dim": 8}
SMOKE_LEARNER: Mapping[str, Any] = {"inducing": 16, "starts": 1, "refined": 1}


def grid(seeds: int, smoke: bool) -> list[Cell]:
    """A cell is a world and a group of methods; worlds outermost."""
    learner = {k: v for k, v in learner_options(LEARNER).items() if k not in _NOT_OURS}
    settings: dict[str, Any] = {
        "rows": 200 if smoke else ROWS,
        "variables": 6 if smoke else VARIABLES,
        "fresh": FRESH,
        **{f"encoder.{k}": v for k, v in (SMOKE_ENCODER if smoke else ENCODER).items()},
        "networks.steps": 20 if smoke else NETWORK_STEPS,
        **{f"learner.{k}": v for k, v in (learner | dict(SMOKE_LEARNER if smoke else {})).items()},
    }
    kinds = STRUCTURES[1:] if smoke else STRUCTURES
    return [
        Cell({"structure": structure, "methods": name, "seed": seed}, settings)
        for seed, structure, name in product(range(1 if smoke else seeds), kinds, GROUPS)
        if GROUPS[name].available and not (smoke and name in _NOT_IN_SMOKE)
    ]


_NOT_OURS = ("seed", "reward_node")
# Its import alone takes as long as all the rest.
_NOT_IN_SMOKE = ("dowhy",)


def run(cell: Cell) -> Outcome:
    """Ask the methods of one group what would have been under the other arm."""
    where, settings = cell.parameters, cell.settings
    seed = int(where["seed"] or 0)
    structure: Structure = "er" if where["structure"] == "er" else "sf"
    world = draw_treatment_world(
        structure, settings["fresh"] + seed, variables=settings["variables"]
    )
    rng = np.random.default_rng([2, seed, STRUCTURES.index(structure)])
    train = world.sample(settings["rows"], rng)
    twins = world.twins(settings["rows"], rng)
    test, treated = twins.table, twins.table[:, world.treatment] == 1
    truth = np.where(treated, twins.y0, twins.y1)
    parts = {name: cell.part(name) for name in ("encoder", "learner", "networks")}
    options: dict[str, Any] = {"seed": seed, **parts}
    group = GROUPS[str(where["methods"])]
    answers, learned = group.answer(world, train, test, options)
    figures: Row = {"edges": int(world.adjacency.sum()), "ate": float(np.mean(twins.y1 - twins.y0))}
    factual = test[:, world.outcome]
    for name in group.rows:
        told, switch = answers[name].told, answers[name].switch
        if switch is None:
            switch = told > factual
        taken = np.where(switch, truth, factual)
        figures[f"rmse {name}"] = float(np.sqrt(np.mean((told - truth) ** 2)))
        figures[f"regret {name}"] = float(np.mean(np.maximum(factual, truth) - taken))
    if learned is not None:
        figures["shd"] = int(shd(world.adjacency, learned.adjacency))
        figures["learn_seconds"] = learned.seconds
    return Outcome(figures)


def findings(results: Results) -> Findings:
    """The marks, the table over all graphs, and one for each structure."""
    protocol = [
        f"{VARIABLES} variables, ER and SF graphs of degree {DEGREE}; edges are lines, tanhs and "
        "sines with weights uniform in ±[0.5, 2], noise of standard deviation 0.7, every variable "
        "standardised as it is built, columns in random order. T ~ Bernoulli(sigmoid(1.5 z)), z "
        "the standardised sum of its parents; its effect is multiplied by 1 + 0.6 tanh of another "
        "cause of the same child; Y is a descendant of T with a common cause. Which columns come "
        "before T is not told.",
        f"{ROWS:,} rows to learn from and {ROWS:,} others to ask about: what would Y have been "
        "under the other T? The truth is the twin with the same noise. RMSE is over rows, in "
        "standard deviations of Y; regret is what is lost on average by taking in each row the "
        "arm that the method has the greater outcome for.",
        f"Seed k draws world {FRESH} + k of each structure; none of them was looked at before. "
        "Learner and regressions have their defaults, all networks one setting; for three settings "
        "of the networks errors of counterfactuals had been seen on other worlds.",
        *(
            f"`{name}`: {text}."
            for group in GROUPS.values()
            if group.available
            for name, text in group.rows.items()
        ),
    ]
    absent = [g.package for g in GROUPS.values() if not g.available]
    protocol += [f"{name} is not installed: its rows are missing." for name in absent]
    sections = [_table(results, None), *(_table(results, s) for s in STRUCTURES)]
    return Findings(protocol, _marks(results), [s for s in sections if s])


def _marks(results: Results) -> list[Mark]:
    ours = results.estimate(f"rmse {LEARNED_ENCODER}")
    count = ours.count if ours else 0
    fit, plain = (results.estimate(f"rmse {n}") for n in (LEARNED_FIT, REGRESSION))
    masked, none = (results.estimate(f"rmse {n}") for n in (MASKED, NO_CHANGE))
    marks = [
        Mark(
            f"`{LEARNED_ENCODER}`: mean RMSE <= {RMSE_MARK:.2f}",
            f"{ours or '-'}; `{REGRESSION}` {plain or '-'}, `{NO_CHANGE}` {none or '-'}, "
            f"`{MASKED}` {masked or '-'}",
            decide(count, NEEDED_GRAPHS, ours is not None and ours.value <= RMSE_MARK),
        ),
        Mark(
            f"`{LEARNED_FIT}`: mean RMSE <= {RMSE_MARK:.2f}",
            str(fit or "-"),
            decide(count, NEEDED_GRAPHS, fit is not None and fit.value <= RMSE_MARK),
        ),
    ]
    for other in (REGRESSION, RESIDUAL):
        for metric in ("rmse", "regret"):
            gain = _paired(results, metric, other)
            marks.append(
                Mark(
                    f"lower {metric} than `{other}`, paired by graph",
                    f"difference {gain or '-'}",
                    decide(count, NEEDED_GRAPHS, gain is not None and gain.high < 0),
                )
            )
    return marks


def _paired(results: Results, metric: str, other: str) -> Estimate | None:
    """`LEARNED_ENCODER` minus another method, graph by graph."""

    def by_graph(name: str) -> dict[tuple[object, object], float]:
        key = f"{metric} {name}"
        return {
            (r["structure"], r["seed"]): float(r[key] or 0.0)
            for r in results.rows
            if r.get(key) is not None
        }

    ours, theirs = by_graph(LEARNED_ENCODER), by_graph(other)
    both = [ours[k] - theirs[k] for k in ours if k in theirs]
    return estimate(both) if both else None


def _table(results: Results, structure: str | None) -> str | None:
    where: Row = {} if structure is None else {"structure": structure}
    if not results.select(**where):
        return None
    lines: list[list[object]] = []
    for group in GROUPS.values():
        for name in group.rows:
            found = results.values(f"rmse {name}", **where)
            if found.size:
                lines.append(
                    [
                        name,
                        results.estimate(f"rmse {name}", **where),
                        number(float(np.median(found))),
                        number(float(found.max())),
                        results.estimate(f"regret {name}", **where),
                    ]
                )
    header = ["method", "counterfactual RMSE", "median", "worst graph", "policy regret"]
    title = "All graphs" if structure is None else f"{structure.upper()} graphs"
    graphs = len({(r["structure"], r["seed"]) for r in results.select(**where)})
    edges, wrong = results.estimate("edges", **where), results.estimate("shd", **where)
    seconds = results.values("learn_seconds", **where)
    text = (
        f"{graphs} graphs of {number(edges.value) if edges else '-'} edges on average; SHD of the "
        f"learned ones {wrong or '-'}, {number(float(np.median(seconds))) if seconds.size else '-'}"
        " CPU seconds to learn one (median)."
    )
    return f"## {title}\n\n{text}\n\n{markdown_table(header, lines)}"


def figures(results: Results) -> Mapping[str, Figure]:
    """RMSE and regret of every method."""
    figure = Figure(figsize=(11, 4.6), layout="constrained")
    names = [
        name
        for group in GROUPS.values()
        for name in group.rows
        if results.values(f"rmse {name}").size
    ]
    for axes, metric, label in zip(
        figure.subplots(1, 2), ("rmse", "regret"), ("counterfactual RMSE", "policy regret"),
        strict=True,
    ):  # fmt: skip
        _bars(axes, results, metric, names)
        axes.set_ylabel(f"{label} [sd of Y]")
    return {"figure2.png": figure}


def _bars(axes: Axes, results: Results, metric: str, names: list[str]) -> None:
    for place, name in enumerate(names):
        found = results.estimate(f"{metric} {name}")
        if found is not None:
            color = "C3" if name == LEARNED_ENCODER else "C0"
            draw_bar(axes, place, found, color)
    axes.set_xticks(range(len(names)), names, rotation=45, ha="right", fontsize=8)
    axes.grid(axis="y", alpha=0.3)


def _headline(results: Results) -> str:
    names = (LEARNED_ENCODER, LEARNED_FIT, REGRESSION, NO_CHANGE)
    found = {name: results.estimate(f"rmse {name}") for name in names}
    return "RMSE " + ", ".join(f"{k} {number(v.value)}" for k, v in found.items() if v)


BENCHMARK = Benchmark(
    name="figure2",
    title="Figure 2: counterfactuals and policies where nothing says what comes before what",
    description="Counterfactual RMSE and policy regret of flipping a treatment, by regressions, "
    "by abduction in models on learned and true graphs, and by dowhy.gcm.",
    grid=grid,
    function=run,
    findings=findings,
    figures=figures,
    headline=_headline,
    seeds=SEEDS,
)
