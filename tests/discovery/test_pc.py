from __future__ import annotations

import itertools
import warnings

import networkx as nx
import numpy as np
import pytest
from scipy.stats import norm

from causal_rl.discovery import ConvergenceWarning, Transitions, make_learner
from causal_rl.discovery.independence import FisherZ, OneSide, Side, WilksLambda
from causal_rl.discovery.orientation import orient, unshielded_colliders
from causal_rl.discovery.prior import EdgePrior
from causal_rl.discovery.recovery import linear_covariance, recovery_curve, sample_covariance
from causal_rl.discovery.representations import blocks_of
from causal_rl.discovery.skeleton import find_skeleton
from causal_rl.graphs import CausalGraph, PartialGraph


def random_model(seed: int, n: int, density: float = 1.5) -> np.ndarray:
    """Weights of a linear model, columns in no causal order."""
    rng = np.random.default_rng(seed)
    names = [f"v{i}" for i in range(n)]
    graph = CausalGraph.random(names, None, min(density, (n - 1) / 2), rng)
    adjacency = graph.contemporaneous
    size = rng.uniform(0.4, 1.0, adjacency.shape) * rng.choice([-1, 1], adjacency.shape)
    return adjacency * size


def sample(weights: np.ndarray, rows: int, rng: np.random.Generator) -> np.ndarray:
    return rng.standard_normal((rows, len(weights))) @ np.linalg.inv(np.eye(len(weights)) - weights)


# -------------------------------------------------------------------- against references


def compare_with_causal_learn(seeds: range, most: int) -> None:
    pytest.importorskip("causallearn")
    from causallearn.search.ConstraintBased.PC import pc

    extendable = 0
    for seed in seeds:
        rng = np.random.default_rng(seed)
        n, rows = int(rng.integers(3, most + 1)), int(rng.integers(100, 2000))
        table = sample(random_model(seed, n, rng.uniform(0.5, 2.0)), rows, rng)
        learner = make_learner("pc", alpha=0.05)
        learner.fit(table)
        ours = learner.equivalence_class_
        theirs = pc(table, 0.05, "fisherz", True, 0, 2, show_progress=False)
        # There [i, j] is the mark at i's end: -1 a tail, 1 an arrowhead.
        ends = theirs.G.graph.T
        marks = np.where(ends == -1, 1, np.where(ends == 1, 2, 0))
        assert (ours.skeleton == (marks != 0)).all(), seed
        for i, j in itertools.combinations(range(n), 2):
            pair = frozenset((ours.names[i], ours.names[j]))
            sets = theirs.sepset[i, j]
            assert (pair in learner.separating_sets_) == (sets is not None), seed
            if sets is not None:
                united = frozenset().union(*learner.separating_sets_[pair])
                assert united == {ours.names[k] for given in sets for k in given}, seed
        try:
            PartialGraph(marks).to_dag()
        except ValueError:
            # No DAG has these independences: the answer is one of the order of the rules.
            continue
        extendable += 1
        assert (ours.marks == marks).all(), seed
    assert extendable >= 0.9 * len(seeds)


def test_skeleton_separating_sets_and_class_are_those_of_causal_learn():
    compare_with_causal_learn(range(20), 6)


@pytest.mark.slow
def test_two_hundred_data_sets_as_causal_learn_has_them():
    compare_with_causal_learn(range(100, 300), 10)


@pytest.mark.parametrize("n", [2, 5, 9])
def test_the_covariance_of_the_population_gives_the_true_class(n):
    for seed in range(12):
        weights = random_model(seed, n)
        noise = np.random.default_rng(seed).uniform(0.5, 2.0, n)
        for options in ({}, {"colliders": "majority"}, {"conflicts": "strongest"}):
            learner = make_learner("pc", **options)
            graph = learner.fit_covariance(linear_covariance(weights, noise))
            truth = PartialGraph.cpdag(weights != 0)
            assert learner.equivalence_class_ == truth
            assert truth.to_dag() == graph
        # Where the class directs all edges of a child, its regression is its mechanism.
        told = ~truth.undirected.any(axis=0)
        assert np.allclose(graph.contemporaneous_weights[:, told], weights[:, told], atol=1e-8)


