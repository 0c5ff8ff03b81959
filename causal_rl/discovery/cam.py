"""CAM: causal additive models (Buehlmann, Peters and Ernest 2014), written from the paper.

Three steps: preliminary neighbourhoods where there are many columns, a greedy search for the order
by the likelihood of additive models with Gaussian noise, pruning by significance tests. Nothing
installable and alive has it.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from causal_rl.discovery.additive import AdditiveModels, nearest, prune_order, spline_size
from causal_rl.discovery.batch import BatchLearner, BoolMatrix, Found, Rows
from causal_rl.options import check_integer, check_number


class CamLearner(BatchLearner):
    """Greedy search of a causal order with additive models, then pruning.

    Knows neither interventions nor lags: rows are pooled, and the lagged block stays empty.

    Args:
        alpha: level of the tests of the pruning; the published 0.001.
        splines: cubic B-splines a column at most; fewer where rows are few. The published code's
            10, there with a smoothing penalty, here without.
        neighbours: candidate parents of a column, the best alone, where there are more.
        reward_node: add the reward as the last node.
    """

    name: ClassVar[str] = "cam"
    obeys: ClassVar[frozenset[str]] = frozenset({"forbidden"})
    most_variables: ClassVar[int] = 200

    def __init__(
        self,
        *,
        alpha: float = 0.001,
        splines: int = 10,
        neighbours: int = 20,
        reward_node: bool = False,
    ) -> None:
        super().__init__(reward_node=reward_node)
        self.alpha = alpha
        self.splines = splines
        self.neighbours = neighbours

    def check_options(self) -> None:
        """Validate the options; see `GraphLearner.check_options`."""
        super().check_options()
        check_number("alpha", self.alpha, least=0.0, below=1.0, open_end=True)
        check_integer("splines", self.splines, least=1)
        check_integer("neighbours", self.neighbours, least=1)

    def _order(self, models: AdditiveModels, rows: Rows, candidates: BoolMatrix) -> list[int]:
        return cam_order(models, candidates)

    def _learn(self, rows: Rows, within: BoolMatrix, lagged: BoolMatrix) -> Found:
        most = min(len(within) - 1, self.neighbours)
        size = spline_size(len(rows.current), most, self.splines)
        models = AdditiveModels(rows.current, size)
        candidates = nearest(models, self.neighbours, within)
        order = self._order(models, rows, candidates)
        edges, p_values = prune_order(models, order, candidates, self.alpha)
        confidence = np.where(within, self.alpha / (self.alpha + p_values), 0.0)
        return Found(edges=edges, confidence=confidence)


def cam_order(models: AdditiveModels, candidates: NDArray[np.bool_]) -> list[int]:
    """Order the columns by adding the edge that explains most until no legal edge is left.

    Starting from the empty graph, the edge whose addition raises the Gaussian log-likelihood of
    the additive model most is added, cycles excepted, whether or not it is worth its parameters:
    what comes out is an order, and its pruning is another step (section 4.1).

    Args:
        models: of the columns.
        candidates: ``(d, d)`` true at [i, j] where i may be a parent of j.

    Returns:
        The d columns, causes first; columns that no candidate relates keep their order.
    """
    d = len(candidates)
    parents: list[list[int]] = [[] for _ in range(d)]
    reach = np.eye(d, dtype=bool)  # [i, j]: a path, possibly empty, from i to j
    gain = np.full((d, d), -np.inf)

    def refresh(j: int) -> None:
        gain[:, j] = -np.inf
        # What j reaches can never become its parent: paths are only added.
        legal = candidates[:, j] & ~reach[j]
        legal[parents[j]] = False
        rest = np.flatnonzero(legal).tolist()
        if rest:
            now = models.unexplained(j, parents[j]) if parents[j] else 1.0
            gain[rest, j] = np.log(now) - np.log(models.unexplained_with(j, parents[j], rest))

    for j in range(d):
        refresh(j)
    while True:
        legal = np.where(reach.T, -np.inf, gain)
        i, j = divmod(int(np.argmax(legal)), d)
        if legal[i, j] == -np.inf:
            break
        parents[j].append(i)
        reach |= reach[:, i, None] & reach[None, j]
        refresh(j)
    # A column is reached by all that reach its parents and by itself: more than any of them.
    return [int(j) for j in np.argsort(reach.sum(axis=0), kind="stable")]
