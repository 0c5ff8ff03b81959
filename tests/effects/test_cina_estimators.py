"""CInA's estimators as a user calls them."""

from __future__ import annotations

import numpy as np
import pytest

from causal_rl.effects import make_estimator
from causal_rl.effects.cina_families import DataFamily, DataSets
from causal_rl.effects.cina_zero_shot import ZeroShotBalancer, ZeroShotTraining, train_zero_shot
from causal_rl.graphs import CausalGraph


def drawn(rows: int = 150, count: int = 1) -> DataSets:
    return DataFamily(covariates=4).draw(count, rows, np.random.default_rng(2))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> str:
    network = ZeroShotBalancer(layers=3, width=8, channels=2, hidden=16)
    train_zero_shot(network, ZeroShotTraining(rows=(32, 48), steps=20))
    path = tmp_path_factory.mktemp("cina") / "network.pt"
    network.save(path)
    return str(path)


def test_exact_weights_come_nearer_than_the_difference_of_means() -> None:
    data = drawn(count=6)
    errors, plain = [], []
    for X, t, y, ate in zip(data.X, data.t, data.y, data.ate, strict=True):
        errors.append(abs(make_estimator("cina").fit(X, t, y).ate() - ate))
        plain.append(abs(y[t == 1].mean() - y[t == 0].mean() - ate))
    assert np.mean(errors) < 0.3 * np.mean(plain)


def test_effect_is_one_number_and_the_weights_explain_it(checkpoint) -> None:
    data = drawn()
    X, t, y = data.X[0], data.t[0], data.y[0]
    for model in (make_estimator("cina"), make_estimator("cina-zs", checkpoint=checkpoint)):
        model.fit(X, t, y)
        weights = model.weights_  # type: ignore[attr-defined]
        assert model.ate() == pytest.approx((weights * (2 * t - 1)) @ y)
        assert weights[t == 1].sum() == pytest.approx(1)
        assert weights[t == 0].sum() == pytest.approx(1)
        np.testing.assert_allclose(model.effect(X[:3]), np.full(3, model.ate()))
        assert model.ate(X[:3]) == model.ate()
        assert model.effect(X, t0=1, t1=0)[0] == pytest.approx(-model.ate())
        assert model.ate(t0=1, t1=1) == 0.0
        low, high = model.ate_interval(level=0.9)
        assert low < model.ate() < high
        wide = model.ate_interval(level=0.99)
        assert wide[1] - wide[0] > high - low
        sizes = model.effective_sample_size_  # type: ignore[attr-defined]
        assert 1 < sizes[0] <= (t == 0).sum()
        assert 1 < sizes[1] <= (t == 1).sum()


def test_zero_shot_balances_better_than_no_weights(checkpoint) -> None:
    X, t, y = (array[0] for array in (drawn().X, drawn().t, drawn().y))
    model = make_estimator("cina-zs", checkpoint=checkpoint).fit(X, t, y)
    plain = np.abs(X[t == 1].mean(0) - X[t == 0].mean(0)) / X.std(0)
    left = np.abs(model.balance().imbalance(X))  # type: ignore[attr-defined]
    assert left.max() < 0.7 * plain.max()


def test_intervals_hold_the_truth_about_as_often_as_they_say() -> None:
    data = drawn(rows=80, count=20)
    held = 0
    for X, t, y, ate in zip(data.X, data.t, data.y, data.ate, strict=True):
        low, high = make_estimator("cina").fit(X, t, y).ate_interval(level=0.9)
        held += low <= ate <= high
    assert held >= 15


def test_pairs_of_many_arms_are_balanced_alone() -> None:
    rng = np.random.default_rng(3)
    X = rng.standard_normal((240, 2))
    t = (rng.random((240, 3)).argmax(1) + (X[:, 0] > 0.7)).clip(0, 2)
    y = X[:, 0] + np.array([0.0, 1.0, 3.0])[t] + 0.1 * rng.standard_normal(240)
    model = make_estimator("cina").fit(X, t, y)
    assert model.ate(t0=0, t1=1) == pytest.approx(1, abs=0.15)
    assert model.ate(t0=1, t1=2) == pytest.approx(2, abs=0.15)
    rows = np.isin(t, (0, 2))
    alone = make_estimator("cina").fit(X[rows], t[rows] // 2, y[rows])
    assert model.ate(t0=0, t1=2) == pytest.approx(alone.ate())
    assert model.weights_[t == 2].max() == 0  # type: ignore[attr-defined]


def test_a_graph_that_asks_for_no_adjustment_gives_the_difference_of_means(checkpoint) -> None:
    data = drawn()
    X, t, y = data.X[0], data.t[0], data.y[0]
    names = ("X1", "X2", "X3", "X4", "t", "y")
    effect_alone = np.zeros((6, 6))
    effect_alone[4, 5] = 1
    graph = CausalGraph(effect_alone, names=names)
    for name, options in (("cina", {}), ("cina-zs", {"checkpoint": checkpoint})):
        model = make_estimator(name, graph=graph, **options).fit(X, t, y)
        assert model.ate() == pytest.approx(y[t == 1].mean() - y[t == 0].mean())


def test_bad_options_are_refused(tmp_path) -> None:
    with pytest.raises(ValueError, match="penalty is 0"):
        make_estimator("cina", penalty=0)
    with pytest.raises(ValueError, match="kernel is 'cosine'"):
        make_estimator("cina", kernel="cosine")
    with pytest.raises(ValueError, match="checkpoint is None"):
        make_estimator("cina-zs")
    with pytest.raises(TypeError, match="checkpoint must be a path"):
        make_estimator("cina-zs", checkpoint=3)
    data = drawn()
    model = make_estimator("cina-zs", checkpoint=str(tmp_path / "absent.pt"))
    with pytest.raises(ValueError, match="no file"):
        model.fit(data.X[0], data.t[0], data.y[0])
    fitted = make_estimator("cina").fit(data.X[0], data.t[0], data.y[0])
    with pytest.raises(ValueError, match="two different arms"):
        fitted.balance(t0=1, t1=1)  # type: ignore[attr-defined]


def test_too_many_rows_are_refused(monkeypatch) -> None:
    monkeypatch.setattr("causal_rl.effects.cina._MOST_ROWS", 100)
    data = drawn()
    with pytest.raises(ValueError, match="X has 150 rows"):
        make_estimator("cina").fit(data.X[0], data.t[0], data.y[0])
