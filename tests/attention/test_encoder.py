from __future__ import annotations

import copy
import io
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from causal_rl.attention import MODULATIONS, SCMEncoder, prepare_mask


def random_dag(rng: np.random.Generator, n: int, density: float = 0.4) -> Tensor:
    upper = np.triu(rng.random((n, n)) < density, 1)
    order = rng.permutation(n)
    return torch.from_numpy(upper[np.ix_(order, order)])


def reach(graph: Tensor, hops: int) -> Tensor:
    """Return [i, j] = i is j, or reaches j within that many edges."""
    step = (graph | torch.eye(len(graph), dtype=torch.bool)).double()
    return torch.linalg.matrix_power(step, hops) > 0


def encoder(n: int, modulation: str = "hard", seed: int = 0, **options) -> SCMEncoder:
    torch.manual_seed(seed)
    options = {"embed_dim": 32, "num_layers": 2, "num_heads": 2} | options
    return SCMEncoder(n, modulation=modulation, **options).double()


def normal(rng: np.random.Generator, *shape: int) -> Tensor:
    return torch.from_numpy(rng.normal(size=shape))


@pytest.mark.parametrize("modulation", MODULATIONS)
@pytest.mark.parametrize("n", [1, 5])
def test_shapes_and_finiteness_without_parents(modulation, n) -> None:
    model = SCMEncoder(n, embed_dim=12, num_heads=3, modulation=modulation)
    values = torch.randn(4, n, generator=torch.Generator().manual_seed(0))
    out = model(values, torch.zeros(n, n))
    out.sum().backward()
    assert out.shape == (4, 12)
    assert out.dtype == torch.float32
    assert out.isfinite().all()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    assert model(values.double(), torch.zeros(n, n)).dtype == torch.float32
    assert model(values[:0], torch.zeros(n, n)).shape == (0, 12)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), n=st.integers(2, 7), layers=st.integers(1, 3))
def test_hard_jacobian_is_exactly_the_ancestry(seed, n, layers) -> None:
    rng = np.random.default_rng(seed)
    graph, values = random_dag(rng, n), normal(rng, 1, n).requires_grad_()
    tokens = encoder(n, num_layers=layers, seed=seed % 1000).tokens(values, graph)
    # A random combination of a token's features hides no dependence (but on a set of measure 0).
    outputs = (tokens[0] * normal(rng, 32)).sum(-1)
    rows = [torch.autograd.grad(out, values, retain_graph=True)[0][0] for out in outputs]
    assert torch.equal(torch.stack(rows).T != 0, reach(graph, layers))


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), n=st.integers(2, 7), modulation=st.sampled_from(MODULATIONS))
def test_values_that_are_not_read_have_no_influence(seed, n, modulation) -> None:
    rng = np.random.default_rng(seed)
    graph, values = random_dag(rng, n), normal(rng, 3, n).requires_grad_()
    readout = reach(graph, n)[:, int(rng.integers(n))]
    encoder(n, modulation)(values, graph, readout).square().sum().backward()
    assert values.grad is not None
    assert torch.equal((values.grad != 0).any(0), readout)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), n=st.integers(1, 7), as_index=st.booleans())
def test_dropping_equals_computing_everything(seed, n, as_index) -> None:
    rng = np.random.default_rng(seed)
    graph, values = random_dag(rng, n), normal(rng, 4, n)
    readout = reach(graph, n)[:, int(rng.integers(n))]
    index = torch.from_numpy(rng.permutation(readout.nonzero().squeeze(1).numpy()))
    model = encoder(n)
    every = model.tokens(values, graph)
    tokens = model.tokens(values, graph, index)
    torch.testing.assert_close(tokens, every[:, index])
    out = model(values, graph, index if as_index else readout)
    torch.testing.assert_close(out, model.pool(every[:, readout]))


def test_an_open_readout_encodes_the_induced_subgraph() -> None:
    rng = np.random.default_rng(0)
    graph, values, index = random_dag(rng, 5, 0.8), normal(rng, 3, 5), torch.tensor([3, 1])
    model = encoder(5)
    cut = graph.clone()
    outside = torch.tensor([0, 2, 4])
    cut[outside] = False
    torch.testing.assert_close(
        model.tokens(values, graph, index), model.tokens(values, cut)[:, index]
    )


