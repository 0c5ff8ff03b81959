"""Acting in worlds never trained on, and the expert that was trained in each of them."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from causal_rl.agents import (
    Controller,
    TrainConfig,
    Yardsticks,
    evaluate,
    load_agent,
    measure_yardsticks,
    policy_controller,
    train,
)
from causal_rl.agents.transfer import (
    DoPredictor,
    FittedSCM,
    WorldFamily,
    WorldSplit,
    graph_shape,
    greedy_controller,
    method_evidence,
)
from causal_rl.benchmarks.agent_runs import YOUNGEST
from causal_rl.benchmarks.cells import Row
from causal_rl.benchmarks.report import Mark, decide, markdown_table
from causal_rl.benchmarks.results import Results
from causal_rl.discovery import learner_options, make_learner
from causal_rl.envs import SCMEnvSpec, record, resolve_spec

#: Random interventions before acting.
CONTROL_ROWS = 500
#: Worlds that are acted in: chains are no graphs of the family, and as deep as a graph can be.
CONTROL_WORLDS: Mapping[str, Mapping[str, Any]] = {
    "er-scm": {"density": 1.5, "noise_share": 0.2},
    "chain-scm": {},
}
#: Variables of the worlds that are acted in.
CONTROL_SIZES = (6, 12)
#: How far below the expert still counts as reaching it [normalised return].
WITHIN = 0.05
#: PPO trained in the very world, with the encoder that has measured best there.
EXPERT = "ppo-expert"
_EXPERT_OPTIONS: Mapping[str, Any] = {"encoder": "masked-mlp", "steps": 40_000}
_SMOKE_OPTIONS: Mapping[str, Any] = {
    "steps": 1_500,
    "num_envs": 8,
    "explore_envs": 2,
    "warmup_steps": 1_100,
    "graph_every": 1,
    "eval_episodes": 4,
    "final_episodes": 4,
}
# Nothing was settled on graphs of these seeds.
_FIRST_GRAPH_SEED = 4_000
_SEEDS_APART = 100
_OTHER = object()


def expert_settings(*, smoke: bool) -> dict[str, Any]:
    """Every option of the expert's training and of its learner, defaults included."""
    config = TrainConfig(**{**_EXPERT_OPTIONS, **(_SMOKE_OPTIONS if smoke else {})})
    chosen_by_world = ("env", "env_args", "seed", "algo")
    return {
        **{
            f"expert.{key}": value
            for key, value in config.to_dict().items()
            if key not in chosen_by_world and YOUNGEST.get(key, _OTHER) != value
        },
        **{f"learner.{key}": value for key, value in learner_options(config.learner).items()},
    }


def control_world(
    world: str, n: int, seed: int, family: WorldFamily, split: WorldSplit
) -> tuple[SCMEnvSpec, dict[str, Any]]:
    """A world of ``n`` variables whose graph is none of the training graphs, and its options."""
    seen = (
        {graph_shape(family.adjacency(n, k)) for k in split.train}
        if n == split.size
        else set[str]()
    )
    for k in range(_SEEDS_APART):
        graph_seed = _FIRST_GRAPH_SEED + _SEEDS_APART * seed + k
        options = {**CONTROL_WORLDS[world], "n": n, "graph_seed": graph_seed}
        spec = resolve_spec(world, **options)
        graph = spec.causal_graph
        variables = [
            name
            for name, kind in zip(graph.names, graph.kinds, strict=True)
            if kind not in ("context", "reward")
        ]
        if graph_shape(graph.subgraph(variables).contemporaneous) not in seen:
            return spec, options
    raise ValueError(f"every graph of {world} with {n} variables was trained on")


def act(
    method: str,
    network: DoPredictor | None,
    seed: int,
    family: WorldFamily,
    split: WorldSplit,
    use: Mapping[str, Any],
) -> Row:
    """Normalised returns of greedy control by a network, or by the fit alone.

    Args:
        method: of the network, "fitted-linear" or "fitted-curve".
        network: None for the latter two.
        seed: of the cell.
        family: that was trained on.
        split: the worlds that were.
        use: settings of the cell.
    """
    found: Row = {}
    for world in use["control_worlds"]:
        for n in use["control_sizes"]:
            spec, options = control_world(world, int(n), seed, family, split)
            data = record(spec, int(use["control_rows"]), seed=seed).without_contexts()
            graph = make_learner("interventional").fit(data)
            evidence = method_evidence("ecam" if network is None else network.method, data, graph)
            if network is None:
                predict = FittedSCM(evidence, curved=method == "fitted-curve").predict
            else:
                predict = functools.partial(network.predict, evidence)
            yardsticks = _yardsticks(world, tuple(options.items()), int(use["episodes"]), seed)
            controller = greedy_controller(spec, predict)
            found[f"return_{world}_n{n}"] = _normalised(yardsticks, spec, controller, seed, use)
            found[f"noop_{world}_n{n}"] = _rounded(yardsticks.normalise(yardsticks.noop))
    return found


