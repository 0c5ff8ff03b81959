"""Models and worlds that a user gets wrong: refused in one line that says who and why.

Every case gives the error and two things that its message must hold: the name of the variable or
argument that is wrong, and the cause.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from bad_specifications import INF, LOGITS, NAN, Case, model, refused, reward, v, with_mechanism

from causal_rl.envs import Interventions, SCMEnvSpec
from causal_rl.scm import (
    SCM,
    Categorical,
    DynamicSCM,
    Function,
    Gaussian,
    Linear,
    Noise,
    OneHot,
    Structural,
    Variable,
)

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


@pytest.mark.parametrize(("make", "error", "name", "cause"), [*MODELS, *WORLDS])
def test_what_is_wrong_is_named(
    make: Callable[[], Any], error: type[Exception], name: str, cause: str
) -> None:
    refused(make, error, name, cause)


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
