"""The variational posterior of noise against closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from causal_rl.effects import abduct, fit_scm, predict
from causal_rl.effects.variational_abduction import VariationalAbduction
from causal_rl.scm import (
    SCM,
    Categorical,
    Function,
    Gaussian,
    Laplace,
    Linear,
    Structural,
    Uniform,
    Variable,
)
from causal_rl.scm.torch_mechanisms import register_torch

CHAIN = SCM(
    [
        Variable("a"),
        Variable("b", Linear([1.0], 0.5), Gaussian(0.8), ("a",)),
        Variable("c", Linear([1.0, -1.5]), Gaussian(0.5), ("a", "b")),
        Variable("d", Linear([0.7]), Gaussian(0.5), ("c",)),
    ]
)
KNOWN = ["b", "d"]


@pytest.fixture(scope="module")
def fitted():
    return VariationalAbduction(CHAIN, KNOWN, steps=250, hidden=8).fit()


def closed_form(rows):
    """Posterior of the standard normals of a and c given b and d, and log p(b, d)."""
    weights = np.array(CHAIN.graph.contemporaneous_weights)
    bias, scale = np.array([0.0, 0.5, 0.0, 0.0]), np.array([1.0, 0.8, 0.5, 0.5])
    total = np.linalg.inv(np.eye(4) - weights.T)
    reach, offset = total[[1, 3]] * scale, total[[1, 3]] @ bias
    gain = reach.T @ np.linalg.inv(reach @ reach.T)
    mean = (rows[:, [1, 3]] - offset) @ gain.T
    cov = np.eye(4) - gain @ reach
    density = multivariate_normal(offset, reach @ reach.T).logpdf(rows[:, [1, 3]])
    return mean[:, [0, 2]], cov[np.ix_([0, 2], [0, 2])], density


def test_linear_gaussian_posterior_is_the_closed_form(fitted):
    rows = CHAIN.sample(30, 1)
    mean, cov, density = closed_form(rows)
    told, spread = fitted.posterior(rows)
    assert fitted.unknown == ("a", "c")
    assert np.abs(told - mean).max() < 0.12
    assert np.abs(spread - cov).max() < 0.06
    # The bound is below the log density, and near it where the family holds the truth.
    bound = fitted.elbo(rows, n_samples=500)
    assert np.abs(bound - density).max() < 0.25
    assert -0.06 < (bound - density).mean() < 0.02


def test_the_objective_falls_when_the_posterior_is_moved_away(fitted):
    rows = CHAIN.sample(200, 2)
    start = VariationalAbduction(CHAIN, KNOWN, steps=1, learning_rate=1e-9, hidden=8).fit()
    assert fitted.elbo(rows).mean() > start.elbo(rows).mean() + 0.5


def test_draws_are_weighed_so_answers_agree_with_abduct(fitted):
    rows = CHAIN.sample(4, 3)
    evidence = {"b": rows[:, 1], "d": rows[:, 3]}
    found = fitted.abduct(evidence, n_samples=2000)
    assert found.effective_sample_size.min() > 1800
    answer = predict(found, {"b": 0.0}, targets=["d"])
    assert answer.kind == "sampled"
    exact = predict(abduct(CHAIN, evidence, n_samples=4000), {"b": 0.0}, targets=["d"])
    assert np.allclose(answer.mean(), exact.mean(), atol=0.08)
    assert np.allclose(answer.std(), exact.std(), atol=0.05)


def _bend(x, u):
    return x * np.exp(0.3 * u)


@register_torch(_bend)
def _bend_torch(x, u):
    return x * (0.3 * u).exp()


def test_a_poor_fit_costs_draws_but_not_the_answer():
    # Noise enters twice before anything is seen: no inverse gives it back.
    scm = SCM(
        [
            Variable("x", noise=Uniform(0.5, 2.0)),
            Variable("m", Structural(_bend), parents=("x",)),
            Variable("y", Linear([1.0]), Laplace(0.2), ("m",)),
        ]
    )
    learned = VariationalAbduction(scm, ["y"], steps=60, hidden=8).fit()
    evidence = {"y": [0.8, 2.5]}
    found = learned.abduct(evidence, n_samples=3000)
    assert (found.effective_sample_size > 200).all()
    answer = predict(found, {"x": 1.0}, targets=["y", "m"])
    exact = predict(abduct(scm, evidence, n_samples=6000), {"x": 1.0}, targets=["y", "m"])
    assert np.allclose(answer.mean(), exact.mean(), atol=0.06)


def test_fitted_noise_and_known_categories_are_differentiable():
    truth = SCM(
        [
            Variable("x"),
            Variable("t", Categorical([Linear([0.0]), Linear([2.0])]), parents=("x",)),
            Variable("y", Linear([1.0, 1.0]), Gaussian(0.5), ("x", "t")),
        ]
    )
    rows = truth.sample(500, 0)
    model = fit_scm(rows[:, [0, 2]], truth.graph.subgraph(["x", "y"]), mechanism="linear")
    learned = VariationalAbduction(model, ["y"], steps=60, hidden=8).fit(rows[:50, [0, 2]])
    assert np.isfinite(learned.elbo({"y": [0.0, 50.0]})).all()
    coin = VariationalAbduction(truth, ["t", "y"], steps=150, hidden=8).fit()
    assert coin.abduct(rows[:3], n_samples=500).effective_sample_size.min() > 250


def test_bad_input(fitted):
    with pytest.raises(ValueError, match="known: no variable is named 'e'"):
        VariationalAbduction(CHAIN, ["e"])
    with pytest.raises(ValueError, match="known must be some of the 4 variables, got 4"):
        VariationalAbduction(CHAIN, CHAIN.names)
    with pytest.raises(ValueError, match="steps is 0"):
        VariationalAbduction(CHAIN, KNOWN, steps=0)
    with pytest.raises(RuntimeError, match="not fitted"):
        VariationalAbduction(CHAIN, KNOWN).posterior({"b": 0.0, "d": 0.0})
    with pytest.raises(ValueError, match="evidence must tell b, d"):
        fitted.abduct({"b": 0.0})
    with pytest.raises(TypeError, match="scm must be"):
        VariationalAbduction("chain", KNOWN)
    coin = SCM([Variable("t", Categorical.from_probabilities([0.5, 0.5])),
                Variable("y", Linear([1.0]), parents=("t",))])  # fmt: skip
    with pytest.raises(ValueError, match="'t' is unknown: its value is no smooth function"):
        VariationalAbduction(coin, ["y"])
    flat = SCM([Variable("x"), Variable("y", Function(np.abs), Uniform(0, 1), ("x",))])
    with pytest.raises(ValueError, match="'y' is known: its density is no smooth function"):
        VariationalAbduction(flat, ["y"])
