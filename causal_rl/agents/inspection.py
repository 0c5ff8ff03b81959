"""Looking at a finished run: its graph against the truth, its policy in shifts and protocols."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from causal_rl.agents.algorithm5 import Algorithm5
from causal_rl.agents.checkpoint import load_checkpoint, restoring
from causal_rl.agents.config import TrainConfig
from causal_rl.agents.evaluation import (
    Controller,
    Yardsticks,
    evaluate,
    measure_yardsticks,
    policy_controller,
)
from causal_rl.agents.options import AgentConfig, load_options
from causal_rl.agents.planning.agent import PlannerAgent
from causal_rl.agents.planning.config import PlannerConfig
from causal_rl.agents.reporting import graph_rows, number_text, save_figure
from causal_rl.agents.training import (
    CHECKPOINT_FILE,
    FINAL_SEED_OFFSET,
    GRAPH_FILE,
    load_config,
)
from causal_rl.devices import resolve_device
from causal_rl.envs import SCMEnvSpec, resolve_spec
from causal_rl.envs.protocols import PROTOCOLS, Protocol, Split, protocol
from causal_rl.files import atomic_write_text
from causal_rl.graphs import CausalGraph
from causal_rl.graphs.drawing import new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_BOOTSTRAP_SAMPLES = 2000
_CHART_LIMIT = 1.5


@dataclass(frozen=True)
class AgentEvaluation:
    """Returns of a run's policy in one world.

    Attributes:
        shift: name of the shift, None for the world that was trained on.
        returns: (episodes,) undiscounted returns.
        interval: 95 % percentile-bootstrap interval of their mean.
        yardsticks: of the same, possibly shifted, world on the same episodes.
    """

    shift: str | None
    returns: NDArray[np.float64]
    interval: tuple[float, float]
    yardsticks: Yardsticks

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON and tables."""
        mean = float(self.returns.mean())
        return {
            "shift": self.shift,
            "episodes": len(self.returns),
            "return_mean": mean,
            "return_low": self.interval[0],
            "return_high": self.interval[1],
            **self.yardsticks.beside(mean),
        }


def evaluate_run_graph(folder: Path) -> tuple[dict[str, dict[str, Any]], CausalGraph, CausalGraph]:
    """Score the graph of a run.

    Args:
        folder: the run's folder.

    Returns:
        The rows of `graph_rows`, the learned graph and the true one.

    Raises:
        ValueError: no run there, no graph yet, or a graph over other variables than the world's.
    """
    config = load_options(folder)
    truth = resolve_spec(config.env, **config.world_kwargs).causal_graph
    path = folder / GRAPH_FILE
    if not path.is_file():
        raise ValueError(f"{str(folder)!r} has no {GRAPH_FILE}; finish the run with --resume first")
    graph = CausalGraph.load(path)
    return graph_rows(graph, truth, seed=config.seed), graph, truth


def load_agent(folder: Path, *, device: str = "cpu") -> tuple[Algorithm5, SCMEnvSpec, TrainConfig]:
    """The best policy of a run, ready to act.

    Args:
        folder: the run's folder.
        device: device of the networks.

    Returns:
        The algorithm with the policy that evaluated best and the run's history, the world, and the
        options.

    Raises:
        ValueError: no run there, no checkpoint yet, or a checkpoint of another world.
    """
    config = load_config(folder)
    spec = resolve_spec(config.env, **config.world_kwargs)
    algorithm = Algorithm5(spec, config, device=resolve_device(device))
    path = folder / CHECKPOINT_FILE
    checkpoint = load_checkpoint(path, spec)
    with restoring(path):
        state = checkpoint["algorithm"]
        best = state["best"]
        algorithm.policy.load_state_dict(state["policy"] if best is None else best["policy"])
        algorithm.history = [dict(row) for row in state["history"]]
    return algorithm, spec, config


def load_planner(folder: Path) -> tuple[PlannerAgent, SCMEnvSpec, PlannerConfig]:
    """The planner of a run, as it was at its last checkpoint.

    Args:
        folder: the run's folder.

    Returns:
        The agent, the world, and the options.

    Raises:
        ValueError: no planner's run there, no checkpoint yet, or a checkpoint of another world.
    """
    config = load_options(folder)
    if not isinstance(config, PlannerConfig):
        raise ValueError(f"{str(folder)!r} is a run of agent {config.agent}, not of planner")
    spec = resolve_spec(config.env, **config.world_kwargs)
    planner = PlannerAgent(spec, config)
    path = folder / CHECKPOINT_FILE
    checkpoint = load_checkpoint(path, spec)
    with restoring(path):
        planner.load_state_dict(checkpoint["algorithm"])
    return planner, spec, config


