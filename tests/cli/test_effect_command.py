"""``causal-rl effect``: what it writes, and that bad data are one line and nothing written."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from program import run

FILES = {
    "effect.json", "cate.csv", "graph.png", "graph.json", "overlap.png", "balance.png", "report.md",
}  # fmt: skip
GRAPH = """digraph {
    age -> drug; age -> health; drug -> dose -> health -> visits; drug -> visits; risk -> health
}"""
QUICK = ["--treatment=drug", "--outcome=health", "--refutations=2"]


def columns(rows: int = 300, seed: int = 0) -> dict[str, np.ndarray]:
    """A drug that adds 2 to health by way of the dose, given more often to the old."""
    rng = np.random.default_rng(seed)
    age, risk = rng.normal(size=(2, rows))
    drug = (rng.random(rows) < 1.0 / (1.0 + np.exp(-age))).astype(int)
    dose = 2.0 * drug + 0.5 * rng.normal(size=rows)
    health = dose + age + risk + 0.5 * rng.normal(size=rows)
    visits = health + drug + rng.normal(size=rows)
    found = {"age": age, "risk": risk, "drug": drug, "dose": dose, "health": health}
    return {**found, "visits": visits}


def write(path: Path, table: dict[str, np.ndarray]) -> Path:
    lines = [",".join(table)]
    lines += [",".join(map(str, row)) for row in zip(*table.values(), strict=True)]
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture
def data(tmp_path) -> Path:
    return write(tmp_path / "clinic.csv", columns())


@pytest.fixture
def graph(tmp_path) -> Path:
    path = tmp_path / "known.dot"
    path.write_text(GRAPH)
    return path


def read_json(folder: Path) -> dict:
    return json.loads((folder / "effect.json").read_text())


def test_the_folder(tmp_path, data, graph, capsys):
    out = tmp_path / "found"
    assert run("effect", data, *QUICK, "--graph", graph, "--out", out) == 0
    shown = capsys.readouterr().out
    assert "1 against 0" in shown
    assert {path.name for path in out.iterdir()} == FILES
    found = read_json(out)
    (contrast,) = found["contrasts"]
    assert contrast["low"] < 2.0 < contrast["high"]
    assert contrast["difference_in_means"] > 2.4
    assert found["adjustment"]["covariates"] == ["age", "risk"]
    assert found["adjustment"]["mediators"] == ["dose"]
    assert "visits" in found["adjustment"]["forbidden"]
    assert sum(found["arms"].values()) == 300
    assert [result["draws"] for result in contrast["refutations"]] == [2, 2, 2]
    balance = found["balance"]["1"]["age"]
    assert abs(balance["after"]) < 0.3 * abs(balance["before"])
    rows = list(csv.DictReader((out / "cate.csv").open()))
    assert len(rows) == 300
    effects = [float(row["effect_1_against_0"]) for row in rows]
    assert np.mean(effects) == pytest.approx(contrast["ate"], abs=1e-6)
    report = (out / "report.md").read_text()
    for part in ("clinic.csv", "dose carries the effect", "placebo treatment", "Overlap"):
        assert part in report
    assert str(tmp_path) not in report
    # What it wrote is read again, and tells the same.
    again = tmp_path / "again"
    words = [*QUICK, "--graph", out / "graph.json", "--out", again, "--json"]
    assert run("effect", data, *words) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["contrasts"] == found["contrasts"]
    assert (again / "cate.csv").read_bytes() == (out / "cate.csv").read_bytes()


def test_without_a_graph_all_columns_are_adjusted_for(tmp_path, monkeypatch, capsys):
    table = {name: column for name, column in columns().items() if name not in ("dose", "visits")}
    data = write(tmp_path / "clinic.csv", {**table, "ward": np.full(300, 7)})
    monkeypatch.chdir(tmp_path)
    words = ["--method=t-learner", "--option=regressor=ridge", "--level=0.5", "--refutations=0"]
    assert run("effect", data, *QUICK[:2], *words) == 0
    assert "never change: ward" in capsys.readouterr().err
    (out,) = (tmp_path / "runs").iterdir()
    assert out.name.startswith("effect-clinic-")
    assert {path.name for path in out.iterdir()} == FILES - {"graph.json"}
    found = read_json(out)
    assert found["adjustment"]["covariates"] == ["age", "risk"]
    assert "Without a graph" in found["adjustment"]["why"]
    assert found["contrasts"][0]["ate"] == pytest.approx(2.0, abs=0.3)
    assert "regressor=ridge" in (out / "report.md").read_text()


def test_arms_with_names_and_a_learned_graph(tmp_path):
    rng = np.random.default_rng(3)
    age = rng.normal(size=400)
    arm = np.argmax(np.outer(age, [0.0, 0.5, -0.5]) + rng.gumbel(size=(400, 3)), axis=1)
    health = 2.0 * age + np.array([0.0, 1.0, 3.0])[arm] + rng.normal(size=400)
    names = np.array(["placebo", "low", "high"])
    data = write(tmp_path / "arms.csv", {"age": age, "arm": names[arm], "health": health})
    words = ["--treatment=arm", "--outcome=health", "--levels=arm=placebo,low,high"]
    out = tmp_path / "out"
    assert run("effect", data, *words, "--discover=full", "--out", tmp_path / "x") == 2
    words += ["--refutations=0", "--out", out]
    assert run("effect", data, *words) == 0
    found = read_json(out)
    assert [(c["arm"], c["baseline"]) for c in found["contrasts"]] == [
        ("low", "placebo"),
        ("high", "placebo"),
    ]
    assert found["contrasts"][0]["ate"] == pytest.approx(1.0, abs=0.5)
    assert found["contrasts"][1]["ate"] == pytest.approx(3.0, abs=0.5)


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["--treatment=drugs", "--outcome=health"], ["treatment", "'drugs'", "did you mean drug"]),
        (["--treatment=drug", "--outcome=wealth"], ["outcome", "'wealth'", "health"]),
        (["--treatment=drug", "--outcome=drug"], ["outcome", "treatment 'drug'"]),
        (["--treatment=age", "--outcome=health"], ["'age'", "300 values", "continuous"]),
        (["--outcome=health"], ["--treatment"]),
        ([*QUICK, "--method=magic"], ["magic", "aipw"]),
        ([*QUICK, "--option=folds=1"], ["folds", "1"]),
        ([*QUICK, "--option=fold=3"], ["fold", "folds"]),
        ([*QUICK, "--option=graph=full"], ["options", "graph"]),
        ([*QUICK, "--discover=magic"], ["magic", "interventional"]),
        ([*QUICK, "--device=cpu"], ["aipw", "device"]),
        ([*QUICK, "--level=1"], ["level", "1"]),
        ([*QUICK[:2], "--refutations=1"], ["refutations", "1"]),
        ([*QUICK, "--graph=nowhere.json"], ["nowhere.json"]),
        ([*QUICK, "--graph=clinic.csv"], ["clinic.csv", "graph"]),
        ([*QUICK, "--graph=known.dot", "--discover=pc"], ["graph", "discover"]),
        ([*QUICK, "--out=clinic.csv"], ["out", "clinic.csv"]),
    ],
)
def test_bad_options(tmp_path, data, graph, capsys, monkeypatch, words, parts):
    monkeypatch.chdir(tmp_path)
    assert_refused(tmp_path, capsys, [data, *words], parts)


@pytest.mark.parametrize(
    ("dot", "parts"),
    [
        ("digraph { health -> drug }", ["not identified", "health causes drug"]),
        ("digraph { u -> drug; u -> health; drug -> health }", ["not identified", "back-door"]),
        ("digraph { drug -> health -> age -> drug }", ["cycle", "known.dot"]),
        ("digraph { allow_cycles=true; drug -> health -> drug }", ["cycle"]),
        ("digraph { drug -> age }", ["outcome", "'health'"]),
        ("graph { drug -- health }", ["digraph", "known.dot"]),
    ],
)
def test_bad_graphs(tmp_path, data, graph, capsys, dot, parts):
    graph.write_text(dot)
    assert_refused(tmp_path, capsys, [data, *QUICK, "--graph", graph], parts)


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({"drug": np.ones(300, dtype=int)}, ["treatment 'drug'", "same in every row"]),
        ({"health": np.zeros(300)}, ["outcome 'health'", "same in every row"]),
        ({"copy": columns()["drug"]}, ["'drug'", "'copy'", "equal"]),
        ({"copy": columns()["health"]}, ["'health'", "'copy'", "equal"]),
        ({"risk": columns()["drug"] + np.linspace(0, 0.5, 300)}, ["no overlap", "risk"]),
        ({"drug": np.where(np.arange(300) < 3, 1, 0)}, ["'drug' is 1 in 3 rows", "at least"]),
        ({"age": np.where(np.arange(300) == 5, np.nan, 1.0)}, ["'age'", "line 7", "nan"]),
        ({"age": np.where(np.arange(300) == 5, "old", "1.5")}, ["'age'", "line 7", "old"]),
        ({"risk": np.resize(["a", "b", "c"], 300)}, ["'risk'", "3 categories", "--levels"]),
    ],
)
def test_bad_data(tmp_path, capsys, changes, parts):
    data = write(tmp_path / "bad.csv", {**columns(), **changes})
    assert_refused(tmp_path, capsys, [data, *QUICK], parts)


def assert_refused(folder: Path, capsys, words, parts) -> None:
    before = sorted(folder.iterdir())
    out = [] if "--out=clinic.csv" in words else ["--out", folder / "x"]
    capsys.readouterr()
    assert run("effect", *words, *out) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1, lines
    assert lines[0].startswith("Error: ")
    for part in parts:
        assert part in lines[0], lines[0]
    assert sorted(folder.iterdir()) == before
