"""How fast is a counterfactual, one row at a time and many at once, beside dowhy.gcm?"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from itertools import product
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from causal_rl.benchmarks.bars import draw_bar
from causal_rl.benchmarks.cells import Cell, Outcome, Row
from causal_rl.benchmarks.figure2_methods import gcm_model
from causal_rl.benchmarks.report import Findings, Mark, decide, markdown_table
from causal_rl.benchmarks.results import Benchmark, Results
from causal_rl.benchmarks.statistics import number
from causal_rl.benchmarks.treatment_worlds import OUTCOME, TREATMENT, draw_treatment_world
from causal_rl.effects import counterfactual, fit_scm
from causal_rl.errors import import_extra, require_extra

Array = NDArray[np.float64]

#: Our mechanisms, and those of dowhy.gcm that they are timed against.
PAIRS = {"linear": "linear", "smooth": "boosting"}
BATCHES: Mapping[int, float] = {1: 100.0, 2000: 5.0}
MARKED = "linear"
ROWS, FRESH = 2_000, 8_000
NEEDED_SEEDS = 5
#: Rounds, in each of which both are timed, and the least seconds of a timing.
ROUNDS, SECONDS = 7, 0.2


def grid(seeds: int, smoke: bool) -> list[Cell]:
    """A cell is a world, a mechanism and a batch."""
    settings: dict[str, Any] = {
        "rows": 200 if smoke else ROWS,
        "rounds": 2 if smoke else ROUNDS,
        "seconds": 0.01 if smoke else SECONDS,
        "fresh": FRESH,
    }
    return [
        Cell({"mechanism": mechanism, "batch": batch, "seed": seed}, settings)
        for seed, mechanism, batch in product(
            range(1 if smoke else seeds), [MARKED] if smoke else PAIRS, BATCHES
        )
    ]


def run(cell: Cell) -> Outcome:
    """Fit both on the same rows and graph, and ask both the same question in turn."""
    where, settings = cell.parameters, cell.settings
    mechanism, batch = str(where["mechanism"]), int(where["batch"] or 1)
    world = draw_treatment_world("sf", settings["fresh"] + int(where["seed"] or 0))
    rng = np.random.default_rng([3, int(where["seed"] or 0)])
    train, asked = world.sample(settings["rows"], rng), world.sample(batch, rng)
    pandas = import_extra("pandas", extra="pandas")
    gcm = import_extra("dowhy.gcm", extra="effects")
    model = fit_scm(train, world.graph, mechanism="linear" if mechanism == "linear" else "smooth")
    names = list(world.names)
    peer = gcm_model(world.graph, pandas.DataFrame(train, columns=names), PAIRS[mechanism])
    frame = pandas.DataFrame(asked, columns=names)
    do = {TREATMENT: 1.0 - asked[:, world.treatment]}

    def ours() -> Array:
        return counterfactual(model, asked, do).counterfactual[:, 0, world.outcome]

    def theirs() -> Array:
        told = gcm.counterfactual_samples(
            peer, {TREATMENT: lambda value: 1.0 - value}, observed_data=frame
        )
        found: Array = told[OUTCOME].to_numpy(dtype=np.float64)
        return found

    seconds: dict[str, list[float]] = {"ours": [], "theirs": []}
    difference = float(np.abs(ours() - theirs()).max())
    for _ in range(settings["rounds"]):
        for name, call in (("ours", ours), ("theirs", theirs)):
            seconds[name].append(_time(call, settings["seconds"]))
    one, other = (float(np.median(seconds[name])) for name in ("ours", "theirs"))
    return Outcome(
        {
            "microseconds": one * 1e6,
            "gcm_microseconds": other * 1e6,
            "rows_per_second": batch / one,
            "gcm_rows_per_second": batch / other,
            "ratio": other / one,
            "difference": difference,
        }
    )


def _time(call: Callable[[], Array], least: float) -> float:
    """Processor seconds a call, over as many calls as take ``least`` of them."""
    calls, started = 0, time.process_time()
    while time.process_time() - started < least or not calls:
        call()
        calls += 1
    return (time.process_time() - started) / calls


def findings(results: Results) -> Findings:
    """The two marks and the table."""
    protocol = [
        "SF worlds of the Figure 2 benchmark, ten variables. Both packages are fitted to the same "
        f"{ROWS:,} rows on the true graph, and asked in turn, in one process on one thread, what "
        "all ten variables would have been under the other treatment; a ratio is of medians over "
        f"{ROUNDS} rounds, each of as many calls as take {SECONDS:g} s of processor time.",
        "Ours is `causal_rl.effects.counterfactual` as users call it, checks included; theirs is "
        "`dowhy.gcm.counterfactual_samples` on an invertible model, its progress bars off.",
        f"`{MARKED}` is linear mechanisms in both; their answers for the outcome are compared. "
        "`smooth` sets our penalised smooth functions beside their gradient boosting.",
    ]
    marks = []
    for batch, least in BATCHES.items():
        found = results.estimate("ratio", mechanism=MARKED, batch=batch)
        marks.append(
            Mark(
                f"{MARKED} mechanisms, {batch:,} row{'s' if batch > 1 else ''} a call: at least "
                f"{least:g} times the rows per second of dowhy.gcm",
                str(found or "-"),
                decide(found.count if found else 0, NEEDED_SEEDS,
                       found is not None and found.low >= least),
            )
        )  # fmt: skip
    differ = results.values("difference", mechanism=MARKED)
    marks.append(
        Mark(
            "linear mechanisms: both packages answer alike, to 1e-6",
            f"greatest difference {differ.max():.1e}" if differ.size else "-",
            decide(differ.size, NEEDED_SEEDS, bool(differ.size and differ.max() < 1e-6)),
        )
    )
    return Findings(protocol, marks, [_table(results)])


def _table(results: Results) -> str:
    lines: list[list[object]] = []
    for mechanism, batch in product(PAIRS, BATCHES):
        where: Row = {"mechanism": mechanism, "batch": batch}
        if not results.select(**where):
            continue
        medians = [
            float(np.median(results.values(name, **where)))
            for name in ("microseconds", "gcm_microseconds", "rows_per_second")
        ]
        lines.append(
            [
                f"{mechanism} against {PAIRS[mechanism]}",
                batch,
                *(number(value) for value in medians),
                results.estimate("ratio", **where),
            ]
        )
    header = ["mechanisms", "rows a call", "µs a call", "dowhy.gcm µs", "rows/s", "ratio"]
    return "## Time of a counterfactual\n\n" + markdown_table(header, lines)


def figures(results: Results) -> Mapping[str, Figure]:
    """The ratios."""
    figure = Figure(figsize=(6, 3.6), layout="constrained")
    axes = figure.subplots()
    labels: list[str] = []
    for mechanism, batch in product(PAIRS, BATCHES):
        found = results.estimate("ratio", mechanism=mechanism, batch=batch)
        if found is not None:
            draw_bar(axes, len(labels), found, "C0" if mechanism == MARKED else "C1")
            labels.append(f"{mechanism}\n{batch:,} row{'s' if batch > 1 else ''}")
    axes.set_xticks(range(len(labels)), labels)
    axes.set(yscale="log", ylabel="times the speed of dowhy.gcm")
    axes.grid(axis="y", alpha=0.3)
    return {"speed.png": figure}


def _headline(results: Results) -> str:
    found = {b: results.estimate("ratio", mechanism=MARKED, batch=b) for b in BATCHES}
    return "times dowhy.gcm: " + ", ".join(
        f"{b} row {number(e.value)}" for b, e in found.items() if e
    )


def _prepare() -> None:
    require_extra("dowhy", extra="effects")


BENCHMARK = Benchmark(
    name="counterfactual-speed",
    title="Speed of counterfactuals beside dowhy.gcm",
    description="Rows per second of counterfactuals in fitted models, one row a call and 2,000, as "
    "a ratio to dowhy.gcm in the same run.",
    grid=grid,
    function=run,
    findings=findings,
    figures=figures,
    headline=_headline,
    prepare=_prepare,
    seeds=NEEDED_SEEDS,
    jobs=1,
)
