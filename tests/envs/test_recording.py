"""Recorded transitions: rows right in every autoreset mode, streams that do not move."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from numpy.typing import NDArray

from causal_rl.discovery import Transitions
from causal_rl.envs import SCMEnv, SCMEnvSpec, SCMVectorEnv, resolve_spec
from causal_rl.envs.recording import VectorStep, record, vector_step, vector_transitions

MODES = (AutoresetMode.SAME_STEP, AutoresetMode.NEXT_STEP)
ARRAYS = ("state", "action", "reward", "next_state", "terminated", "truncated", "do_target")


@pytest.fixture(scope="module")
def spec() -> SCMEnvSpec:
    return resolve_spec("er-scm", n=5, horizon=5)


def threshold_policy(observation: NDArray[np.float64]) -> NDArray[np.int64]:
    """A function of the observation alone: which targets and values depends on signs."""
    signs = (observation > 0).astype(np.int64)
    return np.stack([signs[:, 0] + signs[:, 1], signs[:, 1:4].sum(axis=1)], axis=1)


class EndsEarly(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Terminates once the first variable exceeds a bound, so that episodes differ in length."""

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        observation, reward, _, truncated, info = self.env.step(action)
        return observation, reward, bool(observation[0] > 0.9), truncated, info


def table(data: Transitions) -> NDArray[np.float64]:
    """Every array of the transitions side by side, a row each."""
    columns = [np.asarray(getattr(data, name), dtype=float) for name in (*ARRAYS, "do_value")]
    return np.hstack([column.reshape(len(data), -1) for column in columns])


