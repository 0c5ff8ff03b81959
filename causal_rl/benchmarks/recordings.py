"""Transitions of a world under random interventions or none: the data of graph benchmarks."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from causal_rl.benchmarks.cells import Row
from causal_rl.discovery import Transitions
from causal_rl.envs import SCMEnvSpec
from causal_rl.envs.recording import record as record_world
from causal_rl.graphs import CausalGraph

_ENVS = 20
_SCORES = ("shd", "sid", "f1", "auprc", "skeleton_f1", "n_true", "n_learned")


def record(spec: SCMEnvSpec, rows: int, *, seed: int, interventions: bool) -> Transitions:
    """Run a world and keep what happened.

    Args:
        spec: the world.
        rows: transitions to keep, in the order in which they came.
        seed: of the episodes and of the interventions.
        interventions: True draws targets ("no intervention" among them) and values uniformly;
            False never intervenes.

    Returns:
        ``rows`` transitions with rewards; the first of 20 environments' steps come first, so that
        a slice from the start is a shorter recording of the same run.

    Raises:
        ValueError: rows below 1.
    """
    if rows < 1:
        raise ValueError(f"rows must be at least 1, got {rows}")
    # 20 environments with NEXT_STEP: every published result stands on this stream of numbers.
    return record_world(
        spec,
        rows,
        policy="random" if interventions else "observe",
        seed=seed,
        num_envs=_ENVS,
        autoreset_mode="NEXT_STEP",
    )


def score_within_step(graph: CausalGraph, adjacency: NDArray[np.bool_]) -> Row:
    """Scores of a graph learned from a table as a cell's figures.

    Args:
        graph: the learned graph.
        adjacency: ``(d, d)`` bool over its columns, the truth.
    """
    found = graph.compare(CausalGraph(adjacency, names=graph.names)).contemporaneous
    return {
        "shd": found.shd,
        "sid": found.sid,
        "f1": found.f1,
        "skeleton_f1": found.skeleton_f1,
        "true_edges": found.n_true,
        "learned_edges": found.n_learned,
    }


def score(graph: CausalGraph, truth: CausalGraph, *, lagged: bool = True) -> Row:
    """Scores of a graph as a cell's figures.

    Args:
        graph: the learned graph.
        truth: a graph that has its variables, perhaps among others.
        lagged: whether the learner has a lagged block; without it that block is not scored.
    """
    scores = graph.compare(truth.subgraph(graph.names)).to_dict()
    blocks = ("contemporaneous", "lagged") if lagged else ("contemporaneous",)
    return {f"{name}_{block}": scores[f"{name}_{block}"] for block in blocks for name in _SCORES}
