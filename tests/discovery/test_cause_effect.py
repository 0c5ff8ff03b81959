"""The direction of a pair, on pairs whose direction is known."""

from __future__ import annotations

import numpy as np
import pytest

from causal_rl.discovery import direction_score
from causal_rl.discovery.cause_effect import DIRECTION_METHODS


def _pair(seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=300)
    return x, np.tanh(2 * x) + 0.3 * rng.normal(size=300)


@pytest.mark.parametrize("method", DIRECTION_METHODS)
def test_exchanging_the_columns_turns_the_sign_and_units_do_not_matter(method: str) -> None:
    x, y = _pair(0)
    score = direction_score(x, y, method)
    assert direction_score(y, x, method) == pytest.approx(-score, rel=1e-6)
    assert direction_score(1e3 * x + 7, 1e-3 * y - 2, method) == pytest.approx(score, rel=1e-3)


@pytest.mark.parametrize("method", ["evidence", "evidence-ranks"])
def test_additive_noise_tells_the_cause(method: str) -> None:
    assert all(direction_score(*_pair(seed), method) > 0 for seed in range(5))


def test_noiseless_bends_tell_the_cause() -> None:
    x = np.random.default_rng(1).uniform(size=300)
    assert direction_score(x, x**3, "igci") > 0
    assert direction_score(x, x**3, "reci") > 0


@pytest.mark.parametrize(
    ("x", "y", "method", "word"),
    [
        (np.arange(9.0), np.arange(8.0), "igci", "as many rows"),
        (np.arange(3.0), np.arange(3.0), "igci", "at least 8"),
        (np.ones(9), np.arange(9.0), "igci", "x does not vary"),
        (np.arange(9.0), np.full(9, np.nan), "igci", "y has values"),
        (np.arange(9.0), np.arange(9.0), "anm", "method"),
    ],
)
def test_bad_input_is_named(x: np.ndarray, y: np.ndarray, method: str, word: str) -> None:
    with pytest.raises(ValueError, match=word):
        direction_score(x, y, method)
