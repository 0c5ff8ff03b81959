"""The state of Tianshou's replay buffers as plain values, so that no checkpoint holds objects."""

from __future__ import annotations

import copy
from typing import Any, cast

import numpy as np
from tianshou.data import Batch, VectorReplayBuffer

# Where the buffer of one environment stands: where it writes, and the episode that is under way.
_PLACE = ("last_index", "_insertion_idx", "_size", "_ep_start_idx", "_ep_return", "_ep_len")


def buffer_state(buffer: VectorReplayBuffer) -> dict[str, Any]:
    """What a buffer holds and where it stands.

    Args:
        buffer: one part for each environment.

    Returns:
        Arrays, numbers, strings and containers of them, all copies.
    """
    state = {
        "rows": _plain(cast(Batch, buffer._meta)),
        "last_index": buffer.last_index,
        "lengths": buffer._lengths,
        "parts": [{name: getattr(part, name) for name in _PLACE} for part in buffer.buffers],
        "random": [each._random_state.get_state() for each in (buffer, *buffer.buffers)],
    }
    return copy.deepcopy(state)


def restore_buffer(buffer: VectorReplayBuffer, state: dict[str, Any]) -> None:
    """Put a new buffer of the same sizes where another was.

    Args:
        buffer: is changed; keeps copies of the arrays.
        state: of `buffer_state`.

    Raises:
        ValueError: the state is of a buffer of other sizes.
    """
    if len(state["parts"]) != buffer.buffer_num:
        raise ValueError(
            f"state must be of {buffer.buffer_num} environments, got {len(state['parts'])}"
        )
    rows = _batch(state["rows"])
    if len(state["rows"]):
        if len(rows) != buffer.maxsize:
            raise ValueError(f"state must be of {buffer.maxsize} rows, got {len(rows)}")
        buffer.set_batch(rows)
    buffer.last_index = np.array(state["last_index"])
    buffer._lengths = np.array(state["lengths"])
    for part, saved in zip(buffer.buffers, state["parts"], strict=True):
        for name in _PLACE:
            setattr(part, name, saved[name])
    for each, saved in zip((buffer, *buffer.buffers), state["random"], strict=True):
        each._random_state.set_state(saved)


def _plain(batch: Batch) -> dict[str, Any]:
    return {
        key: _plain(value) if isinstance(value, Batch) else value for key, value in batch.items()
    }


def _batch(rows: dict[str, Any]) -> Batch:
    return Batch(
        {key: _batch(v) if isinstance(v, dict) else np.array(v) for key, v in rows.items()}
    )
