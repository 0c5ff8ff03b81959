"""What a run is refused for, beyond the table of `bad_cases`: its world, graph and checkpoint."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import pytest
import torch
import yaml
from program import SMALL, run

WORLD = """
import numpy as np
from causal_rl.envs import Interventions, SCMEnvSpec
from causal_rl.scm import DynamicSCM, Gaussian, Linear, Variable

def world(mechanism):
    return SCMEnvSpec(
        "broken",
        DynamicSCM([
            Variable("a"),
            Variable("b", mechanism, parents=["a"]),
            Variable("pay", lambda b: -np.abs(b), parents=["b"], kind="reward"),
        ]),
        Interventions(["a"]),
        horizon=4,
    )

def cyclic():
    return DynamicSCM([
        Variable("a", Linear([1.0]), parents=["c"]),
        Variable("b", Linear([1.0]), parents=["a"]),
        Variable("c", Linear([1.0]), parents=["b"]),
    ])

def nan():
    return world(lambda a: np.where(a > 1.5, np.nan, a))

def shape():
    return world(lambda a: a[:, None])

def raising():
    return world(lambda a: a.no_such_method())

def number():
    return 3

good = world(Linear([1.0]))
"""


@pytest.fixture
def world(tmp_path):
    path = tmp_path / "worlds.py"
    path.write_text(WORLD)
    return path


def refused(capsys, *words) -> str:
    """The one line on standard error of a call that must be refused."""
    capsys.readouterr()
    assert run(*words) == 2
    captured = capsys.readouterr()
    lines = captured.err.strip().splitlines()
    assert len(lines) == 1, captured.err
    assert lines[0].startswith("Error: ")
    return lines[0]


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("cyclic", ["a -> b -> c -> a"]),
        ("nan", ["'b'", "not finite"]),
        ("shape", ["'b'", "shape"]),
        ("raising", ["'b'", "no_such_method"]),
        ("number", ["number"]),
        ("absent", ["absent", "good"]),
    ],
)
def test_worlds(tmp_path, world, capsys, name, parts):
    out = tmp_path / "run"
    line = refused(capsys, "train", *SMALL, "--env", f"{world}:{name}", "--out", out)
    for part in parts:
        assert part in line
    assert not out.exists()


def test_a_world_file_that_fails_is_named_with_its_line(tmp_path, capsys):
    path = tmp_path / "failing.py"
    path.write_text("import math\n\nmath.no_such_function()\n")
    line = refused(capsys, "train", "--env", f"{path}:X", "--out", tmp_path / "run")
    assert "failing.py" in line
    assert "no_such_function" in line
    assert "line 3" in line


def test_graph_files(tmp_path, finished, world, capsys):
    out = tmp_path / "run"
    other = refused(
        capsys, "train", "--env", f"{world}:good", "--graph", finished / "graph.json", "--out", out
    )
    assert "goal" in other
    assert "this world has a, b" in other
    broken = tmp_path / "broken.json"
    broken.write_text("{")
    assert "broken.json" in refused(capsys, "train", "--graph", broken, "--out", out)
    assert not out.exists()


def test_folders(tmp_path, finished, capsys):
    assert "--resume" in refused(capsys, "train", "--out", finished)
    taken = tmp_path / "file"
    taken.write_text("")
    assert "out" in refused(capsys, "train", "--out", taken)
    assert "out" in refused(capsys, "train", *SMALL, "--out", taken / "below")
    for verb in ("evaluate-graph", "evaluate-agent"):
        assert "config.yaml" in refused(capsys, verb, tmp_path)


def test_checkpoints(tmp_path, finished, capsys):
    folder = tmp_path / "copy"
    shutil.copytree(finished, folder)
    options = yaml.safe_load((folder / "config.yaml").read_text())
    (folder / "config.yaml").write_text(yaml.safe_dump({**options, "env": "fork-scm"}))
    for words in (["train", "--resume", folder], ["evaluate-agent", folder]):
        line = refused(capsys, *words)
        assert "another env" in line
        assert "chain-scm" in line
        assert "fork-scm" in line
    (folder / "config.yaml").write_text(yaml.safe_dump(options))
    whole = (folder / "checkpoint.pt").read_bytes()
    for content in (whole[: len(whole) // 2], b"", b"no checkpoint"):
        (folder / "checkpoint.pt").write_bytes(content)
        assert "checkpoint" in refused(capsys, "train", "--resume", folder)
    torch.save({"some": "dict"}, folder / "checkpoint.pt")
    assert "no checkpoint of this program" in refused(capsys, "train", "--resume", folder)


def test_resume_refuses_fewer_steps_than_taken(tmp_path, finished, capsys):
    folder = tmp_path / "copy"
    shutil.copytree(finished, folder)
    assert "already taken" in refused(capsys, "train", "--resume", folder, "--steps=500")


def test_a_graph_of_another_world_in_the_run(tmp_path, finished, capsys):
    folder = tmp_path / "copy"
    shutil.copytree(finished, folder)
    graph = json.loads((folder / "graph.json").read_text())
    graph["names"][0] = "Z"
    (folder / "graph.json").write_text(json.dumps(graph))
    assert "Z" in refused(capsys, "evaluate-graph", folder)


def test_unknown_shift_names_those_there_are(finished, capsys):
    line = refused(capsys, "evaluate-agent", finished, "--shift=flop")
    assert "flop" in line
    assert "noise" in line


def test_a_missing_extra_is_named_before_anything_is_written(tmp_path):
    program = (
        "import sys\n"
        "class Absent:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.partition('.')[0] == 'dagma':\n"
        "            raise ModuleNotFoundError(f'No module named {name!r}', name=name)\n"
        "sys.meta_path.insert(0, Absent())\n"
        "from causal_rl.cli import main\n"
        f"main(['train', '--learner=dagma', '--out={tmp_path / 'run'}'])\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 2
    assert "pip install 'causal_rl[discovery]'" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "run").exists()


def test_a_traceback_can_be_asked_for(monkeypatch):
    monkeypatch.setenv("CAUSAL_RL_TRACEBACK", "1")
    with pytest.raises(ValueError, match="steps"):
        run("train", "--steps=0")


def test_the_program_starts_without_what_only_some_of_it_needs():
    code = (
        "import sys, causal_rl.cli\n"
        "slow = {'matplotlib', 'scipy.stats', 'tensorboard', 'sklearn', 'pandas', 'econml'}\n"
        "sys.exit(', '.join(slow & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
