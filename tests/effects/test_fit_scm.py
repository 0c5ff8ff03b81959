"""Fitting a structural model to a table, given its graph."""

from __future__ import annotations

import numpy as np
import pytest

from causal_rl.discovery import Transitions
from causal_rl.effects import EmpiricalNoise, counterfactual, fit_scm
from causal_rl.effects.noise_law import cumulative, log_density, moved_noise
from causal_rl.graphs import CausalGraph
from causal_rl.scm import (
    SCM,
    Categorical,
    Gaussian,
    Laplace,
    Linear,
    Noise,
    NoNoise,
    Tanh,
    Uniform,
    Variable,
)

TRUTH = SCM(
    [
        Variable("y", Linear([1.0, 2.0]), Laplace(0.3), ("x", "t")),
        Variable("x", Tanh([2.0]), Gaussian(0.4), ("z",)),
        Variable("z", noise=Uniform(-2.0, 2.0)),
        Variable("t", Categorical([Linear([0.0]), Linear([1.5])]), parents=("z",)),
    ]
)


@pytest.fixture(scope="module")
def rows():
    return TRUTH.sample(1500, 0)


def test_linear_fit_is_least_squares(rows):
    model = fit_scm(rows, TRUTH.graph, mechanism="linear", categorical=[])
    design = np.column_stack([np.ones(len(rows)), rows[:, [1, 3]]])
    wanted = np.linalg.lstsq(design, rows[:, 0], rcond=None)[0]
    law = model.variables[0].function
    assert np.allclose([law.bias, *law.weights], wanted)
    assert model.names == TRUTH.names
    assert model.graph == TRUTH.graph.with_(
        contemporaneous_weights=model.graph.contemporaneous_weights,
        lagged_weights=model.graph.lagged_weights,
    )


def test_smooth_fit_recovers_mechanisms_noise_and_coin(rows):
    model = fit_scm(rows, TRUTH.graph)
    z = np.linspace(-1.8, 1.8, 50)
    assert np.abs(model.variables[1].function.evaluate([z], 50) - np.tanh(2 * z)).mean() < 0.06
    coin = model.variables[3].function
    assert isinstance(coin, Categorical)
    chance = coin.probabilities([z], 50)[1]
    assert np.abs(chance - 1 / (1 + np.exp(-1.5 * z))).max() < 0.1
    for variable, truth in ((model.variables[0], 0.3 * 2**0.5), (model.variables[1], 0.4)):
        assert variable.noise.std == pytest.approx(truth, rel=0.08)
    made = model.sample(6000, 1)
    assert np.abs(np.corrcoef(made.T) - np.corrcoef(rows.T)).max() < 0.08


def test_counterfactuals_of_the_fit_are_near_the_truth(rows):
    model = fit_scm(rows, TRUTH.graph)
    asked = TRUTH.sample(500, 7)
    answer = counterfactual(model, asked, {"x": 0.5, "t": 1.0})
    assert answer.kind == "exact"
    truth = TRUTH.counterfactual(asked, {"x": 0.5, "t": 1.0})
    assert np.abs(answer["y"] - truth[:, 0]).mean() < 0.08


def test_rows_in_which_a_variable_was_set_do_not_train_it(rows):
    values, targets = rows.copy(), np.zeros(rows.shape, dtype=bool)
    values[750:, 1], targets[750:, 1] = 5.0, True
    fitted = fit_scm(values, TRUTH.graph, do_target=targets)
    alone = fit_scm(rows[:750], TRUTH.graph)
    z = np.linspace(-1.5, 1.5, 20)
    told, wanted = (m.variables[1].function.evaluate([z], 20) for m in (fitted, alone))
    assert np.allclose(told, wanted)
    # Of transitions the same.
    table = Transitions.from_table(values, do_target=targets, names=TRUTH.names)
    again = fit_scm(table, TRUTH.graph)
    assert np.allclose(again.variables[1].function.evaluate([z], 20), told)


def test_units_do_not_matter(rows):
    scale, shift = np.array([1000.0, 0.01, 5.0, 1.0]), np.array([-4.0, 3.0, 0.0, 0.0])
    moved = fit_scm(rows * scale + shift, TRUTH.graph)
    plain = fit_scm(rows, TRUTH.graph)
    asked = TRUTH.sample(20, 3)
    one = counterfactual(plain, asked, {"z": 0.0}, targets=["x"])["x"]
    other = counterfactual(moved, asked * scale + shift, {"z": 0.0}, targets=["x"])["x"]
    assert np.allclose((other - shift[1]) / scale[1], one, atol=1e-6)


def test_frames_are_read_by_name(rows):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(rows, columns=TRUTH.names)[["t", "z", "y", "x"]]
    model = fit_scm(frame, TRUTH.graph, mechanism="linear")
    assert model.names == ("t", "z", "y", "x")
    assert set(model.graph.parents("y")) == {"x", "t"}


