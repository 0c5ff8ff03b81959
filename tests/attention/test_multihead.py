from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from causal_rl.attention import MODULATIONS, MultiheadAttention, prepare_mask

N, E, B, H = 5, 8, 3, 2


def pair(**options: object) -> tuple[nn.MultiheadAttention, MultiheadAttention]:
    torch.manual_seed(0)
    modulation = options.pop("modulation", "hard")
    theirs = nn.MultiheadAttention(E, H, **options)
    ours = MultiheadAttention(E, H, **options, modulation=modulation)
    ours.load_state_dict(theirs.state_dict())
    return theirs.eval(), ours.eval()


def tokens(batch_first: bool = True) -> Tensor:
    x = torch.randn(B, N, E, generator=torch.Generator().manual_seed(1))
    return x if batch_first else x.transpose(0, 1)


def dag() -> Tensor:
    return torch.ones(N, N).triu(1) * (torch.arange(N) != 2)


@pytest.mark.parametrize("modulation", MODULATIONS)
@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("need_weights", [True, False])
def test_a_full_graph_is_torchs_attention(modulation, batch_first, need_weights) -> None:
    theirs, ours = pair(batch_first=batch_first, modulation=modulation)
    x = tokens(batch_first)
    padding = torch.zeros(B, N, dtype=torch.bool)
    padding[0, 3:] = True
    causal = torch.ones(N, N, dtype=torch.bool).triu(1)
    # A graph that learns goes through the modulation, although it is full.
    learning = torch.ones(N, N, requires_grad=True)
    for graph in (None, torch.ones(N, N), learning):
        for masks in ({}, {"key_padding_mask": padding}, {"attn_mask": causal}):
            expected, weights = theirs(x, x, x, need_weights=need_weights, **masks)
            got, seen = ours(x, x, x, need_weights=need_weights, graph=graph, **masks)
            torch.testing.assert_close(got, expected, rtol=0, atol=1e-6)
            assert (seen is None) == (not need_weights)
            if need_weights:
                torch.testing.assert_close(seen, weights, rtol=0, atol=1e-6)


