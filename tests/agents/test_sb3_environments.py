# ruff: noqa: E402
"""Worlds as environments of Stable-Baselines3: the same episodes, in its own forms of action."""

from __future__ import annotations

import subprocess
import sys

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.vector import AutoresetMode
from sb3_world import SMALL, box, tiny_world

sb3 = pytest.importorskip(
    "stable_baselines3", reason="stable-baselines3 is not installed; extra: sb3"
)

from stable_baselines3.common.env_checker import check_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import DummyVecEnv, VecMonitor

from causal_rl.agents import evaluate
from causal_rl.agents.sb3 import ECAMPolicy, SCMVecEnv
from causal_rl.envs import (
    Interventions,
    NaturalActionVectorObservation,
    SCMEnv,
    SCMEnvSpec,
    SCMVectorEnv,
)
from causal_rl.errors import MissingExtraError
from causal_rl.scm import DynamicSCM, Gaussian, Variable


@pytest.fixture(scope="module")
def spec():
    return tiny_world()


@pytest.mark.slow  # a second interpreter imports torch
def test_the_package_does_not_import_it_until_it_is_asked_for():
    code = (
        "import sys, causal_rl.agents, causal_rl.agents.sb3; "
        "sys.exit('stable_baselines3' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_without_it_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "stable_baselines3", None)
    with pytest.raises(MissingExtraError, match=r"causal_rl\[sb3\]"):
        from causal_rl.agents.sb3 import SCMVecEnv  # noqa: F401
    from causal_rl.agents import sb3 as door

    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = door.nothing


def test_trajectories_are_those_of_the_vector_environment(spec):
    ours, theirs = SCMVectorEnv(spec, num_envs=3), SCMVecEnv(spec, 3)
    rng = np.random.default_rng(0)
    expected, _ = ours.reset(seed=7)
    theirs.seed(7)
    assert np.array_equal(theirs.reset(), expected.astype(np.float32))
    ended = 0
    for _ in range(2 * spec.horizon + 1):
        action = rng.integers(0, [3, 3], size=(3, 2))
        outcome = ours.step(action)
        expected, reward, terminated, truncated, info = outcome
        observation, rewards, dones, infos = theirs.step(action)
        assert observation.dtype == rewards.dtype == np.float32
        assert np.array_equal(observation, expected.astype(np.float32))
        assert np.array_equal(rewards, reward.astype(np.float32))
        assert np.array_equal(dones, terminated | truncated)
        for i, row in enumerate(infos):
            source = info["final_info"] if dones[i] else info
            assert np.array_equal(row["do_target"], source["do_target"][i])
            assert np.array_equal(row["do_value"], source["do_value"][i])
            assert row["TimeLimit.truncated"] == truncated[i]
            assert ("terminal_observation" in row) == dones[i]
            if dones[i]:
                ended += 1
                last = info["final_obs"][i].astype(np.float32)
                assert np.array_equal(row["terminal_observation"], last)
    assert ended == 6
    # A reset without a seed begins the next episodes of the same seeds.
    assert np.array_equal(theirs.reset(), ours.reset()[0].astype(np.float32))


def test_their_own_checker_passes_and_their_wrapping_gives_the_same_rows(spec):
    check_env(SCMEnv(spec))
    ours, theirs = SCMVecEnv(spec, 2), DummyVecEnv([lambda: SCMEnv(spec)] * 2)
    rng = np.random.default_rng(1)
    for env in (ours, theirs):
        env.seed(4)
    np.testing.assert_array_equal(ours.reset(), theirs.reset().astype(np.float32))
    for _ in range(2 * spec.horizon):
        action = rng.integers(0, [3, 3], size=(2, 2))
        for mine, other in zip(ours.step(action)[:3], theirs.step(action)[:3], strict=True):
            np.testing.assert_array_equal(mine, other.astype(mine.dtype))


def test_float32_spaces_and_a_reset_that_forgets_its_seed(spec):
    env = SCMVecEnv(spec, 2)
    assert env.observation_space == box(5)
    assert env.action_space == spec.action_space()
    assert env.seed(3) == [3, 4]
    first = env.reset()
    assert not np.array_equal(env.reset(), first)
    env.seed(3)
    assert np.array_equal(env.reset(), first)
    assert not env.reset_infos[0]["do_target"].any()


def test_flat_actions_are_all_the_actions(spec):
    table = spec.interventions.all_actions()
    flat, native = SCMVecEnv(spec, len(table), actions="flat"), SCMVecEnv(spec, len(table))
    assert flat.action_space == spaces.Discrete(7)
    for env in (flat, native):
        env.seed(0)
        env.reset()
    for a, b in zip(flat.step(np.arange(7))[:3], native.step(table)[:3], strict=True):
        assert np.array_equal(a, b)
    target = flat.last_step.do_target
    assert target.any(axis=1).tolist() == [False] + [True] * 6


def test_continuous_actions_take_the_highest_score_and_the_nearest_value(spec):
    env = SCMVecEnv(spec, 6, actions="continuous")
    assert env.action_space == spaces.Box(-1.0, 1.0, (4,), dtype=np.float32)
    env.reset()
    # Scores of nothing, x and w; 0.15 of the way on [-0.5, 0.5] and so on.
    wanted = [
        ([0.2, 0.1, -1.0, 1.0], (0, 0)),
        ([0.1, 0.2, -1.0, 1.0], (1, 2)),
        ([0.1, 0.2, -1.0, -1.0], (1, 0)),
        ([-1.0, -0.5, 0.0, 0.5], (2, 1)),  # 0.25: nearer to 0.1 than to 0.5
        ([-1.0, -0.5, 0.0, 0.7], (2, 2)),  # 0.35
        ([0.5, 0.5, 0.5, 0.0], (0, 0)),  # the first of equals
    ]
    env.step(np.array([row for row, _ in wanted], dtype=np.float32))
    assert env.last_step.action.tolist() == [list(pair) for _, pair in wanted]


def test_continuous_actions_know_each_targets_own_values():
    scm = DynamicSCM(
        [
            Variable("a", noise=Gaussian(1.0)),
            Variable("b", noise=Gaussian(1.0)),
            Variable("reward", lambda a, b: a + b, parents=["a", "b"], kind="reward"),
        ]
    )
    spec = SCMEnvSpec("two", scm, Interventions(["a", "b"], {"a": (0.0, 1.0), "b": (9.0, 5.0)}))
    env = SCMVecEnv(spec, 2, actions="continuous")
    env.reset()
    env.step(np.array([[-1, 1, 0, 0.9], [-1, 0, 1, 0.9]], dtype=np.float32))
    assert env.last_step.next_state[0, 0] == 1.0
    assert env.last_step.next_state[1, 1] == 9.0


def test_attributes_and_methods_by_row(spec):
    env = SCMVecEnv(spec, 3)
    env.seed(0)
    env.reset()
    assert env.get_attr("causal_graph", 1) == [spec.causal_graph]
    assert env.get_attr("action_space", [0, 2]) == [spec.action_space()] * 2
    values = env.get_attr("values")
    assert [v.shape for v in values] == [(6,)] * 3
    assert not np.array_equal(values[0], values[1])
    assert not env.has_attr("nothing")
    natural = env.env_method("natural_action", indices=[2])
    assert np.array_equal(natural[0], env.env.natural_action()[2])
    env.step(np.zeros((3, 2), dtype=np.int64))
    assert len(env.env_method("trajectory", indices=[0, 1])) == 2
    shifted = spec.replace(name="other")
    env.env_method("set_world", shifted)
    assert env.get_attr("scm_spec") == [shifted] * 3
    env.set_attr("note", 5)
    assert env.get_attr("note") == [5] * 3
    assert env.env_is_wrapped(gymnasium.Wrapper) == [False] * 3
    with pytest.raises(ValueError, match="indices must be None for method 'set_world'"):
        env.env_method("set_world", spec, indices=[0])
    with pytest.raises(ValueError, match="indices must be None for attribute 'note'"):
        env.set_attr("note", 6, indices=1)
    with pytest.raises(ValueError, match=r"indices must lie in 0\.\.2, got 3"):
        env.get_attr("values", 3)
    with pytest.raises(ValueError, match="'step' is not for single rows"):
        env.env_method("step", None)


def test_renders_every_row(spec):
    env = SCMVecEnv(spec, 2, render_mode="rgb_array")
    env.reset()
    images = env.get_images()
    assert len(images) == 2
    assert env.render().ndim == 3
    assert SCMVecEnv(spec, 2).get_images() == [None, None]


def test_a_wrapped_vector_environment(spec):
    env = SCMVecEnv(NaturalActionVectorObservation(SCMVectorEnv(spec, 4)), actions="flat")
    assert env.observation_space.shape == (7,)
    assert env.env_is_wrapped(NaturalActionVectorObservation) == [True] * 4
    assert env.get_attr("causal_graph", 0) == [spec.causal_graph]
    env.reset()
    for _ in range(spec.horizon):
        _, _, dones, infos = env.step(np.zeros(4, dtype=np.int64))
    assert dones.all()
    assert infos[0]["terminal_observation"].shape == (7,)


def test_any_vector_environment_of_gymnasium_terminated_and_truncated():
    made = gymnasium.make_vec(
        "CartPole-v1",
        num_envs=2,
        vectorization_mode="sync",
        vector_kwargs={"autoreset_mode": AutoresetMode.SAME_STEP},
        max_episode_steps=12,
    )
    env = SCMVecEnv(made)
    env.seed(0)
    env.reset()
    seen = set()
    for step in range(60):
        # One pole is pushed over, the other kept up for twelve steps.
        _, _, dones, infos = env.step(np.array([0, step % 2]))
        for i in np.flatnonzero(dones):
            assert "do_target" not in infos[i]
            assert infos[i]["terminal_observation"].shape == (4,)
            seen.add((int(i), infos[i]["TimeLimit.truncated"]))
    assert seen == {(0, False), (1, True)}


def test_their_evaluation_of_a_policy_is_ours(spec):
    from causal_rl.agents.sb3 import sb3_controller

    model = sb3.PPO(ECAMPolicy, SCMVecEnv(spec, 2, actions="flat"), policy_kwargs=SMALL, seed=0)
    torch.nn.init.normal_(model.policy.action_net.weight)  # another action in every state
    env = VecMonitor(SCMVecEnv(spec, 6, actions="flat"))
    env.seed(9)
    theirs, lengths = evaluate_policy(model, env, n_eval_episodes=6, return_episode_rewards=True)
    ours = evaluate(spec, sb3_controller(model, spec, "flat"), episodes=6, seed=9)
    assert lengths == [spec.horizon] * 6
    assert np.allclose(sorted(theirs), sorted(ours), rtol=1e-5)
    assert np.unique(ours).size == 6


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_envs": 0}, "num_envs must be an integer of at least 1, got 0"),
        ({"actions": "joint"}, "actions must be one of native, flat, continuous, got 'joint'"),
        ({"render_mode": "human"}, "render_mode"),
    ],
)
def test_bad_environments_are_named(spec, arguments, message):
    with pytest.raises(ValueError, match=message):
        SCMVecEnv(spec, **arguments)


