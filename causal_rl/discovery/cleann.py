"""CLEANN (Rohekar et al. 2023): which items of a session is a recommendation due to?

An explanation is a set of items without which the model recommends something else. CLEANN looks for
a small one among the items that the PAG of the session links to the recommendation, the nearest
first. Beside it are the ways that need no graph: by attention, by leaving out one item
at a time, and through all sets.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from causal_rl.discovery.pag import influences
from causal_rl.discovery.sequence_model import ItemModel
from causal_rl.graphs import PartialGraph
from causal_rl.options import check_integer

Array = NDArray[np.float64]
Places = tuple[int, ...]


@dataclass(frozen=True)
class Explanation:
    """What a search came to.

    Attributes:
        places: those removed, sorted; None if no set that was tried changed the recommendation.
        replacement: the item recommended without them.
        rank: of the replacement among the model's first recommendations, 2 at best.
        calls: sessions that the model was asked about.
    """

    places: Places | None
    replacement: int | None
    rank: int | None
    calls: int


class Recommendation:
    """A model's recommendation after a session, and what becomes of it without some items.

    An item is removed by hiding it, as in training: its place stays.

    Args:
        model: predicts the last place of a session.
        items: (length - 1,) numbers of the items there are.

    Attributes:
        item: what is recommended.
        ranking: all items, the recommended first.

    Raises:
        ValueError: not that many items, or unknown ones.
    """

    def __init__(self, model: ItemModel, items: ArrayLike) -> None:
        given = np.asarray(items)
        if given.dtype.kind not in "iu" or given.shape != (model.length - 1,):
            raise ValueError(
                f"items must be {model.length - 1} integers, got {given.dtype} {given.shape}"
            )
        if given.min() < 0 or given.max() >= model.items:
            raise ValueError(f"items must be from 0 to {model.items - 1}")
        self.model = model
        self._rank(given.astype(np.int64))

    def _rank(self, items: NDArray[np.int64]) -> None:
        """Take the items, and what is recommended with all of them there."""
        self.items = items
        self._scores: dict[Places, Array] = {}
        first = self.scores([()])[0]
        self.ranking: list[int] = np.argsort(-first, kind="stable").tolist()
        self.item = self.ranking[0]

    def __len__(self) -> int:
        return len(self.items)

    def scores(self, sets: Sequence[Places]) -> Array:
        """Log odds of all items without each of some sets of places, (m, items)."""
        new = [places for places in sets if places not in self._scores]
        if new:
            self._scores.update(zip(new, self._ask(new), strict=True))
        return np.array([self._scores[places] for places in sets])

    @torch.no_grad()
    def _ask(self, sets: Sequence[Places]) -> Array:
        """What the model says of sets that it was not asked about before."""
        tokens = torch.from_numpy(np.append(self.items, 0)).repeat(len(sets), 1)
        hidden = torch.zeros(tokens.shape, dtype=torch.bool)
        hidden[:, -1] = True
        for row, places in enumerate(sets):
            hidden[row, list(places)] = True
        return np.asarray(self.model.predict(tokens, hidden)[:, -1].double().numpy())

    def session(self) -> NDArray[np.int64]:
        """The items with the recommended one behind them, (length,): what a PAG is read from."""
        return np.append(self.items, self.item)

    def search(self, sets: Iterable[Places], calls: int = 0) -> Explanation:
        """Try sets one after another until one changes the recommendation.

        Args:
            sets: sets of places, sorted each.
            calls: made before, counted too.

        Returns:
            The first that does.
        """
        for places in sets:
            calls += 1
            now = int(np.argmax(self.scores([places])[0]))
            if now != self.item:
                return Explanation(places, now, self.ranking.index(now) + 1, calls)
        return Explanation(None, None, None, calls)


def explain_by_graph(
    recommendation: Recommendation, graph: PartialGraph, *, max_size: int = 3
) -> Explanation:
    """CLEANN: small sets of linked items first, and among those the nearest in the graph.

    Args:
        recommendation: to be explained.
        graph: PAG over the places of the session and the recommended item, last.
        max_size: of an explanation.

    Returns:
        The explanation; none if no set of linked items is one.

    Raises:
        TypeError: graph is not a PartialGraph.
        ValueError: it has another number of places, or max_size is below 1.
    """
    if not isinstance(graph, PartialGraph):
        raise TypeError(f"graph must be a PartialGraph, not {type(graph).__name__}")
    last = len(recommendation)
    if graph.n != last + 1:
        raise ValueError(
            f"graph has {graph.n} variables; it must have {last + 1}, the items' places "
            "and the recommendation"
        )
    near = influences(graph.marks, last)
    return recommendation.search(_sets({v: float(d) for v, d in near.items()}, max_size))


def explain_by_search(
    recommendation: Recommendation, attention: ArrayLike | None = None, *, max_size: int = 3
) -> Explanation:
    """All sets, small ones first: no explanation is smaller.

    Args:
        recommendation: to be explained.
        attention: (length - 1,) the weight of each item for the recommendation; sets of one size
            are tried in the order of their sum, and in that of their places if None.
        max_size: of an explanation.

    Returns:
        A smallest explanation; none if there is none up to the size.

    Raises:
        ValueError: another shape, or max_size below 1.
    """
    n = len(recommendation)
    weights = np.zeros(n) if attention is None else _weights(attention, n)
    return recommendation.search(_sets({v: -float(weights[v]) for v in range(n)}, max_size))


def explain_by_weight(recommendation: Recommendation, weight: ArrayLike) -> Explanation:
    """Remove the item of most weight, then the next too, until the recommendation changes.

    Args:
        recommendation: to be explained.
        weight: (length - 1,), such as the row of attention; or random numbers, as a control.

    Returns:
        The explanation; none if the recommendation stays without any item.

    Raises:
        ValueError: another shape.
    """
    order = np.argsort(-_weights(weight, len(recommendation)), kind="stable").tolist()
    prefixes = (tuple(sorted(order[: k + 1])) for k in range(len(order)))
    return recommendation.search(prefixes)


def explain_by_occlusion(recommendation: Recommendation) -> Explanation:
    """Remove each item alone, then the most telling ones together.

    How telling an item is, is by how much the lead of the recommended item over the best other
    shrinks without it.

    Args:
        recommendation: to be explained.

    Returns:
        The explanation; none if the recommendation stays without any item.
    """
    n = len(recommendation)
    alone: list[Places] = [(v,) for v in range(n)]
    scores = recommendation.scores(alone)
    lead = scores[:, recommendation.item] - np.delete(scores, recommendation.item, axis=1).max(1)
    order = np.argsort(lead, kind="stable").tolist()
    found = recommendation.search([(order[0],)])
    if found.places is not None:
        return Explanation(found.places, found.replacement, found.rank, n)
    return recommendation.search((tuple(sorted(order[: k + 1])) for k in range(1, n)), calls=n)


def _sets(cost: dict[int, float], max_size: int) -> Iterator[Places]:
    """Sets of the keys, by size and then by summed cost."""
    check_integer("max_size", max_size, least=1)
    places = sorted(cost)
    for size in range(1, min(max_size, len(places)) + 1):
        sets = list(itertools.combinations(places, size))
        yield from sorted(sets, key=lambda chosen: math.fsum(cost[v] for v in chosen))


def _weights(value: ArrayLike, n: int) -> Array:
    weights = np.asarray(value, dtype=np.float64)
    if weights.shape != (n,) or not np.isfinite(weights).all():
        raise ValueError(f"weight must be {n} finite numbers, got shape {weights.shape}")
    return weights
