from __future__ import annotations

import numpy as np
import pytest
import torch

from causal_rl.agents import ActorCritic, TrainConfig, policy_view
from causal_rl.graphs import CausalGraph

NAMES = ["a", "b", "c", "goal", "noise"]
KINDS = ["state", "state", "state", "context", "state"]


@pytest.fixture
def graph():
    # a -> b -> reward <- goal; goal -> noise; c -> a one step later; noise reaches nothing.
    adjacency, lagged = np.zeros((6, 6), dtype=bool), np.zeros((6, 6), dtype=bool)
    for parent, child in ((0, 1), (1, 5), (3, 5), (3, 4)):
        adjacency[parent, child] = True
    lagged[2, 0] = True
    return CausalGraph(adjacency, lagged, [*NAMES, "reward"], [*KINDS, "reward"])


def make(encoder, seed=0, **options):
    torch.manual_seed(seed)
    return ActorCritic(5, 3, 4, TrainConfig(encoder=encoder, **options))


def test_view_is_the_ancestors_of_the_reward_over_time_and_the_contexts(graph):
    adjacency, readout = policy_view(graph, NAMES)
    assert [NAMES[i] for i in readout] == ["a", "b", "c", "goal"]
    assert adjacency.shape == (5, 5)
    assert adjacency[2, 0]
    assert adjacency[0, 1]


def test_view_without_any_ancestor_is_everything():
    graph = CausalGraph.empty(["a", "b", "reward"], ["state", "state", "reward"])
    assert list(policy_view(graph, ["a", "b"])[1]) == [0, 1]


@pytest.mark.parametrize("encoder", ["ecam", "masked-mlp"])
def test_what_is_no_ancestor_cannot_move_the_policy(graph, encoder):
    policy = make(encoder)
    policy.set_graph(graph, NAMES)
    observation = torch.randn(7, 5, requires_grad=True)
    output = policy(observation)
    legal = output.logits[:, torch.isfinite(output.logits[0])]
    gradient = torch.autograd.grad((legal**2).sum() + output.value.sum(), observation)[0]
    assert (gradient[:, 4] == 0).all()
    assert (gradient[:, :4].abs().sum(0) > 0).all()
    assert policy.variables_read == 4


@pytest.mark.parametrize("encoder", ["attention", "mlp"])
def test_encoders_without_a_graph_read_everything(graph, encoder):
    policy = make(encoder)
    before = policy(torch.ones(1, 5)).value
    policy.set_graph(graph, NAMES)
    assert policy.variables_read == 5
    assert torch.equal(policy(torch.ones(1, 5)).value, before)


@pytest.mark.parametrize("encoder", ["ecam", "attention", "mlp", "masked-mlp"])
def test_state_dict_carries_the_graph(graph, encoder):
    first, second = make(encoder), make(encoder, seed=1)
    first.set_graph(graph, NAMES)
    second.load_state_dict(first.state_dict())
    observation = torch.randn(3, 5)
    for a, b in zip(first(observation), second(observation), strict=True):
        assert torch.equal(a, b)
    assert first.variables_read == second.variables_read


def test_only_one_no_intervention_is_legal_and_sampling_follows_the_probabilities():
    policy = make("mlp")
    observation = torch.zeros(20_000, 5)
    logits = policy(observation[:1]).logits[0]
    assert torch.isinf(logits).nonzero().flatten().tolist() == [1, 2, 3]
    action, log_prob, _ = policy.act(observation, torch.Generator().manual_seed(0))
    share = torch.bincount(action, minlength=12) / len(action)
    torch.testing.assert_close(share, torch.softmax(logits, 0), atol=0.01, rtol=0)
    torch.testing.assert_close(log_prob, torch.log_softmax(logits, 0)[action])
    pairs = policy.unflatten(action)
    assert pairs[:, 0].max() == 2
    assert (pairs[pairs[:, 0] == 0, 1] == 0).all()


def test_greedy_action_is_the_most_probable():
    policy = make("ecam")
    observation = torch.randn(9, 5)
    action, _, _ = policy.act(observation, None)
    assert torch.equal(action, policy(observation).logits.argmax(-1))


@pytest.mark.parametrize("encoder", ["ecam", "mlp"])
def test_a_policy_may_begin_as_a_mixture(encoder):
    policy = make(encoder)
    frequency = torch.arange(1.0, 13.0)
    policy.begin_at(frequency, -2.5)
    logits, value = policy(torch.randn(64, 5))
    legal = ~torch.isinf(policy.illegal)
    wanted = frequency[legal] / frequency[legal].sum()
    shares = torch.softmax(logits, -1)[:, legal]
    torch.testing.assert_close(shares, wanted.expand(64, -1), rtol=0.1, atol=0.0)
    assert float((value.detach() + 2.5).abs().max()) < 1.5
