"""The Chemical worlds: painting an object repaints those that depend on it (Ke et al. 2021)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from causal_rl.envs.interventions import Interventions
from causal_rl.envs.spec import SCMEnvSpec, Shift
from causal_rl.envs.worlds.chemical_mechanisms import (
    ColourNet,
    Repaint,
    Smeared,
    dry,
)
from causal_rl.options import check_integer, check_number
from causal_rl.scm import DynamicSCM, Mechanism, Noise, Topology, Variable, topology

#: How many objects the shifts ``noisy-k`` smear; FCDL's test1, test2 and test3.
NOISY = (2, 4, 6)


@dataclass(frozen=True)
class Variant:
    """What differs between the released implementations.

    Args:
        wide: whether networks have 4 N C hidden units; if not, 4 N.
        gain: of their orthogonal weights.
        bias: their biases are uniform on [-bias, bias].
        sampled: whether colours are drawn, or the most probable one is taken.
        spreads: whether all descendants are repainted, or the children of the set object alone.
        changes: whether a repainted object must change its colour.
    """

    wide: bool
    gain: float
    bias: float
    sampled: bool = True
    spreads: bool = True
    changes: bool = False


VARIANTS: Mapping[str, Variant] = {
    "ke": Variant(wide=True, gain=2.5, bias=1.1),
    "cdl": Variant(wide=False, gain=3.0, bias=0.2),
    "grader": Variant(wide=False, gain=3.5, bias=2.1, sampled=False, spreads=False, changes=True),
}


@dataclass(frozen=True, kw_only=True)
class ChemicalOptions:
    """What can be chosen about a Chemical world; the keyword arguments of ``gymnasium.make``.

    Args:
        objects: N, at least 2.
        colours: C, at least 2.
        graph_seed: draws the names of the objects and the networks.
        variant: "ke" (Ke et al. 2021), "cdl" (Wang et al. 2022; FCDL has the same) or "grader"
            (Ding et al. 2022): whose released networks and rules; see :data:`VARIANTS`.
        deterministic: True takes the most probable colour, False draws one; None as the variant.
        permute: whether names are shuffled, so that they say nothing about the order; if not, Oi
            is the released code's object i - 1.
        cost: of each intervention.
        horizon: steps of an episode.

    Raises:
        ValueError: a value out of its range; the argument is named.
    """

    objects: int = 5
    colours: int = 5
    graph_seed: int = 0
    variant: str = "ke"
    deterministic: bool | None = None
    permute: bool = True
    cost: float = 0.0
    horizon: int = 50

    def __post_init__(self) -> None:
        for name, least in (("objects", 2), ("colours", 2), ("graph_seed", 0), ("horizon", 1)):
            check_integer(name, getattr(self, name), least=least)
        if self.variant not in VARIANTS:
            raise ValueError(f"variant must be one of {', '.join(VARIANTS)}, got {self.variant!r}")
        if not (self.deterministic is None or isinstance(self.deterministic, bool)):
            raise ValueError(
                f"deterministic must be True, False or None, got {self.deterministic!r}"
            )
        if not isinstance(self.permute, bool):
            raise ValueError(f"permute must be True or False, got {self.permute!r}")
        check_number("cost", self.cost, least=0.0)


@dataclass(frozen=True, kw_only=True)
class ChemicalSwitchOptions(ChemicalOptions):
    """As :class:`ChemicalOptions`, with the sizes of FCDL's context-switching worlds."""

    objects: int = 10
    variant: str = "cdl"
    horizon: int = 25


def chemical_chain(options: ChemicalOptions) -> SCMEnvSpec:
    """Objects of several colours in a chain: painting one repaints all after it."""
    return _world("chemical-chain", "chain", options)


def chemical_collider(options: ChemicalOptions) -> SCMEnvSpec:
    """Objects of several colours, the last of which is repainted when any other is painted."""
    return _world("chemical-collider", "collider", options)


def chemical_full(options: ChemicalOptions) -> SCMEnvSpec:
    """Objects of several colours, each of which is repainted when an earlier one is painted."""
    return _world("chemical-full", "full", options)


def chemical_jungle(options: ChemicalOptions) -> SCMEnvSpec:
    """Objects of several colours in a binary tree in which grandparents are causes too."""
    return _world("chemical-jungle", "jungle", options)


