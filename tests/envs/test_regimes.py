from __future__ import annotations

import copy
import pickle
from functools import partial

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from hypothesis import given, settings
from hypothesis import strategies as st

from causal_rl.envs import SCMEnv, SCMEnvSpec, SCMVectorEnv, randomise, resolve_spec
from causal_rl.envs.regimes import RegimeSchedule, RegimeSwitch, RegimeSwitchVector
from causal_rl.scm import Gaussian

HORIZON = 4


def another_goal(spec: SCMEnvSpec) -> SCMEnvSpec:
    """A shift that shows in the first observation and lasts for the episode."""
    return randomise(spec, ("goal",), Gaussian(3.0))


def world() -> SCMEnvSpec:
    spec = resolve_spec("proxy-chain-scm", n=3, distractors=2, horizon=HORIZON)
    return spec.replace(shifts={**spec.shifts, "goal": another_goal})


def actions(steps: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, world().action_space().nvec, (steps, 2))


def scalar_run(schedule: RegimeSchedule, seed: int, steps: int) -> list[tuple[object, ...]]:
    """(kind, observation, reward, regime) of resets and transitions."""
    env = RegimeSwitch(SCMEnv(world()), schedule, reveal=True)
    observation, info = env.reset(seed=seed)
    rows: list[tuple[object, ...]] = [("reset", observation.tolist(), 0.0, info["regime"])]
    for action in actions(steps):
        observation, reward, _, truncated, info = env.step(action)
        rows.append(("step", observation.tolist(), reward, info["regime"]))
        if truncated:
            observation, info = env.reset()
            rows.append(("reset", observation.tolist(), 0.0, info["regime"]))
    return rows


def vector_run(
    schedule: RegimeSchedule, seed: int, steps: int, mode: str, row: int
) -> list[tuple[object, ...]]:
    envs = RegimeSwitchVector(SCMVectorEnv(world(), 3, autoreset_mode=mode), schedule, reveal=True)
    observation, info = envs.reset(seed=seed - row)
    rows: list[tuple[object, ...]] = [
        ("reset", observation[row].tolist(), 0.0, info["regime"][row])
    ]
    for action in actions(steps):
        observation, reward, _, truncated, info = envs.step(np.tile(action, (3, 1)))
        last, final = observation, info
        if truncated.any() and mode == "SAME_STEP":
            last, final = info["final_obs"], info["final_info"]
        rows.append(("step", list(last[row]), float(reward[row]), final["regime"][row]))
        if truncated.any():
            if mode == "NEXT_STEP":
                observation, reward, _, _, info = envs.step(np.tile(action, (3, 1)))
                assert not reward.any()
            assert not info["do_target"].any()
            rows.append(("reset", observation[row].tolist(), 0.0, info["regime"][row]))
    return rows


NAMES = st.sampled_from(["train", "flip", "noise", "goal", "mechanism"])


@st.composite
def schedules(draw: st.DrawFn) -> RegimeSchedule:
    times = sorted(draw(st.sets(st.integers(0, 13), min_size=1, max_size=4)))
    unit = draw(st.sampled_from(["steps", "episodes"]))
    return RegimeSchedule(tuple((time, draw(NAMES)) for time in times), unit)


@settings(max_examples=25, deadline=None)
@given(schedule=schedules(), seed=st.integers(2, 1000))
def test_scalar_and_both_autoreset_modes_agree(schedule: RegimeSchedule, seed: int) -> None:
    expected = scalar_run(schedule, seed, 14)
    assert vector_run(schedule, seed, 14, "SAME_STEP", 1) == expected
    assert vector_run(schedule, seed, 14, "NEXT_STEP", 2) == expected


@settings(max_examples=25, deadline=None)
@given(schedule=schedules())
def test_regimes_come_at_the_times_of_the_schedule(schedule: RegimeSchedule) -> None:
    steps = episodes = 0
    for kind, _, _, regime in scalar_run(schedule, 0, 14)[1:]:
        episodes += kind == "reset"
        assert regime == schedule.at(steps if schedule.unit == "steps" else episodes)
        steps += kind == "step"


def test_each_stretch_is_that_of_the_world_of_its_regime() -> None:
    """Distractors flip from the third transition on; nothing else ever differs."""
    spec = world()
    plain, switched = SCMEnv(spec), RegimeSwitch(SCMEnv(spec), RegimeSchedule(((2, "flip"),)))
    flipped = SCMEnv(spec.shifted("flip"))
    for env in (plain, switched, flipped):
        env.reset(seed=5)
    for step, action in enumerate(actions(HORIZON)):
        one, two, three = (env.step(action)[0] for env in (plain, flipped, switched))
        np.testing.assert_array_equal(three, one if step < 2 else two)
        assert not np.array_equal(one, two)


def test_a_seed_starts_the_clock_again() -> None:
    env = RegimeSwitch(SCMEnv(world()), RegimeSchedule(((1, "flip"),), "episodes"))
    first = env.reset(seed=3)[0]
    assert env.regime == "train"
    env.reset()
    assert env.regime == "flip"
    np.testing.assert_array_equal(env.reset(seed=3)[0], first)
    assert env.regime == "train"
    envs = RegimeSwitchVector(SCMVectorEnv(world(), 2), RegimeSchedule(((1, "goal"),), "episodes"))
    envs.reset(seed=3)
    envs.reset(seed=[None, None])
    assert envs.regime == "goal"
    envs.reset(seed=[None, 4])
    assert envs.regime == "train"


