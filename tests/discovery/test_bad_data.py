"""Bad data at every registered learner and at ``causal-rl discover``: a clear line or a sane graph.

What single learners make of copies and constants, and what a file of a table may hold, have tests
beside them (`test_adapters`, `test_table`, the command's `test_discover`).
"""

from __future__ import annotations

import functools
import inspect
import operator
import os
import warnings
from pathlib import Path

import numpy as np
import pytest
from program import run

from causal_rl.discovery import (
    ConvergenceWarning,
    GraphLearner,
    Transitions,
    list_learners,
    make_learner,
)
from causal_rl.discovery.registry import learner_class, learner_options
from causal_rl.discovery.time_limit import TimeLimitError, within

# Seconds a fit, whatever the table; the quick tests show them what needs no fit.
SLOW = ("notears", "notears-mlp", "dagma", "abcd")
LONG = (*SLOW, "multi-level", "ecam", "attn-mask", "catt")
ENOUGH_FOR_THE_LONG = ("constant", "copy", "fewer rows than variables")
YARDSTICKS = ("full", "random")
# Enough to meet every branch; whether a descent converges is no matter here.
FEWER_STEPS = {"max_iter": 10, "steps": 5, "embed_dim": 8, "hidden": 4}


def good(rows: int = 30) -> np.ndarray:
    x = np.random.default_rng(0).normal(size=(rows, 3))
    x[:, 1] += x[:, 0]
    x[:, 2] += np.tanh(2 * x[:, 1])
    return x


def spike() -> np.ndarray:
    x = np.zeros((30, 3))
    x[7] = [1.0, 2.0, -3.0]
    return x


TABLES = {
    "constant": np.column_stack([good(), np.full(30, 3.7)]),
    "copy": np.column_stack([good(), good()[:, 1]]),
    "copy in other units": np.column_stack([good(), 2.0 - 1e3 * good()[:, 2]]),
    "sum": np.column_stack([good(), good().sum(axis=1)]),
    "fewer rows than variables": np.random.default_rng(1).normal(size=(3, 5)),
    "two rows": good(2),
    "two rows, again and again": np.repeat(good(2), 15, axis=0),
    "one value that differs": spike(),
    "far from zero": good() * 1e-9 + 1e6,
    "large": good() * 1e140,
    "outlier": np.vstack([good(), [[1e12, 0.0, 0.0]]]),
    "zeros and ones": (good() > 0).astype(float),
}
AT_ONCE = {
    "one row": good(1),
    "one column": good()[:, :1],
    "all constant": np.ones((9, 3)),
    "minute": good() * 1e-160,
}


def quick(name: str) -> GraphLearner:
    options = learner_options(name)
    return make_learner(name, **{k: v for k, v in FEWER_STEPS.items() if k in options})


