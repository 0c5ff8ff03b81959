from __future__ import annotations

import json
import math
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import yaml
from program import SMALL, run, start
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from causal_rl.agents import TrainConfig
from causal_rl.discovery import Transitions
from causal_rl.graphs import CausalGraph

ROOT = Path(__file__).parents[2]


def figures(folder: Path) -> dict[str, object]:
    """The summary, which must be strict JSON, without the one figure that a clock makes."""

    def refuse(literal: str) -> None:
        raise AssertionError(f"summary.json holds {literal}")

    summary = json.loads((folder / "summary.json").read_text(), parse_constant=refuse)
    summary.pop("seconds")
    return summary


def assert_same_run(a: Path, b: Path) -> None:
    assert figures(a) == figures(b)
    assert (a / "graph.json").read_bytes() == (b / "graph.json").read_bytes()
    first, second = (Transitions.load(folder / "transitions.npz") for folder in (a, b))
    for name in ("state", "action", "reward", "next_state", "do_target", "do_value"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))


def scalars(folder: Path) -> EventAccumulator:
    events = EventAccumulator(str(folder / "tensorboard"), size_guidance={"scalars": 0})
    events.Reload()
    return events


def test_the_folder_holds_what_it_should(finished):
    assert {path.name for path in finished.iterdir()} == {
        "config.yaml", "checkpoint.pt", "graph.json", "graph.png", "learning_curve.png",
        "transitions.npz", "summary.json", "tensorboard",
    }  # fmt: skip
    summary = figures(finished)
    for key in [
        "env",
        "seed",
        "env_steps",
        "return_mean",
        "return_random",
        "return_noop",
        "return_oracle",
        "shd_contemporaneous",
        "shd_lagged",
        "f1_contemporaneous",
        "f1_lagged",
    ]:
        assert isinstance(summary[key], (int, float, str)), key
        assert not (isinstance(summary[key], float) and math.isnan(summary[key]))
    assert set(summary["baselines"]) == {"empty", "full", "random"}
    assert summary["return_oracle"] > summary["return_random"]
    assert summary["env_steps"] >= 3000
    config = TrainConfig.from_dict(yaml.safe_load((finished / "config.yaml").read_text()))
    assert config.steps == 3000
    assert CausalGraph.load(finished / "graph.json").names[-1] == "reward"
    assert len(Transitions.load(finished / "transitions.npz")) == summary["env_steps"]
    for picture in ("graph.png", "learning_curve.png"):
        assert (finished / picture).read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_tensorboard_has_the_tags_of_stable_baselines3_and_the_graph(finished):
    events = scalars(finished)
    tags = set(events.Tags()["scalars"])
    assert tags >= {
        "rollout/ep_rew_mean", "train/approx_kl", "train/explained_variance", "train/value_loss",
        "eval/mean_reward", "time/fps", "causal/shd_contemporaneous", "causal/shd_lagged",
        "causal/density", "causal/edge_churn",
    }  # fmt: skip
    assert events.Tags()["images"] == ["causal/graph"]


def test_same_seed_same_figures(finished, tmp_path):
    assert run("train", *SMALL, "--out", tmp_path / "again") == 0
    assert_same_run(finished, tmp_path / "again")
    assert run("train", *SMALL, "--seed=1", "--out", tmp_path / "other") == 0
    assert figures(tmp_path / "other")["return_mean"] != figures(finished)["return_mean"]


def wait_for(path: Path, process: subprocess.Popen[str], *, changed_from: int = -1) -> None:
    """Until the file is there (and was replaced), or the process is over."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        if path.exists() and path.stat().st_mtime_ns != changed_from:
            return
        time.sleep(0.002)


SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    "moment",
    [
        "later",
        pytest.param("config.yaml", marks=SLOW),
        pytest.param("checkpoint.pt", marks=SLOW),
        pytest.param("graph.json", marks=SLOW),
    ],
)
def test_a_killed_run_resumes_to_the_figures_of_an_unbroken_one(finished, tmp_path, moment):
    folder = tmp_path / "killed"
    process = start("train", *SMALL, "--out", folder)
    name = "checkpoint.pt" if moment == "later" else moment
    for _ in range(4 if moment == "later" else 1):
        path = folder / name
        wait_for(path, process, changed_from=path.stat().st_mtime_ns if path.exists() else -1)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not (folder / "summary.json").exists()
    assert run("train", "--resume", folder) == 0
    assert_same_run(finished, folder)
    whole, resumed = scalars(finished), scalars(folder)
    for tag in ("eval/mean_reward", "train/value_loss"):
        expected = [(event.step, event.value) for event in whole.Scalars(tag)]
        assert [(event.step, event.value) for event in resumed.Scalars(tag)] == expected


def test_a_run_that_ends_in_its_warm_up_has_a_policy_and_a_graph(tmp_path):
    folder = tmp_path / "short"
    assert run("train", *SMALL, "--steps=500", "--out", folder) == 0
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["env_steps"] >= 500
    assert np.isfinite(summary["return_mean"])
    assert (folder / "learning_curve.png").stat().st_size > 0
    evaluations = scalars(folder).Scalars("eval/mean_reward")
    assert [event.step for event in evaluations] == [summary["env_steps"]]


def test_ctrl_c_saves_and_resumes(finished, tmp_path):
    folder = tmp_path / "interrupted"
    process = start("train", *SMALL, "--out", folder)
    wait_for(folder / "checkpoint.pt", process)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 130
    assert f"--resume {folder}" in errors
    assert not (folder / "summary.json").exists()
    assert run("train", "--resume", folder) == 0
    assert_same_run(finished, folder)


def test_resuming_a_finished_run_changes_nothing_and_more_steps_go_on(finished, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(finished, folder)
    assert run("train", "--resume", folder) == 0
    assert_same_run(finished, folder)
    assert run("train", "--resume", folder, "--steps=4000") == 0
    assert figures(folder)["env_steps"] >= 4000
    assert yaml.safe_load((folder / "config.yaml").read_text())["steps"] == 4000


def test_config_file_and_the_command_line_wins(finished, tmp_path):
    path = tmp_path / "options.yaml"
    options = yaml.safe_load((finished / "config.yaml").read_text())
    path.write_text(yaml.safe_dump({**options, "seed": 7, "steps": 900}))
    out = tmp_path / "run"
    assert run("train", "--config", path, "--seed=3", "--out", out) == 0
    written = yaml.safe_load((out / "config.yaml").read_text())
    assert (written["seed"], written["steps"]) == (3, 900)


@pytest.mark.parametrize("form", ["file", "module"])
def test_worlds_that_are_registered_nowhere(tmp_path, monkeypatch, form):
    path = tmp_path / f"own_world_{form}.py"
    path.write_text((ROOT / "examples" / "custom_world.py").read_text())
    monkeypatch.syspath_prepend(str(tmp_path))
    name = f"{path}:GARDEN" if form == "file" else f"own_world_{form}:GARDEN"
    out = tmp_path / "run"
    assert run("train", "--env", name, *SMALL, "--steps=900", "--out", out) == 0
    assert figures(out)["env"] == name


@pytest.mark.parametrize(
    "words",
    [
        ["scripts/train_agent.py", "--help"],
        ["scripts/evaluate_graph.py", "--help"],
        ["scripts/evaluate_agent.py", "--help"],
        ["examples/custom_world.py"],
    ],
)
def test_doors_and_examples_run(words):
    done = subprocess.run([sys.executable, *words], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "Usage" in done.stdout or "mean return" in done.stdout
