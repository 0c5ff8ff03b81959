"""The marks at the ends of the edges of a `PartialGraph`."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from causal_rl.graphs.adjacency import BoolMatrix

NONE, TAIL, ARROW, CIRCLE = 0, 1, 2, 3
Marks = NDArray[np.int8]


def marks_of(directed: BoolMatrix, undirected: BoolMatrix) -> Marks:
    """The marks of a graph of directed and undirected edges.

    Args:
        directed: (n, n) bool.
        undirected: (n, n) bool, symmetric.

    Returns:
        (n, n) int8.
    """
    marks = np.zeros(directed.shape, dtype=np.int8)
    marks[directed] = ARROW
    marks[directed.T | undirected] = TAIL
    return marks
