# ruff: noqa: E402
from __future__ import annotations

import subprocess
import sys

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.vector import AutoresetMode

sb3 = pytest.importorskip(
    "stable_baselines3", reason="stable-baselines3 is not installed; extra: sb3"
)

from stable_baselines3.common.env_checker import check_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.logger import configure
from stable_baselines3.common.vec_env import (
    DummyVecEnv,
    VecMonitor,
    VecNormalize,
)

from causal_rl.agents import ActorCritic, TrainConfig, evaluate
from causal_rl.agents.sb3 import (
    CausalGraphCallback,
    ECAMFeaturesExtractor,
    ECAMPolicy,
    SCMVecEnv,
    set_policy_graph,
)
from causal_rl.envs import (
    GYM_DYNAMICS,
    Interventions,
    NaturalActionVectorObservation,
    SCMEnv,
    SCMEnvSpec,
    SCMVectorEnv,
    vector_step,
    vector_transitions,
)
from causal_rl.errors import MissingExtraError
from causal_rl.graphs import CausalGraph
from causal_rl.scm import DynamicSCM, Gaussian, Linear, Uniform, Variable

ENCODER = {"embed_dim": 8, "layers": 1}
SMALL = {"features_extractor_kwargs": ENCODER}
FORMS = {"native": (sb3.PPO, sb3.A2C), "flat": (sb3.PPO, sb3.DQN), "continuous": (sb3.SAC,)}


@pytest.fixture(scope="module")
def spec():
    """Five observed columns, one of them no cause of the reward, and a hidden variable."""
    scm = DynamicSCM(
        [
            Variable("y", Linear([1.0]), Gaussian(0.2), parents=["x"]),
            Variable("x", Linear([0.8, 0.3]), Gaussian(0.5), parents=["w", "u"]),
            Variable("w", noise=Gaussian(1.0)),
            Variable("u", noise=Gaussian(1.0), kind="hidden"),
            Variable("aside", Linear([0.9]), Gaussian(0.1), parents=["x"]),
            Variable("goal", noise=Uniform(-1.0, 1.0), kind="context"),
            Variable(
                "reward", lambda y, goal: -np.abs(y - goal), parents=["y", "goal"], kind="reward"
            ),
        ]
    )
    return SCMEnvSpec("tiny", scm, Interventions(["x", "w"], (-0.5, 0.1, 0.5), 0.01), horizon=5)


def box(n=4):
    return spaces.Box(-np.inf, np.inf, (n,), dtype=np.float32)


def chain(names="abcd", reward=None):
    """a -> b -> c ... and, where asked, a reward that reads one of them."""
    n = len(names)
    block = np.eye(n, k=1, dtype=bool)
    kinds = ["state"] * n
    if reward is not None:
        names, kinds = [*names, "reward"], [*kinds, "reward"]
        block = np.pad(block, (0, 1))
        block[names.index(reward), n] = True
    return CausalGraph(block, names=tuple(names), kinds=tuple(kinds))


# --- what is imported -------------------------------------------------------------------------


