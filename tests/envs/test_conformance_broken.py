"""The conformance class fails broken worlds, each by the check that must see it."""

from __future__ import annotations

import dataclasses
import inspect
import itertools
import unittest
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
from gymnasium.vector import AutoresetMode

from causal_rl.envs import Interventions, SCMEnv, SCMEnvSpec, SCMVectorEnv, change_mechanism
from causal_rl.scm import (
    DynamicSCM,
    Gaussian,
    Laplace,
    Linear,
    Mechanism,
    NoNoise,
    Tanh,
    Trajectory,
    Uniform,
    Variable,
)
from causal_rl.testing import WorldConformance

# A world by hand: everything that a check looks at is in it, and nothing is wrong with it.


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


def test_a_good_world_passes_all_checks() -> None:
    assert Garden().failures() == {}
    assert Garden(world(horizon=1)).failures() == {}
    Garden(max_varsortability_excess=0.5).test_sortability()


def test_a_runner_finds_the_checks_and_their_docstrings() -> None:
    checks = {name: f for name, f in vars(WorldConformance).items() if name.startswith("test_")}
    for base in WorldConformance.__mro__:
        checks |= {name: f for name, f in vars(base).items() if name.startswith("test_")}
    assert len(checks) >= 20
    for name, method in checks.items():
        assert list(inspect.signature(method).parameters) == ["self"], name
        assert method.__doc__, name


def test_unittest_runs_it_too() -> None:
    class Case(Garden, unittest.TestCase):
        def __init__(self, method: str) -> None:
            unittest.TestCase.__init__(self, method)
            self._made = world()

        test_pickle_and_deepcopy = None

    suite = unittest.defaultTestLoader.loadTestsFromTestCase(Case)
    assert suite.countTestCases() >= 19
    result = unittest.TestResult()
    suite.run(result)
    assert result.wasSuccessful(), result.failures + result.errors


# Worlds that are broken, each in one way, and the checks that must see it.


class Remembers(Mechanism):
    """A mechanism with global state: every call adds to the next."""

    n_parents = 2
    calls = 0.0

    def __call__(self, parents: np.ndarray) -> np.ndarray:
        type(self).calls += 1.0
        return parents.sum(axis=1) + 1e-3 * type(self).calls


def mixes(u: np.ndarray, x: np.ndarray) -> np.ndarray:
    return u - u.mean() + x


def ignores_u(x: np.ndarray, u: np.ndarray, before: np.ndarray) -> np.ndarray:
    return np.tanh(x + 0.5 * before)


def ignores_x_unless_large(x: np.ndarray, u: np.ndarray, before: np.ndarray) -> np.ndarray:
    return np.tanh(np.where(x > 1e6, x, 0.0) + u + before)


def breaks_down(x: np.ndarray, u: np.ndarray, before: np.ndarray) -> np.ndarray:
    return np.where(x == 2.0, np.nan, u + before)


def other_actions(spec: SCMEnvSpec) -> SCMEnvSpec:
    return spec.replace(interventions=Interventions(["x", "y"], [-1.0, 1.0], {"x": 0.25}))


def other_kinds(spec: SCMEnvSpec) -> SCMEnvSpec:
    kinds = {"x": "action"}
    scm = DynamicSCM([replace(v, kind=kinds.get(v.name, v.kind)) for v in spec.scm.variables])
    return spec.replace(scm=scm)


def impossible(spec: SCMEnvSpec) -> SCMEnvSpec:
    raise ValueError("there is no such world")


def breaking(spec: SCMEnvSpec) -> SCMEnvSpec:
    return spec.replace(scm=spec.scm.soft_do({"y": breaks_down}))


def cancelling() -> SCMEnvSpec:
    """x reaches y twice in one step, and the two paths cancel out."""
    return world(
        [
            Variable("x", Linear([0.5]), lagged_parents=("x",)),
            Variable("m", Linear([1.0]), NoNoise(), lagged_parents=("x",)),
            Variable("y", Linear([1.0, -1.0]), parents=("m",), lagged_parents=("x",)),
            Variable("reward", Linear([1.0]), parents=("y",), kind="reward"),
        ],
        interventions=Interventions(["x", "m"], [0.0, 1.0]),
    )


