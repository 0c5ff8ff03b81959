"""What NOTEARS and its kin share: an L1 weight, weights below a threshold dropped, no cycles."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import numpy as np

from causal_rl.discovery.batch import Array, BatchLearner, BoolMatrix, Found, Rows
from causal_rl.graphs import project_to_dag
from causal_rl.options import check_number


class WeightedLearner(BatchLearner):
    """A method whose answer is a matrix of weights, cut off at a threshold.

    Args:
        sparsity: the L1 weight.
        threshold: edges of smaller absolute weight are dropped, in the units of the data given.
        standardise: give every column unit variance first. These methods live off the order of
            the variances on raw data, which in a benchmark is an artefact.
        reward_node: add the reward as the last node.
    """

    scale_free: ClassVar[bool] = False

    def __init__(
        self,
        *,
        sparsity: float = 0.1,
        threshold: float = 0.3,
        standardise: bool = True,
        reward_node: bool = False,
    ) -> None:
        super().__init__(reward_node=reward_node)
        self.sparsity = sparsity
        self.threshold = threshold
        self.standardise = standardise

    def check_options(self) -> None:
        """Validate the options; see `GraphLearner.check_options`."""
        super().check_options()
        check_number("sparsity", self.sparsity, least=0.0)
        check_number("threshold", self.threshold, least=0.0)

    @abstractmethod
    def _weights(self, columns: Array) -> Array:
        """The weights before any threshold, ``(m, m)``, from the columns ``(N, m)``."""

    def _learn(self, rows: Rows, within: BoolMatrix, lagged: BoolMatrix) -> Found:
        raw = np.asarray(self._weights(rows.current), dtype=np.float64)
        self._check_finite(Found(weights=raw))
        weights = np.where(within, raw, 0.0)
        kept = project_to_dag(np.where(np.abs(weights) > self.threshold, weights, 0.0))
        return Found(edges=kept != 0, weights=kept, confidence=self._confidence(weights))

    def _confidence(self, weights: Array) -> Array:
        """Monotone in absolute weight, and one half at the threshold."""
        size = np.abs(weights)
        confidence: Array = size / (size + self.threshold + 1e-12)
        return confidence
