"""Graph learners: transitions in, a causal graph out.

What needs SciPy is imported when it is first asked for: worlds alone, which import this package for
`Transitions`, do not.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from causal_rl.discovery.base import ConvergenceWarning, GraphLearner
from causal_rl.discovery.prior import EdgePrior
from causal_rl.discovery.registry import (
    learner_options,
    list_learners,
    make_learner,
    register_learner,
)
from causal_rl.discovery.trainer_callback import trainer_callback
from causal_rl.discovery.transitions import Transitions

if TYPE_CHECKING:
    from causal_rl.discovery.cause_effect import direction_score
    from causal_rl.discovery.representation_graph import GraphFromRepresentations, GraphStep

_PLACES = {
    "GraphFromRepresentations": "representation_graph",
    "GraphStep": "representation_graph",
    "direction_score": "cause_effect",
}

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


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_PLACES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
