"""What can be chosen about the built-in worlds: the keyword arguments of ``gymnasium.make``."""

from __future__ import annotations

from dataclasses import dataclass

from causal_rl.options import check_choice, check_integer, check_number
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
        TypeError: no number, or no integer; the argument is named.
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
            check_integer(name, getattr(self, name), least=least)
        check_choice("timing", self.timing, ("within", "lagged", "delayed"))
        check_choice("mechanism", self.mechanism, tuple(MECHANISMS))
        if not isinstance(self.noise_share, str):
            check_number("noise_share", self.noise_share, least=0.0, below=1.0, open_end=True)
        elif self.noise_share != "balanced":
            allowed = "a number in (0, 1) or 'balanced'"
            raise ValueError(f"noise_share is {self.noise_share!r}; it must be {allowed}")
        check_number("sink_lag", self.sink_lag, least=0.0, below=1.0)
        check_number("max_cost", self.max_cost, least=0.0)
        check_number("max_value", self.max_value, least=0.0, open_end=True)


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
        check_number("density", self.density, least=0.0, open_end=True)
