"""Uniforms that are a function of (seed, episode, step, variable), not of a stream's position.

A generator hands out numbers in order, so that skipping one draw shifts all later ones. Here each
number has an address instead: setting a variable leaves the noise of all others as it was, a
vector environment sees the numbers of the scalar one, and a model with one more variable keeps the
noise of the first ones. The hash is a chain of the SplitMix64 finaliser (Steele, Lea & Flood 2014).
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from causal_rl.scm.arguments import FloatArray, as_count

UintArray = NDArray[np.uint64]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FIRST = np.uint64(0xBF58476D1CE4E5B9)
_SECOND = np.uint64(0x94D049BB133111EB)
_ONE = np.float64(1.0).view(np.uint64)
_30, _27, _31, _12 = (np.uint64(k) for k in (30, 27, 31, 12))


def keyed_uniform(seed: ArrayLike, episode: ArrayLike, step: ArrayLike, n: int) -> FloatArray:
    """Uniforms addressed by seed, episode, step and variable.

    The three keys broadcast against each other. A caller with one environment can therefore fetch
    many steps at once, `keyed_uniform(seed, episode, np.arange(64), n)`, and gets the same numbers.

    Args:
        seed: Non-negative integer(s), a scalar or shape (batch,).
        episode: Non-negative integer(s), a scalar or shape (batch,).
        step: Non-negative integer(s), a scalar or shape (batch,).
        n: Number of variables, at least 1.

    Returns:
        float64 of shape (batch, n), Fortran order, in the open interval (0, 1) and symmetric about
        1/2. Entry [b, j] depends on seed[b], episode[b], step[b] and j alone.

    Raises:
        TypeError: If a key is not an integer or `n` is none.
        ValueError: If a key is negative, the shapes do not broadcast, or `n` is below 1.
    """
    n = as_count(n, "n")
    return uniform_at(episode_key(seed, episode), step, n)


def episode_key(seed: ArrayLike, episode: ArrayLike) -> UintArray:
    """The part of the hash that stays the same through an episode.

    Args:
        seed: Non-negative integer(s), a scalar or shape (batch,).
        episode: Non-negative integer(s), a scalar or shape (batch,).

    Returns:
        uint64 of shape (batch,), for `uniform_at`.

    Raises:
        TypeError: If a key is not an integer.
        ValueError: If a key is negative or the shapes do not broadcast.
    """
    key = _mix(_as_key(seed, "seed") + _GOLDEN)
    return _mix((key ^ _as_key(episode, "episode")) + _GOLDEN)


def uniform_at(key: UintArray, step: ArrayLike, variables: int | tuple[int, ...]) -> FloatArray:
    """`keyed_uniform` with the key of the episode already computed: half the work a step.

    Args:
        key: uint64 of shape (batch,) from `episode_key`.
        step: Non-negative integer(s), a scalar or shape (batch,).
        variables: Number n of variables, or the indices of some.

    Returns:
        float64 of shape (batch, n), as `keyed_uniform`; or of those variables alone.

    Raises:
        TypeError: If `step` is not an integer.
        ValueError: If `step` is negative or the shapes do not broadcast.
    """
    return bits_to_uniforms(bits_at(key, step, variables)).T


def bits_at(key: UintArray, step: ArrayLike, variables: int | tuple[int, ...]) -> UintArray:
    """The random words behind `uniform_at`.

    Returns:
        uint64 of shape (n, batch), C order; a fresh array.

    Raises:
        TypeError: If `step` is not an integer.
        ValueError: If `step` is negative or the shapes do not broadcast.
    """
    at_step = _mix((key ^ _as_key(step, "step")) + _GOLDEN)
    return _mix(_variable_offsets(variables) + at_step)


def bits_to_uniforms(bits: UintArray) -> FloatArray:
    """Turn random words into uniforms (k + 1/2) 2**-52, k being the upper 52 bits.

    Args:
        bits: uint64, any shape; changed in place.

    Returns:
        float64 in (0, 1), never 0, never 1 and exact; it shares the memory of `bits`.
    """
    # Written as the mantissa of a number in [1, 2): several times cheaper than a conversion.
    bits >>= _12
    bits |= _ONE
    uniforms = bits.view(np.float64)
    uniforms -= 1.0 - 2.0**-53
    return uniforms


@lru_cache(maxsize=64)
def _variable_offsets(variables: int | tuple[int, ...]) -> UintArray:
    index = np.arange(variables) if isinstance(variables, int) else np.array(variables)
    offsets = (index.astype(np.uint64) + np.uint64(1))[:, None] * _GOLDEN
    offsets.flags.writeable = False
    return offsets


def _mix(state: UintArray) -> UintArray:
    """SplitMix64's finaliser; changes `state` in place."""
    high = state >> _30
    state ^= high
    state *= _FIRST
    state ^= np.right_shift(state, _27, out=high)
    state *= _SECOND
    state ^= np.right_shift(state, _31, out=high)
    return state


def _as_key(values: ArrayLike, name: str) -> UintArray:
    array = np.asarray(values)
    if array.ndim == 0:
        array = array[None]
    if array.dtype != np.uint64:
        if array.dtype.kind not in "iu":
            raise TypeError(f"{name} must hold integers, got dtype {array.dtype}")
        if array.dtype.kind == "i" and array.size and array.min() < 0:
            raise ValueError(f"{name} must be >= 0, got {array.min()}")
        array = array.astype(np.uint64)
    if array.ndim != 1:
        raise ValueError(f"{name} must be a scalar or have shape (batch,), got {array.shape}")
    return array
