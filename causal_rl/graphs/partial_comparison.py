"""The scores of a learned equivalence class against the true one."""

from __future__ import annotations

import dataclasses

import numpy as np

from causal_rl.graphs import metrics
from causal_rl.graphs.marks import ARROW, Marks


@dataclasses.dataclass(frozen=True)
class PartialComparison:
    """Scores of one partially directed graph against another.

    Attributes:
        shd: pairs of variables whose marks differ, each counted once: a missing or an extra edge,
            another direction, or a direction against none.
        skeleton_precision: share of the learned adjacencies that are true.
        skeleton_recall: share of the true adjacencies that were learned.
        skeleton_f1: harmonic mean of both.
        arrow_precision: share of the learned arrowheads that are true.
        arrow_recall: share of the true arrowheads that were learned. An end without an arrowhead
            never counts, so leaving an edge undirected costs recall and no precision.
        arrow_f1: harmonic mean of both.
        n_true: edges in the truth.
        n_learned: edges learned.
    """

    shd: int
    skeleton_precision: float
    skeleton_recall: float
    skeleton_f1: float
    arrow_precision: float
    arrow_recall: float
    arrow_f1: float
    n_true: int
    n_learned: int

    def to_dict(self) -> dict[str, int | float]:
        """Return all scores by name."""
        return dataclasses.asdict(self)


def compare(learned: Marks, truth: Marks) -> PartialComparison:
    """Score marks against others; `PartialGraph.compare` is the public door.

    Args:
        learned: (n, n) marks.
        truth: (n, n) marks over the same variables.

    Returns:
        The scores.
    """
    edges, true_edges = np.triu(learned != 0), np.triu(truth != 0)
    heads, true_heads = learned == ARROW, truth == ARROW
    precision, recall = metrics.precision_recall(true_edges, edges)
    arrow_precision, arrow_recall = metrics.precision_recall(true_heads, heads)
    different = learned != truth
    return PartialComparison(
        shd=int(np.triu(different | different.T).sum()),
        skeleton_precision=precision,
        skeleton_recall=recall,
        skeleton_f1=metrics.f1(true_edges, edges),
        arrow_precision=arrow_precision,
        arrow_recall=arrow_recall,
        arrow_f1=metrics.f1(true_heads, heads),
        n_true=int(true_edges.sum()),
        n_learned=int(edges.sum()),
    )
