"""Algorithm 4: the biases against their definitions, then levels, weights and the sum."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pytest

from causal_rl.discovery import ConvergenceWarning, EdgePrior, Transitions, make_learner
from causal_rl.discovery.edge_levels import (
    FeatureMoments,
    communities,
    contributions,
    modular_penalty,
    smooth_penalty,
    sparse_penalty,
    strengths,
)
from causal_rl.graphs import is_dag, project_to_dag

NAMES = ("a", "b", "c")


def data(rows: int = 600, seed: int = 0, bent: bool = False) -> Transitions:
    """a -> b -> c inside the step, c -> a over time; half of the rows set a variable."""
    rng = np.random.default_rng(seed)
    f = (lambda x: 1.2 * abs(x) - 1) if bent else (lambda x: x)
    x, target = np.zeros((rows + 1, 3)), np.zeros((rows, 3), dtype=bool)
    for t in range(rows):
        if rng.random() < 0.5:
            target[t, rng.integers(3)] = True
        value, e = rng.normal(size=3), rng.normal(0, 0.5, size=3)
        for j in range(3):
            cause = 0.7 * x[t, 2] if j == 0 else 0.8 * f(x[t + 1, j - 1])
            x[t + 1, j] = value[j] if target[t, j] else cause + e[j]
    return Transitions(state=x[:-1], next_state=x[1:], do_target=target, names=NAMES)


TRUTH = [("contemporaneous", "a", "b"), ("contemporaneous", "b", "c"), ("lagged", "c", "a")]


def free_edges(m: int) -> np.ndarray:
    within = ~np.eye(m, dtype=bool)
    within[1, 0] = False
    return np.vstack([within, np.ones((m, m), dtype=bool)])


def penalties(m: int) -> dict:
    free = free_edges(m)
    groups = np.arange(m) % 2
    return {
        "sparse": sparse_penalty(free),
        "smooth": smooth_penalty(free),
        "modular": modular_penalty(free, np.equal.outer(groups, groups)),
    }


@pytest.mark.parametrize("bias", ["sparse", "smooth", "modular"])
def test_gradients_are_those_of_the_values(bias):
    rng = np.random.default_rng(0)
    strength = rng.random((10, 5)) + 0.05
    penalty, step = penalties(5)[bias], rng.normal(size=(10, 5)) * free_edges(5)
    slope = (penalty(strength + 1e-6 * step)[0] - penalty(strength - 1e-6 * step)[0]) / 2e-6
    assert float((penalty(strength)[1] * step).sum()) == pytest.approx(slope, rel=1e-5, abs=1e-7)


@pytest.mark.parametrize("bias", ["sparse", "smooth", "modular"])
def test_biases_do_not_see_the_labels(bias):
    rng, m = np.random.default_rng(1), 6
    strength = rng.random((2 * m, m)) * (rng.random((2 * m, m)) < 0.4)
    order = rng.permutation(m)
    both = np.concatenate([order, order + m])
    free, same = np.tile(~np.eye(m, dtype=bool), (2, 1)), communities(strength)
    moved = communities(strength[both][:, order])
    np.testing.assert_array_equal(moved, same[np.ix_(order, order)])
    make = {
        "sparse": lambda _: sparse_penalty(free),
        "smooth": lambda _: smooth_penalty(free),
        "modular": lambda together: modular_penalty(free, together),
    }[bias]
    assert make(moved)(strength[both][:, order])[0] == pytest.approx(make(same)(strength)[0])


def test_total_variation_of_known_matrices():
    m = 5
    free = np.tile(~np.eye(m, dtype=bool), (2, 1))
    flat, alone, row = (np.zeros((2 * m, m)) for _ in range(3))
    flat[:m][free[:m]] = 0.3
    alone[0, 1] = 0.3
    row[0, 1:] = 0.3
    smooth = smooth_penalty(free)
    assert smooth(flat)[0] == 0.0
    assert smooth(alone)[0] == pytest.approx(0.3, rel=0.01)  # as much as |G|_1
    # Four edges, each with no difference along its row and three in its column.
    assert smooth(row)[0] == pytest.approx(4 * 3 * 0.3 / 6, rel=0.01)
    assert sparse_penalty(free)(row)[0] == pytest.approx(1.2)


def test_modularity_is_newmans():
    rng, m = np.random.default_rng(2), 8
    strength = np.zeros((2 * m, m))
    side = np.arange(m) // 4
    joined = np.equal.outer(side, side) & np.triu(np.ones((m, m), dtype=bool), 1)
    strength[:m][joined] = rng.random(joined.sum()) + 0.5
    strength[0, 7] = 0.1
    together = communities(strength)
    np.testing.assert_array_equal(together, np.equal.outer(side, side))
    graph = nx.Graph()
    for i, j in np.argwhere(strength[:m]):
        graph.add_edge(int(i), int(j), weight=float(strength[i, j]))
    expected = nx.community.modularity(graph, [{0, 1, 2, 3}, {4, 5, 6, 7}])
    free = np.tile(~np.eye(m, dtype=bool), (2, 1))
    value = modular_penalty(free, together)(strength)[0]
    assert value == pytest.approx(strength.sum() * (1 - expected))
    whole = modular_penalty(free, np.ones((m, m), dtype=bool))(strength)[0]
    assert whole == pytest.approx(strength.sum())
    assert communities(np.zeros((2 * m, m))).all()


def test_a_strength_is_the_standard_deviation_of_a_contribution():
    rng = np.random.default_rng(3)
    current, lagged = rng.normal(size=(400, 2)), rng.normal(size=(400, 2))
    current = (current - current.mean(axis=0)) / current.std(axis=0)
    current[:, 1] = np.sign(current[:, 1])  # one function is all that a sign has
    features = contributions(current, lagged, "basis")
    assert features.shape == (400, 16)
    np.testing.assert_allclose(features[:, 5::4], 0.0, atol=1e-12)
    weights = np.zeros((16, 2))
    weights[[0, 4, 8, 12], 1] = [0.5, -0.2, 0.3, 0.1]
    made = strengths(weights)
    assert made[0, 1] == pytest.approx((features @ weights[:, 1]).std(), rel=1e-6)
    moments = FeatureMoments.of(features, np.zeros((400, 2), dtype=bool))
    assert moments.covariances().shape == (2, 16, 16)


@pytest.fixture(scope="module")
def learner():
    made = make_learner("multi-level")
    made.fit(data())
    return made


def test_levels_weights_and_sum(learner):
    assert sorted(learner.graph_.edges()) == TRUTH
    assert list(learner.levels_) == ["sparse", "smooth", "modular"]
    scores = np.array(list(learner.level_scores_.values()))
    odds = np.exp((scores - scores.max()) / learner.temperature)
    weights = list(learner.level_weights_.values())
    np.testing.assert_allclose(weights, odds / odds.sum())
    for level in learner.levels_.values():
        assert is_dag(level.contemporaneous)
        assert level.contemporaneous_weights[0, 1] == pytest.approx(0.6, abs=0.2)
    # Least squares on the parents, in the data's units: what tau and lambda took is given back.
    assert learner.graph_.contemporaneous_weights[0, 1] == pytest.approx(0.8, abs=0.1)
    assert set(learner.communities_) == set(NAMES)
    confidence = learner.graph_.contemporaneous_confidence
    assert (confidence[learner.graph_.contemporaneous] > 0.5).all()


def test_the_printed_sum_has_the_edges_of_any_level():
    rows = data(80, seed=4)
    options = {"levels": ["sparse", "modular"], "threshold": 0.05}
    learner = make_learner("multi-level", agreement=0.0, **options)
    graph = learner.fit(rows)
    total = sum(
        learner.level_weights_[k] * g.contemporaneous_weights for k, g in learner.levels_.items()
    )
    np.testing.assert_array_equal(graph.contemporaneous, project_to_dag(total) != 0)
    strict = make_learner("multi-level", agreement=1.0, **options).fit(rows)
    shared = np.all([g.contemporaneous for g in learner.levels_.values()], axis=0)
    np.testing.assert_array_equal(strict.contemporaneous, shared)


def test_one_level_is_its_own_sum():
    learner = make_learner("multi-level", levels=["sparse"])
    graph = learner.fit(data(300))
    assert learner.level_weights_ == {"sparse": 1.0}
    assert graph == learner.levels_["sparse"]
    assert learner.communities_ is None
    linear = make_learner("algorithm5").fit(data(300))
    assert graph == linear


def test_bent_effects_need_the_basis():
    rows = data(600, bent=True)
    graph = make_learner("multi-level", mechanism="basis", levels=["sparse"]).fit(rows)
    assert {("contemporaneous", "a", "b"), ("contemporaneous", "b", "c")} <= set(graph.edges())
    assert graph.contemporaneous_weights is None


@pytest.mark.filterwarnings("ignore::causal_rl.discovery.ConvergenceWarning")
def test_pieces_equal_the_whole_and_resume():
    rows, options = data(120), {"levels": ["smooth", "modular"], "max_iter": 5}
    first, again, whole = (make_learner("multi-level", **options) for _ in range(3))
    first.update(rows[:60])
    again.load_state_dict(first.state_dict())
    assert again.levels_ == first.levels_
    assert again.level_weights_ == first.level_weights_
    assert again.update(rows[60:]) == whole.fit(rows)
    assert again.levels_ == whole.levels_
    assert again.level_weights_ == whole.level_weights_


def test_a_prior_forbids():
    learner = make_learner("multi-level", levels=["smooth"])
    learner.prior = EdgePrior(forbidden={("a", "b")})
    learner.fit(data(200))
    for graph in (*learner.levels_.values(), learner.graph_):
        assert not graph.contemporaneous[0, 1]


@pytest.mark.parametrize("mechanism", ["linear", "basis"])
@pytest.mark.filterwarnings("ignore::causal_rl.discovery.ConvergenceWarning")
def test_degenerate_tables(mechanism):
    rng = np.random.default_rng(5)
    x = rng.normal(size=(40, 4))
    x[:, 1], x[:, 2] = 7.0, x[:, 0]
    for rows in (x, x[:3], x[:1], np.ones((5, 2))):
        learner = make_learner("multi-level", mechanism=mechanism, max_iter=3)
        graph = learner.fit(rows)
        assert not graph.lagged.any()
        assert np.isfinite(sum(learner.level_weights_.values()))
        assert sum(learner.level_weights_.values()) == pytest.approx(1.0)
        assert all(level.n == rows.shape[1] for level in learner.levels_.values())
        assert not graph.contemporaneous[1].any() or len(rows) == 1


def test_it_says_that_it_did_not_converge():
    with pytest.warns(ConvergenceWarning, match="sparse, smooth, modular did not converge"):
        make_learner("multi-level", max_iter=1).fit(data(100))


def test_the_picture(learner, tmp_path):
    figure = learner.plot_levels(truth=learner.graph_, path=tmp_path / "levels.png")
    titles = [ax.get_title() for ax in figure.axes]
    assert titles[0].startswith("sparse, weight 0.")
    assert titles[-1] == "sum"
    assert (tmp_path / "levels.png").stat().st_size > 0
    with pytest.raises(ValueError, match="nothing yet"):
        make_learner("multi-level").plot_levels()


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"levels": "sparse"}, TypeError, "levels must be a sequence"),
        ({"levels": ["dense"]}, ValueError, "levels is 'dense'; it must be one of sparse"),
        ({"levels": []}, ValueError, "one or more"),
        ({"levels": ["sparse", "sparse"]}, ValueError, "each once"),
        ({"mechanism": "mlp"}, ValueError, "mechanism is 'mlp'"),
        ({"temperature": 0.0}, ValueError, "temperature is 0.0"),
        ({"validation": 1.0}, ValueError, "validation is 1.0"),
        ({"agreement": 1.5}, ValueError, "agreement is 1.5"),
        ({"smoothness": -1.0}, ValueError, "smoothness is -1.0"),
    ],
)
def test_options_are_checked(options, error, words):
    with pytest.raises(error, match=words):
        make_learner("multi-level", **options)
