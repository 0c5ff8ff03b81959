"""Benchmarks by name."""

from __future__ import annotations

import difflib
import importlib

from causal_rl.benchmarks.results import Benchmark

_MODULES = {
    "table1": "causal_rl.benchmarks.table1",
    "table2-left": "causal_rl.benchmarks.table2_left",
    "table3": "causal_rl.benchmarks.table3",
    "table2-right": "causal_rl.benchmarks.table2_right",
    "figure2": "causal_rl.benchmarks.figure2",
    "counterfactual-speed": "causal_rl.benchmarks.counterfactual_speed",
    "known-interventions": "causal_rl.benchmarks.known_interventions",
    "agents": "causal_rl.benchmarks.agents",
    "encoders": "causal_rl.benchmarks.encoders",
    "counterfactual-data": "causal_rl.benchmarks.counterfactual_data",
    "agent-chain": "causal_rl.benchmarks.agent_chain",
    "graph-recovery": "causal_rl.benchmarks.graph_recovery",
    "agent-proxy": "causal_rl.benchmarks.agent_proxy",
    "attention": "causal_rl.benchmarks.attention",
    "ecam-overhead": "causal_rl.benchmarks.ecam_overhead",
    "env-speed": "causal_rl.benchmarks.env_speed",
    "theorem-4": "causal_rl.benchmarks.theorem_expressivity",
    "theorem-5": "causal_rl.benchmarks.theorem_samples",
    "theorem-6": "causal_rl.benchmarks.theorem_rates",
    "theorem-7": "causal_rl.benchmarks.theorem_consistency",
    "train-speed": "causal_rl.benchmarks.train_speed",
    "bridges": "causal_rl.benchmarks.bridges",
    "world-recovery": "causal_rl.benchmarks.world_recovery",
    "world-returns": "causal_rl.benchmarks.world_returns",
    "planner-chain": "causal_rl.benchmarks.planner_chain",
    "unseen-graphs": "causal_rl.benchmarks.unseen_graphs",
    "mechanism-shift": "causal_rl.benchmarks.mechanism_shift",
    "amortised": "causal_rl.benchmarks.amortised",
    "abcd": "causal_rl.benchmarks.abcd",
    "cleann": "causal_rl.benchmarks.cleann",
    "cina": "causal_rl.benchmarks.cina",
}


def list_benchmarks() -> list[str]:
    """Names that `find_benchmark` knows."""
    return list(_MODULES)


def find_benchmark(name: str) -> Benchmark:
    """A benchmark by name.

    Raises:
        ValueError: unknown name; the nearest known ones are offered.
    """
    if name not in _MODULES:
        near = difflib.get_close_matches(name, _MODULES, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(_MODULES)}"
        raise ValueError(f"unknown benchmark {name!r}; {hint}")
    found: Benchmark = importlib.import_module(_MODULES[name]).BENCHMARK
    return found
