"""Benchmarks: each one command, its results resumable, its report written from the data."""

from __future__ import annotations

from causal_rl.benchmarks.cells import Cell, Outcome
from causal_rl.benchmarks.registry import find_benchmark, list_benchmarks
from causal_rl.benchmarks.report import Findings, Mark
from causal_rl.benchmarks.results import Benchmark, BenchmarkRun, Results, run_benchmark

__all__ = [
    "Benchmark",
    "BenchmarkRun",
    "Cell",
    "Findings",
    "Mark",
    "Outcome",
    "Results",
    "find_benchmark",
    "list_benchmarks",
    "run_benchmark",
]
