"""What can be earned on every world: random interventions, nothing at all, a planner that knows."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from causal_rl.agents.evaluation import measure_yardsticks
from causal_rl.benchmarks.cells import Cell, Outcome
from causal_rl.benchmarks.report import Findings, markdown_table
from causal_rl.benchmarks.results import Benchmark, Results
from causal_rl.envs import resolve_spec
from causal_rl.envs.worlds import BUILT_IN

EPISODES, SMOKE_EPISODES = 32, 2
SMOKE_WORLDS = ("chain-scm", "front-door")
WHO = ("random", "noop", "oracle")


def grid(seeds: int, smoke: bool) -> list[Cell]:
    """Seeds outermost: world."""
    settings = {"episodes": SMOKE_EPISODES if smoke else EPISODES}
    return [
        Cell({"world": world, "seed": seed}, settings)
        for seed in range(min(seeds, 1) if smoke else seeds)
        for world in (SMOKE_WORLDS if smoke else BUILT_IN)
    ]


def run(cell: Cell) -> Outcome:
    """Measure the yardsticks; the seed draws graph and mechanisms where a world has such."""
    world, seed = str(cell.parameters["world"]), int(cell.parameters["seed"] or 0)
    fields = {field.name for field in dataclasses.fields(BUILT_IN[world].options)}
    options: dict[str, Any] = {"graph_seed": seed} if "graph_seed" in fields else {}
    spec = resolve_spec(world, **options)
    found = measure_yardsticks(spec, episodes=int(cell.settings["episodes"]), seed=seed)
    per_step = {name: getattr(found, name) / spec.horizon for name in WHO}
    return Outcome({**per_step, "oracle_horizon": found.oracle_horizon})


def findings(results: Results) -> Findings:
    """One table: worlds down, controllers across."""
    protocol = [
        f"Mean reward of a step over {EPISODES} episodes of each world's horizon, costs included; "
        "seed k draws graph, labels and mechanisms as graph seed k where a world has such.",
        "The oracle is `SCMPlanner` in the true model, hidden variables included, which plans 1, 2 "
        "or 4 steps ahead, whichever does best on other episodes. It is a strong planner, not a "
        "proof of what is best; the confounded worlds have exact values on their own page.",
    ]
    worlds = list(dict.fromkeys(str(row["world"]) for row in results.rows))
    lines: list[list[object]] = []
    for world in worlds:
        estimates = [results.estimate(name, world=world) or "-" for name in WHO]
        lines.append([world, *estimates])
    header = ["world", "random", "nothing", "oracle"]
    return Findings(protocol, (), ["## Mean reward of a step\n\n" + markdown_table(header, lines)])


def figures(results: Results) -> Mapping[str, Figure]:
    """Doing nothing, on each world's own scale from random interventions (0) to the oracle (1)."""
    worlds = list(dict.fromkeys(str(row["world"]) for row in results.rows))
    figure = Figure(figsize=(7, 0.28 * len(worlds) + 1.4), layout="constrained")
    axes = figure.subplots()
    for row, world in enumerate(worlds):
        low, nothing, high = (
            results.values(name, world=world) for name in ("random", "noop", "oracle")
        )
        if low.size and (high != low).all():
            share = (nothing - low) / (high - low)
            axes.plot(share, np.full(share.size, row), "s", color="C1", alpha=0.4, markersize=4)
            axes.plot(share.mean(), row, "s", color="C1", label=None if row else "nothing")
    axes.axvline(0.0, color="C3", linestyle="--", label="random")
    axes.axvline(1.0, color="C2", linestyle="--", label="oracle")
    axes.set_yticks(range(len(worlds)), worlds, fontsize=8)
    axes.invert_yaxis()
    axes.set_xlabel("(reward - random) / (oracle - random)")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    return {"returns.png": figure}


def _headline(results: Results) -> str:
    oracle, noop = results.values("oracle"), results.values("noop")
    if not oracle.size:
        return ""
    better = int((oracle > noop).sum())
    return f"the oracle earns more than doing nothing in {better} of {oracle.size}"


BENCHMARK = Benchmark(
    name="world-returns",
    title="What can be earned on every world",
    description="Mean reward of a step for random interventions, no intervention and an oracle "
    "planner on every world of the suite.",
    grid=grid,
    function=run,
    findings=findings,
    figures=figures,
    headline=_headline,
    seeds=3,
)
