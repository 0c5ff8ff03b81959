"""What the transitions of a run say for each edge, learned or missed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from causal_rl.discovery import Transitions
from causal_rl.graphs import CausalGraph
from causal_rl.graphs.layout import Status, statuses

Array = NDArray[np.float64]

#: More values than these of one variable are no menu; their means are not listed.
MOST_VALUES = 12
# Of the variance of a child: less is none.
_TOLERANCE = 1e-12


@dataclass(frozen=True)
class DoLevel:
    """The child while the parent was set to one value.

    Attributes:
        value: that the parent was set to.
        mean: of the child in the same step.
        error: standard error of the mean; None for a single row.
        rows: in which that was done.
    """

    value: float
    mean: float
    error: float | None
    rows: int


@dataclass(frozen=True)
class EdgeEvidence:
    """An edge, what is right or wrong about it, and what the transitions say.

    Attributes:
        parent: its name.
        child: its name.
        lagged: from t to t+1 rather than within the step.
        status: against the truth.
        weight: that the learner gave; None where it gives none.
        confidence: in [0, 1]; None where the learner gives none.
        partial_r2: the share of what the child's other learned parents leave unexplained that the
            parent explains, in quadratic regressions with all products, over rows in which the
            child was not set; None where it is not defined.
        partial_p: of the F test of these nested regressions.
        rows: that both are of.
        do_levels: what setting the parent did; none for lagged edges, and where it never was.
        do_p: of one-way ANOVA over these levels: does setting the parent move the child at all,
            along any path? None with fewer than two levels.
    """

    parent: str
    child: str
    lagged: bool
    status: Status
    weight: float | None
    confidence: float | None
    partial_r2: float | None
    partial_p: float | None
    rows: int
    do_levels: tuple[DoLevel, ...]
    do_p: float | None


def edge_evidence(
    graph: CausalGraph, truth: CausalGraph, transitions: Transitions
) -> list[EdgeEvidence]:
    """Evidence for every edge that was learned or should have been.

    Args:
        graph: the learned graph; its nodes are the transitions' variables and at most one of kind
            "reward".
        truth: over the same names.
        transitions: that are held against it; rewards are needed where the graph has such a node.

    Returns:
        Those within the step first, then the lagged ones, each in the order of the adjacency.

    Raises:
        ValueError: a node that is neither a variable of the transitions nor a reward they have.
    """
    columns = {name: index for index, name in enumerate(transitions.names)}
    graph = graph.permute(truth.names)
    for name, kind in zip(graph.names, graph.kinds, strict=True):
        if name not in columns and (kind != "reward" or transitions.reward is None):
            raise ValueError(
                f"graph has a node {name!r} that the transitions have not; they have "
                f"{', '.join(transitions.names)}"
            )
    data = _Columns(transitions, columns)
    found = []
    for lagged in (False, True):
        weights = graph.lagged_weights if lagged else graph.contemporaneous_weights
        confidence = graph.lagged_confidence if lagged else graph.contemporaneous_confidence
        for i, j, status in statuses(graph, truth, lagged):
            child = graph.names[j]
            others = [
                (graph.names[k], block)
                for block, adjacency in ((False, graph.contemporaneous), (True, graph.lagged))
                for k in np.flatnonzero(adjacency[:, j])
                if (int(k), block) != (i, lagged)
            ]
            r2, p, rows = data.partial_r2((graph.names[i], lagged), child, others)
            levels, moved = ((), None) if lagged else data.levels(graph.names[i], child)
            found.append(
                EdgeEvidence(
                    graph.names[i], child, lagged, status,
                    None if weights is None or status == "missing" else float(weights[i, j]),
                    None if confidence is None else float(confidence[i, j]),
                    r2, p, rows, levels, moved,
                )
            )  # fmt: skip
    return found


@dataclass(frozen=True)
class _Columns:
    transitions: Transitions
    columns: dict[str, int]

    def now(self, name: str) -> Array:
        column = self.columns.get(name)
        if column is None and self.transitions.reward is not None:
            return self.transitions.reward
        return self.transitions.next_state[:, column]

    def was_set(self, name: str) -> NDArray[np.bool_]:
        column = self.columns.get(name)
        if column is None:
            return np.zeros(len(self.transitions), dtype=bool)
        return self.transitions.do_target[:, column]

    def known(self, each: tuple[str, bool]) -> bool:
        return not each[1] or each[0] in self.columns

    def value(self, name: str, lagged: bool) -> Array:
        return self.transitions.state[:, self.columns[name]] if lagged else self.now(name)

    def partial_r2(
        self, parent: tuple[str, bool], child: str, others: Sequence[tuple[str, bool]]
    ) -> tuple[float | None, float | None, int]:
        from scipy.stats import f

        kept = ~self.was_set(child)
        rows = int(kept.sum())
        # A reward node has no value before the step.
        given = [self.value(*each)[kept] for each in others if self.known(each)]
        if not self.known(parent) or rows < 2:
            return None, None, rows
        y = self.now(child)[kept]
        y = y - y.mean()
        x = np.column_stack([*given, self.value(*parent)[kept]])
        spread = x.std(axis=0)
        x = (x - x.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
        total = float(y @ y)
        (before, rank_before), (after, rank_after) = (
            _unexplained(_quadratic(part), y) for part in (x[:, :-1], x)
        )
        left = rows - rank_after
        if rank_after == rank_before or left < 1 or before <= _TOLERANCE * total:
            return None, None, rows
        if after <= _TOLERANCE * total:  # the child is a function of its parents
            return 1.0, 0.0, rows
        gained = before - after
        ratio = gained / (rank_after - rank_before) / (after / left)
        return gained / before, float(f.sf(ratio, rank_after - rank_before, left)), rows

    def levels(self, parent: str, child: str) -> tuple[tuple[DoLevel, ...], float | None]:
        from scipy.stats import f_oneway

        kept = self.was_set(parent) & ~self.was_set(child)
        values, y = self.now(parent)[kept], self.now(child)[kept]
        menu = np.unique(values)
        if not 0 < len(menu) <= MOST_VALUES:
            return (), None
        groups = [y[values == value] for value in menu]
        levels = tuple(
            DoLevel(
                float(value),
                float(group.mean()),
                float(group.std(ddof=1) / np.sqrt(len(group))) if len(group) > 1 else None,
                len(group),
            )
            for value, group in zip(menu, groups, strict=True)
        )
        large = [group for group in groups if len(group) > 1]
        if len(large) < 2:
            return levels, None
        inside = sum(float(((group - group.mean()) ** 2).sum()) for group in large)
        if inside == 0.0:  # no noise at all: ANOVA divides by it
            return levels, 0.0 if len({float(group[0]) for group in large}) > 1 else 1.0
        return levels, float(f_oneway(*large).pvalue)


def _quadratic(x: Array) -> Array:
    """(N, 1 + k + k (k + 1) / 2): a constant, the columns, and all products of two."""
    i, j = np.triu_indices(x.shape[1])
    return np.column_stack([np.ones(len(x)), x, x[:, i] * x[:, j]])


def _unexplained(design: Array, y: Array) -> tuple[float, int]:
    """Sum of squares that least squares leaves, and the rank of the design."""
    solution, _, rank, _ = np.linalg.lstsq(design, y, rcond=None)
    rest = y - design @ solution
    return float(rest @ rest), int(rank)
