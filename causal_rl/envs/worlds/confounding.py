"""Worlds with hidden common causes: what is seen, what is done and what is intended differ.

In each of them a hidden variable moves both what would be done by itself (the natural value of a
settable variable) and what comes of it. Setting the variable cuts it off the hidden cause, so that
an agent that learns from watching is misled, one that experiments is not, and one that looks at its
natural action before it acts may do better still (Bareinboim, Forney & Pearl 2015).

Every mechanism is a table, so that all values can be computed exactly by
:func:`causal_rl.envs.worlds.identification.exact_values`; the linear world has closed forms.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from causal_rl.envs.interventions import Interventions
from causal_rl.envs.spec import SCMEnvSpec
from causal_rl.envs.worlds.tables import Lookup, chance, coin, conditional
from causal_rl.options import check_integer, check_number
from causal_rl.scm import DynamicSCM, Gaussian, Linear, Variable

#: Payout rates [machine][drunk][blinking] of the greedy casino (Bareinboim, Forney & Pearl 2015,
#: table 1).
GREEDY_CASINO = (((0.1, 0.5), (0.4, 0.2)), ((0.5, 0.1), (0.2, 0.4)))

XOR = ((0, 1), (1, 0))


@dataclass(frozen=True, kw_only=True)
class ConfoundedOptions:
    """What can be chosen about every world with hidden confounding.

    Args:
        horizon: steps of an episode.
        cost: of any intervention; letting the natural action happen is free.

    Raises:
        ValueError: a value out of its range; the argument is named.
    """

    horizon: int = 32
    cost: float = 0.0

    def __post_init__(self) -> None:
        check_integer("horizon", self.horizon, least=1)
        check_number("cost", self.cost, least=0.0)


@dataclass(frozen=True, kw_only=True)
class BanditOptions(ConfoundedOptions):
    """As :class:`ConfoundedOptions`, for the casino.

    Args:
        drunk: probability of D = 1, in (0, 1).
        blinking: probability of B = 1, in (0, 1).
        payouts: rates in [0, 1], [machine][drunk][blinking], 2 x 2 x 2.
    """

    drunk: float = 0.5
    blinking: float = 0.5
    payouts: tuple[tuple[tuple[float, ...], ...], ...] = GREEDY_CASINO

    def __post_init__(self) -> None:
        super().__post_init__()
        check_chances(self, "drunk", "blinking")
        check_rates("payouts", self.payouts, (2, 2, 2))


def bandit_uc(options: BanditOptions) -> SCMEnvSpec:
    """Two slot machines that know the gambler's hidden mood: intent tells what to avoid."""
    payout = chance(options.payouts)
    variables = [
        Variable("D", coin(options.drunk), kind="hidden"),
        Variable("B", coin(options.blinking), kind="hidden"),
        Variable("X", Lookup(XOR, 2), parents=("D", "B")),
        Variable("Y", payout, parents=("X", "D", "B")),
        outcome_reward("Y"),
    ]
    return confounded_spec("bandit-uc", options, variables, ("X",))


@dataclass(frozen=True, kw_only=True)
class ConfoundedMDPOptions(ConfoundedOptions):
    """As :class:`ConfoundedOptions`, for the corridor.

    Args:
        n_states: places in the corridor, at least 2.
        lean: probability in (0, 1) that the wind blows up (U = 1) in the lower half of the
            corridor, and that it blows down in the upper half.
        misled: probability in (0, 1) that the natural action is against the wind.
        grip: probability in (0, 1) of going up with the wind and of going down against it.
    """

    horizon: int = 16
    n_states: int = 4
    lean: float = 0.7
    misled: float = 0.8
    grip: float = 0.9

    def __post_init__(self) -> None:
        super().__post_init__()
        check_integer("n_states", self.n_states, least=2)
        check_chances(self, "lean", "misled", "grip")


def confounded_mdp(options: ConfoundedMDPOptions) -> SCMEnvSpec:
    """A corridor to climb in a hidden wind that misleads the natural action at every step."""
    n, grip = options.n_states, options.grip
    wind = np.where(np.arange(n) < n / 2, options.lean, 1.0 - options.lean)
    move = np.zeros((2, 2, n, n))  # [X][U][place before][place]
    for before in range(n):
        for x in (0, 1):
            for u in (0, 1):
                rise = grip if x == u else 1.0 - grip
                move[x, u, before, min(before + 1, n - 1)] += rise
                move[x, u, before, max(before - 1, 0)] += 1.0 - rise
    variables = [
        Variable("U", chance(wind), lagged_parents=("S",), kind="hidden"),
        Variable("X", chance([options.misled, 1.0 - options.misled]), parents=("U",)),
        Variable("S", conditional(move), parents=("X", "U"), lagged_parents=("S",)),
        Variable("reward", Linear([1.0 / (n - 1)]), parents=("S",), kind="reward"),
    ]
    return confounded_spec("confounded-mdp", options, variables, ("X",))


