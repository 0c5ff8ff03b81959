"""What runs cells: a pool takes a function and cells, and gives back a report a cell."""

from __future__ import annotations

import os
import time
import traceback
import warnings
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from causal_rl.benchmarks.cells import Cell, Outcome

CellFunction = Callable[[Cell], Outcome]

#: Networks and solvers of this size are fastest on one thread, and cells share the cores.
ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


@dataclass(frozen=True)
class Report:
    """How a cell went.

    Attributes:
        outcome: what it brought back, or None if it failed.
        error: one line, "Type: message", if it failed.
        trace: where it failed, a line per frame, innermost last; paths from the package on.
        wall_seconds: time that passed.
        cpu_seconds: processor time of its process.
        warnings: how many warnings were given.
    """

    outcome: Outcome | None
    error: str | None = None
    trace: tuple[str, ...] = ()
    wall_seconds: float = 0.0
    cpu_seconds: float = 0.0
    warnings: int = 0


#: What a pool yields, in the order in which cells end.
Reports = Generator[tuple[Cell, Report], None, None]


class Pool(Protocol):
    """Runs cells side by side, each in one thread of a process that is not this one.

    What it does not do is write: whoever iterates keeps the reports, so a pool that is
    interrupted leaves no cell half written.
    """

    @property
    def jobs(self) -> int:
        """Cells at a time."""

    def run(self, function: CellFunction, cells: Sequence[Cell]) -> Reports:
        """Run cells and yield each as it ends; closing the iterator stops those that still run.

        A cell that raises, or whose process dies for good, is reported as failed; the others go on.

        Args:
            function: importable from the top of its module; gets the cell.
            cells: what to run, started in this order.

        Yields:
            (cell, report) in the order in which cells end.
        """


def run_cell(function: CellFunction, cell: Cell) -> Report:
    """Run one cell in this process and report on it; what it raises is in the report."""
    started, cpu = time.perf_counter(), time.process_time()
    with warnings.catch_warnings(record=True) as given:
        warnings.simplefilter("always")
        outcome, error = None, None
        trace: tuple[str, ...] = ()
        try:
            outcome = function(cell)
            if not isinstance(outcome, Outcome):
                raise TypeError(f"a cell must return an Outcome, got {type(outcome).__name__}")
        except Exception as failure:
            outcome = None
            error = " ".join(f"{type(failure).__name__}: {failure}".split())
            trace = tuple(
                f"{_short(frame.filename)}:{frame.lineno} in {frame.name}"
                for frame in traceback.extract_tb(failure.__traceback__)[1:]
            )
    return Report(
        outcome,
        error,
        trace,
        wall_seconds=round(time.perf_counter() - started, 3),
        cpu_seconds=round(time.process_time() - cpu, 3),
        warnings=len(given),
    )


@contextmanager
def environment(values: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables, which processes started meanwhile inherit, and put them back."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _short(filename: str) -> str:
    """A path from the package on: results are published, and this machine's folders are not."""
    parts = Path(filename).parts
    start = len(parts) - 1 - parts[::-1].index("causal_rl") if "causal_rl" in parts else -2
    return "/".join(parts[start:])
