from __future__ import annotations

import errno
import json
import os
import stat
import sys

import networkx as nx
import numpy as np
import pandas as pd
import pytest

from causal_rl.errors import MissingExtraError
from causal_rl.graphs import CausalGraph

GRAPH = CausalGraph(np.eye(3, k=1), names=["a", "b", "c"])
OTHER = CausalGraph.empty(["x"])


@pytest.mark.parametrize("failure", [OSError(errno.ENOSPC, "disk full"), KeyboardInterrupt()])
@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_failing_save_leaves_the_old_file_and_no_temporary(tmp_path, monkeypatch, call, failure):
    path = tmp_path / "graph.json"
    GRAPH.save(path)
    before = path.read_bytes()

    def fail(*arguments, **options):
        raise failure

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(type(failure)):
        OTHER.save(path)
    monkeypatch.undo()
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
    OTHER.save(path)
    assert CausalGraph.load(path) == OTHER


@pytest.mark.skipif(sys.platform == "win32", reason="permissions are those of POSIX")
def test_a_saved_file_has_the_usual_permissions(tmp_path):
    GRAPH.save(tmp_path / "graph.json")
    (tmp_path / "plain").touch()
    modes = {stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()}
    assert len(modes) == 1


def test_a_missing_folder_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        GRAPH.save(tmp_path / "none" / "graph.json")
    with pytest.raises(FileNotFoundError):
        CausalGraph.load(tmp_path / "none.json")


def changed(**changes):
    return {**GRAPH.to_dict(), **changes}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is not a JSON file"),
        ("{", "is not a JSON file"),
        (json.dumps(GRAPH.to_dict())[:-20], "is not a JSON file"),
        ("[1, 2]", "data must be a mapping, got list"),
        ("{}", r"lacks \['names', 'contemporaneous'\]"),
        ('{"loss": 1}', "lacks"),
        (json.dumps(changed(format="other")), "data must be of format causal_rl.graph"),
        (json.dumps(changed(version=99)), "version 1, got .*99"),
        (json.dumps(changed(color="red")), r"unknown keys \['color'\]"),
        (json.dumps(changed(contemporaneous=None)), r"lacks \['contemporaneous'\]"),
        (json.dumps(changed(allow_cycles=1)), "allow_cycles must be true or false"),
        (json.dumps(changed(names=["a", "b", "b"])), "names must be distinct"),
        (json.dumps(changed(contemporaneous=[[0, 1, 0]])), "contemporaneous must have shape"),
        (json.dumps(changed(lagged_weights=[[float("nan")] * 3] * 3)), "lagged_weights.*finite"),
        (json.dumps(changed(lagged="abc")), "lagged must hold numbers"),
    ],
)
def test_broken_files_are_refused_by_their_name_in_one_line(tmp_path, content, message):
    path = tmp_path / "broken.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=f"broken.json .*{message}") as caught:
        CausalGraph.load(path)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_no_text_is_refused(tmp_path):
    path = tmp_path / "broken.json"
    path.write_bytes(b"\x89PNG\xff\xfe")
    with pytest.raises(ValueError, match=r"broken.json is not a JSON file"):
        CausalGraph.load(path)


@pytest.mark.parametrize(
    ("build", "value", "error", "message"),
    [
        (CausalGraph.from_networkx, nx.Graph([("a", "b")]), TypeError, "graph must be a directed"),
        (CausalGraph.from_networkx, [("a", "b")], TypeError, "graph must be a directed"),
        (CausalGraph.from_networkx, nx.DiGraph([("a", "b", {"lag": 2})]), ValueError, "lag must"),
        (CausalGraph.from_networkx, nx.DiGraph([("a", "b"), ("b", "a")]), ValueError, "cycle"),
        (CausalGraph.from_networkx, nx.MultiDiGraph([("a", "b")] * 2), ValueError, "distinct"),
        (
            CausalGraph.from_networkx,
            nx.DiGraph([("a", "b", {"weight": 1.0}), ("b", "c")]),
            ValueError,
            "weight must be on all contemporaneous edges .*b -> c",
        ),
        (CausalGraph.from_pandas, [("a", "b")], TypeError, "table must be a pandas DataFrame"),
        (CausalGraph.from_pandas, pd.DataFrame({"parent": []}), ValueError, r"lacks \['child'\]"),
        (CausalGraph.from_dot, "graph { a -- b }", ValueError, "text must be a DOT digraph"),
        (CausalGraph.from_dot, "digraph { a -> b", ValueError, "text must be DOT"),
        (CausalGraph.from_dot, "digraph { subgraph { a } }", ValueError, "subgraphs"),
        (CausalGraph.from_dot, b"digraph {}", TypeError, "text must be a string"),
    ],
)
def test_bad_foreign_graphs_are_refused(build, value, error, message):
    with pytest.raises(error, match=message):
        build(value)


def test_a_missing_pandas_is_named_with_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(MissingExtraError, match=r"pandas.*causal_rl\[pandas\]"):
        GRAPH.to_pandas()