@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(1, 7),
    modulation=st.sampled_from(MODULATIONS),
    batched=st.booleans(),
)
def test_relabelling_with_the_identities(seed, n, modulation, batched) -> None:
    rng = np.random.default_rng(seed)
    shape = (3, n, n) if batched else (n, n)
    graph = torch.from_numpy(rng.uniform(-1, 1, shape) * (rng.random(shape) < 0.5))
    values, order = normal(rng, 3, n), torch.from_numpy(rng.permutation(n))
    model = encoder(n, modulation)
    relabelled = copy.deepcopy(model)
    with torch.no_grad():
        relabelled.identity.copy_(model.identity[order])
    permuted = graph[..., order, :][..., order]
    torch.testing.assert_close(
        relabelled.tokens(values[:, order], permuted), model.tokens(values, graph)[:, order]
    )
    torch.testing.assert_close(relabelled(values[:, order], permuted), model(values, graph))


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), modulation=st.sampled_from(MODULATIONS))
def test_batched_graphs_with_readout_equal_one_at_a_time(seed, modulation) -> None:
    rng = np.random.default_rng(seed)
    graphs, values = torch.from_numpy(rng.random((3, 5, 5))), normal(rng, 3, 5)
    readout, model = torch.tensor([4, 0, 2]), encoder(5, modulation)
    out = model(values, graphs, readout)
    for b in range(3):
        alone = model(values[b : b + 1], graphs[b], readout)
        torch.testing.assert_close(out[b : b + 1], alone)


@pytest.mark.parametrize("modulation", MODULATIONS)
@pytest.mark.parametrize("readout", [None, torch.tensor([2, 0]), torch.ones(4) > 0])
def test_stored_graph_equals_graph_by_call(modulation, readout) -> None:
    rng = np.random.default_rng(1)
    graph, values = random_dag(rng, 4, 0.8) * torch.tensor(0.5), normal(rng, 3, 4)
    model = encoder(4, modulation)
    expected = model(values, graph, readout)
    model.set_graph(graph, readout)
    torch.testing.assert_close(model(values), expected)
    # A stored graph does not stand in the way of one by call.
    assert not torch.allclose(model(values, torch.ones(4, 4)), expected)
    torch.testing.assert_close(model(values), expected)
    graph.zero_()
    torch.testing.assert_close(model(values), expected)


def test_prepared_masks_cover_the_tokens_read() -> None:
    rng = np.random.default_rng(2)
    graph, values, index = random_dag(rng, 5, 0.8), normal(rng, 3, 5), torch.tensor([1, 4])
    model = encoder(5)
    mask = prepare_mask(graph[index][:, index], dtype=torch.float64)
    torch.testing.assert_close(model(values, mask, index), model(values, graph, index))
    with pytest.raises(ValueError, match="graph: prepared for 2 variables; allowed: the 5"):
        model(values, mask)


@pytest.mark.parametrize("stored", [False, True])
@pytest.mark.parametrize("loaded_over", [False, True])
def test_state_dict_carries_the_graph(stored, loaded_over) -> None:
    rng = np.random.default_rng(3)
    graph, values = random_dag(rng, 5, 0.7), normal(rng, 3, 5)
    model, other = encoder(5), encoder(5, seed=1)
    if stored:
        model.set_graph(graph, torch.tensor([0, 3, 1]))
    if loaded_over:
        other.set_graph(~graph)
    file = io.BytesIO()
    torch.save(model.state_dict(), file)
    file.seek(0)
    # Inside another module, as an agent holds it.
    torch.nn.ModuleDict({"encoder": other}).load_state_dict(
        {f"encoder.{k}": v for k, v in torch.load(file, weights_only=True).items()}
    )
    if stored:
        assert torch.equal(other(values), model(values))
    else:
        with pytest.raises(ValueError, match="graph: None and none stored"):
            other(values)


def test_copies_pickles_and_casts_keep_the_stored_graph() -> None:
    rng = np.random.default_rng(4)
    graph, values = random_dag(rng, 5, 0.7), normal(rng, 3, 5)
    model = encoder(5)
    model.set_graph(graph, torch.tensor([0, 3, 1]))
    expected = model(values)
    copied = copy.deepcopy(model)
    model.set_graph(torch.zeros(5, 5))
    for twin in (copied, pickle.loads(pickle.dumps(copied))):
        assert torch.equal(twin(values), expected)
    state = encoder(5, seed=9).state_dict()
    copied.load_state_dict(state)  # restores the copy, not the model it was copied from
    assert not copied.readout.any()
    torch.testing.assert_close(model(values), model(values, torch.zeros(5, 5)))
    model.set_graph(graph)
    torch.testing.assert_close(
        model.float()(values).double(), model.double()(values), rtol=1e-4, atol=1e-4
    )


def test_a_refused_graph_leaves_the_stored_one() -> None:
    rng = np.random.default_rng(5)
    graph, values = random_dag(rng, 4, 0.8), normal(rng, 3, 4)
    model = encoder(4)
    model.set_graph(graph)
    expected = model(values)
    bad = graph.double()
    bad[1, 2] = np.nan
    for arguments in ((bad,), (torch.zeros(3, 3),), (graph, torch.tensor([7]))):
        with pytest.raises(ValueError, match="allowed"):
            model.set_graph(*arguments)
        assert torch.equal(model(values), expected)


