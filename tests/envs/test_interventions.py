from __future__ import annotations

import numpy as np
import pytest

from causal_rl.envs import Interventions


def test_no_op_sets_nothing_and_costs_nothing() -> None:
    actions = Interventions(["a", "b"], [-1.0, 3.0], cost=0.5)
    mask, value, cost = actions.decode([[0, 0], [0, 1]], ["b", "c", "a"])
    assert not mask.any()
    assert not value.any()
    assert not cost.any()


def test_decode_sets_the_named_column() -> None:
    actions = Interventions(["a", "b"], [-1.0, 3.0], cost={"b": 0.25})
    mask, value, cost = actions.decode(np.array([[1, 0], [2, 1]]), ["b", "c", "a"])
    np.testing.assert_array_equal(mask, [[False, False, True], [True, False, False]])
    np.testing.assert_array_equal(value, [[0.0, 0.0, -1.0], [3.0, 0.0, 0.0]])
    np.testing.assert_array_equal(cost, [0.0, 0.25])


def test_space_and_all_actions_agree() -> None:
    actions = Interventions(["a", "b", "c"], [0.0, 1.0])
    assert actions.space().nvec.tolist() == [4, 2]
    every = actions.all_actions()
    assert every.shape == (1 + 3 * 2, 2)
    assert len(np.unique(every, axis=0)) == len(every)
    assert all(actions.space().contains(row) for row in every)
    effects = np.concatenate(actions.decode(every, ["a", "b", "c"])[:2], axis=1)
    assert len(np.unique(effects, axis=0)) == len(every)


def test_defaults() -> None:
    actions = Interventions(["a"])
    np.testing.assert_allclose(actions.values, np.linspace(-2, 2, 7))
    np.testing.assert_array_equal(actions.costs, [0.0, 0.0])


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"settable": []}, "settable is empty"),
        ({"settable": "ab"}, "settable must be a sequence"),
        ({"settable": ["a", "b", "a"]}, "settable names 'a' twice"),
        ({"settable": ["a"], "values": []}, "values must be"),
        ({"settable": ["a"], "values": [0.0, np.nan]}, "values must be"),
        ({"settable": ["a"], "cost": {"z": 1.0}}, "cost names 'z'"),
        ({"settable": ["a"], "cost": float("inf")}, "cost of 'a' must be finite"),
    ],
)
def test_bad_arguments(kwargs: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        Interventions(**kwargs)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("actions", "message"),
    [
        ([[2, 0]], r"actions\[0\] is \[2, 0\]"),
        ([[0, 0], [1, 7]], r"actions\[1\] is \[1, 7\]"),
        ([[0, 0], [-1, 0]], r"actions\[1\] is \[-1, 0\]"),
        ([0, 0], "shape"),
        ([[0, 0, 0]], "shape"),
        ([[0.0, 1.0]], "integers"),
    ],
)
def test_bad_actions(actions: list, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Interventions(["a"]).decode(actions, ["a"])


def test_settable_name_missing_from_the_columns() -> None:
    with pytest.raises(ValueError, match="settable 'a' is no variable"):
        Interventions(["a"]).decode([[0, 0]], ["b"])
