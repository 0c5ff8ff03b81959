"""What the benchmarks of the theorems share: estimates along curves, and how they are drawn."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes

from causal_rl.benchmarks.cells import Value
from causal_rl.benchmarks.results import Results
from causal_rl.benchmarks.statistics import Estimate, estimate, number, numbers


def places(results: Results, key: str) -> list[int]:
    """The whole numbers along which there are curves, sorted."""
    return sorted({value for row in results.curves if isinstance(value := row.get(key), int)})


def along(results: Results, metric: str, **where: Value) -> Estimate | None:
    """Mean over the curve rows with these values, with its interval; None if there are none."""
    rows = [row for row in results.curves if all(row.get(k) == v for k, v in where.items())]
    values = numbers(rows, metric)
    return estimate(values) if values.size else None


def exponential(found: Estimate | None) -> Estimate | None:
    """Of a mean of logarithms: the geometric mean, with its interval."""
    if found is None:
        return None
    low, value, high = (math.exp(x) for x in (found.low, found.value, found.high))
    return Estimate(value, low, high, found.count)


def draw(
    axes: Axes,
    points: Sequence[tuple[float, Estimate | None]],
    *,
    colour: str,
    label: str,
    style: str = "-",
) -> None:
    """A line through means, in a band of their intervals; nothing where there are no points."""
    found = [(x, e) for x, e in points if e is not None]
    if not found:
        return
    x = [place for place, _ in found]
    mark = "o" if len(found) < 12 else ""
    axes.plot(
        x, [e.value for _, e in found], style, color=colour, label=label, marker=mark, markersize=4
    )
    axes.fill_between(
        x, [e.low for _, e in found], [e.high for _, e in found], color=colour, alpha=0.12
    )


def told(found: Mapping[str, Estimate | None]) -> str:
    """Names and estimates in words."""
    return "; ".join(f"{name}: {e}" for name, e in found.items() if e is not None) or "-"


def shortly(found: Mapping[str, Estimate | None]) -> str:
    """Names and means alone, for the progress bar."""
    return ", ".join(f"{name} {number(e.value)}" for name, e in found.items() if e) or "-"
