"""Planning in a structural causal model that was learned from the agent's own transitions."""

from __future__ import annotations

from causal_rl.agents.plan_simulation import PlanningModel
from causal_rl.agents.planning.agent import PlannerAgent
from causal_rl.agents.planning.config import PlannerConfig
from causal_rl.agents.planning.exploration import BaggedModels
from causal_rl.agents.planning.learned_model import LearnedSCM
from causal_rl.agents.planning.model_planner import ModelPlanner, choose_horizon

__all__ = [
    "BaggedModels",
    "LearnedSCM",
    "ModelPlanner",
    "PlannerAgent",
    "PlannerConfig",
    "PlanningModel",
    "choose_horizon",
]
