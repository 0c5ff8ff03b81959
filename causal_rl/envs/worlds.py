"""The built-in worlds: permuted labels, internally standardised mechanisms, one slow sink.

Every world asks for the same thing. A context ``goal`` is drawn when an episode starts and held;
the reward is ``-|sink - goal|`` minus the cost of the intervention. The sink cannot be set, so an
agent has to reach it through its causes, and setting a cause costs more the nearer it is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from causal_rl.envs.interventions import Interventions
from causal_rl.envs.shifts import flip_mechanisms, randomise, standard_shifts
from causal_rl.envs.spec import SCMEnvSpec
from causal_rl.graphs import topological_order
from causal_rl.scm import (
    DynamicSCM,
    Gaussian,
    Linear,
    Mechanism,
    Scaled,
    Uniform,
    Variable,
    random_variables,
    topology,
)

#: The goal has mean 0 and variance 1, as every other variable has.
GOAL = Uniform(-math.sqrt(3.0), math.sqrt(3.0))
_PROXY_NOISE = 0.1
_Kind = Literal["chain", "fork", "collider", "er"]


@dataclass(frozen=True, eq=False)
class Inertia(Mechanism):
    """``mechanism(parents) + coefficient * own previous value``, the latter being the last parent.

    Args:
        mechanism: of the other parents.
        coefficient: of the variable's own value one step ago.
    """

    mechanism: Mechanism
    coefficient: float
    n_parents: int | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        inner = self.mechanism.n_parents
        object.__setattr__(self, "n_parents", None if inner is None else inner + 1)

    def __call__(self, parents: NDArray[np.float64]) -> NDArray[np.float64]:
        """Evaluate at each row, (batch, k + 1) -> (batch,)."""
        return self.evaluate(list(np.ascontiguousarray(parents.T)), len(parents))

    def evaluate(self, columns: Sequence[NDArray[np.float64]], batch: int) -> NDArray[np.float64]:
        """Evaluate on columns of shape (batch,)."""
        return self.mechanism.evaluate(columns[:-1], batch) + self.coefficient * columns[-1]


def negative_distance(value: NDArray[np.float64], goal: NDArray[np.float64]) -> NDArray[np.float64]:
    """``-|value - goal|``, the reward of every built-in world before costs."""
    distance: NDArray[np.float64] = -np.abs(value - goal)
    return distance


@dataclass(frozen=True, kw_only=True)
class WorldOptions:
    """What can be chosen about a built-in world; the keyword arguments of ``gymnasium.make``.

    Args:
        n: variables, goal and distractors not counted.
        mechanism: "linear", "tanh" or "mlp".
        graph_seed: draws the graph, the labels and the mechanisms.
        noise_share: share of noise in the variance of each variable, in (0, 1).
        sink_lag: effect of the sink's previous value on itself, in [0, 1); 0 removes the edge.
        max_cost: cost of the dearest intervention; the k-th settable variable in causal order
            costs k / (number of them) as much.
        n_values: values on offer, evenly spaced on [-max_value, max_value], at least 2.
        max_value: the largest value on offer.
        horizon: steps of an episode.

    Raises:
        ValueError: a value out of its range; the argument is named.
    """

    n: int = 8
    mechanism: str = "tanh"
    graph_seed: int = 0
    noise_share: float = 0.2
    sink_lag: float = 0.5
    max_cost: float = 0.1
    n_values: int = 7
    max_value: float = 2.0
    horizon: int = 32

    def __post_init__(self) -> None:
        for name, least in (("n", 2), ("graph_seed", 0), ("n_values", 2), ("horizon", 1)):
            _check_integer(name, getattr(self, name), least)
        if self.mechanism not in ("linear", "tanh", "mlp"):
            raise ValueError(f"mechanism must be linear, tanh or mlp, got {self.mechanism!r}")
        _check_number("noise_share", self.noise_share, lambda x: 0.0 < x < 1.0, "in (0, 1)")
        _check_number("sink_lag", self.sink_lag, lambda x: 0.0 <= x < 1.0, "in [0, 1)")
        _check_number("max_cost", self.max_cost, lambda x: 0.0 <= x < math.inf, "at least 0")
        _check_number("max_value", self.max_value, lambda x: 0.0 < x < math.inf, "above 0")


@dataclass(frozen=True, kw_only=True)
class RandomGraphOptions(WorldOptions):
    """As :class:`WorldOptions`, for a random graph.

    Args:
        density: expected edges for each variable, above 0.
    """

    n: int = 10
    density: float = 2.0

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_number("density", self.density, lambda x: 0.0 < x < math.inf, "above 0")


@dataclass(frozen=True, kw_only=True)
class ProxyOptions(WorldOptions):
    """As :class:`WorldOptions`, with distractors.

    Args:
        distractors: variables that follow the goal, at least 1.
    """

    distractors: int = 8

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_integer("distractors", self.distractors, 1)


def chain_scm(options: WorldOptions) -> SCMEnvSpec:
    """A chain inside each step that ends in the slow sink."""
    return _spec("chain-scm", options, _state_variables("chain", options))


def lagged_chain_scm(options: WorldOptions) -> SCMEnvSpec:
    """The chain with every edge from one step to the next: what is set now tells a step later."""
    variables = [
        replace(v, parents=(), lagged_parents=(*v.parents, *v.lagged_parents))
        for v in _state_variables("chain", options)
    ]
    return _spec("lagged-chain-scm", options, variables)


def fork_scm(options: WorldOptions) -> SCMEnvSpec:
    """One cause of all the others, of which one is the slow sink."""
    return _spec("fork-scm", options, _state_variables("fork", options))


def collider_scm(options: WorldOptions) -> SCMEnvSpec:
    """Independent causes of one slow sink."""
    return _spec("collider-scm", options, _state_variables("collider", options))


def er_scm(options: RandomGraphOptions) -> SCMEnvSpec:
    """A random DAG inside each step; the sink is the childless variable with most ancestors."""
    return _spec("er-scm", options, _state_variables("er", options, density=options.density))


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
    spec = _spec("proxy-chain-scm", options, [*_state_variables("chain", options), *distractors])
    shifts = {
        "flip": partial(flip_mechanisms, names=names),
        "randomise": partial(randomise, names=names, noise=GOAL),
    }
    return spec.replace(shifts={**shifts, **spec.shifts})


@dataclass(frozen=True)
class World:
    """A built-in world: how to make its specification from its options."""

    options: type[WorldOptions]
    build: Callable[..., SCMEnvSpec]

    @property
    def description(self) -> str:
        """One sentence, from the builder's docstring."""
        return (self.build.__doc__ or "").strip().splitlines()[0]


