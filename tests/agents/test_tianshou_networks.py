"""The networks of Tianshou that read a graph, and how they are saved with it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tianshou_world import N_TARGETS, N_VALUES, NAMES, SPEC, TINY

pytest.importorskip("tianshou", reason="tianshou is not installed; extra: tianshou")

from tianshou.utils.torch_utils import policy_within_training_step

from causal_rl.agents import TrainConfig
from causal_rl.agents.tianshou import (
    ECAMActor,
    ECAMCritic,
    ECAMQNetwork,
    load_algorithm,
    make_ppo,
    make_sac,
    save_algorithm,
    set_algorithm_graph,
)
from causal_rl.graphs import CausalGraph


@pytest.mark.parametrize("encoder", ["ecam", "attention", "mlp", "masked-mlp"])
def test_networks_are_views_of_the_policy(encoder):
    config = TrainConfig(encoder=encoder, embed_dim=8, layers=1)
    algorithm = make_ppo(SPEC, config)
    actor, critic = algorithm.policy.actor, algorithm.critic
    assert isinstance(actor, ECAMActor)
    assert isinstance(critic, ECAMCritic)
    assert actor.body is critic.body
    observation = np.random.default_rng(0).normal(size=(5, len(NAMES)))
    logits, state = actor(observation, state="kept")
    output = actor.body(torch.as_tensor(observation, dtype=torch.float32))
    torch.testing.assert_close(logits, output.logits)
    torch.testing.assert_close(critic(observation)[:, 0], output.value)
    assert state == "kept"
    assert actor.get_output_dim() == logits.shape[1] == N_TARGETS * N_VALUES
    features = actor.get_preprocess_net()(torch.zeros(2, len(NAMES)))
    assert features.shape == (2, actor.get_preprocess_net().get_output_dim())


@pytest.mark.parametrize("make", [make_ppo, make_sac])
@pytest.mark.parametrize("encoder", ["ecam", "masked-mlp"])
def test_set_graph_reaches_every_network(make, encoder):
    """What is no ancestor of the reward changes no output, that of target networks included."""
    algorithm = make(SPEC, TrainConfig(encoder=encoder, embed_dim=8, layers=1))
    names = [*NAMES, "reward"]
    kinds = [*SPEC.observed_kinds, "reward"]
    edges = np.zeros((len(names), len(names)), dtype=bool)
    edges[0, -1] = True
    graph = CausalGraph(edges, names=names, kinds=kinds)
    ignored = [i for i, kind in enumerate(SPEC.observed_kinds) if kind != "context" and i != 0]
    networks = [algorithm.policy.actor, algorithm.critic]
    if make is make_sac:
        networks += [algorithm.critic2, algorithm.critic_old, algorithm.critic2_old]
        assert isinstance(algorithm.critic, ECAMQNetwork)

    def outputs(values):
        found = [network(values) for network in networks]
        return [out[0] if isinstance(out, tuple) else out for out in found]

    rng = np.random.default_rng(0)
    here = rng.normal(size=(4, len(NAMES)))
    there = here.copy()
    there[:, ignored] = rng.normal(size=(4, len(ignored)))
    for a, b in zip(outputs(here), outputs(there), strict=True):
        assert not torch.equal(a, b)
    assert set_algorithm_graph(algorithm, graph, NAMES) == (1 if make is make_ppo else 5)
    for a, b in zip(outputs(here), outputs(there), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)
    for a, b in zip(outputs(here), outputs(here + (np.arange(len(NAMES)) == 0)), strict=True):
        assert not torch.equal(a, b)


def test_critics_of_sac_start_apart_and_illegal_actions_stay_out():
    algorithm = make_sac(SPEC, TINY)
    values = np.ones((400, len(NAMES)))
    assert not torch.equal(algorithm.critic(values), algorithm.critic2(values))
    with policy_within_training_step(algorithm.policy):
        batch = algorithm.policy(_Observations(values))
    legal = (batch.act == 0) | (batch.act >= N_VALUES)
    assert legal.all()
    assert len(batch.act.unique()) > N_VALUES


class _Observations:
    def __init__(self, obs):
        self.obs = obs
        self.info = None


@pytest.mark.parametrize("make", [make_ppo, make_sac])
def test_save_and_load_with_the_graph(tmp_path, make):
    algorithm = make(SPEC, TINY)
    set_algorithm_graph(algorithm, SPEC.causal_graph, NAMES)
    save_algorithm(tmp_path / "new", algorithm, SPEC.causal_graph)
    other = make(SPEC, TrainConfig(**{**TINY.to_dict(), "seed": 1}))
    graph = load_algorithm(tmp_path / "new", other)
    assert graph == SPEC.causal_graph
    values = np.random.default_rng(0).normal(size=(4, len(NAMES)))
    assert torch.equal(algorithm.critic(values), other.critic(values))
    assert torch.equal(algorithm.policy.actor(values)[0], other.policy.actor(values)[0])
    with pytest.raises(ValueError, match="another algorithm or network"):
        load_algorithm(tmp_path / "new", (make_sac if make is make_ppo else make_ppo)(SPEC, TINY))
    with pytest.raises(ValueError, match=r"has no tianshou\.pt"):
        load_algorithm(tmp_path, other)


def test_bad_graphs_are_named():
    with pytest.raises(ValueError, match="has none"):
        set_algorithm_graph(torch.nn.Linear(2, 2), SPEC.causal_graph, NAMES)
    with pytest.raises(ValueError, match=f"graph lacks '{NAMES[0]}'"):
        set_algorithm_graph(make_ppo(SPEC, TINY), CausalGraph.empty(["a"]), NAMES)
