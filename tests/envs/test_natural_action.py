"""Wrappers that append the natural action: the counterfactual regime for any library."""

from __future__ import annotations

import pickle
import warnings

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode

from causal_rl.envs import SCMEnv, SCMEnvSpec, SCMVectorEnv
from causal_rl.envs.natural_action import (
    NaturalActionObservation,
    NaturalActionVectorObservation,
    longer_box,
)
from causal_rl.envs.worlds.confounding import (
    BanditOptions,
    ConfoundedMDPOptions,
    RegimeOptions,
    bandit_uc,
    confounded_mdp,
    treatment_regime,
)
from causal_rl.envs.worlds.deconfounding import (
    InstrumentOptions,
    WhereOptions,
    instrument,
    where_to_intervene,
)
from causal_rl.envs.worlds.identification import exact_values

SPECS = [
    bandit_uc(BanditOptions(horizon=5)),
    confounded_mdp(ConfoundedMDPOptions(horizon=5)),
    treatment_regime(RegimeOptions(horizon=3)),
    instrument(InstrumentOptions(horizon=5)),
    where_to_intervene(WhereOptions(horizon=5)),
]
EACH = pytest.mark.parametrize("spec", SPECS, ids=[s.name for s in SPECS])


@EACH
def test_the_end_of_the_observation_is_what_happens_if_nothing_is_set(spec: SCMEnvSpec) -> None:
    plain, env = SCMEnv(spec), NaturalActionObservation(SCMEnv(spec))
    n, levers = (
        len(spec.observed),
        [spec.observed_names.index(v) for v in spec.interventions.settable],
    )
    obs, _ = env.reset(seed=4)
    np.testing.assert_array_equal(obs[:n], plain.reset(seed=4)[0])
    for _ in range(spec.horizon):
        shown = obs[n:]
        obs, reward, _, truncated, info = env.step(np.zeros(2, dtype=np.int64))
        np.testing.assert_array_equal(obs[levers], shown)
        same = plain.see()
        np.testing.assert_array_equal(obs[:n], same[0])
        assert (reward, truncated, set(info)) == (same[1], same[3], set(same[4]))


@pytest.mark.filterwarnings("ignore:.*")
@EACH
def test_gymnasium_and_sb3_accept_it(spec: SCMEnvSpec) -> None:
    env = NaturalActionObservation(SCMEnv(spec))
    assert isinstance(env.observation_space, spaces.Box)
    assert env.observation_space.shape == (len(spec.observed) + len(spec.interventions.settable),)
    check_env(env, skip_render_check=True)
    pytest.importorskip("stable_baselines3.common.env_checker").check_env(env)


def test_it_seeds_pickles_and_is_made_again_from_its_spec() -> None:
    env = NaturalActionObservation(gymnasium.make("causal_rl/chain-scm-v0", n=4))
    assert env.spec is not None
    copies = [env, env.spec.make(), pickle.loads(pickle.dumps(env))]
    runs = []
    for copy in copies:
        rows = [copy.reset(seed=9)[0]]
        rows += [copy.step(np.array([1, k]))[0] for k in range(4)]
        rows += [copy.reset()[0]]
        runs.append(np.array(rows))
    np.testing.assert_array_equal(runs[0], runs[1])
    np.testing.assert_array_equal(runs[0], runs[2])
    assert runs[0].shape == (6, 5 + 3)


@pytest.mark.parametrize("mode", ["SameStep", "NextStep"])
@EACH
def test_rows_of_the_vector_wrapper_are_the_scalar_wrapper(spec: SCMEnvSpec, mode: str) -> None:
    envs = NaturalActionVectorObservation(SCMVectorEnv(spec, 3, autoreset_mode=mode))
    scalars = [NaturalActionObservation(SCMEnv(spec)) for _ in range(3)]
    assert envs.single_observation_space == scalars[0].observation_space
    assert envs.observation_space.shape == (3, *scalars[0].observation_space.shape)
    envs.action_space.seed(0)
    obs, _ = envs.reset(seed=20)
    assert obs.shape == envs.observation_space.shape
    one = [env.reset(seed=20 + i)[0] for i, env in enumerate(scalars)]
    ended = np.zeros(3, dtype=bool)
    finals = 0
    for _ in range(2 * spec.horizon + 2):
        np.testing.assert_array_equal(obs, one)
        actions = envs.action_space.sample()
        obs, _, _, truncated, info = envs.step(actions)
        for i, env in enumerate(scalars):
            if ended[i]:  # the reset row of the next-step mode
                one[i], _ = env.reset()
                continue
            one[i], _, _, done, _ = env.step(actions[i])
            assert done == truncated[i]
            if done and mode == "SameStep":
                np.testing.assert_array_equal(info["final_obs"][i], one[i])
                one[i], _ = env.reset()
                finals += 1
        ended = truncated & (envs.metadata["autoreset_mode"] is AutoresetMode.NEXT_STEP)
    assert finals == (0 if mode == "NextStep" else 3 * ((2 * spec.horizon + 2) // spec.horizon))


def test_an_agent_that_learns_from_it_reaches_the_counterfactual_value() -> None:
    """Epsilon-free: means of all arms for each natural action, then the best arm for each."""
    spec, rows = bandit_uc(BanditOptions(horizon=1)), 8000
    envs = NaturalActionVectorObservation(SCMVectorEnv(spec, rows, autoreset_mode="NextStep"))
    rng = np.random.default_rng(0)
    obs, _ = envs.reset(seed=0)
    intent, arm = obs[:, -1].astype(int), rng.integers(0, 2, rows)
    _, reward, *_ = envs.step(np.column_stack([np.ones(rows, dtype=np.int64), arm]))
    means = [[reward[(intent == n) & (arm == a)].mean() for a in (0, 1)] for n in (0, 1)]
    best = np.argmax(means, axis=1)
    obs, _ = envs.reset(seed=rows)
    arm = best[obs[:, -1].astype(int)]
    _, reward, *_ = envs.step(np.column_stack([np.ones(rows, dtype=np.int64), arm]))
    exact = exact_values(spec)
    assert reward.mean() == pytest.approx(exact.counterfactual, abs=4 * 0.5 / np.sqrt(rows))
    assert reward.mean() > exact.policy + 0.1


def test_other_environments_are_refused() -> None:
    with pytest.raises(TypeError, match="env must be an SCMEnv, perhaps wrapped"):
        NaturalActionObservation(gymnasium.make("CartPole-v1"))
    with pytest.raises(TypeError, match="env must be an SCMEnv, perhaps wrapped"):
        NaturalActionObservation("bandit-uc")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="env must be an SCMVectorEnv"):
        NaturalActionVectorObservation(SCMEnv(SPECS[0]))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="env must have a flat Box"):
        longer_box(spaces.Discrete(3), 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        stacked = gymnasium.wrappers.FrameStackObservation(SCMEnv(SPECS[0]), 2)
    with pytest.raises(ValueError, match="env must have a flat Box"):
        NaturalActionObservation(stacked)
