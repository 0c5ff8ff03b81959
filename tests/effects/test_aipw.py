"""AIPW: right if either part is, closed forms, and intervals that cover."""

from __future__ import annotations

import numpy as np
import pytest

from causal_rl.effects import make_estimator
from causal_rl.effects.aipw import AIPW


def draw(n: int, seed: int, *, bend: float = 0.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Confounded rows whose effect is 1 + x0 and a curve: 1 on average."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 3))
    t = (rng.random(n) < 1.0 / (1.0 + np.exp(-X[:, 0] - 0.5 * X[:, 1]))).astype(int)
    effect = 1.0 + X[:, 0] + bend * (X[:, 0] ** 2 - 1.0)
    return X, t, 2.0 * X[:, 0] + X[:, 2] + t * effect + rng.normal(size=n)


def test_confounding_is_taken_out_and_effects_of_rows_are_found() -> None:
    X, t, y = draw(4000, 0)
    found = AIPW().fit(X, t, y)
    assert abs(y[t == 1].mean() - y[t == 0].mean() - 1.0) > 0.8
    assert found.ate() == pytest.approx(1.0, abs=0.15)
    assert np.corrcoef(found.effect(X), 1.0 + X[:, 0])[0, 1] > 0.98
    low, high = found.ate_interval()
    assert low < 1.0 < high
    assert found.ate() == pytest.approx(found.scores_[:, 1].mean() - found.scores_[:, 0].mean())
    assert found.ate() == pytest.approx(found.effect(X).mean(), abs=1e-12)


def test_the_propensity_mends_a_wrong_regression() -> None:
    # The arms' regressions lack the curve; weighting by the propensity makes up for it.
    biases = []
    for method in ("t-learner", "aipw"):
        found = make_estimator(method, regressor="ridge").fit(*draw(5000, 4, bend=1.0))
        biases.append(abs(found.ate() - 1.0))
    assert biases[0] > 0.2
    assert biases[1] < 0.1


def test_without_covariates_that_matter_it_is_the_difference_in_means() -> None:
    rng = np.random.default_rng(1)
    t = np.repeat([0, 1], 50)
    y = rng.normal(size=100) + t
    found = AIPW().fit(np.zeros((100, 1)), t, y)
    plain = y[t == 1].mean() - y[t == 0].mean()
    assert found.ate() == pytest.approx(plain, abs=1e-6)
    se = np.sqrt(y[t == 1].var(ddof=1) / 50 + y[t == 0].var(ddof=1) / 50)
    low, high = found.ate_interval(level=0.9)
    assert high - low == pytest.approx(2 * 1.6449 * se, rel=0.05)


def test_three_arms_a_small_one_and_other_rows() -> None:
    X, _, y = draw(300, 3)
    t = np.repeat([0, 1, 2], [150, 147, 3])
    found = AIPW().fit(X, t, y + 5.0 * t)
    assert found.ate(t0=1, t1=2) == pytest.approx(found.ate(t1=2) - found.ate(t1=1), abs=1e-9)
    low, high = found.ate_interval(X[:50], t1=1, draws=4)
    assert low < found.ate(X[:50]) < high


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"regressor": "spline"}, "regressor is 'spline'"),
        ({"folds": 1}, "folds is 1"),
        ({"clip": 0.0}, "clip is 0.0"),
        ({"clip": 0.6}, "clip is 0.6"),
    ],
)
def test_bad_options(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_estimator("aipw", **options)


@pytest.mark.slow
@pytest.mark.parametrize("bend", [0.0, 1.0])
def test_intervals_cover(bend: float) -> None:
    hits = []
    for seed in range(120):
        low, high = AIPW().fit(*draw(500, seed, bend=bend)).ate_interval(level=0.9)
        hits.append(low <= 1.0 <= high)
    # 120 draws: four standard errors about .9.
    assert 0.9 - 4 * np.sqrt(0.09 / 120) <= np.mean(hits) <= 0.99
