"""Evidence on some variables: posterior draws of noise against closed forms."""

from __future__ import annotations

import numpy as np
import pytest

from causal_rl.effects import abduct, counterfactual
from causal_rl.scm import (
    SCM,
    Categorical,
    Function,
    Gaussian,
    Linear,
    NoNoise,
    Tanh,
    Uniform,
    Variable,
    random_scm,
    topology,
)


@pytest.fixture(scope="module")
def linear():
    rng = np.random.default_rng(4)
    return random_scm(topology("er", 6, rng, density=1.5), "linear", rng, noise_share=0.5)


def conditioned(scm, known, row, do):
    """Mean and covariance of x under do, the noise conditioned on what is known of x."""
    weights = np.array(scm.graph.contemporaneous_weights)
    bias = np.array([getattr(v.function, "bias", getattr(v.function, "value", 0.0))
                     for v in scm.variables])  # fmt: skip
    prior = np.diag([v.noise.std**2 for v in scm.variables])
    total = np.linalg.inv(np.eye(scm.d) - weights.T)
    seen = total[known]
    gain = prior @ seen.T @ np.linalg.inv(seen @ prior @ seen.T)
    mean = gain @ (row[known] - seen @ bias)
    cov = prior - gain @ seen @ prior
    cut, source, keep = weights.copy(), bias + mean, np.eye(scm.d)
    for name, value in do.items():
        j = scm.names.index(name)
        cut[:, j], source[j], keep[j, j] = 0.0, value, 0.0
    after = np.linalg.inv(np.eye(scm.d) - cut.T)
    return after @ source, after @ keep @ cov @ keep @ after.T


@pytest.mark.parametrize("method", ["auto", "importance", "mcmc"])
def test_agrees_with_gaussian_conditioning(linear, method):
    row, do = linear.sample(1, 5)[0], {"X2": 1.0}
    for known in ([0, 2, 5], [3], [1, 4]):
        evidence = {linear.names[j]: row[j] for j in known}
        draws = 1000
        answer = counterfactual(linear, evidence, do, n_samples=draws, method=method, seed=3)
        mean, cov = conditioned(linear, known, row, do)
        std = np.sqrt(np.maximum(np.diag(cov), 0.0))
        worth = answer.effective_sample_size[0]
        assert worth > (draws - 1 if method == "auto" else 40)
        error = np.abs(answer.mean()[0] - mean)
        assert (error <= 5 * std / np.sqrt(worth) + 1e-7).all()
        assert (np.abs(answer.std()[0] - std) <= 6 * std / np.sqrt(worth) + 1e-7).all()


def test_known_values_are_kept_in_every_draw(linear):
    rows = linear.sample(6, 0)
    evidence = {name: rows[:, j] for j, name in enumerate(linear.names) if name != "X3"}
    posterior = abduct(linear, evidence, n_samples=16)
    kept = np.delete(posterior.values, 2, axis=2)
    assert np.array_equal(kept, np.repeat(np.delete(rows, 2, axis=1)[:, None], 16, axis=1))
    # Every draw of the noise brings the row about.
    for draw in range(16):
        made = linear.from_noise(posterior.noise[:, draw])
        assert np.allclose(made, posterior.values[:, draw], atol=1e-9)


def test_a_question_that_the_unknown_does_not_touch_is_exact(linear):
    rows = linear.sample(5, 2)
    order = [linear.names[j] for j in linear.order]
    last = order[-1]
    evidence = {n: rows[:, linear.names.index(n)] for n in order if n != last}
    first = next(n for n in order if n != last)
    answer = counterfactual(linear, evidence, {first: 0.7}, n_samples=8)
    whole = counterfactual(linear, rows, {first: 0.7})
    for name in order[:-1]:
        assert answer.kinds[name] == "exact"
        assert np.allclose(answer[name], whole[name], atol=1e-12)
    assert answer.kinds[last] == "sampled"


def test_rows_may_know_different_variables(linear):
    rows = linear.sample(4, 1)
    observed = np.ones(rows.shape, dtype=bool)
    observed[1, 2] = observed[3, [0, 4]] = False
    holes = np.where(observed, rows, np.nan)
    answer = counterfactual(linear, holes, {"X1": 0.0}, observed=observed, n_samples=300)
    exact = counterfactual(linear, rows, {"X1": 0.0})
    assert np.allclose(answer.mean()[[0, 2]], exact.mean()[[0, 2]])
    assert np.isfinite(answer.counterfactual).all()
    alone = counterfactual(linear, rows[3:], {"X1": 0.0}, observed=observed[3], n_samples=300)
    assert np.allclose(alone.mean()[0], answer.mean()[3], atol=0.35)


def test_no_evidence_is_the_interventional_distribution():
    rng = np.random.default_rng(0)
    for mechanism in ("linear", "mlp"):
        scm = random_scm(topology("er", 5, rng, density=1.5), mechanism, rng)
        answer = counterfactual(scm, {}, {"X2": 1.0}, n_samples=6000, seed=1)
        assert answer.kind == "interventional"
        drawn, truth = answer.counterfactual[0], scm.sample(6000, 2, do={"X2": 1.0})
        assert np.abs(drawn.mean(axis=0) - truth.mean(axis=0)).max() < 0.08
        assert np.abs(drawn.std(axis=0) - truth.std(axis=0)).max() < 0.06


def test_averaged_over_evidence_it_is_the_interventional_distribution():
    rng = np.random.default_rng(1)
    scm = random_scm(topology("er", 5, rng, density=1.5), "mlp", rng, noise_share=0.4)
    rows = scm.sample(700, 3)
    for known in (range(5), (0, 3)):
        evidence = {scm.names[j]: rows[:, j] for j in known}
        answer = counterfactual(scm, evidence, {"X2": 1.0}, n_samples=10)
        truth = scm.sample(20_000, 2, do={"X2": 1.0})
        assert np.abs(answer.mean().mean(axis=0) - truth.mean(axis=0)).max() < 0.12


