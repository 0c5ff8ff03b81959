"""Bars with their intervals, as the benchmarks draw them."""

from __future__ import annotations

from matplotlib.axes import Axes

from causal_rl.benchmarks.statistics import Estimate


def draw_bar(
    axes: Axes,
    x: float,
    found: Estimate,
    color: str,
    *,
    width: float = 0.8,
    cap: float = 3,
    label: str | None = None,
) -> None:
    """Draw an estimate as a bar, and its interval.

    Args:
        axes: drawn on.
        x: middle of the bar.
        found: the estimate.
        color: of the bar.
        width: of the bar, in units of the axis.
        cap: of the interval's ends, in points.
        label: for the legend, or None.
    """
    axes.bar(x, found.value, width, color=color, alpha=0.6, label=label)
    error = [[found.value - found.low], [found.high - found.value]]
    axes.errorbar(x, found.value, error, color="black", capsize=cap, linewidth=1)
