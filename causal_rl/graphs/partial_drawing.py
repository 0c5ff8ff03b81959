"""Drawing partially directed graphs, and writing them as DOT.

Tails are bare ends, arrowheads triangles, circles open rings, as the literature draws them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from causal_rl.graphs.adjacency import FloatMatrix
from causal_rl.graphs.drawing import draw_circle, kind_handles, line_style, new_figure, panel_size
from causal_rl.graphs.layout import COLOURS, Status, causal_order, chord
from causal_rl.graphs.marks import ARROW, CIRCLE, TAIL, Marks
from causal_rl.graphs.structure import GraphStructure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_LABELS: dict[Status, str] = {
    "right": "right",
    "missing": "missing",
    "extra": "extra",
    "reversed": "other marks",
}
_DOT_MARKS = {TAIL: "none", ARROW: "normal", CIRCLE: "odot"}


class _Edge(NamedTuple):
    """An edge to draw, with the marks at its two ends."""

    first: int
    second: int
    mark_at_first: int
    mark_at_second: int
    status: Status


def plot(marks: Marks, nodes: GraphStructure, ax: Axes | None, truth: Marks | None) -> Axes:
    """Draw a partially directed graph on a circle; `PartialGraph.plot` is the public door.

    Args:
        marks: (n, n), see `PartialGraph`.
        nodes: a graph over the same variables, for their names, kinds and order on the circle.
        ax: axes to draw on; those of a new figure if None.
        truth: (n, n) the true marks, to tell right from wrong; or None.

    Returns:
        The axes.
    """
    if ax is None:
        side = panel_size(nodes.n)
        figure = new_figure(side, side + 0.6)
        ax = figure.add_axes((0.02, 0.6 / (side + 0.6), 0.96, side / (side + 0.6) - 0.01))
    centres, radius = draw_circle(ax, nodes, causal_order(nodes), [])
    edges = _edges(marks, truth)
    for edge in edges:
        _draw(ax, edge, centres, radius)
    handles = kind_handles(nodes.kinds)
    if truth is not None:
        handles = _status_handles(edges) + handles
    if handles:
        ax.legend(
            handles=handles,
            loc="upper center",
            bbox_to_anchor=(0.5, 0.0),
            ncol=len(handles),
            frameon=False,
            fontsize=9,
        )
    return ax


def to_dot(marks: Marks, nodes: GraphStructure) -> str:
    """Write a partially directed graph as DOT text; see `PartialGraph.to_dot`.

    Args:
        marks: (n, n), see `PartialGraph`.
        nodes: a graph over the same variables.

    Returns:
        The text of one digraph, ending in a newline.
    """
    lines = ["digraph partial_graph {", "  edge [dir=both];"]
    quoted = ['"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"' for name in nodes.names]
    lines += [f"  {name} [kind={kind}];" for name, kind in zip(quoted, nodes.kinds, strict=True)]
    for edge in _edges(marks, None):
        tail, head = _DOT_MARKS[edge.mark_at_first], _DOT_MARKS[edge.mark_at_second]
        ends = f"{quoted[edge.first]} -> {quoted[edge.second]}"
        lines.append(f"  {ends} [arrowtail={tail}, arrowhead={head}];")
    return "\n".join([*lines, "}"]) + "\n"


def _edges(marks: Marks, truth: Marks | None) -> list[_Edge]:
    """The edges once each, a lone arrowhead at the second end; those only in the truth too."""
    reference = marks if truth is None else truth
    listed = []
    for i, j in np.argwhere(np.triu((marks != 0) | (reference != 0))):
        a, b = int(i), int(j)
        shown = marks if marks[a, b] else reference
        same = marks[a, b] == reference[a, b] and marks[b, a] == reference[b, a]
        status: Status = "right" if same else "reversed"
        if not marks[a, b]:
            status = "missing"
        elif not reference[a, b]:
            status = "extra"
        if shown[b, a] == ARROW and shown[a, b] != ARROW:
            a, b = b, a
        listed.append(_Edge(a, b, int(shown[b, a]), int(shown[a, b]), status))
    return listed


def _draw(ax: Axes, edge: _Edge, centres: FloatMatrix, radius: float) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Circle, Polygon

    curve = chord(centres[edge.first], centres[edge.second], len(centres), radius, 0)
    t = np.linspace(0.0, 1.0, 200)[:, np.newaxis]
    points = (1 - t) ** 2 * curve[0] + 2 * t * (1 - t) * curve[1] + t**2 * curve[2]
    apart = [np.linalg.norm(points - centre, axis=1) for centre in (curve[0], curve[2])]
    points = points[(apart[0] > 1.15 * radius) & (apart[1] > 1.15 * radius)]
    size = min(0.085, 0.7 * radius)
    colour = COLOURS[edge.status]
    below = 2 if edge.status == "missing" else 3
    for mark, end in ((edge.mark_at_first, points[::-1]), (edge.mark_at_second, points)):
        tip = end[-1]
        back = end[np.linalg.norm(end - tip, axis=1) > 0.8 * size][-1]
        direction = (tip - back) / np.linalg.norm(tip - back)
        if mark == ARROW:
            across = np.array([-direction[1], direction[0]]) * 0.38 * size
            corners = [tip, tip - direction * size + across, tip - direction * size - across]
            ax.add_patch(Polygon(corners, facecolor=colour, edgecolor="none", zorder=4))
        elif mark == CIRCLE:
            x, y = (float(c) for c in tip - direction * 0.35 * size)
            ring = Circle((x, y), 0.35 * size, facecolor="white", edgecolor=colour, zorder=4)
            ax.add_patch(ring)
    ends = {0: edge.mark_at_first, len(points) - 1: edge.mark_at_second}
    body = np.ones(len(points), dtype=bool)
    for place, mark in ends.items():
        # No line inside of a mark.
        if mark != TAIL:
            body &= np.linalg.norm(points - points[place], axis=1) > 0.6 * size
    ax.add_line(
        Line2D(
            points[body, 0],
            points[body, 1],
            color=colour,
            linewidth=1.5,
            linestyle=line_style(edge.status, False),
            zorder=below,
        )
    )


def _status_handles(edges: list[_Edge]) -> list[Any]:
    from matplotlib.lines import Line2D

    return [
        Line2D([], [], color=COLOURS[status], linestyle=line_style(status, False), label=label)
        for status, label in _LABELS.items()
        if any(edge.status == status for edge in edges)
    ]
