"""Where results come from: versions, machine and commit, but not whose machine it was."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

_PACKAGES = (
    "causal_rl", "numpy", "scipy", "torch", "gymnasium", "gadjid", "networkx", "matplotlib",
    "gcastle", "dagma", "stable-baselines3", "tianshou", "ray",
)  # fmt: skip


@dataclass(frozen=True)
class Commit:
    """The state of the source tree.

    Attributes:
        commit: full hash, or None outside a git checkout.
        dirty: whether tracked or new files differ from it, results aside.
    """

    commit: str | None
    dirty: bool

    def __str__(self) -> str:
        """A short form for tables: "1234567", "1234567+changes" or "unknown"."""
        return "unknown" if self.commit is None else self.commit[:7] + "+changes" * self.dirty


def current_commit() -> Commit:
    """The commit that this package runs from."""
    source = Path(__file__).resolve().parent

    def git(*arguments: str) -> str | None:
        try:
            done = subprocess.run(
                ["git", "-C", str(source), *arguments], capture_output=True, text=True, check=True
            )
        except (OSError, subprocess.CalledProcessError):
            return None
        return done.stdout.strip()

    # An installed package may lie in somebody else's checkout: it must be a file of this one.
    if git("ls-files", "--error-unmatch", "attention.py") is None:
        return Commit(None, dirty=False)
    # Results are written while this runs; they are no part of what made them.
    changes = git("status", "--porcelain", "--", ":/", ":(top,exclude)results")
    return Commit(git("rev-parse", "HEAD"), dirty=bool(changes))


def machine(device: str = "cpu") -> dict[str, Any]:
    """Processor, cores, operating system and the GPU that was used; no name of the machine."""
    found: dict[str, Any] = {
        "cpu": _processor(),
        "cores": os.cpu_count(),
        "architecture": platform.machine(),
        "os": _system(),
        "python": platform.python_version(),
    }
    if device.startswith("cuda"):
        import torch

        found["gpu"] = torch.cuda.get_device_name(device)
    return found


def packages(names: Sequence[str] = _PACKAGES) -> dict[str, str | None]:
    """Installed versions; None for what is absent."""
    found: dict[str, str | None] = {}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    return found


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "unknown"


def _system() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        return platform.system()