def in_order(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """The same rows sorted: equal for equal multisets."""
    return rows[np.lexsort(rows.T)]


def assert_equal(a: Transitions, b: Transitions) -> None:
    assert (a.names, a.kinds) == (b.names, b.kinds)
    np.testing.assert_array_equal(table(a), table(b))


def scalar_rows(env: Any, seed: int, steps: int) -> Transitions:
    """The reference: one environment, one step at a time, reset by hand."""
    rows: dict[str, list[Any]] = {name: [] for name in (*ARRAYS, "do_value")}
    observation, _ = env.reset(seed=seed)
    for _ in range(steps):
        action = threshold_policy(observation[None])[0]
        after, reward, terminated, truncated, info = env.step(action)
        values = (observation, action, reward, after, terminated, truncated, info["do_target"])
        for name, value in zip(rows, (*values, info["do_value"]), strict=True):
            rows[name].append(value)
        observation = env.reset()[0] if terminated or truncated else after
    return Transitions(**{name: np.array(value) for name, value in rows.items()})


def run_vector(env: Any, mode: AutoresetMode, steps: int, seed: int) -> list[VectorStep]:
    observation, _ = env.reset(seed=seed)
    began = np.zeros(env.num_envs, dtype=bool)
    recorded = []
    for _ in range(steps):
        action = threshold_policy(observation)
        outcome = env.step(action)
        reset = began if mode is AutoresetMode.NEXT_STEP else None
        recorded.append(vector_step(observation, action, outcome, autoreset_mode=mode, reset=reset))
        observation, began = outcome[0].copy(), outcome[2] | outcome[3]
    return recorded


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("wrap", [lambda env: env, EndsEarly], ids=["truncated", "terminated"])
def test_rows_equal_those_of_scalar_environments(
    spec: SCMEnvSpec, mode: AutoresetMode, wrap: Callable[[Any], Any]
) -> None:
    # Different horizons: the environments are reset in different steps.
    specs = [spec.replace(horizon=horizon) for horizon in (1, 3, 4, 7)]
    env = SyncVectorEnv([lambda s=s: wrap(SCMEnv(s)) for s in specs], autoreset_mode=mode)
    steps = run_vector(env, mode, steps=30, seed=50)
    found = vector_transitions(steps, names=spec.observed_names, kinds=spec.observed_kinds)
    resets = np.sum([step.reset for step in steps], axis=0)
    ends = np.sum([step.terminated | step.truncated for step in steps[:-1]], axis=0)
    expected_resets = ends if mode is AutoresetMode.NEXT_STEP else 0 * ends
    np.testing.assert_array_equal(resets, expected_resets)
    assert sum(len(step) for step in steps) == len(found)
    expected = [scalar_rows(wrap(SCMEnv(s)), 50 + i, 30 - resets[i]) for i, s in enumerate(specs)]
    np.testing.assert_array_equal(
        in_order(table(found)), in_order(np.vstack([table(rows) for rows in expected]))
    )
    assert found.truncated is not None
    assert found.terminated is not None
    assert found.truncated.any()
    assert found.terminated.any() == (wrap is EndsEarly)


@pytest.mark.parametrize("mode", MODES)
def test_terminal_rows_keep_the_last_state_of_an_environment_without_a_log(
    mode: AutoresetMode,
) -> None:
    env = gymnasium.make_vec(
        "CartPole-v1", 6, vectorization_mode="sync", vector_kwargs={"autoreset_mode": mode}
    )
    rng = np.random.default_rng(0)
    observation, _ = env.reset(seed=1)
    began = np.zeros(6, dtype=bool)
    steps = []
    for _ in range(120):
        action = rng.integers(0, 2, size=6)
        outcome = env.step(action)
        reset = began if mode is AutoresetMode.NEXT_STEP else None
        steps.append(vector_step(observation, action, outcome, autoreset_mode=mode, reset=reset))
        observation, began = outcome[0].copy(), outcome[2] | outcome[3]
    data = vector_transitions(steps)
    assert data.terminated is not None
    assert data.terminated.sum() > 5
    # CartPole ends where the cart or the pole leaves these bounds, and begins within 0.05.
    outside = (np.abs(data.next_state[:, 0]) > 2.4) | (np.abs(data.next_state[:, 2]) > 0.2094)
    np.testing.assert_array_equal(outside, data.terminated)
    assert not data.do_target.any()
    # Euler steps of 0.02 s: a row that joins two episodes would break this line.
    np.testing.assert_allclose(
        data.next_state[:, 0], data.state[:, 0] + 0.02 * data.state[:, 1], atol=1e-6
    )


@pytest.mark.parametrize("policy", ["observe", threshold_policy])
def test_both_modes_record_the_same_transitions(spec: SCMEnvSpec, policy: Any) -> None:
    whole = 3 * spec.horizon * 6
    same, following = (
        record(spec, whole, policy=policy, seed=2, num_envs=6, autoreset_mode=mode)
        for mode in MODES
    )
    np.testing.assert_array_equal(in_order(table(same)), in_order(table(following)))
    assert same.truncated is not None
    assert same.truncated.sum() == whole / spec.horizon
    goal = same.names.index("goal")
    np.testing.assert_array_equal(same.state[:, goal], same.next_state[:, goal])
    assert len(np.unique(same.state[:, goal])) == whole / spec.horizon


def test_a_recording_is_that_of_scalar_environments(spec: SCMEnvSpec) -> None:
    found = record(spec, 4 * 12, policy=threshold_policy, seed=7, num_envs=4)
    parts = [scalar_rows(SCMEnv(spec), 7_300_000 + i, 12) for i in range(4)]
    expected = np.stack([table(part) for part in parts], axis=1).reshape(48, -1)
    np.testing.assert_array_equal(table(found), expected)
    assert found.names == spec.observed_names
    assert found.kinds == spec.observed_kinds


@pytest.mark.parametrize("mode", MODES)
def test_random_stream_stays_where_it_is(spec: SCMEnvSpec, mode: AutoresetMode) -> None:
    """Published results stand on these numbers, so the stream is written out here once more."""
    env = SCMVectorEnv(spec, 20, autoreset_mode=mode)
    rng = np.random.default_rng([3, 11])
    env.reset(seed=3_300_000)
    actions = []
    previous = np.zeros(20, dtype=bool)
    for _ in range(14):
        action = rng.integers(0, spec.action_space().nvec, size=(20, 2))
        *_, truncated, _ = env.step(action)
        actions.append(action[~previous] if mode is AutoresetMode.NEXT_STEP else action)
        previous = truncated
    expected = np.concatenate(actions)
    found = record(spec, len(expected), seed=3, num_envs=20, autoreset_mode=mode)
    np.testing.assert_array_equal(found.action, expected)


@pytest.mark.parametrize("mode", MODES)
def test_seeds(spec: SCMEnvSpec, mode: AutoresetMode) -> None:
    first = record(spec, 200, seed=4, p_noop=0.3, autoreset_mode=mode)
    assert_equal(record(spec, 200, seed=4, p_noop=0.3, autoreset_mode=mode), first)
    assert_equal(record(spec, 70, seed=4, p_noop=0.3, autoreset_mode=mode), first[:70])
    other = record(spec, 200, seed=5, p_noop=0.3, autoreset_mode=mode)
    goal = first.names.index("goal")
    assert not np.isin(other.state[:, goal], first.state[:, goal]).any()


def test_what_was_set_is_what_is_seen(spec: SCMEnvSpec) -> None:
    data = record(spec, 400, seed=1)
    np.testing.assert_array_equal(data.do_value[data.do_target], data.next_state[data.do_target])
    assert data.action is not None
    target = data.action[:, 0]
    np.testing.assert_array_equal(data.do_target.any(axis=1), target > 0)
    for k, name in enumerate(spec.interventions.settable, start=1):
        assert data.do_target[target == k, data.names.index(name)].all()
    assert data.do_target.sum(axis=1).max() == 1


def test_observational_share(spec: SCMEnvSpec) -> None:
    def share(**options: Any) -> float:
        data = record(spec, 2000, seed=6, **options)
        return 1.0 - float(data.do_target.any(axis=1).mean())

    assert share(p_noop=0.0) == 0.0
    assert share(p_noop=1.0) == 1.0
    assert share(policy="observe") == 1.0
    assert share(p_noop=0.3) == pytest.approx(0.3, abs=0.05)  # 5 standard errors of 2000 draws
    always = np.array([1, 2])
    fixed = record(
        spec, 2000, seed=6, policy=lambda seen: np.tile(always, (len(seen), 1)), p_noop=0.3
    )
    assert fixed.action is not None
    silent = (fixed.action == 0).all(axis=1)
    assert silent.mean() == pytest.approx(0.3, abs=0.05)
    np.testing.assert_array_equal(fixed.action[~silent], np.tile(always, ((~silent).sum(), 1)))


def test_worlds_by_name_take_options() -> None:
    by_name = record("er-scm", 60, seed=1, options={"n": 5, "horizon": 5})
    assert_equal(by_name, record(resolve_spec("er-scm", n=5, horizon=5), 60, seed=1))
    shifted = record("er-scm", 60, seed=1, options={"n": 5, "horizon": 5, "shift": "noise"})
    assert not np.array_equal(shifted.next_state, by_name.next_state)


def test_rewards_can_be_left_out(spec: SCMEnvSpec) -> None:
    assert record(spec, 10, reward_node=False).reward is None
    assert record(spec, 10).reward is not None


def test_nothing_given_is_changed(spec: SCMEnvSpec) -> None:
    env = SCMVectorEnv(spec.replace(horizon=1), 3)
    before, _ = env.reset(seed=0)
    outcome = env.step(np.array([[1, 0], [2, 1], [0, 0]]))
    copies = [outcome[0].copy(), outcome[4]["do_target"].copy(), outcome[4]["do_value"].copy()]
    step = vector_step(before, np.zeros((3, 2)), outcome)
    assert not np.array_equal(step.next_state, outcome[0])
    for now, then in zip(
        (outcome[0], outcome[4]["do_target"], outcome[4]["do_value"]), copies, strict=True
    ):
        np.testing.assert_array_equal(now, then)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n": 0}, "n must be an integer of at least 1, got 0"),
        ({"n": True}, "n must be"),
        ({"num_envs": 0}, "num_envs must be an integer of at least 1"),
        ({"seed": -1}, "seed must lie in"),
        ({"seed": 2**50}, r"seed must be an integer in \[0, 2\*\*44\)"),
        ({"seed": None}, "seed must be an integer"),
        ({"policy": "greedy"}, "policy must be 'random', 'observe' or callable, got 'greedy'"),
        ({"p_noop": 1.5}, r"p_noop must be None or a number in \[0, 1\], got 1.5"),
        ({"p_noop": float("nan")}, "p_noop must be"),
        ({"p_noop": 0.5, "policy": "observe"}, "p_noop must be None where policy is 'observe'"),
        ({"autoreset_mode": "sometimes"}, "autoreset_mode must be one of NEXT_STEP, SAME_STEP"),
        ({"autoreset_mode": "DISABLED"}, "autoreset_mode must be SAME_STEP or NEXT_STEP"),
        ({"options": {"n": 3}}, "options must be None where world is an SCMEnvSpec, got n"),
        ({"world": "er-smc"}, "unknown env 'er-smc'; did you mean er-scm"),
        ({"policy": lambda seen: [0, 0]}, r"policy must return integers of shape \(32, 2\)"),
        (
            {"policy": lambda seen: np.full((len(seen), 2), 99)},
            r"policy returned an action that is none: actions\[0\] is \[99, 99\]",
        ),
    ],
)
def test_bad_arguments_are_named(spec: SCMEnvSpec, arguments: dict[str, Any], message: str) -> None:
    given = {"world": spec, "n": 5} | arguments
    with pytest.raises(ValueError, match=message) as raised:
        record(given.pop("world"), given.pop("n"), **given)
    assert "\n" not in str(raised.value)


