"""The encoder with other forms of attention in its blocks."""

from __future__ import annotations

import copy
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from causal_rl.attention import (
    ATTENTION_FORMS,
    CausalAttention,
    GeneralisedAttention,
    KernelAttention,
    MultiLevelAttention,
    SCMEncoder,
    TimeVaryingAttention,
    prepare_mask,
)

N, WIDTH = 4, 16
GRAPH = torch.tensor([[0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0], [1, 0, 0, 0]], dtype=torch.bool)
FACTORIES = {
    "causal": partial(CausalAttention, modulation="log"),
    "generalised": partial(GeneralisedAttention, order=3),
    "kernel": partial(KernelAttention, kernel="elu"),
    "multi-level": partial(MultiLevelAttention, num_levels=2),
}


def encoder(attention, **options):
    torch.manual_seed(0)
    options = {"embed_dim": WIDTH, "pooling": "linear"} | options
    return SCMEncoder(N, attention=attention, **options).double()


def values(rows=16):
    return torch.from_numpy(np.random.default_rng(0).normal(size=(rows, N)))


def graph_for(model, graph=GRAPH):
    """The same graph at all levels, where levels are asked for."""
    return graph.expand(model.graph.shape).clone()


def stirred(model):
    """The parameters that a form adds, away from their start."""
    generator = torch.Generator().manual_seed(1)
    for name, parameter in model.named_parameters():
        if name.rpartition(".")[2] in ("order_weights", "log_bandwidth", "level_logits"):
            with torch.no_grad():
                noise = torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
                parameter.add_(0.3 * noise)
    return model


def both(**options):
    return [
        *(stirred(encoder(name, **options)) for name in ATTENTION_FORMS),
        *(stirred(encoder(factory, **options)) for factory in FACTORIES.values()),
    ]


def test_default_is_causal_attention_with_the_same_weights_and_keys() -> None:
    torch.manual_seed(0)
    plain = SCMEncoder(N, WIDTH, pooling="linear").double()
    for attention in ("causal", CausalAttention):
        other = encoder(attention)
        assert list(other.state_dict()) == list(plain.state_dict())
        for name, value in plain.state_dict().items():
            assert torch.equal(other.state_dict()[name], value), name
        assert torch.equal(other(values(), GRAPH), plain(values(), GRAPH))


def test_each_form_draws_the_same_first_weights() -> None:
    plain = dict(encoder("causal").named_parameters())
    for form in ATTENTION_FORMS:
        for name, parameter in encoder(form).named_parameters():
            if name in plain:
                assert torch.equal(parameter, plain[name]), (form, name)


@pytest.mark.parametrize("model", both(), ids=lambda m: type(m.blocks[0].attention).__name__)
def test_tokens_are_those_of_the_layers_own_formula(model) -> None:
    """Blocks written out, each with its layer called by itself on the raw graph."""
    graph = graph_for(model)
    x = model.value(values().unsqueeze(-1)) + model.identity
    for block in model.blocks:
        mixed, weights = block.attention(block.norm_attention(x), graph, need_weights=True)
        assert weights.shape == (16, 2, N, N)
        x = x + mixed
        x = x + block.feedforward(block.norm_feedforward(x))
    torch.testing.assert_close(model.tokens(values(), graph), x)
    model.set_graph(graph)
    torch.testing.assert_close(model.tokens(values()), x)


@pytest.mark.parametrize("form", [*ATTENTION_FORMS])
def test_readout_computes_the_subgraph(form) -> None:
    model, readout = stirred(encoder(form)), torch.tensor([3, 0, 1])  # the ancestors of 1
    graph = graph_for(model)
    every = model.tokens(values(), graph)
    torch.testing.assert_close(model.tokens(values(), graph, readout), every[:, readout])
    model.set_graph(graph, torch.tensor([True, True, False, True]))
    torch.testing.assert_close(model.tokens(values()), every[:, [0, 1, 3]])


@pytest.mark.parametrize("form", [*ATTENTION_FORMS])
def test_hard_jacobian_is_zero_from_what_is_no_ancestor(form) -> None:
    model, x = stirred(encoder(form)), values().requires_grad_()
    (gradient,) = torch.autograd.grad(model.tokens(x, graph_for(model))[:, 1].square().sum(), x)
    assert (gradient[:, 2] == 0).all()
    assert (gradient[:, [0, 1, 3]] != 0).any(0).all()


def test_all_ones_equal_full_attention_where_the_form_says_so() -> None:
    full, plain = torch.ones(N, N), encoder("causal")
    expected = plain(values(), full)
    several = stirred(encoder("multi-level"))
    torch.testing.assert_close(several(values(), graph_for(several, full)), expected)
    exponential = encoder(partial(KernelAttention, kernel="exponential"))
    torch.testing.assert_close(exponential(values(), full), expected)
    # Without weight for higher orders the polynomial is its first term.
    torch.testing.assert_close(encoder("generalised")(values(), full), expected)
    # A radial kernel and one of features are other attentions, even without a graph.
    assert not torch.allclose(encoder("kernel")(values(), full), expected)


