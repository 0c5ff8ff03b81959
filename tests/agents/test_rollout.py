from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from causal_rl.agents import ReturnNormaliser, generalised_advantages


def definition(reward, value, next_value, terminated, done, gamma, lam):
    """The sum of discounted TD errors, up to the end of each episode, written out."""
    steps, envs = reward.shape
    result = np.zeros((steps, envs))
    for env in range(envs):
        for start in range(steps):
            weight = 1.0
            for t in range(start, steps):
                bootstrap = 0.0 if terminated[t, env] else next_value[t, env]
                result[start, env] += weight * (reward[t, env] + gamma * bootstrap - value[t, env])
                if done[t, env]:
                    break
                weight *= gamma * lam
    return result


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**31), gamma=st.floats(0, 1), lam=st.floats(0, 1))
def test_advantages_equal_their_definition(seed, gamma, lam):
    rng = np.random.default_rng(seed)
    shape = (6, 3)
    reward, value, next_value = (rng.normal(size=shape) for _ in range(3))
    terminated = rng.random(shape) < 0.2
    done = terminated | (rng.random(shape) < 0.2)
    result = generalised_advantages(
        *(torch.as_tensor(a) for a in (reward, value, next_value, terminated, done)),
        gamma=gamma,
        gae_lambda=lam,
    )
    expected = definition(reward, value, next_value, terminated, done, gamma, lam)
    np.testing.assert_allclose(result.numpy(), expected, atol=1e-9)


def test_normaliser_scales_the_return_to_unit_deviation():
    rng = np.random.default_rng(0)
    normaliser = ReturnNormaliser(64, gamma=0.9)
    none = np.zeros(64, dtype=bool)
    for _ in range(2000):
        last = normaliser(rng.normal(3.0, 7.0, size=64), none)
    # The stationary return of i.i.d. rewards has deviation 7 / sqrt(1 - .81).
    assert np.sqrt(normaliser.variance) == pytest.approx(7 / np.sqrt(1 - 0.81), rel=0.1)
    assert last.std() == pytest.approx(7 / np.sqrt(normaliser.variance), rel=0.3)


def test_normaliser_state_continues_as_if_unbroken():
    rng = np.random.default_rng(1)
    rewards = rng.normal(size=(20, 4))
    done = rng.random((20, 4)) < 0.2
    whole = ReturnNormaliser(4, gamma=0.9)
    expected = [whole(r, d) for r, d in zip(rewards, done, strict=True)]
    first, second = ReturnNormaliser(4, gamma=0.9), ReturnNormaliser(4, gamma=0.9)
    for r, d in zip(rewards[:10], done[:10], strict=True):
        first(r, d)
    second.load_state_dict(first.state_dict())
    got = [second(r, d) for r, d in zip(rewards[10:], done[10:], strict=True)]
    np.testing.assert_array_equal(got, expected[10:])


def test_disabled_normaliser_changes_nothing():
    reward = np.array([1.0, -2.0])
    normaliser = ReturnNormaliser(2, gamma=0.9, enabled=False)
    np.testing.assert_array_equal(normaliser(reward, np.zeros(2, dtype=bool)), reward)
