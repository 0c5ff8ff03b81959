"""Agents that learn the causal graph of their world and use it.

The five types that everything flows in: `SCM` and `DynamicSCM` (worlds), `Transitions` (data),
`CausalGraph` (what is learned), `SCMEncoder` (what reads it), and `Algorithm5` (the agent).
Importing this package registers its worlds with Gymnasium.
"""

from __future__ import annotations

import importlib
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from causal_rl.envs import (
    Interventions,
    SCMEnv,
    SCMEnvSpec,
    SCMVectorEnv,
    list_envs,
    register_env,
    resolve_spec,
)
from causal_rl.graphs import CausalGraph
from causal_rl.scm import SCM, DynamicSCM, Variable

try:
    __version__ = version("causal_rl")
except PackageNotFoundError:  # the source tree is on the path, but nothing was installed
    __version__ = "0+unknown"

# Imported at first use: these need torch, which a simulation alone does not.
_LAZY = {
    "Algorithm5": "causal_rl.agents",
    "CausalAttention": "causal_rl.attention",
    "SCMEncoder": "causal_rl.attention",
    "TorchSCMVectorEnv": "causal_rl.envs.torch_vector",
    "TrainConfig": "causal_rl.agents",
    "Transitions": "causal_rl.discovery",
    "make_learner": "causal_rl.discovery",
    "train": "causal_rl.agents",
}

__all__ = [
    "SCM",
    "Algorithm5",
    "CausalAttention",
    "CausalGraph",
    "DynamicSCM",
    "Interventions",
    "SCMEncoder",
    "SCMEnv",
    "SCMEnvSpec",
    "SCMVectorEnv",
    "TorchSCMVectorEnv",
    "TrainConfig",
    "Transitions",
    "Variable",
    "list_envs",
    "make_learner",
    "register_env",
    "resolve_spec",
    "train",
]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(importlib.import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'causal_rl' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