def test_log_lets_a_graph_learn_through_the_encoder() -> None:
    rng = np.random.default_rng(6)
    values = normal(rng, 8, 4)
    logits = torch.zeros(4, 4, dtype=torch.float64, requires_grad=True)
    for readout in (None, torch.tensor([0, 2, 3])):
        logits.grad = None
        encoder(4, "log")(values, torch.sigmoid(logits), readout).square().sum().backward()
        assert logits.grad is not None
        read = torch.zeros(4, dtype=torch.bool)
        read[torch.arange(4) if readout is None else readout] = True
        expected = torch.outer(read, read) & ~torch.eye(4, dtype=torch.bool)
        assert torch.equal(logits.grad != 0, expected)


def test_magnitude_survives_the_layer_norm() -> None:
    model = encoder(1)
    values = torch.tensor([[0.5], [1.0], [2.0], [4.0]], dtype=torch.float64)
    out = model(values, torch.zeros(1, 1))
    assert torch.pdist(out).min() > 0.05


def test_dropout_only_in_training() -> None:
    values, graph = normal(np.random.default_rng(7), 3, 4), torch.ones(4, 4)
    model = encoder(4, dropout=0.5)
    assert torch.equal(model.eval()(values, graph), encoder(4)(values, graph))
    model.train()
    assert not torch.equal(model(values, graph), model(values, graph))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_variables": 0}, "n_variables: 0; allowed: >= 1"),
        ({"embed_dim": 0}, "embed_dim: 0; allowed: >= 1"),
        ({"num_layers": 0}, "num_layers: 0; allowed: >= 1"),
        ({"num_heads": 5}, "num_heads: 5; allowed: a divisor of embed_dim 32"),
        ({"feedforward_dim": -1}, "feedforward_dim: -1; allowed: >= 1"),
        ({"num_queries": 0}, "num_queries: 0; allowed: >= 1"),
        ({"dropout": 1.5}, r"dropout: 1.5; allowed: \[0, 1\)"),
        ({"modulation": "soft"}, "unknown 'soft'; allowed: 'hard', 'log', 'scale'"),
        ({"log_floor": 2}, "log_floor: 2; allowed"),
    ],
)
def test_bad_settings(options, message) -> None:
    with pytest.raises(ValueError, match=message):
        SCMEncoder(**({"n_variables": 3} | options))


@pytest.mark.parametrize(
    ("readout", "error", "message"),
    [
        ([0, 1], TypeError, "readout: list; allowed: a tensor"),
        (torch.tensor([0.0, 1.0]), TypeError, "readout: dtype torch.float32; allowed"),
        (torch.tensor([True, False]), ValueError, r"readout: shape \(2,\); allowed: bool \(3,\)"),
        (torch.tensor([[0]]), ValueError, r"readout: shape \(1, 1\); allowed"),
        (torch.tensor([False] * 3), ValueError, "readout: selects no variable; allowed"),
        (torch.tensor([], dtype=torch.long), ValueError, "readout: selects no variable; allowed"),
        (torch.tensor([0, 0]), ValueError, r"readout: \[0, 0\]; allowed: .* distinct"),
        (torch.tensor([0, 3]), ValueError, r"readout: \[0, 3\]; allowed"),
        (torch.tensor([-1]), ValueError, r"readout: \[-1\]; allowed"),
    ],
)
def test_bad_readouts(readout, error, message) -> None:
    model = encoder(3)
    with pytest.raises(error, match=message):
        model(torch.zeros(2, 3), torch.zeros(3, 3), readout)
    with pytest.raises(error, match=message):
        model.set_graph(torch.zeros(3, 3), readout)


def test_bad_calls() -> None:
    model, graph, values = encoder(3), torch.zeros(3, 3), torch.zeros(2, 3)
    for bad in (values[0], torch.zeros(2, 4)):
        with pytest.raises(ValueError, match=r"^values: shape .*; allowed: \(batch, 3\)"):
            model(bad, graph)
    with pytest.raises(TypeError, match=r"^values: dtype torch.int64; allowed: a floating"):
        model(values.long(), graph)
    with pytest.raises(ValueError, match="graph: None and none stored; allowed"):
        model(values)
    with pytest.raises(ValueError, match="readout: given without a graph; allowed"):
        model(values, readout=torch.tensor([0]))
    with pytest.raises(ValueError, match="graph: has 4 variables; allowed: 3"):
        model(values, torch.zeros(4, 4))
    with pytest.raises(ValueError, match="graph: a batch of 5; allowed"):
        model(values, torch.zeros(5, 3, 3))
    with pytest.raises(ValueError, match=r"graph: nan at \(0, 0\)"):
        model(values, torch.full((3, 3), torch.nan))
    with pytest.raises(ValueError, match="graph: a batch of graphs; allowed here"):
        model.set_graph(torch.zeros(2, 3, 3))
    with pytest.raises(ValueError, match="graph: a graph that requires grad; allowed here"):
        model.set_graph(graph.requires_grad_())
    for bad in (torch.zeros(2, 32), torch.zeros(2, 0, 32), torch.zeros(2, 3, 4)):
        with pytest.raises(ValueError, match=r"^tokens: shape .*; allowed: \(batch, k, 32\)"):
            model.pool(bad)
