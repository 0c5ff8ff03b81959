"""Looking at a finished run: its graph against the truth, its policy in any shift."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from causal_rl.agents.algorithm5 import Algorithm5
from causal_rl.agents.checkpoint import load_checkpoint
from causal_rl.agents.config import TrainConfig
from causal_rl.agents.evaluation import (
    Yardsticks,
    evaluate,
    measure_yardsticks,
    policy_controller,
)
from causal_rl.agents.reporting import graph_rows
from causal_rl.agents.training import (
    CHECKPOINT_FILE,
    FINAL_SEED_OFFSET,
    GRAPH_FILE,
    load_config,
    resolve_device,
)
from causal_rl.envs import SCMEnvSpec, resolve_spec
from causal_rl.graphs import CausalGraph

_BOOTSTRAP_SAMPLES = 2000


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
            "return_random": self.yardsticks.random,
            "return_noop": self.yardsticks.noop,
            "return_oracle": self.yardsticks.oracle,
            "return_normalised": self.yardsticks.normalise(mean),
            "oracle_horizon": self.yardsticks.oracle_horizon,
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
    config = load_config(folder)
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
        The algorithm with the policy that evaluated best, the world, and the options.

    Raises:
        ValueError: no run there, no checkpoint yet, or a checkpoint of another world.
    """
    config = load_config(folder)
    spec = resolve_spec(config.env, **config.world_kwargs)
    state = load_checkpoint(folder / CHECKPOINT_FILE, spec)["algorithm"]
    graph = None if config.graph_file is None else CausalGraph.load(config.graph_file)
    algorithm = Algorithm5(spec, config, graph=graph, device=resolve_device(device))
    best = state["best"]
    algorithm.policy.load_state_dict(state["policy"] if best is None else best["policy"])
    return algorithm, spec, config


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
    algorithm, spec, config = load_agent(folder, device=device)
    world = spec if shift is None else spec.shifted(shift)
    count = config.final_episodes if episodes is None else episodes
    seed = config.seed * 1_000_000 + FINAL_SEED_OFFSET
    controller = policy_controller(algorithm.policy, algorithm.device)
    returns = evaluate(world, controller, episodes=count, seed=seed)
    return AgentEvaluation(
        shift=shift,
        returns=returns,
        interval=bootstrap_interval(returns, np.random.default_rng(config.seed)),
        yardsticks=measure_yardsticks(world, episodes=count, seed=seed),
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
