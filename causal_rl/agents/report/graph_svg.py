"""A graph as SVG whose edges can be pointed at; the layout is that of `CausalGraph.plot`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

import numpy as np
from numpy.typing import NDArray

from causal_rl.graphs import CausalGraph
from causal_rl.graphs.layout import (
    COLOURS,
    FILLS,
    Arrow,
    Circle,
    Route,
    causal_order,
    circle,
    routes,
    shorten,
)

Array = NDArray[np.float64]

# Pixels: of the circle's radius, around it for nodes and loops, and of a letter of a label that
# stands beside its node.
_RADIUS, _MARGIN, _LETTER = 165.0, 48.0, 7.5
# On a whole curve: enough for a line two pixels wide.
_POINTS = 60


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
    places = circle(causal_order(graph) if order is None else order)
    longest = max((len(shorten(name)) for name in graph.names if _beside(name)), default=0)
    side, aside = 2 * (_RADIUS + _MARGIN), _LETTER * longest
    box = f"{-aside:.0f} 0 {side + 2 * aside:.0f} {side:.0f}"
    parts = [f'<svg viewBox="{box}" xmlns="http://www.w3.org/2000/svg" role="img">']
    for route in routes(places, arrows, points=_POINTS):
        arrow = route.arrow
        key = (keys or {}).get((arrow.parent, arrow.child, arrow.lagged))
        parts.append(_edge(graph, route, key))
    for v in range(graph.n):
        parts.append(_node(graph, v, places))
    return "\n".join([*parts, "</svg>"])


def _beside(name: str) -> bool:
    return len(name) > 4


def _pixels(points: Array) -> Array:
    return np.asarray(points * [_RADIUS, -_RADIUS] + _RADIUS + _MARGIN)


def _edge(graph: CausalGraph, route: Route, key: str | None) -> str:
    arrow = route.arrow
    path = "M" + " L".join(f"{x:.1f},{y:.1f}" for x, y in _pixels(route.line))
    head = " ".join(f"{x:.1f},{y:.1f}" for x, y in _pixels(route.head))
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


def _node(graph: CausalGraph, v: int, places: Circle) -> str:
    x, y = (float(c) for c in _pixels(places.centres[v]))
    size, angle = places.radius * _RADIUS, float(places.angles[v])
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
