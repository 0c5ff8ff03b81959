"""A long run takes no more memory in its last third than in the one before, what it keeps apart."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

STATM = Path("/proc/self/statm")

#: Trains as the program does, and writes down what the process takes after every iteration.
PROGRAM = """
import json, os, sys
from causal_rl.agents.tensorboard import RunLogger
from causal_rl.cli import main

taken, page, scalars = [], os.sysconf("SC_PAGE_SIZE"), RunLogger.scalars

def noting(logger, figures, step):
    scalars(logger, figures, step)
    with open("/proc/self/statm") as file:
        taken.append(int(file.read().split()[1]) * page)

RunLogger.scalars = noting
try:
    main(["train", *sys.argv[2:]])
finally:
    with open(sys.argv[1], "w") as file:
        json.dump(taken, file)
"""
MIB = 2**20
#: A row of figures per iteration is kept, for the learning curve: some 25 floats and their tags,
#: once more while a checkpoint is written.
PER_ITERATION = 4096
#: What the allocator may hold more of at one time than at another: between the thirds of such runs,
#: and of some twice as long, the peaks differed by -2.3 to 2.7 MiB.
SLACK = 4 * MIB

# Small networks and short rollouts make many iterations. The store, whose capacity is the one thing
# that should grow, is full within the first tenth.
SMALL = (
    "--store-size=4000 --num-envs=8 --explore-envs=2 --rollout-steps=8 --epochs=1 --embed-dim=8 "
    "--layers=1 --warmup-steps=1000 --graph-every=5 --eval-episodes=4 --final-episodes=4"
)
RUNS = {
    "actor-critic": f"{SMALL} --steps=60000",
    "watched": f"{SMALL} --steps=40000 --watch=.05 --regime=3000=mechanism --counterfactuals=1",
    "planner": "--agent=planner --steps=30000 --store-size=2000 --final-episodes=4",
}


@pytest.mark.slow
@pytest.mark.skipif(not STATM.is_file(), reason="no /proc to read the memory of a process from")
@pytest.mark.parametrize("kind", list(RUNS))
def test_memory_stays_flat_once_a_third_is_done(kind: str, tmp_path: Path) -> None:
    words = [str(tmp_path / "taken.json"), *RUNS[kind].split(), f"--out={tmp_path / 'run'}"]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *words],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    taken = np.array(json.loads((tmp_path / "taken.json").read_text()))
    count = len(taken)
    assert count > 400
    third = count // 3
    # Peaks: pictures and checkpoints come and go, and each third has many of them.
    grown = taken[2 * third :].max() - taken[third : 2 * third].max()
    allowed = SLACK + PER_ITERATION * third
    assert grown <= allowed, f"{grown / MIB:.1f} MiB more, {allowed / MIB:.1f} allowed"