def test_what_a_form_learns_gets_gradients_through_a_stored_graph() -> None:
    """Level weights enter the mask: one that was prepared beforehand would have none."""
    for form, name in (("multi-level", "level_logits"), ("generalised", "order_weights")):
        model = stirred(encoder(form))
        levels = torch.stack([GRAPH, GRAPH.T, torch.ones_like(GRAPH)])
        model.set_graph(levels if form == "multi-level" else GRAPH)
        for _ in range(2):  # the second time through, the first graph of gradients is gone
            model.zero_grad()
            model(values()).square().sum().backward()
        for block in model.blocks:
            assert (getattr(block.attention, name).grad != 0).all()


@pytest.mark.parametrize("form", [*ATTENTION_FORMS])
def test_state_dict_keeps_graph_and_form(form) -> None:
    model = stirred(encoder(form))
    model.set_graph(graph_for(model), torch.tensor([True, True, False, True]))
    other = encoder(form)
    other.load_state_dict(model.state_dict())
    assert torch.equal(other(values()), model(values()))
    assert torch.equal(copy.deepcopy(model)(values()), model(values()))


def test_one_graph_for_each_row() -> None:
    graphs = torch.stack([GRAPH, GRAPH.T])
    for form in ATTENTION_FORMS:
        model = stirred(encoder(form))
        batch = graphs if model.graph.ndim == 2 else graphs[:, None].expand(2, 3, N, N)
        together = model(values(2), batch)
        for row in range(2):
            alone = model(values(2)[row : row + 1], batch[row])
            torch.testing.assert_close(together[row : row + 1], alone)


def test_modulation_dropout_and_floor_reach_a_named_form_and_a_factory_has_its_own() -> None:
    named = SCMEncoder(N, WIDTH, modulation="log", dropout=0.25, log_floor=0.2, attention="kernel")
    layer = named.blocks[1].attention
    assert (layer.modulation, layer.dropout, layer.log_floor) == ("log", 0.25, 0.2)
    own = SCMEncoder(N, WIDTH, attention=partial(CausalAttention, modulation="scale"))
    assert own.modulation == "scale"
    mask = prepare_mask(GRAPH, own.modulation)
    torch.testing.assert_close(own(values(), mask), own(values(), GRAPH))


def test_layers_may_differ_from_block_to_block() -> None:
    kinds = iter(["log", "scale"])
    model = encoder(lambda width, heads: CausalAttention(width, heads, next(kinds)))
    model.set_graph(GRAPH)
    torch.testing.assert_close(model(values()), model(values(), GRAPH))


@pytest.mark.parametrize(
    ("attention", "error", "says"),
    [
        ("sparse", ValueError, "attention: 'sparse'; allowed: causal, generalised, kernel, multi"),
        (3, TypeError, "attention: int; allowed: causal"),
        (lambda e, h: nn.Identity(), TypeError, "attention: gave Identity; allowed: a CausalAtt"),
        (lambda e, h: CausalAttention(8, h), ValueError, "attention: gave embed_dim 8; allowed"),
        (TimeVaryingAttention, ValueError, "attention: gave TimeVaryingAttention, which takes"),
    ],
)
def test_bad_factories_are_told_in_one_line(attention, error, says) -> None:
    with pytest.raises(error) as caught:
        SCMEncoder(N, WIDTH, attention=attention)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_bad_graphs_leave_the_old_one_in_place() -> None:
    model = encoder("multi-level")
    model.set_graph(graph_for(model))
    before = model(values())
    with pytest.raises(ValueError, match=r"graph: shape \(4, 4\); allowed: \(num_levels=3"):
        model.set_graph(GRAPH)
    with pytest.raises(ValueError, match="graph: a batch of graphs; allowed here: one"):
        model.set_graph(GRAPH.expand(2, 3, N, N))
    with pytest.raises(ValueError, match="graph: has 3 variables; allowed: 4"):
        model.set_graph(torch.zeros(3, 3, 3))
    assert torch.equal(model(values()), before)
    with pytest.raises(ValueError, match="modulation: 'log'; allowed for generalised"):
        encoder("generalised", modulation="log")


@pytest.mark.parametrize("pooling", ["attention", "linear"])
def test_dropped_pooling_leaves_the_tokens(pooling) -> None:
    model = encoder("causal", pooling=pooling)
    before = model.tokens(values(), GRAPH)
    count = len(list(model.parameters()))
    assert model.drop_pooling() is model
    assert model.drop_pooling().pooling is None
    assert len(list(model.parameters())) < count
    assert torch.equal(model.tokens(values(), GRAPH), before)
    for call in (lambda: model(values(), GRAPH), lambda: model.pool(before)):
        with pytest.raises(RuntimeError, match="the pooling was dropped"):
            call()
