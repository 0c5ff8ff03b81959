"""Counterfactuals of Gymnasium's environments: bit for bit, and against the sources."""

from __future__ import annotations

import copy
from typing import Any

import gymnasium
import numpy as np
import pytest
from gym_episodes import MAKE, NAMES, play, same

from causal_rl.envs.gym_dynamics import make_cartpole, make_mountain_car, make_pendulum
from causal_rl.envs.known_dynamics import MOUNTAIN_CAR, PENDULUM, advance


@pytest.mark.parametrize("name", NAMES)
def test_doing_nothing_or_what_was_done_changes_no_bit(name: str) -> None:
    env = MAKE[name]()
    for seed in range(3):
        trajectory = play(env, seed, swing=name == "mountain-car" and seed > 0)
        same(env.counterfactual(trajectory, {}), trajectory)
        for column, variable in enumerate(trajectory.names):
            factual = {
                step: {variable: trajectory.values[step + 1, column]}
                for step in range(len(trajectory))
            }
            same(env.counterfactual(trajectory, factual), trajectory)
        every = {
            step: dict(zip(trajectory.names, trajectory.values[step + 1], strict=True))
            for step in range(0, len(trajectory), 2)
        }
        same(env.counterfactual(trajectory, every), trajectory)


def test_the_swinging_car_meets_wall_and_goal() -> None:
    # So that the tests above pass through both of them.
    trajectory = play(make_mountain_car(), 1, swing=True)
    at_wall = trajectory.values[:, 0] == np.float32(-1.2)
    assert at_wall.any()
    assert (trajectory.values[at_wall, 1] == 0.0).all()
    assert trajectory.terminated
    assert trajectory.reward[-1] == pytest.approx(99.9)


@pytest.mark.parametrize("name", NAMES)
def test_other_actions_are_those_of_another_episode(name: str) -> None:
    env = MAKE[name]()
    trajectory = play(env, 2, steps=12)
    other = play(MAKE[name](), 9, steps=12)  # another start, other actions
    action = trajectory.names[-1]
    swapped = env.counterfactual(
        trajectory, {t: {action: other.values[t + 1, -1]} for t in range(12)}
    )
    env.reset(seed=2)
    for value in other.values[1:, -1]:
        env.step(int(value) if name == "cartpole" else np.array([value], dtype=np.float32))
    same(swapped, env.trajectory())
    assert not np.array_equal(swapped.values, trajectory.values)


@pytest.mark.parametrize("name", NAMES)
def test_a_do_moves_descendants_only_and_later_steps(name: str) -> None:
    env = MAKE[name]()
    trajectory = play(env, 6, steps=8)
    graph = env.causal_graph
    for column, variable in enumerate(env.known.states):
        value = trajectory.values[5, column] + 0.01
        result = env.counterfactual(trajectory, {4: {variable: value}})
        np.testing.assert_array_equal(result.values[:5], trajectory.values[:5])
        assert result.values[5, column] == pytest.approx(value, abs=1e-7)
        assert result.do_mask[4].tolist() == [
            other in (variable, trajectory.names[-1]) for other in trajectory.names
        ]
        assert result.do_value[4, column] == result.values[5, column]
        children = graph.children(variable, block="contemporaneous")
        for k, other in enumerate(env.known.states):
            if k != column and other not in children:
                assert result.values[5, k] == trajectory.values[5, k]
        follows = env.known.one_step_graph.children(variable, block="lagged")
        for k, other in enumerate(env.known.states):
            moved = result.values[6, k] != trajectory.values[6, k]
            if not children:
                assert moved == (other in follows)


def test_the_live_episode_is_not_touched() -> None:
    env = make_mountain_car()
    trajectory = play(env, 0, steps=20)
    untouched = copy.deepcopy(env)
    env.counterfactual(trajectory, {"position": -1.2, "force": 1.0})
    action = np.ones(1, dtype=np.float32)
    np.testing.assert_array_equal(env.step(action)[0], untouched.step(action)[0])
    same(env.trajectory(), untouched.trajectory())


def test_a_replay_ends_where_it_terminates() -> None:
    env = make_cartpole()
    trajectory = play(env, 0)
    fallen = env.counterfactual(trajectory, {3: {"theta": 0.5}})
    assert (len(fallen), fallen.terminated, fallen.truncated) == (4, True, False)
    np.testing.assert_array_equal(fallen.reward, np.ones(4))
    upright = env.counterfactual(trajectory, {"theta": 0.0})
    assert (len(upright), upright.terminated) == (len(trajectory), False)
    # A counterfactual can be asked about in turn.
    same(env.counterfactual(upright, {"theta": 0.0}), upright)
    paid = make_cartpole(sutton_barto_reward=True)
    np.testing.assert_array_equal(
        paid.counterfactual(play(paid, 0), {3: {"theta": 0.5}}).reward, [0.0, 0.0, 0.0, -1.0]
    )
    car = make_mountain_car()
    arrived = car.counterfactual(play(car, 0, steps=9), {2: {"position": 0.5, "velocity": 0.0}})
    assert len(arrived) == 3
    assert arrived.reward[-1] > 99.0
    backwards = car.counterfactual(play(car, 0, steps=4), {3: {"position": 0.5, "velocity": -0.01}})
    assert not backwards.terminated
    assert backwards.reward[-1] == pytest.approx(-0.1 * backwards.values[-1, -1] ** 2)


