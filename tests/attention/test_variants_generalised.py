from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from causal_rl.attention import CausalAttention, GeneralisedAttention, attention_mask, prepare_mask

CHAIN = torch.tensor([[0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1], [0, 0, 0, 0]]).bool()


def made(modulation: str = "hard", order: int = 3, embed: int = 8, heads: int = 2):
    torch.manual_seed(0)
    layer = GeneralisedAttention(embed, heads, modulation, order=order).double()
    with torch.no_grad():
        layer.order_weights.copy_(torch.linspace(0.7, -0.4, order - 1))
    return layer


def tokens(*shape: int, seed: int = 0) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape))


def paths(graph: np.ndarray, i: int, j: int, length: int) -> float:
    """Sum over directed paths of so many edges of the product of their strengths."""
    if length == 0:
        return float(i == j)
    return sum(graph[i, k] * paths(graph, k, j, length - 1) for k in range(len(graph)) if k != i)


@torch.no_grad()
def naive(layer: GeneralisedAttention, x: Tensor, graph: np.ndarray) -> tuple[Tensor, Tensor]:
    """A.1.1, mended and as printed, for one query, head and row at a time."""
    batch, n, width = x.shape
    heads, d = layer.num_heads, width // layer.num_heads
    a = [1.0, *layer.order_weights.tolist()]
    weights = torch.zeros(batch, heads, n, n, dtype=x.dtype)
    mixed = torch.zeros(batch, n, width, dtype=x.dtype)
    hard = layer.modulation == "hard"
    for b in range(batch):
        q, k, v = (x[b] @ layer.qkv.weight.T + layer.qkv.bias).split(width, dim=-1)
        for h in range(heads):
            part = slice(h * d, (h + 1) * d)
            for query in range(n):
                scores, seen = [], []
                for key in range(n):
                    score = float(q[query, part] @ k[key, part]) / d**0.5
                    effects = [
                        paths(graph, key, query, i)
                        if not hard
                        else float(paths(np.abs(graph), key, query, i) > 0)
                        for i in range(1, layer.order + 1)
                    ]
                    if key == query:
                        effects[0] = 1.0
                    scores.append(sum(a[i] * score ** (i + 1) * e for i, e in enumerate(effects)))
                    seen.append(any(effects) or not hard)
                shown = np.where(seen, np.exp(np.array(scores)), 0.0)
                weights[b, h, query] = torch.from_numpy(shown / shown.sum())
                mixed[b, query, part] = weights[b, h, query] @ v[:, part]
    return layer.out(mixed), weights


@pytest.mark.parametrize("modulation", ["hard", "scale"])
@pytest.mark.parametrize("order", [1, 2, 3])
def test_equals_a_naive_loop(modulation, order) -> None:
    rng = np.random.default_rng(1)
    graph = np.triu(rng.uniform(-1, 1, (4, 4)) * (rng.random((4, 4)) < 0.6), 1)
    graph[3, 3] = 5.0  # the diagonal is not read
    layer, x = made(modulation, order), tokens(2, 4, 8)
    expected, expected_weights = naive(layer, x, graph)
    out, weights = layer(x, torch.from_numpy(graph), need_weights=True)
    torch.testing.assert_close(weights, expected_weights)
    torch.testing.assert_close(out, expected)
    torch.testing.assert_close(layer(x, graph), expected)
    torch.testing.assert_close(layer(x, layer.prepare(graph)), expected)


@pytest.mark.parametrize("modulation", ["hard", "scale"])
def test_is_causal_attention_for_order_1_and_for_a_full_graph_at_the_start(modulation) -> None:
    x, graph = tokens(3, 4, 8), CHAIN.double()
    for order, given in ((1, graph), (3, torch.ones(4, 4))):
        torch.manual_seed(0)
        layer = GeneralisedAttention(8, 2, modulation, order=order).double()
        plain = CausalAttention(8, 2, modulation).double()
        plain.load_state_dict(layer.state_dict(), strict=False)
        torch.testing.assert_close(layer(x, given), plain(x, given))


def test_hard_shows_ancestors_up_to_the_order_and_nothing_else() -> None:
    x = tokens(2, 4, 8)
    for order in (1, 2, 3):
        _, weights = made("hard", order)(x, CHAIN, need_weights=True)
        distance = torch.arange(4)[:, None] - torch.arange(4)[None, :]
        seen = (distance >= 0) & (distance <= order)
        assert torch.equal(weights != 0, seen.expand_as(weights))
    _, printed = made("scale", 2)(x, CHAIN, need_weights=True)
    assert (printed > 0).all()
    _, alone = made()(x, torch.zeros(4, 4), need_weights=True)
    assert torch.equal(alone, torch.eye(4, dtype=x.dtype).expand_as(alone))


def test_gradients() -> None:
    x = tokens(2, 4, 8)
    for modulation in ("hard", "scale"):
        layer = made(modulation)
        graph = (CHAIN * 0.5).double().requires_grad_()
        layer(x, graph).square().sum().backward()
        for parameter in layer.parameters():
            assert parameter.grad is not None
            assert parameter.grad.isfinite().all()
        assert (layer.order_weights.grad != 0).all()
        assert (graph.grad is None) == (modulation == "hard")
    small = made("scale", 2, 4)
    strengths = torch.rand(2, 3, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda g: small(tokens(2, 3, 4), g), strengths)


def test_a_graph_for_each_row() -> None:
    x, graphs = tokens(2, 4, 8), torch.stack([CHAIN, CHAIN.T])
    layer = made()
    out = layer(x, graphs)
    for b in range(2):
        torch.testing.assert_close(out[b : b + 1], layer(x[b : b + 1], graphs[b]))


def test_bad_input() -> None:
    with pytest.raises(ValueError, match=r"^order: 0; allowed: >= 1$"):
        GeneralisedAttention(8, 2, order=0)
    with pytest.raises(ValueError, match=r"^modulation: 'log'; allowed .*: hard, scale$"):
        GeneralisedAttention(8, 2, "log")
    layer, x = made(), tokens(2, 4, 8)
    with pytest.raises(ValueError, match=r"^graph: nan at \(0, 1\)"):
        layer(x, torch.tensor([[0.0, np.nan], [0.0, 0.0]]))
    with pytest.raises(ValueError, match=r"^graph: has 3 variables; allowed: as many as x has, 4$"):
        layer(x, torch.zeros(3, 3))
    with pytest.raises(ValueError, match=r"^graph: a batch of 3; allowed"):
        layer(x, torch.zeros(3, 4, 4))
    with pytest.raises(ValueError, match=r"^graph: prepared for order 1; allowed: order 3$"):
        layer(x, prepare_mask(CHAIN, "hard", dtype=torch.float64))
    with pytest.raises(ValueError, match=r"^graph: prepared for order 2; allowed: order 3$"):
        layer(x, made(order=2).prepare(CHAIN))
    assert attention_mask(CHAIN).sum() == 7  # the graph was left alone
