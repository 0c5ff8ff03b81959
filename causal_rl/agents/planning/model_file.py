"""A learned model in a file: nested mappings of arrays and plain values as one .npz."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from causal_rl.files import atomic_open, read_npz

FORMAT = "causal_rl.learned_scm/2"
Model = TypeVar("Model")


def write_model(state: Mapping[str, Any], path: str | os.PathLike[str]) -> None:
    """Write a state; the file appears whole or not at all.

    Args:
        state: mappings, nested, whose leaves are arrays and, in "graph" and "reward" and among
            numbers, what JSON can hold.
        path: a name in .npz.

    Raises:
        ValueError: another suffix.
    """
    target = Path(path)
    if target.suffix != ".npz":
        raise ValueError(f"path is {str(target)!r}; a model is saved to a name in .npz")
    about = {"format": FORMAT, "graph": state["graph"], "reward": state["reward"]}
    arrays = _flat({k: v for k, v in state.items() if k not in about})
    with atomic_open(target) as file:
        np.savez_compressed(file, about=np.array(json.dumps(about)), **arrays)


def read_model(path: str | os.PathLike[str], build: Callable[[Mapping[str, Any]], Model]) -> Model:
    """Build a model from what `write_model` wrote.

    Args:
        path: the file.
        build: makes a model from a state.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file holds no model.
    """
    try:
        content = read_npz(path)
        about = json.loads(str(content.pop("about")))
        if about.pop("format") != FORMAT:
            raise ValueError("another format")
        return build({"kept": {}, **_nested(content), **about})
    except FileNotFoundError:
        raise
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{os.fspath(path)!r} is not a file of a learned model") from error


def _flat(state: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in state.items():
        if isinstance(value, Mapping):
            found |= {f"{key}.{name}": item for name, item in _flat(value).items()}
        else:
            found[key] = np.asarray(value)
    return found


def _nested(flat: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in flat.items():
        *folders, name = key.split(".")
        place = found
        for folder in folders:
            place = place.setdefault(folder, {})
        place[name] = value
    return found
