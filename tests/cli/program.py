"""How the tests of the command line run the program."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import torch

from causal_rl.cli import main

SMALL = [
    "--num-envs=8", "--explore-envs=2", "--warmup-steps=640", "--rollout-steps=16",
    "--graph-every=2", "--eval-every=4", "--checkpoint-every=3", "--eval-episodes=4",
    "--final-episodes=4", "--embed-dim=8", "--layers=1", "--steps=3000",
]  # fmt: skip


def run(*words: object) -> int:
    """Run the program in this process; its exit status."""
    threads = torch.get_num_threads()
    try:
        main([str(word) for word in words])
    except SystemExit as stopped:
        return int(stopped.code or 0)
    finally:
        torch.set_num_threads(threads)
    raise AssertionError("main returns only by exiting")


def start(*words: object, cwd: Path | None = None) -> subprocess.Popen[str]:
    """Start the program as a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "causal_rl", *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=cwd,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
