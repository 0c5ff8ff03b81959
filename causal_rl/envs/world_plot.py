"""The picture of a world: its true graph beside what its variables are made of."""

from __future__ import annotations

import functools
import math
import os
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from causal_rl.envs.frame_scene import (
    DO_COLOUR,
    MOST_LEVEL_LABELS,
    do_handle,
    label_look,
)
from causal_rl.envs.spec import SCMEnvSpec
from causal_rl.graphs import CausalGraph, drawing, layout
from causal_rl.graphs.picture_file import check_picture, save_figure
from causal_rl.scm import Mechanism, Noise, NoNoise, Scaled, Variable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.text import Text

_DPI = 120
#: Variables in the side panel; a longer list would outgrow the graph.
_MOST_ROWS = 22
_HEADINGS = ("variable", "kind", "mechanism", "noise", "parents")
_WIDEST = (16, 7, 28, 20, 34)
_LEGEND_COLUMNS = 3
# The circle knows the edge colours of comparisons: here they tell who can see an edge.
_UNSEEN: layout.Status = "missing"
_THROUGH: layout.Status = "reversed"


def plot_world(spec: SCMEnvSpec, path: str | os.PathLike[str] | None = None) -> Figure:
    """Draw the true graph of a world beside its variables, values and shifts.

    Hidden variables are there too, dashed, with their edges in grey; an edge of
    ``spec.causal_graph`` that leads through hidden variables alone has a colour of its own.
    Settable variables have a thick outline and their cost in or beside the node.

    Args:
        spec: the world.
        path: where to save the picture; the suffix tells the format, PNG without one. None saves
            nothing.

    Returns:
        A figure outside of pyplot: one axes, the graph; three texts, the panel first.

    Raises:
        TypeError: ``spec`` is no `SCMEnvSpec`, or ``path`` no path.
        ValueError: matplotlib knows no format with the path's suffix, or the path is in no folder.
        OSError: the file cannot be written.
    """
    if not isinstance(spec, SCMEnvSpec):
        raise TypeError(f"spec must be an SCMEnvSpec, got {type(spec).__name__}")
    target = None if path is None else check_picture(path, "path")
    graph = spec.scm.graph
    arrows = _arrows(graph, spec.causal_graph)
    handles = _handles(graph, arrows, np.sort(spec.interventions.costs[1:]))
    side = max(4.6, 0.2 * graph.n)  # inches, as all that follows
    zoom = min(1.7, max(1.0, side / 6.5))  # letters keep pace with a large graph
    figure = drawing.new_figure(1.0, 1.0)
    figure.set_dpi(_DPI)  # letters are as wide as measured at one resolution alone
    panel = figure.text(
        0.0,
        0.0,
        "\n".join(_panel_lines(spec)),
        family="monospace",
        fontsize=8.0 * zoom,
        va="top",
        linespacing=1.3,
        parse_math=False,
    )
    extent = panel.get_window_extent()
    width = side + extent.width / _DPI + 0.7
    title = textwrap.wrap(spec.description, int(width * 72 / (0.55 * 10 * zoom)))
    top = (0.6 + 0.2 * len(title)) * zoom
    bottom = (0.2 + 0.22 * math.ceil(len(handles) / _LEGEND_COLUMNS)) * zoom
    height = top + max(side + bottom, extent.height / _DPI + 0.2)
    figure.set_size_inches(width, height)
    panel.set_position(((side + 0.4) / width, 1 - top / height))

    def write(text: str, down: float, size: float, **look: Any) -> None:
        x, y = 0.2 / width, 1 - down * zoom / height
        figure.text(x, y, text, fontsize=size * zoom, va="top", parse_math=False, **look)

    write(spec.name, 0.18, 15, fontweight="bold")
    write("\n".join(title), 0.5, 10, color="#444444", linespacing=1.3)
    # The graph stands in the middle of what the title leaves.
    low = bottom + (height - top - bottom - side) / 2
    ax = figure.add_axes((0.1 / width, low / height, side / width, side / height))
    _draw_graph(ax, spec, arrows)
    ax.legend(
        handles=handles,
        loc="upper center",
        bbox_to_anchor=(0.5, 0.0),
        ncol=_LEGEND_COLUMNS,
        frameon=False,
        fontsize=8.5 * zoom,
        columnspacing=1.4,
    )
    if target is not None:
        save_figure(figure, target, dpi=_DPI)
    return figure


