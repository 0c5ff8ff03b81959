from __future__ import annotations

import numpy as np
import pytest

from causal_rl.agents import TransitionStore
from causal_rl.discovery import Transitions


def rows(start, count):
    values = np.arange(start, start + count, dtype=float)[:, None]
    return Transitions(state=values, next_state=values + 0.5, reward=values[:, 0])


def test_keeps_the_latest_and_at_least_the_capacity():
    store = TransitionStore(10)
    for start in range(0, 100, 4):
        store.add(rows(start, 4))
    kept = store.all().state[:, 0]
    assert len(store) == len(kept) == 12
    np.testing.assert_array_equal(kept, np.arange(88, 100))


def test_fresh_rows_come_once():
    store = TransitionStore(100)
    store.add(rows(0, 3))
    store.add(rows(3, 2))
    np.testing.assert_array_equal(store.take_fresh().state[:, 0], np.arange(5))
    assert store.take_fresh() is None
    store.add(rows(5, 1))
    assert len(store.take_fresh()) == 1


def test_state_round_trip_continues_as_if_unbroken():
    first, second = TransitionStore(6), TransitionStore(6)
    first.add(rows(0, 4))
    first.take_fresh()
    first.add(rows(4, 4))
    second.load_state_dict(first.state_dict())
    for store in (first, second):
        store.add(rows(8, 3))
    np.testing.assert_array_equal(first.all().state, second.all().state)
    np.testing.assert_array_equal(first.take_fresh().state, second.take_fresh().state)


def test_bad_use():
    with pytest.raises(ValueError, match="capacity must be at least 1, got 0"):
        TransitionStore(0)
    with pytest.raises(ValueError, match="empty"):
        TransitionStore(1).all()
