"""Which agent earns most, how soon, and what of it is left when the world shifts?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure

from causal_rl.agents import evaluate_agent, load_options, load_world
from causal_rl.benchmarks import agents_figures
from causal_rl.benchmarks.agent_runs import (
    SMOKE_OPTIONS,
    SMOKE_WORLD,
    normalised_curve,
    run_settings,
    train_cell,
)
from causal_rl.benchmarks.agents_scores import (
    SCORE,
    curve_table,
    iqm_headline,
    methods_of,
    paired_differences,
    score_lines,
    scores,
    scores_by_world,
    worlds_of,
)
from causal_rl.benchmarks.aggregate import probability_of_improvement, stratified_estimate
from causal_rl.benchmarks.cells import Cell, Outcome, Row
from causal_rl.benchmarks.report import Findings, markdown_table
from causal_rl.benchmarks.results import Benchmark, Results
from causal_rl.benchmarks.statistics import estimate, number
from causal_rl.envs import CueOptions, ProxyOptions, RandomGraphOptions, WorldOptions
from causal_rl.errors import require_extra

#: A bare chain; a random graph; cues that betray; cues, effects of the reward and a confounder.
WORLDS: dict[str, type[WorldOptions]] = {
    "chain-scm": WorldOptions,
    "er-scm": RandomGraphOptions,
    "proxy-chain-scm": ProxyOptions,
    "cues-scm": CueOptions,
}
STEPS, PLANNER_STEPS = 24_000, 2_000
# What reads no graph spends no steps on finding one.
_NO_GRAPH: dict[str, Any] = {
    "graph": "full", "learner": "empty", "warmup_steps": 1, "explore_envs": 0,
}  # fmt: skip
_TRAINED: dict[str, Any] = {
    "steps": STEPS, "eval_every": 3, "final_episodes": 64, "checkpoint_every": 1_000,
}  # fmt: skip
#: Options of each method, where they are not the defaults.
METHODS: dict[str, dict[str, Any]] = {
    "planner": {"agent": "planner", "steps": PLANNER_STEPS, "final_episodes": 32},
    "ecam": {**_TRAINED},
    "masked-mlp": {**_TRAINED, "encoder": "masked-mlp"},
    "attention": {**_TRAINED, **_NO_GRAPH, "encoder": "attention"},
    "mlp": {**_TRAINED, **_NO_GRAPH, "encoder": "mlp"},
    "sb3-ppo": {**_TRAINED, **_NO_GRAPH, "encoder": "mlp", "algo": "sb3-ppo"},
}
WITH_GRAPH = ("planner", "ecam", "masked-mlp")
OURS = "ecam"
#: Shifts by whether a graph can be expected to help under them; a world may lack some.
SHIFTS = {"flip": True, "mechanism": False}
# Every agent was developed on graph seeds below 100.
FIRST_SEED = 2_000
_SMOKE_PLANNER = {"steps": 70, "final_episodes": 4, "samples": 16}


def grid(seeds: int, smoke: bool) -> list[Cell]:
    """Seeds outermost; every method of a seed meets the same worlds."""
    return [
        Cell(
            {"world": world, "method": method, "seed": seed},
            _settings(world, method, seed, smoke),
        )
        for seed in range(min(seeds, 1) if smoke else seeds)
        for world in (["proxy-chain-scm"] if smoke else WORLDS)
        for method in (["planner", "sb3-ppo"] if smoke else METHODS)
    ]


def _settings(world: str, method: str, seed: int, smoke: bool) -> dict[str, Any]:
    chosen = WORLDS[world](graph_seed=FIRST_SEED + seed, **(SMOKE_WORLD if smoke else {}))
    options = dict(METHODS[method])
    if smoke:
        options |= _SMOKE_PLANNER if method == "planner" else SMOKE_OPTIONS
    return run_settings(world, chosen, FIRST_SEED + seed, **options)


def run(cell: Cell) -> Outcome:
    """Train once, evaluate in the world as trained on and under its shifts."""
    with train_cell(cell) as (folder, found):
        figures: Row = dict(found)
        for shift in SHIFTS:
            if shift in load_world(load_options(folder)).shifts:
                after = evaluate_agent(folder, shift=shift).to_dict()
                figures[f"return_{shift}"] = after["return_mean"]
                figures[f"normalised_{shift}"] = after["return_normalised"]
        curve = normalised_curve(folder, figures)
    return Outcome(figures, curve)


def findings(results: Results) -> Findings:
    """The returns, how soon they are reached, who beats whom, what shifts leave, and the cost."""
    steps = {
        method: max((int(v) for v in results.values("env_steps", method=method)), default=0)
        for method in methods_of(results)
    }
    protocol = [
        f"Seed k draws graph, labels and mechanisms as graph seed {FIRST_SEED} + k, on none of "
        "which anything was settled. Environment steps: "
        + (", ".join(f"{method} {count:,}" for method, count in steps.items()) or "none")
        + ", exploration included.",
        "`planner` plans in the model it learns, and needs few steps and long to choose. `ecam` "
        "and `masked-mlp` are Algorithm 5 and read the graph that the run learns; `attention` and "
        "`mlp` are the same with every variable read, and no step spent on a graph; `sb3-ppo` is "
        "Stable-Baselines3's PPO with its MLP of the same width. Further options are the defaults.",
        "Normalised return is (return - random) / (oracle - random) of the policy that evaluated "
        "best (the planner as it stands in the end, on half of the episodes), on closing episodes "
        "that training did not see; random interventions and the planner in the true model are "
        "measured on the same episodes, in the same shifted world.",
        "IQM is the interquartile mean over the runs of all worlds with the stratified bootstrap "
        "interval of rliable, which resamples seeds within worlds. A curve is that of the policy "
        "as it stands, not the best so far.",
    ]
    sections = [
        _return_table(results),
        _winners(results),
        _curve_table(results),
        _improvement_table(results),
        _shift_table(results),
        _cost_table(results),
    ]
    return Findings(protocol, (), sections)


def _return_table(results: Results) -> str:
    worlds, lines = worlds_of(results), score_lines(results)
    for who in ("random", "noop", "oracle"):
        lines.append([who, "", *(_yardstick(results, world, who) for world in worlds)])
    header = ["method", "IQM", *worlds]
    return (
        "## Normalised return\n\nMean over seeds by world; of random, nothing and the oracle the "
        "return itself.\n\n" + markdown_table(header, lines)
    )


def _yardstick(results: Results, world: str, who: str) -> str:
    values = results.values(f"return_{who}", world=world)
    return f"({number(float(values.mean()))})" if values.size else "-"


def _winners(results: Results) -> str:
    """Where structure does not pay: worlds whose best mean is that of an agent without a graph."""
    lines = []
    for world in worlds_of(results):
        means = {
            method: found.value
            for method in methods_of(results)
            if (found := results.estimate(SCORE, world=world, method=method))
        }
        if not means:
            continue
        best = max(means, key=lambda name: means[name])
        reads = [name for name in means if name in WITH_GRAPH]
        if best in WITH_GRAPH or not reads:
            lines.append(f"- {world}: {best}.")
        else:
            near = max(reads, key=lambda name: means[name])
            lines.append(
                f"- {world}: {best}, which reads no graph, {number(means[best] - means[near])} "
                f"above {near}."
            )
    return "Best mean by world:\n\n" + "\n".join(lines)


def _curve_table(results: Results) -> str:
    """IQM on the way, and the steps after which it stays above some levels."""
    at = [250, 500, 1_000, 2_000, 6_000, 12_000, 18_000, 24_000]
    return (
        "## Sample efficiency\n\nIQM of the normalised return after so many environment steps, "
        "and the steps of the evaluation from which it stays above a level.\n\n"
        + curve_table(results, at, "method")
    )


def _improvement_table(results: Results) -> str:
    lines: list[list[object]] = []
    for method in methods_of(results):
        if method == OURS:
            continue
        shared = [
            w for w in worlds_of(results) if all(scores(results, m, w).size for m in (OURS, method))
        ]
        if not shared:
            continue
        pair = [[scores(results, m, world) for world in shared] for m in (OURS, method)]
        lines.append([method, probability_of_improvement(*pair)])
    return (
        f"## Probability of improvement\n\nThat a run of {OURS} scores higher than one of the "
        "method in the same world, mean over worlds; .5 is even.\n\n"
        + markdown_table(["method", f"{OURS} is better"], lines)
    )


def _shift_table(results: Results) -> str:
    """IQM under each shift, and the difference to the agent of the same loop without a graph."""
    lines: list[list[object]] = []
    for method in methods_of(results):
        line: list[object] = [method]
        for metric in (SCORE, *(f"normalised_{shift}" for shift in SHIFTS)):
            tasks = scores_by_world(results, method, metric)
            line.append(stratified_estimate(tasks) if tasks else "-")
        lines.append(line)
    for first, second in (("ecam", "attention"), ("masked-mlp", "mlp")):
        line = [f"{first} - {second}"]
        for metric in (SCORE, *(f"normalised_{shift}" for shift in SHIFTS)):
            values = paired_differences(results, metric, first, second)
            line.append(estimate(values) if values else "-")
        lines.append(line)
    blind = ", ".join(shift for shift, helps in SHIFTS.items() if not helps)
    having = ", ".join(
        world for world in worlds_of(results) if results.values("normalised_flip", world=world).size
    )
    return (
        "## When the world shifts\n\nIQM of the normalised return, and mean differences paired by "
        f"seed and world. flip turns the cues' sign ({having or 'no world'}); nothing is expected "
        f"of a graph under {blind}.\n\n" + markdown_table(["method", "as trained", *SHIFTS], lines)
    )


def _cost_table(results: Results) -> str:
    lines: list[list[object]] = []
    for method in methods_of(results):
        rows = results.select(method=method)
        seconds = results.estimate("cpu_seconds", method=method)
        exact = sum(r.get("shd_contemporaneous") == 0 and r.get("shd_lagged") == 0 for r in rows)
        graph = f"{exact} of {len(rows)}" if method in WITH_GRAPH else "none learned"
        lines.append([method, graph, seconds or "-"])
    header = ["method", "learned graph exact", "processor seconds a cell"]
    return "## Graphs and cost\n\n" + markdown_table(header, lines)


def figures(results: Results) -> Mapping[str, Figure]:
    """Aggregates, learning curves, performance profiles and shifts."""
    shifted = ("as trained", *SHIFTS), (SCORE, *(f"normalised_{shift}" for shift in SHIFTS))
    return {
        "returns.png": agents_figures.returns(results),
        "sample_efficiency.png": agents_figures.sample_efficiency(results),
        "profiles.png": agents_figures.profiles(results),
        "shifts.png": agents_figures.shifts(results, dict(zip(*shifted, strict=True))),
    }


def _prepare() -> None:
    require_extra("stable_baselines3", extra="sb3")


BENCHMARK = Benchmark(
    name="agents",
    title="Agents side by side",
    description="Normalised return, sample efficiency and what shifts leave of it: the planner, "
    "Algorithm 5 with and without its graph, and Stable-Baselines3's PPO on four worlds.",
    grid=grid,
    function=run,
    findings=findings,
    figures=figures,
    headline=iqm_headline,
    prepare=_prepare,
)
