# ruff: noqa: E402
"""The bridge to Tianshou: environments, networks, the graph hook, and runs."""

from __future__ import annotations

import json
import subprocess
import sys

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode
from program import run

numba = pytest.importorskip("numba", reason="tianshou is not installed; extra: tianshou")
numba.config.DISABLE_JIT = True  # to compile Tianshou's two loops takes longer than to run all this
pytest.importorskip("tianshou", reason="tianshou is not installed; extra: tianshou")
numba.config.DISABLE_JIT = False

from tianshou.data import Collector, VectorReplayBuffer
from tianshou.env import DummyVectorEnv
from tianshou.trainer import OffPolicyTrainerParams, OnPolicyTrainerParams
from tianshou.utils.determinism import TraceLoggerContext
from tianshou.utils.torch_utils import policy_within_training_step

from causal_rl.agents import TrainConfig, train
from causal_rl.agents import tianshou as tianshou_bridge
from causal_rl.agents.tianshou import (
    CausalGraphHook,
    ECAMActor,
    ECAMCritic,
    ECAMQNetwork,
    TianshouAlgorithm5,
    TianshouVectorEnv,
    load_algorithm,
    make_ppo,
    make_sac,
    save_algorithm,
    set_algorithm_graph,
)
from causal_rl.discovery import make_learner
from causal_rl.envs import SCMEnv, SCMVectorEnv, resolve_spec, vector_step
from causal_rl.envs.gym_dynamics import random_transitions
from causal_rl.envs.known_dynamics import CARTPOLE
from causal_rl.envs.recording import vector_transitions
from causal_rl.errors import MissingExtraError
from causal_rl.graphs import CausalGraph

SPEC = resolve_spec("chain-scm", n=3, horizon=8, n_values=3)
NAMES = list(SPEC.observed_names)
N_TARGETS, N_VALUES = (int(size) for size in SPEC.action_space().nvec)
TINY = TrainConfig(
    env="chain-scm",
    env_args=("n=3", "horizon=8", "n_values=3"),
    embed_dim=8,
    layers=1,
    num_envs=4,
    explore_envs=2,
    rollout_steps=8,
    epochs=1,
    minibatch_size=32,
    warmup_steps=96,
    steps=336,
    graph_every=2,
    eval_every=2,
    eval_episodes=2,
    final_episodes=2,
    checkpoint_every=2,
    store_size=120,
)


def _actions(rng: np.random.Generator, rows: int) -> np.ndarray:
    return rng.integers(0, N_TARGETS * N_VALUES, size=rows)


def _pairs(flat: np.ndarray) -> np.ndarray:
    return np.stack(np.divmod(flat, N_VALUES), axis=1)


# --- importing -------------------------------------------------------------------------------


@pytest.mark.slow  # a second interpreter imports torch
def test_agents_do_not_import_tianshou():
    code = "import causal_rl.agents, sys; sys.exit('tianshou' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_missing_package_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "tianshou", None)
    with pytest.raises(MissingExtraError, match=r"causal_rl\[tianshou\]"):
        tianshou_bridge.TianshouVectorEnv  # noqa: B018


def test_every_public_name_is_there():
    assert all(getattr(tianshou_bridge, name) is not None for name in tianshou_bridge.__all__)
    with pytest.raises(AttributeError, match="no_such_name"):
        tianshou_bridge.no_such_name  # noqa: B018


# --- environment -----------------------------------------------------------------------------


def test_trajectories_equal_those_of_the_vector_env():
    ours, theirs = SCMVectorEnv(SPEC, num_envs=3), TianshouVectorEnv(SPEC, 3)
    rng = np.random.default_rng(0)
    expected, _ = ours.reset(seed=5)
    theirs.seed(5)
    shown, _ = theirs.reset()
    for _ in range(2 * SPEC.horizon + 3):
        np.testing.assert_array_equal(shown, expected)
        action = _actions(rng, 3)
        before = expected
        expected, *rest = ours.step(_pairs(action))
        made = vector_step(before, _pairs(action), (expected, *rest))
        shown, reward, terminated, truncated, info = theirs.step(action)
        np.testing.assert_array_equal(shown, made.next_state)  # the last one, not the next first
        np.testing.assert_array_equal(reward, made.reward)
        np.testing.assert_array_equal(truncated, made.truncated)
        assert not terminated.any()
        for row in range(3):
            np.testing.assert_array_equal(info[row]["do_target"], made.do_target[row])
            np.testing.assert_array_equal(info[row]["do_value"], made.do_value[row])
            assert info[row]["env_id"] == row
        if truncated.any():
            shown = shown.copy()
            shown[truncated], _ = theirs.reset(np.flatnonzero(truncated))


