"""Do the loops of Stable-Baselines3 and Tianshou earn with our encoder what our own loop earns?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from causal_rl.benchmarks.agent_runs import (
    SMOKE_OPTIONS,
    SMOKE_WORLD,
    run_settings,
    train_cell,
)
from causal_rl.benchmarks.cells import Cell, Outcome, Row
from causal_rl.benchmarks.report import Findings, Mark, decide, markdown_table
from causal_rl.benchmarks.results import Benchmark, Results
from causal_rl.benchmarks.statistics import estimate, interquartile_mean, number
from causal_rl.envs import ProxyOptions, WorldOptions
from causal_rl.errors import import_extra

#: Options of each world's class; the rest of them are at their defaults.
WORLDS: dict[str, type[WorldOptions]] = {
    "chain-scm": WorldOptions,
    "proxy-chain-scm": ProxyOptions,
    "er-scm": WorldOptions,
}
OWN, OWN_A2C = "own", "own-a2c"
_A2C = {"rollout_steps": 4, "graph_every": 40, "eval_every": 80, "checkpoint_every": 80}
#: What each loop is given beside the defaults, which are those of our own PPO.
LOOPS: dict[str, dict[str, Any]] = {
    OWN: {},
    "sb3-ppo": {},
    OWN_A2C: {"policy_update": "a2c", **_A2C},
    "sb3-a2c": _A2C,
    "tianshou-ppo": {},
    "tianshou-sac": {"learning_rate": 1e-3},
}
SMOKE_LOOPS = (OWN, "sb3-ppo", "tianshou-ppo")
STEPS = 24_000
# The loops were developed on graph seeds below 100.
FIRST_SEED = 2_000
NEEDED_SEEDS = 10


def grid(seeds: int, smoke: bool) -> list[Cell]:
    """Seeds outermost; every loop of a seed meets the same worlds."""
    return [
        Cell({"world": world, "loop": loop, "seed": seed}, _settings(world, loop, seed, smoke))
        for seed in range(min(seeds, 1) if smoke else seeds)
        for world in (list(WORLDS)[:1] if smoke else WORLDS)
        for loop in (SMOKE_LOOPS if smoke else LOOPS)
    ]


def _settings(world: str, loop: str, seed: int, smoke: bool) -> dict[str, Any]:
    chosen = WORLDS[world](graph_seed=FIRST_SEED + seed, **(SMOKE_WORLD if smoke else {}))
    options: dict[str, Any] = {"steps": STEPS, **LOOPS[loop], **(SMOKE_OPTIONS if smoke else {})}
    algo = OWN if loop == OWN_A2C else loop
    return run_settings(world, chosen, FIRST_SEED + seed, algo=algo, **options)


def run(cell: Cell) -> Outcome:
    """Train once by the cell's loop."""
    with train_cell(cell) as (_, figures):
        return Outcome(figures)


def _prepare() -> None:
    import_extra("stable_baselines3", extra="sb3")
    import_extra("tianshou", extra="tianshou")


def findings(results: Results) -> Findings:
    """A mark a bridge, and the tables."""
    steps = sorted({int(v) for v in results.values("env_steps")})
    protocol = [
        "A seed draws the world's graph, labels and mechanisms and is the run's own; every loop "
        "gets the same worlds, evaluation episodes and yardsticks. Normalised return is (return - "
        "random) / (oracle - random) of the policy that evaluated best, on the closing episodes.",
        f"{' to '.join(f'{s:,}' for s in dict.fromkeys([*steps[:1], *steps[-1:]])) or 'No'} "
        "environment steps, exploration included; encoder ecam on the graph that the run learns. "
        "All PPOs have the options of our own: rollouts of 16 steps in 32 environments, 4 epochs "
        "of 128 rows.",
        "sb3-a2c: rollouts of 4 steps, one update each; own-a2c is our own loop with that update, "
        "to tell the bridge from the algorithm. tianshou-sac: discrete, one gradient step "
        "for 32 environment steps, step size .001. Both were chosen on other seeds.",
        "A bridge reaches the own trainer where the upper end of its interval is no lower than "
        "the lower end of the own trainer's.",
    ]
    marks = [_mark(results, loop) for loop in LOOPS if loop not in (OWN, OWN_A2C)]
    marks.append(_mark(results, "sb3-a2c", OWN_A2C))
    tables = [
        _table(results, "return_normalised", "Normalised return"),
        _difference_table(results),
        _graph_table(results),
        _table(results, "seconds", "Seconds of a run"),
    ]
    return Findings(protocol, marks, tables)