def test_bad_worlds_and_actions_are_named(spec):
    with pytest.raises(TypeError, match=r"world must be a name, an SCMEnvSpec .* got int"):
        SCMVecEnv(5)
    with pytest.raises(ValueError, match="no-such-world"):
        SCMVecEnv("no-such-world")
    with pytest.raises(ValueError, match="autoreset_mode must be SAME_STEP"):
        SCMVecEnv(SCMVectorEnv(spec, 2, autoreset_mode="NEXT_STEP"))
    with pytest.raises(ValueError, match="num_envs must be None or the 2"):
        SCMVecEnv(SCMVectorEnv(spec, 2), 3)
    with pytest.raises(ValueError, match="render_mode must be None or that of"):
        SCMVecEnv(SCMVectorEnv(spec, 2), render_mode="rgb_array")
    cartpole = gymnasium.make_vec(
        "CartPole-v1",
        num_envs=2,
        vectorization_mode="sync",
        vector_kwargs={"autoreset_mode": AutoresetMode.SAME_STEP},
    )
    with pytest.raises(ValueError, match="actions must be 'native'"):
        SCMVecEnv(cartpole, actions="flat")
    env = SCMVecEnv(spec, 2, actions="flat")
    with pytest.raises(RuntimeError, match="call reset"):
        env.step(np.zeros(2, dtype=np.int64))
    env.reset()
    for actions, message in (
        (np.zeros((2, 2), dtype=np.int64), r"integers of shape \(batch,\)"),
        (np.zeros(2), "integers of shape"),
        (np.array([0, 7]), r"actions\[1\] is 7; allowed are 0\.\.6"),
        (np.array([-1, 0]), r"actions\[0\] is -1"),
        (np.array([0]), "actions must have shape"),
    ):
        with pytest.raises(ValueError, match=message):
            env.step(actions)
    env = SCMVecEnv(spec, 2, actions="continuous")
    env.reset()
    for actions, message in (
        (np.zeros((2, 3)), r"numbers of shape \(batch, 4\)"),
        (np.full((2, 4), np.nan), "allowed is"),
        (np.array([[0, 0, 0, 0], [0, 2, 0, 0]]), r"actions\[1\] is \[0, 2, 0, 0\]"),
    ):
        with pytest.raises(ValueError, match=message):
            env.step(actions)
