"""Properties of the encoder that depend on how tokens are pooled, and of how it starts."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from causal_rl.attention import POOLINGS, SCMEncoder

GRAPH = torch.tensor([[0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0], [1, 0, 0, 0]], dtype=torch.bool)


def encoder(pooling, **options):
    torch.manual_seed(0)
    return SCMEncoder(4, embed_dim=16, pooling=pooling, **options).double()


def values(rows=64):
    return torch.from_numpy(np.random.default_rng(0).normal(size=(rows, 4)))


@pytest.mark.parametrize("pooling", POOLINGS)
def test_dropping_tokens_equals_computing_and_pooling_the_same(pooling):
    model, readout = encoder(pooling), torch.tensor([3, 0, 1])  # the ancestors of variable 1
    every = model.tokens(values(), GRAPH)
    expected = model.pool(every[:, readout], readout)
    torch.testing.assert_close(model(values(), GRAPH, readout), expected)


@pytest.mark.parametrize("pooling", POOLINGS)
def test_jacobian_from_what_is_not_read_is_exactly_zero(pooling):
    model, x = encoder(pooling), values().requires_grad_()
    model.set_graph(GRAPH, torch.tensor([True, True, False, True]))
    (gradient,) = torch.autograd.grad(model(x).square().sum(), x)
    assert (gradient[:, 2] == 0).all()
    assert (gradient[:, [0, 1, 3]] != 0).any(0).all()


@pytest.mark.parametrize("pooling", POOLINGS)
def test_relabelling_variables_with_their_parameters(pooling):
    model, order = encoder(pooling), torch.tensor([2, 0, 3, 1])
    other = copy.deepcopy(model)
    with torch.no_grad():
        other.identity.copy_(model.identity[order])
        if pooling == "linear":
            other.maps.copy_(model.maps[order])
    torch.testing.assert_close(
        other(values()[:, order], GRAPH[order][:, order]), model(values(), GRAPH)
    )


def test_only_linear_pooling_has_parameters_of_single_variables_beside_the_identity():
    for pooling in POOLINGS:
        shapes = {
            name: parameter.shape
            for name, parameter in encoder(pooling).named_parameters()
            if 4 in parameter.shape[:1]
        }
        assert set(shapes) == ({"identity", "maps"} if pooling == "linear" else {"identity"})


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_starts_centred(layers):
    """At the start values move the encoding more than the constant that all rows share."""
    out = encoder("linear", num_layers=layers)(values(2000), GRAPH)
    assert out.mean(0).abs().mean() < 0.2 * out.std(0).mean()


def test_bad_pooling_names_what_is_allowed():
    with pytest.raises(ValueError, match="pooling: 'mean'; allowed: attention, linear"):
        SCMEncoder(3, pooling="mean")  # type: ignore[arg-type]
    model = encoder("linear")
    with pytest.raises(ValueError, match="tokens: 2 of them; allowed: 3"):
        model.pool(torch.zeros(1, 2, 16, dtype=torch.float64), torch.tensor([0, 1, 2]))