def growing() -> SCMEnvSpec:
    names = ["a", "b", "c", "d"]
    chain = [Variable("a")]
    for parent, child in itertools.pairwise(names):
        chain.append(Variable(child, Linear([2.0]), parents=(parent,)))
    reward = Variable("reward", Linear([1.0]), parents=("d",), kind="reward")
    return world([*chain, reward], interventions=Interventions(["a"]))


@pytest.mark.parametrize(
    ("made", "check", "message"),
    [
        (
            partial(changed, "x", Remembers()),
            "test_a_seed_fixes_the_trajectory",
            "a second run: .* but .* in the first of that seed",
        ),
        (
            partial(changed, "x", Remembers()),
            "test_mechanisms_pass_a_dry_run",
            "ValueError: variable 'x': its mechanism gives two answers to one question",
        ),
        (
            partial(changed, "x", mixes),
            "test_rows_do_not_depend_on_the_batch",
            "a batch of 1: .* in a batch of 67",
        ),
        (
            partial(changed, "x", mixes),
            "test_scalar_equals_vector",
            r"row 0 of the vector environment \(SameStep\): .* in the scalar environment",
        ),
        (partial(changed, "x", mixes), "test_mechanisms_pass_a_dry_run", ".* mixes the rows"),
        (
            partial(changed, "y", ignores_u),
            "test_the_stated_graph",
            "the contemporaneous edge u -> y is stated, but u never moved y at 64 points",
        ),
        (
            partial(changed, "y", ignores_x_unless_large),
            "test_the_action_graph",
            r"action_graph says that do\(x\) moves y, but it never did|"
            r"action_graph says that do\(x\) moves reward, but it never did",
        ),
        (
            partial(changed, "y", ignores_x_unless_large),
            "test_the_one_step_graph",
            "(goal|u|x|y) has a path to (y|reward) a step later, but never moved it",
        ),
        (cancelling, "test_the_one_step_graph", "x has a path to (y|reward) a step later"),
        (
            partial(changed, "y", breaks_down),
            "test_scalar_equals_vector",
            "ValueError: variable 'y' took a value that is not finite",
        ),
        (
            partial(changed, "y", lambda x, u, before: x + u + before),
            "test_pickle_and_deepcopy",
            "cannot be pickled: .* functions at a module's top level",
        ),
        (
            partial(world, shifts={"a": other_actions}),
            "test_shifts_keep_the_interface",
            "shift 'a': .* changes the observed variables or the actions",
        ),
        (
            partial(world, shifts={"k": other_kinds}),
            "test_shifts_keep_the_interface",
            "shift 'k' changes observed_kinds to state, action, context",
        ),
        (
            partial(world, shifts={"i": impossible}),
            "test_shifts_keep_the_interface",
            "shift 'i': .*there is no such world",
        ),
        (
            partial(world, shifts={"b": breaking}),
            "test_shifts_keep_the_interface",
            "shift 'b': variable 'y' took a value that is not finite",
        ),
    ],
)
def test_a_broken_specification_fails(
    made: Callable[[], SCMEnvSpec], check: str, message: str
) -> None:
    assert_fails(Garden(made()), check, f"^world 'garden': {message}")


def assert_fails(case: WorldConformance, check: str, message: str) -> None:
    with pytest.raises(AssertionError, match=message) as caught:
        getattr(case, check)()
    assert "\n" not in str(caught.value)


def test_edges_that_need_not_show_can_be_listed() -> None:
    quiet = changed("y", ignores_x_unless_large)
    checks = ("test_the_stated_graph", "test_the_one_step_graph", "test_the_action_graph")
    for name in checks:
        assert_fails(Garden(quiet), name, "^world 'garden': ")
        getattr(Garden(quiet, allowed_missing=[("contemporaneous", "x", "y")]), name)()
    assert_fails(Garden(cancelling()), "test_the_one_step_graph", "x has a path to (y|reward)")
    cancel = [("one_step", "x", "y"), ("one_step", "x", "reward")]
    Garden(cancelling(), allowed_missing=cancel).test_the_one_step_graph()
    bad = Garden(allowed_missing=[("sideways", "x", "y")])
    assert_fails(bad, "test_the_stated_graph", "allowed_missing has the block 'sideways'")


