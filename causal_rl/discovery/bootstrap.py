"""How stable a learned graph is: the same learner on rows drawn again and again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from causal_rl.discovery.base import GraphLearner
from causal_rl.discovery.transitions import Transitions
from causal_rl.graphs import CausalGraph, PartialGraph

Shares = NDArray[np.float64]


@dataclass(frozen=True)
class EdgeShares:
    """In what share of the bootstrap graphs an edge was there, over the same names.

    Where the learner answers with an equivalence class, the classes are counted, so that an edge
    without an orientation is not one with both.

    Attributes:
        directed: ``(n, n)`` share with i -> j inside the step.
        undirected: ``(n, n)`` share with an edge between i and j of another kind (no orientation,
            both arrowheads, or circles); symmetric.
        lagged: ``(n, n)`` share with i -> j from one step to the next.
        graphs: how many graphs were counted.
        failed: how many draws of rows the learner failed on.
    """

    directed: Shares
    undirected: Shares
    lagged: Shares
    graphs: int
    failed: int

    @property
    def adjacent(self) -> Shares:
        """``(n, n)`` share with any edge between i and j inside the step; symmetric."""
        total: Shares = self.directed + self.directed.T + self.undirected
        return np.minimum(total, 1.0)


def bootstrap_edges(
    learner: GraphLearner,
    data: Transitions,
    *,
    draws: int,
    rng: np.random.Generator | int,
    progress: Callable[[int], None] = lambda done: None,
) -> EdgeShares:
    """Learn a graph from each of several draws of the rows, with replacement.

    Rows are drawn within each kind of intervention, so that every draw has as many of each as the
    data. The learner is fitted anew each time and is left fitted to the last draw. Drawn rows
    repeat, which makes tests and scores more eager than they are on fresh rows: a share says how
    stable an edge is, and is no probability that it is real.

    Args:
        learner: fitted in turn; its seed, if it has one, stays.
        data: the rows.
        draws: how many graphs, at least 1.
        rng: generator or seed of the draws.
        progress: called with the number of draws done.

    Raises:
        ValueError: ``draws`` below 1, or the learner failed on every draw.
    """
    if draws < 1:
        raise ValueError(f"draws must be at least 1, got {draws}")
    generator = np.random.default_rng(rng)
    strata = _strata(data.do_target)
    blocks: list[Shares] = []
    failed, reason = 0, ""
    for done in range(1, draws + 1):
        rows = np.concatenate([generator.choice(stratum, len(stratum)) for stratum in strata])
        try:
            graph = learner.fit(data[np.sort(rows)])
        except (ArithmeticError, RuntimeError, ValueError) as error:
            # A draw may lack what the data have, e.g. the one row where a variable differs.
            failed, reason = failed + 1, str(error)
        else:
            blocks.append(_count(graph, learner.equivalence_class_))
        progress(done)
    if not blocks:
        raise ValueError(f"the learner failed on every draw of the bootstrap: {reason}")
    directed, undirected, lagged = np.mean(blocks, axis=0)
    return EdgeShares(directed, undirected, lagged, len(blocks), failed)


def _count(graph: CausalGraph, found: PartialGraph | None) -> Shares:
    if found is None:
        within, other = graph.contemporaneous, np.zeros_like(graph.contemporaneous)
    else:
        within = found.directed
        other = found.skeleton & ~within & ~within.T
    return np.stack([within, other, graph.lagged]).astype(np.float64)


def _strata(do_target: NDArray[np.bool_]) -> list[NDArray[np.intp]]:
    """Rows by what was set in them."""
    _, kind = np.unique(do_target, axis=0, return_inverse=True)
    flat = np.asarray(kind).ravel()
    return [np.flatnonzero(flat == k) for k in range(int(flat.max()) + 1)]