def test_arguments_of_other_types(spec: SCMEnvSpec) -> None:
    with pytest.raises(TypeError, match="world must be a name or an SCMEnvSpec, got int"):
        record(3, 5)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="policy must be 'random', 'observe' or callable, got int"):
        record(spec, 5, policy=3)  # type: ignore[arg-type]


def test_steps_that_do_not_fit(spec: SCMEnvSpec) -> None:
    env = SCMVectorEnv(spec.replace(horizon=1), 2, autoreset_mode="NEXT_STEP")
    before, _ = env.reset(seed=0)
    action = np.zeros((2, 2), dtype=int)
    outcome = env.step(action)
    with pytest.raises(ValueError, match="reset must be given with NEXT_STEP"):
        vector_step(before, action, outcome, autoreset_mode="NextStep")
    with pytest.raises(ValueError, match="reset must be None with SAME_STEP"):
        vector_step(before, action, outcome, reset=[False, False])
    with pytest.raises(ValueError, match=r"reset must have shape \(2,\), got \(3,\)"):
        vector_step(before, action, outcome, autoreset_mode="NEXT_STEP", reset=[False] * 3)
    with pytest.raises(ValueError, match="info lacks 'final_obs'"):
        vector_step(before, action, outcome)
    with pytest.raises(ValueError, match=r"observation must be \(envs, n\)"):
        vector_step(before[0], action, outcome)
    with pytest.raises(ValueError, match="steps is empty"):
        vector_transitions([])
