"""The action space of an SCM world: at most one hard intervention a step."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import cast

import numpy as np
from gymnasium import spaces
from numpy.typing import ArrayLike, NDArray

#: Values offered when a world names none: 7 points on [-2, 2].
DEFAULT_VALUES: tuple[float, ...] = tuple(float(v) for v in np.linspace(-2.0, 2.0, 7))


@dataclass(frozen=True, eq=False)
class ActionTables:
    """An :class:`Interventions` compiled for one order of variables.

    Tables are stored (n, ...) as ``DynamicSCM`` stores states, so that what is decoded comes in
    Fortran order and the model need not copy it.

    Attributes:
        mask: bool (n, targets + 1); column k marks the variable that target k sets, column 0 none.
        value: float64 (n, (targets + 1) * values); the value in the set variable, 0 elsewhere.
        cost: float64 (targets + 1,); ``cost[0] == 0``.
        n_values: values on offer.
    """

    mask: NDArray[np.bool_]
    value: NDArray[np.float64]
    cost: NDArray[np.float64]
    n_values: int

    @cached_property
    def columns(self) -> frozenset[int]:
        """Columns that an action can set."""
        return frozenset(np.flatnonzero(self.mask.any(axis=1)).tolist())

    @property
    def n_targets(self) -> int:
        """Targets, the no-op included."""
        return len(self.cost)

    def decode(
        self, actions: ArrayLike
    ) -> tuple[NDArray[np.bool_], NDArray[np.float64], NDArray[np.float64]]:
        """Turn actions into interventions.

        Args:
            actions: int (batch, 2), columns (target, value index); target 0 sets nothing.

        Returns:
            ``do_mask`` bool (batch, n), ``do_value`` float64 (batch, n) and ``cost`` float64
            (batch,).

        Raises:
            ValueError: wrong shape, not integers, or out of range.
        """
        target, index = self.check(actions)
        return self.setting(target, target * self.n_values + index)

    def setting(
        self, target: NDArray[np.int64], code: NDArray[np.int64]
    ) -> tuple[NDArray[np.bool_], NDArray[np.float64], NDArray[np.float64]]:
        """As :meth:`decode`, from what :meth:`check` has passed.

        Args:
            target: int64 (batch,).
            code: int64 (batch,), ``target * n_values + value index``.
        """
        # Every index was looked at; mode="clip" spares a second look.
        return (
            self.mask.take(target, axis=1, mode="clip").T,
            self.value.take(code, axis=1, mode="clip").T,
            self.cost.take(target, mode="clip"),
        )

    def check(self, actions: ArrayLike) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Validate actions and split them into target and value index, each (batch,).

        Raises:
            ValueError: wrong shape, not integers, or out of range.
        """
        array = np.asarray(actions)
        if array.ndim != 2 or array.shape[1] != 2 or array.dtype.kind not in "iu":
            raise ValueError(
                f"actions must be integers of shape (batch, 2), got {array.dtype} of shape "
                f"{array.shape}"
            )
        columns = np.ascontiguousarray(array, dtype=np.int64)
        target, index = columns[:, 0], columns[:, 1]
        # Read as unsigned, a negative number is a huge one.
        unsigned = columns.view(np.uint64)
        outside = unsigned[:, 0] >= self.n_targets
        outside |= unsigned[:, 1] >= self.n_values
        if outside.any():
            bad = int(np.argmax(outside))
            raise ValueError(
                f"actions[{bad}] is {array[bad].tolist()}; allowed are target "
                f"0..{self.n_targets - 1} (0 sets nothing) and value index 0..{self.n_values - 1}"
            )
        return target, index


