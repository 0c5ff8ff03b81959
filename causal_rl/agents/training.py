"""A training run as a person meets it: checked options, a folder, a progress bar, a summary."""

from __future__ import annotations

import dataclasses
import json
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import yaml
from rich.console import Console

from causal_rl.agents.algorithm5 import Algorithm5
from causal_rl.agents.checkpoint import CHECKPOINT_FILE as CHECKPOINT_FILE
from causal_rl.agents.checkpoint import load_checkpoint, restoring, save_checkpoint
from causal_rl.agents.config import SB3_ALGORITHMS, TIANSHOU_ALGORITHMS, RunOptions, TrainConfig
from causal_rl.agents.evaluation import Yardsticks, evaluate, measure_yardsticks
from causal_rl.agents.options import CONFIG_FILE as CONFIG_FILE
from causal_rl.agents.options import AgentConfig, load_options
from causal_rl.agents.planning.agent import PlannerAgent
from causal_rl.agents.planning.config import PlannerConfig
from causal_rl.agents.planning.warm_start import find_teacher, warm_start
from causal_rl.agents.progress import Progress, progress_display
from causal_rl.agents.reporting import (
    graph_rows,
    plot_learning_curve,
    print_report,
    save_figure,
)
from causal_rl.agents.tensorboard import RunLogger
from causal_rl.devices import resolve_device
from causal_rl.envs import SCMEnvSpec, SCMVectorEnv, resolve_spec
from causal_rl.files import atomic_write_text, sole_writer
from causal_rl.graphs import CausalGraph

SUMMARY_FILE = "summary.json"
GRAPH_FILE = "graph.json"
EVENTS_FILE = "events.jsonl"
TRANSITIONS_FILE = "transitions.npz"

# The closing evaluation runs on episodes that neither training nor model selection has seen.
FINAL_SEED_OFFSET = 700_000
_PROBE_ENVS = 64


