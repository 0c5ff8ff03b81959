"""R2-sortability in closed form."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from causal_rl.scm import SCM, Linear, Variable, r2_sortability, varsortability

CHAIN = np.eye(3, k=1)


def data(*parents: list[int], rows: int = 4000, weight: float = 1.0, seed: int = 0) -> np.ndarray:
    """A linear model with unit noises; one list of parents a variable."""
    return SCM(
        [
            Variable(
                f"x{j}",
                Linear([weight] * len(above)) if above else None,
                parents=[f"x{i}" for i in above],
            )
            for j, above in enumerate(parents)
        ]
    ).sample(rows, seed)


def test_a_collider_gives_its_effect_away() -> None:
    # R2 of the sink is 3/4, that of each cause 1/2 (its noise, seen beside the sink's).
    edges = np.zeros((4, 4))
    edges[:3, 3] = 1
    x = data([], [], [], [0, 1, 2])
    assert r2_sortability(x, edges) == 1.0
    assert r2_sortability(x, edges.T) == 0.0


def test_a_naive_chain() -> None:
    # x0 -> x1 -> x2 with weight 2: R2 is 4/5, 24/25 and 20/21, so that 2 of 3 paths rise.
    x = data([], [0], [1], weight=2.0)
    assert varsortability(x, CHAIN) == 1.0
    assert r2_sortability(x, CHAIN) == pytest.approx(2 / 3)


def test_two_variables_say_nothing() -> None:
    # Each explains the other's variance to the same share: their squared correlation.
    x = data([], [0], weight=3.0)
    assert varsortability(x, [[0, 1], [0, 0]]) == 1.0
    assert r2_sortability(x, [[0, 1], [0, 0]]) == 0.5


def test_a_symmetric_chain_says_nothing_on_the_average() -> None:
    # Unit variances, equal correlations: one edge rises to the middle, the other falls from it,
    # and which end is explained better is a toss.
    scores = []
    for seed in range(60):
        noise = np.random.default_rng(seed).normal(size=(3, 200))
        x = [noise[0]]
        for fresh in noise[1:]:
            x.append(0.6 * x[-1] + 0.8 * fresh)
        scores.append(r2_sortability(np.stack(x, axis=1), CHAIN))
    assert set(np.round(scores, 6)) == {0.333333, 0.666667}
    assert np.mean(scores) == pytest.approx(0.5, abs=0.07)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 6))
def test_scales_and_shifts_of_columns_change_nothing(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    edges = np.triu(rng.random((n, n)) < 0.6, k=1)
    edges[0, -1] = True
    x = data(*(np.flatnonzero(edges[:, j]).tolist() for j in range(n)), rows=60, seed=seed)
    score = r2_sortability(x, edges)
    assert 0.0 <= score <= 1.0
    assert r2_sortability(x * rng.uniform(0.1, 10.0, n) + rng.normal(size=n), edges) == score
    flipped = rng.choice([-1.0, 1.0], n)
    assert r2_sortability(x * flipped, edges) == score
    order = rng.permutation(n)
    assert r2_sortability(x[:, order], edges[np.ix_(order, order)]) == score


@pytest.mark.parametrize(
    ("x", "edges", "message"),
    [
        (np.ones((5, 3)), CHAIN, "data must not be constant, column 0 is"),
        (np.random.default_rng(0).normal(size=(3, 3)), CHAIN, "data must have more than 3 rows"),
        (np.full((9, 3), np.nan), CHAIN, "data must be finite, row 0 is not"),
        (np.zeros((9, 2)), CHAIN, r"data must have shape \(batch, 3\)"),
        (np.zeros((9, 3)), np.zeros((3, 3)), "adjacency must have at least one edge"),
        (np.zeros((9, 3)), CHAIN + CHAIN.T, "adjacency must be acyclic"),
    ],
)
def test_bad_arguments(x: np.ndarray, edges: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        r2_sortability(x, edges)
