"""FCI (Spirtes, Glymour and Scheines 2000; Zhang 2008) on any test: a PAG, hidden causes allowed.

The half of it that asks who is adjacent to whom is PC's (`skeleton`), followed by FCI's second look
at the pairs that neighbours do not separate. The marks are `pag_rules`.
"""

from __future__ import annotations

import itertools
import math
import warnings
from collections import deque
from collections.abc import Iterable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from causal_rl.discovery.base import ConvergenceWarning
from causal_rl.discovery.independence import FisherZ, IndependenceTest, OneSide
from causal_rl.discovery.orientation import unshielded_colliders
from causal_rl.discovery.pag_rules import circles_on, orient_pag
from causal_rl.discovery.side_correlations import side_of_covariance
from causal_rl.discovery.skeleton import SeparatingSets, find_skeleton
from causal_rl.graphs import CausalGraph, PartialGraph
from causal_rl.graphs.marks import ARROW, NONE, Marks
from causal_rl.options import check_number

BoolMatrix = NDArray[np.bool_]

MOST_TESTS = 1_000_000


def fci(
    test: IndependenceTest,
    alpha: float,
    *,
    names: Iterable[str] | None = None,
    kinds: Iterable[str] | None = None,
    possible: BoolMatrix | None = None,
    max_conditioning: int | None = None,
    max_tests: int = MOST_TESTS,
) -> PartialGraph:
    """The PAG that the answers of a test of conditional independence determine.

    Args:
        test: over n variables.
        alpha: level of the tests.
        names: n distinct names; X1 to Xn if None.
        kinds: n kinds; all "state" if None.
        possible: (n, n) bool, symmetric, pairs that may be adjacent; all if None.
        max_conditioning: largest conditioning set; no bound if None.
        max_tests: in each of the two searches; one that would need more ends early, with a
            `ConvergenceWarning`.

    Returns:
        The graph; ``o->`` says that the right does not cause the left, ``-->`` that the left causes
        the right, ``<->`` that neither causes the other.

    Raises:
        ValueError: alpha out of range, or names or kinds that are not valid.
    """
    check_number("alpha", alpha, least=0.0, below=1.0, open_end=True)
    nodes = PartialGraph(np.zeros((test.n, test.n)), names, kinds)
    first = find_skeleton(
        test, alpha, possible=possible, max_conditioning=max_conditioning, max_tests=max_tests
    )
    adjacency, sets = first.adjacency.copy(), dict(first.separating_sets)
    stopped = _second_look(
        test, alpha, adjacency, sets, _v_structures(adjacency, sets), max_conditioning, max_tests
    )
    if first.stopped or stopped:
        warnings.warn(
            f"fci: stopped before a search that needs more than max_tests={max_tests} tests; "
            "edges may be too many",
            ConvergenceWarning,
            stacklevel=2,
        )

    def in_separating_set(x: int, y: int, v: int) -> bool:
        return any(v in given for given in sets.get((x, y), ()))

    marks = orient_pag(_v_structures(adjacency, sets), in_separating_set)
    return PartialGraph(marks, nodes.names, nodes.kinds)


def fci_of_covariance(
    covariance: ArrayLike,
    rows: float = math.inf,
    *,
    alpha: float = 0.05,
    names: Iterable[str] | None = None,
    kinds: Iterable[str] | None = None,
    possible: BoolMatrix | None = None,
    max_conditioning: int | None = None,
    max_tests: int = MOST_TESTS,
) -> PartialGraph:
    """FCI with Fisher's z on a covariance or correlation matrix.

    Args:
        covariance: (n, n) symmetric, positive semidefinite.
        rows: independent rows behind it; inf for that of the population.
        alpha: level of the tests.
        names: see `fci`.
        kinds: see `fci`.
        possible: see `fci`.
        max_conditioning: see `fci`.
        max_tests: see `fci`.

    Returns:
        The graph.

    Raises:
        TypeError: not numbers.
        ValueError: not such a matrix, rows that are not positive, or as `fci`.
    """
    return fci(
        FisherZ(OneSide(side_of_covariance(covariance, rows))),
        alpha,
        names=names,
        kinds=kinds,
        possible=possible,
        max_conditioning=max_conditioning,
        max_tests=max_tests,
    )


def pag_of_dag(dag: CausalGraph, hidden: Iterable[str] = ()) -> PartialGraph:
    """The PAG of all graphs that a test with infinitely many rows could not tell from this one.

    Args:
        dag: its contemporaneous block counts.
        hidden: names of the variables that are not observed.

    Returns:
        The graph over the others.

    Raises:
        ValueError: the block is cyclic, no variable is left, or a name is unknown.
    """
    if not dag.is_acyclic:
        raise ValueError("dag must be acyclic; a cyclic graph has no PAG here")
    out = {dag.index(name) for name in hidden}
    observed = [i for i in range(dag.n) if i not in out]
    if not observed:
        raise ValueError("hidden holds all variables; at least one must be observed")
    return fci(
        Separation(dag.contemporaneous, observed),
        0.5,
        names=[dag.names[i] for i in observed],
        kinds=[dag.kinds[i] for i in observed],
    )


