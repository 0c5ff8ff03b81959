"""Appendix A.1.4: a posterior over DAGs that maximises the ELBO, and a graph read from it."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from causal_rl.discovery.base import ConvergenceWarning
from causal_rl.discovery.batch import BatchLearner, BoolMatrix, Found, Rows
from causal_rl.discovery.graph_posterior import EXACT_LIMIT, GraphPosterior
from causal_rl.discovery.local_evidence import MECHANISMS, LocalEvidence
from causal_rl.discovery.parent_tables import (
    ParentTables,
    TableOptions,
    build_tables,
)
from causal_rl.discovery.transitions import Transitions
from causal_rl.graphs import CausalGraph, project_to_dag
from causal_rl.options import check_choice, check_integer, check_number

# Importance weights that leave fewer independent draws than this share are worth a warning.
_LEAST_SHARE = 0.005


class VariationalLearner(BatchLearner):
    """Learns q(G), the maximiser of ``E_q[log p(X | G)] - beta KL(q || p)``, over DAGs alone.

    ``p(G) ~ exp(-sparsity |G|_1 - mu h(G))`` with mu without bound: q gives cyclic graphs nothing,
    by construction. ``log p(X | G)`` is exact, a sum of closed-form evidences of parents (see
    `LocalEvidence`), each from the rows in which the variable was not set. Up to twelve variables
    q is the posterior itself (tempered, if beta is not 1); beyond, its orders are learned.

    ``graph_`` is the DAG of least expected Hamming distance under q: edges are kept where
    ``2 P(i -> j) + P(j -> i) > 1``, as a reversed edge counts once, and where these make a cycle
    the choice of largest sum. Confidences are the posterior probabilities.

    Lagged parents are summed out of the weights of those inside the step, and help to orient them.
    Lagged edges are then judged one variable at a time, given the parents that ``graph_`` has.

    Args:
        mechanism: ``"linear"`` (equivalent graphs get the same mass), ``"smooth"`` or ``"mixed"``.
        sparsity: lambda: how much less likely an edge more is beforehand, as a logarithm.
        beta: weight of the divergence from the prior; above 1 the posterior is wider.
        max_parents: of one variable, required ones apart.
        max_candidates: beyond twelve variables, how many possible parents each keeps.
        max_lagged: how many possible lagged parents each keeps.
        steps: gradient steps on the ELBO beyond twelve variables.
        seed: of those steps.
        reward_node: add the reward as the last node.

    Attributes:
        posterior_: over the within-step edges, or None before the first data.
    """

    name: ClassVar[str] = "variational"
    obeys: ClassVar[frozenset[str]] = frozenset({"forbidden", "required"})
    most_variables: ClassVar[int] = 100
    uses_interventions: ClassVar[bool] = True
    uses_lags: ClassVar[bool] = True

    def __init__(
        self,
        *,
        mechanism: str = "mixed",
        sparsity: float = 1.0,
        beta: float = 1.0,
        max_parents: int = 6,
        max_candidates: int = 8,
        max_lagged: int = 4,
        steps: int = 400,
        seed: int = 0,
        reward_node: bool = False,
    ) -> None:
        super().__init__(reward_node=reward_node)
        self.mechanism = mechanism
        self.sparsity = sparsity
        self.beta = beta
        self.max_parents = max_parents
        self.max_candidates = max_candidates
        self.max_lagged = max_lagged
        self.steps = steps
        self.seed = seed
        self.posterior_: GraphPosterior | None = None

    def check_options(self) -> None:
        """Validate the options; see `GraphLearner.check_options`."""
        super().check_options()
        check_choice("mechanism", self.mechanism, MECHANISMS)
        check_number("sparsity", self.sparsity, least=0.0)
        check_number("beta", self.beta, least=0.0, open_end=True)
        check_integer("max_parents", self.max_parents, least=1)
        check_integer("max_candidates", self.max_candidates, least=1)
        check_integer("max_lagged", self.max_lagged, least=1)
        check_integer("steps", self.steps, least=1)
        check_integer("seed", self.seed, least=0)

    def reset(self) -> None:
        """Forget everything learned; options stay."""
        super().reset()
        self.posterior_ = None

    def update(self, transitions: Transitions) -> CausalGraph:
        """Learn from all rows so far; see `GraphLearner.update`.

        Raises:
            TypeError: as `GraphLearner.update`.
            ValueError: as `BatchLearner.update`.
        """
        self.posterior_ = None
        graph = super().update(transitions)
        if self.posterior_ is None:  # not even one edge is possible
            tables = ParentTables(np.zeros((1, 0), dtype=np.intp), np.zeros((1, 1)))
            self.posterior_ = GraphPosterior(tables, graph.names, where=[0])
        return graph

    def _learn(self, rows: Rows, within: BoolMatrix, lagged: BoolMatrix) -> Found:
        m = within.shape[0]
        required = self._required_edges()[np.ix_(self._varying, self._varying)] & within
        options = TableOptions(
            self.mechanism,
            self.sparsity,
            self.beta,
            self.max_parents,
            self.max_candidates,
            self.max_lagged,
        )
        moved = lagged & (rows.lagged.std(axis=0) > 0)[:, None]
        tables = build_tables(
            rows.current,
            rows.do_target,
            within,
            required,
            options,
            past=rows.lagged if moved.any() else None,
            allowed_past=moved,
            exact_limit=EXACT_LIMIT,
        )
        posterior = GraphPosterior(
            tables, self.names_ or (), where=self._varying, steps=self.steps, seed=self.seed
        )
        if posterior.effective_share < _LEAST_SHARE:
            warnings.warn(
                "variational: q lacks much of the posterior (importance weights leave "
                f"{posterior.effective_share:.1%} of the samples); more steps may help",
                ConvergenceWarning,
                stacklevel=4,
            )
        self.posterior_ = posterior
        probability = posterior.edge_probabilities[np.ix_(self._varying, self._varying)]
        edges = least_expected_distance(np.where(required, 1.0, probability)) & within
        before = tables.lagged_probabilities(edges)
        columns = np.column_stack([rows.current, rows.lagged])
        do_target = np.column_stack([rows.do_target, np.zeros(rows.lagged.shape, dtype=bool)])
        linear = LocalEvidence(columns, do_target, mechanism="linear")
        drawn = np.concatenate([edges, before > 0.5])
        weights = np.zeros(drawn.shape)
        for j in range(m):
            parents = tuple(np.flatnonzero(drawn[:, j]).tolist())
            if parents:
                weights[list(parents), j] = linear.slopes(j, parents)
        found = Found(edges=edges, weights=weights[:m], confidence=probability)
        if not moved.any():
            return found
        return replace(
            found, lagged=drawn[m:], lagged_weights=weights[m:], lagged_confidence=before
        )

    def state_dict(self) -> dict[str, Any]:
        """All that was learned, rows and posterior; see `GraphLearner.state_dict`."""
        found = self.posterior_
        return {
            **super().state_dict(),
            "posterior": None if found is None else found.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up where `state_dict` was called; see `GraphLearner.load_state_dict`."""
        super().load_state_dict(state)
        found = state["posterior"]
        self.posterior_ = None if found is None else GraphPosterior.from_state(found)


def least_expected_distance(probability: NDArray[np.float64]) -> BoolMatrix:
    """The DAG of least expected structural Hamming distance, a reversal counting once.

    With the edge i -> j in the graph, its pair costs ``1 - P(i -> j)``; without any, it costs
    ``P(i -> j) + P(j -> i)``. The difference is what the edge is worth. Exact where the edges worth
    having have no strongly connected part beyond what `project_to_dag` solves exactly.

    Args:
        probability: ``(n, n)`` of every edge, a pair's two adding up to at most 1.

    Returns:
        ``(n, n)`` booleans.
    """
    worth = 2.0 * probability + probability.T - 1.0
    np.fill_diagonal(worth, 0.0)
    # Below this an edge is worth nothing but rounding.
    kept: BoolMatrix = project_to_dag(np.where(worth > 1e-9, worth, 0.0)) != 0
    return kept
