"""The scores of a learned graph against a true one, block by block."""

from __future__ import annotations

import dataclasses

import numpy as np

from causal_rl.graphs import metrics
from causal_rl.graphs.acyclicity import is_dag
from causal_rl.graphs.adjacency import BoolMatrix, FloatMatrix
from causal_rl.graphs.structure import GraphStructure

Score = int | float | None


@dataclasses.dataclass(frozen=True)
class BlockComparison:
    """Scores of one block, contemporaneous or lagged.

    Attributes:
        shd: structural Hamming distance; a reversed contemporaneous edge counts once.
        sid: structural intervention distance; None if either block is cyclic.
        precision: share of learned edges that are true.
        recall: share of true edges that were learned.
        f1: harmonic mean of both, directed.
        auprc: average precision of the edge scores; None if the truth has no edge.
        skeleton_f1: F1 of undirected adjacencies. Time orients the lagged edges, so it equals f1
            there.
        n_true: edges in the truth.
        n_learned: edges learned.
    """

    shd: int
    sid: int | None
    precision: float
    recall: float
    f1: float
    auprc: float | None
    skeleton_f1: float
    n_true: int
    n_learned: int


@dataclasses.dataclass(frozen=True)
class GraphComparison:
    """Scores of both blocks.

    Attributes:
        contemporaneous: scores of the edges inside one step.
        lagged: scores of the edges from t to t+1.
    """

    contemporaneous: BlockComparison
    lagged: BlockComparison

    def to_dict(self) -> dict[str, Score]:
        """Return all scores flat, named ``shd_contemporaneous``, ``shd_lagged`` and so on."""
        return {
            f"{metric}_{block}": value
            for block, scores in self._blocks().items()
            for metric, value in scores.items()
        }

    def rows(self) -> list[dict[str, Score | str]]:
        """Return two rows for a table, one a block: "block" and then the scores."""
        return [{"block": block, **scores} for block, scores in self._blocks().items()]

    def _blocks(self) -> dict[str, dict[str, Score]]:
        return {
            "contemporaneous": dataclasses.asdict(self.contemporaneous),
            "lagged": dataclasses.asdict(self.lagged),
        }


def compare(learned: GraphStructure, truth: GraphStructure) -> GraphComparison:
    """Score a learned graph; `CausalGraph.compare` is the public door.

    The AUPRC ranks the edges by confidence where the learned graph has it, else by absolute weight,
    else by presence alone.

    Args:
        learned: the graph to score.
        truth: a graph over the same names, in any order.

    Returns:
        The scores of both blocks.
    """
    learned = learned.permute(truth.names)
    a, b = truth.contemporaneous, learned.contemporaneous
    precision, recall = metrics.precision_recall(a, b)
    contemporaneous = BlockComparison(
        shd=metrics.shd(a, b),
        sid=metrics.sid(a, b) if is_dag(a) else None,
        precision=precision,
        recall=recall,
        f1=metrics.f1(a, b),
        auprc=metrics.auprc(
            a, _scores(b, learned.contemporaneous_confidence, learned.contemporaneous_weights)
        ),
        skeleton_f1=metrics.skeleton_f1(a, b),
        n_true=int(a.sum()),
        n_learned=int(b.sum()),
    )
    a, b = truth.lagged, learned.lagged
    precision, recall = metrics.precision_recall(a, b)
    f1 = metrics.f1(a, b)
    lagged = BlockComparison(
        shd=metrics.shd_lagged(a, b),
        sid=metrics.sid_lagged(a, b),
        precision=precision,
        recall=recall,
        f1=f1,
        auprc=metrics.auprc_lagged(
            a, _scores(b, learned.lagged_confidence, learned.lagged_weights)
        ),
        skeleton_f1=f1,
        n_true=int(a.sum()),
        n_learned=int(b.sum()),
    )
    return GraphComparison(contemporaneous, lagged)


def _scores(
    edges: BoolMatrix, confidence: FloatMatrix | None, weights: FloatMatrix | None
) -> FloatMatrix:
    if confidence is not None:
        return confidence
    if weights is not None:
        return np.abs(weights)
    return edges.astype(np.float64)