# -------------------------------------------------------------------- the graph


def _draw_graph(ax: Axes, spec: SCMEnvSpec, arrows: Sequence[layout.Arrow]) -> None:
    graph = spec.scm.graph
    drawing.draw_circle(ax, graph, layout.causal_order(graph), arrows)
    # Drawn last and in the order of the graph.
    nodes = dict(zip(graph.names, list(ax.patches)[-graph.n :], strict=True))
    labels = dict(zip(graph.names, list(ax.texts), strict=True))
    costs = dict(zip(spec.interventions.settable, spec.interventions.costs[1:], strict=True))
    looped = dict(zip(graph.names, graph.lagged.diagonal(), strict=True))
    back = ax.transData.inverted()
    inside: list[Text] = []
    radii: list[float] = []
    for name, node in nodes.items():
        (left, low), (right, high) = back.transform(node.get_window_extent().get_points())
        centre = np.array([left + right, low + high]) / 2
        radius = (high - low) / 2
        radii.append(radius)
        distance = float(np.linalg.norm(centre))
        outwards = centre / distance if distance > 0.5 else np.array([0.0, 1.0])
        look = label_look(outwards, ray=graph.n > MOST_LEVEL_LABELS)
        label = labels[name]
        in_node = bool(np.allclose(label.get_position(), centre, atol=radius / 2))
        if in_node:
            inside.append(label)
        else:
            label.set(**look)
        if name not in costs:
            continue
        node.set(edgecolor=DO_COLOUR, linewidth=2.6)
        if len(set(costs.values())) > 1:  # else the legend tells it
            # The cost stands where the name does not.
            away = (2.6 if looped[name] else 1.25) * radius if in_node else 0.0
            x, y = (float(c) for c in centre + outwards * away)
            cost = ax.text(x, y, f"{costs[name]:.2g}", color=DO_COLOUR, fontsize=8, zorder=5)
            cost.set(**look if in_node else {"ha": "center", "va": "center"})
    _fill(ax)
    for label in inside:
        label.set_fontsize(drawing.font_size(ax, min(radii)))


def _fill(ax: Axes) -> None:
    """Zoom until nodes, loops and letters fill the axes, the circle staying in the middle."""
    for _ in range(4):  # letters do not grow with the rest: approach it step by step
        ax.apply_aspect()
        x, y = ax.transData.transform((0.0, 0.0))
        boxes = [a.get_window_extent() for a in (*ax.patches, *ax.lines, *ax.texts)]
        used = max(max(x - box.x0, box.x1 - x, y - box.y0, box.y1 - y) for box in boxes)
        edge = ax.get_xlim()[1] * used / (ax.bbox.width / 2)
        ax.set_xlim(-edge, edge)
        ax.set_ylim(-edge, edge)


def _arrows(graph: CausalGraph, seen: CausalGraph) -> list[layout.Arrow]:
    """The edges of a world: those among seen variables, those of hidden ones, and paths by them."""
    hidden = {v for v, kind in enumerate(graph.kinds) if kind == "hidden"}
    arrows = [
        arrow._replace(status=_UNSEEN) if {arrow.parent, arrow.child} & hidden else arrow
        for arrow in layout.edge_arrows(graph)
    ]
    there = set(graph.edges())
    return arrows + [
        layout.Arrow(graph.index(parent), graph.index(child), _THROUGH, block == "lagged")
        for block, parent, child in seen.edges()
        if (block, parent, child) not in there
    ]


