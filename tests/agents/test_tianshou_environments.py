"""Worlds as vector environments of Tianshou: the same episodes, rows in any order, bad calls."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from gymnasium.vector import AutoresetMode
from tianshou_world import N_TARGETS, N_VALUES, SPEC, TINY

pytest.importorskip("tianshou", reason="tianshou is not installed; extra: tianshou")

from tianshou.data import Collector
from tianshou.env import DummyVectorEnv

from causal_rl.agents import tianshou as tianshou_bridge
from causal_rl.agents.tianshou import TianshouVectorEnv, make_ppo
from causal_rl.envs import SCMEnv, SCMVectorEnv, resolve_spec, vector_step
from causal_rl.errors import MissingExtraError


def _actions(rng: np.random.Generator, rows: int) -> np.ndarray:
    return rng.integers(0, N_TARGETS * N_VALUES, size=rows)


def _pairs(flat: np.ndarray) -> np.ndarray:
    return np.stack(np.divmod(flat, N_VALUES), axis=1)


@pytest.mark.slow  # a second interpreter imports torch
def test_agents_do_not_import_tianshou():
    code = "import causal_rl.agents, sys; sys.exit('tianshou' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_missing_package_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "tianshou", None)
    with pytest.raises(MissingExtraError, match=r"causal_rl\[tianshou\]"):
        tianshou_bridge.TianshouVectorEnv  # noqa: B018


def test_every_public_name_is_there():
    assert all(getattr(tianshou_bridge, name) is not None for name in tianshou_bridge.__all__)
    with pytest.raises(AttributeError, match="no_such_name"):
        tianshou_bridge.no_such_name  # noqa: B018


def test_trajectories_equal_those_of_the_vector_env():
    ours, theirs = SCMVectorEnv(SPEC, num_envs=3), TianshouVectorEnv(SPEC, 3)
    rng = np.random.default_rng(0)
    expected, _ = ours.reset(seed=5)
    theirs.seed(5)
    shown, _ = theirs.reset()
    for _ in range(2 * SPEC.horizon + 3):
        np.testing.assert_array_equal(shown, expected)
        action = _actions(rng, 3)
        before = expected
        expected, *rest = ours.step(_pairs(action))
        made = vector_step(before, _pairs(action), (expected, *rest))
        shown, reward, terminated, truncated, info = theirs.step(action)
        np.testing.assert_array_equal(shown, made.next_state)  # the last one, not the next first
        np.testing.assert_array_equal(reward, made.reward)
        np.testing.assert_array_equal(truncated, made.truncated)
        assert not terminated.any()
        for row in range(3):
            np.testing.assert_array_equal(info[row]["do_target"], made.do_target[row])
            np.testing.assert_array_equal(info[row]["do_value"], made.do_value[row])
            assert info[row]["env_id"] == row
        if truncated.any():
            shown = shown.copy()
            shown[truncated], _ = theirs.reset(np.flatnonzero(truncated))


@pytest.mark.parametrize("seed", range(3))
def test_any_steps_and_resets_equal_tianshous_own_env(seed):
    """Rows in any order and number, reset in mid-episode or not, seeded or not."""
    rng = np.random.default_rng(seed)
    spec = resolve_spec("confounded-mdp") if seed == 2 else SPEC
    sizes = spec.action_space().nvec
    ours = TianshouVectorEnv(spec, 4, actions="native")
    theirs = DummyVectorEnv([lambda: SCMEnv(spec)] * 4)
    for row in range(4):
        shown = [ours.reset([row], seed=[10 * row])[0], theirs.reset([row], seed=10 * row)[0]]
        np.testing.assert_array_equal(*shown)
    for _ in range(60):
        ids = rng.permutation(4)[: rng.integers(1, 5)]
        if rng.random() < 0.15:
            keys = {} if rng.random() < 0.5 else {"seed": int(rng.integers(100))}
            if keys:  # Tianshou gives every row the same seed
                ids = ids[:1]
                shown = ours.reset(ids, seed=[keys["seed"]])[0], theirs.reset(ids, **keys)[0]
            else:
                shown = ours.reset(ids)[0], theirs.reset(ids)[0]
            np.testing.assert_array_equal(*shown)
            continue
        action = rng.integers(0, sizes, size=(len(ids), 2))
        mine, other = ours.step(action, ids), theirs.step(action, ids)
        for a, b in zip(mine[:4], other[:4], strict=True):
            np.testing.assert_array_equal(a, b)
        for a, b in zip(mine[4], other[4], strict=True):
            assert a.keys() == b.keys()
            assert all(np.array_equal(a[key], b[key]) for key in a)
        done = ids[mine[3]]
        if done.size:
            np.testing.assert_array_equal(ours.reset(done)[0], theirs.reset(done)[0])


def test_collecting_episodes_steps_fewer_and_fewer_rows():
    collector = Collector(make_ppo(SPEC, TINY), TianshouVectorEnv(SPEC, 3))
    collector.reset()
    stats = collector.collect(n_episode=4)
    assert stats.n_collected_episodes == 4
    np.testing.assert_array_equal(stats.lens, SPEC.horizon)


def test_state_goes_on_with_the_episodes():
    env = TianshouVectorEnv(SPEC, 2)
    env.seed(3)
    env.reset()
    for _ in range(4):
        env.step(np.array([5, 7]))
    state = env.get_state()
    expected = env.step(np.array([8, 2]))[0]
    other = TianshouVectorEnv(SPEC, 2)
    other.set_state(state)
    other.reset()
    np.testing.assert_array_equal(other.step(np.array([8, 2]))[0], expected)
    assert [s.sample() for s in env.action_space] == [s.sample() for s in other.action_space]


def test_env_attributes():
    env = TianshouVectorEnv("chain-scm", 2)
    assert len(env) == 2
    assert len(set(map(id, env.action_space))) == 2  # each row draws for itself
    assert env.get_env_attr("causal_graph", 1) == [env.env.causal_graph]
    env.seed([4, 4])
    observation, _ = env.reset()
    np.testing.assert_array_equal(observation[0], observation[1])
    np.testing.assert_array_equal(env.get_env_attr("values")[0], observation[0])
    assert env.action_space[0].sample() == env.action_space[1].sample()
    assert env.render() == [None, None]
    env.set_env_attr("note", 1)
    assert env.env.note == 1
    with pytest.raises(ValueError, match="share one environment"):
        env.set_env_attr("note", 2, 0)
    env.close()
    assert env.is_closed


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: TianshouVectorEnv(SPEC, 0), "num_envs"),
        (lambda: TianshouVectorEnv(SPEC, 2, actions="other"), "actions must be"),
        (lambda: TianshouVectorEnv("no-such-world"), "no-such-world"),
        (lambda: TianshouVectorEnv(SCMVectorEnv(SPEC, num_envs=2), 3), "num_envs must be None or"),
        (
            lambda: TianshouVectorEnv(
                SCMVectorEnv(SPEC, num_envs=2, autoreset_mode=AutoresetMode.NEXT_STEP)
            ),
            "SAME_STEP",
        ),
    ],
)
def test_bad_environments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_world_of_another_type_is_refused():
    with pytest.raises(TypeError, match="world must be"):
        TianshouVectorEnv(3)


def test_bad_calls_are_named():
    env = TianshouVectorEnv(SPEC, 2)
    with pytest.raises(ValueError, match="id 0 has no episode"):
        env.step(np.zeros(2, dtype=int))
    env.reset()
    limit = N_TARGETS * N_VALUES
    for action, message in (
        (np.zeros(3, dtype=int), "shape"),
        (np.zeros(2), "integers"),
        (np.array([0, limit]), str(limit - 1)),
        (np.array([-1, 0]), "got -1"),
    ):
        with pytest.raises(ValueError, match=message):
            env.step(action)
    for ids in ([0, 0], [2], [-1], []):
        with pytest.raises(ValueError, match="id must"):
            env.reset(ids)
    with pytest.raises(ValueError, match="one seed for each"):
        env.reset([0], seed=[1, 2])
    with pytest.raises(TypeError, match="speed"):
        env.reset(speed=3)
    for _ in range(SPEC.horizon):
        env.step(np.zeros(2, dtype=int))
    with pytest.raises(ValueError, match="reset it before"):
        env.step(np.zeros(2, dtype=int))
