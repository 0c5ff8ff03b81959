"""The default graph learner: do-masked BIC search, do-shift tests, interactions for the reward."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from causal_rl.discovery.base import GraphLearner, allowed_edges
from causal_rl.discovery.basis import BASIS_SIZE, FeatureMap
from causal_rl.discovery.do_shift import do_shifts, moved_order
from causal_rl.discovery.gram import GramStore, stratum_of
from causal_rl.discovery.interaction import InteractionModel, Worth, centred_basis, prune
from causal_rl.discovery.parent_search import Regression, Rules, search_parents
from causal_rl.discovery.reservoir import Reservoir
from causal_rl.discovery.reward_parents import select_parents
from causal_rl.discovery.transitions import Transitions
from causal_rl.graphs import CausalGraph

Matrix = NDArray[np.float64]


class InterventionalLearner(GraphLearner):
    """Learns both graphs from transitions whose interventions are known.

    Args:
        floor: least share of a variable's variance that a parent must account for.
        interaction_floor: the same for a parent that matters by its products with others alone.
        alpha: level of the do-shift tests, over all pairs together.
        min_effect: share of variance below which a do-shift proves no ancestor.
        reward_floor: least share of the reward's variance that a parent must account for.
        block: rows per block; statistics are summed block by block in the order of the stream, so
            that the result does not depend on how the stream was cut up.
        rows_kept: rows kept for fits with interactions.
        reward_node: add the reward as the last node.
    """

    name: ClassVar[str] = "interventional"

    def __init__(
        self,
        *,
        floor: float = 0.0025,
        interaction_floor: float = 0.01,
        alpha: float = 1e-3,
        min_effect: float = 0.002,
        reward_floor: float = 0.01,
        block: int = 1024,
        rows_kept: int = 4096,
        reward_node: bool = False,
    ) -> None:
        super().__init__(reward_node=reward_node)
        self.floor = floor
        self.interaction_floor = interaction_floor
        self.alpha = alpha
        self.min_effect = min_effect
        self.reward_floor = reward_floor
        self.block = block
        self.rows_kept = rows_kept
        self._clear()

    def check_options(self) -> None:
        """Validate the options.

        Raises:
            ValueError: one out of range.
            TypeError: one of the wrong type.
        """
        super().check_options()
        for name in ("floor", "interaction_floor", "alpha", "min_effect", "reward_floor"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise TypeError(f"{name} must be a number, not {value!r}")
            if not 0 < value < 1:
                raise ValueError(f"{name} must be between 0 and 1, not {value!r}")
        for name, least in (("block", 32), ("rows_kept", 256)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int):
                raise TypeError(f"{name} must be an integer, not {value!r}")
            if value < least:
                raise ValueError(f"{name} must be at least {least}, not {value}")

    def reset(self) -> None:
        """Forget everything learned; options stay."""
        super().reset()
        self._clear()

    def update(self, transitions: Transitions) -> CausalGraph:
        """Count these transitions and learn the graph from all so far.

        Args:
            transitions: new rows over the same variables.

        Returns:
            The graph, with confidences in [0, 1] and signed linear weights in the data's units.

        Raises:
            TypeError: not `Transitions`.
            ValueError: no rows, other variables than before, or no rewards for a reward node.
        """
        self._admit(transitions)
        reward = transitions.reward if self.reward_node else None
        extra = np.zeros((len(transitions), 0)) if reward is None else reward[:, None]
        rows = np.hstack([transitions.state, transitions.next_state, transitions.do_target, extra])
        tail = rows if self._tail is None else np.concatenate([self._tail, rows])
        n = transitions.n
        while len(tail) >= self.block:
            if self._features is None:
                self._features = FeatureMap.of(tail[: self.block, n : 2 * n])
            if self._store is None:
                self._store = GramStore(n, 1 + 2 * BASIS_SIZE * n)
                self._reservoir = self._new_reservoir(n, rows.shape[1])
            _count(self._store, self._reservoir, self._features, tail[: self.block], n)
            tail = tail[self.block :]
        self._tail = tail.copy()
        self.graph_ = self._learn(n)
        return self.graph_

    def _learn(self, n: int) -> CausalGraph:
        names, kinds = self.names_, self.kinds_
        if self._tail is None or names is None or kinds is None:
            raise RuntimeError("nothing was seen yet")
        store, reservoir, features = self._with_tail(n, self._tail)
        contemporaneous, lagged = allowed_edges(kinds[:n])
        allowed = np.hstack([contemporaneous.T, lagged.T])
        shifts = do_shifts(store, np.array([kind == "context" for kind in kinds[:n]]))
        reach = moved_order(
            shifts,
            alpha=self.alpha,
            min_effect=self.min_effect,
            exogenous=~allowed.any(axis=1),
        )
        regressions = [Regression(*store.without(j), j) for j in range(n)]
        rules = Rules(allowed=allowed, floor=np.full(allowed.shape, self.floor), reach=reach)
        parents = search_parents(regressions, rules)

        rows = reservoir.rows
        z = features.standardise(np.vstack([rows[:, n : 2 * n], rows[:, :n]]))
        z = np.hstack([z[: len(rows)], z[len(rows) :]])
        basis = centred_basis(z)
        draft = _Draft(len(kinds), n, features.scale)
        worth = Worth(alone=self.floor, full=self.interaction_floor)
        for j in range(n):
            kept, values = parents[j], {}
            if kept:
                free = rows[:, 2 * n + j] == 0
                model = InteractionModel(z[free, j], basis[free], np.zeros((int(free.sum()), 0)))
                kept, values = prune(model, kept, worth)
            regression = regressions[j]
            value = np.zeros(2 * n)
            if regression.testable:
                left, _ = regression.residual(kept)
                value = np.where(allowed[j], regression.gains(left)[1] / self.floor, 0.0)
            for c, own in values.items():
                value[c] = own
            slope = regression.linear_weights(kept) * features.scale[j] if kept else np.zeros(0)
            draft.enter(j, kept, slope, value)
        if self.reward_node:
            reward = rows[:, -1]
            model = InteractionModel(reward, basis, rows[:, 2 * n : 3 * n])
            usable = [c for c in range(2 * n) if c < n or kinds[c - n] != "context"]
            worth = Worth(alone=self.reward_floor, full=self.reward_floor)
            kept, values = select_parents(model, usable, worth)
            value = np.zeros(2 * n)
            for c, own in values.items():
                value[c] = own
            draft.enter(n, kept, _slopes(reward, z, rows[:, 2 * n : 3 * n], kept), value)
        return CausalGraph(
            contemporaneous=draft.edges[0],
            lagged=draft.edges[1],
            names=names,
            kinds=kinds,
            contemporaneous_weights=draft.weights[0],
            lagged_weights=draft.weights[1],
            contemporaneous_confidence=draft.confidence[0],
            lagged_confidence=draft.confidence[1],
        )

    def _with_tail(self, n: int, tail: Matrix) -> tuple[GramStore, Reservoir, FeatureMap]:
        """Statistics of all rows: the full blocks, and the begun one on top of a copy of them."""
        features = self._features or FeatureMap.of(tail[:, n : 2 * n])
        if self._store is None or self._reservoir is None:
            store = GramStore(n, 1 + 2 * BASIS_SIZE * n)
            reservoir = self._new_reservoir(n, tail.shape[1])
        elif len(tail):
            store, reservoir = self._store.copy(), self._new_reservoir(n, tail.shape[1])
            reservoir.load_state_dict(self._reservoir.state_dict())
        else:
            return self._store, self._reservoir, features
        if len(tail):
            _count(store, reservoir, features, tail, n)
        return store, reservoir, features

    def _new_reservoir(self, n: int, width: int) -> Reservoir:
        return Reservoir(width, n + 2, max(64, self.rows_kept // (n + 2)))

    def _clear(self) -> None:
        self._features: FeatureMap | None = None
        self._store: GramStore | None = None
        self._reservoir: Reservoir | None = None
        self._tail: Matrix | None = None

    def state_dict(self) -> dict[str, Any]:
        """All that was learned and counted, as plain values and arrays."""
        state = super().state_dict()
        state["tail"] = None if self._tail is None else self._tail.copy()
        state["center"] = None if self._features is None else self._features.center.copy()
        state["scale"] = None if self._features is None else self._features.scale.copy()
        state["gram"] = None if self._store is None else self._store.state_dict()
        state["reservoir"] = None if self._reservoir is None else self._reservoir.state_dict()
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up where `state_dict` was called.

        Args:
            state: what `state_dict` of this class with the same options returned.

        Raises:
            ValueError: the state is of another learner, or of another ``reward_node``.
        """
        super().load_state_dict(state)
        self._clear()
        if state["tail"] is None or self.kinds_ is None:
            return
        self._tail = np.array(state["tail"], dtype=np.float64)
        if state["gram"] is None:
            return
        n = len(self.kinds_) - int(self.reward_node)
        self._features = FeatureMap(state["center"], state["scale"])
        self._store = GramStore(n, 1 + 2 * BASIS_SIZE * n)
        self._store.load_state_dict(state["gram"])
        self._reservoir = self._new_reservoir(n, self._tail.shape[1])
        self._reservoir.load_state_dict(state["reservoir"])


