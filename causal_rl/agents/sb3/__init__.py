"""The bridge to Stable-Baselines3: worlds as its environments, ECAM in its policies.

Everything is imported when it is first asked for; without Stable-Baselines3 that raises an error
which names the extra to install. ``docs/sb3.md`` shows the parts at work.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from causal_rl.errors import import_extra

if TYPE_CHECKING:
    from causal_rl.agents.sb3.callback import CausalGraphCallback
    from causal_rl.agents.sb3.env import SCMVecEnv
    from causal_rl.agents.sb3.policy import ECAMFeaturesExtractor, ECAMPolicy, set_policy_graph
    from causal_rl.agents.sb3.training import (
        evaluate_sb3_agent,
        load_sb3_agent,
        sb3_controller,
        train_sb3,
    )

_PLACES = {
    "CausalGraphCallback": "callback",
    "ECAMFeaturesExtractor": "policy",
    "ECAMPolicy": "policy",
    "SCMVecEnv": "env",
    "evaluate_sb3_agent": "training",
    "load_sb3_agent": "training",
    "sb3_controller": "training",
    "set_policy_graph": "policy",
    "train_sb3": "training",
}

__all__ = [
    "CausalGraphCallback",
    "ECAMFeaturesExtractor",
    "ECAMPolicy",
    "SCMVecEnv",
    "evaluate_sb3_agent",
    "load_sb3_agent",
    "sb3_controller",
    "set_policy_graph",
    "train_sb3",
]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import_extra("stable_baselines3", extra="sb3")
    return getattr(importlib.import_module(f"causal_rl.agents.sb3.{_PLACES[name]}"), name)
