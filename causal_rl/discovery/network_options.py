"""Checks of the options that all learners with a network of tokens share."""

from __future__ import annotations

from typing import Protocol

from causal_rl.devices import check_device
from causal_rl.options import check_integer, check_number


class NetworkOptions(Protocol):
    """What `check_network` reads."""

    steps: int
    batch_size: int
    learning_rate: float
    embed_dim: int
    num_layers: int
    num_heads: int
    device: str
    seed: int


def check_network(options: NetworkOptions) -> None:
    """Check the options of a network and of its training.

    Args:
        options: a learner that has them.

    Raises:
        ValueError: one out of range, heads that do not divide the features, or a device that is
            not there.
        TypeError: one of the wrong type.
    """
    for name in ("steps", "batch_size", "embed_dim", "num_layers", "num_heads"):
        check_integer(name, getattr(options, name), least=1)
    check_number("learning_rate", options.learning_rate, least=0.0, open_end=True)
    check_integer("seed", options.seed, least=0)
    if options.embed_dim % options.num_heads:
        raise ValueError(f"num_heads is {options.num_heads}; it must divide {options.embed_dim}")
    check_device(options.device)
