from __future__ import annotations

import itertools

import numpy as np
import pytest

from causal_rl.agents import SCMPlanner
from causal_rl.agents.planning.learned_model import LearnedSCM
from causal_rl.agents.planning.model_planner import ModelPlanner, choose_horizon
from causal_rl.discovery import Transitions
from causal_rl.envs import Interventions, SCMEnvSpec
from causal_rl.envs.recording import record
from causal_rl.scm import DynamicSCM, Gaussian, Linear, NoNoise, Uniform, Variable

VALUES = tuple(np.linspace(-1, 1, 9))


def follow_the_goal(cost=0.0, lagged=False):
    """x is set, y = x + noise (a step later if lagged), reward = -(y - goal)^2."""
    parents = {"lagged_parents": ["x"]} if lagged else {"parents": ["x"]}
    scm = DynamicSCM(
        [
            Variable("y", Linear([1.0]), Gaussian(0.1), **parents),
            Variable("x", noise=Gaussian(1.0)),
            Variable("goal", noise=Uniform(-1.0, 1.0), kind="context"),
            Variable(
                "reward", lambda y, goal: -((y - goal) ** 2), parents=["y", "goal"], kind="reward"
            ),
        ]
    )
    return SCMEnvSpec("follow", scm, Interventions(["x"], VALUES, cost), horizon=5)


def true_model(spec, **options):
    """A planner in the true model of a world, its costs known."""
    (cost,) = set(spec.interventions.costs[1:])
    costs = [cost * (name in spec.interventions.settable) for name in spec.scm.names]
    return ModelPlanner(spec.scm, spec.interventions, costs=costs, **options)


def states(count=33):
    goal = np.linspace(-1, 1, count)
    return np.stack([np.zeros(count), np.zeros(count), goal], axis=1)


def learned(spec, rows=1500):
    return LearnedSCM.fit(record(spec, rows, seed=0, num_envs=8), spec.causal_graph)


@pytest.mark.parametrize("search", ["exhaustive", "cem"])
def test_greedy_plan_is_the_closed_form_in_the_true_and_the_learned_model(search):
    spec = follow_the_goal(cost=0.25)
    goal, values = states()[:, 2], np.array(VALUES)
    # E[-(v + e - g)^2] - cost = -(v - g)^2 - .01 - .25, and without: -g^2 - 1 - .01.
    setting = -((values[None] - goal[:, None]) ** 2) - 0.26
    best = np.maximum(setting.max(axis=1), -(goal**2) - 1.01)
    clear = np.sort(setting, axis=1)[:, -1] - np.sort(setting, axis=1)[:, -2] > 0.05
    costs = np.array([0.0, 0.25, 0.0])
    for model, given in ((spec.scm, costs), (learned(spec), None)):
        planner = ModelPlanner(model, spec.interventions, costs=given, search=search, samples=64)
        plan = planner.plan(states())
        np.testing.assert_allclose(plan.value, best, atol=0.06)
        assert (plan.action[clear, 0] == 1).all()
        np.testing.assert_allclose(
            values[plan.action[clear, 1]], values[setting.argmax(axis=1)][clear]
        )


def test_in_the_true_model_it_plans_as_the_oracle_does():
    spec = follow_the_goal(cost=0.25)
    old = SCMPlanner(spec, horizon=2, samples=128).plan(states())
    new = true_model(spec, horizon=2).plan(states())
    np.testing.assert_allclose(new.value, old.value, atol=0.1)
    assert (new.action == old.action).all(axis=1).mean() > 0.8


def test_learned_costs_decide_whether_acting_is_worth_it():
    dear = follow_the_goal(cost=50.0)
    assert (ModelPlanner(learned(dear), dear.interventions).plan(states()).action[:, 0] == 0).all()


def test_the_model_chooses_the_horizon_that_the_world_needs():
    for lagged, needed in ((False, 1), (True, 2)):
        spec = follow_the_goal(lagged=lagged)
        found = choose_horizon(learned(spec), spec.interventions, states(24), steps=4)
        assert found == needed
    assert choose_horizon(spec.scm, spec.interventions, states(4), horizons=(3,)) == 3


def test_second_look_agrees_with_looking_at_everything_closely():
    values = tuple(np.linspace(-1, 1, 65))
    spec = follow_the_goal()
    spec = spec.replace(interventions=Interventions(["x"], values, 0.0))
    planner = true_model(spec, samples=64)
    scores = planner.scores(states())
    plan = planner.plan(states())
    np.testing.assert_allclose(plan.value, scores.max(axis=1), atol=1e-3)


