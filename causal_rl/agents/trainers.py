"""One door to every training loop: Algorithm 5's own, and those of other libraries."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console

from causal_rl.agents import training
from causal_rl.agents.config import SB3_ALGORITHMS, TrainConfig
from causal_rl.agents.inspection import AgentEvaluation, evaluate_run_agent
from causal_rl.agents.options import AgentConfig, load_options


def train(
    config: AgentConfig,
    *,
    out: Path | None = None,
    console: Console | None = None,
    pictures: bool = True,
) -> dict[str, Any]:
    """Train the agent of these options, by the loop they name, and write the run's folder.

    Args:
        config: the options.
        out: the run's folder, absent or empty; default ``runs/<world>-seed<seed>-<time>``.
        console: where the progress bar and the tables go.
        pictures: whether to draw; Stable-Baselines3's loops always do.

    Returns:
        What ``summary.json`` holds.

    Raises:
        ValueError: a bad option, world or graph file, or a folder that holds files; nothing is
            written then.
        MissingExtraError: the loop's library is not installed.
    """
    if not isinstance(config, TrainConfig) or config.algo not in SB3_ALGORITHMS:
        return training.train(config, out=out, console=console, pictures=pictures)
    from causal_rl.agents.sb3 import train_sb3

    return train_sb3(config, SB3_ALGORITHMS[config.algo], out=out, console=console)


def evaluate_agent(
    folder: Path, *, shift: str | None = None, episodes: int | None = None, device: str = "cpu"
) -> AgentEvaluation:
    """Evaluate the policy of a run, whichever loop trained it.

    Args:
        folder: the run's folder.
        shift: a shift of the world, or None.
        episodes: episodes to run; None for the run's ``final_episodes``.
        device: torch device of the networks.

    Raises:
        ValueError: no such run, shift or device.
        MissingExtraError: the loop's library is not installed.
    """
    if trained_by(folder) not in SB3_ALGORITHMS:
        return evaluate_run_agent(folder, shift=shift, episodes=episodes, device=device)
    from causal_rl.agents.sb3 import evaluate_sb3_agent

    return evaluate_sb3_agent(folder, shift=shift, episodes=episodes, device=device)


def trained_by(folder: Path) -> str:
    """The training loop of a run, as ``--algo`` names it; "planner" where that was the agent.

    Raises:
        ValueError: no run there.
    """
    config = load_options(folder)
    return config.algo if isinstance(config, TrainConfig) else config.agent