def test_an_edge_that_is_not_stated_is_found() -> None:
    class Blind(SCMEnvSpec):
        """Says that no action moves anything."""

        @property
        def action_graph(self) -> np.ndarray:  # type: ignore[override]
            return np.zeros((2, 4), dtype=bool)

    blind = Blind(**{f.name: getattr(world(), f.name) for f in dataclasses.fields(SCMEnvSpec)})
    assert_fails(
        Garden(blind), "test_the_action_graph", r"do\(x\) moves y, but action_graph denies"
    )
    made = world()
    stated = made.scm.graph
    now = stated.contemporaneous.copy()
    now[stated.index("x"), stated.index("y")] = False
    made.scm.graph = stated.with_(contemporaneous=now)
    assert_fails(
        Garden(made), "test_the_stated_graph", "x moves y directly, but no contemporaneous edge"
    )
    assert_fails(Garden(made), "test_the_one_step_graph", "x moves y a step later without a path")
    assert_fails(
        Garden(made),
        "test_counterfactuals_move_descendants_only",
        r"counterfactual of do\(x\) in step 3: y which it does not cause,",
    )


def test_variances_that_tell_the_order_fail_where_it_is_asked() -> None:
    score = Garden(growing()).sortability()
    assert score["varsortability"] == 1.0
    assert score["edges"] == 3.0
    assert score["variance_ratio"] == pytest.approx(85.0, rel=0.15)
    Garden(growing()).test_sortability()
    strict = Garden(growing(), max_varsortability_excess=0.4)
    assert_fails(strict, "test_sortability", "varsortability 1.00 is further from 0.5 than 0.4")
    quiet = world(
        [Variable("a"), Variable("reward", Linear([1.0]), parents=("a",), kind="reward")],
        interventions=Interventions(["a"]),
    )
    assert Garden(quiet).sortability()["varsortability"] is None
    Garden(quiet, max_varsortability_excess=0.0).test_sortability()


def test_the_world_must_be_said() -> None:
    class Nameless(WorldConformance):
        pass

    class Wrong(WorldConformance):
        def spec(self) -> Any:
            return DynamicSCM(garden())

    for case, message in (
        (Nameless(), "Nameless must say which world: override spec"),
        (Wrong(), "Wrong.spec must return an SCMEnvSpec, got DynamicSCM"),
    ):
        failures = case.failures()
        assert len(failures) >= 20
        assert all(message in line for line in failures.values())


# Environments that are broken: subclasses as a user may write them.


class Leaks(SCMEnv):
    def step(self, action: Any) -> Any:
        *rest, info = super().step(action)
        values = self.get_state()["values"][0]
        return *rest, {**info, "u": values[self.scm_spec.scm.names.index("u")]}


class ShowsHidden(SCMEnv):
    def _observation(self) -> Any:
        return np.array(self._engine.values[0][: len(self.scm_spec.observed)])


class Single(SCMEnv):
    def reset(self, **kwargs: Any) -> Any:
        observation, info = super().reset(**kwargs)
        return observation.astype(np.float32), info


class NoInfo(SCMEnv):
    def reset(self, **kwargs: Any) -> Any:
        return super().reset(**kwargs)[0]


class WrongLog(SCMEnv):
    def step(self, action: Any) -> Any:
        *rest, info = super().step(action)
        return *rest, {**info, "do_value": info["do_value"] + 1.0}


class NoLog(SCMEnv):
    def step(self, action: Any) -> Any:
        *rest, info = super().step(action)
        return *rest, {**info, "do_target": np.zeros_like(info["do_target"])}


class Deaf(SCMEnv):
    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        return super().reset(seed=None if seed is None else 3)


class Tireless(SCMEnv):
    def step(self, action: Any) -> Any:
        observation, reward, terminated, _, info = super().step(action)
        return observation, reward, terminated, False, info


class Gives(SCMEnv):
    def step(self, action: Any) -> Any:
        observation, reward, _, truncated, info = super().step(action)
        return observation, reward, reward > -0.5, truncated, info


class Forgets(SCMEnv):
    def set_state(self, state: Any) -> None:
        super().set_state({**state, "step": state["step"] * 0})


class Shared(SCMEnv):
    def __deepcopy__(self, memo: Any) -> SCMEnv:
        return self