@pytest.mark.parametrize("seed", range(3))
def test_any_steps_and_resets_equal_tianshous_own_env(seed):
    """Rows in any order and number, reset in mid-episode or not, seeded or not."""
    rng = np.random.default_rng(seed)
    spec = resolve_spec("confounded-mdp") if seed == 2 else SPEC
    sizes = spec.action_space().nvec
    ours = TianshouVectorEnv(spec, 4, actions="native")
    theirs = DummyVectorEnv([lambda: SCMEnv(spec)] * 4)
    for row in range(4):
        shown = [ours.reset([row], seed=[10 * row])[0], theirs.reset([row], seed=10 * row)[0]]
        np.testing.assert_array_equal(*shown)
    for _ in range(60):
        ids = rng.permutation(4)[: rng.integers(1, 5)]
        if rng.random() < 0.15:
            keys = {} if rng.random() < 0.5 else {"seed": int(rng.integers(100))}
            if keys:  # Tianshou gives every row the same seed
                ids = ids[:1]
                shown = ours.reset(ids, seed=[keys["seed"]])[0], theirs.reset(ids, **keys)[0]
            else:
                shown = ours.reset(ids)[0], theirs.reset(ids)[0]
            np.testing.assert_array_equal(*shown)
            continue
        action = rng.integers(0, sizes, size=(len(ids), 2))
        mine, other = ours.step(action, ids), theirs.step(action, ids)
        for a, b in zip(mine[:4], other[:4], strict=True):
            np.testing.assert_array_equal(a, b)
        for a, b in zip(mine[4], other[4], strict=True):
            assert a.keys() == b.keys()
            assert all(np.array_equal(a[key], b[key]) for key in a)
        done = ids[mine[3]]
        if done.size:
            np.testing.assert_array_equal(ours.reset(done)[0], theirs.reset(done)[0])


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


def test_collecting_episodes_steps_fewer_and_fewer_rows():
    collector = Collector(make_ppo(SPEC, TINY), TianshouVectorEnv(SPEC, 3))
    collector.reset()
    stats = collector.collect(n_episode=4)
    assert stats.n_collected_episodes == 4
    np.testing.assert_array_equal(stats.lens, SPEC.horizon)


def test_state_goes_on_with_the_episodes():
    env = TianshouVectorEnv(SPEC, 2)
    env.seed(3)
    env.reset()
    for _ in range(4):
        env.step(np.array([5, 7]))
    state = env.get_state()
    expected = env.step(np.array([8, 2]))[0]
    other = TianshouVectorEnv(SPEC, 2)
    other.set_state(state)
    other.reset()
    np.testing.assert_array_equal(other.step(np.array([8, 2]))[0], expected)
    assert [s.sample() for s in env.action_space] == [s.sample() for s in other.action_space]


def test_env_attributes():
    env = TianshouVectorEnv("chain-scm", 2)
    assert len(env) == 2
    assert len(set(map(id, env.action_space))) == 2  # each row draws for itself
    assert env.get_env_attr("causal_graph", 1) == [env.env.causal_graph]
    env.seed([4, 4])
    observation, _ = env.reset()
    np.testing.assert_array_equal(observation[0], observation[1])
    np.testing.assert_array_equal(env.get_env_attr("values")[0], observation[0])
    assert env.action_space[0].sample() == env.action_space[1].sample()
    assert env.render() == [None, None]
    env.set_env_attr("note", 1)
    assert env.env.note == 1
    with pytest.raises(ValueError, match="share one environment"):
        env.set_env_attr("note", 2, 0)
    env.close()
    assert env.is_closed


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: TianshouVectorEnv(SPEC, 0), "num_envs"),
        (lambda: TianshouVectorEnv(SPEC, 2, actions="other"), "actions must be"),
        (lambda: TianshouVectorEnv("no-such-world"), "no-such-world"),
        (lambda: TianshouVectorEnv(SCMVectorEnv(SPEC, num_envs=2), 3), "num_envs must be None or"),
        (
            lambda: TianshouVectorEnv(
                SCMVectorEnv(SPEC, num_envs=2, autoreset_mode=AutoresetMode.NEXT_STEP)
            ),
            "SAME_STEP",
        ),
    ],
)
def test_bad_environments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_world_of_another_type_is_refused():
    with pytest.raises(TypeError, match="world must be"):
        TianshouVectorEnv(3)


