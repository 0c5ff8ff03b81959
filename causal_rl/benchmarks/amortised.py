"""The amortised learner beside learners that fit every table anew: how good, and how fast?"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from itertools import product
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from causal_rl.benchmarks.cells import Cell, Outcome, Row
from causal_rl.benchmarks.known_interventions import intervened_table
from causal_rl.benchmarks.learners import warmed_learner
from causal_rl.benchmarks.recordings import score_within_step
from causal_rl.benchmarks.report import Findings, Mark, decide, markdown_table
from causal_rl.benchmarks.results import Benchmark, Results
from causal_rl.benchmarks.statistics import number
from causal_rl.benchmarks.timing import timed_fit
from causal_rl.discovery import learner_options
from causal_rl.discovery.amortised import SHIPPED
from causal_rl.scm import random_scm, topology

OURS, FITTED, CLASSIC, NOTHING = "amortised", "interventional", "pc", "empty"
METHODS = (OURS, FITTED, CLASSIC, NOTHING)
OBSERVED, INTERVENED = "observational", "interventional"
REGIMES = (OBSERVED, INTERVENED)
SIZES, ROWS = (5, 10), (100, 500, 1_000)
#: By seed in turn; the network was trained on these and others.
MECHANISMS = ("mlp", "gp")
DENSITY, NOISE_SHARE = 1.5, 0.2
FRESH = 54_000
NEEDED_SEEDS = 10


def grid(seeds: int, smoke: bool) -> list[Cell]:
    """Seeds outermost."""
    sizes, rows = (SIZES[:1], ROWS[:1]) if smoke else (SIZES, ROWS)
    return [
        _cell(regime, n, count, method, seed)
        for seed, regime, n, count, method in product(
            range(1 if smoke else seeds), REGIMES, sizes, rows, METHODS
        )
    ]


def _cell(regime: str, n: int, rows: int, method: str, seed: int) -> Cell:
    parameters: Row = {
        "regime": regime, "variables": n, "rows": rows, "method": method, "seed": seed,
    }  # fmt: skip
    settings: dict[str, Any] = {
        "mechanism": MECHANISMS[seed % len(MECHANISMS)],
        "density": DENSITY,
        "noise_share": NOISE_SHARE,
        "fresh": FRESH,
        **{f"learner.{key}": value for key, value in learner_options(method).items()},
    }
    if method == OURS:
        settings["network"] = hashlib.sha256(SHIPPED.read_bytes()).hexdigest()[:16]
    return Cell(parameters, settings)


def run(cell: Cell) -> Outcome:
    """One learner on the table that every other learner gets too."""
    where, settings = cell.parameters, cell.settings
    n, rows, method = int(where["variables"] or 0), int(where["rows"] or 0), str(where["method"])
    regime = REGIMES.index(str(where["regime"]))
    rng = np.random.default_rng([settings["fresh"] + int(where["seed"] or 0), n, rows, regime])
    adjacency = topology("er", n, rng, density=settings["density"])
    values, told = _table(adjacency, rows, rng, settings, intervened=bool(regime))
    learner = warmed_learner(method, cell.part("learner"))
    if method == OURS:
        # The network is read from its file once, whatever the number of tables.
        learner.fit(values[:2])
    graph, seconds = timed_fit(learner, values, **told)
    return Outcome({**score_within_step(graph, adjacency), "seconds": round(seconds, 4)})


def _table(
    adjacency: NDArray[np.bool_],
    rows: int,
    rng: np.random.Generator,
    settings: Mapping[str, Any],
    *,
    intervened: bool,
) -> tuple[NDArray[np.float64], dict[str, NDArray[np.bool_]]]:
    mechanism, share = settings["mechanism"], settings["noise_share"]
    if not intervened:
        return random_scm(adjacency, mechanism, rng, share).sample(rows, rng), {}
    values, targets = intervened_table(adjacency, mechanism, rows, rng, share)
    return values, {"do_target": targets}


def findings(results: Results) -> Findings:
    """The marks, and a table for each kind of data and size."""
    protocol = [
        f"ER graphs with {DENSITY:g} edges a variable expected; mechanisms of `random_scm`, "
        f"{' and '.join(MECHANISMS)} in turn, every variable of variance 1, of which "
        f"{NOISE_SHARE:g} is noise. {INTERVENED.capitalize()}: in each row one variable, or none, "
        "was set to a standard normal value, which is told.",
        "The network that comes with the package, trained on other draws of the same generators. "
        "All options are defaults; graph seeds were never used to settle one.",
        "Seconds are processor time of the fit, one thread, the network being in memory.",
    ]
    sections = [
        _section(results, regime, n)
        for regime, n in product(REGIMES, _values(results, "variables"))
        if results.select(regime=regime, variables=n)
    ]
    return Findings(protocol, _marks(results), sections)


def _values(results: Results, key: str) -> list[Any]:
    return list(dict.fromkeys(row[key] for row in results.rows))


def _places(results: Results, *regimes: str) -> Iterator[Row]:
    for regime, n, rows in product(
        regimes, _values(results, "variables"), _values(results, "rows")
    ):
        yield {"regime": regime, "variables": n, "rows": rows}


def _marks(results: Results) -> list[Mark]:
    return [
        _lower("shd", results, NOTHING, *REGIMES),
        _lower("shd", results, CLASSIC, OBSERVED),
        _lower("shd", results, FITTED, OBSERVED),
        _lower("shd", results, FITTED, INTERVENED),
        _lower("seconds", results, FITTED, *REGIMES),
    ]


def _lower(metric: str, results: Results, rival: str, *regimes: str) -> Mark:
    """Whether the mean of ours is below the rival's in every cell."""
    worse, count, cells = [], NEEDED_SEEDS, 0
    for where in _places(results, *regimes):
        ours = results.estimate(metric, method=OURS, **where)
        other = results.estimate(metric, method=rival, **where)
        if ours is None or other is None:
            continue
        cells, count = cells + 1, min(count, ours.count, other.count)
        if ours.value >= other.value:
            worse.append(
                f"{where['regime']} {where['variables']} variables {where['rows']} rows: "
                f"{number(ours.value)} against {number(other.value)}"
            )
    expected = len(regimes) * len(SIZES) * len(ROWS)
    kinds = " and ".join(regimes)
    return Mark(
        f"lower mean {'SHD' if metric == 'shd' else metric} than {rival} in every one of the "
        f"{expected} cells ({kinds} rows)",
        f"lower in {cells - len(worse)} of {cells}" + (f"; {'; '.join(worse)}" if worse else ""),
        decide(count if cells == expected else 0, NEEDED_SEEDS, not worse),
    )