class Separation:
    """d-separation in a DAG, as a test."""

    def __init__(self, dag: np.ndarray) -> None:
        self.graph = nx.DiGraph([(int(i), int(j)) for i, j in np.argwhere(dag)])
        self.graph.add_nodes_from(range(len(dag)))
        self.n = len(dag)

    def possible(self, i: int, size: int) -> bool:
        return True

    def p_values(self, i: int, sets: np.ndarray) -> np.ndarray:
        p = np.zeros(sets.shape)
        for row, members in enumerate(sets.tolist()):
            for place, j in enumerate(members):
                given = set(members) - {j}
                p[row, place] = nx.is_d_separator(self.graph, {i}, {j}, given)
        return p


def test_d_separation_gives_the_true_class_and_sets_that_separate():
    for seed in range(12):
        dag = random_model(seed, 7) != 0
        test = Separation(dag)
        found = find_skeleton(test, 0.05)
        colliders = unshielded_colliders(found.adjacency, found.separating_sets)
        assert orient(found.adjacency, colliders) == PartialGraph.cpdag(dag)
        assert ((dag | dag.T) == found.adjacency).all()
        for (i, j), sets in found.separating_sets.items():
            assert len({len(given) for given in sets}) == 1
            for given in sets:
                assert nx.is_d_separator(test.graph, {i}, {j}, set(given))


def test_p_values_are_fishers_of_regression_residuals():
    rng = np.random.default_rng(0)
    table = sample(random_model(1, 6), 200, rng)
    side = Side(np.corrcoef(table.T), np.ones(6), 200.0)
    found = FisherZ(OneSide(side)).p_values(0, np.array([[1, 2, 3], [5, 4, 2]]))
    for row, members in enumerate(([1, 2, 3], [5, 4, 2])):
        for place, j in enumerate(members):
            given = np.column_stack([np.ones(200), table[:, [k for k in members if k != j]]])
            ends = table[:, [0, j]]
            rest = ends - given @ np.linalg.lstsq(given, ends, rcond=None)[0]
            r = np.corrcoef(rest.T)[0, 1]
            p = 2 * norm.sf(np.sqrt(200 - 2 - 3) * abs(np.arctanh(r)))
            assert found[row, place] == pytest.approx(p, rel=1e-9)


# -------------------------------------------------------------------- theorem 7


def test_the_sample_covariance_is_drawn_from_its_distribution():
    weights = random_model(3, 4)
    covariance = linear_covariance(weights)
    rng = np.random.default_rng(0)
    draws = np.array([sample_covariance(covariance, 40, rng) for _ in range(4000)])
    variance = (covariance**2 + np.outer(np.diag(covariance), np.diag(covariance))) / 39
    error = np.sqrt(variance / 4000)
    assert (np.abs(draws.mean(axis=0) - covariance) < 5 * error).all()
    assert np.allclose(draws.var(axis=0), variance, rtol=0.15)


def test_the_true_class_is_reached_as_rows_grow_and_not_at_a_fixed_level():
    weights = random_model(5, 6)
    rows = [100, 10_000, 100_000_000]
    curve = recovery_curve(weights, rows, 0, repeats=30)
    assert [point.rows for point in curve] == rows
    assert curve[0].exact < 0.9
    assert (curve[-1].exact, curve[-1].shd, curve[-1].skeleton_f1) == (1.0, 0.0, 1.0)
    fixed = recovery_curve(weights, rows[-1:], 0, repeats=30, alpha=0.2)
    assert fixed[0].exact < 0.8


# -------------------------------------------------------------------- worlds


def test_interventions_that_exclude_each_other_make_no_edge():
    rng = np.random.default_rng(0)
    table = rng.standard_normal((3000, 3))
    targets = rng.integers(0, 4, 3000)
    do_target = targets[:, None] == np.arange(3)
    table[do_target] += 4.0
    learner = make_learner("pc", alpha=0.001)
    assert learner.fit(table, do_target=do_target).edges() == []
    assert len(learner.fit(table).edges()) > 0


def test_rows_that_set_the_child_are_left_out_of_its_regression():
    rng = np.random.default_rng(1)
    cause = rng.standard_normal((4000, 2))
    effect = cause @ [0.8, -0.6] + 0.5 * rng.standard_normal(4000)
    table = np.column_stack([cause, effect])
    do_target = np.zeros(table.shape, dtype=bool)
    do_target[:2500, 2] = True
    table[do_target] = 10.0 * rng.standard_normal(2500)
    graph = make_learner("pc").fit(table, do_target=do_target)
    assert graph.edges() == [("contemporaneous", "X1", "X3"), ("contemporaneous", "X2", "X3")]
    assert np.allclose(graph.contemporaneous_weights[:2, 2], [0.8, -0.6], atol=0.05)


