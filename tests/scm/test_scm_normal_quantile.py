"""The fast inverse normal CDF against SciPy's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import ndtr, ndtri

from causal_rl.scm import Gaussian
from causal_rl.scm.keyed_noise import bits_to_uniforms
from causal_rl.scm.normal_quantile import normal_from_bits, normal_quantile

TAIL = 1.0 / 64.0
UNIFORMS = np.random.default_rng(0).random(200_000)
BORDERS = np.arange(1, 4096) / 4096


def around(points: np.ndarray) -> np.ndarray:
    """Points with the floats next to them."""
    return np.concatenate([np.nextafter(points, 0.0), points, np.nextafter(points, 1.0)])


@pytest.mark.parametrize("u", [UNIFORMS, around(BORDERS), around(BORDERS + 1 / 8192)])
def test_it_is_within_the_stated_error(u: np.ndarray) -> None:
    assert np.abs(normal_quantile(u) - ndtri(u)).max() < 2e-8


def test_the_tails_are_exact() -> None:
    low = np.concatenate([2.0 ** -np.arange(7.0, 54.0), TAIL * UNIFORMS[:5000] ** 2])
    low = np.ceil(low * 2.0**53) * 2.0**-53  # what random words can give
    u = np.concatenate([low, 1.0 - low])
    u = u[(u < TAIL) | (u > 1.0 - TAIL)]
    np.testing.assert_array_equal(normal_quantile(u), ndtri(u))
    assert normal_quantile(np.array(2.0**-53)) == pytest.approx(-8.2095, abs=1e-4)


def test_the_middle_is_zero_and_the_sides_mirror_each_other() -> None:
    assert normal_quantile(np.array([0.5])).tolist() == [0.0]
    u = UNIFORMS[:20_000]
    np.testing.assert_allclose(normal_quantile(1.0 - u), -normal_quantile(u), atol=4e-8)


def test_it_rises_everywhere() -> None:
    assert (np.diff(normal_quantile(np.linspace(1e-6, 1 - 1e-6, 1_000_001))) > 0).all()
    tail = np.geomspace(1e-12, TAIL, 10_001)
    assert (np.diff(normal_quantile(tail)) > 0).all()
    # Across the border of two segments too, from wherever in the one to wherever in the other.
    step = 1e-7
    assert (normal_quantile(BORDERS + step) > normal_quantile(BORDERS - step)).all()


@pytest.mark.parametrize("shape", [(), (0,), (1,), (7,), (3, 0), (2, 3, 4)])
def test_the_shape_stays_and_so_do_the_arguments(shape: tuple[int, ...]) -> None:
    u = np.random.default_rng(1).random(shape) * 0.98 + 0.01
    kept = u.copy()
    result = normal_quantile(u)
    assert result.shape == shape
    assert result.dtype == np.float64
    np.testing.assert_array_equal(u, kept)
    np.testing.assert_allclose(result, ndtri(u), atol=2e-8)


def test_strided_arguments() -> None:
    u = UNIFORMS[:600].reshape(20, 30)
    for view in (u.T, u[::2], u[:, ::-3]):
        np.testing.assert_array_equal(normal_quantile(view), normal_quantile(view.copy()))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 300))
def test_a_number_does_not_feel_its_neighbours(seed: int, size: int) -> None:
    u = np.random.default_rng(seed).beta(0.2, 0.2, size).clip(1e-12, 1 - 1e-12)
    together = normal_quantile(u)
    alone = np.array([normal_quantile(u[k : k + 1])[0] for k in range(size)])
    np.testing.assert_array_equal(together, alone)
    np.testing.assert_array_equal(normal_quantile(u[::-1])[::-1], together)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=50))
def test_words_give_the_quantiles_of_their_uniforms(words: list[int]) -> None:
    bits = np.array(words, dtype=np.uint64)
    quantiles = normal_from_bits(bits.copy())
    uniforms = bits_to_uniforms(bits.copy())
    assert ((uniforms > 0.0) & (uniforms < 1.0)).all()
    np.testing.assert_array_equal(quantiles, normal_quantile(uniforms))


def test_gaussian_noise_is_this_function_and_normal() -> None:
    u = UNIFORMS[:10_000]
    np.testing.assert_array_equal(Gaussian(2.5).ppf(u), normal_quantile(u) * 2.5)
    words = np.random.default_rng(2).integers(0, 2**64, 100_000, dtype=np.uint64)
    drawn = normal_from_bits(words)
    empirical = (np.arange(len(drawn)) + 0.5) / len(drawn)
    # Kolmogorov's distance; 1.95 / sqrt(n) is passed once in a thousand times.
    assert np.abs(ndtr(np.sort(drawn)) - empirical).max() < 1.95 / np.sqrt(len(drawn))
