"""Which columns of the data a model's mechanisms read, and in which order they are computed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from causal_rl.discovery import Transitions
from causal_rl.graphs import CausalGraph

Floats = NDArray[np.float64]
Columns = NDArray[np.int64]


class ModelColumns:
    """A graph as a model reads it: the reward apart, every other variable a column.

    Args:
        graph: acyclic inside the step, with at most one node of kind "reward".

    Raises:
        TypeError: ``graph`` of another type.
        ValueError: a cycle (it is printed), or more than one reward.

    Attributes:
        graph: as given.
        names: of the columns.
        kinds: of the columns.
        n: number of columns.
        contexts: int64, columns that are held.
        order: the other columns, causes before effects.
        parents: of each column, its parents' columns within the step and before it.
        reward_parents: likewise of the reward; empty without one.
    """

    def __init__(self, graph: CausalGraph) -> None:
        if not isinstance(graph, CausalGraph):
            raise TypeError(f"graph must be a CausalGraph, got {type(graph).__name__}")
        rewards = [i for i, kind in enumerate(graph.kinds) if kind == "reward"]
        if len(rewards) > 1:
            raise ValueError(f"graph must have at most one reward node, got {len(rewards)}")
        # Raises, with the cycle in words, for graphs that no model can be made on.
        order = graph.topological_order()
        columns = [i for i in range(graph.n) if i not in rewards]
        place = {node: column for column, node in enumerate(columns)}
        self.graph = graph
        self._nodes, self.has_reward_node = columns, bool(rewards)
        self.names = tuple(graph.names[i] for i in columns)
        self.kinds = tuple(graph.kinds[i] for i in columns)
        self.n = len(columns)
        self.contexts = np.array(
            [c for c, kind in enumerate(self.kinds) if kind == "context"], dtype=np.int64
        )
        held = set(self.contexts.tolist())
        self.order = [place[i] for i in order if i in place and place[i] not in held]

        def parents(node: int) -> tuple[Columns, Columns]:
            now, lag = graph.contemporaneous[columns, node], graph.lagged[columns, node]
            return np.flatnonzero(now), np.flatnonzero(lag)

        empty = np.zeros(0, dtype=np.int64)
        self.parents = [parents(node) for node in columns]
        self.reward_parents = parents(rewards[0]) if rewards else (empty, empty)

    def parents_of(self, j: int) -> tuple[int, ...]:
        """Columns that variable ``j`` reads: below n after the step, from n on before it."""
        here, earlier = self.parents[j]
        return (*here.tolist(), *(self.n + earlier).tolist())

    def with_parents(self, j: int, columns: Sequence[int]) -> ModelColumns:
        """The same with other parents of one variable; weights and confidences are dropped.

        Args:
            j: the variable, no context.
            columns: as `parents_of` gives them.

        Raises:
            ValueError: a column that there is not, a variable within its own step, a parent of a
                context, or a cycle.
        """
        if columns and (min(columns) < 0 or max(columns) >= 2 * self.n):
            raise ValueError(f"parents must be columns in [0, {2 * self.n}), got {list(columns)}")
        if self.kinds[j] == "context":
            raise ValueError(f"{self.names[j]!r} is a context; it has no mechanism")
        graph, node = self.graph, self._nodes[j]
        now, lag = graph.contemporaneous.copy(), graph.lagged.copy()
        now[:, node] = lag[:, node] = False
        for c in columns:
            (now if c < self.n else lag)[self._nodes[c % self.n], node] = True
        return ModelColumns(graph.with_(contemporaneous=now, lagged=lag))

    def inputs(self, j: int, before: Floats, after: Floats) -> Floats:
        """(batch, k) parents of variable ``j``, from (batch, n) values."""
        here, earlier = self.parents[j]
        return np.hstack([after[:, here], before[:, earlier]])

    def reward_inputs(self, before: Floats, after: Floats) -> Floats:
        """(batch, k) parents of the reward, from (batch, n) values."""
        here, earlier = self.reward_parents
        return np.hstack([after[:, here], before[:, earlier]])

    def aligned(self, transitions: Transitions, *, rewards: bool = True) -> Transitions:
        """The transitions with columns in this order; rewards are needed unless told otherwise.

        Raises:
            TypeError: ``transitions`` of another type.
            ValueError: no rows, no rewards where the graph has a reward, or other variables.
        """
        if not isinstance(transitions, Transitions):
            raise TypeError(f"transitions must be Transitions, got {type(transitions).__name__}")
        if not len(transitions):
            raise ValueError("transitions has no rows; a model needs at least one")
        if rewards and transitions.reward is None and self.has_reward_node:
            raise ValueError("transitions has no reward, which a model to plan in needs")
        if set(transitions.names) != set(self.names):
            odd = sorted(set(transitions.names) ^ set(self.names))
            raise ValueError(
                f"transitions and graph must have the same variables; {odd[0]!r} is in one alone"
            )
        at = [transitions.names.index(name) for name in self.names]
        return Transitions(
            state=transitions.state[:, at],
            next_state=transitions.next_state[:, at],
            reward=transitions.reward,
            do_target=transitions.do_target[:, at],
            names=self.names,
            kinds=self.kinds,
        )

    def read(
        self, given: ArrayLike, name: str, batch: int | None = None, kind: Any = np.float64
    ) -> Any:
        """An argument as an array (batch, n).

        Raises:
            ValueError: another shape; ``name`` is named.
        """
        array = np.asarray(given, dtype=kind)
        if array.ndim != 2 or array.shape[1] != self.n or batch not in (None, len(array)):
            rows = "batch" if batch is None else str(batch)
            raise ValueError(f"{name} must have shape ({rows}, {self.n}), got {array.shape}")
        return array
