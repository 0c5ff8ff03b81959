"""Categorical variables: frequencies, abduction, counterfactuals, and who reads them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kstest

from causal_rl.scm import (
    SCM,
    Argmax,
    Categorical,
    Constant,
    DynamicSCM,
    Gaussian,
    Linear,
    NoNoise,
    OneHot,
    Tanh,
    Uniform,
    Variable,
    perturbation_graph,
    perturbation_one_step,
)

SEEDS = st.integers(0, 2**32 - 1)
LOGITS = (Linear([1.0, 0.3]), Linear([-0.5, 0.8], 0.4), Tanh([0.7, -1.0]), Constant(0.0))


class Flat(Linear):
    """A logit that does not read its two parents."""

    def __init__(self) -> None:
        super().__init__([0.0, 0.0])


CHOICE = Categorical((*LOGITS[:3], Flat()))


def softmax(scores: np.ndarray) -> np.ndarray:
    """Over axis 0, the plain formula."""
    return np.exp(scores) / np.exp(scores).sum(axis=0)


def scores(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.stack([x + 0.3 * y, -0.5 * x + 0.8 * y + 0.4, np.tanh(0.7 * x - y), 0.0 * x])


def columns(seed: int, batch: int) -> list[np.ndarray]:
    return list(np.random.default_rng(seed).normal(size=(2, batch)))


def model() -> SCM:
    """x -> c -> y, with z beside."""
    return SCM(
        [
            Variable("y", OneHot(Linear([1.0, -2.0, 0.5, 0.3]), [3, None]), parents=("c", "z")),
            Variable(
                "c",
                Categorical([Linear([1.0]), Linear([-1.0]), Linear([0.2], 0.5)]),
                parents=("x",),
            ),
            Variable("x"),
            Variable("z"),
        ]
    )


@settings(max_examples=40, deadline=None)
@given(SEEDS, st.integers(1, 60))
def test_probabilities_are_the_softmax(seed: int, batch: int) -> None:
    x, y = columns(seed, batch)
    probabilities = CHOICE.probabilities([x, y], batch)
    np.testing.assert_allclose(probabilities, softmax(scores(x, y)), rtol=1e-12)
    assert CHOICE.n_categories == 4
    assert CHOICE.n_parents == 2


def test_large_scores_do_not_overflow() -> None:
    steep = Categorical([Linear([1.0]), Linear([-1.0])])
    probabilities = steep.probabilities([np.array([2000.0, -2000.0])], 2)
    np.testing.assert_array_equal(probabilities, [[1.0, 0.0], [0.0, 1.0]])


@pytest.mark.parametrize(("x", "y"), [(0.0, 0.0), (1.5, -0.5), (-2.0, 1.0)])
def test_frequencies_are_the_softmax(x: float, y: float) -> None:
    n = 40_000
    scm = SCM([Variable("x"), Variable("y"), Variable("c", CHOICE, parents=("x", "y"))])
    drawn = scm.sample(n, 0, do={"x": x, "y": y})[:, 2]
    wanted = softmax(scores(np.array([x]), np.array([y])))[:, 0]
    counts = np.bincount(drawn.astype(int), minlength=4)
    assert counts.sum() == n
    error = np.abs(counts / n - wanted) / np.sqrt(wanted * (1.0 - wanted) / n)
    assert error.max() < 4.0


def test_frequencies_of_a_root() -> None:
    n, wanted = 40_000, np.array([0.1, 0.6, 0.3])
    root = Variable("c", Categorical.from_probabilities(10.0 * wanted))
    assert root.categories == 3
    assert root.noise == Uniform(0.0, 1.0)
    drawn = SCM([root]).sample(n, 1)[:, 0].astype(int)
    error = np.abs(np.bincount(drawn) / n - wanted) / np.sqrt(wanted * (1.0 - wanted) / n)
    assert error.max() < 4.0


@settings(max_examples=40, deadline=None)
@given(SEEDS, st.integers(1, 60))
def test_the_value_is_the_first_category_whose_cumulative_share_exceeds_the_noise(
    seed: int, batch: int
) -> None:
    x, y = columns(seed, batch)
    u = np.random.default_rng(seed + 1).random(batch)
    bounds = np.cumsum(CHOICE.probabilities([x, y], batch), axis=0)
    expected = [
        int(np.argmax(bounds[:-1, b] > u[b])) if (bounds[:-1, b] > u[b]).any() else 3
        for b in range(batch)
    ]
    assert CHOICE.respond([x, y], u, batch).tolist() == expected


@settings(max_examples=40, deadline=None)
@given(SEEDS, st.integers(1, 60), st.booleans())
def test_abducted_noise_gives_the_value_back(seed: int, batch: int, drawn: bool) -> None:
    given_columns = columns(seed, batch)
    rng = np.random.default_rng(seed + 1)
    values = rng.integers(0, 4, batch).astype(np.float64)
    u = CHOICE.abduct(values, given_columns, rng if drawn else None)
    assert ((u >= 0.0) & (u < 1.0)).all()
    np.testing.assert_array_equal(CHOICE.respond(given_columns, u, batch), values)


def interval(value: int, x: float, y: float) -> tuple[float, float]:
    bounds = np.concatenate([[0.0], np.cumsum(softmax(scores(np.array([x]), np.array([y])))[:, 0])])
    return float(bounds[value]), float(bounds[value + 1])


@pytest.mark.parametrize("value", range(4))
def test_posterior_noise_is_uniform_on_its_interval(value: int) -> None:
    n, x, y = 5000, 0.8, -0.3
    given_columns = [np.full(n, x), np.full(n, y)]
    low, high = interval(value, x, y)
    draws = CHOICE.abduct(np.full(n, float(value)), given_columns, np.random.default_rng(value))
    assert low <= draws.min() < draws.max() < high
    assert kstest((draws - low) / (high - low), "uniform").pvalue > 1e-3
    middle = CHOICE.abduct(np.full(n, float(value)), given_columns)
    np.testing.assert_allclose(middle, (low + high) / 2, rtol=1e-12)


@settings(max_examples=20, deadline=None)
@given(SEEDS)
def test_abduction_of_a_model_is_a_posterior_sample(seed: int) -> None:
    scm = model()
    data = scm.sample(30, seed)
    noise = scm.abduct(data)
    np.testing.assert_array_equal(scm.from_noise(noise)[:, 1], data[:, 1])
    dynamic = DynamicSCM(scm.variables)
    run = dynamic.simulate(4, seed, batch=6)
    for rng in (None, seed):
        found = dynamic.abduct(run.values, rng=rng)
        # Categories have many noises that explain them, the others only one.
        np.testing.assert_allclose(found[..., [0, 2, 3]], run.noise[..., [0, 2, 3]], atol=1e-12)
        again = dynamic.counterfactual(type(run)(run.values, found, *run.do, None))
        np.testing.assert_array_equal(again.values[..., 1], run.values[..., 1])
    two = [dynamic.abduct(run.values, rng=k)[..., 1] for k in (1, 2)]
    assert (two[0] != two[1]).any()


@pytest.mark.parametrize(
    ("value", "cause"),
    [
        (3.0, r"values must be categories 0\.\.2, got \[3\.0\]"),
        (-1.0, r"values must be categories 0\.\.2"),
        (0.5, r"values must be categories 0\.\.2"),
    ],
)
def test_an_impossible_value_is_named(value: float, cause: str) -> None:
    scm = model()
    data = scm.sample(1, 0)
    data[0, 1] = value
    with pytest.raises(ValueError, match=f"^variable 'c': {cause}") as caught:
        scm.abduct(data)
    assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match=f"^variable 'c': {cause}"):
        DynamicSCM(scm.variables).abduct(data[None])


def test_a_value_of_no_probability_is_named() -> None:
    steep = Categorical([Linear([1000.0]), Linear([-1000.0])])
    scm = SCM([Variable("x"), Variable("c", steep, parents=("x",))])
    with pytest.raises(
        ValueError, match="variable 'c': a value has probability zero given its parents"
    ):
        scm.abduct([[2.0, 1.0]])
    np.testing.assert_allclose(scm.abduct([[2.0, 0.0]]), [[2.0, 0.5]])


@settings(max_examples=40, deadline=None)
@given(SEEDS, st.integers(1, 40))
def test_one_hot_is_the_inner_mechanism_on_indicators(seed: int, batch: int) -> None:
    rng = np.random.default_rng(seed)
    a, b, x = rng.integers(0, 3, batch), rng.integers(0, 2, batch), rng.normal(size=batch)
    weights = rng.normal(size=6)
    mechanism = OneHot(Tanh(weights, 0.1, 2.0), [3, None, 2])
    table = np.column_stack([np.eye(3)[a], x, np.eye(2)[b]])
    got = mechanism.evaluate([a.astype(float), x, b.astype(float)], batch)
    np.testing.assert_allclose(got, 2.0 * np.tanh(table @ weights + 0.1), rtol=1e-12, atol=1e-14)
    assert mechanism.n_parents == 3
    np.testing.assert_array_equal(mechanism(np.column_stack([a, x, b])), got)


@settings(max_examples=40, deadline=None)
@given(SEEDS)
def test_argmax_is_the_category_of_the_greatest_score(seed: int) -> None:
    x, y = columns(seed, 20)
    mechanism = Argmax(CHOICE.logits)
    np.testing.assert_array_equal(mechanism.evaluate([x, y], 20), scores(x, y).argmax(axis=0))
    assert mechanism.n_categories == 4
    variable = Variable("c", mechanism, parents=("x", "y"))
    assert variable.noise == NoNoise()
    assert variable.categories == 4
    ties = Argmax([Constant(1.0), Constant(1.0)]).evaluate([], 3)
    assert ties.tolist() == [0.0, 0.0, 0.0]


def test_a_counterfactual_moves_a_category_only_through_its_parents() -> None:
    scm = model()
    data = scm.sample(400, 0)
    beside = scm.counterfactual(data, {"z": 3.0})
    np.testing.assert_array_equal(beside[:, [1, 2]], data[:, [1, 2]])
    assert (beside[:, 0] != data[:, 0]).all()
    above = scm.counterfactual(data, {"x": 0.3})
    assert (above[:, 1] != data[:, 1]).any()
    np.testing.assert_array_equal(above[:, 3], data[:, 3])
    dynamic = DynamicSCM(scm.variables)
    run = dynamic.simulate(6, 0, batch=50)
    mask, value = np.zeros(run.do_mask.shape, dtype=bool), np.zeros(run.do_value.shape)
    mask[..., 3], value[..., 3] = True, 3.0
    other = dynamic.counterfactual(run, mask, value)
    np.testing.assert_array_equal(other.values[..., [1, 2]], run.values[..., [1, 2]])


@settings(max_examples=40, deadline=None)
@given(SEEDS)
def test_raising_the_last_logit_never_lowers_the_category(seed: int) -> None:
    mechanism = Categorical([Linear([0.0]), Linear([0.0]), Linear([1.0])])
    rng = np.random.default_rng(seed)
    x, u = rng.normal(size=50), rng.random(50)
    before = mechanism.respond([x], u, 50)
    after = mechanism.respond([x + rng.exponential(size=50)], u, 50)
    assert (after >= before).all()


def test_perturbation_finds_edges_through_categories() -> None:
    scm = DynamicSCM(
        [
            Variable("y", OneHot(Linear([0.0, 1.0, -1.0]), [3]), Gaussian(0.3), ("c",)),
            Variable(
                "c",
                Categorical([OneHot(Linear([w, 0.0, -w, w]), [3, None]) for w in (2.0, 0.0, -2.0)]),
                parents=(),
                lagged_parents=("c", "y"),
            ),
            Variable("d", Argmax([Linear([0.0]), Linear([1.0])]), parents=("y",)),
            Variable("r", Linear([1.0]), parents=("d",), kind="reward"),
        ]
    )
    scm.check()
    assert perturbation_graph(scm, 0) == scm.graph
    assert {e[1:] for e in perturbation_one_step(scm, 0).edges()} == {
        (cause, effect) for cause in ("c", "y") for effect in ("c", "y", "d", "r")
    }


def test_categories_are_no_property_of_continuous_variables() -> None:
    assert Variable("x").categories is None
    assert Variable("x", Linear([1.0]), parents=("y",)).categories is None
    with pytest.raises(TypeError, match="Categorical has no part without noise; call respond"):
        CHOICE.evaluate(columns(0, 3), 3)
