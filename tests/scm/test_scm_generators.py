from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from causal_rl.graphs import is_dag
from causal_rl.scm import (
    Function,
    Linear,
    NoNoise,
    Scaled,
    Tanh,
    perturbation_graph,
    random_dynamic_scm,
    random_scm,
    random_variables,
    topology,
    varsortability,
)

KINDS = ("chain", "fork", "collider", "tree", "er", "sf", "full")


@settings(max_examples=80, deadline=None)
@given(st.sampled_from(KINDS), st.integers(3, 12), st.integers(0, 10_000), st.booleans())
def test_topologies_are_acyclic_and_of_the_right_size(kind, n, seed, permute):
    adjacency = topology(kind, n, seed, density=1.0, permute=permute)
    assert adjacency.shape == (n, n)
    assert adjacency.dtype == np.bool_
    assert is_dag(adjacency)
    edges, into, out = adjacency.sum(), adjacency.sum(axis=0), adjacency.sum(axis=1)
    if kind in ("chain", "fork", "collider", "tree", "sf"):
        assert edges == n - 1
    if kind == "chain":
        assert max(into) == max(out) == 1
    if kind == "fork":
        assert max(out) == n - 1
    if kind == "collider":
        assert max(into) == n - 1
    if kind == "tree":
        assert sorted(into) == [0] + [1] * (n - 1)
    if kind == "full":
        assert edges == n * (n - 1) / 2
    if not permute:
        assert not np.tril(adjacency).any()


@pytest.mark.parametrize("kind", KINDS)
def test_labels_say_nothing_about_the_order(kind):
    rng = np.random.default_rng(0)
    forward, total = 0, 0
    for _ in range(300):
        adjacency = topology(kind, 6, rng)
        forward += np.triu(adjacency).sum()
        total += adjacency.sum()
    assert forward / total == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize("density", [0.5, 1.0, 2.0])
def test_er_and_sf_have_the_density_asked_for(density):
    rng = np.random.default_rng(1)
    er = np.mean([topology("er", 20, rng, density).sum() / 20 for _ in range(100)])
    assert er == pytest.approx(density, rel=0.08)
    sf = np.mean([topology("sf", 40, rng, density).sum() / 40 for _ in range(40)])
    assert sf == pytest.approx(density, rel=0.08)


def test_sf_has_hubs_and_er_has_none():
    rng = np.random.default_rng(2)
    largest = {
        kind: np.mean([topology(kind, 60, rng, 1.0).sum(axis=1).max() for _ in range(40)])
        for kind in ("sf", "er")
    }
    assert largest["sf"] > 1.4 * largest["er"]


@pytest.mark.parametrize("mechanism", ["linear", "tanh", "mlp"])
@pytest.mark.parametrize("noise", ["gaussian", "uniform", "laplace"])
def test_every_variable_has_variance_one_and_its_share_of_noise(mechanism, noise):
    adjacency = topology("er", 8, 3, 2.0)
    scm = random_scm(adjacency, mechanism, 4, noise_share=0.3, noise=noise)
    data = scm.sample(40_000, 5)
    np.testing.assert_allclose(data.var(axis=0), 1.0, atol=0.06)
    np.testing.assert_allclose(data.mean(axis=0), 0.0, atol=0.06)
    np.testing.assert_array_equal(scm.graph.contemporaneous, adjacency)
    for variable in scm.variables:
        share = 0.3 if variable.parents else 1.0
        assert variable.noise.std**2 == pytest.approx(share)
    scm.check()


@pytest.mark.parametrize("mechanism", ["linear", "tanh"])
def test_the_order_does_not_leak_through_variances(mechanism):
    rng = np.random.default_rng(6)
    scores = []
    for _ in range(30):
        adjacency = topology("er", 8, rng, 1.5)
        if adjacency.any():
            scores.append(
                varsortability(random_scm(adjacency, mechanism, rng).sample(2000, rng), adjacency)
            )
    assert np.mean(scores) == pytest.approx(0.5, abs=0.13)


