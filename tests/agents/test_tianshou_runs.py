"""Runs by Tianshou: the program, resuming, determinism, CartPole under a graph."""

from __future__ import annotations

import json
import sys

import gymnasium
import numpy as np
import pytest
import torch
from program import run
from tianshou_world import NAMES, SPEC, TINY

pytest.importorskip("tianshou", reason="tianshou is not installed; extra: tianshou")

from tianshou.data import Collector, VectorReplayBuffer
from tianshou.env import DummyVectorEnv
from tianshou.trainer import OnPolicyTrainerParams
from tianshou.utils.determinism import TraceLoggerContext
from tianshou.utils.torch_utils import policy_within_training_step

from causal_rl.agents import TrainConfig, train
from causal_rl.agents.tianshou import (
    TianshouAlgorithm5,
    load_algorithm,
    make_ppo,
    make_sac,
    save_algorithm,
    set_algorithm_graph,
)
from causal_rl.discovery import make_learner
from causal_rl.envs.gym_dynamics import random_transitions
from causal_rl.envs.known_dynamics import CARTPOLE


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
