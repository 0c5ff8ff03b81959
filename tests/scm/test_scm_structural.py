"""Mechanisms whose noise is not added: structural equations, and what every mechanism must keep."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from causal_rl.scm import (
    MLP,
    SCM,
    Argmax,
    Categorical,
    Constant,
    DynamicSCM,
    Function,
    Gaussian,
    Laplace,
    Linear,
    Mechanism,
    NonAdditiveMechanism,
    NoNoise,
    OneHot,
    Polynomial,
    RandomFeatures,
    Scaled,
    Structural,
    Tanh,
    Uniform,
    Variable,
)

RNG = np.random.default_rng(0)
SEEDS = st.integers(0, 2**32 - 1)
LOGITS = (Linear([1.0, 0.3]), Linear([-0.5, 0.8], 0.4), Tanh([0.7, -1.0]))


def noisier(x: np.ndarray, y: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """Heteroscedastic: the spread depends on the parents."""
    return np.tanh(x) + (0.2 + y**2) * noise


def quieter(value: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return (value - np.tanh(x)) / (0.2 + y**2)


def chosen(x: np.ndarray, y: np.ndarray, noise: np.ndarray) -> np.ndarray:
    return np.where(noise > 0.0, x, y)


class Mixture(NonAdditiveMechanism):
    """A user's own: no inverse, any number of parents, a noise of its own."""

    default_noise = Laplace(0.5)

    def respond(self, columns: Sequence[np.ndarray], noise: np.ndarray, batch: int) -> np.ndarray:
        return np.exp(noise) * sum(columns, np.zeros(batch))


TWO_PARENTS: list[Mechanism] = [
    Linear([0.4, -1.2], 0.1),
    Tanh([0.4, -1.2], 0.1, 2.0),
    MLP.random(2, RNG, hidden=9),
    Scaled(Tanh([0.4, -1.2]), 0.5, -2.0),
    Function(lambda x, y: x * y),
    RandomFeatures.random(2, RNG, features=17),
    Polynomial.random(2, RNG),
    Polynomial([0.5, 0.7], [0.1, 0.2, 0.3], bound=None),
    OneHot(MLP.random(4, RNG, hidden=5), [3, None]),
    Argmax(LOGITS),
    Categorical(LOGITS),
    Structural(noisier, quieter),
    Structural(chosen),
    Mixture(),
]


def inputs(seed: int, batch: int) -> tuple[list[np.ndarray], np.ndarray]:
    rng = np.random.default_rng(seed)
    # A category first, which a continuous mechanism reads as a number.
    columns = [rng.integers(0, 3, batch).astype(np.float64), rng.normal(size=batch)]
    return columns, rng.random(batch)


@pytest.mark.parametrize("mechanism", TWO_PARENTS, ids=lambda m: type(m).__name__)
@settings(max_examples=20, deadline=None)
@given(seed=SEEDS, batch=st.integers(1, 70))
def test_a_row_alone_gives_the_bits_it_gives_in_a_batch(
    mechanism: Mechanism, seed: int, batch: int
) -> None:
    columns, noise = inputs(seed, batch)
    kept = [c.copy() for c in columns], noise.copy()
    together = mechanism.respond(columns, noise, batch)
    assert together.shape == (batch,)
    alone = [
        mechanism.respond([c[b : b + 1] for c in columns], noise[b : b + 1], 1)[0]
        for b in range(batch)
    ]
    np.testing.assert_array_equal(together, alone)
    for column, before in zip((*columns, noise), (*kept[0], kept[1]), strict=True):
        np.testing.assert_array_equal(column, before)


@pytest.mark.parametrize("mechanism", TWO_PARENTS, ids=lambda m: type(m).__name__)
@settings(max_examples=20, deadline=None)
@given(seed=SEEDS, batch=st.integers(1, 20))
def test_a_noise_that_is_abducted_explains_the_value(
    mechanism: Mechanism, seed: int, batch: int
) -> None:
    columns, noise = inputs(seed, batch)
    value = mechanism.respond(columns, noise, batch)
    if isinstance(mechanism, Mixture) or mechanism is TWO_PARENTS[12]:
        with pytest.raises(ValueError, match="does not say which noise explains a value; give it"):
            mechanism.abduct(value, columns)
        return
    found = mechanism.abduct(value, columns, np.random.default_rng(seed))
    np.testing.assert_allclose(
        mechanism.respond(columns, found, batch), value, rtol=1e-9, atol=1e-9
    )
    if not isinstance(mechanism, Categorical):
        np.testing.assert_allclose(found, noise, rtol=1e-9, atol=1e-9)


def variables(mechanism: Mechanism) -> list[Variable]:
    return [
        Variable("y", Linear([1.0]), parents=("s",)),
        Variable("s", mechanism, Gaussian(0.5), parents=("a",), lagged_parents=("b",)),
        Variable("a", Linear([0.5]), lagged_parents=("s",)),
        Variable("b", noise=Uniform(-1.0, 1.0)),
    ]


