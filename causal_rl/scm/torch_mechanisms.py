"""Mechanisms on torch: a registry from classes, and from users' functions, to tensor functions."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from functools import partial, singledispatch
from typing import Any, TypeVar

import torch
from torch import Tensor

from causal_rl.scm.categorical import Argmax, Categorical, OneHot
from causal_rl.scm.mechanisms import MLP, Constant, Function, Linear, Mechanism, Scaled, Tanh
from causal_rl.scm.smooth import Polynomial, RandomFeatures
from causal_rl.scm.structural import Structural

#: f(columns, noise) -> (batch,): the columns are the parents, (batch,) each. A mechanism with
#: additive noise returns its part without noise and takes `noise` for its shape alone.
TorchMechanism = Callable[[Sequence[Tensor], Tensor], Tensor]

_F = TypeVar("_F", bound=Callable[..., Any])

_FUNCTIONS: dict[Callable[..., Any], Callable[..., Any]] = {}


def register_torch(function: Callable[..., Any]) -> Callable[[_F], _F]:
    """Give a function that stands in a `Function` or a `Structural` its version for tensors.

    A `functools.partial` of a registered function needs no registration of its own. To say that
    a function takes tensors as it is: `register_torch(f)(f)`.

    Args:
        function: What the model holds: takes and returns arrays (batch,).

    Returns:
        A decorator of the torch version, which takes the same arguments as tensors (batch,) and
        returns a tensor (batch,) on their device, of their dtype.

    Raises:
        TypeError: If one of the two cannot be called, or `function` cannot be hashed.
    """
    if not callable(function):
        raise TypeError(f"function must be callable, got {function!r}")
    hash(function)

    def decorate(version: _F) -> _F:
        if not callable(version):
            raise TypeError(f"the torch version must be callable, got {version!r}")
        _FUNCTIONS[function] = version
        return version

    return decorate


def _torch_version(function: Callable[..., Any]) -> Callable[..., Any]:
    if isinstance(function, Hashable) and function in _FUNCTIONS:
        return _FUNCTIONS[function]
    if isinstance(function, partial) and function.func in _FUNCTIONS:
        return partial(_FUNCTIONS[function.func], *function.args, **function.keywords)
    name = getattr(function, "__name__", repr(function))
    raise ValueError(
        f"the function {name} has no torch version; give one with "
        "register_torch(function)(torch_version)"
    )


@singledispatch
def to_torch(mechanism: Mechanism, like: Tensor) -> TorchMechanism:
    """A mechanism on tensors; `to_torch.register` adds a class.

    Args:
        mechanism: The mechanism.
        like: A tensor of the device and dtype that parameters are to have.

    Returns:
        A function of the parents' columns and the noise; see `TorchMechanism`.

    Raises:
        ValueError: If the mechanism's class, or the function in it, was not registered.
    """
    raise ValueError(
        f"the mechanism {type(mechanism).__name__} has no torch version; give one with "
        f"@to_torch.register({type(mechanism).__name__})"
    )


@to_torch.register
def _(mechanism: Constant, like: Tensor) -> TorchMechanism:
    return lambda columns, noise: torch.full_like(noise, mechanism.value)


@to_torch.register
def _(mechanism: Linear, like: Tensor) -> TorchMechanism:
    weights, bias = mechanism.weights.tolist(), mechanism.bias
    return lambda columns, noise: _weighted_sum(weights, columns, bias, noise)


@to_torch.register
def _(mechanism: Tanh, like: Tensor) -> TorchMechanism:
    weights, bias, scale = mechanism.weights.tolist(), mechanism.bias, mechanism.scale

    def evaluate(columns: Sequence[Tensor], noise: Tensor) -> Tensor:
        return torch.tanh(_weighted_sum(weights, columns, bias, noise)) * scale

    return evaluate


def _weighted_sum(
    weights: Sequence[float], columns: Sequence[Tensor], bias: float, noise: Tensor
) -> Tensor:
    if not weights:
        return torch.full_like(noise, bias)
    total = columns[0] * weights[0]
    for weight, column in zip(weights[1:], columns[1:], strict=True):
        total = torch.add(total, column, alpha=weight)
    return total + bias if bias else total


@to_torch.register
def _(mechanism: MLP, like: Tensor) -> TorchMechanism:
    first = like.new_tensor(mechanism.in_weights.T)
    bias = like.new_tensor(mechanism.in_bias)[:, None]
    second = like.new_tensor(mechanism.out_weights)

    def evaluate(columns: Sequence[Tensor], noise: Tensor) -> Tensor:
        hidden = torch.tanh(torch.addmm(bias, first, torch.stack(list(columns))))
        return second @ hidden + mechanism.out_bias

    return evaluate


@to_torch.register
def _(mechanism: RandomFeatures, like: Tensor) -> TorchMechanism:
    frequencies = like.new_tensor(mechanism.frequencies.T)
    phases = like.new_tensor(mechanism.phases)[:, None]
    weights = like.new_tensor(mechanism.out_weights)

    def evaluate(columns: Sequence[Tensor], noise: Tensor) -> Tensor:
        angles = torch.addmm(phases, frequencies, torch.stack(list(columns)))
        return weights @ torch.cos(angles)

    return evaluate


@to_torch.register
def _(mechanism: Polynomial, like: Tensor) -> TorchMechanism:
    weights, bound = mechanism.weights.tolist(), mechanism.bound
    highest, *lower = mechanism.coefficients[::-1].tolist()

    def evaluate(columns: Sequence[Tensor], noise: Tensor) -> Tensor:
        s = _weighted_sum(weights, columns, 0.0, noise)
        total = torch.full_like(noise, highest)
        for coefficient in lower:
            total = total * s + coefficient
        return total if bound is None else torch.tanh(total / bound) * bound

    return evaluate


@to_torch.register
def _(mechanism: Scaled, like: Tensor) -> TorchMechanism:
    inner = to_torch(mechanism.mechanism, like)
    return lambda columns, noise: inner(columns, noise) * mechanism.scale + mechanism.shift


@to_torch.register
def _(mechanism: Categorical, like: Tensor) -> TorchMechanism:
    logits = [to_torch(logit, like) for logit in mechanism.logits]

    def respond(columns: Sequence[Tensor], noise: Tensor) -> Tensor:
        scores = torch.stack([logit(columns, noise) for logit in logits])
        bounds = torch.softmax(scores, dim=0).cumsum(dim=0)[:-1]
        return (noise >= bounds).sum(dim=0).to(noise.dtype)

    return respond


@to_torch.register
def _(mechanism: Argmax, like: Tensor) -> TorchMechanism:
    logits = [to_torch(logit, like) for logit in mechanism.logits]

    def evaluate(columns: Sequence[Tensor], noise: Tensor) -> Tensor:
        scores = torch.stack([logit(columns, noise) for logit in logits])
        return scores.argmax(dim=0).to(noise.dtype)

    return evaluate


@to_torch.register
def _(mechanism: OneHot, like: Tensor) -> TorchMechanism:
    inner = to_torch(mechanism.mechanism, like)

    def evaluate(columns: Sequence[Tensor], noise: Tensor) -> Tensor:
        expanded: list[Tensor] = []
        for column, k in zip(columns, mechanism.categories, strict=True):
            if k is None:
                expanded.append(column)
            else:
                expanded.extend((column == c).to(column.dtype) for c in range(k))
        return inner(expanded, noise)

    return evaluate


@to_torch.register
def _(mechanism: Function, like: Tensor) -> TorchMechanism:
    version = _torch_version(mechanism.f)

    def evaluate(columns: Sequence[Tensor], noise: Tensor) -> Tensor:
        # Without arguments the function cannot know the batch.
        return version(*columns) if columns else torch.full_like(noise, float(version()))

    return evaluate


@to_torch.register
def _(mechanism: Structural, like: Tensor) -> TorchMechanism:
    version = _torch_version(mechanism.f)
    return lambda columns, noise: version(*columns, noise)
