from __future__ import annotations

import numpy as np
import pytest

from causal_rl.agents import SCMPlanner, evaluate, measure_yardsticks, oracle_controller
from causal_rl.envs import Interventions, SCMEnvSpec
from causal_rl.scm import DynamicSCM, Gaussian, Linear, Uniform, Variable


def follow_the_goal(cost=0.0, carry=0.0):
    """x is set, y = x + carry * y_before + noise, reward = -(y - goal)^2."""
    scm = DynamicSCM(
        [
            Variable("y", Linear([1.0, carry]), Gaussian(0.1), parents=["x"], lagged_parents=["y"]),
            Variable("x", noise=Gaussian(1.0)),
            Variable("goal", noise=Uniform(-1.0, 1.0), kind="context"),
            Variable(
                "reward", lambda y, goal: -((y - goal) ** 2), parents=["y", "goal"], kind="reward"
            ),
        ]
    )
    values = tuple(np.linspace(-1, 1, 9))
    return SCMEnvSpec("follow", scm, Interventions(["x"], values, cost), horizon=5)


def test_greedy_plan_is_the_closed_form():
    spec = follow_the_goal(cost=0.25)
    goal = np.linspace(-1, 1, 33)
    state = np.stack([np.zeros(33), np.zeros(33), goal], axis=1)
    plan = SCMPlanner(spec, samples=512).plan(state)
    values = np.array(spec.interventions.values)
    # E[-(v + e - g)^2] - cost = -(v - g)^2 - .01 - .25, and without: -g^2 - 1 - .01.
    setting = -((values[None] - goal[:, None]) ** 2) - 0.01 - 0.25
    best, noop = setting.max(axis=1), -(goal**2) - 1.01
    np.testing.assert_allclose(plan.value, np.maximum(best, noop), atol=0.05)
    chosen = values[plan.action[:, 1]]
    clear = np.sort(setting, axis=1)[:, -1] - np.sort(setting, axis=1)[:, -2] > 0.02
    assert (plan.action[clear, 0] == 1).all()
    np.testing.assert_allclose(chosen[clear], values[setting.argmax(axis=1)][clear])


def test_plan_prefers_doing_nothing_when_acting_costs_too_much():
    state = np.zeros((4, 3))
    assert (SCMPlanner(follow_the_goal(cost=50.0)).plan(state).action[:, 0] == 0).all()


def test_lookahead_sees_what_a_greedy_plan_cannot():
    # The effect of x arrives one step later: greedily every action looks alike.
    scm = DynamicSCM(
        [
            Variable("x", noise=Gaussian(0.1)),
            Variable("y", Linear([1.0]), Gaussian(0.1), lagged_parents=["x"]),
            Variable("reward", lambda y: y, parents=["y"], kind="reward"),
        ]
    )
    spec = SCMEnvSpec("late", scm, Interventions(["x"], (-1.0, 1.0)), horizon=8)
    state = np.zeros((3, 2))
    assert (SCMPlanner(spec, horizon=2).plan(state).action == [1, 1]).all()
    yardsticks = measure_yardsticks(spec, episodes=32, seed=0)
    assert yardsticks.oracle_horizon > 1
    assert yardsticks.oracle == pytest.approx(7.0, abs=0.3)
    assert yardsticks.normalise(yardsticks.random) == 0
    assert yardsticks.normalise(yardsticks.oracle) == 1


def test_controllers_meet_the_same_noise():
    spec = follow_the_goal()
    control = oracle_controller(spec, horizon=1, seed=0)
    first = evaluate(spec, control, episodes=8, seed=5)
    np.testing.assert_array_equal(first, evaluate(spec, control, episodes=8, seed=5))
    np.testing.assert_array_equal(first[3:], evaluate(spec, control, episodes=5, seed=8))


@pytest.mark.parametrize(
    ("options", "message"),
    [({"horizon": 0}, "horizon is 0; it must be >= 1"), ({"samples": 3}, "power of two")],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        SCMPlanner(follow_the_goal(), **options)


def test_bad_number_of_episodes():
    spec = follow_the_goal()
    with pytest.raises(ValueError, match="episodes must be at least 1, got 0"):
        evaluate(spec, oracle_controller(spec, horizon=1, seed=0), episodes=0, seed=0)
