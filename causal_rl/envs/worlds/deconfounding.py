"""Hidden confounding that passive data, or the choice of what to set, can get round.

Worlds of one independent round a step: the front door, the instrumental variable, and the choice of
where to intervene. See :mod:`causal_rl.envs.worlds.confounding` for what they share.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from causal_rl.envs.spec import SCMEnvSpec
from causal_rl.envs.worlds.confounding import (
    XOR,
    ConfoundedOptions,
    check_chances,
    check_rates,
    confounded_spec,
    outcome_reward,
)
from causal_rl.envs.worlds.identification import ExactValues
from causal_rl.envs.worlds.tables import Lookup, chance, coin
from causal_rl.options import check_integer, check_number
from causal_rl.scm import Gaussian, Linear, Variable

_QUANTILES = 100_000


@dataclass(frozen=True, kw_only=True)
class FrontDoorOptions(ConfoundedOptions):
    """As :class:`ConfoundedOptions`, for the front door.

    Args:
        hidden: probability of U = 1, in (0, 1).
        habit: P(X = 1 | U), two numbers in (0, 1).
        passage: P(M = 1 | X), two numbers in (0, 1).
        outcome: P(Y = 1 | M, U), 2 x 2 numbers in [0, 1].
    """

    hidden: float = 0.5
    habit: tuple[float, ...] = (0.2, 0.8)
    passage: tuple[float, ...] = (0.1, 0.9)
    outcome: tuple[tuple[float, ...], ...] = ((0.4, 0.9), (0.15, 0.65))

    def __post_init__(self) -> None:
        super().__post_init__()
        check_chances(self, "hidden")
        check_rates("habit", self.habit, (2,))
        check_rates("passage", self.passage, (2,))
        check_rates("outcome", self.outcome, (2, 2))


def front_door(options: FrontDoorOptions) -> SCMEnvSpec:
    """A habit that looks healthy and is not; what lies between habit and outcome tells."""
    variables = [
        Variable("U", coin(options.hidden), kind="hidden"),
        Variable("X", chance(options.habit), parents=("U",)),
        Variable("M", chance(options.passage), parents=("X",)),
        Variable("Y", chance(options.outcome), parents=("M", "U")),
        outcome_reward("Y"),
    ]
    return confounded_spec("front-door", options, variables, ("X",))


@dataclass(frozen=True, kw_only=True)
class InstrumentOptions(ConfoundedOptions):
    """As :class:`ConfoundedOptions`, for the linear instrument.

    Args:
        first_stage: effect of Z on X, not 0.
        effect: effect of X on Y, not 0.
        to_treatment: effect of the hidden U on X.
        to_outcome: effect of the hidden U on Y.
        noise: standard deviation of the own noise of X and of Y, above 0.
        goal: where Y should be.
        n_values: values on offer for X, evenly spaced on [-max_value, max_value], at least 2.
        max_value: the largest value on offer, above 0.
    """

    first_stage: float = 1.0
    effect: float = -1.0
    to_treatment: float = 1.0
    to_outcome: float = 2.5
    noise: float = 0.5
    goal: float = 2.0
    n_values: int = 9
    max_value: float = 4.0

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("first_stage", "effect"):
            check_number(name, getattr(self, name))
            if getattr(self, name) == 0:
                raise ValueError(f"{name} is 0; it must not be")
        for name in ("to_treatment", "to_outcome", "goal"):
            check_number(name, getattr(self, name))
        for name in ("noise", "max_value"):
            check_number(name, getattr(self, name), least=0.0, open_end=True)
        check_integer("n_values", self.n_values, least=2)


def instrument(options: InstrumentOptions) -> SCMEnvSpec:
    """A linear effect whose sign regression gets wrong and an instrument gets right."""
    own = Gaussian(options.noise)
    into_x = Linear([options.first_stage, options.to_treatment])
    into_y = Linear([options.effect, options.to_outcome])
    variables = [
        Variable("U", kind="hidden"),
        Variable("Z"),
        Variable("X", into_x, own, ("Z", "U")),
        Variable("Y", into_y, own, ("X", "U")),
        Variable("reward", partial(_minus_square, options.goal), parents=("Y",), kind="reward"),
    ]
    values = np.linspace(-options.max_value, options.max_value, options.n_values).tolist()
    return confounded_spec("instrument", options, variables, ("X",), values)


def instrument_values(options: InstrumentOptions) -> ExactValues:
    """The values of the instrument world, as :func:`exact_values` gives them for discrete worlds.

    All variables are normal, so that given the natural X the hidden U is normal too, with mean
    ``to_treatment / var(X)`` times X. ``counterfactual`` averages the best action for each natural
    X over 100,000 of its quantiles; the rest are closed forms.
    """
    own, kept = options.noise**2, options.to_outcome
    variance = options.first_stage**2 + options.to_treatment**2 + own
    slope = options.to_treatment / variance
    left = kept**2 * (1.0 - options.to_treatment * slope) + own

    def reward(x: NDArray[np.float64], hidden: NDArray[np.float64]) -> NDArray[np.float64]:
        value: NDArray[np.float64] = -((options.effect * x + kept * hidden - options.goal) ** 2)
        return value

    offered = np.linspace(-options.max_value, options.max_value, options.n_values)
    natural = Gaussian(math.sqrt(variance)).ppf((np.arange(_QUANTILES) + 0.5) / _QUANTILES)
    hidden = slope * natural
    along = options.effect + kept * slope  # of the expected outcome, in the natural X
    see = -(along**2 * variance + options.goal**2 + left)
    do = reward(offered, np.zeros(1)) - kept**2 - own - options.cost
    set_best = np.max([reward(x, hidden) for x in offered], axis=0) - options.cost
    best = np.maximum(set_best, reward(natural, hidden)) - left
    n = options.horizon
    return ExactValues(
        see=n * see,
        do={("X", float(x)): n * float(v) for x, v in zip(offered, do, strict=True)},
        policy=n * max(see, float(do.max())),
        counterfactual=n * float(best.mean()),
        horizon=n,
    )


@dataclass(frozen=True, kw_only=True)
class WhereOptions(ConfoundedOptions):
    """As :class:`ConfoundedOptions`, for the choice of where to intervene.

    Args:
        first: probability of Z = 1 if nothing is set, in (0, 1).
        flip: probability that the outcome is turned round, in (0, 0.5).
    """

    first: float = 0.4
    flip: float = 0.05

    def __post_init__(self) -> None:
        super().__post_init__()
        check_chances(self, "first")
        check_number("flip", self.flip, least=0.0, below=0.5, open_end=True)


def where_to_intervene(options: WhereOptions) -> SCMEnvSpec:
    """Three levers of which the far one is right: the others work best when left alone."""
    outcome = np.full((2, 2, 2, 2), options.flip)  # [X][U][W][V]
    for x, u, w, v in np.ndindex(2, 2, 2, 2):
        if x != u and w == v:
            outcome[x, u, w, v] = 1.0 - options.flip
    variables = [
        Variable("U", coin(0.5), kind="hidden"),
        Variable("V", coin(0.5), kind="hidden"),
        Variable("Z", coin(options.first)),
        Variable("X", Lookup(XOR, 2), parents=("Z", "U")),
        Variable("W", Lookup((0, 1), 2), parents=("V",)),
        Variable("Y", chance(outcome), parents=("X", "U", "W", "V")),
        outcome_reward("Y"),
    ]
    return confounded_spec("where-to-intervene", options, variables, ("Z", "X", "W"))


def _minus_square(goal: float, outcome: NDArray[np.float64]) -> NDArray[np.float64]:
    loss: NDArray[np.float64] = -((outcome - goal) ** 2)
    return loss
