"""CaT: the DAG-masked transformer, which predicts along the graph instead of adjusting."""

from __future__ import annotations

from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from causal_rl.discovery.masked_predictor import MaskedPredictor
from causal_rl.effects.identify import Adjustment
from causal_rl.effects.networks import EffectNetwork
from causal_rl.effects.token_networks import BoolMatrix, TokenEstimator, edges_between
from causal_rl.graphs import CausalGraph


class CatNetwork(EffectNetwork):
    """Every variable told from its parents; effects by predicting along the graph.

    Args:
        graph: ``(p + 2, p + 2)`` a DAG over covariates, treatment, outcome.
        n_arms: K.
        embed_dim: features of a token.
        num_layers: blocks.
        num_heads: heads of attention.
        seed: of the first weights.
    """

    arms: Tensor

    def __init__(
        self,
        graph: BoolMatrix,
        n_arms: int,
        *,
        embed_dim: int,
        num_layers: int,
        num_heads: int,
        seed: int,
    ) -> None:
        super().__init__()
        self.predictor = MaskedPredictor(
            torch.from_numpy(graph),
            gated=False,
            embed_dim=embed_dim,
            num_layers=num_layers,
            num_heads=num_heads,
            generator=torch.Generator().manual_seed(seed),
        )
        self.register_buffer("arms", torch.linspace(-1.0, 1.0, n_arms))
        self.levels = _levels_below(graph, len(graph) - 2)

    def outcomes(self, X: Tensor) -> Tensor:
        """See `EffectNetwork.outcomes`."""
        found = []
        for arm in self.arms:
            columns = torch.cat([X, arm.expand(len(X), 1), X.new_zeros(len(X), 1)], dim=1)
            for level in self.levels:
                predicted = self._predict(columns)
                columns = columns.clone()
                columns[:, level] = predicted[:, level]
            found.append(columns[:, -1])
        return torch.stack(found, dim=1)

    def loss(self, X: Tensor, t: Tensor, y: Tensor) -> Tensor:
        """Squared errors of all variables but the treatment, each from its parents as observed."""
        columns = torch.cat([X, self.arms[t][:, None], y[:, None]], dim=1)
        errors = (self._predict(columns) - columns) ** 2
        return errors.mean(dim=0)[torch.arange(errors.shape[1]) != X.shape[1]].sum()

    def held_out(self, X: Tensor, t: Tensor, y: Tensor) -> Tensor:
        """See `EffectNetwork.held_out`."""
        return self.loss(X, t, y)

    def _predict(self, columns: Tensor) -> Tensor:
        return self.predictor.predict(columns, self.predictor.allowed)


class CatEstimator(TokenEstimator):
    """CaT: a transformer whose attention follows the DAG, asked by predicting along it.

    Every variable is told from its parents. For do(t) the treatment is set, what it does not reach
    keeps its observed value, and its descendants are predicted in causal order, the outcome last:
    mediators are replaced by their expectations, not adjusted away. It needs the whole graph, given
    or learned, and nothing hidden.

    Args: as in `TokenEstimator`.
    """

    def check_options(self) -> None:
        """Check the options; see `EffectEstimator.check_options`."""
        super().check_options()
        if self.graph is None:
            raise ValueError("graph is None; cat takes a graph or the name of a graph learner")

    def _adjust(self) -> Adjustment | None:
        if self.graph_ is not None:
            hidden = [
                name
                for name, kind in zip(self.graph_.names, self.graph_.kinds, strict=True)
                if kind == "hidden"
            ]
            if hidden:
                raise ValueError(f"graph has the hidden variable {hidden[0]!r}; cat takes none")
            if not self.graph_.is_acyclic:
                raise ValueError("graph has a cycle; effects take an acyclic graph")
        return None

    def _tokens_graph(self, X: Tensor, t: Tensor, y: Tensor) -> BoolMatrix:
        graph = cast(CausalGraph, self.graph_)
        return edges_between(graph, [*self.names_, self.treatment, self.outcome])

    def _build(self, X: Tensor, t: Tensor, y: Tensor) -> EffectNetwork:
        return CatNetwork(
            self._tokens_graph(X, t, y),
            self.n_arms_,
            seed=self.seed,
            **self._sizes(),
        )


def _levels_below(graph: BoolMatrix, treatment: int) -> list[NDArray[np.intp]]:
    """Descendants of the treatment, in groups none of whose members reaches an earlier group."""
    below = np.zeros(len(graph), dtype=bool)
    depth = np.zeros(len(graph), dtype=np.intp)
    below[treatment] = True
    for _ in range(len(graph)):
        reached = below[:, None] & graph
        below |= reached.any(axis=0)
        depth = np.maximum(depth, np.where(reached, depth[:, None] + 1, 0).max(axis=0))
    return [np.flatnonzero(depth == level) for level in range(1, int(depth.max()) + 1)]