@pytest.mark.slow  # a second interpreter imports torch
def test_the_package_does_not_import_it_until_it_is_asked_for():
    code = (
        "import sys, causal_rl.agents, causal_rl.agents.sb3; "
        "sys.exit('stable_baselines3' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_without_it_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "stable_baselines3", None)
    with pytest.raises(MissingExtraError, match=r"causal_rl\[sb3\]"):
        from causal_rl.agents.sb3 import SCMVecEnv  # noqa: F401
    from causal_rl.agents import sb3 as door

    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = door.nothing


# --- environments -----------------------------------------------------------------------------


def test_trajectories_are_those_of_the_vector_environment(spec):
    ours, theirs = SCMVectorEnv(spec, num_envs=3), SCMVecEnv(spec, 3)
    rng = np.random.default_rng(0)
    expected, _ = ours.reset(seed=7)
    theirs.seed(7)
    assert np.array_equal(theirs.reset(), expected.astype(np.float32))
    ended = 0
    for _ in range(2 * spec.horizon + 1):
        action = rng.integers(0, [3, 3], size=(3, 2))
        outcome = ours.step(action)
        expected, reward, terminated, truncated, info = outcome
        observation, rewards, dones, infos = theirs.step(action)
        assert observation.dtype == rewards.dtype == np.float32
        assert np.array_equal(observation, expected.astype(np.float32))
        assert np.array_equal(rewards, reward.astype(np.float32))
        assert np.array_equal(dones, terminated | truncated)
        for i, row in enumerate(infos):
            source = info["final_info"] if dones[i] else info
            assert np.array_equal(row["do_target"], source["do_target"][i])
            assert np.array_equal(row["do_value"], source["do_value"][i])
            assert row["TimeLimit.truncated"] == truncated[i]
            assert ("terminal_observation" in row) == dones[i]
            if dones[i]:
                ended += 1
                last = info["final_obs"][i].astype(np.float32)
                assert np.array_equal(row["terminal_observation"], last)
    assert ended == 6
    # A reset without a seed begins the next episodes of the same seeds.
    assert np.array_equal(theirs.reset(), ours.reset()[0].astype(np.float32))


def test_their_own_checker_passes_and_their_wrapping_gives_the_same_rows(spec):
    check_env(SCMEnv(spec))
    ours, theirs = SCMVecEnv(spec, 2), DummyVecEnv([lambda: SCMEnv(spec)] * 2)
    rng = np.random.default_rng(1)
    for env in (ours, theirs):
        env.seed(4)
    np.testing.assert_array_equal(ours.reset(), theirs.reset().astype(np.float32))
    for _ in range(2 * spec.horizon):
        action = rng.integers(0, [3, 3], size=(2, 2))
        for mine, other in zip(ours.step(action)[:3], theirs.step(action)[:3], strict=True):
            np.testing.assert_array_equal(mine, other.astype(mine.dtype))


def test_float32_spaces_and_a_reset_that_forgets_its_seed(spec):
    env = SCMVecEnv(spec, 2)
    assert env.observation_space == box(5)
    assert env.action_space == spec.action_space()
    assert env.seed(3) == [3, 4]
    first = env.reset()
    assert not np.array_equal(env.reset(), first)
    env.seed(3)
    assert np.array_equal(env.reset(), first)
    assert not env.reset_infos[0]["do_target"].any()


def test_flat_actions_are_all_the_actions(spec):
    table = spec.interventions.all_actions()
    flat, native = SCMVecEnv(spec, len(table), actions="flat"), SCMVecEnv(spec, len(table))
    assert flat.action_space == spaces.Discrete(7)
    for env in (flat, native):
        env.seed(0)
        env.reset()
    for a, b in zip(flat.step(np.arange(7))[:3], native.step(table)[:3], strict=True):
        assert np.array_equal(a, b)
    target = flat.last_step.do_target
    assert target.any(axis=1).tolist() == [False] + [True] * 6


def test_continuous_actions_take_the_highest_score_and_the_nearest_value(spec):
    env = SCMVecEnv(spec, 6, actions="continuous")
    assert env.action_space == spaces.Box(-1.0, 1.0, (4,), dtype=np.float32)
    env.reset()
    # Scores of nothing, x and w; 0.15 of the way on [-0.5, 0.5] and so on.
    wanted = [
        ([0.2, 0.1, -1.0, 1.0], (0, 0)),
        ([0.1, 0.2, -1.0, 1.0], (1, 2)),
        ([0.1, 0.2, -1.0, -1.0], (1, 0)),
        ([-1.0, -0.5, 0.0, 0.5], (2, 1)),  # 0.25: nearer to 0.1 than to 0.5
        ([-1.0, -0.5, 0.0, 0.7], (2, 2)),  # 0.35
        ([0.5, 0.5, 0.5, 0.0], (0, 0)),  # the first of equals
    ]
    env.step(np.array([row for row, _ in wanted], dtype=np.float32))
    assert env.last_step.action.tolist() == [list(pair) for _, pair in wanted]


def test_continuous_actions_know_each_targets_own_values():
    scm = DynamicSCM(
        [
            Variable("a", noise=Gaussian(1.0)),
            Variable("b", noise=Gaussian(1.0)),
            Variable("reward", lambda a, b: a + b, parents=["a", "b"], kind="reward"),
        ]
    )
    spec = SCMEnvSpec("two", scm, Interventions(["a", "b"], {"a": (0.0, 1.0), "b": (9.0, 5.0)}))
    env = SCMVecEnv(spec, 2, actions="continuous")
    env.reset()
    env.step(np.array([[-1, 1, 0, 0.9], [-1, 0, 1, 0.9]], dtype=np.float32))
    assert env.last_step.next_state[0, 0] == 1.0
    assert env.last_step.next_state[1, 1] == 9.0


def test_attributes_and_methods_by_row(spec):
    env = SCMVecEnv(spec, 3)
    env.seed(0)
    env.reset()
    assert env.get_attr("causal_graph", 1) == [spec.causal_graph]
    assert env.get_attr("action_space", [0, 2]) == [spec.action_space()] * 2
    values = env.get_attr("values")
    assert [v.shape for v in values] == [(6,)] * 3
    assert not np.array_equal(values[0], values[1])
    assert not env.has_attr("nothing")
    natural = env.env_method("natural_action", indices=[2])
    assert np.array_equal(natural[0], env.env.natural_action()[2])
    env.step(np.zeros((3, 2), dtype=np.int64))
    assert len(env.env_method("trajectory", indices=[0, 1])) == 2
    shifted = spec.replace(name="other")
    env.env_method("set_world", shifted)
    assert env.get_attr("scm_spec") == [shifted] * 3
    env.set_attr("note", 5)
    assert env.get_attr("note") == [5] * 3
    assert env.env_is_wrapped(gymnasium.Wrapper) == [False] * 3
    with pytest.raises(ValueError, match="indices must be None for method 'set_world'"):
        env.env_method("set_world", spec, indices=[0])
    with pytest.raises(ValueError, match="indices must be None for attribute 'note'"):
        env.set_attr("note", 6, indices=1)
    with pytest.raises(ValueError, match=r"indices must lie in 0\.\.2, got 3"):
        env.get_attr("values", 3)
    with pytest.raises(ValueError, match="'step' is not for single rows"):
        env.env_method("step", None)


def test_renders_every_row(spec):
    env = SCMVecEnv(spec, 2, render_mode="rgb_array")
    env.reset()
    images = env.get_images()
    assert len(images) == 2
    assert env.render().ndim == 3
    assert SCMVecEnv(spec, 2).get_images() == [None, None]


def test_a_wrapped_vector_environment(spec):
    env = SCMVecEnv(NaturalActionVectorObservation(SCMVectorEnv(spec, 4)), actions="flat")
    assert env.observation_space.shape == (7,)
    assert env.env_is_wrapped(NaturalActionVectorObservation) == [True] * 4
    assert env.get_attr("causal_graph", 0) == [spec.causal_graph]
    env.reset()
    for _ in range(spec.horizon):
        _, _, dones, infos = env.step(np.zeros(4, dtype=np.int64))
    assert dones.all()
    assert infos[0]["terminal_observation"].shape == (7,)


def test_any_vector_environment_of_gymnasium_terminated_and_truncated():
    made = gymnasium.make_vec(
        "CartPole-v1",
        num_envs=2,
        vectorization_mode="sync",
        vector_kwargs={"autoreset_mode": AutoresetMode.SAME_STEP},
        max_episode_steps=12,
    )
    env = SCMVecEnv(made)
    env.seed(0)
    env.reset()
    seen = set()
    for step in range(60):
        # One pole is pushed over, the other kept up for twelve steps.
        _, _, dones, infos = env.step(np.array([0, step % 2]))
        for i in np.flatnonzero(dones):
            assert "do_target" not in infos[i]
            assert infos[i]["terminal_observation"].shape == (4,)
            seen.add((int(i), infos[i]["TimeLimit.truncated"]))
    assert seen == {(0, False), (1, True)}


def test_their_evaluation_of_a_policy_is_ours(spec):
    from causal_rl.agents.sb3 import sb3_controller

    model = sb3.PPO(ECAMPolicy, SCMVecEnv(spec, 2, actions="flat"), policy_kwargs=SMALL, seed=0)
    torch.nn.init.normal_(model.policy.action_net.weight)  # another action in every state
    env = VecMonitor(SCMVecEnv(spec, 6, actions="flat"))
    env.seed(9)
    theirs, lengths = evaluate_policy(model, env, n_eval_episodes=6, return_episode_rewards=True)
    ours = evaluate(spec, sb3_controller(model, spec, "flat"), episodes=6, seed=9)
    assert lengths == [spec.horizon] * 6
    assert np.allclose(sorted(theirs), sorted(ours), rtol=1e-5)
    assert np.unique(ours).size == 6


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


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_envs": 0}, "num_envs must be an integer of at least 1, got 0"),
        ({"actions": "joint"}, "actions must be one of native, flat, continuous, got 'joint'"),
        ({"render_mode": "human"}, "render_mode"),
    ],
)
def test_bad_environments_are_named(spec, arguments, message):
    with pytest.raises(ValueError, match=message):
        SCMVecEnv(spec, **arguments)


