from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.special import logsumexp
from scipy.stats import multivariate_t

from causal_rl.discovery import EdgePrior, Transitions, make_learner
from causal_rl.discovery.dag_sums import sum_over_dags
from causal_rl.discovery.graph_posterior import GraphPosterior
from causal_rl.discovery.local_evidence import (
    COEFFICIENT_GRID,
    LocalEvidence,
    SmoothBasis,
    coefficient_posterior,
)
from causal_rl.discovery.order_posterior import best_order, order_weights
from causal_rl.discovery.parent_tables import ParentTables, TableOptions, build_tables
from causal_rl.discovery.variational import VariationalLearner, least_expected_distance
from causal_rl.graphs import PartialGraph, is_dag, shd
from causal_rl.scm import random_scm, topology


def all_dags(n: int) -> np.ndarray:
    places = [(i, j) for i in range(n) for j in range(n) if i != j]
    graphs = np.zeros((1 << len(places), n, n), dtype=bool)
    for k, (i, j) in enumerate(places):
        graphs[:, i, j] = np.arange(len(graphs)) >> k & 1
    return np.array([g for g in graphs if is_dag(g)])


DAGS = {n: all_dags(n) for n in (2, 3, 4)}


def standard(values: np.ndarray) -> np.ndarray:
    return (values - values.mean(axis=0)) / values.std(axis=0)


