"""Agents: Algorithm 5 of the ECAM paper, its parts, and the runs that people start."""

from __future__ import annotations

from causal_rl.agents.algorithm5 import Algorithm5
from causal_rl.agents.checkpoint import load_checkpoint, save_checkpoint, world_identity
from causal_rl.agents.config import TrainConfig
from causal_rl.agents.counterfactual_data import CounterfactualData
from causal_rl.agents.evaluation import (
    Controller,
    Yardsticks,
    evaluate,
    measure_yardsticks,
    noop_controller,
    oracle_controller,
    policy_controller,
    random_controller,
)
from causal_rl.agents.inspection import (
    AgentEvaluation,
    ProtocolEvaluation,
    bootstrap_interval,
    evaluate_run_agent,
    evaluate_run_graph,
    evaluate_run_shift,
    load_agent,
    load_controller,
)
from causal_rl.agents.options import AGENT_CONFIGS, AgentConfig, load_options, parse_options
from causal_rl.agents.oracle_planner import SCMPlanner
from causal_rl.agents.plan_simulation import Plan
from causal_rl.agents.planning.config import PlannerConfig
from causal_rl.agents.policy import ActorCritic, GraphMLP, PolicyOutput, policy_view
from causal_rl.agents.policy_updates import a2c_update, paper_update, ppo_update
from causal_rl.agents.progress import Progress
from causal_rl.agents.reporting import (
    graph_rows,
    graph_table,
    plot_learning_curve,
    print_report,
    return_table,
    save_figure,
)
from causal_rl.agents.rollout import (
    ReturnNormaliser,
    RolloutBatch,
    RolloutRecorder,
    RolloutTransitions,
    generalised_advantages,
)
from causal_rl.agents.store import TransitionStore
from causal_rl.agents.tensorboard import RunLogger
from causal_rl.agents.trainers import evaluate_agent, train, trained_by
from causal_rl.agents.training import (
    Interrupted,
    default_folder,
    load_config,
    load_world,
    resume,
)

__all__ = [
    "AGENT_CONFIGS",
    "ActorCritic",
    "AgentConfig",
    "AgentEvaluation",
    "Algorithm5",
    "Controller",
    "CounterfactualData",
    "GraphMLP",
    "Interrupted",
    "Plan",
    "PlannerConfig",
    "PolicyOutput",
    "Progress",
    "ProtocolEvaluation",
    "ReturnNormaliser",
    "RolloutBatch",
    "RolloutRecorder",
    "RolloutTransitions",
    "RunLogger",
    "SCMPlanner",
    "TrainConfig",
    "TransitionStore",
    "Yardsticks",
    "a2c_update",
    "bootstrap_interval",
    "default_folder",
    "evaluate",
    "evaluate_agent",
    "evaluate_run_agent",
    "evaluate_run_graph",
    "evaluate_run_shift",
    "generalised_advantages",
    "graph_rows",
    "graph_table",
    "load_agent",
    "load_checkpoint",
    "load_config",
    "load_controller",
    "load_options",
    "load_world",
    "measure_yardsticks",
    "noop_controller",
    "oracle_controller",
    "paper_update",
    "parse_options",
    "plot_learning_curve",
    "policy_controller",
    "policy_view",
    "ppo_update",
    "print_report",
    "random_controller",
    "resume",
    "return_table",
    "save_checkpoint",
    "save_figure",
    "train",
    "trained_by",
    "world_identity",
]
