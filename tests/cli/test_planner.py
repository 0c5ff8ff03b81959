"""``train --agent planner`` through the program: its folder, stopping and going on, bad input."""

from __future__ import annotations

import json
import signal
import time

import numpy as np
import pytest
import yaml
from program import run, start

from causal_rl.agents import PlannerConfig
from causal_rl.discovery import Transitions

SMALL = [
    "--agent=planner", "--env-arg=n=4", "--env-arg=horizon=8", "--steps=96", "--samples=16",
    "--horizon=1", "--final-episodes=2", "--checkpoint-every=1",
]  # fmt: skip


@pytest.fixture(scope="module")
def planned(tmp_path_factory):
    """The folder of a finished planner's run."""
    folder = tmp_path_factory.mktemp("planned") / "run"
    assert run("train", *SMALL, "--out", folder) == 0
    return folder


def summary(folder):
    found = json.loads((folder / "summary.json").read_text())
    return {key: value for key, value in found.items() if key != "seconds"}


def test_evaluations_know_a_planners_run(planned, capsys):
    assert yaml.safe_load((planned / "config.yaml").read_text())["agent"] == "planner"
    assert run("evaluate-agent", planned, "--json") == 0
    plain = json.loads(capsys.readouterr().out)
    assert plain["return_mean"] == summary(planned)["return_mean"]
    assert run("evaluate-agent", planned, "--shift=noise", "--json") == 0
    assert json.loads(capsys.readouterr().out)["return_mean"] != plain["return_mean"]
    assert run("evaluate-graph", planned, "--json") == 0
    assert json.loads(capsys.readouterr().out)["learned"]["n_true_contemporaneous"] > 0


@pytest.mark.parametrize(
    "stop", [signal.SIGKILL, pytest.param(signal.SIGINT, marks=pytest.mark.slow)]
)
def test_a_stopped_run_resumes_to_the_figures_of_an_unbroken_one(planned, tmp_path, stop):
    folder = tmp_path / "stopped"
    process = start("train", *SMALL, "--out", folder)
    deadline = time.monotonic() + 120
    while not (folder / "checkpoint.pt").exists() and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.002)
    process.send_signal(stop)
    _, errors = process.communicate(timeout=120)
    assert not (folder / "summary.json").exists()
    if stop == signal.SIGINT:
        assert process.returncode == 130
        assert f"--resume {folder}" in errors
    assert run("train", "--resume", folder) == 0
    assert summary(folder) == summary(planned)
    assert (folder / "graph.json").read_bytes() == (planned / "graph.json").read_bytes()
    first, second = (Transitions.load(f / "transitions.npz") for f in (planned, folder))
    np.testing.assert_array_equal(first.next_state, second.next_state)


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["--agent=clever"], ["--agent", "clever", "planner"]),
        (["--agent=planner", "--samples=3"], ["samples", "power of two", "3"]),
        (["--agent=planner", "--epochs=3"], ["'epochs'", "agent planner"]),
        (["--exploration=random"], ["'exploration'"]),
        (["--agent=planner", "--exploration=clever"], ["--exploration", "clever"]),
        (["--agent=planner", "--learner=magic"], ["magic", "interventional"]),
        (["--warm-start=nowhere"], ["warm_start", "nowhere"]),
        (["--resume=nowhere", "--agent=planner"], ["--resume", "--agent"]),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_written(tmp_path, capsys, monkeypatch, words, parts):
    monkeypatch.chdir(tmp_path)
    out = [] if "--resume" in words[0] else ["--out", tmp_path / "run"]
    capsys.readouterr()
    assert run("train", *words, *out) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert all(part in lines[0] for part in parts), lines[0]
    assert list(tmp_path.iterdir()) == []


def test_a_file_may_name_the_agent(tmp_path, capsys):
    path = tmp_path / "options.yaml"
    path.write_text(yaml.safe_dump({**PlannerConfig().to_dict(), "learner": "magic"}))
    assert run("train", "--config", path, "--out", tmp_path / "run") == 2
    assert "magic" in capsys.readouterr().err  # the planner's options were taken


def test_help_names_the_planners_options_and_defaults(capsys):
    assert run("train", "--help") == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "--exploration [random|information]" in text
    assert "Planner: Steps to look ahead" in text
    assert "[default: 80000; planner: 5000]" in text
