from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from causal_rl.scm import Gaussian, Laplace, Noise, NoNoise, ScaledNoise, Uniform


class Exponential(Noise):
    """A user's own noise: `ppf` alone."""

    def ppf(self, u):
        return -np.log1p(-u)


CASES = [
    (Gaussian(0.7), stats.norm(0, 0.7)),
    (Uniform(-1.0, 3.0), stats.uniform(-1, 4)),
    (Laplace(0.4), stats.laplace(0, 0.4)),
    (Exponential(), stats.expon()),
    (ScaledNoise(Exponential(), 2.0), stats.expon(scale=2.0)),
]


@pytest.mark.parametrize(("noise", "reference"), CASES)
def test_ppf_sample_and_std_agree_with_scipy(noise, reference):
    u = np.array([1e-12, 0.01, 0.3, 0.5, 0.77, 0.999])
    np.testing.assert_allclose(noise.ppf(u), reference.ppf(u), rtol=1e-9, atol=1e-12)
    assert noise.std == pytest.approx(reference.std(), rel=1e-3)
    draws = noise.sample(np.random.default_rng(0), (200, 10))
    assert draws.shape == (200, 10)
    assert stats.kstest(draws.ravel(), reference.cdf).pvalue > 1e-3


@pytest.mark.parametrize("noise", [case[0] for case in CASES])
def test_scaled_multiplies_every_quantile(noise):
    u = np.linspace(0.05, 0.95, 7)
    np.testing.assert_allclose(noise.scaled(2.5).ppf(u), 2.5 * noise.ppf(u), rtol=1e-12, atol=1e-15)
    assert noise.scaled(2.5).std == pytest.approx(2.5 * noise.std)


def test_no_noise_is_zero_and_leaves_the_generator_alone():
    rng = np.random.default_rng(0)
    assert not NoNoise().sample(rng, 5).any()
    assert not NoNoise().ppf(np.full(3, 0.2)).any()
    assert NoNoise().std == 0.0
    assert NoNoise().scaled(3.0) == NoNoise()
    assert rng.random() == np.random.default_rng(0).random()


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Gaussian(-1.0), ValueError, "Gaussian scale must be > 0, got -1.0"),
        (lambda: Gaussian(0.0), ValueError, "Gaussian scale must be > 0"),
        (lambda: Gaussian(float("nan")), ValueError, "Gaussian scale must be finite"),
        (lambda: Gaussian("wide"), TypeError, "Gaussian scale must be a number, got 'wide'"),
        (lambda: Laplace(-0.1), ValueError, "Laplace scale must be > 0"),
        (lambda: Uniform(1.0, 1.0), ValueError, "Uniform low must be below high"),
        (lambda: Uniform(float("-inf"), 1.0), ValueError, "Uniform low must be finite"),
        (lambda: Gaussian(1.0).scaled(0.0), ValueError, "factor must be > 0"),
        (lambda: Uniform().scaled(-1.0), ValueError, "factor must be > 0"),
        (lambda: NoNoise().scaled(-1.0), ValueError, "factor must be > 0"),
        (lambda: Exponential().scaled(-1.0), ValueError, "factor must be > 0"),
    ],
)
def test_bad_parameters_are_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()
