"""Does the default agent learn its world's graph and act well, and does it need to intervene?"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from causal_rl.agents import TrainConfig, load_agent, load_checkpoint
from causal_rl.benchmarks.agent_runs import (
    SMOKE_OPTIONS,
    SMOKE_WORLD,
    run_settings,
    train_cell,
)
from causal_rl.benchmarks.cells import Cell, Outcome, Row
from causal_rl.benchmarks.recordings import record, score
from causal_rl.benchmarks.report import Findings, Mark, decide, markdown_table
from causal_rl.benchmarks.results import Benchmark, Results
from causal_rl.benchmarks.statistics import interquartile_mean, mean, number
from causal_rl.discovery import learner_options, make_learner
from causal_rl.envs import WorldOptions, resolve_spec

ENV = "chain-scm"
CONTROL_MECHANISMS = ("linear", "tanh")
WITH, WITHOUT = "random interventions", "no interventions"
NEEDED_SEEDS = 10
RETURN_MARK = 0.95
SECONDS_MARK = 90.0

_CURVE = {
    "rollout_return": "rollout/ep_rew_mean",
    "eval_return": "eval/mean_reward",
    "shd_contemporaneous": "causal/shd_contemporaneous",
    "shd_lagged": "causal/shd_lagged",
}


def grid(seeds: int, smoke: bool) -> list[Cell]:
    """Agents first, then the observational control: mechanism x data x seed."""
    options: dict[str, Any] = SMOKE_OPTIONS if smoke else {}
    world: dict[str, Any] = SMOKE_WORLD if smoke else {}
    cells = []
    for seed in range(min(seeds, 1) if smoke else seeds):
        chosen = WorldOptions(graph_seed=seed, **world)
        cells.append(
            Cell(
                {"part": "agent", "mechanism": chosen.mechanism, "data": "agent", "seed": seed},
                run_settings(ENV, chosen, seed, **options),
            )
        )
    learner = TrainConfig().learner
    rows = TrainConfig(**options).steps
    for seed in range(min(seeds, 1) if smoke else seeds):
        for mechanism in CONTROL_MECHANISMS:
            control = WorldOptions(graph_seed=seed, mechanism=mechanism, **world)
            settings = {
                "rows": rows,
                "learner": learner,
                **{f"learner.{key}": value for key, value in learner_options(learner).items()},
                **{f"world.{key}": value for key, value in dataclasses.asdict(control).items()},
            }
            cells += [
                Cell(
                    {"part": "control", "mechanism": mechanism, "data": data, "seed": seed},
                    settings,
                )
                for data in (WITH, WITHOUT)
            ]
    return cells


def run(cell: Cell) -> Outcome:
    """Train an agent, or fit the default learner to a recording."""
    return _agent(cell) if cell.parameters["part"] == "agent" else _control(cell)


def _agent(cell: Cell) -> Outcome:
    with train_cell(cell) as (folder, figures):
        _, spec, _ = load_agent(folder)
        history = load_checkpoint(folder / "checkpoint.pt", spec)["algorithm"]["history"]
    curve: list[Row] = [
        {"env_steps": int(row["env_steps"])} | {name: row.get(tag) for name, tag in _CURVE.items()}
        for row in history
    ]
    return Outcome(figures, curve)


def _control(cell: Cell) -> Outcome:
    world = cell.part("world")
    spec = resolve_spec(ENV, **world)
    data = record(
        spec,
        cell.settings["rows"],
        seed=int(world["graph_seed"]),
        interventions=cell.parameters["data"] == WITH,
    )
    options = {**cell.part("learner"), "reward_node": True}
    learner = make_learner(cell.settings["learner"], **options)
    return Outcome({**score(learner.fit(data), spec.causal_graph), "rows": len(data)})


def findings(results: Results) -> Findings:
    """The marks of the default agent, its table, and the control's."""
    agents = results.select(part="agent")
    count = len(agents)
    exact = sum(_exact(row) for row in agents)
    returns = results.values("return_normalised", part="agent")
    good = int((returns >= RETURN_MARK).sum())
    seconds = results.values("seconds", part="agent")
    slowest = float(seconds.max()) if seconds.size else 0.0
    jobs = sorted({str(row["jobs"]) for row in agents})
    steps = sorted({int(v) for v in results.values("env_steps", part="agent")})
    rows = sorted({int(v) for v in results.values("rows", part="control")})
    marks = [
        Mark(
            "SHD 0 on both graphs in 10 of 10 seeds",
            f"{exact} of {count}",
            decide(count, NEEDED_SEEDS, exact == count),
        ),
        Mark(
            "(return - random) / (oracle - random) >= .95 in at least 9 of 10",
            f"{good} of {count}" + (f"; least {number(returns.min())}" if returns.size else ""),
            decide(count, NEEDED_SEEDS, good >= 0.9 * count),
        ),
        Mark(
            "one run under 90 s (wall clock; depends on the machine and on --jobs)",
            f"longest {number(slowest)} s, with {' or '.join(jobs) or '0'} cells at a time",
            decide(count, NEEDED_SEEDS, slowest < SECONDS_MARK),
        ),
        _control_mark(results),
    ]
    protocol = [
        f"`{ENV}` with its default options, except that the seed of a run also draws the graph, "
        "the labels and the mechanisms.",
        f"Agents: all options at their defaults, {_words(steps)} environment steps. Normalised "
        "return is (return - random) / (oracle - random), the oracle being the planner on the "
        "true model, all on the same closing episodes.",
        f"Control: the default learner on {_words(rows)} transitions, as many as an agent takes "
        "steps, of uniformly random interventions or of none at all, scored on the same "
        "graph (goal and reward included).",
    ]
    return Findings(protocol, marks, [_agent_table(results), _control_table(results)])


