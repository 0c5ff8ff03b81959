"""A fast inverse of the standard normal's CDF.

The worlds draw noise through inverse CDFs, because a number with an address (seed, episode, step,
variable) cannot come from a rejection method that takes as many random words as it needs.
`scipy.special.ndtri` would then be most of the cost of a step. Here the middle of the range is a
table of parabolas, which takes a few passes of additions and products; the tails are `ndtri`.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from causal_rl.scm.arguments import FloatArray

_BITS = 12
#: Parts of (0, 1) with a parabola each.
SEGMENTS = 2**_BITS
#: Segments at each end, 1/64 of the range, where a parabola would be too coarse.
TAIL = SEGMENTS // 64
_ONE = np.float64(1.0).view(np.uint64)
# Of a word, the bits that say where in its segment a number lies.
_PLACE = np.uint64(((1 << (52 - _BITS)) - 1) << _BITS)
_SEGMENT_SHIFT = np.uint64(64 - _BITS)


def normal_quantile(u: FloatArray) -> FloatArray:
    """Quantiles of the standard normal.

    Within 2e-8 of the exact value, and equal to `scipy.special.ndtri` for u below 1/64 or above
    63/64, and to 0 at 1/2. The result for one number does not depend on the others, bit for bit.

    Args:
        u: float64 in the open interval (0, 1), any shape.

    Returns:
        float64 of the shape of `u`.
    """
    uniforms = np.asarray(u, dtype=np.float64)
    place = uniforms.ravel() * SEGMENTS
    segment = place.astype(np.int64)
    place -= segment
    place -= 0.5
    result = _parabola(segment, place)
    flat = uniforms.ravel()
    result[flat == 0.5] = 0.0  # where two parabolas meet
    # Near 0 the place in the segment is rounded; random words are never so near.
    least = np.flatnonzero(flat < 1.0 / SEGMENTS)
    if len(least):
        result[least] = _exact(flat[least])
    return result.reshape(uniforms.shape)


def normal_from_bits(bits: NDArray[np.uint64], out: FloatArray | None = None) -> FloatArray:
    """`normal_quantile` of the uniforms that `bits_to_uniforms` makes, bit for bit, but faster.

    Args:
        bits: uint64, any shape; changed in place.
        out: C-contiguous float64 of the shape of `bits` to write to, or None.

    Returns:
        float64 of the shape of `bits`.
    """
    flat = bits.reshape(-1)
    segment = (flat >> _SEGMENT_SHIFT).view(np.int64)
    flat &= _PLACE
    flat |= _ONE
    place = flat.view(np.float64)  # 1 + k 2**-40
    place -= 1.5 - 2.0 ** (_BITS - 53)
    return _parabola(segment, place, None if out is None else out.reshape(-1)).reshape(bits.shape)


def _parabola(
    segment: NDArray[np.int64], place: FloatArray, out: FloatArray | None = None
) -> FloatArray:
    """Quantiles at ``place``, in [-1/2, 1/2), of each segment; both (n,)."""
    table = parabolas()
    # mode="clip" spares the check of every index; none can be outside.
    result = table.curve.take(segment, mode="clip", out=out)
    result *= place
    coefficient = table.slope.take(segment, mode="clip")
    result += coefficient
    result *= place
    result += table.level.take(segment, mode="clip", out=coefficient)
    tail = np.flatnonzero(_IN_TAIL.take(segment, mode="clip"))
    if len(tail):
        result[tail] = _exact((segment[tail] + place[tail] + 0.5) / SEGMENTS)
    return result


def _exact(u: FloatArray) -> FloatArray:
    # SciPy is a third of the time that it takes to import this package.
    from scipy.special import ndtri

    quantiles: FloatArray = ndtri(u)
    return quantiles


class Parabolas(NamedTuple):
    """Coefficients of the parabola of each segment.

    Attributes:
        level: float64 (SEGMENTS,), its value in the middle.
        slope: likewise.
        curve: likewise.
    """

    level: NDArray[np.float64]
    slope: NDArray[np.float64]
    curve: NDArray[np.float64]


@cache
def parabolas() -> Parabolas:
    """Those through three Chebyshev nodes of each segment."""
    node = 0.5 * np.sqrt(0.75)
    # The tails are not read; any finite number will do there.
    middle = np.clip(np.arange(SEGMENTS) + 0.5, TAIL, SEGMENTS - TAIL)
    low, level, high = (_exact((middle + x) / SEGMENTS) for x in (-node, 0.0, node))
    return Parabolas(level, (high - low) / (2 * node), (high + low - 2 * level) / (2 * node**2))


_IN_TAIL = np.ones(SEGMENTS, dtype=np.bool_)
_IN_TAIL[TAIL:-TAIL] = False
