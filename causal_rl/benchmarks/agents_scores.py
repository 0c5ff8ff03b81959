"""The scores of ``causal-rl benchmark agents`` as its tables and figures read them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from causal_rl.benchmarks.results import Results
from causal_rl.benchmarks.statistics import interquartile_mean

#: Column of a cell's score.
SCORE = "return_normalised"
#: Column of the curves.
CURVE = "normalised"

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
