"""Devices of torch: by name, where a network lies, and the random numbers drawn there."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from torch import nn

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
    return _present(name, "cpu, cuda, cuda:N or mps")


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
    return _present(name, "cpu, cuda, cuda:N, mps or auto")


def _present(name: object, allowed: str) -> torch.device:
    import torch

    if not isinstance(name, str):
        raise TypeError(f"device must be a string, not {name!r}")
    reason, cause = "", None
    try:
        device = torch.device(name)
        if device.type in _TYPES:
            torch.empty(1, device=device)
            return device
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        # Torch's own text may run over many lines; the first says what is wrong.
        reason, cause = f" ({str(error).splitlines()[0]})", error
    message = f"device is {name!r}; it must be {allowed}, and present here{reason}"
    raise ValueError(message) from cause


def device_of(model: nn.Module) -> torch.device:
    """The device of a network's weights.

    Args:
        model: with at least one weight, all of them on one device.
    """
    return next(model.parameters()).device


def forked_random(device: torch.device) -> AbstractContextManager[None]:
    """What is drawn inside changes neither the CPU's random numbers nor those of ``device``."""
    import torch

    if device.type != "cuda":
        return torch.random.fork_rng(devices=[])
    index = torch.cuda.current_device() if device.index is None else device.index
    return torch.random.fork_rng(devices=[index])
