"""How many environment steps a second are trained on: our loop beside those of the bridges.

What is compared takes turns within one process, on the same world, network and batch settings, and
ratios are taken within a turn. `main` measures on another device:

    python -m causal_rl.benchmarks.train_speed --device cuda
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from typing import Any

import click
import numpy as np
import torch
from matplotlib.figure import Figure

from causal_rl.agents import Algorithm5, TrainConfig, load_world
from causal_rl.benchmarks.cells import Cell, Outcome, Row
from causal_rl.benchmarks.report import Findings, Mark, decide, markdown_table
from causal_rl.benchmarks.results import Benchmark, Results
from causal_rl.benchmarks.statistics import interquartile_mean
from causal_rl.devices import resolve_device
from causal_rl.errors import import_extra

WORLD = "chain-scm"
LOOPS = ("own", "sb3-ppo", "tianshou-ppo")
#: Environments, steps of a rollout, rows of a gradient step; the first are the defaults.
BATCHES = ((32, 16, 128), (64, 16, 256), (128, 16, 512), (256, 16, 1024))
EQUAL = BATCHES[0]
THREADS = (1, 2)
TURNS, SMOKE_TURNS = 7, 1
#: Steps of all environments that a turn takes at least, by each loop.
TURN_STEPS, SMOKE_TURN_STEPS = 2_048, 256
#: Rollouts that the profile looks at; the graph is learned in every tenth.
PROFILE_ROLLOUTS, SMOKE_PROFILE_ROLLOUTS = 20, 2
EQUAL_MARK, BEST_MARK = 2.0, 3.0
NEEDED_REPEATS = 3
PARTS = ("env", "forward", "learn", "graph", "other")

_NEVER = 10**9


def grid(repeats: int, smoke: bool) -> list[Cell]:
    """Repeats outermost, so that a slow hour of the machine falls on all alike."""
    settings = {
        "device": "cpu",
        "turns": SMOKE_TURNS if smoke else TURNS,
        "turn_steps": SMOKE_TURN_STEPS if smoke else TURN_STEPS,
        "profile_rollouts": SMOKE_PROFILE_ROLLOUTS if smoke else PROFILE_ROLLOUTS,
    }
    cells = []
    for repeat in range(min(repeats, 1) if smoke else repeats):
        for threads in THREADS[:1] if smoke else THREADS:
            cells += [
                _cell("speed", threads, batch, repeat, settings)
                for batch in (BATCHES[:1] if smoke else BATCHES)
            ]
            cells.append(_cell("profile", threads, EQUAL, repeat, settings))
    return cells


def _cell(
    part: str, threads: int, batch: tuple[int, int, int], repeat: int, settings: Mapping[str, Any]
) -> Cell:
    parameters: Row = {"part": part, "threads": threads, **_where(batch), "repeat": repeat}
    return Cell(parameters, settings)


def measure(cell: Cell) -> Outcome:
    """Time the loops of a cell in turns, or take two of them apart."""
    p, settings = cell.parameters, cell.settings
    before = torch.get_num_threads()
    torch.set_num_threads(int(p["threads"] or 1))
    try:
        batch = {k: int(p[k] or 0) for k in ("num_envs", "rollout_steps", "minibatch_size")}
        device, turns = str(settings["device"]), int(settings["turns"])
        if p["part"] == "profile":
            return Outcome(profile(device, int(settings["profile_rollouts"]), **batch))
        return Outcome(rates(device, turns, int(settings["turn_steps"]), **batch))
    finally:
        torch.set_num_threads(before)


def rates(device: str, turns: int, turn_steps: int, **batch: int) -> dict[str, float]:
    """Environment steps a second of each loop, and the own loop's over the others'.

    The graph is given and no environment explores beside the policy, so that all loops do the same:
    act, and update on what was seen.

    Args:
        device: of the networks.
        turns: of each loop.
        turn_steps: environment steps of a turn, rounded to whole rollouts.
        **batch: num_envs, rollout_steps and minibatch_size.
    """
    config = TrainConfig(
        env=WORLD,
        device=device,
        graph="oracle",
        explore_envs=0,
        warmup_steps=1,
        graph_every=_NEVER,
        eval_every=_NEVER,
        steps=_NEVER,
        **batch,  # type: ignore[arg-type]
    )
    loops = {name: _loop(name, config) for name in LOOPS}
    rollouts = max(1, round(turn_steps / (config.num_envs * config.rollout_steps)))
    steps = rollouts * config.num_envs * config.rollout_steps
    taken: dict[str, list[float]] = {name: [] for name in loops}
    for train in loops.values():
        train(1)  # the first update allocates and compiles
    clock = _clock(device)
    for _ in range(turns):
        for name, train in loops.items():
            started = clock()
            train(rollouts)
            taken[name].append(clock() - started)
    found = {f"rate_{n}": round(steps / float(np.median(t)), 1) for n, t in taken.items()}
    own = np.array(taken["own"])
    for name in LOOPS[1:]:
        found[f"own_over_{name}"] = round(float(np.median(np.array(taken[name]) / own)), 4)
    return found


def _loop(name: str, config: TrainConfig) -> Callable[[int], None]:
    """A function that takes so many rollouts, and trains on each."""
    if name == "sb3-ppo":
        model = _sb3_model(config)
        rows = config.num_envs * config.rollout_steps

        def learn(rollouts: int) -> None:
            model.learn(rows * rollouts, reset_num_timesteps=False, log_interval=None)

        return learn
    return _own_loop(_algorithm(name, config))


def _own_loop(algorithm: Algorithm5) -> Callable[[int], None]:
    def learn(rollouts: int) -> None:
        last = algorithm.progress.iteration + rollouts
        algorithm.learn(lambda current: current.progress.iteration < last)

    return learn


def _algorithm(name: str, config: TrainConfig) -> Algorithm5:
    spec, device = load_world(config), resolve_device(config.device)
    if name == "own":
        return Algorithm5(spec, config, device=device)
    from causal_rl.agents.tianshou import TianshouAlgorithm5

    return TianshouAlgorithm5(
        spec, TrainConfig.from_dict({**config.to_dict(), "algo": name}), device=device
    )


def _sb3_model(config: TrainConfig) -> Any:
    from stable_baselines3.common.logger import Logger

    from causal_rl.agents.sb3.training import make_sb3_env, make_sb3_model

    spec = load_world(config)
    graph = spec.causal_graph if config.graph == "oracle" else None
    env = make_sb3_env(config, "ppo", spec)
    model = make_sb3_model(config, "ppo", env, graph, device=resolve_device(config.device))
    model.set_logger(Logger(None, []))
    return model


def _clock(device: str) -> Callable[[], float]:
    """Processor time of one thread, which a busy machine does not stretch; else that of the wall.

    A GPU is waited for.
    """
    if device.startswith("cuda"):

        def clock() -> float:
            torch.cuda.synchronize()
            return time.perf_counter()

        return clock
    return time.process_time if torch.get_num_threads() == 1 else time.perf_counter


def profile(device: str, rollouts: int, **batch: int) -> dict[str, float]:
    """Where the time of a training step goes: our loop and SB3's, the graph learned on the way.

    Args:
        device: of the networks.
        rollouts: to look at, after the warm-up and one more.
        **batch: num_envs, rollout_steps and minibatch_size.

    Returns:
        Shares by loop and part, and microseconds of an environment step.
    """
    # The graph is learned in one of ten rollouts, as by default, or once in fewer.
    config = TrainConfig(
        env=WORLD,
        device=device,
        graph_every=min(TrainConfig().graph_every, rollouts),
        eval_every=_NEVER,
        steps=_NEVER,
        **batch,  # type: ignore[arg-type]
    )
    return {**_profile_own(config, rollouts), **_profile_sb3(config, rollouts)}


def _profile_own(config: TrainConfig, rollouts: int) -> dict[str, float]:
    algorithm = _algorithm("own", config)
    train = _own_loop(algorithm)
    train(1)
    watch = _Stopwatch(config.device)
    watch.over(algorithm.env, "step", "env")
    watch.over(algorithm.policy, "act", "forward")
    watch.over(algorithm, "_update_policy", "learn")
    watch.over(algorithm, "_store", "graph")
    watch.over(algorithm, "_learn_graph", "graph")
    before = algorithm.progress.env_steps
    with watch.running():
        train(rollouts)
    return watch.shares("own", algorithm.progress.env_steps - before)


def _profile_sb3(config: TrainConfig, rollouts: int) -> dict[str, float]:
    from causal_rl.agents.sb3 import CausalGraphCallback

    model = _sb3_model(config)
    rows = config.num_envs * config.rollout_steps
    learned = CausalGraphCallback(
        every=config.graph_every * config.rollout_steps * (config.num_envs + config.explore_envs),
        explore_envs=config.explore_envs,
        warmup_steps=config.warmup_steps,
    )

    def train(count: int) -> None:
        model.learn(rows * count, callback=learned, reset_num_timesteps=False, log_interval=None)

    train(1)
    watch = _Stopwatch(config.device)
    watch.over(model.env, "step", "env")
    watch.over(model.policy, "forward", "forward")
    watch.over(model, "train", "learn")
    watch.over(learned, "on_step", "graph")
    watch.over(learned, "on_rollout_start", "graph")
    watch.over(learned, "on_training_end", "graph")
    before = model.num_timesteps + learned.explored_steps
    with watch.running():
        train(rollouts)
    return watch.shares("sb3-ppo", model.num_timesteps + learned.explored_steps - before)


class _Stopwatch:
    """Adds up the seconds of some methods of some objects, while it runs."""

    def __init__(self, device: str) -> None:
        self.clock = _clock(device)
        self.seconds = dict.fromkeys(PARTS, 0.0)
        self._total = 0.0
        self._running = False

    def over(self, owner: Any, name: str, part: str) -> None:
        """Count a method of this one object to a part."""
        method = getattr(owner, name)

        def timed(*args: Any, **kwargs: Any) -> Any:
            if not self._running:
                return method(*args, **kwargs)
            started = self.clock()
            try:
                return method(*args, **kwargs)
            finally:
                self.seconds[part] += self.clock() - started

        setattr(owner, name, timed)

    @contextmanager
    def running(self) -> Any:
        """Count what happens inside."""
        started, self._running = self.clock(), True
        yield
        self._running = False
        self._total = self.clock() - started

    def shares(self, loop: str, env_steps: int) -> dict[str, float]:
        """Figures of a loop that took so many steps."""
        self.seconds["other"] = self._total - sum(
            self.seconds[part] for part in PARTS if part != "other"
        )
        found = {
            f"share_{part}_{loop}": round(self.seconds[part] / self._total, 4) for part in PARTS
        }
        return {**found, f"microseconds_{loop}": round(1e6 * self._total / env_steps, 3)}


def findings(results: Results) -> Findings:
    """The marks, the rates and the profile."""
    protocol = [
        f"`{WORLD}` by default options. Rates: the graph is given and nothing explores, so every "
        "loop acts and updates and does nothing else; the network, the batch settings, four "
        "epochs and the options of PPO are the same. Steps are those of the policy's environments.",
        "One process; the loops take turns and ratios are taken within a turn, a cell is the "
        "median of its turns, the tables show the interquartile mean over repeats. One thread: "
        "processor time; two: wall clock.",
        "Each at its best: the fastest batch setting of each, by threads.",
        "Profile: default options, graph learning on, evaluations off, steps of exploring "
        "environments counted. forward is the policy in "
        "the rollout; graph is storing transitions, exploring (SB3 only: there it is the "
        "callback's; ours explores in env) and learning; other is everything else.",
    ]
    marks = []
    for threads in THREADS:
        marks.append(_equal_mark(results, threads))
        marks.append(_best_mark(results, threads))
    return Findings(protocol, marks, [_rate_table(results), _profile_table(results)])


def _middle(values: np.ndarray[Any, Any]) -> float | None:
    return float(interquartile_mean(values)) if values.size else None


def _where(batch: tuple[int, int, int]) -> dict[str, int]:
    return dict(zip(("num_envs", "rollout_steps", "minibatch_size"), batch, strict=True))


def _threads(count: int) -> str:
    return f"{count} thread{'s' if count > 1 else ''}"


def _equal_mark(results: Results, threads: int) -> Mark:
    where: Row = {"part": "speed", "threads": threads, **_where(EQUAL)}
    ratios = results.values("own_over_sb3-ppo", **where)
    ratio = _middle(ratios)
    return Mark(
        f"{_threads(threads)}, equal batch settings: at least {EQUAL_MARK:.0f} x the steps a "
        "second of SB3 PPO with the same network",
        "-" if ratio is None else f"{ratio:.2f} x",
        decide(ratios.size, NEEDED_REPEATS, ratio is not None and ratio >= EQUAL_MARK),
    )


def _best_mark(results: Results, threads: int) -> Mark:
    rates = {
        loop: [
            (rate, batch)
            for batch in BATCHES
            if (rate := _rate(results, loop, threads, batch)) is not None
        ]
        for loop in ("own", "sb3-ppo")
    }
    count = results.values("rate_own", part="speed", threads=threads, **_where(BATCHES[-1])).size
    claim = f"{_threads(threads)}, each at its best: at least {BEST_MARK:.0f} x"
    if not all(rates.values()):
        return Mark(claim, "-", None)
    (own, ours), (peer, theirs) = (max(rates[loop]) for loop in ("own", "sb3-ppo"))
    return Mark(
        claim,
        f"{own / peer:.2f} x: {own:,.0f} at {_batch(ours)}, {peer:,.0f} at {_batch(theirs)}",
        decide(count, NEEDED_REPEATS, own / peer >= BEST_MARK),
    )


def _rate(results: Results, loop: str, threads: int, batch: tuple[int, int, int]) -> float | None:
    where: Row = {"part": "speed", "threads": threads, **_where(batch)}
    return _middle(results.values(f"rate_{loop}", **where))


def _batch(batch: tuple[int, int, int]) -> str:
    return f"{batch[0]} x {batch[1]}, {batch[2]} rows"


def _rate_table(results: Results) -> str:
    lines: list[list[object]] = []
    for threads in THREADS:
        for batch in BATCHES:
            rates = [_rate(results, loop, threads, batch) for loop in LOOPS]
            if rates[0] is None:
                continue
            ratios = [
                "-" if rate is None else f"{rate:,.0f} ({rates[0] / rate:.2f})"
                for rate in rates[1:]
            ]
            lines.append([f"{_threads(threads)}, {_batch(batch)}", f"{rates[0]:,.0f}", *ratios])
    header = [
        "envs x steps, rows of a gradient step",
        "own",
        *(f"{n} (own over it)" for n in LOOPS[1:]),
    ]
    return "## Environment steps a second\n\n" + markdown_table(header, lines)


def _profile_table(results: Results) -> str:
    lines: list[list[object]] = []
    for threads in THREADS:
        where: Row = {"part": "profile", "threads": threads}
        for loop in LOOPS[:2]:
            micro = _middle(results.values(f"microseconds_{loop}", **where))
            if micro is None:
                continue
            shares = [_middle(results.values(f"share_{part}_{loop}", **where)) for part in PARTS]
            lines.append(
                [
                    f"{loop}, {_threads(threads)}",
                    f"{micro:.0f}",
                    *("-" if share is None else f"{share:.1%}" for share in shares),
                ]
            )
    header = ["loop", "microseconds a step", *PARTS]
    return "## Where the time goes\n\n" + markdown_table(header, lines)


def figures(results: Results) -> Mapping[str, Figure]:
    """Rates by batch setting, and the profile of one thread."""
    figure = Figure(figsize=(10, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    for threads, style in zip(THREADS, ("o-", "s--"), strict=True):
        for color, loop in enumerate(LOOPS):
            points = [
                (place, rate)
                for place, batch in enumerate(BATCHES)
                if (rate := _rate(results, loop, threads, batch)) is not None
            ]
            if points:
                label = f"{loop}, {_threads(threads)}"
                left.plot(*zip(*points, strict=True), style, color=f"C{color}", label=label)
    left.set_xticks(range(len(BATCHES)), [_batch(batch) for batch in BATCHES], fontsize=7)
    left.set(ylabel="environment steps a second", ylim=(0, None))
    left.legend(fontsize=7)
    for place, loop in enumerate(LOOPS[:2]):
        begin = 0.0
        for color, part in enumerate(PARTS):
            share = _middle(results.values(f"share_{part}_{loop}", part="profile", threads=1))
            name = part if place == 0 else None
            right.barh(place, share or 0.0, left=begin, color=f"C{color}", label=name)
            begin += share or 0.0
    right.set_yticks(range(2), LOOPS[:2])
    right.set_xlabel("share of the time, one thread")
    right.legend(fontsize=7, ncols=len(PARTS), loc="lower center", bbox_to_anchor=(0.5, 1.0))
    return {"train_speed.png": figure}


def _headline(results: Results) -> str:
    ratio = _middle(results.values("own_over_sb3-ppo", part="speed", threads=1, **_where(EQUAL)))
    return "" if ratio is None else f"{ratio:.2f} x SB3 PPO at equal settings, one thread"


def _prepare() -> None:
    import_extra("stable_baselines3", extra="sb3")
    import_extra("tianshou", extra="tianshou")


BENCHMARK = Benchmark(
    name="train-speed",
    title="The speed of training",
    description="Environment steps a second that our loop and those of Stable-Baselines3 and "
    "Tianshou train on with the same network, and where the time of a step goes.",
    grid=grid,
    function=measure,
    findings=findings,
    figures=figures,
    headline=_headline,
    prepare=_prepare,
    replicate="repeat",
    seeds=3,
    jobs=1,
)


@click.command()
@click.option("--device", default="cpu", show_default=True, help="Torch device of the networks.")
@click.option("--turns", type=click.IntRange(min=1), default=TURNS, show_default=True)
def main(device: str, turns: int) -> None:
    """Print the rates of every batch setting on a device as JSON; nothing is written."""
    _prepare()
    for batch in BATCHES:
        found = rates(device, turns, TURN_STEPS, **_where(batch))
        click.echo(json.dumps({"device": device, **_where(batch), **found}))


if __name__ == "__main__":
    main()
