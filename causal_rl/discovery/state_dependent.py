"""Graphs that depend on the state: which edges are active here?

An effect may exist only in a region: a hand moves a cube only where they touch. Local independence
(context-specific independence, Boutilier et al. 1996; local causal models of transitions, Pitis,
Creager and Garg 2020, CoDA) asks which edges there are given that the state is in a region. Here
the regions of a variable are the leaves of a tree of linear mechanisms, see
`state_dependent_tree`, and an edge is active in a region if it is a parent of the mechanism there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from causal_rl.discovery.batch import Array, BatchLearner, BoolMatrix, Found, Rows
from causal_rl.discovery.draft_order import draft_graph
from causal_rl.discovery.state_dependent_tree import Growth, Node, grow_tree, renamed
from causal_rl.discovery.transitions import Transitions
from causal_rl.graphs import CausalGraph, topological_order
from causal_rl.options import check_integer, check_number


@dataclass(frozen=True)
class Region:
    """Where one variable has one mechanism.

    Attributes:
        conditions: in words, such as ``"X2[t-1] >= 0.5"``; none where it is everywhere.
        parents: "contemporaneous" or "lagged", and the name, of each active edge.
        slopes: one for each, in the units of the data.
        share: of the rows from which it was learned.
    """

    conditions: tuple[str, ...]
    parents: tuple[tuple[str, str], ...]
    slopes: tuple[float, ...]
    share: float


class StateDependentLearner(BatchLearner):
    """Edges that are active in a region of the state alone.

    1. `InterventionalLearner` on all rows: its within-step graph gives the causal order. All
       earlier variables, and all before the step, are candidate causes of a variable.
    2. A tree of sparse linear mechanisms for each variable, over the rows in which it was not set.
    3. ``graph_`` is the union: an edge for every parent in any region, and for every variable that
       decides between regions, for it is a cause too. `graph_for` has the active parents alone.

    Regions are boxes, mechanisms in them straight lines. A bent effect is cut into pieces, and
    counts as inactive where it is flat. A region must hold enough rows: an edge that is active in
    fewer is not found. Two variables between which the default learner sees no path are
    ordered by their columns; an edge against that order is missed.

    Args:
        floor: least share of a variable's variance for which an active edge must account in its
            region.
        least_rows: in a region.
        depth: splits above a region, at most; 0 for one mechanism everywhere.
        reward_node: add the reward as the last node.

    Attributes:
        trees_: the tree of each node by its name, in the units of the data; None before the first.
    """

    name: ClassVar[str] = "state-dependent"
    uses_interventions: ClassVar[bool] = True
    uses_lags: ClassVar[bool] = True
    obeys: ClassVar[frozenset[str]] = frozenset({"forbidden"})
    most_variables: ClassVar[int] = 60

    def __init__(
        self,
        *,
        floor: float = 0.005,
        least_rows: int = 50,
        depth: int = 3,
        reward_node: bool = False,
    ) -> None:
        super().__init__(reward_node=reward_node)
        self.floor = floor
        self.least_rows = least_rows
        self.depth = depth
        self.trees_: dict[str, Node] | None = None
        self._found: list[Node] = []

    def check_options(self) -> None:
        """Validate the options; see `GraphLearner.check_options`."""
        super().check_options()
        check_number("floor", self.floor, least=0.0, below=1.0, open_end=True)
        check_integer("least_rows", self.least_rows, least=10)
        check_integer("depth", self.depth, least=0)

    def reset(self) -> None:
        """Forget everything learned; options stay."""
        super().reset()
        self.trees_ = None

    def update(self, transitions: Transitions) -> CausalGraph:
        """Grow the trees on all rows so far; see `BatchLearner.update`.

        Returns:
            The union. Weights are the slopes' means over the rows; confidences rank the edges
            by the largest share of variance, at least one half.

        Raises:
            TypeError: not `Transitions`.
            ValueError: as `BatchLearner.update`.
        """
        self.trees_, self._found = None, []
        graph = super().update(transitions)
        m, varying = graph.n, self._varying
        self.trees_ = {}
        if self._rows is None or len(self._found) != len(varying):
            return graph
        centre, scale = self._rows.current.mean(axis=0), self._rows.current.std(axis=0)
        both = np.concatenate([varying, varying + m])
        centres, scales = np.tile(centre[varying], 2), np.tile(scale[varying], 2)
        for node, j in zip(self._found, varying, strict=True):
            tree = node.in_units(centres, scales, float(scale[j]), float(centre[j]))
            self.trees_[graph.names[j]] = renamed(tree, both)
        return graph

    def _learn(self, rows: Rows, within: BoolMatrix, lagged: BoolMatrix) -> Found:
        m = rows.current.shape[1]
        kinds = [(self.kinds_ or ())[i] for i in self._varying]
        draft = draft_graph(rows, kinds, within, lagged).contemporaneous
        place = np.argsort(topological_order(draft))
        earlier = np.less.outer(place, place)
        possible = np.vstack([within & earlier, lagged])
        columns = np.hstack([rows.current, rows.lagged])
        edges, confidence = np.zeros((2 * m, m), dtype=bool), np.zeros((2 * m, m))
        weights = np.zeros((2 * m, m))
        self._found = []
        for j in range(m):
            kept = ~rows.do_target[:, j]
            growth = Growth(np.flatnonzero(possible[:, j]), self.floor, self.least_rows, self.depth)
            tree = grow_tree(columns[kept], rows.current[kept, j], growth)
            self._found.append(tree)
            worth = np.zeros(2 * m)
            count = max(int(kept.sum()), 1)
            for leaf in tree.leaves():
                own = leaf.mechanism
                for c, slope, share in zip(own.parents, own.slopes, own.shares, strict=True):
                    weights[c, j] += slope * own.rows / count
                    worth[c] = max(worth[c], share / self.floor, 1.0)
            for c in tree.columns():
                worth[c] = max(worth[c], 1.0)
            edges[:, j] = worth > 0
            confidence[:, j] = worth / (1.0 + worth)
        return Found.stacked(edges, weights, confidence)

    # ---------------------------------------------------------------- answers

    def active_edges(self, states: ArrayLike, *, reached: ArrayLike | None = None) -> BoolMatrix:
        """Which edges are active at some points.

        Args:
            states: ``(N, n)`` observed variables before the step; if the data were a table, its
                variables themselves.
            reached: ``(N, n)`` those after the step, where they are known. Without them a region
                that is decided within the step is not, and edges count that may be active.

        Returns:
            ``(N, 2, m, m)`` booleans, contemporaneous and lagged, the reward last if it is a node.

        Raises:
            TypeError: not numbers.
            ValueError: nothing was learned yet, another shape, values that are not finite, or
                ``reached`` for a table.
        """
        return self._local(states, reached)[0]

    def graph_for(self, state: ArrayLike, *, reached: ArrayLike | None = None) -> CausalGraph:
        """The graph at one state.

        Args:
            state: ``(n,)``, as in `active_edges`.
            reached: ``(n,)``, as in `active_edges`.

        Returns:
            A part of ``graph_``; its weights are the slopes there (of one of the regions, where
            several are possible).

        Raises:
            TypeError: not numbers.
            ValueError: as `active_edges`.
        """
        if np.ndim(np.asarray(state)) != 1:
            raise ValueError(f"state has shape {np.shape(state)}; it must be one state, (n,)")
        active, slopes = self._local([state], None if reached is None else [reached])
        if self.graph_ is None:
            raise ValueError("state-dependent has learned nothing yet; call fit first")
        return CausalGraph(
            active[0, 0],
            active[0, 1],
            self.graph_.names,
            self.graph_.kinds,
            contemporaneous_weights=slopes[0, 0],
            lagged_weights=slopes[0, 1],
        )

    def regions(self, name: str) -> list[Region]:
        """Where a variable has which mechanism.

        Args:
            name: of a node.

        Returns:
            The regions; one without conditions where the mechanism is the same everywhere.

        Raises:
            ValueError: nothing was learned yet, or no such node.
        """
        if self.trees_ is None or self.graph_ is None:
            raise ValueError("state-dependent has learned nothing yet; call fit first")
        self.graph_.index(name)
        names, m = self.graph_.names, self.graph_.n
        if name not in self.trees_:
            return [Region((), (), (), 1.0)]
        root = self.trees_[name]
        total = max(root.mechanism.rows, 1)
        found: list[Region] = []

        def visit(node: Node, conditions: tuple[str, ...]) -> None:
            if node.column is not None and node.low is not None and node.high is not None:
                label = names[node.column % m] + ("[t-1]" if node.column >= m else "")
                visit(node.low, (*conditions, f"{label} < {node.threshold:.4g}"))
                visit(node.high, (*conditions, f"{label} >= {node.threshold:.4g}"))
                return
            own = node.mechanism
            blocks = ("contemporaneous", "lagged")
            parents = tuple((blocks[c // m], names[c % m]) for c in own.parents)
            found.append(Region(conditions, parents, own.slopes, own.rows / total))

        visit(root, ())
        return found

    def _local(
        self, states: ArrayLike | Sequence[ArrayLike], reached: ArrayLike | Sequence[Any] | None
    ) -> tuple[BoolMatrix, Array]:
        if self.trees_ is None or self.graph_ is None:
            raise ValueError("state-dependent has learned nothing yet; call fit first")
        m = self.graph_.n
        n = m - int(self.reward_node)
        given = _points("states", states, n)
        values = np.full((len(given), 2 * m), np.nan)
        if self._memoryless:
            if reached is not None:
                raise ValueError("reached goes with transitions; of a table a state is a whole row")
            values[:, :n] = given
        else:
            values[:, m : m + n] = given
            if reached is not None:
                after = _points("reached", reached, n)
                if len(after) != len(given):
                    raise ValueError(f"reached has {len(after)} rows; states has {len(given)}")
                values[:, :n] = after
        slopes = np.zeros((len(given), 2 * m, m))
        active = np.zeros(slopes.shape, dtype=bool)
        for name, tree in self.trees_.items():
            j = self.graph_.index(name)
            for r, point in enumerate(values):
                for leaf in tree.reached(point):
                    parents = list(leaf.mechanism.parents)
                    active[r, parents, j] = True
                    slopes[r, parents, j] = leaf.mechanism.slopes
        shape = (len(given), 2, m, m)
        return active.reshape(shape), slopes.reshape(shape)

    def state_dict(self) -> dict[str, Any]:
        """All that was learned, and the rows; see `GraphLearner.state_dict`."""
        trees = self.trees_
        return {
            **super().state_dict(),
            "trees": None if trees is None else {k: t.to_dict() for k, t in trees.items()},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up where `state_dict` was called; see `GraphLearner.load_state_dict`."""
        super().load_state_dict(state)
        trees = state["trees"]
        self.trees_ = None if trees is None else {k: Node.from_dict(t) for k, t in trees.items()}


def _points(name: str, value: ArrayLike | Sequence[Any], n: int) -> Array:
    try:
        points = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        raise TypeError(f"{name} must be numbers") from None
    if points.ndim != 2 or points.shape[1] != n:
        raise ValueError(f"{name} has shape {points.shape}; it must be (rows, {n})")
    if not np.isfinite(points).all():
        raise ValueError(f"{name} must be finite")
    return points
