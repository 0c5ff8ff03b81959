"""Edges that are active in a region: found, bounded, answered for a state, and not made up."""

from __future__ import annotations

import numpy as np
import pytest

from causal_rl.discovery import EdgePrior, Transitions, make_learner
from causal_rl.discovery.state_dependent import StateDependentLearner
from causal_rl.discovery.state_dependent_tree import Growth, Node, grow_tree

NAMES = ("force", "hand", "gap", "cube")
EDGE = 0.4


def contact(rows: int = 1200, seed: int = 0, always: bool = False) -> Transitions:
    """The hand moves the cube one step later, but only where the gap is above EDGE."""
    rng = np.random.default_rng(seed)
    x, target = np.zeros((rows + 1, 4)), np.zeros((rows, 4), dtype=bool)
    reward = np.zeros(rows)
    for t in range(rows):
        if rng.random() < 0.3:
            target[t, rng.integers(4)] = True
        before, new = x[t], x[t + 1]
        value, e = rng.normal(size=4), rng.normal(0, 0.6, size=4)
        touches = always or before[2] > EDGE
        for j in range(4):
            cause = (
                0.5 * before[0],
                0.6 * new[0],
                0.5 * before[2],
                0.3 * before[3] + (before[1] if touches else 0.0),
            )[j]
            new[j] = value[j] if target[t, j] else cause + e[j]
        reward[t] = new[3] if new[0] > 0 else 0.0
    return Transitions(state=x[:-1], next_state=x[1:], do_target=target, reward=reward, names=NAMES)


TRUTH = {
    ("contemporaneous", "force", "hand"),
    ("lagged", "force", "force"),
    ("lagged", "gap", "gap"),
    ("lagged", "cube", "cube"),
    ("lagged", "hand", "cube"),
    ("lagged", "gap", "cube"),
}


@pytest.fixture(scope="module")
def learner() -> StateDependentLearner:
    made = StateDependentLearner()
    made.fit(contact())
    return made


def test_the_union_and_the_regions(learner):
    assert set(learner.graph_.edges()) == TRUTH
    apart, touching = learner.regions("cube")
    assert apart.parents == (("lagged", "cube"),)
    assert touching.parents == (("lagged", "hand"), ("lagged", "cube"))
    assert touching.slopes == pytest.approx((1.0, 0.3), abs=0.15)
    bound = float(touching.conditions[0].removeprefix("gap[t-1] >= "))
    assert bound == pytest.approx(EDGE, abs=0.05)
    assert apart.share + touching.share == pytest.approx(1.0)
    (hand,) = learner.regions("hand")
    assert hand.conditions == ()


def test_the_graph_of_a_state(learner):
    near, far = learner.graph_for([0, 0, 1.0, 0]), learner.graph_for([0, 0, 0.0, 0])
    # What decides is a cause over all states, and has no effect inside a region.
    assert set(near.edges()) == TRUTH - {("lagged", "gap", "cube")}
    assert set(far.edges()) == set(near.edges()) - {("lagged", "hand", "cube")}
    assert near.lagged_weights[1, 3] == pytest.approx(1.0, abs=0.15)
    states = contact(200, seed=1).state
    active = learner.active_edges(states)
    assert active.shape == (200, 2, 4, 4)
    assert (active[:, 1, 1, 3] == (states[:, 2] > EDGE)).mean() > 0.97
    assert not (active & ~np.stack([learner.graph_.contemporaneous, learner.graph_.lagged])).any()


def test_an_effect_that_is_there_everywhere_makes_no_regions():
    learner = make_learner("state-dependent")
    graph = learner.fit(contact(seed=2, always=True))
    assert set(graph.edges()) == TRUTH - {("lagged", "gap", "cube")}
    assert all(len(learner.regions(name)) == 1 for name in NAMES)


def test_what_the_step_itself_decides():
    """The reward pays for the cube where the force after the step is above zero."""
    learner = make_learner("state-dependent", reward_node=True)
    graph = learner.fit(contact())
    assert set(graph.parents("reward", block="contemporaneous")) == {"force", "cube"}
    assert graph.children("reward") == ()
    state = np.zeros(4)
    paid = learner.graph_for(state, reached=[1.0, 0, 0, 0])
    not_paid = learner.graph_for(state, reached=[-1.0, 0, 0, 0])
    assert paid.parents("reward") == ("cube",)
    assert not_paid.parents("reward") == ()
    # Not known where the step leads: the edge may be active.
    assert learner.graph_for(state) == paid


def test_in_a_table_a_state_is_a_row():
    rng = np.random.default_rng(3)
    x = rng.normal(size=(1500, 3))
    x[:, 2] = np.where(x[:, 0] > 0, x[:, 1], -x[:, 1]) + 0.3 * rng.normal(size=1500)
    target = np.zeros(x.shape, dtype=bool)
    target[:500, 0] = target[500:1000, 1] = True
    learner = make_learner("state-dependent")
    graph = learner.fit(x, do_target=target)
    assert {edge[1:] for edge in graph.edges()} == {("X1", "X3"), ("X2", "X3")}
    for side in (-1.0, 1.0):
        here = learner.graph_for([side, 0.0, 0.0])
        assert here.contemporaneous_weights[1, 2] == pytest.approx(side, abs=0.1)
        assert not here.contemporaneous[0, 2]
    with pytest.raises(ValueError, match="reached goes with transitions"):
        learner.graph_for([0.0, 0, 0], reached=[0.0, 0, 0])


