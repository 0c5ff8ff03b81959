# ruff: noqa: E402
from __future__ import annotations

import dataclasses
import io
import json

import gymnasium
import numpy as np
import pytest
import torch
from program import run
from rich.console import Console

sb3 = pytest.importorskip(
    "stable_baselines3", reason="stable-baselines3 is not installed; extra: sb3"
)

from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import VecMonitor, VecNormalize

from causal_rl.agents import TrainConfig, evaluate, train
from causal_rl.agents.sb3 import (
    CausalGraphCallback,
    ECAMPolicy,
    SCMVecEnv,
    evaluate_sb3_agent,
    load_sb3_agent,
    sb3_controller,
    train_sb3,
)
from causal_rl.envs import GYM_DYNAMICS, resolve_spec
from causal_rl.graphs import CausalGraph

WORLD = """
import numpy as np

from causal_rl.envs import Interventions, SCMEnvSpec
from causal_rl.envs.shifts import scale_noise
from causal_rl.scm import DynamicSCM, Gaussian, Linear, Uniform, Variable

SCM = DynamicSCM(
    [
        Variable("y", Linear([1.0]), Gaussian(0.2), parents=["x"]),
        Variable("x", Linear([0.8]), Gaussian(0.5), parents=["w"]),
        Variable("w", noise=Gaussian(1.0)),
        Variable("goal", noise=Uniform(-1.0, 1.0), kind="context"),
        Variable("reward", lambda y, g: -np.abs(y - g), parents=["y", "goal"], kind="reward"),
    ]
)
SPEC = SCMEnvSpec(
    "tiny",
    SCM,
    Interventions(["x", "w"], (-0.5, 0.5), 0.01),
    horizon=8,
    shifts={"far": scale_noise},
)
"""
SMALL = {
    "num_envs": 8,
    "explore_envs": 2,
    "warmup_steps": 320,
    "graph_every": 2,
    "eval_every": 3,
    "eval_episodes": 8,
    "final_episodes": 16,
    "embed_dim": 16,
    "layers": 1,
}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A world that must be solved in a few thousand steps, in a file."""
    path = tmp_path_factory.mktemp("world") / "tiny.py"
    path.write_text(WORLD)
    return f"{path}:SPEC"


def quiet():
    return Console(file=io.StringIO())


def test_a_run_has_the_files_and_figures_of_every_run(world, tmp_path, capsys):
    config = TrainConfig(env=world, steps=700, **SMALL)
    config = dataclasses.replace(config, algo="sb3-ppo")
    summary = train(config, out=tmp_path / "run", console=quiet())
    own = train(dataclasses.replace(config, algo="own"), out=tmp_path / "own", console=quiet())
    names = {p.name for p in (tmp_path / "own").iterdir()}
    assert {p.name for p in (tmp_path / "run").iterdir()} == (
        names - {"checkpoint.pt"} | {"model.zip", "history.json"}
    )
    assert list(summary) == list(own)
    assert json.loads((tmp_path / "run" / "summary.json").read_text()) == summary
    assert summary["policy_update"] == "sb3-ppo"
    assert 700 <= summary["env_steps"] < 700 + 10 * config.rollout_steps
    # Yardsticks are read on the same episodes.
    assert summary["return_oracle"] == own["return_oracle"]
    graph = CausalGraph.load(tmp_path / "run" / "graph.json")
    model, spec, loaded, controller = load_sb3_agent(tmp_path / "run")
    assert loaded == config
    assert graph.compare(spec.causal_graph).to_dict().items() <= summary.items()
    assert model.policy.graph is not None
    returns = evaluate(spec, controller, episodes=16, seed=700_000)
    assert returns.mean() == summary["return_mean"]
    capsys.readouterr()
    assert run("evaluate-agent", tmp_path / "run", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["return_normalised"] == summary["return_normalised"]
    shifted = evaluate_sb3_agent(tmp_path / "run", shift="far", episodes=16)
    assert shifted.yardsticks.noop < found["return_noop"]
    assert run("train", "--resume", tmp_path / "run") == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "cannot be resumed: it was trained by sb3-ppo" in line


@pytest.mark.parametrize("graph", ["oracle", "empty"])
def test_a_fixed_graph_stays(world, tmp_path, graph):
    config = TrainConfig(env=world, steps=400, graph=graph, **SMALL)
    train_sb3(config, "a2c", out=tmp_path / "run", console=quiet())
    model, spec, _, _ = load_sb3_agent(tmp_path / "run")
    assert (model.policy.graph == spec.causal_graph) == (graph == "oracle")
    read = model.policy.features_extractor.variables_read
    assert len(read) == {"oracle": 4, "empty": 1}[graph]


def test_bad_input_is_named_and_nothing_is_written(world, tmp_path):
    config = TrainConfig(env=world, steps=600, **SMALL)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    with pytest.raises(ValueError, match="algo must be one of ppo, a2c, sac, dqn, got 'td3'"):
        train_sb3(config, "td3", out=tmp_path / "run")
    with pytest.raises(ValueError, match="out must be a new or empty folder"):
        train_sb3(config, "ppo", out=tmp_path / "full")
    with pytest.raises(ValueError, match=r"graph must be learned, .* got 'none\.json'"):
        train_sb3(
            TrainConfig(env=world, graph="none.json"), "ppo", out=tmp_path / "run", console=quiet()
        )
    other = CausalGraph.empty(["a", "reward"], ["state", "reward"])
    other.save(tmp_path / "other.json")
    with pytest.raises(ValueError, match="is over a, reward; this world has y, x, w, goal"):
        train_sb3(TrainConfig(env=world, graph=str(tmp_path / "other.json")), out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
    with pytest.raises(ValueError, match="is no run folder"):
        load_sb3_agent(tmp_path / "full")
    spec = resolve_spec(world)
    model = sb3.PPO(ECAMPolicy, SCMVecEnv(spec, 2), device="cpu")
    with pytest.raises(ValueError, match="actions must be the form that the model acts in"):
        sb3_controller(model, spec, "flat")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("algo", "encoder", "steps", "least"),
    [
        ("ppo", "ecam", 12_000, 0.85),
        ("ppo", "masked-mlp", 12_000, 0.85),
        ("a2c", "ecam", 24_000, 0.75),
        ("dqn", "ecam", 16_000, 0.75),
        ("sac", "ecam", 16_000, 0.7),
    ],
)
def test_solves_a_tiny_world(world, tmp_path, algo, encoder, steps, least):
    returns = []
    for seed in range(3):
        config = TrainConfig(env=world, steps=steps, encoder=encoder, seed=seed, **SMALL)
        summary = train_sb3(config, algo, out=tmp_path / str(seed), console=quiet())
        returns.append(summary["return_normalised"])
        assert summary["shd_contemporaneous"] == summary["shd_lagged"] == 0
    assert np.median(returns) > least, returns


@pytest.mark.slow
def test_same_seed_same_run(world, tmp_path):
    def trained(name, seed):
        config = TrainConfig(env=world, steps=2000, seed=seed, **SMALL)
        summary = train_sb3(config, "ppo", out=tmp_path / name, console=quiet())
        del summary["seconds"]
        return summary, load_sb3_agent(tmp_path / name)[0].policy.state_dict()

    first, second, other = trained("a", 0), trained("b", 0), trained("c", 1)
    assert first[0] == second[0]
    assert all(torch.equal(first[1][key], value) for key, value in second[1].items())
    assert first[0] != other[0]


@pytest.mark.slow
def test_native_actions_and_a_hand_made_loop_learn_too(world):
    spec = resolve_spec(world)
    env = VecNormalize(VecMonitor(SCMVecEnv(spec, 8)), norm_obs=False, gamma=0.5)
    options = {"features_extractor_kwargs": {"embed_dim": 16, "layers": 1}}
    model = sb3.PPO(
        "ECAMPolicy",
        env,
        n_steps=16,
        batch_size=64,
        n_epochs=4,
        gamma=0.5,
        learning_rate=2e-3,
        policy_kwargs=options,
        seed=0,
        device="cpu",
    )
    model.learn(16_000, callback=CausalGraphCallback(warmup_steps=320, every=1000))
    assert model.policy.graph == spec.causal_graph
    returns = evaluate(spec, sb3_controller(model, spec, "native"), episodes=64, seed=9)
    from causal_rl.agents import measure_yardsticks

    yardsticks = measure_yardsticks(spec, episodes=64, seed=9)
    assert yardsticks.normalise(float(returns.mean())) > 0.7


@pytest.mark.slow
def test_cartpole_is_balanced_under_its_known_graph():
    graph = GYM_DYNAMICS["cartpole"].causal_graph
    env = VecMonitor(
        SCMVecEnv(
            gymnasium.make_vec(
                "CartPole-v1",
                num_envs=8,
                vectorization_mode="sync",
                vector_kwargs={"autoreset_mode": gymnasium.vector.AutoresetMode.SAME_STEP},
            )
        )
    )
    normal = VecNormalize(env, norm_obs=False, gamma=0.99)
    model = sb3.PPO(
        "ECAMPolicy",
        normal,
        n_steps=128,
        batch_size=256,
        n_epochs=4,
        learning_rate=1e-3,
        policy_kwargs={"features_extractor_kwargs": {"graph": graph}},
        seed=0,
        device="cpu",
    ).learn(60_000)
    rewards, _ = evaluate_policy(model, env, n_eval_episodes=16, return_episode_rewards=True)
    assert np.mean(rewards) > 250
