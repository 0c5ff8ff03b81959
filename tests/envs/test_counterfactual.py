"""What an episode would have been: every way to say what is done instead, exact and by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from causal_rl.envs import Interventions, SCMEnv, SCMEnvSpec, SCMVectorEnv, counterfactual
from causal_rl.scm import Categorical, DynamicSCM, Gaussian, Linear, OneHot, Trajectory, Variable

HORIZON = 6
NAMES = ("y", "x", "u", "k", "goal", "w")
COSTS = {"x": 0.25, "k": 0.5}


def world() -> SCMEnvSpec:
    """u -> x -> y <- k, y remembers; w beside; u hidden; the reward reads y and the goal."""
    scm = DynamicSCM(
        [
            Variable(
                "y",
                OneHot(Linear([0.5, 1.0, -1.0, 0.6]), [None, 2, None]),
                Gaussian(0.5),
                ("x", "k"),
                ("y",),
            ),
            Variable("x", Linear([1.0]), Gaussian(0.3), ("u",)),
            Variable("u", kind="hidden"),
            Variable("k", Categorical([Linear([1.0]), Linear([0.0])]), lagged_parents=("x",)),
            Variable("goal", kind="context"),
            Variable("w", Linear([0.9]), lagged_parents=("w",)),
            Variable("reward", Linear([1.0, -1.0]), parents=("y", "goal"), kind="reward"),
        ]
    )
    values = {"x": [-1.0, 2.0], "k": [0.0, 1.0], "w": [0.0, 5.0]}
    return SCMEnvSpec("w6", scm, Interventions(["x", "k", "w"], values, COSTS), HORIZON)


SPEC = world()


def column(name: str) -> int:
    return NAMES.index(name)


def episode(seed: int = 0, steps: int = HORIZON) -> tuple[SCMEnv, Trajectory]:
    env, rng = SCMEnv(SPEC), np.random.default_rng(seed)
    env.reset(seed=seed)
    for action in rng.integers(0, SPEC.action_space().nvec, size=(steps, 2)):
        env.step(action)
    return env, env.trajectory()


def moved(one: Trajectory, two: Trajectory) -> dict[str, int]:
    """For each variable that differs, the first time at which it does."""
    different = (one.values != two.values).any(axis=1)
    return {
        name: int(np.argmax(different[:, j]))
        for j, name in enumerate(NAMES)
        if different[:, j].any()
    }


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, HORIZON))
def test_the_fact_is_its_own_counterfactual(seed: int, steps: int) -> None:
    env, fact = episode(seed, steps)
    nothing_else: list[Any] = [fact.do, {}, {k: done(fact, k) for k in range(steps)}]
    for do in nothing_else:
        again = env.counterfactual(fact, do)
        for field in ("values", "noise", "do_mask", "do_value", "reward"):
            np.testing.assert_array_equal(getattr(again, field), getattr(fact, field))


def done(trajectory: Trajectory, step: int) -> dict[str, float]:
    mask, value = trajectory.do_mask[step, 0], trajectory.do_value[step, 0]
    return {NAMES[j]: float(value[j]) for j in np.flatnonzero(mask)}


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_none_is_the_episode_in_which_nothing_is_done(seed: int) -> None:
    env, fact = episode(seed)
    other = env.counterfactual(fact, None)
    env.reset(seed=seed)
    for _ in range(HORIZON):
        env.see()
    quiet = env.trajectory()
    np.testing.assert_array_equal(other.values, quiet.values)
    np.testing.assert_array_equal(other.reward, quiet.reward)
    np.testing.assert_array_equal(other.noise, fact.noise)
    assert not other.do_mask.any()
    by_step = env.counterfactual(fact, {step: {} for step in range(HORIZON)})
    np.testing.assert_array_equal(by_step.values, other.values)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(0, HORIZON - 1))
def test_a_step_by_number_is_the_episode_in_which_it_was_done(seed: int, step: int) -> None:
    env, fact = episode(seed)
    other = env.counterfactual(fact, {step: {"x": 2.0}})
    rng = np.random.default_rng(seed)
    actions = rng.integers(0, SPEC.action_space().nvec, size=(HORIZON, 2))
    actions[step] = SPEC.interventions.action("x", 2.0)
    env.reset(seed=seed)
    rewards = [env.step(action)[1] for action in actions]
    np.testing.assert_array_equal(other.values, env.trajectory().values)
    np.testing.assert_array_equal(other.reward[:, 0], rewards)


def test_a_value_by_name_is_set_at_every_step_and_the_rest_of_what_was_done_stays() -> None:
    env, fact = episode(3)
    other = env.counterfactual(fact, {"w": 7.5})
    assert (other.values[1:, 0, column("w")] == 7.5).all()
    assert other.values[0, 0, column("w")] == fact.values[0, 0, column("w")]
    assert set(moved(fact, other)) == {"w"}
    assert other.do_mask[:, 0, column("w")].all()
    rest = [j for j in range(len(NAMES)) if j != column("w")]
    np.testing.assert_array_equal(other.do_mask[..., rest], fact.do_mask[..., rest])
    np.testing.assert_array_equal(other.do_value[..., rest], fact.do_value[..., rest])
    np.testing.assert_array_equal(other.reward, fact.reward)  # w costs nothing and causes nothing


def test_hidden_variables_may_be_asked_about_and_reach_their_descendants() -> None:
    env, fact = episode(1)
    free = env.counterfactual(fact, None)
    other = env.counterfactual(free, {2: {"u": 9.0}})
    first = moved(free, other)
    assert first.pop("k", 4) == 4  # a category need not move; if it does, a step later
    assert first == {"u": 3, "x": 3, "y": 3}
    assert other.values[3, 0, column("u")] == 9.0
    expected = 9.0 + other.noise[3, 0, column("x")]
    assert other.values[3, 0, column("x")] == pytest.approx(expected)


def test_arrays_say_exactly_what_is_done() -> None:
    env, fact = episode(2)
    mask, value = np.zeros(fact.do_mask.shape, dtype=bool), np.zeros(fact.do_value.shape)
    mask[3, 0, column("x")], value[3, 0, column("x")] = True, -4.0
    mask[3, 0, column("k")], value[3, 0, column("k")] = True, 1.0
    value[4] = 99.0  # not read where nothing is set
    other = env.counterfactual(fact, (mask, value))
    quiet = env.counterfactual(fact, None)
    assert other.values[4, 0, [column("x"), column("k")]].tolist() == [-4.0, 1.0]
    np.testing.assert_array_equal(other.values[:4], quiet.values[:4])
    before, noise = other.values[3, 0, column("y")], other.noise[4, 0, column("y")]
    y = 0.5 * -4.0 + -1.0 + 0.6 * before + noise  # the indicator of category 1 has weight -1
    assert other.values[4, 0, column("y")] == pytest.approx(y)
    both = env.counterfactual(fact, {s: {} for s in range(HORIZON)} | {3: {"x": -4.0, "k": 1.0}})
    np.testing.assert_array_equal(both.values, other.values)
    np.testing.assert_array_equal(both.reward, other.reward)


def test_what_is_set_is_paid_for() -> None:
    env, fact = episode(4)
    goal = fact.values[1:, 0, column("goal")]
    for do, cost in (
        (None, 0.0),
        ({s: {"w": 1.0} for s in range(HORIZON)}, 0.0),
        ({s: {"x": 1.0} for s in range(HORIZON)}, 0.25),
        ({s: {"x": 1.0, "k": 0.0} for s in range(HORIZON)}, 0.75),
        ({s: {"y": 1.0} for s in range(HORIZON)}, 0.0),  # not on offer, hence without a price
    ):
        other = env.counterfactual(fact, do)
        expected = other.values[1:, 0, column("y")] - goal - cost
        np.testing.assert_allclose(other.reward[:, 0], expected, rtol=1e-12, atol=1e-12)


def test_a_category_that_is_not_reached_stays() -> None:
    env, fact = episode(5)
    free = env.counterfactual(fact, None)
    other = env.counterfactual(free, {"w": 3.0, "y": 0.0})
    np.testing.assert_array_equal(other.values[..., column("k")], free.values[..., column("k")])
    by_step = env.counterfactual(free, {"w": 3.0, 2: {"y": 0.0, "w": 3.0}})
    assert moved(free, by_step)["y"] == 3


def test_rows_of_a_vector_environment_are_their_scalar_twins() -> None:
    envs = SCMVectorEnv(SPEC, 3)
    envs.reset(seed=10)
    rng = np.random.default_rng(0)
    plan = rng.integers(0, SPEC.action_space().nvec, size=(HORIZON - 1, 3, 2))
    for actions in plan:
        envs.step(actions)
    for row in range(3):
        env = SCMEnv(SPEC)
        env.reset(seed=10 + row)
        for actions in plan:
            env.step(actions[row])
        for do in (None, {"x": 1.0}, {2: {"k": 1.0}}):
            own = envs.counterfactual(envs.trajectory(row), do)
            alone = env.counterfactual(env.trajectory(), do)
            np.testing.assert_array_equal(own.values, alone.values)
            np.testing.assert_array_equal(own.reward, alone.reward)


def test_a_batch_of_simulated_episodes() -> None:
    run = SPEC.scm.simulate(4, 0, batch=5, do={"x": 1.0})
    other = counterfactual(SPEC, run, {"k": 1.0})
    assert (other.values[1:, :, column("k")] == 1.0).all()
    assert (other.values[1:, :, column("x")] == 1.0).all()
    expected = other.values[1:, :, column("y")] - other.values[1:, :, column("goal")] - 0.75
    np.testing.assert_allclose(other.reward, expected, rtol=1e-12, atol=1e-12)
    alone = replace(
        run,
        **{
            f: getattr(run, f)[:, 2:3] for f in ("values", "noise", "do_mask", "do_value", "reward")
        },
    )
    np.testing.assert_array_equal(
        counterfactual(SPEC, alone, {"k": 1.0}).values, other.values[:, 2:3]
    )


def test_the_fact_is_not_changed() -> None:
    env, fact = episode(6)
    kept = {
        f: getattr(fact, f).copy() for f in ("values", "noise", "do_mask", "do_value", "reward")
    }
    for do in ({"x": 3.0}, {1: {"k": 0.0}}, None, fact.do):
        env.counterfactual(fact, do)
    for field, value in kept.items():
        np.testing.assert_array_equal(getattr(fact, field), value)
    now = env.get_state()
    env.counterfactual(fact, {"x": 3.0})
    for key, value in env.get_state().items():
        np.testing.assert_array_equal(value, now[key])


ARRAYS = (np.zeros((2, 1, 6), dtype=bool), np.zeros((2, 1, 6)))


@pytest.mark.parametrize(
    ("do", "error", "message"),
    [
        ({"z": 1.0}, ValueError, "do names 'z'; the variables of world 'w6' are y, x, u, k, goal"),
        ({"reward": 1.0}, ValueError, "do names 'reward'; the variables of world 'w6' are"),
        ({"goal": 1.0}, ValueError, "do names the context 'goal', which is held"),
        ({0: {"goal": 1.0}}, ValueError, "do names the context 'goal'"),
        ({"x": float("nan")}, ValueError, "do of 'x' must be a finite number, got nan"),
        ({"x": "high"}, ValueError, "do of 'x' must be a finite number, got 'high'"),
        ({"x": True}, ValueError, "do of 'x' must be a finite number, got True"),
        ({1: {"x": None}}, ValueError, "do of 'x' must be a finite number, got None"),
        ({6: {"x": 1.0}}, ValueError, r"do names step 6; the episode has steps 0\.\.5"),
        ({-1: {"x": 1.0}}, ValueError, "do names step -1; the episode has steps"),
        ({0: 1.0}, TypeError, r"do at step 0 must be \{name: value\}, got 1.0"),
        ({0.5: {"x": 1.0}}, TypeError, "keyed by names or by steps, got the key 0.5"),
        ({True: {"x": 1.0}}, TypeError, "keyed by names or by steps, got the key True"),
        ("x", TypeError, "do must be .* or None, got 'x'"),
        ([("x", 1.0)], TypeError, "do must be .* or None, got"),
        (ARRAYS, ValueError, r"do_mask must be boolean of shape \(6, 1, 6\), got dtype bool"),
        ((ARRAYS[1], ARRAYS[1]), ValueError, "do_mask must be boolean .* got dtype float64"),
    ],
)
def test_bad_arguments_are_named(do: Any, error: type[Exception], message: str) -> None:
    env, fact = episode(0)
    with pytest.raises(error, match=message) as caught:
        env.counterfactual(fact, do)
    assert "\n" not in str(caught.value)


def test_a_context_in_arrays_is_refused_too() -> None:
    env, fact = episode(0)
    mask = np.zeros(fact.do_mask.shape, dtype=bool)
    mask[0, 0, column("goal")] = True
    with pytest.raises(ValueError, match="the context 'goal' must not be set inside an episode"):
        env.counterfactual(fact, (mask, fact.do_value))


def test_a_trajectory_is_needed() -> None:
    env = SCMEnv(SPEC)
    with pytest.raises(TypeError, match="trajectory must be a Trajectory, got ndarray"):
        env.counterfactual(np.zeros(3), None)
    with pytest.raises(ValueError, match="there is no trajectory yet: call reset and step first"):
        env.trajectory()
    env.reset(seed=0)
    with pytest.raises(ValueError, match="there is no trajectory yet"):
        env.trajectory()
    env.see()
    state = env.get_state()
    fresh = SCMEnv(SPEC)
    fresh.set_state(state)
    fresh.see()
    with pytest.raises(ValueError, match="this episode began before set_state"):
        fresh.trajectory()
