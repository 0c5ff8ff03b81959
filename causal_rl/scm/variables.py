"""A variable of a structural causal model: its parents, its mechanism, its noise."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from causal_rl.graphs import Kind
from causal_rl.scm.arguments import as_finite
from causal_rl.scm.mechanisms import Constant, Function, Mechanism
from causal_rl.scm.noise import Gaussian, Noise, NoNoise

# One object, so that a reward can tell "noise not given" from a noise that was asked for.
_DEFAULT_NOISE: Noise = Gaussian(1.0)


@dataclass(frozen=True)
class Variable:
    """One structural equation: value = mechanism(parents, lagged parents) + noise.

    Attributes:
        name: A non-empty name, unique in its model.
        mechanism: A `Mechanism`, or a callable `f(*columns)` that takes one (batch,) array a
            parent, the contemporaneous ones first; None is the constant 0 of a root.
        noise: Its exogenous noise; Gaussian(1) unless given, none for a reward.
        parents: Names of the causes inside the same step.
        lagged_parents: Names of the causes one step earlier; the variable itself is legal.
        kind: "state"; "action" (treated as a state that policies set); "context" (drawn from its
            noise when an episode starts, then held: it has no parents and cannot be set);
            "reward" (a sink: it causes nothing); "hidden" (not observed).

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If a parent is named twice, the mechanism takes another number of parents, or
            a context has parents.
    """

    name: str
    mechanism: Mechanism | Callable[..., Any] | None = None
    noise: Noise = _DEFAULT_NOISE
    parents: tuple[str, ...] = ()
    lagged_parents: tuple[str, ...] = ()
    kind: Kind = "state"

    def __post_init__(self) -> None:
        if not isinstance(self.name, str):
            raise TypeError(f"name must be a string, got {self.name!r}")
        if not self.name.strip():
            raise ValueError(f"name must not be empty, got {self.name!r}")
        if not self.name.isprintable():
            raise ValueError(f"name must be one line of printable characters, got {self.name!r}")
        if self.kind not in get_args(Kind):
            raise ValueError(
                f"variable {self.name!r}: kind must be one of {', '.join(get_args(Kind))}, "
                f"got {self.kind!r}"
            )
        if not isinstance(self.noise, Noise):
            raise TypeError(f"variable {self.name!r}: noise must be a Noise, got {self.noise!r}")
        for block in ("parents", "lagged_parents"):
            object.__setattr__(self, block, self._names(block))
        object.__setattr__(self, "mechanism", self._wrapped())
        if self.noise is _DEFAULT_NOISE:
            wanted = NoNoise() if self.kind == "reward" else self._own_noise()
            object.__setattr__(self, "noise", wanted or self.noise)
        self._check_categories()
        if self.kind == "context" and (self.parents or self.lagged_parents):
            raise ValueError(
                f"variable {self.name!r}: a context is exogenous and must have no parents, got "
                f"{', '.join(self.parents + self.lagged_parents)}"
            )
        n_given, n_taken = len(self.parents) + len(self.lagged_parents), self.function.n_parents
        if n_taken is not None and n_taken != n_given:
            raise ValueError(
                f"variable {self.name!r}: its mechanism takes {n_taken} parent(s), "
                f"but {n_given} are declared"
            )

    @property
    def function(self) -> Mechanism:
        """The mechanism, after None and callables have been wrapped."""
        assert isinstance(self.mechanism, Mechanism)
        return self.mechanism

    @property
    def categories(self) -> int | None:
        """K where the value is one of the categories 0..K-1, None where it is continuous."""
        return getattr(self.function, "n_categories", None)

    def replace(self, **changes: Any) -> Variable:
        """Return a copy with some attributes changed, validated anew."""
        return dataclasses.replace(self, **changes)

    def _names(self, block: str) -> tuple[str, ...]:
        given = getattr(self, block)
        if isinstance(given, str) or not isinstance(given, Iterable):
            raise TypeError(
                f"variable {self.name!r}: {block} must be a sequence of names, got {given!r}"
            )
        names = tuple(given)
        for i, name in enumerate(names):
            if not isinstance(name, str):
                raise TypeError(
                    f"variable {self.name!r}: {block} must be a sequence of names, got {name!r}"
                )
            if name in names[:i]:
                raise ValueError(f"variable {self.name!r}: {block} name {name!r} twice")
        return names

    def _own_noise(self) -> Noise | None:
        return getattr(self.function, "default_noise", None)

    def _check_categories(self) -> None:
        wanted = self._own_noise()
        if self.kind == "reward" and not self.function.additive:
            raise ValueError(
                f"variable {self.name!r}: a reward must be a function of its parents, got a "
                f"mechanism that reads noise ({type(self.function).__name__})"
            )
        if self.kind == "context" and not self.function.additive:
            raise ValueError(
                f"variable {self.name!r}: the mechanism of a context must be None or Constant, "
                f"got a {type(self.function).__name__}"
            )
        if self.categories is not None and self.noise != wanted:
            raise ValueError(
                f"variable {self.name!r}: its mechanism ({type(self.function).__name__}) reads the "
                f"noise {wanted}, got {self.noise}"
            )

    def _wrapped(self) -> Mechanism:
        if self.mechanism is None:
            return Constant(0.0)
        if isinstance(self.mechanism, Mechanism):
            return self.mechanism
        if not callable(self.mechanism) or isinstance(self.mechanism, type):
            raise TypeError(
                f"variable {self.name!r}: mechanism must be a Mechanism, a callable or None, "
                f"got {self.mechanism!r}"
            )
        return Function(self.mechanism)


#: What a soft intervention may put in place of a variable, its mechanism or its noise.
Change = Variable | Mechanism | Noise | Callable[..., Any]


def hard_intervention(
    variables: Sequence[Variable], values: Mapping[str, float]
) -> tuple[Variable, ...]:
    """Replace mechanisms by constants and cut their parents: do(name = value).

    Args:
        variables: The variables of a model.
        values: A finite number for each variable that is set.

    Returns:
        The variables of the mutilated model, in the same order.

    Raises:
        TypeError: If `values` is no mapping or holds no numbers.
        ValueError: If a name is unknown or a value is not finite.
    """
    constants = do_values([v.name for v in variables], values)
    return tuple(
        v.replace(
            mechanism=Constant(constants[v.name]), noise=NoNoise(), parents=(), lagged_parents=()
        )
        if v.name in constants
        else v
        for v in variables
    )


def do_values(names: Sequence[str], values: Mapping[str, float]) -> dict[str, float]:
    """Check the values of a hard intervention.

    Args:
        names: The names that may be set.
        values: A finite number by name.

    Returns:
        The values as floats.

    Raises:
        TypeError: If `values` is no mapping or holds no numbers.
        ValueError: If a name is unknown or a value is not finite.
    """
    _check_names(names, values, "do")
    return {name: as_finite(value, f"do value of {name!r}") for name, value in values.items()}


def soft_intervention(
    variables: Sequence[Variable], changes: Mapping[str, Change]
) -> tuple[Variable, ...]:
    """Replace whole variables, or only their mechanism or their noise.

    Args:
        variables: The variables of a model.
        changes: For each name a `Variable` of that name (its parents may differ), a `Mechanism`
            or callable (the parents stay), or a `Noise`.

    Returns:
        The variables of the changed model, in the same order.

    Raises:
        TypeError: If `changes` is no mapping or a change is none of these.
        ValueError: If a name is unknown, or a `Variable` bears another name.
    """
    _check_names([v.name for v in variables], changes, "soft_do")
    return tuple(_changed(v, changes[v.name]) if v.name in changes else v for v in variables)


def _changed(variable: Variable, change: Change) -> Variable:
    if isinstance(change, Variable):
        if change.name != variable.name:
            raise ValueError(f"soft_do of {variable.name!r} got a variable named {change.name!r}")
        return change
    if isinstance(change, Noise):
        return variable.replace(noise=change)
    if isinstance(change, Mechanism) or callable(change):
        return variable.replace(mechanism=change)
    raise TypeError(
        f"soft_do of {variable.name!r} must be a Variable, a Mechanism, a callable or a Noise, "
        f"got {change!r}"
    )


def _check_names(names: Sequence[str], given: Mapping[str, Any], argument: str) -> None:
    if not isinstance(given, Mapping):
        raise TypeError(f"{argument} must map names, got {type(given).__name__}")
    for name in given:
        if name not in names:
            raise ValueError(f"{argument} names {name!r}; the variables are {', '.join(names)}")
