"""Graph learners: transitions in, a causal graph out."""

from causal_rl.discovery.base import ConvergenceWarning, GraphLearner
from causal_rl.discovery.cause_effect import direction_score
from causal_rl.discovery.prior import EdgePrior
from causal_rl.discovery.registry import (
    learner_options,
    list_learners,
    make_learner,
    register_learner,
)
from causal_rl.discovery.representation_graph import GraphFromRepresentations, GraphStep
from causal_rl.discovery.trainer_callback import trainer_callback
from causal_rl.discovery.transitions import Transitions

__all__ = [
    "ConvergenceWarning",
    "EdgePrior",
    "GraphFromRepresentations",
    "GraphLearner",
    "GraphStep",
    "Transitions",
    "direction_score",
    "learner_options",
    "list_learners",
    "make_learner",
    "register_learner",
    "trainer_callback",
]
