"""The hook that keeps transitions and learns the graph while Tianshou collects."""

from __future__ import annotations

import numpy as np
import pytest
from tianshou_world import NAMES, SPEC, TINY

pytest.importorskip("tianshou", reason="tianshou is not installed; extra: tianshou")

from tianshou.data import Collector, VectorReplayBuffer
from tianshou.trainer import OffPolicyTrainerParams, OnPolicyTrainerParams

from causal_rl.agents.tianshou import CausalGraphHook, TianshouVectorEnv, make_ppo, make_sac
from causal_rl.envs import SCMVectorEnv, vector_step
from causal_rl.envs.recording import vector_transitions
from causal_rl.graphs import CausalGraph


def test_collected_transitions_equal_recorded_ones():
    env, hook = TianshouVectorEnv(SPEC, 3), CausalGraphHook(None, SPEC, learner="empty")
    collector = Collector(make_ppo(SPEC, TINY), env, VectorReplayBuffer(300, 3), on_step_hook=hook)
    collector.reset(gym_reset_kwargs={"seed": 7})
    collector.collect(n_step=3 * (SPEC.horizon + 4), random=True)
    hook.flush()
    found = hook.store.all()

    reference = SCMVectorEnv(SPEC, num_envs=3)
    observation, _ = reference.reset(seed=7)
    steps = []
    for action in found.action.reshape(-1, 3, 2):
        outcome = reference.step(action)
        steps.append(vector_step(observation, action, outcome))
        observation = outcome[0]
    expected = vector_transitions(steps, names=SPEC.observed_names, kinds=SPEC.observed_kinds)
    assert found.do_target.any()
    for key in ("state", "next_state", "reward", "truncated", "do_target", "do_value"):
        np.testing.assert_array_equal(getattr(found, key), getattr(expected, key))
    # What Tianshou learns from is the same: the last observation of an episode stays in it.
    buffer = collector.buffer
    rows = buffer.sample_indices(0).reshape(3, -1).T.ravel()
    np.testing.assert_array_equal(buffer.obs_next[rows], expected.next_state)
    np.testing.assert_array_equal(buffer.truncated[rows], expected.truncated)
    assert buffer.truncated.sum() == 3


@pytest.mark.parametrize("make", [make_ppo, make_sac])
def test_hook_learns_in_tianshous_own_training(make):
    algorithm = make(SPEC, TINY)
    hook = CausalGraphHook(algorithm, SPEC, every=200)
    buffer = VectorReplayBuffer(2000, 4)
    collector = Collector(algorithm, TianshouVectorEnv(SPEC, 4), buffer, on_step_hook=hook)
    collector.reset()
    collector.collect(n_step=400, random=True)
    if make is make_ppo:
        collector.reset_buffer()
    common = {
        "training_collector": collector,
        "max_epochs": 1,
        "epoch_num_steps": 64,
        "collection_step_num_env_steps": 32,
        "training_fn": hook.training_fn,
        "show_progress": False,
        "verbose": False,
    }
    if make is make_ppo:
        algorithm.run_training(OnPolicyTrainerParams(**common))
    else:
        share = 1 / 16
        algorithm.run_training(
            OffPolicyTrainerParams(**common, update_step_num_gradient_steps_per_sample=share)
        )
    assert hook.env_steps == 464
    assert len(hook.store) == 400  # the rest waits for the next learning
    body = algorithm.policy.actor.body
    view = body.encoder.graph.numpy().astype(bool)
    np.testing.assert_array_equal(view, hook.graph.subgraph(NAMES).summary)


def test_hook_counts_saves_and_refuses(tmp_path):
    hook = CausalGraphHook(None, SPEC, learner="empty", every=50)
    assert hook.learn() is None
    with pytest.raises(ValueError, match="no graph"):
        hook.save(tmp_path / "graph.json")
    collector = Collector(make_ppo(SPEC, TINY), TianshouVectorEnv(SPEC, 5), on_step_hook=hook)
    collector.reset()
    collector.collect(n_step=45, random=True)
    hook.training_fn(0, 0)
    assert hook.graph is None
    collector.collect(n_step=5, random=True)
    hook.training_fn(0, 0)
    hook.save(tmp_path / "graph.json")
    assert CausalGraph.load(tmp_path / "graph.json") == hook.graph
    with pytest.raises(ValueError, match="every must be"):
        CausalGraphHook(None, SPEC, every=0)
    with pytest.raises(ValueError, match="no-such"):
        CausalGraphHook(None, SPEC, learner="no-such")


def test_hook_refuses_environments_without_do_targets():
    class Plain:
        info: dict = {}  # noqa: RUF012

    with pytest.raises(ValueError, match="do_target"):
        CausalGraphHook(None, SPEC)(None, Plain())
