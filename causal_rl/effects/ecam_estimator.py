"""ECAM's estimator: intervention-based attention under the causal graph."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from causal_rl.effects.token_networks import BoolMatrix, TokenEstimator, edges_between


class EcamEstimator(TokenEstimator):
    """E[Y | do(t), z] by the agents' encoder, its attention modulated by the mutilated graph.

    The tokens are a valid adjustment set and the treatment. For do(t) the treatment's token takes
    the value that is set and its incoming links are cut (intervention-based attention); covariates
    attend along the graph's edges between them; all are read for the outcome. For a valid set
    ``E[Y | do(t), z] = E[Y | t, z]``, so the network is trained on the rows as they are, under the
    graph in which it will be asked.

    Without a graph all columns are taken as covariates that come before the treatment, and attend
    to one another.

    Args: as in `TokenEstimator`.
    """

    def _tokens_graph(self, X: Tensor, t: Tensor, y: Tensor) -> BoolMatrix:
        n = X.shape[1]
        graph = np.zeros((n + 2, n + 2), dtype=bool)
        if self.graph_ is None:
            graph[:n, :n] = ~np.eye(n, dtype=bool)
        elif self._columns:
            names = [self.names_[column] for column in self._columns]
            graph[:n, :n] = edges_between(self.graph_, names)
        graph[: n + 1, n + 1] = True
        return graph
