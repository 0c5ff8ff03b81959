"""A world by hand: all that a check looks at is in it, and nothing is wrong with it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from causal_rl.envs import Interventions, SCMEnvSpec, change_mechanism
from causal_rl.scm import DynamicSCM, Gaussian, Laplace, Linear, Tanh, Uniform, Variable
from causal_rl.testing import WorldConformance


def closeness(y: np.ndarray, goal: np.ndarray, x: np.ndarray) -> np.ndarray:
    return -np.abs(y - goal) + 0.25 * x


def garden() -> list[Variable]:
    """u (hidden) -> x -> y, y remembers; the reward reads y, the goal, and x one step before."""
    return [
        Variable("y", Tanh([1.0, 0.7, 0.5]), Gaussian(0.5), ("x", "u"), ("y",)),
        Variable("x", Linear([1.0, 0.3]), Uniform(-0.5, 0.5), ("u",), ("x",)),
        Variable("u", noise=Laplace(0.5), kind="hidden"),
        Variable("goal", kind="context"),
        Variable("reward", closeness, parents=("y", "goal"), lagged_parents=("x",), kind="reward"),
    ]


def world(variables: list[Variable] | None = None, **changes: Any) -> SCMEnvSpec:
    arguments: dict[str, Any] = {
        "name": "garden",
        "scm": DynamicSCM(variables or garden()),
        "interventions": Interventions(["x", "y"], [-1.0, 0.5, 2.0], {"x": 0.25}),
        "horizon": 6,
        "shifts": {"mechanism": change_mechanism},
    }
    return SCMEnvSpec(**{**arguments, **changes})


def changed(name: str, mechanism: Any, **more: Any) -> SCMEnvSpec:
    """The garden with another mechanism for one variable."""
    return world(
        [replace(v, mechanism=mechanism, **more) if v.name == name else v for v in garden()]
    )


class Garden(WorldConformance):
    """The checks of a world that is made when the test is."""

    def __init__(self, made: SCMEnvSpec | None = None, **attributes: Any) -> None:
        self._made = made or world()
        for name, value in attributes.items():
            setattr(self, name, value)

    def spec(self) -> SCMEnvSpec:
        return self._made


def assert_fails(case: WorldConformance, check: str, message: str) -> None:
    with pytest.raises(AssertionError, match=message) as caught:
        getattr(case, check)()
    assert "\n" not in str(caught.value)
