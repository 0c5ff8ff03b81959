"""Drawing causal graphs with matplotlib, outside of pyplot and its global state.

One step is drawn on a circle in causal order: chords between points of a circle meet no third
point, so no edge runs through a variable that it does not join. The lagged block of a comparison is
drawn as a matrix, which stays readable where fifty arrows would not.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from causal_rl.graphs.adjacency import FloatMatrix
from causal_rl.graphs.comparison import compare
from causal_rl.graphs.kinds import Kind
from causal_rl.graphs.layout import (
    COLOURS,
    FILLS,
    Arrow,
    Route,
    Status,
    causal_order,
    circle,
    edge_arrows,
    routes,
    shorten,
    statuses,
)
from causal_rl.graphs.picture_file import save_figure
from causal_rl.graphs.structure import GraphStructure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch


_MARKERS: dict[Kind, str] = {
    "state": "o",
    "action": "s",
    "context": "D",
    "reward": "h",
    "hidden": "o",
}
_DOTTED = (0.0, (1.2, 1.6))
_DASHED = (0.0, (5.0, 3.0))


def plot(graph: GraphStructure, ax: Axes | None, truth: GraphStructure | None) -> Axes:
    """Draw both blocks of a graph on one circle; `CausalGraph.plot` is the public door.

    Args:
        graph: the graph.
        ax: axes to draw on; those of a new figure if None.
        truth: a graph over the same names, to mark errors; or None.

    Returns:
        The axes.
    """
    if ax is None:
        side = panel_size(graph.n)
        figure = new_figure(side, side + 0.9)
        ax = figure.add_axes((0.02, 0.9 / (side + 0.9), 0.96, side / (side + 0.9) - 0.01))
    if truth is not None:
        graph = graph.permute(truth.names)
    arrows = edge_arrows(graph, truth)
    draw_circle(ax, graph, causal_order(graph if truth is None else truth), arrows)
    handles = arrow_handles(arrows, marked=truth is not None) + kind_handles(graph.kinds)
    ax.legend(
        handles=handles,
        loc="upper center",
        bbox_to_anchor=(0.5, 0.0),
        ncol=min(4, max(1, math.ceil(len(handles) / 2))),
        frameon=False,
        fontsize=9,
    )
    return ax


def plot_comparison(
    graph: GraphStructure, truth: GraphStructure, path: str | os.PathLike[str] | None
) -> Figure:
    """Draw the truth beside a graph; `CausalGraph.plot_comparison` is the public door.

    Args:
        graph: the learned graph.
        truth: a graph over the same names.
        path: where to save the picture, or None.

    Returns:
        The figure: the truth on the left, the learned graph with its errors marked on the right;
        the step above, t to t+1 below.

    Raises:
        OSError: the file cannot be written.
        ValueError: matplotlib knows no format with the path's suffix.
    """
    graph = graph.permute(truth.names)
    scores = compare(graph, truth)
    side = panel_size(graph.n)
    width, height = 2 * side + 0.6, 2 * side + 2.0
    figure = new_figure(width, height)
    order = causal_order(truth)
    titles = (
        (
            f"truth: {_count(scores.contemporaneous.n_true)} inside the step",
            f"learned: {_count(scores.contemporaneous.n_learned)}, "
            f"SHD {scores.contemporaneous.shd}",
        ),
        (
            f"truth: {_count(scores.lagged.n_true)} from t to t+1",
            f"learned: {_count(scores.lagged.n_learned)}, SHD {scores.lagged.shd}",
        ),
    )
    inset = min(1.6, 0.45 + 0.085 * max(len(shorten(name)) for name in graph.names))
    drawn: list[Arrow] = []
    for column, shown in enumerate((truth, graph)):
        reference = truth if shown is graph else None
        left = 0.2 + column * (side + 0.2)
        top = figure.add_axes(
            (left / width, (side + 1.3) / height, side / width, side / height),
        )
        arrows = [Arrow(i, j, s, False) for i, j, s in statuses(shown, reference, False)]
        draw_circle(top, shown, order, arrows)
        top.set_title(titles[0][column], fontsize=11)
        cells = [Arrow(i, j, s, True) for i, j, s in statuses(shown, reference, True)]
        bottom = figure.add_axes(
            (
                (left + inset) / width,
                0.75 / height,
                (side - inset - 0.1) / width,
                (side - inset - 0.1) / height,
            )
        )
        _draw_matrix(bottom, shown, order, cells)
        bottom.set_title(titles[1][column], fontsize=11, pad=inset * 72 - 12)
        drawn += arrows + cells
    handles = [handle for handle in _status_handles(drawn) + kind_handles(graph.kinds) if handle]
    figure.legend(
        handles=handles, loc="lower center", ncol=max(1, len(handles)), frameon=False, fontsize=10
    )
    if path is not None:
        save_figure(figure, path)
    return figure


def _count(edges: int) -> str:
    return "1 edge" if edges == 1 else f"{edges} edges"


def _escape(name: str) -> str:
    # matplotlib would set text between dollars as mathematics.
    return shorten(name).replace("$", r"\$")


def panel_size(n: int) -> float:
    """Side of a panel in inches."""
    return max(4.6, 0.27 * n)


def new_figure(
    width: float, height: float, *, layout: Literal["constrained"] | None = None
) -> Figure:
    """An empty white figure on a canvas without a display, in inches."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), facecolor="white", layout=layout)
    FigureCanvasAgg(figure)
    return figure


