from __future__ import annotations

import copy
import dataclasses
import pickle
import re
import warnings
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec
from gymnasium.utils.env_checker import check_env

from causal_rl.envs.gym_dynamics import (
    GymDynamicsEnv,
    GymTrajectory,
    make_cartpole,
    make_mountain_car,
    make_pendulum,
    random_transitions,
)
from causal_rl.envs.known_dynamics import (
    CARTPOLE,
    GYM_DYNAMICS,
    MOUNTAIN_CAR,
    PENDULUM,
    KnownDynamics,
    WeakEdge,
    advance,
    close_within_step,
)
from causal_rl.graphs import CausalGraph

MAKE = {"cartpole": make_cartpole, "pendulum": make_pendulum, "mountain-car": make_mountain_car}
NAMES = list(GYM_DYNAMICS)


def play(env: GymDynamicsEnv, seed: int, steps: int = 10_000, swing: bool = False) -> GymTrajectory:
    """Random actions; or push along the velocity, which takes the mountain car to wall and goal."""
    rng = np.random.default_rng(seed)
    observation, _ = env.reset(seed=seed)
    for _ in range(steps):
        if swing:
            action: Any = np.array([1.0 if observation[1] >= 0.0 else -1.0], dtype=np.float32)
        elif isinstance(env.action_space, gymnasium.spaces.Discrete):
            action = int(rng.integers(env.action_space.n))
        else:
            action = rng.uniform(env.action_space.low, env.action_space.high).astype(np.float32)
        observation, _, terminated, truncated, _ = env.step(action)
        if terminated or truncated:
            break
    return env.trajectory()


def same(left: GymTrajectory, right: GymTrajectory) -> None:
    assert left.names == right.names
    np.testing.assert_array_equal(left.values, right.values)
    np.testing.assert_array_equal(left.reward, right.reward)
    assert (left.terminated, left.truncated) == (right.terminated, right.truncated)


# ------------------------------------------------------------------ the stated graphs


def test_the_graphs_stated_from_the_sources() -> None:
    assert len(CARTPOLE.causal_graph.edges()) == 11
    assert CARTPOLE.causal_graph.parents("reward") == ()
    assert CARTPOLE.one_step_graph == CARTPOLE.causal_graph
    pendulum = PENDULUM.causal_graph
    assert pendulum.parents("theta", block="contemporaneous") == ("theta_dot",)
    assert pendulum.parents("reward", block="lagged") == ("theta", "theta_dot")
    assert PENDULUM.one_step_graph.children("torque") == ("theta", "theta_dot", "reward")
    assert PENDULUM.one_step_graph.children("theta_dot", block="lagged") == (
        "theta",
        "theta_dot",
        "reward",
    )
    assert MOUNTAIN_CAR.causal_graph.kinds == ("state", "state", "action", "reward")
    assert MOUNTAIN_CAR.one_step_graph.edges() == [
        ("contemporaneous", "force", child) for child in ("position", "velocity", "reward")
    ] + [
        ("lagged", parent, child)
        for parent in ("position", "velocity")
        for child in ("position", "velocity", "reward")
    ]


def test_closing_a_chain_inside_the_step() -> None:
    names, kinds = ("c", "b", "a", "u"), ("state", "state", "state", "action")
    inside = np.zeros((4, 4), dtype=bool)
    inside[3, 2] = inside[2, 1] = inside[1, 0] = True  # u -> a -> b -> c
    memory = np.zeros((4, 4), dtype=bool)
    memory[0, 1] = True  # c -> b'
    closed = close_within_step(CausalGraph(inside, memory, names, kinds))
    assert closed.edges() == [
        ("contemporaneous", "u", "c"),
        ("contemporaneous", "u", "b"),
        ("contemporaneous", "u", "a"),
        ("lagged", "c", "c"),
        ("lagged", "c", "b"),
    ]


def test_a_description_with_an_error_is_refused() -> None:
    with pytest.raises(ValueError, match="omega"):
        dataclasses.replace(PENDULUM, lagged=(("omega", "theta"),))
    with pytest.raises(ValueError, match="low has 1 entries; states has 2"):
        dataclasses.replace(PENDULUM, low=(0.0,))
    with pytest.raises(ValueError, match="which is no edge"):
        dataclasses.replace(
            PENDULUM, near_unfaithful=(WeakEdge("lagged", "torque", "theta", "none"),)
        )


# ------------------------------------------------------------------ the environment


