"""Checks of options: one line that names the option, what it was and what is allowed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Integral, Real


def check_number(
    name: str,
    value: object,
    *,
    least: float = -math.inf,
    most: float = math.inf,
    below: float = math.inf,
    open_end: bool = False,
) -> None:
    """Check a real option.

    Args:
        name: of the option.
        value: what was given.
        least: smallest allowed value.
        most: largest allowed value.
        below: the value must be smaller than this.
        open_end: whether ``least`` itself is refused.

    Raises:
        TypeError: not a number.
        ValueError: out of range, or not finite.
    """
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name} must be a number, not {value!r}")
    number = float(value)
    low = number < least or (open_end and number == least)
    if not math.isfinite(number) or low or number > most or number >= below:
        bounds = [
            f"{sign} {bound:g}"
            for sign, bound in ((">" if open_end else ">=", least), ("<=", most), ("<", below))
            if math.isfinite(bound)
        ]
        rule = ", ".join(["finite", " and ".join(bounds)] if bounds else ["finite"])
        raise ValueError(f"{name} is {value!r}; it must be {rule}")


def check_integer(name: str, value: object, *, least: int) -> None:
    """Check a whole option.

    Args:
        name: of the option.
        value: what was given.
        least: smallest allowed value.

    Raises:
        TypeError: not an integer.
        ValueError: too small.
    """
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(f"{name} must be an integer, not {value!r}")
    if value < least:
        raise ValueError(f"{name} is {value}; it must be >= {least}")


def check_choice(name: str, value: object, choices: Sequence[str]) -> None:
    """Check an option with a few named values.

    Args:
        name: of the option.
        value: what was given.
        choices: what is allowed.

    Raises:
        ValueError: none of them.
    """
    if value not in choices:
        raise ValueError(f"{name} is {value!r}; it must be one of {', '.join(choices)}")
