from __future__ import annotations

import numpy as np
import pytest

from causal_rl.discovery import Transitions, make_learner
from causal_rl.graphs import possible_edges

KINDS = ("context", "state", "state", "state")


def four() -> Transitions:
    rng = np.random.default_rng(1)
    return Transitions(
        state=rng.normal(size=(9, 4)),
        next_state=rng.normal(size=(9, 4)),
        reward=np.zeros(9),
        kinds=KINDS,
    )


def test_empty_and_full():
    kinds = (*KINDS, "reward")
    assert make_learner("empty", reward_node=True).fit(four()).edges() == []
    full = make_learner("full", reward_node=True).fit(four())
    contemporaneous, lagged = possible_edges(kinds)
    assert full.kinds == kinds
    assert full.names[-1] == "reward"
    assert np.array_equal(full.contemporaneous, contemporaneous)
    assert np.array_equal(full.lagged, lagged)


def test_random_depends_on_the_seed_alone():
    first = make_learner("random", seed=3).fit(four())
    assert make_learner("random", seed=3).update(four()[:2]) == first
    graphs = [make_learner("random", seed=seed).fit(four()) for seed in range(8)]
    assert any(graph != first for graph in graphs)
    dense = make_learner("random", density=99.0, reward_node=True).fit(four())
    assert dense.contemporaneous.sum() == 3 + 3 + 4  # context out, a full order, into the reward
    with pytest.raises(ValueError, match="density is -1"):
        make_learner("random", density=-1.0)
    with pytest.raises(TypeError, match="seed must be an integer"):
        make_learner("random", seed=0.5)


def test_random_resumes():
    learner = make_learner("random", seed=5)
    graph = learner.fit(four())
    again = make_learner("random", seed=5)
    again.load_state_dict(learner.state_dict())
    assert again.graph_ == graph
    assert again.update(four()) == graph
