from __future__ import annotations

import numpy as np
import pytest

from causal_rl.scm import SCM, Constant, DynamicSCM, Gaussian, Linear, NoNoise, Tanh, Variable


def first(*columns):
    return columns[0]


def test_variable_defaults():
    v = Variable("a")
    assert v.noise == Gaussian(1.0)
    assert isinstance(v.mechanism, Constant)
    assert Variable("r", kind="reward").noise == NoNoise()
    assert Variable("r", noise=Gaussian(1.0), kind="reward").noise == Gaussian(1.0)
    assert Variable("b", first, parents=["a"]).parents == ("a",)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Variable(3), TypeError, "name must be a string, got 3"),
        (lambda: Variable(""), ValueError, "name must not be empty"),
        (lambda: Variable("a", kind="stat"), ValueError, "variable 'a': kind must be one of"),
        (lambda: Variable("a", noise=1.0), TypeError, "variable 'a': noise must be a Noise"),
        (lambda: Variable("a", 3.0), TypeError, "variable 'a': mechanism must be a Mechanism"),
        (lambda: Variable("b", first, parents="a"), TypeError, "parents must be a sequence"),
        (lambda: Variable("b", first, parents=[1]), TypeError, "parents must be a sequence"),
        (lambda: Variable("b", first, parents=("a", "a")), ValueError, "parents name 'a' twice"),
        (
            lambda: Variable("b", Linear([1.0]), parents=("a", "c")),
            ValueError,
            r"variable 'b': its mechanism takes 1 parent\(s\), but 2 are declared",
        ),
        (
            lambda: Variable("b", lambda x, y: x, parents=("a",)),
            ValueError,
            r"takes 2 parent\(s\), but 1 are declared",
        ),
        (
            lambda: Variable("b", parents=("a",)),
            ValueError,
            r"takes 0 parent\(s\), but 1 are declared",
        ),
        (
            lambda: Variable("c", Linear([1.0]), parents=("a",), kind="context"),
            ValueError,
            "variable 'c': a context is exogenous and must have no parents, got a",
        ),
        (
            lambda: Variable("c", Linear([1.0]), lagged_parents=("c",), kind="context"),
            ValueError,
            "a context is exogenous",
        ),
    ],
)
def test_bad_variables_are_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()


def edge(name, *parents, lagged=(), kind="state"):
    weights = [1.0] * (len(parents) + len(lagged))
    return Variable(
        name,
        Linear(weights) if weights else None,
        parents=parents,
        lagged_parents=lagged,
        kind=kind,
    )


@pytest.mark.parametrize("model", [SCM, DynamicSCM])
@pytest.mark.parametrize(
    ("variables", "error", "message"),
    [
        ([], ValueError, "at least one variable"),
        (["a"], TypeError, "must hold Variable objects, got str"),
        (Variable("a"), TypeError, "variables must be a sequence of Variable"),
        ([edge("a"), edge("a")], ValueError, "variable 'a' is defined twice"),
        (
            [edge("a", "z"), edge("b")],
            ValueError,
            "variable 'a' has the unknown parent 'z'; the variables are a, b",
        ),
        ([edge("a", "a")], ValueError, "^cycle: a -> a$"),
        ([edge("b", "a"), edge("a", "b")], ValueError, "^cycle: (a -> b -> a|b -> a -> b)$"),
        (
            [edge("a", "c"), edge("b", "a"), edge("c", "b"), edge("d", "c")],
            ValueError,
            "^cycle: a -> b -> c -> a$",
        ),
        (
            [edge("a"), edge("r", "a", kind="reward"), edge("b", "r")],
            ValueError,
            "variable 'b' has the reward 'r' as a parent; a reward must have no children",
        ),
    ],
)
def test_bad_models_are_refused(model, variables, error, message):
    with pytest.raises(error, match=message):
        model(variables)


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ([edge("a", lagged=("z",))], "unknown parent 'z'"),
        ([edge("r", kind="reward")], "at least one that is not the reward"),
        ([edge("a"), edge("r", kind="reward"), edge("s", kind="reward")], "only one reward"),
        (
            [edge("a"), edge("r", "a", kind="reward"), edge("b", lagged=("r",))],
            "a reward must have no children",
        ),
        (
            [edge("c", kind="context"), edge("a", lagged=("c",))],
            "variable 'a' has the context 'c' as a lagged parent",
        ),
        (
            [Variable("c", lambda: 0.0, kind="context")],
            "variable 'c': the mechanism of a context must be None or Constant",
        ),
        (
            [edge("a"), Variable("r", first, Gaussian(2.0), parents=("a",), kind="reward")],
            "variable 'r': a reward must have no noise",
        ),
    ],
)
def test_bad_dynamic_models_are_refused(variables, message):
    with pytest.raises(ValueError, match=message):
        DynamicSCM(variables)


def test_a_static_model_has_no_lags():
    with pytest.raises(ValueError, match="variable 'a' has lagged parents"):
        SCM([edge("a", lagged=("a",))])


def changes_its_arguments(x):
    x += 1.0
    return x.copy()


class Moody:
    def __init__(self):
        self.calls = 0

    def __call__(self, x):
        self.calls += 1
        return x + self.calls


BAD_MECHANISMS = [
    (lambda x: x * np.nan, "not finite"),
    (lambda x: np.log(x), "not finite"),
    (lambda x: x[:, None], r"must return shape \(64,\) for a batch of 64, got \(64, 1\)"),
    (lambda x: 1.0, r"must return shape \(64,\)"),
    (lambda x: "word", "failed with ValueError"),
    (lambda x: x / {}, "failed with TypeError"),
    (lambda x: x - x.mean(), "mixes the rows of a batch"),
    (changes_its_arguments, "changes its arguments in place"),
    (Moody(), "gives two answers to one question"),
]


@pytest.mark.parametrize(("mechanism", "message"), BAD_MECHANISMS)
def test_check_names_the_variable_of_a_bad_mechanism(mechanism, message):
    bad = Variable("culprit", mechanism, parents=("a",))
    for model in (SCM([edge("a"), bad]), DynamicSCM([edge("b", lagged=("b",)), edge("a"), bad])):
        with pytest.raises(ValueError, match=f"^variable 'culprit': .*{message}"):
            model.check()
    reward = Variable("culprit", mechanism, parents=("a",), kind="reward")
    with pytest.raises(ValueError, match=f"^variable 'culprit': .*{message}"):
        DynamicSCM([edge("a"), reward]).check()


def test_check_accepts_good_models():
    SCM([edge("a"), Variable("b", lambda x: x, parents=("a",))]).check()
    DynamicSCM([edge("a", lagged=("a",)), edge("r", "a", kind="reward")]).soft_do(
        {"a": Tanh([2.0])}
    ).check()


def test_a_run_names_the_variable_too():
    scm = SCM([edge("a"), Variable("b", lambda x: x * np.inf, parents=("a",)), edge("c", "b")])
    with pytest.raises(ValueError, match="variable 'b' took a value that is not finite"):
        scm.sample(5, 0)
    dynamic = DynamicSCM([edge("a"), Variable("b", lambda x: x[:1], parents=("a",))])
    with pytest.raises(ValueError, match=r"variable 'b': its mechanism must return shape \(3,\)"):
        dynamic.simulate(2, 0, batch=3)
    growing = DynamicSCM([Variable("x", Linear([1e200]), lagged_parents=("x",))])
    with (
        np.errstate(over="ignore"),
        pytest.raises(ValueError, match="variable 'x' took a value that is not finite"),
    ):
        growing.simulate(20, 0)
