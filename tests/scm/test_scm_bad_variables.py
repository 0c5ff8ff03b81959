"""Variables and parameters that a user gets wrong: refused in one line that says who and why.

Every case gives the error and two things that its message must hold: the name of the variable or
argument that is wrong, and the cause.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from bad_specifications import INF, LOGITS, NAN, Case, refused, v, with_mechanism

from causal_rl.scm import (
    MLP,
    Argmax,
    Categorical,
    Constant,
    Gaussian,
    Laplace,
    Linear,
    Mechanism,
    OneHot,
    Polynomial,
    RandomFeatures,
    Scaled,
    ScaledNoise,
    Structural,
    Tanh,
    Uniform,
    Variable,
)

RNG = np.random.default_rng(0)


VARIABLES: list[Case] = [
    (lambda: Linear(["a"]), TypeError, "weights", ""),
    (lambda: Categorical(3), TypeError, "logits", ""),
    (lambda: OneHot(Linear([1.0]), 3), TypeError, "categories", ""),
    (lambda: ScaledNoise("a", 1.0), TypeError, "noise", ""),
    (lambda: Variable(3), TypeError, "name", "must be a string, got 3"),
    (lambda: Variable(""), ValueError, "name", "must not be empty"),
    (lambda: Variable(" "), ValueError, "name", "must not be empty, got ' '"),
    (lambda: Variable("a\nb"), ValueError, r"'a\nb'", "name must be one line"),
    (lambda: v("a", kind="latent"), ValueError, "'a'", "kind must be one of state, action"),
    (lambda: v("a", kind=["state"]), ValueError, "'a'", "kind must be one of state, action"),
    (lambda: v("a", noise=0.5), TypeError, "'a'", "noise must be a Noise, got 0.5"),
    (lambda: v("a", noise=Gaussian), TypeError, "'a'", "noise must be a Noise, got <class"),
    (lambda: Variable("a", 0.5), TypeError, "'a'", "mechanism must be a Mechanism, a callable"),
    (lambda: with_mechanism(Linear, "a"), TypeError, "'culprit'", "got <class"),
    (lambda: v("b", "a", "a"), ValueError, "'b'", "parents name 'a' twice"),
    (lambda: v("b", lagged=("a", "a")), ValueError, "'b'", "lagged_parents name 'a' twice"),
    (
        lambda: Variable("b", Linear([1.0]), parents="a"),
        TypeError,
        "'b'",
        "parents must be a sequence of names, got 'a'",
    ),
    (
        lambda: Variable("b", Linear([1.0]), lagged_parents=None),
        TypeError,
        "'b'",
        "lagged_parents must be a sequence of names, got None",
    ),
    (
        lambda: Variable("b", Linear([1.0]), parents=(v("a"),)),
        TypeError,
        "'b'",
        "parents must be a sequence of names, got Variable(name='a'",
    ),
    (lambda: v("c", "a", kind="context"), ValueError, "'c'", "must have no parents, got a"),
    (
        lambda: v("c", lagged=("c",), kind="context"),
        ValueError,
        "'c'",
        "a context is exogenous and must have no parents, got c",
    ),
    (
        lambda: Variable("c", Structural(np.exp), kind="context"),
        ValueError,
        "'c'",
        "the mechanism of a context must be None or Constant, got a Structural",
    ),
    (
        lambda: Variable("c", Categorical.from_probabilities([1, 1]), kind="context"),
        ValueError,
        "'c'",
        "the mechanism of a context must be None or Constant, got a Categorical",
    ),
    (
        lambda: Variable("r", Structural(np.add), parents=("a",), kind="reward"),
        ValueError,
        "'r'",
        "a reward must be a function of its parents, got a mechanism that reads noise (Structural)",
    ),
    (
        lambda: Variable("r", Categorical.from_probabilities([1, 1]), kind="reward"),
        ValueError,
        "'r'",
        "a reward must be a function of its parents, got a mechanism that reads noise",
    ),
    (
        lambda: Variable("a", Categorical.from_probabilities([1, 1]), Gaussian(1.0)),
        ValueError,
        "'a'",
        "(Categorical) reads the noise Uniform(low=0.0, high=1.0), got Gaussian(scale=1.0)",
    ),
    (
        lambda: Variable("a", Argmax([Constant(1), Constant(2)]), Uniform(0, 1)),
        ValueError,
        "'a'",
        "(Argmax) reads the noise NoNoise(), got Uniform(low=0.0, high=1.0)",
    ),
]


ARITIES: list[tuple[Mechanism | Callable[..., Any], int, int]] = [
    (Constant(1.0), 0, 1),
    (Linear([1.0]), 1, 0),
    (Linear([1.0, 2.0]), 2, 1),
    (Tanh([1.0, 2.0]), 2, 3),
    (MLP.random(3, RNG), 3, 2),
    (Scaled(Linear([1.0])), 1, 2),
    (RandomFeatures.random(2, RNG), 2, 1),
    (Polynomial([1.0], [0.0, 1.0]), 1, 2),
    (Categorical(LOGITS), 1, 2),
    (Categorical.from_probabilities([0.5, 0.5]), 0, 1),
    (Argmax(LOGITS), 1, 0),
    (OneHot(Linear([1.0] * 4), [3, None]), 2, 4),
    (Structural(lambda x, noise: x * noise), 1, 2),
    (lambda x, y: x + y, 2, 1),
]

PARAMETERS: list[Case] = [
    (lambda: Gaussian(-1.0), ValueError, "Gaussian scale", "must be > 0, got -1.0"),
    (lambda: Gaussian(0.0), ValueError, "Gaussian scale", "must be > 0"),
    (lambda: Gaussian(NAN), ValueError, "Gaussian scale", "must be finite, got nan"),
    (lambda: Gaussian("wide"), TypeError, "Gaussian scale", "must be a number, got 'wide'"),
    (lambda: Laplace(-0.1), ValueError, "Laplace scale", "must be > 0, got -0.1"),
    (lambda: Laplace(INF), ValueError, "Laplace scale", "must be finite, got inf"),
    (lambda: Uniform(1.0, 1.0), ValueError, "Uniform low", "must be below high, got 1.0 and 1.0"),
    (lambda: Uniform(2.0, -2.0), ValueError, "Uniform low", "must be below high"),
    (lambda: Uniform(0.0, INF), ValueError, "Uniform high", "must be finite, got inf"),
    (lambda: Gaussian(1.0).scaled(-1.0), ValueError, "factor", "must be > 0, got -1.0"),
    (lambda: ScaledNoise(Laplace(1.0), NAN), ValueError, "factor", "must be finite, got nan"),
    (lambda: Constant(INF), ValueError, "Constant value", "must be finite, got inf"),
    (lambda: Linear([1.0, NAN]), ValueError, "weights", "must be finite, got [1.0, nan]"),
    (lambda: Linear([[1.0]]), ValueError, "weights", "must have 1 dimension(s), got shape (1, 1)"),
    (lambda: Linear([1.0], bias=NAN), ValueError, "bias", "must be finite"),
    (lambda: Tanh([INF]), ValueError, "weights", "must be finite"),
    (lambda: Tanh([1.0], scale="large"), TypeError, "scale", "must be a number, got 'large'"),
    (lambda: MLP([[NAN]], [0.0], [1.0]), ValueError, "in_weights", "must be finite"),
    (lambda: MLP([[1.0]], [0.0, 1.0], [1.0]), ValueError, "in_bias", "must have shape (1,)"),
    (lambda: Scaled(LOGITS[0], shift=NAN), ValueError, "shift", "must be finite"),
    (lambda: Scaled(np.tanh), TypeError, "mechanism", "must be a Mechanism, got ufunc"),
    (lambda: Scaled(Categorical(LOGITS)), TypeError, "mechanism", "must have additive noise"),
    (
        lambda: RandomFeatures([[1.0, 2.0]], [0.0], [1.0, 1.0]),
        ValueError,
        "phases",
        "must have shape (2,) as frequencies has (1, 2), got (1,)",
    ),
    (
        lambda: RandomFeatures.random(1, RNG, length_scale=-1.0),
        ValueError,
        "length_scale",
        "must be > 0, got -1.0",
    ),
    (lambda: RandomFeatures.random(0, RNG), ValueError, "k", "must be >= 1, got 0"),
    (lambda: RandomFeatures(np.empty((0, 2)), [0, 0], [1, 1]), ValueError, "frequencies", "empty"),
    (lambda: Polynomial([], [1.0]), ValueError, "weights", "must not be empty"),
    (lambda: Polynomial([1.0], []), ValueError, "coefficients", "must not be empty"),
    (lambda: Polynomial([1.0], [1.0], 0.0), ValueError, "bound", "must be > 0, got 0.0"),
    (lambda: Polynomial.random(1, RNG, degree=0), ValueError, "degree", "must be >= 1, got 0"),
    (lambda: Categorical(LOGITS[:1]), ValueError, "logits", "2 or more, got 1"),
    (
        lambda: Categorical([Linear([1.0]), Linear([1.0, 2.0])]),
        ValueError,
        "logits",
        "must take the same parents, they take ['1', '2']",
    ),
    (
        lambda: Categorical([np.sin, np.cos]),
        TypeError,
        "logits",
        "must be Mechanisms with additive",
    ),
    (lambda: Categorical([Categorical(LOGITS)] * 2), TypeError, "logits", "additive noise"),
    (
        lambda: Categorical.from_probabilities([0.5, -0.5]),
        ValueError,
        "probabilities",
        "must be numbers above 0, got [0.5, -0.5]",
    ),
    (lambda: Categorical.from_probabilities([1.0, NAN]), ValueError, "probabilities", "above 0"),
    (lambda: Argmax([]), ValueError, "logits", "2 or more, got 0"),
    (
        lambda: OneHot(Linear([1.0]), [3]),
        ValueError,
        "categories (3,)",
        "make 3 columns, but the mechanism takes 1",
    ),
    (lambda: OneHot(Linear([1.0]), [1]), ValueError, "categories", "must be >= 2, got 1"),
    (lambda: OneHot(Linear([1.0] * 3), [3.0]), TypeError, "categories", "must be an integer >= 2"),
    (lambda: OneHot(np.sin, [None]), TypeError, "mechanism", "must be a Mechanism with additive"),
    (lambda: Structural(3), TypeError, "f", "must be callable, got 3"),
    (lambda: Structural(lambda: 1.0), TypeError, "f", "must take the noise as its last argument"),
    (
        lambda: Structural(np.add, inverse=1),
        TypeError,
        "inverse",
        "must be callable or None, got 1",
    ),
]


@pytest.mark.parametrize(("make", "error", "name", "cause"), [*VARIABLES, *PARAMETERS])
def test_what_is_wrong_is_named(
    make: Callable[[], Any], error: type[Exception], name: str, cause: str
) -> None:
    refused(make, error, name, cause)


@pytest.mark.parametrize(("mechanism", "takes", "given"), ARITIES)
def test_a_wrong_number_of_parents_is_counted(mechanism: Any, takes: int, given: int) -> None:
    cause = f"its mechanism takes {takes} parent(s), but {given} are declared"
    parents = [f"p{k}" for k in range(given)]
    refused(lambda: with_mechanism(mechanism, *parents), ValueError, "variable 'culprit'", cause)
    now, before = parents[: given // 2], parents[given // 2 :]
    refused(
        lambda: Variable("culprit", mechanism, parents=now, lagged_parents=before),
        ValueError,
        "variable 'culprit'",
        cause,
    )
