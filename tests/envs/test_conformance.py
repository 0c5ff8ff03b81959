"""The conformance class: all built-in worlds and random ones pass it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from causal_rl.envs import Interventions, SCMEnvSpec, change_mechanism
from causal_rl.envs.worlds import BUILT_IN
from causal_rl.envs.worlds.chemical_labels import silent_paths
from causal_rl.scm import (
    MLP,
    Categorical,
    DynamicSCM,
    Function,
    Gaussian,
    Laplace,
    Linear,
    NoNoise,
    OneHot,
    Polynomial,
    RandomFeatures,
    Structural,
    Tanh,
    Uniform,
    Variable,
)
from causal_rl.testing import WorldConformance

#: Sizes that keep the suite quick; a world takes those of these options that it has.
SMALL = {"n": 4, "horizon": 4, "objects": 4, "colours": 3, "distractors": 2, "blocks": 2}


@cache
def small(name: str) -> SCMEnvSpec:
    world = BUILT_IN[name]
    fields = {field.name for field in dataclasses.fields(world.options)}
    options = {key: value for key, value in SMALL.items() if key in fields}
    try:
        return world.make(**options)
    except ValueError:  # a world that cannot be that small
        return world.make().replace(horizon=SMALL["horizon"])


class TestBuiltInWorlds(WorldConformance):
    """Inherited as a user inherits it; the fixture repeats it for every world."""

    num_envs = 2
    test_render = None  # pictures are slow; one of each family is below

    @pytest.fixture(params=list(BUILT_IN), autouse=True)
    def _choose(self, request: pytest.FixtureRequest) -> None:
        self.name = request.param

    def spec(self) -> SCMEnvSpec:
        made = small(self.name)
        self.allowed_missing = silent_paths(made) if self.name.startswith("chemical") else ()
        return made


class Made(WorldConformance):
    """The checks of one specification."""

    def __init__(self, made: SCMEnvSpec, **attributes: Any) -> None:
        self._made = made
        for name, value in attributes.items():
            setattr(self, name, value)

    def spec(self) -> SCMEnvSpec:
        return self._made


@pytest.mark.parametrize("name", ["lagged-chain-scm", "mixed-scm", "chemical-full", "bandit-uc"])
def test_built_in_worlds_draw_themselves(name: str) -> None:
    Made(small(name)).test_render()


class TestByName(WorldConformance):
    """A world by name and options, without a method."""

    world = "fork-scm"
    options = {"n": 3, "horizon": 2}  # noqa: RUF012


# Random specifications.


def squared(x: np.ndarray, noise: np.ndarray) -> np.ndarray:
    return np.tanh(x) * (1.0 + noise**2)


def waves(*columns: np.ndarray) -> np.ndarray:
    return sum(np.sin(k + 1.1 * c) for k, c in enumerate(columns))


def random_spec(seed: int) -> SCMEnvSpec:
    """Every kind of variable, mechanism and noise; columns in no causal order."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 7))
    names = [f"v{i}" for i in range(n)]
    kinds = rng.choice(["state", "action", "hidden"], size=n, p=[0.6, 0.2, 0.2])
    kinds[0] = "state"
    counts: dict[str, int | None] = {"goal": None}
    variables = [Variable("goal", noise=Uniform(-1.0, 1.0), kind="context")]
    for i, name in enumerate(names):
        parents = [p for p in (*names[:i], "goal") if rng.random() < 0.5]
        lagged = [p for p in names[: i + 1] if rng.random() < 0.4]
        counts[name] = 3 if rng.random() < 0.3 else None
        read = [counts[p] for p in (*parents, *lagged)]
        mechanism: Any
        noise: Any = [Gaussian(0.5), Uniform(-0.2, 1.0), Laplace(0.3), NoNoise()][rng.integers(4)]
        if counts[name] is not None:
            width = sum(k or 1 for k in read)
            logits = [OneHot(Linear(rng.normal(size=width)), read) for _ in range(3)]
            own = Categorical(logits) if read else Categorical.from_probabilities([0.2, 0.3, 0.5])
            variables.append(
                Variable(name, own, parents=parents, lagged_parents=lagged, kind=kinds[i])
            )
            continue
        mechanism = _continuous(read, rng)
        variables.append(Variable(name, mechanism, noise, parents, lagged, kinds[i]))
    readable = [name for name in names if rng.random() < 0.6] or [names[0]]
    reward = Variable(
        "reward", waves, parents=(*readable, "goal"), lagged_parents=(names[-1],), kind="reward"
    )
    rng.shuffle(variables)
    settable = [name for name, kind in zip(names, kinds, strict=True) if kind != "hidden"]
    values = {
        name: [-1.0, 0.5, 2.0] if counts[name] is None else [0.0, 1.0, 2.0] for name in settable
    }
    return SCMEnvSpec(
        name=f"random-{seed}",
        scm=DynamicSCM([reward, *variables]),
        interventions=Interventions(settable, values, {settable[0]: 0.3}),
        horizon=int(rng.integers(1, 6)),
        shifts={"mechanism": change_mechanism} if counts[readable[0]] is None else {},
    )


def _continuous(read: list[int | None], rng: np.random.Generator) -> Any:
    width = sum(k or 1 for k in read)
    if not read:
        return None
    if any(k is not None for k in read):
        return OneHot(Tanh(rng.normal(size=width)), read)
    makers: list[Callable[[], Any]] = [
        lambda: Linear(rng.uniform(-0.6, 0.6, size=width)),
        lambda: MLP.random(width, rng, hidden=int(rng.integers(1, 20))),
        lambda: RandomFeatures.random(width, rng, features=int(rng.integers(1, 40))),
        lambda: Polynomial.random(width, rng),
        lambda: Function(waves),
        lambda: Structural(squared) if width == 1 else Linear(np.full(width, 0.4)),
    ]
    return makers[rng.integers(len(makers))]()


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_random_specifications_are_one_world_scalar_and_vector(seed: int) -> None:
    case = Made(random_spec(seed), max_steps=5)
    case.test_scalar_equals_vector()
    case.test_rows_do_not_depend_on_the_batch()
    case.test_a_state_resumes_exactly()
    case.test_same_step_autoreset()
    case.test_next_step_autoreset()


@settings(max_examples=5, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_random_specifications_conform(seed: int) -> None:
    case = Made(random_spec(seed), num_envs=2, max_steps=4)
    # Thresholds can hide an effect from any number of points: no edge is asked to show.
    case.allowed_missing = tuple(case.spec().scm.graph.edges())
    case.test_other_seeds_give_other_trajectories = None  # nothing need be random in all seeds
    assert case.failures() == {}
