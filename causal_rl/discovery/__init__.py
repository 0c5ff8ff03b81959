"""Graph learners: transitions in, a causal graph out."""

from causal_rl.discovery.base import ConvergenceWarning, GraphLearner
from causal_rl.discovery.prior import EdgePrior
from causal_rl.discovery.registry import learner_options, list_learners, make_learner
from causal_rl.discovery.transitions import Transitions

__all__ = [
    "ConvergenceWarning",
    "EdgePrior",
    "GraphLearner",
    "Transitions",
    "learner_options",
    "list_learners",
    "make_learner",
]
