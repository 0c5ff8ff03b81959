"""What the folder of a finished run holds, read once."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from causal_rl.agents.checkpoint import CHECKPOINT_FILE, load_checkpoint
from causal_rl.agents.config import SB3_ALGORITHMS, TrainConfig
from causal_rl.agents.evaluation import Controller, Yardsticks, policy_controller
from causal_rl.agents.inspection import evaluate_run_graph, load_agent, load_controller
from causal_rl.agents.options import AgentConfig, load_options
from causal_rl.agents.trainers import trained_by
from causal_rl.agents.training import EVENTS_FILE, SUMMARY_FILE, TRANSITIONS_FILE
from causal_rl.discovery import Transitions
from causal_rl.envs import SCMEnvSpec, resolve_spec
from causal_rl.graphs import CausalGraph


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
    summary = _read_json(folder / SUMMARY_FILE)
    scores, graph, truth = evaluate_run_graph(folder)
    path = folder / TRANSITIONS_FILE
    if not path.is_file():
        raise ValueError(f"{str(folder)!r} has no {TRANSITIONS_FILE}; the report is made of it")
    loop = trained_by(folder)
    policy: nn.Module | None = None
    if loop in SB3_ALGORITHMS:
        from causal_rl.agents.sb3.training import HISTORY_FILE, load_sb3_agent

        model, spec, _, controller = load_sb3_agent(folder, device=device)
        policy, history = model.policy, _read_json(folder / HISTORY_FILE)
    else:
        spec = resolve_spec(config.env, **config.world_kwargs)
        history = load_checkpoint(folder / CHECKPOINT_FILE, spec)["algorithm"]["history"]
        if isinstance(config, TrainConfig):
            algorithm, spec, _ = load_agent(folder, device=device)
            policy = algorithm.policy
            controller = policy_controller(algorithm.policy, algorithm.device)
        else:
            controller, spec, _ = load_controller(folder, device=device)
    events = folder / EVENTS_FILE
    lines = events.read_text(encoding="utf-8").splitlines() if events.is_file() else []
    return RunRecord(
        folder, config, loop, spec, summary, graph, truth, scores, history,
        Yardsticks(
            random=summary["return_random"], noop=summary["return_noop"],
            oracle=summary["return_oracle"], oracle_horizon=summary["oracle_horizon"],
        ),
        [json.loads(line) for line in lines],
        Transitions.load(path), controller, policy,
    )  # fmt: skip


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{str(path)!r} is no readable JSON: {error}") from error
