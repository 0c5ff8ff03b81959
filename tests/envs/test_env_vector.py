"""Scalar and vector environments: one trajectory, Gymnasium's autoreset, exact resume."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import data_equivalence
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from hypothesis import given, settings
from hypothesis import strategies as st

from causal_rl.envs import Interventions, SCMEnv, SCMEnvSpec, SCMVectorEnv
from causal_rl.scm import (
    MLP,
    DynamicSCM,
    Gaussian,
    Laplace,
    Linear,
    NoNoise,
    Tanh,
    Uniform,
    Variable,
)

MODES = (AutoresetMode.SAME_STEP, AutoresetMode.NEXT_STEP)


def random_spec(seed: int, n: int, hidden: bool, horizon: int) -> SCMEnvSpec:
    """A world with random edges in both blocks, mechanisms, noises, a context and a reward."""
    rng = np.random.default_rng(seed)
    noises = (Gaussian(0.5), Uniform(-1.0, 1.0), Laplace(0.3), NoNoise())
    names = [f"v{i}" for i in range(n)]
    variables = []
    for i, name in enumerate(names):
        parents = [p for p in (*names[:i], "goal") if rng.random() < 0.5]
        lagged = [p for p in names if rng.random() < 0.4]
        k = len(parents) + len(lagged)
        weights = 0.5 * rng.standard_normal(k)
        makers: tuple[Callable[[], Any], ...] = (
            lambda w=weights: Linear(w),
            lambda w=weights: Tanh(w, scale=1.5),
            lambda k=k: MLP.random(k, rng, hidden=3),
            lambda: lambda *columns: np.sin(sum(columns)),
        )
        variables.append(
            Variable(
                name,
                makers[rng.integers(4)]() if k else None,
                noises[rng.integers(4)],
                parents=tuple(parents),
                lagged_parents=tuple(lagged),
                kind="hidden" if hidden and i == 0 else "state",
            )
        )
    order = rng.permutation(n)
    shuffled = [variables[i] for i in order]
    goal = Variable("goal", noise=Uniform(-1.0, 1.0), kind="context")
    reward = Variable(
        "reward",
        lambda a, b, c: -np.abs(a - b) + 0.1 * c,
        parents=(names[-1], "goal"),
        lagged_parents=(names[-1],),
        kind="reward",
    )
    settable = [v.name for v in shuffled if v.kind == "state"]
    return SCMEnvSpec(
        name="random",
        scm=DynamicSCM([*shuffled, goal, reward]),
        interventions=Interventions(settable, [-2.0, 0.5, 2.0], cost={settable[0]: 0.3}),
        horizon=horizon,
    )


specs = st.builds(
    random_spec,
    seed=st.integers(0, 2**31),
    n=st.integers(2, 6),
    hidden=st.booleans(),
    horizon=st.integers(1, 7),
)


@pytest.fixture
def spec() -> SCMEnvSpec:
    return random_spec(seed=3, n=4, hidden=True, horizon=5)


def actions(envs: Any, steps: int, seed: int = 0) -> np.ndarray:
    nvec = envs.single_action_space.nvec
    return np.random.default_rng(seed).integers(0, nvec, (steps, envs.num_envs, 2))


def run(envs: Any, plan: np.ndarray) -> list[tuple]:
    return [copy.deepcopy(envs.step(a)) for a in plan]


@settings(max_examples=40, deadline=None)
@given(spec=specs, seed=st.integers(0, 2**40), num_envs=st.integers(1, 5))
def test_each_row_is_the_scalar_env_bit_for_bit(spec: SCMEnvSpec, seed: int, num_envs: int) -> None:
    envs = SCMVectorEnv(spec, num_envs)
    plan = actions(envs, 3 * spec.horizon + 1)
    first, _ = envs.reset(seed=seed)
    batch = run(envs, plan)
    for i in range(num_envs):
        env = SCMEnv(spec)
        obs, _ = env.reset(seed=seed + i)
        np.testing.assert_array_equal(first[i], obs)
        for t, (vobs, vrewards, vterminated, vtruncated, vinfo) in enumerate(batch):
            obs, reward, terminated, truncated, info = env.step(plan[t, i])
            assert vrewards[i] == reward
            assert (vterminated[i], vtruncated[i]) == (terminated, truncated)
            done = vinfo["final_info"] if truncated else vinfo
            np.testing.assert_array_equal(done["do_target"][i], info["do_target"])
            np.testing.assert_array_equal(done["do_value"][i], info["do_value"])
            if truncated:
                np.testing.assert_array_equal(vinfo["final_obs"][i], obs)
                obs, _ = env.reset()
            np.testing.assert_array_equal(vobs[i], obs)


def test_a_row_does_not_depend_on_the_size_of_the_batch(spec: SCMEnvSpec) -> None:
    large, small = SCMVectorEnv(spec, 700), SCMVectorEnv(spec, 3)
    plan = actions(large, 12)
    np.testing.assert_array_equal(large.reset(seed=9)[0][:3], small.reset(seed=9)[0])
    for a, b in zip(run(large, plan), run(small, plan[:, :3]), strict=True):
        for x, y in zip(a[:4], b[:4], strict=True):
            np.testing.assert_array_equal(x[:3], y)


@pytest.mark.parametrize("mode", MODES)
@settings(max_examples=15, deadline=None)
@given(spec=specs)
def test_autoreset_is_gymnasiums(mode: AutoresetMode, spec: SCMEnvSpec) -> None:
    own = SCMVectorEnv(spec, 3, autoreset_mode=mode)
    peer = SyncVectorEnv([lambda: SCMEnv(spec)] * 3, autoreset_mode=mode)
    assert own.metadata["autoreset_mode"] is mode
    assert own.observation_space == peer.observation_space
    assert own.action_space == peer.action_space
    assert data_equivalence(list(own.reset(seed=11)), list(peer.reset(seed=11)), exact=True)
    for a in actions(own, 3 * spec.horizon + 2):
        assert data_equivalence(list(own.step(a)), list(peer.step(a)), exact=True)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("stop", [0, 4, 5, 6, 13])
def test_a_resumed_run_continues_bit_for_bit(
    spec: SCMEnvSpec, mode: AutoresetMode, stop: int, tmp_path: Any
) -> None:
    envs = SCMVectorEnv(spec, 3, autoreset_mode=mode)
    plan = actions(envs, 20)
    envs.reset(seed=5)
    run(envs, plan[:stop])
    np.savez(tmp_path / "state.npz", **envs.get_state())
    rest = run(envs, plan[stop:])
    resumed = SCMVectorEnv(spec, 3, autoreset_mode=mode)
    with np.load(tmp_path / "state.npz") as state:
        resumed.set_state(dict(state))
    for a, b in zip(run(resumed, plan[stop:]), rest, strict=True):
        assert data_equivalence(list(a), list(b), exact=True)


def test_rows_out_of_step_stay_the_scalar_trajectories(spec: SCMEnvSpec) -> None:
    envs = SCMVectorEnv(spec, 2)
    envs.reset(seed=1)
    plan = actions(envs, 12)
    run(envs, plan[:2])
    state = envs.get_state()
    ahead = SCMVectorEnv(spec, 2)
    ahead.reset(seed=1)
    run(ahead, plan[:3])
    # Row 0 after two steps beside row 1 after three: they reset in different steps.
    mixed = {k: np.stack([state[k][0], v[1]]) for k, v in ahead.get_state().items()}
    envs.set_state(mixed)
    own = run(envs, plan[3:])
    for row, start in ((0, 2), (1, 3)):
        env = SCMEnv(spec)
        env.reset(seed=1 + row)
        for a in plan[:start, row]:
            env.step(a)
        for t, result in enumerate(own):
            obs, reward, _, truncated, _ = env.step(plan[3 + t, row])
            assert result[1][row] == reward
            if truncated:
                np.testing.assert_array_equal(result[4]["final_obs"][row], obs)
                obs, _ = env.reset()
            np.testing.assert_array_equal(result[0][row], obs)


def test_state_is_a_copy_and_is_checked(spec: SCMEnvSpec) -> None:
    envs = SCMVectorEnv(spec, 2)
    envs.reset(seed=0)
    state = envs.get_state()
    kept = {k: v.copy() for k, v in state.items()}
    run(envs, actions(envs, 3))
    for key, value in kept.items():
        np.testing.assert_array_equal(state[key], value)
    with pytest.raises(ValueError, match="state lacks 'values'"):
        envs.set_state({k: v for k, v in state.items() if k != "values"})
    with pytest.raises(ValueError, match=r"state\['seed'\] must have shape \(2,\)"):
        envs.set_state(state | {"seed": np.zeros(3, dtype=np.uint64)})
    with pytest.raises(ValueError, match=r"state\['pending'\]"):
        envs.set_state({k: v for k, v in state.items() if k != "pending"})


def test_lists_of_seeds(spec: SCMEnvSpec) -> None:
    envs, other = SCMVectorEnv(spec, 3), SCMVectorEnv(spec, 3)
    np.testing.assert_array_equal(envs.reset(seed=[4, 5, 6])[0], other.reset(seed=4)[0])
    second = envs.reset(seed=[4, None, 6])[0]
    np.testing.assert_array_equal(second[[0, 2]], other.reset(seed=4)[0][[0, 2]])
    env = SCMEnv(spec)
    env.reset(seed=5)
    np.testing.assert_array_equal(second[1], env.reset()[0])  # None: the next episode


def test_reset_without_any_seed_draws_one_for_each_row(spec: SCMEnvSpec) -> None:
    envs = SCMVectorEnv(spec, 3)
    obs, _ = envs.reset()
    assert len(np.unique(obs[:, -1])) == 3
    assert len(np.unique(envs.get_state()["seed"])) == 3
    other = SCMVectorEnv(spec, 3)
    assert not np.array_equal(other.reset()[0], obs)


def test_episodes_differ_and_continue(spec: SCMEnvSpec) -> None:
    envs = SCMVectorEnv(spec, 2)
    first = envs.reset(seed=2)[0]
    second = envs.reset()[0]
    assert not np.array_equal(first, second)
    envs.reset(seed=2)
    np.testing.assert_array_equal(envs.reset()[0], second)


def test_returned_arrays_are_the_callers(spec: SCMEnvSpec) -> None:
    envs, other = SCMVectorEnv(spec, 2), SCMVectorEnv(spec, 2)
    plan = actions(envs, 11)
    other.reset(seed=0)
    for array in (envs.reset(seed=0)[0],):
        array[:] = 99.0
    for a in plan:
        own, peer = envs.step(a), other.step(a)
        assert data_equivalence(list(own), list(peer), exact=True)
        own[0][:] = own[1][:] = 99.0
        own[3][:] = True
        own[4]["do_target"][:] = True
        own[4]["do_value"][:] = 99.0


def test_pickle_and_deepcopy() -> None:
    envs = gymnasium.make_vec("causal_rl/chain-scm-v0", num_envs=2)
    envs.reset(seed=0)
    plan = actions(envs, 40)
    run(envs, plan[:3])
    copies = [pickle.loads(pickle.dumps(envs.unwrapped)), copy.deepcopy(envs.unwrapped)]
    rest = run(envs, plan[3:])
    for other in copies:
        for a, b in zip(run(other, plan[3:]), rest, strict=True):
            assert data_equivalence(list(a), list(b), exact=True)


def test_gymnasiums_vector_wrappers() -> None:
    envs = gymnasium.make_vec("causal_rl/chain-scm-v0", num_envs=2, horizon=4)
    envs = gymnasium.wrappers.vector.RecordEpisodeStatistics(envs)
    envs.reset(seed=0)
    total = np.zeros(2)
    for a in actions(envs, 4):
        _, rewards, _, truncated, info = envs.step(a)
        total += rewards
    assert truncated.all()
    np.testing.assert_allclose(info["episode"]["r"], total)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"num_envs": 0}, "num_envs must be an integer of at least 1, got 0"),
        ({"num_envs": 2.0}, "num_envs"),
        ({"autoreset_mode": "Disabled"}, "autoreset_mode must be SAME_STEP or NEXT_STEP"),
        ({"render_mode": "human"}, "render_mode must be None"),
    ],
)
def test_bad_arguments(spec: SCMEnvSpec, kwargs: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SCMVectorEnv(spec, **kwargs)


def test_bad_input_at_reset_and_step(spec: SCMEnvSpec) -> None:
    envs = SCMVectorEnv(spec, 2)
    with pytest.raises(gymnasium.error.ResetNeeded):
        envs.step(np.zeros((2, 2), dtype=int))
    with pytest.raises(ValueError, match="seed must hold one seed for each of 2 rows, got 3"):
        envs.reset(seed=[1, 2, 3])
    with pytest.raises(ValueError, match=r"seed must lie in \[0, 2\*\*64\), got -1"):
        envs.reset(seed=-1)
    with pytest.raises(ValueError, match="seed must be an integer"):
        envs.reset(seed="a")
    envs.reset(seed=0)
    with pytest.raises(ValueError, match=r"actions must have shape \(2, 2\), got \(3, 2\)"):
        envs.step(np.zeros((3, 2), dtype=int))
    with pytest.raises(ValueError, match=r"actions\[1\] is \[9, 0\]"):
        envs.step([[0, 0], [9, 0]])


def test_a_mechanism_that_breaks_down_is_named() -> None:
    scm = DynamicSCM(
        [
            Variable("a", noise=NoNoise()),
            Variable("b", lambda a: np.where(a > 1, np.nan, a), NoNoise(), parents=("a",)),
            Variable("c", Linear([1.0]), NoNoise(), parents=("b",)),
            Variable("reward", Linear([1.0]), parents=("c",), kind="reward"),
        ]
    )
    spec = SCMEnvSpec("broken", scm, Interventions(["a"], [0.0, 2.0]))
    for envs, step in ((SCMVectorEnv(spec, 2), [[0, 0], [1, 1]]), (SCMEnv(spec), [1, 1])):
        envs.reset(seed=0)
        with pytest.raises(ValueError, match="'b'"):
            envs.step(np.array(step))