def _exact(row: Row) -> bool:
    return row.get("shd_contemporaneous") == 0 and row.get("shd_lagged") == 0


def _words(values: list[int]) -> str:
    return " or ".join(f"{value:,}" for value in values) or "no"


def _control_mark(results: Results) -> Mark:
    measured, holds, count = [], True, NEEDED_SEEDS
    for mechanism in CONTROL_MECHANISMS:
        pair = [
            results.estimate("shd_contemporaneous", part="control", mechanism=mechanism, data=data)
            for data in (WITH, WITHOUT)
        ]
        with_, without = pair
        if with_ is None or without is None:
            measured.append(f"{mechanism}: not measured")
            count = 0
            continue
        measured.append(f"{mechanism}: {number(with_.value)} with, {number(without.value)} without")
        holds = holds and without.low > with_.high
        count = min(count, with_.count, without.count)
    return Mark(
        "interventions are needed: mean within-step SHD is lower with them, intervals apart",
        "; ".join(measured),
        decide(count, NEEDED_SEEDS, holds),
    )


def _agent_table(results: Results) -> str:
    columns = {
        "return_normalised": "normalised return", "return_mean": "return",
        "return_random": "random", "return_noop": "no-op", "return_oracle": "oracle",
        "shd_contemporaneous": "SHD within step", "shd_lagged": "SHD lagged",
        "seconds": "seconds",
    }  # fmt: skip
    lines: list[list[object]] = [
        [f"seed {row['seed']}", *(_cell(row, name) for name in columns)]
        for row in results.select(part="agent")
    ]
    for label, statistic in (("mean", mean), ("interquartile mean", interquartile_mean)):
        line: list[object] = [label]
        for name in columns:
            values = results.values(name, part="agent")
            line.append(number(float(statistic(values)) if values.size else None))
        lines.append(line)
    interval = results.estimate("return_normalised", part="agent")
    text = f"\n\nMean normalised return with its interval: {interval}." if interval else ""
    return "## Agents\n\n" + markdown_table(["", *columns.values()], lines) + text


def _cell(row: Row, name: str) -> str:
    value = row.get(name)
    return number(value) if isinstance(value, int | float) else "-"


def _control_table(results: Results) -> str:
    metrics = {
        "shd_contemporaneous": "SHD within step", "sid_contemporaneous": "SID within step",
        "f1_contemporaneous": "F1 within step", "shd_lagged": "SHD lagged",
    }  # fmt: skip
    lines = []
    for mechanism in CONTROL_MECHANISMS:
        for data in (WITH, WITHOUT):
            where: Row = {"part": "control", "mechanism": mechanism, "data": data}
            exact = sum(_exact(row) for row in results.select(**where))
            estimates = [results.estimate(metric, **where) or "-" for metric in metrics]
            total = len(results.select(**where))
            lines.append([f"{mechanism}, {data}", *estimates, f"{exact} of {total}"])
    header = ["mechanism, data", *metrics.values(), "both exact"]
    return "## The same learner without interventions\n\n" + markdown_table(header, lines)


def figures(results: Results) -> Mapping[str, Figure]:
    """Learning curves of all seeds, and the control."""
    curves = Figure(figsize=(11, 4.2), layout="constrained")
    left, right = curves.subplots(1, 2)
    _return_panel(left, results)
    _error_panel(right, results)
    control = Figure(figsize=(6, 4), layout="constrained")
    _control_panel(control.subplots(), results)
    return {"learning_curves.png": curves, "control.png": control}


