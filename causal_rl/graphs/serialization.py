"""Graphs to and from JSON."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

from causal_rl.files import atomic_write_text
from causal_rl.graphs.structure import GraphStructure

FORMAT = "causal_rl.graph"
VERSION = 1

_BLOCKS = ("contemporaneous", "lagged")
_MATRICES = (
    "contemporaneous_weights",
    "lagged_weights",
    "contemporaneous_confidence",
    "lagged_confidence",
)
_FIELDS = ("names", "kinds", "allow_cycles", *_BLOCKS, *_MATRICES)


def to_dict(graph: GraphStructure) -> dict[str, Any]:
    """Describe a graph by plain lists, strings and numbers.

    Args:
        graph: the graph.

    Returns:
        A dict that the ``json`` module can write; matrices are lists of rows, absent ones None.
    """
    data: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        "names": list(graph.names),
        "kinds": list(graph.kinds),
        "allow_cycles": graph.allow_cycles,
    }
    for field in _BLOCKS:
        data[field] = getattr(graph, field).astype(int).tolist()
    for field in _MATRICES:
        matrix = getattr(graph, field)
        data[field] = None if matrix is None else matrix.tolist()
    return data


def fields_from_dict(data: Mapping[str, Any]) -> dict[str, Any]:
    """Read the arguments of `CausalGraph` from what `to_dict` returned.

    Args:
        data: the mapping.

    Returns:
        Keyword arguments; the constructor checks their values.

    Raises:
        TypeError: data is not a mapping, or allow_cycles is not a boolean.
        ValueError: keys are missing or unknown, or the format is another.
    """
    needed = ("names", "contemporaneous")
    fields = read_fields(data, (FORMAT, VERSION), needed=needed, known=_FIELDS)
    if not isinstance(fields.get("allow_cycles", False), bool):
        raise TypeError(f"allow_cycles must be true or false, got {fields['allow_cycles']!r}")
    return fields


def read_fields(
    data: Mapping[str, Any],
    written_as: tuple[str, int],
    *,
    needed: Sequence[str],
    known: Sequence[str],
) -> dict[str, Any]:
    """Read what a graph's dict holds beside its format and version.

    Args:
        data: the mapping.
        written_as: format and version that it must have, where it names them.
        needed: keys that must be there.
        known: all keys that may be there.

    Raises:
        TypeError: data is not a mapping.
        ValueError: keys are missing or unknown, or the format is another.
    """
    if not isinstance(data, Mapping):
        raise TypeError(f"data must be a mapping, got {type(data).__name__}")
    form, version = written_as
    found = (data.get("format", form), data.get("version", version))
    if found != written_as:
        raise ValueError(f"data must be of format {form} version {version}, got {found}")
    fields = {key: value for key, value in data.items() if key not in ("format", "version")}
    if missing := [key for key in needed if fields.get(key) is None]:
        raise ValueError(f"data must have the keys {' and '.join(needed)}, lacks {missing}")
    if unknown := sorted(str(key) for key in set(fields) - set(known)):
        raise ValueError(f"data has unknown keys {unknown}; known are {', '.join(known)}")
    return fields


def write_json(data: Mapping[str, Any], path: str | os.PathLike[str]) -> None:
    """Write a graph's dict, a matrix row on each line, through a temporary file.

    Args:
        data: what `to_dict` returned.
        path: where to; its folder must exist.

    Raises:
        OSError: the file cannot be written.
    """
    text = _pretty(data)
    atomic_write_text(path, text)


def _pretty(data: Mapping[str, Any]) -> str:
    """JSON with one line for each row of a matrix, so that people and diffs can read it."""
    lines = []
    for key, value in data.items():
        if isinstance(value, list) and value and isinstance(value[0], list):
            rows = ",\n".join(f"    {json.dumps(row, allow_nan=False)}" for row in value)
            lines.append(f"  {json.dumps(key)}: [\n{rows}\n  ]")
        else:
            lines.append(f"  {json.dumps(key)}: {json.dumps(value, allow_nan=False)}")
    return "{\n" + ",\n".join(lines) + "\n}\n"
