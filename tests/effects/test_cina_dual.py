"""The exact balancing weights of CInA."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from causal_rl.effects.cina_dual import best_bias, dual_point, equal_sums, solve_dual
from causal_rl.effects.cina_kernel import KERNELS, gram_matrix, standardise
from causal_rl.effects.cina_weights import BalancingWeights, normalise

FloatArray = NDArray[np.float64]


def confounded(rows: int, seed: int, p: int = 4) -> tuple[FloatArray, FloatArray]:
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((rows, p))
    treated = rng.random(rows) < 1 / (1 + np.exp(-X[:, 0] - X[:, 1]))
    return X, np.where(treated, 1.0, -1.0)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("penalty", [3.0, 0.1])
def test_solution_is_feasible_and_its_gap_closes(kernel, penalty) -> None:
    X, sign = confounded(60, 0)
    found = solve_dual(gram_matrix(X, kernel), sign, penalty)
    assert found.a.min() >= 0
    assert found.a.max() <= 1
    assert sign @ found.a == pytest.approx(0, abs=1e-9)
    assert 0 <= found.gap < 1e-7


@pytest.mark.parametrize("penalty", [1.0, 0.1])
def test_equals_libsvm(penalty) -> None:
    svm = pytest.importorskip("sklearn.svm")
    X, sign = confounded(80, 1)
    gram = gram_matrix(X)
    assert np.linalg.eigvalsh(gram)[0] > 1e-6  # strictly convex: the weights are unique
    found = solve_dual(gram, sign, penalty)
    machine = svm.SVC(C=1 / penalty, kernel="precomputed", tol=1e-9).fit(gram, sign)
    a = np.zeros(80)
    a[machine.support_] = np.abs(machine.dual_coef_[0]) * penalty
    np.testing.assert_allclose(found.a, a, atol=1e-5)
    np.testing.assert_allclose(found.decision, machine.decision_function(gram), atol=1e-4)


def test_two_rows_in_closed_form() -> None:
    # minimise (a1 - a2 k)-type square at a1 = a2 = a: 4 a^2 / 1 - 4 lambda a, so a = lambda / 2.
    gram = np.array([[1.0, -1.0], [-1.0, 1.0]])
    found = solve_dual(gram, [1.0, -1.0], 0.5)
    np.testing.assert_allclose(found.a, [0.25, 0.25], atol=1e-8)
    # At a large lambda the box binds.
    np.testing.assert_allclose(solve_dual(gram, [1.0, -1.0], 9.0).a, [1.0, 1.0], atol=1e-8)


def test_no_feasible_point_is_better() -> None:
    X, sign = confounded(40, 2)
    gram = gram_matrix(X, "rbf")
    best = solve_dual(gram, sign, 0.5)
    rng = np.random.default_rng(0)
    for _ in range(50):
        other = dual_point(gram, sign, 0.5, equal_sums(rng.random(40), sign))
        assert other.dual <= best.dual + 1e-8
        assert other.primal >= best.primal - 1e-8


def test_order_of_rows_and_names_of_arms_do_not_matter() -> None:
    X, sign = confounded(50, 3)
    order = np.random.default_rng(0).permutation(50)
    a = solve_dual(gram_matrix(X), sign, 0.3).a
    np.testing.assert_allclose(solve_dual(gram_matrix(X[order]), sign[order], 0.3).a, a[order],
                               atol=1e-6)  # fmt: skip
    np.testing.assert_allclose(solve_dual(gram_matrix(X), -sign, 0.3).a, a, atol=1e-6)


def test_smaller_penalty_balances_more_by_fewer_rows() -> None:
    X, sign = confounded(120, 4)
    found = []
    for penalty in (10.0, 0.1):
        a = solve_dual(gram_matrix(X, "linear"), sign, penalty).a
        found.append(BalancingWeights(normalise(a, sign > 0), sign > 0, penalty, 0.0))
    even, tight = found
    assert np.abs(tight.imbalance(X)).max() < 0.02 < np.abs(even.imbalance(X)).max()
    assert sum(tight.effective_sample_size) < sum(even.effective_sample_size)


def test_best_bias_is_the_least_of_the_hinge_loss() -> None:
    rng = np.random.default_rng(5)
    score, sign = rng.normal(size=31), np.where(rng.random(31) < 0.4, 1.0, -1.0)

    def hinge(bias: float) -> float:
        return float(np.maximum(1 - sign * (score + bias), 0).sum())

    least = min(hinge(b) for b in np.linspace(-5, 5, 4001))
    assert hinge(best_bias(score, sign)) <= least + 1e-9


def test_kish_size_of_even_weights_is_the_rows() -> None:
    treated = np.array([True, True, True, False, False])
    found = BalancingWeights(normalise(np.full(5, 0.2), treated), treated, 1.0, 0.0)
    assert found.effective_sample_size == pytest.approx((2.0, 3.0))
    assert found.contrast([1.0, 2.0, 3.0, 10.0, 20.0]) == pytest.approx(2.0 - 15.0)
    np.testing.assert_allclose(found.imbalance(np.ones((5, 1))), [0.0])
    np.testing.assert_allclose(normalise(np.zeros(5), treated), [1 / 3, 1 / 3, 1 / 3, 0.5, 0.5])


def test_standard_error_of_even_weights_without_covariates_is_the_usual_one() -> None:
    rng = np.random.default_rng(6)
    treated = np.arange(40) < 15
    y = rng.standard_normal(40)
    found = BalancingWeights(normalise(np.ones(40), treated), treated, 1.0, 0.0)
    usual = np.sqrt(y[treated].var(ddof=1) / 15 + y[~treated].var(ddof=1) / 25)
    assert found.standard_error(np.empty((40, 0)), y) == pytest.approx(usual)


def test_attention_kernel_is_what_a_row_softmax_is_linear_in() -> None:
    X, _ = confounded(12, 7)
    rows = standardise(X)
    p = rows.shape[1]
    keys = rows / p**0.25
    E = np.exp(keys @ keys.T / np.sqrt(p))
    h = E.mean(axis=1)
    np.testing.assert_allclose(gram_matrix(X), E / np.outer(h, h), rtol=1e-10)
    assert np.linalg.eigvalsh(gram_matrix(X))[0] > 0


def test_columns_that_do_not_vary_are_left_out() -> None:
    X, _ = confounded(12, 8)
    np.testing.assert_allclose(gram_matrix(np.column_stack([X, np.full(12, 1e9)])), gram_matrix(X))
    assert gram_matrix(np.empty((3, 0))).tolist() == np.zeros((3, 3)).tolist()


@pytest.mark.parametrize(
    ("gram", "sign", "penalty", "message"),
    [
        (np.eye(3), [1.0, -1.0], 1.0, "gram has shape"),
        (np.eye(2), [1.0, 1.0], 1.0, "sign must be"),
        (np.eye(2), [1.0, 0.0], 1.0, "sign must be"),
        (np.array([[1.0, 0.5], [0.0, 1.0]]), [1.0, -1.0], 1.0, "not symmetric"),
        (np.array([[np.nan, 0.0], [0.0, 1.0]]), [1.0, -1.0], 1.0, "not finite"),
        (np.array([[1.0, 2.0], [2.0, 1.0]]), [1.0, -1.0], 1.0, "not positive semi-definite"),
        (np.eye(2), [1.0, -1.0], 0.0, "penalty is 0.0"),
    ],
)
def test_bad_problems_are_refused(gram, sign, penalty, message) -> None:
    with pytest.raises(ValueError, match=message):
        solve_dual(gram, sign, penalty)


def test_bad_features_are_refused() -> None:
    with pytest.raises(ValueError, match="kernel is 'cosine'"):
        gram_matrix(np.ones((2, 2)), "cosine")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="X has shape"):
        gram_matrix(np.ones(3))
    with pytest.raises(ValueError, match="not finite"):
        gram_matrix(np.array([[np.inf], [0.0]]))
    with pytest.raises(ValueError, match="tolerance is"):
        solve_dual(np.eye(2), [1.0, -1.0], 1.0, tolerance=2.0)