def test_a_variable_that_is_always_set_keeps_its_effects():
    rng = np.random.default_rng(13)
    cause = rng.standard_normal(500)
    table = np.column_stack([cause, 0.5 * cause + rng.standard_normal(500)])
    do_target = np.zeros(table.shape, dtype=bool)
    do_target[:, 0] = True
    learner = make_learner("pc")
    learner.fit(table, do_target=do_target)
    assert learner.equivalence_class_.skeleton[0, 1]


def test_interventions_do_not_change_which_class_is_found():
    for seed in range(4):
        rng = np.random.default_rng(seed)
        weights = np.abs(random_model(seed + 20, 5, 1.0))
        rows = 6000
        do_target = rng.integers(0, 8, rows)[:, None] == np.arange(5)
        values = np.where(do_target, 3.0 + rng.standard_normal((rows, 5)), 0.0)
        noise = rng.standard_normal((rows, 5))
        table = np.zeros((rows, 5))
        for j in CausalGraph(weights != 0).topological_order():
            table[:, j] = np.where(
                do_target[:, j], values[:, j], table @ weights[:, j] + noise[:, j]
            )
        learner = make_learner("pc", alpha="vanishing")
        learner.fit(table, do_target=do_target)
        assert learner.equivalence_class_ == PartialGraph.cpdag(weights != 0)
        learner.fit(table)  # not told what was set
        assert learner.equivalence_class_ != PartialGraph.cpdag(weights != 0)


def test_what_only_the_past_links_is_no_edge_within_the_step():
    rng = np.random.default_rng(2)
    state = np.zeros((2000, 3))
    for t in range(1, 2000):
        state[t, 0] = 0.5 * state[t - 1, 0] + rng.standard_normal()
        state[t, 1] = 0.9 * state[t - 1, 0] + rng.standard_normal()
        state[t, 2] = 0.9 * state[t - 1, 0] + 0.8 * state[t, 1] + rng.standard_normal()
    data = Transitions(state=state[:-1], next_state=state[1:])
    learner = make_learner("pc", alpha=0.001)
    learner.fit(data)
    assert learner.equivalence_class_.edges() == [("X2", "---", "X3")]
    blind = make_learner("pc", alpha=0.001, given_past=False)
    blind.fit(data)
    assert np.triu(blind.equivalence_class_.skeleton).sum() > 1


def test_kinds_the_reward_and_a_prior_direct_edges():
    rng = np.random.default_rng(3)
    context = np.repeat(rng.standard_normal(300), 5)
    flow = context + rng.standard_normal(1500)
    level = 0.8 * flow + rng.standard_normal(1500)
    next_state = np.column_stack([context, flow, level])
    state = np.column_stack([context, rng.standard_normal((1500, 2))])
    data = Transitions(
        state=state,
        next_state=next_state,
        reward=level + 0.3 * rng.standard_normal(1500),
        names=["context", "flow", "level"],
        kinds=["context", "state", "state"],
    )
    learner = make_learner("pc", reward_node=True)
    graph = learner.fit(data)
    assert learner.equivalence_class_.edges() == [
        ("context", "-->", "flow"),
        ("flow", "-->", "level"),
        ("level", "-->", "reward"),
    ]
    assert not graph.lagged.any()
    table = next_state[:, 1:]
    free = make_learner("pc")
    free.fit(table)
    assert free.equivalence_class_.edges() == [("X1", "---", "X2")]
    told = make_learner("pc")
    told.prior = EdgePrior(forbidden={("X1", "X2")})
    assert told.fit(table).edges() == [("contemporaneous", "X2", "X1")]
    assert (told.graph_.contemporaneous_confidence > 0.5).sum() == 1
    # Told neither way, an edge is shared between both.
    assert np.allclose(free.graph_.contemporaneous_confidence[[0, 1], [1, 0]], 0.5)


# -------------------------------------------------------------------- representations


