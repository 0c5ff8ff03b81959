"""Methods that know only whole tables: keep all rows, and run the method on them anew.

What baselines and peers' methods share. Data that the methods would choke on are dealt with here,
once: columns that do not vary are left out and stay without edges; columns that are copies or sums
of others are refused where the method inverts their covariance.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from causal_rl.discovery.base import GraphLearner, stacked_columns
from causal_rl.discovery.transitions import Transitions
from causal_rl.graphs import CausalGraph, PartialGraph
from causal_rl.graphs.marks import ARROW, TAIL, Marks

Array = NDArray[np.float64]
BoolMatrix = NDArray[np.bool_]

_LARGEST = 1e150  # squares of larger numbers overflow


@dataclass(frozen=True)
class Rows:
    """All rows so far, a column a node (the reward last, where it is one).

    Attributes:
        current: ``(N, m)`` values after the step.
        lagged: ``(N, m)`` values before it; zeros for the reward.
        do_target: ``(N, m)`` true where the node was set.
    """

    current: Array
    lagged: Array
    do_target: BoolMatrix

    def followed_by(self, more: Rows) -> Rows:
        """These rows and then others."""
        return Rows(
            np.concatenate([self.current, more.current]),
            np.concatenate([self.lagged, more.lagged]),
            np.concatenate([self.do_target, more.do_target]),
        )


@dataclass(frozen=True)
class Found:
    """What a method found over the m columns that it was given.

    Attributes:
        edges: ``(m, m)`` a DAG, true at [i, j] where i causes j; None where ``marks`` say it.
        weights: ``(m, m)`` effects in the units of the columns given, zero off the edges.
        confidence: ``(m, m)`` in [0, 1].
        lagged: ``(m, m)`` edges from one step to the next.
        lagged_weights: ``(m, m)``.
        lagged_confidence: ``(m, m)``.
        marks: ``(m, m)`` of an equivalence class, see `PartialGraph`.
    """

    edges: BoolMatrix | None = None
    weights: Array | None = None
    confidence: Array | None = None
    lagged: BoolMatrix | None = None
    lagged_weights: Array | None = None
    lagged_confidence: Array | None = None
    marks: Marks | None = None

    @classmethod
    def stacked(cls, edges: BoolMatrix, weights: Array | None, confidence: Array) -> Found:
        """What was found over the columns after the step and, below them, those before it.

        Args:
            edges: ``(2 m, m)``.
            weights: ``(2 m, m)`` or None.
            confidence: ``(2 m, m)``.
        """
        m = edges.shape[1]
        return cls(
            edges=edges[:m],
            weights=None if weights is None else weights[:m],
            confidence=confidence[:m],
            lagged=edges[m:],
            lagged_weights=None if weights is None else weights[m:],
            lagged_confidence=confidence[m:],
        )


class BatchLearner(GraphLearner):
    """A learner that runs a method on all rows so far at every `update`.

    A subclass implements `_learn`. Columns reach it centred and, unless ``standardise`` is an
    option and False, of unit variance; only those that vary are there.

    Args:
        reward_node: add the reward as the last node.
    """

    #: Whether the method needs linearly independent columns.
    needs_full_rank: ClassVar[bool] = False
    standardise: bool = True

    def __init__(self, *, reward_node: bool = False) -> None:
        super().__init__(reward_node=reward_node)
        self._rows: Rows | None = None
        self._varying: NDArray[np.intp] = np.zeros(0, dtype=np.intp)

    @abstractmethod
    def _learn(self, rows: Rows, within: BoolMatrix, lagged: BoolMatrix) -> Found:
        """Run the method.

        Args:
            rows: centred and scaled copies of the columns that vary.
            within: ``(m, m)`` true at [i, j] where i may cause j inside the step. Whatever is
                found elsewhere is dropped.
            lagged: the same from one step to the next.

        Raises:
            RuntimeError: the method failed on these data.
        """

    def check_options(self) -> None:
        """Validate the options; see `GraphLearner.check_options`."""
        super().check_options()
        if not isinstance(self.standardise, bool):
            raise TypeError(f"standardise must be True or False, not {self.standardise!r}")

    def reset(self) -> None:
        """Forget everything learned; options stay."""
        super().reset()
        self._rows = None

    def update(self, transitions: Transitions) -> CausalGraph:
        """Run the method on all rows so far; see `GraphLearner.update`.

        Raises:
            TypeError: not `Transitions`.
            ValueError: as `GraphLearner.update`, or values beyond 1e150.
            MissingExtraError: the method's package is not installed.
            RuntimeError: the method failed on these data; the line says why.
        """
        names, kinds = self._admit(transitions)
        rows = Rows(*stacked_columns(transitions, reward_node=self.reward_node))
        if max(float(np.abs(block).max()) for block in (rows.current, rows.lagged)) > _LARGEST:
            raise ValueError(f"transitions has values beyond {_LARGEST:g}, whose squares overflow")
        if self._rows is not None:
            rows = self._rows.followed_by(rows)
        within, lagged = self._possible_edges()
        centre, spread = rows.current.mean(axis=0), rows.current.std(axis=0)
        varies = np.flatnonzero(spread > 1e-7 * (1e-7 + np.abs(rows.current).max(axis=0)))
        self._varying = varies
        block = np.ix_(varies, varies)
        found = Found(edges=np.zeros((len(varies),) * 2, dtype=bool))
        if len(varies) > 1 or (len(varies) == 1 and lagged[block].any()):
            scale = spread[varies] if self.standardise else np.ones(len(varies))
            given = Rows(
                (rows.current[:, varies] - centre[varies]) / scale,
                (rows.lagged[:, varies] - centre[varies]) / scale,
                rows.do_target[:, varies],
            )
            if self.needs_full_rank:
                self._check_rank(given.current, [names[i] for i in varies])
            found = self._learn(given, within[block], lagged[block])
            units = scale[None, :] / scale[:, None]
            self._check_finite(found)
        else:
            units = np.ones((len(varies),) * 2)
        self._rows = rows

        def whole(part: NDArray[Any] | None, factor: Array | float = 1.0) -> NDArray[Any] | None:
            if part is None:
                return None
            matrix = np.zeros((len(names), len(names)), dtype=part.dtype)
            matrix[block] = part if part.dtype.kind != "f" else part * factor
            return matrix

        self.equivalence_class_ = None
        edges = whole(found.edges)
        if found.marks is not None:
            marks = within_the_possible(np.asarray(whole(found.marks)), within)
            self.equivalence_class_ = PartialGraph(marks, names, kinds)
            edges = self.equivalence_class_.forced_dag().contemporaneous
        self.graph_ = CausalGraph(
            np.asarray(edges) & within,
            None if found.lagged is None else np.asarray(whole(found.lagged)) & lagged,
            names,
            kinds,
            contemporaneous_weights=whole(found.weights, units),
            lagged_weights=whole(found.lagged_weights, units),
            contemporaneous_confidence=whole(found.confidence),
            lagged_confidence=whole(found.lagged_confidence),
        )
        return self.graph_

    def _check_rank(self, columns: Array, names: list[str]) -> None:
        # The last pivots of a QR with pivoting would name no column; in order, they do.
        pivots = np.abs(np.diagonal(np.linalg.qr(columns / columns.std(axis=0), mode="r")))
        if len(columns) <= len(names):
            raise RuntimeError(
                f"{self.name} needs more rows than variables; there are {len(columns)} rows and "
                f"{len(names)} variables that vary"
            )
        dependent = np.flatnonzero(pivots < 1e-6 * np.sqrt(len(columns)))
        if len(dependent):
            raise RuntimeError(
                f"{self.name} needs linearly independent columns; {names[dependent[0]]!r} is a "
                "copy or a weighted sum of columns before it"
            )

    def _check_finite(self, found: Found) -> None:
        for weights in (found.weights, found.lagged_weights):
            if weights is not None and not np.isfinite(weights).all():
                raise RuntimeError(f"{self.name} did not converge: its weights are not finite")

    def state_dict(self) -> dict[str, Any]:
        """All that was learned, and the rows; see `GraphLearner.state_dict`."""
        rows = self._rows
        return {
            **super().state_dict(),
            "rows": None if rows is None else rows.current.copy(),
            "lagged": None if rows is None else rows.lagged.copy(),
            "do_target": None if rows is None else rows.do_target.copy(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up where `state_dict` was called; see `GraphLearner.load_state_dict`."""
        super().load_state_dict(state)
        self._rows = None
        if state["rows"] is not None:
            self._rows = Rows(
                np.array(state["rows"]),
                np.array(state["lagged"]),
                np.array(state["do_target"], dtype=bool),
            )


def spread_rows(rows: int, most: int) -> NDArray[np.intp]:
    """Indices of at most ``most`` of ``rows`` rows, spread evenly from the first to the last."""
    return np.linspace(0, rows - 1, min(rows, most)).astype(np.intp)


def within_the_possible(marks: Marks, possible: BoolMatrix) -> Marks:
    """Make an equivalence class obey what is known of its edges beforehand.

    Args:
        marks: ``(m, m)``, see `PartialGraph`.
        possible: ``(m, m)`` true at [i, j] where i may cause j.

    Returns:
        ``(m, m)``: edges that are possible in one direction alone have that direction, and those
        that are possible in none are gone. Bidirected edges say that neither end causes the
        other, and stay.
    """
    mended = marks.copy()
    bidirected = (marks == ARROW) & (marks.T == ARROW)
    joined = (marks != 0) & ~bidirected
    mended[joined & ~possible & ~possible.T] = 0
    one_way = joined & possible & ~possible.T
    mended[one_way] = ARROW
    mended[one_way.T] = TAIL
    return mended
