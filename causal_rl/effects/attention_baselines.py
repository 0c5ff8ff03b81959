"""Attention baselines on the same encoder: Attn+Mask, CATT and IRM."""

from __future__ import annotations

from typing import Any, Unpack, cast

import numpy as np
import torch
from torch import Tensor, nn

from causal_rl.attention import CausalAttention
from causal_rl.discovery.attention_baselines import correlated
from causal_rl.discovery.batch import Rows
from causal_rl.discovery.cross_sample import CrossSampleAttention
from causal_rl.effects.identify import Adjustment
from causal_rl.effects.networks import EffectNetwork
from causal_rl.effects.token_networks import (
    BoolMatrix,
    TokenEstimator,
    TokenNetwork,
    TokenSizes,
    TransformerEstimator,
    edges_between,
)
from causal_rl.options import check_number

# Of Attn+Mask's screening, a pair; entries of CATT's dictionary of other samples.
_LEVEL, _DICTIONARY = 0.01, 64


class MeanNetwork(EffectNetwork):
    """Of an outcome that may be told from nothing: its mean.

    Args:
        n_arms: K.
    """

    def __init__(self, n_arms: int) -> None:
        super().__init__()
        self.n_arms = n_arms
        self.mean = nn.Parameter(torch.zeros(()))

    def outcomes(self, X: Tensor) -> Tensor:
        """See `EffectNetwork.outcomes`."""
        return self.mean.expand(len(X), self.n_arms)


class AttnMaskEstimator(TokenEstimator):
    """Attn+Mask: attention under a mask that was made beforehand and stays.

    With a graph every variable sees its parents, mediators and all: a mask, and no adjustment.
    Without one it sees what it is rank-correlated with at level 0.01.

    Args: as in `TokenEstimator`.
    """

    def _adjust(self) -> Adjustment | None:
        return None

    def _tokens_graph(self, X: Tensor, t: Tensor, y: Tensor) -> BoolMatrix:
        if self.graph_ is not None:
            return edges_between(self.graph_, [*self.names_, self.treatment, self.outcome])
        columns = torch.cat([X, t[:, None], y[:, None]], dim=1).double().cpu().numpy()
        none = np.zeros(columns.shape, dtype=bool)
        return correlated(Rows(columns, np.zeros(columns.shape), none), _LEVEL)

    def _build(self, X: Tensor, t: Tensor, y: Tensor) -> EffectNetwork:
        graph = self._tokens_graph(X, t, y)
        if graph[:-1, -1].any():
            return self._network_of(graph)
        return MeanNetwork(self.n_arms_)


class CattEstimator(TransformerEstimator):
    """CATT (Yang et al. 2021): the transformer with attention over tokens of other samples.

    Beside the attention over a row's own tokens every block has one over a dictionary of 64 tokens,
    learned from tokens of the data, after the front-door criterion.

    Args: as in `TokenEstimator`.
    """

    def _build(self, X: Tensor, t: Tensor, y: Tensor) -> EffectNetwork:
        network = cast(TokenNetwork, super()._build(X, t, y))
        encoder = network.encoder
        generator = torch.Generator().manual_seed(self.seed)
        with torch.no_grad():
            values = torch.cat([X.cpu(), network.arms[t.cpu()][:, None]], dim=1)
            tokens = encoder.value(values.unsqueeze(-1)) + encoder.identity
            tokens = tokens.flatten(0, 1)
            chosen = torch.randint(len(tokens), (_DICTIONARY,), generator=generator)
        for block in encoder.blocks:
            inner = cast(CausalAttention, block.attention)
            block.attention = CrossSampleAttention(inner, tokens[chosen], generator=generator)
        return network


class InvariantNetwork(TokenNetwork):
    """A `TokenNetwork` whose loss wants one best scale in both environments.

    Args:
        graph: see `TokenNetwork`.
        readout: see `TokenNetwork`.
        n_arms: see `TokenNetwork`.
        direction: ``(p,)`` along which rows are told apart.
        threshold: rows beyond it are the second environment.
        penalty: weight of the squared gradients.
        **sizes: see `TokenNetwork`.
    """

    direction: Tensor

    def __init__(
        self,
        graph: BoolMatrix,
        readout: BoolMatrix,
        n_arms: int,
        *,
        direction: Tensor,
        threshold: float,
        penalty: float,
        **sizes: Unpack[TokenSizes],
    ) -> None:
        super().__init__(graph, readout, n_arms, **sizes)
        self.register_buffer("direction", direction)
        self.threshold, self.penalty = threshold, penalty

    def loss(self, X: Tensor, t: Tensor, y: Tensor) -> Tensor:
        """Mean squared error plus the penalty of IRMv1 in both environments."""
        found = self.factual(X, t)
        second = self.direction @ X.T > self.threshold
        total = ((found - y) ** 2).mean()
        for rows in (second, ~second):
            if bool(rows.any()):
                # The gradient of the environment's error in a scale of the outputs, at 1.
                slope = 2.0 * ((found[rows] - y[rows]) * found[rows]).mean()
                total = total + self.penalty * slope**2
        return total


class IrmEstimator(TransformerEstimator):
    """IRM (Arjovsky et al. 2019) on the standard transformer.

    A table comes without environments. They are made here: the halves of the rows below and above
    the median of the covariates' first principal component.

    Args:
        penalty: weight of IRMv1's penalty.
        **options: as in `TokenEstimator`.
    """

    def __init__(self, *, penalty: float = 1.0, **options: Any) -> None:
        super().__init__(**options)
        self.penalty = penalty

    def check_options(self) -> None:
        """Check the options; see `EffectEstimator.check_options`."""
        super().check_options()
        check_number("penalty", self.penalty, least=0.0)

    def _build(self, X: Tensor, t: Tensor, y: Tensor) -> EffectNetwork:
        direction = torch.linalg.svd(X - X.mean(0), full_matrices=False)[2][0]
        graph = self._tokens_graph(X, t, y)
        return InvariantNetwork(
            graph[:-1, :-1],
            graph[:-1, -1],
            self.n_arms_,
            direction=direction,
            threshold=float((X @ direction).median()),
            penalty=self.penalty,
            **self._sizes(),
        )