def test_representations_see_what_correlation_does_not():
    rng = np.random.default_rng(4)
    x = rng.standard_normal(2000)
    y = x**2 + 0.5 * rng.standard_normal(2000)
    z = 0.7 * y + 0.5 * rng.standard_normal(2000)
    table = np.column_stack([x, y, z])
    learner = make_learner("pc", alpha=0.01)
    learner.fit(table)
    assert learner.equivalence_class_.edges() == [("X2", "---", "X3")]
    mixing = rng.standard_normal((2, 8))
    data = Transitions.from_table(table, names=["x", "y", "z"])

    def encode(rows: Transitions) -> np.ndarray:
        values = rows.next_state
        return np.stack([values, values**2], axis=-1) @ mixing

    graph = learner.fit_representations(encode, data)
    assert learner.equivalence_class_.edges() == [("x", "---", "y"), ("y", "---", "z")]
    assert graph.contemporaneous_weights is None
    assert learner.separating_sets_ == {frozenset("xz"): (frozenset("y"),)}


def test_wilks_holds_its_level_and_is_fishers_for_single_columns():
    rng = np.random.default_rng(5)
    p = []
    for _ in range(300):
        common = rng.standard_normal((150, 2))
        vectors = np.stack([common @ rng.standard_normal((2, 3)) for _ in range(3)], axis=1)
        vectors[:, :2] += rng.standard_normal((150, 2, 3))
        # The third variable holds all that the first two share.
        vectors[:, 2] = np.column_stack([common, np.zeros(150)])
        test = WilksLambda(*blocks_of(vectors, 3), 150)
        p.append(test.p_values(0, np.array([[1, 2]]))[0, 0])
    assert 0.02 < np.mean(np.array(p) < 0.05) < 0.09
    table = sample(random_model(6, 4), 500, rng)
    side = Side(np.corrcoef(table.T), np.ones(4), 500.0)
    sets = np.array([[1, 2], [2, 3]])
    scalar = FisherZ(OneSide(side)).p_values(0, sets)
    wilks = WilksLambda(*blocks_of(table[:, :, None], 2), 500).p_values(0, sets)
    assert np.allclose(scalar, wilks, atol=0.01)


# -------------------------------------------------------------------- bad data