BUILT_IN: dict[str, World] = {
    "chain-scm": World(WorldOptions, chain_scm),
    "lagged-chain-scm": World(WorldOptions, lagged_chain_scm),
    "fork-scm": World(WorldOptions, fork_scm),
    "collider-scm": World(WorldOptions, collider_scm),
    "er-scm": World(RandomGraphOptions, er_scm),
    "proxy-chain-scm": World(ProxyOptions, proxy_chain_scm),
}


def _state_variables(kind: _Kind, options: WorldOptions, density: float = 1.0) -> list[Variable]:
    """Variables X1..Xn of one topology, unit variance each, the sink slowed."""
    rng = np.random.default_rng(options.graph_seed)
    adjacency = np.asarray(topology(kind, options.n, rng, density), dtype=np.bool_)
    names = [f"X{i + 1}" for i in range(options.n)]
    variables = list(
        random_variables(adjacency, options.mechanism, rng, options.noise_share, names=names)
    )
    sink = _sink(adjacency)
    variables[sink] = _slowed(variables[sink], options.sink_lag)
    return variables


def _slowed(variable: Variable, lag: float) -> Variable:
    """Give a variable of unit variance a memory of itself, and unit variance in the long run."""
    if lag == 0.0:
        return variable
    scale = math.sqrt(1.0 - lag**2)
    return replace(
        variable,
        mechanism=Inertia(Scaled(variable.function, scale=scale), lag),
        noise=variable.noise.scaled(scale),
        lagged_parents=(variable.name,),
    )


def _sink(adjacency: NDArray[np.bool_]) -> int:
    """The childless variable with the most ancestors."""
    reach = adjacency.copy()
    for _ in range(len(adjacency)):
        reach = reach | (reach @ adjacency)
    ancestors = np.where(adjacency.any(axis=1), -1, reach.sum(axis=0))
    sink = int(np.argmax(ancestors))
    if ancestors[sink] < 1:
        raise ValueError("the random graph has no edge; raise density or take another graph_seed")
    return sink


def _spec(name: str, options: WorldOptions, variables: list[Variable]) -> SCMEnvSpec:
    """Add goal and reward; the sink is the X with most ancestors, over both blocks."""
    states = [v for v in variables if v.name.startswith("X")]
    index = {v.name: i for i, v in enumerate(states)}
    adjacency = np.zeros((len(states), len(states)), dtype=np.bool_)
    for v in states:
        for parent in (*v.parents, *v.lagged_parents):
            adjacency[index[parent], index[v.name]] = parent != v.name
    sink = states[_sink(adjacency)].name
    goal = Variable(name="goal", noise=GOAL, kind="context")
    reward = Variable(
        name="reward",
        kind="reward",
        parents=(sink, "goal"),
        mechanism=negative_distance,
    )
    settable = [states[i].name for i in topological_order(adjacency) if states[i].name != sink]
    cost = {
        name: options.max_cost * rank / len(settable) for rank, name in enumerate(settable, start=1)
    }
    values = np.linspace(-options.max_value, options.max_value, options.n_values).tolist()
    return SCMEnvSpec(
        name=name,
        scm=DynamicSCM([*variables, goal, reward]),
        # Targets are listed in label order: their order must not tell the causal order.
        interventions=Interventions(sorted(settable, key=index.__getitem__), values, cost),
        horizon=options.horizon,
        shifts=standard_shifts(),
        description=BUILT_IN[name].description,
    )


def _check_integer(name: str, value: object, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise ValueError(f"{name} must be an integer, got {value!r}")
    if value < least:
        raise ValueError(f"{name} must be at least {least}, got {value}")


def _check_number(name: str, value: object, holds: Callable[[float], bool], allowed: str) -> None:
    number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
    if not number or not holds(float(value)):  # type: ignore[arg-type]
        raise ValueError(f"{name} must be {allowed}, got {value!r}")
