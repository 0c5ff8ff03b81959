from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from causal_rl.attention import MODULATIONS, CausalAttention, KernelAttention, attention_mask

KINDS = ["rbf", "exponential", "elu", torch.relu]


def made(kernel="rbf", modulation: str = "hard", **options) -> KernelAttention:
    torch.manual_seed(0)
    layer = KernelAttention(8, 2, modulation, kernel=kernel, **options).double()
    if kernel == "rbf":
        with torch.no_grad():
            layer.log_bandwidth.copy_(torch.tensor([0.3, -0.2]).view(2, 1, 1))
    return layer


def tokens(*shape: int, seed: int = 0) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape))


def strengths(n: int = 4) -> Tensor:
    rng = np.random.default_rng(1)
    return torch.from_numpy(rng.uniform(-1, 1, (n, n)) * (rng.random((n, n)) < 0.5))


@torch.no_grad()
def naive(layer: KernelAttention, x: Tensor, graph: Tensor) -> tuple[Tensor, Tensor]:
    """A.1.2, mended and as printed, for one query, head and row at a time."""
    batch, n, width = x.shape
    d = layer.head_dim
    weights = torch.zeros(batch, layer.num_heads, n, n, dtype=x.dtype)
    mixed = torch.zeros(batch, n, width, dtype=x.dtype)
    for b in range(batch):
        q, k, v = (x[b] @ layer.qkv.weight.T + layer.qkv.bias).split(width, dim=-1)
        for h in range(layer.num_heads):
            part = slice(h * d, (h + 1) * d)
            for query in range(n):
                row = []
                for key in range(n):
                    left, right = q[query, part], k[key, part]
                    if layer.kernel == "rbf":
                        s = math.exp(float(layer.log_bandwidth[h]))
                        value = math.exp(-float((left - right).square().sum()) / (2 * s * s))
                    elif layer.kernel == "exponential":
                        value = math.exp(float(left @ right) / math.sqrt(d))
                    elif layer.kernel == "elu":
                        value = float(
                            (nn.functional.elu(left) + 1) @ (nn.functional.elu(right) + 1)
                        )
                    else:
                        value = float(left.relu() @ right.relu())
                    g = 1.0 if key == query else float(graph[key, query])
                    if layer.modulation == "scale":
                        row.append(math.exp(value * g / math.sqrt(d)))
                    elif layer.modulation == "hard":
                        row.append(value * (g != 0))
                    else:
                        row.append(value * (layer.log_floor + (1 - layer.log_floor) * abs(g)))
                total = sum(row)
                shown = torch.tensor(row, dtype=x.dtype) / (total if total > 0 else 1.0)
                weights[b, h, query] = shown
                mixed[b, query, part] = shown @ v[:, part]
    return layer.out(mixed), weights


@pytest.mark.parametrize("modulation", MODULATIONS)
@pytest.mark.parametrize("kernel", KINDS)
def test_equals_a_naive_loop(kernel, modulation) -> None:
    layer, x = made(kernel, modulation), tokens(2, 4, 8)
    for graph in (strengths(), torch.ones(4, 4, dtype=torch.float64)):
        expected, expected_weights = naive(layer, x, graph)
        out, weights = layer(x, graph, need_weights=True)
        torch.testing.assert_close(weights, expected_weights)
        torch.testing.assert_close(out, expected)
        torch.testing.assert_close(layer(x, graph), expected)


@pytest.mark.parametrize("modulation", ["hard", "log"])
def test_the_exponential_kernel_is_causal_attention(modulation) -> None:
    layer, x, graph = made("exponential", modulation), tokens(3, 4, 8), strengths()
    plain = CausalAttention(8, 2, modulation).double()
    plain.load_state_dict(layer.state_dict())
    for given in (graph, torch.ones(4, 4)):
        torch.testing.assert_close(layer(x, given), plain(x, given))


def test_rbf_of_the_default_bandwidth_is_causal_attention_on_keys_of_one_length() -> None:
    torch.manual_seed(0)
    layer, plain = KernelAttention(8, 1).double(), CausalAttention(8, 1).double()
    with torch.no_grad():
        layer.qkv.weight[8:16] = torch.linalg.qr(torch.randn(8, 8, dtype=torch.float64)).Q
        layer.qkv.bias.zero_()
    plain.load_state_dict(layer.state_dict(), strict=False)
    x = nn.functional.normalize(tokens(3, 4, 8), dim=-1)
    torch.testing.assert_close(layer(x, strengths()), plain(x, strengths()))


