"""Where a network lies: its rows follow it, and its random numbers leave those of others alone."""

from __future__ import annotations

from contextlib import AbstractContextManager

import torch
from torch import nn


def device_of(model: nn.Module) -> torch.device:
    """The device of a network's weights.

    Args:
        model: with at least one weight, all of them on one device.
    """
    return next(model.parameters()).device


def forked_random(device: torch.device) -> AbstractContextManager[None]:
    """What is drawn inside changes neither the CPU's random numbers nor those of ``device``."""
    if device.type != "cuda":
        return torch.random.fork_rng(devices=[])
    index = torch.cuda.current_device() if device.index is None else device.index
    return torch.random.fork_rng(devices=[index])