def test_a_tree_fits_pieces_and_sums_to_its_rows():
    rng = np.random.default_rng(4)
    x = rng.uniform(-1, 1, size=(2000, 5))
    y = np.where(x[:, 0] < 0.25, 2 * x[:, 1], -x[:, 2]) + 0.1 * rng.normal(size=2000)
    growth = Growth(np.array([0, 1, 2, 4]), floor=0.005, least_rows=50, depth=3)
    tree = grow_tree(x, y, growth)
    low, high = tree.leaves()
    assert tree.columns() == {0}
    assert tree.threshold == pytest.approx(0.25, abs=0.02)
    assert (low.mechanism.parents, high.mechanism.parents) == ((1,), (2,))
    assert low.mechanism.rows + high.mechanism.rows == 2000
    assert low.mechanism.slopes[0] == pytest.approx(2.0, abs=0.05)
    assert Node.from_dict(tree.to_dict()) == tree
    assert len(list(grow_tree(x, y, Growth(growth.candidates, 0.005, 50, 0)).leaves())) == 1
    point = np.array([np.nan, 0.0, 0.0, 0.0, 0.0])
    assert tree.reached(point) == [low, high]


def test_it_does_not_see_units(learner):
    data, scale, shift = contact(), np.array([4.0, 2.0**-8, 8.0, 1.0]), np.array([0, 0, 3.0, -1.0])
    moved = Transitions(
        state=data.state * scale + shift,
        next_state=data.next_state * scale + shift,
        do_target=data.do_target,
        names=NAMES,
    )
    again = StateDependentLearner()
    assert again.fit(moved) == learner.graph_
    for a, b in zip(again.regions("cube"), learner.regions("cube"), strict=True):
        assert a.parents == b.parents
    assert again.trees_["cube"].threshold == pytest.approx(
        8.0 * learner.trees_["cube"].threshold + 3.0
    )
    touched = again.trees_["cube"].high.mechanism
    state = np.array([0.0, 0.5, 1.0, -0.2])
    own = learner.trees_["cube"].high.mechanism
    predicted = own.intercept + state[[1, 3]] @ own.slopes
    moved_state = state * scale + shift
    assert touched.intercept + moved_state[[1, 3]] @ touched.slopes == pytest.approx(
        predicted - 1.0
    )


def test_pieces_equal_the_whole_and_resume(learner):
    data = contact()
    first, again = StateDependentLearner(), StateDependentLearner()
    first.update(data[:300])
    again.load_state_dict(first.state_dict())
    assert again.trees_ == first.trees_
    assert again.update(data[300:]) == learner.graph_
    assert again.regions("cube") == learner.regions("cube")


def test_a_prior_forbids():
    learner = StateDependentLearner()
    learner.prior = EdgePrior(forbidden={("force", "hand")})
    assert not learner.fit(contact(400)).contemporaneous[0, 1]


def test_degenerate_tables():
    rng = np.random.default_rng(5)
    x = rng.normal(size=(150, 4))
    x[:, 1], x[:, 2] = 7.0, x[:, 0]
    for rows in (x, x[:3], x[:1], np.ones((5, 2))):
        learner = make_learner("state-dependent")
        graph = learner.fit(rows)
        assert not graph.lagged.any()
        here = learner.graph_for(rows[0])
        assert np.isfinite(here.contemporaneous_weights).all()
        assert learner.regions("X2")[0].parents == () or len(rows) == 3


def test_bad_questions(learner):
    with pytest.raises(ValueError, match=r"state has shape \(2, 4\)"):
        learner.graph_for(np.zeros((2, 4)))
    with pytest.raises(ValueError, match=r"states has shape \(1, 3\); it must be \(rows, 4\)"):
        learner.graph_for([0.0, 0, 0])
    with pytest.raises(ValueError, match="states must be finite"):
        learner.graph_for([0.0, 0, np.nan, 0])
    with pytest.raises(TypeError, match="states must be numbers"):
        learner.active_edges([["a", "b", "c", "d"]])
    with pytest.raises(ValueError, match="reached has 2 rows; states has 1"):
        learner.active_edges(np.zeros((1, 4)), reached=np.zeros((2, 4)))
    with pytest.raises(ValueError, match="hnd"):
        learner.regions("hnd")
    for ask in (lambda new: new.graph_for([0.0]), lambda new: new.regions("cube")):
        with pytest.raises(ValueError, match="nothing yet"):
            ask(make_learner("state-dependent"))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"floor": 0.0}, "floor is 0.0"),
        ({"least_rows": 5}, "least_rows is 5"),
        ({"depth": -1}, "depth is -1"),
    ],
)
def test_options_are_checked(options, words):
    with pytest.raises(ValueError, match=words):
        make_learner("state-dependent", **options)
