"""Devices of torch by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

_TYPES = ("cpu", "cuda", "mps")


def check_device(name: object) -> torch.device:
    """A device that is there.

    Args:
        name: "cpu", "cuda", "cuda:N" or "mps".

    Returns:
        The device.

    Raises:
        TypeError: no string.
        ValueError: none of these, or not present here.
    """
    import torch

    if not isinstance(name, str):
        raise TypeError(f"device must be a string, not {name!r}")
    try:
        device = torch.device(name)
        if device.type in _TYPES:
            torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        # Torch's own text may run over many lines; the first says what is wrong.
        reason = str(error).splitlines()[0]
        raise ValueError(_wrong(name, f"present here ({reason})")) from error
    if device.type not in _TYPES:
        raise ValueError(_wrong(name, "present here"))
    return device


def _wrong(name: str, present: str) -> str:
    return f"device is {name!r}; it must be cpu, cuda, cuda:N, mps or auto, and {present}"


def resolve_device(name: str) -> torch.device:
    """As `check_device`, and "auto": CUDA, then MPS, then the CPU.

    Raises:
        TypeError: no string.
        ValueError: no such device here.
    """
    import torch

    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    return check_device(name)
