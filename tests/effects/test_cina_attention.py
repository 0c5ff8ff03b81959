"""CInA's attention form against its exact dual."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from causal_rl.effects.cina_attention import BalancingAttention, fit_attention, values_of
from causal_rl.effects.cina_dual import solve_dual
from causal_rl.effects.cina_families import DataFamily
from causal_rl.effects.cina_kernel import gram_matrix, standardise


def data_set(rows: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    drawn = DataFamily(covariates=5).draw(1, rows, np.random.default_rng(seed))
    return drawn.X[0], 2.0 * drawn.t[0] - 1


def test_decision_values_are_those_of_a_softmax_attention_layer() -> None:
    X, sign = data_set(20)
    layer = BalancingAttention(X, sign, 0.5)
    with torch.no_grad():
        layer.scaled.copy_(torch.randn(20, generator=torch.Generator().manual_seed(0)).double())
        layer.bias.fill_(0.3)
        keys = torch.as_tensor(standardise(X)) / 5**0.25
        weights = torch.softmax(keys @ keys.T / 5**0.5, dim=1)
        np.testing.assert_allclose(layer(), weights @ layer.values() + 0.3, atol=1e-9)


def test_penalty_is_the_norm_of_the_values_in_the_keys_features() -> None:
    X, sign = data_set(20)
    layer = BalancingAttention(X, sign, 0.5)
    with torch.no_grad():
        layer.scaled.copy_(torch.randn(20, generator=torch.Generator().manual_seed(1)).double())
        keys = torch.as_tensor(standardise(X)) / 5**0.25
        E = torch.exp(keys @ keys.T / 5**0.5)
        v = layer.values()
        hinge = (1 - layer.sign * layer()).clamp_min(0).sum()
        assert layer.loss().item() == pytest.approx((0.25 * v @ E @ v / 20**2 + hinge).item())


@pytest.mark.parametrize(("rows", "penalty"), [(40, 1.0), (50, 0.3)])
def test_trained_layer_reaches_the_exact_dual(rows, penalty) -> None:
    X, sign = data_set(rows)
    gram = gram_matrix(X)
    assert np.linalg.eigvalsh(gram)[0] > 1e-6  # strictly convex
    exact = solve_dual(gram, sign, penalty)
    found = fit_attention(X, sign, penalty)
    assert 0 <= found.gap < 1e-4
    assert found.a.min() >= 0
    assert found.a.max() <= 1
    np.testing.assert_allclose(found.decision, exact.decision, atol=1e-3)
    np.testing.assert_allclose(found.a, exact.a, atol=2e-3)
    values = values_of(exact.a, sign, X, penalty)
    np.testing.assert_allclose(found.values, values, atol=1e-3 * np.abs(values).max())


def test_rounded_hinge_is_above_the_hinge_and_near_it() -> None:
    X, sign = data_set(30)
    layer = BalancingAttention(X, sign, 1.0)
    with torch.no_grad():
        layer.bias.fill_(0.7)
        sharp, rounded = layer.loss().item(), layer.loss(0.5).item()
    assert sharp <= rounded <= sharp + 30 * 0.5 / 8


def test_stops_at_the_gap_asked_for_or_when_its_steps_end() -> None:
    X, sign = data_set(30)
    rough, fine = fit_attention(X, sign, 0.3, tolerance=4.0), fit_attention(X, sign, 0.3)
    assert rough.steps < fine.steps
    assert fine.gap < rough.gap <= 4.0
    assert fit_attention(X, sign, 0.3, max_steps=5).gap > 1e-4
    assert fit_attention(X, sign, 0.3, tolerance=1.0, dtype=torch.float32).gap <= 1.0


def test_bad_input_is_refused() -> None:
    X, sign = data_set(10)
    with pytest.raises(ValueError, match="sign must be"):
        BalancingAttention(X, sign[:5], 1.0)
    with pytest.raises(ValueError, match="same in every row"):
        fit_attention(X, np.ones(10), 1.0)
    with pytest.raises(ValueError, match="penalty is"):
        fit_attention(X, sign, -1.0)
    with pytest.raises(ValueError, match="max_steps is 0"):
        fit_attention(X, sign, 1.0, max_steps=0)
