"""How few interactions does planning in a learned model need on worlds never seen before?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from causal_rl.benchmarks.agent_runs import (
    SMOKE_OPTIONS,
    SMOKE_WORLD,
    run_history,
    run_settings,
    train_cell,
)
from causal_rl.benchmarks.cells import Cell, Outcome, Row, Value
from causal_rl.benchmarks.report import Findings, Mark, decide, markdown_table
from causal_rl.benchmarks.results import Benchmark, Results
from causal_rl.benchmarks.statistics import number
from causal_rl.envs import WorldOptions

ENV = "chain-scm"
# The agent was developed on graph seeds below 100; on none of these was anything settled.
FIRST_GRAPH_SEED = 2_000
EXPLORATIONS = ("random", "information")
PPO_SEEDS = 3
# Rollouts between two evaluations of PPO: its curve must show where it passes the mark.
PPO_EVAL_EVERY = 4
EARLY, LATE = 250, 5_000
EARLY_MARK, LATE_MARK = 0.90, 0.97
NEEDED_SEEDS = 10

_SMOKE = {"steps": 160, "final_episodes": 4, "samples": 16}
_SMOKE_WARM = {"warm_start": "planner", "warm_start_steps": 128, "minibatch_size": 512}
_WHO: dict[str, dict[str, Value]] = {
    "planner, random": {"agent": "planner", "variant": "random"},
    "planner, informed": {"agent": "planner", "variant": "information"},
    "PPO": {"agent": "ppo", "variant": "from nothing"},
    "PPO, warm start": {"agent": "ppo", "variant": "warm start"},
}
_COLORS = ("C0", "C1", "C4", "C5")


def grid(seeds: int, smoke: bool) -> list[Cell]:
    """Planners first (exploration x seed), then PPO with and without a teacher on the first."""
    world: dict[str, Any] = SMOKE_WORLD if smoke else {}
    count = min(seeds, 1) if smoke else seeds
    worlds = {
        seed: WorldOptions(graph_seed=FIRST_GRAPH_SEED + seed, **world) for seed in range(count)
    }
    small: dict[str, Any] = _SMOKE if smoke else {}
    cells = [
        Cell(
            {"agent": "planner", "variant": exploration, "seed": seed},
            run_settings(
                ENV, worlds[seed], seed, agent="planner", exploration=exploration, **small
            ),
        )
        for seed in range(count)
        for exploration in (EXPLORATIONS[-1:] if smoke else EXPLORATIONS)
    ]
    options: dict[str, Any] = SMOKE_OPTIONS if smoke else {"eval_every": PPO_EVAL_EVERY}
    warm: dict[str, Any] = _SMOKE_WARM if smoke else {"warm_start": "planner"}
    cells += [
        Cell(
            {"agent": "ppo", "variant": variant, "seed": seed},
            run_settings(ENV, worlds[seed], seed, **options, **start),
        )
        for seed in range(min(count, PPO_SEEDS))
        for variant, start in (("from nothing", {}), ("warm start", warm))[1 if smoke else 0 :]
    ]
    return cells


def run(cell: Cell) -> Outcome:
    """Train a planner or, for comparison, the default agent."""
    with train_cell(cell) as (folder, summary):
        history = run_history(folder)
    names = ("return_normalised", "return_mean", "return_oracle", "env_steps", "seconds")
    figures = {name: summary[name] for name in names}
    curve = _curve(history, summary)
    for until, name in ((EARLY, "early"), (LATE, "late")):
        within = [row for row in curve if _number(row["interactions"]) <= until]
        last = within[-1] if within else {}
        figures |= {f"{key}_{name}": last.get(key) for key in ("normalised", "interactions", "shd")}
    passed = [row for row in curve if _number(row["normalised"]) >= EARLY_MARK]
    figures["interactions_to_mark"] = passed[0]["interactions"] if passed else None
    return Outcome(figures, curve)


def _curve(history: list[dict[str, float]], summary: Row) -> list[Row]:
    """A row an evaluation; returns are normalised by the closing yardsticks."""
    low, high = _number(summary["return_random"]), _number(summary["return_oracle"])
    curve: list[Row] = []
    for row in history:
        if "eval/mean_reward" not in row:
            continue
        value = row["eval/mean_reward"]
        horizon = row.get("planner/horizon")
        curve.append(
            {
                "interactions": int(row["env_steps"]),
                "return": value,
                "normalised": (value - low) / (high - low) if high > low else None,
                "shd": int(row["causal/shd_contemporaneous"] + row["causal/shd_lagged"]),
                "horizon": None if horizon is None else int(horizon),
            }
        )
    return curve


def findings(results: Results) -> Findings:
    """The marks of the planner and a line an agent and seed."""
    planner = _WHO["planner, random"]
    early = results.values("normalised_early", **planner)
    late = results.values("normalised_late", **planner)
    taken = [
        sorted({int(v) for v in results.values(f"interactions_{name}", agent="planner")})
        for name in ("early", "late")
    ]
    good_early, good_late = int((early >= EARLY_MARK).sum()), int((late >= LATE_MARK).sum())
    marks = [
        Mark(
            f"planner: normalised return >= {EARLY_MARK:.2f} after at most {EARLY} interactions in "
            "at least 9 of 10",
            _share(good_early, early),
            decide(len(early), NEEDED_SEEDS, good_early >= 0.9 * len(early)),
        ),
        Mark(
            f"planner: normalised return >= {LATE_MARK:.2f} by {LATE:,} interactions in 10 of 10",
            _share(good_late, late),
            decide(len(late), NEEDED_SEEDS, good_late == len(late)),
        ),
    ]
    protocol = [
        f"`{ENV}` with its default options; seed k draws graph, labels and mechanisms as graph "
        f"seed {FIRST_GRAPH_SEED} + k, on none of which anything was settled.",
        "The planner has all options at their defaults. Its figures are those of the agent as it "
        "stands, without exploration, after the last learning within "
        f"{EARLY} and {LATE:,} interactions ({_words(taken[0])} and {_words(taken[1])} were "
        "taken); the episodes of an evaluation count as none. Its first interactions are random; "
        '"informed" means that later exploration goes where bagged models, each on a graph of '
        "its own, disagree.",
        f"PPO is the default agent of `causal-rl train` on the first {PPO_SEEDS} seeds, as long "
        f"as it trains by default, evaluated every {PPO_EVAL_EVERY} rollouts. With a warm start it "
        "begins as the pupil of a planner whose interactions are counted as its own, and whose "
        "rows stand for the random warm-up.",
        "Normalised return is (return - random) / (oracle - random), the oracle being the planner "
        "in the true model, which plans with fewer noise samples than the learned model's planner, "
        "so that a figure can pass 1 by a few hundredths. The planner's evaluations are on the "
        "episodes of these yardsticks; PPO's, which choose the policy it ends with, are not.",
    ]
    return Findings(protocol, marks, [_table(results), _curve_table(results)])


def _share(good: int, values: np.ndarray[Any, Any]) -> str:
    least = f"; least {number(float(values.min()))}" if values.size else ""
    return f"{good} of {len(values)}{least}"


def _words(values: list[int]) -> str:
    return " or ".join(f"{value:,}" for value in values) or "none"


def _table(results: Results) -> str:
    columns = {
        "normalised_early": f"at {EARLY}", "normalised_late": f"at {LATE:,}",
        "shd_early": f"SHD at {EARLY}", "shd_late": f"SHD at {LATE:,}",
        "interactions_to_mark": f"interactions to {EARLY_MARK:.2f}",
        "return_normalised": "in the end", "env_steps": "interactions", "seconds": "seconds",
    }  # fmt: skip
    lines: list[list[object]] = []
    for label, where in _WHO.items():
        for row in results.select(**where):
            cells = [_cell(row.get(name)) for name in columns]
            lines.append([f"{label}, seed {row['seed']}", *cells])
    for label, where in _WHO.items():
        estimates = [results.estimate(name, **where) or "-" for name in columns]
        lines.append([f"{label}, mean", *estimates])
    return "## Normalised return\n\n" + markdown_table(["", *columns.values()], lines)


def _curve_table(results: Results) -> str:
    """Mean normalised return of the planners at each evaluation."""
    lines: list[list[object]] = []
    steps: list[int] = []
    for label, where in _WHO.items():
        if where["agent"] != "planner":
            continue
        found, lines_of = _series(results, where)
        steps = steps or found
        if found:
            lines.append([label, *(number(float(v)) for v in np.mean(lines_of, axis=0))])
    header = ["interactions", *(f"{step:,}" for step in steps)]
    return "## Mean normalised return on the way\n\n" + markdown_table(header, lines)


def figures(results: Results) -> Mapping[str, Figure]:
    """Normalised return over interactions: the planners and PPO, a thin line a seed."""
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    for color, (label, where) in zip(_COLORS, _WHO.items(), strict=True):
        steps, lines = _series(results, where)
        for line in lines:
            axes.plot(steps, line, color=color, linewidth=0.6, alpha=0.5)
        if lines:
            axes.plot(
                steps, np.median(lines, axis=0), color, marker="o", markersize=3,
                label=f"{label}, median of {len(lines)}",
            )  # fmt: skip
    axes.axhline(1.0, color="C2", linestyle="--", label="oracle planner")
    axes.axhline(0.0, color="C3", linestyle="--", label="random interventions")
    for at, mark in ((EARLY, EARLY_MARK), (LATE, LATE_MARK)):
        axes.plot([at], [mark], "k+", markersize=12)
    axes.set(xscale="log", xlabel="interactions", ylabel="normalised return", title=ENV)
    axes.set_ylim(-0.4, 1.15)
    axes.legend(fontsize=8, loc="lower right")
    return {"returns.png": figure}


def _series(
    results: Results, where: Mapping[str, Value]
) -> tuple[list[int], list[np.ndarray[Any, Any]]]:
    """One curve a seed, on the interactions of the first."""
    grid_steps: list[int] = []
    lines = []
    for row in results.select(**where):
        mine = [c for c in results.curves if c["cell"] == row["cell"]]
        pairs = [
            (at, value)
            for at, value in ((c.get("interactions"), c.get("normalised")) for c in mine)
            if isinstance(at, int | float) and isinstance(value, int | float)
        ]
        if not pairs:
            continue
        steps, values = zip(*pairs, strict=True)
        grid_steps = grid_steps or [int(step) for step in steps]
        lines.append(np.interp(grid_steps, steps, values))
    return grid_steps, lines


def _number(value: Value) -> float:
    return float(value) if isinstance(value, int | float) else -np.inf


def _cell(value: Value) -> str:
    return number(value) if isinstance(value, int | float) else "-"


def _headline(results: Results) -> str:
    where = _WHO["planner, random"]
    early = results.estimate("normalised_early", **where) or "-"
    late = results.estimate("normalised_late", **where) or "-"
    return f"normalised return {early} at {EARLY}, {late} at {LATE:,}"


BENCHMARK = Benchmark(
    name="planner-chain",
    title="Planning in the learned model on chain-scm",
    description="Normalised return over interactions of the planning agent, with random and with "
    "informed exploration, and of PPO with and without a start by the planner, on unseen worlds.",
    grid=grid,
    function=run,
    findings=findings,
    figures=figures,
    headline=_headline,
)
