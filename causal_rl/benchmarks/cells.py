"""Cells: the independent pieces that a benchmark is made of, and what each brings back."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Value = str | int | float | bool | None
Row = dict[str, Value]

#: Columns that the machinery adds to a cell's own; no parameter or figure may bear these names.
BOOK_COLUMNS = ("cell", "wall_seconds", "cpu_seconds", "warnings", "jobs", "commit")


@dataclass(frozen=True)
class Cell:
    """One piece of work: computed alone, in a process of its own, and never twice.

    Args:
        parameters: what tells this cell from the others of its benchmark; columns of ``raw.csv``.
        settings: everything else that its figures depend on, such as an agent's options with
            their defaults, as plain JSON values. They are no columns, but a cell of other settings
            is another cell, so that results of an old default are never taken for the new.

    Raises:
        ValueError: no parameters, or one that bears a name of `BOOK_COLUMNS`.
        TypeError: a value that JSON cannot hold.
    """

    parameters: Mapping[str, Value]
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.parameters:
            raise ValueError("parameters must name at least one value, got none")
        refuse_book_columns("parameters", self.parameters)
        object.__setattr__(self, "parameters", dict(self.parameters))
        object.__setattr__(self, "settings", dict(self.settings))
        try:
            self._canonical()
        except (TypeError, ValueError) as error:
            raise TypeError(f"a cell must hold plain JSON values: {error}") from error

    @property
    def id(self) -> str:
        """Sixteen hexadecimal digits that depend on parameters and settings alone."""
        return hashlib.sha256(self._canonical().encode()).hexdigest()[:16]

    @property
    def name(self) -> str:
        """The parameters in words, for messages."""
        return " ".join(f"{key}={value}" for key, value in self.parameters.items())

    @property
    def device(self) -> str:
        """The device of its networks, where they are not told by a part: the setting "device"."""
        return str(self.settings.get("device", "cpu"))

    def part(self, name: str) -> dict[str, Any]:
        """The settings called ``<name>.<key>``, by key."""
        prefix = f"{name}."
        return {
            key.removeprefix(prefix): value
            for key, value in self.settings.items()
            if key.startswith(prefix)
        }

    def _canonical(self) -> str:
        content = {"parameters": self.parameters, "settings": self.settings}
        return json.dumps(content, sort_keys=True, allow_nan=False)


def place_cells(cells: Sequence[Cell], device: str, *, told: bool) -> list[Cell]:
    """The cells with their networks on another device, which makes them other cells.

    Args:
        cells: as they are on the CPU.
        device: for every setting that is called "device", in a part or not.
        told: whether a cell without one reads `Cell.device`.

    Returns:
        Cells; those in which no network has a device stay as they are.
    """
    placed = []
    for cell in cells:
        settings = _placed(cell.settings, device)
        placed.append(Cell(cell.parameters, settings | ({"device": device} if told else {})))
    return placed


def _placed(settings: Mapping[str, Any], device: str) -> dict[str, Any]:
    return {
        key: _placed(value, device)
        if isinstance(value, Mapping)
        else (device if key.rpartition(".")[2] == "device" else value)
        for key, value in settings.items()
    }


@dataclass(frozen=True)
class Outcome:
    """What a cell brings back.

    Args:
        figures: one value a name; columns of ``raw.csv``. NaN, the figure that does not exist
            (a share of nothing), becomes None, an empty field.
        curve: rows of figures over time; ``curves.csv``.

    Raises:
        ValueError: an infinite figure, or a name of `BOOK_COLUMNS`.
    """

    figures: Mapping[str, Value]
    curve: Sequence[Mapping[str, Value]] = ()

    def __post_init__(self) -> None:
        refuse_book_columns("figures", self.figures)
        object.__setattr__(self, "figures", _finite(self.figures))
        object.__setattr__(self, "curve", tuple(_finite(row) for row in self.curve))


def refuse_book_columns(argument: str, values: Mapping[str, Value]) -> None:
    """Refuse names that the machinery uses itself.

    Raises:
        ValueError: such a name.
    """
    taken = [name for name in BOOK_COLUMNS if name in values]
    if taken:
        raise ValueError(f"{argument} must not use the name {taken[0]!r}, a column of every table")


def check_grid(cells: Sequence[Cell]) -> None:
    """Refuse a grid in which a cell occurs twice, or none at all.

    Raises:
        ValueError: no cells, or two with the same parameters; the cell is named.
    """
    if not cells:
        raise ValueError("a benchmark must have at least one cell, got none")
    seen: set[str] = set()
    for cell in cells:
        if cell.name in seen:
            raise ValueError(f"the cell {cell.name!r} occurs twice in the grid")
        seen.add(cell.name)


def select_cells(cells: Sequence[Cell], only: Mapping[str, Sequence[str]]) -> list[Cell]:
    """Cells whose parameters have given values.

    Args:
        cells: the grid.
        only: by parameter the values to keep, as text.

    Raises:
        ValueError: a parameter or value that no cell has; those there are are named.
    """
    for name, wanted in only.items():
        present = dict.fromkeys(str(c.parameters[name]) for c in cells if name in c.parameters)
        if not present:
            known = ", ".join(dict.fromkeys(key for c in cells for key in c.parameters))
            raise ValueError(f"only must name a parameter of the cells ({known}), got {name!r}")
        for value in wanted:
            if value not in present:
                known = ", ".join(present)
                raise ValueError(f"only {name} must be one of {known}, got {value!r}")
    return [
        cell
        for cell in cells
        if all(str(cell.parameters.get(name)) in wanted for name, wanted in only.items())
    ]


def _finite(values: Mapping[str, Value]) -> Row:
    row: Row = {}
    for name, value in values.items():
        if isinstance(value, float) and math.isinf(value):
            raise ValueError(f"figure {name!r} is infinite")
        row[name] = None if isinstance(value, float) and math.isnan(value) else value
    return row
