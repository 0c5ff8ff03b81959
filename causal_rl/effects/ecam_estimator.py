"""ECAM's estimator: intervention-based attention under the causal graph."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor

from causal_rl.attention import ATTENTION_FORMS, MODULATIONS, AttentionForm, Modulation
from causal_rl.effects.base import Array
from causal_rl.effects.networks import EffectNetwork
from causal_rl.effects.token_networks import (
    BoolMatrix,
    TokenEstimator,
    TokenNetwork,
    edges_between,
)
from causal_rl.graphs import reachability
from causal_rl.options import check_choice


class EcamEstimator(TokenEstimator):
    """E[Y | do(t), z] by the agents' encoder, its attention modulated by the mutilated graph.

    The tokens are a valid adjustment set and the treatment. For do(t) the treatment's token takes
    the value that is set and its incoming links are cut (intervention-based attention); covariates
    attend along the graph's edges between them; all are read for the outcome. For a valid set
    ``E[Y | do(t), z] = E[Y | t, z]``, so the network is trained on the rows as they are, under the
    graph in which it will be asked.

    Without a graph all columns are taken as covariates that come before the treatment, and attend
    to one another.

    Args:
        modulation: "hard" reads the graph's edges; "log" and "scale" read strengths: the
            confidences of the edges where the graph has them, as learned ones do, else 1.
        attention: form of attention, see `SCMEncoder`. The levels of "multi-level" are the edges,
            the paths (an ancestor is seen like a parent) and all pairs of covariates.
        **options: as in `TokenEstimator`.
    """

    def __init__(
        self,
        *,
        modulation: Modulation = "hard",
        attention: AttentionForm = "causal",
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.modulation: Modulation = modulation
        self.attention: AttentionForm = attention

    def check_options(self) -> None:
        """Check the options; see `EffectEstimator.check_options`."""
        super().check_options()
        check_choice("modulation", self.modulation, MODULATIONS)
        check_choice("attention", self.attention, ATTENTION_FORMS)
        if self.attention == "generalised" and self.modulation == "log":
            raise ValueError("modulation is 'log'; with generalised attention it is hard or scale")

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

    def _build(self, X: Tensor, t: Tensor, y: Tensor) -> EffectNetwork:
        graph = self._tokens_graph(X, t, y)
        seen = graph[:-1, :-1]
        attended: BoolMatrix | Array = seen
        if self.attention == "multi-level":
            attended = self._levels(seen)
        elif self.modulation != "hard":
            attended = self._strengths(seen)
        return TokenNetwork(
            attended,
            graph[:-1, -1],
            self.n_arms_,
            modulation=self.modulation,
            attention=self.attention,
            **self._sizes(),
        )

    def _strengths(self, seen: BoolMatrix) -> Array:
        """The edges' strengths, as the graph has them."""
        strengths = seen.astype(np.float64)
        confidence = None if self.graph_ is None else self.graph_.contemporaneous_confidence
        if self.graph_ is not None and confidence is not None and self._columns:
            at = [self.graph_.index(self.names_[column]) for column in self._columns]
            n = len(at)
            strengths[:n, :n] *= confidence[np.ix_(at, at)]
        return strengths

    def _levels(self, seen: BoolMatrix) -> Array:
        """Edges, paths, and all pairs of covariates; nothing leads into or out of the treatment."""
        every = ~np.eye(len(seen), dtype=bool)
        every[-1], every[:, -1] = False, False
        return np.stack([self._strengths(seen), reachability(seen) & every, every]).astype(float)
