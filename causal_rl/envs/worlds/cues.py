"""Worlds with spurious cues: variables that go with the goal or the reward and cause neither."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial

import numpy as np

from causal_rl.envs.shifts import flip_mechanisms, randomise
from causal_rl.envs.spec import SCMEnvSpec
from causal_rl.envs.worlds.control import GOAL, control_spec, structure
from causal_rl.envs.worlds.options import WorldOptions, check_integer
from causal_rl.scm import Gaussian, Linear, Variable

_PROXY_NOISE = 0.1


@dataclass(frozen=True, kw_only=True)
class ProxyOptions(WorldOptions):
    """As :class:`WorldOptions`, with distractors.

    Args:
        distractors: variables that follow the goal, at least 1.
    """

    distractors: int = 8

    def __post_init__(self) -> None:
        super().__post_init__()
        check_integer("distractors", self.distractors, 1)


def proxy_chain_scm(options: ProxyOptions) -> SCMEnvSpec:
    """The chain beside distractors that follow the goal in training and betray it at test."""
    rng = np.random.default_rng([options.graph_seed, 1])
    names = tuple(f"D{i + 1}" for i in range(options.distractors))
    weight = math.sqrt(1.0 - _PROXY_NOISE**2)
    distractors = [
        Variable(
            name=name,
            mechanism=Linear([weight * float(rng.choice([-1.0, 1.0]))]),
            noise=Gaussian(_PROXY_NOISE),
            parents=("goal",),
        )
        for name in names
    ]
    spec = control_spec("proxy-chain-scm", options, structure("chain", options), distractors)
    shifts = {
        "flip": partial(flip_mechanisms, names=names),
        "randomise": partial(randomise, names=names, noise=GOAL),
    }
    return spec.replace(shifts={**shifts, **spec.shifts})