class Interrupted(Exception):  # noqa: N818 - being stopped is no error
    """A run was stopped by SIGINT; its checkpoint is saved.

    Args:
        folder: the run's folder.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(f"interrupted; resume with: --resume {folder}")
        self.folder = folder


def load_world(config: RunOptions) -> SCMEnvSpec:
    """The world of a run, checked by a dry run before anything is written.

    Raises:
        ValueError: unknown world, bad keyword arguments, or a mechanism that fails; one line.
    """
    spec = resolve_spec(config.env, **config.world_kwargs)
    spec.scm.check()
    env = SCMVectorEnv(spec, num_envs=_PROBE_ENVS)
    env.reset(seed=config.seed)
    rng = np.random.default_rng(config.seed)
    high = env.single_action_space.nvec  # type: ignore[attr-defined]
    for _ in range(spec.horizon):
        env.step(rng.integers(0, high, size=(_PROBE_ENVS, 2)))
    env.close()
    return spec


def default_folder(config: RunOptions) -> Path:
    """``runs/<world>-seed<seed>-<time>`` below the current folder."""
    world = config.env.rpartition(":")[2].rpartition("/")[2]
    stamp = datetime.now().strftime("%Y%m%d-%H%M%S")
    return Path("runs") / f"{world}-seed{config.seed}-{stamp}"


def train(
    config: AgentConfig,
    *,
    out: Path | None = None,
    console: Console | None = None,
    pictures: bool = True,
) -> dict[str, Any]:
    """Train from the start and write the run's folder.

    Args:
        config: the options of either agent.
        out: the run's folder, absent or empty; default `default_folder`.
        console: where the progress bar and the tables go; default standard error and output.
        pictures: whether to draw; False saves seconds where nobody will look at the folder.

    Returns:
        What ``summary.json`` holds.

    Raises:
        ValueError: a bad option, world or graph file, or a folder that holds files; nothing is
            written then.
        Interrupted: SIGINT came; a checkpoint is saved.
    """
    folder = default_folder(config) if out is None else Path(out)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(
            f"out must be a new or empty folder, got {str(folder)!r}; to go on with a run, "
            "use --resume"
        )
    run = _prepare(config, begins=True)
    run.pictures = pictures
    with sole_writer(folder, "out"):
        write_config(folder, config)
        return _execute(run, folder, console or Console())


def resume(
    folder: Path,
    *,
    steps: int | None = None,
    device: str | None = None,
    console: Console | None = None,
) -> dict[str, Any]:
    """Go on with a run from its last checkpoint; a run killed before the first starts over.

    Args:
        folder: the run's folder.
        steps: a new total of environment steps; default the run's own.
        device: another device; default the run's own.
        console: as in `train`.

    Returns:
        What ``summary.json`` holds, the same as that of a run that was never stopped.

    Raises:
        ValueError: no run there, its checkpoint is of another world, another process goes on with
            it, or its loop is one of Stable-Baselines3, which keeps no checkpoint.
        MissingExtraError: the loop's library is not installed.
        Interrupted: SIGINT came; a checkpoint is saved.
    """
    config = load_options(folder)
    if isinstance(config, TrainConfig) and config.algo in SB3_ALGORITHMS:
        raise ValueError(
            f"{str(folder)!r} cannot be resumed: it was trained by {config.algo}, and only runs "
            "of Algorithm 5's own loop and of Tianshou keep checkpoints"
        )
    given = {"steps": steps, "device": device}
    changes = {key: value for key, value in given.items() if value is not None}
    config = type(config).from_dict({**config.to_dict(), **changes})
    with sole_writer(folder, "resume"):
        checkpoint = folder / CHECKPOINT_FILE
        run = _prepare(config, begins=not checkpoint.is_file())
        if checkpoint.is_file():
            state = load_checkpoint(checkpoint, run.spec)
            with restoring(checkpoint):
                taken = state["algorithm"]["env_steps"]
                if steps is not None and steps < taken:
                    raise ValueError(
                        f"steps must be at least the {taken} already taken, got {steps}"
                    )
                run.algorithm.load_state_dict(state["algorithm"])
                run.seconds = float(state["seconds"])
            run.score_graph()
        write_config(folder, config)
        return _execute(run, folder, console or Console())


def load_config(folder: Path) -> TrainConfig:
    """The options of the actor-critic's run in ``folder``; `load_options` reads every agent's.

    Raises:
        ValueError: the folder holds no run, or another agent's.
    """
    config = load_options(folder)
    if not isinstance(config, TrainConfig):
        raise ValueError(f"{str(folder)!r} is a run of agent {config.agent}, not of actor-critic")
    return config


@dataclass
class _Run:
    spec: SCMEnvSpec
    config: AgentConfig
    algorithm: Algorithm5 | PlannerAgent
    teacher: PlannerAgent | None = None
    seconds: float = 0.0
    pictures: bool = True
    graph_figures: dict[str, float] = dataclasses.field(default_factory=dict)

    @property
    def world(self) -> SCMEnvSpec:
        """The world as it is now."""
        return self.algorithm.world if isinstance(self.algorithm, Algorithm5) else self.spec

    def score_graph(self) -> CausalGraph | None:
        """Score the learned graph against the truth, for the log alone; returns the graph."""
        graph = self.algorithm.learned_graph
        if graph is not None:
            scores = graph.compare(self.world.causal_graph).to_dict()
            self.graph_figures = {
                f"causal/{key}": float(scores[key] or 0.0)
                for key in (
                    f"{m}_{b}" for b in ("contemporaneous", "lagged") for m in ("shd", "f1")
                )
            }
        return graph


def _prepare(config: AgentConfig, *, begins: bool) -> _Run:
    """Everything that can be wrong is found here, before a file is written."""
    if isinstance(config, PlannerConfig):
        spec = load_world(config)
        return _Run(spec, config, PlannerAgent(spec, config))
    device = resolve_device(config.device)
    spec = load_world(config)
    loop = Algorithm5
    if config.algo in TIANSHOU_ALGORITHMS:
        from causal_rl.agents.tianshou import TianshouAlgorithm5

        loop = TianshouAlgorithm5
    teacher = find_teacher(config, spec) if begins else None
    return _Run(spec, config, loop(spec, config, device=device), teacher)


def write_config(folder: Path, config: RunOptions) -> None:
    """Write the options of a run into its folder."""
    atomic_write_text(folder / CONFIG_FILE, yaml.safe_dump(config.to_dict(), sort_keys=False))


def _save(run: _Run, folder: Path) -> None:
    state = {"algorithm": run.algorithm.state_dict(), "seconds": run.seconds}
    save_checkpoint(folder / CHECKPOINT_FILE, state, run.spec)


def _execute(run: _Run, folder: Path, console: Console) -> dict[str, Any]:
    algorithm, config = run.algorithm, run.config
    before = run.seconds
    started = time.perf_counter()
    first_step = algorithm.progress.env_steps
    with (
        RunLogger(folder, first_step=first_step) as logger,
        progress_display(console, config.steps, first_step) as show,
        _sigint_flag() as stop,
    ):
        # A run that is taken up again knows its regime; it has been told of it.
        seen = Progress(algorithm.progress.env_steps, regime=algorithm.progress.regime)

        def observer(current: Algorithm5 | PlannerAgent) -> bool:
            elapsed = time.perf_counter() - started
            run.seconds = before + elapsed
            progress = current.progress
            fps = (progress.env_steps - first_step) / max(elapsed, 1e-9)
            progress.figures["time/fps"] = fps
            graph = run.score_graph() if progress.graph_changed else None
            if graph is not None and run.pictures:
                logger.graph(graph, run.world.causal_graph, progress.env_steps)
            progress.figures |= run.graph_figures
            current.history.append({"env_steps": float(progress.env_steps), **progress.figures})
            logger.scalars(progress.figures, progress.env_steps)
            if progress.regime != seen.regime:
                console.print(
                    f"world: {progress.regime} from step {seen.env_steps:,} on", highlight=False
                )
                logger.text("world/regime", progress.regime, progress.env_steps)
            seen.regime, seen.env_steps = progress.regime, progress.env_steps
            for record in progress.repairs:
                console.print(str(record), soft_wrap=True, highlight=False)
                logger.text("watch/repairs", str(record), progress.env_steps)
            if progress.repairs and isinstance(current, Algorithm5) and current.watch is not None:
                lines = [json.dumps(event) + "\n" for event in current.watch.events]
                atomic_write_text(folder / EVENTS_FILE, "".join(lines))
            show(progress, fps)
            due = progress.iteration % config.checkpoint_every == 0
            if due or progress.env_steps >= config.steps or stop:
                _save(run, folder)
            return not stop

        def watch(teacher: PlannerAgent) -> bool:
            show(teacher.progress, teacher.progress.env_steps / (time.perf_counter() - started))
            return not stop

        begun = True
        if run.teacher is not None and isinstance(algorithm, Algorithm5):
            begun = warm_start(algorithm, run.teacher, watch) and observer(algorithm)
        finished = begun and algorithm.learn(observer)
    if not finished:
        raise Interrupted(folder)
    return _finish(run, folder, console, before, started)


def _finish(
    run: _Run, folder: Path, console: Console, before: float, started: float
) -> dict[str, Any]:
    """The closing evaluation and every file a person would look at; the summary comes last."""
    algorithm, spec, config = run.algorithm, run.world, run.config
    graph, truth = algorithm.learned_graph, spec.causal_graph
    if graph is None:  # pragma: no cover - learn() ends with one
        raise RuntimeError("the run ended without a graph")
    seed = config.seed * 1_000_000 + FINAL_SEED_OFFSET
    returns = evaluate(spec, algorithm.best_controller(), episodes=config.final_episodes, seed=seed)
    yardsticks = measure_yardsticks(spec, episodes=config.final_episodes, seed=seed)
    rows = graph_rows(graph, truth, seed=config.seed)
    run.seconds = before + time.perf_counter() - started
    graph.save(folder / GRAPH_FILE)
    algorithm.store.all().save(folder / TRANSITIONS_FILE)
    if isinstance(algorithm, PlannerAgent):
        algorithm.write(folder)
    if run.pictures:
        save_figure(graph.plot_comparison(truth), folder / "graph.png")
        doubling = isinstance(algorithm, PlannerAgent)
        schedule = config.schedule if isinstance(config, TrainConfig) else None
        curve = plot_learning_curve(
            algorithm.history, yardsticks, log_steps=doubling,
            regimes=() if schedule is None else schedule.switches,
        )  # fmt: skip
        save_figure(curve, folder / "learning_curve.png")
    summary = summarise(run, float(returns.mean()), yardsticks, rows)
    atomic_write_text(folder / SUMMARY_FILE, json.dumps(summary, indent=2) + "\n")
    print_report(console, summary, folder)
    return summary


def summarise(
    run: _Run, return_mean: float, yardsticks: Yardsticks, rows: dict[str, dict[str, Any]]
) -> dict[str, Any]:
    """The figures of ``summary.json``; ``seconds`` alone differs between two runs of one seed."""
    learned = rows["learned"]
    return {
        "env": run.config.env,
        "env_args": list(run.config.env_args),
        "seed": run.config.seed,
        **_about(run),
        "env_steps": run.algorithm.progress.env_steps,
        "seconds": round(run.seconds, 2),
        "return_mean": return_mean,
        **yardsticks.beside(return_mean),
        **learned,
        "baselines": {name: row for name, row in rows.items() if name != "learned"},
    }


def _about(run: _Run) -> dict[str, Any]:
    """What kind of agent it was."""
    config = run.config
    if isinstance(config, PlannerConfig):
        horizon = run.algorithm.horizon if isinstance(run.algorithm, PlannerAgent) else 0
        return {
            "agent": config.agent,
            "learner": config.learner,
            "exploration": config.exploration,
            "horizon": horizon,
        }
    about: dict[str, Any] = {
        "encoder": config.encoder,
        "graph": config.graph,
        "learner": config.learner,
        # Where the loop is another library's, so is the update.
        "policy_update": config.policy_update if config.algo == "own" else config.algo,
    }
    if config.regimes:
        about["regimes"] = list(config.regimes)
    return about if config.warm_start == "none" else {**about, "warm_start": config.warm_start}


class _Stop:
    """Falsy until SIGINT came."""

    def __init__(self) -> None:
        self.requested = False

    def __bool__(self) -> bool:
        return self.requested


@contextmanager
def _sigint_flag() -> Iterator[_Stop]:
    """Turn the first SIGINT into a request to stop; a second one interrupts at once."""
    stop = _Stop()

    def handle(signum: int, frame: FrameType | None) -> None:
        if stop.requested:
            raise KeyboardInterrupt
        stop.requested = True

    try:
        previous = signal.signal(signal.SIGINT, handle)
    except ValueError:  # not the main thread: leave signals to whoever owns them
        yield stop
        return
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, previous)