@pytest.mark.parametrize("name", NAMES)
def test_it_is_the_environment_of_gymnasium(name: str) -> None:
    known = GYM_DYNAMICS[name]
    env, plain = MAKE[name](), gymnasium.make(known.gym_id)
    assert env.action_space == plain.action_space
    rng = np.random.default_rng(3)
    for episode in range(3):
        seed = 5 if episode == 0 else None
        pair = env.reset(seed=seed)[0], plain.reset(seed=seed)[0]
        plain.action_space.seed(int(rng.integers(100)))
        ended = False
        while not ended:
            if known.latent_observation:
                angle, speed = pair[0]
                # float32 keeps an angle of several turns to 1e-6.
                assert pair[1] == pytest.approx([np.cos(angle), np.sin(angle), speed], abs=1e-5)
            else:
                assert pair[0].dtype == pair[1].dtype
                np.testing.assert_array_equal(*pair)
            action = plain.action_space.sample()
            ours, theirs = env.step(action), plain.step(action)
            assert ours[1:4] == theirs[1:4]
            pair, ended = (ours[0], theirs[0]), ours[2] or ours[3]


@pytest.mark.parametrize("name", NAMES)
def test_gymnasium_and_sb3_accept_it(name: str) -> None:
    env = gymnasium.make(EnvSpec("Checked-v0", entry_point=MAKE[name])).unwrapped
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        check_env(env, skip_render_check=True)
    expected = "infinity|symmetric and normalized"
    assert all(re.search(expected, str(w.message)) for w in caught), caught
    sb3 = pytest.importorskip("stable_baselines3.common.env_checker")
    sb3.check_env(MAKE[name](), warn=False)


@pytest.mark.parametrize("name", NAMES)
def test_info_says_what_was_done(name: str) -> None:
    env = gymnasium.make(EnvSpec("Told-v0", entry_point=MAKE[name]))
    _, info = env.reset(seed=0)
    assert set(info) == {"do_target", "do_value"}
    assert not info["do_target"].any()
    action = env.action_space.sample()
    _, _, _, _, info = env.step(action)
    assert info["do_target"].tolist() == [False] * (len(info["do_target"]) - 1) + [True]
    assert info["do_value"][-1] == np.asarray(action).item()
    graph = env.unwrapped.causal_graph
    assert graph.names == (*env.unwrapped.known.names, "reward")
    np.testing.assert_array_equal(
        env.unwrapped.trajectory().do_value[-1], info["do_value"], strict=True
    )


def test_time_limit_and_the_end_of_an_episode() -> None:
    env = make_pendulum(max_episode_steps=7)
    assert len(play(env, 0)) == 7
    with pytest.raises(gymnasium.error.ResetNeeded):
        env.step(np.zeros(1, dtype=np.float32))
    assert env.trajectory().truncated
    assert len(play(make_pendulum(), 0)) == 200
    trajectory = play(make_cartpole(), 0)
    assert trajectory.terminated
    assert abs(trajectory.values[-1, 2]) > np.deg2rad(12)


@pytest.mark.parametrize("name", NAMES)
def test_pickle_and_deepcopy_in_mid_episode(name: str) -> None:
    env = MAKE[name]()
    play(env, 4, steps=5)
    others = [copy.deepcopy(env), pickle.loads(pickle.dumps(env))]
    action = env.action_space.sample()
    expected = env.step(action)
    for other in others:
        np.testing.assert_array_equal(other.step(action)[0], expected[0])
        same(other.trajectory(), env.trajectory())
        assert other.causal_graph == env.causal_graph
        np.testing.assert_array_equal(other.reset()[0], copy.deepcopy(env).reset()[0])


def test_an_observation_is_no_view_of_the_state() -> None:
    env = make_mountain_car()
    env.reset(seed=0)
    observation = env.step(np.ones(1, dtype=np.float32))[0]
    kept = env.trajectory()
    observation[:] = 0.0
    env.step(np.ones(1, dtype=np.float32))
    np.testing.assert_array_equal(env.trajectory().values[:2], kept.values)
    assert env.trajectory().values[2, 0] != 0.0


def test_rendering_is_that_of_gymnasium() -> None:
    pytest.importorskip("pygame")
    env = make_cartpole(render_mode="rgb_array")
    plain = gymnasium.make("CartPole-v1", render_mode="rgb_array")
    env.reset(seed=0)
    plain.reset(seed=0)
    frame = env.render()
    np.testing.assert_array_equal(frame, plain.render())
    # A window in use must not keep a counterfactual from being run, nor be drawn on by it.
    trajectory = play(env, 1, steps=4)
    before = env.render()
    same(env.counterfactual(trajectory, {}), trajectory)
    np.testing.assert_array_equal(env.render(), before)
    env.close()


# ------------------------------------------------------------------ counterfactuals


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