def test_abduction_through_an_inverse_is_exact() -> None:
    scm = DynamicSCM(variables(Structural(noisier, quieter)))
    run = scm.simulate(6, 0, batch=20)
    noise = scm.abduct(run.values)
    np.testing.assert_allclose(noise, run.noise, rtol=1e-9, atol=1e-9)
    again = scm.counterfactual(replace(run, noise=noise))
    np.testing.assert_allclose(again.values, run.values, rtol=1e-9, atol=1e-9)
    static = SCM(
        [
            Variable("s", Structural(noisier, quieter), Gaussian(0.5), ("a", "b")),
            Variable("a"),
            Variable("b"),
        ]
    )
    data = static.sample(50, 1)
    np.testing.assert_allclose(static.from_noise(static.abduct(data)), data, rtol=1e-12)
    # Twice the distance of s from tanh(a), where b makes its noise twice as loud.
    b = data[:, 2]
    other = static.counterfactual(data, {"b": 1.0})
    expected = np.tanh(data[:, 1]) + (data[:, 0] - np.tanh(data[:, 1])) * 1.2 / (0.2 + b**2)
    np.testing.assert_allclose(other[:, 0], expected, rtol=1e-9)
    np.testing.assert_array_equal(other[:, 1], data[:, 1])


def test_without_an_inverse_abduction_names_the_variable() -> None:
    dynamic = DynamicSCM(variables(Structural(noisier)))
    run = dynamic.simulate(3, 0, batch=4)
    message = "^variable 's': Structural does not say which noise explains a value; give it an inv"
    with pytest.raises(ValueError, match=message) as caught:
        dynamic.abduct(run.values)
    assert "\n" not in str(caught.value)
    static = SCM(
        [Variable("s", Structural(chosen), parents=("a", "b")), Variable("a"), Variable("b")]
    )
    with pytest.raises(ValueError, match=r"^variable 's': Structural does not say which noise"):
        static.abduct(static.sample(3, 0))


def test_the_noise_that_a_simulation_kept_is_enough() -> None:
    scm = DynamicSCM(variables(Structural(chosen)))
    run = scm.simulate(5, 0, batch=30)
    np.testing.assert_array_equal(scm.counterfactual(run, *run.do).values, run.values)
    mask, value = np.zeros(run.do_mask.shape, dtype=bool), np.zeros(run.do_value.shape)
    mask[2, :, 2], value[2, :, 2] = True, 4.0
    other = scm.counterfactual(run, mask, value)
    s, noise = other.values[3, :, 1], run.noise[3, :, 1]
    np.testing.assert_array_equal(s, np.where(noise > 0.0, 4.0, run.values[2, :, 3]))
    np.testing.assert_array_equal(other.values[:3], run.values[:3])
    np.testing.assert_array_equal(other.values[..., 3], run.values[..., 3])


def test_where_a_variable_was_set_nothing_has_to_be_explained() -> None:
    scm = DynamicSCM([Variable("s", Structural(lambda noise: np.exp(noise), lambda v: np.log(v)))])
    run = scm.simulate(3, 0, batch=2, do={"s": 5.0})
    noise = scm.abduct(run.values, run.do_mask)
    np.testing.assert_allclose(noise[0], run.noise[0])
    assert (noise[1:] == 0.0).all()  # the median
    draws = scm.abduct(run.values, run.do_mask, rng=1)
    assert len(np.unique(draws[1:])) == 6


def test_a_wrong_inverse_is_refused() -> None:
    scm = DynamicSCM(variables(Structural(noisier, lambda value, x, y: value - x)))
    run = scm.simulate(2, 0, batch=3)
    with pytest.raises(
        ValueError, match=r"^variable 's': the inverse of its mechanism does not give"
    ):
        scm.abduct(run.values)


def test_a_users_own_mechanism_runs_like_the_others() -> None:
    own = Variable("s", Mixture(), parents=("a", "b"))
    assert own.noise == Laplace(0.5)
    scm = DynamicSCM([own, Variable("a"), Variable("b")])
    scm.check()
    run = scm.simulate(4, 0, batch=10)
    expected = np.exp(run.noise[..., 0]) * (run.values[..., 1] + run.values[..., 2])
    np.testing.assert_allclose(run.values[..., 0], expected, rtol=1e-12)
    with pytest.raises(ValueError, match=r"^variable 's': Mixture does not say which noise"):
        scm.abduct(run.values)


def test_noise_of_an_additive_mechanism_is_added() -> None:
    columns, noise = inputs(0, 10)
    for mechanism in TWO_PARENTS:
        assert mechanism.additive == (not isinstance(mechanism, Categorical | Structural | Mixture))
        if mechanism.additive:
            expected = mechanism.evaluate(columns, 10) + noise
            np.testing.assert_array_equal(mechanism.respond(columns, noise, 10), expected)
        else:
            with pytest.raises(TypeError, match="has no part without noise; call respond"):
                mechanism.evaluate(columns, 10)


def test_deterministic_models_still_have_no_noise() -> None:
    scm = DynamicSCM(
        [
            Variable("a", Constant(2.0), NoNoise()),
            Variable("b", Structural(lambda a, u: a + u), NoNoise(), ("a",)),
        ]
    )
    assert scm.simulate(3, 0, batch=2).values.tolist() == [[[2.0, 2.0]] * 2] * 4