def test_bad_calls_are_named():
    env = TianshouVectorEnv(SPEC, 2)
    with pytest.raises(ValueError, match="id 0 has no episode"):
        env.step(np.zeros(2, dtype=int))
    env.reset()
    limit = N_TARGETS * N_VALUES
    for action, message in (
        (np.zeros(3, dtype=int), "shape"),
        (np.zeros(2), "integers"),
        (np.array([0, limit]), str(limit - 1)),
        (np.array([-1, 0]), "got -1"),
    ):
        with pytest.raises(ValueError, match=message):
            env.step(action)
    for ids in ([0, 0], [2], [-1], []):
        with pytest.raises(ValueError, match="id must"):
            env.reset(ids)
    with pytest.raises(ValueError, match="one seed for each"):
        env.reset([0], seed=[1, 2])
    with pytest.raises(TypeError, match="speed"):
        env.reset(speed=3)
    for _ in range(SPEC.horizon):
        env.step(np.zeros(2, dtype=int))
    with pytest.raises(ValueError, match="reset it before"):
        env.step(np.zeros(2, dtype=int))


# --- networks --------------------------------------------------------------------------------


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


# --- the hook --------------------------------------------------------------------------------


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


# --- runs ------------------------------------------------------------------------------------


def options(algo="tianshou-ppo", **changes):
    return TrainConfig(**TINY.to_dict() | {"algo": algo, **changes})


def words(config):
    """A config as the command line has it."""
    values = {**config.to_dict(), "env_args": None, "regimes": None, "normalise_returns": None}
    flags = [f"--{k.replace('_', '-')}={v}" for k, v in values.items() if v is not None]
    return [*flags, *(f"--env-arg={item}" for item in config.env_args)]


@pytest.mark.parametrize(
    "algo", ["tianshou-ppo", pytest.param("tianshou-sac", marks=pytest.mark.slow)]
)
def test_the_program_trains_evaluates_and_resumes(tmp_path, capsys, monkeypatch, algo):
    torch.manual_seed(3)
    np.random.seed(3)  # noqa: NPY002
    before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    folder = tmp_path / "run"
    assert run("train", *words(options(algo)), "--out", folder) == 0
    assert torch.equal(torch.get_rng_state(), before[0])  # the process's generators are put back
    np.testing.assert_array_equal(np.random.get_state()[1], before[1])  # noqa: NPY002
    assert {path.name for path in folder.iterdir()} == {
        "checkpoint.pt",
        "config.yaml",
        "graph.json",
        "graph.png",
        "learning_curve.png",
        "summary.json",
        "tensorboard",
        "transitions.npz",
    }
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["policy_update"] == algo
    assert summary["env_steps"] == 336
    (folder / "summary.json").unlink()  # killed in the closing evaluation
    assert run("train", "--resume", folder) == 0
    after = json.loads((folder / "summary.json").read_text())
    assert {**after, "seconds": 0} == {**summary, "seconds": 0}

    monkeypatch.setitem(sys.modules, "tianshou", None)  # a policy is evaluated without it
    capsys.readouterr()
    assert run("evaluate-agent", folder, "--json") == 0
    assert json.loads(capsys.readouterr().out)["return_mean"] == summary["return_mean"]
    assert run("evaluate-agent", folder, "--shift=noise", "--episodes=2", "--json") == 0
    assert json.loads(capsys.readouterr().out)["shift"] == "noise"
    for given in (["--resume", folder], [*words(options(algo)), "--out", tmp_path / "new"]):
        assert run("train", *given) == 2
        (line,) = capsys.readouterr().err.strip().splitlines()
        assert "causal_rl[tianshou]" in line
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("algo", ["tianshou-ppo", "tianshou-sac"])
def test_a_stopped_run_goes_on_as_if_it_had_not(algo):
    whole = TianshouAlgorithm5(SPEC, options(algo))
    states = []

    def keep(current):
        states.append(current.state_dict())
        return True

    assert whole.learn(keep)
    final = states[-1]
    for at in (0, 3):  # in the warm-up, and between rollouts
        other = TianshouAlgorithm5(SPEC, options(algo))
        other.load_state_dict(states[at])
        assert other.learn(lambda current: True)
        found = other.state_dict()
        assert final["policy"].keys() == found["policy"].keys()
        for key, value in final["policy"].items():
            assert torch.equal(value, found["policy"][key]), key
        assert found["learned_graph"] == final["learned_graph"]
        assert found["episode_returns"] == final["episode_returns"]
        rows = (final["store"]["rows"], found["store"]["rows"])
        np.testing.assert_array_equal(rows[0]["state"], rows[1]["state"])


