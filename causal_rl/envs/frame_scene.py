"""The picture that a frame of a world is drawn on: what stays, and what changes each step."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from causal_rl.graphs import CausalGraph, drawing, layout

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch
    from matplotlib.text import Text

#: Outline and label of what may be set (in `plot_world`) or is set (in a frame). No shade of the
#: colour map comes near it.
DO_COLOUR = "#1b7837"
_OUTLINE = "#333333"
_COLOUR_MAP = "RdBu_r"
_DPI = 100
_HEADER_LETTER = 13
#: Above this many nodes labels run outwards like rays, where level ones would collide.
MOST_LEVEL_LABELS = 20
#: A direction counts as upwards or downwards if its horizontal part is smaller.
_UPRIGHT = 0.2


class Scene:
    """The canvas: a background drawn once, and the artists that every frame draws over it."""

    def __init__(self, graph: CausalGraph, size: tuple[int, int], limit: float) -> None:
        from matplotlib import colormaps
        from matplotlib.colors import Normalize

        self._unit = min(max(min(size[0] / 640, size[1] / 480), 0.6), 4.0)
        self._size = size
        # The canvas rounds down: a hair more keeps 579 / 100 * 100 from becoming 578.
        figure = drawing.new_figure((size[0] + 0.01) / _DPI, (size[1] + 0.01) / _DPI)
        figure.set_dpi(_DPI)
        self._figure = figure
        canvas: Any = figure.canvas  # Agg's, whose methods have no annotations
        self._canvas = canvas
        self._map = colormaps[_COLOUR_MAP]
        self._norm = Normalize(-limit, limit, clip=True)
        header, side = 46 * self._unit, 148 * self._unit
        room = (size[0] - side, size[1] - header)
        ax = self._axes(0, header, *room)
        arrows = layout.edge_arrows(graph)
        drawing.draw_circle(ax, graph, layout.causal_order(graph), arrows)
        # Drawn last and in the order of the graph.
        self._nodes: list[Patch] = list(ax.patches)[-graph.n :]
        radius, centres = self._arrange(ax, graph, room)
        self._numbers = self._place_numbers(ax, radius, centres)
        self._outlines = [min(width, 0.35 * radius) for width in (1.2, 4.0)]
        for line in ax.lines:
            line.set_linewidth(max(0.5, min(1.0, 14 / graph.n)) * 1.5 * min(self._unit, 1.5))
        self._draw_side(graph, arrows, header, side)
        self._header = self._place_header()
        self._moving = [*self._nodes, *self._numbers, *self._marks, *self._header]
        for artist in self._moving:
            artist.set_animated(True)
        self._canvas.draw()
        self._background = self._canvas.copy_from_bbox(self._figure.bbox)

    def draw(
        self, numbers: NDArray[np.float64], targets: NDArray[np.bool_], header: str, doing: str
    ) -> NDArray[np.uint8]:
        """Draw a frame: for each node a number, NaN if unknown, and whether it is set; two lines.

        Returns:
            uint8 (height, width, 3).
        """
        unknown = np.isnan(numbers)
        colours = self._map(self._norm(np.where(unknown, 0.0, numbers)))[:, :3]
        colours[unknown] = 1.0
        # Relative luminance, roughly: black on light, white on dark.
        light = colours @ (0.299, 0.587, 0.114) > 0.5
        for v, (node, target) in enumerate(zip(self._nodes, targets, strict=True)):
            node.set_facecolor(tuple(colours[v]))
            node.set_edgecolor(DO_COLOUR if target else _OUTLINE)
            node.set_linewidth(self._outlines[int(target)])
            self._marks[v].set_visible(bool(target))
            if self._numbers:
                self._numbers[v].set_text("–" if unknown[v] else short_number(numbers[v]))
                self._numbers[v].set_color("black" if light[v] else "white")
        for text, line in zip(self._header, (header, doing), strict=True):
            text.set_text(self._clipped(line))
        self._canvas.restore_region(self._background)
        for artist in self._moving:
            self._figure.draw_artist(artist)
        drawn = np.asarray(self._canvas.buffer_rgba())
        frame = np.empty((*drawn.shape[:2], 3), dtype=np.uint8)
        for channel in range(3):  # several times faster than to copy drawn[..., :3]
            frame[..., channel] = drawn[..., channel]
        return frame

    def _axes(self, left: float, top: float, width: float, height: float) -> Axes:
        """Axes at a place given in pixels from the upper left corner."""
        w, h = self._size
        ax: Axes = self._figure.add_axes((left / w, 1 - (top + height) / h, width / w, height / h))
        return ax

    def _arrange(
        self, ax: Axes, graph: CausalGraph, room: tuple[float, float]
    ) -> tuple[float, NDArray[np.float64]]:
        """Move all names outside of their nodes, and scale the circle to the room they leave.

        Returns:
            The radius of a node in pixels, and the centres (n, 2) in the units of the axes.
        """
        ax.apply_aspect()
        scale = float(ax.transData.get_matrix()[0, 0])
        extents = [node.get_window_extent() for node in self._nodes]
        radius = max(extent.height for extent in extents) / 2 / scale
        middles = np.array([((e.x0 + e.x1) / 2, (e.y0 + e.y1) / 2) for e in extents])
        centres = (middles - ax.transData.transform((0.0, 0.0))) / scale
        if graph.n == 1:
            outwards = np.array([[0.0, 1.0]])
        else:
            outwards = centres / np.linalg.norm(centres, axis=1, keepdims=True)
        away = np.where(graph.lagged.diagonal(), 2.5, 1.15) * radius  # where a loop has its end
        ends = centres + outwards * away[:, None]

        rays = graph.n > MOST_LEVEL_LABELS
        letter = (9.5 if rays else 11) * self._unit
        gap, rim = 3 * self._unit, 8 * self._unit
        labels = list(ax.texts)
        lengths = np.empty(graph.n)
        for v, text in enumerate(labels):
            lengths[v] = _fit_name(text, graph.names[v], letter, 0.3 * room[0])
        if rays:
            taken = np.abs(outwards) * (rim + lengths + 2 * letter)[:, None]
        else:  # a line for the name and one for the mark
            across = np.where(np.abs(outwards[:, 0]) < _UPRIGHT, 0.0, rim + lengths)
            taken = np.column_stack([across, np.full(graph.n, rim + 2.4 * letter)])
        free = np.maximum(np.array(room) / 2 - taken, 0.2 * np.array(room))
        scale = float(np.min(free / np.maximum(np.abs(ends), 0.5)))
        ax.set_xlim(-room[0] / 2 / scale, room[0] / 2 / scale)
        ax.set_ylim(-room[1] / 2 / scale, room[1] / 2 / scale)
        anchors = ends + outwards * gap / scale
        beyond = (lengths + 0.5 * letter if rays else np.full(graph.n, 1.25 * letter)) / scale
        self._marks = [
            _place_label(ax, text, anchor, direction, distance, rays)
            for text, anchor, direction, distance in zip(
                labels, anchors, outwards, beyond, strict=True
            )
        ]
        return radius * scale, centres

    def _place_numbers(self, ax: Axes, radius: float, centres: NDArray[np.float64]) -> list[Text]:
        """A text in every node; none at all where five characters would be too small to read."""
        letter = min(13 * self._unit, 2 * radius * 0.9 / 2.9)
        if letter < 8:
            return []
        numbers = [ax.text(float(x), float(y), "", parse_math=False) for x, y in centres]
        for text in numbers:
            text.set(ha="center", va="center_baseline", fontsize=_points(letter))
        return numbers

    def _draw_side(
        self, graph: CausalGraph, arrows: Sequence[layout.Arrow], header: float, side: float
    ) -> None:
        """The colour bar and the legend, on the right."""
        from matplotlib.cm import ScalarMappable

        unit, (width, height) = self._unit, self._size
        left, letter = width - side, _points(11 * unit)
        high = min(0.38 * height, 190 * unit)
        bar = self._axes(left + 8 * unit, header + 18 * unit, 14 * unit, high)
        limit = float(self._norm.vmax or 0.0)
        scale = self._figure.colorbar(
            ScalarMappable(self._norm, self._map), cax=bar, extend="both", extendfrac=0.06
        )
        scale.set_ticks([-limit, -limit / 2, 0.0, limit / 2, limit])
        scale.set_ticklabels([f"{tick:g}" for tick in (-limit, -limit / 2, 0, limit / 2, limit)])
        bar.tick_params(labelsize=letter, length=3 * unit, width=0.8)
        bar.set_title("value", fontsize=letter, loc="left", pad=4 * unit)

        kinds = drawing.kind_handles(graph.kinds)
        for handle in kinds:
            handle.set(markerfacecolor="white", markersize=_points(12 * unit))
        top = header + high + 40 * unit
        ax = self._axes(left, top, side, height - top)
        ax.set_axis_off()
        ax.legend(
            handles=[
                *kinds,
                do_handle("set by do", _points(13 * unit)),
                *drawing.arrow_handles(arrows, marked=False),
            ],
            loc="upper left",
            bbox_to_anchor=(0.0, 1.0),
            borderaxespad=0.0,
            borderpad=0.2,
            handlelength=1.8,
            frameon=False,
            fontsize=letter,
        )

    def _place_header(self) -> tuple[Text, Text]:
        unit, (width, height) = self._unit, self._size
        first, second = (
            self._figure.text(
                10 * unit / width,
                1 - top * unit / height,
                "",
                ha="left",
                va="top",
                color=colour,
                # Figures of one width: nothing jumps from frame to frame.
                family="monospace",
                fontsize=_points(_HEADER_LETTER * unit),
                parse_math=False,
            )
            for top, colour in ((8, "black"), (27, DO_COLOUR))
        )
        return first, second

    def _clipped(self, line: str) -> str:
        """As much of a header line as the width holds."""
        most = int((self._size[0] - 20 * self._unit) / (0.605 * _HEADER_LETTER * self._unit))
        return line if len(line) <= most else line[: most - 1] + "…"


def _fit_name(text: Text, name: str, letter: float, most: float) -> float:
    """Set a name in letters so high, cut short if need be; its length in pixels."""
    shown = layout.shorten(name)
    text.set(text=shown, parse_math=False, fontsize=_points(letter))
    length = float(text.get_window_extent().width)
    if length > most:
        text.set_text(shown[: max(1, int(len(shown) * most / length) - 1)] + "…")
        length = float(text.get_window_extent().width)
    return length


def _place_label(
    ax: Axes,
    text: Text,
    anchor: NDArray[np.float64],
    outwards: NDArray[np.float64],
    distance: float,
    ray: bool,
) -> Text:
    """Place a name at its anchor, and return the mark "do" that may stand beyond it."""
    look = label_look(outwards, ray=ray)
    text.set(position=tuple(anchor), **look)
    beyond = outwards if ray else np.array([0.0, -1.0 if look["va"] == "top" else 1.0])
    x, y = (float(c) for c in anchor + beyond * distance)
    mark = ax.text(x, y, "do", color=DO_COLOUR, fontweight="bold", zorder=5, **look)
    mark.set_fontsize(text.get_fontsize())
    return mark


def label_look(outwards: NDArray[np.float64], *, ray: bool) -> dict[str, Any]:
    """How a text that starts beside a node on a circle runs away from it.

    Args:
        outwards: unit vector (2,), from the middle of the circle to the node.
        ray: along that vector, for crowded circles; level otherwise.

    Returns:
        Arguments of a matplotlib text: alignment and rotation.
    """
    x, y = (float(c) for c in outwards)
    if ray:
        turn = math.degrees(math.atan2(y, x)) + (180 if x < 0 else 0)  # never upside down
        align = {"ha": "left" if x >= 0 else "right", "va": "center_baseline"}
        return {**align, "rotation": turn, "rotation_mode": "anchor"}
    side = 0 if abs(x) < _UPRIGHT else int(np.sign(x))
    height = 0 if abs(y) < 0.5 else int(np.sign(y))
    return {"ha": ("center", "left", "right")[side], "va": ("center", "bottom", "top")[height]}


def do_handle(label: str, size: float) -> Line2D:
    """The legend's sample of a node with the thick outline.

    Args:
        label: what the outline means.
        size: diameter in points.
    """
    from matplotlib.lines import Line2D

    return Line2D(
        [],
        [],
        linestyle="none",
        marker="o",
        markersize=size,
        markerfacecolor="white",
        markeredgecolor=DO_COLOUR,
        markeredgewidth=min(2.5, 0.25 * size),
        label=label,
    )


def _points(pixels: float) -> float:
    return pixels * 72 / _DPI


def header_line(step: int, reward: float | None, total: float | None) -> str:
    """What stands over a frame; ``total`` is the sum of rewards so far, or None."""
    parts = [f"step {step:<5d}", f"reward {'–' if reward is None else f'{reward:+.3f}':>8}"]
    if total is not None:
        parts.append(f"return {total:+9.3f}")
    return "  ".join(parts)


def short_number(number: float) -> str:
    """Write a number in about five characters: 0.25, -12.5, 4e6."""
    size = abs(number)
    if size >= 9999.5:
        return f"{number:.0e}".replace("e+0", "e").replace("e+", "e")
    digits = 2 if size < 9.995 else 1 if size < 99.95 else 0
    # Adding 0.0 turns a rounded -0 into 0.
    return f"{round(number, digits) + 0.0:.{digits}f}"
