"""Overlap and balance: known propensities, and covariates that leave nothing to compare."""

from __future__ import annotations

import numpy as np
import pytest

from causal_rl.effects.overlap import NoOverlapError, measure_overlap

NAMES = ("a", "b")


def draw(n: int, slope: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 2))
    chance = 1.0 / (1.0 + np.exp(-slope * X[:, 0]))
    return X, (rng.random(n) < chance).astype(int), chance


def test_propensities_and_balance() -> None:
    X, t, chance = draw(4000, 1.0)
    found = measure_overlap(X, t, NAMES, ("no", "yes"))
    assert found.propensity.sum(axis=1) == pytest.approx(1.0)
    assert np.abs(found.propensity[:, 1] - chance).mean() < 0.02
    pooled = np.sqrt((X[t == 1].var(axis=0, ddof=1) + X[t == 0].var(axis=0, ddof=1)) / 2)
    expected = (X[t == 1].mean(axis=0) - X[t == 0].mean(axis=0)) / pooled
    assert found.before[0] == pytest.approx(expected)
    assert found.before[0, 0] > 0.7
    assert np.abs(found.after).max() < 0.1
    assert (found.effective < np.bincount(t)).all()
    assert found.warnings() == ()


def test_a_trial_is_balanced_and_loses_no_rows() -> None:
    X, t, _ = draw(2000, 0.0)
    found = measure_overlap(X, t, NAMES)
    assert np.abs(found.before).max() < 0.1
    assert found.effective == pytest.approx(np.bincount(t), rel=0.01)
    assert found.extreme.tolist() == [0.0, 0.0]


def test_no_covariates() -> None:
    found = measure_overlap(np.empty((10, 0)), np.array([0] * 6 + [1] * 4), ())
    assert found.propensity[:, 1] == pytest.approx(0.4, abs=1e-3)
    assert found.before.shape == (1, 0)


def test_poor_overlap_is_told() -> None:
    X, t, _ = draw(1000, 4.0)
    told = " ".join(measure_overlap(X, t, NAMES, ("no", "yes")).warnings())
    assert "Poor overlap" in told
    assert "arm yes" in told


def test_three_arms() -> None:
    rng = np.random.default_rng(1)
    X = rng.normal(size=(3000, 2))
    t = np.argmax(np.outer(X[:, 0], [0, 1, 2]) + rng.gumbel(size=(3000, 3)), axis=1)
    found = measure_overlap(X, t, NAMES, ("a", "b", "c"))
    assert found.before.shape == (2, 2)
    assert np.abs(found.after).max() < np.abs(found.before).max() / 2


@pytest.mark.parametrize(
    ("column", "name"),
    [
        (lambda t, rng: t + 0.3 * rng.random(len(t)), "own"),
        (lambda t, rng: np.where(t == 1, 5.0, rng.choice([1.0, 9.0], len(t))), "own"),
        (lambda t, rng: 3.0 - t, "own"),
    ],
)
def test_a_covariate_that_determines_the_treatment(column, name: str) -> None:
    rng = np.random.default_rng(2)
    X, t, _ = draw(200, 0.0)
    X = np.column_stack([X, column(t, rng)])
    with pytest.raises(NoOverlapError, match=f"no overlap: {name} determines the treatment"):
        measure_overlap(X, t, (*NAMES, "own"))


def test_covariates_that_together_determine_the_treatment() -> None:
    X, _, _ = draw(400, 0.0)
    with pytest.raises(NoOverlapError, match="a, b together"):
        measure_overlap(X, (X[:, 0] + X[:, 1] > 0).astype(int), NAMES)


def test_a_column_that_numbers_the_rows_determines_nothing() -> None:
    _, t, _ = draw(200, 0.0)
    measure_overlap(np.arange(200.0)[:, np.newaxis], t, ("row",))
