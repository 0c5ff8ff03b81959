from __future__ import annotations

import numpy as np
import pytest
import torch

from causal_rl.agents import (
    Algorithm5,
    TrainConfig,
    evaluate,
    measure_yardsticks,
    policy_controller,
)
from causal_rl.envs import Interventions, SCMEnvSpec
from causal_rl.graphs import CausalGraph
from causal_rl.scm import DynamicSCM, Gaussian, Linear, Uniform, Variable

SMALL = {
    "num_envs": 8,
    "explore_envs": 2,
    "warmup_steps": 320,
    "graph_every": 2,
    "eval_every": 3,
    "eval_episodes": 8,
    "embed_dim": 16,
    "layers": 1,
}


@pytest.fixture(scope="module")
def spec():
    """A three-variable world that must be solved in a few thousand steps."""
    scm = DynamicSCM(
        [
            Variable("y", Linear([1.0]), Gaussian(0.2), parents=["x"]),
            Variable("x", Linear([0.8]), Gaussian(0.5), parents=["w"]),
            Variable("w", noise=Gaussian(1.0)),
            Variable("goal", noise=Uniform(-1.0, 1.0), kind="context"),
            Variable(
                "reward", lambda y, goal: -np.abs(y - goal), parents=["y", "goal"], kind="reward"
            ),
        ]
    )
    return SCMEnvSpec("tiny", scm, Interventions(["x", "w"], (-0.5, 0.5), 0.01), horizon=8)


def run(spec, observer=lambda algorithm: True, **options):
    algorithm = Algorithm5(spec, TrainConfig(**{**SMALL, "steps": 2000, **options}))
    assert algorithm.learn(observer) is True
    return algorithm


@pytest.mark.parametrize("encoder", ["ecam", "attention", "mlp", "masked-mlp"])
def test_solves_a_tiny_world(spec, encoder):
    algorithm = run(spec, encoder=encoder, steps=12_000)
    returns = evaluate(
        spec, policy_controller(algorithm.policy, algorithm.device), episodes=64, seed=9
    )
    yardsticks = measure_yardsticks(spec, episodes=64, seed=9)
    assert yardsticks.normalise(float(returns.mean())) > 0.85
    assert algorithm.learned_graph == spec.causal_graph


@pytest.mark.parametrize("policy_update", ["a2c", "paper"])
def test_other_updates_change_the_policy(spec, policy_update):
    initial = Algorithm5(spec, TrainConfig(**SMALL, policy_update=policy_update)).policy
    trained = run(spec, policy_update=policy_update).policy
    moved = [
        not torch.equal(a, b)
        for a, b in zip(initial.parameters(), trained.parameters(), strict=True)
    ]
    assert all(moved)
    assert all(bool(torch.isfinite(p).all()) for p in trained.parameters())


def test_same_seed_same_run_and_no_global_state(spec):
    torch.manual_seed(1)
    first = run(spec)
    drawn = torch.rand(1)
    torch.manual_seed(2)
    second = run(spec)
    assert first.history == second.history
    for a, b in zip(first.policy.parameters(), second.policy.parameters(), strict=True):
        assert torch.equal(a, b)
    torch.manual_seed(1)
    assert torch.equal(torch.rand(1), drawn)
    assert any(
        not torch.equal(a, b)
        for a, b in zip(
            first.policy.parameters(), run(spec, seed=1).policy.parameters(), strict=True
        )
    )


def test_continues_from_any_state_as_if_unbroken(spec):
    states = []

    def keep(algorithm):
        states.append(algorithm.state_dict())
        return True

    whole = run(spec, keep)
    for index in (0, 3, len(states) - 1):
        again = Algorithm5(spec, whole.config)
        again.load_state_dict(states[index])
        assert again.learn(lambda algorithm: True)
        assert again.learned_graph == whole.learned_graph
        assert again.best["mean_return"] == whole.best["mean_return"]
        for key, value in whole.policy.state_dict().items():
            assert torch.equal(again.policy.state_dict()[key], value), key


def test_observer_stops_the_run(spec):
    algorithm = Algorithm5(spec, TrainConfig(**SMALL, steps=2000))
    assert algorithm.learn(lambda current: current.progress.iteration < 2) is False
    assert algorithm.progress.iteration == 2


def test_the_store_holds_what_was_done_and_no_reset_rows(spec):
    rows = run(spec).store.all()
    assert rows.do_target.any(axis=1).mean() > 0.3
    np.testing.assert_array_equal(rows.next_state[rows.do_target], rows.do_value[rows.do_target])
    goal = rows.names.index("goal")
    # A context is held through an episode; a row across a reset would change it.
    np.testing.assert_array_equal(rows.state[:, goal], rows.next_state[:, goal])
    assert rows.truncated.sum() > 0


@pytest.mark.parametrize(
    ("graph", "read"), [("oracle", 4), ("full", 4), ("empty", 1), ("learned", 4)]
)
def test_graph_sources(spec, graph, read):
    assert run(spec, graph=graph).policy.variables_read == read


def test_a_given_graph_is_read_and_checked(spec):
    truth = spec.causal_graph
    algorithm = Algorithm5(
        spec, TrainConfig(**SMALL, graph="file.json"), graph=truth.subgraph(["y", "x", "w", "goal"])
    )
    assert algorithm.policy.variables_read == 1  # no reward node: only the context is left
    other = CausalGraph.empty(["p", "q", "reward"], ["state", "state", "reward"])
    with pytest.raises(ValueError, match="is over p, q, reward; this world has y, x, w, goal"):
        Algorithm5(spec, TrainConfig(graph="file.json"), graph=other)
    with pytest.raises(ValueError, match=r"a graph JSON file; got 'file\.json', which is none"):
        Algorithm5(spec, TrainConfig(graph="file.json"))
