"""Tables of numbers as data: reading them, and every learner on rows that have no past."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest

from causal_rl.discovery import Transitions, list_learners, make_learner
from causal_rl.discovery.assumptions import ASSUMPTIONS
from causal_rl.discovery.table_file import read_table_file
from causal_rl.scm import SCM, Tanh, Variable


def chain(rows: int, seed: int = 0) -> np.ndarray:
    scm = SCM(
        [
            Variable("a"),
            Variable("b", Tanh([2.0]), parents=("a",)),
            Variable("c", Tanh([2.0]), parents=("b",)),
        ]
    )
    return scm.sample(rows, np.random.default_rng(seed))


def test_a_table_is_transitions_without_a_past():
    values = chain(5)
    target = np.zeros((5, 3), dtype=bool)
    target[2, 1] = True
    data = Transitions.from_table(values, do_target=target, names=list("abc"))
    assert data.memoryless
    assert data.names == ("a", "b", "c")
    np.testing.assert_array_equal(data.next_state, values)
    np.testing.assert_array_equal(data.do_target, target)
    assert data.do_value[2, 1] == values[2, 1]
    moved = Transitions(state=values, next_state=values)
    assert not moved.memoryless


def test_frames_give_names_and_numbers_of_any_kind():
    frame = pd.DataFrame(
        {
            "x": [1, 2, 3],
            7: [0.5, 1.5, 2.5],
            "yes": [True, False, True],
            "nullable": pd.array([1, 2, 3], dtype="Int64"),
            "grade": pd.Categorical([3, 1, 2]),
        }
    )
    data = Transitions.from_table(frame)
    assert data.names == ("x", "7", "yes", "nullable", "grade")
    assert data.next_state.tolist()[0] == [1.0, 0.5, 1.0, 1.0, 3.0]


@pytest.mark.parametrize(
    ("values", "error", "parts"),
    [
        (pd.DataFrame({"x": [1.0, 2.0], "word": ["a", "b"]}), TypeError, ["'word'"]),
        (pd.DataFrame({"day": pd.to_datetime(["2020-01-01"])}), TypeError, ["'day'"]),
        (pd.DataFrame([[1, 2]], columns=["x", "x"]), ValueError, ["x", "distinct"]),
        (pd.DataFrame({"x": [1.0, np.nan]}), ValueError, ["'x'", "row 1", "NaN"]),
        (
            pd.DataFrame({"x": pd.array([1, None], dtype="Int64")}),
            ValueError,
            ["'x'", "row 1", "NaN"],
        ),
        (pd.DataFrame({"x": [1.0, None], "y": [1, 2]}, dtype=object), ValueError, ["'x'", "row 1"]),
        ([[1.0, 2.0], [3.0, np.inf]], ValueError, ["'X2'", "row 1", "infinite"]),
        ([1.0, 2.0], ValueError, ["(2,)"]),
        ([[1.0], [2.0, 3.0]], TypeError, ["numbers"]),
        ([["a"]], TypeError, ["numbers"]),
        (pd.DataFrame(), ValueError, ["no columns"]),
        (np.zeros((0, 2)), ValueError, ["no rows"]),
    ],
)
def test_what_is_no_table_is_named(values, error, parts):
    with pytest.raises(error) as caught:
        make_learner("empty").fit(values)
    assert "\n" not in str(caught.value)
    for part in parts:
        assert part in str(caught.value)


def test_targets_must_fit_the_table_and_belong_to_it():
    values = chain(4)
    with pytest.raises(ValueError, match=r"do_target has shape \(4, 2\).*values"):
        make_learner("empty").fit(values, do_target=np.zeros((4, 2)))
    with pytest.raises(ValueError, match="do_target goes with a table"):
        make_learner("empty").fit(Transitions.from_table(values), do_target=np.zeros((4, 3)))


def test_more_variables_than_a_learner_takes_are_refused():
    for name in ("interventional", "algorithm5", "empty"):
        with pytest.raises(ValueError, match="10000 variables"):
            make_learner(name).fit(np.zeros((3, 10_000)))


def test_arrays_frames_and_transitions_are_one_thing_and_targets_settle_directions():
    values = chain(600)
    rng = np.random.default_rng(1)
    target = np.zeros(values.shape, dtype=bool)
    for j in range(3):  # the chain under do(), one variable at a time
        rows = slice(150 * (j + 1), 150 * (j + 2))
        target[rows, j] = True
        values[rows, j] = rng.normal(scale=1.5, size=150)
        for k in range(max(j, 0) + 1, 3):
            values[rows, k] = np.tanh(2.0 * values[rows, k - 1]) + rng.normal(size=150)
    learner = make_learner("interventional")
    graph = learner.fit(pd.DataFrame(values, columns=list("abc")), do_target=target)
    assert graph.edges() == [("contemporaneous", "a", "b"), ("contemporaneous", "b", "c")]
    unnamed = learner.fit(values, do_target=target)
    assert unnamed.relabel({"X1": "a", "X2": "b", "X3": "c"}) == graph
    data = Transitions.from_table(values, do_target=target, names=list("abc"))
    assert learner.fit(data) == graph == learner.graph_


OPTIONS = [
    ("interventional", {}),
    ("algorithm5", {}),
    ("algorithm5", {"acyclicity": "expm"}),
    ("algorithm5", {"mechanism": "mlp", "steps": 300, "hidden": 4}),
    ("notears", {}),
    ("dagma", {}),
    ("empty", {}),
    ("full", {}),
    ("random", {"density": 0.5}),
]


@pytest.mark.parametrize(("name", "options"), OPTIONS)
def test_learners_on_tables(name, options):
    learner = make_learner(name, **options)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        graph = learner.fit(chain(300))
    assert not graph.lagged.any()
    for matrix in (graph.lagged_weights, graph.lagged_confidence):
        assert matrix is None or not matrix.any()
    if name not in ("empty", "full", "random"):
        skeleton = graph.contemporaneous | graph.contemporaneous.T
        assert skeleton[0, 1]
        assert skeleton[1, 2]


OURS = [option for option in OPTIONS if option[0] in ("interventional", "algorithm5", "full")]


@pytest.mark.parametrize(("name", "options"), [o for o in OURS if not o[1]])
@pytest.mark.parametrize("bad", ["constant", "duplicate", "wide", "one row"])
@pytest.mark.filterwarnings("ignore::causal_rl.discovery.ConvergenceWarning")
def test_degenerate_tables_give_no_nan(name, options, bad):
    values = chain(40)
    if bad == "constant":
        values = np.column_stack([values, np.full(40, 3.7)])
    elif bad == "duplicate":
        values = np.column_stack([values, values[:, 1], 2.0 - values[:, 2]])
    elif bad == "wide":
        values = np.random.default_rng(0).normal(size=(3, 4))
    else:
        values = values[:1]
    if name == "algorithm5":
        options = {"max_iter": 40}  # a perfect fit is a long way down
    graph = make_learner(name, **options).fit(values)
    assert not graph.lagged.any()
    for matrix in (graph.contemporaneous_weights, graph.contemporaneous_confidence):
        assert matrix is None or np.isfinite(matrix).all()
    if bad == "constant" and name not in ("full", "random"):
        assert not graph.contemporaneous[3].any()
        assert not graph.contemporaneous[:, 3].any()


def test_a_stream_that_has_a_past_after_all_learns_its_lags():
    rng = np.random.default_rng(0)
    state = rng.normal(size=(400, 1))
    first = Transitions(state=np.zeros((50, 1)), next_state=rng.normal(size=(50, 1)))
    more = Transitions(state=state, next_state=0.9 * state + 0.3 * rng.normal(size=(400, 1)))
    learner = make_learner("interventional")
    assert not learner.fit(first).lagged.any()
    again = make_learner("interventional")
    again.load_state_dict(learner.state_dict())
    assert learner.update(more).lagged.all()
    assert again.update(more) == learner.graph_


def test_every_learner_says_what_it_assumes():
    assert set(list_learners()) <= set(ASSUMPTIONS)


def test_files_of_other_delimiters_and_categories(tmp_path):
    path = tmp_path / "t.tsv"
    path.write_text(
        "\ufeffage\tsex\tsize\n1\tm\tlow\n2\tf\thigh\n3\tf\tmid\n\n5\tm\tlow\n9\tf\tmid\n"
    )
    table = read_table_file(path, levels={"size": ["low", "mid", "high"]})
    assert table.data.names == ("age", "sex", "size")
    assert table.data.next_state[:3].tolist() == [[1, 1, 0], [2, 0, 2], [3, 0, 1]]
    assert table.codes == {"sex": ("f", "m"), "size": ("low", "mid", "high")}
    assert any("f = 0, m = 1" in note for note in table.notes)
    alphabetical = read_table_file(path, levels={"size": []})
    assert alphabetical.codes["size"] == ("high", "low", "mid")


def test_sums_of_other_columns_are_noted(tmp_path):
    values = chain(30)
    values = np.column_stack([values, values.sum(axis=1)])
    path = tmp_path / "t.csv"
    np.savetxt(path, values, delimiter=",", header="a,b,c,d", comments="", fmt="%.17g")
    assert any("linearly dependent" in note for note in read_table_file(path).notes)
