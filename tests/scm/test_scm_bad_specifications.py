"""Specifications that a user gets wrong: each is refused in one line that says who and why.

Every case gives the error and two things that its message must hold: the name of the variable or
argument that is wrong, and the cause.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from causal_rl.envs import Interventions, SCMEnvSpec
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
    Noise,
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

NAN, INF = float("nan"), float("inf")
RNG = np.random.default_rng(0)
Case = tuple[Callable[[], Any], type[Exception], str, str]


def v(name: str, *parents: str, lagged: tuple[str, ...] = (), **more: Any) -> Variable:
    """A linear variable."""
    k = len(parents) + len(lagged)
    return Variable(
        name, Linear([0.5] * k) if k else None, parents=parents, lagged_parents=lagged, **more
    )


def reward(*parents: str, name: str = "r", **more: Any) -> Variable:
    return v(name, *parents, kind="reward", **more)


def model(*variables: Variable) -> DynamicSCM:
    return DynamicSCM(variables)


def with_mechanism(mechanism: Any, *parents: str) -> Variable:
    return Variable("culprit", mechanism, parents=parents)


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

LOGITS = [Linear([1.0]), Linear([-1.0])]
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

MODELS: list[Case] = [
    (lambda: DynamicSCM([]), ValueError, "variables", "must hold at least one"),
    (lambda: DynamicSCM(None), TypeError, "variables", "must be a sequence of Variable, got None"),
    (lambda: DynamicSCM(v("a")), TypeError, "variables", "sequence of Variable, got Variable"),
    (lambda: DynamicSCM({"a": v("a")}), TypeError, "variables", "must hold Variable objects"),
    (lambda: model(v("a"), v("a")), ValueError, "'a'", "is defined twice"),
    (lambda: model(v("a"), reward("a", name="a")), ValueError, "'a'", "is defined twice"),
    (lambda: model(v("a", "z")), ValueError, "'a'", "has the unknown parent 'z'"),
    (lambda: model(v("a", lagged=("z",))), ValueError, "'a'", "has the unknown parent 'z'"),
    (lambda: model(v("a", "")), ValueError, "'a'", "has the unknown parent ''"),
    (lambda: model(v("a"), reward("z")), ValueError, "'r'", "has the unknown parent 'z'"),
    (lambda: model(v("a", "a")), ValueError, "a -> a", "cycle: "),
    (lambda: model(v("a", "b"), v("b", "a")), ValueError, "a -> b -> a", "cycle: "),
    (
        lambda: model(v("a", "c"), v("b", "a"), v("c", "b"), v("d")),
        ValueError,
        "a -> b -> c -> a",
        "cycle: ",
    ),
    (lambda: SCM([v("a", "b"), v("b", "a")]), ValueError, "a -> b -> a", "cycle: "),
    (lambda: SCM([v("a", lagged=("a",))]), ValueError, "'a'", "has lagged parents"),
    (
        lambda: model(v("c", kind="context"), v("a", lagged=("c",))),
        ValueError,
        "'a'",
        "has the context 'c' as a lagged parent",
    ),
    (
        lambda: model(Variable("c", Linear([], 1.0), kind="context")),
        ValueError,
        "'c'",
        "the mechanism of a context must be None or Constant",
    ),
    (
        lambda: model(v("a"), reward("a"), v("z", "r")),
        ValueError,
        "'z'",
        "has the reward 'r' as a parent; a reward must have no children",
    ),
    (
        lambda: model(v("a"), reward("a"), v("z", lagged=("r",))),
        ValueError,
        "'z'",
        "a reward must have no children",
    ),
    (
        lambda: model(v("a"), reward("a", lagged=("r",))),
        ValueError,
        "'r'",
        "a reward must have no children",
    ),
    (
        lambda: model(v("a"), reward("a"), reward("a", name="q")),
        ValueError,
        "q, r",
        "only one reward is allowed",
    ),
    (
        lambda: model(v("a"), reward("a", noise=Gaussian(2.0))),
        ValueError,
        "'r'",
        "a reward must have no noise, got Gaussian(scale=2.0)",
    ),
    (lambda: model(reward()), ValueError, "variables", "at least one that is not the reward"),
    (lambda: model(v("a")).do(a=NAN), ValueError, "'a'", "must be finite"),
    (lambda: model(v("a")).do(z=1.0), ValueError, "'z'", "the variables are a"),
    (lambda: model(v("a")).soft_do({"a": v("b")}), ValueError, "'a'", "got a variable named 'b'"),
    (
        lambda: model(v("a")).soft_do({"a": 3.0}),
        TypeError,
        "'a'",
        "must be a Variable, a Mechanism",
    ),
]


def in_place(x: np.ndarray) -> np.ndarray:
    return np.add(x, 1.0, out=x)


def by_chance(x: np.ndarray) -> np.ndarray:
    return x + np.random.default_rng().normal(size=len(x))


def in_two_lines(x: np.ndarray) -> np.ndarray:
    raise RuntimeError("one\ntwo")


class NoNumbers(Noise):
    def ppf(self, u: np.ndarray) -> np.ndarray:
        return u * NAN


#: What the dry run finds, on the values that a model visits.
MECHANISMS: list[tuple[Any, str]] = [
    (lambda x: x[:3], "must return shape (64,) for a batch of 64, got (3,)"),
    (lambda x: x[:, None], "must return shape (64,) for a batch of 64, got (64, 1)"),
    (lambda x: 1.0, "must return shape (64,) for a batch of 64, got ()"),
    (lambda x: None, "must return shape (64,) for a batch of 64, got ()"),
    (lambda x: x * NAN, "returned a value that is not finite"),
    (lambda x: x / 0.0, "returned a value that is not finite"),
    (lambda x: np.sqrt(x), "returned a value that is not finite"),
    (lambda x: ["high"] * len(x), "failed with ValueError: could not convert string to float"),
    (lambda x: [{}] * len(x), "failed with TypeError: float()"),
    (lambda x: {}[3], "failed with KeyError: 3"),
    (in_two_lines, "failed with RuntimeError: one two"),
    (in_place, "changes its arguments in place"),
    (by_chance, "gives two answers to one question"),
    (lambda x: x - x.mean(), "mixes the rows of a batch"),
    (lambda x: np.sort(x), "mixes the rows of a batch"),
    (lambda x: np.cumsum(x[::-1]), "mixes the rows of a batch"),
    (Structural(lambda x, u: x[:2]), "must return shape (64,) for a batch of 64, got (2,)"),
    (Structural(lambda x, u: u / 0.0), "returned a value that is not finite"),
    (Structural(lambda x, u: u * x.std()), "mixes the rows of a batch"),
    (OneHot(Function(lambda a, b: a[:1]), [2]), "must return shape (64,)"),
    (Categorical([Function(in_place), LOGITS[0]]), "changes its arguments in place"),
]


def spec(*variables: Variable, **changes: Any) -> SCMEnvSpec:
    """A world in which nothing is wrong, apart from the changes."""
    sound = (v("a"), v("h", kind="hidden"), v("g", kind="context"), v("b", "a"), reward("b"))
    arguments: dict[str, Any] = {
        "name": "w",
        "scm": DynamicSCM(variables or sound),
        "interventions": Interventions(["a"]),
    }
    return SCMEnvSpec(**{**arguments, **changes})


def acting_on(name: str) -> SCMEnvSpec:
    return spec(interventions=Interventions([name]))


WORLDS: list[Case] = [
    (lambda: spec(v("a")), ValueError, "'w'", "has no reward; give one Variable of kind 'reward'"),
    (lambda: spec(v("a"), reward()), ValueError, "'r'", "has no parents, so nothing that is done"),
    (lambda: spec(v("a", kind="hidden"), reward("a")), ValueError, "'w'", "no observed variable"),
    (lambda: spec(scm=SCM([v("a")])), TypeError, "scm", "must be a DynamicSCM, got SCM"),
    (lambda: spec(interventions=["a"]), TypeError, "interventions", "must be Interventions, got"),
    (lambda: acting_on("z"), ValueError, "'z'", "is no variable of world 'w'"),
    (lambda: acting_on("h"), ValueError, "'h'", "is of kind 'hidden'; only state and action"),
    (lambda: acting_on("g"), ValueError, "'g'", "is of kind 'context'; only state and action"),
    (lambda: acting_on("r"), ValueError, "'r'", "is the reward, which cannot be set"),
    (lambda: spec(horizon=0), ValueError, "horizon", "must be at least 1, got 0"),
    (lambda: spec(horizon=-3), ValueError, "horizon", "must be at least 1, got -3"),
    (lambda: spec(horizon=1.5), TypeError, "horizon", "must be an integer, got 1.5"),
    (lambda: spec(horizon=True), TypeError, "horizon", "must be an integer, got True"),
    (lambda: spec(name=""), ValueError, "name", "must be one line and not empty, got ''"),
    (lambda: spec(name=3), TypeError, "name", "must be a string, got 3"),
    (lambda: spec(shifts=[1]), TypeError, "shifts", "must map names to functions, got [1]"),
    (lambda: spec(shifts={"s": 3}), TypeError, "'s'", "shifts must map names to functions"),
    (lambda: Interventions([]), ValueError, "settable", "is empty"),
    (lambda: Interventions("ab"), ValueError, "settable", "must be a sequence of names"),
    (lambda: Interventions(3), TypeError, "settable", "must be a sequence of names, got 3"),
    (lambda: Interventions([v("a")]), TypeError, "settable", "got the entry Variable(name='a'"),
    (lambda: Interventions(["a", "a"]), ValueError, "'a'", "settable names 'a' twice"),
    (lambda: Interventions(["a"], []), ValueError, "values", "must be one or more finite numbers"),
    (
        lambda: Interventions(["a"], [1.0, NAN]),
        ValueError,
        "values",
        "finite numbers, got [1.0, nan]",
    ),
    (lambda: Interventions(["a"], ["high"]), TypeError, "values", "must be a number, got 'high'"),
    (
        lambda: Interventions(["a"], 3.0),
        TypeError,
        "values",
        "must be a sequence of numbers, got 3.0",
    ),
    (
        lambda: Interventions(["a", "b"], {"a": [1.0]}),
        ValueError,
        "'b' is missing",
        "values must name every settable variable and no other",
    ),
    (
        lambda: Interventions(["a"], {"a": [1.0], "z": [1.0]}),
        ValueError,
        "'z' is not settable",
        "values must name every settable variable and no other",
    ),
    (
        lambda: Interventions(["a", "b"], {"a": [1.0], "b": [1.0, 2.0]}),
        ValueError,
        "1 for 'a', 2 for 'b'",
        "values must be equally many",
    ),
    (lambda: Interventions(["a"], {"a": [INF]}), ValueError, "values of 'a'", "finite numbers"),
    (lambda: Interventions(["a"], {"a": 2.0}), TypeError, "values of 'a'", "sequence of numbers"),
    (lambda: Interventions(["a"], cost=NAN), ValueError, "cost of 'a'", "must be finite, got nan"),
    (lambda: Interventions(["a"], cost={"a": INF}), ValueError, "cost of 'a'", "must be finite"),
    (lambda: Interventions(["a"], cost={"z": 1.0}), ValueError, "'z'", "which is not settable"),
    (lambda: Interventions(["a"], cost="free"), TypeError, "cost", "must be a number, got 'free'"),
    (lambda: Interventions(["a"], cost={"a": None}), TypeError, "cost of 'a'", "got None"),
]

INTERFACE = "changes the observed variables or the actions"
SHIFTS: list[tuple[Callable[[SCMEnvSpec], Any], type[Exception], str]] = [
    (lambda s: s.replace(interventions=Interventions(["b"])), ValueError, INTERFACE),
    (lambda s: s.replace(interventions=Interventions(["a"], [1.0])), ValueError, INTERFACE),
    (lambda s: spec(v("a"), reward("a")), ValueError, INTERFACE),
    (lambda s: s.replace(scm=s.scm.soft_do({"b": NAN})), ValueError, "soft_do of 'b' must be"),
    (lambda s: s.replace(horizon=0), ValueError, "failed: horizon must be at least 1, got 0"),
    (lambda s: s.scm.variables[9], ValueError, "failed: IndexError: tuple index out of range"),
    (lambda s: None, TypeError, "must give an SCMEnvSpec, got NoneType"),
]


def refused(make: Callable[[], Any], error: type[Exception], *parts: str) -> None:
    with pytest.raises(error, match=re.escape(parts[0])) as caught:
        make()
    message = str(caught.value)
    assert caught.type is error
    assert "\n" not in message
    for part in parts:
        assert part in message


@pytest.mark.parametrize(
    ("make", "error", "name", "cause"), [*VARIABLES, *PARAMETERS, *MODELS, *WORLDS]
)
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


@pytest.mark.parametrize(("mechanism", "cause"), MECHANISMS)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_bad_mechanism_is_found_by_the_dry_run(mechanism: Any, cause: str) -> None:
    culprit = with_mechanism(mechanism, "a")
    dynamic = model(v("b", lagged=("b",)), culprit, v("a"))
    static = SCM([v("a"), culprit])
    refused(dynamic.check, ValueError, "variable 'culprit': its mechanism ", cause)
    refused(static.check, ValueError, "variable 'culprit': its mechanism ", cause)


def test_noise_that_is_not_finite_is_found() -> None:
    refused(model(Variable("a", noise=NoNumbers())).check, ValueError, "variable 'a'", "finite")


def test_growth_without_bound_is_found() -> None:
    with np.errstate(over="ignore"):
        growing = model(Variable("a", Linear([1e200]), lagged_parents=("a",)))
        refused(growing.check, ValueError, "variable 'a'", "not finite")


@pytest.mark.parametrize(("shift", "error", "cause"), SHIFTS)
def test_a_bad_shift_is_named(shift: Any, error: type[Exception], cause: str) -> None:
    shifted = spec(shifts={"winter": shift})
    refused(lambda: shifted.shifted("winter"), error, "shift 'winter' of world 'w'", cause)
    refused(lambda: shifted.shifted("summer"), ValueError, "'summer'", "known: winter")