def _handles(
    graph: CausalGraph, arrows: Sequence[layout.Arrow], costs: NDArray[np.float64]
) -> list[Any]:
    """The legend: edges, kinds, and the settable variables with their costs in rising order."""
    from matplotlib.lines import Line2D

    if costs[0] == costs[-1]:
        label = f"settable, cost {costs[0]:.3g} each" if costs[0] else "settable, free"
    else:
        label = f"settable, cost {costs[0]:.3g} to {costs[-1]:.3g}"
    extra = [
        Line2D(
            [],
            [],
            color=layout.COLOURS[status],
            linestyle=drawing.line_style(status, False),
            label=text,
        )
        for status, text in (
            (_UNSEEN, "of a hidden variable"),
            (_THROUGH, "through hidden variables"),
        )
        if any(arrow.status == status for arrow in arrows)
    ]
    return [
        *drawing.arrow_handles(arrows, marked=False),
        *extra,
        *drawing.kind_handles(graph.kinds),
        do_handle(label, 9.0),
    ]


# -------------------------------------------------------------------- the panel


def _panel_lines(spec: SCMEnvSpec) -> Iterator[str]:
    """The text of the side panel."""
    # The few variables of a special kind come first: a cut must not take them.
    variables = sorted(spec.scm.variables, key=lambda v: _RANK.get(v.kind, 9))
    rows = [_HEADINGS, *(_row(variable) for variable in variables[:_MOST_ROWS])]
    rows = [tuple(map(_cut, row, _WIDEST)) for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        if row is rows[0]:
            yield "─" * (sum(widths) + 2 * len(widths) - 2)
    if len(variables) > _MOST_ROWS:
        yield f"... and {len(variables) - _MOST_ROWS} more"
    most = max(60, sum(widths) + 2 * len(widths) - 2)
    for heading, text in (
        ("horizon", f"{spec.horizon} steps"),
        ("values", _values(spec.interventions.values)),
        ("shifts", ", ".join(spec.shifts) or "none"),
    ):
        yield ""
        yield from textwrap.wrap(
            text, most, initial_indent=f"{heading:<10}", subsequent_indent=" " * 10, max_lines=4
        )


_RANK = {"reward": 0, "context": 1, "hidden": 2, "action": 3}


def _row(variable: Variable) -> tuple[str, ...]:
    lagged = [f"{name}[t-1]" for name in variable.lagged_parents]
    return (
        variable.name,
        variable.kind,
        "-" if variable.kind == "context" else _mechanism(variable.function),
        _noise(variable.noise),
        ", ".join([*variable.parents, *lagged]) or "-",
    )


def _mechanism(mechanism: Mechanism) -> str:
    """Class names from the outermost mechanism to the innermost, or the name of the function."""
    if isinstance(mechanism, Scaled):  # an affine map leaves the form what it is
        return _mechanism(mechanism.mechanism)
    name = type(mechanism).__name__
    for attribute in ("mechanism", "inner"):
        inner = getattr(mechanism, attribute, None)
        if isinstance(inner, Mechanism):
            return f"{name}({_mechanism(inner)})"
    function = getattr(mechanism, "f", None)
    if callable(function):
        while isinstance(function, functools.partial):
            function = function.func
        return f"{name}({getattr(function, '__name__', type(function).__name__)})"
    return name


def _noise(noise: Noise) -> str:
    if isinstance(noise, NoNoise):
        return "none"
    name = type(noise).__name__
    fields = getattr(noise, "__dataclass_fields__", None)
    if fields is None:
        return name
    return f"{name}({', '.join(_parameter(getattr(noise, field)) for field in fields)})"


def _parameter(value: object) -> str:
    if isinstance(value, Noise):
        return _noise(value)
    return f"{value:.3g}" if isinstance(value, int | float | np.number) else str(value)


def _values(values: Any) -> str:
    """The values on offer, by name where they differ."""
    if isinstance(values, Mapping):
        lists = {name: _values(tuple(given)) for name, given in values.items()}
        if len(set(lists.values())) == 1:
            return next(iter(lists.values()))
        return "; ".join(f"{name}: {text}" for name, text in lists.items())
    if len(values) > 12:
        return f"{len(values)} from {min(values):.3g} to {max(values):.3g}"
    return ", ".join(f"{value:.3g}" for value in values)


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