def _mark(results: Results, loop: str, ours: str = OWN) -> Mark:
    measured, holds, count = [], True, NEEDED_SEEDS
    for world in WORLDS:
        own = results.estimate("return_normalised", world=world, loop=ours)
        bridge = results.estimate("return_normalised", world=world, loop=loop)
        if own is None or bridge is None:
            measured.append(f"{world}: not measured")
            count = 0
            continue
        reached = bridge.high >= own.low
        measured.append(f"{world}: {bridge} of {own}{'' if reached else ', short'}")
        holds, count = holds and reached, min(count, own.count, bridge.count)
    with_ = "" if ours == OWN else "with the same update "
    return Mark(
        f"{loop} reaches the own trainer's normalised return {with_}within its interval on every "
        "world",
        "; ".join(measured),
        decide(count, NEEDED_SEEDS, holds),
    )


def _loops(results: Results) -> list[str]:
    return [loop for loop in LOOPS if results.select(loop=loop)]


def _worlds(results: Results) -> list[str]:
    return [world for world in WORLDS if results.select(world=world)]


def _table(results: Results, metric: str, title: str) -> str:
    worlds = _worlds(results)
    lines: list[list[object]] = [
        [loop, *(results.estimate(metric, world=world, loop=loop) or "-" for world in worlds)]
        for loop in _loops(results)
    ]
    return f"## {title}\n\n" + markdown_table(["loop", *worlds], lines)


def _difference_table(results: Results) -> str:
    worlds = _worlds(results)
    lines: list[list[object]] = [
        [
            loop,
            *(
                estimate(values) if (values := _paired(results, world, loop)).size else "-"
                for world in worlds
            ),
        ]
        for loop in _loops(results)
        if loop != OWN
    ]
    text = "## Minus the own trainer's, paired by seed\n\n"
    return text + markdown_table(["loop", *worlds], lines)


def _paired(results: Results, world: str, loop: str) -> np.ndarray[Any, Any]:
    ours: Row = {"world": world, "loop": OWN}
    return results.differences("return_normalised", {"world": world, "loop": loop}, ours)


def _graph_table(results: Results) -> str:
    """How many runs found both graphs without an error."""
    worlds = _worlds(results)
    lines: list[list[object]] = []
    for loop in _loops(results):
        line: list[object] = [loop]
        for world in worlds:
            rows = results.select(world=world, loop=loop)
            line.append(f"{sum(_exact(row) for row in rows)} of {len(rows)}")
        lines.append(line)
    return "## Runs whose graph is exact\n\n" + markdown_table(["loop", *worlds], lines)


def _exact(row: Row) -> bool:
    return row.get("shd_contemporaneous") == 0 and row.get("shd_lagged") == 0


def figures(results: Results) -> Mapping[str, Figure]:
    """Normalised returns: a panel a world, a dot a seed, the mean with its interval."""
    worlds, loops = _worlds(results), _loops(results)
    figure = Figure(figsize=(3.4 * max(len(worlds), 1), 3.2), layout="constrained")
    panels = np.atleast_1d(figure.subplots(1, max(len(worlds), 1), sharey=True))
    for axes, world in zip(panels, worlds, strict=False):
        for place, loop in enumerate(loops):
            values = results.values("return_normalised", world=world, loop=loop)
            found = results.estimate("return_normalised", world=world, loop=loop)
            if found is None:
                continue
            spread = place + np.linspace(-0.15, 0.15, values.size)
            axes.plot(spread, values, ".", color="0.6", markersize=4)
            error = [[found.value - found.low], [found.high - found.value]]
            axes.errorbar(place, found.value, yerr=error, fmt="o", color=f"C{place}", capsize=3)
        axes.set_xticks(range(len(loops)), loops, rotation=40, ha="right", fontsize=8)
        axes.set_title(world, fontsize=9)
        axes.grid(axis="y", alpha=0.3)
    panels[0].set_ylabel("normalised return")
    return {"returns.png": figure}


def _headline(results: Results) -> str:
    parts = []
    for loop in _loops(results):
        values = results.values("return_normalised", loop=loop)
        if values.size:
            parts.append(f"{loop} {number(float(interquartile_mean(values)))}")
    return ", ".join(parts)


BENCHMARK = Benchmark(
    name="bridges",
    title="The bridges beside our own trainer",
    description="Normalised return of Stable-Baselines3's and Tianshou's loops with our encoder "
    "and learned graph, beside Algorithm 5's own loop, at equal environment steps on three worlds.",
    grid=grid,
    function=run,
    findings=findings,
    figures=figures,
    headline=_headline,
    prepare=_prepare,
)
