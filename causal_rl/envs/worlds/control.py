"""The task that most built-in worlds share: hold a slow sink at a goal by way of its causes.

A context ``goal`` is drawn when an episode starts and held; the reward is ``-|sink - goal|`` minus
the cost of the intervention. The sink cannot be set, so an agent has to reach it through its
causes, and setting a cause costs more the nearer it is.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from causal_rl.envs.interventions import Interventions
from causal_rl.envs.shifts import standard_shifts
from causal_rl.envs.spec import SCMEnvSpec
from causal_rl.envs.worlds.options import WorldOptions
from causal_rl.graphs import topological_order
from causal_rl.scm import (
    DynamicSCM,
    Linear,
    Mechanism,
    NoNoise,
    Topology,
    Uniform,
    Variable,
    affine,
    random_variables,
    topology,
)

#: The goal has mean 0 and variance 1, as every other variable has.
GOAL = Uniform(-math.sqrt(3.0), math.sqrt(3.0))


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

    def evaluate_one(self, values: Sequence[float]) -> float:
        """Evaluate on one float a parent."""
        return self.mechanism.evaluate_one(values[:-1]) + self.coefficient * values[-1]


def negative_distance(value: NDArray[np.float64], goal: NDArray[np.float64]) -> NDArray[np.float64]:
    """``-|value - goal|``, the reward of every built-in world before costs."""
    distance: NDArray[np.float64] = -np.abs(value - goal)
    return distance


@dataclass(frozen=True)
class Structure:
    """The X variables of a world and the graph among them, whatever the timing of its edges.

    Attributes:
        variables: all variables so far, memory cells of delayed edges included.
        names: X1..Xn.
        adjacency: bool (n, n), [i, j] true if names[i] causes names[j] at any lag.
        sink: index of the slow sink.
    """

    variables: tuple[Variable, ...]
    names: tuple[str, ...]
    adjacency: NDArray[np.bool_]
    sink: int


def structure(
    kind: Topology,
    options: WorldOptions,
    density: float = 1.0,
    categories: Sequence[int | None] | None = None,
) -> Structure:
    """Variables X1..Xn of one topology, unit variance each, the sink slowed.

    Args:
        kind: the topology.
        options: of the world; ``timing`` says whether edges act inside the step, one step later
            ("lagged"), or each 1, 2 or 3 steps later ("delayed").
        density: expected edges for each variable, for random graphs.
        categories: for each variable its number of categories or None; None for all continuous.
            The sink stays continuous.
    """
    rng = np.random.default_rng(options.graph_seed)
    adjacency = np.asarray(topology(kind, options.n, rng, density), dtype=np.bool_)
    names = tuple(f"X{i + 1}" for i in range(options.n))
    sink = sink_of(adjacency)
    if categories is not None:
        categories = [None if i == sink else k for i, k in enumerate(categories)]
    variables = list(
        random_variables(
            adjacency,
            options.mechanism,
            rng,
            options.noise_share,
            names=names,
            categories=categories,
        )
    )
    variables[sink] = slowed(variables[sink], options.sink_lag)
    if options.timing == "lagged":
        variables = [
            replace(v, parents=(), lagged_parents=(*v.parents, *v.lagged_parents))
            for v in variables
        ]
    elif options.timing == "delayed":
        variables = _delayed(variables, rng)
    return Structure(tuple(variables), names, adjacency, sink)


def slowed(variable: Variable, lag: float) -> Variable:
    """Give a variable of unit variance a memory of itself, and unit variance in the long run."""
    if lag == 0.0:
        return variable
    scale = math.sqrt(1.0 - lag**2)
    return replace(
        variable,
        mechanism=_with_memory(affine(variable.function, scale=scale), lag),
        noise=variable.noise.scaled(scale),
        lagged_parents=(variable.name,),
    )


def _with_memory(mechanism: Mechanism, lag: float) -> Mechanism:
    if isinstance(mechanism, Linear):
        return Linear([*mechanism.weights, lag], mechanism.bias)
    return Inertia(mechanism, lag)


def sink_of(adjacency: NDArray[np.bool_]) -> int:
    """The childless variable with the most ancestors.

    Raises:
        ValueError: the graph has no edge.
    """
    reach = adjacency.copy()
    for _ in range(len(adjacency)):
        reach = reach | (reach @ adjacency)
    ancestors = np.where(adjacency.any(axis=1), -1, reach.sum(axis=0))
    sink = int(np.argmax(ancestors))
    if ancestors[sink] < 1:
        raise ValueError("the random graph has no edge; raise density or take another graph_seed")
    return sink


def control_spec(
    name: str,
    options: WorldOptions,
    made: Structure,
    more: Sequence[Variable] = (),
    values: Mapping[str, Sequence[float]] | None = None,
    reward: Variable | None = None,
) -> SCMEnvSpec:
    """Add goal and reward to a structure.

    Args:
        name: of the world.
        options: of the world.
        made: the X variables.
        more: further variables, which cannot be set.
        values: the values on offer by name; None for the same grid for all.
        reward: in place of ``-|sink - goal|``.
    """
    sink = made.names[made.sink]
    goal = Variable(name="goal", noise=GOAL, kind="context")
    distance = Variable(
        name="reward",
        kind="reward",
        parents=(sink, "goal"),
        mechanism=negative_distance,
    )
    order = [made.names[i] for i in topological_order(made.adjacency)]
    settable = [x for x in order if x != sink]
    cost = {x: options.max_cost * rank / len(settable) for rank, x in enumerate(settable, start=1)}
    grid = np.linspace(-options.max_value, options.max_value, options.n_values).tolist()
    # Targets are listed in label order: their order must not tell the causal order.
    settable = sorted(settable, key=made.names.index)
    if values is not None:
        values = {x: values[x] for x in settable}
    return SCMEnvSpec(
        name=name,
        scm=DynamicSCM([*made.variables, *more, goal, reward or distance]),
        interventions=Interventions(settable, grid if values is None else values, cost),
        horizon=options.horizon,
        shifts=standard_shifts(),
    )


def _delayed(variables: Sequence[Variable], rng: np.random.Generator) -> list[Variable]:
    """Let each edge act 1, 2 or 3 steps later, by cells that remember: ``X1.lag1`` is X1 before."""
    cells: dict[str, Variable] = {}

    def source(parent: str) -> str:
        before = parent
        for k in range(1, int(rng.integers(1, 4))):
            cell = f"{parent}.lag{k}"
            cells.setdefault(
                cell,
                Variable(
                    name=cell,
                    mechanism=Linear([1.0]),
                    noise=NoNoise(),
                    lagged_parents=(before,),
                ),
            )
            before = cell
        return before

    moved = [
        replace(
            v,
            parents=(),
            lagged_parents=(*(source(parent) for parent in v.parents), *v.lagged_parents),
        )
        for v in variables
    ]
    return [*moved, *cells.values()]