def test_children_inside_the_step_against_the_source() -> None:
    """The source itself is made to set a new value, by its limits."""
    pendulum: Any = PENDULUM.make().unwrapped
    torque = np.array([2.0], dtype=np.float32)
    for theta, theta_dot, limit in [(1.0, 3.0, 2.5), (-4.0, 7.0, 0.5), (2.0, 1.0, 1.0)]:
        ends = []
        for done, speed in (({}, limit), ({1: limit}, 8)):
            pendulum.reset(seed=0)
            pendulum.max_speed = speed
            PENDULUM.write(pendulum, np.array([theta, theta_dot]))
            advance(PENDULUM, pendulum, torque, done)
            ends.append(pendulum.state)
        assert ends[0][1] == limit
        np.testing.assert_array_equal(*ends)


def test_in_the_source_the_cars_position_makes_its_last_velocity() -> None:
    car: Any = MOUNTAIN_CAR.make().unwrapped
    force = np.array([-0.5], dtype=np.float32)

    def step(
        speed: float, least: float = -1.2, most: float = 0.6, **done: float
    ) -> tuple[float, float]:
        car.reset(seed=0)
        car.min_position, car.max_position = least, most
        MOUNTAIN_CAR.write(car, np.array([-0.5, speed]))
        advance(
            MOUNTAIN_CAR, car, force, {["position", "velocity"].index(k): done[k] for k in done}
        )
        car.min_position, car.max_position = -1.2, 0.6
        return tuple(car.state.tolist())

    free = step(-0.02)
    # The right limit sets the position without any further effect, unless it is the left wall.
    assert step(-0.02, most=-0.9) == step(-0.02, position=-0.9)
    assert step(-0.02, most=-0.9)[1] == free[1]
    assert step(-0.02, most=-1.2) == step(-0.02, position=-1.2)
    assert step(-0.02, most=-1.2)[1] == 0.0
    assert free[1] != 0.0
    # Only a car that moves left is stopped there.
    assert step(0.02, most=-1.2) == step(0.02, position=-1.2)
    assert step(0.02, most=-1.2)[1] == step(0.02)[1] > 0.0
    # A wall just where the car arrives takes its velocity, and the position stays: no edge back.
    exact = -0.5 + (-0.02 + -0.5 * 0.0015 - 0.0025 * np.cos(3 * -0.5))
    stopped = step(-0.02, least=exact)
    assert stopped == (free[0], 0.0)
    assert step(-0.02, velocity=0.0) == stopped


def test_bad_counterfactuals() -> None:
    env, other = make_pendulum(), make_cartpole()
    with pytest.raises(gymnasium.error.ResetNeeded):
        env.trajectory()
    trajectory = play(env, 0, steps=3)
    cases: list[tuple[Any, type[Exception], str]] = [
        (3, TypeError, "do must be a mapping, got int"),
        ({"reward": 1.0}, ValueError, "do names 'reward'; it must be one of theta, theta_dot"),
        ({"theta_dot": 9.0}, ValueError, r"do sets theta_dot to 9.0; .* in \[-8, 8\]"),
        ({"theta": np.nan}, ValueError, "do sets theta to nan"),
        ({"theta": "up"}, ValueError, "do sets theta to 'up'"),
        ({"torque": [1.0, 2.0]}, ValueError, "torque must be one number"),
        ({3: {"theta": 0.0}}, ValueError, "do has step 3; the trajectory has steps 0 to 2"),
        ({-1: {"theta": 0.0}}, ValueError, "do has step -1"),
        ({0: 1.0}, TypeError, r"do\[0\] must map names to values"),
        ({0: {"theta": 0.0}, "theta": 1.0}, TypeError, "names or steps as keys, not both"),
    ]
    for do, kind, message in cases:
        with pytest.raises(kind, match=message):
            env.counterfactual(trajectory, do)
    with pytest.raises(ValueError, match="trajectory has variables"):
        other.counterfactual(trajectory, {})
    with pytest.raises(TypeError, match="trajectory must be a GymTrajectory, got ndarray"):
        env.counterfactual(trajectory.values, {})
    with (
        pytest.raises(ValueError, match="out of the finite numbers at step 1"),
        np.errstate(all="ignore"),
    ):
        other.counterfactual(play(other, 0), {0: {"theta_dot": 1e300}, 1: {}})
    with pytest.raises(ValueError, match=r"push must be an integer from 0 to 1, got 0\.5"):
        other.counterfactual(play(other, 0), {"push": 0.5})
