"""Graphs that change while the data come (A.1.3): edges with gates that open and close in time."""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from causal_rl.discovery.base import ConvergenceWarning
from causal_rl.discovery.batch import Array, BatchLearner, BoolMatrix, Found, Rows
from causal_rl.discovery.draft_order import draft_graph
from causal_rl.discovery.time_varying_gates import (
    RECURSIONS,
    TargetGates,
    block_moments,
    fit_gates,
)
from causal_rl.discovery.transitions import Transitions
from causal_rl.graphs import CausalGraph, project_to_dag, topological_order
from causal_rl.options import check_choice, check_integer, check_number

_LEAST_WINDOW = 40  # rows that a part needs at least, and 16 a variable


class EdgeChange(NamedTuple):
    """An edge that opens or closes.

    Attributes:
        row: the first row of the block with which it does.
        block: "contemporaneous" or "lagged".
        cause: name.
        effect: name.
        opens: whether it opens.
    """

    row: int
    block: str
    cause: str
    effect: str
    opens: bool


class TimeVaryingLearner(BatchLearner):
    """A linear model whose edges have gates in time; rows must come in the order of time.

    1. `InterventionalLearner` on all rows and on ``windows`` equal parts of them. Every edge found
       is a candidate, and open at first in the parts where it was found; the slopes, summed over
       all these graphs, give one causal order for the whole stream.
    2. Each target's slopes, noise and gates by expectation maximisation, see
       `time_varying_gates`. A parent that gains less than ``log(N) / 2 + log(candidates)`` nats
       with its gate, or whose slope is below the threshold, is dropped, the worst first.
    3. G_t has the edges whose gate is above one half, given all rows (or those so far).

    What it cannot follow: an edge that changes its direction, for there is one order; one that
    changes its sign (the gate opens for the sign that gains more); bent effects. Gates move from
    block to block of ``block`` rows, not within.

    Args:
        hazard: chance that an edge appears or vanishes from one row to the next; None for one
            change in the rows at hand. Smaller is smoother.
        block: rows between steps of the gates. Evidence is summed over them.
        recursion: ``"markov"``, or ``"printed"``, the paper's straight line, which forgets
            evidence from block to block and has no smoothing.
        threshold: least weight of an edge while it is there, in units of standard deviations of the
            rows in which its effect was not set.
        windows: parts of the stream that are searched for candidates too, at least 1; fewer are
            taken where a part would be too short.
        max_iter: rounds of expectation maximisation.
        reward_node: add the reward as the last node.

    Attributes:
        graph_: the graph at the last row.
        n_times_: number of rows so far, or None.
    """

    name: ClassVar[str] = "time-varying"
    uses_interventions: ClassVar[bool] = True
    uses_lags: ClassVar[bool] = True
    obeys: ClassVar[frozenset[str]] = frozenset({"forbidden"})
    most_variables: ClassVar[int] = 100

    def __init__(
        self,
        *,
        hazard: float | None = None,
        block: int = 10,
        recursion: str = "markov",
        threshold: float = 0.1,
        windows: int = 4,
        max_iter: int = 300,
        reward_node: bool = False,
    ) -> None:
        super().__init__(reward_node=reward_node)
        self.hazard = hazard
        self.block = block
        self.recursion = recursion
        self.threshold = threshold
        self.windows = windows
        self.max_iter = max_iter
        self._clear()

    def _clear(self) -> None:
        self.n_times_: int | None = None
        # Gates (K, 2, m, m) of all nodes, smoothed and filtered; slopes (2, m, m) in data units.
        self._gates: Array | None = None
        self._filtered: Array | None = None
        self._slopes: Array | None = None
        self._width = 0

    def check_options(self) -> None:
        """Validate the options; see `GraphLearner.check_options`."""
        super().check_options()
        if self.hazard is not None:
            check_number("hazard", self.hazard, least=0.0, below=0.5, open_end=True)
        check_choice("recursion", self.recursion, RECURSIONS)
        check_number("threshold", self.threshold, least=0.0)
        for name in ("block", "windows", "max_iter"):
            check_integer(name, getattr(self, name), least=1)

    def reset(self) -> None:
        """Forget everything learned; options stay."""
        super().reset()
        self._clear()

    def update(self, transitions: Transitions) -> CausalGraph:
        """Fit all rows so far, these being the latest; see `BatchLearner.update`.

        Returns:
            The graph at the last row. Confidences are the gates there, weights the slopes.

        Raises:
            TypeError: not `Transitions`.
            ValueError: as `BatchLearner.update`.

        Warns:
            ConvergenceWarning: gates did not settle.
        """
        self._clear()
        graph = super().update(transitions)
        rows = 0 if self._rows is None else len(self._rows.current)
        if self._gates is None:
            self._keep(np.zeros((1, 2, 0, 0)), np.zeros((1, 2, 0, 0)), np.zeros((2, 0, 0)), rows)
            self._varying = self._varying[:0]
        self.n_times_ = rows
        m, v = graph.n, self._varying

        def whole(part: Array | None) -> Array:
            if part is None:
                raise RuntimeError("time-varying has no gates")
            full = np.zeros((*part.shape[:-2], m, m))
            full[..., v[:, None], v] = part
            return full

        self._gates, self._filtered = whole(self._gates), whole(self._filtered)
        self._slopes = whole(self._slopes)
        if len(v):
            spread = np.asarray(self._rows.current if self._rows is not None else 0).std(axis=0)
            self._slopes[:, v[:, None], v] *= spread[v] / spread[v][:, None]
        return graph

    def _keep(self, smoothed: Array, filtered: Array, slopes: Array, width: int) -> None:
        self._gates, self._filtered, self._slopes = smoothed, filtered, slopes
        self._width = max(width, 1)

    def _learn(self, rows: Rows, within: BoolMatrix, lagged: BoolMatrix) -> Found:
        count, m = rows.current.shape
        candidates, start, seen = self._candidates(rows, within, lagged)
        columns = np.hstack([rows.current, rows.lagged - rows.lagged.mean(axis=0)])
        width = min(self.block, count)
        K = -(-count // width)
        step = 1.0 / max(count, 3) if self.hazard is None else self.hazard
        hazard = float(np.clip(-math.expm1(width * math.log1p(-step)), 1e-12, 0.49))
        opened = np.where(seen, 0.9, 0.1)[np.arange(K) * len(seen) // K]
        smoothed, filtered = np.zeros((K, 2 * m, m)), np.zeros((K, 2 * m, m))
        slopes = np.zeros((2 * m, m))
        settled = True
        for j in range(m):
            kept = ~rows.do_target[:, j]
            parents, found = self._fit_target(
                columns,
                j,
                kept,
                np.flatnonzero(candidates[:, j]),
                start[:, j],
                opened[:, :, j],
                width,
                hazard,
            )
            settled = settled and found.converged
            smoothed[:, parents, j], filtered[:, parents, j] = found.smoothed, found.filtered
            slopes[parents, j] = found.slopes
        if not settled:
            warnings.warn(
                "time-varying: gates did not settle; they are as they ended",
                ConvergenceWarning,
                stacklevel=4,
            )
        blocks = (K, 2, m, m)
        self._keep(
            smoothed.reshape(blocks), filtered.reshape(blocks), slopes.reshape(2, m, m), width
        )
        last = smoothed[-1] > 0.5
        return Found.stacked(last, np.where(last, slopes, 0.0), smoothed[-1])

    def _fit_target(
        self,
        columns: Array,
        j: int,
        kept: NDArray[np.bool_],
        parents: NDArray[np.intp],
        start: Array,
        opened: Array,
        width: int,
        hazard: float,
    ) -> tuple[NDArray[np.intp], TargetGates]:
        """Backward elimination of the parents of j by what each gains with its gate."""
        rows = int(kept.sum())
        if rows <= len(parents) + 2:
            parents = parents[:0]
        price = math.log(max(rows, 2)) / 2 + math.log(max(len(columns[0]) - 1, 1))
        slopes = start[parents]
        free = columns[kept] if rows else columns
        # In units of the rows that count: where it was set, j may have varied far more.
        least = self.threshold * float(free[:, j].std())
        while True:
            design = np.column_stack([np.ones(len(columns)), columns[:, parents], columns[:, j]])
            found = fit_gates(
                block_moments(design, kept, width),
                slopes,
                opened[:, parents],
                hazard=hazard,
                recursion=self.recursion,
                max_iter=self.max_iter,
            )
            slopes = found.slopes
            small = np.abs(slopes) * free[:, parents].std(axis=0) < least
            value = np.where(small, -np.inf, found.worth)
            if not len(parents) or value.min() > price:
                return parents, found
            worst = int(value.argmin())
            parents, slopes = np.delete(parents, worst), np.delete(slopes, worst)

    def _candidates(
        self, rows: Rows, within: BoolMatrix, lagged: BoolMatrix
    ) -> tuple[BoolMatrix, Array, BoolMatrix]:
        """What the default learner finds in all rows and in their parts.

        Returns:
            Candidates, ``(2 m, m)`` booleans, acyclic in their first half; their slopes where they
            are largest; and ``(parts, 2 m, m)``, in which parts of the stream each was found.
        """
        count, m = rows.current.shape
        kinds = [(self.kinds_ or ())[i] for i in self._varying]
        parts = max(1, min(self.windows, count // max(_LEAST_WINDOW, 16 * m)))
        edge = np.linspace(0, count, parts + 1).astype(int)
        stretches = [slice(None)]
        if parts > 1:
            stretches += [slice(a, b) for a, b in itertools.pairwise(edge)]
        found, slopes, sizes = [], [], []
        for stretch in stretches:
            part = Rows(rows.current[stretch], rows.lagged[stretch], rows.do_target[stretch])
            draft = draft_graph(part, kinds, within, lagged)
            found.append(np.vstack([draft.contemporaneous, draft.lagged]))
            weights = [np.asarray(w) for w in (draft.contemporaneous_weights, draft.lagged_weights)]
            slopes.append(np.where(found[-1], np.vstack(weights), 0.0))
            sizes.append(np.abs(slopes[-1]) * _units(part))
        strength = np.array(sizes)
        # Where parts disagree about a direction the larger sum of slopes has it.
        order = topological_order(project_to_dag(strength[:, :m].sum(axis=0)))
        place = np.argsort(order)
        candidates = np.any(found, axis=0)
        candidates[:m] &= np.less.outer(place, place)
        largest = strength.argmax(axis=0)
        start = np.take_along_axis(np.array(slopes), largest[None], axis=0)[0]
        return candidates, start, np.array(found[1:] or found)

    # ---------------------------------------------------------------- answers

    def gates_at(self, times: ArrayLike, *, filtered: bool = False) -> Array:
        """Probabilities that edges are there at some rows.

        Args:
            times: ``(T,)`` whole row numbers from 0; the first row learned from is 0.
            filtered: given the rows up to the end of the time's block alone, not all.

        Returns:
            ``(T, 2, m, m)``, contemporaneous and lagged.

        Raises:
            TypeError: not whole numbers.
            ValueError: nothing was learned yet, or a time outside of the rows.
        """
        gates = self._filtered if filtered else self._gates
        if gates is None or self.n_times_ is None:
            raise ValueError("time-varying has learned nothing yet; call fit first")
        rows = np.asarray(times)
        if rows.ndim != 1 or (rows.dtype.kind not in "iu" and rows.size):
            raise TypeError(f"times must be a sequence of whole row numbers, not {times!r}")
        rows = rows.astype(np.int64)
        outside = rows[(rows < 0) | (rows >= self.n_times_)]
        if len(outside):
            raise ValueError(f"times has {outside[0]}; it must be from 0 to {self.n_times_ - 1}")
        chosen: Array = gates[rows // self._width]
        return chosen

    def graphs_at(self, times: ArrayLike, *, filtered: bool = False) -> list[CausalGraph]:
        """The graphs at some rows; see `gates_at` for arguments and errors.

        Returns:
            One graph a time, with the gates as confidences and the slopes as weights.
        """
        if self.graph_ is None or self._slopes is None:
            raise ValueError("time-varying has learned nothing yet; call fit first")
        made = []
        for gates in self.gates_at(times, filtered=filtered):
            there = gates > 0.5
            weights = np.where(there, self._slopes, 0.0)
            made.append(
                CausalGraph(
                    there[0],
                    there[1],
                    self.graph_.names,
                    self.graph_.kinds,
                    contemporaneous_weights=weights[0],
                    lagged_weights=weights[1],
                    contemporaneous_confidence=gates[0],
                    lagged_confidence=gates[1],
                )
            )
        return made

    def changes(self, *, filtered: bool = False) -> list[EdgeChange]:
        """All edges that open or close, in the order of time.

        Args:
            filtered: as in `gates_at`.

        Raises:
            ValueError: nothing was learned yet.
        """
        gates = self._filtered if filtered else self._gates
        if gates is None or self.graph_ is None:
            raise ValueError("time-varying has learned nothing yet; call fit first")
        there, names = gates > 0.5, self.graph_.names
        return [
            EdgeChange(
                int(k + 1) * self._width,
                ("contemporaneous", "lagged")[block],
                names[i],
                names[j],
                bool(there[k + 1, block, i, j]),
            )
            for k, block, i, j in np.argwhere(there[1:] != there[:-1])
        ]

    def state_dict(self) -> dict[str, Any]:
        """All that was learned, and the rows; see `GraphLearner.state_dict`."""
        kept = {"gates": self._gates, "filtered": self._filtered, "slopes": self._slopes}
        return {
            **super().state_dict(),
            **{name: None if part is None else part.copy() for name, part in kept.items()},
            "n_times": self.n_times_,
            "width": self._width,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up where `state_dict` was called; see `GraphLearner.load_state_dict`."""
        super().load_state_dict(state)
        self._clear()
        for name in ("gates", "filtered", "slopes"):
            if state[name] is not None:
                setattr(self, f"_{name}", np.array(state[name]))
        self.n_times_, self._width = state["n_times"], int(state["width"])


def _units(rows: Rows) -> Array:
    """What turns slopes ``(2 m, m)`` into standardised ones, over the rows that count.

    Where a variable was set it may have varied far more or less than by itself.
    """
    columns = np.hstack([rows.current, rows.lagged])
    m = rows.current.shape[1]
    units = np.zeros((2 * m, m))
    for j in range(m):
        free = columns[~rows.do_target[:, j]]
        if len(free) and free[:, j].std() > 0:
            units[:, j] = free.std(axis=0) / free[:, j].std()
    return units