def test_three_categories_and_parents_of_them():
    rng = np.random.default_rng(0)
    k = rng.integers(0, 3, 2000).astype(float)
    y = np.array([0.0, 2.0, -1.0])[k.astype(int)] + 0.1 * rng.normal(size=2000)
    c = (y + 0.3 * rng.normal(size=2000) > 0).astype(float) + (y > 1.5)
    graph = CausalGraph.from_dict(
        CausalGraph(
            contemporaneous=[[0, 1, 1], [0, 0, 1], [0, 0, 0]], names=["k", "y", "c"]
        ).to_dict()
    )
    model = fit_scm(np.column_stack([k, y, c]), graph)
    told = model.variables[1].function.evaluate([np.arange(3.0)], 3)
    assert np.allclose(told, [0.0, 2.0, -1.0], atol=0.03)
    assert model.variables[0].categories == model.variables[2].categories == 3
    sampled = model.sample(2000, 1)
    assert np.abs(np.bincount(sampled[:, 2].astype(int)) - np.bincount(c.astype(int))).max() < 200


def test_a_variable_without_noise_has_none():
    x = np.random.default_rng(0).normal(size=(50, 1))
    graph = CausalGraph(contemporaneous=[[0, 1], [0, 0]])
    model = fit_scm(np.hstack([x, 2 * x + 1]), graph, mechanism="linear")
    assert isinstance(model.variables[1].noise, NoNoise)


@pytest.mark.slow
def test_boosted_trees_are_mechanisms_too(rows):
    pytest.importorskip("sklearn")
    model = fit_scm(rows[:60], TRUTH.graph, mechanism="boosted", categorical=[])
    told = counterfactual(model, rows[:5], {"z": 0.0}, targets=["x"])["x"]
    assert np.isfinite(told).all()


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        ({"graph": "x -> y"}, TypeError, "graph must be a CausalGraph"),
        ({"mechanism": "cubic"}, ValueError, "mechanism"),
        ({"seed": -1}, ValueError, "seed is -1"),
        ({"data": np.zeros((4, 3))}, ValueError, "data has 3 columns; the graph 4 variables"),
        ({"data": np.full((9, 4), np.nan)}, ValueError, "NaN in row 0"),
        ({"do_target": np.ones((1500, 4), dtype=bool)}, ValueError, "'y' was not set"),
        ({"categorical": ["w"]}, ValueError, "no variable is named 'w'"),
        ({"categorical": ["x"]}, ValueError, "categorical 'x' must have values 0, 1"),
        ({"categorical": "t"}, TypeError, "categorical must be a sequence"),
        ({"graph": CausalGraph.full(TRUTH.names)}, ValueError, "graph has lagged edges|cycle"),
    ],
)
def test_bad_input(rows, change, error, match):
    given = {"data": rows, "graph": TRUTH.graph} | change
    with pytest.raises(error, match=match):
        fit_scm(given.pop("data"), given.pop("graph"), **given)


def test_other_names_are_refused(rows):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(rows, columns=["a", "x", "z", "t"])
    with pytest.raises(ValueError, match="missing: a; unknown: y"):
        fit_scm(frame, TRUTH.graph)


class Triangular(Noise):
    """Known by its inverse CDF alone: density 1 - |x| on [-1, 1]."""

    def ppf(self, u):
        return np.where(u < 0.5, np.sqrt(2 * u) - 1, 1 - np.sqrt(2 * (1 - u)))


@pytest.mark.parametrize(
    "noise",
    [
        Gaussian(0.7),
        Laplace(0.4),
        Uniform(-1.0, 0.5),
        Triangular(),
        Triangular().scaled(2.0),
        EmpiricalNoise(np.random.default_rng(0).gumbel(size=300)),
    ],
)
def test_laws_of_noise_belong_together(noise):
    u = np.linspace(0.01, 0.99, 25)
    x = noise.ppf(u)
    assert np.allclose(cumulative(noise, x), u, atol=2e-3)
    low, high = (float(noise.ppf(np.array([v]))[0]) for v in (1e-6, 1 - 1e-6))
    grid = np.linspace(low, high, 20_001)
    mass = np.trapezoid(np.exp(log_density(noise, grid)), grid)
    assert mass == pytest.approx(1.0, abs=0.01)
    assert moved_noise(x, noise, noise) is x
    assert np.allclose(moved_noise(x, noise, noise.scaled(3.0)), 3 * x, atol=1e-9)
    assert np.allclose(moved_noise(x, noise, Uniform(0.0, 1.0)), u, atol=2e-3)


def test_empirical_noise_has_the_moments_of_its_residuals():
    residuals = np.random.default_rng(1).exponential(size=500) * 3
    noise = EmpiricalNoise(residuals, std=2.0)
    drawn = noise.sample(np.random.default_rng(0), 50_000)
    assert drawn.std() == pytest.approx(2.0, rel=0.02)
    assert abs(drawn.mean()) < 0.03
    skew = ((drawn - drawn.mean()) ** 3).mean() / 8
    assert skew > 1.0
    far = noise.log_density(np.array([-1e3, 1e3]))
    assert np.isfinite(far).all()
    assert (far < -100).all()
    with pytest.raises(ValueError, match="two or more finite"):
        EmpiricalNoise([1.0])
    with pytest.raises(ValueError, match="must vary"):
        EmpiricalNoise([1.0, 1.0])
