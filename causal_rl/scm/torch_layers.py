"""Many affine and tanh mechanisms evaluated by one pair of matrix products.

A device is given one piece of work after the other, and for small pieces the giving takes the
time. Variables that do not depend on each other within a step, and whose mechanisms have the form
scale * tanh(W x + b) + V x + c, are therefore evaluated together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import singledispatch

import numpy as np
import torch
from torch import Tensor

from causal_rl.scm.arguments import FloatArray
from causal_rl.scm.mechanisms import Constant, Linear, Mechanism, Scaled, Tanh

# A layer's matrices are dense and its graph is not: no larger than this, or than so many times
# the number of edges.
_LARGEST, _WASTE = 256, 4


@dataclass(frozen=True, eq=False)
class SquashedForm:
    """scale * tanh(inside . x + bias) + outside . x + shift.

    Attributes:
        inside: float64 of shape (k,).
        bias: A number.
        scale: A number.
        outside: float64 of shape (k,).
        shift: A number.
    """

    inside: FloatArray
    bias: float
    scale: float
    outside: FloatArray
    shift: float


@singledispatch
def squashed_form(mechanism: Mechanism) -> SquashedForm | None:
    """The mechanism as a `SquashedForm`, or None; `squashed_form.register` adds a class."""
    return None


@squashed_form.register
def _(mechanism: Constant) -> SquashedForm:
    return SquashedForm(np.zeros(0), 0.0, 0.0, np.zeros(0), mechanism.value)


@squashed_form.register
def _(mechanism: Linear) -> SquashedForm:
    weights = mechanism.weights
    return SquashedForm(np.zeros_like(weights), 0.0, 0.0, weights, mechanism.bias)


@squashed_form.register
def _(mechanism: Tanh) -> SquashedForm:
    weights = mechanism.weights
    return SquashedForm(weights, mechanism.bias, mechanism.scale, np.zeros_like(weights), 0.0)


@squashed_form.register
def _(mechanism: Scaled) -> SquashedForm | None:
    inner = squashed_form(mechanism.mechanism)
    if inner is None:
        return None
    return SquashedForm(
        inside=inner.inside,
        bias=inner.bias,
        scale=inner.scale * mechanism.scale,
        outside=inner.outside * mechanism.scale,
        shift=inner.shift * mechanism.scale + mechanism.shift,
    )


class TorchLayer:
    """Variables of one level, evaluated together.

    Attributes:
        columns: The columns that it evaluates.
        read: The rows that it reads.
    """

    def __init__(
        self,
        forms: Mapping[int, SquashedForm],
        parents: Mapping[int, Sequence[int]],
        like: Tensor,
    ) -> None:
        """Gather the parameters.

        Args:
            forms: For each column that is evaluated, its form.
            parents: For each of them, the rows that its form reads, in order.
            like: A tensor of the device and dtype that parameters are to have.
        """
        self.columns = tuple(forms)
        self.read = tuple(sorted({row for i in forms for row in parents[i]}))
        inside = np.zeros((len(forms), len(self.read)))
        outside = np.zeros_like(inside)
        for k, (i, form) in enumerate(forms.items()):
            places = [self.read.index(row) for row in parents[i]]
            inside[k, places], outside[k, places] = form.inside, form.outside
        numbers = np.array([(f.bias, f.scale, f.shift) for f in forms.values()])[:, :, None]
        self._inside, self._outside = (
            like.new_tensor(matrix) if matrix.any() else None for matrix in (inside, outside)
        )
        self._bias, self._scale = like.new_tensor(numbers[:, 0]), like.new_tensor(numbers[:, 1])
        # A tanh that reads nothing is a number.
        shift = numbers[:, 2]
        if self._inside is None:
            shift = shift + numbers[:, 1] * np.tanh(numbers[:, 0])
        self._shift = like.new_tensor(shift) if shift.any() else None

    def __call__(self, rows: Sequence[Tensor | None], noise: Tensor) -> Tensor:
        """Values of the columns.

        Args:
            rows: The rows that are known so far, (batch,) each, those of `read` among them.
            noise: Of shape (columns, batch).

        Returns:
            Of shape (columns, batch).
        """
        total = noise
        if self._inside is not None or self._outside is not None:
            parents = torch.stack([row for j in self.read if (row := rows[j]) is not None])
            if self._outside is not None:
                total = torch.addmm(total, self._outside, parents)
            if self._inside is not None:
                squashed = torch.tanh(torch.addmm(self._bias, self._inside, parents))
                total = torch.addcmul(total, self._scale, squashed)
        return total if self._shift is None else total + self._shift


def chunks(columns: Sequence[int], parents: Mapping[int, Sequence[int]]) -> list[list[int]]:
    """Split the columns of a level into layers whose matrices are small or well filled.

    Args:
        columns: Of one level.
        parents: For each of them, the rows that it reads.

    Returns:
        The columns, in their order, layer by layer.
    """
    made: list[list[int]] = []
    read: set[int] = set()
    edges = 0
    for i in columns:
        more = read | set(parents[i])
        size = (len(made[-1]) + 1) * len(more) if made else 0
        if made and size <= max(_LARGEST, _WASTE * (edges + len(parents[i]))):
            made[-1].append(i)
            read, edges = more, edges + len(parents[i])
        else:
            made.append([i])
            read, edges = set(parents[i]), len(parents[i])
    return made
