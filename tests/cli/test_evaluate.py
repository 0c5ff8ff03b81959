from __future__ import annotations

import dataclasses
import json

import pytest
from program import run

from causal_rl.agents import TrainConfig


def test_evaluate_graph_as_table_json_and_picture(finished, tmp_path, capsys):
    picture = tmp_path / "graph.png"
    assert run("evaluate-graph", finished, "--out", picture) == 0
    table = capsys.readouterr().out
    assert picture.read_bytes()[:4] == b"\x89PNG"
    for word in ("learned", "empty", "full", "random", "SHD", "SID", "AUPRC", "within step"):
        assert word in table
    assert "…" not in table
    assert run("evaluate-graph", finished, "--json", "--out", picture) == 0
    rows = json.loads(capsys.readouterr().out)
    summary = json.loads((finished / "summary.json").read_text())
    assert rows["learned"]["shd_contemporaneous"] == summary["shd_contemporaneous"]
    assert rows["empty"]["shd_contemporaneous"] == rows["empty"]["n_true_contemporaneous"]


def test_evaluate_agent_repeats_the_figures_of_the_run(finished, capsys):
    assert run("evaluate-agent", finished, "--json") == 0
    result = json.loads(capsys.readouterr().out)
    summary = json.loads((finished / "summary.json").read_text())
    for key in ("return_mean", "return_random", "return_noop", "return_oracle"):
        assert result[key] == summary[key]
    assert result["return_low"] <= result["return_mean"] <= result["return_high"]


def test_evaluate_agent_in_a_shifted_world(finished, capsys):
    assert run("evaluate-agent", finished, "--json") == 0
    before = json.loads(capsys.readouterr().out)
    assert run("evaluate-agent", finished, "--shift=noise", "--json") == 0
    after = json.loads(capsys.readouterr().out)
    assert after["shift"] == "noise"
    assert after["return_noop"] < before["return_noop"]
    assert run("evaluate-agent", finished, "--shift=noise", "--episodes=3") == 0
    text = capsys.readouterr().out
    assert "noise" in text
    assert "oracle planner" in text


def test_envs_lists_and_describes(capsys):
    assert run("envs") == 0
    listed = capsys.readouterr().out
    for name in ("chain-scm", "er-scm", "proxy-chain-scm", "flip"):
        assert name in listed
    assert run("envs", "chain-scm") == 0
    described = capsys.readouterr().out
    for word in ("goal (context)", "settable", "horizon", "-> reward"):
        assert word in described


@pytest.mark.parametrize(
    "verb", [[], ["train"], ["evaluate-graph"], ["evaluate-agent"], ["envs"], ["benchmark"]]
)
def test_every_verb_has_help(verb, capsys):
    assert run(*verb, "--help") == 0
    assert "Usage" in capsys.readouterr().out


def test_help_of_train_names_every_option_with_its_default(capsys):
    assert run("train", "--help") == 0
    text = " ".join(capsys.readouterr().out.split())
    for item in dataclasses.fields(TrainConfig):
        flag = item.metadata.get("flag", f"--{item.name.replace('_', '-')}")
        assert flag in text
        assert " ".join(item.metadata["help"].split()) in text
    assert text.count("[default:") >= len(dataclasses.fields(TrainConfig))
    for option in ("--out DIR", "--config FILE", "--resume RUN", "--threads"):
        assert option in text
