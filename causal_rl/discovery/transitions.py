"""What an agent saw and did, one row a step: the data that graph learners read."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from causal_rl.discovery.table import read_table, real_array
from causal_rl.files import atomic_open, read_npz

VariableKind = Literal["state", "action", "context"]
VARIABLE_KINDS: tuple[VariableKind, ...] = ("state", "action", "context")

# A do-value is float64 while an observation may have passed through float32 on its way here.
DO_RTOL = 1e-5
DO_ATOL = 1e-6

_FORMAT = "causal_rl.transitions/1"


@dataclass(frozen=True, init=False, eq=False, repr=False)
class Transitions:
    """Rows ``(state, action, reward, next_state)`` with what was set: Algorithm 5's memory, mended.

    Everything is copied and made read-only; numbers become float64. All arguments are keywords.
    Rows marked in ``reset`` (autoreset rows, where ``next_state`` begins another episode) are
    dropped here and never reach a learner.

    Args:
        state: ``(N, n)`` the observed variables before the step (contexts included).
        next_state: ``(N, n)`` the same variables after it.
        action: ``(N,)`` or ``(N, k)`` numbers, kept as they are; no learner here reads them.
        reward: ``(N,)`` numbers.
        terminated: ``(N,)`` booleans.
        truncated: ``(N,)`` booleans.
        do_target: ``(N, n)`` booleans, true where the step set that variable; default all false.
        do_value: ``(N, n)`` the values set; must equal ``next_state`` where ``do_target`` is true.
            Entries off target mean nothing and are stored as 0. Default: read from ``next_state``.
        reset: ``(N,)`` booleans, rows to drop.
        names: one name a column; default ``X1 .. Xn``.
        kinds: ``"state"``, ``"action"`` or ``"context"`` a column; default all ``"state"``.

    Raises:
        ValueError: wrong shape, NaN or inf (array and first row are named), a do-value that is
            not what ``next_state`` shows, names that repeat, unknown kinds.
        TypeError: an array that holds no numbers.
    """

    state: NDArray[np.float64]
    next_state: NDArray[np.float64]
    action: NDArray[Any] | None
    reward: NDArray[np.float64] | None
    terminated: NDArray[np.bool_] | None
    truncated: NDArray[np.bool_] | None
    do_target: NDArray[np.bool_]
    do_value: NDArray[np.float64]
    names: tuple[str, ...]
    kinds: tuple[VariableKind, ...]

    def __init__(
        self,
        *,
        state: ArrayLike,
        next_state: ArrayLike,
        action: ArrayLike | None = None,
        reward: ArrayLike | None = None,
        terminated: ArrayLike | None = None,
        truncated: ArrayLike | None = None,
        do_target: ArrayLike | None = None,
        do_value: ArrayLike | None = None,
        reset: ArrayLike | None = None,
        names: Sequence[str] | None = None,
        kinds: Sequence[str] | None = None,
    ) -> None:
        before = _numbers("state", state)
        if before.ndim != 2 or before.shape[1] == 0:
            raise ValueError(
                f"state has shape {before.shape}; it must be (rows, variables), variables >= 1"
            )
        rows, n = before.shape
        keep = ~_flags("reset", reset, (rows,)) if reset is not None else np.ones(rows, dtype=bool)

        def number_rows(name: str, value: ArrayLike, shape: tuple[int, ...]) -> NDArray[np.float64]:
            array = _numbers(name, value)
            _check_shape(name, array, shape)
            _check_finite(name, array, keep)
            return array[keep]

        def flag_rows(name: str, value: ArrayLike, shape: tuple[int, ...]) -> NDArray[np.bool_]:
            return _flags(name, value, shape)[keep]

        values: dict[str, Any] = {
            "state": number_rows("state", before, (rows, n)),
            "next_state": number_rows("next_state", next_state, (rows, n)),
            "action": None if action is None else _action(action, rows, keep),
            "reward": None if reward is None else number_rows("reward", reward, (rows,)),
        }
        for name, flags in (("terminated", terminated), ("truncated", truncated)):
            values[name] = None if flags is None else flag_rows(name, flags, (rows,))
        if do_target is None:
            if do_value is not None:
                raise ValueError("do_value was given without do_target; give both, or do_target")
            values["do_target"] = np.zeros(values["state"].shape, dtype=bool)
        else:
            values["do_target"] = flag_rows("do_target", do_target, (rows, n))
        if do_value is None:
            given = values["next_state"]
        else:
            given = number_rows("do_value", do_value, (rows, n))
            _check_do(given, values["next_state"], values["do_target"], np.flatnonzero(keep))
        values["do_value"] = np.where(values["do_target"], given, 0.0)
        for name, value in values.items():
            if value is not None:
                value.flags.writeable = False
            object.__setattr__(self, name, value)
        object.__setattr__(self, "names", _names(names, n))
        object.__setattr__(self, "kinds", _kinds(kinds, n))

    @classmethod
    def from_table(
        cls,
        values: ArrayLike | Any,
        *,
        do_target: ArrayLike | None = None,
        names: Sequence[str] | None = None,
        kinds: Sequence[str] | None = None,
    ) -> Self:
        """Transitions without memory: the rows of a table are draws of one static model.

        ``next_state`` is the table and ``state`` is zero, so that nothing can be learned of lags:
        every learner leaves the lagged block empty.

        Args:
            values: ``(N, n)`` numbers, or a data frame, whose columns give the names.
            do_target: ``(N, n)`` booleans, true where the variable was set; default all false.
            names: one name a column; default those of the frame, else ``X1 .. Xn``.
            kinds: as for transitions.

        Raises:
            TypeError: not numbers; the column of a frame is named.
            ValueError: no table, NaN or an infinite value (row and column are named), or names,
                kinds or targets that do not fit it.
        """
        table, labels = read_table(values, names)
        if do_target is not None:
            _check_shape("do_target", _numbers("do_target", do_target), table.shape, "values")
        return cls(
            state=np.zeros(table.shape),
            next_state=table,
            do_target=do_target,
            names=labels,
            kinds=kinds,
        )

    @property
    def n(self) -> int:
        """Number of variables, the columns of ``state``."""
        return int(self.state.shape[1])

    @property
    def memoryless(self) -> bool:
        """Whether ``state`` is zero throughout, as in the rows of a table."""
        return not self.state.any()

    def __len__(self) -> int:
        """Number of rows."""
        return int(self.state.shape[0])

    def __repr__(self) -> str:
        return (
            f"Transitions(rows={len(self)}, variables={self.n}, "
            f"do_rows={int(self.do_target.any(axis=1).sum())}, "
            f"reward={self.reward is not None})"
        )

    def __getitem__(self, rows: slice | NDArray[Any]) -> Transitions:
        """Some rows, as new transitions.

        Args:
            rows: a slice, or a one-dimensional array of booleans or integers.

        Raises:
            TypeError: any other index (a single integer has no row axis).
        """
        if not isinstance(rows, slice) and not (
            isinstance(rows, np.ndarray) and rows.ndim == 1 and rows.dtype.kind in "biu"
        ):
            raise TypeError(
                "transitions take a slice or a 1-d integer or boolean array as index, "
                f"not {type(rows).__name__}"
            )
        return self._from({k: v if v is None else v[rows] for k, v in self._arrays().items()})

    def without_contexts(self) -> Transitions:
        """The same rows over the variables that change within an episode, without rewards."""
        keep = [i for i, kind in enumerate(self.kinds) if kind != "context"]
        return Transitions(
            state=self.state[:, keep],
            next_state=self.next_state[:, keep],
            do_target=self.do_target[:, keep],
            do_value=self.do_value[:, keep],
            names=[self.names[i] for i in keep],
            kinds=[self.kinds[i] for i in keep],
        )

    @classmethod
    def concatenate(cls, parts: Iterable[Transitions]) -> Self:
        """One after another, in the order given.

        Args:
            parts: transitions of the same variables that carry the same optional arrays.

        Raises:
            ValueError: no part, other names or kinds, or an array that some parts lack.
        """
        pieces = list(parts)
        if not pieces:
            raise ValueError("concatenate got no parts; it needs at least one")
        first = pieces[0]
        for index, piece in enumerate(pieces):
            if (piece.names, piece.kinds) != (first.names, first.kinds):
                raise ValueError(
                    f"part {index} has variables {piece.names} of kinds {piece.kinds}; "
                    f"part 0 has {first.names} of kinds {first.kinds}"
                )
        arrays: dict[str, Any] = {}
        for name in first._arrays():
            columns = [getattr(piece, name) for piece in pieces]
            lacking = [index for index, column in enumerate(columns) if column is None]
            if lacking and len(lacking) < len(pieces):
                raise ValueError(f"part {lacking[0]} has no {name}, others have; all or none must")
            shapes = {column.shape[1:] for column in columns if column is not None}
            if len(shapes) > 1:
                raise ValueError(f"{name} differs in shape between parts: {sorted(shapes)}")
            arrays[name] = None if lacking else np.concatenate(columns)
        return cls(**arrays, names=first.names, kinds=first.kinds)

    def to_dict(self) -> dict[str, Any]:
        """Its arguments: ``Transitions(**rows.to_dict())`` equals ``rows``; nothing is copied."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write to ``path`` (.npz); the file appears whole or not at all.

        Raises:
            ValueError: ``path`` does not end in ``.npz``.
        """
        target = Path(path)
        if target.suffix != ".npz":
            raise ValueError(f"path is {str(target)!r}; transitions are saved to a name in .npz")
        arrays: dict[str, Any] = {k: v for k, v in self._arrays().items() if v is not None}
        with atomic_open(target) as file:
            np.savez_compressed(
                file,
                format=np.array(_FORMAT),
                names=np.array(self.names),
                kinds=np.array(self.kinds),
                **arrays,
            )

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read what `save` wrote.

        Raises:
            FileNotFoundError: no such file.
            ValueError: the file holds no transitions.
        """
        try:
            content = read_npz(path)
            if str(content.pop("format", "")) != _FORMAT:
                raise ValueError(f"its format is not {_FORMAT}")
            words = {key: [str(word) for word in content.pop(key)] for key in ("names", "kinds")}
            return cls(**content, **words)
        except FileNotFoundError:
            raise
        except (OSError, KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"{os.fspath(path)!r} is not a file of transitions: {error}"
            ) from error

    def _arrays(self) -> dict[str, NDArray[Any] | None]:
        return {
            field.name: getattr(self, field.name)
            for field in fields(self)
            if field.name not in ("names", "kinds")
        }

    def _from(self, arrays: dict[str, Any]) -> Transitions:
        return Transitions(**arrays, names=self.names, kinds=self.kinds)


