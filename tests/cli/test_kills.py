"""Fifty random SIGKILLs over train, benchmark and discover: all resume, nothing is half there."""

from __future__ import annotations

import csv
import json
import random
import signal
import subprocess
from pathlib import Path

import numpy as np
import pytest
from program import SMALL, run, start

from causal_rl.agents import load_checkpoint, load_options
from causal_rl.agents.checkpoint import CHECKPOINT_FILE
from causal_rl.discovery import Transitions
from causal_rl.envs import resolve_spec
from causal_rl.graphs import CausalGraph

pytestmark = pytest.mark.slow

KILLS = {"train": 20, "benchmark": 15, "discover": 15}
# A kill comes after so many seconds at most; starting the program takes some of them.
LONGEST = 9.0


def _kill_after(process: subprocess.Popen[str], seconds: float) -> bool:
    """Whether the process was killed before it was over."""
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode in (0, -signal.SIGKILL)
    return process.returncode != 0


def _readable(folder: Path) -> None:
    """Every file that is there, whatever moment it is, can be read whole."""
    for path in folder.iterdir() if folder.is_dir() else ():
        if path.name.startswith(".") or path.is_dir():
            continue  # names of files that are being written, and locks
        if path.name == "graph.json":
            CausalGraph.load(path)
        elif path.suffix == ".json":
            json.loads(path.read_text())
        elif path.suffix == ".npz":
            Transitions.load(path)
        elif path.name == CHECKPOINT_FILE:
            config = load_options(folder)
            load_checkpoint(path, resolve_spec(config.env, **config.world_kwargs))
        elif path.suffix == ".csv":
            rows = list(csv.reader(path.read_text().splitlines()))
            assert {len(row) for row in rows} == {len(rows[0])}
        elif path.suffix == ".png":
            assert path.read_bytes().endswith(b"IEND\xaeB`\x82")


def test_train(finished: Path, tmp_path: Path) -> None:
    draw, folder, killed = random.Random(0), tmp_path / "run", 0
    while killed < KILLS["train"]:
        begun = (folder / "config.yaml").is_file()
        words = ("--resume", folder) if begun else (*SMALL, "--out", folder)
        if not _kill_after(start("train", *words), draw.uniform(0.5, LONGEST)):
            _same_run(finished, folder)
            folder = tmp_path / f"run{killed}"  # it was over; another one
            continue
        killed += 1
        _readable(folder)
        if folder.is_dir() and not (folder / "config.yaml").is_file():
            folder = tmp_path / f"run{killed}"  # killed before the options were written
    if (folder / "config.yaml").is_file():
        assert run("train", "--resume", folder) == 0
        _same_run(finished, folder)


def _same_run(one: Path, two: Path) -> None:
    first, second = (json.loads((f / "summary.json").read_text()) for f in (one, two))
    assert {**first, "seconds": 0} == {**second, "seconds": 0}
    assert CausalGraph.load(one / "graph.json") == CausalGraph.load(two / "graph.json")
    rows = [Transitions.load(f / "transitions.npz").next_state for f in (one, two)]
    np.testing.assert_array_equal(*rows)


def test_benchmark(tmp_path: Path) -> None:
    words = ("benchmark", "encoders", "--smoke", "--jobs", "2")
    whole, broken, draw = tmp_path / "whole", tmp_path / "broken", random.Random(1)
    assert run(*words, "--out", whole) == 0
    killed = 0
    while killed < KILLS["benchmark"]:
        if _kill_after(start(*words, "--out", broken), draw.uniform(0.5, LONGEST)):
            killed += 1
            _readable(broken)
        else:
            assert _figures(broken) == _figures(whole)
            broken = tmp_path / f"broken{killed}"
    assert run(*words, "--out", broken) == 0
    assert _figures(broken) == _figures(whole)


def _figures(folder: Path) -> list[dict[str, str]]:
    """The rows, without what differs between two runs of one cell."""
    with (folder / "raw.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    times = {key for key in rows[0] if "seconds" in key or key in ("jobs", "commit")}
    kept = [{key: value for key, value in row.items() if key not in times} for row in rows]
    return sorted(kept, key=lambda row: row["cell"])


def test_discover(tmp_path: Path) -> None:
    rng, draw = np.random.default_rng(0), random.Random(2)
    x = rng.normal(size=(400, 4))
    x[:, 1] += x[:, 0]
    x[:, 2] += x[:, 1]
    table = tmp_path / "table.csv"
    np.savetxt(table, x, delimiter=",", header="a,b,c,d", comments="")
    words = ("discover", table, "--method", "pc", "--bootstrap", "20")
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    assert run(*words, "--out", whole) == 0
    killed = 0
    while killed < KILLS["discover"]:
        before = sorted(path.name for path in tmp_path.iterdir())
        if _kill_after(start(*words, "--out", broken), draw.uniform(0.5, LONGEST)):
            killed += 1
            # The folder appears whole or not at all, and a table is never touched.
            assert not broken.exists() or _files(broken) == _files(whole)
        if broken.exists():
            assert CausalGraph.load(broken / "graph.json") == CausalGraph.load(whole / "graph.json")
            _readable(broken)
            broken = tmp_path / f"broken{killed}-{len(before)}"
    assert run(*words, "--out", tmp_path / "last") == 0
    assert _files(tmp_path / "last") == _files(whole)


def _files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())
