"""Neural estimators: the common training, the graphs of their tokens, and what each promises."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from causal_rl.attention import SCMEncoder
from causal_rl.effects import make_estimator
from causal_rl.effects.networks import NetworkEstimator
from causal_rl.effects.representation import sinkhorn_distance
from causal_rl.effects.token_networks import TokenNetwork
from causal_rl.graphs import CausalGraph

RNG = np.random.default_rng(0)
N = 200
X = RNG.normal(size=(N, 2))
T = (RNG.random(N) < 1 / (1 + np.exp(-X[:, 0]))).astype(int)
Y = X @ [1.0, -0.5] + 2.0 * T + RNG.normal(scale=0.1, size=N)
TOKENS = ("ecam", "transformer", "attn-mask", "catt", "irm")
HEADS = ("tarnet", "cfr-wass", "dragonnet", "site", "cevae")
SMALL: dict[str, Any] = {"embed_dim": 8, "num_layers": 1, "num_heads": 2}
TRAINING: dict[str, Any] = {"steps": 100, "learning_rate": 0.02, "batch_size": 32}


def make(name: str, **options: Any) -> NetworkEstimator:
    sizes = {"width": 16} if name in HEADS else SMALL
    found = make_estimator(name, **{**sizes, **TRAINING, **options})
    assert isinstance(found, NetworkEstimator)
    return found


def graph(*edges: tuple[str, str], names: tuple[str, ...]) -> CausalGraph:
    adjacency = np.zeros((len(names),) * 2, dtype=bool)
    for cause, effect in edges:
        adjacency[names.index(cause), names.index(effect)] = True
    return CausalGraph(adjacency, names=names)


@pytest.mark.parametrize("name", [*TOKENS, *HEADS])
def test_every_network_answers_row_by_row(name: str) -> None:
    state = torch.get_rng_state()
    found = make(name, steps=3).fit(X, T, Y)
    assert torch.equal(torch.get_rng_state(), state)
    assert found.steps_ == 3
    np.testing.assert_allclose(found.effect(X, t0=1, t1=0), -found.effect(X))
    np.testing.assert_allclose(found.effect(X[3:4]), found.effect(X)[3:4], atol=1e-5)


@pytest.mark.parametrize(
    "name",
    [
        name if name in ("ecam", "tarnet") else pytest.param(name, marks=pytest.mark.slow)
        for name in (*TOKENS, *HEADS)
    ],
)
def test_networks_recover_a_constant_effect(name: str) -> None:
    found = make(name).fit(X, T, Y)
    assert 0 < found.steps_ <= 100
    # CEVAE's latent variable takes far more rows to be of use.
    assert found.ate() == pytest.approx(2.0, abs=1.0 if name == "cevae" else 0.6)


@pytest.mark.parametrize("name", ["ecam", "tarnet"])
def test_same_seed_same_effects_and_units_follow_the_outcome(name: str) -> None:
    plain = make(name, steps=20).fit(X, T, Y).effect(X)
    assert (make(name, steps=20).fit(X, T, Y).effect(X) == plain).all()
    assert not np.allclose(make(name, steps=20, seed=1).fit(X, T, Y).effect(X), plain)
    scaled = make(name, steps=20).fit(4.0 * X, T, 8.0 * Y).effect(4.0 * X)
    np.testing.assert_allclose(scaled, 8.0 * plain, rtol=1e-3, atol=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ecam", "cfr-wass"])
def test_three_arms(name: str) -> None:
    arms = RNG.integers(0, 3, N)
    y = X[:, 0] + np.array([0.0, 1.0, -3.0])[arms]
    found = make(name).fit(X, arms, y)
    assert found.ate(t0=1, t1=2) == pytest.approx(-4.0, abs=1.0)


def test_site_takes_two_arms() -> None:
    with pytest.raises(ValueError, match="3 arms; site takes two"):
        make("site").fit(X, np.arange(N) % 3, Y)


def test_ecam_is_the_agents_encoder_under_the_mutilated_graph() -> None:
    names = ("X1", "X2", "t", "y")
    known = graph(("X1", "X2"), ("X1", "t"), ("X2", "t"), ("X2", "y"), ("t", "y"), names=names)
    found = make("ecam", graph=known, steps=1).fit(X, T, Y)
    assert found.adjustment_ is not None
    assert found.adjustment_.covariates == ("X2",)
    network = found._network
    assert isinstance(network, TokenNetwork)
    assert type(network.encoder) is SCMEncoder
    edges = network.encoder.graph.numpy() > 0
    # Tokens: X2, t. Nothing leads into the treatment; both are read for the outcome.
    assert not edges.any()
    assert network.encoder.readout.all()
    moved = X + np.array([9.0, 0.0])
    assert (found.effect(moved) == found.effect(X)).all()


def test_ecam_without_a_graph_lets_covariates_attend_to_each_other() -> None:
    network = make("ecam", steps=1).fit(X, T, Y)._network
    assert isinstance(network, TokenNetwork)
    edges = network.encoder.graph.numpy() > 0
    assert edges[:2, :2].tolist() == [[False, True], [True, False]]
    assert not edges[:, 2].any()
    assert network.encoder.readout.all()


def test_ecam_keeps_the_edges_between_covariates() -> None:
    names = ("X1", "X2", "t", "y")
    edges = [("X1", "X2"), ("X1", "t"), ("X2", "y"), ("X1", "y"), ("t", "y")]
    network = make("ecam", steps=1, graph=graph(*edges, names=names)).fit(X, T, Y)._network
    assert isinstance(network, TokenNetwork)
    expected = [[0, 1, 0], [0, 0, 0], [0, 0, 0]]
    assert network.encoder.graph.int().tolist() == expected


def test_attention_mask_without_a_cause_of_the_outcome_is_a_mean() -> None:
    known = graph(("y", "X1"), names=("X1", "X2", "t", "y"))
    found = make("attn-mask", graph=known).fit(X, T, Y)
    assert not found.effect(X).any()
    assert found._outcomes(X)[0, 0] == pytest.approx(Y.mean(), abs=0.2 * Y.std())


def mediated() -> tuple[np.ndarray, np.ndarray, np.ndarray, CausalGraph]:
    rng = np.random.default_rng(1)
    t = (rng.random(N) < 0.5).astype(int)
    mediator = 2.0 * t + 0.5 * rng.normal(size=N)
    y = mediator + 0.3 * rng.normal(size=N)
    return mediator[:, None], t, y, graph(("t", "X1"), ("X1", "y"), names=("X1", "t", "y"))


def test_ecam_with_the_graph_is_not_misled_by_a_mediator() -> None:
    rows, t, y, known = mediated()
    assert make("ecam", graph=known).fit(rows, t, y).ate() == pytest.approx(2.0, abs=0.3)
    # Attn+Mask in one layer sees the mediator alone.
    assert not make("attn-mask", graph=known, steps=3).fit(rows, t, y).effect(rows).any()


@pytest.mark.slow
def test_cat_predicts_the_mediator_and_the_transformer_conditions_on_it() -> None:
    rows, t, y, known = mediated()
    assert make("cat", graph=known).fit(rows, t, y).ate() == pytest.approx(2.0, abs=0.4)
    assert make("transformer").fit(rows, t, y).ate() < 1.6


def test_cat_says_none_where_the_graph_has_no_path() -> None:
    known = graph(("y", "t"), ("X1", "y"), names=("X1", "X2", "t", "y"))
    assert not make("cat", graph=known, steps=3).fit(X, T, Y).effect(X).any()


def test_cat_takes_nothing_hidden_and_no_cycle() -> None:
    names = ("X1", "X2", "u", "t", "y")
    with pytest.raises(ValueError, match="hidden variable 'u'"):
        make("cat", graph=graph(("u", "y"), names=names)).fit(X, T, Y)
    with pytest.raises(ValueError, match="cycle"):
        make("cat", graph="full").fit(X, T, Y)


def test_sinkhorn_of_points_is_their_squared_distance() -> None:
    A, B = torch.tensor([[0.0, 1.0]]), torch.tensor([[3.0, 5.0]])
    assert float(sinkhorn_distance(A, B)) == pytest.approx(25.0)
    assert float(sinkhorn_distance(A, B[:0])) == 0.0
    cloud = torch.randn(40, 2, generator=torch.Generator().manual_seed(0))
    far = sinkhorn_distance(cloud, cloud + 10.0)
    assert float(far) == pytest.approx(200.0, rel=0.05)
    assert float(sinkhorn_distance(cloud, cloud)) < 0.05 * float(far)


@pytest.mark.slow
def test_balance_brings_the_arms_together() -> None:
    def distance(balance: float) -> float:
        found = make("cfr-wass", balance=balance).fit(X, T, Y)
        rows = torch.from_numpy(((X - X.mean(0)) / X.std(0)).astype(np.float32))
        with torch.no_grad():
            represented = found._network.represent(rows)  # type: ignore[operator]
        arms = torch.from_numpy(T)
        return float(sinkhorn_distance(represented[arms == 0], represented[arms == 1]))

    assert distance(20.0) < 0.5 * distance(0.0)


@pytest.mark.parametrize("name", ["tarnet", "ecam"])
def test_nothing_to_adjust_for_and_few_rows(name: str) -> None:
    known = graph(("t", "y"), names=("X1", "X2", "t", "y"))
    few = np.r_[np.flatnonzero(T == 0)[:6], np.flatnonzero(T == 1)[:6]]
    found = make(name, graph=known, steps=10).fit(X[few], T[few], Y[few])
    assert np.ptp(found.effect(X)) < 1e-5


def test_gaussian_process_finds_effects_that_vary() -> None:
    rows, arms = X[:100], T[:100]
    effect = np.sin(2 * rows[:, 0])
    y = rows[:, 1] + arms * effect + 0.05 * RNG.normal(size=100)
    found = make_estimator("gaussian-process", steps=30).fit(rows, arms, y)
    assert np.sqrt(np.mean((found.effect(rows) - effect) ** 2)) < 0.2
    low, high = found.ate_interval()
    assert low < effect.mean() < high
    assert high - low < 0.3
    wide = found.ate_interval(rows[:5] + 10.0)
    assert wide[1] - wide[0] > high - low
    known = graph(("t", "y"), names=("X1", "X2", "t", "y"))
    alone = make_estimator("gaussian-process", steps=10, graph=known).fit(rows, arms, y)
    assert np.ptp(alone.effect(rows)) < 1e-9


@pytest.mark.slow
@pytest.mark.parametrize("name", ["causal-forest", "linear-dml", "dr-learner"])
def test_econml_recovers_a_constant_effect(name: str) -> None:
    pytest.importorskip("econml")
    found = make_estimator(name).fit(X, T, Y)
    assert found.ate() == pytest.approx(2.0, abs=0.4)
    low, high = found.ate_interval()
    assert low < found.ate() < high
    known = graph(("t", "y"), names=("X1", "X2", "t", "y"))
    gap = Y[T == 1].mean() - Y[T == 0].mean()
    assert make_estimator(name, graph=known).fit(X, T, Y).ate() == pytest.approx(gap, abs=0.2)


@pytest.mark.parametrize(
    ("name", "options", "error", "says"),
    [
        ("tarnet", {"steps": 0}, ValueError, "steps is 0"),
        ("tarnet", {"width": 2.5}, TypeError, "width must be an integer"),
        ("tarnet", {"learning_rate": 0.0}, ValueError, "learning_rate is 0.0"),
        ("tarnet", {"device": "abacus"}, ValueError, "device is 'abacus'"),
        ("cfr-wass", {"balance": -1.0}, ValueError, "balance is -1.0"),
        ("site", {"middle": -1.0}, ValueError, "middle is -1.0"),
        ("cevae", {"latent": 0}, ValueError, "latent is 0"),
        ("dragonnet", {"targeting": -1.0}, ValueError, "targeting is -1.0"),
        ("ecam", {"num_heads": 3}, ValueError, "num_heads is 3"),
        ("ecam", {"breadth": 3}, ValueError, "no option 'breadth'"),
        ("irm", {"penalty": "x"}, TypeError, "penalty must be a number"),
        ("gaussian-process", {"directions": 0}, ValueError, "directions is 0"),
        ("causal-forest", {"folds": 1}, ValueError, "folds is 1"),
    ],
)
def test_bad_options_are_named(
    name: str, options: dict[str, Any], error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        make_estimator(name, **options)
