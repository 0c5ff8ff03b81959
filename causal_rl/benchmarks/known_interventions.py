"""With known single-variable interventions: does knowing them beat every method that does not?"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from causal_rl.benchmarks.cells import Cell, Outcome, Row
from causal_rl.benchmarks.learners import warmed_learner
from causal_rl.benchmarks.recordings import score_within_step
from causal_rl.benchmarks.report import Findings, Mark, decide, markdown_table
from causal_rl.benchmarks.results import Benchmark, Results
from causal_rl.benchmarks.static_methods import require_peers
from causal_rl.benchmarks.static_models import draw_structure
from causal_rl.benchmarks.statistics import number
from causal_rl.benchmarks.timing import timed_fit
from causal_rl.discovery import learner_options
from causal_rl.scm import DynamicSCM, random_scm

OURS = "interventional"
#: Learners in the order of the table, and whether they are told what was set.
METHODS = {
    OURS: True, "gies": True, "dagma": False, "notears": False, "boss": False, "cam": False,
    "pc": False, "empty": False,
}  # fmt: skip
MECHANISMS = ("mlp", "gp")
SIZES, ROWS = (10, 20), (1_000, 5_000, 20_000)
DEGREE, NOISE_SHARE = 2, 0.2
#: The picture over sizes: methods, the largest size each is given, and the seeds.
SCALING = {OURS: 200, "dagma": 50, "notears": 20, "gies": 20}
SCALING_SIZES, SCALING_ROWS, SCALING_SEEDS = (10, 20, 50, 100, 200), 5_000, 3
FRESH = 2_000
NEEDED_SEEDS = 10
TIME_SHARE = 20.0


def grid(seeds: int, smoke: bool) -> list[Cell]:
    """The table, seeds outermost; then the sizes."""
    if smoke:
        return [
            _cell("table", "mlp", 4, 200, method, 0, degree=1) for method in (OURS, "pc", "empty")
        ] + [_cell("scaling", "mlp", n, 200, OURS, 0, degree=1) for n in (4, 6)]
    cells = [
        _cell("table", mechanism, n, rows, method, seed)
        for seed, mechanism, n, rows, method in product(
            range(seeds), MECHANISMS, SIZES, ROWS, METHODS
        )
    ]
    cells += [
        _cell("scaling", "mlp", n, SCALING_ROWS, method, seed)
        for n, seed, (method, most) in product(
            SCALING_SIZES, range(min(seeds, SCALING_SEEDS)), SCALING.items()
        )
        if n <= most
    ]
    return cells


def _cell(
    part: str, mechanism: str, n: int, rows: int, method: str, seed: int, *, degree: int = DEGREE
) -> Cell:
    options = learner_options(method)
    options |= {"seed": seed} if "seed" in options else {}
    parameters: Row = {
        "part": part, "mechanism": mechanism, "variables": n, "rows": rows, "method": method,
        "seed": seed,
    }  # fmt: skip
    settings = {"degree": degree, "noise_share": NOISE_SHARE, "fresh": FRESH}
    return Cell(parameters, {**settings, **{f"learner.{k}": v for k, v in options.items()}})


def intervened_table(
    adjacency: NDArray[np.bool_],
    mechanism: str,
    rows: int,
    rng: np.random.Generator,
    noise_share: float = NOISE_SHARE,
    *,
    intervene: bool = True,
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Rows of a random model of unit variances, in each of which one variable or none was set.

    Args:
        adjacency: ``(n, n)`` bool.
        mechanism: see `random_scm`.
        rows: N.
        rng: of the mechanisms, the noise and the interventions.
        noise_share: of the variance of each variable that has parents.
        intervene: False for rows of the same model and noise in which nothing was set.

    Returns:
        ``(values, do_target)``, each ``(N, n)``. The variable set is uniform over all and none,
        its value standard normal.
    """
    world = DynamicSCM(random_scm(adjacency, mechanism, rng, noise_share).variables)
    n = len(adjacency)
    target = rng.integers(0, n + 1, rows)
    do_target = (target[:, None] == np.arange(n)) & intervene
    noise = world.sample_noise(rng, rows)
    values = rng.standard_normal((rows, n))
    previous = np.zeros((rows, n))
    return world.step(previous, noise, None, do_target, values), do_target


