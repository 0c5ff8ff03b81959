"""Cells in parallel processes of this machine, that end when the command does."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection

from causal_rl.benchmarks.cells import Cell
from causal_rl.benchmarks.pool import (
    ONE_THREAD,
    CellFunction,
    Report,
    Reports,
    environment,
    run_cell,
)

_DIED = "its process, or one that ran beside it, died (killed, or out of memory)"


@dataclass(frozen=True)
class ProcessPool:
    """A `Pool` of spawned processes; they end when the iterator is closed or this process dies.

    Args:
        jobs: processes at a time, at least 1.

    Raises:
        ValueError: ``jobs`` below 1.
    """

    jobs: int

    def __post_init__(self) -> None:
        if self.jobs < 1:
            raise ValueError(f"jobs must be at least 1, got {self.jobs}")

    def run(self, function: CellFunction, cells: Sequence[Cell]) -> Reports:
        """As `Pool.run`; a cell whose process dies has failed."""
        waiting = list(reversed(cells))
        while waiting:  # once, unless a process dies and takes its pool with it
            with _executor(min(self.jobs, len(waiting))) as executor:
                running: dict[Future[Report], Cell] = {}
                broken = False
                while running or (waiting and not broken):
                    # No more than run at once, so that it is known which cells a dead process took.
                    while waiting and not broken and len(running) < self.jobs:
                        cell = waiting.pop()
                        running[executor.submit(run_cell, function, cell)] = cell
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
def _executor(jobs: int) -> Iterator[ProcessPoolExecutor]:
    context = multiprocessing.get_context("spawn")
    # Workers hold the reading end; when the writing end goes, with us or before, they leave.
    reader, writer = context.Pipe(duplex=False)
    executor = ProcessPoolExecutor(jobs, mp_context=context, initializer=_begin, initargs=(reader,))
    try:
        with environment(ONE_THREAD):
            yield executor
    except BaseException:
        # Do not wait for cells that nobody will read, nor for a worker that is still starting.
        for process in list((getattr(executor, "_processes", None) or {}).values()):
            process.kill()
        executor.shutdown(wait=False, cancel_futures=True)
        raise
    else:
        executor.shutdown(cancel_futures=True)
    finally:
        writer.close()
        reader.close()


def _begin(lifeline: Connection) -> None:
    """Make a process a worker: deaf to Ctrl-C, which is the parent's, and tied to its life."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def leave_with_parent() -> None:
        try:
            lifeline.recv_bytes()
        except (EOFError, OSError):
            os._exit(1)

    threading.Thread(target=leave_with_parent, daemon=True).start()