@pytest.mark.parametrize("mechanism", ["linear", "tanh", "mlp"])
def test_models_in_time_keep_variance_one_and_their_graph(mechanism):
    rng = np.random.default_rng(7)
    now, lag = topology("er", 6, rng, 1.0), rng.random((6, 6)) < 0.25
    kinds = ["state"] * 4 + ["context", "reward"]
    now[:, 4] = lag[:, 4] = lag[4] = False
    now[5] = lag[5] = False
    now[4, :4] = [True, False, True, False]
    lag[5, 5] = False
    scm = random_dynamic_scm(now, lag, mechanism, rng, names=list("abcdef"), kinds=kinds)
    np.testing.assert_array_equal(scm.graph.contemporaneous, now)
    np.testing.assert_array_equal(scm.graph.lagged, lag)
    run = scm.simulate(80, 0, batch=2000)
    np.testing.assert_allclose(run.values[40:].var(axis=(0, 1)), 1.0, atol=0.12)
    assert perturbation_graph(scm, 0) == scm.graph
    if now[:, 5].any() or lag[:, 5].any():
        assert run.reward[40:].var() == pytest.approx(1.0, abs=0.12)
        assert scm.reward.noise == NoNoise()


def test_a_seed_fixes_the_model_and_a_factory_may_draw_the_mechanisms():
    adjacency = topology("chain", 4, 0)
    one, two = (random_scm(adjacency, "mlp", 9).sample(20, 0) for _ in range(2))
    np.testing.assert_array_equal(one, two)
    variables = random_variables(adjacency, lambda k, rng: Function(np.abs), 0)
    drawn = [v.function for v in variables if v.parents]
    assert all(isinstance(f, Scaled) and isinstance(f.mechanism, Function) for f in drawn)
    tanh = random_variables(adjacency, lambda k, rng: Tanh(np.ones(k)), 0)
    assert len(tanh) == 4


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: topology("ring", 3, 0), ValueError, "kind must be one of chain, fork"),
        (lambda: topology("er", 0, 0), ValueError, "n must be >= 1"),
        (lambda: topology("er", 5, 0, 2.5), ValueError, r"density must be in \[0, 2\] for n = 5"),
        (lambda: topology("sf", 5, 0, -1.0), ValueError, "density must be in"),
        (lambda: topology("er", 5, None), TypeError, "rng must be"),
        (lambda: random_scm([[0, 1], [1, 0]], "linear", 0), ValueError, "->"),
        (lambda: random_scm([[0, 1]], "linear", 0), ValueError, "contemporaneous"),
        (lambda: random_scm([[0, 1], [0, 0]], "cubic", 0), ValueError, "mechanism must be one of"),
        (lambda: random_scm([[0, 1], [0, 0]], 3, 0), TypeError, "mechanism must be a name or"),
        (lambda: random_scm([[0]], "linear", 0, 1.0), ValueError, r"noise_share must be in \(0, 1"),
        (lambda: random_scm([[0]], "linear", 0, noise="pink"), ValueError, "noise must be one of"),
        (lambda: random_scm([[0]], "linear", 0, names=["a", "b"]), ValueError, "names"),
        (
            lambda: random_scm([[0, 1], [0, 0]], lambda k, rng: Linear([0.0]), 0),
            ValueError,
            "mechanism drawn for 'X2' does not depend on its parents",
        ),
    ],
)
def test_bad_arguments_are_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_fewer_rows_standardise_less_exactly() -> None:
    adjacency = topology("chain", 4, 0)
    strayed = []
    for samples in (200, 20_000):
        models = (random_scm(adjacency, "tanh", seed, samples=samples) for seed in range(5))
        spreads = [model.sample(20_000, 1).var(axis=0) for model in models]
        strayed.append(float(np.abs(np.array(spreads) - 1.0).max()))
    assert strayed[1] < 0.06 < strayed[0] < 0.6
    with pytest.raises(ValueError, match="samples must be >= 1, got 0"):
        random_scm(adjacency, "tanh", 0, samples=0)