def test_the_true_model_without_noise_gives_the_plans_of_brute_force():
    """Every pair of actions, simulated one by one, against the two kinds of plan that are tried."""
    scm = DynamicSCM(
        [
            Variable("a", Linear([0.7]), NoNoise(), lagged_parents=["a"]),
            Variable("b", np.tanh, NoNoise(), parents=["a"]),
            Variable("c", Linear([1.0, 0.5]), NoNoise(), parents=["b"], lagged_parents=["b"]),
            Variable("reward", lambda c: -np.abs(c - 0.3), parents=["c"], kind="reward"),
        ]
    )
    spec = SCMEnvSpec("still", scm, Interventions(["b", "a"], (-1.0, 0.2, 0.9), 0.05), horizon=4)
    begin = np.random.default_rng(0).normal(size=(6, 3))
    plan = true_model(spec, horizon=2, samples=1).plan(begin)
    actions = spec.interventions.all_actions()
    mask, value, cost = spec.action_tables.decode(actions)

    def worth(start, sequence):
        state, total = start[None], 0.0
        for k in sequence:
            after = scm.step(state, np.zeros((1, 3)), None, mask[[k]], value[[k]])
            total += float(scm.reward_value(state, after)[0]) - cost[k]
            state = after
        return total

    for row, start in enumerate(begin):
        every = {
            pair: worth(start, pair) for pair in itertools.product(range(len(actions)), repeat=2)
        }
        tried = {pair: v for pair, v in every.items() if pair[1] in (pair[0], 0)}
        best = max(tried, key=tried.get)
        np.testing.assert_allclose(plan.value[row], tried[best])
        np.testing.assert_array_equal(plan.action[row], actions[best[0]])
        assert tried[best] <= max(every.values())
    oracle = SCMPlanner(spec, horizon=1, samples=1).plan(begin)
    ours = true_model(spec, horizon=1, samples=1).plan(begin)
    np.testing.assert_array_equal(ours.action, oracle.action)
    np.testing.assert_allclose(ours.value, oracle.value)


def test_plans_do_not_depend_on_the_order_of_the_variables():
    spec = follow_the_goal(cost=0.25)
    data = record(spec, 400, seed=0, num_envs=8)
    order = [2, 0, 1]
    names = tuple(data.names[i] for i in order)
    turned = Transitions(
        state=data.state[:, order], next_state=data.next_state[:, order], reward=data.reward,
        do_target=data.do_target[:, order], names=names, kinds=[data.kinds[i] for i in order],
    )  # fmt: skip
    graph = spec.causal_graph
    here = ModelPlanner(LearnedSCM.fit(data, graph), spec.interventions, samples=64)
    there = ModelPlanner(
        LearnedSCM.fit(turned, graph.permute([*names, "reward"])), spec.interventions, samples=64
    )
    a, b = here.plan(states()), there.plan(states()[:, order])
    # The noise points are those of the columns, so that values agree to their precision alone.
    np.testing.assert_allclose(a.value, b.value, atol=0.01)
    assert (a.action == b.action).all(axis=1).mean() > 0.9


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"horizon": 0}, "horizon is 0; it must be >= 1"),
        ({"samples": 3}, "power of two"),
        ({"search": "all"}, "search is 'all'; it must be one of auto, exhaustive, cem"),
        ({"population": 2}, "population is 2; it must be >= 8"),
        ({"rounds": 0}, "rounds is 0"),
        ({"costs": [1.0]}, "costs must be 3 finite numbers"),
    ],
)
def test_bad_planner(options, message):
    spec = follow_the_goal()
    with pytest.raises(ValueError, match=message):
        ModelPlanner(spec.scm, spec.interventions, **options)


def test_bad_states():
    spec = follow_the_goal()
    planner = true_model(spec)
    with pytest.raises(ValueError, match=r"values must have shape \(batch, 3\)"):
        planner.plan(np.zeros((2, 2)))
    with pytest.raises(ValueError, match="states must have shape"):
        choose_horizon(spec.scm, spec.interventions, np.zeros((0, 3)))
    with pytest.raises(ValueError, match="horizons is empty"):
        choose_horizon(spec.scm, spec.interventions, np.zeros((1, 3)), horizons=())