@pytest.mark.parametrize("action", [2, -1, 0.5, "left", None, [0, 1], np.nan])
def test_bad_pushes(action: Any) -> None:
    env = make_cartpole()
    env.reset(seed=0)
    with pytest.raises(ValueError, match="push must be an integer from 0 to 1, got"):
        env.step(action)
    assert len(env.trajectory()) == 0


@pytest.mark.parametrize("action", [[1.0, 2.0], "up", None, [[1.0]], [np.nan], [np.inf]])
def test_bad_torques(action: Any) -> None:
    env = make_pendulum()
    env.reset(seed=0)
    with pytest.raises(ValueError, match="torque must be"):
        env.step(action)


def test_bad_constructions() -> None:
    with pytest.raises(TypeError, match="known must be a KnownDynamics, got str"):
        GymDynamicsEnv("cartpole")
    with pytest.raises(gymnasium.error.ResetNeeded):
        make_cartpole().step(0)
    for g in (0.0, np.inf, "10", True):
        with pytest.raises(ValueError, match="g must be a finite number other than 0"):
            make_pendulum(g=g)
    for goal in (-0.01, 0.07, np.nan):
        with pytest.raises(ValueError, match=r"goal_velocity must lie in \[0, 0.07\)"):
            make_mountain_car(goal_velocity=goal)


# ------------------------------------------------------------------ random transitions


@pytest.mark.parametrize("name", NAMES)
def test_random_transitions(name: str) -> None:
    known = GYM_DYNAMICS[name]
    data = random_transitions(known, 1500, 0)
    assert len(data) == 1500
    assert (data.names, data.kinds) == (known.names, known.kinds)
    assert data.do_target[:, -1].all()
    assert not data.do_target[:, :-1].any()
    np.testing.assert_array_equal(data.do_value[:, -1], data.next_state[:, -1])
    np.testing.assert_array_equal(data.action, data.next_state[:, -1])
    ended = data.terminated | data.truncated
    assert ended.any()
    running = ~ended[:-1]
    np.testing.assert_array_equal(data.state[1:][running], data.next_state[:-1][running])
    starts = data.state[1:][~running]
    assert (starts[:, -1] == 0.0).all()
    assert not (starts == data.next_state[:-1][~running]).all(axis=1).any()
    # Whatever the state, the action is uniform.
    space = known.make().action_space
    if isinstance(space, gymnasium.spaces.Discrete):
        assert data.action.mean() == pytest.approx(0.5, abs=0.05)
    else:
        np.testing.assert_allclose(
            np.quantile(data.action / space.high, [0.25, 0.5, 0.75]), [-0.5, 0, 0.5], atol=0.1
        )
    again = random_transitions(known, 1500, np.random.default_rng(0))
    np.testing.assert_array_equal(again.next_state, data.next_state)
    assert not np.array_equal(random_transitions(known, 1500, 1).next_state, data.next_state)


def test_random_transitions_obey_the_dynamics_in_every_row() -> None:
    """A row across a reset would break these identities of the sources."""
    cart = random_transitions(CARTPOLE, 500, 0)
    x, x_dot, theta, theta_dot = cart.state[:, :4].T
    np.testing.assert_array_equal(cart.next_state[:, 0], x + 0.02 * x_dot)
    np.testing.assert_array_equal(cart.next_state[:, 2], theta + 0.02 * theta_dot)
    assert cart.terminated.sum() > 10
    rod = random_transitions(PENDULUM, 500, 0)
    np.testing.assert_array_equal(
        rod.next_state[:, 0], rod.state[:, 0] + rod.next_state[:, 1] * 0.05
    )
    assert rod.truncated.sum() == 2


def test_random_transitions_of_an_environment_leave_it_alone() -> None:
    env = gymnasium.make(EnvSpec("Short-v0", entry_point=make_pendulum), max_episode_steps=9)
    short = make_pendulum(max_episode_steps=3, g=5.0)
    play(short, 0, steps=2)
    before = short.trajectory()
    data = random_transitions(short, 30, 0)
    same(short.trajectory(), before)
    assert data.truncated.sum() == 10
    assert len(random_transitions(env, 12, 0)) == 12
    plain = random_transitions(dataclasses.replace(PENDULUM), 30, 0)
    # Same seeds, other gravity: the same start, another fall.
    np.testing.assert_array_equal(plain.state[0], data.state[0])
    assert plain.next_state[0, 1] != data.next_state[0, 1]
    for n in (0, -1, 2.5, True):
        with pytest.raises(ValueError, match="n must be a positive integer"):
            random_transitions(PENDULUM, n, 0)
    with pytest.raises(TypeError, match="known_or_env must be"):
        random_transitions(gymnasium.make("CartPole-v1"), 5, 0)
    assert isinstance(short.known, KnownDynamics)
