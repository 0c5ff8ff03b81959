from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

from causal_rl.scm import SCM, Gaussian, Laplace, Linear, NoNoise, Tanh, Variable

# X1 -> X2 -> X4, X1 -> X3 -> X4; columns are not in causal order.
WEIGHTS = np.zeros((4, 4))
NAMES = ("X4", "X2", "X1", "X3")
WEIGHTS[2, 1], WEIGHTS[2, 3], WEIGHTS[1, 0], WEIGHTS[3, 0] = 1.5, -0.7, 0.8, 2.0
SCALES = np.array([0.5, 1.0, 2.0, 0.3])
BIAS = np.array([1.0, -2.0, 0.0, 0.5])


def linear_gaussian() -> SCM:
    variables = []
    for j, name in enumerate(NAMES):
        parents = np.flatnonzero(WEIGHTS[:, j])
        variables.append(
            Variable(
                name,
                Linear(WEIGHTS[parents, j], BIAS[j]),
                Gaussian(SCALES[j]),
                tuple(NAMES[i] for i in parents),
            )
        )
    return SCM(variables)


def total_effects(weights):
    return np.linalg.inv(np.eye(4) - weights)


def test_graph_and_weights_come_from_the_specification():
    scm = linear_gaussian()
    np.testing.assert_array_equal(scm.graph.contemporaneous, WEIGHTS != 0)
    np.testing.assert_array_equal(scm.graph.contemporaneous_weights, WEIGHTS)
    assert not scm.graph.lagged.any()
    assert scm.graph.names == scm.names == NAMES
    position = {i: k for k, i in enumerate(scm.order)}
    assert all(position[i] < position[j] for i, j in np.argwhere(WEIGHTS))
    nonlinear = scm.soft_do({"X2": Tanh([1.0])})
    assert nonlinear.graph.contemporaneous_weights is None
    assert "X4" in repr(scm)


def test_mean_and_covariance_have_their_closed_form():
    data = linear_gaussian().sample(200_000, 0)
    T = total_effects(WEIGHTS)
    np.testing.assert_allclose(data.mean(axis=0), BIAS @ T, atol=0.05)
    np.testing.assert_allclose(np.cov(data.T), T.T @ np.diag(SCALES**2) @ T, rtol=0.03, atol=0.05)


@pytest.mark.parametrize("target", range(4))
def test_means_under_do_have_their_closed_form(target):
    mutilated, bias = WEIGHTS.copy(), BIAS.copy()
    mutilated[:, target], bias[target] = 0.0, 3.0
    scm = linear_gaussian()
    expected = bias @ total_effects(mutilated)
    by_argument = scm.sample(100_000, 1, do={NAMES[target]: 3.0})
    by_model = scm.do({NAMES[target]: 3.0})
    np.testing.assert_allclose(by_argument.mean(axis=0), expected, atol=0.06)
    np.testing.assert_allclose(by_model.sample(100_000, 2).mean(axis=0), expected, atol=0.06)
    np.testing.assert_array_equal(by_model.graph.contemporaneous, mutilated != 0)
    assert (by_argument[:, target] == 3.0).all()


def test_do_by_keyword_leaves_the_original_alone():
    scm = linear_gaussian()
    before = scm.sample(10, 0)
    changed = scm.do(X1=1.0, X2=2.0)
    assert (changed.sample(10, 0)[:, [2, 1]] == [1.0, 2.0]).all()
    np.testing.assert_array_equal(scm.sample(10, 0), before)


def test_non_descendants_do_not_move_under_do():
    scm = linear_gaussian()
    factual = scm.sample(50, 3)
    moved = scm.sample(50, 3, do={"X2": 9.0}) != factual
    np.testing.assert_array_equal(moved.all(axis=0), [True, True, False, False])
    np.testing.assert_array_equal(moved.any(axis=0), [True, True, False, False])


def test_counterfactuals_of_a_linear_model_have_their_closed_form():
    scm = linear_gaussian()
    data = scm.sample(100, 4)
    answer = scm.counterfactual(data, {"X2": 2.0, "X3": -1.0})
    shift = np.zeros((100, 4))
    shift[:, 1], shift[:, 3] = 2.0 - data[:, 1], -1.0 - data[:, 3]
    expected = data + shift
    expected[:, 0] += shift @ WEIGHTS[:, 0]
    np.testing.assert_allclose(answer, expected, rtol=1e-12, atol=1e-12)


def test_counterfactual_worked_by_hand():
    # Y = 2 X + U: X = 1 and Y = 3 were seen, so U = 1; had X been 5, Y would have been 11.
    scm = SCM([Variable("X"), Variable("Y", Linear([2.0]), parents=("X",))])
    assert scm.counterfactual([[1.0, 3.0]], {"X": 5.0}).tolist() == [[5.0, 11.0]]
    assert scm.abduct([[1.0, 3.0]]).tolist() == [[1.0, 1.0]]


def nonlinear() -> SCM:
    return SCM(
        [
            Variable("c", lambda a, b: np.sin(a) * b, Laplace(0.2), ("a", "b")),
            Variable("a"),
            Variable("b", Tanh([3.0]), Gaussian(0.1), ("a",)),
            Variable("y", Linear([1.0, -1.0]), NoNoise(), ("c", "a"), kind="reward"),
        ]
    )


