# ruff: noqa: E402
"""The callback that learns the graph while Stable-Baselines3 trains."""

from __future__ import annotations

import numpy as np
import pytest
from sb3_world import SMALL, tiny_world

sb3 = pytest.importorskip(
    "stable_baselines3", reason="stable-baselines3 is not installed; extra: sb3"
)

from stable_baselines3.common.logger import configure
from stable_baselines3.common.vec_env import DummyVecEnv, VecMonitor, VecNormalize

from causal_rl.agents.sb3 import CausalGraphCallback, ECAMFeaturesExtractor, SCMVecEnv
from causal_rl.envs import SCMEnv, SCMVectorEnv, vector_step, vector_transitions
from causal_rl.graphs import CausalGraph


@pytest.fixture(scope="module")
def spec():
    return tiny_world()


class Replay(VecMonitor):
    """Keeps what was done."""

    def step_async(self, actions):
        self.done = [*getattr(self, "done", []), np.array(actions)]
        super().step_async(actions)


def replayed(spec, actions, seed):
    """What a recording of the same actions gives."""
    env = SCMVectorEnv(spec, num_envs=actions.shape[1])
    observation, _ = env.reset(seed=seed)
    steps = []
    for action in actions:
        outcome = env.step(action)
        steps.append(vector_step(observation, action, outcome))
        observation = outcome[0]
    return vector_transitions(steps, names=spec.observed_names, kinds=spec.observed_kinds)


ROWS = ("state", "next_state", "action", "reward", "terminated", "truncated", "do_target")


@pytest.mark.parametrize("algorithm", [sb3.PPO, sb3.DQN])
def test_its_transitions_are_those_of_a_recording(spec, algorithm):
    form = "native" if algorithm is sb3.PPO else "flat"
    env = Replay(SCMVecEnv(spec, 3, actions=form))
    limits = {"n_steps": 4, "batch_size": 12} if algorithm is sb3.PPO else {"learning_starts": 4}
    options = {"features_extractor_class": ECAMFeaturesExtractor, "net_arch": [8], **SMALL}
    model = algorithm("MlpPolicy", env, policy_kwargs=options, seed=4, **limits)
    callback = CausalGraphCallback(learner="empty", every=5)
    model.learn(36, callback=callback)
    done = np.array(env.done)
    if form == "flat":
        done = spec.interventions.all_actions()[done]
    expected, found = replayed(spec, done, 4), callback.store.all()
    assert len(found) == 36
    assert found.names == expected.names
    assert found.truncated.sum() == 6
    for name in (*ROWS, "do_value"):
        assert np.array_equal(getattr(found, name), getattr(expected, name)), name


@pytest.mark.parametrize("norm_obs", [False, True, None])
def test_transitions_of_other_environments_come_from_their_infos(spec, norm_obs):
    base = Replay(DummyVecEnv([lambda: SCMEnv(spec)] * 2))
    env = base if norm_obs is None else VecNormalize(base, norm_obs=norm_obs, clip_obs=1e6)
    model = sb3.A2C("ECAMPolicy", env, n_steps=4, policy_kwargs=SMALL, seed=3)
    callback = CausalGraphCallback(learner="empty")
    model.learn(32, callback=callback)
    expected, found = replayed(spec, np.array(base.done), 3), callback.store.all()
    for name in (*ROWS, "do_value"):
        assert np.allclose(getattr(found, name), getattr(expected, name), atol=1e-4), name
    assert found.truncated.sum() == 6


def test_it_learns_shows_logs_and_writes_the_graph(spec, tmp_path):
    env = SCMVecEnv(spec.replace(horizon=8), 8, actions="flat")
    model = sb3.PPO("ECAMPolicy", env, n_steps=8, batch_size=64, policy_kwargs=SMALL, seed=0)
    model.set_logger(configure(str(tmp_path / "log"), ["tensorboard"]))
    callback = CausalGraphCallback(
        every=100,
        explore_envs=2,
        warmup_steps=3000,
        oracle=True,
        folder=tmp_path / "run",
    )
    swaps = []
    change = model.policy.features_extractor.set_graph

    def set_graph(graph):
        swaps.append(model.num_timesteps)
        change(graph)

    model.policy.features_extractor.set_graph = set_graph
    model.learn(256, callback=callback)
    assert callback.explored_steps == 3000 + 256 // 8 * 2
    assert len(callback.store) == callback.explored_steps + 256
    assert callback.graph == spec.causal_graph
    assert model.policy.graph == spec.causal_graph
    assert CausalGraph.load(tmp_path / "run" / "graph.json") == spec.causal_graph
    assert (tmp_path / "run" / "graph.png").stat().st_size > 1000
    assert swaps[0] == 0  # the warm-up's graph, before the first rollout
    assert all(step % 64 == 0 for step in swaps)
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    log = events.EventAccumulator(str(tmp_path / "log")).Reload()
    assert log.Scalars("causal/shd_contemporaneous")[-1].value == 0
    assert log.Scalars("causal/variables_read")[-1].value == 4
    assert log.Tags()["images"] == ["causal/graph"]


def test_the_truth_is_not_looked_at_unless_asked(spec):
    model = sb3.A2C("ECAMPolicy", SCMVecEnv(spec, 2), policy_kwargs=SMALL)
    callback = CausalGraphCallback(learner="empty", set_graph=False)
    model.learn(10, callback=callback)
    assert not any("shd" in tag or "f1" in tag for tag in callback.figures)
    assert callback.graph is not None
    assert model.policy.graph is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"every": 0}, "every must be an integer of at least 1, got 0"),
        ({"explore_envs": -1}, "explore_envs"),
        ({"warmup_steps": 2.5}, r"warmup_steps must be an integer of at least 0, got 2\.5"),
        ({"store_size": 0}, "capacity"),
        ({"learner": "oracle"}, "oracle"),
    ],
)
def test_bad_callbacks_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        CausalGraphCallback(**arguments)


def test_environments_that_do_not_fit_are_named(spec):
    cartpole = sb3.A2C("ECAMPolicy", "CartPole-v1", policy_kwargs=SMALL, device="cpu")
    for arguments, message in (
        ({}, "names and kinds must be given"),
        ({"names": "abc"}, "got a, b, c"),
        ({"names": "abcd", "kinds": ["state"]}, "names and kinds"),
        ({"names": "abcd", "oracle": True}, "have no causal_graph"),
        ({"names": "abcd", "warmup_steps": 5}, "must be 0 for environments of no SCM world"),
        ({"names": "abcd"}, r"infos\[0\] must hold 'do_target'"),
    ):
        with pytest.raises(ValueError, match=message):
            cartpole.learn(10, callback=CausalGraphCallback(**arguments))
    plain = sb3.A2C("MlpPolicy", SCMVecEnv(spec, 2), device="cpu")
    with pytest.raises(ValueError, match="policy has no ECAMFeaturesExtractor"):
        plain.learn(10, callback=CausalGraphCallback())