def load_controller(
    folder: Path, *, device: str = "cpu"
) -> tuple[Controller, SCMEnvSpec, AgentConfig]:
    """The best of a run of either agent, as `evaluate` takes it.

    Args:
        folder: the run's folder.
        device: device of the networks; a planner has none.

    Returns:
        What acts, the world, and the options.

    Raises:
        ValueError: as `load_agent`.
    """
    if isinstance(load_options(folder), PlannerConfig):
        planner, spec, options = load_planner(folder)
        return planner.best_controller(), spec, options
    algorithm, spec, config = load_agent(folder, device=device)
    return policy_controller(algorithm.policy, algorithm.device), spec, config


def evaluate_run_agent(
    folder: Path, *, shift: str | None = None, episodes: int | None = None, device: str = "cpu"
) -> AgentEvaluation:
    """Evaluate the policy of a run.

    Args:
        folder: the run's folder.
        shift: a shift of the world by name; None for the world that was trained on.
        episodes: episodes to run; default the run's ``final_episodes``.
        device: device of the networks.

    Raises:
        ValueError: as `load_agent`, or a shift that the world has not; its shifts are named.
    """
    return evaluate_in_shift(*load_controller(folder, device=device), shift, episodes)


@dataclass(frozen=True)
class ProtocolEvaluation:
    """Returns of a run's policy in every world of a protocol, on the same seeds of episodes.

    Attributes:
        protocol: what was run.
        train: one evaluation for each of its splits to train on, on episodes not trained on.
        test: one for each of its splits to test on.
    """

    protocol: Protocol
    train: tuple[AgentEvaluation, ...]
    test: tuple[AgentEvaluation, ...]

    def rows(self) -> list[dict[str, Any]]:
        """A row a split, those of training first, as `AgentEvaluation.to_dict` and more.

        ``split`` is "train" or "test", ``label`` the split's. ``kept`` is the normalised return
        over that of training; None where training was no better than random, or one is undefined.
        """
        found = [("train", e) for e in self.train] + [("test", e) for e in self.test]
        rows = [{"split": kind, "label": e.shift, **e.to_dict()} for kind, e in found]
        before = [row["return_normalised"] for row in rows if row["split"] == "train"]
        known = [value for value in before if value is not None]
        base = float(np.mean(known)) if known else 0.0
        for row in rows:
            del row["shift"]
            after = row["return_normalised"]
            # A share of a return no better than random is no share of anything.
            row["kept"] = after / base if after is not None and base > 0 else None
        return rows

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON: name, description and `rows`."""
        return {
            "protocol": self.protocol.name,
            "description": self.protocol.description,
            "rows": self.rows(),
        }

    def table(self) -> Table:
        """The rows as a table."""
        table = Table(title=f"{self.protocol.name}: {self.protocol.description}")
        for column in ("split", "world"):
            table.add_column(column)
        for column in ("return", "95 % interval", "normalised", "kept"):
            table.add_column(column, justify="right", no_wrap=True)
        for row in self.rows():
            table.add_row(
                row["split"],
                row["label"],
                f"{row['return_mean']:.3f}",
                f"[{row['return_low']:.3f}, {row['return_high']:.3f}]",
                number_text(row["return_normalised"]),
                "-" if row["kept"] is None else f"{row['kept']:.0%}",
            )
        return table

    def plot(self) -> Figure:
        """Bars of the normalised return, a bar a split, with the interval of the policy's mean."""
        rows = self.rows()
        figure = new_figure(8.0, 1.6 + 0.35 * len(rows), layout="constrained")
        axes = figure.subplots()
        for place, (row, found) in enumerate(zip(rows, (*self.train, *self.test), strict=True)):
            mean = row["return_normalised"]
            if mean is None:
                axes.text(0.0, place, " the oracle is no better than random", va="center")
                continue
            ends = [found.yardsticks.normalise(end) or 0.0 for end in found.interval]
            errors = [[max(0.0, mean - ends[0])], [max(0.0, ends[1] - mean)]]
            color = "C0" if row["split"] == "train" else "C1"
            axes.barh(place, mean, xerr=errors, color=color, capsize=3)
        axes.set_yticks(range(len(rows)), [row["label"] for row in rows])
        axes.invert_yaxis()
        axes.axvline(0.0, color="C3", linestyle="--", label="random interventions")
        axes.axvline(1.0, color="C2", linestyle="--", label="oracle planner")
        # Where the oracle gains next to nothing the scale explodes; the table has the figures.
        low, high = axes.get_xlim()
        axes.set_xlim(max(low, -_CHART_LIMIT), min(high, _CHART_LIMIT))
        axes.set(xlabel="normalised return (95 % interval)", title=self.protocol.name)
        figure.legend(loc="outside lower center", ncols=2, fontsize=8)
        return figure

    def save(self, folder: Path) -> tuple[Path, Path]:
        """Write ``shift-NAME.json`` and ``shift-NAME.png`` into ``folder``; their paths."""
        data = folder / f"shift-{self.protocol.name}.json"
        picture = data.with_suffix(".png")
        atomic_write_text(data, json.dumps(self.to_dict(), indent=2) + "\n")
        save_figure(self.plot(), picture)
        return data, picture


