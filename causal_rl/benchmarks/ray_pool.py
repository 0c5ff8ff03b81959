"""Cells as tasks of Ray, on this machine or over a cluster."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from causal_rl.benchmarks.cells import Cell
from causal_rl.benchmarks.pool import (
    ONE_THREAD,
    CellFunction,
    Report,
    Reports,
    environment,
    run_cell,
)
from causal_rl.errors import import_extra

LOCAL, AUTO = "local", "auto"
EXTRA = "ray"
#: How often a cell is run again whose worker or machine died under it.
RETRIES = 3

_DIED = "its worker died (killed, or out of memory) at each of {} attempts; {}"
_ANSWER_SECONDS = 10.0


@contextmanager
def ray_pool(address: str, jobs: int | None = None) -> Iterator[RayPool]:
    """Connect to Ray, and leave it again; a cluster that was started here is stopped.

    Args:
        address: "local" starts a cluster of its own on this machine; "auto" joins the one that
            this process or machine is part of; "host:port" joins that one, of whose machines this
            must be one, and which must have this package.
        jobs: cells at a time, at least 1; None for one a processor of the cluster.

    Yields:
        The pool.

    Raises:
        ValueError: a bad address, or ``jobs`` below 1.
        MissingExtraError: Ray is not installed.
        ConnectionError: nothing answers at the address.
    """
    host = _check(address, jobs)
    ray = import_extra("ray", extra=EXTRA)
    joined = address == AUTO and ray.is_initialized()
    if host is not None:
        _knock(address, *host)
    if not joined:
        _connect(ray, address, jobs)
    try:
        yield RayPool(ray, jobs or max(1, int(ray.cluster_resources().get("CPU", 1))))
    finally:
        if not joined:
            ray.shutdown()


@dataclass(frozen=True)
class RayPool:
    """A `Pool` of Ray's workers, see `ray_pool`.

    A cell whose worker or machine dies is run again, up to `RETRIES` times; one that has ended is
    not. When the iterator is closed, or this process dies, what still runs is stopped.

    Args:
        ray: the module, connected.
        jobs: cells at a time.
    """

    ray: ModuleType
    jobs: int

    def run(self, function: CellFunction, cells: Sequence[Cell]) -> Reports:
        """As `Pool.run`; a cell has failed once its workers died too often."""
        ray = self.ray
        # One processor is also one thread, unless the cluster's environment says otherwise.
        task = ray.remote(run_cell).options(num_cpus=1, max_retries=RETRIES)
        waiting = list(reversed(cells))
        running: dict[Any, Cell] = {}
        try:
            while waiting or running:
                while waiting and len(running) < self.jobs:
                    cell = waiting.pop()
                    running[task.remote(function, cell)] = cell
                done, _ = ray.wait(list(running), num_returns=1)
                for reference in done:
                    cell = running.pop(reference)
                    yield cell, self._report(reference)
        finally:
            for reference in running:
                ray.cancel(reference, force=True)

    def _report(self, reference: Any) -> Report:
        try:
            report: Report = self.ray.get(reference)
        except self.ray.exceptions.RayTaskError as error:
            # Not the cell, whose errors are in the report, but what is around it.
            return Report(None, " ".join(f"{type(error.cause).__name__}: {error.cause}".split()))
        except self.ray.exceptions.RayError as error:
            return Report(None, _DIED.format(RETRIES + 1, type(error).__name__))
        return report


def _check(address: str, jobs: int | None) -> tuple[str, int] | None:
    """Host and port of an address that has them."""
    if jobs is not None and jobs < 1:
        raise ValueError(f"jobs must be at least 1, got {jobs}")
    if address in (LOCAL, AUTO):
        return None
    host, _, port = str(address).rpartition(":")
    if not host or "/" in host or not port.isdecimal() or not 0 < int(port) < 65_536:
        raise ValueError(f"ray must be {LOCAL}, {AUTO} or host:port, got {address!r}")
    return host, int(port)


def _knock(address: str, host: str, port: int) -> None:
    """Ray itself tries for minutes, and may end the process."""
    try:
        socket.create_connection((host.strip("[]"), port), timeout=_ANSWER_SECONDS).close()
    except OSError as error:
        raise ConnectionError(f"no cluster of Ray answers at {address!r}: {error}") from error


def _connect(ray: ModuleType, address: str, jobs: int | None) -> None:
    options: dict[str, Any] = {
        "address": address,
        "log_to_driver": False,
        "logging_level": "error",
    }
    if address != LOCAL:
        ray.init(**options)
        return
    # A cluster that is started along the way tells nobody that it ran.
    with environment({**ONE_THREAD, "RAY_USAGE_STATS_ENABLED": "0"}):
        ray.init(**options, num_cpus=jobs or os.cpu_count() or 1, include_dashboard=False)