@dataclass(frozen=True, eq=False)
class Interventions:
    """What an agent may set, to which values, and at what cost.

    The action is ``(target, value index)``: target 0 does nothing and costs nothing (whatever the
    value index), target k >= 1 is ``do(settable[k - 1] = values[value index])`` for one step.

    Args:
        settable: names of the variables that may be set.
        values: the values on offer: the same for every target, or a mapping from each settable
            name to its own, all of one length (as where a variable has categories).
        cost: what setting a variable takes off the reward of that step: one number for all, or a
            mapping from name to number (names left out cost 0).

    Raises:
        ValueError: no settable name, a name twice, no value, a non-finite number, or a cost for a
            name that is not settable.
        TypeError: a name that is no string, or a value or cost that is no number.
    """

    settable: Sequence[str]
    values: Sequence[float] | Mapping[str, Sequence[float]] = DEFAULT_VALUES
    cost: Mapping[str, float] | float = 0.0

    def __post_init__(self) -> None:
        if isinstance(self.settable, str):
            raise ValueError(
                f"settable must be a sequence of names, got the string {self.settable!r}"
            )
        if not isinstance(self.settable, Iterable):
            raise TypeError(f"settable must be a sequence of names, got {self.settable!r}")
        names = tuple(self.settable)
        for name in names:
            if not isinstance(name, str):
                raise TypeError(f"settable must be a sequence of names, got the entry {name!r}")
        if not names:
            raise ValueError("settable is empty: an agent needs at least one variable to set")
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"settable names {twice[0]!r} twice")
        values = _checked_values(self.values, names)
        if isinstance(self.cost, Mapping):
            unknown = [name for name in self.cost if name not in names]
            if unknown:
                raise ValueError(
                    f"cost names {unknown[0]!r}, which is not settable; settable: "
                    f"{', '.join(names)}"
                )
            cost = {name: _number(self.cost.get(name, 0.0), f"cost of {name!r}") for name in names}
        else:
            cost = dict.fromkeys(names, _number(self.cost, "cost"))
        bad = [name for name, c in cost.items() if not math.isfinite(c)]
        if bad:
            raise ValueError(f"cost of {bad[0]!r} must be finite, got {cost[bad[0]]}")
        object.__setattr__(self, "settable", names)
        object.__setattr__(self, "values", values)
        object.__setattr__(self, "cost", cost)

    @property
    def costs(self) -> NDArray[np.float64]:
        """Cost by target, float64 (targets + 1,); entry 0, the no-op, is 0."""
        cost = cast("dict[str, float]", self.cost)  # __post_init__ made it one
        return np.array([0.0, *(cost[name] for name in self.settable)])

    def space(self) -> spaces.MultiDiscrete:
        """The Gymnasium action space, ``MultiDiscrete([targets + 1, values])``."""
        return spaces.MultiDiscrete([len(self.settable) + 1, self.n_values])

    @property
    def n_values(self) -> int:
        """Values on offer for each target."""
        return int(self.table.shape[1])

    @property
    def table(self) -> NDArray[np.float64]:
        """The values by target, float64 (settable, n_values)."""
        if isinstance(self.values, Mapping):
            return np.array([self.values[name] for name in self.settable])
        return np.tile(np.asarray(self.values, dtype=np.float64), (len(self.settable), 1))

    def action(self, name: str, value: float) -> NDArray[np.int64]:
        """The action that sets a variable.

        Args:
            name: a settable variable.
            value: one of the values on offer for it.

        Returns:
            int64 (2,), target and value index.

        Raises:
            ValueError: another name or value.
        """
        if name not in self.settable:
            raise ValueError(f"{name!r} is not settable; settable: {', '.join(self.settable)}")
        row = self.settable.index(name)
        offered = self.table[row]
        match = np.flatnonzero(offered == value)
        if not len(match):
            raise ValueError(
                f"value of {name!r} must be one of {', '.join(f'{v:g}' for v in offered)}, got "
                f"{value!r}"
            )
        return np.array([row + 1, match[0]], dtype=np.int64)

    def all_actions(self) -> NDArray[np.int64]:
        """Every action that differs in effect, int64 (1 + targets * values, 2), the no-op first."""
        targets, values = np.meshgrid(
            np.arange(1, len(self.settable) + 1), np.arange(self.n_values), indexing="ij"
        )
        rows = np.stack([targets.ravel(), values.ravel()], axis=1)
        return np.vstack([np.zeros((1, 2), dtype=np.int64), rows]).astype(np.int64)

    def tables(self, names: Sequence[str]) -> ActionTables:
        """Compile for the columns ``names``.

        Args:
            names: variables in column order; every settable name must be among them.

        Raises:
            ValueError: a settable name is missing from ``names``.
        """
        columns = {name: column for column, name in enumerate(names)}
        missing = [name for name in self.settable if name not in columns]
        if missing:
            raise ValueError(
                f"settable {missing[0]!r} is no variable of the world; its variables are "
                f"{', '.join(names)}"
            )
        mask = np.zeros((len(names), len(self.settable) + 1), dtype=np.bool_)
        value = np.zeros((len(names), len(self.settable) + 1, self.n_values))
        for target, name in enumerate(self.settable, start=1):
            mask[columns[name], target] = True
            value[columns[name], target] = self.table[target - 1]
        return ActionTables(
            mask=mask,
            value=np.ascontiguousarray(value.reshape(len(names), -1)),
            cost=self.costs,
            n_values=self.n_values,
        )

    def decode(
        self, actions: ArrayLike, names: Sequence[str]
    ) -> tuple[NDArray[np.bool_], NDArray[np.float64], NDArray[np.float64]]:
        """Turn actions into interventions on the columns ``names``.

        Args:
            actions: int (batch, 2), columns (target, value index).
            names: variables in column order, of any model that has all the settable ones.

        Returns:
            ``do_mask`` bool (batch, n), ``do_value`` float64 (batch, n), 0 where nothing is set,
            and ``cost`` float64 (batch,).

        Raises:
            ValueError: bad actions, or a settable name missing from ``names``.
        """
        return self.tables(names).decode(actions)


def _checked_values(
    given: Sequence[float] | Mapping[str, Sequence[float]], names: tuple[str, ...]
) -> tuple[float, ...] | dict[str, tuple[float, ...]]:
    if not isinstance(given, Mapping):
        return _numbers(given, "values")
    if set(given) != set(names):
        odd = min(set(given) ^ set(names), key=str)
        what = f"{odd!r} is missing" if odd in names else f"{odd!r} is not settable"
        raise ValueError(f"values must name every settable variable and no other; {what}")
    values = {name: _numbers(given[name], f"values of {name!r}") for name in names}
    lengths = {len(v) for v in values.values()}
    if len(lengths) > 1:
        counts = ", ".join(f"{len(v)} for {name!r}" for name, v in values.items())
        raise ValueError(f"values must be equally many for every variable, got {counts}")
    return values


def _numbers(given: object, what: str) -> tuple[float, ...]:
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise TypeError(f"{what} must be a sequence of numbers, got {given!r}")
    values = tuple(_number(v, what) for v in given)
    if not values or not all(math.isfinite(v) for v in values):
        raise ValueError(f"{what} must be one or more finite numbers, got {list(values)}")
    return values


def _number(value: object, what: str) -> float:
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise TypeError(f"{what} must be a number, got {value!r}") from None