def test_the_factual_intervention_gives_the_facts_bit_for_bit():
    scm = nonlinear()
    data = scm.sample(2000, 5)
    np.testing.assert_array_equal(scm.counterfactual(data, {}), data)
    under_do = scm.sample(2000, 5, do={"b": 0.5})
    np.testing.assert_array_equal(scm.counterfactual(under_do, {"b": 0.5}), under_do)
    # Even for rows that the model could not have made.
    foreign = np.random.default_rng(6).normal(size=(2000, 4)) * 10.0 ** np.arange(-8, 8, 4)
    np.testing.assert_array_equal(scm.counterfactual(foreign, {}), foreign)


def test_abduction_inverts_bit_for_bit():
    scm = nonlinear()
    data = scm.sample(5000, 7)
    np.testing.assert_array_equal(scm.from_noise(scm.abduct(data)), data)


def test_abduction_inverts_at_a_power_of_two_where_the_rounded_difference_does_not():
    # y = x + e with x = -(2k + 1) 2^-53 and e = 1 + (k + 1) 2^-52 rounds to 1; 1 - x rounds to an
    # e that is one step too small for every even k.
    scm = SCM([Variable("x"), Variable("y", Linear([1.0]), parents=("x",))])
    k = np.arange(50)
    data = scm.from_noise(np.stack([-(2 * k + 1) * 2.0**-53, 1 + (k + 1) * 2.0**-52], axis=1))
    assert (data[:, 1] == 1.0).all()
    naive = data[:, 1] - data[:, 0]
    assert (data[:, 0] + naive != 1.0).sum() == 25
    np.testing.assert_array_equal(scm.from_noise(scm.abduct(data)), data)


def test_counterfactual_keeps_the_noise():
    scm = nonlinear()
    data = scm.sample(300, 8)
    answer = scm.counterfactual(data, {"a": 0.3})
    np.testing.assert_allclose(scm.abduct(answer)[:, [0, 2, 3]], scm.abduct(data)[:, [0, 2, 3]])
    np.testing.assert_allclose(
        answer, scm.from_noise(scm.abduct(data), do={"a": 0.3}), rtol=1e-12, atol=1e-12
    )


def test_soft_do_replaces_mechanisms_noises_and_variables():
    scm = linear_gaussian()
    shifted = scm.soft_do({"X1": Gaussian(0.1), "X2": lambda x: x * 0.0 + 7.0})
    data = shifted.sample(5000, 0)
    assert data[:, 2].std() == pytest.approx(0.1, rel=0.1)
    assert data[:, 1].mean() == pytest.approx(7.0, abs=0.1)
    rewired = scm.soft_do({"X3": Variable("X3", Linear([1.0]), parents=("X2",))})
    assert rewired.graph.parents("X3") == ("X2",)
    with pytest.raises(ValueError, match=r"^cycle: "):
        scm.soft_do({"X1": Variable("X1", Linear([1.0]), parents=("X4",))})


def test_seeds_and_generators():
    scm = linear_gaussian()
    np.testing.assert_array_equal(scm.sample(5, 3), scm.sample(5, np.random.default_rng(3)))
    rng = np.random.default_rng(3)
    assert not np.array_equal(scm.sample(5, rng), scm.sample(5, rng))


def test_pickle_and_deepcopy():
    scm = linear_gaussian()
    for twin in (pickle.loads(pickle.dumps(scm)), copy.deepcopy(scm)):
        np.testing.assert_array_equal(twin.sample(20, 0), scm.sample(20, 0))
        assert twin.graph == scm.graph


def test_data_is_not_changed():
    scm = nonlinear()
    data = scm.sample(10, 0)
    kept = data.copy()
    scm.abduct(data)
    scm.counterfactual(data, {"a": 1.0})
    scm.from_noise(data)
    np.testing.assert_array_equal(data, kept)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda s: s.sample(0, 0), ValueError, "n must be >= 1, got 0"),
        (lambda s: s.sample(2.5, 0), TypeError, "n must be an integer"),
        (lambda s: s.sample(3, None), TypeError, "rng must be a numpy.random.Generator"),
        (lambda s: s.sample(3, -1), ValueError, "rng as a seed must be >= 0"),
        (lambda s: s.sample(3, True), TypeError, "rng must be"),
        (lambda s: s.sample(3, 0, do={"Z": 1.0}), ValueError, "do names 'Z'; the variables are X4"),
        (lambda s: s.sample(3, 0, do=[1.0]), TypeError, "do must map names, got list"),
        (lambda s: s.do({"X1": np.nan}), ValueError, "do value of 'X1' must be finite"),
        (lambda s: s.do(X1="high"), TypeError, "do value of 'X1' must be a number"),
        (lambda s: s.soft_do({"X1": 3}), TypeError, "soft_do of 'X1' must be a Variable"),
        (lambda s: s.soft_do({"Z": Gaussian()}), ValueError, "soft_do names 'Z'"),
        (lambda s: s.soft_do({"X1": Variable("X2")}), ValueError, "got a variable named 'X2'"),
        (lambda s: s.soft_do({"X1": Linear([1.0])}), ValueError, "variable 'X1': its mechanism"),
        (lambda s: s.abduct(np.zeros((3, 5))), ValueError, r"data must have shape \(batch, 4\)"),
        (lambda s: s.abduct(np.zeros(4)), ValueError, "data must have shape"),
        (lambda s: s.abduct([[0, 0, np.nan, 0]]), ValueError, "data must be finite, row 0"),
        (lambda s: s.from_noise([[0, 0, np.inf, 0]]), ValueError, "noise must be finite"),
        (lambda s: s.counterfactual(np.zeros((1, 4)), {"Z": 0}), ValueError, "do names 'Z'"),
    ],
)
def test_bad_arguments_are_refused(call, error, message):
    with pytest.raises(error, match=message):
        call(linear_gaussian())
