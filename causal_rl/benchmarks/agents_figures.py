"""The pictures of ``causal-rl benchmark agents``, in the forms that rliable has made common."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from causal_rl.benchmarks.agents_scores import (
    SCORE,
    curve_iqm,
    learning_curves,
    methods_of,
    scores,
    scores_by_world,
    worlds_of,
)
from causal_rl.benchmarks.aggregate import performance_profile, stratified_estimate
from causal_rl.benchmarks.bars import draw_bar
from causal_rl.benchmarks.results import Results
from causal_rl.benchmarks.statistics import Estimate, estimate

_LEVELS = np.linspace(-0.2, 1.1, 131)
_LOWEST = -1.0


def returns(results: Results) -> Figure:
    """The IQM of each method with its interval, then the mean by world with every seed."""
    worlds, methods = worlds_of(results), methods_of(results)
    figure = Figure(figsize=(3.0 * (1 + len(worlds)), 3.2), layout="constrained")
    panels = np.atleast_1d(figure.subplots(1, 1 + len(worlds), sharey=True))
    for place, method in enumerate(methods):
        tasks = scores_by_world(results, method)
        if tasks:
            _interval(panels[0], stratified_estimate(tasks), place, f"C{place}")
        for axes, world in zip(panels[1:], worlds, strict=True):
            values = scores(results, method, world)
            if values.size:
                spread = place + np.linspace(-0.25, 0.25, values.size)
                axes.plot(values, spread, ".", color="0.7", markersize=4)
                _interval(axes, estimate(values), place, f"C{place}")
    for axes, title in zip(panels, ("all worlds, IQM", *worlds), strict=True):
        axes.set_title(title, fontsize=9)
        axes.set_xlabel("normalised return", fontsize=8)
        axes.grid(axis="x", alpha=0.3)
    panels[0].set_yticks(range(len(methods)), methods)
    panels[0].invert_yaxis()
    return figure


def sample_efficiency(results: Results) -> Figure:
    """IQM over environment steps with its stratified interval, on a logarithmic axis."""
    figure = Figure(figsize=(7.5, 4.2), layout="constrained")
    axes = figure.subplots()
    for place, method in enumerate(methods_of(results)):
        steps, tasks = learning_curves(results, method)
        if not steps:
            continue
        axes.plot(steps, curve_iqm(tasks), f"C{place}.-", label=method)
        found = [stratified_estimate([task[:, at] for task in tasks]) for at in range(len(steps))]
        low, high = [e.low for e in found], [e.high for e in found]
        axes.fill_between(steps, low, high, color=f"C{place}", alpha=0.15)
    axes.axhline(1.0, color="black", linestyle=":", linewidth=1)
    axes.set(xscale="log", xlabel="environment steps", ylabel="normalised return (IQM)")
    axes.set_ylim(max(_LOWEST, axes.get_ylim()[0]), 1.1)
    if axes.lines[1:]:
        axes.legend(fontsize=8)
    return figure


def profiles(results: Results) -> Figure:
    """Share of runs above each normalised return, mean over worlds."""
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    for place, method in enumerate(methods_of(results)):
        tasks = scores_by_world(results, method)
        if tasks:
            shares = performance_profile(tasks, _LEVELS)
            axes.step(_LEVELS, shares, color=f"C{place}", where="post", label=method)
    axes.set(xlabel="normalised return", ylabel="share of runs above it", ylim=(0, 1.02))
    if axes.lines:
        axes.legend(fontsize=8)
    return figure


def shifts(results: Results, metrics: Mapping[str, str]) -> Figure:
    """IQM under each shift.

    Args:
        results: finished cells.
        metrics: column by the name of the shift.
    """
    methods = methods_of(results)
    figure = Figure(figsize=(9, 3.8), layout="constrained")
    axes = figure.subplots()
    width = 0.8 / max(len(methods), 1)
    for index, method in enumerate(methods):
        for place, metric in enumerate(metrics.values()):
            tasks = scores_by_world(results, method, metric)
            if not tasks:
                continue
            found = stratified_estimate(tasks)
            x = place - 0.4 + width * (index + 0.5)
            label = method if metric == SCORE else None
            draw_bar(axes, x, found, f"C{index}", width=0.9 * width, cap=2, label=label)
    axes.axhline(0.0, color="grey", linewidth=0.8)
    axes.set_xticks(range(len(metrics)), list(metrics))
    axes.set_ylabel("normalised return (IQM)")
    if axes.patches:
        axes.legend(fontsize=8)
    return figure


def _interval(axes: Axes, found: Estimate, place: float, color: str) -> None:
    axes.plot([found.low, found.high], [place, place], color=color, linewidth=6, alpha=0.4)
    axes.plot([found.value], [place], "|", color=color, markersize=14, markeredgewidth=2)