@pytest.mark.parametrize("modulation", MODULATIONS)
@pytest.mark.parametrize("options", [{}, {"bias": False}, {"kdim": 4, "vdim": 6}])
def test_against_a_loop_over_heads(modulation, options) -> None:
    _, ours = pair(batch_first=True, modulation=modulation, **options)
    x = tokens()
    key, value = x[..., : ours.kdim], x[..., : ours.vdim]
    strengths = dag() * torch.linspace(-1, 1, N * N).view(N, N)
    graph = torch.stack([strengths, strengths.T])[None]  # one for each head
    out, weights = ours(x, key, value, graph=graph, average_attn_weights=False)
    names = ("q_proj_weight", "k_proj_weight", "v_proj_weight")
    kernels = (
        ours.in_proj_weight.chunk(3)
        if ours.in_proj_weight is not None
        else [getattr(ours, name) for name in names]
    )
    biases = [torch.zeros(E)] * 3 if ours.in_proj_bias is None else ours.in_proj_bias.chunk(3)
    q, k, v = (
        part @ kernel.T + bias
        for part, kernel, bias in zip((x, key, value), kernels, biases, strict=True)
    )
    mixed = []
    for head in range(H):
        part = slice(head * E // H, (head + 1) * E // H)
        mask = prepare_mask(graph[0, head], modulation)
        scores = q[..., part] @ k[..., part].transpose(1, 2) / (E // H) ** 0.5
        scores = scores * mask.multiply if mask.add is None else scores + mask.add
        expected = scores.softmax(-1)
        torch.testing.assert_close(weights[:, head], expected)
        mixed.append(expected @ v[..., part])
    torch.testing.assert_close(out, ours.out_proj(torch.cat(mixed, -1)))


def test_masks_of_torch_are_kept_and_no_row_is_empty() -> None:
    _, ours = pair(batch_first=True)
    x = tokens().requires_grad_()
    padding = torch.zeros(B, N, dtype=torch.bool)
    padding[0, :2] = True
    out, weights = ours(x, x, x, key_padding_mask=padding, graph=dag())
    assert torch.isfinite(out).all()
    unseen = dag().T + torch.eye(N) == 0
    assert (weights[:, unseen] == 0).all()
    assert (weights[0, 2:, :2] == 0).all()
    out.sum().backward()
    assert torch.isfinite(x.grad).all()
    causal = torch.full((N, N), -torch.inf).triu(1)
    _, weights = ours(x, x, x, attn_mask=causal, is_causal=True, graph=torch.ones(N, N).tril())
    assert (weights == torch.eye(N)).all()


def test_layouts_and_batches_agree() -> None:
    graphs = torch.stack([dag(), dag().T, torch.zeros(N, N)])
    _, first = pair(batch_first=True, modulation="scale")
    _, second = pair(batch_first=False, modulation="scale")
    x = tokens()
    out, weights = first(x, x, x, graph=graphs)
    turned = x.transpose(0, 1)
    torch.testing.assert_close(second(turned, turned, turned, graph=graphs)[0].transpose(0, 1), out)
    for row in range(B):
        one, seen = first(x[row], x[row], x[row], graph=graphs[row].numpy())
        torch.testing.assert_close(one, out[row])
        torch.testing.assert_close(seen, weights[row])
    _, hard = pair(batch_first=True)
    out, _ = hard(x, x, x, graph=graphs)
    torch.testing.assert_close(hard(x[1], x[1], x[1], graph=graphs[1])[0], out[1])
    with torch.no_grad():  # where torch may take its fast path
        quick, _ = hard(x, x, x, graph=graphs, need_weights=False)
    torch.testing.assert_close(quick, out)


def test_strengths_learn_and_added_tokens_stay_visible() -> None:
    _, ours = pair(batch_first=True, modulation="log", add_bias_kv=True, add_zero_attn=True)
    graph = torch.full((N, N), 0.5, requires_grad=True)
    x = tokens()
    out, weights = ours(x, x, x, graph=graph)
    assert weights.shape == (B, N, N + 2)
    out.square().sum().backward()
    assert (graph.grad[~torch.eye(N, dtype=torch.bool)] != 0).all()


@pytest.mark.parametrize(
    ("graph", "message"),
    [
        (torch.zeros(4, 4), r"^graph: has 4 tokens; allowed: as many as query and key, 5 and 5"),
        (torch.zeros(2, N, N), r"^graph: 2 rows of 1 heads; allowed: 1 or 3 rows"),
        (torch.zeros(1, 3, N, N), r"^graph: 1 rows of 3 heads; allowed: .* 1 or 2 heads"),
        (torch.full((N, N), np.nan), r"^graph: nan at \(0, 0\); allowed: finite"),
        (torch.zeros(N, 2), r"^graph: shape \(5, 2\); allowed"),
    ],
)
def test_bad_graphs(graph, message) -> None:
    _, ours = pair(batch_first=True)
    with pytest.raises(ValueError, match=message) as caught:
        ours(tokens(), tokens(), tokens(), graph=graph)
    assert "\n" not in str(caught.value)


def test_bad_options() -> None:
    with pytest.raises(ValueError, match="unknown 'soft'"):
        MultiheadAttention(E, H, modulation="soft")
    with pytest.raises(ValueError, match="log_floor: 0; allowed"):
        MultiheadAttention(E, H, log_floor=0)
    with pytest.raises(ValueError, match="'scale' with add_bias_kv"):
        MultiheadAttention(E, H, add_bias_kv=True, modulation="scale")
    x = tokens()
    ours = MultiheadAttention(E, H, batch_first=True)
    with pytest.raises(ValueError, match="attn_mask: None with is_causal=True"):
        ours(x, x, x, is_causal=True, graph=dag())
    with pytest.raises(TypeError, match="graph: list; allowed"):
        ours(x, x, x, graph=[[0]])
