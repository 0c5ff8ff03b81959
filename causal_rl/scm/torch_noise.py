"""Keyed noise on torch: the uniforms of `keyed_uniform`, bit for bit, and inverse CDFs.

torch has no arithmetic on uint64. An int64 has the same bits after sums, products and exclusive
ors, which wrap; only shifts to the right differ, and are masked.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, singledispatch

import torch
from torch import Tensor

from causal_rl.scm.noise import Gaussian, Laplace, Noise, NoNoise, ScaledNoise, Uniform
from causal_rl.scm.normal_quantile import SEGMENTS, TAIL, parabolas

#: f(u) -> noise, both float64 of one shape.
TorchQuantile = Callable[[Tensor], Tensor]


def _signed(word: int) -> int:
    """The int64 of the bits of a uint64: torch has no arithmetic on the latter."""
    return word - (1 << 64) if word >> 63 else word


_GOLDEN = _signed(0x9E3779B97F4A7C15)
_FIRST = _signed(0xBF58476D1CE4E5B9)
_SECOND = _signed(0x94D049BB133111EB)
_ONE = 0x3FF0000000000000  # the bits of 1.0


def episode_key_torch(seed: Tensor, episode: Tensor) -> Tensor:
    """`episode_key` on tensors.

    Args:
        seed: int64 of shape (batch,): the bits of the uint64 seeds.
        episode: int64 of shape (batch,).

    Returns:
        int64 of shape (batch,): the bits of the uint64 keys.
    """
    return _mix((_mix(seed + _GOLDEN) ^ episode) + _GOLDEN)


def uniform_at_torch(key: Tensor, step: Tensor, n: int) -> Tensor:
    """`uniform_at` on tensors: the same numbers, bit for bit.

    Args:
        key: int64 of shape (batch,) from `episode_key_torch`.
        step: int64 of shape (batch,).
        n: Number of variables.

    Returns:
        float64 of shape (n, batch), in the open interval (0, 1).
    """
    offsets = torch.arange(1, n + 1, dtype=torch.int64, device=key.device)[:, None] * _GOLDEN
    bits = _mix(offsets + _mix((key ^ step) + _GOLDEN))
    # As in uniform_at: 52 bits are written as the mantissa of a number in [1, 2).
    bits = _shifted(bits, 12, bits).bitwise_or_(_ONE)
    return bits.view(torch.float64).sub_(1.0 - 2.0**-53)


def _mix(state: Tensor) -> Tensor:
    """SplitMix64's finaliser; changes `state` in place. Products wrap, as they do in uint64."""
    spare = torch.empty_like(state)  # one for all three shifts: fresh memory is dear
    state ^= _shifted(state, 30, spare)
    state *= _FIRST
    state ^= _shifted(state, 27, spare)
    state *= _SECOND
    state ^= _shifted(state, 31, spare)
    return state


def _shifted(state: Tensor, bits: int, out: Tensor) -> Tensor:
    """Logical shift to the right: that of int64 copies the sign, which is masked away."""
    torch.bitwise_right_shift(state, bits, out=out)
    return out.bitwise_and_((1 << (64 - bits)) - 1)


@singledispatch
def noise_to_torch(noise: Noise) -> TorchQuantile:
    """The inverse CDF of a noise on tensors; `noise_to_torch.register` adds a class.

    Args:
        noise: The noise.

    Returns:
        From uniforms, float64 of any shape, to noise, float64 of that shape, on their device.

    Raises:
        ValueError: If the class of the noise was not registered.
    """
    raise ValueError(
        f"noise {type(noise).__name__} has no torch version; give one with "
        f"@noise_to_torch.register({type(noise).__name__})"
    )


@noise_to_torch.register
def _(noise: Gaussian) -> TorchQuantile:
    return lambda u: normal_quantile_torch(u).mul_(noise.scale)


@noise_to_torch.register
def _(noise: Uniform) -> TorchQuantile:
    return lambda u: (u * (noise.high - noise.low)).add_(noise.low)


@noise_to_torch.register
def _(noise: Laplace) -> TorchQuantile:
    def quantile(u: Tensor) -> Tensor:
        lower = torch.minimum(u, 1.0 - u).mul_(2.0).log_().mul_(noise.scale)
        return torch.where(u < 0.5, lower, -lower)

    return quantile


@noise_to_torch.register
def _(noise: NoNoise) -> TorchQuantile:
    return torch.zeros_like


@noise_to_torch.register
def _(noise: ScaledNoise) -> TorchQuantile:
    inner = noise_to_torch(noise.noise)
    return lambda u: inner(u) * noise.factor


def normal_quantile_torch(u: Tensor) -> Tensor:
    """`normal_quantile` on tensors: the same parabolas, and `torch.special.ndtri` in the tails.

    `ndtri` throughout would be more exact by 2e-8 and so further from the NumPy simulator, in
    which a category may hang on it.

    Args:
        u: float64 in the open interval (0, 1), any shape.

    Returns:
        float64 of the shape of `u`.
    """
    level, slope, curve = _parabolas(u.device)
    flat = u.reshape(-1)
    place = flat * SEGMENTS
    segment = place.to(torch.int32)
    place -= segment
    place -= 0.5
    result = curve.index_select(0, segment)
    for coefficients in (slope, level):
        result = torch.addcmul(coefficients.index_select(0, segment), result, place)
    tail = (segment < TAIL) | (segment >= SEGMENTS - TAIL)
    if u.device.type == "cpu":
        rows = tail.nonzero().squeeze(1)
        result[rows] = torch.special.ndtri(flat[rows])
    else:  # to pick the tails would be to wait for the device
        result = torch.where(tail, torch.special.ndtri(flat), result)
    return result.view(u.shape)


@lru_cache(maxsize=8)
def _parabolas(device: torch.device) -> tuple[Tensor, ...]:
    return tuple(torch.from_numpy(table.copy()).to(device) for table in parabolas())
