"""Gates against enumeration, then edges that vanish, appear and stay."""

from __future__ import annotations

import itertools
import warnings

import numpy as np
import pytest

from causal_rl.discovery import ConvergenceWarning, EdgePrior, Transitions, make_learner
from causal_rl.discovery.time_varying_gates import (
    block_moments,
    fit_gates,
    run_gates,
    transition,
)
from causal_rl.discovery.time_varying_windows import windowed_graphs

NAMES = ("a", "b", "c")
ROWS = 1000


def stream(rows: int = ROWS, seed: int = 0, changing: bool = True) -> Transitions:
    """a -> b vanishes half way, c -> a (lagged) appears at three quarters, b -> c stays."""
    rng = np.random.default_rng(seed)
    x, target = np.zeros((rows + 1, 3)), np.zeros((rows, 3), dtype=bool)
    for t in range(rows):
        if rng.random() < 0.3:
            target[t, rng.integers(3)] = True
        value, e, new = rng.normal(size=3), rng.normal(size=3), x[t + 1]
        first = not changing or t < rows // 2
        fed = 0.7 * x[t, 2] if changing and t >= 3 * rows // 4 else 0.0
        new[0] = value[0] if target[t, 0] else fed + e[0]
        new[1] = value[1] if target[t, 1] else (0.8 * new[0] if first else 0.0) + e[1]
        new[2] = value[2] if target[t, 2] else -0.8 * new[1] + e[2]
    return Transitions(state=x[:-1], next_state=x[1:], do_target=target, names=NAMES)


def truth(t: int, rows: int = ROWS) -> set:
    edges = {("contemporaneous", "b", "c")}
    if t < rows // 2:
        edges.add(("contemporaneous", "a", "b"))
    if t >= 3 * rows // 4:
        edges.add(("lagged", "c", "a"))
    return edges


@pytest.fixture(scope="module")
def learner():
    made = make_learner("time-varying")
    made.fit(stream())
    return made


def wrong(graphs, times) -> float:
    pairs = zip(graphs, times, strict=True)
    return float(np.mean([len(set(graph.edges()) ^ truth(t)) for graph, t in pairs]))


TIMES = list(range(49, ROWS, 50))


def test_a_vanishing_and_an_appearing_edge_are_followed(learner):
    assert set(learner.graph_.edges()) == truth(ROWS - 1)
    assert learner.graph_ == learner.graphs_at([ROWS - 1])[0]
    changes = learner.changes()
    assert [change[1:] for change in changes] == [
        ("contemporaneous", "a", "b", False),
        ("lagged", "c", "a", True),
    ]
    assert [change.row for change in changes] == pytest.approx([500, 750], abs=60)
    # Given the past alone a change is seen later, and never before it came.
    late = learner.changes(filtered=True)
    assert late[0].row >= changes[0].row
    first = learner.graphs_at([0])[0]
    assert first.contemporaneous_weights[0, 1] == pytest.approx(0.8, abs=0.15)
    assert not learner.graph_.contemporaneous_weights[0, 1]


def test_a_stationary_stream_has_one_graph():
    learner = make_learner("time-varying")
    learner.fit(stream(seed=1, changing=False))
    assert learner.changes() == []
    assert set(learner.graph_.edges()) == {
        ("contemporaneous", "a", "b"),
        ("contemporaneous", "b", "c"),
    }


def test_refitting_in_windows_errs_more(learner):
    own = wrong(learner.graphs_at(TIMES), TIMES)
    assert own < 0.25
    for width in (100, 250):
        graphs = windowed_graphs(
            lambda: make_learner("interventional"), stream(), TIMES, width=width
        )
        assert wrong(graphs, TIMES) > own


def test_windows_are_the_latest_rows():
    data = stream(60)
    graphs = windowed_graphs(lambda: make_learner("full"), data, [0, 59], width=30)
    assert [graph.names for graph in graphs] == [NAMES, NAMES]
    with pytest.raises(ValueError, match="times has 60; it must be from 0 to 59"):
        windowed_graphs(lambda: make_learner("full"), data, [60], width=30)
    with pytest.raises(ValueError, match="width is 1"):
        windowed_graphs(lambda: make_learner("full"), data, [5], width=1)


def test_gates_are_the_chains_posterior():
    rng, K, h = np.random.default_rng(0), 5, 0.1
    evidence = rng.normal(0, 2, size=(K, 1))
    filtered, smoothed, worth = run_gates(evidence, h, "markov")
    paths = np.array(list(itertools.product((0, 1), repeat=K)))
    moves = (paths[:, 1:] != paths[:, :-1]).sum(axis=1)
    prior = 0.5 * h**moves * (1 - h) ** (K - 1 - moves)
    odds = prior * np.exp(paths @ evidence[:, 0])
    np.testing.assert_allclose(smoothed[:, 0], odds @ paths / odds.sum(), rtol=1e-9)
    assert worth[0] == pytest.approx(np.log(odds.sum()))
    ahead, _, _ = run_gates(evidence[:3], h, "markov")
    np.testing.assert_allclose(filtered[:3], ahead)  # the filter knows no future
    assert filtered[-1] == pytest.approx(smoothed[-1])


