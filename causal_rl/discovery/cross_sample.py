"""CATT's second attention: over tokens of other samples, beside that over the sample's own."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from causal_rl.attention import CausalAttention, PreparedMask
from causal_rl.attention.modulation import Graph
from causal_rl.discovery.masked_predictor import MaskedPredictor


class CrossSampleAttention(nn.Module):
    """In-sample attention plus attention over a learned dictionary of tokens.

    Args:
        inner: the in-sample attention.
        dictionary: ``(K, E)`` first entries.
        generator: draws the first weights.
    """

    def __init__(
        self, inner: CausalAttention, dictionary: Tensor, *, generator: torch.Generator
    ) -> None:
        super().__init__()
        width = inner.embed_dim
        self.inner = inner
        self.dictionary = nn.Parameter(dictionary.clone())

        def drawn(columns: int) -> nn.Parameter:
            return nn.Parameter(torch.randn(width, columns, generator=generator) * width**-0.5)

        self.query, self.key_value = drawn(width), drawn(2 * width)
        self.out = nn.Parameter(torch.zeros(width, width))

    def forward(
        self, x: Tensor, graph: Graph | PreparedMask, need_weights: bool = False
    ) -> Tensor | tuple[Tensor, Tensor]:
        """The sum of both; the weights are those of the in-sample attention."""
        heads, width = self.inner.num_heads, self.inner.embed_dim
        batch, n, _ = x.shape
        query = (x @ self.query).view(batch, n, heads, -1).transpose(1, 2)
        key, value = (
            part.view(-1, heads, width // heads).transpose(0, 1)
            for part in (self.dictionary @ self.key_value).chunk(2, dim=-1)
        )
        scores = query @ key.transpose(-1, -2) * (width // heads) ** -0.5
        mixed = (scores.softmax(-1) @ value).transpose(1, 2).reshape(batch, n, width)
        other = mixed @ self.out
        if need_weights:
            own, weights = self.inner(x, graph, True)
            return own + other, weights
        summed: Tensor = self.inner(x, graph) + other
        return summed

    def prepare(self, graph: Graph) -> PreparedMask:
        """As `CausalAttention.prepare`."""
        return self.inner.prepare(graph)


def add_cross_sample(
    model: MaskedPredictor, columns: Tensor, *, entries: int, generator: torch.Generator
) -> None:
    """Give every block of a predictor a cross-sample attention.

    Args:
        model: changed in place.
        columns: ``(N, m)`` the data, whose tokens the dictionaries start from.
        entries: of each dictionary.
        generator: draws them.
    """
    encoder = model.encoder
    with torch.no_grad():
        tokens = encoder.value(model.token_values(columns).unsqueeze(-1)) + encoder.identity
        values = tokens[:, model.n_nodes :].flatten(0, 1)
        first = values[torch.randint(len(values), (entries,), generator=generator)]
        for block in encoder.blocks:
            inner = cast(CausalAttention, block.attention)
            wrapped = CrossSampleAttention(inner, first.cpu(), generator=generator)
            block.attention = wrapped.to(columns.device)
