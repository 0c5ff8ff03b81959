"""The evidence of Gaussian processes against closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import logsumexp

from causal_rl.discovery.kernel_evidence import KernelEvidence

N = 40
RATIOS = np.exp(np.linspace(0.0, 14.0, 15))


def _data(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(N, 3))
    y = np.column_stack([np.sin(2 * x[:, 0]) + 0.3 * rng.normal(size=N), rng.normal(size=N)])
    return x, y


def _dense(x: np.ndarray, y: np.ndarray, lengths: tuple[float, ...]) -> float:
    """The same number from N by N covariance matrices, for one target."""
    n, k = x.shape
    centre = np.eye(n) - 1.0 / n
    square = ((x[:, None] - x[None]) ** 2).sum(axis=-1)
    straight = centre @ x @ x.T @ centre
    kernels = [straight]
    for length in lengths:
        kernels.append(centre @ (1 / (1 + square / (2 * length**2 * k))) @ centre + straight)
    y = y - y.mean()
    found = []
    for kernel in kernels:
        each = []
        for ratio in RATIOS:
            covariance = np.eye(n) + ratio * kernel
            left = y @ np.linalg.solve(covariance, y) / (y @ y)
            each.append(-0.5 * n * np.log(left) - 0.5 * np.linalg.slogdet(covariance)[1])
        found.append(logsumexp(each) - np.log(len(RATIOS)))
    return float(logsumexp(found) - np.log(len(kernels)))


@pytest.mark.parametrize("parents", [[0], [1], [0, 2], [0, 1, 2]])
def test_it_is_the_marginal_likelihood_where_every_row_is_inducing(parents: list[int]) -> None:
    x, y = _data()
    lengths = (0.7, 2.0)
    score = KernelEvidence(x, y, np.ones(y.shape, bool), inducing=N, lengths=lengths)
    for target in range(2):
        expected = _dense(x[:, parents], y[:, target], lengths)
        # The jitter of the inducing rows' own covariance is all that differs.
        assert score(target, parents) == pytest.approx(expected, abs=0.05)


def test_what_explains_has_evidence_and_noise_has_none() -> None:
    x, y = _data()
    score = KernelEvidence(x, y, np.ones(y.shape, bool))
    assert score(0, []) == 0.0
    assert score(0, [0]) > 10
    assert score(0, [1]) < 0
    assert score(1, [0]) < 0
    assert score(0, [0, 1]) < score(0, [0])


def test_a_target_scores_alone_as_among_others_and_order_does_not_matter() -> None:
    x, y = _data(1)
    both = KernelEvidence(x, y, np.ones(y.shape, bool), inducing=20)
    alone = KernelEvidence(x, y[:, 1:], np.ones((N, 1), bool), inducing=20)
    assert both(1, [0, 2]) == pytest.approx(alone(0, [0, 2]), rel=1e-9)
    assert both(1, [2, 0]) == both(1, [0, 2])
    assert both.evaluations == 1


def test_rows_that_do_not_count_do_not_matter() -> None:
    x, y = _data(2)
    counted = np.ones(y.shape, bool)
    counted[::3, 0] = False
    changed = y.copy()
    changed[::3, 0] = 99.0
    first = KernelEvidence(x, y, counted)(0, [0])
    assert KernelEvidence(x, changed, counted)(0, [0]) == pytest.approx(first, rel=1e-9)
    assert first != pytest.approx(KernelEvidence(x, y, np.ones(y.shape, bool))(0, [0]), rel=1e-3)


def test_without_rows_nothing_is_known() -> None:
    x, y = _data(3)
    counted = np.zeros(y.shape, bool)
    counted[:2] = True
    assert KernelEvidence(x, y, counted)(0, [0]) == 0.0
