"""The conformance class fails broken specifications, each by the check that must see it."""

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
from garden import Garden, assert_fails, changed, garden, world

from causal_rl.envs import Interventions, SCMEnvSpec
from causal_rl.scm import DynamicSCM, Linear, Mechanism, NoNoise, Variable
from causal_rl.testing import WorldConformance


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