def outcome(learner: GraphLearner, data: object, **more: object) -> str:
    """ "graph", having checked it, or the one line in which the learner refused."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", ConvergenceWarning)
        try:
            graph = learner.fit(data, **more)
        except (ValueError, RuntimeError) as error:
            line = str(error)
            assert line
            assert "\n" not in line
            assert learner.name in line
            return line
    for matrix in (
        graph.contemporaneous_weights,
        graph.lagged_weights,
        graph.contemporaneous_confidence,
        graph.lagged_confidence,
    ):
        assert matrix is None or np.isfinite(matrix).all()
    for confidence in (graph.contemporaneous_confidence, graph.lagged_confidence):
        assert confidence is None or ((confidence >= 0) & (confidence <= 1)).all()
    assert graph.is_acyclic or learner.name == "full"
    return "graph"


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow) if n in SLOW else n for n in list_learners()]
)
def test_a_sane_graph_or_a_clear_line(name: str) -> None:
    learner = quick(name)
    tables = {k: v for k, v in TABLES.items() if name not in LONG or k in ENOUGH_FOR_THE_LONG}
    for what, values in tables.items():
        found = outcome(learner, values)
        assert found == "graph" or "rows" in found or "columns" in found, (what, found)
        if found == "graph" and what == "constant" and name not in YARDSTICKS:
            assert not learner.graph_.contemporaneous[3].any()
            assert not learner.graph_.contemporaneous[:, 3].any()
        if found == "graph":
            assert not learner.graph_.lagged.any()
    if name in SLOW:
        return
    for column in (slice(0, 1), slice(None)):  # one variable set in all rows, or every one
        target = np.zeros((30, 3), dtype=bool)
        target[:, column] = True
        outcome(learner, good(), do_target=target)
        one_graph = learner.graph_ is not None and learner.equivalence_class_ is None
        if one_graph and learner_class(name).uses_interventions:
            assert not learner.graph_.contemporaneous[:, target[0]].any()
    frozen = Transitions(state=good(), next_state=good())
    outcome(learner, frozen)


@pytest.mark.parametrize("name", list_learners())
def test_tables_that_need_no_fit_are_answered_at_once(name: str) -> None:
    learner = make_learner(name)
    for values in AT_ONCE.values():
        assert outcome(learner, values) == "graph"
        if name not in (*YARDSTICKS, "interventional"):
            assert not learner.graph_.contemporaneous.any()
    with pytest.raises(ValueError, match=r"10000 variables.* takes at most \d+"):
        learner.fit(np.broadcast_to(0.0, (3, 10_000)))
    holed = good()
    holed[4, 1] = np.nan
    with pytest.raises(ValueError, match="NaN in row 4, column 'X2'"):
        learner.fit(holed)
    with pytest.raises(TypeError, match="real numbers"):
        learner.fit([["a", "b"], ["c", "d"]])


def test_every_learner_says_how_many_variables_it_takes() -> None:
    for name in list_learners():
        assert 2 <= learner_class(name).most_variables <= 1000
        assert not inspect.isabstract(learner_class(name))


# -------------------------------------------------------------------- files and folders


def written(path: Path, values: np.ndarray) -> Path:
    header = ",".join(f"v{i}" for i in range(values.shape[1]))
    np.savetxt(path, values, delimiter=",", header=header, comments="", fmt="%.9g")
    return path


def refused(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    assert run("discover", *words) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("Error: ")
    assert "Errno" not in lines[0]
    return lines[0]


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("nope.csv", ["DATA must be a CSV file", "'nope.csv'", "no such file"]),
        ("folder", ["DATA must be a CSV file", "'folder' is a folder"]),
        ("good.csv/x.csv", ["DATA must be a CSV file", "'good.csv/x.csv'", "not a directory"]),
        ("a" * 300, ["DATA must be a CSV file", "too long"]),
        ("empty.csv", ["empty.csv is empty", "a header and rows"]),
        ("binary.csv", ["binary.csv is no UTF-8 text"]),
        ("zeros.csv", ["zeros.csv is no CSV text", "no header"]),
    ],
)
def test_files_that_are_no_tables(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
    parts: list[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "empty.csv").touch()
    (tmp_path / "binary.csv").write_bytes(bytes(range(128, 256)) * 9)
    (tmp_path / "zeros.csv").write_bytes(bytes(4096))
    written(tmp_path / "good.csv", good())
    before = sorted(tmp_path.iterdir())
    line = refused(capsys, name)
    assert all(part in line for part in parts), line
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["--prior=nope.csv"], ["--prior must be a CSV file", "rule,variable,to", "'nope.csv'"]),
        (["--prior=folder"], ["--prior must be a CSV file", "'folder' is a folder"]),
        (["--prior=binary.csv"], ["prior binary.csv is no CSV text"]),
        (["--out=good.csv"], ["out must be a new or empty folder", "'good.csv'"]),
        (["--out=good.csv/x"], ["out must be in a folder that can be written to", "good.csv"]),
        ([f"--out={'a' * 300}"], ["out must be a folder", "too long"]),
    ],
)
def test_other_paths_that_do_not_do(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    parts: list[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "binary.csv").write_bytes(bytes(range(128, 256)) * 9)
    written(tmp_path / "good.csv", good())
    before = sorted(tmp_path.iterdir())
    line = refused(capsys, "good.csv", *words)
    assert all(part in line for part in parts), line
    assert sorted(tmp_path.iterdir()) == before


def test_a_pipe_is_a_file(tmp_path: Path) -> None:
    text = written(tmp_path / "good.csv", good()).read_bytes()
    there, here = os.pipe()
    os.write(here, text)
    os.close(here)
    words = ["--method=empty", "--bootstrap=0", "--out", tmp_path / "out"]
    assert run("discover", f"/dev/fd/{there}", *words) == 0
    os.close(there)


def test_a_graph_of_very_many_edges_has_a_picture(tmp_path: Path) -> None:
    path = written(tmp_path / "wide.csv", np.random.default_rng(0).normal(size=(60, 30)))
    words = ["--method=full", "--bootstrap=0", "--out", tmp_path / "out"]
    assert run("discover", path, *words) == 0
    assert (tmp_path / "out" / "graph.png").read_bytes().startswith(b"\x89PNG")


# -------------------------------------------------------------------- the time limit


class Fatal:
    """Unpickled, it ends the process."""

    def __reduce__(self) -> tuple[object, tuple[int]]:
        return os._exit, (3,)


def test_a_call_that_never_gives_python_a_turn_is_ended() -> None:
    # reduce(is_, range, first) runs in C for hours and holds the interpreter all the time.
    with pytest.raises(TimeLimitError, match=r"time limit of 0\.2 s is up"):
        within(0.2, functools.reduce, (operator.is_, range(10**14)), print)


def test_a_process_that_dies_is_named() -> None:
    with pytest.raises(ValueError, match="process died"):
        within(60.0, operator.is_, (Fatal(),), print)


def test_reports_without_a_pause_do_not_stop_the_clock(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path / "good.csv", good(4))
    words = ["--method=empty", "--bootstrap=1000000000", "--time-limit=0.2"]
    assert "time limit of 0.2 s" in refused(capsys, path, *words, "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_the_limit_is_kept_inside_of_a_peer(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("castle", reason="needs the extra 'discovery'")
    path = written(tmp_path / "wide.csv", np.random.default_rng(0).normal(size=(100, 50)))
    words = ["--method=notears-mlp", "--time-limit=3", "--out", tmp_path / "out"]
    assert "time limit of 3 s" in refused(capsys, path, *words)
    assert not (tmp_path / "out").exists()
