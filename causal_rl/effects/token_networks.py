"""Estimators on the agents' encoder: a token for every covariate and the treatment."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, TypedDict

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from causal_rl.attention import AttentionForm, Modulation, SCMEncoder
from causal_rl.effects.base import Array
from causal_rl.effects.networks import EffectNetwork, NetworkEstimator
from causal_rl.effects.representation import perceptron
from causal_rl.graphs import CausalGraph
from causal_rl.options import check_integer

BoolMatrix = NDArray[np.bool_]


class TokenSizes(TypedDict):
    """Sizes of a `TokenNetwork`."""

    embed_dim: int
    num_layers: int
    num_heads: int


class TokenNetwork(EffectNetwork):
    """E[Y | do(t), x]: the encoder over covariates and treatment, and a head for the outcome.

    Args:
        graph: ``(p + 1, p + 1)`` over the covariates and the treatment, the last; [i, j] nonzero
            where j may attend to i; for the form "multi-level" ``(L, p + 1, p + 1)``.
        readout: ``(p + 1,)`` what the outcome may be told from.
        n_arms: K.
        embed_dim: features of a token.
        num_layers: blocks.
        num_heads: heads of attention.
        modulation: as in `SCMEncoder`.
        attention: form of attention, as in `SCMEncoder`.
    """

    arms: Tensor

    def __init__(
        self,
        graph: BoolMatrix | Array,
        readout: BoolMatrix,
        n_arms: int,
        *,
        embed_dim: int,
        num_layers: int,
        num_heads: int,
        modulation: Modulation = "hard",
        attention: AttentionForm = "causal",
    ) -> None:
        super().__init__()
        self.encoder = SCMEncoder(
            len(readout), embed_dim, num_layers, num_heads, modulation, pooling="linear",
            attention=attention,
        )  # fmt: skip
        self.encoder.set_graph(torch.from_numpy(graph), torch.from_numpy(readout))
        self.head = perceptron(embed_dim, 2 * embed_dim, 1)
        # Arms as values from -1 to 1.
        self.register_buffer("arms", torch.linspace(-1.0, 1.0, n_arms))

    def outcomes(self, X: Tensor) -> Tensor:
        """See `EffectNetwork.outcomes`."""
        arms = torch.arange(len(self.arms), device=X.device)
        return torch.stack([self.factual(X, arm.expand(len(X))) for arm in arms], dim=1)

    def factual(self, X: Tensor, t: Tensor) -> Tensor:
        """See `EffectNetwork.factual`."""
        values = torch.cat([X, self.arms[t][:, None]], dim=1)
        found: Tensor = self.head(functional.elu(self.encoder(values))).squeeze(-1)
        return found


class TokenEstimator(NetworkEstimator):
    """An estimator with a `TokenNetwork`; subclasses say which graph it is under.

    Args:
        embed_dim: features of a token.
        num_layers: blocks of the encoder.
        num_heads: heads of attention.
        steps: as in `NetworkEstimator`.
        batch_size: as in `NetworkEstimator`.
        learning_rate: as in `NetworkEstimator`.
        patience: as in `NetworkEstimator`.
        **options: as in `NetworkEstimator`.
    """

    def __init__(
        self,
        *,
        embed_dim: int = 32,
        num_layers: int = 1,
        num_heads: int = 2,
        steps: int = 500,
        batch_size: int = 64,
        learning_rate: float = 0.008,
        patience: int = 200,
        **options: Any,
    ) -> None:
        super().__init__(
            steps=steps,
            batch_size=batch_size,
            learning_rate=learning_rate,
            patience=patience,
            **options,
        )
        self.embed_dim = embed_dim
        self.num_layers = num_layers
        self.num_heads = num_heads

    def check_options(self) -> None:
        """Check the options; see `EffectEstimator.check_options`."""
        super().check_options()
        for name in ("embed_dim", "num_layers", "num_heads"):
            check_integer(name, getattr(self, name), least=1)
        if self.embed_dim % self.num_heads:
            raise ValueError(f"num_heads is {self.num_heads}; it must divide {self.embed_dim}")

    @abstractmethod
    def _tokens_graph(self, X: Tensor, t: Tensor, y: Tensor) -> BoolMatrix:
        """``(p + 2, p + 2)``, covariates, treatment, outcome: [i, j] where j may attend to i."""

    def _build(self, X: Tensor, t: Tensor, y: Tensor) -> EffectNetwork:
        return self._network_of(self._tokens_graph(X, t, y))

    def _network_of(self, graph: BoolMatrix) -> TokenNetwork:
        return TokenNetwork(graph[:-1, :-1], graph[:-1, -1], self.n_arms_, **self._sizes())

    def _sizes(self) -> TokenSizes:
        return {
            "embed_dim": self.embed_dim,
            "num_layers": self.num_layers,
            "num_heads": self.num_heads,
        }


class TransformerEstimator(TokenEstimator):
    """The standard transformer: every token attends to every other.

    Without a graph it reads all columns, whatever their roles.

    Args: as in `TokenEstimator`.
    """

    def _tokens_graph(self, X: Tensor, t: Tensor, y: Tensor) -> BoolMatrix:
        n = X.shape[1] + 2
        graph: BoolMatrix = ~np.eye(n, dtype=bool)
        return graph


def edges_between(graph: CausalGraph, names: Sequence[str]) -> BoolMatrix:
    """``(n, n)`` the edges of a graph between some of its variables, in the order given."""
    at = [graph.index(name) for name in names]
    found: BoolMatrix = graph.contemporaneous[np.ix_(at, at)]
    return found