def run(cell: Cell) -> Outcome:
    """Fit one learner to the rows that every other learner gets too."""
    where, settings = cell.parameters, cell.settings
    n, mechanism = int(where["variables"] or 0), str(where["mechanism"])
    code = [settings["fresh"] + int(where["seed"] or 0), n, MECHANISMS.index(mechanism)]
    rng = np.random.default_rng(code)
    adjacency = draw_structure("er", n, settings["degree"], rng)
    share = settings["noise_share"]
    # The rows of the smaller tables are not those of the larger: each is one draw.
    values, targets = intervened_table(adjacency, mechanism, int(where["rows"] or 0), rng, share)
    method, options = str(where["method"]), cell.part("learner")
    told: dict[str, Any] = {"do_target": targets} if METHODS[method] else {}
    learner = warmed_learner(method, options)
    graph, seconds = timed_fit(learner, values, **told)
    return Outcome({**score_within_step(graph, adjacency), "seconds": round(seconds, 4)})


def findings(results: Results) -> Findings:
    """The marks, a table for each mechanism and size, and the seconds."""
    protocol = [
        f"ER graphs with {DEGREE} edges a variable expected; mechanisms of `random_scm`, MLP or "
        "Gaussian process by random features, every variable of variance 1, of which "
        f"{NOISE_SHARE:g} is noise. In each row one variable, or none, was set to a standard normal"
        " value; which, is uniform.",
        "All methods get the same rows; `interventional` and `gies` are told what was set, the "
        "others take rows as they are. Graph seeds were never used to settle an option; all "
        "options are defaults.",
        "Seconds are processor time of the fit, one thread.",
    ]
    marks, sections = _marks(results), []
    for mechanism, n in product(_values(results, "mechanism"), _values(results, "variables")):
        if results.select(part="table", mechanism=mechanism, variables=n):
            sections.append(_table(results, str(mechanism), int(n)))
    return Findings(protocol, marks, [*sections, _scaling_table(results)])


def _values(results: Results, key: str) -> list[Any]:
    return list(dict.fromkeys(row[key] for row in results.rows if row["part"] == "table"))


def _marks(results: Results) -> list[Mark]:
    worse, ratios, count, cells = [], [], NEEDED_SEEDS, 0
    for mechanism, n, rows in product(*(_values(results, k) for k in _KEYS)):
        where: Row = {"part": "table", "mechanism": mechanism, "variables": n, "rows": rows}
        ours = results.estimate("shd", method=OURS, **where)
        if ours is None:
            continue
        cells, count = cells + 1, min(count, ours.count)
        others = {m: results.estimate("shd", method=m, **where) for m in METHODS if m != OURS}
        worse += [
            f"{mechanism} {n} {rows}: {m} {number(e.value)} against {number(ours.value)}"
            for m, e in others.items()
            if e and e.value <= ours.value
        ]
        own = results.values("seconds", method=OURS, **where)
        peer = results.values("seconds", method="dagma", **where)
        if own.size and peer.size:
            ratios.append(float(np.median(peer) / np.median(own)))
    least = min(ratios, default=0.0)
    enough = NEEDED_SEEDS if cells == len(MECHANISMS) * len(SIZES) * len(ROWS) else count + 1
    return [
        Mark(
            f"lower mean SHD than every other row in every one of the {cells} cells",
            "; ".join(worse) or "everywhere",
            decide(count, enough, not worse),
        ),
        Mark(
            "at most 1/20 of DAGMA's processor time in every cell",
            f"median seconds of DAGMA over ours: least {number(least)}, "
            f"most {number(max(ratios, default=0.0))}",
            decide(count, enough, least >= TIME_SHARE),
        ),
    ]


_KEYS = ("mechanism", "variables", "rows")


def _table(results: Results, mechanism: str, n: int) -> str:
    sizes = sorted(_values(results, "rows"))
    lines: list[list[object]] = []
    for method in METHODS:
        where: Row = {"part": "table", "mechanism": mechanism, "variables": n, "method": method}
        if not results.select(**where):
            continue
        shds = [results.estimate("shd", rows=rows, **where) or "-" for rows in sizes]
        most: Row = {**where, "rows": sizes[-1]}
        seconds = results.values("seconds", **most)
        lines.append(
            [
                method,
                *shds,
                results.estimate("sid", **most) or "-",
                results.estimate("f1", **most) or "-",
                number(float(np.median(seconds))) if seconds.size else "-",
            ]
        )
    header = ["method", *(f"SHD {rows:,} rows" for rows in sizes)]
    header += [f"{name} {sizes[-1]:,}" for name in ("SID", "F1", "median CPU seconds")]
    return f"## {mechanism} mechanisms, {n} variables\n\n" + markdown_table(header, lines)


