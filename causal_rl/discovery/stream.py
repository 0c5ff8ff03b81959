"""The running statistics of a stream of transitions, the same however the stream is cut up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from causal_rl.discovery.basis import BASIS_SIZE, FeatureMap
from causal_rl.discovery.gram import GramStore, stratum_of
from causal_rl.discovery.reservoir import Reservoir
from causal_rl.discovery.transitions import Transitions

Matrix = NDArray[np.float64]

# Fewer places than this for a kind of intervention tell nothing about it.
LEAST_PLACES = 64


@dataclass
class Summary:
    """What is kept of some rows: standard units, Gram matrices, and a bounded set of raw rows.

    Raw rows are ``[state, next_state, do_target, reward if any]``.
    """

    n: int
    features: FeatureMap
    store: GramStore
    reservoir: Reservoir

    def count(self, rows: Matrix) -> None:
        """Enter raw rows, in the order of the stream."""
        n = self.n
        do_target = rows[:, 2 * n : 3 * n] > 0
        one = np.ones((len(rows), 1))
        after, before = self.features(rows[:, n : 2 * n]), self.features(rows[:, :n])
        self.store.add(np.hstack([one, after, before]), do_target)
        self.reservoir.add(rows, stratum_of(do_target))


class TransitionStream:
    """Takes transitions in, block by block.

    Statistics are summed over whole blocks of the stream; the block just begun is kept as raw
    rows and summed on top whenever a summary is asked for. So the sums, rounding included, do not
    depend on how the stream came in. Units are fixed by the first block, the first thing an agent
    explored, so that sums can go on for ever.

    Args:
        n: number of variables.
        rewards: whether rows carry a reward.
        block: rows in a block.
        rows_kept: raw rows kept, over all kinds of interventions together.
    """

    def __init__(self, n: int, *, rewards: bool, block: int, rows_kept: int) -> None:
        self.n, self.block, self.rows_kept = n, block, rows_kept
        self.width = 3 * n + int(rewards)
        self._tail = np.zeros((0, self.width))
        self._full: Summary | None = None

    def add(self, transitions: Transitions) -> None:
        """Take in the next transitions of the stream."""
        parts = [transitions.state, transitions.next_state, transitions.do_target]
        if self.width > 3 * self.n and transitions.reward is not None:
            parts.append(transitions.reward[:, None])
        tail = np.concatenate([self._tail, np.hstack(parts)])
        while len(tail) >= self.block:
            if self._full is None:
                self._full = self._new(self._units(tail[: self.block]))
            self._full.count(tail[: self.block])
            tail = tail[self.block :]
        self._tail = tail.copy()

    def summary(self) -> Summary:
        """Statistics of all rows so far; the caller must not change them."""
        if self._full is None:
            whole = self._new(self._units(self._tail))
        elif len(self._tail):
            whole = self._copy(self._full)
        else:
            return self._full
        whole.count(self._tail)
        return whole

    def state_dict(self) -> dict[str, Any]:
        """Copies of all that is kept."""
        state: dict[str, Any] = {"tail": self._tail.copy(), "center": None}
        if self._full is not None:
            state["center"] = self._full.features.center.copy()
            state["scale"] = self._full.features.scale.copy()
            state["gram"] = self._full.store.state_dict()
            state["reservoir"] = self._full.reservoir.state_dict()
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` of a stream with the same arguments gave."""
        self._tail = np.array(state["tail"], dtype=np.float64)
        self._full = None
        if state["center"] is not None:
            self._full = self._new(FeatureMap(state["center"], state["scale"]))
            self._full.store.load_state_dict(state["gram"])
            self._full.reservoir.load_state_dict(state["reservoir"])

    def _units(self, rows: Matrix) -> FeatureMap:
        return FeatureMap.of(rows[:, self.n : 2 * self.n])

    def _new(self, features: FeatureMap) -> Summary:
        places = max(LEAST_PLACES, self.rows_kept // (self.n + 2))
        return Summary(
            n=self.n,
            features=features,
            store=GramStore(self.n, 1 + 2 * BASIS_SIZE * self.n),
            reservoir=Reservoir(self.width, self.n + 2, places),
        )

    def _copy(self, summary: Summary) -> Summary:
        twin = self._new(summary.features)
        twin.store.load_state_dict(summary.store.state_dict())
        twin.reservoir.load_state_dict(summary.reservoir.state_dict())
        return twin
