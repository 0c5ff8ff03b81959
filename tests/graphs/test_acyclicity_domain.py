from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from causal_rl.graphs import (
    find_cycle,
    h_expm,
    h_expm_torch,
    h_logdet,
    h_logdet_torch,
    is_dag,
    topological_order,
)

TWO_CYCLE = np.array([[0.0, 1.0], [1.0, 0.0]])


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 6), st.floats(0.2, 5.0))
def test_the_domain_of_the_determinant_ends_where_the_spectral_radius_reaches_s(seed, n, s):
    # Positive entries: the matrix is irreducible and its radius moves with every weight.
    W = np.random.default_rng(seed).uniform(0.1, 1.0, (n, n))
    W *= np.sqrt(s / np.abs(np.linalg.eigvals(W * W)).max())
    assert h_logdet(0.999 * W, s)[0] > 0
    h_logdet_torch(torch.tensor(0.999 * W), s)
    for scale in (1.001, 1.5, 4.0):
        with pytest.raises(ValueError, match="W must have a spectral radius of W∘W below s"):
            h_logdet(scale * W, s)
        with pytest.raises(ValueError, match="W must have a spectral radius of W∘W below s"):
            h_logdet_torch(torch.tensor(scale * W), s)


def test_a_positive_determinant_outside_of_the_domain_is_refused():
    # Two rings of two: det(I - W∘W) = (1 - 16)² > 0, yet no M-matrix.
    W = 2.0 * np.kron(np.eye(2), TWO_CYCLE)
    assert np.linalg.det(np.eye(4) - W * W) > 0
    with pytest.raises(ValueError, match="spectral radius"):
        h_logdet(W)
    with pytest.raises(ValueError, match="spectral radius"):
        h_logdet_torch(torch.tensor(np.stack([0.1 * W, W])))


@pytest.mark.parametrize("s", [0.0, -1.0, float("nan"), float("inf")])
def test_s_must_be_positive_and_finite(s):
    with pytest.raises(ValueError, match="s must be a positive finite number"):
        h_logdet(np.zeros((2, 2)), s)
    with pytest.raises(ValueError, match="s must be a positive finite number"):
        h_logdet_torch(torch.zeros(2, 2), s)


def test_an_overflowing_exponential_is_refused():
    with pytest.raises(ValueError, match=r"W is too large.*100"):
        h_expm(100 * TWO_CYCLE)
    with pytest.raises(ValueError, match=r"W is too large.*100"):
        h_expm_torch(torch.tensor(100 * TWO_CYCLE))


@pytest.mark.parametrize("function", [is_dag, find_cycle, topological_order, h_expm, h_logdet])
def test_bad_matrices_are_refused_by_name(function):
    name = "W" if function in (h_expm, h_logdet) else "adjacency"
    for bad in (np.zeros((2, 3)), np.zeros(4), np.zeros((0, 0)), np.zeros((2, 2, 2))):
        with pytest.raises(ValueError, match=f"{name} must have shape"):
            function(bad)
    with pytest.raises(ValueError, match=rf"{name} must be finite, got nan at \[0, 1\]"):
        function([[0.0, np.nan], [0.0, 0.0]])
    with pytest.raises(TypeError, match=f"{name} must hold numbers"):
        function(np.zeros((2, 2), dtype=complex))


@pytest.mark.parametrize("function", [h_expm_torch, h_logdet_torch])
def test_bad_tensors_are_refused(function):
    for bad in (np.zeros((2, 2)), torch.zeros(2, 2, dtype=torch.int64)):
        with pytest.raises(TypeError, match="W must be a floating-point tensor"):
            function(bad)
    for bad in (torch.zeros(2), torch.zeros(2, 3), torch.zeros(0, 0)):
        with pytest.raises(ValueError, match="W must have shape"):
            function(bad)
    with pytest.raises(ValueError, match="W must be finite"):
        function(torch.full((2, 2), float("nan")))


def test_weights_whose_gradient_overflows_are_refused_in_one_line():
    with pytest.raises(ValueError, match=r"W is too large for the gradient.*1e\+100"):
        h_logdet(np.triu(np.full((3, 3), 1e100), 1))


@pytest.mark.parametrize("s", ["a", True, None])
def test_s_that_is_no_number_is_named(s):
    with pytest.raises(TypeError, match="s must be a number"):
        h_logdet(np.zeros((2, 2)), s)