BENT = SCM(
    [
        Variable("x", noise=Uniform(-2.0, 2.0)),
        Variable("y", Tanh([3.0]), Gaussian(0.2), ("x",)),
        Variable("z", Function(lambda x, y: x * y), Gaussian(0.5), ("x", "y")),
    ]
)


@pytest.mark.parametrize("method", ["importance", "mcmc", "auto"])
def test_bent_models_agree_with_quadrature(method):
    y, z = 0.4, 0.9
    answer = counterfactual(
        BENT, {"y": y, "z": z}, {"y": -1.0}, n_samples=1500, method=method, seed=2
    )
    x = np.linspace(-2, 2, 20_001)
    weight = np.exp(-0.5 * ((y - np.tanh(3 * x)) / 0.2) ** 2 - 0.5 * ((z - x * y) / 0.5) ** 2)
    mean = float((weight * x).sum() / weight.sum())
    noise = z - x * y
    after = float((weight * (-x + noise)).sum() / weight.sum())
    assert answer["x"][0] == pytest.approx(mean, abs=0.04)
    assert answer["z"][0] == pytest.approx(after, abs=0.08)
    assert 0 < answer.effective_sample_size[0] <= 1500


def test_sharp_evidence_goes_to_chains():
    scm = SCM(
        [
            Variable("x"),
            Variable("y", Function(lambda x: 10.0 * np.tanh(x)), Gaussian(0.02), ("x",)),
        ]
    )
    y = np.array([3.0, -5.0])
    weighted = abduct(scm, {"y": y}, n_samples=200, method="importance")
    assert weighted.effective_sample_size.max() < 20
    chained = abduct(scm, {"y": y}, n_samples=200)
    assert chained.effective_sample_size.min() > 40
    assert np.allclose(chained.values[:, :, 0].mean(axis=1), np.arctanh(y / 10), atol=2e-3)


def test_categories_may_be_unknown_and_known():
    logits = [Linear([0.0]), Linear([1.5])]
    scm = SCM(
        [Variable("x"), Variable("t", Categorical(logits), parents=("x",)),
         Variable("y", Linear([1.0]), Gaussian(0.5), ("t",))]
    )  # fmt: skip
    answer = counterfactual(scm, {"x": 0.3, "y": 0.8}, {"x": 0.3}, n_samples=20_000, targets=["t"])
    odds = np.exp(1.5 * 0.3 - 0.5 * (0.2**2 - 0.8**2) / 0.25)
    assert answer["t"][0] == pytest.approx(odds / (1 + odds), abs=0.015)
    cause = abduct(scm, {"t": 1.0}, n_samples=20_000)
    x = np.linspace(-6, 6, 4001)
    weight = np.exp(-0.5 * x**2) / (1 + np.exp(-1.5 * x))
    mean = float((cause.weights[0] * cause.values[0, :, 0]).sum())
    assert mean == pytest.approx((weight * x).sum() / weight.sum(), abs=0.03)


def test_contradictions_are_refused_in_one_line():
    scm = SCM([Variable("x"), Variable("y", Linear([2.0]), NoNoise(), ("x",)),
               Variable("z", Linear([1.0]), NoNoise(), ("x",))])  # fmt: skip
    found = counterfactual(scm, {"y": 3.0}, {"z": 0.0}, targets=["x"], n_samples=5)
    assert np.allclose(found.counterfactual, 1.5)
    with pytest.raises(ValueError, match="row 0 the known values contradict each other"):
        counterfactual(scm, {"y": 3.0, "z": 0.0}, {"x": 0.0})
    far = SCM([Variable("x", noise=Uniform(0.0, 1.0)),
               Variable("y", Function(np.sin), Uniform(0.0, 0.1), ("x",))])  # fmt: skip
    with pytest.raises(ValueError, match="row 1 none of 640 draws gives the values of 'y'"):
        counterfactual(far, {"y": [0.5, -3.0]}, {"x": 0.0}, n_samples=10)


def test_bad_evidence(linear):
    with pytest.raises(ValueError, match="evidence: no variable is named 'Y'"):
        abduct(linear, {"Y": 1.0})
    with pytest.raises(ValueError, match="as many rows of each variable"):
        abduct(linear, {"X1": [1.0, 2.0], "X2": [1.0, 2.0, 3.0]})
    with pytest.raises(ValueError, match="evidence of 'X1' must be finite"):
        abduct(linear, {"X1": np.nan})
    with pytest.raises(TypeError, match="evidence of 'X1' must be numbers"):
        abduct(linear, {"X1": "much"})
    with pytest.raises(ValueError, match="observed must be booleans"):
        abduct(linear, np.zeros((2, 6)), observed=np.zeros(5, dtype=bool))
    with pytest.raises(ValueError, match="evidence of 'X2' must be finite, row 1"):
        abduct(linear, [[0.0] * 6, [0.0, np.nan, *[0.0] * 4]], observed=np.ones((2, 6), dtype=bool))
    with pytest.raises(ValueError, match="observed goes with an array"):
        abduct(linear, {"X1": 1.0}, observed=np.ones(6, dtype=bool))
    with pytest.raises(ValueError, match="n_samples is 0"):
        abduct(linear, {"X1": 1.0}, n_samples=0)
    with pytest.raises(ValueError, match="method"):
        abduct(linear, {"X1": 1.0}, method="guess")
    with pytest.raises(ValueError, match="needs a model of linear mechanisms"):
        abduct(BENT, {"y": 1.0}, method="gaussian")