@pytest.mark.parametrize("kernel", KINDS)
def test_hard_gives_non_edges_nothing_and_keeps_the_diagonal(kernel) -> None:
    graph = strengths()
    _, weights = made(kernel)(tokens(2, 4, 8), graph, need_weights=True)
    seen = (attention_mask(graph) != 0).expand_as(weights)
    assert (weights[~seen] == 0).all()
    if kernel is not torch.relu:  # which may have nothing in common with itself
        assert (weights[seen] > 0).all()
        torch.testing.assert_close(weights.sum(-1), torch.ones_like(weights.sum(-1)))


def test_full_graphs_take_the_linear_way_without_weights_of_all_pairs(monkeypatch) -> None:
    x, full = tokens(2, 5, 8), torch.ones(5, 5)
    layer = made("elu")
    expected, _ = layer(x, full, need_weights=True)

    def refuse(*_: object) -> Tensor:
        raise RuntimeError("weights were computed")

    monkeypatch.setattr(layer, "_weights", refuse)
    torch.testing.assert_close(layer(x, full), expected)
    with pytest.raises(RuntimeError, match="weights were computed"):
        layer(x, strengths(5))


@pytest.mark.parametrize("modulation", MODULATIONS)
@pytest.mark.parametrize("kernel", KINDS)
def test_gradients_are_finite(kernel, modulation) -> None:
    layer = made(kernel, modulation)
    x, graph = tokens(2, 4, 8).requires_grad_(), strengths().requires_grad_()
    layer(x, graph).square().sum().backward()
    for tensor in (x, *layer.parameters()):
        assert tensor.grad is not None
        assert tensor.grad.isfinite().all()
    assert (graph.grad is None) == (modulation == "hard")
    if kernel == "rbf":
        assert (layer.log_bandwidth.grad != 0).all()


def test_a_query_with_nothing_in_common_gets_zeros_and_far_ones_do_not_vanish() -> None:
    nothing = made(lambda x: torch.zeros_like(x))
    x = tokens(2, 4, 8).requires_grad_()
    for graph in (strengths(), torch.ones(4, 4)):
        out = nothing(x, graph)
        out.sum().backward()
        torch.testing.assert_close(out, nothing.out.bias.expand_as(out))
        assert x.grad.isfinite().all()
    for kernel in ("rbf", "elu"):
        _, far = made(kernel)(1e3 * tokens(2, 4, 8), torch.eye(4), need_weights=True)
        torch.testing.assert_close(far, torch.eye(4, dtype=far.dtype).expand_as(far))


def test_a_module_as_feature_map_is_learned_and_saved_once() -> None:
    features = nn.Sequential(nn.Linear(4, 6), nn.Softplus())
    layer = made(features)
    layer(tokens(2, 4, 8), torch.ones(4, 4)).sum().backward()
    assert features[0].weight.grad is not None
    assert [name for name in layer.state_dict() if "0.weight" in name] == ["kernel.0.weight"]


def test_bad_input() -> None:
    with pytest.raises(ValueError, match=r"^kernel: 'cosine'; allowed: rbf, exponential, elu or a"):
        KernelAttention(8, 2, kernel="cosine")
    with pytest.raises(TypeError, match=r"^kernel: int; allowed"):
        KernelAttention(8, 2, kernel=3)
    with pytest.raises(ValueError, match=r"^bandwidth: 1.0; allowed here: None"):
        KernelAttention(8, 2, kernel="elu", bandwidth=1.0)
    for bad in (0.0, math.nan, math.inf):
        with pytest.raises(ValueError, match=r"^bandwidth: .*; allowed: a number > 0$"):
            KernelAttention(8, 2, bandwidth=bad)
    x = tokens(2, 4, 8)
    with pytest.raises(ValueError, match=r"^kernel: gave a negative feature; allowed"):
        made(torch.tanh)(x, strengths())
    with pytest.raises(ValueError, match=r"^kernel: gave \(2, 2, 4\) for \(2, 2, 4, 4\); allowed"):
        made(lambda x: x.square().sum(-1))(x, strengths())
    with pytest.raises(ValueError, match=r"^graph: has 3 variables"):
        made()(x, torch.zeros(3, 3))
    with pytest.raises(ValueError, match=r"^graph: nan at \(1, 2\)"):
        made()(x, torch.eye(4).index_put((torch.tensor(1), torch.tensor(2)), torch.tensor(np.nan)))
