"""A benchmark from its cells to its RESULTS.md, by one command that may be killed and repeated."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from causal_rl.benchmarks.cells import Cell, Row, Value, check_grid, place_cells, select_cells
from causal_rl.benchmarks.index import write_index
from causal_rl.benchmarks.pool import CellFunction, Pool
from causal_rl.benchmarks.process_pool import ProcessPool
from causal_rl.benchmarks.provenance import current_commit, machine, packages
from causal_rl.benchmarks.ray_pool import AUTO, LOCAL, ray_pool
from causal_rl.benchmarks.report import (
    PROVENANCE_FILE,
    RESULTS_FILE,
    Findings,
    count_by,
    results_text,
    settings_by_parameter,
)
from causal_rl.benchmarks.statistics import Estimate, estimate, numbers, summarise
from causal_rl.benchmarks.store import ResultStore, to_csv
from causal_rl.devices import resolve_device
from causal_rl.files import atomic_write_text, read_json, sole_writer

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SUMMARY_FILE = "summary.csv"
DEFAULT_ROOT = Path("results")


@dataclass(frozen=True)
class Results:
    """Finished cells, as a benchmark reads them for its tables and figures.

    Attributes:
        rows: one a cell: parameters, figures, and the machinery's own columns.
        curves: curve rows of all cells, with the cells' parameters.
    """

    rows: Sequence[Row]
    curves: Sequence[Row]

    def select(self, **where: Value) -> list[Row]:
        """Rows whose columns have these values."""
        return [row for row in self.rows if all(row.get(k) == v for k, v in where.items())]

    def values(self, metric: str, **where: Value) -> NDArray[np.float64]:
        """(n,) numbers of a metric among selected rows; rows without it are left out."""
        return numbers(self.select(**where), metric)

    def differences(
        self,
        metric: str,
        first: Mapping[str, Value],
        second: Mapping[str, Value],
        by: Sequence[str] = ("seed",),
    ) -> NDArray[np.float64]:
        """(n,) how much more one selection has than another, over what pairs their rows.

        Args:
            metric: the figure.
            first: columns and values that select rows, in whose order the differences come.
            second: the same for what is subtracted, one row a pair.
            by: columns that pair a row of one with a row of the other; those without a partner,
                or without a number, are left out.
        """
        others = {tuple(row.get(k) for k in by): row.get(metric) for row in self.select(**second)}
        pairs = (
            (row.get(metric), others.get(tuple(row.get(k) for k in by)))
            for row in self.select(**first)
        )
        found = [
            float(a) - float(b)
            for a, b in pairs
            if isinstance(a, int | float) and isinstance(b, int | float)
        ]
        return np.array(found, dtype=np.float64)

    def estimate(self, metric: str, **where: Value) -> Estimate | None:
        """Mean with its interval, None where there is no number."""
        values = self.values(metric, **where)
        return estimate(values) if values.size else None


@dataclass(frozen=True)
class Benchmark:
    """A table or figure that one command makes.

    Args:
        name: of the command and the folder.
        title: heading of RESULTS.md.
        description: a sentence for listings.
        grid: ``(seeds, smoke)`` to cells, in the order in which they are run.
        function: runs a cell; importable from the top of its module.
        findings: protocol, marks and tables from the results, which may be incomplete.
        figures: pictures by file name, likewise.
        headline: the figures that matter, for the progress bar.
        prepare: raises before anything runs or is written if something is missing.
        replicate: the parameter over which is averaged.
        seeds: how many values of it by default.
        jobs: processes by default; None for one a core.
        devices: whether every cell reads `Cell.device`; others may have settings of that name.
    """

    name: str
    title: str
    description: str
    grid: Callable[[int, bool], list[Cell]]
    function: CellFunction
    findings: Callable[[Results], Findings]
    figures: Callable[[Results], Mapping[str, Figure]]
    headline: Callable[[Results], str]
    prepare: Callable[[], None] = lambda: None
    replicate: str = "seed"
    seeds: int = 10
    jobs: int | None = None
    devices: bool = False


@dataclass(frozen=True)
class BenchmarkRun:
    """How a command ended.

    Attributes:
        folder: where everything lies.
        planned: cells of the grid.
        computed: cells that this command computed.
        failures: cells that failed, "cell", "error" and "trace" each.
        findings: what RESULTS.md says.
    """

    folder: Path
    planned: int
    computed: int
    failures: Sequence[Mapping[str, object]]
    findings: Findings


def run_benchmark(
    benchmark: Benchmark,
    *,
    out: Path | None = None,
    seeds: int | None = None,
    jobs: int | None = None,
    smoke: bool = False,
    ray: str | None = None,
    only: Mapping[str, Sequence[str]] | None = None,
    device: str = "cpu",
    console: Console | None = None,
) -> BenchmarkRun:
    """Run what is not finished yet, then write summary, figures, provenance and RESULTS.md.

    Args:
        benchmark: what to run.
        out: its folder; default ``results/<name>``, and then ``results/README.md`` is written too.
        seeds: replicates; default the benchmark's own number.
        jobs: processes; default the benchmark's own number, or one a core.
        smoke: a small slice that shows that it runs; needs ``out``.
        ray: run the cells over Ray at this address, see `ray_pool`; default in processes.
        only: cells of these values alone, as text, by parameter.
        device: of the networks; another one than the CPU makes other cells and needs ``out``.
        console: where the progress bar goes; default standard error.

    Returns:
        What was done.

    Raises:
        ValueError: seeds or jobs below 1, a smoke run without ``out``, ``out`` that is a file or
            a folder of other things or that another process is writing to, a bad address,
            ``only`` what no cell has, or a device that is not there, that no network of the
            benchmark can be put on, without ``out`` or over Ray.
        MissingExtraError: the benchmark or ``ray`` needs a package that is absent.
        ConnectionError: no cluster of Ray answers.
        KeyboardInterrupt: Ctrl-C; the finished cells are kept.
    """
    seeds = benchmark.seeds if seeds is None else seeds
    jobs = benchmark.jobs if jobs is None else jobs
    for argument, value in (("seeds", seeds), ("jobs", 1 if jobs is None else jobs)):
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ValueError(f"{argument} must be an integer of at least 1, got {value!r}")
    if smoke and out is None:
        raise ValueError("out must be given for a smoke run, lest it take the place of results")
    folder = DEFAULT_ROOT / benchmark.name if out is None else Path(out)
    cells = select_cells(benchmark.grid(seeds, smoke), only or {})
    if device != "cpu":
        device, cells = _on_device(benchmark, cells, device, out=out, ray=ray)
    check_grid(cells)
    _check_folder(folder)
    benchmark.prepare()
    with sole_writer(folder, "out"):
        store = ResultStore(folder, cells)
        with _open_pool(ray, jobs) as pool:
            failures, computed = _compute(benchmark, cells, store, pool, console)
            jobs = pool.jobs
        results = Results(store.rows(), store.curves())
        options = {
            "seeds": seeds, "jobs": jobs, "smoke": smoke, "ray": ray, "only": only, "out": out,
            "device": device,
        }  # fmt: skip
        place = _measured_on(folder, computed, device)
        findings = _write_results(benchmark, folder, cells, results, failures, options, place)
    if out is None:
        write_index(folder.parent)
    return BenchmarkRun(folder, len(cells), computed, failures, findings)


def _on_device(
    benchmark: Benchmark, cells: list[Cell], device: str, *, out: Path | None, ray: str | None
) -> tuple[str, list[Cell]]:
    """The device's name and the cells on it; "auto" may be the CPU."""
    place = str(resolve_device(device))
    if place == "cpu":
        return place, cells
    if ray is not None:
        raise ValueError(f"device is {device!r}; over Ray it must be cpu: cells ask for no GPU")
    if out is None:
        raise ValueError(f"out must be given on {place}, lest it take the place of results")
    placed = place_cells(cells, place, told=benchmark.devices)
    if placed == cells:
        raise ValueError(f"device is {device!r}; all that {benchmark.name} runs is on the cpu")
    return place, placed


