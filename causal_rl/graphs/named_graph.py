"""What every graph over named variables has: columns by name, equality, a JSON file."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, Self

import numpy as np

from causal_rl.files import read_json
from causal_rl.graphs import serialization
from causal_rl.graphs.kinds import Kind
from causal_rl.graphs.names import column_of, name_difference


class NamedGraph(ABC):
    """An immutable graph over named variables; `CausalGraph` and `PartialGraph` are such.

    Attributes:
        names: n distinct names.
        kinds: n of "state", "action", "context", "reward", "hidden".
    """

    names: tuple[str, ...]
    kinds: tuple[Kind, ...]

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        # Copies and unpickled arrays come back writable.
        for name, value in state.items():
            if isinstance(value, np.ndarray):
                value.setflags(write=False)
            object.__setattr__(self, name, value)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, NamedGraph):
            return NotImplemented
        return self._structure() == other._structure()

    def __hash__(self) -> int:
        return hash(self._structure())

    @abstractmethod
    def _structure(self) -> tuple[Any, ...]:
        """What makes two graphs equal; of another length in each class."""

    @property
    def n(self) -> int:
        """Number of variables."""
        return len(self.names)

    def index(self, name: str) -> int:
        """Return the column of a variable.

        Args:
            name: one of ``names``.

        Raises:
            ValueError: no such variable; the nearest names are offered.
        """
        return column_of(name, self.names)

    @classmethod
    @abstractmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Build a graph from what `to_dict` returned."""

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """Return plain lists, strings and numbers, ready for JSON."""

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read a graph that `save` wrote.

        Args:
            path: a JSON file.

        Raises:
            OSError: the file cannot be read.
            ValueError: it is not JSON or not a valid graph; the message names the file.
        """
        data = read_json(path)
        try:
            return cls.from_dict(data)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{os.fspath(path)} holds no valid graph: {error}") from error

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a JSON file that `load` reads; a killed write leaves the old file as it was.

        Args:
            path: where to; its folder must exist.

        Raises:
            OSError: the file cannot be written.
        """
        serialization.write_json(self.to_dict(), path)

    def _check_names_of(self, truth: NamedGraph) -> None:
        """Refuse a truth over other variables; the order may be another."""
        if set(truth.names) != set(self.names):
            raise ValueError(
                "truth must have the names of the graph; "
                + name_difference(truth.names, self.names)
            )

    def _first_names(self) -> str:
        """The names as ``repr`` shows them."""
        return ", ".join(self.names[:8]) + (", ..." if self.n > 8 else "")
