"""Training runs as cells: the options in the cell's settings, the run's folder thrown away."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console

from causal_rl.agents import TrainConfig, train
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

_FIGURES = (
    "return_normalised", "return_mean", "return_random", "return_noop", "return_oracle",
    "shd_contemporaneous", "shd_lagged", "sid_contemporaneous", "f1_contemporaneous", "f1_lagged",
    "env_steps", "seconds",
)  # fmt: skip


def run_settings(env: str, world: WorldOptions, seed: int, **options: Any) -> dict[str, Any]:
    """Settings of a cell that trains: every option of run, world and learner, defaults included.

    Args:
        env: name of a built-in world.
        world: its options; those that differ from their defaults become ``env_args``.
        seed: of the run.
        **options: of `TrainConfig`, where they differ from its defaults.

    Returns:
        Flat JSON values; "train.*" is read by `train_cell`, the rest is there to be compared.
    """
    defaults = dataclasses.asdict(type(world)())
    given = dataclasses.asdict(world)
    arguments = tuple(f"{key}={value}" for key, value in given.items() if value != defaults[key])
    config = TrainConfig(env=env, env_args=arguments, seed=seed, **options)
    return {
        # The loop, an option younger than the published cells, is named where it is another.
        **{
            f"train.{key}": value
            for key, value in config.to_dict().items()
            if (key, value) != ("algo", "own")
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
    config = TrainConfig.from_dict(cell.part("train"))
    with tempfile.TemporaryDirectory(prefix="causal_rl-benchmark-") as temporary:
        folder = Path(temporary) / "run"
        summary = train(config, out=folder, console=Console(quiet=True))
        yield folder, {name: _plain(summary[name]) for name in _FIGURES}


def _plain(value: Any) -> Value:
    return value if value is None or isinstance(value, int) else float(value)