def _open_pool(ray: str | None, jobs: int | None) -> AbstractContextManager[Pool]:
    if ray is not None:
        return ray_pool(ray, jobs)
    return nullcontext(ProcessPool(jobs or os.cpu_count() or 1))


def _compute(
    benchmark: Benchmark,
    cells: Sequence[Cell],
    store: ResultStore,
    pool: Pool,
    console: Console | None,
) -> tuple[list[dict[str, object]], int]:
    """Run the cells that are missing into the store; those that failed, and how many did not."""
    missing = [cell for cell in cells if not store.finished(cell)]
    commit = str(current_commit())
    store.write()
    failures: list[dict[str, object]] = []
    with (
        _ProgressBar(console or Console(stderr=True), benchmark, len(cells)) as show,
        closing(pool.run(benchmark.function, missing)) as reports,
    ):
        show(Results(store.rows(), store.curves()), len(failures), None)
        for cell, report in reports:
            if report.outcome is None:
                failure: dict[str, object] = {
                    "cell": cell.name,
                    "error": report.error,
                    "trace": list(report.trace),
                }
                failures.append(failure)
                store.write_failures(failures)
            else:
                book: Row = {
                    "wall_seconds": report.wall_seconds,
                    "cpu_seconds": report.cpu_seconds,
                    "warnings": report.warnings,
                    "jobs": pool.jobs,
                    "commit": commit,
                }
                store.add(cell, report.outcome, book)
            show(Results(store.rows(), store.curves()), len(failures), cell)
    store.write_failures(failures)
    return failures, len(missing) - len(failures)