def test_a_copy_or_a_sum_of_columns_takes_no_edge_away():
    rng = np.random.default_rng(6)
    x = rng.standard_normal(800)
    y = x + rng.standard_normal(800)
    z = y + rng.standard_normal(800)
    plain = make_learner("pc", alpha=0.01)
    plain.fit(np.column_stack([x, y, z]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        learner = make_learner("pc", alpha=0.01)
        graph = learner.fit(np.column_stack([x, y, z, y, np.full(800, 3.0), x + y]))
    skeleton = learner.equivalence_class_.skeleton
    # To condition on a copy says nothing, so X1 - X2 - X3 stays as it is without.
    assert (skeleton[:3, :3] == plain.equivalence_class_.skeleton).all()
    assert skeleton[1, 3]
    assert not skeleton[4].any()
    assert np.isfinite(graph.contemporaneous_weights).all()
    assert np.isfinite(graph.contemporaneous_confidence).all()


@pytest.mark.parametrize("rows", [1, 2, 3])
def test_too_few_rows_are_no_evidence(rows):
    table = np.random.default_rng(7).standard_normal((rows, 4))
    learner = make_learner("pc")
    if rows == 1:
        graph = learner.fit(table)
    else:
        with pytest.warns(ConvergenceWarning, match=f"{rows} rows leave no test possible"):
            graph = learner.fit(table)
    assert graph.edges() == []
    assert learner.equivalence_class_ == PartialGraph.empty(graph.names)


def test_fewer_rows_than_variables_end_in_a_graph():
    table = np.random.default_rng(8).standard_normal((12, 30))
    graph = make_learner("pc").fit(table)
    assert np.isfinite(graph.contemporaneous_weights).all()
    assert graph.is_acyclic


def test_the_search_ends_where_it_is_told_to():
    table = np.random.default_rng(9).standard_normal((200, 1)) + 0.1 * np.random.default_rng(
        10
    ).standard_normal((200, 12))
    learner = make_learner("pc", max_tests=200)
    with pytest.warns(ConvergenceWarning, match="max_tests=200"):
        learner.fit(table)
    assert learner.skeleton_.tests <= 200
    assert learner.skeleton_.stopped
    shallow = make_learner("pc", max_conditioning=1)
    shallow.fit(table)
    assert (shallow.skeleton_.depth, shallow.skeleton_.stopped) == (1, False)


def test_fewer_effective_rows_find_fewer_edges():
    table = sample(random_model(11, 8), 300, np.random.default_rng(11))
    whole = make_learner("pc").fit(table)
    part = make_learner("pc", effective_share=0.05).fit(table)
    assert len(part.edges()) < len(whole.edges())
    with pytest.warns(ConvergenceWarning):
        assert make_learner("pc", effective_share=0.005).fit(table).edges() == []


# -------------------------------------------------------------------- the learner


def test_rows_in_pieces_a_saved_state_and_the_order_of_columns():
    table = sample(random_model(12, 6, 1.0), 900, np.random.default_rng(12))
    data = Transitions.from_table(table)
    whole = make_learner("pc")
    graph = whole.fit(data)
    pieces = make_learner("pc")
    pieces.fit(data[:300])
    state = pieces.state_dict()
    resumed = make_learner("pc")
    resumed.load_state_dict(state)
    assert resumed.separating_sets_ == pieces.separating_sets_
    assert resumed.update(data[300:]) == graph
    assert resumed.equivalence_class_ == whole.equivalence_class_
    assert whole.equivalence_class_.is_cpdag
    order = [3, 0, 5, 1, 4, 2]
    turned = make_learner("pc")
    turned.fit(Transitions.from_table(table[:, order], names=[data.names[i] for i in order]))
    assert turned.equivalence_class_.permute(data.names) == whole.equivalence_class_
    scaled = make_learner("pc")
    scaled.fit(table * [1e-9, 1.0, 1e6, 3.0, 1e3, 1e-3] + [0, 5, 0, 0, 1e4, 0])
    assert scaled.equivalence_class_ == whole.equivalence_class_


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"alpha": 0.0}, ValueError, "alpha is 0.0"),
        ({"alpha": 1.0}, ValueError, "alpha is 1.0"),
        ({"alpha": "bic"}, ValueError, "a number or 'vanishing'"),
        ({"max_conditioning": -1}, ValueError, "max_conditioning is -1"),
        ({"max_tests": 0}, ValueError, "max_tests is 0"),
        ({"colliders": "some"}, ValueError, "one of none, majority"),
        ({"conflicts": "last"}, ValueError, "one of first, strongest"),
        ({"given_past": 1}, TypeError, "given_past must be True or False"),
        ({"effective_share": 1.5}, ValueError, "it must be at most 1"),
        ({"effective_share": 0.0}, ValueError, "effective_share is 0.0"),
    ],
)
def test_bad_options_are_refused(options, error, match):
    with pytest.raises(error, match=match):
        make_learner("pc", **options)


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda pc: pc.fit_covariance([[1, 0.5], [0.2, 1]]), ValueError, "must be symmetric"),
        (lambda pc: pc.fit_covariance([[1, 2], [2, 1]]), ValueError, "positive semidefinite"),
        (lambda pc: pc.fit_covariance([[1.0, np.nan]] * 2), ValueError, "covariance must be fini"),
        (lambda pc: pc.fit_covariance(np.eye(2), 0), ValueError, "rows is 0"),
        (lambda pc: pc.fit_covariance(np.eye(2), "many"), TypeError, "rows must be a number"),
        (lambda pc: pc.fit_representations(np.ones((3, 2))), ValueError, "rows, variables, dimen"),
        (lambda pc: pc.fit_representations([[["a"]]]), TypeError, "must hold real numbers"),
        (
            lambda pc: pc.fit_representations(np.full((2, 2, 2), np.nan)),
            ValueError,
            "NaN or infinite values, first in row 0",
        ),
        (lambda pc: pc.fit_representations(lambda data: data.state), TypeError, "needs data"),
        (
            lambda pc: pc.fit_representations(np.ones((3, 2, 2)), components=0),
            ValueError,
            "components is 0",
        ),
        (lambda pc: pc.fit(np.zeros((3, 10_000))), ValueError, "10000 variables; the learner 'pc'"),
        (lambda pc: recovery_curve([[0, 1], [1, 0]], [100], 0), ValueError, "acyclic"),
        (lambda pc: recovery_curve([[0, 1], [0, 0]], [2], 0), ValueError, "rows is 2"),
        (lambda pc: linear_covariance(np.eye(2) * 0, [1, -1]), ValueError, "noise must be 2 pos"),
    ],
)
def test_bad_input_is_refused_at_the_door(call, error, match):
    with pytest.raises(error, match=match) as caught:
        call(make_learner("pc"))
    assert "\n" not in str(caught.value)
