"""What the tests of benchmarks share."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext

import pytest

from causal_rl.benchmarks import Cell, results
from causal_rl.benchmarks.pool import ONE_THREAD, CellFunction, Reports, environment, run_cell


class HerePool:
    """Cells in this process: a fresh one for each costs seconds, and has tests of its own."""

    jobs = 1

    def run(self, function: CellFunction, cells: Sequence[Cell]) -> Reports:
        with environment(ONE_THREAD):
            for cell in cells:
                yield cell, run_cell(function, cell)


@pytest.fixture
def cells_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run the cells of `run_benchmark` in the tests' own process."""
    monkeypatch.setattr(results, "_open_pool", lambda ray, jobs: nullcontext(HerePool()))