def expert_returns(
    seed: int,
    family: WorldFamily,
    split: WorldSplit,
    settings: Mapping[str, Any],
    use: Mapping[str, Any],
) -> Row:
    """Train in every control world of this seed; its normalised return, graph learned by itself.

    Args:
        seed: of the cell.
        family: that the others are trained on.
        split: the worlds that they are.
        settings: options of `TrainConfig`.
        use: settings of the cell.
    """
    found: Row = {}
    for world in use["control_worlds"]:
        for n in use["control_sizes"]:
            spec, options = control_world(world, int(n), seed, family, split)
            arguments = tuple(f"{key}={value}" for key, value in options.items())
            config = TrainConfig(env=world, env_args=arguments, seed=seed, **settings)
            with tempfile.TemporaryDirectory(prefix="causal_rl-benchmark-") as temporary:
                folder = Path(temporary) / "run"
                train(config, out=folder, console=Console(quiet=True))
                agent, _, _ = load_agent(folder)
            controller = policy_controller(agent.policy, agent.device)
            yardsticks = _yardsticks(world, tuple(options.items()), int(use["episodes"]), seed)
            found[f"return_{world}_n{n}"] = _normalised(yardsticks, spec, controller, seed, use)
    return found


def return_table(
    results: Results, mechanism: str, methods: Sequence[str], sizes: Sequence[int]
) -> str:
    """Normalised returns by world, size and who acts."""
    lines: list[list[object]] = []
    for world in CONTROL_WORLDS:
        for n in sizes:
            metric = f"return_{world}_n{n}"
            found = [
                results.estimate(metric, mechanism=mechanism, method=method) for method in methods
            ]
            if any(found):
                noop = results.estimate(
                    f"noop_{world}_n{n}", mechanism=mechanism, method=methods[0]
                )
                lines.append([f"{world}, {n}", *(estimate or "-" for estimate in (noop, *found))])
    header = ["world, n", "no intervention", *methods]
    return "## Normalised return in unseen worlds, graph learned\n\n" + markdown_table(
        header, lines
    )


def control_marks(
    results: Results, *, mechanism: str, ours: str, sizes: Sequence[int], seeds: int
) -> list[Mark]:
    """Zero-shot against the expert, a mark for each kind of world."""
    marks = []
    for world in CONTROL_WORLDS:
        measured, holds, count = [], True, seeds
        for n in sizes:
            metric = f"return_{world}_n{n}"
            mine = results.estimate(metric, mechanism=mechanism, method=ours)
            expert = results.estimate(metric, mechanism=mechanism, method=EXPERT)
            if mine is None or expert is None:
                count = 0
                continue
            measured.append(f"n = {n}: {mine} against {expert}")
            holds = holds and mine.value >= expert.value - WITHIN
            count = min(count, mine.count, expert.count)
        marks.append(
            Mark(
                f"{world}: normalised return of {ours}, zero-shot, graph learned from "
                f"{CONTROL_ROWS} transitions, at most {WITHIN:.2f} below the {EXPERT}'s, all sizes",
                "; ".join(measured) or "-",
                decide(count, seeds, holds),
            )
        )
    return marks


@functools.lru_cache(maxsize=16)
def _yardsticks(
    world: str, options: tuple[tuple[str, Any], ...], episodes: int, seed: int
) -> Yardsticks:
    # The cells of a seed act in the same worlds, and often run in one process.
    return measure_yardsticks(resolve_spec(world, **dict(options)), episodes=episodes, seed=seed)


def _normalised(
    yardsticks: Yardsticks,
    spec: SCMEnvSpec,
    controller: Controller,
    seed: int,
    use: Mapping[str, Any],
) -> float | None:
    earned = evaluate(spec, controller, episodes=int(use["episodes"]), seed=seed).mean()
    return _rounded(yardsticks.normalise(float(earned)))


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 5)
