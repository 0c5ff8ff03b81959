"""What an SCM environment is made of, apart from its random numbers."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from causal_rl.envs.interventions import ActionTables, Interventions
from causal_rl.graphs import CausalGraph, Kind, one_step_graph, within_step_reach
from causal_rl.scm import DynamicSCM

#: A change of the world at test time: from one specification to another.
Shift = Callable[["SCMEnvSpec"], "SCMEnvSpec"]


@dataclass(frozen=True, eq=False)
class SCMEnvSpec:
    """A world, what may be done in it, and for how long.

    Args:
        name: what the world is called in messages and files.
        scm: the dynamic structural causal model; it must have a reward variable.
        interventions: the action space and its costs.
        horizon: steps after which an episode is truncated, at least 1.
        shifts: named changes for test time, each a function from this specification to another
            with the same observation and action spaces.
        description: one or two sentences for listings.

    Raises:
        ValueError: no name, no reward variable or one without parents, no observed variable, a
            settable name that is unknown, hidden, a context or the reward, or a horizon below 1.
        TypeError: an argument of another type.
    """

    name: str
    scm: DynamicSCM
    interventions: Interventions
    horizon: int = 32
    shifts: Mapping[str, Shift] = field(default_factory=dict)
    description: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.name, str):
            raise TypeError(f"name must be a string, got {self.name!r}")
        if not self.name.strip() or not self.name.isprintable():
            raise ValueError(f"name must be one line and not empty, got {self.name!r}")
        if not isinstance(self.scm, DynamicSCM):
            raise TypeError(f"scm must be a DynamicSCM, got {type(self.scm).__name__}")
        if not isinstance(self.interventions, Interventions):
            raise TypeError(
                f"interventions must be Interventions, got {type(self.interventions).__name__}"
            )
        if isinstance(self.horizon, bool) or not isinstance(self.horizon, int | np.integer):
            raise TypeError(f"horizon must be an integer, got {self.horizon!r}")
        if self.horizon < 1:
            raise ValueError(f"horizon must be at least 1, got {self.horizon}")
        if self.scm.reward is None:
            raise ValueError(
                f"world {self.name!r} has no reward; give one Variable of kind 'reward'"
            )
        if not self.scm.reward.parents and not self.scm.reward.lagged_parents:
            raise ValueError(
                f"world {self.name!r}: the reward {self.scm.reward.name!r} has no parents, so "
                "nothing that is done could matter; name what it reads"
            )
        if len(self.scm.observed) == 0:
            raise ValueError(f"world {self.name!r} has no observed variable")
        kinds = dict(zip(self.scm.names, self.scm.kinds, strict=False))
        for name in self.interventions.settable:
            if name == self.scm.reward.name:
                raise ValueError(f"settable {name!r} is the reward, which cannot be set")
            if name not in kinds:
                raise ValueError(
                    f"settable {name!r} is no variable of world {self.name!r}; its variables are "
                    f"{', '.join(self.scm.names)}"
                )
            if kinds[name] not in ("state", "action"):
                raise ValueError(
                    f"settable {name!r} is of kind {kinds[name]!r}; only state and "
                    "action variables can be set"
                )
        if not isinstance(self.shifts, Mapping):
            raise TypeError(f"shifts must map names to functions, got {self.shifts!r}")
        for name, shift in self.shifts.items():
            if not isinstance(name, str) or not callable(shift):
                raise TypeError(f"shifts must map names to functions, got {name!r}: {shift!r}")
        object.__setattr__(self, "horizon", int(self.horizon))
        object.__setattr__(self, "shifts", dict(self.shifts))

    @cached_property
    def observed(self) -> NDArray[np.int64]:
        """Columns of the model that are observed, int64 (n_observed,)."""
        return np.asarray(self.scm.observed, dtype=np.int64)

    @cached_property
    def observed_names(self) -> tuple[str, ...]:
        """Names of the observed variables, in the order of the observation."""
        return tuple(self.scm.names[i] for i in self.observed)

    @cached_property
    def observed_kinds(self) -> tuple[Kind, ...]:
        """Kinds of the observed variables, in the order of the observation."""
        return tuple(self.scm.kinds[i] for i in self.observed)

    @cached_property
    def action_tables(self) -> ActionTables:
        """The interventions compiled for the columns of ``scm``."""
        return self.interventions.tables(self.scm.names)

    def observation_space(self) -> spaces.Space[NDArray[np.float64]]:
        """Float64 ``Box`` (n_observed,), unbounded: noise has no bounds to state."""
        return spaces.Box(-math.inf, math.inf, (len(self.observed),), dtype=np.float64)

    def action_space(self) -> spaces.MultiDiscrete:
        """``MultiDiscrete([targets + 1, values])``, see :class:`Interventions`."""
        return self.interventions.space()

    @cached_property
    def causal_graph(self) -> CausalGraph:
        """The true graph over the observed variables and the reward, an oracle.

        Hidden variables are marginalised: a directed path through hidden variables alone counts as
        an edge if it spans at most one step. A hidden common cause leaves no edge.
        """
        return marginal_graph(self.scm.graph, self.observed_names)

    @cached_property
    def one_step_graph(self) -> CausalGraph:
        """Which observed values at t move which at t + 1, and the reward of the step, an oracle.

        All its edges are lagged. It sums up paths, through hidden variables too; see
        :func:`causal_rl.graphs.one_step_graph`.
        """
        return one_step_graph(self.scm.graph).subgraph(self.causal_graph.names)

    @cached_property
    def action_graph(self) -> NDArray[np.bool_]:
        """Which variables each target of an action moves within the step, an oracle.

        bool (targets, observed variables + 1), the last column being the reward: row k is the
        action ``do(settable[k])``. A variable that is set moves itself and its within-step
        descendants; the cost of the action is not counted as an edge to the reward.
        """
        graph = self.scm.graph
        reach = within_step_reach(graph)
        rows = [graph.index(name) for name in self.interventions.settable]
        columns = [graph.index(name) for name in self.causal_graph.names]
        moves = np.any(self.action_tables.mask[:, 1:], axis=0)  # a target may be without effect
        return np.asarray(reach[np.ix_(rows, columns)] & np.reshape(moves, (-1, 1)))

    def shifted(self, name: str) -> SCMEnvSpec:
        """The world under one of its shifts.

        Raises:
            ValueError: there is no such shift, it fails, or it changes the observation or action
                space.
            TypeError: it gives no :class:`SCMEnvSpec`.
        """
        if name not in self.shifts:
            known = ", ".join(self.shifts) or "none"
            raise ValueError(f"shift {name!r} is unknown to world {self.name!r}; known: {known}")
        try:
            world = self.shifts[name](self)
        except Exception as error:
            kind = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
            line = " ".join(f"{kind}{error}".split())
            raise ValueError(f"shift {name!r} of world {self.name!r} failed: {line}") from error
        if not isinstance(world, SCMEnvSpec):
            raise TypeError(
                f"shift {name!r} of world {self.name!r} must give an SCMEnvSpec, got "
                f"{type(world).__name__}"
            )
        if (
            world.observed_names != self.observed_names
            or world.interventions.settable != self.interventions.settable
            or world.interventions.values != self.interventions.values
        ):
            raise ValueError(
                f"shift {name!r} of world {self.name!r} changes the observed variables or the "
                "actions; an agent could not be run there"
            )
        return dataclasses.replace(world, name=f"{self.name}[{name}]")

    def replace(self, **changes: object) -> SCMEnvSpec:
        """A copy with some fields changed, validated again."""
        return dataclasses.replace(self, **changes)  # type: ignore[arg-type]


def marginal_graph(graph: CausalGraph, observed: tuple[str, ...]) -> CausalGraph:
    """Marginalise the hidden variables of a graph.

    Args:
        graph: over observed and hidden variables, and perhaps the reward as last node.
        observed: names to keep, in this order; nodes of kind "reward" are kept too, last.

    Returns:
        The graph over what is kept. With x and y kept and all h hidden, x -> h -> ... -> y becomes
        x -> y in the block of its total lag, 0 or 1; longer memory has no place in two blocks.
        Where nothing is hidden this is the subgraph itself, with weights.
    """
    rewards = tuple(n for n, k in zip(graph.names, graph.kinds, strict=True) if k == "reward")
    kept = (*observed, *(name for name in rewards if name not in observed))
    keep = [graph.index(name) for name in kept]
    hide = [i for i in range(graph.n) if i not in keep]
    if not hide:
        return graph.subgraph(kept)
    now, lag = graph.contemporaneous, graph.lagged
    reach = np.eye(len(hide), dtype=np.bool_)
    for _ in hide:  # reflexive, transitive closure of the within-step edges among the hidden
        reach = reach | (reach @ now[np.ix_(hide, hide)])
    into = now[np.ix_(keep, hide)] @ reach
    out = reach @ now[np.ix_(hide, keep)]
    contemporaneous = now[np.ix_(keep, keep)] | (into @ now[np.ix_(hide, keep)])
    lagged = (
        lag[np.ix_(keep, keep)]
        | (lag[np.ix_(keep, hide)] @ out)
        | (into @ lag[np.ix_(hide, keep)])
        | (into @ lag[np.ix_(hide, hide)] @ out)
    )
    return CausalGraph(
        contemporaneous=contemporaneous,
        lagged=lagged,
        names=kept,
        kinds=tuple(graph.kinds[i] for i in keep),
    )
