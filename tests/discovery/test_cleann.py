from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from causal_rl.discovery.cleann import (
    Recommendation,
    explain_by_graph,
    explain_by_occlusion,
    explain_by_search,
    explain_by_weight,
)
from causal_rl.discovery.sequence_model import ItemModel, ModelOptions
from causal_rl.discovery.sessions import SessionWorld
from causal_rl.graphs import PartialGraph


class Votes(ItemModel):
    """Item k gets the votes of the places that are not hidden; `ballots` is (places, items)."""

    def __init__(self, ballots: list[list[float]]) -> None:
        super().__init__(
            len(ballots[0]), len(ballots) + 1, ModelOptions(embed_dim=2, num_heads=1, num_layers=1)
        )
        self.ballots = torch.tensor(ballots)
        self.asked = 0

    def predict(self, tokens: torch.Tensor, hidden: torch.Tensor) -> torch.Tensor:
        self.asked += len(tokens)
        votes = (~hidden[:, :-1]).float() @ self.ballots
        return votes.unsqueeze(1).expand(-1, tokens.shape[1], -1)


# Places 1 and 3 hold up item 2, either of them alone; without both item 0 wins.
TWO = [[0, 0.5, 0], [0, 0, 3.0], [0.5, 0, 0], [0, 0, 3.0], [1.5, 0, 0]]


def asked(ballots: list[list[float]] = TWO) -> Recommendation:
    return Recommendation(Votes(ballots), np.zeros(len(ballots), dtype=int))


def path(*edges: tuple[int, int], n: int = 6) -> PartialGraph:
    marks = np.zeros((n, n))
    for a, b in edges:
        marks[a, b] = marks[b, a] = 3
    return PartialGraph(marks)


def test_recommendation():
    found = asked()
    assert found.item == 2
    assert found.ranking == [2, 0, 1]
    np.testing.assert_array_equal(found.session(), [0, 0, 0, 0, 0, 2])
    found.scores([(1,), (1,)])
    before = found.model.asked
    found.scores([(1,)])
    assert found.model.asked == before  # remembered


def test_search_finds_the_smallest_and_counts_its_calls():
    found = explain_by_search(asked())
    assert found.places == (1, 3)
    assert (found.replacement, found.rank) == (0, 2)
    pairs = list(itertools.combinations(range(5), 2))
    assert found.calls == 5 + pairs.index((1, 3)) + 1
    led = explain_by_search(asked(), [0.0, 0.4, 0.1, 0.4, 0.1])
    assert led.places == (1, 3)
    assert led.calls == 6
    nothing = explain_by_search(asked(), max_size=1)
    assert (nothing.places, nothing.rank, nothing.calls) == (None, None, 5)


def test_cleann_tries_linked_items_alone_the_nearest_first():
    both = explain_by_graph(asked(), path((1, 5), (3, 5)))
    assert both.places == (1, 3)
    assert both.calls == 3
    assert explain_by_graph(asked(), path((1, 5), (2, 5))).places is None
    # 3 is linked by way of 1 only if 1 is a collider or the three are a triangle.
    assert explain_by_graph(asked(), path((1, 5), (1, 3))).places is None
    through = path((1, 5), (1, 3)).marks.copy()
    through[5, 1] = through[3, 1] = 2
    assert explain_by_graph(asked(), PartialGraph(through)).places == (1, 3)
    assert explain_by_graph(asked(), path()).calls == 0


def test_a_complete_graph_is_the_exhaustive_search():
    complete = path(*itertools.combinations(range(6), 2))
    assert explain_by_graph(asked(), complete) == explain_by_search(asked())


def test_removal_by_weight_goes_on_until_the_recommendation_changes():
    found = explain_by_weight(asked(), [9, 8, 7, 6, 5])
    assert found.places == (0, 1, 2, 3)
    assert found.calls == 4
    assert explain_by_weight(asked(), [0, 2, 0, 1, 0]).places == (1, 3)
    stubborn = asked([[0.0, 0.0, 0.0]] * 5)
    assert explain_by_weight(stubborn, np.zeros(5)).places is None


def test_occlusion():
    found = explain_by_occlusion(asked())
    assert found.places == (1, 3)
    assert found.calls == 6  # each alone, and the two together
    one = [[0, 0, 5.0], [1.0, 0, 0], [0, 0.5, 0], [0, 0, 0.1], [0, 0, 0.1]]
    single = explain_by_occlusion(asked(one))
    assert (single.places, single.calls) == ((0,), 5)


def test_bad_input():
    with pytest.raises(ValueError, match="items must be 5 integers"):
        Recommendation(Votes(TWO), [0, 1])
    with pytest.raises(ValueError, match="items must be from 0 to 2"):
        Recommendation(Votes(TWO), [0, 0, 0, 0, 9])
    with pytest.raises(ValueError, match="graph has 3 variables; it must have 6"):
        explain_by_graph(asked(), path(n=3))
    with pytest.raises(TypeError, match="graph must be a PartialGraph"):
        explain_by_graph(asked(), np.eye(6))
    with pytest.raises(ValueError, match="max_size is 0"):
        explain_by_search(asked(), max_size=0)
    with pytest.raises(ValueError, match="weight must be 5 finite numbers"):
        explain_by_weight(asked(), [1.0])


# -------------------------------------------------------------------- sessions


def test_sessions_have_the_graphs_that_made_them():
    world = SessionWorld(seed=3)
    drawn = world.sample(200, 7, np.random.default_rng(0))
    assert drawn.items.min() >= 0
    assert drawn.items.max() < world.items
    # Causes come first, two at most, and are plain items.
    assert not np.tril(drawn.parents).any()
    assert drawn.parents.sum(axis=1).max() == 2
    joint = drawn.parents.sum(axis=1) == 2
    assert (drawn.items[joint] >= world.plain).all()
    sessions, causes, _ = np.nonzero(drawn.parents)
    assert (drawn.items[sessions, causes] < world.plain).all()
    # An unseen event makes two items, and neither has another cause.
    unseen = drawn.hidden > 0
    assert not drawn.parents.sum(axis=1)[unseen].any()
    for k in range(len(drawn)):
        assert all(count == 2 for count in np.bincount(drawn.hidden[k])[1:])
    k = int(np.flatnonzero(unseen.any(axis=1))[0])
    graph = drawn.graph(k)
    assert graph.kinds[-1] == "hidden"
    children = graph.contemporaneous[graph.index("event1")][:7]
    np.testing.assert_array_equal(children, drawn.hidden[k] == 1)


def test_the_same_relations_in_every_sample():
    world = SessionWorld(seed=1, joint=0.0, unseen=0.0)
    triggered: dict[int, set[int]] = {}
    for seed in range(2):
        drawn = world.sample(150, 5, np.random.default_rng(seed))
        for k, s, t in np.argwhere(drawn.parents):
            triggered.setdefault(int(drawn.items[k, s]), set()).add(int(drawn.items[k, t]))
    assert max(len(found) for found in triggered.values()) == 2
    with pytest.raises(ValueError, match="it must be at most 1"):
        SessionWorld(alone=0.9, joint=0.9)
    with pytest.raises(ValueError, match="plain is 3"):
        SessionWorld(plain=3)
