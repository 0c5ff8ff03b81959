"""Gaussian-process networks: the graph whose mechanisms have the greatest evidence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from causal_rl.discovery.batch import BatchLearner, BoolMatrix, Found, Rows, spread_rows
from causal_rl.discovery.bernoulli_evidence import BernoulliEvidence
from causal_rl.discovery.kernel_evidence import KernelEvidence
from causal_rl.discovery.order_search import LocalScore, OrderSearch
from causal_rl.options import check_integer

Array = NDArray[np.float64]

# The rough search, from which the fine one starts.
_ROUGH_INDUCING = 64
_ROUGH_LENGTHS = (1.0, 3.0)


class GPNetworkLearner(BatchLearner):
    """Search of a causal order by the marginal likelihood of Gaussian-process mechanisms.

    The score of a graph is the log evidence of every column given its parents (`KernelEvidence`;
    Friedman and Nachman 2000; for columns with two values `BernoulliEvidence`), less
    ``log(variables)`` for each edge, which counts the sets of parents among which one was chosen.
    No level, penalty or threshold is left to set: evidence pays for what an edge costs. Orders are
    searched (`OrderSearch`) from several random ones on a rough representation of the functions,
    and the best of them once more on a fine one.

    Directions come from the bend of the mechanisms, and from interventions: rows in which a column
    was set do not count for its own mechanism. Among straight lines with Gaussian noise and
    without interventions either direction is equally good, and the confidence says so. Parents are
    added one at a time: two that act through their product alone are not found.

    Confidence of an edge is its posterior probability against the two graphs in which it is left
    out or turned, all else fixed; of an edge left out, against the graph that has it. Weights are
    slopes of a linear regression on the parents found.

    Args:
        inducing: rows on which mechanisms are represented; more find finer bends, and the time
            grows as the square.
        starts: random orders from which the rough search begins.
        refined: different graphs of the rough search that the fine one takes up, the best first.
        neighbours: candidate parents of a column, by their evidence alone, where there are more.
        most_parents: no column takes more.
        rows_kept: rows used, spread evenly over all.
        seed: of the starts and the inducing rows.
        reward_node: add the reward as the last node.
    """

    name: ClassVar[str] = "gp-network"
    obeys: ClassVar[frozenset[str]] = frozenset({"forbidden", "required"})
    most_variables: ClassVar[int] = 100
    uses_interventions: ClassVar[bool] = True
    uses_lags: ClassVar[bool] = True

    def __init__(
        self,
        *,
        inducing: int = 192,
        starts: int = 4,
        refined: int = 2,
        neighbours: int = 20,
        most_parents: int = 8,
        rows_kept: int = 4000,
        seed: int = 0,
        reward_node: bool = False,
    ) -> None:
        super().__init__(reward_node=reward_node)
        self.inducing = inducing
        self.starts = starts
        self.refined = refined
        self.neighbours = neighbours
        self.most_parents = most_parents
        self.rows_kept = rows_kept
        self.seed = seed

    def check_options(self) -> None:
        """Validate the options; see `GraphLearner.check_options`."""
        super().check_options()
        for name in ("starts", "refined", "neighbours", "most_parents"):
            check_integer(name, getattr(self, name), least=1)
        check_integer("inducing", self.inducing, least=8)
        check_integer("rows_kept", self.rows_kept, least=16)
        check_integer("seed", self.seed, least=0)

    def _learn(self, rows: Rows, within: BoolMatrix, lagged: BoolMatrix) -> Found:
        d = within.shape[1]
        used = spread_rows(len(rows.current), self.rows_kept)
        inputs = np.hstack([rows.current, rows.lagged])[used]
        targets, counted = rows.current[used], ~rows.do_target[used]
        candidates = np.vstack([within, lagged])
        required = np.zeros_like(candidates)
        required[:d] = self._required_edges()[np.ix_(self._varying, self._varying)]

        two_valued = {
            j: BernoulliEvidence(inputs, high, counted[:, j], seed=self.seed)
            for j, high in _two_valued(targets).items()
        }

        def evidence(inducing: int, **options: tuple[float, ...]) -> LocalScore:
            smooth = KernelEvidence(
                inputs, targets, counted, inducing=inducing, seed=self.seed, **options
            )

            def score(target: int, parents: Sequence[int]) -> float:
                if target in two_valued:
                    return two_valued[target](parents)
                return smooth(target, parents)

            return score

        penalty = float(np.log(candidates.any(axis=1).sum())) if candidates.any() else 0.0
        rough_evidence = evidence(min(_ROUGH_INDUCING, self.inducing), lengths=_ROUGH_LENGTHS)
        candidates = _nearest(rough_evidence, candidates, self.neighbours) | required

        def search(score: LocalScore) -> OrderSearch:
            return OrderSearch(
                score, candidates, required, penalty=penalty, most_parents=self.most_parents
            )

        rough, rng = search(rough_evidence), np.random.default_rng(self.seed)
        drafts = [rough.improve(rough.random_order(rng)) for _ in range(self.starts)]
        drafts.sort(key=lambda draft: -draft[0])
        distinct: dict[bytes, list[int]] = {}
        for _, order in drafts:
            distinct.setdefault(rough.edges(order).tobytes(), order)
        fine = search(evidence(self.inducing))
        _, order = max(fine.improve(order) for order in list(distinct.values())[: self.refined])
        edges = fine.edges(order)
        confidence = _confidence(fine, order, edges, candidates)
        weights = _slopes(inputs, targets, counted, edges)
        return Found.stacked(edges, weights, confidence)


def _two_valued(targets: Array) -> dict[int, BoolMatrix]:
    """Columns with two values: true where a row has the larger one, by column."""
    found = {}
    for j, column in enumerate(targets.T):
        low, high = column.min(), column.max()
        if low < high and np.all((column == low) | (column == high)):
            found[j] = column == high
    return found


def _nearest(score: LocalScore, candidates: BoolMatrix, count: int) -> BoolMatrix:
    kept = candidates.copy()
    for j in range(candidates.shape[1]):
        sources = np.flatnonzero(candidates[:, j])
        if len(sources) > count:
            alone = np.array([score(j, [int(i)]) for i in sources])
            kept[sources[np.argsort(-alone, kind="stable")[count:]], j] = False
    return kept


def _confidence(
    search: OrderSearch, order: list[int], edges: BoolMatrix, candidates: BoolMatrix
) -> Array:
    """Posterior probabilities of single edges against their nearest rivals, ``(c, d)``."""
    d = edges.shape[1]
    parents = [np.flatnonzero(edges[:, j]).tolist() for j in range(d)]
    own = [search.local(j, parents[j]) for j in range(d)]
    place = np.argsort(order)
    result = np.zeros(edges.shape)
    for i, j in np.argwhere(candidates):
        if edges[i, j]:
            without = search.local(j, [p for p in parents[j] if p != i])
            rivals = [without - own[j]]
            if i < d and candidates[j, i] and _turnable(edges[:d], i, j):
                turned = search.local(i, [*parents[i], int(j)])
                rivals.append(without + turned - own[j] - own[i])
            result[i, j] = 1.0 / (1.0 + np.exp(np.minimum(rivals, 700.0)).sum())
        elif i >= d or place[i] < place[j]:
            more = search.local(j, [*parents[j], int(i)]) - own[j]
            result[i, j] = 1.0 / (1.0 + np.exp(min(-more, 700.0)))
    return result


def _turnable(edges: BoolMatrix, i: int, j: int) -> bool:
    """Whether i -> j can be turned without a cycle: no other path leads from i to j."""
    reached, front = np.zeros(len(edges), dtype=bool), edges[i].copy()
    front[j] = False
    while front.any():
        reached |= front
        front = edges[front].any(axis=0) & ~reached
    return not bool(reached[j])


def _slopes(inputs: Array, targets: Array, counted: BoolMatrix, edges: BoolMatrix) -> Array:
    """Linear effects of the parents on the rows that count, ``(c, d)``."""
    result = np.zeros(edges.shape)
    for j in range(edges.shape[1]):
        parents, rows = np.flatnonzero(edges[:, j]), counted[:, j]
        if len(parents) and rows.any():
            x, y = inputs[np.ix_(rows, parents)], targets[rows, j]
            x, y = x - x.mean(axis=0), y - y.mean()
            result[parents, j] = np.linalg.lstsq(x, y, rcond=None)[0]
    return result