# -------------------------------------------------------------------- the circle


def draw_circle(
    ax: Axes, graph: GraphStructure, order: Sequence[int], arrows: Sequence[Arrow]
) -> tuple[FloatMatrix, float]:
    """Draw nodes on a circle in ``order`` and the arrows between them.

    The patches of the nodes are added last, and texts in the order of the graph. Returned are the
    centres (n, 2) and the radius of the nodes.
    """
    n = graph.n
    places = circle(order)
    angles, centres, radius = places
    looped = {arrow.parent for arrow in arrows if arrow.parent == arrow.child}
    labels = [_escape(name) for name in graph.names]
    lengths = [len(shorten(name)) for name in graph.names]

    reach = 1.0 + radius * (3.0 if looped else 1.3) + 0.05
    outside = [lengths[v] > 4 for v in range(n)]
    margin = max([0.0] + [0.075 * lengths[v] for v in range(n) if outside[v]])
    ax.set_xlim(-reach - margin, reach + margin)
    ax.set_ylim(-reach - (0.15 if margin else 0.0), reach + (0.15 if margin else 0.0))
    ax.set_aspect("equal")
    ax.set_axis_off()
    font = font_size(ax, radius)

    for route in routes(places, arrows):
        _draw_arrow(ax, route)

    for v in range(n):
        _draw_node(ax, centres[v], radius, graph.kinds[v])
        if not outside[v]:
            x, y = (float(c) for c in centres[v])
            ax.text(x, y, labels[v], ha="center", va="center", fontsize=font, zorder=5)
            continue
        direction = np.array([math.cos(angles[v]), math.sin(angles[v])])
        x, y = (float(c) for c in centres[v] + direction * radius * (3.1 if v in looped else 1.45))
        side = 0 if abs(direction[0]) < 0.2 else int(np.sign(direction[0]))
        height = 0 if abs(direction[1]) < 0.5 else int(np.sign(direction[1]))
        ax.text(
            x,
            y,
            labels[v],
            ha=("center", "left", "right")[side],
            va=("center", "bottom", "top")[height],
            fontsize=max(font, 8.0),
            zorder=5,
        )
    return centres, radius


def font_size(ax: Axes, radius: float) -> float:
    """Points for four characters inside a node."""
    ax.apply_aspect()
    pixels = ax.transData.transform([(0.0, 0.0), (radius, 0.0)])
    points = float(pixels[1, 0] - pixels[0, 0]) * 72.0 / ax.figure.dpi
    return min(11.0, max(5.0, 2 * points * 0.85 / (3 * 0.68)))


def _draw_arrow(ax: Axes, route: Route) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Polygon

    arrow = route.arrow
    colour = COLOURS[arrow.status]
    ax.add_line(
        Line2D(
            route.line[:, 0],
            route.line[:, 1],
            color=colour,
            linewidth=1.5,
            linestyle=line_style(arrow.status, arrow.lagged),
            zorder=2 if arrow.status == "missing" else 3,
        )
    )
    ax.add_patch(Polygon(route.head, closed=True, facecolor=colour, edgecolor="none", zorder=4))


def line_style(status: Status, lagged: bool) -> Any:
    """The line style of an edge in matplotlib's terms."""
    if lagged:
        return _DOTTED
    return _DASHED if status == "missing" else "solid"


def _draw_node(ax: Axes, centre: FloatMatrix, radius: float, kind: Kind) -> None:
    from matplotlib.patches import Circle, RegularPolygon

    xy = (float(centre[0]), float(centre[1]))
    shape: Patch
    if kind in ("state", "hidden"):
        shape = Circle(xy, radius)
    elif kind == "reward":
        shape = RegularPolygon(xy, 6, radius=1.12 * radius)
    else:
        turn = math.pi / 4 if kind == "action" else 0.0
        shape = RegularPolygon(xy, 4, radius=1.25 * radius, orientation=turn)
    shape.set(
        facecolor=FILLS[kind],
        edgecolor="#333333",
        linewidth=1.2,
        linestyle="dashed" if kind == "hidden" else "solid",
        zorder=4.5,
    )
    ax.add_patch(shape)