def test_the_printed_line_agrees_where_a_gate_is_sure_and_forgets_elsewhere():
    sure = np.array([-50.0, 50.0])
    np.testing.assert_allclose(
        transition(sure, 0.01, "printed"), transition(sure, 0.01, "markov"), rtol=1e-9
    )
    evidence = np.concatenate([np.full((20, 1), 1.0), np.full((60, 1), -1.0)])
    markov = run_gates(evidence, 0.01, "markov")[0]
    printed = run_gates(evidence, 0.01, "printed")[0]
    assert markov[-1, 0] < 0.05
    assert printed[-1, 0] > 0.9  # sixty nats against the edge, and it is still there


def test_block_moments_and_closed_form_of_a_steady_mechanism():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(203, 2))
    y = 0.5 + x @ [1.0, -2.0] + 0.1 * rng.normal(size=203)
    design = np.column_stack([np.ones(203), x, y])
    kept = rng.random(203) < 0.8
    moments = block_moments(design, kept, 10)
    assert moments.shape == (21, 4, 4)
    np.testing.assert_allclose(moments[20], design[200:][kept[200:]].T @ design[200:][kept[200:]])
    found = fit_gates(
        moments, np.ones(2), np.ones((21, 2)), hazard=0.01, recursion="markov", max_iter=100
    )
    expected = np.linalg.lstsq(design[kept][:, :3], y[kept], rcond=None)[0]
    assert found.converged
    assert (found.smoothed > 0.99).all()
    np.testing.assert_allclose(found.slopes, expected[1:], rtol=1e-3)


def test_rows_in_which_the_effect_was_set_say_nothing():
    rng = np.random.default_rng(2)
    x = rng.normal(size=(600, 2))
    x[:, 1] += 0.9 * x[:, 0]
    target = np.zeros((600, 2), dtype=bool)
    target[300:, 1] = True
    x[300:, 1] = rng.normal(size=300)
    learner = make_learner("time-varying")
    learner.fit(x, do_target=target)
    assert [edge[1:] for edge in learner.graphs_at([100])[0].edges()] == [("X1", "X2")]
    assert learner.changes() == []
    # Not told, it sees the edge go.
    blind = make_learner("time-varying")
    blind.fit(x)
    assert [change.opens for change in blind.changes()] == [False]


def test_pieces_equal_the_whole_and_resume(learner):
    data = stream()
    first, again = make_learner("time-varying"), make_learner("time-varying")
    first.update(data[:300])
    again.load_state_dict(first.state_dict())
    assert again.changes() == first.changes()
    assert again.update(data[300:]) == learner.graph_
    np.testing.assert_array_equal(again.gates_at(TIMES), learner.gates_at(TIMES))


def test_it_does_not_see_units(learner):
    data, scale = stream(), np.array([4.0, 2.0**-8, 1.0])
    moved = Transitions(
        state=data.state * scale,
        next_state=data.next_state * scale,
        do_target=data.do_target,
        names=NAMES,
    )
    again = make_learner("time-varying")
    again.fit(moved)
    assert again.changes() == learner.changes()
    weight = learner.graphs_at([0])[0].contemporaneous_weights[0, 1]
    assert again.graphs_at([0])[0].contemporaneous_weights[0, 1] == pytest.approx(weight / 1024)


def test_a_prior_forbids():
    learner = make_learner("time-varying")
    learner.prior = EdgePrior(forbidden={("a", "b")})
    learner.fit(stream(400))
    assert not learner.gates_at(range(400))[:, 0, 0, 1].any()


def test_degenerate_tables():
    rng = np.random.default_rng(3)
    x = rng.normal(size=(60, 4))
    x[:, 1], x[:, 2] = 7.0, x[:, 0]
    for rows in (x, x[:2], x[:1], np.ones((5, 2))):
        learner = make_learner("time-varying", max_iter=60)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            graph = learner.fit(rows)
        gates = learner.gates_at([0, len(rows) - 1])
        assert gates.shape == (2, 2, rows.shape[1], rows.shape[1])
        assert np.isfinite(gates).all()
        assert not gates[:, 1].any()
        weights = graph.contemporaneous_weights
        assert weights is None or np.isfinite(weights).all()


def test_times_are_checked(learner):
    with pytest.raises(ValueError, match="times has 1000; it must be from 0 to 999"):
        learner.graphs_at([0, 1000])
    with pytest.raises(ValueError, match="times has -1"):
        learner.gates_at([-1])
    with pytest.raises(TypeError, match="whole row numbers"):
        learner.graphs_at([0.5])
    assert learner.graphs_at([]) == []
    for answer in (lambda new: new.graphs_at([0]), lambda new: new.changes()):
        with pytest.raises(ValueError, match="nothing yet"):
            answer(make_learner("time-varying"))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"hazard": 0.5}, "hazard is 0.5"),
        ({"block": 0}, "block is 0"),
        ({"recursion": "gru"}, "recursion is 'gru'; it must be one of markov, printed"),
        ({"windows": 0}, "windows is 0"),
        ({"threshold": -0.1}, "threshold is -0.1"),
    ],
)
def test_options_are_checked(options, words):
    with pytest.raises(ValueError, match=words):
        make_learner("time-varying", **options)
