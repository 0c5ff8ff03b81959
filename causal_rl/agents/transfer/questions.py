"""Questions to a world, made ready for a network together with what is known of the world."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from causal_rl.agents.transfer.mechanism_evidence import CURVE_TERMS, MechanismEvidence


@dataclass(frozen=True, eq=False)
class DoBatch:
    """Rows of questions, each with the evidence on its world, in standard units; float32.

    Attributes:
        previous: (rows, n) before the step.
        do_mask: bool (rows, n).
        do_value: (rows, n), 0 where nothing is set.
        now: (rows, n, n) weights inside the step, ``[i, j]`` of i on j, over the index's scale.
        lagged: (rows, n, n) weights across the step.
        nodes: (rows, n, features) what is known of each mechanism.
    """

    previous: Tensor
    do_mask: Tensor
    do_value: Tensor
    now: Tensor
    lagged: Tensor
    nodes: Tensor

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.previous)

    def __getitem__(self, rows: Tensor) -> DoBatch:
        """Some rows."""
        return DoBatch(*(getattr(self, field.name)[rows] for field in fields(self)))

    def part(self, rows: Tensor, variables: Tensor) -> DoBatch:
        """Some variables of some rows, int64 both."""
        at, square = (
            (rows[:, None], variables),
            (rows[:, None, None], variables[:, None], variables),
        )
        return DoBatch(
            previous=self.previous[at],
            do_mask=self.do_mask[at],
            do_value=self.do_value[at],
            now=self.now[square],
            lagged=self.lagged[square],
            nodes=self.nodes[at],
        )


#: Width of ``nodes``.
NODE_FEATURES = CURVE_TERMS + 6


def do_batch(
    evidence: MechanismEvidence, previous: ArrayLike, do_mask: ArrayLike, do_value: ArrayLike
) -> DoBatch:
    """Questions to one world, made ready for a `DoPredictor`.

    Args:
        evidence: on the world.
        previous: (rows, n) in the world's units.
        do_mask: bool (rows, n).
        do_value: (rows, n), read where ``do_mask`` is true.

    Raises:
        ValueError: a shape that does not fit, or a value that is not finite.
    """
    mask = np.asarray(do_mask)
    if mask.dtype != np.bool_:
        raise ValueError(f"do_mask must be boolean, got dtype {mask.dtype}")
    state = np.asarray(previous, dtype=np.float64)
    value = np.where(mask, np.asarray(do_value, dtype=np.float64), evidence.centre)
    for name, array in (("previous", state), ("do_mask", mask), ("do_value", value)):
        if array.ndim != 2 or array.shape != (len(state), evidence.n):
            raise ValueError(f"{name} must have shape (rows, {evidence.n}), got {array.shape}")
        if not np.isfinite(array).all():
            raise ValueError(f"{name} must be finite, got NaN or infinity")
    rows, e = len(state), evidence
    nodes = np.column_stack(
        [
            e.curve,
            e.intercept,
            np.log(e.index_scale),
            e.residual,
            e.linear_residual,
            (e.now != 0).any(axis=0),
            np.full(e.n, 10.0 / np.sqrt(e.rows)),
        ]
    )

    def tensor(array: ArrayLike) -> Tensor:
        return torch.as_tensor(np.asarray(array), dtype=torch.float32)

    return DoBatch(
        previous=tensor((state - e.centre) / e.scale),
        do_mask=torch.as_tensor(mask),
        do_value=tensor((value - e.centre) / e.scale),
        now=tensor(e.now / e.index_scale).expand(rows, -1, -1),
        lagged=tensor(e.lagged).expand(rows, -1, -1),
        nodes=tensor(nodes).expand(rows, -1, -1),
    )
