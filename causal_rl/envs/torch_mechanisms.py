"""Torch versions of the mechanisms and rewards that the built-in worlds bring themselves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from causal_rl.envs.shifts import WithoutParent
from causal_rl.envs.worlds.control import Inertia, negative_distance
from causal_rl.envs.worlds.tables import Lookup
from causal_rl.scm.torch_layers import SquashedForm, squashed_form
from causal_rl.scm.torch_mechanisms import TorchMechanism, register_torch, to_torch


@register_torch(negative_distance)
def _negative_distance(value: Tensor, goal: Tensor) -> Tensor:
    return -(value - goal).abs()


@to_torch.register
def _(mechanism: Inertia, like: Tensor) -> TorchMechanism:
    inner = to_torch(mechanism.mechanism, like)
    return lambda columns, noise: inner(columns[:-1], noise) + mechanism.coefficient * columns[-1]


@squashed_form.register
def _(mechanism: Inertia) -> SquashedForm | None:
    inner = squashed_form(mechanism.mechanism)
    if inner is None:
        return None
    return replace(
        inner,
        inside=np.append(inner.inside, 0.0),
        outside=np.append(inner.outside, mechanism.coefficient),
    )


@to_torch.register
def _(mechanism: WithoutParent, like: Tensor) -> TorchMechanism:
    inner, index = to_torch(mechanism.mechanism, like), mechanism.index

    def evaluate(columns: Sequence[Tensor], noise: Tensor) -> Tensor:
        constant = torch.full_like(noise, mechanism.value)
        return inner([*columns[:index], constant, *columns[index:]], noise)

    return evaluate


@to_torch.register
def _(mechanism: Lookup, like: Tensor) -> TorchMechanism:
    table, shape = like.new_tensor(mechanism.table.ravel()), mechanism.table.shape

    def evaluate(columns: Sequence[Tensor], noise: Tensor) -> Tensor:
        index = torch.zeros_like(noise, dtype=torch.int64)
        for column, size in zip(columns, shape, strict=True):
            index = index * size + column.round().clamp(0, size - 1).to(torch.int64)
        return table.index_select(0, index)

    return evaluate
