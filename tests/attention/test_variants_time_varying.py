from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from causal_rl.attention import MODULATIONS, CausalAttention, TimeVaryingAttention, attention_mask


def made(modulation: str = "log", n_variables: int | None = None) -> TimeVaryingAttention:
    torch.manual_seed(0)
    layer = TimeVaryingAttention(8, 2, modulation, n_variables=n_variables).double()
    with torch.no_grad():
        layer.from_tokens.mul_(20.0)  # the tokens open and close gates
    return layer


def tokens(*shape: int, seed: int = 0) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape))


@torch.no_grad()
def naive_graphs(layer: TimeVaryingAttention, x: Tensor, first: Tensor) -> Tensor:
    """A.1.3, edge by edge."""
    batch, steps, n, width = x.shape
    found = torch.zeros(batch, steps, n, n, dtype=x.dtype)
    for b in range(batch):
        found[b, 0] = first
        for t in range(1, steps):
            for i in range(n):
                for j in range(n):
                    before, values = found[b, t - 1], x[b, t - 1]
                    if layer.n_variables is None:
                        both = torch.cat([values[i], values[j]])
                        logit = layer.from_graph[0, 0] * before[i, j]
                        logit = logit + layer.from_tokens[0] @ both + layer.offset[0]
                    else:
                        edge = i * n + j
                        logit = layer.offset[edge].clone()
                        for other in range(n * n):
                            weight = layer.from_graph[edge, other]
                            logit += weight * before[other // n, other % n]
                        for entry in range(n * width):
                            weight = layer.from_tokens[edge, entry]
                            logit += weight * values[entry // width, entry % width]
                    found[b, t, i, j] = 1 / (1 + math.exp(-float(logit)))
    return found


@pytest.mark.parametrize("n_variables", [None, 3])
@pytest.mark.parametrize("modulation", MODULATIONS)
def test_equals_a_naive_loop(modulation, n_variables) -> None:
    layer, x = made(modulation, n_variables), tokens(2, 4, 3, 8)
    first = torch.tensor([[0, 1, 0], [0, 0, 1], [0, 0, 0]], dtype=x.dtype)
    expected = naive_graphs(layer, x, first)
    assert 0 < (expected[:, 1:] > 0.5).sum() < expected[:, 1:].numel()
    torch.testing.assert_close(layer.graphs(x, first).detach(), expected)
    out, weights = layer(x, first, need_weights=True)
    assert out.shape == x.shape
    assert weights.shape == (2, 4, 2, 3, 3)
    torch.testing.assert_close(layer(x, first), out)
    plain = CausalAttention(8, 2, modulation).double()
    plain.load_state_dict(layer.state_dict(), strict=False)
    for t in range(4):
        graph = expected[:, t] > 0.5 if modulation == "hard" else expected[:, t]
        one, one_weights = plain(x[:, t], graph, need_weights=True)
        torch.testing.assert_close(out[:, t], one)
        torch.testing.assert_close(weights[:, t], one_weights)


@pytest.mark.parametrize("modulation", MODULATIONS)
def test_the_first_step_and_gates_held_open_are_causal_attention(modulation) -> None:
    layer, x = made(modulation), tokens(2, 3, 4, 8)
    plain = CausalAttention(8, 2, modulation).double()
    plain.load_state_dict(layer.state_dict(), strict=False)
    graph = torch.ones(4, 4).triu(1)
    torch.testing.assert_close(layer(x[:, :1], graph)[:, 0], plain(x[:, 0], graph))
    with torch.no_grad():
        layer.offset.fill_(100.0)
    full = torch.ones(4, 4)
    for t in range(3):
        torch.testing.assert_close(layer(x, full)[:, t], plain(x[:, t], full))


def test_hard_closes_gates_exactly_and_keeps_the_diagonal() -> None:
    layer, x = made("hard"), tokens(2, 5, 4, 8)
    graphs = layer.graphs(x, torch.zeros(4, 4))
    _, weights = layer(x, torch.zeros(4, 4), need_weights=True)
    seen = attention_mask((graphs > 0.5).flatten(0, 1)).view(2, 5, 1, 4, 4).expand_as(weights)
    assert torch.equal(weights != 0, seen)
    assert seen[:, 1:].any()
    assert not seen.all()


def test_a_new_layer_keeps_its_graph() -> None:
    torch.manual_seed(0)
    layer, graph = TimeVaryingAttention(8, 2), torch.ones(4, 4).triu(1)
    graphs = layer.graphs(tokens(3, 2, 4, 8).float(), graph)
    assert torch.equal(graphs[:, 1] > 0.5, (graph > 0.5).expand(3, 4, 4))
    torch.testing.assert_close(graphs[:, 1], 0.1 + 0.8 * graph.expand(3, 4, 4), atol=0.08, rtol=0)


@pytest.mark.parametrize("n_variables", [None, 4])
@pytest.mark.parametrize("modulation", MODULATIONS)
def test_gradients_reach_the_recursion(modulation, n_variables) -> None:
    layer, x = made(modulation, n_variables), tokens(2, 3, 4, 8).requires_grad_()
    first = torch.full((4, 4), 0.6, dtype=torch.float64, requires_grad=True)
    layer(x, first).square().sum().backward()
    for tensor in (x, first, *layer.parameters()):
        assert tensor.grad is not None
        assert tensor.grad.isfinite().all()
        assert tensor.grad.abs().max() > 0


def test_shared_weights_do_not_know_labels() -> None:
    layer, x = made(), tokens(2, 3, 4, 8)
    graph, new = torch.ones(4, 4).triu(1), torch.tensor([2, 0, 3, 1])
    moved = layer(x[:, :, new], graph[new][:, new])
    torch.testing.assert_close(moved, layer(x, graph)[:, :, new])


def test_bad_input() -> None:
    with pytest.raises(ValueError, match=r"^n_variables: 0; allowed: None or >= 1$"):
        TimeVaryingAttention(8, 2, n_variables=0)
    layer, x, graph = made(), tokens(2, 3, 4, 8), torch.zeros(4, 4)
    with pytest.raises(ValueError, match=r"^x: shape \(2, 4, 8\); allowed: \(batch, T, n, embed"):
        layer(x[:, 0], graph)
    with pytest.raises(TypeError, match=r"^graph: PreparedMask; allowed: G_0"):
        layer(x, layer.prepare(graph))
    with pytest.raises(ValueError, match=r"^graph: NaN or an entry outside \[0, 1\]"):
        layer(x, graph - 0.1)
    with pytest.raises(ValueError, match=r"^graph: has 3 variables; allowed: 4, as x has$"):
        layer(x, graph[:3, :3])
    with pytest.raises(ValueError, match=r"^graph: a batch of 3; allowed"):
        layer(x, graph.expand(3, 4, 4))
    with pytest.raises(ValueError, match=r"^x: has 4 variables; allowed: 3$"):
        made(n_variables=3)(x, graph)
    with pytest.raises(TypeError, match=r"^x: dtype torch.float32"):
        layer(x.float(), graph)
