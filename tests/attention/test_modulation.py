from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from causal_rl.attention import LOG_FLOOR, MODULATIONS, attention_mask, prepare_mask


@st.composite
def dags(draw: st.DrawFn, max_n: int = 7) -> Tensor:
    n = draw(st.integers(1, max_n))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    upper = np.triu(rng.random((n, n)) < draw(st.floats(0, 1)), 1)
    order = rng.permutation(n)
    return torch.from_numpy(upper[np.ix_(order, order)])


@settings(max_examples=60, deadline=None)
@given(dags())
def test_query_sees_exactly_its_parents_and_itself(graph: Tensor) -> None:
    before = graph.clone()
    mask = attention_mask(graph)
    for i in range(len(graph)):
        for j in range(len(graph)):
            assert bool(mask[j, i]) == (bool(graph[i, j]) or i == j)
    assert torch.equal(graph, before)


@settings(max_examples=40, deadline=None)
@given(dags(), st.sampled_from([torch.bool, torch.int64, torch.float32, torch.float64]))
def test_dtypes_and_batches_agree(graph: Tensor, dtype: torch.dtype) -> None:
    mask = attention_mask(graph.to(dtype))
    assert mask.dtype == dtype
    assert torch.equal(mask != 0, attention_mask(graph))
    batch = torch.stack([graph, graph.T]).to(dtype)
    assert torch.equal(attention_mask(batch)[1], attention_mask(batch[1]))


def test_numpy_graphs_are_copied() -> None:
    array = np.array([[0.0, 1.0], [0.0, 0.0]])
    array.flags.writeable = False
    assert torch.equal(attention_mask(array), attention_mask(torch.tensor(array.tolist()).double()))


def test_hard_is_zero_or_minus_infinity_whatever_the_sign() -> None:
    graph = torch.tensor([[0.0, -0.2, 3.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    add = prepare_mask(graph, "hard", dtype=torch.float64).add
    assert add is not None
    inf = torch.inf
    expected = torch.tensor([[0, -inf, -inf], [0, 0, -inf], [0, -inf, 0]], dtype=torch.float64)
    assert torch.equal(add, expected)


def test_log_is_the_floored_log_strength() -> None:
    graph = torch.tensor([[0.0, -0.25], [0.0, 0.0]], dtype=torch.float64)
    add = prepare_mask(graph, "log", dtype=torch.float64).add
    assert add is not None
    assert add[1, 0].item() == pytest.approx(np.log(LOG_FLOOR + (1 - LOG_FLOOR) * 0.25))
    assert add[0, 1].item() == pytest.approx(np.log(LOG_FLOOR))
    assert add.diagonal().tolist() == [0.0, 0.0]


def test_log_gradient_is_finite_and_alive_at_zero() -> None:
    graph = torch.zeros(3, 3, requires_grad=True)
    add = prepare_mask(graph, "log").add
    assert add is not None
    add.sum().backward()
    assert graph.grad is not None
    expected = (1 - LOG_FLOOR) / LOG_FLOOR * (1 - torch.eye(3))
    torch.testing.assert_close(graph.grad, expected)


@pytest.mark.parametrize("modulation", MODULATIONS)
def test_a_full_graph_needs_no_mask(modulation: str) -> None:
    for graph in (torch.ones(4, 4), torch.ones(2, 4, 4), ~torch.eye(4, dtype=torch.bool)):
        mask = prepare_mask(graph, modulation)
        assert mask.add is None
        assert mask.multiply is None
        assert mask.n == 4


@pytest.mark.parametrize("modulation", ["log", "scale"])
def test_a_full_graph_that_learns_keeps_its_mask(modulation: str) -> None:
    mask = prepare_mask(torch.ones(4, 4, requires_grad=True), modulation)
    tensor = mask.add if modulation == "log" else mask.multiply
    assert tensor is not None
    assert tensor.requires_grad


@pytest.mark.parametrize("function", [attention_mask, prepare_mask])
@pytest.mark.parametrize(
    ("graph", "error", "message"),
    [
        ([[0, 1], [0, 0]], TypeError, r"^graph: list; allowed: a tensor or array"),
        (torch.zeros(2, 2, dtype=torch.complex64), TypeError, "complex64; allowed: bool"),
        (np.zeros((2, 2), dtype=complex), TypeError, "complex128; allowed: bool"),
        (np.array([["a"]]), TypeError, "allowed: bool, integer or float"),
        (torch.zeros(3), ValueError, r"shape \(3,\); allowed: \(n, n\) or \(B, n, n\)"),
        (torch.zeros(2, 3), ValueError, r"shape \(2, 3\); allowed"),
        (torch.zeros(1, 1, 2, 2), ValueError, r"shape \(1, 1, 2, 2\); allowed"),
        (torch.zeros(0, 0), ValueError, r"shape \(0, 0\); allowed"),
        (torch.tensor([[0, np.nan], [0, 0]]), ValueError, r"graph: nan at \(0, 1\); allowed"),
        (torch.tensor([[0, 0], [-np.inf, 0]]), ValueError, r"graph: -inf at \(1, 0\); allowed"),
        (np.array([[0, 0], [0, np.nan]]), ValueError, r"graph: nan at \(1, 1\); allowed"),
    ],
)
def test_bad_graphs(function, graph, error, message) -> None:
    with pytest.raises(error, match=message) as caught:
        function(graph)
    assert "\n" not in str(caught.value)


def test_bad_options() -> None:
    graph = torch.zeros(2, 2)
    with pytest.raises(ValueError, match=r"unknown 'soft'; allowed: 'hard', 'log', 'scale'"):
        prepare_mask(graph, "soft")
    for floor in (0.0, 1.0, -1.0, float("nan")):
        with pytest.raises(ValueError, match=r"^log_floor: .*allowed: a number inside \(0, 1\)"):
            prepare_mask(graph, "log", log_floor=floor)
    with pytest.raises(TypeError, match=r"^dtype: torch.int64; allowed"):
        prepare_mask(graph, dtype=torch.int64)
    with pytest.raises(ValueError, match=r"graph: 1.5 at \(0, 1\).*\[-1, 1\]"):
        prepare_mask(torch.tensor([[0, 1.5], [0, 0]]), "log")
