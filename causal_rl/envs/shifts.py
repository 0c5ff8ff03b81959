"""Changes of a world at test time.

A shift is a function from a specification to another. Those here change what they say and leave
every other variable as it was, its noise under a seed included; being plain functions,
``functools.partial`` of them or frozen dataclasses, they pickle.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from causal_rl.envs.interventions import ActionTables, Interventions
from causal_rl.envs.spec import SCMEnvSpec, Shift
from causal_rl.scm import (
    Argmax,
    Categorical,
    Constant,
    DynamicSCM,
    Mechanism,
    Noise,
    NoNoise,
    Scaled,
    Structural,
    Variable,
)

# Where a variable sticks that has no values on offer: two standard deviations out.
_STUCK = 2.0
_MEAN_STEPS, _MEAN_EPISODES = 64, 256


def scale_noise(spec: SCMEnvSpec, factor: float = 2.0) -> SCMEnvSpec:
    """Multiply the noise scale of every variable but contexts (a context's noise is its goal).

    A :class:`~causal_rl.scm.Categorical` draws by softmax of its logits, that is by Gumbel noise
    on them: there the logits are divided by ``factor``. Noise that a
    :class:`~causal_rl.scm.Structural` mechanism reads stays: what its scale would mean is not
    known here.

    Args:
        spec: the world.
        factor: a finite number above 0.

    Raises:
        ValueError: another factor.
    """
    if not 0.0 < factor < math.inf:
        raise ValueError(f"factor must be above 0 and finite, got {factor}")

    def change(variable: Variable) -> Variable:
        inner = variable.function
        if isinstance(inner, Categorical):
            cooled = [Scaled(logit, scale=1.0 / factor) for logit in inner.logits]
            return replace(variable, mechanism=Categorical(cooled))
        if variable.categories is not None or not inner.additive:
            return variable
        return replace(variable, noise=variable.noise.scaled(factor))

    return _changed(spec, [v.name for v in _moving(spec)], change)


def change_mechanism(
    spec: SCMEnvSpec,
    name: str | Sequence[str] | None = None,
    shift: float = 0.5,
    scale: float = 0.6,
) -> SCMEnvSpec:
    """Soften mechanisms: the output x becomes ``shift + scale * x``; noise and parents stay.

    Of a categorical variable the logits move round by one instead: category k comes up where k + 1
    did.

    Args:
        spec: the world.
        name: one variable or several; by default the nearest cause of the reward whose mechanism
            can change, one with additive noise first: the mechanism that every good policy has to
            know.
        shift: added to the output; not read for a categorical variable.
        scale: multiplies the output; not read for a categorical variable.

    Raises:
        ValueError: no such variable, one that is neither categorical nor of additive noise, or
            none to choose by default.
    """
    chosen = (
        [_default_mechanism(spec)] if name is None else [name] if isinstance(name, str) else name
    )

    def change(variable: Variable) -> Variable:
        inner = variable.function
        if isinstance(inner, Categorical | Argmax):
            return replace(variable, mechanism=type(inner)((*inner.logits[1:], inner.logits[0])))
        return _rescaled(spec, variable, shift=shift, scale=scale)

    return _changed(spec, chosen, change)


def flip_mechanisms(spec: SCMEnvSpec, names: Sequence[str]) -> SCMEnvSpec:
    """Turn the sign of the mechanisms of ``names``; their noise stays.

    Of a categorical variable the order of the categories is turned round.

    Args:
        spec: the world.
        names: variables to flip.

    Raises:
        ValueError: no such variable, or one that is neither categorical nor of additive noise.
    """

    def change(variable: Variable) -> Variable:
        inner = variable.function
        if isinstance(inner, Categorical | Argmax):
            return replace(variable, mechanism=type(inner)(inner.logits[::-1]))
        return _rescaled(spec, variable, scale=-1.0)

    return _changed(spec, names, change)


def randomise(spec: SCMEnvSpec, names: Sequence[str], noise: Noise | None = None) -> SCMEnvSpec:
    """Cut ``names`` off their parents; each is drawn anew at every step.

    Args:
        spec: the world.
        names: variables to cut.
        noise: their distribution; None for equally probable categories, where they are categorical.

    Raises:
        ValueError: no such variable, a distribution for a categorical one, or none for another.
    """

    def change(variable: Variable) -> Variable:
        _refuse_reward(spec, variable)
        k = variable.categories
        if (k is None) == (noise is None):
            need = "needs a noise" if k is None else f"has {k} categories, noise must be None"
            raise ValueError(f"world {spec.name!r}: {variable.name!r} {need} to be randomised")
        if k is not None:
            even = Categorical.from_probabilities([1.0] * k)
            return Variable(name=variable.name, mechanism=even, kind=variable.kind)
        assert noise is not None
        return Variable(name=variable.name, noise=noise, kind=variable.kind)

    return _changed(spec, names, change)


@dataclass(frozen=True, eq=False)
class StuckInterventions(Interventions):
    """Interventions some of which have no effect, at the usual cost.

    Args:
        settable: as :class:`Interventions`.
        values: as :class:`Interventions`.
        cost: as :class:`Interventions`.
        stuck: settable names that no action moves.
    """

    stuck: tuple[str, ...] = ()

    def tables(self, names: Sequence[str]) -> ActionTables:
        """As :meth:`Interventions.tables`, without what sticks."""
        made = super().tables(names)
        rows = [self.settable.index(name) + 1 for name in self.stuck]
        mask, value = made.mask.copy(), made.value.copy()
        mask[:, rows] = False
        value.reshape(len(names), -1, made.n_values)[:, rows] = 0.0
        return replace(made, mask=mask, value=value)


def hard_intervention(spec: SCMEnvSpec, values: Mapping[str, float] | None = None) -> SCMEnvSpec:
    """Some variables are stuck for the whole test, cut off from parents, noise and actions.

    An action on a stuck variable costs what it did and moves nothing.

    Args:
        spec: the world.
        values: where each is stuck, by name; a context may be among them. None: the cause of the
            reward that is farthest from it, at the largest value on offer.

    Raises:
        ValueError: no such variable, a value that is not finite or no category, or none to choose
            by default.
    """
    if values is None:
        values = default_stuck(spec, _farthest_cause(spec))
    where = {name: float(value) for name, value in values.items()}
    bad = next((name for name, value in where.items() if not math.isfinite(value)), None)
    if bad is not None:
        raise ValueError(f"value of {bad!r} must be finite, got {where[bad]}")

    def change(variable: Variable) -> Variable:
        _refuse_reward(spec, variable)
        value, k = where[variable.name], variable.categories
        if k is None:
            stuck: Mechanism = Constant(value)
        elif value in range(k):
            stuck = Argmax([Constant(float(category == value)) for category in range(k)])
        else:
            raise ValueError(
                f"value of {variable.name!r} must be a category 0..{k - 1}, got {value}"
            )
        return Variable(variable.name, stuck, NoNoise(), kind=variable.kind)

    changed = _changed(spec, where, change)
    old = spec.interventions
    already = old.stuck if isinstance(old, StuckInterventions) else ()
    fresh = tuple(name for name in old.settable if name in where and name not in already)
    if not fresh:
        return changed
    return changed.replace(
        interventions=StuckInterventions(
            old.settable, old.values, old.cost, stuck=(*already, *fresh)
        )
    )


def default_stuck(spec: SCMEnvSpec, name: str) -> dict[str, float]:
    """Where a variable sticks if nothing else is said, as an argument of :func:`hard_intervention`.

    Args:
        spec: the world.
        name: one of its variables.

    Returns:
        One entry: the largest value on offer, for what cannot be set the last category or 2.
    """
    if name in spec.interventions.settable:
        row = spec.interventions.settable.index(name)
        return {name: float(spec.interventions.table[row].max())}
    k = _variable(spec, name).categories
    return {name: _STUCK if k is None else float(k - 1)}


@dataclass(frozen=True, eq=False)
class WithoutParent(Mechanism):
    """Another mechanism one of whose parents is a constant and no longer a parent.

    Args:
        mechanism: the other, with additive noise.
        index: which of its parents.
        value: the constant.
    """

    mechanism: Mechanism
    index: int
    value: float
    n_parents: int | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        inner = self.mechanism.n_parents
        object.__setattr__(self, "n_parents", None if inner is None else inner - 1)

    def __call__(self, parents: NDArray[np.float64]) -> NDArray[np.float64]:
        """Evaluate at each row, (batch, k - 1) -> (batch,)."""
        return self.evaluate(list(np.ascontiguousarray(parents.T)), len(parents))

    def evaluate(self, columns: Sequence[NDArray[np.float64]], batch: int) -> NDArray[np.float64]:
        """Evaluate on columns of shape (batch,)."""
        constant = np.full(batch, self.value)
        return self.mechanism.evaluate(
            [*columns[: self.index], constant, *columns[self.index :]], batch
        )


def drop_edge(
    spec: SCMEnvSpec,
    parent: str | None = None,
    child: str | None = None,
    value: float | None = None,
) -> SCMEnvSpec:
    """A mechanism loses a parent: a constant is read in its place.

    Args:
        spec: the world.
        parent: the cause; it is lost as a parent inside the step and from the step before.
        child: the effect. Neither is given by default: then it is the edge farthest from the
            reward among those on the way to it.
        value: the constant; None for the parent's mean (of a categorical parent the commonest
            category) in simulated episodes without interventions, always the same ones.

    Raises:
        ValueError: no such edge, one of the two names alone, or a mechanism that reads its noise
            in a way of its own.
    """
    if (parent is None) != (child is None):
        raise ValueError(f"parent and child must be given together, got {parent!r} and {child!r}")
    if parent is None or child is None:
        edges = causal_edges(spec)
        if not edges:
            raise ValueError(f"world {spec.name!r}: the causes of the reward have no parents")
        parent, child = edges[-1]
    cut = _variable(spec, child)
    if cut.kind == "reward" or parent not in (*cut.parents, *cut.lagged_parents):
        raise ValueError(f"world {spec.name!r} has no edge {parent!r} -> {child!r} to drop")
    constant = _typical(spec, parent) if value is None else float(value)
    if not math.isfinite(constant):
        raise ValueError(f"value must be finite, got {value}")

    def change(variable: Variable) -> Variable:
        mechanism = variable.function
        for index in reversed(range(len(variable.parents) + len(variable.lagged_parents))):
            if (*variable.parents, *variable.lagged_parents)[index] == parent:
                mechanism = _without(spec, variable.name, mechanism, index, constant)
        return replace(
            variable,
            mechanism=mechanism,
            parents=tuple(p for p in variable.parents if p != parent),
            lagged_parents=tuple(p for p in variable.lagged_parents if p != parent),
        )

    return _changed(spec, [child], change)


def standard_shifts() -> dict[str, Shift]:
    """The shifts that every world has.

    ``noise`` (scales x 2), ``noise-half``, ``noise-4``, ``mechanism`` (the nearest cause of the
    reward is softened) and ``hard`` (its farthest cause is stuck).
    """
    return {
        "noise": partial(scale_noise, factor=2.0),
        "noise-half": partial(scale_noise, factor=0.5),
        "noise-4": partial(scale_noise, factor=4.0),
        "mechanism": change_mechanism,
        "hard": hard_intervention,
    }


def reward_causes(spec: SCMEnvSpec) -> dict[str, int]:
    """Variables with a path to the reward and the length of the shortest, the nearest first.

    Contexts are left out; those at one distance come in the order in which they are read.
    """
    variables = {v.name: v for v in spec.scm.variables}
    reward = spec.scm.reward
    distance: dict[str, int] = {}
    layer = [] if reward is None else [reward]
    while layer:
        found: list[Variable] = []
        for variable in layer:
            for parent in (*variable.parents, *variable.lagged_parents):
                if parent not in distance and variables[parent].kind != "context":
                    depth = distance.get(variable.name, 0) + 1
                    distance[parent] = depth
                    found.append(variables[parent])
        layer = found
    return distance


def causal_edges(spec: SCMEnvSpec) -> list[tuple[str, str]]:
    """(parent, child) of the edges on the way to the reward, the nearest to it first.

    Edges into the reward, of contexts and of a variable on itself are left out.
    """
    causes = reward_causes(spec)
    edges: dict[tuple[str, str], None] = {}
    for child in causes:
        variable = _variable(spec, child)
        for parent in (*variable.parents, *variable.lagged_parents):
            if parent != child and parent in causes:
                edges[parent, child] = None
    return list(edges)


def _default_mechanism(spec: SCMEnvSpec) -> str:
    def rank(item: tuple[str, int]) -> tuple[int, bool, bool]:
        variable = _variable(spec, item[0])
        return item[1], variable.categories is not None, variable.kind == "action"

    for name, _ in sorted(reward_causes(spec).items(), key=rank):
        variable = _variable(spec, name)
        if variable.categories is not None or variable.function.additive:
            return name
    raise ValueError(
        f"world {spec.name!r}: the reward reads no variable whose mechanism can change"
    )


def _farthest_cause(spec: SCMEnvSpec) -> str:
    causes = reward_causes(spec)
    if not causes:
        raise ValueError(f"world {spec.name!r}: the reward reads no variable that can be stuck")
    return max(causes, key=lambda name: causes[name])  # of equals the first


def _typical(spec: SCMEnvSpec, name: str) -> float:
    column = spec.scm.names.index(name)
    values = spec.scm.simulate(_MEAN_STEPS, 0, batch=_MEAN_EPISODES).values[:, :, column]
    if _variable(spec, name).categories is None:
        return float(values.mean())
    kinds, counts = np.unique(values, return_counts=True)
    return float(kinds[counts.argmax()])


def _without(
    spec: SCMEnvSpec, name: str, mechanism: Mechanism, index: int, value: float
) -> Mechanism:
    if isinstance(mechanism, Categorical | Argmax):
        return type(mechanism)([WithoutParent(logit, index, value) for logit in mechanism.logits])
    if isinstance(mechanism, Structural):
        inverse = mechanism.inverse
        return Structural(
            partial(_call_without, mechanism.f, index, value),
            None if inverse is None else partial(_call_without, inverse, index + 1, value),
        )
    if not mechanism.additive:
        raise ValueError(
            f"world {spec.name!r}: the {type(mechanism).__name__} of {name!r} cannot lose a parent"
        )
    return WithoutParent(mechanism, index, value)


def _call_without(
    f: Callable[..., Any], index: int, value: float, *columns: NDArray[np.float64]
) -> Any:
    constant = np.full(len(columns[-1]), value)
    return f(*columns[:index], constant, *columns[index:])


def _rescaled(
    spec: SCMEnvSpec, variable: Variable, shift: float = 0.0, scale: float = 1.0
) -> Variable:
    if not variable.function.additive or variable.categories is not None:
        raise ValueError(
            f"world {spec.name!r}: the {type(variable.function).__name__} of {variable.name!r} is "
            "neither categorical nor of additive noise; replace the variable instead"
        )
    return replace(variable, mechanism=Scaled(variable.function, shift=shift, scale=scale))


def _refuse_reward(spec: SCMEnvSpec, variable: Variable) -> None:
    if variable.kind == "reward":
        raise ValueError(
            f"world {spec.name!r}: the reward {variable.name!r} cannot be cut off its parents"
        )


def _moving(spec: SCMEnvSpec) -> list[Variable]:
    return [v for v in spec.scm.variables if v.kind not in ("context", "reward")]


def _variable(spec: SCMEnvSpec, name: str) -> Variable:
    for variable in spec.scm.variables:
        if variable.name == name:
            return variable
    raise ValueError(f"world {spec.name!r} has no variable {name!r} to shift")


def _changed(
    spec: SCMEnvSpec, names: Iterable[str], change: Callable[[Variable], Variable]
) -> SCMEnvSpec:
    chosen = set(names)
    unknown = chosen - {variable.name for variable in spec.scm.variables}
    if unknown:
        raise ValueError(f"world {spec.name!r} has no variable {min(unknown)!r} to shift")
    variables = [change(v) if v.name in chosen else v for v in spec.scm.variables]
    return spec.replace(scm=DynamicSCM(variables))
