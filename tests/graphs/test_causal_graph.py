from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

from causal_rl.graphs import CausalGraph

CHAIN = [[0, 1, 0], [0, 0, 1], [0, 0, 0]]
MEMORY = [[1, 0, 0], [0, 0, 0], [1, 0, 0]]
NAN = [[0.0, np.nan, 0.0], [0.0] * 3, [0.0] * 3]


def example(**changes):
    arguments = {
        "contemporaneous": CHAIN,
        "lagged": MEMORY,
        "names": ("a", "b", "c"),
        "kinds": ("action", "state", "reward"),
        "contemporaneous_weights": [[0, -2.5, 0], [0, 0, 0.5], [0, 0, 0]],
        "lagged_confidence": [[0.9, 0.1, 0], [0, 0, 0], [1, 0, 0]],
    }
    return CausalGraph(**{**arguments, **changes})


def test_the_parts_are_kept_and_the_rest_has_defaults():
    graph = example()
    assert graph.n == 3
    assert graph.contemporaneous.dtype == graph.lagged.dtype == bool
    np.testing.assert_array_equal(graph.contemporaneous, CHAIN)
    np.testing.assert_array_equal(graph.lagged, MEMORY)
    np.testing.assert_array_equal(graph.summary, [[1, 1, 0], [0, 0, 1], [1, 0, 0]])
    assert graph.contemporaneous_weights[0, 1] == -2.5
    assert graph.lagged_weights is None
    assert graph.edges() == [
        ("contemporaneous", "a", "b"),
        ("contemporaneous", "b", "c"),
        ("lagged", "a", "a"),
        ("lagged", "c", "a"),
    ]
    plain = CausalGraph(CHAIN)
    assert plain.names == ("X1", "X2", "X3")
    assert plain.kinds == ("state",) * 3
    assert not plain.lagged.any()
    assert not plain.allow_cycles


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"contemporaneous": [[0, 1, 0]]}, ValueError, r"contemporaneous must have shape"),
        ({"contemporaneous": [[0, 1], [0]]}, ValueError, "contemporaneous must be a square"),
        ({"contemporaneous": np.zeros((0, 0))}, ValueError, "contemporaneous must have shape"),
        ({"contemporaneous": NAN}, ValueError, r"contemporaneous must be finite.*\[0, 1\]"),
        ({"contemporaneous": 2 * np.eye(3, k=1)}, ValueError, "contemporaneous must hold only 0"),
        ({"contemporaneous": [["x"] * 3] * 3}, TypeError, "contemporaneous must hold numbers"),
        ({"contemporaneous": np.eye(3)}, ValueError, "contemporaneous .*zero diagonal.*a -> a"),
        ({"contemporaneous": np.eye(3)[[1, 0, 2]] - np.diag([0, 0, 1])}, ValueError, "a -> b -> a"),
        ({"contemporaneous": np.eye(3)[[1, 2, 0]]}, ValueError, "a -> b -> c -> a"),
        ({"lagged": np.zeros((2, 2))}, ValueError, r"lagged must have shape \(3, 3\)"),
        ({"lagged": NAN}, ValueError, "lagged must be finite"),
        ({"lagged": np.full((3, 3), 0.5)}, ValueError, "lagged must hold only 0 and 1"),
        ({"names": ("a", "b", "a")}, ValueError, "names must be distinct, .*: a"),
        ({"names": ("a", "b")}, ValueError, "names must have 3 entries"),
        ({"names": ("a", "", "b")}, ValueError, "names must not be empty"),
        ({"names": "abc"}, TypeError, "names must be a sequence of strings"),
        ({"names": (1, 2, 3)}, TypeError, "names must be strings"),
        ({"kinds": ("state", "state", "stat")}, ValueError, "kinds must be among .*'stat'"),
        ({"kinds": ("state",)}, ValueError, "kinds must have 3 entries"),
        ({"kinds": "state"}, TypeError, "kinds must be a sequence"),
        ({"contemporaneous_weights": NAN}, ValueError, "contemporaneous_weights must be finite"),
        ({"lagged_weights": np.ones(3)}, ValueError, "lagged_weights must have shape"),
        ({"lagged_confidence": np.full((3, 3), 1.5)}, ValueError, r"lagged_confidence.*\[0, 1\]"),
        ({"contemporaneous_confidence": -np.eye(3)}, ValueError, "contemporaneous_confidence"),
    ],
)
def test_bad_parts_are_refused_by_name_in_one_line(changes, error, message):
    with pytest.raises(error, match=message) as caught:
        example(**changes)
    assert "\n" not in str(caught.value)


def test_a_cyclic_block_is_kept_only_where_it_is_asked_for():
    cyclic = CausalGraph([[0, 1], [1, 0]], allow_cycles=True)
    assert not cyclic.is_acyclic
    with pytest.raises(ValueError, match="cycle"):
        cyclic.topological_order()
    with pytest.raises(ValueError, match="X1 -> X2 -> X1"):
        cyclic.with_(allow_cycles=False)


def test_arrays_are_read_only_copies_and_inputs_stay_as_they_were():
    given_arrays = {
        "contemporaneous": np.eye(3, k=1, dtype=bool),
        "lagged": np.eye(3),
        "contemporaneous_weights": np.eye(3, k=1),
        "lagged_weights": np.eye(3),
        "contemporaneous_confidence": np.eye(3),
        "lagged_confidence": np.eye(3),
    }
    before = copy.deepcopy(given_arrays)
    graph = CausalGraph(**given_arrays)
    for field, array in given_arrays.items():
        np.testing.assert_array_equal(array, before[field])
        array[:] = 0
        np.testing.assert_array_equal(getattr(graph, field), before[field])
        for copied in (graph, pickle.loads(pickle.dumps(graph)), copy.deepcopy(graph)):
            np.testing.assert_array_equal(getattr(copied, field), before[field])
            with pytest.raises(ValueError, match="read-only"):
                getattr(copied, field)[0, 0] = 1
            with pytest.raises(AttributeError):
                setattr(copied, field, before[field])


def test_equality_is_that_of_the_structure():
    graph = example()
    same = example(contemporaneous_weights=None, lagged_confidence=np.zeros((3, 3)))
    assert graph == same == pickle.loads(pickle.dumps(graph)) == copy.deepcopy(graph)
    assert hash(graph) == hash(same)
    for changes in (
        {"contemporaneous": np.zeros((3, 3))},
        {"lagged": None},
        {"names": ("a", "c", "b")},
        {"kinds": None},
    ):
        assert graph != example(**changes)
    assert graph != "graph"
