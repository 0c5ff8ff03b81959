from __future__ import annotations

import numpy as np
import pytest

from causal_rl.scm import MLP, Constant, Function, Linear, Mechanism, Scaled, Tanh

X = np.random.default_rng(0).normal(size=(37, 3))
W = np.array([0.5, -2.0, 1.5])
NETWORK = MLP.random(3, np.random.default_rng(1), hidden=7)


class Product(Mechanism):
    """A user's own mechanism: `__call__` alone."""

    n_parents = 3

    def __call__(self, parents):
        return parents.prod(axis=1)


def network_reference(x):
    hidden = np.tanh(x @ NETWORK.in_weights + NETWORK.in_bias)
    return hidden @ NETWORK.out_weights + NETWORK.out_bias


CASES = [
    (Linear(W, 0.25), lambda x: x @ W + 0.25),
    (Linear(W), lambda x: x @ W),
    (Tanh(W, 0.5, 3.0), lambda x: 3.0 * np.tanh(x @ W + 0.5)),
    (NETWORK, network_reference),
    (Scaled(Tanh(W), 1.0, -2.0), lambda x: 1.0 - 2.0 * np.tanh(x @ W)),
    (Function(lambda a, b, c: a * b - c), lambda x: x[:, 0] * x[:, 1] - x[:, 2]),
    (Product(), lambda x: x.prod(axis=1)),
]


@pytest.mark.parametrize(("mechanism", "reference"), CASES)
def test_values_agree_with_matrix_algebra(mechanism, reference):
    np.testing.assert_allclose(mechanism(X), reference(X), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(
        mechanism.evaluate(list(X.T.copy()), len(X)), reference(X), rtol=1e-12, atol=1e-12
    )


@pytest.mark.parametrize("mechanism", [case[0] for case in CASES])
def test_a_row_alone_gives_the_bits_it_gives_in_a_batch(mechanism):
    alone = np.concatenate([mechanism(row[None]) for row in X])
    np.testing.assert_array_equal(alone, mechanism(X))


@pytest.mark.parametrize("mechanism", [case[0] for case in CASES])
def test_arguments_are_not_changed(mechanism):
    kept = X.copy()
    mechanism(X)
    np.testing.assert_array_equal(X, kept)


@pytest.mark.parametrize("hidden", [1, 2, 3, 5, 8, 16, 31])
def test_mlp_sums_all_hidden_units(hidden):
    ones = MLP(np.zeros((1, hidden)), np.full(hidden, 100.0), np.arange(1.0, hidden + 1))
    assert ones(np.zeros((4, 1))).tolist() == [hidden * (hidden + 1) / 2] * 4


def test_without_parents_the_batch_is_filled():
    assert Constant(2.0).evaluate([], 3).tolist() == [2.0] * 3
    assert Linear([], 1.5).evaluate([], 2).tolist() == [1.5] * 2
    assert Function(lambda: 4.0).evaluate([], 2).tolist() == [4.0] * 2


def test_function_reads_its_arity_where_it_is_fixed():
    assert Function(lambda a, b: a + b).n_parents == 2
    assert Function(lambda *columns: columns[0]).n_parents is None
    assert Function(lambda a, b=1.0: a + b).n_parents is None
    assert Function(np.tanh).n_parents in (None, 1)


def test_parameters_are_copied_and_read_only():
    weights = np.ones(2)
    mechanism = Linear(weights)
    weights[0] = 9.0
    assert mechanism.weights.tolist() == [1.0, 1.0]
    with pytest.raises(ValueError, match="read-only"):
        mechanism.weights[0] = 3.0


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Constant(float("inf")), ValueError, "Constant value must be finite"),
        (lambda: Linear([1.0, float("nan")]), ValueError, "weights must be finite"),
        (lambda: Linear([[1.0]]), ValueError, r"weights must have 1 dimension\(s\)"),
        (lambda: Linear([1.0], bias="b"), TypeError, "bias must be a number"),
        (lambda: Tanh([1.0], scale=float("nan")), ValueError, "scale must be finite"),
        (lambda: MLP([[1.0, 2.0]], [0.0], [1.0, 1.0]), ValueError, "in_bias must have shape"),
        (lambda: MLP([[1.0, 2.0]], [0.0, 0.0], [1.0]), ValueError, "out_weights must have shape"),
        (lambda: MLP(np.empty((0, 2)), [0, 0], [1, 1]), ValueError, "must not be empty"),
        (lambda: MLP.random(0, np.random.default_rng(0)), ValueError, "k must be >= 1, got 0"),
        (lambda: MLP.random(1, np.random.default_rng(0), 0), ValueError, "hidden must be >= 1"),
        (lambda: Scaled(np.tanh), TypeError, "mechanism must be a Mechanism"),
        (lambda: Function(3), TypeError, "mechanism must be a Mechanism or a callable, got 3"),
        (lambda: Linear([1.0, 2.0])(X), ValueError, r"parents must have shape \(batch, 2\)"),
        (lambda: Linear([1.0])(X[0]), ValueError, r"parents must have shape \(batch, 1\)"),
    ],
)
def test_bad_arguments_are_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()
