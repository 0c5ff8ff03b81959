"""Transformers over the told edges of a story as tokens: standard, Attn+Mask and CATT."""

from __future__ import annotations

from typing import Literal, cast, get_args

import torch
from torch import Tensor, nn

from causal_rl.attention import CausalAttention
from causal_rl.attention.block import EncoderBlock
from causal_rl.devices import device_of
from causal_rl.discovery.cross_sample import CrossSampleAttention
from causal_rl.downstream.stories import StoryBatch

EdgeAttention = Literal["full", "line-graph", "catt"]
EDGE_ATTENTIONS: tuple[EdgeAttention, ...] = get_args(EdgeAttention)


class EdgeTokenTransformer(nn.Module):
    """A pre-norm transformer; a token is a told edge (head, relation, tail), one is the query.

    Entities are numbers with learned embeddings, other ones for heads and for tails: rename them
    at random in training (`StoryTraining.slots`), so that all are trained and none means anything.
    The answer is read from the query's token.

    Args:
        n_relations: R.
        slots: entities that there are embeddings for.
        embed_dim: features of a token.
        num_layers: blocks.
        num_heads: heads; divides ``embed_dim``.
        attention: "full"; "line-graph" (Attn+Mask), softmax(A + log M) where M is 1 for tokens
            that share an entity, fixed; "catt", full attention plus attention over a learned
            dictionary of tokens of other stories.
        dictionary: entries of the latter, of each block.
        seed: of the first weights.

    Raises:
        ValueError: an unknown ``attention``, a size below 1, heads that do not divide.
    """

    def __init__(
        self,
        n_relations: int,
        *,
        slots: int = 12,
        embed_dim: int = 48,
        num_layers: int = 4,
        num_heads: int = 4,
        attention: EdgeAttention = "full",
        dictionary: int = 64,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if attention not in EDGE_ATTENTIONS:
            raise ValueError(f"attention: {attention!r}; allowed: {', '.join(EDGE_ATTENTIONS)}")
        sizes = {
            "n_relations": n_relations,
            "slots": slots,
            "num_layers": num_layers,
            "dictionary": dictionary,
        }
        for name, size in sizes.items():
            if size < 1:
                raise ValueError(f"{name}: {size}; allowed: >= 1")
        self.attention: EdgeAttention = attention
        self.slots = slots
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            generator = torch.Generator().manual_seed(seed)
            # The last relation is "what is asked".
            self.relation = nn.Embedding(n_relations + 1, embed_dim)
            self.head = nn.Embedding(slots, embed_dim)
            self.tail = nn.Embedding(slots, embed_dim)
            self.blocks = nn.ModuleList(
                EncoderBlock(embed_dim, num_heads, CausalAttention, 4 * embed_dim, 0.0)
                for _ in range(num_layers)
            )
            if attention == "catt":
                for block in self.blocks:
                    first = torch.randn(dictionary, embed_dim, generator=generator)
                    inner = cast(EncoderBlock, block).attention
                    block.attention = CrossSampleAttention(inner, first, generator=generator)
            self.norm = nn.LayerNorm(embed_dim)
            self.out = nn.Linear(embed_dim, n_relations)

    def answer(self, stories: StoryBatch) -> Tensor:
        """(B, R) log-probabilities of the answers.

        Raises:
            ValueError: more entities than ``slots``.
        """
        if stories.n_entities > self.slots:
            raise ValueError(
                f"stories: entities numbered up to {stories.n_entities - 1}; allowed: below "
                f"slots={self.slots}"
            )
        stories = stories.to(device_of(self))
        asked = torch.full_like(stories.query[:, :1], self.relation.num_embeddings - 1)
        query = torch.cat([stories.query[:, :1], asked, stories.query[:, 1:]], dim=1)
        tokens = torch.cat([query[:, None], stories.told], dim=1)
        real = tokens[..., 0] >= 0
        i, r, j = tokens.clamp(min=0).unbind(-1)
        x = self.head(i) + self.relation(r) + self.tail(j)
        graph = (
            edge_graph(tokens)
            if self.attention == "line-graph"
            else real[:, None] & real[..., None]
        )
        for block in self.blocks:
            x = block(x, graph)
        return torch.log_softmax(self.out(self.norm(x[:, 0])), dim=-1)


def edge_graph(tokens: Tensor) -> Tensor:
    """The line graph: which tokens share an entity.

    Args:
        tokens: (B, n, 3) integers (head, relation, tail), -1 in padding.

    Returns:
        (B, n, n) booleans, symmetric; padding is joined to nothing.
    """
    ends = tokens[..., ::2]
    shared = (ends[:, :, None, :, None] == ends[:, None, :, None, :]).any(dim=(-1, -2))
    real = tokens[..., 0] >= 0
    return shared & real[:, None] & real[..., None]
