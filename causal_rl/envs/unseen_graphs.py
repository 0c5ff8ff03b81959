"""Shifts of the graph itself: an edge less, or another graph of the same family of worlds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from causal_rl.envs.interventions import Interventions
from causal_rl.envs.shifts import drop_edge
from causal_rl.envs.spec import SCMEnvSpec, Shift
from causal_rl.graphs import CausalGraph
from causal_rl.scm import DynamicSCM

#: From a graph seed to a world of one family, all else equal; see :func:`family`.
Family = Callable[[int], SCMEnvSpec]

#: Graph seeds of unseen graphs count from here.
UNSEEN_SEED = 1_000_000
_UNSEEN_TRIES = 32


def family(build: Callable[[Any], SCMEnvSpec], options: Any) -> Family:
    """All the worlds that a builder makes from some options but for ``graph_seed``.

    Args:
        build: a function at the top of a module, from options to a specification.
        options: a dataclass with a field ``graph_seed``.

    Returns:
        A function of the graph seed, which pickles.
    """
    return partial(_member, build, options)


@dataclass(frozen=True)
class UnseenGraph:
    """A shift to another graph of the same family, mechanisms and costs drawn anew with it.

    Which variables can be set, and which have categories, is a matter of the graph; here labels
    change places until both are as in training, so that observations and actions mean what they
    did.

    Args:
        family: of the world, see :func:`family`.
        graph_seed: of the other graph; None for the first of :meth:`unseen_seeds`.
    """

    family: Family
    graph_seed: int | None = None

    def __call__(self, spec: SCMEnvSpec) -> SCMEnvSpec:
        """The other world, under the name, shifts and horizon of ``spec``.

        Raises:
            ValueError: the graph is that of ``spec``, or its variables or actions are others; or,
                without a seed, all those tried are such.
        """
        if self.graph_seed is None:
            return replace(self, graph_seed=self.unseen_seeds(spec, 1)[0])(spec)
        refusal = f"world {spec.name!r}: graph seed {self.graph_seed} makes"
        other = self.family(self.graph_seed)
        if set(other.scm.names) != set(spec.scm.names):
            odd = min(set(other.scm.names) ^ set(spec.scm.names))
            raise ValueError(f"{refusal} other variables; see {odd!r}")
        other = _renamed(other, _exchange(_signatures(spec), _signatures(other), refusal))
        columns = {v.name: v for v in other.scm.variables if v.kind != "reward"}
        reward = [v for v in other.scm.variables if v.kind == "reward"]
        scm = DynamicSCM([*(columns[name] for name in spec.scm.names), *reward])
        if scm.graph == spec.scm.graph:
            raise ValueError(f"{refusal} its own graph")
        actions = spec.interventions
        return spec.replace(
            scm=scm,
            interventions=Interventions(actions.settable, actions.values, other.interventions.cost),
        )

    def unseen_seeds(self, spec: SCMEnvSpec, most: int) -> tuple[int, ...]:
        """Graph seeds whose graphs differ from that of ``spec`` and from each other.

        Args:
            spec: the world.
            most: how many to look for; the search ends when 32 seeds in a row bring nothing new.

        Returns:
            1 to ``most`` seeds, from ``UNSEEN_SEED`` on.

        Raises:
            ValueError: there is none.
        """
        found: dict[int, CausalGraph] = {}
        seed, last, reason = UNSEEN_SEED, UNSEEN_SEED, ""
        while len(found) < most and seed - last < _UNSEEN_TRIES:
            try:
                graph = replace(self, graph_seed=seed)(spec).scm.graph
            except ValueError as error:
                reason = str(error)
            else:
                if graph not in found.values():
                    found[seed], last = graph, seed
            seed += 1
        if not found:
            raise ValueError(f"world {spec.name!r} has no unseen graph; the last tried: {reason}")
        return tuple(found)


def graph_shifts(build: Callable[[Any], SCMEnvSpec], options: Any) -> dict[str, Shift]:
    """The shifts of worlds whose graph is drawn: ``edge`` and ``unseen-graph``.

    Args:
        build: the world's builder.
        options: what it was built from. Where their ``timing`` is "delayed" there is no
            ``unseen-graph``: the memory cells are other variables in every graph.
    """
    shifts: dict[str, Shift] = {"edge": drop_edge}
    if getattr(options, "timing", "within") != "delayed":
        shifts["unseen-graph"] = UnseenGraph(family(build, options))
    return shifts


def _member(build: Callable[[Any], SCMEnvSpec], options: Any, graph_seed: int) -> SCMEnvSpec:
    return build(replace(options, graph_seed=graph_seed))


#: What an agent relies on in a variable: kind, categories, the values on offer for it.
_Signature = tuple[str, int | None, tuple[float, ...] | None]


def _signatures(spec: SCMEnvSpec) -> dict[str, _Signature]:
    settable, table = spec.interventions.settable, spec.interventions.table
    offered = {name: tuple(row.tolist()) for name, row in zip(settable, table, strict=True)}
    return {
        v.name: (v.kind, v.categories, offered.get(v.name))
        for v in spec.scm.variables
        if v.kind != "reward"
    }


def _exchange(
    wanted: Mapping[str, _Signature], given: Mapping[str, _Signature], refusal: str
) -> dict[str, str]:
    """Which labels change places so that each has the signature that is wanted of it."""
    odd = [name for name in sorted(wanted) if wanted[name] != given[name]]
    free = list(odd)
    names = {}
    for label in odd:
        match = next((name for name in free if given[name] == wanted[label]), None)
        if match is None:
            raise ValueError(f"{refusal} variables of other kinds or actions; see {label!r}")
        free.remove(match)
        names[match] = label
    # "X1.lag1" remembers X1: it would be misnamed if X1 moved without it.
    tied = next((name for name in odd if any(n.startswith(f"{name}.") for n in wanted)), None)
    if tied is not None:
        raise ValueError(f"{refusal} {tied!r}, whose memory has its name, another variable")
    return names


def _renamed(spec: SCMEnvSpec, names: Mapping[str, str]) -> SCMEnvSpec:
    def new(name: str) -> str:
        return names.get(name, name)

    variables = [
        replace(
            v,
            name=new(v.name),
            parents=tuple(map(new, v.parents)),
            lagged_parents=tuple(map(new, v.lagged_parents)),
        )
        for v in spec.scm.variables
    ]
    old = spec.interventions

    def by_name(values: Any) -> Any:
        if not isinstance(values, Mapping):
            return values
        return {new(name): value for name, value in values.items()}

    return spec.replace(
        scm=DynamicSCM(variables),
        interventions=Interventions(
            [new(name) for name in old.settable], by_name(old.values), by_name(old.cost)
        ),
    )
