from __future__ import annotations

import numpy as np
import pytest

from causal_rl.envs import Interventions, SCMEnvSpec
from causal_rl.envs.spec import marginal_graph
from causal_rl.graphs import CausalGraph
from causal_rl.scm import DynamicSCM, Linear, Variable


def world(**changes: object) -> SCMEnvSpec:
    scm = DynamicSCM(
        [
            Variable("b", Linear([1.0, 0.5]), parents=("a", "h")),
            Variable("h", kind="hidden"),
            Variable("a"),
            Variable("goal", kind="context"),
            Variable("reward", Linear([1.0]), parents=("b",), kind="reward"),
        ]
    )
    fields: dict = {"name": "w", "scm": scm, "interventions": Interventions(["a"])} | changes
    return SCMEnvSpec(**fields)


def test_observed_columns_leave_hidden_variables_out() -> None:
    spec = world()
    assert spec.observed_names == ("b", "a", "goal")
    assert spec.observed_kinds == ("state", "state", "context")
    assert spec.observation_space().shape == (3,)
    assert spec.causal_graph.names == ("b", "a", "goal", "reward")
    assert spec.causal_graph.kinds == ("state", "state", "context", "reward")
    assert {e[1:] for e in spec.causal_graph.edges()} == {("a", "b"), ("b", "reward")}


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"interventions": Interventions(["z"])}, ValueError, "settable 'z' is no variable"),
        ({"interventions": Interventions(["h"])}, ValueError, "settable 'h' is of kind 'hidden'"),
        ({"interventions": Interventions(["goal"])}, ValueError, "'goal' is of kind 'context'"),
        ({"interventions": Interventions(["reward"])}, ValueError, "is the reward"),
        ({"interventions": ["a"]}, TypeError, "interventions must be"),
        ({"horizon": 0}, ValueError, "horizon must be at least 1"),
        ({"horizon": 2.0}, TypeError, "horizon must be an integer"),
        ({"scm": DynamicSCM([Variable("a")])}, ValueError, "has no reward"),
        ({"scm": "a"}, TypeError, "scm must be"),
    ],
)
def test_bad_arguments(changes: dict, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message) as caught:
        world(**changes)
    assert "\n" not in str(caught.value)


def test_shifted() -> None:
    spec = world(shifts={"short": lambda s: s.replace(horizon=3)})
    assert spec.shifted("short").horizon == 3
    assert spec.shifted("short").name == "w[short]"
    with pytest.raises(ValueError, match="shift 'long' is unknown to world 'w'; known: short"):
        spec.shifted("long")
    with pytest.raises(ValueError, match="known: none"):
        world().shifted("long")


def test_a_shift_may_not_change_the_spaces() -> None:
    spec = world(shifts={"b": lambda s: s.replace(interventions=Interventions(["b"]))})
    with pytest.raises(ValueError, match="changes the observed variables or the actions"):
        spec.shifted("b")


def test_marginal_graph_closes_hidden_paths_of_one_step() -> None:
    names = ("x", "h", "k", "y", "z")
    now, lag = np.zeros((5, 5)), np.zeros((5, 5))
    now[0, 1] = now[1, 2] = now[2, 3] = 1  # x -> h -> k -> y
    lag[2, 4] = 1  # k -> z a step later, hence x -> z lagged
    lag[2, 2] = 1  # k remembers: x -> k, k -> k, k -> y spans one step
    graph = CausalGraph(now, lag, names, ("state", "hidden", "hidden", "state", "state"))
    marginal = marginal_graph(graph, ("x", "y", "z"))
    assert set(marginal.edges()) == {
        ("contemporaneous", "x", "y"),
        ("lagged", "x", "y"),
        ("lagged", "x", "z"),
    }