def _return_panel(axes: Axes, results: Results) -> None:
    """Normalised returns: one thin line a seed, the median thick; yardsticks dashed."""
    steps, lines = _series(results, "rollout_return")
    for line in lines:
        axes.plot(steps, line, color="C0", linewidth=0.6, alpha=0.5)
    if lines:
        axes.plot(steps, np.median(lines, axis=0), "C0", linewidth=2, label="training, median")
    evaluated, lines = _series(results, "eval_return")
    if lines:
        axes.plot(evaluated, np.median(lines, axis=0), "C1o-", label="evaluation, median")
    axes.axhline(1.0, color="C2", linestyle="--", label="oracle planner")
    axes.axhline(0.0, color="C3", linestyle="--", label="random interventions")
    still = [
        (_float(row, "return_noop") - _float(row, "return_random")) / _span(row)
        for row in results.select(part="agent")
        if _span(row) > 0
    ]
    if still:
        axes.axhline(
            float(np.median(still)), color="C7", linestyle="--", label="no intervention, median"
        )
    axes.set(
        xlabel="environment steps",
        ylabel="normalised return",
        title=f"Return, {len(results.select(part='agent'))} seeds",
    )
    axes.legend(fontsize=8)


def _error_panel(axes: Axes, results: Results) -> None:
    for name, label, color in (
        ("shd_contemporaneous", "within step", "C0"),
        ("shd_lagged", "lagged", "C1"),
    ):
        steps, lines = _series(results, name, normalise=False)
        for line in lines:
            axes.step(steps, line, color=color, linewidth=0.6, alpha=0.5, where="post")
        if lines:
            axes.step(
                steps, np.median(lines, axis=0), color, linewidth=2, where="post",
                label=f"{label}, median",
            )  # fmt: skip
    axes.set(xlabel="environment steps", ylabel="SHD to the truth [edges]", title="Learned graph")
    axes.set_ylim(-0.2, max(1.0, axes.get_ylim()[1]))
    if axes.lines:
        axes.legend(fontsize=8)


def _series(
    results: Results, name: str, *, normalise: bool = True
) -> tuple[np.ndarray[Any, Any], list[np.ndarray[Any, Any]]]:
    """One curve a seed, on the steps of the first seed."""
    grid_steps: np.ndarray[Any, Any] = np.empty(0)
    lines = []
    for row in results.select(part="agent"):
        mine = [c for c in results.curves if c["cell"] == row["cell"] and c.get(name) is not None]
        if not mine or (normalise and _span(row) <= 0):
            continue
        steps = np.array([_float(c, "env_steps") for c in mine])
        values = np.array([_float(c, name) for c in mine])
        if normalise:
            values = (values - _float(row, "return_random")) / _span(row)
        if not grid_steps.size:
            grid_steps = steps
        lines.append(np.interp(grid_steps, steps, values))
    return grid_steps, lines


def _span(row: Row) -> float:
    return _float(row, "return_oracle") - _float(row, "return_random")


def _float(row: Row, name: str) -> float:
    value = row.get(name)
    return float(value) if isinstance(value, int | float) else float("nan")


def _control_panel(axes: Axes, results: Results) -> None:
    for offset, data, color in ((-0.2, WITH, "C0"), (0.2, WITHOUT, "C3")):
        for place, mechanism in enumerate(CONTROL_MECHANISMS):
            where: Row = {"part": "control", "mechanism": mechanism, "data": data}
            values = results.values("shd_contemporaneous", **where)
            found = results.estimate("shd_contemporaneous", **where)
            if found is None:
                continue
            axes.bar(
                place + offset, found.value, 0.36, color=color, alpha=0.6,
                label=data if place == 0 else None,
            )  # fmt: skip
            spread = place + offset + np.linspace(-0.12, 0.12, values.size)
            axes.plot(spread, values, ".", color="black", markersize=4)
    axes.set_xticks(range(len(CONTROL_MECHANISMS)), CONTROL_MECHANISMS)
    axes.set(ylabel="within-step SHD [edges]", title="The same learner and number of transitions")
    if axes.patches:
        axes.legend(fontsize=8)


BENCHMARK = Benchmark(
    name="agent-chain",
    title="The default agent on chain-scm",
    description="Graph and return of the default agent over seeds that also draw the graph; the "
    "same learner without interventions.",
    grid=grid,
    function=run,
    findings=findings,
    figures=figures,
    headline=lambda results: (
        f"exact graphs {sum(_exact(r) for r in results.select(part='agent'))}, "
        f"normalised return {results.estimate('return_normalised', part='agent') or '-'}"
    ),
)
