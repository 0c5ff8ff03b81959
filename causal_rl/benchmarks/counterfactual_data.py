"""Does a policy learn from what would have happened? Algorithm 5 with and without such data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from causal_rl.benchmarks.agent_runs import (
    SMOKE_OPTIONS,
    SMOKE_WORLD,
    normalised_curve,
    run_settings,
    train_cell,
)
from causal_rl.benchmarks.agents_scores import (
    CURVE,
    SCORE,
    curve_table,
    iqm_headline,
    methods_of,
    paired_differences,
    score_lines,
    worlds_of,
)
from causal_rl.benchmarks.cells import Cell, Outcome, Row
from causal_rl.benchmarks.report import Findings, Mark, decide, markdown_table
from causal_rl.benchmarks.results import Benchmark, Results
from causal_rl.benchmarks.statistics import Estimate, estimate
from causal_rl.envs import CueOptions, RandomGraphOptions, WorldOptions

#: A bare chain; a random graph; cues, effects of the reward and a hidden confounder.
WORLDS: dict[str, type[WorldOptions]] = {
    "chain-scm": WorldOptions,
    "er-scm": RandomGraphOptions,
    "cues-scm": CueOptions,
}
NONE, PASSES, OURS, FRESH = "none", "4 x the passes", "3 stored", "3 fresh"
#: Options of each method, where they are not the defaults. A rollout and three counterfactual ones
#: make as many gradient steps as four times the passes over the rollout alone.
METHODS: dict[str, dict[str, Any]] = {
    NONE: {},
    PASSES: {"epochs": 16},
    "1 stored": {"counterfactuals": 1},
    OURS: {"counterfactuals": 3},
    FRESH: {"counterfactuals": 3, "counterfactual_noise": "fresh"},
}
STEPS = 12_000
# The option was developed on graph seeds below 100.
FIRST_SEED = 2_000
NEEDED_SEEDS = 10


def grid(seeds: int, smoke: bool) -> list[Cell]:
    """Seeds outermost; every method of a seed meets the same worlds."""
    return [
        Cell(
            {"world": world, "method": method, "seed": seed}, _settings(world, method, seed, smoke)
        )
        for seed in range(min(seeds, 1) if smoke else seeds)
        for world in (["chain-scm"] if smoke else WORLDS)
        for method in ([NONE, OURS] if smoke else METHODS)
    ]


def _settings(world: str, method: str, seed: int, smoke: bool) -> dict[str, Any]:
    chosen = WORLDS[world](graph_seed=FIRST_SEED + seed, **(SMOKE_WORLD if smoke else {}))
    options: dict[str, Any] = {
        "steps": STEPS, "eval_every": 1, "final_episodes": 64, "checkpoint_every": 1_000,
    }  # fmt: skip
    options |= METHODS[method] | (SMOKE_OPTIONS if smoke else {})
    return run_settings(world, chosen, FIRST_SEED + seed, **options)


def run(cell: Cell) -> Outcome:
    """Train once; the closing return, and the returns on the way."""
    with train_cell(cell) as (folder, found):
        curve = normalised_curve(folder, found)
    figures: Row = dict(found)
    values = [float(v) for row in curve if isinstance(v := row[CURVE], int | float)]
    figures["curve_mean"] = float(np.mean(values)) if values else None
    return Outcome(figures, curve)


def findings(results: Results) -> Findings:
    """What the data are worth in each world, beside more passes and beside fresh noise."""
    steps = sorted({int(v) for v in results.values("env_steps")})
    protocol = [
        f"Seed k draws graph, labels and mechanisms as graph seed {FIRST_SEED} + k, on none of "
        f"which anything was settled. {' or '.join(f'{s:,}' for s in steps) or 'No'} environment "
        "steps, the 4,096 of the warm-up among them.",
        "Every run is Algorithm 5 with the default options (ecam, learned graph, PPO). `K stored`: "
        "after each rollout the policy acts K times anew in the learned model, from the same "
        "states and under the noise that was abducted from the rollout, and is updated on each as "
        "on the rollout itself. `3 fresh`: the same under noise that is drawn anew. `4 x the "
        "passes`: PPO passes 16 times over the rollout, not 4, which makes as many gradient steps "
        "as `3 stored` without any such data.",
        "Normalised return is (return - random) / (oracle - random): at the end that of the policy "
        "that evaluated best, on closing episodes that training did not see; on the way that of "
        "the policy as it stands, an evaluation a rollout.",
        "IQM is the interquartile mean over the runs of all worlds with the stratified bootstrap "
        "interval of rliable. Differences are paired by seed and world.",
    ]
    marks = [
        _mark(results, SCORE, NONE, "a higher return at the end than without"),
        _mark(results, SCORE, PASSES, "a higher return at the end than by as many gradient steps"),
        _mark(results, "curve_mean", NONE, "a higher return on the way than without"),
        _mark(results, SCORE, FRESH, "a higher return at the end than by fresh noise"),
    ]
    sections = [
        _return_table(results),
        _worth_table(results),
        _curve_table(results),
        _cost_table(results),
    ]
    return Findings(protocol, marks, sections)


def gain(results: Results, metric: str, over: str, world: str | None = None) -> Estimate | None:
    """Mean difference of `OURS` to another method, paired by seed and world."""
    found = paired_differences(results, metric, OURS, over, world)
    return estimate(found) if found else None


def _mark(results: Results, metric: str, over: str, words: str) -> Mark:
    """Holds where the interval of the difference over all worlds leaves 0 out."""
    found = gain(results, metric, over)
    worlds = worlds_of(results)
    seeds = min((len(results.select(method=OURS, world=world)) for world in worlds), default=0)
    return Mark(
        f"{OURS}: {words}",
        f"{found} over {len(worlds)} worlds" if found else "not measured",
        decide(seeds, NEEDED_SEEDS, found is not None and found.low > 0),
    )


def _return_table(results: Results) -> str:
    return "## Normalised return at the end\n\nMean over seeds by world.\n\n" + markdown_table(
        ["data", "IQM", *worlds_of(results)], score_lines(results)
    )


def _worth_table(results: Results) -> str:
    worlds = worlds_of(results)
    lines: list[list[object]] = []
    for metric, when in ((SCORE, "at the end"), ("curve_mean", "on the way")):
        for over in methods_of(results):
            if over == OURS:
                continue
            line: list[object] = [f"{over}, {when}"]
            line += [gain(results, metric, over, world) or "-" for world in worlds]
            lines.append(line)
    return (
        f"## What the data are worth\n\nHow much higher the normalised return of `{OURS}` is than "
        "that of each other; on the way: the mean over all evaluations of a run.\n\n"
        + markdown_table(["over", *worlds], lines)
    )


def _curve_table(results: Results) -> str:
    """IQM on the way, and the steps after which it stays above some levels."""
    at = [5_000, 6_000, 7_000, 8_000, 10_000, 12_000]
    return (
        "## Sample efficiency\n\nIQM of the normalised return after so many environment steps, "
        "and the steps from which it stays above a level.\n\n" + curve_table(results, at, "data")
    )


def _cost_table(results: Results) -> str:
    lines: list[list[object]] = []
    for method in methods_of(results):
        rows = results.select(method=method)
        exact = sum(r.get("shd_contemporaneous") == 0 and r.get("shd_lagged") == 0 for r in rows)
        seconds = results.estimate("cpu_seconds", method=method)
        lines.append([method, f"{exact} of {len(rows)}", seconds or "-"])
    return (
        "## Graphs and cost\n\nThe data go to the policy alone: a graph learner would find in them "
        "what it had found before.\n\n"
        + markdown_table(["data", "learned graph exact", "processor seconds a cell"], lines)
    )


def figures(results: Results) -> Mapping[str, Figure]:
    """A learning curve a world: mean and interval over seeds."""
    worlds, methods = worlds_of(results), methods_of(results)
    figure = Figure(figsize=(3.6 * max(len(worlds), 1), 3.4), layout="constrained")
    panels = np.atleast_1d(figure.subplots(1, max(len(worlds), 1), sharey=True))
    for axes, world in zip(panels, worlds, strict=False):
        for place, method in enumerate(methods):
            rows = [
                r for r in results.curves if r.get("world") == world and r.get("method") == method
            ]
            at = sorted({int(r["env_steps"]) for r in rows if isinstance(r["env_steps"], int)})
            by = {step: [r[CURVE] for r in rows if r["env_steps"] == step] for step in at}
            found = [estimate([float(v) for v in by[s] if isinstance(v, int | float)]) for s in at]
            axes.plot(at, [e.value for e in found], f"C{place}-", label=method)
            low, high = [e.low for e in found], [e.high for e in found]
            axes.fill_between(at, low, high, color=f"C{place}", alpha=0.12)
        axes.axhline(1.0, color="black", linestyle=":", linewidth=1)
        axes.set_title(world, fontsize=9)
        axes.set_xlabel("environment steps", fontsize=8)
        axes.tick_params(labelsize=8)
    panels[0].set_ylabel("normalised return", fontsize=8)
    if panels[-1].lines[1:]:
        panels[-1].legend(fontsize=8)
    return {"learning_curves.png": figure}


BENCHMARK = Benchmark(
    name="counterfactual-data",
    title="Counterfactual data for the policy",
    description="Normalised return of Algorithm 5 on three worlds with stored-noise counterfactual "
    "rollouts, with fresh noise, with more passes over the real ones, and without.",
    grid=grid,
    function=run,
    findings=findings,
    figures=figures,
    headline=iqm_headline,
)
