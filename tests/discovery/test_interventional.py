"""The default graph learner: invariances, exact cases, rewards, degenerate data, bad input."""

from __future__ import annotations

import numpy as np
import pytest

from causal_rl.discovery import Transitions, make_learner
from causal_rl.discovery.interventional import InterventionalLearner
from causal_rl.scm import random_dynamic_scm, topology


def explored(scm, rows, seed, *, settable=None, horizon=25, batch=16):
    """80 % of the rows set one variable at random; contexts are held through an episode."""
    rng = np.random.default_rng(seed)
    n = len(scm.names)
    free = [i for i, kind in enumerate(scm.kinds) if kind != "context"]
    settable = np.array(free if settable is None else settable)
    before, after, targets = [], [], []
    for step in range(-(-rows // batch)):
        if step % horizon == 0:
            state = scm.initial(scm.sample_noise(rng, batch))
        target = np.zeros((batch, n), dtype=bool)
        acting = rng.random(batch) < 0.8
        target[acting, rng.choice(settable, batch)[acting]] = True
        value = rng.choice(np.linspace(-2, 2, 7), batch)[:, None] * target
        reached = scm.step(state, scm.sample_noise(rng, batch), state, target, value)
        before.append(state)
        after.append(reached)
        targets.append(target)
        state = reached
    return (np.concatenate(part)[:rows] for part in (before, after, targets))


def world(kind="er", n=6, mechanism="tanh", seed=0, density=1.5, self_lag=True, noise_share=0.25):
    rng = np.random.default_rng(seed)
    within = np.asarray(topology(kind, n, rng, density), dtype=bool)
    lagged = np.zeros((n, n), dtype=bool)
    lagged[0, 0] = self_lag
    return random_dynamic_scm(within, lagged, mechanism, rng, noise_share)


@pytest.fixture(scope="module")
def data():
    state, reached, target = explored(world(seed=3), 3000, seed=3)
    reward = -np.abs(reached[:, 2] - reached[:, 4]) - 0.1 * target[:, 1]
    return Transitions(state=state, next_state=reached, do_target=target, reward=reward)


def truth(scm):
    return np.asarray(scm.graph.contemporaneous), np.asarray(scm.graph.lagged)


def same(a, b):
    """Equal graphs, weights and confidences, bit for bit."""
    fields = ("contemporaneous", "lagged")
    kinds = ("", "_weights", "_confidence")
    return all(
        np.array_equal(getattr(a, field + kind), getattr(b, field + kind))
        for field in fields
        for kind in kinds
    )


@pytest.mark.parametrize("mechanism", ["linear", "tanh"])
def test_recovers_both_blocks(mechanism):
    scm = world("er", 8, mechanism, seed=1)
    state, reached, target = explored(scm, 5000, seed=1)
    graph = InterventionalLearner().fit(
        Transitions(state=state, next_state=reached, do_target=target)
    )
    within, lagged = truth(scm)
    assert np.array_equal(graph.contemporaneous, within)
    assert np.array_equal(graph.lagged, lagged)


def test_lagged_world_has_no_edges_within_the_step():
    rng = np.random.default_rng(5)
    lagged = rng.random((6, 6)) < 0.3  # feedback over time is legal
    scm = random_dynamic_scm(np.zeros((6, 6), dtype=bool), lagged, "linear", rng, 0.3)
    state, reached, target = explored(scm, 5000, seed=5)
    graph = InterventionalLearner().fit(
        Transitions(state=state, next_state=reached, do_target=target)
    )
    assert not graph.contemporaneous.any()
    assert np.array_equal(graph.lagged, lagged)


def test_weights_are_slopes_in_the_units_of_the_data():
    rng = np.random.default_rng(0)
    x = 3.0 * rng.normal(size=2000)
    y = -2.0 * x + rng.normal(size=2000)
    reached = np.column_stack([x, y])
    target = np.zeros((2000, 2), dtype=bool)
    target[::2, 0] = True
    graph = InterventionalLearner().fit(
        Transitions(state=rng.normal(size=(2000, 2)), next_state=reached, do_target=target)
    )
    assert graph.contemporaneous.tolist() == [[False, True], [False, False]]
    assert graph.contemporaneous_weights[0, 1] == pytest.approx(-2.0, abs=0.05)


def test_masking_tells_cause_from_effect():
    # x -> y, Gaussian: rows alone cannot orient it; x is unmoved by do(y), y follows do(x).
    rng = np.random.default_rng(1)
    rows = 2000
    which = rng.integers(0, 2, rows)
    value = rng.uniform(-2, 2, rows)
    x = np.where(which == 0, value, rng.normal(size=rows))
    y = np.where(which == 1, value, 0.8 * x + 0.6 * rng.normal(size=rows))
    target = np.zeros((rows, 2), dtype=bool)
    target[np.arange(rows), which] = True
    state = rng.normal(size=(rows, 2))

    def learned(columns):
        order = np.array(columns)
        reached = np.column_stack([x, y])[:, order]
        return InterventionalLearner().fit(
            Transitions(state=state, next_state=reached, do_target=target[:, order])
        )

    assert learned([0, 1]).contemporaneous.tolist() == [[False, True], [False, False]]
    assert learned([1, 0]).contemporaneous.tolist() == [[False, False], [True, False]]
    # Told that x was set where y was, and y where x was, it draws another graph.
    crossed = InterventionalLearner().fit(
        Transitions(state=state, next_state=np.column_stack([x, y]), do_target=target[:, [1, 0]])
    )
    assert crossed.contemporaneous.tolist() != [[False, True], [False, False]]


def test_relabelling_relabels_the_graph(data):
    order = np.random.default_rng(0).permutation(data.n)
    names = tuple(data.names[i] for i in order)
    moved = Transitions(
        state=data.state[:, order],
        next_state=data.next_state[:, order],
        do_target=data.do_target[:, order],
        reward=data.reward,
        names=names,
    )
    here = InterventionalLearner(reward_node=True).fit(data)
    there = InterventionalLearner(reward_node=True).fit(moved)
    full = np.append(order, data.n)
    assert here.contemporaneous.any()
    assert np.array_equal(there.contemporaneous, here.contemporaneous[np.ix_(full, full)])
    assert np.array_equal(there.lagged, here.lagged[np.ix_(full, full)])


@pytest.mark.parametrize("cuts", [[1, 2, 700], [1024, 2048], [37, 1025, 2999]])
def test_pieces_equal_the_whole_bit_for_bit(data, cuts):
    whole = InterventionalLearner(reward_node=True).fit(data)
    learner = InterventionalLearner(reward_node=True)
    for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True):
        graph = learner.update(data[start:end])
    assert same(graph, whole)


def test_same_data_same_graph(data):
    learner = InterventionalLearner(reward_node=True)
    assert same(learner.fit(data), learner.fit(data))


@pytest.mark.parametrize("cut", [400, 2500])
def test_state_dict_continues_as_if_unbroken(data, cut):
    learner = InterventionalLearner(reward_node=True)
    learner.update(data[:cut])
    state = learner.state_dict()
    expected = learner.update(data[cut:])
    again = InterventionalLearner(reward_node=True)
    again.load_state_dict(state)
    assert same(again.update(data[cut:]), expected)


def test_state_dict_of_other_options_is_refused(data):
    learner = InterventionalLearner(block=512)
    learner.update(data[:100])
    with pytest.raises(ValueError, match="block=512"):
        InterventionalLearner().load_state_dict(learner.state_dict())


def test_update_leaves_the_data_alone(data):
    copies = [data.state.copy(), data.next_state.copy(), data.reward.copy()]
    InterventionalLearner(reward_node=True).fit(data)
    for copy, array in zip(copies, (data.state, data.next_state, data.reward), strict=True):
        assert np.array_equal(copy, array)


def test_confidences_rank_edges_above_the_rest(data):
    graph = InterventionalLearner(reward_node=True).fit(data)
    for edges, confidence in (
        (graph.contemporaneous, graph.contemporaneous_confidence),
        (graph.lagged, graph.lagged_confidence),
    ):
        assert ((confidence >= 0) & (confidence <= 1)).all()
        assert (confidence[edges] >= 0.5).all()
        assert (confidence[~edges] <= 0.5).all()


def test_contexts_and_actions_are_exogenous():
    rng = np.random.default_rng(2)
    rows = 3000
    goal = np.repeat(rng.normal(size=rows // 20), 20)
    force = rng.normal(size=rows)
    state, x = rng.normal(size=rows), np.empty(rows)
    x = 0.7 * goal + 0.6 * force + 0.4 * rng.normal(size=rows)
    graph = InterventionalLearner().fit(
        Transitions(
            state=np.column_stack([state, goal, rng.normal(size=rows)]),
            next_state=np.column_stack([x, goal, force]),
            kinds=("state", "context", "action"),
        )
    )
    assert graph.contemporaneous.tolist() == [
        [False] * 3,
        [True, False, False],
        [True, False, False],
    ]
    assert not graph.lagged.any()


REWARDS = {
    "distance": (lambda x: -np.abs(x[:, 2] - x[:, 4]), {2, 4}),
    "linear": (lambda x: x[:, 1] - 0.5 * x[:, 3], {1, 3}),
    "square": (lambda x: -((x[:, 5] - 0.5) ** 2), {5}),
    "product": (lambda x: x[:, 0] * x[:, 3], {0, 3}),
    "four": (lambda x: x[:, 0] - x[:, 1] ** 2 + x[:, 2] * x[:, 4], {0, 1, 2, 4}),
    "none": (lambda x: np.zeros(len(x)), set()),
}


@pytest.mark.parametrize("form", REWARDS)
@pytest.mark.parametrize("rows", [1000, 3000])
def test_reward_parents_are_found_and_costs_are_not(data, form, rows):
    reward, parents = REWARDS[form]
    cost = data.do_target @ np.linspace(0.0, 0.5, data.n)
    graph = InterventionalLearner(reward_node=True).fit(
        Transitions(
            state=data.state,
            next_state=data.next_state,
            do_target=data.do_target,
            reward=reward(data.next_state) - cost,
        )[:rows]
    )
    assert graph.kinds[-1] == "reward"
    assert set(np.flatnonzero(graph.contemporaneous[:, -1])) == parents
    assert not graph.lagged[:, -1].any()
    assert not graph.contemporaneous[-1].any()
    assert not graph.lagged[-1].any()


def test_lagged_reward_parent(data):
    reward = np.tanh(data.state[:, 1]) + data.next_state[:, 2]
    graph = InterventionalLearner(reward_node=True).fit(
        Transitions(
            state=data.state, next_state=data.next_state, do_target=data.do_target, reward=reward
        )
    )
    assert np.flatnonzero(graph.contemporaneous[:, -1]).tolist() == [2]
    assert np.flatnonzero(graph.lagged[:, -1]).tolist() == [1]


def test_goal_is_told_from_its_proxies():
    rng = np.random.default_rng(4)
    rows, proxies = 2000, 8
    goal = np.repeat(rng.uniform(-1.7, 1.7, rows // 20), 20)
    follow = goal[:, None] + 0.1 * rng.normal(size=(rows, proxies))
    target = np.zeros((rows, proxies + 2), dtype=bool)
    target[:, -1] = rng.random(rows) < 0.8
    # half of the values follow the goal, as a policy's do
    wanted = np.where(rng.random(rows) < 0.5, goal, rng.uniform(-2, 2, rows))
    x = np.where(target[:, -1], wanted, rng.normal(size=rows))
    reached = np.column_stack([follow, goal, x])
    graph = InterventionalLearner(reward_node=True).fit(
        Transitions(
            state=np.column_stack([follow, goal, rng.normal(size=rows)]),
            next_state=reached,
            do_target=target,
            reward=-np.abs(x - goal),
            kinds=("state",) * proxies + ("context", "state"),
        )
    )
    assert np.flatnonzero(graph.contemporaneous[:, -1]).tolist() == [proxies, proxies + 1]


@pytest.mark.parametrize("rows", [1, 2, 5, 17, 60])
def test_few_rows_give_a_graph(data, rows):
    graph = InterventionalLearner(reward_node=True).fit(data[:rows])
    for array in (graph.contemporaneous_weights, graph.lagged_weights):
        assert np.isfinite(array).all()
    if rows <= 2:
        assert not graph.contemporaneous.any()


def test_constant_columns_and_copies_do_no_harm(data):
    def widened(array):
        return np.column_stack([array, np.full(len(array), 7.0), array[:, 0], 2.0 - array[:, 1]])

    target = np.column_stack([data.do_target, np.zeros((len(data), 3), dtype=bool)])
    graph = InterventionalLearner(reward_node=True).fit(
        Transitions(
            state=widened(data.state),
            next_state=widened(data.next_state),
            do_target=target,
            reward=data.reward,
        )
    )
    constant = data.n
    assert not graph.contemporaneous[constant].any()
    assert not graph.contemporaneous[:, constant].any()
    assert not graph.lagged[constant].any()
    for confidence in (graph.contemporaneous_confidence, graph.lagged_confidence):
        assert np.isfinite(confidence).all()


def test_several_targets_in_a_row():
    scm = world("chain", 5, "linear", seed=7)
    rng = np.random.default_rng(7)
    rows, n = 6000, 5
    state = np.zeros((rows, n))
    target = rng.random((rows, n)) < 0.35
    value = rng.uniform(-2, 2, (rows, n)) * target
    reached = scm.step(state, scm.sample_noise(rng, rows), state, target, value)
    graph = InterventionalLearner().fit(
        Transitions(state=state, next_state=reached, do_target=target)
    )
    assert np.array_equal(graph.contemporaneous, truth(scm)[0])


def test_a_variable_that_is_always_set_has_no_parents(data):
    target = data.do_target.copy()
    target[:, 2] = True
    graph = InterventionalLearner().fit(
        Transitions(state=data.state, next_state=data.next_state, do_target=target)
    )
    assert not graph.contemporaneous[:, 2].any()
    assert not graph.lagged[:, 2].any()


@pytest.mark.parametrize(
    ("option", "value", "error"),
    [
        ("floor", 0.0, ValueError),
        ("floor", "low", TypeError),
        ("nonlinear_floor", 1.0, ValueError),
        ("interaction_floor", -0.1, ValueError),
        ("reward_floor", True, TypeError),
        ("alpha", 2.0, ValueError),
        ("min_effect", 0.0, ValueError),
        ("block", 8, ValueError),
        ("block", 100.5, TypeError),
        ("rows_kept", 0, ValueError),
        ("reward_node", 1, TypeError),
    ],
)
def test_bad_options_are_named(option, value, error):
    with pytest.raises(error, match=option):
        make_learner("interventional", **{option: value})


def test_bad_data_is_refused(data):
    learner = InterventionalLearner()
    with pytest.raises(TypeError, match="transitions"):
        learner.update(data.state)
    with pytest.raises(ValueError, match="no rows"):
        learner.fit(data[:0])
    learner.fit(data[:50])
    other = Transitions(state=np.zeros((3, 2)), next_state=np.zeros((3, 2)))
    with pytest.raises(ValueError, match="variables"):
        learner.update(other)
    with pytest.raises(ValueError, match="reward"):
        InterventionalLearner(reward_node=True).fit(other)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("mechanism", "perfect", "mean_f1"), [("linear", 9, 0.99), ("tanh", 9, 0.99), ("mlp", 5, 0.95)]
)
def test_random_graphs_of_ten(mechanism, perfect, mean_f1):
    exact, scores = 0, []
    for seed in range(10):
        scm = world("er", 10, mechanism, seed=seed, density=2.0, self_lag=False, noise_share=0.2)
        state, reached, target = explored(scm, 20_000, seed=seed)
        graph = InterventionalLearner().fit(
            Transitions(state=state, next_state=reached, do_target=target)
        )
        comparison = graph.compare(scm.graph)
        within, lagged = truth(scm)
        exact += int((graph.contemporaneous == within).all() and (graph.lagged == lagged).all())
        scores.append(comparison.contemporaneous.f1)
    assert exact >= perfect
    assert np.mean(scores) >= mean_f1
