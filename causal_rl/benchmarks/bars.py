"""Bars and rankings with their intervals, as the benchmarks draw them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

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


def draw_ranking(
    axes: Axes,
    found: Sequence[tuple[str, Estimate, str]],
    kinds: Mapping[str, str],
) -> None:
    """Draw estimates of positive figures as dots on a logarithmic axis, the least at the top.

    Args:
        axes: drawn on.
        found: label, estimate and kind of each; those that are not above zero are left out.
        kinds: colour of each kind, for dots and legend.
    """
    ranked = sorted((each for each in found if each[1].low > 0), key=lambda each: each[1].value)
    seen: set[str] = set()
    for place, (_, each, kind) in enumerate(ranked):
        error = [[each.value - each.low], [each.high - each.value]]
        label = None if kind in seen else kind
        seen.add(kind)
        axes.errorbar(
            each.value, place, xerr=error, color=kinds[kind], marker="o", markersize=5, capsize=3,
            linestyle="none", label=label,
        )  # fmt: skip
    axes.set_yticks(range(len(ranked)), [label for label, _, _ in ranked], fontsize=8)
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.grid(axis="x", which="both", alpha=0.25)
    if len(seen) > 1:
        axes.legend(fontsize=8)