def _count(
    store: GramStore, reservoir: Reservoir | None, features: FeatureMap, rows: Matrix, n: int
) -> None:
    do_target = rows[:, 2 * n : 3 * n] > 0
    design = np.hstack(
        [np.ones((len(rows), 1)), features(rows[:, n : 2 * n]), features(rows[:, :n])]
    )
    store.add(design, do_target)
    if reservoir is not None:
        reservoir.add(rows, stratum_of(do_target))


class _Draft:
    """The graph under construction: edges, weights in the data's units, confidences."""

    def __init__(self, size: int, n: int, scale: NDArray[np.float64]) -> None:
        self.n, self.scale = n, scale
        self.edges = np.zeros((2, size, size), dtype=bool)
        self.weights = np.zeros((2, size, size))
        self.confidence = np.zeros((2, size, size))

    def enter(
        self, j: int, parents: tuple[int, ...], slope: Matrix, worth: NDArray[np.float64]
    ) -> None:
        """Draw the edges into j; an edge drawn is at least an even bet, others at most that."""
        n = self.n
        drawn = np.isin(np.arange(2 * n), parents)
        even = np.where(drawn, np.maximum(worth, 1.0), np.clip(worth, 0.0, 1.0))
        for lag in range(2):
            part = slice(lag * n, (lag + 1) * n)
            self.confidence[lag, :n, j] = even[part] / (1.0 + even[part])
            self.edges[lag, :n, j] = drawn[part]
        for c, weight in zip(parents, slope, strict=True):
            self.weights[c // n, c % n, j] = weight / self.scale[c % n]


def _slopes(
    target: NDArray[np.float64], z: Matrix, covariates: Matrix, parents: tuple[int, ...]
) -> NDArray[np.float64]:
    design = np.column_stack([z[:, list(parents)], covariates, np.ones(len(z))])
    slope: NDArray[np.float64] = np.linalg.lstsq(design, target, rcond=None)[0]
    return slope[: len(parents)]
