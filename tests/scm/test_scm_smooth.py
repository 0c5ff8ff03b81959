"""Random features and polynomials: what they compute, and what their draws are like."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from causal_rl.scm import (
    DynamicSCM,
    Polynomial,
    RandomFeatures,
    Variable,
    perturbation_graph,
    random_scm,
)

SEEDS = st.integers(0, 2**32 - 1)


@settings(max_examples=25, deadline=None)
@given(SEEDS, st.integers(1, 4), st.integers(1, 70), st.integers(1, 30))
def test_random_features_are_a_sum_of_cosines(seed: int, k: int, features: int, batch: int) -> None:
    rng = np.random.default_rng(seed)
    mechanism = RandomFeatures.random(k, rng, features)
    x = rng.normal(size=(batch, k))
    angle = x @ mechanism.frequencies + mechanism.phases
    expected = np.cos(angle) @ mechanism.out_weights
    np.testing.assert_allclose(mechanism(x), expected, rtol=1e-9, atol=1e-12)
    assert mechanism.n_parents == k
    assert mechanism.frequencies.shape == (k, features)


@pytest.mark.parametrize(("k", "length_scale"), [(1, 1.5), (2, 1.0), (3, 0.7)])
def test_their_covariance_over_draws_is_the_squared_exponential_kernel(
    k: int, length_scale: float
) -> None:
    rng, draws = np.random.default_rng(k), 4000
    x = rng.normal(size=(6, k))
    functions = [RandomFeatures.random(k, rng, 32, length_scale) for _ in range(draws)]
    values = np.stack([f(x) for f in functions])
    distance = ((x[:, None] - x[None]) ** 2).sum(axis=2)
    kernel = np.exp(-distance / (2.0 * k * length_scale**2))
    assert np.abs(values.mean(axis=0)).max() < 4.5 / np.sqrt(draws)
    # An entry's variance is at most 2 / draws for normal values, a little more for 32 features.
    assert np.abs(values.T @ values / draws - kernel).max() < 4.5 * np.sqrt(2.2 / draws)


def test_a_shorter_length_scale_is_rougher() -> None:
    x = np.linspace(-3.0, 3.0, 200)[:, None]

    def crossings(scale: float) -> float:
        rng = np.random.default_rng(0)
        values = [RandomFeatures.random(1, rng, 64, scale)(x) for _ in range(50)]
        return float(np.mean([(np.diff(np.sign(v)) != 0).sum() for v in values]))

    # The expected number on an interval of length 6 is 6 / (pi scale) (Rice's formula).
    assert crossings(0.5) == pytest.approx(12.0 / np.pi, rel=0.2)
    assert crossings(2.0) == pytest.approx(3.0 / np.pi, rel=0.35)


@settings(max_examples=25, deadline=None)
@given(SEEDS, st.integers(1, 4), st.integers(1, 5), st.integers(1, 30))
def test_an_unbounded_polynomial_is_numpys(seed: int, k: int, degree: int, batch: int) -> None:
    rng = np.random.default_rng(seed)
    weights, coefficients = rng.normal(size=k), rng.normal(size=degree + 1)
    x = rng.normal(size=(batch, k))
    expected = np.polyval(coefficients[::-1], x @ weights)
    plain = Polynomial(weights, coefficients, bound=None)
    np.testing.assert_allclose(plain(x), expected, rtol=1e-9, atol=1e-9)
    bounded = Polynomial(weights, coefficients, bound=3.0)
    np.testing.assert_allclose(bounded(x), 3.0 * np.tanh(expected / 3.0), rtol=1e-9, atol=1e-9)


def test_the_bound_holds_far_off_and_changes_little_nearby() -> None:
    cubic = Polynomial([1.0], [0.0, 1.0, 0.0, 1.0])
    plain = Polynomial([1.0], [0.0, 1.0, 0.0, 1.0], bound=None)
    far = np.array([[-1e6], [1e6], [1e100]])
    assert cubic(far).tolist() == [-5.0, 5.0, 5.0]
    near = np.linspace(-0.3, 0.3, 50)[:, None]
    np.testing.assert_allclose(cubic(near), plain(near), atol=1e-3)
    x = np.linspace(-4.0, 4.0, 100)[:, None]
    assert (np.sign(cubic(x)) == np.sign(plain(x))).all()


def test_a_constant_polynomial() -> None:
    assert Polynomial([2.0], [0.25], bound=None)(np.ones((3, 1))).tolist() == [0.25] * 3


@pytest.mark.parametrize("family", [RandomFeatures, Polynomial])
def test_draws_follow_the_generator_and_are_read_only(
    family: type[RandomFeatures] | type[Polynomial],
) -> None:
    x = np.random.default_rng(9).normal(size=(20, 3))
    one, two, other = (family.random(3, np.random.default_rng(s)) for s in (1, 1, 2))
    np.testing.assert_array_equal(one(x), two(x))
    assert (one(x) != other(x)).any()
    for name, value in vars(one).items():
        if isinstance(value, np.ndarray):
            with pytest.raises(ValueError, match="read-only"):
                getattr(one, name)[0] = 1.0


@pytest.mark.parametrize("family", [RandomFeatures, Polynomial])
@settings(max_examples=20, deadline=None)
@given(seed=SEEDS)
def test_every_parent_of_a_draw_matters(
    family: type[RandomFeatures] | type[Polynomial], seed: int
) -> None:
    mechanism = family.random(3, np.random.default_rng(seed))
    scm = DynamicSCM(
        [
            *(Variable(p) for p in "abc"),
            Variable("y", mechanism, parents=("a", "b"), lagged_parents=("c",)),
        ]
    )
    assert perturbation_graph(scm, seed) == scm.graph


@pytest.mark.parametrize("mechanism", ["gp", "polynomial"])
def test_generated_models_have_unit_variance(mechanism: str) -> None:
    adjacency = np.triu(np.ones((5, 5)), k=1)
    for seed in range(3):
        x = random_scm(adjacency, mechanism, np.random.default_rng(seed)).sample(20_000, seed)
        np.testing.assert_allclose(x.std(axis=0), 1.0, atol=0.05)
