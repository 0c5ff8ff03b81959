"""Transitions of a world under random interventions or none: the data of graph benchmarks."""

from __future__ import annotations

import numpy as np

from causal_rl.benchmarks.cells import Row
from causal_rl.discovery import Transitions
from causal_rl.envs import SCMEnvSpec, SCMVectorEnv
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
    # With NEXT_STEP a reset is a step of its own, which Transitions leaves out by itself.
    env = SCMVectorEnv(spec, num_envs=_ENVS, autoreset_mode="NEXT_STEP")
    rng = np.random.default_rng([seed, 11])
    high = spec.action_space().nvec
    before, _ = env.reset(seed=seed * 1_000_000 + 300_000)
    begins = np.zeros(_ENVS, dtype=bool)
    parts: list[Transitions] = []
    kept = 0
    while kept < rows:
        drawn = rng.integers(0, high, size=(_ENVS, 2))
        action = drawn if interventions else np.zeros_like(drawn)
        after, reward, terminated, truncated, info = env.step(action)
        part = Transitions(
            state=before,
            action=action,
            reward=reward,
            next_state=after,
            terminated=terminated,
            truncated=truncated,
            do_target=info["do_target"],
            do_value=info["do_value"],
            reset=begins,
            names=spec.observed_names,
            kinds=spec.observed_kinds,
        )
        parts.append(part)
        kept += len(part)
        before, begins = after, terminated | truncated
    env.close()
    return Transitions.concatenate(parts)[:rows]


def state_columns(transitions: Transitions) -> Transitions:
    """The same rows over the state variables alone: no goal, no reward."""
    keep = [i for i, kind in enumerate(transitions.kinds) if kind == "state"]
    return Transitions(
        state=transitions.state[:, keep],
        next_state=transitions.next_state[:, keep],
        do_target=transitions.do_target[:, keep],
        do_value=transitions.do_value[:, keep],
        names=[transitions.names[i] for i in keep],
    )


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
