"""Cells that cost nothing, for the tests of the machinery; worker processes import them by name."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from causal_rl.benchmarks import Cell, Outcome


def grid(seeds: int, smoke: bool) -> list[Cell]:
    scale = float(os.environ.get("FAKE_SCALE", "1"))
    kinds = ("a",) if smoke else ("a", "b")
    return [
        Cell({"kind": kind, "seed": seed}, {"scale": scale})
        for seed in range(seeds)
        for kind in kinds
    ]


def run(cell: Cell) -> Outcome:
    """Behave as the environment says, and log that the cell was computed."""
    if os.environ.get("FAKE_FAIL") == cell.name:
        raise ValueError("boom on purpose")
    if os.environ.get("FAKE_DIE") == cell.name:
        os.kill(os.getpid(), signal.SIGKILL)
    if os.environ.get("FAKE_DIE_ONCE") == cell.name and not Path(os.environ["FAKE_PID"]).exists():
        Path(os.environ["FAKE_PID"]).write_text(str(os.getpid()))
        os.kill(os.getpid(), signal.SIGKILL)
    if os.environ.get("FAKE_HOLD") == cell.name:
        Path(os.environ["FAKE_PID"]).write_text(str(os.getpid()))
        time.sleep(120)
    with Path(os.environ["FAKE_LOG"]).open("a") as log:
        log.write(cell.name + "\n")
    scale, seed = cell.settings["scale"], int(cell.parameters["seed"])
    threads = os.environ["OMP_NUM_THREADS"]
    figures = {
        "value": scale * (seed + (cell.parameters["kind"] == "b") / 3),
        "threads": int(threads),
        "note": "1e3x",
        "missing": float("nan"),
    }
    return Outcome(figures, [{"step": 0, "height": 0.5}, {"step": 1, "height": 0.1 + seed}])


def run_nothing(cell: Cell) -> Outcome:
    return None  # type: ignore[return-value]
