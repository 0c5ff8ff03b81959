from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from causal_rl.scm import episode_key, keyed_uniform, uniform_at

KEYS = st.integers(0, 2**64 - 1)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(KEYS, KEYS, KEYS), min_size=1, max_size=9), st.integers(1, 6))
def test_a_batch_is_its_rows_and_more_variables_keep_the_first(keys, n):
    seed, episode, step = (np.array(column, dtype=np.uint64) for column in zip(*keys, strict=True))
    batch = keyed_uniform(seed, episode, step, n)
    assert batch.shape == (len(keys), n)
    assert ((batch > 0) & (batch < 1)).all()
    for b in range(len(keys)):
        alone = keyed_uniform(seed[b : b + 1], episode[b : b + 1], step[b : b + 1], n + 3)
        np.testing.assert_array_equal(alone[0, :n], batch[b])


def test_each_part_of_the_key_matters_and_order_matters():
    base = keyed_uniform(1, 2, 3, 4)
    for other in [(2, 2, 3), (1, 3, 3), (1, 2, 4), (2, 1, 3), (1, 3, 2), (3, 2, 1)]:
        assert not (keyed_uniform(*other, 4) == base).any()


def test_steps_may_be_fetched_ahead():
    ahead = keyed_uniform(7, 1, np.arange(10), 5)
    one_by_one = np.concatenate([keyed_uniform(7, 1, t, 5) for t in range(10)])
    np.testing.assert_array_equal(ahead, one_by_one)
    np.testing.assert_array_equal(ahead, uniform_at(episode_key(7, 1), np.arange(10), 5))


@pytest.mark.parametrize(
    "draws",
    [
        keyed_uniform(np.arange(20_000), 0, 0, 1).ravel(),
        keyed_uniform(0, np.arange(20_000), 0, 1).ravel(),
        keyed_uniform(0, 0, np.arange(20_000), 1).ravel(),
        keyed_uniform(0, 0, 0, 20_000).ravel(),
        keyed_uniform(0, 0, np.arange(20_000) << 32, 1).ravel(),
    ],
    ids=["seeds", "episodes", "steps", "variables", "high bits"],
)
def test_uniform_and_without_serial_correlation(draws):
    assert stats.kstest(draws, "uniform").pvalue > 1e-3
    assert len(np.unique(draws)) == len(draws)
    bound = 4 / np.sqrt(len(draws))
    for lag in (1, 2, 3):
        assert abs(np.corrcoef(draws[:-lag], draws[lag:])[0, 1]) < bound
    # Pairs fill the square: chi-square on a 10 x 10 grid.
    counts, _, _ = np.histogram2d(draws[:-1:2], draws[1::2], bins=10, range=[[0, 1], [0, 1]])
    assert stats.chisquare(counts.ravel()).pvalue > 1e-3


def test_variables_are_independent_of_each_other():
    draws = keyed_uniform(3, 0, np.arange(20_000), 8)
    correlation = np.corrcoef(draws.T) - np.eye(8)
    assert abs(correlation).max() < 4.5 / np.sqrt(20_000)


def test_known_values_do_not_change_between_releases():
    # Computed once; a change would alter every published trajectory.
    def mix(z):
        mask = 2**64 - 1
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
        return z ^ (z >> 31)

    golden, mask = 0x9E3779B97F4A7C15, 2**64 - 1
    key = mix((42 + golden) & mask)
    key = mix(((key ^ 5) + golden) & mask)
    key = mix(((key ^ 9) + golden) & mask)
    expected = [((mix((key + golden * (j + 1)) & mask) >> 12) + 0.5) * 2.0**-52 for j in range(3)]
    assert keyed_uniform(42, 5, 9, 3).tolist() == [expected]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((-1, 0, 0, 1), ValueError, "seed must be >= 0, got -1"),
        ((0, -2, 0, 1), ValueError, "episode must be >= 0"),
        ((0, 0, [3, -2], 1), ValueError, "step must be >= 0, got -2"),
        ((0.5, 0, 0, 1), TypeError, "seed must hold integers"),
        ((0, 0, [[1]], 1), ValueError, r"step must be a scalar or have shape \(batch,\)"),
        ((0, 0, 0, 0), ValueError, "n must be >= 1"),
        ((0, 0, 0, 1.5), TypeError, "n must be an integer"),
        (([1, 2], [1, 2, 3], 0, 1), ValueError, "broadcast"),
    ],
)
def test_bad_keys_are_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        keyed_uniform(*arguments)
