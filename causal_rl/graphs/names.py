"""Reading the names of variables, and saying what is wrong with them."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence


def list_names(names: Iterable[str]) -> list[str]:
    """List names, refusing what is easily mistaken for a list of them.

    Args:
        names: strings.

    Returns:
        The names in order.

    Raises:
        TypeError: a single string, not a sequence, or entries that are no strings.
    """
    if isinstance(names, str) or not isinstance(names, Iterable):
        raise TypeError(f"names must be a sequence of strings, got {names!r}")
    listed = list(names)
    for name in listed:
        if not isinstance(name, str):
            raise TypeError(f"names must be strings, got {name!r}")
    return listed


def read_names(names: Iterable[str] | None, n: int) -> tuple[str, ...]:
    """Check the names of n variables.

    Args:
        names: n distinct non-empty strings; None makes them X1 to Xn.
        n: number of variables.

    Returns:
        The names.

    Raises:
        TypeError: see `list_names`.
        ValueError: not n of them, an empty one, or one given more than once.
    """
    listed = [f"X{i + 1}" for i in range(n)] if names is None else list_names(names)
    if len(listed) != n:
        raise ValueError(f"names must have {n} entries, one a variable, got {len(listed)}")
    if "" in listed:
        raise ValueError(f"names must not be empty, got '' at {listed.index('')}")
    if repeated := _repeated(listed):
        raise ValueError(f"names must be distinct, got more than once: {', '.join(repeated)}")
    return tuple(listed)


def column_of(name: str, names: Sequence[str]) -> int:
    """The place of a name.

    Args:
        name: what is asked for.
        names: what there is, each once.

    Raises:
        ValueError: it is not among them; the nearest are offered.
    """
    try:
        return names.index(name)
    except ValueError:
        raise ValueError(unknown_name(name, names)) from None


def unknown_name(name: object, names: Sequence[str]) -> str:
    """Say that a name is not known, and offer the nearest ones.

    Args:
        name: what was asked for.
        names: what there is.

    Returns:
        A message of one line.
    """
    near = difflib.get_close_matches(str(name), names)
    hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(names)}"
    return f"no variable is named {name!r}; {hint}"


def name_difference(given: Sequence[str], wanted: Sequence[str]) -> str:
    """Say how two collections of names differ.

    Args:
        given: the names given.
        wanted: the names wanted, each once.

    Returns:
        A message of one line, "missing: a, b; unknown: c; repeated: d", of which only the parts
        that apply; empty if nothing differs.
    """
    parts = {
        "missing": sorted(set(wanted) - set(given)),
        "unknown": sorted(set(given) - set(wanted)),
        "repeated": _repeated(given),
    }
    return "; ".join(f"{label}: {', '.join(names)}" for label, names in parts.items() if names)


def _repeated(names: Sequence[str]) -> list[str]:
    return sorted({name for name in names if names.count(name) > 1})
