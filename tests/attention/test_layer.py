from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from causal_rl.attention import MODULATIONS, CausalAttention, attention_mask, prepare_mask


def random_dag(rng: np.random.Generator, n: int, density: float = 0.5) -> Tensor:
    upper = np.triu(rng.random((n, n)) < density, 1)
    order = rng.permutation(n)
    return torch.from_numpy(upper[np.ix_(order, order)])


def tokens(rng: np.random.Generator, *shape: int) -> Tensor:
    return torch.from_numpy(rng.normal(size=shape))


def layer(embed: int = 8, heads: int = 2, modulation: str = "hard", seed: int = 0, **options):
    torch.manual_seed(seed)
    return CausalAttention(embed, heads, modulation, **options).double()


def qkv(attention: CausalAttention, x: Tensor) -> list[Tensor]:
    """Project in the plainest way, head by head, without the layer's own views."""
    parts = (x @ attention.qkv.weight.T + attention.qkv.bias).chunk(3, dim=-1)
    return [torch.stack(part.chunk(attention.num_heads, dim=-1), dim=1) for part in parts]


def joined(attention: CausalAttention, heads: Tensor) -> Tensor:
    return attention.out(torch.cat(list(heads.unbind(1)), dim=-1))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("modulation", MODULATIONS)
@pytest.mark.parametrize("need_weights", [False, True])
def test_full_graph_equals_sdpa(dtype, modulation, need_weights) -> None:
    attention = layer(16, 4, modulation).to(dtype)
    x = tokens(np.random.default_rng(0), 5, 7, 16).to(dtype)
    expected = joined(attention, functional.scaled_dot_product_attention(*qkv(attention, x)))
    for graph in (torch.ones(7, 7), torch.ones(5, 7, 7), torch.ones(7, 7).requires_grad_()):
        out = attention(x, graph, need_weights=need_weights)
        out = out[0] if need_weights else out
        torch.testing.assert_close(out, expected, rtol=1e-5, atol=1e-5)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(1, 9),
    batch=st.integers(0, 5),
    shape=st.sampled_from([(4, 1), (8, 2), (12, 3), (8, 8)]),
    density=st.floats(0, 1),
)
def test_hard_equals_pytorchs_own_layer(seed, n, batch, shape, density) -> None:
    rng = np.random.default_rng(seed)
    embed, heads = shape
    attention = layer(embed, heads)
    peer = nn.MultiheadAttention(embed, heads, batch_first=True).double()
    with torch.no_grad():
        peer.in_proj_weight.copy_(attention.qkv.weight)
        peer.in_proj_bias.copy_(attention.qkv.bias)
        peer.out_proj.weight.copy_(attention.out.weight)
        peer.out_proj.bias.copy_(attention.out.bias)
    graph = random_dag(rng, n, density)
    x = tokens(rng, batch, n, embed)
    hidden = ~(graph.T | torch.eye(n, dtype=torch.bool))
    expected, expected_weights = peer(x, x, x, attn_mask=hidden, average_attn_weights=False)
    out, weights = attention(x, graph, need_weights=True)
    assert out.isfinite().all()
    torch.testing.assert_close(out, expected)
    torch.testing.assert_close(attention(x, graph), expected)
    torch.testing.assert_close(weights, expected_weights)
    assert weights.shape == (batch, heads, n, n)
    assert torch.all(weights[:, :, hidden] == 0)
    torch.testing.assert_close(weights.sum(-1), torch.ones_like(weights.sum(-1)))


@pytest.mark.parametrize("need_weights", [False, True])
def test_hard_jacobian_is_exactly_zero_off_the_graph(need_weights) -> None:
    rng = np.random.default_rng(1)
    graph, x = random_dag(rng, 6), tokens(rng, 1, 6, 8)
    attention = layer()

    def f(x: Tensor) -> Tensor:
        out = attention(x, graph, need_weights=need_weights)
        return out[0] if need_weights else out

    jacobian = torch.autograd.functional.jacobian(f, x).abs().sum((0, 2, 3, 5))
    assert torch.equal(jacobian != 0, attention_mask(graph))


