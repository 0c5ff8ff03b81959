"""Gaussian-process networks on small models whose graphs are known."""

from __future__ import annotations

import numpy as np
import pytest

from causal_rl.discovery import EdgePrior, Transitions, make_learner

CHAIN = np.array([[0, 1, 0], [0, 0, 1], [0, 0, 0]], bool)


def _bent_chain(seed: int, rows: int = 300) -> np.ndarray:
    rng = np.random.default_rng(seed)
    a = rng.normal(size=rows)
    b = np.tanh(2 * a) + 0.3 * rng.normal(size=rows)
    c = np.sin(2 * b) + 0.3 * rng.normal(size=rows)
    return np.column_stack([a, b, c])


def _learner(**options: object):  # type: ignore[no-untyped-def]
    return make_learner("gp-network", inducing=40, starts=2, **options)


@pytest.mark.parametrize("seed", range(3))
def test_bends_tell_directions_and_labels_and_units_do_not_matter(seed: int) -> None:
    table = _bent_chain(seed)
    graph = _learner().fit(table)
    assert (graph.contemporaneous == CHAIN).all()
    labels = np.random.default_rng(seed).permutation(3)
    moved = _learner().fit(table[:, labels] * [1e3, 1e-3, -7.0] + 5.0)
    assert (moved.contemporaneous == CHAIN[np.ix_(labels, labels)]).all()
    assert (graph.contemporaneous_confidence[CHAIN] > 0.9).all()
    assert (graph.contemporaneous_confidence[~CHAIN] <= 0.5).all()


def test_of_a_straight_line_it_does_not_know_the_direction_until_something_is_set() -> None:
    rng = np.random.default_rng(4)
    cause = rng.normal(size=400)
    table = np.column_stack([cause, 0.8 * cause + 0.6 * rng.normal(size=400)])
    seen = _learner().fit(table)
    assert seen.contemporaneous.sum() == 1
    assert seen.contemporaneous_confidence.max() < 0.75
    forced = rng.normal(size=100)
    more = np.column_stack([rng.normal(size=100), forced])
    target = np.zeros((500, 2), bool)
    target[400:, 1] = True
    known = _learner().fit(np.vstack([table, more]), do_target=target)
    assert known.contemporaneous.tolist() == [[False, True], [False, False]]
    assert known.contemporaneous_confidence[0, 1] > 0.99
    assert known.contemporaneous_weights[0, 1] == pytest.approx(0.8, abs=0.1)


def test_the_past_of_transitions_is_found_too() -> None:
    rng = np.random.default_rng(5)
    state = rng.normal(size=(400, 2))
    first = np.tanh(2 * state[:, 1]) + 0.3 * rng.normal(size=400)
    second = first**2 + 0.3 * rng.normal(size=400)
    data = Transitions(state=state, next_state=np.column_stack([first, second]))
    graph = _learner().fit(data)
    assert graph.contemporaneous.tolist() == [[False, True], [False, False]]
    assert graph.lagged.tolist() == [[False, False], [True, False]]


def test_a_prior_is_obeyed() -> None:
    learner = _learner()
    learner.prior = EdgePrior(forbidden=[("X1", "X2")], required=[("X3", "X2")])
    graph = learner.fit(_bent_chain(0))
    assert not graph.contemporaneous[0, 1]
    assert graph.contemporaneous[2, 1]


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"inducing": 7}, "inducing"),
        ({"starts": 0}, "starts"),
        ({"rows_kept": 3}, "rows_kept"),
        ({"seed": -1}, "seed"),
    ],
)
def test_bad_options_are_named(options: dict[str, int], word: str) -> None:
    with pytest.raises(ValueError, match=word):
        make_learner("gp-network", **options)
