from __future__ import annotations

import copy
import pickle
import warnings

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from causal_rl.envs import Interventions, SCMEnv, SCMEnvSpec, list_envs, resolve_spec
from causal_rl.scm import DynamicSCM, Linear, NoNoise, Variable


@pytest.fixture
def counter() -> SCMEnv:
    """x counts up by one; y = 2 x within the step; the reward is y minus what x was."""
    scm = DynamicSCM(
        [
            Variable("y", Linear([2.0]), NoNoise(), parents=("x",)),
            Variable("h", noise=NoNoise(), kind="hidden"),
            Variable("x", Linear([1.0], 1.0), NoNoise(), lagged_parents=("x",)),
            Variable(
                "reward", Linear([1.0, -1.0]), parents=("y",), lagged_parents=("x",), kind="reward"
            ),
        ]
    )
    return SCMEnv(SCMEnvSpec("counter", scm, Interventions(["x"], [10.0], cost=0.5), horizon=3))


def test_a_world_that_can_be_counted_by_hand(counter: SCMEnv) -> None:
    obs, info = counter.reset(seed=0)
    np.testing.assert_array_equal(obs, [2.0, 1.0])
    assert not info["do_target"].any()
    obs, reward, terminated, truncated, info = counter.step(np.array([0, 0]))
    np.testing.assert_array_equal(obs, [4.0, 2.0])
    assert (reward, terminated, truncated) == (4.0 - 1.0, False, False)
    obs, reward, _, truncated, info = counter.step(np.array([1, 0]))
    np.testing.assert_array_equal(obs, [20.0, 10.0])
    assert (reward, truncated) == (20.0 - 2.0 - 0.5, False)
    np.testing.assert_array_equal(info["do_target"], [False, True])
    np.testing.assert_array_equal(info["do_value"], [0.0, 10.0])
    obs, reward, _, truncated, info = counter.step(np.array([0, 0]))
    np.testing.assert_array_equal(obs, [22.0, 11.0])
    assert (reward, truncated) == (22.0 - 10.0, True)
    assert set(info) == {"do_target", "do_value"}


@pytest.mark.filterwarnings("ignore:.*A Box observation space:UserWarning")
@pytest.mark.parametrize("name", list(list_envs()))
def test_gymnasium_and_sb3_accept_every_world(name: str) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        check_env(gymnasium.make(f"causal_rl/{name}-v0").unwrapped)
    messages = {str(w.message) for w in caught}
    assert all("infinity" in m for m in messages), messages
    sb3 = pytest.importorskip("stable_baselines3.common.env_checker")
    sb3.check_env(gymnasium.make(f"causal_rl/{name}-v0").unwrapped, warn=True)


def test_wrappers_and_names_of_gymnasium() -> None:
    env = gymnasium.make("causal_rl/chain-scm-v0", n=4, horizon=6)
    assert env.spec is not None
    assert env.spec.id == "causal_rl/chain-scm-v0"
    env = gymnasium.wrappers.RecordEpisodeStatistics(env)
    env.reset(seed=0)
    total = 0.0
    for _ in range(6):
        _, reward, _, truncated, info = env.step(env.action_space.sample())
        total += reward
    assert truncated
    assert info["episode"]["l"] == 6
    assert info["episode"]["r"] == pytest.approx(total)
    again = gymnasium.make(env.spec)
    assert again.unwrapped.scm_spec.horizon == 6


def test_the_unversioned_name_works() -> None:
    with pytest.warns(UserWarning, match="latest versioned"):
        env = gymnasium.make("causal_rl/chain-scm")
    assert isinstance(env.unwrapped, SCMEnv)


def test_seeds_and_episodes() -> None:
    env = SCMEnv(resolve_spec("chain-scm"))
    first, second = env.reset(seed=7)[0], env.reset()[0]
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(env.reset(seed=7)[0], first)
    np.testing.assert_array_equal(env.reset()[0], second)
    assert not np.array_equal(SCMEnv(env.scm_spec).reset()[0], SCMEnv(env.scm_spec).reset()[0])


def test_an_intervention_leaves_the_noise_of_others_alone() -> None:
    spec = resolve_spec("chain-scm")
    graph = spec.causal_graph
    env, other = SCMEnv(spec), SCMEnv(spec)
    for target, name in enumerate(spec.interventions.settable, start=1):
        env.reset(seed=1)
        other.reset(seed=1)
        plain = env.step(np.array([0, 0]))[0]
        done = other.step(np.array([target, 0]))[0]
        untouched = [v for v in spec.observed_names if v not in graph.descendants(name)]
        columns = [spec.observed_names.index(v) for v in untouched]
        np.testing.assert_array_equal(plain[columns], done[columns])
        assert done[spec.observed_names.index(name)] == spec.interventions.values[0]


def test_state_round_trip() -> None:
    env = SCMEnv(resolve_spec("chain-scm"))
    env.reset(seed=3)
    for _ in range(5):
        env.step(np.array([1, 2]))
    other = SCMEnv(env.scm_spec)
    other.set_state(env.get_state())
    for _ in range(40):
        a, b = env.step(np.array([2, 4])), other.step(np.array([2, 4]))
        np.testing.assert_array_equal(a[0], b[0])
        assert a[1:4] == b[1:4]


def test_pickle_and_deepcopy() -> None:
    for name in list_envs():
        env = gymnasium.make(f"causal_rl/{name}-v0").unwrapped
        env.reset(seed=0)
        env.step(np.array([1, 0]))
        expected = copy.deepcopy(env).step(np.array([1, 1]))[0]
        np.testing.assert_array_equal(
            pickle.loads(pickle.dumps(env)).step(np.array([1, 1]))[0], expected
        )


@pytest.mark.parametrize("action", [[0], [9, 0], [0, 7], [-1, 0], [0.0, 1.0], 3, None])
def test_bad_actions(action: object) -> None:
    env = SCMEnv(resolve_spec("chain-scm"))
    env.reset(seed=0)
    with pytest.raises(ValueError, match=r"action must be two integers, target 0\.\.7"):
        env.step(action)


def test_bad_use() -> None:
    spec = resolve_spec("chain-scm")
    with pytest.raises(gymnasium.error.ResetNeeded):
        SCMEnv(spec).step(np.array([0, 0]))
    with pytest.raises(TypeError, match="scm_spec must be an SCMEnvSpec, got str"):
        SCMEnv("chain-scm")
    with pytest.raises(ValueError, match="render_mode must be None"):
        SCMEnv(spec, render_mode="human")
    with pytest.raises(ValueError, match="seed must be an integer"):
        SCMEnv(spec).reset(seed=1.5)
    with pytest.raises(ValueError, match="seed must lie in"):
        SCMEnv(spec).reset(seed=2**64)
