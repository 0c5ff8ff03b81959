"""The replay buffer D of Algorithm 5: the latest transitions, with what was intervened on."""

from __future__ import annotations

from collections import deque
from typing import Any

from causal_rl.discovery import Transitions


class TransitionStore:
    """Keeps the latest transitions, whole rollouts at a time.

    Args:
        capacity: rows to keep at least, once as many have been added.

    Raises:
        ValueError: capacity is below one.
    """

    def __init__(self, capacity: int) -> None:
        if capacity < 1:
            raise ValueError(f"capacity must be at least 1, got {capacity}")
        self.capacity = capacity
        self._chunks: deque[Transitions] = deque()
        self._rows = 0
        self._fresh = 0

    def __len__(self) -> int:
        """Rows kept."""
        return self._rows

    def add(self, transitions: Transitions) -> None:
        """Append rows; the oldest chunks go once ``capacity`` is reached without them."""
        self._chunks.append(transitions)
        self._rows += len(transitions)
        self._fresh += 1
        while self._rows - len(self._chunks[0]) >= self.capacity:
            self._rows -= len(self._chunks.popleft())
        self._fresh = min(self._fresh, len(self._chunks))

    @property
    def latest(self) -> Transitions:
        """The rows of the last `add`.

        Raises:
            ValueError: the store is empty.
        """
        if not self._chunks:
            raise ValueError("the transition store is empty")
        return self._chunks[-1]

    def take_fresh(self) -> Transitions | None:
        """Rows added since the last call, in order; None where there are none."""
        if not self._fresh:
            return None
        chunks = list(self._chunks)[-self._fresh :]
        self._fresh = 0
        return Transitions.concatenate(chunks)

    def keep_latest(self, rows: int) -> None:
        """Drop all but the latest rows; those kept count as fresh.

        Args:
            rows: how many to keep, at least 1.

        Raises:
            ValueError: rows is below one.
        """
        if rows < 1:
            raise ValueError(f"rows must be at least 1, got {rows}")
        while self._rows > rows:
            oldest = self._chunks.popleft()
            self._rows -= len(oldest)
            if self._rows < rows:
                part = oldest[len(oldest) - (rows - self._rows) :]
                self._chunks.appendleft(part)
                self._rows += len(part)
        self._fresh = len(self._chunks)

    def all(self) -> Transitions:
        """Every row kept, oldest first.

        Raises:
            ValueError: the store is empty.
        """
        if not self._chunks:
            raise ValueError("the transition store is empty")
        return Transitions.concatenate(self._chunks)

    def state_dict(self) -> dict[str, Any]:
        """The rows as plain arrays, their chunks, and how many chunks the learner has not seen."""
        rows = self.all() if self._chunks else None
        arrays = None if rows is None else rows.to_dict()
        # Where the chunks end decides which rows go next, so it is part of the state.
        return {"rows": arrays, "fresh": self._fresh, "lengths": [len(c) for c in self._chunks]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a state of ``state_dict``."""
        self._chunks.clear()
        self._rows = 0
        if state["rows"] is not None:
            rows = Transitions(**state["rows"])
            start = 0
            for length in state["lengths"]:
                self._chunks.append(rows[start : start + length])
                start += length
            self._rows = start
        self._fresh = int(state["fresh"])