def as_transitions(
    data: Transitions | ArrayLike | Any,
    *,
    do_target: ArrayLike | None = None,
    names: Sequence[str] | None = None,
) -> Transitions:
    """Read what may be transitions or a table.

    Args:
        data: transitions, or a table as for `Transitions.from_table`.
        do_target: as there; with a table only.
        names: as there; of transitions not read.

    Raises:
        TypeError: neither transitions nor a table of numbers.
        ValueError: targets with transitions, or no table.
    """
    if not isinstance(data, Transitions):
        return Transitions.from_table(data, do_target=do_target, names=names)
    if do_target is not None:
        raise ValueError("do_target goes with a table; transitions carry their own")
    return data


def _numbers(name: str, value: ArrayLike) -> NDArray[np.float64]:
    raw = real_array(value, f"{name} must be an array of real numbers")
    return np.array(raw, dtype=np.float64)


def _check_shape(
    name: str, array: NDArray[Any], shape: tuple[int, ...], other: str = "state"
) -> None:
    if array.shape != shape:
        raise ValueError(f"{name} has shape {array.shape}; it must be {shape}, to match {other}")


def _check_finite(name: str, array: NDArray[Any], keep: NDArray[np.bool_]) -> None:
    finite = np.isfinite(array).all(axis=tuple(range(1, array.ndim)))
    bad = np.flatnonzero(~finite & keep)
    if bad.size:
        what = "NaN" if np.isnan(array[bad[0]]).any() else "an infinite value"
        raise ValueError(f"{name} has {what}, first in row {bad[0]}; every value must be finite")


