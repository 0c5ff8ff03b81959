"""What can be chosen about the built-in worlds: the keyword arguments of ``gymnasium.make``."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from causal_rl.scm import MECHANISMS


@dataclass(frozen=True, kw_only=True)
class WorldOptions:
    """What can be chosen about a built-in world; the keyword arguments of ``gymnasium.make``.

    Args:
        n: variables, goal and distractors not counted.
        mechanism: "linear", "tanh", "mlp", "gp" or "polynomial".
        graph_seed: draws the graph, the labels and the mechanisms.
        noise_share: share of noise in the variance of each variable, in (0, 1), or "balanced"
            (see ``scm.random_scm``).
        sink_lag: effect of the sink's previous value on itself, in [0, 1); 0 removes the edge.
        max_cost: cost of the dearest intervention; the k-th settable variable in causal order
            costs k / (number of them) as much.
        n_values: values on offer, evenly spaced on [-max_value, max_value], at least 2.
        max_value: the largest value on offer.
        horizon: steps of an episode.
        timing: "within" (edges act inside the step), "lagged" (one step later) or "delayed" (each
            edge 1, 2 or 3 steps later, drawn by ``graph_seed``).

    Raises:
        ValueError: a value out of its range; the argument is named.
    """

    n: int = 8
    mechanism: str = "tanh"
    graph_seed: int = 0
    noise_share: float | str = 0.2
    sink_lag: float = 0.5
    max_cost: float = 0.1
    n_values: int = 7
    max_value: float = 2.0
    horizon: int = 32
    timing: str = "within"

    def __post_init__(self) -> None:
        for name, least in (("n", 2), ("graph_seed", 0), ("n_values", 2), ("horizon", 1)):
            check_integer(name, getattr(self, name), least)
        if self.timing not in ("within", "lagged", "delayed"):
            raise ValueError(f"timing must be within, lagged or delayed, got {self.timing!r}")
        if self.mechanism not in MECHANISMS:
            allowed = ", ".join(MECHANISMS)
            raise ValueError(f"mechanism must be one of {allowed}, got {self.mechanism!r}")
        if self.noise_share != "balanced":
            allowed = "in (0, 1) or 'balanced'"
            check_number("noise_share", self.noise_share, lambda x: 0.0 < x < 1.0, allowed)
        check_number("sink_lag", self.sink_lag, lambda x: 0.0 <= x < 1.0, "in [0, 1)")
        check_number("max_cost", self.max_cost, lambda x: 0.0 <= x < math.inf, "at least 0")
        check_number("max_value", self.max_value, lambda x: 0.0 < x < math.inf, "above 0")


@dataclass(frozen=True, kw_only=True)
class RandomGraphOptions(WorldOptions):
    """As :class:`WorldOptions`, for a random graph.

    Its ``noise_share`` is "balanced" by default, so that sorting by R2 does not tell the order.

    Args:
        density: expected edges for each variable, above 0.
    """

    n: int = 10
    noise_share: float | str = "balanced"
    density: float = 2.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("density", self.density, lambda x: 0.0 < x < math.inf, "above 0")


def check_integer(name: str, value: object, least: int) -> None:
    """Refuse what is no integer of at least ``least``.

    Raises:
        ValueError: The argument is named.
    """
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise ValueError(f"{name} must be an integer, got {value!r}")
    if value < least:
        raise ValueError(f"{name} must be at least {least}, got {value}")


def check_number(name: str, value: object, holds: Callable[[float], bool], allowed: str) -> None:
    """Refuse what is no number, or a number that is not ``allowed``.

    Raises:
        ValueError: The argument is named.
    """
    number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
    if not number or not holds(float(value)):  # type: ignore[arg-type]
        raise ValueError(f"{name} must be {allowed}, got {value!r}")
