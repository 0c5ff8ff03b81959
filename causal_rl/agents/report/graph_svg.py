"""A graph as SVG whose edges can be pointed at; the layout is that of `CausalGraph.plot`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

import numpy as np
from numpy.typing import NDArray

from causal_rl.graphs import CausalGraph
from causal_rl.graphs.layout import COLOURS, FILLS, Arrow, causal_order, chord, loop, shorten

Array = NDArray[np.float64]

# Pixels: of the circle's radius, around it for nodes and loops, and of a letter of a label that
# stands beside its node.
_RADIUS, _MARGIN, _LETTER = 165.0, 48.0, 7.5
_HEAD = 9.0


def graph_svg(
    graph: CausalGraph,
    arrows: Sequence[Arrow],
    order: Sequence[int] | None = None,
    keys: Mapping[tuple[int, int, bool], str] | None = None,
) -> str:
    """Draw nodes on a circle and arrows between them.

    Args:
        graph: whose names and kinds are drawn.
        arrows: edges over its indices; lagged ones are dotted, missing ones dashed.
        order: nodes in the order of the clock; causes first if None.
        keys: a name for each edge (parent, child, lagged) that can be pointed at, the value of
            its ``data-edge``; edges without a key are drawn alone.

    Returns:
        An ``<svg>`` element. Names are escaped.
    """
    n = graph.n
    places = list(causal_order(graph) if order is None else order)
    angles = np.empty(n)
    angles[places] = math.pi / 2 - 2 * math.pi * np.arange(n) / n
    centres = np.column_stack([np.cos(angles), np.sin(angles)]) * (0.0 if n == 1 else 1.0)
    radius = min(0.16, 0.56 * math.sin(math.pi / max(n, 2)))
    longest = max((len(shorten(name)) for name in graph.names if _beside(name)), default=0)
    side, aside = 2 * (_RADIUS + _MARGIN), _LETTER * longest
    box = f"{-aside:.0f} 0 {side + 2 * aside:.0f} {side:.0f}"
    parts = [f'<svg viewBox="{box}" xmlns="http://www.w3.org/2000/svg" role="img">']
    slots: dict[frozenset[int], int] = {}
    for arrow in sorted(arrows, key=lambda a: (a.status != "missing", a.lagged)):
        pair = frozenset((arrow.parent, arrow.child))
        slot = slots.get(pair, 0)
        slots[pair] = slot + 1
        if arrow.parent == arrow.child:
            curve = loop(centres[arrow.parent], float(angles[arrow.parent]), radius)
        else:
            curve = chord(centres[arrow.parent], centres[arrow.child], n, radius, slot)
        key = (keys or {}).get((arrow.parent, arrow.child, arrow.lagged))
        parts.append(_edge(graph, arrow, _points(curve, radius), key))
    for v in range(n):
        parts.append(_node(graph, v, centres[v], float(angles[v]), radius))
    return "\n".join([*parts, "</svg>"])


def _beside(name: str) -> bool:
    return len(name) > 4


def _points(curve: Array, radius: float) -> Array:
    """(m, 2) points of a Bezier curve from the rim of one node to the rim of the other."""
    t = np.linspace(0.0, 1.0, 60)[:, None]
    degree = len(curve) - 1
    points = np.zeros((len(t), 2))
    for k in range(degree + 1):
        points += math.comb(degree, k) * t**k * (1 - t) ** (degree - k) * curve[k]
    if degree == 2:
        from_start = np.linalg.norm(points - curve[0], axis=1)
        from_end = np.linalg.norm(points - curve[-1], axis=1)
        points = points[(from_start > 1.15 * radius) & (from_end > 1.2 * radius)]
    return np.asarray(_pixels(points))


def _pixels(points: Array) -> Array:
    return np.asarray(points * [_RADIUS, -_RADIUS] + _RADIUS + _MARGIN)


def _edge(graph: CausalGraph, arrow: Arrow, points: Array, key: str | None) -> str:
    tip = points[-1]
    body = points[np.linalg.norm(points - tip, axis=1) > 0.8 * _HEAD]
    direction = (tip - body[-1]) / np.linalg.norm(tip - body[-1])
    across = np.array([-direction[1], direction[0]]) * 0.4 * _HEAD
    corners = [tip, tip - direction * _HEAD + across, tip - direction * _HEAD - across]
    path = "M" + " L".join(f"{x:.1f},{y:.1f}" for x, y in body)
    head = " ".join(f"{x:.1f},{y:.1f}" for x, y in corners)
    colour = COLOURS[arrow.status]
    dash = ' stroke-dasharray="2 3"' if arrow.lagged else ""
    if arrow.status == "missing" and not arrow.lagged:
        dash = ' stroke-dasharray="7 4"'
    names = escape(f"{graph.names[arrow.parent]} → {graph.names[arrow.child]}")
    label = f"{names}{' (t to t+1)' if arrow.lagged else ''}, {arrow.status}"
    data = "" if key is None else f' data-edge="{escape(key)}" tabindex="0" role="button"'
    # A wide invisible line under the thin one is what a pointer meets.
    return (
        f'<g class="edge"{data} aria-label="{label}"><title>{label}</title>'
        f'<path d="{path}" fill="none" stroke="transparent" stroke-width="14"/>'
        f'<path class="line" d="{path}" fill="none" stroke="{colour}" stroke-width="2"{dash}/>'
        f'<polygon points="{head}" fill="{colour}"/></g>'
    )


def _node(graph: CausalGraph, v: int, centre: Array, angle: float, radius: float) -> str:
    x, y = (float(c) for c in _pixels(centre[None])[0])
    size = radius * _RADIUS
    fill, name = FILLS[graph.kinds[v]], shorten(graph.names[v])
    shape = f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{size:.1f}"'
    if graph.kinds[v] not in ("state", "hidden"):
        shape = (
            f'<rect x="{x - size:.1f}" y="{y - size:.1f}" width="{2 * size:.1f}" '
            f'height="{2 * size:.1f}" rx="{0.2 * size:.1f}"'
        )
    anchor, at_x, at_y = "middle", x, y + 4
    if _beside(name):
        at_x = x + math.cos(angle) * size * 1.45
        at_y = y - math.sin(angle) * size * 1.75 + 4
        if abs(math.cos(angle)) > 0.2:
            anchor = "start" if math.cos(angle) > 0 else "end"
    title = escape(f"{graph.names[v]} ({graph.kinds[v]})")
    return (
        f'<g class="node"><title>{title}</title>{shape} fill="{fill}" stroke="#333"/>'
        f'<text x="{at_x:.1f}" y="{at_y:.1f}" text-anchor="{anchor}">{escape(name)}</text></g>'
    )
