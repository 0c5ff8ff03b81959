"""Worlds with spurious cues: variables that go with the goal or the reward and cause neither."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial

import numpy as np

from causal_rl.envs.shifts import flip_mechanisms, randomise
from causal_rl.envs.spec import SCMEnvSpec, Shift
from causal_rl.envs.worlds.control import GOAL, control_spec, negative_distance, structure
from causal_rl.envs.worlds.options import WorldOptions
from causal_rl.options import check_integer
from causal_rl.scm import Gaussian, Linear, NoNoise, Variable

_PROXY_NOISE = 0.1
# A slow variable of unit variance: its share of itself a step before, and of news.
_SLOW, _QUICK = 0.9, math.sqrt(1.0 - 0.9**2)


@dataclass(frozen=True, kw_only=True)
class ProxyOptions(WorldOptions):
    """As :class:`WorldOptions`, with distractors.

    Args:
        distractors: variables that follow the goal, at least 1.
    """

    distractors: int = 8

    def __post_init__(self) -> None:
        super().__post_init__()
        check_integer("distractors", self.distractors, least=1)


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


@dataclass(frozen=True, kw_only=True)
class CueOptions(WorldOptions):
    """As :class:`WorldOptions`, with four sorts of variables that no policy needs.

    Args:
        proxies: variables P that follow the goal.
        effects: variables E that the score causes, and so go with the reward.
        correlated: variables C that a hidden variable drives together.
        irrelevant: variables I that go their own slow way.
    """

    proxies: int = 3
    effects: int = 3
    correlated: int = 3
    irrelevant: int = 3

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("proxies", "effects", "correlated", "irrelevant"):
            check_integer(name, getattr(self, name), least=0)


def cues_scm(options: CueOptions) -> SCMEnvSpec:
    """The chain among proxies of the goal, effects of the score, and two sorts of distractors."""
    rng = np.random.default_rng([options.graph_seed, 3])
    made = structure("chain", options)

    def sign() -> float:
        return float(rng.choice([-1.0, 1.0]))

    def names(letter: str, count: int) -> list[str]:
        return [f"{letter}{i + 1}" for i in range(count)]

    close = math.sqrt(1.0 - _PROXY_NOISE**2)
    proxies = [
        Variable(name, Linear([close * sign()]), Gaussian(_PROXY_NOISE), parents=("goal",))
        for name in names("P", options.proxies)
    ]
    score = Variable("score", negative_distance, NoNoise(), parents=(made.names[made.sink], "goal"))
    # The score is about 1 in size; with this noise its effects tell it nearly exactly.
    effects = [
        Variable(name, Linear([sign()]), Gaussian(_PROXY_NOISE), parents=("score",))
        for name in names("E", options.effects)
    ]
    common = Variable("H", Linear([_SLOW]), Gaussian(_QUICK), lagged_parents=("H",), kind="hidden")
    correlated = [
        Variable(name, Linear([close * sign()]), Gaussian(_PROXY_NOISE), parents=("H",))
        for name in names("C", options.correlated)
    ]
    irrelevant = [
        Variable(name, Linear([_SLOW]), Gaussian(_QUICK), lagged_parents=(name,))
        for name in names("I", options.irrelevant)
    ]
    hidden = [common] if correlated else []
    spec = control_spec(
        "cues-scm",
        options,
        made,
        [*proxies, score, *effects, *hidden, *correlated, *irrelevant],
        reward=Variable("reward", Linear([1.0]), parents=("score",), kind="reward"),
    )
    shifts: dict[str, Shift] = {}
    if proxies:
        followers = tuple(v.name for v in proxies)
        shifts["flip"] = partial(flip_mechanisms, names=followers)
        shifts["randomise"] = partial(randomise, names=followers, noise=GOAL)
    if effects:
        results = tuple(v.name for v in effects)
        shifts["effects"] = partial(randomise, names=results, noise=Gaussian(1.0))
    return spec.replace(shifts={**shifts, **spec.shifts})
