from __future__ import annotations

import itertools

import gadjid
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from causal_rl.graphs import (
    auprc,
    auprc_lagged,
    f1,
    precision_recall,
    shd,
    shd_lagged,
    sid,
    sid_lagged,
    skeleton_f1,
)

EMPTY = np.zeros((3, 3), dtype=bool)
CHAIN = np.eye(3, k=1, dtype=bool)  # 0 -> 1 -> 2
FORK = np.array([[0, 1, 1], [0, 0, 0], [0, 0, 0]])  # 1 <- 0 -> 2
COLLIDER = np.array([[0, 0, 1], [0, 0, 1], [0, 0, 0]])  # 0 -> 2 <- 1

seeds = st.integers(0, 2**32 - 1).map(np.random.default_rng)


def random_matrix(rng, n):
    return rng.random((n, n)) < rng.random()


def random_dag(rng, n):
    order = rng.permutation(n)
    return np.triu(random_matrix(rng, n), 1)[np.ix_(order, order)]


def off_diagonal(matrix):
    return matrix & ~np.eye(len(matrix), dtype=bool)


@settings(deadline=None)
@given(seeds, st.integers(1, 7))
def test_shd_counts_pairs_and_shd_lagged_counts_entries(rng, n):
    a, b = (off_diagonal(random_matrix(rng, n)) for _ in range(2))
    assert shd_lagged(a, b) == sum(a[i, j] != b[i, j] for i in range(n) for j in range(n))
    pairs = itertools.combinations(range(n), 2)
    assert shd(a, b) == sum((a[i, j], a[j, i]) != (b[i, j], b[j, i]) for i, j in pairs)


def test_shd_of_small_cases():
    reversed_first = np.array([[0, 0, 0], [1, 0, 1], [0, 0, 0]])
    assert shd(CHAIN, reversed_first) == 1
    assert shd(CHAIN, CHAIN.T) == 2
    assert shd_lagged(CHAIN, CHAIN.T) == 4
    assert shd_lagged(np.eye(3), EMPTY) == 3
    assert shd(CHAIN, EMPTY) == 2
    assert shd(CHAIN, FORK) == 2
    # Each edge is there, and its reverse besides.
    assert shd(CHAIN, CHAIN | CHAIN.T) == 2


@settings(deadline=None)
@given(seeds, st.integers(2, 7))
def test_sid_agrees_with_gadjid(rng, n):
    a, b = random_dag(rng, n), random_dag(rng, n)
    _, expected = gadjid.sid(a.astype(np.int8), b.astype(np.int8), "from row to column")
    assert sid(a, b) == expected
    a, b = random_matrix(rng, n), random_matrix(rng, n)
    slices = [np.block([[0 * m, m], [0 * m, 0 * m]]).astype(np.int8) for m in (a, b)]
    _, expected = gadjid.sid(*slices, "from row to column")
    assert sid_lagged(a, b) == expected


@pytest.mark.parametrize(
    ("truth", "guess", "distance"),
    [
        (CHAIN, CHAIN, 0),
        # A graph that holds the truth adjusts for enough.
        (CHAIN, np.triu(np.ones((3, 3)), 1), 0),
        # Without edges every effect is the bare association, wrong against the arrows ...
        (CHAIN, EMPTY, 3),
        (COLLIDER, EMPTY, 2),
        # ... and between the children of a common cause.
        (FORK, EMPTY, 4),
        ([[0, 1], [0, 0]], [[0, 0], [1, 0]], 2),
        (EMPTY, CHAIN, 0),
        ([[0]], [[0]], 0),
    ],
)
def test_sid_of_small_cases(truth, guess, distance):
    assert sid(truth, guess) == distance


@pytest.mark.parametrize(
    ("truth", "guess", "distance"),
    [([[1]], [[1]], 0), ([[1]], [[0]], 1), ([[0]], [[1]], 0), (FORK, EMPTY, 4)],
)
def test_sid_lagged_of_small_cases(truth, guess, distance):
    assert sid_lagged(truth, guess) == distance


def test_sid_exists_for_dags_only():
    assert sid(CHAIN, CHAIN | CHAIN.T) is None
    with pytest.raises(ValueError, match="truth must be acyclic"):
        sid(CHAIN | CHAIN.T, CHAIN)
    # Time orients the lagged block: any matrix will do.
    assert isinstance(sid_lagged(CHAIN | CHAIN.T, np.ones((3, 3))), int)


@settings(deadline=None)
@given(seeds, st.integers(1, 6))
def test_precision_recall_and_f1_follow_their_definitions(rng, n):
    a, b = random_matrix(rng, n), random_matrix(rng, n)
    true, learned = ({tuple(e) for e in np.argwhere(m)} for m in (a, b))
    both_empty = float(not true and not learned)
    precision, recall = precision_recall(a, b)
    assert precision == (len(true & learned) / len(learned) if learned else both_empty)
    assert recall == (len(true & learned) / len(true) if true else both_empty)
    total = precision + recall
    assert f1(a, b) == pytest.approx(2 * precision * recall / total if total else 0.0)
    a, b = off_diagonal(a), off_diagonal(b)
    assert skeleton_f1(a, b) == f1(a | a.T, b | b.T) == skeleton_f1(a, b.T)


@settings(deadline=None)
@given(seeds, st.integers(2, 6), st.sampled_from([2, 3, 10**6]))
def test_auprc_is_the_average_precision_with_ties_taken_together(rng, n, levels):
    scores = rng.integers(0, levels, (n, n)) / levels - 0.3
    lagged = random_matrix(rng, n)
    inside = ~np.eye(n, dtype=bool)
    for truth, places, score in (
        (off_diagonal(lagged), inside, auprc),
        (lagged, np.ones((n, n), dtype=bool), auprc_lagged),
    ):
        if not truth.any():
            assert score(truth, scores) is None
            continue
        area, recall = 0.0, 0.0
        for threshold in sorted(set(scores[places]), reverse=True):
            chosen = places & (scores >= threshold)
            hits = (truth & chosen).sum()
            area += hits / chosen.sum() * (hits / truth.sum() - recall)
            recall = hits / truth.sum()
        assert score(truth, scores) == pytest.approx(area)
        assert score(truth, truth.astype(float)) == 1.0
        # Scores that say nothing have the precision of guessing.
        assert score(truth, np.zeros((n, n))) == pytest.approx(truth.sum() / places.sum())
