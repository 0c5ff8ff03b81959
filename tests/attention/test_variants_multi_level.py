from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from causal_rl.attention import MODULATIONS, CausalAttention, MultiLevelAttention


def made(modulation: str = "hard", levels: int = 3) -> MultiLevelAttention:
    torch.manual_seed(0)
    layer = MultiLevelAttention(8, 2, modulation, num_levels=levels).double()
    with torch.no_grad():
        layer.level_logits.copy_(torch.linspace(-0.5, 0.8, levels))
    return layer


def plain_of(layer: MultiLevelAttention) -> CausalAttention:
    plain = CausalAttention(8, 2, layer.modulation).double()
    plain.load_state_dict(layer.state_dict(), strict=False)
    return plain


def tokens(*shape: int, seed: int = 0) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape))


def levels(*shape: int) -> Tensor:
    rng = np.random.default_rng(1)
    return torch.from_numpy(rng.uniform(-1, 1, shape) * (rng.random(shape) < 0.2))


@torch.no_grad()
def naive_weights(layer: MultiLevelAttention, x: Tensor, graphs: Tensor) -> Tensor:
    """A.1.5 and the modulation, for one query, head and row at a time."""
    batch, n, width = x.shape
    d, heads = layer.head_dim, layer.num_heads
    shares = [math.exp(float(logit)) for logit in layer.level_logits]
    shares = [share / sum(shares) for share in shares]
    found = torch.zeros(batch, heads, n, n, dtype=x.dtype)
    for b in range(batch):
        q, k, _ = (x[b] @ layer.qkv.weight.T + layer.qkv.bias).split(width, dim=-1)
        for h in range(heads):
            part = slice(h * d, (h + 1) * d)
            for query in range(n):
                row = []
                for key in range(n):
                    score = float(q[query, part] @ k[key, part]) / math.sqrt(d)
                    entries = [float(graph[key, query]) for graph in graphs]
                    if layer.modulation == "hard":
                        entries = [float(entry != 0) for entry in entries]
                    if key == query:
                        entries = [1.0] * len(entries)
                    g = sum(w * entry for w, entry in zip(shares, entries, strict=True))
                    if layer.modulation == "scale":
                        row.append(math.exp(score * g))
                    elif layer.modulation == "hard":
                        row.append(g * math.exp(score))
                    else:
                        floored = layer.log_floor + (1 - layer.log_floor) * abs(g)
                        row.append(floored * math.exp(score))
                found[b, h, query] = torch.tensor(row, dtype=x.dtype) / sum(row)
    return found


@pytest.mark.parametrize("modulation", MODULATIONS)
def test_equals_a_naive_loop(modulation) -> None:
    layer, x, graphs = made(modulation), tokens(2, 4, 8), levels(3, 4, 4)
    expected = naive_weights(layer, x, graphs)
    out, weights = layer(x, graphs, need_weights=True)
    torch.testing.assert_close(weights, expected)
    torch.testing.assert_close(layer(x, graphs), out)
    torch.testing.assert_close(layer(x, layer.prepare(graphs)), out)
    torch.testing.assert_close(layer(x, graphs.numpy()), out)


@pytest.mark.parametrize("modulation", MODULATIONS)
def test_one_level_like_levels_and_full_ones_are_causal_attention(modulation) -> None:
    x, graph = tokens(2, 4, 8), levels(4, 4)
    for count, given in ((1, graph), (3, graph), (3, torch.ones(4, 4))):
        layer = made(modulation, count)
        out = layer(x, given.expand(count, 4, 4))
        torch.testing.assert_close(out, plain_of(layer)(x, given))


def test_hard_gives_what_no_level_has_nothing_and_keeps_the_diagonal() -> None:
    graphs = levels(3, 4, 4)
    _, weights = made()(tokens(2, 4, 8), graphs, need_weights=True)
    seen = (graphs != 0).any(0).T | torch.eye(4).bool()
    assert torch.equal(weights != 0, seen.expand_as(weights))
    assert not seen.all()
    _, alone = made()(tokens(2, 4, 8), torch.zeros(3, 4, 4), need_weights=True)
    assert torch.equal(alone, torch.eye(4, dtype=alone.dtype).expand_as(alone))


@pytest.mark.parametrize("modulation", MODULATIONS)
def test_gradients_reach_the_weights_of_the_levels(modulation) -> None:
    layer, x = made(modulation), tokens(2, 4, 8)
    graphs = levels(3, 4, 4).requires_grad_()
    layer(x, graphs).square().sum().backward()
    for parameter in layer.parameters():
        assert parameter.grad is not None
        assert parameter.grad.isfinite().all()
    assert (layer.level_logits.grad != 0).all()
    assert (graphs.grad is None) == (modulation == "hard")
    # Where all levels are sure, rounding must not cut the gradient of their entries.
    ones = torch.ones(3, 4, 4, dtype=torch.float64, requires_grad=True)
    if modulation != "hard":
        layer(x, ones).square().sum().backward()
        assert (ones.grad[:, ~torch.eye(4).bool()] != 0).all()


def test_a_level_that_is_believed_decides() -> None:
    layer, x, graphs = made(), tokens(2, 4, 8), levels(3, 4, 4)
    with torch.no_grad():
        layer.level_logits.copy_(torch.tensor([0.0, 1e4, 0.0]))
    torch.testing.assert_close(layer(x, graphs), plain_of(layer)(x, graphs[1]))
    torch.testing.assert_close(layer.level_weights.sum(), torch.ones((), dtype=torch.float64))


def test_levels_for_each_row() -> None:
    layer, x, graphs = made(), tokens(2, 4, 8), levels(2, 3, 4, 4)
    out = layer(x, graphs)
    for b in range(2):
        torch.testing.assert_close(out[b : b + 1], layer(x[b : b + 1], graphs[b]))


def test_bad_input() -> None:
    with pytest.raises(ValueError, match=r"^num_levels: 0; allowed: >= 1$"):
        MultiLevelAttention(8, 2, num_levels=0)
    layer, x = made(), tokens(2, 4, 8)
    for bad in (torch.zeros(4, 4), torch.zeros(2, 4, 4), torch.zeros(3, 4, 5)):
        with pytest.raises(ValueError, match=r"^graph: shape .*; allowed: \(num_levels=3, n, n\)"):
            layer(x, bad)
    with pytest.raises(TypeError, match=r"^graph: list; allowed: real numbers"):
        layer(x, [[0]])
    with pytest.raises(ValueError, match=r"^graph: nan at \(2, 0, 1\)"):
        layer(
            x,
            torch.zeros(3, 4, 4).index_put(
                (torch.tensor(2), torch.tensor(0), torch.tensor(1)), torch.tensor(np.nan)
            ),
        )
    with pytest.raises(ValueError, match=r"^graph: 2.0 at .*\[-1, 1\]$"):
        made("log")(x, torch.full((3, 4, 4), 2.0))
    with pytest.raises(ValueError, match=r"^graph: has 5 variables"):
        layer(x, torch.zeros(3, 5, 5))
    with pytest.raises(ValueError, match=r"^graph: a batch of 4; allowed"):
        layer(x, torch.ones(4, 3, 4, 4).triu(1))
