"""Training runs as cells: the options in the cell's settings, the run's folder thrown away."""

from __future__ import annotations

import dataclasses
import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console

from causal_rl.agents import load_checkpoint, load_options, load_world, parse_options, train
from causal_rl.agents.config import DEFAULT_AGENT, AgentName
from causal_rl.benchmarks.cells import Cell, Row, Value
from causal_rl.discovery import learner_options
from causal_rl.envs import WorldOptions

#: Options that make a run take seconds; what it learns then means nothing.
SMOKE_OPTIONS: dict[str, Any] = {
    "steps": 1_500,
    "num_envs": 8,
    "explore_envs": 2,
    "warmup_steps": 1_100,
    "graph_every": 1,
    "eval_every": 1,
    "eval_episodes": 4,
    "final_episodes": 4,
    "checkpoint_every": 1_000,
}
#: Options of the smallest worlds that train in seconds.
SMOKE_WORLD: dict[str, Any] = {"n": 4, "horizon": 8, "n_values": 3}

# Options younger than published cells; they are settings where they are not at these values. Those
# of the first row are younger than the cells of every benchmark.
YOUNGEST = {"counterfactuals": 0, "counterfactual_noise": "stored", "regimes": []}
_YOUNGER = {
    **YOUNGEST, "algo": "own", "warm_start": "none", "warm_start_steps": 500, "watch": 0.0,
}  # fmt: skip
_FIGURES = (
    "return_normalised", "return_mean", "return_random", "return_noop", "return_oracle",
    "shd_contemporaneous", "shd_lagged", "sid_contemporaneous", "f1_contemporaneous", "f1_lagged",
    "env_steps", "seconds",
)  # fmt: skip


def run_settings(
    env: str, world: WorldOptions, seed: int, *, agent: AgentName = DEFAULT_AGENT, **options: Any
) -> dict[str, Any]:
    """Settings of a cell that trains: every option of run, world and learner, defaults included.

    Args:
        env: name of a built-in world.
        world: its options; those that differ from their defaults become ``env_args``.
        seed: of the run.
        agent: which agent.
        **options: of the agent's config, where they differ from its defaults.

    Returns:
        Flat JSON values; "train.*" is read by `train_cell`, the rest is there to be compared.
    """
    defaults = dataclasses.asdict(type(world)())
    given = dataclasses.asdict(world)
    arguments = tuple(f"{key}={value}" for key, value in given.items() if value != defaults[key])
    config = parse_options(
        {"agent": agent, "env": env, "env_args": arguments, "seed": seed, **options}
    )
    return {
        **{
            f"train.{key}": value
            for key, value in config.to_dict().items()
            if key not in _YOUNGER or value != _YOUNGER[key]
        },
        **{f"world.{key}": value for key, value in given.items()},
        **{f"learner.{key}": value for key, value in learner_options(config.learner).items()},
    }


@contextmanager
def train_cell(cell: Cell) -> Iterator[tuple[Path, Row]]:
    """Train with the settings of a cell.

    Args:
        cell: its settings are those of `run_settings`.

    Yields:
        The run's folder, which is deleted afterwards, and the figures of its summary.
    """
    config = parse_options(cell.part("train"))
    with tempfile.TemporaryDirectory(prefix="causal_rl-benchmark-") as temporary:
        folder = Path(temporary) / "run"
        summary = train(config, out=folder, console=Console(quiet=True), pictures=False)
        yield folder, {name: _plain(summary[name]) for name in _FIGURES}


def run_history(folder: Path) -> list[dict[str, float]]:
    """Figures of a finished run over time, whichever loop trained it.

    Args:
        folder: the run's folder.

    Returns:
        A row an iteration: "env_steps", and TensorBoard's tags where they were measured.

    Raises:
        ValueError: no run there.
    """
    written = folder / "history.json"  # of the loops that keep no checkpoint
    if written.is_file():
        found: list[dict[str, float]] = json.loads(written.read_text(encoding="utf-8"))
        return found
    spec = load_world(load_options(folder))
    kept: list[dict[str, float]] = load_checkpoint(folder / "checkpoint.pt", spec)["algorithm"][
        "history"
    ]
    return kept


def normalised_curve(folder: Path, figures: Row) -> list[Row]:
    """Evaluations of a finished run over time, for a cell's curve.

    Args:
        folder: the run's folder.
        figures: of `train_cell`; the yardsticks of the closing episodes are read.

    Returns:
        Rows of "env_steps", "return" and "normalised"; none where the oracle is no better than
        random interventions.
    """
    low, high = figures["return_random"], figures["return_oracle"]
    if not (isinstance(low, float) and isinstance(high, float) and high > low):
        return []
    return [
        {
            "env_steps": int(row["env_steps"]),
            "return": row["eval/mean_reward"],
            "normalised": (row["eval/mean_reward"] - low) / (high - low),
        }
        for row in run_history(folder)
        if row.get("eval/mean_reward") is not None
    ]


def _plain(value: Any) -> Value:
    return value if value is None or isinstance(value, int) else float(value)
