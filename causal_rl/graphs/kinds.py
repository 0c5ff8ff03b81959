"""The kinds of variables, and the edges that the kinds leave possible."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, cast, get_args

import numpy as np

from causal_rl.graphs.adjacency import BoolMatrix

Kind = Literal["state", "action", "context", "reward", "hidden"]
KINDS: tuple[Kind, ...] = get_args(Kind)


def read_kinds(kinds: Iterable[str] | None, n: int) -> tuple[Kind, ...]:
    """Check the kinds of n variables.

    Args:
        kinds: n of `KINDS`; None makes all of them "state".
        n: number of variables.

    Returns:
        The kinds as a tuple.

    Raises:
        TypeError: a single string was given for the sequence.
        ValueError: not n of them, or an unknown kind.
    """
    if kinds is None:
        everything: tuple[Kind, ...] = ("state",)
        return everything * n
    if isinstance(kinds, str) or not isinstance(kinds, Iterable):
        raise TypeError(f"kinds must be a sequence of strings, got {kinds!r}")
    checked = tuple(kinds)
    if len(checked) != n:
        raise ValueError(f"kinds must have {n} entries, one a variable, got {len(checked)}")
    for kind in checked:
        if kind not in KINDS:
            raise ValueError(f"kinds must be among {', '.join(KINDS)}, got {kind!r}")
    return cast("tuple[Kind, ...]", checked)


def possible_edges(kinds: Iterable[str]) -> tuple[BoolMatrix, BoolMatrix]:
    """Say which edges the kinds leave possible.

    An action and a context have no parents: the agent, or the start of the episode, sets them. A
    reward has no children. A context is held in its episode, so its effect is inside the step and
    it has no lagged edge out.

    Args:
        kinds: the kind of each of n variables.

    Returns:
        (contemporaneous, lagged), each (n, n) bool; the first has a zero diagonal.

    Raises:
        TypeError: a single string was given for the sequence.
        ValueError: an unknown kind, or no kinds.
    """
    listed = kinds if isinstance(kinds, str) else tuple(kinds)
    checked = read_kinds(listed, len(listed))
    if not checked:
        raise ValueError("kinds must have at least one entry")
    array = np.array(checked)
    no_parents = (array == "action") | (array == "context")
    no_children = array == "reward"
    contemporaneous = ~no_children[:, np.newaxis] & ~no_parents[np.newaxis, :]
    lagged = contemporaneous & (array != "context")[:, np.newaxis]
    np.fill_diagonal(contemporaneous, False)
    return contemporaneous, lagged
