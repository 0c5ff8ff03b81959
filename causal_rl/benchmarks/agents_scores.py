"""Scores by world and method, as the benchmarks of several worlds read and tabulate them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from causal_rl.benchmarks.aggregate import stratified_estimate
from causal_rl.benchmarks.report import markdown_table
from causal_rl.benchmarks.results import Results
from causal_rl.benchmarks.statistics import interquartile_mean, number

#: Column of a cell's score.
SCORE = "return_normalised"
#: Column of the curves.
CURVE = "normalised"

_LEVELS = (0.5, 0.8, 0.9)

Tasks = list[NDArray[np.float64]]


def worlds_of(results: Results) -> list[str]:
    """Worlds with a finished cell, in the order of the grid."""
    return list(dict.fromkeys(str(row["world"]) for row in results.rows))


def methods_of(results: Results) -> list[str]:
    """Methods with a finished cell, in the order of the grid."""
    return list(dict.fromkeys(str(row["method"]) for row in results.rows))


def scores(results: Results, method: str, world: str, metric: str = SCORE) -> NDArray[np.float64]:
    """(seeds,) scores of a method in a world."""
    return results.values(metric, method=method, world=world)


def scores_by_world(results: Results, method: str, metric: str = SCORE) -> Tasks:
    """Scores of a method by world, worlds without any left out."""
    found = [scores(results, method, world, metric) for world in worlds_of(results)]
    return [values for values in found if values.size]


def learning_curves(results: Results, method: str) -> tuple[list[int], Tasks]:
    """Curves of a method, all on the evaluation steps of its first run.

    Returns:
        The steps; and by world (runs, steps) normalised returns, interpolated between a run's own
        evaluations where those lie elsewhere.
    """
    by_cell: dict[object, list[tuple[float, float]]] = {}
    world_of: dict[object, str] = {}
    for row in results.curves:
        at, value = row.get("env_steps"), row.get(CURVE)
        if row.get("method") != method or not isinstance(at, int | float):
            continue
        if isinstance(value, int | float):
            by_cell.setdefault(row["cell"], []).append((float(at), float(value)))
            world_of[row["cell"]] = str(row["world"])
    grid: list[int] = []
    lines: dict[str, list[NDArray[np.float64]]] = {}
    for cell, pairs in by_cell.items():
        steps, values = zip(*pairs, strict=True)
        grid = grid or [int(step) for step in steps]
        lines.setdefault(world_of[cell], []).append(np.interp(grid, steps, values))
    return grid, [np.stack(found) for found in lines.values()]


def curve_iqm(tasks: Tasks) -> NDArray[np.float64]:
    """(runs, steps) a world to the (steps,) interquartile mean over all runs."""
    return interquartile_mean(np.concatenate(tasks).T)


def paired_differences(
    results: Results, metric: str, first: str, second: str, world: str | None = None
) -> list[float]:
    """How much higher a method is than another, seed by seed in one world or in all."""
    where = {} if world is None else {"world": world}
    mine, other = {"method": first, **where}, {"method": second, **where}
    return [float(gap) for gap in results.differences(metric, mine, other, by=("world", "seed"))]


def score_lines(results: Results) -> list[list[object]]:
    """A line a method for a table: its name, the IQM over all worlds, the mean in each."""
    lines: list[list[object]] = []
    for method in methods_of(results):
        tasks = scores_by_world(results, method)
        line: list[object] = [method, stratified_estimate(tasks) if tasks else "-"]
        line += [results.estimate(SCORE, world=w, method=method) or "-" for w in worlds_of(results)]
        lines.append(line)
    return lines


def curve_table(results: Results, at: Sequence[int], title: str) -> str:
    """IQM after so many steps, and the steps after which it stays above some levels.

    Args:
        results: with curves.
        at: environment steps.
        title: of the column of methods.
    """
    lines: list[list[object]] = []
    for method in methods_of(results):
        steps, tasks = learning_curves(results, method)
        if not steps:
            lines.append([method, *["-"] * (len(at) + len(_LEVELS))])
            continue
        values = curve_iqm(tasks)
        line: list[object] = [method]
        for step in at:
            inside = steps[0] <= step <= steps[-1] * 1.02
            line.append(number(float(np.interp(step, steps, values))) if inside else "-")
        for level in _LEVELS:
            below = np.flatnonzero(values < level)
            first = 0 if not below.size else int(below[-1]) + 1
            line.append(f"{steps[first]:,}" if first < len(steps) else "-")
        lines.append(line)
    header = [title, *(f"{step:,}" for step in at), *(f"to {level}" for level in _LEVELS)]
    return markdown_table(header, lines)


def iqm_headline(results: Results) -> str:
    """The IQM of every method in a line."""
    parts = []
    for method in methods_of(results):
        tasks = scores_by_world(results, method)
        if tasks:
            parts.append(f"{method} {number(stratified_estimate(tasks).value)}")
    return "IQM " + ", ".join(parts)
