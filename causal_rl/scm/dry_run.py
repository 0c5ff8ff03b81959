"""Trying every mechanism once before a long run depends on it."""

from __future__ import annotations

import numpy as np

from causal_rl.scm.arguments import FloatArray
from causal_rl.scm.program import Program

_BATCH = 64
_STEPS = 8
# Far above rounding, so that a mechanism with a matrix product inside passes.
_TOLERANCE = 1e-9


def check_mechanisms(program: Program) -> None:
    """Simulate a few steps and test every mechanism on the values it meets.

    Args:
        program: The compiled model.

    Raises:
        ValueError: Naming the variable whose mechanism fails, returns another shape than (batch,)
            or a value that is not finite, changes its arguments, gives two answers to one
            question, or lets rows of a batch depend on each other.
    """
    rng = np.random.default_rng(0)
    previous = np.zeros((program.n, _BATCH))
    held = program.start(program.sample_noise(rng, _BATCH))
    # NumPy's own warnings would only come before the error that names the variable.
    with np.errstate(all="ignore"):
        for _ in range(_STEPS):
            noise = program.sample_noise(rng, _BATCH)
            current = held.copy()
            for i in program.free:
                current[i] = _tested(program, i, current, previous, noise[i])
            if program.sink is not None:
                _tested(program, program.n, current, previous, np.zeros(_BATCH))
            previous = current


def _tested(
    program: Program, i: int, now: FloatArray, before: FloatArray, noise: FloatArray
) -> FloatArray:
    name = program.variables[i].name
    kept_now, kept_before = now.copy(), before.copy()
    effect = _attempt(program, i, now, before, noise)
    if not (np.array_equal(now, kept_now) and np.array_equal(before, kept_before)):
        raise ValueError(f"variable {name!r}: its mechanism changes its arguments in place")
    if not np.array_equal(effect, _attempt(program, i, now, before, noise)):
        raise ValueError(f"variable {name!r}: its mechanism gives two answers to one question")
    # One row alone, and half of them: what mixes may leave a single row, or a category, as it is.
    for rows in (1, _BATCH // 2):
        part = _attempt(program, i, now[:, :rows].copy(), before[:, :rows].copy(), noise[:rows])
        if not np.allclose(effect[:rows], part, rtol=_TOLERANCE, atol=_TOLERANCE):
            raise ValueError(f"variable {name!r}: its mechanism mixes the rows of a batch")
    return effect


def _attempt(
    program: Program, i: int, now: FloatArray, before: FloatArray, noise: FloatArray
) -> FloatArray:
    try:
        # A copy, because a mechanism may hand back one of its arguments.
        return program.effect(i, now, before, now.shape[1], noise).copy()
    except Exception as error:
        name = program.variables[i].name
        if isinstance(error, ValueError) and str(error).startswith(f"variable {name!r}"):
            raise
        line = " ".join(str(error).split())
        raise ValueError(
            f"variable {name!r}: its mechanism failed with {type(error).__name__}: {line}"
        ) from error
