from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import mannwhitneyu, trim_mean

from causal_rl.benchmarks.aggregate import (
    performance_profile,
    probability_of_improvement,
    stratified_estimate,
)
from causal_rl.benchmarks.statistics import estimate, interquartile_mean

scores = st.lists(st.floats(-2, 2), min_size=3, max_size=8)


@settings(max_examples=30)
@given(st.lists(scores, min_size=1, max_size=4))
def test_iqm_is_that_of_rliable(tasks: list[list[float]]) -> None:
    """rliable trims a quarter of the runs of all tasks at each end, without regard to the task."""
    found = stratified_estimate(tasks)
    pooled = list(itertools.chain(*tasks))
    assert found.value == pytest.approx(trim_mean(pooled, 0.25), abs=1e-9)
    assert found.count == len(pooled)
    assert min(pooled) - 1e-9 <= found.low <= found.high <= max(pooled) + 1e-9


def test_stratified_intervals_ignore_what_differs_between_tasks() -> None:
    easy, hard = np.full(10, 0.9), np.full(10, 0.1)
    within = stratified_estimate([easy, hard], lambda x: x.mean(axis=-1))
    assert within.low == pytest.approx(within.high)  # resampled within tasks: nothing varies
    pooled = estimate(np.concatenate([easy, hard]))
    assert pooled.high - pooled.low > 0.2


def test_stratified_interval_covers_as_often_as_it_says() -> None:
    rng = np.random.default_rng(1)
    centres = np.array([0.0, 3.0])
    covered = 0
    for _ in range(200):
        tasks = [centre + rng.normal(size=20) for centre in centres]
        found = stratified_estimate(tasks, lambda x: x.mean(axis=-1))
        covered += found.low <= centres.mean() <= found.high
    assert 0.88 <= covered / 200 <= 0.99


@settings(max_examples=30)
@given(scores, scores)
def test_improvement_is_mann_whitney(first: list[float], second: list[float]) -> None:
    found = probability_of_improvement([first], [second])
    expected = mannwhitneyu(first, second).statistic / (len(first) * len(second))
    assert found.value == pytest.approx(expected)
    back = probability_of_improvement([second], [first])
    assert found.value + back.value == pytest.approx(1.0)


def test_improvement_is_the_mean_over_tasks() -> None:
    found = probability_of_improvement([[1.0, 2.0], [0.0, 0.0, 0.0]], [[0.0], [0.0, 0.0]])
    assert found.value == pytest.approx((1.0 + 0.5) / 2)
    assert found.low == found.high == found.value
    assert found.count == 2


def test_profile_counts_runs_above_each_level() -> None:
    tasks = [[0.0, 1.0], [0.5, 0.5, 0.5, 2.0]]
    shares = performance_profile(tasks, [-1.0, 0.5, 0.75, 2.0])
    np.testing.assert_allclose(shares, [1.0, (0.5 + 0.25) / 2, (0.5 + 0.25) / 2, 0.0])


def test_aggregates_refuse() -> None:
    with pytest.raises(ValueError, match="tasks must be"):
        stratified_estimate([])
    with pytest.raises(ValueError, match="tasks must be"):
        performance_profile([[1.0], []], [0.0])
    with pytest.raises(ValueError, match="second must be"):
        probability_of_improvement([[1.0]], [[float("nan")]])
    with pytest.raises(ValueError, match="same tasks, got 1 and 2"):
        probability_of_improvement([[1.0]], [[1.0], [2.0]])


def test_interquartile_mean_keeps_other_axes() -> None:
    values = np.arange(24.0).reshape(3, 8)
    np.testing.assert_allclose(interquartile_mean(values), values.mean(axis=1))