def chemical_full_fork(options: ChemicalOptions) -> SCMEnvSpec:
    """The full graph of objects, a fork of the first object while that has the first colour."""
    return _world("chemical-full-fork", "full", options, "fork")


def chemical_full_chain(options: ChemicalOptions) -> SCMEnvSpec:
    """The full graph of objects, a chain while the first object has the first colour."""
    return _world("chemical-full-chain", "full", options, "chain")


@dataclass(frozen=True)
class ColourNoise(Noise):
    """A colour, 1..C with equal probabilities: the noise of a goal.

    Args:
        colours: C, at least 2.
    """

    colours: int

    def ppf(self, u: NDArray[np.float64]) -> NDArray[np.float64]:
        """Inverse CDF; see ``Noise.ppf``."""
        return np.asarray(np.floor(u * self.colours) + 1.0)


@dataclass(frozen=True, eq=False)
class Matches(Mechanism):
    """The share of objects that have the colour of their goals: first the objects, then the goals.

    Args:
        objects: how many are compared.
        colours: C.
    """

    objects: int
    colours: int
    n_parents: int | None = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "n_parents", 2 * self.objects)

    def __call__(self, parents: NDArray[np.float64]) -> NDArray[np.float64]:
        """Evaluate at each row, (batch, 2 objects) -> (batch,)."""
        return self.evaluate(list(np.ascontiguousarray(parents.T)), len(parents))

    def evaluate(self, columns: Sequence[NDArray[np.float64]], batch: int) -> NDArray[np.float64]:
        """Evaluate on columns of shape (batch,)."""
        values, goals = np.array(columns[: self.objects]), np.array(columns[self.objects :])
        matches = dry(values % (2 * self.colours + 1), self.colours) == goals
        return np.asarray(matches.sum(axis=0) / self.objects)


def object_names(options: ChemicalOptions) -> tuple[str, ...]:
    """Names of the objects in the released code's order, causes first: part of the truth.

    Args:
        options: of the world.
    """
    labels = np.arange(options.objects)
    if options.permute:
        labels = np.random.default_rng([options.graph_seed, 1]).permutation(options.objects)
    return tuple(f"O{label + 1}" for label in labels)


def goal_name(name: str) -> str:
    """The context that holds the goal of an object: g3 for O3."""
    return f"g{name[1:]}"


def _world(
    name: str, kind: Topology, options: ChemicalOptions, local: str | None = None
) -> SCMEnvSpec:
    """Put a world together.

    Args:
        name: of the world.
        kind: of the graph among the objects.
        options: of the world.
        local: "fork" or "chain" where the graph is that one while the first object has colour 1.
    """
    n, colours = options.objects, options.colours
    order = object_names(options)
    adjacency = np.asarray(topology(kind, n, 0, permute=False), dtype=np.bool_)
    rng = np.random.default_rng([options.graph_seed, 2])
    objects = {}
    for j, own in enumerate(order):
        parents = np.flatnonzero(adjacency[:, j]).tolist()
        objects[own] = Variable(
            name=own,
            mechanism=_repaint(options, j, parents, local, rng),
            parents=tuple(order[i] for i in parents),
            lagged_parents=(own,),
        )
    last = int(np.flatnonzero(adjacency.any(axis=0))[-1])
    other = _net(options, np.flatnonzero(adjacency[:, last]).tolist(), rng)
    names = sorted(order, key=lambda each: int(each[1:]))
    goals = [
        Variable(name=goal_name(each), noise=ColourNoise(colours), kind="context") for each in names
    ]
    wet = [float(c) for c in range(colours + 1, 2 * colours + 1)]
    return SCMEnvSpec(
        name=name,
        scm=DynamicSCM([*(objects[each] for each in names), *goals, _reward(names, colours)]),
        interventions=Interventions(names, wet, options.cost),
        horizon=options.horizon,
        shifts=_shifts(options, order, order[last], other, local),
    )