def _measured_on(folder: Path, computed: int, device: str) -> dict[str, Any]:
    """The machine and packages of the figures: where no cell was computed, those of before."""
    here = {"machine": machine(device), "packages": packages()}
    path = folder / PROVENANCE_FILE
    if computed or not path.is_file():
        return here
    before = read_json(path)
    return {name: before.get(name, there) for name, there in here.items()}


def _write_results(
    benchmark: Benchmark,
    folder: Path,
    cells: Sequence[Cell],
    results: Results,
    failures: Sequence[Mapping[str, object]],
    options: Mapping[str, Any],
    place: Mapping[str, Any],
) -> Findings:
    """Everything but the rows themselves, all computed from the rows."""
    # Here, since they load torch and matplotlib, which a worker need not wait for.
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    from causal_rl.agents import save_figure

    parameters = dict.fromkeys(key for cell in cells for key in cell.parameters)
    groups = [name for name in parameters if name != benchmark.replicate]
    summary = summarise(results.rows, groups, benchmark.replicate)
    atomic_write_text(folder / SUMMARY_FILE, to_csv(summary, first=(*groups, "metric")))
    figures = benchmark.figures(results) if results.rows else {}
    for name, figure in figures.items():
        FigureCanvasAgg(figure)
        save_figure(figure, folder / name)
    findings = benchmark.findings(results)
    seconds = float(numbers(results.rows, "wall_seconds").sum())
    provenance: dict[str, Any] = {
        "benchmark": benchmark.name,
        "description": benchmark.description,
        "command": _command(benchmark, options),
        "smoke": options["smoke"],
        "cells": {
            "planned": len(cells),
            "finished": len(results.rows),
            "failed": len(failures),
            "wall_seconds": round(seconds, 1),
        },
        "commits": count_by(results.rows, "commit"),
        **asdict(current_commit()),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        **place,
        "settings": settings_by_parameter(cells, benchmark.replicate),
        "marks": [asdict(mark) for mark in findings.marks],
    }
    atomic_write_text(folder / PROVENANCE_FILE, json.dumps(provenance, indent=2) + "\n")
    text = results_text(
        benchmark.title, benchmark.description, findings, list(figures), provenance, failures
    )
    atomic_write_text(folder / RESULTS_FILE, text)
    return findings


def _command(benchmark: Benchmark, options: Mapping[str, Any]) -> str:
    """The command line that makes these results again; folders and addresses are left out."""
    words = ["causal-rl", "benchmark", benchmark.name, "--seeds", str(options["seeds"])]
    words += ["--jobs", str(options["jobs"])]
    ray = options["ray"]
    if ray is not None:
        words += ["--ray", ray if ray in (LOCAL, AUTO) else "ADDRESS"]
    for name, values in (options["only"] or {}).items():
        words += [word for value in values for word in ("--only", f"{name}={value}")]
    if options["smoke"]:
        words.append("--smoke")
    if options["device"] != "cpu":
        words += ["--device", str(options["device"])]
    out = options["out"]
    if out is not None:
        words += ["--out", "DIR" if Path(out).is_absolute() else str(out)]
    return shlex.join(words)


def _check_folder(folder: Path) -> None:
    """Results may only be added to a folder that is new, empty, or of results."""
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"out must be a folder, got {str(folder)!r}, which is a file")
    known = {"raw.csv", "failures.json"}
    if folder.is_dir():
        names = {path.name for path in folder.iterdir() if not path.name.startswith(".")}
        if names and not names & known:
            raise ValueError(
                f"out must be a new or empty folder or one of results, got {str(folder)!r}"
            )


class _ProgressBar:
    """A progress bar; where there is no terminal, a line per cell instead."""

    def __init__(self, console: Console, benchmark: Benchmark, total: int) -> None:
        self.console, self.benchmark, self.total = console, benchmark, total
        self.bar = Progress(
            TextColumn("[bold]{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[figures]}"),
            TimeElapsedColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self.task = self.bar.add_task(benchmark.name, total=total, figures="")

    def __enter__(self) -> Callable[[Results, int, Cell | None], None]:
        self.bar.start()
        return self._show

    def __exit__(self, *_: object) -> None:
        self.bar.stop()

    def _show(self, results: Results, failed: int, cell: Cell | None) -> None:
        figures = self.benchmark.headline(results) if results.rows else ""
        if failed:
            figures = f"{failed} failed  {figures}"
        self.bar.update(self.task, completed=len(results.rows) + failed, figures=figures)
        if cell is not None and not self.console.is_terminal:
            done = len(results.rows) + failed
            self.console.print(
                f"[{done}/{self.total}] {cell.name}: {figures}",
                markup=False, highlight=False, soft_wrap=True,
            )  # fmt: skip