def _scaling_table(results: Results) -> str:
    sizes = list(dict.fromkeys(r["variables"] for r in results.select(part="scaling")))
    lines: list[list[object]] = []
    for method in SCALING:
        line: list[object] = [method]
        for n in sizes:
            where: Row = {"part": "scaling", "variables": n, "method": method}
            shd, seconds = results.estimate("shd", **where), results.values("seconds", **where)
            median = float(np.median(seconds)) if seconds.size else None
            line.append(f"{number(shd.value)} ({number(median)} s)" if shd else "-")
        lines.append(line)
    header = ["method", *(f"n = {n}" for n in sizes)]
    text = (
        f"MLP mechanisms, {SCALING_ROWS:,} rows, mean SHD and median processor seconds; a dash: "
        "not run, for it would take too long."
    )
    return f"## More variables\n\n{text}\n\n{markdown_table(header, lines)}"


def figures(results: Results) -> Mapping[str, Figure]:
    """SHD over rows, and seconds and SHD over the number of variables."""
    kinds = [
        (m, n)
        for m, n in product(_values(results, "mechanism"), _values(results, "variables"))
        if results.select(part="table", mechanism=m, variables=n)
    ]
    curves = Figure(figsize=(4.2 * max(len(kinds), 1), 3.8), layout="constrained")
    for axes, (mechanism, n) in zip(
        np.atleast_1d(curves.subplots(1, max(len(kinds), 1))), kinds, strict=False
    ):
        for place, method in enumerate(METHODS):
            where: Row = {
                "part": "table", "mechanism": mechanism, "variables": n, "method": method
            }  # fmt: skip
            _line(axes, results, "shd", "rows", where, f"C{place}", method)
        axes.set(title=f"{mechanism}, {n} variables", xlabel="rows", xscale="log")
        axes.set_ylabel("SHD [edges]")
    if kinds:
        curves.axes[-1].legend(fontsize=7)
    sizes = Figure(figsize=(9, 3.8), layout="constrained")
    for axes, metric, label in zip(
        sizes.subplots(1, 2), ("seconds", "shd"), ("CPU seconds", "SHD [edges]"), strict=True
    ):
        for place, method in enumerate(SCALING):
            where = {"part": "scaling", "method": method}
            _line(axes, results, metric, "variables", where, f"C{place}", method)
        axes.set(xlabel="variables", ylabel=label, xscale="log")
        # Logarithmic above one edge or a tenth of a second, linear below, where zeros are.
        axes.set_yscale("symlog", linthresh=1.0 if metric == "shd" else 0.1)
        axes.set_ylim(bottom=0.0)
    sizes.axes[0].legend(fontsize=8)
    return {"rows.png": curves, "scaling.png": sizes}


def _line(
    axes: Any, results: Results, metric: str, over: str, where: Row, color: str, label: str
) -> None:
    at = sorted({int(row[over] or 0) for row in results.select(**where)})
    found = [(x, e) for x in at if (e := results.estimate(metric, **{**where, over: x}))]
    if found:
        axes.plot([x for x, _ in found], [e.value for _, e in found], "o-", color=color,
                  markersize=3, label=label)  # fmt: skip
        axes.fill_between([x for x, _ in found], [e.low for _, e in found],
                          [e.high for _, e in found], color=color, alpha=0.15)  # fmt: skip


def _headline(results: Results) -> str:
    parts = []
    for method in METHODS:
        found = results.estimate("shd", part="table", method=method)
        parts += [f"{method} {number(found.value)}"] if found else []
    return f"mean SHD {', '.join(parts) or '-'}"


BENCHMARK = Benchmark(
    name="known-interventions",
    title="Graphs from tables with known interventions",
    description="SHD and seconds of the default learner beside GIES and observational methods on "
    "nonlinear models whose variables were set, and how both grow with the variables.",
    grid=grid,
    function=run,
    findings=findings,
    figures=figures,
    headline=_headline,
    prepare=require_peers,
)