def _repaint(
    options: ChemicalOptions,
    j: int,
    parents: Sequence[int],
    local: str | None,
    rng: np.random.Generator,
) -> Repaint:
    """The mechanism of the j-th object in causal order."""
    variant = VARIANTS[options.variant]
    read = None
    if local is not None and parents:
        read = (0,) if local == "fork" else (len(parents) - 1,)
    return Repaint(
        net=_net(options, parents, rng),
        sampled=variant.sampled if options.deterministic is None else not options.deterministic,
        spreads=variant.spreads,
        changes=variant.changes,
        local=read,
        start="net" if j else "uniform",
    )


def _net(options: ChemicalOptions, parents: Sequence[int], rng: np.random.Generator) -> ColourNet:
    variant = VARIANTS[options.variant]
    hidden = 4 * options.objects * (options.colours if variant.wide else 1)
    return ColourNet.random(
        options.objects, options.colours, parents, hidden, variant.gain, variant.bias, rng
    )


def _reward(names: Sequence[str], colours: int) -> Variable:
    """The share of these objects that have the colours of their goals."""
    return Variable(
        name="reward",
        kind="reward",
        parents=(*names, *(goal_name(each) for each in names)),
        mechanism=Matches(len(names), colours),
    )


def _shifts(
    options: ChemicalOptions,
    order: Sequence[str],
    last: str,
    other: ColourNet,
    local: str | None,
) -> dict[str, Shift]:
    """The shifts of a world; see :func:`heat`, :func:`change_net` and :func:`smear`."""
    shifts: dict[str, Shift] = {"mechanism": partial(change_net, name=last, net=other)}
    sampled = VARIANTS[options.variant].sampled
    if sampled if options.deterministic is None else not options.deterministic:
        shifts["noise"] = partial(heat, temperature=2.0)
    for k in NOISY:
        if k <= len(order) - 2:
            switch = None if local is None else order[0]
            shifts[f"noisy-{k}"] = partial(smear, names=tuple(order[1 : k + 1]), switch=switch)
    return shifts


def heat(spec: SCMEnvSpec, temperature: float) -> SCMEnvSpec:
    """Divide the scores of all networks by a temperature: above 1, colours are drawn more evenly.

    Args:
        spec: a Chemical world.
        temperature: above 0.
    """
    variables = [
        _with_net(v, v.mechanism.net.heated(temperature)) if isinstance(v.mechanism, Repaint) else v
        for v in spec.scm.variables
    ]
    return spec.replace(scm=DynamicSCM(variables))


def change_net(spec: SCMEnvSpec, name: str, net: ColourNet) -> SCMEnvSpec:
    """Give one object another network.

    Args:
        spec: a Chemical world.
        name: the object.
        net: over the same parents.
    """
    variables = [_with_net(v, net) if v.name == name else v for v in spec.scm.variables]
    return spec.replace(scm=DynamicSCM(variables))


def smear(
    spec: SCMEnvSpec, names: tuple[str, ...], switch: str | None = None, scale: int = 100
) -> SCMEnvSpec:
    """Let some objects look as they never did; what they do is as before.

    Their values are off by random multiples of 2 C + 1, new ones at every step, of which the other
    objects take no notice. The reward compares the other objects alone. This is FCDL's test on
    noisy nodes, whose noise, of that scale, is put on what the model sees.

    Args:
        spec: a Chemical world.
        names: the objects.
        switch: an object that starts every episode in colour 1, or None.
        scale: number of multiples, the least being 0.
    """
    variables: list[Variable] = []
    colours = spec.interventions.n_values
    for v in spec.scm.variables:
        mechanism = v.mechanism
        if isinstance(mechanism, Repaint):
            if v.name == switch:
                mechanism = replace(mechanism, start=1)
            if v.name in names:
                variables.append(replace(v, mechanism=Smeared(mechanism, scale)))
            else:
                variables.append(replace(v, mechanism=mechanism))
        elif v.kind == "reward":
            left = [name for name in spec.interventions.settable if name not in names]
            variables.append(_reward(left, colours))
        else:
            variables.append(v)
    return spec.replace(scm=DynamicSCM(variables))


def _with_net(variable: Variable, net: ColourNet) -> Variable:
    if not isinstance(variable.mechanism, Repaint):
        raise ValueError(f"{variable.name!r} is no object with a network")
    return replace(variable, mechanism=replace(variable.mechanism, net=net))
