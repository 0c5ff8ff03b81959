"""What the folder of a finished run holds, read once."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from causal_rl.agents.config import SB3_ALGORITHMS, TrainConfig
from causal_rl.agents.evaluation import Controller, Yardsticks, policy_controller
from causal_rl.agents.inspection import evaluate_run_graph, load_agent, load_planner
from causal_rl.agents.options import AgentConfig, load_options
from causal_rl.agents.trainers import trained_by
from causal_rl.agents.training import EVENTS_FILE, SUMMARY_FILE, TRANSITIONS_FILE
from causal_rl.discovery import Transitions
from causal_rl.envs import SCMEnvSpec
from causal_rl.files import read_json
from causal_rl.graphs import CausalGraph

#: What the report shows of a summary.
_FIGURES = (
    "env", "seed", "env_steps", "seconds", "return_mean", "return_random", "return_noop",
    "return_oracle", "return_normalised", "oracle_horizon", "shd_contemporaneous", "shd_lagged",
)  # fmt: skip


@dataclass(frozen=True)
class RunRecord:
    """A finished run.

    Attributes:
        folder: where it lies.
        config: its options.
        loop: the training loop as ``--algo`` names it, or "planner".
        spec: the world that was trained on.
        summary: what ``summary.json`` holds.
        graph: the learned graph.
        truth: the world's.
        scores: as `causal_rl.agents.graph_rows`.
        history: rows of figures over time, as ``Algorithm5.history``.
        yardsticks: returns beside which the policy's is held.
        events: what the watch of mechanisms did, in order.
        transitions: the latest that the run kept.
        controller: the best policy.
        policy: its network; None for a planner.
    """

    folder: Path
    config: AgentConfig
    loop: str
    spec: SCMEnvSpec
    summary: dict[str, Any]
    graph: CausalGraph
    truth: CausalGraph
    scores: dict[str, dict[str, Any]]
    history: Sequence[dict[str, float]]
    yardsticks: Yardsticks
    events: Sequence[dict[str, Any]]
    transitions: Transitions
    controller: Controller
    policy: nn.Module | None


def read_run(folder: Path, *, device: str = "cpu") -> RunRecord:
    """Read a run, whichever loop trained it.

    Args:
        folder: the run's folder.
        device: device of the networks.

    Raises:
        ValueError: no run there, an unfinished one, one of another world, or a file that is
            damaged.
        MissingExtraError: the loop's library is not installed.
    """
    config = load_options(folder)
    if not (folder / SUMMARY_FILE).is_file():
        raise ValueError(
            f"{str(folder)!r} is no finished run: it has no {SUMMARY_FILE}; finish it with --resume"
        )
    summary = _read_summary(folder / SUMMARY_FILE)
    scores, graph, truth = evaluate_run_graph(folder)
    path = folder / TRANSITIONS_FILE
    if not path.is_file():
        raise ValueError(f"{str(folder)!r} has no {TRANSITIONS_FILE}; the report is made of it")
    loop = trained_by(folder)
    policy: nn.Module | None = None
    if loop in SB3_ALGORITHMS:
        from causal_rl.agents.sb3.training import HISTORY_FILE, load_sb3_agent

        model, spec, _, controller = load_sb3_agent(folder, device=device)
        policy, history = model.policy, read_json(folder / HISTORY_FILE)
    elif isinstance(config, TrainConfig):
        algorithm, spec, _ = load_agent(folder, device=device)
        policy, history = algorithm.policy, algorithm.history
        controller = policy_controller(algorithm.policy, algorithm.device)
    else:
        planner, spec, _ = load_planner(folder)
        controller, history = planner.best_controller(), planner.history
    return RunRecord(
        folder, config, loop, spec, summary, graph, truth, scores, history,
        Yardsticks(
            random=summary["return_random"], noop=summary["return_noop"],
            oracle=summary["return_oracle"], oracle_horizon=summary["oracle_horizon"],
        ),
        _read_events(folder / EVENTS_FILE),
        Transitions.load(path), controller, policy,
    )  # fmt: skip


def _read_summary(path: Path) -> dict[str, Any]:
    found = read_json(path)
    if not isinstance(found, dict):
        raise ValueError(f"{path} must hold a mapping, got {type(found).__name__}")
    if lacking := [key for key in _FIGURES if key not in found]:
        raise ValueError(f"{path} lacks {', '.join(lacking)}")
    return found


def _read_events(path: Path) -> list[dict[str, Any]]:
    """What a watch wrote, a line an event; none without a watch."""
    found = []
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    for number, line in enumerate(text.splitlines(), start=1):
        try:
            found.append(json.loads(line))
        except json.JSONDecodeError as error:
            raise ValueError(f"{path}, line {number} is no JSON: {error}") from error
    return found
