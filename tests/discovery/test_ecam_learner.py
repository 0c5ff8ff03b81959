from __future__ import annotations

import numpy as np
import pytest
import torch

from causal_rl.discovery import EdgePrior, Transitions, make_learner
from causal_rl.discovery.attention_baselines import correlated, read_graph
from causal_rl.discovery.batch import Rows
from causal_rl.discovery.cross_sample import CrossSampleAttention, add_cross_sample
from causal_rl.discovery.masked_predictor import MaskedPredictor

SMALL = {"embed_dim": 8, "num_heads": 2, "batch_size": 48}


def predictor(allowed: np.ndarray, *, gated: bool, layers: int = 2) -> MaskedPredictor:
    return MaskedPredictor(
        torch.from_numpy(allowed),
        gated=gated,
        embed_dim=16,
        num_layers=layers,
        num_heads=2,
        generator=torch.Generator().manual_seed(0),
    )


def pair(rows: int = 400, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """X2 -> X1, half of the rows with X1 set."""
    rng = np.random.default_rng(seed)
    cause = rng.normal(size=rows)
    effect = np.tanh(2 * cause) + 0.3 * rng.normal(size=rows)
    target = np.zeros((rows, 2), dtype=bool)
    target[rows // 2 :, 0] = True
    effect[rows // 2 :] = rng.normal(size=rows // 2)
    return np.column_stack([effect, cause]), target


def test_a_prediction_sees_what_its_edges_show_and_never_its_own_value():
    allowed = np.zeros((4, 4), dtype=bool)
    allowed[[0, 1, 2, 3], [1, 2, 1, 0]] = True
    x = torch.randn(5, 4, generator=torch.Generator().manual_seed(1))
    fixed, gated = predictor(allowed, gated=False), predictor(~np.eye(4, dtype=bool), gated=True)
    gates = torch.from_numpy(allowed).float()
    for model, given in ((fixed, torch.from_numpy(allowed)), (gated, gates)):
        before = model.predict(x, given)
        for i in range(4):
            moved = x.clone()
            moved[:, i] += 1.0
            change = (model.predict(moved, given) - before).abs().amax(dim=0)
            assert (change[allowed[i]] > 1e-4).all()
            assert change[~allowed[i]].max() < (1e-6 if model is fixed else 1e-3)
    # However large the scores become.
    with torch.no_grad():
        for block in gated.encoder.blocks:
            block.attention.qkv.weight *= 100.0
    for i in range(4):
        moved = x.clone()
        moved[:, i] += 1.0
        change = gated.predict(moved, gates) - gated.predict(x, gates)
        assert change[:, i].abs().max() < 1e-6
    states = torch.random.get_rng_state()
    predictor(allowed, gated=True)
    assert torch.equal(states, torch.random.get_rng_state())


def test_gates_carry_gradients_when_open_and_when_closed():
    model = predictor(~np.eye(3, dtype=bool), gated=True, layers=1)
    x = torch.randn(200, 3, generator=torch.Generator().manual_seed(1))
    for value in (0.0, 1.0):
        gates = torch.full((3, 3), value) * model.allowed
        gates.requires_grad_()
        kept = torch.ones(200, 3)
        torch.autograd.backward(model.negative_log_likelihood(x, gates, kept))
        assert gates.grad is not None
        off = gates.grad[model.allowed]
        assert torch.isfinite(off).all()
        assert (off != 0).all()
    drawn = model.sample_gates(50, 0.5, torch.Generator().manual_seed(0))
    assert set(drawn.unique().tolist()) == {0.0, 1.0}
    assert not drawn[:, ~model.allowed].any()


def test_attention_adds_up_with_what_a_query_keeps():
    allowed = np.array([[0, 1, 1], [0, 0, 1], [0, 0, 0]], dtype=bool)
    model = predictor(allowed, gated=False)
    x = torch.randn(20, 3, generator=torch.Generator().manual_seed(1))
    weights = model.attention(x).numpy()
    assert (weights[allowed] > 0).all()
    assert (weights[~allowed] == 0).all()
    assert (weights.sum(axis=0) < 1).all()


def test_cross_sample_attention_begins_as_the_inner_one_and_then_adds():
    model = predictor(~np.eye(3, dtype=bool), gated=False, layers=1)
    x = torch.randn(20, 3, generator=torch.Generator().manual_seed(1))
    before, weights = model.predict(x, model.allowed), model.attention(x)
    add_cross_sample(model, x, entries=5, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(model.predict(x, model.allowed), before)
    torch.testing.assert_close(model.attention(x), weights)
    wrapped = model.encoder.blocks[0].attention
    assert isinstance(wrapped, CrossSampleAttention)
    assert wrapped.dictionary.shape == (5, 16)
    with torch.no_grad():
        wrapped.out += 1.0
    assert not torch.allclose(model.predict(x, model.allowed), before)


def test_the_rule_that_reads_attention():
    seen = ~np.eye(3, dtype=bool)
    weights = np.array([[0.0, 0.6, 0.5], [0.35, 0.0, 0.1], [0.1, 0.3, 0.0]])
    edges, confidence = read_graph(weights, seen)
    # 1 -> 0 is more than a third, but less than 0 -> 1; 2 -> 1 is below a third.
    assert np.argwhere(edges).tolist() == [[0, 1], [0, 2]]
    assert confidence[0, 1] == pytest.approx(0.6 / (0.6 + 1 / 3))
    narrow = seen.copy()
    narrow[:, 2] = [False, True, False]
    assert np.argwhere(read_graph(weights, narrow)[0]).tolist() == [[0, 1]]
    cycle = np.array([[0.0, 0.9, 0.0], [0.0, 0.0, 0.8], [0.7, 0.0, 0.0]])
    assert np.argwhere(read_graph(cycle, seen)[0]).tolist() == [[0, 1], [1, 2]]


def test_the_screening_leaves_out_rows_that_were_set():
    x = np.random.default_rng(0).normal(size=(200, 2))
    x[100:, 0] = x[100:, 1]
    target = np.zeros((200, 2), dtype=bool)
    target[100:, 0] = True
    rows = Rows(x, np.zeros_like(x), target)
    np.testing.assert_array_equal(correlated(rows, 1e-6), [[False, True], [False, False]])
    plain = Rows(x, np.zeros((200, 2)), np.zeros((200, 2), dtype=bool))
    assert correlated(plain, 1e-6).sum() == 2
    constant = Rows(np.ones((9, 2)), np.zeros((9, 2)), np.zeros((9, 2), dtype=bool))
    assert not correlated(constant, 0.05).any()


def test_ecam_learns_from_interventions():
    x, target = pair()
    learner = make_learner("ecam", steps=120, embed_dim=16, num_heads=2, batch_size=64)
    graph = learner.fit(x, do_target=target)
    assert graph.edges() == [("contemporaneous", "X2", "X1")]
    assert learner.converged_
    short = [make_learner("ecam", steps=8, **SMALL) for _ in range(3)]
    told, again, blind = (
        own.fit(x, do_target=target if k < 2 else None).contemporaneous_confidence
        for k, own in enumerate(short)
    )
    np.testing.assert_array_equal(told, again)
    assert not np.array_equal(told, blind)


def test_ecam_learns_the_past():
    rng = np.random.default_rng(0)
    before = rng.normal(size=(300, 2))
    after = 0.5 * rng.normal(size=(300, 2))
    after[:, 0] += before[:, 1]
    learner = make_learner("ecam", steps=80, **SMALL)
    assert learner.fit(Transitions(state=before, next_state=after)).edges() == [
        ("lagged", "X2", "X1")
    ]


def test_ecam_obeys_a_prior():
    x, _ = pair(100)
    learner = make_learner("ecam", steps=10, **SMALL)
    learner.prior = EdgePrior(required=[("X1", "X2")])
    assert learner.fit(x).edges() == [("contemporaneous", "X1", "X2")]
    learner.prior = EdgePrior(forbidden=[("X1", "X2"), ("X2", "X1")])
    assert not learner.fit(x).edges()


@pytest.mark.parametrize("name", ["attn-mask", "catt"])
def test_baselines_read_a_graph(name: str):
    x, target = pair(200)
    x = np.column_stack([x, np.random.default_rng(1).normal(size=200), np.full(200, 3.0)])
    target = np.column_stack([target, np.zeros((200, 2), dtype=bool)])
    learner = make_learner(name, steps=30, **SMALL)
    graph = learner.fit(x, do_target=target)
    assert np.isfinite(graph.contemporaneous_confidence).all()
    assert not graph.summary[3].any()
    assert not graph.lagged.any()
    if name == "attn-mask":
        assert not graph.contemporaneous[2].any()  # screened off
        assert not graph.contemporaneous[:, 2].any()
    assert learner.fit(x, do_target=target) == graph
    learner.prior = EdgePrior(forbidden=[("X1", "X2"), ("X2", "X1")])
    assert not learner.fit(x).contemporaneous[:2, :2].any()
    assert np.isfinite(make_learner(name, steps=2, **SMALL).fit(x[:2]).contemporaneous).all()


def test_bad_options():
    for name, options, message in (
        ("ecam", {"threshold": 1.0}, "threshold is 1.0"),
        ("ecam", {"steps": 0}, "steps is 0"),
        ("ecam", {"num_heads": 5}, "num_heads is 5; it must divide 32"),
        ("ecam", {"acyclicity": "none"}, "acyclicity is 'none'"),
        ("ecam", {"device": "abacus"}, "device is 'abacus'"),
        ("attn-mask", {"steps": 0}, "steps is 0"),
        ("catt", {"device": "abacus"}, "device is"),
        ("catt", {"learning_rate": 0.0}, "learning_rate is 0.0"),
    ):
        with pytest.raises(ValueError, match=message):
            make_learner(name, **options)
    with pytest.raises(TypeError, match="device must be a string"):
        make_learner("catt", device=0)