class FreshNoise(SCMEnv):
    def counterfactual(self, trajectory: Trajectory, do: Any) -> Trajectory:
        noise = np.random.default_rng(0).normal(size=trajectory.noise.shape)
        return super().counterfactual(replace(trajectory, noise=noise), do)


class Sequential(SCMEnv):
    """Draws one number less where a variable is set, which shifts all the others."""

    def trajectory(self) -> Trajectory:
        fact = super().trajectory()
        noise = fact.noise.copy()
        for t in np.flatnonzero(fact.do_mask.any(axis=(1, 2))):
            noise[t + 1] = np.roll(noise[t + 1], 1)
        return replace(fact, noise=noise)


class MovesAll(SCMEnv):
    def counterfactual(self, trajectory: Trajectory, do: Any) -> Trajectory:
        other = super().counterfactual(trajectory, do)
        moved = not np.array_equal(other.do_value, trajectory.do_value)
        column = self.scm_spec.scm.names.index("u")
        return replace(other, values=other.values + 0.5 * moved * (np.arange(4) == column))


class Paints(SCMEnv):
    metadata = {"render_modes": ["rgb_array"], "render_fps": 4}  # noqa: RUF012
    picture: Any = np.zeros((4, 6, 3))

    def __init__(self, spec: SCMEnvSpec, *, render_mode: str | None = None) -> None:
        super().__init__(spec)
        self.render_mode = render_mode

    def render(self) -> Any:
        return self.picture


class PaintsBlack(Paints):
    picture = np.zeros((4, 6, 3), dtype=np.uint8)


class PaintsGrey(Paints):
    picture = np.arange(24, dtype=np.uint8).reshape(4, 6)


class PaintsWell(Paints):
    picture = np.arange(72, dtype=np.uint8).reshape(4, 6, 3)


class Scalar(Garden):
    """The checks with another scalar environment."""

    def __init__(self, kind: type[SCMEnv], **attributes: Any) -> None:
        super().__init__(**attributes)
        self.kind = kind

    def make_env(self, spec: SCMEnvSpec, render_mode: str | None = None) -> SCMEnv:
        return self.kind(spec, render_mode=render_mode)


@pytest.mark.parametrize(
    ("kind", "check", "message"),
    [
        (Leaks, "test_hidden_variables_stay_hidden", "info has the key 'u'; allowed are do_target"),
        (
            ShowsHidden,
            "test_observations_are_the_observed_variables",
            "the observation at .* in the model's columns",
        ),
        (
            Single,
            "test_observations_are_the_observed_variables",
            "an observation is float32, not float64",
        ),
        (NoInfo, "test_gymnasium_accepts_it", "Gymnasium's checker says: .*not a tuple"),
        (NoInfo, "test_stable_baselines3_accepts_it", "Stable-Baselines3's checker says: .*reset"),
        (WrongLog, "test_info_tells_what_was_done", r"info\['do_value'\] at .* in the actions"),
        (
            NoLog,
            "test_info_tells_what_was_done",
            r"info\['do_target'\] at .* is False, but True in",
        ),
        (Deaf, "test_other_seeds_give_other_trajectories", "seeds 0..7 all give the same episode"),
        (
            Tireless,
            "test_episodes_end_at_the_horizon",
            "step 6 of an episode is not truncated; the horizon is 6",
        ),
        (Gives, "test_episodes_end_at_the_horizon", r"step \d+ terminated; worlds only truncate"),
        (
            Forgets,
            "test_a_state_resumes_exactly",
            "a scalar environment resumed after step 3 began 1 episodes",
        ),
        (Shared, "test_pickle_and_deepcopy", "a deepcopy of the scalar environment"),
        (FreshNoise, "test_the_factual_counterfactual", "the noise of the factual counterfactual"),
        (
            FreshNoise,
            "test_counterfactuals_move_descendants_only",
            r"the noise of the counterfactual of do\(x\) in step 3",
        ),
        (
            MovesAll,
            "test_counterfactuals_move_descendants_only",
            r"do\(x\) in step 3: u which it does not cause, at \[0\] is .*, but .* in the fact",
        ),
        (
            Sequential,
            "test_interventions_leave_the_noise_alone",
            "the noise of an episode with interventions at .* in the trajectory",
        ),
        (Paints, "test_render", "render must give a uint8 array, got ndarray"),
        (PaintsBlack, "test_render", "all its pixels are the same"),
        (PaintsGrey, "test_render", r"\(height, width, 3\), got shape \(4, 6\)"),
    ],
)
def test_a_broken_scalar_environment_fails(kind: type[SCMEnv], check: str, message: str) -> None:
    assert_fails(Scalar(kind), check, f"^world 'garden': .*{message}")


