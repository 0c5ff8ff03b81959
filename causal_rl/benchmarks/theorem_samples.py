"""Theorem 5: how the rows needed for SHD <= eps grow with n, d, 1/eps and 1/delta.

As printed: "the required number of samples is Omega(d^2 log(n/delta) / eps), n the number of
variables and d the dimension of each". So each of the four is moved by itself, the least number of
rows is sought at which SHD <= eps in a share 1 - delta of the draws, and its growth is held against
the formula's. An exponent of 1 is growth like the formula's, below 1 slower, above 1 faster.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from causal_rl.benchmarks.cells import Cell, Outcome, Row
from causal_rl.benchmarks.report import Findings, Mark, decide, markdown_table
from causal_rl.benchmarks.results import Benchmark, Results
from causal_rl.benchmarks.statistics import estimate, number
from causal_rl.benchmarks.theorem_curves import along, draw, exponential, places
from causal_rl.discovery import make_learner
from causal_rl.discovery.pc import PCLearner
from causal_rl.discovery.recovery import linear_covariance, sample_covariance
from causal_rl.graphs import PartialGraph, shd, topological_order
from causal_rl.scm import topology

Array = NDArray[np.float64]
#: SHD of a draw of so many rows, at a level of the tests.
Draw = Callable[[int, float], float]

NEEDED_SEEDS = 10
EPS, DELTA = 1.0, 0.1
#: Correlation of neighbours in chains.
STRENGTH = 0.5
MOST_ROWS = 2**27
SETTINGS: Mapping[str, Any] = {"draws": 20, "most_rows": MOST_ROWS}
SMOKE: Mapping[str, Any] = {"draws": 2, "most_rows": 2**10}


@dataclass(frozen=True)
class Part:
    """One quantity moved, the others held.

    Attributes:
        told: the setting, in the report.
        key: what is moved: "n", "d", "eps" or "delta".
        values: its values.
        draws: as a multiple of the usual number of draws.
    """

    told: str
    key: str
    values: tuple[float, ...]
    draws: float = 1.0


PARTS: Mapping[str, Part] = {
    "n-chain": Part(
        f"PC on chains, neighbours correlated by {STRENGTH:g}: nothing but n changes", "n",
        (4, 8, 16, 32),
    ),
    "n-er": Part("PC on ER graphs, 1 expected edge a variable", "n", (4, 6, 8, 12, 16)),
    "n-interventions": Part(
        "`interventional` on the ER graphs, a variable or none set at random in each row", "n",
        (4, 8, 16), 0.5,
    ),
    "d-one": Part("PC on a chain of 4 vectors linked by their first components", "d", (1, 2, 4, 8)),
    "d-all": Part("PC on a chain of 4 vectors linked by all components", "d", (1, 2, 4, 8)),
    "eps": Part("PC on the ER graphs of 16 variables", "eps", (1, 2, 4)),
    "delta": Part("PC on the chain of 8 variables", "delta", (0.4, 0.2, 0.1, 0.05), 2.5),
}  # fmt: skip


@dataclass(frozen=True)
class Axis:
    """A factor of the formula, held against a part.

    Attributes:
        part: of `PARTS`.
        factor: in words.
        formula: the factor at a value.
    """

    part: str
    factor: str
    formula: Callable[[float], float]


AXES: Mapping[str, Axis] = {
    "n-chain, log": Axis("n-chain", "log(n / delta)", lambda n: math.log(n / DELTA)),
    "n-er, log": Axis("n-er", "log(n / delta)", lambda n: math.log(n / DELTA)),
    "n-interventions, log": Axis(
        "n-interventions", "log(n / delta)", lambda n: math.log(n / DELTA)
    ),
    "n-chain, square": Axis("n-chain", "n^2 (d read as the number of variables)", lambda n: n**2),
    "n-er, square": Axis("n-er", "n^2 (d read as the number of variables)", lambda n: n**2),
    "n-interventions, square": Axis(
        "n-interventions", "n^2 (d read as the number of variables)", lambda n: n**2
    ),
    "d-one": Axis("d-one", "d^2", lambda d: d**2),
    "d-all": Axis("d-all", "d^2", lambda d: d**2),
    "eps": Axis("eps", "1 / eps", lambda eps: 1 / eps),
    "delta": Axis("delta", "log(n / delta)", lambda delta: math.log(8 / delta)),
}


def grid(seeds: int, smoke: bool) -> list[Cell]:
    """Seeds outermost: a cell is one part in the worlds of one seed."""
    cells = []
    for seed in range(min(seeds, 1) if smoke else seeds):
        for name, part in PARTS.items():
            values = list(part.values[:2] if smoke else part.values)
            settings = {
                **(SMOKE if smoke else SETTINGS),
                "values": values,
                "eps": EPS,
                "delta": DELTA,
                "strength": STRENGTH,
            }
            cells.append(Cell({"part": name, "seed": seed}, settings))
    return cells


def run(cell: Cell) -> Outcome:
    """The least rows at each value, and the exponent that they have on each factor."""
    name, seed = str(cell.parameters["part"]), int(cell.parameters["seed"] or 0)
    part, use = PARTS[name], cell.settings
    count = max(2, round(use["draws"] * part.draws))
    least: dict[float, float | None] = {}
    if part.key == "eps":
        draw_at, start = _draw_of(name, 16, seed)
        found = least_rows(
            draw_at, use["values"], delta=DELTA, n=16, draws=count, start=start,
            most=use["most_rows"],
        )  # fmt: skip
        least = dict(zip(use["values"], found, strict=True))
    else:
        for value in use["values"]:
            n = int(value) if part.key == "n" else 8 if part.key == "delta" else 4
            size = int(value) if part.key in ("n", "d") else n
            draw_at, start = _draw_of(name, size, seed)
            (least[value],) = least_rows(
                draw_at, [EPS], delta=value if part.key == "delta" else DELTA, n=n, draws=count,
                start=start, most=use["most_rows"],
            )  # fmt: skip
    known = [(x, rows) for x, rows in least.items() if rows is not None]
    figures: Row = {"worlds_unsolved": len(least) - len(known)}
    for axis, factor in AXES.items():
        if factor.part == name and len(known) == len(least):
            x = np.log([factor.formula(value) for value, _ in known])
            slope = np.polyfit(x, np.log([rows for _, rows in known]), 1)[0]
            figures[f"exponent_{axis}"] = float(slope)
    curve: list[Row] = [
        {"thousandths": round(1000 * x), "needed": rows, "log_needed": math.log(rows)}
        for x, rows in known
    ]
    return Outcome(figures, curve)


def least_rows(
    draw_at: Draw,
    eps: Sequence[float],
    *,
    delta: float,
    n: int,
    draws: int,
    start: int,
    most: int,
) -> list[float | None]:
    """The number of rows at which SHD <= eps in a share 1 - delta of the draws.

    Rows are doubled until it is so for the smallest eps; between two numbers of rows the share is
    taken as linear in the logarithm.

    Args:
        draw_at: the SHD of one draw.
        eps: one or more.
        delta: in (0, 1). Tests have the level delta / (n (n - 1)), so that those of pairs without
            an edge err in all with a probability of at most delta / 2.
        n: number of variables.
        draws: at each number of rows.
        start: rows to begin with.
        most: rows at which it is given up.

    Returns:
        One number for each eps; None where it was given up.
    """
    level = delta / (n * (n - 1))
    found: list[float | None] = [None] * len(eps)
    before: list[float] = [0.0] * len(eps)
    rows = start
    while rows <= most and None in found:
        distances = np.array([draw_at(rows, level) for _ in range(draws)])
        for k, bound in enumerate(eps):
            share = float((distances <= bound).mean())
            if found[k] is None and share >= 1 - delta:
                gone = 1.0
                if rows > start:
                    gone = (1 - delta - before[k]) / (share - before[k])
                found[k] = rows * 2.0 ** (gone - 1.0)
            before[k] = share
        rows *= 2
    return found


def _draw_of(part: str, size: int, seed: int) -> tuple[Draw, int]:
    """How rows of a world are drawn and learned from, and the fewest to try."""
    world = np.random.default_rng([5, seed, size])
    rng = np.random.default_rng([5, seed, size, list(PARTS).index(part)])
    if PARTS[part].key == "d":
        return _vectors(size, part == "d-all", rng), 16
    start = 2 ** math.ceil(math.log2(max(2 * size, 16)))
    if part in ("n-chain", "delta"):
        edges = topology("chain", size, world)
        weights = STRENGTH * edges
        noise = np.where(edges.any(axis=0), math.sqrt(1 - STRENGTH**2), 1.0)
    else:
        edges = topology("er", size, world, density=1.0)
        weights = edges * world.uniform(0.5, 1.0, edges.shape)
        weights = weights * world.choice([-1.0, 1.0], edges.shape)
        noise = np.ones(size)
    if part == "n-interventions":
        return _interventions(np.asarray(weights, dtype=np.float64), rng), start
    covariance, truth = linear_covariance(weights, noise), PartialGraph.cpdag(edges)

    def distance(rows: int, level: float) -> float:
        learner = PCLearner(alpha=level)
        learner.fit_covariance(sample_covariance(covariance, rows, rng), float(rows))
        return _distance(learner, truth)

    return distance, start


def _interventions(weights: Array, rng: np.random.Generator) -> Draw:
    n = len(weights)
    order = topological_order(weights != 0)

    def distance(rows: int, level: float) -> float:
        values = rng.normal(size=(rows, n))
        target = rng.integers(0, n + 1, rows)[:, None] == np.arange(n)
        for j in order:
            free = ~target[:, j]
            values[free, j] += values[free] @ weights[:, j]
        graph = make_learner("interventional").fit(values, do_target=target)
        return float(shd(weights != 0, graph.contemporaneous))

    return distance


def _vectors(d: int, linked: bool, rng: np.random.Generator) -> Draw:
    truth = PartialGraph.cpdag(np.eye(4, k=1) != 0)
    through = slice(None) if linked else slice(0, 1)
    rest = math.sqrt(1 - STRENGTH**2)

    def distance(rows: int, level: float) -> float:
        values = rng.normal(size=(rows, 4, d))
        for k in range(1, 4):
            values[:, k, through] *= rest
            values[:, k, through] += STRENGTH * values[:, k - 1, through]
        learner = PCLearner(alpha=level)
        learner.fit_representations(values, components=d)
        return _distance(learner, truth)

    return distance


def _distance(learner: PCLearner, truth: PartialGraph) -> float:
    found = learner.equivalence_class_
    if found is None:
        raise RuntimeError("pc has no equivalence class")
    return float(found.compare(truth).shd)


def findings(results: Results) -> Findings:
    """Every factor of the formula, as printed and as what suffices."""
    protocol = [
        'As printed the required number of samples is "Omega(d^2 log(n / delta) / eps)", n being '
        "the number of variables and d the dimension of each: no method needs less than this "
        "order. A reader may want the opposite, that this many suffice. Each factor is tried as "
        "both; and n^2 in place of d^2, for those who read d as the number of variables.",
        f"Required is the number of rows at which SHD <= {EPS:g} in a share {1 - DELTA:g} of the "
        f"draws ({SETTINGS['draws']} at each number, which is doubled until it is so; the crossing "
        "is interpolated). SHD is that of the CPDAG to the true one, of `interventional` that of "
        "the DAG. PC's tests have the level delta / (n (n - 1)), the multiple-testing correction "
        "that the theorem's proof names.",
        *(f"`{name}`: {part.told}." for name, part in PARTS.items()),
        "An exponent is the slope of log rows on log factor, fitted in each seed's worlds: 1 is "
        "growth like the factor's. As printed the factor stands unless the interval lies below 1; "
        "as sufficient, unless it lies above 1.",
    ]
    return Findings(protocol, _marks(results), [_table(results), _rows_table(results)])


def _marks(results: Results) -> list[Mark]:
    marks = []
    for name, axis in AXES.items():
        found = results.estimate(f"exponent_{name}")
        count = found.count if found else 0
        measured = f"exponent {found}" if found else "-"
        where = f"`{axis.part}`"
        if "square" not in name:
            needed = found is not None and found.high >= 1.0
            claim = f"{where}: rows grow at least like {axis.factor}"
            marks.append(Mark(claim, measured, decide(count, NEEDED_SEEDS, needed)))
        enough = found is not None and found.low <= 1.0
        claim = f"{where}: rows of the order of {axis.factor} suffice"
        marks.append(Mark(claim, measured, decide(count, NEEDED_SEEDS, enough)))
    return marks


def _table(results: Results) -> str:
    lines: list[list[object]] = []
    for name, axis in AXES.items():
        found = results.estimate(f"exponent_{name}")
        lost = results.select(part=axis.part)
        unsolved = sum(int(row["worlds_unsolved"] or 0) for row in lost)
        lines.append([axis.part, axis.factor, found or "-", unsolved])
    header = ["part", "factor of the formula", "exponent", "worlds given up"]
    return "## Growth against the formula\n\n" + markdown_table(header, lines)


def _rows_table(results: Results) -> str:
    lines: list[list[object]] = []
    for name, part in PARTS.items():
        for value in part.values:
            where = {"part": name, "thousandths": round(1000 * value)}
            rows = [
                float(row["needed"] or 0.0)
                for row in results.curves
                if all(row.get(k) == v for k, v in where.items())
            ]
            if rows:
                median = number(float(np.median(rows)))
                lines.append([name, f"{part.key} = {value:g}", median, estimate(rows), len(rows)])
    header = ["part", "value", "rows, median", "rows, mean", "worlds"]
    return "## Rows needed\n\n" + markdown_table(header, lines)


def figures(results: Results) -> Mapping[str, Figure]:
    """Rows needed over each of the four, geometric means over the worlds."""
    figure = Figure(figsize=(14, 4.2), layout="constrained")
    panels = dict(zip(("n", "d", "eps", "delta"), figure.subplots(1, 4), strict=True))
    for index, (name, part) in enumerate(PARTS.items()):
        axes = panels[part.key]
        points = []
        for place in places(results, "thousandths"):
            found = along(results, "log_needed", part=name, thousandths=place)
            points.append((place / 1000, exponential(found)))
        draw(axes, points, colour=f"C{index}", label=name)
    for key, name, style in (
        ("n", "n-chain, log", "k:"), ("n", "n-chain, square", "k--"), ("d", "d-one", "k:"),
        ("eps", "eps", "k:"), ("delta", "delta", "k:"),
    ):  # fmt: skip
        axes, axis = panels[key], AXES[name]
        if axes.lines:
            x, y = (np.asarray(data, dtype=float) for data in axes.lines[0].get_data())
            like = np.array([axis.formula(float(value)) for value in x])
            label = f"like {axis.factor.partition(' (d')[0]}"
            axes.plot(x, y[0] * like / like[0], style, linewidth=1, label=label)
    for key, axes in panels.items():
        axes.set(xscale="log", yscale="log", xlabel=key)
        values = sorted({v for part in PARTS.values() if part.key == key for v in part.values})
        axes.set_xticks(values, [f"{value:g}" for value in values])
        axes.minorticks_off()
        axes.grid(alpha=0.3)
        if axes.lines:
            axes.legend(fontsize=8)
    panels["n"].set_ylabel(f"rows until SHD <= {EPS:g} in {1 - DELTA:.0%} of draws")
    return {"rows.png": figure}


def _headline(results: Results) -> str:
    parts = []
    for name in ("n-chain, log", "n-er, square", "d-one", "eps", "delta"):
        found = results.estimate(f"exponent_{name}")
        if found is not None:
            parts.append(f"{name} {number(found.value)}")
    return f"exponents: {'; '.join(parts) or '-'}"


BENCHMARK = Benchmark(
    name="theorem-5",
    title="Theorem 5: the rows that discovery needs",
    description="Rows needed for SHD <= eps with probability 1 - delta as the number of variables, "
    "their dimension, eps and delta are moved, against d^2 log(n / delta) / eps.",
    grid=grid,
    function=run,
    findings=findings,
    figures=figures,
    headline=_headline,
)
