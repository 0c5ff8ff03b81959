"""Processor time of what the benchmarks compare."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from causal_rl.discovery import GraphLearner
from causal_rl.graphs import CausalGraph


def call_seconds(call: Callable[[], object], count: int) -> float:
    """Processor seconds of one call, averaged over ``count``."""
    start = time.process_time()
    for _ in range(count):
        call()
    return (time.process_time() - start) / count


def timed_fit(learner: GraphLearner, data: Any, **told: Any) -> tuple[CausalGraph, float]:
    """Fit a learner to data, told what else; the graph, and the processor seconds it took."""
    started = time.process_time()
    graph = learner.fit(data, **told)
    return graph, time.process_time() - started
