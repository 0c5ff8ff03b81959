"""One agent for many worlds: families of random SCMs and what carries over to unseen graphs."""

from __future__ import annotations

from causal_rl.agents.transfer.do_prediction import METHODS, DoPredictor, Method
from causal_rl.agents.transfer.family_training import (
    TRAIN_ROWS,
    method_evidence,
    train_predictor,
    training_worlds,
)
from causal_rl.agents.transfer.mechanism_evidence import (
    FittedSCM,
    MechanismEvidence,
    fit_evidence,
)
from causal_rl.agents.transfer.questions import DoBatch, do_batch
from causal_rl.agents.transfer.world_family import (
    Queries,
    WorldFamily,
    WorldSplit,
    ask,
    graph_shape,
    random_transitions,
)
from causal_rl.agents.transfer.zero_shot import (
    Prediction,
    ZeroShotAgent,
    greedy_controller,
    meet_world,
)

__all__ = [
    "METHODS",
    "TRAIN_ROWS",
    "DoBatch",
    "DoPredictor",
    "FittedSCM",
    "MechanismEvidence",
    "Method",
    "Prediction",
    "Queries",
    "WorldFamily",
    "WorldSplit",
    "ZeroShotAgent",
    "ask",
    "do_batch",
    "fit_evidence",
    "graph_shape",
    "greedy_controller",
    "meet_world",
    "method_evidence",
    "random_transitions",
    "train_predictor",
    "training_worlds",
]