def _flags(name: str, value: ArrayLike, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    array = _numbers(name, value)
    _check_shape(name, array, shape)
    odd = ~np.isin(array, (0.0, 1.0))
    if odd.any():
        row = int(np.argwhere(odd)[0][0])
        raise ValueError(
            f"{name} has {array[odd][0]!s} in row {row}; it must be boolean or 0 and 1"
        )
    return array.astype(bool)


def _action(value: ArrayLike, rows: int, keep: NDArray[np.bool_]) -> NDArray[Any]:
    _numbers("action", value)
    array = np.array(value)
    if array.ndim not in (1, 2) or array.shape[0] != rows:
        raise ValueError(
            f"action has shape {array.shape}; it must be ({rows},) or ({rows}, k), to match state"
        )
    _check_finite("action", array, keep)
    return np.ascontiguousarray(array[keep])


def _check_do(
    do_value: NDArray[np.float64],
    next_state: NDArray[np.float64],
    do_target: NDArray[np.bool_],
    origin: NDArray[np.intp],
) -> None:
    wrong = do_target & ~np.isclose(do_value, next_state, rtol=DO_RTOL, atol=DO_ATOL)
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        raise ValueError(
            f"do_value is {do_value[row, column]:.6g} in row {origin[row]}, column {column}, but "
            f"next_state there is {next_state[row, column]:.6g}; they must agree on do-targets"
        )


def _names(names: Sequence[str] | None, n: int) -> tuple[str, ...]:
    if names is None:
        return tuple(f"X{i + 1}" for i in range(n))
    if isinstance(names, str) or not all(isinstance(name, str) and name for name in names):
        raise TypeError(f"names must be a sequence of non-empty strings, not {names!r}")
    if len(names) != n:
        raise ValueError(f"names has {len(names)} entries; state has {n} columns")
    if len(set(names)) != n:
        repeated = sorted({name for name in names if list(names).count(name) > 1})
        raise ValueError(f"names repeats {', '.join(repeated)}; each column needs its own name")
    return tuple(names)


def _kinds(kinds: Sequence[str] | None, n: int) -> tuple[VariableKind, ...]:
    if kinds is None:
        kinds = ("state",) * n
    if len(kinds) != n:
        raise ValueError(f"kinds has {len(kinds)} entries; state has {n} columns")
    checked: list[VariableKind] = []
    for index, kind in enumerate(kinds):
        match = next((known for known in VARIABLE_KINDS if known == kind), None)
        if match is None:
            raise ValueError(
                f"kinds[{index}] is {kind!r}; a column of state is one of "
                f"{', '.join(VARIABLE_KINDS)}"
            )
        checked.append(match)
    return tuple(checked)