def test_fixed_graphs_are_shown_to_every_network():
    oracle = TianshouAlgorithm5(SPEC, options("tianshou-sac", graph="oracle"))
    oracle.learn(lambda current: current.progress.iteration < 1)
    truth = SPEC.causal_graph.subgraph(NAMES).summary
    for network in (oracle.tianshou.critic_old.module, oracle.tianshou.policy.actor):
        np.testing.assert_array_equal(network.body.encoder.graph.numpy().astype(bool), truth)


def test_runs_pass_tianshous_own_trace_of_determinism():
    """What its collectors and updates log of a run, by which it tests its own algorithms."""
    short = options(explore_envs=0, warmup_steps=1)
    traces = []
    for _ in range(2):
        with TraceLoggerContext() as context:
            TianshouAlgorithm5(SPEC, short).learn(lambda now: now.progress.iteration < 1)
            traces.append(context.get_log().reduce_log_to_messages().log_lines)
    assert sum("Params[" in line for line in traces[0]) == 4  # before and after the update
    assert traces[0] == traces[1]


def test_bad_runs_are_named(tmp_path):
    with pytest.raises(ValueError, match="algo must be one of tianshou-ppo, tianshou-sac"):
        TianshouAlgorithm5(SPEC, options("own"))
    with pytest.raises(ValueError, match=r"absent\.json"):
        train(options(graph="absent.json"), out=tmp_path / "none")
    assert not (tmp_path / "none").exists()


# --- environments of Gymnasium -----------------------------------------------------------------


def cartpole(graph, steps):
    """Tianshou's own PPO on CartPole with networks that read a graph."""
    config = TrainConfig(gamma=0.99, learning_rate=1e-3, entropy_coef=0.0)
    algorithm = make_ppo(gymnasium.make("CartPole-v1"), config)
    names = list(CARTPOLE.states)
    assert set_algorithm_graph(algorithm, graph, names) == 1
    envs = DummyVectorEnv([lambda: gymnasium.make("CartPole-v1")] * 8)
    envs.seed(0)
    collector = Collector(algorithm, envs, VectorReplayBuffer(1024, 8))
    collector.reset()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        algorithm.run_training(
            OnPolicyTrainerParams(
                training_collector=collector,
                max_epochs=1,
                epoch_num_steps=steps,
                collection_step_num_env_steps=1024,
                batch_size=256,
                update_step_num_repetitions=4,
                show_progress=False,
                verbose=False,
            )
        )
    return algorithm


def test_cartpole_under_a_learned_graph(tmp_path):
    graph = make_learner("interventional").fit(random_transitions(CARTPOLE, n=1500, rng=0))
    states = list(CARTPOLE.states)
    found = graph.subgraph(states).compare(CARTPOLE.causal_graph.subgraph(states))
    assert found.lagged.precision == 1.0  # what it misses hardly moves anything
    assert found.lagged.recall > 0.6
    algorithm = cartpole(graph, 1024)
    view = algorithm.policy.actor.body.encoder.graph.numpy().astype(bool)
    np.testing.assert_array_equal(view, graph.subgraph(states).summary)
    save_algorithm(tmp_path, algorithm, graph)
    other = make_ppo(gymnasium.make("CartPole-v1"), TrainConfig(seed=1))
    assert load_algorithm(tmp_path, other) == graph
    values = np.random.default_rng(0).normal(size=(6, 4))
    logits = algorithm.policy.actor(values)[0]
    assert logits.shape == (6, 2)
    assert torch.isfinite(logits).all()
    assert torch.equal(logits, other.policy.actor(values)[0])


@pytest.mark.slow
def test_cartpole_is_balanced_under_its_known_graph():
    algorithm = cartpole(CARTPOLE.causal_graph, 20_480)
    envs = DummyVectorEnv([lambda: gymnasium.make("CartPole-v1")] * 8)
    envs.seed(1)
    collector = Collector(algorithm, envs)
    collector.reset()
    with policy_within_training_step(algorithm.policy, enabled=False):
        stats = collector.collect(n_episode=16)
    assert stats.returns.mean() > 250


def test_environments_that_do_not_fit_are_named():
    with pytest.raises(TypeError, match="world must be an SCMEnvSpec"):
        make_ppo("chain-scm", TINY)
    with pytest.raises(ValueError, match="Discrete actions"):
        make_sac(gymnasium.make("Pendulum-v1"), TINY)
    with pytest.raises(ValueError, match="flat Box observations"):
        make_ppo(gymnasium.make("Taxi-v4"), TINY)
