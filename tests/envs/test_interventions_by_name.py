"""Interventions whose values differ from variable to variable."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from causal_rl.envs import Interventions, SCMEnv, SCMEnvSpec, SCMVectorEnv
from causal_rl.scm import Categorical, DynamicSCM, Linear, OneHot, Variable

NAMES = ("a", "b", "c", "d")


def world(values: object) -> SCMEnvSpec:
    """A categorical and a continuous variable, and a reward that reads both."""
    scm = DynamicSCM(
        [
            Variable("x", Linear([0.5]), lagged_parents=("x",)),
            Variable("k", Categorical.from_probabilities([0.5, 0.3, 0.2])),
            Variable("y", OneHot(Linear([1.0, 0.0, -1.0, 0.5]), [3, None]), parents=("k", "x")),
            Variable("reward", Linear([1.0]), parents=("y",), kind="reward"),
        ]
    )
    return SCMEnvSpec("two", scm, Interventions(["k", "x"], values, {"x": 0.1}), horizon=5)


@settings(max_examples=50, deadline=None)
@given(st.permutations(NAMES), st.integers(1, 4), st.integers(1, 5), st.integers(0, 2**32 - 1))
def test_every_action_sets_its_own_value(
    columns: list[str], targets: int, n_values: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    settable = list(rng.permutation(columns)[:targets])
    table = rng.normal(size=(targets, n_values))
    offered = {name: row.tolist() for name, row in zip(settable, table, strict=True)}
    actions = Interventions(settable, dict(sorted(offered.items())))  # another order of keys
    np.testing.assert_array_equal(actions.table, table)
    assert actions.n_values == n_values
    assert actions.space().nvec.tolist() == [targets + 1, n_values]
    every = actions.all_actions()
    mask, value, _ = actions.decode(every, columns)
    assert not mask[0].any()
    for (target, index), row, values in zip(every[1:], mask[1:], value[1:], strict=True):
        column = columns.index(settable[target - 1])
        assert np.flatnonzero(row).tolist() == [column]
        assert values[column] == table[target - 1, index]
        assert not np.delete(values, column).any()
        action = actions.action(settable[target - 1], float(table[target - 1, index]))
        assert action.tolist() == [target, index]


@given(st.integers(1, 4), st.lists(st.floats(-5, 5), min_size=1, max_size=4, unique=True))
def test_the_same_values_by_name_are_the_same_actions(n: int, values: list[float]) -> None:
    names = list(NAMES[:n])
    shared, named = Interventions(names, values), Interventions(names, dict.fromkeys(names, values))
    assert shared.space() == named.space()
    np.testing.assert_array_equal(shared.table, named.table)
    every = shared.all_actions()
    for one, two in zip(shared.decode(every, NAMES), named.decode(every, NAMES), strict=True):
        np.testing.assert_array_equal(one, two)


def test_a_category_is_set_beside_a_number() -> None:
    spec = world({"x": [-1.5, 0.0, 2.5], "k": [0.0, 1.0, 2.0]})
    env, envs = SCMEnv(spec), SCMVectorEnv(spec, 2)
    env.reset(seed=0)
    observation, reward, *_, info = env.do("k", 2.0)
    assert observation[1] == 2.0
    assert info["do_value"].tolist() == [0.0, 2.0, 0.0]
    assert reward == observation[2]
    observation, reward, *_ = env.do("x", 2.5)
    assert observation[0] == 2.5
    assert reward == observation[2] - 0.1
    envs.reset(seed=0)
    both, *_ = envs.step(np.array([[1, 1], [2, 0]]))
    assert both[0, 1] == 1.0
    assert both[1, 0] == -1.5


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("x", 0.5, "value of 'x' must be one of -1.5, 0, 2.5, got 0.5"),
        ("k", 2.5, "value of 'k' must be one of 0, 1, 2, got 2.5"),
        ("y", 0.0, "'y' is not settable; settable: k, x"),
    ],
)
def test_values_of_other_variables_are_not_on_offer(name: str, value: float, message: str) -> None:
    actions = world({"x": [-1.5, 0.0, 2.5], "k": [0.0, 1.0, 2.0]}).interventions
    with pytest.raises(ValueError, match=message):
        actions.action(name, value)