@dataclass(frozen=True, kw_only=True)
class RegimeOptions(ConfoundedOptions):
    """As :class:`ConfoundedOptions`, for the treatment regime.

    Args:
        horizon: stages of treatment; the outcome comes with the last.
        severe: probability in (0, 1) that a patient is a severe case.
    """

    horizon: int = 2
    severe: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        check_chances(self, "severe")


def treatment_regime(options: RegimeOptions) -> SCMEnvSpec:
    """Stages of treatment by doctors who see a severity that the record hides; one outcome."""
    end = options.horizon + 1  # stage k: treatment k is the next; stage 0 is before the first visit
    stage = np.minimum(np.arange(end + 1) + 1, end)
    severity = np.zeros((2, end + 1, 2))  # [before][stage before]: drawn once, then held
    severity[:, 0] = 1.0 - options.severe, options.severe
    severity[:, 1:] = np.eye(2)[:, None]
    treat = np.zeros((2, 3, end + 1))  # [severity][symptoms before][stage before]
    treat[:, :, 1:] = np.array([[0.9, 0.8, 0.7], [0.3, 0.2, 0.1]])[:, :, None]
    # Strong treatment helps the severe cases, but those who look fit for it get it.
    better, worse = [[0.7, 0.2], [0.2, 0.6]], [[0.1, 0.5], [0.5, 0.2]]
    symptoms = np.zeros((2, 2, 3, end + 1, 3))  # [severity][treatment][before][stage before]
    symptoms[:, :, :, 0] = np.array([[0.5, 0.35, 0.15], [0.15, 0.35, 0.5]])[:, None, None]
    for h, x, s in np.ndindex(2, 2, 3):
        for to, p in ((max(s - 1, 0), better[h][x]), (min(s + 1, 2), worse[h][x])):
            symptoms[h, x, s, 1:, to] += p
            symptoms[h, x, s, 1:, s] -= p
        symptoms[h, x, s, 1:, s] += 1.0
    cure = np.zeros((2, 3, end + 1))  # [severity][symptoms][stage]
    cure[:, :, end] = [[0.9, 0.6, 0.3], [0.6, 0.3, 0.05]]
    variables = [
        Variable("stage", Lookup(stage, end + 1), lagged_parents=("stage",)),
        Variable("H", conditional(severity), lagged_parents=("H", "stage"), kind="hidden"),
        Variable("X", chance(treat), parents=("H",), lagged_parents=("S", "stage")),
        Variable("S", conditional(symptoms), parents=("H", "X"), lagged_parents=("S", "stage")),
        Variable("Y", chance(cure), parents=("H", "S", "stage")),
        outcome_reward("Y"),
    ]
    return confounded_spec("dtr", options, variables, ("X",))


def randomised(spec: SCMEnvSpec, name: str) -> SCMEnvSpec:
    """Cut a variable off its causes: its natural value is drawn evenly from the values on offer.

    What is seen is then what is done, and the natural action tells nothing. It is the shift
    "randomised" of every world here: a policy that trusts intent fails it, one that does not stays.

    Args:
        spec: the world.
        name: a settable variable.
    """
    if spec.scm.variables[spec.scm.names.index(name)].categories is None:
        drawn = Variable(name, noise=Gaussian(spec.interventions.table.std()))
    else:
        drawn = Variable(name, coin(0.5))
    return spec.replace(scm=spec.scm.soft_do({name: drawn}))


def confounded_spec(
    name: str,
    options: ConfoundedOptions,
    variables: Sequence[Variable],
    settable: tuple[str, ...],
    values: Sequence[float] = (0.0, 1.0),
) -> SCMEnvSpec:
    """Put a world together, with the shift "randomised" of the last settable variable.

    Args:
        name: of the world.
        options: its horizon and cost are read.
        variables: of the model, the reward included.
        settable: names of the variables that may be set.
        values: on offer for each of them.
    """
    return SCMEnvSpec(
        name=name,
        scm=DynamicSCM(variables),
        interventions=Interventions(settable, values, options.cost),
        horizon=options.horizon,
        shifts={"randomised": partial(randomised, name=settable[-1])},
    )


def outcome_reward(outcome: str) -> Variable:
    """A reward that is the value of one variable."""
    return Variable("reward", Linear([1.0]), parents=(outcome,), kind="reward")


def check_chances(options: ConfoundedOptions, *names: str) -> None:
    """Refuse options that are no probabilities strictly between 0 and 1.

    Raises:
        TypeError: no number. The argument is named.
        ValueError: The argument is named.
    """
    for name in names:
        check_number(name, getattr(options, name), least=0.0, below=1.0, open_end=True)


def check_rates(name: str, value: object, shape: tuple[int, ...]) -> None:
    """Refuse what is no array of probabilities of a shape.

    Raises:
        ValueError: The argument is named.
    """
    try:
        array = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        array = np.empty(0)
    if array.shape != shape or not ((array >= 0.0) & (array <= 1.0)).all():
        size = " x ".join(map(str, shape))
        raise ValueError(f"{name} must be {size} numbers in [0, 1], got {value!r}")