def test_bad_worlds_and_actions_are_named(spec):
    with pytest.raises(TypeError, match=r"world must be a name, an SCMEnvSpec .* got int"):
        SCMVecEnv(5)
    with pytest.raises(ValueError, match="no-such-world"):
        SCMVecEnv("no-such-world")
    with pytest.raises(ValueError, match="autoreset_mode must be SAME_STEP"):
        SCMVecEnv(SCMVectorEnv(spec, 2, autoreset_mode="NEXT_STEP"))
    with pytest.raises(ValueError, match="num_envs must be None or the 2"):
        SCMVecEnv(SCMVectorEnv(spec, 2), 3)
    with pytest.raises(ValueError, match="render_mode must be None or that of"):
        SCMVecEnv(SCMVectorEnv(spec, 2), render_mode="rgb_array")
    cartpole = gymnasium.make_vec(
        "CartPole-v1",
        num_envs=2,
        vectorization_mode="sync",
        vector_kwargs={"autoreset_mode": AutoresetMode.SAME_STEP},
    )
    with pytest.raises(ValueError, match="actions must be 'native'"):
        SCMVecEnv(cartpole, actions="flat")
    env = SCMVecEnv(spec, 2, actions="flat")
    with pytest.raises(RuntimeError, match="call reset"):
        env.step(np.zeros(2, dtype=np.int64))
    env.reset()
    for actions, message in (
        (np.zeros((2, 2), dtype=np.int64), r"integers of shape \(batch,\)"),
        (np.zeros(2), "integers of shape"),
        (np.array([0, 7]), r"actions\[1\] is 7; allowed are 0\.\.6"),
        (np.array([-1, 0]), r"actions\[0\] is -1"),
        (np.array([0]), "actions must have shape"),
    ):
        with pytest.raises(ValueError, match=message):
            env.step(actions)
    env = SCMVecEnv(spec, 2, actions="continuous")
    env.reset()
    for actions, message in (
        (np.zeros((2, 3)), r"numbers of shape \(batch, 4\)"),
        (np.full((2, 4), np.nan), "allowed is"),
        (np.array([[0, 0, 0, 0], [0, 2, 0, 0]]), r"actions\[1\] is \[0, 2, 0, 0\]"),
    ):
        with pytest.raises(ValueError, match=message):
            env.step(actions)


# --- features and policy ----------------------------------------------------------------------


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


# --- the callback -----------------------------------------------------------------------------


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
