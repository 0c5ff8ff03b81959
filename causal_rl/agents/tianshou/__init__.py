"""The bridge to Tianshou 2: worlds as its vector environments, ECAM in its networks.

Everything is imported when it is first asked for; without Tianshou that raises an error which
names the extra to install. ``docs/tianshou.md`` shows the parts at work.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from causal_rl.errors import import_extra

if TYPE_CHECKING:
    from causal_rl.agents.tianshou.env import TianshouVectorEnv
    from causal_rl.agents.tianshou.graph import CausalGraphHook
    from causal_rl.agents.tianshou.networks import (
        ECAMActor,
        ECAMCritic,
        ECAMQNetwork,
        load_algorithm,
        make_ppo,
        make_sac,
        save_algorithm,
        set_algorithm_graph,
    )
    from causal_rl.agents.tianshou.training import TianshouAlgorithm5

_PLACES = {
    "CausalGraphHook": "graph",
    "ECAMActor": "networks",
    "ECAMCritic": "networks",
    "ECAMQNetwork": "networks",
    "TianshouAlgorithm5": "training",
    "TianshouVectorEnv": "env",
    "load_algorithm": "networks",
    "make_ppo": "networks",
    "make_sac": "networks",
    "save_algorithm": "networks",
    "set_algorithm_graph": "networks",
}

__all__ = [
    "CausalGraphHook",
    "ECAMActor",
    "ECAMCritic",
    "ECAMQNetwork",
    "TianshouAlgorithm5",
    "TianshouVectorEnv",
    "load_algorithm",
    "make_ppo",
    "make_sac",
    "save_algorithm",
    "set_algorithm_graph",
]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import_extra("tianshou", extra="tianshou")
    return getattr(importlib.import_module(f"causal_rl.agents.tianshou.{_PLACES[name]}"), name)
