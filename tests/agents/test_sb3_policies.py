# ruff: noqa: E402
"""The encoder as a policy of Stable-Baselines3: what it reads, how it is saved, bad arguments."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from gymnasium import spaces
from sb3_world import ENCODER, SMALL, box, chain, tiny_world

sb3 = pytest.importorskip(
    "stable_baselines3", reason="stable-baselines3 is not installed; extra: sb3"
)

from stable_baselines3.common.vec_env import VecMonitor, VecNormalize

from causal_rl.agents import ActorCritic, TrainConfig
from causal_rl.agents.sb3 import ECAMFeaturesExtractor, ECAMPolicy, SCMVecEnv, set_policy_graph
from causal_rl.envs import GYM_DYNAMICS


@pytest.fixture(scope="module")
def spec():
    return tiny_world()


FORMS = {"native": (sb3.PPO, sb3.A2C), "flat": (sb3.PPO, sb3.DQN), "continuous": (sb3.SAC,)}


@pytest.mark.parametrize(
    ("form", "algorithm"), [(form, a) for form, several in FORMS.items() for a in several]
)
def test_every_algorithm_runs_with_the_encoder_and_keeps_its_graph(spec, form, algorithm, tmp_path):
    env = VecNormalize(VecMonitor(SCMVecEnv(spec, 4, actions=form)), norm_obs=False)
    options = {"features_extractor_class": ECAMFeaturesExtractor, "net_arch": [8]}
    encoder = {**ENCODER, "graph": spec.causal_graph}
    limits = {"learning_starts": 8} if algorithm in (sb3.DQN, sb3.SAC) else {"n_steps": 6}
    if algorithm is sb3.PPO:
        limits["batch_size"] = 12
    model = algorithm(
        "MlpPolicy",
        env,
        seed=0,
        device="cpu",
        policy_kwargs={**options, "features_extractor_kwargs": encoder},
        **limits,
    ).learn(48)
    observation = env.reset()
    graph = chain(["w", "x", "y", "aside", "goal"], reward="x")
    set_policy_graph(model, graph)
    expected, _ = model.predict(observation, deterministic=True)
    model.save(tmp_path / "model.zip")
    other = algorithm.load(tmp_path / "model.zip", device="cpu")
    assert np.array_equal(other.predict(observation, deterministic=True)[0], expected)
    readers = [m for m in other.policy.modules() if isinstance(m, ECAMFeaturesExtractor)]
    assert len(readers) == {sb3.SAC: 3, sb3.DQN: 2}.get(algorithm, 1)
    assert all(reader.graph == graph for reader in readers)
    assert all(reader.variables_read == ("x", "w") for reader in readers)


def jacobian(extractor, n):
    x = torch.randn(3, n, requires_grad=True)
    features = extractor(x)
    rows = [
        torch.autograd.grad(features[:, k].sum(), x, retain_graph=True)[0].abs().sum(0)
        for k in range(features.shape[1])
    ]
    return torch.stack(rows).sum(0)


@pytest.mark.parametrize("encoder", ["ecam", "masked-mlp"])
def test_what_is_no_ancestor_has_no_gradient(encoder):
    torch.manual_seed(0)
    extractor = ECAMFeaturesExtractor(box(), encoder=encoder, names="abcd")
    assert (jacobian(extractor, 4) > 0).all()
    before = [p.clone() for p in extractor.parameters()]
    for reward, read in (("b", "ab"), ("d", "abcd"), ("a", "a")):
        extractor.set_graph(chain(reward=reward))
        assert extractor.variables_read == tuple(read)
        moved = jacobian(extractor, 4)
        assert torch.equal(moved > 0, torch.tensor([name in read for name in "abcd"]))
    assert all(torch.equal(p, q) for p, q in zip(extractor.parameters(), before, strict=True))


@pytest.mark.parametrize("encoder", ["attention", "mlp"])
def test_encoders_without_a_graph_ignore_it(encoder):
    extractor = ECAMFeaturesExtractor(box(), encoder=encoder, names="abcd")
    x = torch.randn(3, 4)
    before = extractor(x)
    extractor.set_graph(chain(reward="a"))
    assert torch.equal(extractor(x), before)
    assert extractor.graph == chain(reward="a")


@pytest.mark.parametrize("encoder", ["ecam", "attention", "mlp", "masked-mlp"])
def test_it_is_the_encoder_of_our_own_agent(encoder):
    config = TrainConfig(encoder=encoder, embed_dim=8, layers=1)
    own = ActorCritic(4, 3, 2, config)
    extractor = ECAMFeaturesExtractor(box(), encoder=encoder, names="abcd", **ENCODER)
    extractor.encoder.load_state_dict(own.encoder.state_dict())
    x = torch.randn(5, 4)
    assert torch.equal(extractor(x), own.encoder(x))
    own.set_graph(chain(reward="c"), list("abcd"))
    extractor.set_graph(chain(reward="c"))
    assert torch.equal(extractor(x), own.encoder(x))
    assert len(extractor.variables_read) == own.variables_read


def test_policy_has_the_heads_of_our_own_agent(spec):
    env = SCMVecEnv(spec, 2, actions="flat")
    policy = sb3.PPO("ECAMPolicy", env, policy_kwargs=SMALL).policy
    assert isinstance(policy, ECAMPolicy)
    own = ActorCritic(5, 3, 3, TrainConfig(embed_dim=8, layers=1))
    assert len(list(policy.mlp_extractor.parameters())) == 4
    assert policy.mlp_extractor.policy_net[0].weight.shape == own.actor[0].weight.shape
    assert policy.value_net.weight.shape == own.critic[2].weight.shape
    probs = policy.get_distribution(torch.randn(64, 5)).distribution.probs.detach()
    assert float(probs.max() - probs.min()) < 0.05  # near-uniform at first
    assert policy.graph is None
    policy.set_graph(spec.causal_graph)
    assert policy.graph == spec.causal_graph
    # The encoder keeps its own start: with SB3's orthogonal one these would not be zero.
    block = policy.features_extractor.encoder.blocks[0]
    assert not block.attention.out.bias.any()


def test_a_policy_alone_is_saved_with_its_graph(spec, tmp_path):
    env = SCMVecEnv(spec, 2)
    policy = sb3.A2C("ECAMPolicy", env, policy_kwargs=SMALL).policy
    policy.set_graph(chain(["goal", "aside", "y", "x", "w"], reward="y"))
    policy.save(tmp_path / "policy.pth")
    other = ECAMPolicy.load(tmp_path / "policy.pth")
    assert other.graph == policy.graph
    observation = env.reset()
    first, second = (
        p.get_distribution(torch.as_tensor(observation)).distribution for p in (policy, other)
    )
    assert all(torch.equal(a.logits, b.logits) for a, b in zip(first, second, strict=True))


def test_cartpole_under_its_known_graph(tmp_path):
    known = GYM_DYNAMICS["cartpole"].causal_graph
    known.save(tmp_path / "graph.json")
    kwargs = {**ENCODER, "graph": tmp_path / "graph.json"}
    model = sb3.PPO(
        "ECAMPolicy",
        "CartPole-v1",
        policy_kwargs={"features_extractor_kwargs": kwargs},
        n_steps=32,
        batch_size=32,
        n_epochs=1,
        device="cpu",
    ).learn(64)
    extractor = model.policy.features_extractor
    assert extractor.names == ("x", "x_dot", "theta", "theta_dot")
    assert extractor.variables_read == extractor.names  # its reward is a constant
    adjacency = known.subgraph(extractor.names).summary
    assert np.array_equal(extractor.encoder.graph.numpy() > 0, adjacency)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"encoder": "cnn"}, "encoder"),
        ({"heads": 3}, "heads must divide embed_dim"),
        ({"embed_dim": 0}, "embed_dim"),
        ({"modulation": "soft"}, "modulation"),
        ({"names": "abc"}, "names must be 4 different names, .* got a, b, c"),
        ({"names": "aabc"}, "names must be 4 different names"),
        ({"graph": chain("abc")}, "the graph has 3 variables .* the observation has 4"),
        ({"graph": chain("abce"), "names": "abcd"}, "it lacks d and has a, b, c, e"),
        ({"graph": "absent.json"}, "graph must be a CausalGraph or a JSON file, got 'absent.json'"),
    ],
)
def test_bad_encoders_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        ECAMFeaturesExtractor(box(), **arguments)


def test_other_bad_arguments_are_named(spec):
    with pytest.raises(ValueError, match="observation_space must be a flat Box, got Discrete"):
        ECAMFeaturesExtractor(spaces.Discrete(3))
    with pytest.raises(TypeError, match=r"graph must be a CausalGraph .* got int"):
        ECAMFeaturesExtractor(box(), graph=5)
    with pytest.raises(TypeError, match="graph must be a CausalGraph, got ndarray"):
        ECAMFeaturesExtractor(box()).set_graph(np.eye(4))
    model = sb3.A2C("MlpPolicy", SCMVecEnv(spec, 2))
    with pytest.raises(ValueError, match="policy has no ECAMFeaturesExtractor"):
        set_policy_graph(model, spec.causal_graph)
