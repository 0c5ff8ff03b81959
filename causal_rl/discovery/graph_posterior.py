"""A posterior over DAGs: sample it, ask it for edges, save it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from causal_rl.discovery.dag_sums import sum_over_dags
from causal_rl.discovery.order_posterior import ExactOrders, OrderDistribution, PriorityOrders
from causal_rl.discovery.parent_tables import Array, BoolMatrix, ParentTables
from causal_rl.graphs import CausalGraph, is_dag
from causal_rl.graphs.adjacency import read_adjacency
from causal_rl.options import check_integer

EXACT_LIMIT = 12
"""Most variables for which everything is summed exactly; time grows as 3^n."""
_SAMPLES = 4000


@dataclass(frozen=True)
class GraphSample:
    """DAGs drawn from a posterior, with what makes up for how they were drawn.

    Attributes:
        graphs: ``(m, n, n)`` booleans, [k, i, j] true where i causes j in the k-th.
        log_weights: ``(m,)``; their exponentials sum to 1. An average over the posterior is the
            average of the graphs so weighted.
    """

    graphs: BoolMatrix
    log_weights: Array

    def __len__(self) -> int:
        """Number of draws."""
        return len(self.graphs)

    @property
    def weights(self) -> Array:
        """``(m,)`` the exponentials of ``log_weights``."""
        return np.exp(self.log_weights)

    @property
    def effective_size(self) -> float:
        """How many draws of equal weight would be worth as much."""
        return float(1.0 / (self.weights**2).sum())

    def edge_probabilities(self) -> Array:
        """``(n, n)`` weighted share of the draws that have each edge."""
        share: Array = np.einsum("m,mij->ij", self.weights, self.graphs)
        return share


class GraphPosterior:
    """q(G) over the DAGs of some variables, the ELBO's maximiser in a family that holds only DAGs.

    Up to `EXACT_LIMIT` variables the family is that of all distributions, so q is the posterior
    itself and its constants are exact. Beyond, see `PriorityOrders`; expectations are then taken by
    importance weights.

    Args:
        tables: log weights of parents, over the variables in ``where``.
        names: of all variables.
        where: places in ``names`` of the tables' variables; the others have no edges. All if None.
        steps: gradient steps beyond the limit.
        seed: of the gradient steps, and of the samples behind the probabilities beyond the limit.
        exact_limit: 0 forces the family of the large worlds, to compare the two.

    Attributes:
        names: of the variables.
        exact: whether q is the posterior itself.
        log_evidence: log of the summed weights of all DAGs, against the graph without edges as
            far as the data go; beyond the limit the ELBO, which is below it.
        edge_probabilities: ``(n, n)``.
        effective_share: effective share of the samples behind them; 1 if exact.
    """

    def __init__(
        self,
        tables: ParentTables,
        names: Sequence[str],
        *,
        where: ArrayLike | None = None,
        steps: int = 400,
        seed: int = 0,
        exact_limit: int = EXACT_LIMIT,
    ) -> None:
        self.tables, self.names = tables, tuple(names)
        self._where = np.arange(len(names)) if where is None else np.array(where, dtype=np.intp)
        self._steps, self._seed = steps, seed
        self._sums = tables.sums()
        self.exact = tables.n <= exact_limit and tables.bits == tables.n - 1
        self._orders: OrderDistribution
        inner: Array
        if self.exact:
            self._orders = ExactOrders(tables, self._sums)
            whole = sum_over_dags(tables)
            self.log_evidence, inner, self.effective_share = (
                whole.log_total,
                whole.edge_probabilities,
                1.0,
            )
        else:
            priority = PriorityOrders(tables, self._sums, steps=steps, seed=seed)
            self._orders = priority
            graphs, log_weights = self._draw(_SAMPLES, np.random.default_rng(seed))
            self.log_evidence = float(log_weights.mean())
            drawn = GraphSample(graphs, _normalised(log_weights, truncate=True))
            inner = drawn.edge_probabilities()
            self.effective_share = drawn.effective_size / len(drawn)
        self.edge_probabilities: Array = np.zeros((len(self.names),) * 2)
        self.edge_probabilities[np.ix_(self._where, self._where)] = np.clip(inner, 0.0, 1.0)

    @property
    def n(self) -> int:
        """Number of variables."""
        return len(self.names)

    def sample(self, m: int, rng: np.random.Generator | int) -> GraphSample:
        """Draw DAGs.

        Args:
            m: how many, at least 1.
            rng: generator or seed.

        Returns:
            The draws. Their weights make up for DAGs that follow more orders than others, and
            beyond the limit for what q lacks; there the largest are cut at ``sqrt(m)`` times the
            mean (Ionides 2008), which trades a little bias for much variance.

        Raises:
            TypeError: ``m`` is no integer.
            ValueError: ``m`` is below 1.
        """
        check_integer("m", m, least=1)
        inner, log_weights = self._draw(m, np.random.default_rng(rng))
        graphs = np.zeros((m, self.n, self.n), dtype=bool)
        graphs[:, self._where[:, None], self._where[None, :]] = inner
        return GraphSample(graphs, _normalised(log_weights, truncate=not self.exact))

    def log_probability(self, graph: CausalGraph | ArrayLike) -> float:
        """Log posterior probability of one DAG.

        Args:
            graph: over these variables; its lagged block does not count.

        Returns:
            The logarithm; minus infinity where the prior rules the graph out. Beyond the limit it
            is measured against the ELBO, and too large by what that lacks.

        Raises:
            ValueError: not ``(n, n)``, or cyclic.
        """
        block = graph.contemporaneous if isinstance(graph, CausalGraph) else graph
        edges = read_adjacency(np.asarray(block), "graph", binary=True)
        if edges.shape != (self.n, self.n):
            raise ValueError(f"graph has shape {edges.shape}; it must be ({self.n}, {self.n})")
        if not is_dag(edges):
            raise ValueError("graph is cyclic; the posterior is over DAGs")
        inner = edges[np.ix_(self._where, self._where)]
        if inner.sum() != edges.sum():
            return -np.inf
        return float(self.tables.log_weight(inner[None])[0] - self.log_evidence)

    def _draw(self, m: int, rng: np.random.Generator) -> tuple[BoolMatrix, Array]:
        orders, log_q = self._orders.sample(m, rng)
        graphs, log_given = self.tables.draw_graphs(orders, self._sums, rng)
        share = self._orders.log_shares(orders, graphs)
        return graphs, self.tables.log_weight(graphs) + share - log_q - log_given

    def state_dict(self) -> dict[str, Any]:
        """What the posterior is made of; `from_state` makes the same one of it."""
        return {
            "candidates": self.tables.candidates.copy(),
            "log_weights": self.tables.log_weights.copy(),
            "names": list(self.names),
            "where": self._where.copy(),
            "steps": self._steps,
            "seed": self._seed,
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> GraphPosterior:
        """A posterior as `state_dict` described it."""
        tables = ParentTables(
            np.array(state["candidates"], dtype=np.intp), np.array(state["log_weights"])
        )
        return cls(
            tables,
            list(state["names"]),
            where=state["where"],
            steps=int(state["steps"]),
            seed=int(state["seed"]),
        )


def _normalised(log_weights: NDArray[np.float64], *, truncate: bool) -> Array:
    top = log_weights.max()
    weights = np.exp(log_weights - top)
    if truncate:
        weights = np.minimum(weights, np.sqrt(len(weights)) * weights.mean())
    with np.errstate(divide="ignore"):
        result: Array = np.log(weights / weights.sum())
    return result
