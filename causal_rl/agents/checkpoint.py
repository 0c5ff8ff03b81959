"""Checkpoints: everything a run depends on, in one file that is replaced whole."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from causal_rl.envs import SCMEnvSpec
from causal_rl.files import atomic_open, read_payload

CHECKPOINT_FILE = "checkpoint.pt"
FORMAT = "causal_rl.checkpoint/1"


def world_identity(spec: SCMEnvSpec) -> dict[str, Any]:
    """What two worlds must share for a policy of one to act in the other.

    Args:
        spec: the world.

    Returns:
        Plain values: name, observed variables and their kinds, what may be set and to what, and
        the true edges, so that a world that was edited meanwhile is another one.
    """
    return {
        "name": spec.name,
        "observed": list(spec.observed_names),
        "kinds": list(spec.observed_kinds),
        "settable": list(spec.interventions.settable),
        "values": spec.interventions.table.tolist(),
        "horizon": spec.horizon,
        "edges": [list(edge) for edge in spec.causal_graph.edges()],
    }


def save_checkpoint(path: Path, state: Mapping[str, Any], spec: SCMEnvSpec) -> None:
    """Write a checkpoint.

    Args:
        path: file to write or replace.
        state: ``Algorithm5.state_dict()``.
        spec: the world that was trained on.
    """
    payload = {"format": FORMAT, "world": world_identity(spec), "state": dict(state)}
    with atomic_open(path) as file:
        torch.save(payload, file)


def load_checkpoint(path: Path, spec: SCMEnvSpec) -> dict[str, Any]:
    """Read a checkpoint of this world.

    Nothing in the file is executed: it may hold tensors, arrays and plain values alone.

    Args:
        path: a file of ``save_checkpoint``.
        spec: the world that it must be of.

    Returns:
        The state for ``Algorithm5.load_state_dict``.

    Raises:
        ValueError: there is no such file, it is no checkpoint, or it is of another world; the
            message says what differs.
    """
    shown = repr(str(path))
    foreign = f"{shown} is no checkpoint of this program ({FORMAT})"
    payload = read_payload(
        path,
        FORMAT,
        missing=f"there is no checkpoint at {shown}",
        unreadable=f"{shown} is no readable checkpoint",
        foreign=foreign,
        why=True,
    )
    if not all(isinstance(payload.get(part), dict) for part in ("world", "state")):
        raise ValueError(foreign)
    theirs, ours = payload["world"], world_identity(spec)
    for key, value in ours.items():
        if theirs.get(key) != value:
            raise ValueError(
                f"checkpoint {shown} is from another env: its {key} is {theirs.get(key)!r}, "
                f"this world's is {value!r}"
            )
    state: dict[str, Any] = payload["state"]
    return state


@contextmanager
def restoring(path: Path) -> Iterator[None]:
    """Say of what a checkpoint holds, and does not fit, that it does not.

    Args:
        path: the checkpoint; the options of its run lie beside it.

    Raises:
        ValueError: an entry is missing, or weights have other shapes than the options ask for.
    """
    try:
        yield
    except KeyError as error:
        raise ValueError(f"checkpoint {str(path)!r} lacks the entry {error}") from error
    except RuntimeError as error:  # what torch raises of weights that do not fit
        reason = " ".join(str(error).split())
        raise ValueError(
            f"checkpoint {str(path)!r} does not fit the options in config.yaml beside it: {reason}"
        ) from error
