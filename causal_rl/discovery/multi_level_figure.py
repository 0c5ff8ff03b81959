"""Several graphs over the same variables in one picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from causal_rl.graphs import CausalGraph
from causal_rl.graphs.drawing import new_figure, panel_size
from causal_rl.graphs.picture_file import save_figure

if TYPE_CHECKING:
    import os

    from matplotlib.figure import Figure


def draw_side_by_side(
    graphs: Sequence[CausalGraph],
    titles: Sequence[str],
    *,
    truth: CausalGraph | None = None,
    path: str | os.PathLike[str] | None = None,
) -> Figure:
    """Draw graphs in a row, each as `CausalGraph.plot` does.

    Args:
        graphs: over the same names.
        titles: one for each.
        truth: a graph over the same names, to mark errors; or None.
        path: where to save the picture, or None.

    Returns:
        The figure.

    Raises:
        OSError: the file cannot be written.
        ValueError: matplotlib knows no format with the path's suffix.
    """
    side = panel_size(graphs[0].n)
    width, height = side * len(graphs), side + 1.3
    figure = new_figure(width, height)
    for k, (graph, title) in enumerate(zip(graphs, titles, strict=True)):
        place = ((k + 0.02) * side / width, 0.9 / height, 0.96 * side / width, side / height)
        ax = graph.plot(figure.add_axes(place), truth=truth)
        ax.set_title(title, fontsize=11)
    if path is not None:
        save_figure(figure, path)
    return figure
