"""What ``import causal_rl`` brings with it, and what it leaves alone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = ("torch", "matplotlib", "pandas", "scipy", "sklearn", "tensorboard", "networkx", "asyncio")

#: In a fresh interpreter, so that nothing was imported by another test.
LEFT_ALONE = """
import os, random, signal, sys, threading, warnings
import gymnasium
import numpy as np

def state():
    return {
        "Python's generator": random.getstate(),
        "NumPy's generator": str(np.random.get_state()),
        "filters of warnings": list(warnings.filters),
        "threads": [thread.name for thread in threading.enumerate()],
        "floating-point errors": np.geterr(),
        "printing": str(np.get_printoptions()),
        "environment": dict(os.environ),
        "folder": os.getcwd(),
        "files": os.listdir(),
        "signals": [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)],
        "hooks": (sys.excepthook, sys.displayhook, list(sys.meta_path), list(sys.path)),
    }

before, known = state(), set(gymnasium.registry)
import causal_rl
after, added = state(), set(gymnasium.registry) - known
changed = [key for key in before if before[key] != after[key]]
if changed:
    sys.exit(f"changed: {', '.join(changed)}")
if not added or any(not name.startswith("causal_rl/") for name in added):
    sys.exit(f"registered: {sorted(added)}")
if not known <= set(gymnasium.registry):
    sys.exit("an environment is gone")
"""


def fresh(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True)


def test_nothing_heavy_is_imported(tmp_path: Path) -> None:
    code = f"import sys, causal_rl; print(*[m for m in {HEAVY!r} if m in sys.modules])"
    done = fresh(code, tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []


def test_nothing_changes_but_the_registry_of_gymnasium(tmp_path: Path) -> None:
    done = fresh(LEFT_ALONE, tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout == done.stderr == ""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("use", ["causal_rl.Algorithm5", "causal_rl.make_learner('empty')"])
def test_what_needs_torch_imports_it_when_it_is_asked_for(use: str, tmp_path: Path) -> None:
    code = f"import sys, causal_rl; before = 'torch' in sys.modules; {use}; print(before)"
    done = fresh(code, tmp_path)
    assert (done.returncode, done.stdout.strip()) == (0, "False"), done.stderr
