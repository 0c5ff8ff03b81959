"""``causal-rl discover``: what it writes, and that bad data are one line and nothing written."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from program import run

from causal_rl.graphs import CausalGraph
from causal_rl.scm import SCM, Tanh, Variable

ROOT = Path(__file__).parents[2]
FILES = {"graph.json", "graph.png", "graph.dot", "edges.csv", "report.md"}


def rows_of(count: int, seed: int, do: dict[str, float] | None = None) -> np.ndarray:
    scm = SCM(
        [
            Variable("rain"),
            Variable("soil", Tanh([2.0]), parents=("rain",)),
            Variable("plant", Tanh([2.0]), parents=("soil",)),
        ]
    )
    return scm.sample(count, np.random.default_rng(seed), do=do)


def write(path: Path, header: str, rows) -> Path:
    path.write_text("\n".join([header, *(",".join(map(str, row)) for row in rows)]) + "\n")
    return path


@pytest.fixture
def table(tmp_path) -> Path:
    """120 rows as observed, then 60 of each of two interventions, and a constant column."""
    rows = [[*row, 4, ""] for row in rows_of(120, 0)]
    rng = np.random.default_rng(1)
    for name in ("rain", "soil"):
        for k, value in enumerate(rng.normal(scale=1.5, size=60)):
            rows.append([*rows_of(1, 100 + k, {name: float(value)})[0], 4, name])
    return write(tmp_path / "garden.csv", "rain,soil,plant,pots,set", rows)


def test_the_folder(tmp_path, table, capsys):
    out = tmp_path / "found"
    words = ["discover", table, "--targets=set", "--bootstrap=3"]
    assert run(*words, "--out", out) == 0
    captured = capsys.readouterr()
    assert "rain -> soil" in captured.out
    assert "pots" in captured.err
    assert {path.name for path in out.iterdir()} == FILES
    graph = CausalGraph.load(out / "graph.json")
    assert graph.names == ("rain", "soil", "plant")
    assert graph.edges() == [
        ("contemporaneous", "rain", "soil"),
        ("contemporaneous", "soil", "plant"),
    ]
    edges = list(csv.DictReader((out / "edges.csv").open()))
    drawn = {(row["parent"], row["child"]): row for row in edges if row["in_graph"] == "yes"}
    assert set(drawn) == {("rain", "soil"), ("soil", "plant")}
    for row in edges:
        shares = [float(row[key]) for key in ("confidence", "share_reversed", "share_undirected")]
        assert sum(shares) == pytest.approx(float(row["share_adjacent"]))
    assert graph.contemporaneous_confidence[0, 1] == float(drawn["rain", "soil"]["confidence"])
    report = (out / "report.md").read_text()
    for part in ("causal sufficiency", "acyclic", "set", "pots", "rain 60", "garden.csv", "seed 0"):
        assert part in report
    assert str(tmp_path) not in report
    assert (out / "graph.dot").read_text().startswith("digraph")
    # the same seed, the same figures
    assert run(*words, "--out", tmp_path / "again", "--json") == 0
    for name in ("graph.json", "edges.csv"):
        assert (tmp_path / "again" / name).read_bytes() == (out / name).read_bytes()
    told = json.loads(capsys.readouterr().out)
    assert told["set_rows"] == {"rain": 60, "soil": 60}
    assert [edge["child"] for edge in told["edges"]] == ["soil", "plant"]


def test_default_folder_options_and_prior(tmp_path, table, monkeypatch):
    monkeypatch.chdir(tmp_path)
    prior = write(tmp_path / "prior.csv", "rule,variable,to", [["forbidden", "soil", "plant"]])
    words = ["--prior", prior, "--option=floor=1e-2", "--bootstrap=0", "--targets=set"]
    assert run("discover", table, *words) == 0
    (out,) = (tmp_path / "runs").iterdir()
    assert out.name.startswith("discover-garden-")
    graph = CausalGraph.load(out / "graph.json")
    assert ("contemporaneous", "soil", "plant") not in graph.edges()
    report = (out / "report.md").read_text()
    assert "forbidden soil -> plant" in report
    assert "floor=0.01" in report


@pytest.mark.parametrize(
    ("header", "rows", "parts"),
    [
        ("a,b", [[1, 2], [2, 4.5], [3, "nan"], [4, 1]], ["'b'", "line 4", "nan"]),
        ("a,b", [[1, 2], ["", 4.5], [3, 1]], ["'a'", "line 3", "no value"]),
        ("a,b", [[1, 2], [5, "inf"], [3, 1]], ["'b'", "line 3", "inf"]),
        ("a,b", [[1, 2], [5, "1e200"], [3, 1]], ["'b'", "line 3", "1e+150"]),
        ("a,b", [[1, 2], [5, "many"], [3, 1]], ["'b'", "line 3", "many", "numbers elsewhere"]),
        ("a,b", [[1, "x"], [5, "y"], [3, "z"]], ["'b'", "3 categories", "--levels b="]),
        ("a,b", [[1, 2], [5, 6, 7]], ["line 3", "3 values", "2 columns"]),
        ("a,b", [[1, 2]], ["one row"]),
        ("a,b", [], ["no rows"]),
        ("", [], ["empty"]),
        ("0.3,0.4", [[1, 2], [3, 5], [4, 4]], ["no header", "0.3"]),
        ("1,2", [[1, 2], [3, 5], [4, 4]], ["no header"]),
        ("a,", [[1, 2], [3, 5], [4, 4]], ["column 2", "no name"]),
        ("a,a", [[1, 2], [3, 5], [4, 4]], ["more than one column", "a"]),
        ("a,b", [[1, 7], [3, 7], [4, 7]], ["1 column", "two or more"]),
        ("a,b", [[1, 1], [3, 3], [4, 4]], ["'a'", "'b'", "equal"]),
        ("a,b", [[1, -2.5], [3, -7.5], [4, -10]], ["'a'", "'b'", "other units"]),
        ("a,b,c", [[1, 2, 3], [3, 1, 7], [4, 9, 1]], ["3 rows", "3 variables"]),
        (",".join(f"x{i}" for i in range(10_000)), [], ["10000 columns", "at most 600"]),
    ],
)
def test_bad_data(tmp_path, capsys, header, rows, parts):
    path = write(tmp_path / "bad.csv", header, rows)
    assert_refused(tmp_path, capsys, [path], parts)


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["--targets=sett"], ["targets", "sett", "set"]),
        (["--method=magic"], ["magic", "interventional"]),
        (["--option=flor=1"], ["flor", "floor"]),
        (["--option=floor"], ["KEY=VALUE", "floor"]),
        (["--option=floor=7"], ["floor", "7"]),
        (["--levels=colour=a,b"], ["levels", "colour"]),
        (["--levels=set=a,a"], ["--levels", "set=a,a"]),
        (["--bootstrap=-1"], ["bootstrap", "-1"]),
        (["--time-limit=0"], ["time_limit", "0"]),
        (["--prior=nowhere.csv"], ["nowhere.csv"]),
        (["--out=garden.csv"], ["out", "garden.csv"]),
    ],
)
def test_bad_options(tmp_path, table, capsys, monkeypatch, words, parts):
    monkeypatch.chdir(tmp_path)
    assert_refused(tmp_path, capsys, [table, *words], parts)


@pytest.mark.parametrize(
    ("rule", "method", "parts"),
    [
        ("required,rain,snow", "interventional", ["snow", "no variable"]),
        ("required,rain,pots", "interventional", ["pots", "never changes"]),
        ("forbidden,rain,soil", "random", ["forbidden", "random"]),
    ],
)
def test_priors_that_do_not_fit(tmp_path, table, capsys, rule, method, parts):
    prior = write(tmp_path / "prior.csv", "rule,variable,to", [[rule]])
    words = [table, "--targets=set", f"--method={method}", "--prior", prior]
    assert_refused(tmp_path, capsys, words, parts)


def test_targets_that_are_no_column(tmp_path, table, capsys):
    text = table.read_text().replace(",soil\n", ",rain;sol\n", 1)
    table.write_text(text)
    assert_refused(tmp_path, capsys, [table, "--targets=set"], ["targets", "line 182", "sol"])


def test_the_time_limit_is_kept(tmp_path, table, capsys):
    words = [table, "--targets=set", "--bootstrap=100000", "--time-limit=0.5"]
    assert_refused(tmp_path, capsys, words, ["time limit", "0.5 s"])


def test_the_door_and_a_time_limit_that_suffices(tmp_path, table):
    words = ["--targets=set", "--bootstrap=1"]
    assert run("discover", table, *words, "--out", tmp_path / "a") == 0
    program = [sys.executable, "scripts/discover.py", str(table), *words]
    program += ["--time-limit=1000", f"--out={tmp_path / 'b'}"]
    done = subprocess.run(program, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for name in ("graph.json", "edges.csv"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def assert_refused(folder: Path, capsys, words, parts) -> None:
    before = sorted(folder.iterdir())
    out = [] if any(str(word).startswith("--out") for word in words) else ["--out", folder / "x"]
    capsys.readouterr()
    assert run("discover", *words, *out) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1, lines
    assert lines[0].startswith("Error: ")
    for part in parts:
        assert part in lines[0], lines[0]
    assert sorted(folder.iterdir()) == before


def test_without_interventions_the_better_method_is_named(tmp_path, capsys):
    data = write(tmp_path / "seen.csv", "rain,soil,plant", rows_of(150, 0))
    for method, said in (("interventional", True), ("gp-network", False)):
        out = tmp_path / method
        assert run("discover", data, f"--method={method}", "--bootstrap=0", "--out", out) == 0
        assert ("method gp-network tells them better" in capsys.readouterr().err) is said
        assert ("tells them better" in (out / "report.md").read_text()) is said
        assert json.loads((out / "graph.json").read_text())["names"] == ["rain", "soil", "plant"]