def test_hard_ignores_non_parents_bit_for_bit() -> None:
    graph = torch.zeros(600, 600, dtype=torch.bool)
    graph[-1, 0] = True  # far beyond one block of the fused kernel
    x = tokens(np.random.default_rng(2), 1, 600, 8)
    other = x.clone()
    other[:, 1:-1] = 1e3
    attention = layer()
    out = attention(x, graph)
    assert out.isfinite().all()
    assert torch.equal(out[:, [0, -1]], attention(other, graph)[:, [0, -1]])


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(1, 8),
    modulation=st.sampled_from(MODULATIONS),
    batched=st.booleans(),
)
def test_equivariant_under_relabelling(seed, n, modulation, batched) -> None:
    rng = np.random.default_rng(seed)
    shape = (3, n, n) if batched else (n, n)
    graph = torch.from_numpy(rng.uniform(-1, 1, shape) * (rng.random(shape) < 0.5))
    x = tokens(rng, 3, n, 8)
    new = torch.from_numpy(rng.permutation(n))
    attention = layer(modulation=modulation)
    out = attention(x[:, new], graph[..., new, :][..., new])
    torch.testing.assert_close(out, attention(x, graph)[:, new])


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(1, 6),
    batch=st.integers(1, 4),
    modulation=st.sampled_from(MODULATIONS),
)
def test_batched_graphs_equal_one_at_a_time(seed, n, batch, modulation) -> None:
    rng = np.random.default_rng(seed)
    graphs = torch.stack([random_dag(rng, n) for _ in range(batch)])
    graphs = graphs * torch.from_numpy(rng.uniform(-1, 1, (batch, n, n)))
    x = tokens(rng, batch, n, 8)
    attention = layer(modulation=modulation)
    out, weights = attention(x, graphs, need_weights=True)
    torch.testing.assert_close(attention(x, graphs), out)
    torch.testing.assert_close(attention(x, attention.prepare(graphs)), out)
    for b in range(batch):
        alone, alone_weights = attention(x[b : b + 1], graphs[b], need_weights=True)
        torch.testing.assert_close(out[b : b + 1], alone)
        torch.testing.assert_close(weights[b : b + 1], alone_weights)


def test_log_is_renormalised_gating() -> None:
    rng = np.random.default_rng(3)
    graph = torch.from_numpy(rng.uniform(-1, 1, (5, 5)))
    x = tokens(rng, 4, 5, 8)
    attention = layer(modulation="log", log_floor=0.05)
    _, weights = attention(x, graph, need_weights=True)
    _, plain = attention(x, torch.ones(5, 5), need_weights=True)
    gated = plain * (0.05 + 0.95 * attention_mask(graph).abs())
    torch.testing.assert_close(weights, gated / gated.sum(-1, keepdim=True))
    assert (weights > 0).all()


def test_scale_is_the_papers_product_and_does_not_mask() -> None:
    rng = np.random.default_rng(4)
    graph = torch.from_numpy(rng.normal(size=(5, 5)) * (rng.random((5, 5)) < 0.5))
    x = tokens(rng, 4, 5, 8)
    attention = layer(modulation="scale")
    q, k, v = qkv(attention, x)
    weights = torch.softmax(q @ k.transpose(-1, -2) / 2.0 * attention_mask(graph), dim=-1)
    out, got = attention(x, graph, need_weights=True)
    torch.testing.assert_close(got, weights)
    torch.testing.assert_close(out, joined(attention, weights @ v))
    torch.testing.assert_close(attention(x, graph), out)
    assert (got > 0).all()


@pytest.mark.parametrize("modulation", ["log", "scale"])
@pytest.mark.parametrize("batched", [False, True])
def test_gradients_reach_a_learnable_graph(modulation, batched) -> None:
    rng = np.random.default_rng(5)
    x = tokens(rng, 2, 4, 4)
    graph = torch.from_numpy(rng.uniform(0.1, 0.9, (2, 4, 4) if batched else (4, 4)))
    attention = layer(4, 2, modulation)
    for parameter in attention.parameters():
        parameter.requires_grad_(False)
    assert torch.autograd.gradcheck(lambda g: attention(x, g), graph.requires_grad_())
    attention(x, graph).square().sum().backward()
    assert graph.grad is not None
    off = ~torch.eye(4, dtype=torch.bool).expand_as(graph)
    assert (graph.grad[off] != 0).all()
    assert (graph.grad[~off] == 0).all()


