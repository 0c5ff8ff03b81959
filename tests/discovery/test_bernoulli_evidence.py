"""Evidence for the parents of a column with two values."""

import numpy as np
import pytest
from scipy.special import expit, logsumexp

from causal_rl.discovery import make_learner
from causal_rl.discovery.bernoulli_evidence import BernoulliEvidence


def _evidence(inputs, target, seed=0):
    return BernoulliEvidence(inputs, target, np.ones(len(target), dtype=bool), seed=seed)


def test_the_integral_is_that_of_a_grid():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 1))
    target = rng.random(200) < expit(0.4 + 1.2 * x[:, 0])
    found, _ = _evidence(x, target)._laplace(x, 4.0)

    offset, slope = np.meshgrid(np.linspace(-3, 3, 401), np.linspace(-3, 5, 401))
    odds = offset[..., None] + slope[..., None] * x[:, 0]
    likelihood = -np.logaddexp(0.0, np.where(target, -odds, odds)).sum(axis=-1)
    # Normal priors with variances 100 and 4.
    prior = -0.5 * (offset**2 / 100.0 + slope**2 / 4.0) - np.log(2 * np.pi * 10.0 * 2.0)
    cell = np.log(6 / 400) + np.log(8 / 400)
    assert found == pytest.approx(logsumexp(likelihood + prior) + cell, abs=0.02)


def test_causes_earn_their_place_and_noise_does_not():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(600, 3))
    target = rng.random(600) < expit(2.0 * np.sin(2.0 * x[:, 0]) + x[:, 1])
    score = _evidence(x, target)
    assert score([0, 1]) > score([1]) + 10
    assert score([0, 1]) > score([0]) + 10
    assert score([0, 1, 2]) < score([0, 1])
    assert score([]) == 0.0


def test_neither_names_of_the_values_nor_the_order_of_parents_matter():
    rng = np.random.default_rng(2)
    x = rng.normal(size=(150, 2))
    target = rng.random(150) < expit(x[:, 0] - x[:, 1])
    score = _evidence(x, target)
    assert score([0, 1]) == score([1, 0])
    assert _evidence(x, ~target)([0, 1]) == pytest.approx(score([0, 1]), abs=1e-6)


def test_separable_rows_and_one_value_alone_give_finite_evidence():
    x = np.linspace(-2, 2, 80)[:, None]
    assert np.isfinite(_evidence(x, x[:, 0] > 0)([0]))
    assert _evidence(x, np.zeros(80, dtype=bool))([0]) == 0.0
    nothing = BernoulliEvidence(x, x[:, 0] > 0, np.zeros(80, dtype=bool))
    assert nothing([0]) == 0.0


def test_a_coin_s_causes_and_effects_are_told_apart():
    rng = np.random.default_rng(3)
    cause = rng.normal(size=500)
    coin = rng.random(500) < expit(2.5 * cause)
    effect = 1.5 * coin + 0.7 * rng.normal(size=500)
    table = np.column_stack([effect, coin, cause])
    edges = make_learner("gp-network", inducing=32, starts=2).fit(table).edges()
    assert [(a, b) for _, a, b in edges] == [("X2", "X1"), ("X3", "X2")]
