"""A small world, and graphs for the policies of Stable-Baselines3 in it."""

from __future__ import annotations

import numpy as np
from gymnasium import spaces

from causal_rl.envs import Interventions, SCMEnvSpec
from causal_rl.graphs import CausalGraph
from causal_rl.scm import DynamicSCM, Gaussian, Linear, Uniform, Variable

ENCODER = {"embed_dim": 8, "layers": 1}
SMALL = {"features_extractor_kwargs": ENCODER}


def tiny_world():
    """Five observed columns, one of them no cause of the reward, and a hidden variable."""
    scm = DynamicSCM(
        [
            Variable("y", Linear([1.0]), Gaussian(0.2), parents=["x"]),
            Variable("x", Linear([0.8, 0.3]), Gaussian(0.5), parents=["w", "u"]),
            Variable("w", noise=Gaussian(1.0)),
            Variable("u", noise=Gaussian(1.0), kind="hidden"),
            Variable("aside", Linear([0.9]), Gaussian(0.1), parents=["x"]),
            Variable("goal", noise=Uniform(-1.0, 1.0), kind="context"),
            Variable(
                "reward", lambda y, goal: -np.abs(y - goal), parents=["y", "goal"], kind="reward"
            ),
        ]
    )
    return SCMEnvSpec("tiny", scm, Interventions(["x", "w"], (-0.5, 0.1, 0.5), 0.01), horizon=5)


def box(n=4):
    return spaces.Box(-np.inf, np.inf, (n,), dtype=np.float32)


def chain(names="abcd", reward=None):
    """a -> b -> c ... and, where asked, a reward that reads one of them."""
    n = len(names)
    block = np.eye(n, k=1, dtype=bool)
    kinds = ["state"] * n
    if reward is not None:
        names, kinds = [*names, "reward"], [*kinds, "reward"]
        block = np.pad(block, (0, 1))
        block[names.index(reward), n] = True
    return CausalGraph(block, names=tuple(names), kinds=tuple(kinds))
