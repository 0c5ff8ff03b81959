"""Sessions of items whose causes are known: a world to explain a recommender in.

An item comes of itself, is triggered by an earlier one, by two earlier ones together, or (with a
later one) by something that nobody sees. Which of these made an item is the graph of the session.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from causal_rl.graphs import CausalGraph
from causal_rl.options import check_integer, check_number

_CLASSES = 4


@dataclass(frozen=True)
class Sessions:
    """Sessions and the graphs that made them.

    Attributes:
        items: (N, length) numbers of items.
        parents: (N, length, length) bool, [k, s, t] where place s caused place t in session k.
        hidden: (N, length) 0, or the number of the unseen event that caused a place.
    """

    items: NDArray[np.int64]
    parents: NDArray[np.bool_]
    hidden: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.items)

    def graph(self, k: int) -> CausalGraph:
        """The graph of session k over its places, unseen events last (kind "hidden")."""
        length = self.items.shape[1]
        events = sorted(set(self.hidden[k].tolist()) - {0})
        n = length + len(events)
        edges = np.zeros((n, n), dtype=bool)
        edges[:length, :length] = self.parents[k]
        for place, event in enumerate(events):
            edges[length + place, :length] = self.hidden[k] == event
        return CausalGraph(
            edges,
            names=[*places(length), *(f"event{event}" for event in events)],
            kinds=["state"] * length + ["hidden"] * len(events),
        )


def places(length: int) -> list[str]:
    """Names of the places of a session."""
    return [f"place{t}" for t in range(1, length + 1)]


@dataclass(frozen=True)
class SessionWorld:
    """A small shop whose visitors have reasons.

    Args:
        plain: items of the first kind. Each triggers two others of them, one four times as often.
        alone: probability that an item comes of itself.
        joint: that two earlier plain items trigger it together; which one says of which of four
            classes the two are.
        unseen: that an unseen event makes an item here and another at a later place.
        fading: factor by which an item is less likely to trigger one each place further on.
        seed: of the items' relations.
    """

    plain: int = 24
    alone: float = 0.2
    joint: float = 0.2
    unseen: float = 0.1
    fading: float = 0.6
    seed: int = 0

    def __post_init__(self) -> None:
        check_integer("plain", self.plain, least=_CLASSES)
        check_integer("seed", self.seed, least=0)
        for name in ("alone", "joint", "unseen"):
            check_number(name, getattr(self, name), least=0.0)
        check_number("fading", self.fading, least=0.0, open_end=True)
        if self.alone + self.joint + self.unseen > 1:
            raise ValueError(
                f"alone + joint + unseen is {self.alone + self.joint + self.unseen}; "
                "it must be at most 1"
            )

    @property
    def items(self) -> int:
        """Size of the vocabulary: plain items, joint ones, and pairs made by unseen events."""
        return self.plain + _CLASSES * (_CLASSES + 1) // 2 + 2 * _CLASSES

    def sample(self, count: int, length: int, rng: np.random.Generator) -> Sessions:
        """Draw sessions.

        Args:
            count: how many.
            length: items of each.
            rng: source of randomness.

        Returns:
            The sessions with their graphs.
        """
        relations = np.random.default_rng(self.seed)
        triggers = np.array(
            [relations.choice(self.plain, size=2, replace=False) for _ in range(self.plain)]
        )
        classes = relations.permutation(np.arange(self.plain) % _CLASSES)
        pair_item = np.zeros((_CLASSES, _CLASSES), dtype=np.int64)
        upper = np.triu_indices(_CLASSES)
        pair_item[upper] = self.plain + np.arange(len(upper[0]))
        pair_item = np.maximum(pair_item, pair_item.T)
        first_event = self.items - 2 * _CLASSES

        items = np.zeros((count, length), dtype=np.int64)
        parents = np.zeros((count, length, length), dtype=bool)
        hidden = np.zeros((count, length), dtype=np.int64)
        for k in range(count):
            taken = np.zeros(length, dtype=bool)
            events = 0
            for t in range(length):
                if taken[t]:
                    continue
                earlier = [s for s in range(t) if items[k, s] < self.plain]
                nearness = np.array([self.fading ** (t - s) for s in earlier])
                chance = nearness / nearness.sum() if earlier else nearness
                later = [s for s in range(t + 1, length) if not taken[s]]
                u = rng.random()
                if u < self.unseen and later:
                    events += 1
                    kind = int(rng.integers(_CLASSES))
                    other = int(rng.choice(later))
                    # Mostly the item that goes with it, so that neither determines the other.
                    second = (kind + int(rng.random() < 0.2)) % _CLASSES
                    items[k, t] = first_event + kind
                    items[k, other] = first_event + _CLASSES + second
                    hidden[k, t] = hidden[k, other] = events
                    taken[other] = True
                elif u < self.unseen + self.joint and len(earlier) >= 2:
                    a, b = rng.choice(earlier, size=2, replace=False, p=chance)
                    items[k, t] = pair_item[classes[items[k, a]], classes[items[k, b]]]
                    parents[k, [a, b], t] = True
                elif u < 1 - self.alone and earlier:
                    s = int(rng.choice(earlier, p=chance))
                    items[k, t] = rng.choice(triggers[items[k, s]], p=[0.8, 0.2])
                    parents[k, s, t] = True
                else:
                    items[k, t] = rng.integers(self.plain)
        return Sessions(items, parents, hidden)
