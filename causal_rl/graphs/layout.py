"""What is drawn of a graph, and where: edges with their errors, order, curves of a circle."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import numpy as np

from causal_rl.graphs.acyclicity import is_dag, topological_order
from causal_rl.graphs.adjacency import BoolMatrix, FloatMatrix
from causal_rl.graphs.kinds import Kind
from causal_rl.graphs.structure import GraphStructure

Status = Literal["right", "missing", "extra", "reversed"]

# Distinct in lightness as well as in hue, for readers who do not tell red from green.
COLOURS: dict[Status, str] = {
    "right": "#222222",
    "missing": "#9a9a9a",
    "extra": "#d62728",
    "reversed": "#ff9d1e",
}
FILLS: dict[Kind, str] = {
    "state": "#dbe9f6",
    "action": "#d5efcf",
    "context": "#e5d8f0",
    "reward": "#ffe08a",
    "hidden": "#ffffff",
}
_LONGEST_LABEL = 16


class Arrow(NamedTuple):
    """An edge to draw on the circle: indices, status against the truth, and block."""

    parent: int
    child: int
    status: Status
    lagged: bool


def statuses(
    graph: GraphStructure, truth: GraphStructure | None, lagged: bool
) -> list[tuple[int, int, Status]]:
    """List the edges of a block with what is right or wrong about each."""
    b: BoolMatrix = graph.lagged if lagged else graph.contemporaneous
    a: BoolMatrix = b if truth is None else (truth.lagged if lagged else truth.contemporaneous)
    found: list[tuple[int, int, Status]] = []
    for i, j in np.argwhere(a | b):
        # A pair that is turned round is one error, drawn once, in the direction learned.
        turned = not lagged and a[i, j] != a[j, i] and b[i, j] == a[j, i] and b[j, i] == a[i, j]
        if a[i, j] and b[i, j]:
            found.append((int(i), int(j), "right"))
        elif turned and b[i, j]:
            found.append((int(i), int(j), "reversed"))
        elif not turned:
            found.append((int(i), int(j), "extra" if b[i, j] else "missing"))
    return found


def causal_order(graph: GraphStructure) -> list[int]:
    """Nodes causes first; in their own order where the graph is cyclic."""
    if is_dag(graph.contemporaneous):
        return topological_order(graph.contemporaneous)
    return list(range(graph.n))


def shorten(name: str) -> str:
    """A name cut to the length that a label may have."""
    return name if len(name) <= _LONGEST_LABEL else name[: _LONGEST_LABEL - 1] + "…"


def chord(start: FloatMatrix, end: FloatMatrix, n: int, radius: float, slot: int) -> FloatMatrix:
    """Quadratic Bezier curve (3, 2), bent inwards as far as the neighbours' nodes ask for."""
    middle = (start + end) / 2
    length = float(np.linalg.norm(end - start))
    half = math.asin(min(1.0, length / 2))
    step = 2 * math.pi / n
    bend = 0.0
    if half > 0.75 * step:
        # The node nearest to the chord is the one beside an end.
        distance = math.cos(half - step) - math.cos(half)
        t = (1 - math.sin(half - step) / math.sin(half)) / 2
        bend = max(0.0, 1.5 * radius - distance) / (2 * t * (1 - t))
    bend += 0.16 * slot * max(length, 0.6)
    inwards = -middle
    if np.linalg.norm(inwards) < 1e-6:
        inwards = np.array([-(end - start)[1], (end - start)[0]])
        # Seen from either end the same side.
        inwards *= np.sign(inwards[0] or inwards[1])
    inwards = inwards / np.linalg.norm(inwards)
    return np.array([start, middle + inwards * min(bend, 1.2), end])


def loop(centre: FloatMatrix, angle: float, radius: float) -> FloatMatrix:
    """Cubic Bezier curve (4, 2) from a node at ``angle`` outwards and back to it."""
    points = [(1.0, 0.5), (3.3, 0.75), (3.3, -0.75), (1.0, -0.5)]
    return np.array(
        [
            centre + radius * distance * np.array([math.cos(angle + turn), math.sin(angle + turn)])
            for distance, turn in points
        ]
    )
