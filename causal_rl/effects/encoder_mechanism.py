"""One variable's mechanism inside a shared encoder: its query, and its parents' value tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from causal_rl.attention import PreparedMask, prepare_mask
from causal_rl.discovery.masked_predictor import MaskedPredictor
from causal_rl.scm.mechanisms import ColumnMechanism

Array = NDArray[np.float64]

_BATCH = 4096


@dataclass(frozen=True, eq=False)
class EncoderMechanism(ColumnMechanism):
    """``center + scale * f_j(parents)``, f_j what the network tells of variable j.

    Only the query token of j and the value tokens of its parents are computed: no other value is
    among the inputs, whatever the depth.

    Attributes:
        network: shared by all variables of a model.
        variable: j.
        parents: columns of the parents.
        shift: ``(k,)`` taken from the parents' values.
        divide: ``(k,)`` by which they are divided then.
        center: of the outcome.
        scale: of the outcome.
    """

    network: MaskedPredictor
    variable: int
    parents: tuple[int, ...]
    shift: Array
    divide: Array
    center: float = 0.0
    scale: float = 1.0
    n_parents: int | None = field(init=False, repr=False)
    _tokens: torch.Tensor = field(init=False, repr=False)
    _mask: PreparedMask = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "n_parents", len(self.parents))
        m = self.network.n_nodes
        tokens = torch.tensor([self.variable, *(m + i for i in self.parents)])
        graph = torch.zeros(len(tokens), len(tokens), dtype=torch.bool)
        graph[1:, 0] = True
        object.__setattr__(self, "_tokens", tokens)
        object.__setattr__(self, "_mask", prepare_mask(graph, "hard"))

    def evaluate(self, columns: Sequence[Array], batch: int) -> Array:
        """The network's answer; see `Mechanism.evaluate`."""
        parts = []
        for start in range(0, batch, _BATCH):
            rows = slice(start, min(start + _BATCH, batch))
            given = np.zeros((rows.stop - rows.start, 0))
            if columns:
                given = (np.column_stack([c[rows] for c in columns]) - self.shift) / self.divide
            with torch.no_grad():
                told = self.answer(torch.from_numpy(given.astype(np.float32)))
            parts.append(told.double().numpy())
        return self.center + self.scale * np.concatenate(parts)

    def answer(self, parents: torch.Tensor) -> torch.Tensor:
        """``(batch, k)`` standardised parents to ``(batch,)``, with gradients."""
        network = self.network
        values = parents.new_zeros(len(parents), network.encoder.n_variables)
        if self.parents:
            values[:, self._tokens[1:]] = parents
        token = network.encoder.tokens(values, self._mask, self._tokens)[:, 0]
        told: torch.Tensor = token @ network.read[self.variable] + network.offset[self.variable]
        return told
