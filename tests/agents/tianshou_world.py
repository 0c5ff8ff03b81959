# ruff: noqa: E402
"""A small world and short runs for the bridge to Tianshou."""

from __future__ import annotations

import pytest

numba = pytest.importorskip("numba", reason="tianshou is not installed; extra: tianshou")
numba.config.DISABLE_JIT = True  # to compile Tianshou's two loops takes longer than to run all this
pytest.importorskip("tianshou", reason="tianshou is not installed; extra: tianshou")
numba.config.DISABLE_JIT = False

from causal_rl.agents import TrainConfig
from causal_rl.envs import resolve_spec

SPEC = resolve_spec("chain-scm", n=3, horizon=8, n_values=3)
NAMES = list(SPEC.observed_names)
N_TARGETS, N_VALUES = (int(size) for size in SPEC.action_space().nvec)
TINY = TrainConfig(
    env="chain-scm",
    env_args=("n=3", "horizon=8", "n_values=3"),
    embed_dim=8,
    layers=1,
    num_envs=4,
    explore_envs=2,
    rollout_steps=8,
    epochs=1,
    minibatch_size=32,
    warmup_steps=96,
    steps=336,
    graph_every=2,
    eval_every=2,
    eval_episodes=2,
    final_episodes=2,
    checkpoint_every=2,
    store_size=120,
)