def test_the_regime_is_told_only_if_asked() -> None:
    schedule = RegimeSchedule(((1, "flip"),))
    env = RegimeSwitch(SCMEnv(world()), schedule)
    envs = RegimeSwitchVector(SCMVectorEnv(world(), 2), schedule)
    for made in (env, envs):
        assert not any("regime" in key for key in made.reset(seed=0)[1])
    assert not any("regime" in key for key in env.step(actions(1)[0])[4])
    for _ in range(HORIZON):
        info = envs.step(np.zeros((2, 2), dtype=int))[4]
        assert not any("regime" in key for key in info)
    assert "regime" not in info["final_info"]


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda env: pickle.loads(pickle.dumps(env))])
def test_copies_go_on_alike(copied) -> None:
    schedule = RegimeSchedule(((3, "flip"), (6, "goal")))
    env = RegimeSwitch(SCMEnv(world()), schedule)
    envs = RegimeSwitchVector(SCMVectorEnv(world(), 2, autoreset_mode="NEXT_STEP"), schedule)
    for made, shape in ((env, (2,)), (envs, (2, 2))):
        made.reset(seed=1)
        made.step(np.ones(shape, dtype=int))
        twin = copied(made)
        for _ in range(HORIZON + 4):
            one, two = made.step(np.ones(shape, dtype=int)), twin.step(np.ones(shape, dtype=int))
            np.testing.assert_array_equal(one[0], two[0])
            assert made.regime == twin.regime
        assert made.regime == "goal"


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_gymnasium_accepts_it_wrapped_and_remade() -> None:
    schedule = RegimeSchedule(((2, "noise"), (5, "train")))
    check_env(RegimeSwitch(SCMEnv(world()), schedule), skip_render_check=True)
    made = RegimeSwitch(gymnasium.make("causal_rl/chain-scm-v0", n=3, horizon=4), schedule)
    check_env(made, skip_render_check=True)
    assert made.spec is not None
    again = gymnasium.make(made.spec)
    for env in (made, again):
        env.reset(seed=0)
        for _ in range(3):
            observation = env.step(np.zeros(2, dtype=int))[0]
    np.testing.assert_array_equal(observation, _third(made))


def _third(env: gymnasium.Env) -> np.ndarray:
    env.reset(seed=0)
    return [env.step(np.zeros(2, dtype=int))[0] for _ in range(3)][-1]


def test_a_refused_action_does_not_move_the_clock() -> None:
    schedule = RegimeSchedule(((1, "flip"),), "episodes")
    envs = RegimeSwitchVector(SCMVectorEnv(world(), 2, autoreset_mode="NEXT_STEP"), schedule)
    twin = copy.deepcopy(envs)
    for made in (envs, twin):
        made.reset(seed=0)
        for _ in range(HORIZON):
            made.step(np.zeros((2, 2), dtype=int))
    with pytest.raises(ValueError, match="allowed are target"):
        envs.step(np.full((2, 2), 99))
    for _ in range(2 * HORIZON):
        one, two = (made.step(np.ones((2, 2), dtype=int))[0] for made in (envs, twin))
        np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (partial(RegimeSchedule, ()), ValueError, "one switch or more"),
        (partial(RegimeSchedule, ((-1, "a"),)), ValueError, "from 0 on, got -1"),
        (partial(RegimeSchedule, ((True, "a"),)), ValueError, "integers"),
        (partial(RegimeSchedule, ((3, "a"), (3, "b"))), ValueError, "must rise, got 3 and then 3"),
        (partial(RegimeSchedule, ((3, ""),)), TypeError, "names"),
        (partial(RegimeSchedule, ("ab",)), TypeError, "pairs"),
        (partial(RegimeSchedule, ((3, "a"),), "hours"), ValueError, "'steps' or 'episodes'"),
        (
            lambda: RegimeSwitch(SCMEnv(world()), RegimeSchedule(((1, "flop"),))),
            ValueError,
            "shift 'flop' is unknown",
        ),
        (lambda: RegimeSwitch(SCMEnv(world()), ((1, "flip"),)), TypeError, "RegimeSchedule"),
        (
            lambda: RegimeSwitch(gymnasium.make("CartPole-v1"), RegimeSchedule(((1, "a"),))),
            TypeError,
            "SCMEnv",
        ),
        (
            lambda: RegimeSwitchVector(SCMEnv(world()), RegimeSchedule(((1, "a"),))),
            TypeError,
            "SCMVectorEnv",
        ),
    ],
)
def test_bad_input(make, error, words) -> None:
    with pytest.raises(error, match=words):
        make()


def test_rows_out_of_step_are_refused() -> None:
    envs = RegimeSwitchVector(SCMVectorEnv(world(), 2), RegimeSchedule(((1, "flip"),)))
    envs.reset(seed=0)
    state = envs.unwrapped.get_state()
    state["step"] = np.array([0, HORIZON - 1])
    envs.unwrapped.set_state(state)
    with pytest.raises(ValueError, match="end together"):
        envs.step(np.zeros((2, 2), dtype=int))