def _section(results: Results, regime: str, n: int) -> str:
    sizes = sorted(_values(results, "rows"))
    lines: list[list[object]] = []
    for method in METHODS:
        where: Row = {"regime": regime, "variables": n, "method": method}
        if not results.select(**where):
            continue
        most: Row = {**where, "rows": sizes[-1]}
        seconds = results.values("seconds", **most)
        lines.append(
            [
                method,
                *(results.estimate("shd", **where, rows=rows) or "-" for rows in sizes),
                *(results.estimate("f1", **where, rows=rows) or "-" for rows in sizes),
                number(float(np.median(seconds))) if seconds.size else "-",
            ]
        )
    header = ["method", *(f"{name} {rows:,}" for name in ("SHD", "F1") for rows in sizes)]
    header.append(f"median CPU seconds {sizes[-1]:,}")
    return f"## {regime.capitalize()} rows, {n} variables\n\n" + markdown_table(header, lines)


def figures(results: Results) -> Mapping[str, Figure]:
    """SHD over rows."""
    kinds = [
        (regime, n)
        for regime, n in product(REGIMES, _values(results, "variables"))
        if results.select(regime=regime, variables=n)
    ]
    picture = Figure(figsize=(4.0 * max(len(kinds), 1), 3.6), layout="constrained")
    panels = np.atleast_1d(picture.subplots(1, max(len(kinds), 1)))
    for axes, (regime, n) in zip(panels, kinds, strict=False):
        for place, method in enumerate(METHODS):
            where: Row = {"regime": regime, "variables": n, "method": method}
            at = sorted({int(row["rows"] or 0) for row in results.select(**where)})
            found = [(x, e) for x in at if (e := results.estimate("shd", **where, rows=x))]
            if not found:
                continue
            x = [rows for rows, _ in found]
            axes.plot(x, [e.value for _, e in found], "o-", color=f"C{place}", label=method)
            low, high = [e.low for _, e in found], [e.high for _, e in found]
            axes.fill_between(x, low, high, color=f"C{place}", alpha=0.15)
        axes.set(title=f"{regime}, {n} variables", xlabel="rows", xscale="log")
        axes.set_ylabel("SHD [edges]")
    if kinds:
        panels[0].legend(fontsize=8)
    return {"shd.png": picture}


def _headline(results: Results) -> str:
    parts = []
    for method in METHODS:
        found = results.estimate("shd", method=method)
        parts += [f"{method} {number(found.value)}"] if found else []
    return f"mean SHD {', '.join(parts) or '-'}"


BENCHMARK = Benchmark(
    name="amortised",
    title="Graphs in one pass of a trained network",
    description="SHD, F1 and seconds of the amortised learner, which fits nothing, beside learners "
    "that fit every table anew, with and without interventions.",
    grid=grid,
    function=run,
    findings=findings,
    figures=figures,
    headline=_headline,
)