class Separation:
    """The test that never errs: d-separation in a known graph.

    Args:
        dag: (n, n) bool, acyclic.
        observed: the columns that are the test's variables, in its order.
    """

    def __init__(self, dag: BoolMatrix, observed: list[int]) -> None:
        dag = np.asarray(dag, dtype=bool)
        self._parents = [np.flatnonzero(dag[:, j]).tolist() for j in range(len(dag))]
        self._children = [np.flatnonzero(dag[i]).tolist() for i in range(len(dag))]
        self._observed = observed
        self._known: dict[tuple[int, frozenset[int]], set[int]] = {}

    @property
    def n(self) -> int:
        """Number of variables."""
        return len(self._observed)

    def possible(self, i: int, size: int) -> bool:
        """Whether variable i can be tested given ``size`` others: always."""
        return True

    def p_values(self, i: int, sets: NDArray[np.intp]) -> NDArray[np.float64]:
        """1 where i and a member are separated by the others, 0 elsewhere."""
        x = self._observed[i]
        p = np.empty(sets.shape)
        for row, place in np.ndindex(*sets.shape):
            columns = [self._observed[int(k)] for k in sets[row]]
            y = columns.pop(place)
            p[row, place] = y not in self._connected(x, frozenset(columns))
        return p

    def _connected(self, x: int, given: frozenset[int]) -> set[int]:
        """Whom an open path leads to from x (Shachter's ball, 1998)."""
        if (x, given) in self._known:
            return self._known[x, given]
        # Where the ball is, and whether it came from a child (or starts there).
        front, seen, reached = [(x, True)], {(x, True)}, set()
        while front:
            v, from_child = front.pop()
            reached.add(v)
            steps: list[tuple[int, bool]] = []
            if from_child and v not in given:
                steps = [(u, True) for u in self._parents[v]]
                steps += [(w, False) for w in self._children[v]]
            elif not from_child:
                if v in given:
                    steps = [(u, True) for u in self._parents[v]]
                else:
                    steps = [(w, False) for w in self._children[v]]
            for step in steps:
                if step not in seen:
                    seen.add(step)
                    front.append(step)
        self._known[x, given] = reached
        return reached


def influences(marks: Marks, target: int, depth: int | None = None) -> dict[int, int]:
    """Who is linked to a variable by a path on which each middle variable lets influence through.

    When all variables are given, a middle one lets it through where it is a collider on the path,
    and may do so where its two neighbours are adjacent (then the marks cannot tell). These are the
    variables of FCI's Possible-D-SEP set and, with the target an outcome, of CLEANN's tree.

    Args:
        marks: (n, n), see `PartialGraph`.
        target: a variable.
        depth: longest path; no bound if None.

    Returns:
        For each such variable the number of edges of the shortest such path.
    """
    found: dict[int, int] = {}
    front = deque((target, int(v), 1) for v in np.flatnonzero(marks[target] != NONE))
    steps = {(u, v) for u, v, _ in front}
    while front:
        u, v, length = front.popleft()
        found.setdefault(v, length)
        if depth is not None and length >= depth:
            continue
        for w in np.flatnonzero(marks[v] != NONE):
            step = (v, int(w))
            if w in (u, target) or step in steps:
                continue
            if marks[u, w] != NONE or (marks[u, v] == ARROW and marks[w, v] == ARROW):
                steps.add(step)
                front.append((*step, length + 1))
    return found


def _v_structures(adjacency: BoolMatrix, sets: SeparatingSets) -> Marks:
    marks = circles_on(adjacency)
    for x, y, z in unshielded_colliders(adjacency, sets):
        marks[x, y] = marks[z, y] = ARROW
    return marks


def _second_look(
    test: IndependenceTest,
    alpha: float,
    adjacency: BoolMatrix,
    sets: SeparatingSets,
    marks: Marks,
    max_conditioning: int | None,
    max_tests: int,
) -> bool:
    """Take away the edges that a set of Possible-D-SEP separates; whether the bound ended it.

    A hidden cause can make two variables dependent given every set of their neighbours, and
    independent given variables further off.
    """
    count = 0
    candidates = {i: sorted(influences(marks, i)) for i in range(test.n)}
    for i, j in np.argwhere(np.triu(adjacency)):
        found = False
        for x, y in ((int(i), int(j)), (int(j), int(i))):
            others = [v for v in candidates[x] if v != y]
            most = len(others) if max_conditioning is None else min(max_conditioning, len(others))
            for size in range(1, most + 1):
                if found or not test.possible(x, size):
                    break
                count += math.comb(len(others), size)
                if count > max_tests:
                    return True
                given = np.array(list(itertools.combinations(others, size)), dtype=np.intp)
                pairs = np.column_stack([np.full(len(given), y), given])
                p = np.nan_to_num(test.p_values(x, pairs)[:, 0], nan=0.0)
                apart = given[p > alpha]
                if len(apart):
                    found = True
                    sets[int(i), int(j)] = tuple(tuple(int(v) for v in row) for row in apart)
                    adjacency[i, j] = adjacency[j, i] = False
    return False
