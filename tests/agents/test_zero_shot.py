from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray

from causal_rl.agents import SCMPlanner, evaluate, noop_controller
from causal_rl.agents.transfer import (
    DoPredictor,
    FittedSCM,
    WorldFamily,
    fit_evidence,
    greedy_controller,
    meet_world,
    train_predictor,
    training_worlds,
)
from causal_rl.agents.transfer.command import act_zero_shot_command, train_family_command
from causal_rl.envs import SCMEnvSpec, record, resolve_spec, scale_noise

Floats = NDArray[np.float64]


def world(n: int = 5, **options: object) -> SCMEnvSpec:
    settings = {"density": 1.5, "noise_share": 0.2, "graph_seed": 4000, "horizon": 8, **options}
    return resolve_spec("er-scm", n=n, **settings)


@pytest.fixture(scope="module")
def predictor() -> DoPredictor:
    """Trained for seconds on worlds of four variables."""
    made = DoPredictor(embed_dim=24, hidden=48)
    worlds = training_worlds(WorldFamily(), 4, range(30), queries=32, rows=(300,))
    train_predictor(made, worlds, steps=140, batch=48, lr=6e-3)
    return made


def test_a_little_training_predicts_unseen_worlds_of_another_size(predictor: DoPredictor) -> None:
    error = total = 0.0
    unseen = training_worlds(WorldFamily(), 8, range(1000, 1006), queries=24, rows=(300,))
    for evidence, queries in unseen:
        free = ~queries.do_mask
        mean, _ = predictor.predict(evidence, queries.previous, queries.do_mask, queries.do_value)
        error += ((mean - queries.mean)[free] ** 2).sum()
        total += (queries.mean[free] ** 2).sum()
    assert 1.0 - error / total > 0.75


def test_greedy_control_earns_more_than_doing_nothing() -> None:
    spec = world()
    data = record(spec, 500, seed=0).without_contexts()
    assert data.names == tuple(f"X{i + 1}" for i in range(5))
    model = FittedSCM(fit_evidence(data, spec.causal_graph), curved=True)
    acting = greedy_controller(spec, model.predict)
    earned = evaluate(spec, acting, episodes=16, seed=0).mean()
    assert earned > evaluate(spec, noop_controller(), episodes=16, seed=0).mean() + 1.0


def test_greedy_control_by_the_true_model_is_the_oracle_that_looks_one_step_ahead() -> None:
    spec = scale_noise(world(), factor=1e-9)
    scm = spec.scm
    free = [i for i in range(scm.n) if i not in scm.contexts]
    state = np.random.default_rng(0).standard_normal((20, scm.n))

    def predict(previous: Floats, mask: NDArray[np.bool_], value: Floats) -> tuple[Floats, Floats]:
        # Contexts are not handed over; they are causes of nothing but the reward here.
        whole, whole_mask, whole_value = (
            np.zeros((len(previous), scm.n), dtype=a.dtype) for a in (previous, mask, value)
        )
        whole[:, free], whole_mask[:, free], whole_value[:, free] = previous, mask, value
        after = scm.step(whole, np.zeros_like(whole), None, whole_mask, whole_value)
        return after[:, free], np.zeros_like(previous)

    chosen = greedy_controller(spec, predict)(state, state)
    np.testing.assert_array_equal(chosen, SCMPlanner(spec, horizon=1).plan(state).action)


def test_it_acts_in_a_larger_unseen_world_by_the_graph_it_learned(predictor: DoPredictor) -> None:
    spec = world(7)
    before = {name: weight.clone() for name, weight in predictor.state_dict().items()}
    agent = meet_world(predictor, spec, rows=400, seed=1)
    assert agent.graph.names == agent.evidence.names == tuple(f"X{i + 1}" for i in range(7))
    assert agent.evidence.rows == 400
    earned = evaluate(spec, agent.controller, episodes=16, seed=0).mean()
    assert earned > evaluate(spec, noop_controller(), episodes=16, seed=0).mean() + 1.0
    assert all(
        bool((weight == before[name]).all()) for name, weight in predictor.state_dict().items()
    )


def test_a_given_graph_is_gone_by(predictor: DoPredictor) -> None:
    spec = world()
    agent = meet_world(predictor, spec, rows=200, graph=spec.causal_graph)
    truth = spec.causal_graph.subgraph(agent.evidence.names)
    np.testing.assert_array_equal(agent.evidence.now != 0, truth.contemporaneous)


def test_acting_is_a_function_of_the_seed(predictor: DoPredictor) -> None:
    spec = world()
    returns = [
        evaluate(spec, meet_world(predictor, spec, rows=64, seed=s).controller, episodes=4, seed=0)
        for s in (0, 0)
    ]
    np.testing.assert_array_equal(*returns)


def test_bad_input_is_named(predictor: DoPredictor) -> None:
    spec = world(4)
    with pytest.raises(ValueError, match="points must be at least 1"):
        greedy_controller(spec, lambda *_: (np.zeros((1, 4)), np.zeros((1, 4))), points=0)
    with pytest.raises(ValueError, match="must have 16 rows, got 8"):
        meet_world(predictor, spec, rows=8, graph=spec.causal_graph)
    with pytest.raises(ValueError, match="unknown graph learner"):
        meet_world(predictor, spec, rows=32, learner="guess")
    hidden = resolve_spec("front-door")
    with pytest.raises(ValueError, match="no hidden variable"):
        meet_world(predictor, hidden, rows=32)


def test_commands_train_save_and_act(tmp_path: Path) -> None:
    file, runner = tmp_path / "family.pt", CliRunner()
    small = ["--size", "4", "--worlds", "6", "--steps", "5"]
    done = runner.invoke(train_family_command, ["--out", str(file), *small])
    assert done.exit_code == 0, done.output
    arguments = [str(file), "--env-arg", "n=5", "--env-arg", "horizon=4", "--episodes", "2"]
    acted = runner.invoke(act_zero_shot_command, [*arguments, "--rows", "64", "--json"])
    assert acted.exit_code == 0, acted.output
    found = json.loads(acted.output)
    assert {"return_mean", "return_oracle", "return_normalised"} <= set(found)
    refused = runner.invoke(train_family_command, ["--out", str(tmp_path / "no" / "f.pt"), *small])
    assert refused.exit_code == 2
    assert "existing folder" in refused.output
