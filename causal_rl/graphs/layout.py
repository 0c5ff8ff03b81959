"""What is drawn of a graph, and where: edges with their errors, order, curves of a circle."""

from __future__ import annotations

import math
from collections.abc import Sequence
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


def edge_arrows(graph: GraphStructure, truth: GraphStructure | None = None) -> list[Arrow]:
    """One arrow for each edge, those inside the step first; with a truth, the missing ones too."""
    return [
        Arrow(i, j, status, lagged)
        for lagged in (False, True)
        for i, j, status in statuses(graph, truth, lagged)
    ]


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


def _loop(centre: FloatMatrix, angle: float, radius: float) -> FloatMatrix:
    """Cubic Bezier curve (4, 2) from a node at ``angle`` outwards and back to it."""
    points = [(1.0, 0.5), (3.3, 0.75), (3.3, -0.75), (1.0, -0.5)]
    return np.array(
        [
            centre + radius * distance * np.array([math.cos(angle + turn), math.sin(angle + turn)])
            for distance, turn in points
        ]
    )


class Circle(NamedTuple):
    """Places of n nodes on the unit circle: angles (n,), centres (n, 2), radius of a node."""

    angles: FloatMatrix
    centres: FloatMatrix
    radius: float


def circle(order: Sequence[int]) -> Circle:
    """Place nodes in ``order``, clockwise from the top."""
    n = len(order)
    angles = np.empty(n)
    angles[list(order)] = math.pi / 2 - 2 * math.pi * np.arange(n) / n
    centres = np.column_stack([np.cos(angles), np.sin(angles)]) * (0.0 if n == 1 else 1.0)
    # Neighbours leave room for an arrow between them.
    return Circle(angles, centres, min(0.16, 0.56 * math.sin(math.pi / max(n, 2))))


class Route(NamedTuple):
    """An arrow's line, points (m, 2), and the corners (3, 2) of its head, the tip first."""

    arrow: Arrow
    line: FloatMatrix
    head: FloatMatrix


def routes(places: Circle, arrows: Sequence[Arrow], *, points: int = 200) -> list[Route]:
    """Lead arrows from rim to rim, in the order to draw them in.

    Args:
        places: of the nodes.
        arrows: over their indices.
        points: on a whole curve.
    """
    found = []
    slots: dict[frozenset[int], int] = {}
    # Missing edges first: what was learned is drawn over them.
    for arrow in sorted(arrows, key=lambda a: (a.status != "missing", a.lagged)):
        start, end = places.centres[arrow.parent], places.centres[arrow.child]
        if arrow.parent == arrow.child:
            curve = _loop(start, float(places.angles[arrow.parent]), places.radius)
        else:
            pair = frozenset((arrow.parent, arrow.child))
            slot = slots.get(pair, 0)
            slots[pair] = slot + 1
            curve = chord(start, end, len(places.centres), places.radius, slot)
        found.append(Route(arrow, *_line_and_head(curve, places.radius, points)))
    return found


def _line_and_head(
    curve: FloatMatrix, radius: float, count: int
) -> tuple[FloatMatrix, FloatMatrix]:
    t = np.linspace(0.0, 1.0, count)[:, np.newaxis]
    degree = len(curve) - 1
    points = np.asarray(
        sum(
            math.comb(degree, k) * t**k * (1 - t) ** (degree - k) * curve[k]
            for k in range(degree + 1)
        )
    )
    head = min(0.085, 0.7 * radius)
    if degree == 2:
        from_start = np.linalg.norm(points - curve[0], axis=1)
        from_end = np.linalg.norm(points - curve[-1], axis=1)
        points = points[(from_start > 1.15 * radius) & (from_end > 1.2 * radius)]
    tip = points[-1]
    line = points[np.linalg.norm(points - tip, axis=1) > 0.8 * head]
    direction = tip - line[-1]
    direction = direction / np.linalg.norm(direction)
    across = np.array([-direction[1], direction[0]]) * 0.38 * head
    base = tip - direction * head
    return line, np.array([tip, base + across, base - across])
