"""Cells in parallel processes, one thread each, that end when the command does."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from causal_rl.benchmarks.cells import Cell, Outcome

CellFunction = Callable[[Cell], Outcome]

_DIED = "its process, or one that ran beside it, died (killed, or out of memory)"
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


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


def run_cells(
    function: CellFunction, cells: Sequence[Cell], *, jobs: int
) -> Iterator[tuple[Cell, Report]]:
    """Run cells in ``jobs`` processes and yield each as it ends.

    A cell that raises, or whose process dies, is reported as failed; the others go on. Processes
    are spawned, have one thread each, and end when the iterator is closed or this process dies.

    Args:
        function: importable from the top of its module; gets the cell.
        cells: what to run, started in this order.
        jobs: processes at a time, at least 1.

    Yields:
        (cell, report) in the order in which cells end.

    Raises:
        ValueError: ``jobs`` below 1.
    """
    if jobs < 1:
        raise ValueError(f"jobs must be at least 1, got {jobs}")
    waiting = list(reversed(cells))
    while waiting:  # once, unless a process dies and takes its pool with it
        with _pool(min(jobs, len(waiting))) as pool:
            running: dict[Future[Report], Cell] = {}
            broken = False
            while running or (waiting and not broken):
                # No more than run at once, so that it is known which cells a dead process took.
                while waiting and not broken and len(running) < jobs:
                    cell = waiting.pop()
                    running[pool.submit(_run, function, cell)] = cell
                done, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    cell = running.pop(future)
                    try:
                        report = future.result()
                    except BrokenProcessPool:
                        broken = True
                        report = Report(None, _DIED)
                    yield cell, report


@contextmanager
def _pool(jobs: int) -> Iterator[ProcessPoolExecutor]:
    context = multiprocessing.get_context("spawn")
    # Workers hold the reading end; when the writing end goes, with us or before, they leave.
    reader, writer = context.Pipe(duplex=False)
    before = {name: os.environ.get(name) for name in _THREAD_VARIABLES}
    os.environ.update(dict.fromkeys(_THREAD_VARIABLES, "1"))  # inherited by what is spawned
    pool = ProcessPoolExecutor(jobs, mp_context=context, initializer=_begin, initargs=(reader,))
    try:
        yield pool
    except BaseException:
        # Do not wait for cells that nobody will read, nor for a worker that is still starting.
        for process in list((getattr(pool, "_processes", None) or {}).values()):
            process.kill()
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    else:
        pool.shutdown(cancel_futures=True)
    finally:
        writer.close()
        reader.close()
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _begin(lifeline: Connection) -> None:
    """Make a process a worker: deaf to Ctrl-C, which is the parent's, and tied to its life."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def leave_with_parent() -> None:
        try:
            lifeline.recv_bytes()
        except (EOFError, OSError):
            os._exit(1)

    threading.Thread(target=leave_with_parent, daemon=True).start()


def _run(function: CellFunction, cell: Cell) -> Report:
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


def _short(filename: str) -> str:
    """A path from the package on: results are published, and this machine's folders are not."""
    parts = Path(filename).parts
    start = len(parts) - 1 - parts[::-1].index("causal_rl") if "causal_rl" in parts else -2
    return "/".join(parts[start:])