def linear_data(n: int, rows: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    adjacency = topology("er", n, rng, density=min(1.0, (n - 1) / 2))
    return standard(random_scm(adjacency, "linear", rng).sample(rows, rng))


def tables(values: np.ndarray, **options) -> ParentTables:
    n = values.shape[1]
    free = ~np.eye(n, dtype=bool)
    return build_tables(
        values, np.zeros(values.shape, dtype=bool), free, ~free & False, TableOptions(**options)
    )


def enumerated(found: ParentTables) -> tuple[float, np.ndarray]:
    log_weights = found.log_weight(DAGS[found.n])
    total = logsumexp(log_weights)
    return total, np.einsum("m,mij->ij", np.exp(log_weights - total), DAGS[found.n])


def test_counts_of_dags():
    assert [len(DAGS[n]) for n in DAGS] == [3, 25, 543]
    for n, count in ((1, 1), (3, 25), (6, 3781503), (10, 4175098976430598143)):
        others = [[i for i in range(n) if i != j] for j in range(n)]
        flat = ParentTables(np.array(others, dtype=np.intp), np.zeros((n, 1 << (n - 1))))
        found = sum_over_dags(flat)
        assert found.log_total == pytest.approx(np.log(float(count)), rel=1e-12)
        assert (found.edge_probabilities < 0.5).all()


@pytest.mark.parametrize("n", [2, 3, 4])
@pytest.mark.parametrize("mechanism", ["linear", "mixed"])
def test_the_posterior_is_the_enumeration(n: int, mechanism: str):
    for seed in range(3):
        found = tables(linear_data(n, 60, seed), mechanism=mechanism)
        total, edges = enumerated(found)
        posterior = GraphPosterior(found, [f"v{i}" for i in range(n)])
        assert posterior.exact
        assert posterior.log_evidence == pytest.approx(total, abs=1e-9)
        np.testing.assert_allclose(posterior.edge_probabilities, edges, atol=1e-10)
        own = [posterior.log_probability(g) for g in DAGS[n][:30]]
        np.testing.assert_allclose(own, found.log_weight(DAGS[n][:30]) - total, atol=1e-9)
        drawn = posterior.sample(4000, seed)
        assert drawn.weights.sum() == pytest.approx(1.0)
        np.testing.assert_allclose(drawn.edge_probabilities(), edges, atol=0.06)


def test_sums_do_not_lose_what_is_a_thousand_nats_away():
    rng = np.random.default_rng(0)
    others = np.array([[i for i in range(4) if i != j] for j in range(4)], dtype=np.intp)
    found = ParentTables(others, rng.normal(0.0, 800.0, size=(4, 8)))
    total, edges = enumerated(found)
    exact = sum_over_dags(found)
    assert exact.log_total == pytest.approx(total, rel=1e-12)
    np.testing.assert_allclose(exact.edge_probabilities, edges, atol=1e-9)


def test_learned_orders_come_near_the_posterior():
    found = tables(linear_data(4, 60, 1), mechanism="linear")
    total, edges = enumerated(found)
    posterior = GraphPosterior(found, list("abcd"), exact_limit=0, steps=100)
    assert not posterior.exact
    assert total - 1.0 < posterior.log_evidence < total + 0.1
    np.testing.assert_allclose(posterior.edge_probabilities, edges, atol=0.05)
    graphs = posterior.sample(50, 0).graphs
    assert all(is_dag(g) for g in graphs)
    # Orders against a required edge have no weight, and are never drawn.
    free = ~np.eye(4, dtype=bool)
    required = np.zeros((4, 4), dtype=bool)
    required[[0, 3], [3, 2]] = True
    x = linear_data(4, 60, 1)
    held = build_tables(x, np.zeros(x.shape, dtype=bool), free, required, TableOptions())
    np.testing.assert_array_equal(held.needed(), required)
    learned = GraphPosterior(held, list("abcd"), exact_limit=0, steps=20)
    np.testing.assert_allclose(learned.edge_probabilities[required], 1.0)
    exact = GraphPosterior(held, list("abcd")).edge_probabilities
    np.testing.assert_allclose(learned.edge_probabilities, exact, atol=0.06)


def test_best_order_is_the_best():
    found = tables(linear_data(4, 200, 2), mechanism="linear")
    sums = found.sums()
    every = np.array(list(itertools.permutations(range(4))))
    own = best_order(found, sums, np.random.default_rng(0))
    weights = order_weights(found, sums, every)
    assert order_weights(found, sums, own[None])[0] == pytest.approx(weights.max())


def test_equivalent_graphs_get_the_same_and_interventions_break_the_tie():
    x = linear_data(4, 300, 3)
    found = tables(x, mechanism="linear")
    classes: dict[PartialGraph, list[float]] = {}
    for g, weight in zip(DAGS[4], found.log_weight(DAGS[4]), strict=True):
        classes.setdefault(PartialGraph.cpdag(g), []).append(weight)
    assert len(classes) == 185
    assert max(np.ptp(weights) for weights in classes.values()) < 1e-8

    rng = np.random.default_rng(0)
    cause = rng.normal(size=600)
    effect = 0.8 * cause + 0.6 * rng.normal(size=600)
    learner = make_learner("variational", mechanism="linear")
    learner.fit(np.column_stack([effect, cause]))
    assert learner.posterior_.edge_probabilities[1, 0] == pytest.approx(0.5, abs=1e-6)
    target = np.zeros((600, 2), dtype=bool)
    target[:200, 0] = True
    effect[:200] = rng.normal(size=200)
    graph = learner.fit(np.column_stack([effect, cause]), do_target=target)
    assert learner.posterior_.edge_probabilities[1, 0] > 0.99
    assert graph.edges() == [("contemporaneous", "X2", "X1")]
    assert graph.contemporaneous_weights[1, 0] == pytest.approx(0.8, abs=0.1)


def test_bends_orient():
    rng = np.random.default_rng(0)
    cause = rng.normal(size=500)
    effect = np.tanh(2 * cause) + cause**2 + 0.3 * rng.normal(size=500)
    learner = make_learner("variational")
    graph = learner.fit(np.column_stack([effect, cause]))
    assert graph.edges() == [("contemporaneous", "X2", "X1")]
    assert graph.contemporaneous_confidence[1, 0] > 0.99


def test_linear_evidence_is_a_ratio_of_densities():
    # Of one variable the evidence of BGe is a product of Student densities.
    x = linear_data(3, 7, 0)
    t, nu = 0.5, len(x) - 1
    differences = np.linalg.qr(np.column_stack([np.ones(len(x)), np.eye(len(x))]))[0][:, 1:7].T @ x

    def log_density(columns: list[int]) -> float:
        total = 0.0
        size = len(columns)
        scatter, freedom = t * np.eye(size), float(size + 2)
        for row in differences[:, columns]:
            df = freedom - size + 1
            total += multivariate_t(shape=scatter / df, df=df).logpdf(row)
            scatter, freedom = scatter + np.outer(row, row), freedom + 1
        return total

    assert len(differences) == nu
    own = LocalEvidence(x, np.zeros(x.shape, dtype=bool), mechanism="linear")
    factors = own.log_factors(0, [(1,), (1, 2), ()])
    alone = log_density([0])
    assert factors[0] == pytest.approx(log_density([0, 1]) - log_density([1]) - alone)
    assert factors[1] == pytest.approx(log_density([0, 1, 2]) - log_density([1, 2]) - alone)
    assert factors[2] == 0


def test_smooth_evidence_is_that_of_its_regression():
    x = linear_data(3, 80, 0)
    own = LocalEvidence(x, np.zeros(x.shape, dtype=bool), mechanism="smooth")
    basis = SmoothBasis(x)
    inputs = basis(x)[:, basis.columns((0, 2))]
    assert inputs.shape[1] == 2 * 8 + 3
    parts = [coefficient_posterior(inputs, x[:, 1], size).log_factor for size in COEFFICIENT_GRID]
    expected = logsumexp(parts) - np.log(len(parts))
    assert own.log_factors(1, [(0, 2)])[0] == pytest.approx(expected)
    # Rows in which a column was set are as good as not there, for that column.
    do_target = np.zeros(x.shape, dtype=bool)
    do_target[60:, 1] = True
    changed = x.copy()
    changed[60:, 1] = 100.0
    for mechanism in ("linear", "mixed"):
        told = LocalEvidence(changed, do_target, mechanism=mechanism)
        told.basis = None if mechanism == "linear" else basis
        assert told.log_factors(1, [()])[0] == 0
    linear = LocalEvidence(changed, do_target, mechanism="linear").log_factors(1, [(0,), (0, 2)])
    fewer = LocalEvidence(x[:60], do_target[:60], mechanism="linear").log_factors(1, [(0,), (0, 2)])
    np.testing.assert_allclose(linear, fewer)


def test_the_graph_is_of_least_expected_distance():
    rng = np.random.default_rng(0)
    for _ in range(6):
        weights = rng.dirichlet(np.full(25, 0.15))
        probability = np.einsum("m,mij->ij", weights, DAGS[3])
        own = least_expected_distance(probability)
        costs = [
            sum(w * shd(truth, g) for w, truth in zip(weights, DAGS[3], strict=True))
            for g in (own, *DAGS[3])
        ]
        assert costs[0] <= min(costs) + 1e-9


def test_prior_beta_and_sparsity():
    x = linear_data(4, 100, 5)
    prior = EdgePrior(required=[("X1", "X2")], forbidden=[("X3", "X4"), ("X4", "X3")])
    learner = make_learner("variational", max_parents=1)
    learner.prior = prior
    graph = learner.fit(x)
    probability = learner.posterior_.edge_probabilities
    assert graph.contemporaneous[0, 1]
    assert probability[0, 1] == pytest.approx(1.0)
    assert probability[2, 3] == probability[3, 2] == 0
    assert learner.posterior_.log_probability(np.zeros((4, 4))) == -np.inf
    edges = {
        (sparsity, beta): make_learner("variational", sparsity=sparsity, beta=beta)
        for sparsity in (0.0, 8.0)
        for beta in (1.0, 1e6)
    }
    expected = {}
    for key, own in edges.items():
        own.fit(x)
        expected[key] = own.posterior_.edge_probabilities.sum()
    assert expected[8.0, 1.0] < expected[0.0, 1.0]
    # Without data the prior is left: all 543 graphs alike, or hardly an edge.
    assert expected[0.0, 1e6] == pytest.approx(DAGS[4].sum() / 543, rel=1e-3)
    assert expected[8.0, 1e6] < 0.01


def test_both_blocks_and_resuming():
    rng = np.random.default_rng(0)
    before, e = rng.normal(size=(500, 3)), rng.normal(size=(500, 3))
    x = e.copy()
    x[:, 0] += 0.8 * before[:, 0]
    x[:, 1] += 0.9 * x[:, 0]
    x[:, 2] -= 0.8 * before[:, 1]
    data = Transitions(state=before, next_state=x)
    learner = VariationalLearner(mechanism="linear")
    graph = learner.fit(data)
    assert set(graph.edges()) == {
        ("contemporaneous", "X1", "X2"),
        ("lagged", "X1", "X1"),
        ("lagged", "X2", "X3"),
    }
    assert graph.lagged_weights[1, 2] == pytest.approx(-0.8, abs=0.1)
    first, second = VariationalLearner(mechanism="linear"), VariationalLearner(mechanism="linear")
    first.update(data[:200])
    second.load_state_dict(first.state_dict())
    np.testing.assert_array_equal(
        second.posterior_.edge_probabilities, first.posterior_.edge_probabilities
    )
    assert second.update(data[200:]) == graph


def test_more_variables_than_are_summed_exactly():
    rng = np.random.default_rng(0)
    adjacency = topology("tree", 13, rng)
    x = random_scm(adjacency, "linear", rng).sample(400, rng)
    learner = VariationalLearner(mechanism="linear", steps=20, max_candidates=4)
    graph = learner.fit(x)
    assert not learner.posterior_.exact
    skeleton = adjacency | adjacency.T
    found = graph.contemporaneous | graph.contemporaneous.T
    assert (skeleton ^ found).sum() // 2 <= 1


def test_bad_data_and_options():
    x = linear_data(3, 30, 0)
    learner = make_learner("variational")
    copies = np.column_stack([x, x[:, 0], np.full(30, 7.0)])
    probability = learner.fit(copies).contemporaneous_confidence
    assert np.isfinite(probability).all()
    assert not probability[4].any()
    assert learner.posterior_.sample(3, 0).graphs.shape == (3, 5, 5)
    for few in (x[:1], x[:2], np.ones((4, 3))):
        learner.fit(few)
        assert np.isfinite(learner.posterior_.edge_probabilities).all()
    assert learner.posterior_.edge_probabilities.shape == (3, 3)
    everything = learner.fit(x, do_target=np.ones(x.shape, dtype=bool))
    assert np.isfinite(everything.contemporaneous_confidence).all()
    for options, message in (
        ({"mechanism": "cubic"}, "mechanism is 'cubic'; it must be one of linear"),
        ({"beta": 0.0}, "beta is 0.0; it must be finite, > 0"),
        ({"sparsity": -1.0}, "sparsity is -1.0"),
        ({"max_parents": 0}, "max_parents is 0"),
    ):
        with pytest.raises(ValueError, match=message):
            make_learner("variational", **options)
    learner.fit(x)
    with pytest.raises(ValueError, match="m is 0"):
        learner.posterior_.sample(0, 0)
    with pytest.raises(ValueError, match="cyclic"):
        learner.posterior_.log_probability(np.ones((3, 3)) - np.eye(3))
    with pytest.raises(ValueError, match=r"shape \(2, 2\)"):
        learner.posterior_.log_probability(np.zeros((2, 2)))


@pytest.mark.slow
@pytest.mark.parametrize("mechanism", ["linear", "mlp"])
def test_edge_probabilities_are_calibrated(mechanism: str):
    probabilities, truths = [], []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        adjacency = topology("er", 5, rng, density=1.0)
        x = random_scm(adjacency, mechanism, rng, noise_share=0.5).sample(150, rng)
        learner = VariationalLearner(mechanism="linear" if mechanism == "linear" else "mixed")
        learner.fit(x)
        off = ~np.eye(5, dtype=bool)
        probabilities.append(learner.posterior_.edge_probabilities[off])
        truths.append(adjacency[off])
    p, truth = np.concatenate(probabilities), np.concatenate(truths)
    for low, high in ((0.0, 0.05), (0.05, 0.25), (0.25, 0.75), (0.75, 0.95), (0.95, 1.01)):
        inside = (p >= low) & (p < high)
        assert inside.sum() > 10
        assert truth[inside].mean() == pytest.approx(p[inside].mean(), abs=0.12)
