"""Gymnasium's environments under their known graphs: the graphs, the steps, random transitions."""

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
from gym_episodes import MAKE, NAMES, play, same
from gymnasium.envs.registration import EnvSpec
from gymnasium.utils.env_checker import check_env

from causal_rl.envs.gym_dynamics import (
    GymDynamicsEnv,
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
    close_within_step,
)
from causal_rl.graphs import CausalGraph


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