# -------------------------------------------------------------------- the matrix


def _draw_matrix(
    ax: Axes, graph: GraphStructure, order: Sequence[int], cells: Sequence[Arrow]
) -> None:
    from matplotlib.patches import Rectangle

    n = graph.n
    place = np.argsort(order)
    for k in range(n):
        ax.add_patch(Rectangle((k, k), 1, 1, facecolor="#f1f1f1", edgecolor="none", zorder=0))
    for cell in cells:
        x, y = int(place[cell.child]), int(place[cell.parent])
        missing = cell.status == "missing"
        ax.add_patch(
            Rectangle(
                (x + 0.14, y + 0.14),
                0.72,
                0.72,
                facecolor="white" if missing else COLOURS[cell.status],
                edgecolor=COLOURS[cell.status],
                linestyle="dashed" if missing else "solid",
                linewidth=1.5,
                zorder=2,
            )
        )
        if cell.status == "extra":
            ax.plot([x + 0.3, x + 0.7], [y + 0.3, y + 0.7], color="white", linewidth=1.5, zorder=3)
            ax.plot([x + 0.3, x + 0.7], [y + 0.7, y + 0.3], color="white", linewidth=1.5, zorder=3)
    ax.set_xlim(0, n)
    ax.set_ylim(n, 0)
    ax.set_aspect("equal")
    labels = [_escape(graph.names[v]) for v in order]
    upright = max(len(shorten(name)) for name in graph.names) > 3
    size = 9 if n <= 20 else 7
    middles = np.arange(n) + 0.5
    ax.set_xticks(middles, labels, rotation=90 if upright else 0, fontsize=size)
    ax.set_yticks(middles, labels, fontsize=size)
    ax.set_xticks(np.arange(n + 1), minor=True)
    ax.set_yticks(np.arange(n + 1), minor=True)
    ax.grid(which="minor", color="#dddddd", linewidth=0.8)
    ax.tick_params(which="both", length=0, top=True, labeltop=True, bottom=False, labelbottom=False)
    ax.set_xlabel("effect at t+1", fontsize=9)
    ax.set_ylabel("cause at t", fontsize=9)
    for spine in ax.spines.values():
        spine.set_color("#bbbbbb")


# -------------------------------------------------------------------- legends


def arrow_handles(arrows: Sequence[Arrow], *, marked: bool) -> list[Any]:
    """Legend lines for what is drawn on the circle: status by colour, block by line style."""
    from matplotlib.lines import Line2D

    styles: tuple[tuple[Any, str], ...] = (
        ("solid", "inside the step"),
        (_DOTTED, "from t to t+1"),
    )
    handles: list[Any] = []
    if marked:
        handles += [
            Line2D([], [], color=COLOURS[status], linestyle=line_style(status, False), label=status)
            for status in COLOURS
            if any(arrow.status == status for arrow in arrows)
        ]
    if any(arrow.lagged for arrow in arrows):
        handles += [
            Line2D([], [], color=COLOURS["right"], linestyle=style, label=label)
            for style, label in styles
            if not (marked and style == "solid")
        ]
    return handles


def _status_handles(drawn: Sequence[Arrow]) -> list[Any]:
    """Legend patches for circle and matrix together."""
    from matplotlib.patches import Patch

    return [
        Patch(
            facecolor="white" if status == "missing" else colour,
            edgecolor=colour,
            linestyle="dashed" if status == "missing" else "solid",
            linewidth=1.5,
            label=status,
        )
        for status, colour in COLOURS.items()
        if any(arrow.status == status for arrow in drawn)
    ]


def kind_handles(kinds: Sequence[Kind]) -> list[Any]:
    """Legend markers for the kinds, if there is more than one."""
    from matplotlib.lines import Line2D

    present = [kind for kind in _MARKERS if kind in kinds]
    if len(present) < 2:
        return []
    return [
        Line2D(
            [],
            [],
            linestyle="none",
            marker=_MARKERS[kind],
            markersize=9,
            markerfacecolor=FILLS[kind],
            markeredgecolor="#333333",
            # A dashed outline cannot be had on a marker: the paler one is the hidden kind.
            alpha=0.5 if kind == "hidden" else 1.0,
            label=kind,
        )
        for kind in present
    ]
