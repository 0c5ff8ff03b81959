"""Algorithm 2: the PC algorithm on data or on representations, as mended.

Lines of the algorithm: marginal and conditional tests with growing conditioning sets
(`skeleton`), v-structures and Meek's rules (`orientation`), a DAG of the class, strengths by
regression.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr

from causal_rl.discovery.base import ConvergenceWarning
from causal_rl.discovery.batch import BatchLearner, BoolMatrix, Found, Rows
from causal_rl.discovery.independence import FisherZ, IndependenceTest, OneSide, Side, WilksLambda
from causal_rl.discovery.orientation import (
    COLLIDER_RULES,
    ColliderRule,
    Triple,
    orient,
    unshielded_colliders,
)
from causal_rl.discovery.representations import blocks_of, read_representations
from causal_rl.discovery.side_correlations import SideCorrelations, side_of_covariance
from causal_rl.discovery.skeleton import Skeleton, find_skeleton
from causal_rl.discovery.transitions import Transitions
from causal_rl.graphs import CausalGraph, PartialGraph
from causal_rl.options import check_choice, check_integer, check_number

Array = NDArray[np.float64]
ConflictRule = Literal["first", "strongest"]
CONFLICT_RULES: tuple[ConflictRule, ...] = ("first", "strongest")
VANISHING = "vanishing"

# Every pair then has correlations of its own.
MOST_WITH_INTERVENTIONS = 200


class PCLearner(BatchLearner):
    """Order-independent PC (Colombo and Maathuis 2014) with Fisher's z.

    A pair is adjacent unless some set of neighbours of one of the two separates it; all sets that
    do so at the smallest size are kept. A pair is tested on the rows where neither was set (see
    `side_correlations`). ``graph_`` is a DAG of ``equivalence_class_`` by
    `PartialGraph.forced_dag`; its weights are least squares on the parents over the rows where the
    child was not set. The lagged block is empty: PC is about one step. An edge's confidence is
    ``alpha / (alpha + p)`` with the largest p-value of its tests, above one half exactly for
    adjacent pairs; it is shared between both directions where the class does not tell them apart.

    Args:
        alpha: level of the tests; or "vanishing", ``2 (1 - Phi(sqrt(log N)))``, with which the
            answer is consistent: no fixed level is, since it keeps erring in a share of the tests.
        max_conditioning: largest conditioning set; no bound if None.
        max_tests: the search ends before a size of conditioning sets that would need more tests in
            all, with a `ConvergenceWarning`.
        colliders: a triple x - y - z is a v-structure if y is in "none" of the sets that separate x
            and z, or in fewer than half of them ("majority").
        conflicts: of two v-structures at odds, the "first" in the order of the columns (y, x, z)
            stands; or the "strongest", the one whose ends are most clearly dependent given y.
        given_past: hold the state before the step fixed in every test (by linear regression). In
            a table there is none.
        effective_share: independent rows that one row of the data is worth, in (0, 1]. The test
            takes rows as independent; steps of one episode are so only as far as the past holds
            all that links them.
        reward_node: add the reward as the last node, a sink.

    Attributes:
        separating_sets_: for each pair of names that was separated, the sets of names that did it;
            None before the first data.
        skeleton_: the search over the columns that vary, with its number of tests; or None.
    """

    name: ClassVar[str] = "pc"
    obeys: ClassVar[frozenset[str]] = frozenset({"forbidden"})
    uses_interventions: ClassVar[bool] = True

    def __init__(
        self,
        *,
        alpha: float | str = 0.05,
        max_conditioning: int | None = None,
        max_tests: int = 10_000_000,
        colliders: ColliderRule = "none",
        conflicts: ConflictRule = "first",
        given_past: bool = True,
        effective_share: float = 1.0,
        reward_node: bool = False,
    ) -> None:
        super().__init__(reward_node=reward_node)
        self.alpha = alpha
        self.max_conditioning = max_conditioning
        self.max_tests = max_tests
        self.colliders = colliders
        self.conflicts = conflicts
        self.given_past = given_past
        self.effective_share = effective_share
        self.skeleton_: Skeleton | None = None
        self.separating_sets_: dict[frozenset[str], tuple[frozenset[str], ...]] | None = None

    def check_options(self) -> None:
        """Validate the options; see `GraphLearner.check_options`."""
        super().check_options()
        if self.alpha != VANISHING:
            if isinstance(self.alpha, str):
                raise ValueError(f"alpha is {self.alpha!r}; it must be a number or {VANISHING!r}")
            check_number("alpha", self.alpha, least=0.0, below=1.0, open_end=True)
        if self.max_conditioning is not None:
            check_integer("max_conditioning", self.max_conditioning, least=0)
        check_integer("max_tests", self.max_tests, least=1)
        check_choice("colliders", self.colliders, COLLIDER_RULES)
        check_choice("conflicts", self.conflicts, CONFLICT_RULES)
        if not isinstance(self.given_past, bool):
            raise TypeError(f"given_past must be True or False, not {self.given_past!r}")
        check_number("effective_share", self.effective_share, least=0.0, open_end=True)
        if self.effective_share > 1:
            raise ValueError(f"effective_share is {self.effective_share}; it must be at most 1")

    # ---------------------------------------------------------------- data

    def update(self, transitions: Transitions) -> CausalGraph:
        """Run PC on all rows so far; see `GraphLearner.update`.

        Raises:
            TypeError: not `Transitions`.
            ValueError: as `GraphLearner.update`.
        """
        self.skeleton_, self.separating_sets_ = None, {}
        graph = super().update(transitions)
        if self.equivalence_class_ is None:
            # Fewer than two columns vary.
            self.equivalence_class_ = PartialGraph.empty(graph.names, graph.kinds)
        return graph

    def _learn(self, rows: Rows, within: BoolMatrix, lagged: BoolMatrix) -> Found:
        kinds = [(self.kinds_ or ())[i] for i in self._varying]
        # A context is the same before and after the step: to hold it fixed would leave nothing.
        held = np.array([kind not in ("context", "reward") for kind in kinds])
        past = rows.lagged[:, held] if self.given_past else rows.lagged[:, :0]
        past = past - past.mean(axis=0)
        if rows.do_target.any() and len(kinds) > MOST_WITH_INTERVENTIONS:
            raise ValueError(
                f"there are {len(kinds)} variables; the learner 'pc' takes at most "
                f"{MOST_WITH_INTERVENTIONS} where some were set"
            )
        sides = SideCorrelations(rows.current, past, rows.do_target, self.effective_share)
        most = sides.whole.rows
        if most <= 3:
            warnings.warn(
                f"pc: {len(rows.current)} rows leave no test possible, so no edge has evidence",
                ConvergenceWarning,
                stacklevel=4,
            )
        found = self._search(FisherZ(sides), within, most)
        edges = found.forced_dag().contemporaneous
        return Found(
            marks=found.marks.copy(),
            weights=_strengths(edges, sides.of),
            confidence=self._confidence(found, most),
        )

    # ---------------------------------------------------------------- other ways in

    def fit_covariance(
        self,
        covariance: ArrayLike,
        rows: float = math.inf,
        *,
        names: Iterable[str] | None = None,
        kinds: Iterable[str] | None = None,
    ) -> CausalGraph:
        """Run PC on a covariance (or correlation) matrix, without data.

        Args:
            covariance: (n, n) symmetric, positive semidefinite.
            rows: independent rows behind it; inf for that of the population, for which any
                correlation but 0 is dependence.
            names: n distinct names; X1 to Xn if None.
            kinds: n kinds; all "state" if None.

        Returns:
            The graph, kept as ``graph_``; its weights are in the units of the covariance.

        Raises:
            TypeError: not numbers.
            ValueError: not such a matrix, or rows that are not positive.
        """
        self.check_options()
        side = side_of_covariance(covariance, rows)
        nodes = PartialGraph(np.zeros(side.correlation.shape), names, kinds)
        self._begin(nodes)
        found = self._search(FisherZ(OneSide(side)), self._possible_edges()[0], side.rows)
        return self._finish(found, nodes, side.rows, side)

    def fit_representations(
        self,
        representations: ArrayLike | Callable[[Transitions], ArrayLike],
        data: Transitions | None = None,
        *,
        components: int = 3,
        names: Iterable[str] | None = None,
        kinds: Iterable[str] | None = None,
    ) -> CausalGraph:
        """Run PC on vectors that stand for the variables, as an encoder's tokens do.

        Each variable's vectors are reduced to their leading principal components. Partial
        correlation is generalised by Wilks' test of the canonical correlations of two blocks given
        others (with d = 1 it is Fisher's z up to terms of order 1 / N).
        All rows enter, do-rows included, and no past is held fixed; the graph has no weights.

        Args:
            representations: (N, n, d) numbers; or a function that makes them of ``data``.
            data: rows for that function; they give the names and kinds where those are None.
            components: principal components kept of each variable's vectors, at most.
            names: n distinct names; those of data, or X1 to Xn, if None.
            kinds: n kinds.

        Returns:
            The graph, kept as ``graph_``.

        Raises:
            TypeError: not numbers, or a function without data.
            ValueError: another shape, NaN, or fewer than 1 component.
        """
        self.check_options()
        check_integer("components", components, least=1)
        if callable(representations):
            if not isinstance(data, Transitions):
                raise TypeError("representations is a function; it needs data, Transitions")
            representations = representations(data)
        array = read_representations(representations)
        if data is not None:
            names = data.names if names is None else names
            kinds = data.kinds if kinds is None else kinds
        nodes = PartialGraph(np.zeros((array.shape[1],) * 2), names, kinds)
        self._begin(nodes)
        rows = self.effective_share * len(array)
        test = WilksLambda(*blocks_of(array, components), rows)
        found = self._search(test, self._possible_edges()[0], rows)
        return self._finish(found, nodes, rows, None)

    def _begin(self, nodes: PartialGraph) -> None:
        self.reset()
        self.names_, self.kinds_ = nodes.names, nodes.kinds
        if self.prior is not None:
            self.prior.check(nodes.names)
        self._varying = np.arange(nodes.n)

    def _finish(
        self, found: PartialGraph, nodes: PartialGraph, rows: float, side: Side | None
    ) -> CausalGraph:
        self.equivalence_class_ = PartialGraph(found.marks, nodes.names, nodes.kinds)
        graph = self.equivalence_class_.forced_dag()
        self.graph_ = graph.with_(
            contemporaneous_weights=(
                None if side is None else _strengths(graph.contemporaneous, lambda j: side)
            ),
            contemporaneous_confidence=self._confidence(found, rows),
        )
        return self.graph_

    # ---------------------------------------------------------------- the algorithm

    def _search(self, test: IndependenceTest, within: BoolMatrix, rows: float) -> PartialGraph:
        """The partially directed graph over the columns of a test."""
        skeleton = find_skeleton(
            test,
            self._level(rows),
            possible=within | within.T,
            max_conditioning=self.max_conditioning,
            max_tests=self.max_tests,
        )
        if skeleton.stopped:
            warnings.warn(
                f"pc: stopped after conditioning sets of size {skeleton.depth}, since the next "
                f"size needs more than max_tests={self.max_tests} tests; edges may be too many",
                ConvergenceWarning,
                stacklevel=5,
            )
        names = [(self.names_ or ())[i] for i in self._varying]
        self.skeleton_ = skeleton
        self.separating_sets_ = {
            frozenset((names[i], names[j])): tuple(
                frozenset(names[k] for k in given) for given in sets
            )
            for (i, j), sets in skeleton.separating_sets.items()
        }

        def dependence(triple: Triple) -> float:
            x, y, z = triple
            return -float(np.nan_to_num(test.p_values(x, np.array([[z, y]]))[0, 0], nan=1.0))

        return orient(
            skeleton.adjacency,
            unshielded_colliders(
                skeleton.adjacency, skeleton.separating_sets, self.colliders, within
            ),
            allowed=within,
            strength=dependence if self.conflicts == "strongest" else None,
        )

    def _level(self, rows: float) -> float:
        if isinstance(self.alpha, str):
            # The population's tests know no level; any will do.
            z = math.sqrt(math.log(max(rows, 2.0))) if math.isfinite(rows) else 2.0
            return 2.0 * float(ndtr(-z))
        return float(self.alpha)

    def _confidence(self, found: PartialGraph, rows: float) -> Array:
        level = self._level(rows)
        if self.skeleton_ is None:
            raise RuntimeError("no search was made")
        p = self.skeleton_.p_values
        # No test is no evidence, in either way of having none.
        p = np.where(self.skeleton_.tested, p, 1.0)
        confidence = level / (level + p)
        known = found.directed | found.directed.T
        confidence = np.where(known, np.where(found.directed, confidence, 0.0), confidence / 2)
        np.fill_diagonal(confidence, 0.0)
        return confidence

    # ---------------------------------------------------------------- state

    def reset(self) -> None:
        """Forget everything learned; options stay."""
        super().reset()
        self.skeleton_ = None
        self.separating_sets_ = None

    def state_dict(self) -> dict[str, Any]:
        """All that was learned, and the rows; see `GraphLearner.state_dict`."""
        sets = None
        if self.separating_sets_ is not None:
            sets = [
                [sorted(pair), [sorted(given) for given in found]]
                for pair, found in self.separating_sets_.items()
            ]
        return {**super().state_dict(), "separating_sets": sets}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up where `state_dict` was called; see `GraphLearner.load_state_dict`."""
        super().load_state_dict(state)
        self.skeleton_ = None
        sets = state["separating_sets"]
        self.separating_sets_ = (
            None
            if sets is None
            else {frozenset(pair): tuple(frozenset(s) for s in found) for pair, found in sets}
        )


def _strengths(edges: BoolMatrix, side_of: Callable[[int], Side]) -> Array:
    """Least squares of each variable on its parents, where it was not set; (m, m)."""
    weights = np.zeros(edges.shape)
    for j in np.flatnonzero(edges.any(axis=0)):
        side = side_of(int(j))
        parents = np.flatnonzero(edges[:, j])
        parents = parents[side.scale[parents] > 0]
        inner = side.correlation[np.ix_(parents, parents)]
        slopes = np.linalg.pinv(inner, rcond=1e-10, hermitian=True) @ side.correlation[parents, j]
        weights[parents, j] = slopes * side.scale[j] / side.scale[parents]
    return weights