def evaluate_run_shift(
    folder: Path,
    name: str,
    *,
    episodes: int | None = None,
    device: str = "cpu",
    progress: Callable[[str], None] = lambda line: None,
) -> AgentEvaluation | ProtocolEvaluation:
    """Evaluate the policy of a run in a shift of its world, or over a protocol.

    Args:
        folder: the run's folder.
        name: of a shift of the world or of a protocol; where both have it, it is the shift's.
        episodes: episodes in each world; default the run's ``final_episodes``.
        device: device of the networks.
        progress: called with a line before each world of a protocol.

    Raises:
        ValueError: as `load_agent`, a name that is neither (those there are are named), or a
            protocol that does not apply to the world.
    """
    options = load_options(folder)
    spec = resolve_spec(options.env, **options.world_kwargs)
    if name in spec.shifts:
        return evaluate_run_agent(folder, shift=name, episodes=episodes, device=device)
    if name not in PROTOCOLS:
        raise ValueError(
            f"{name!r} is no shift of world {spec.name!r} and no protocol; shifts: "
            f"{', '.join(spec.shifts) or 'none'}; protocols: {', '.join(PROTOCOLS)}"
        )
    chosen = protocol(spec, name)
    if not chosen.applies:
        raise ValueError(f"protocol {name!r} does not apply: {chosen.why_not}")
    controller, spec, config = load_controller(folder, device=device)
    count, total = 0, len(chosen.train) + len(chosen.test)

    def evaluated(splits: Sequence[Split]) -> tuple[AgentEvaluation, ...]:
        nonlocal count
        results = []
        for split in splits:
            count += 1
            progress(f"{count}/{total} {split.label}")
            results.append(_evaluate_split(controller, spec, config, split, split.label, episodes))
        return tuple(results)

    return ProtocolEvaluation(chosen, evaluated(chosen.train), evaluated(chosen.test))


def evaluate_in_shift(
    controller: Controller,
    spec: SCMEnvSpec,
    config: AgentConfig,
    shift: str | None,
    episodes: int | None,
) -> AgentEvaluation:
    """Evaluate a run's policy in a shift of its world; see `evaluate_run_agent`.

    Raises:
        ValueError: a shift that the world has not; its shifts are named.
    """
    split = Split(shift or "", None if shift is None else lambda world: world.shifted(shift))
    return _evaluate_split(controller, spec, config, split, shift, episodes)


def _evaluate_split(
    controller: Controller,
    spec: SCMEnvSpec,
    config: AgentConfig,
    split: Split,
    name: str | None,
    episodes: int | None,
) -> AgentEvaluation:
    """The policy in one world, always on the run's seeds for its closing evaluation."""
    world = split.world(spec)
    count = config.final_episodes if episodes is None else episodes
    seed = config.seed * 1_000_000 + FINAL_SEED_OFFSET
    returns = evaluate(world, controller, episodes=count, seed=seed, schedule=split.schedule)
    return AgentEvaluation(
        shift=name,
        returns=returns,
        interval=bootstrap_interval(returns, np.random.default_rng(config.seed)),
        yardsticks=measure_yardsticks(world, episodes=count, seed=seed, schedule=split.schedule),
    )


def bootstrap_interval(
    values: NDArray[np.float64], rng: np.random.Generator, *, level: float = 0.95
) -> tuple[float, float]:
    """Percentile-bootstrap interval of the mean.

    Args:
        values: (n,) independent values, n >= 1.
        rng: draws the resamples.
        level: coverage in (0, 1).

    Returns:
        Lower and upper bound.
    """
    index = rng.integers(0, len(values), size=(_BOOTSTRAP_SAMPLES, len(values)))
    tail = (1 - level) / 2
    low, high = np.quantile(values[index].mean(axis=1), [tail, 1 - tail])
    return float(low), float(high)