@pytest.mark.parametrize("modulation", MODULATIONS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_no_nan_without_any_parent(modulation, dtype) -> None:
    attention = layer(modulation=modulation).to(dtype)
    x = tokens(np.random.default_rng(6), 3, 4, 8).to(dtype).requires_grad_()
    out = attention(x, torch.zeros(4, 4))
    out.sum().backward()
    assert out.isfinite().all()
    assert x.grad is not None
    assert x.grad.isfinite().all()
    if modulation == "hard":  # every variable is left with its own value
        torch.testing.assert_close(out, joined(attention, qkv(attention, x)[2]))


def test_hard_treats_a_learnable_graph_as_fixed() -> None:
    graph = torch.ones(3, 3).triu(1).requires_grad_()
    x = tokens(np.random.default_rng(7), 2, 3, 8)
    attention = layer()
    assert torch.equal(attention(x, graph), attention(x, graph.detach() > 0))
    attention(x, graph).sum().backward()
    assert graph.grad is None


def test_dropout_only_in_training_and_weights_before_it() -> None:
    attention = layer(dropout=0.5)
    x, graph = tokens(np.random.default_rng(8), 4, 5, 8), torch.ones(5, 5)
    plain = layer()(x, graph)
    torch.testing.assert_close(attention.eval()(x, graph), plain)
    out, weights = attention.train()(x, graph, need_weights=True)
    assert not torch.allclose(out, plain)
    assert not torch.allclose(attention(x, graph), plain)
    torch.testing.assert_close(weights.sum(-1), torch.ones_like(weights.sum(-1)))


@pytest.mark.parametrize("modulation", MODULATIONS)
def test_autocast(modulation) -> None:
    attention = layer(modulation=modulation).float()
    x = tokens(np.random.default_rng(9), 4, 5, 8).float()
    graph = torch.ones(5, 5).triu(1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = attention(x, graph)
        again, _ = attention(x, graph, need_weights=True)
    assert out.dtype == again.dtype == torch.bfloat16
    torch.testing.assert_close(out.float(), attention(x, graph), rtol=0.05, atol=0.05)
    torch.testing.assert_close(again.float(), out.float(), rtol=0.05, atol=0.05)


def test_inputs_are_left_alone() -> None:
    rng = np.random.default_rng(10)
    x, graph = tokens(rng, 2, 4, 8), torch.from_numpy(rng.random((4, 4)))
    for modulation in MODULATIONS:
        x_before, graph_before = x.clone(), graph.clone()
        layer(modulation=modulation)(x, graph)
        assert torch.equal(x, x_before)
        assert torch.equal(graph, graph_before)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"embed_dim": 0, "num_heads": 1}, "embed_dim: 0; allowed: >= 1"),
        ({"embed_dim": 8, "num_heads": 3}, "num_heads: 3; allowed: a divisor of embed_dim 8"),
        ({"embed_dim": 8, "num_heads": 0}, "num_heads: 0; allowed"),
        (
            {"embed_dim": 8, "num_heads": 2, "modulation": "soft"},
            "modulation: unknown 'soft'; allowed: 'hard', 'log', 'scale'",
        ),
        ({"embed_dim": 8, "num_heads": 2, "dropout": 1.0}, r"dropout: 1.0; allowed: \[0, 1\)"),
        ({"embed_dim": 8, "num_heads": 2, "log_floor": 0.0}, "log_floor: 0.0; allowed"),
    ],
)
def test_bad_settings(arguments, message) -> None:
    with pytest.raises(ValueError, match=message):
        CausalAttention(**arguments)


def test_bad_calls() -> None:
    attention = layer()
    x, graph = torch.zeros(2, 3, 8, dtype=torch.float64), torch.zeros(3, 3)
    for bad in (x[0], x[..., :4], x[:, :0]):
        with pytest.raises(ValueError, match=r"^x: shape .*; allowed: \(batch, n, embed_dim=8\)"):
            attention(bad, graph)
    with pytest.raises(TypeError, match=r"^x: dtype torch.float32; allowed: .*torch.float64"):
        attention(x.float(), graph)
    with pytest.raises(ValueError, match="graph: has 4 variables; allowed: as many as x has, 3"):
        attention(x, torch.zeros(4, 4))
    with pytest.raises(ValueError, match="graph: a batch of 5; allowed: one graph, or x's batch"):
        attention(x, torch.zeros(5, 3, 3))
    with pytest.raises(ValueError, match=r"graph: nan at \(2, 0\)"):
        attention(x, torch.tensor([[0, 0, 0], [0, 0, 0], [np.nan, 0, 0]]))
    with pytest.raises(ValueError, match="graph: prepared for modulation 'log'; allowed: 'hard'"):
        attention(x, prepare_mask(graph, "log"))