def test_more_keys_may_be_allowed_but_not_the_truth() -> None:
    leaking = Scalar(Leaks, info_keys=("do_target", "do_value", "u"))
    message = r"info\['u'\] gives away the hidden variable 'u'"
    assert_fails(leaking, "test_hidden_variables_stay_hidden", message)
    assert Scalar(PaintsWell).failures() == {}


class LosesTheEnd(SCMVectorEnv):
    """``final_obs`` holds what the reset has made of the row."""

    def step(self, actions: Any) -> Any:
        observation, *rest, info = super().step(actions)
        if "final_obs" in info:
            info["final_obs"] = np.array([*observation, None], dtype=object)[:-1]
        return observation, *rest, info


class LogsTheEnd(SCMVectorEnv):
    """``do_target`` of a row that was reset is that of the episode before."""

    def step(self, actions: Any) -> Any:
        *rest, info = super().step(actions)
        if "final_info" in info:
            info = {**info, "do_target": np.ones_like(info["do_target"])}
        return *rest, info


class PaysTheReset(SCMVectorEnv):
    def step(self, actions: Any) -> Any:
        pending = self.get_state()["pending"]
        observation, reward, *rest = super().step(actions)
        return observation, reward + pending, *rest


class LogsTheReset(SCMVectorEnv):
    def step(self, actions: Any) -> Any:
        pending = self.get_state()["pending"]
        *rest, info = super().step(actions)
        return *rest, {**info, "do_target": info["do_target"] | pending[:, None]}


class EndsApart(SCMVectorEnv):
    def step(self, actions: Any) -> Any:
        observation, reward, terminated, truncated, info = super().step(actions)
        return observation, reward, terminated, truncated & (np.arange(self.num_envs) > 0), info


class ForgetsThePending(SCMVectorEnv):
    def set_state(self, state: Any) -> None:
        super().set_state({**state, "pending": np.zeros_like(state["pending"])})


class SaysAnotherMode(SCMVectorEnv):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.metadata = {**self.metadata, "autoreset_mode": AutoresetMode.DISABLED}


class LeaksBatch(SCMVectorEnv):
    def reset(self, **kwargs: Any) -> Any:
        observation, info = super().reset(**kwargs)
        return observation, {**info, "values": self.values}


class Vector(Garden):
    """The checks with another vector environment."""

    def __init__(self, kind: type[SCMVectorEnv]) -> None:
        super().__init__()
        self.kind = kind

    def make_vector_env(
        self,
        spec: SCMEnvSpec,
        num_envs: int,
        autoreset_mode: AutoresetMode = AutoresetMode.SAME_STEP,
    ) -> SCMVectorEnv:
        return self.kind(spec, num_envs, autoreset_mode=autoreset_mode)


@pytest.mark.parametrize(
    ("kind", "check", "message"),
    [
        (
            LosesTheEnd,
            "test_same_step_autoreset",
            r"row 0 of the vector environment \(SameStep\): observation of step 5",
        ),
        (LogsTheEnd, "test_same_step_autoreset", r"info\['do_target'\] is not False in a row that"),
        (PaysTheReset, "test_next_step_autoreset", "the reward of a reset row is 1.0, not 0"),
        (
            LogsTheReset,
            "test_next_step_autoreset",
            "the info of a reset row says that something was set",
        ),
        (EndsApart, "test_next_step_autoreset", r"ended after the others: \[False, True\]"),
        (
            ForgetsThePending,
            "test_a_state_resumes_exactly",
            r"a vector environment \(NextStep\) resumed after step 6: observation of step 6",
        ),
        (SaysAnotherMode, "test_same_step_autoreset", r"metadata\['autoreset_mode'\] is "),
        (LeaksBatch, "test_hidden_variables_stay_hidden", "info has the key 'values'"),
    ],
)
def test_a_broken_vector_environment_fails(
    kind: type[SCMVectorEnv], check: str, message: str
) -> None:
    assert_fails(Vector(kind), check, f"^world 'garden': .*{message}")
