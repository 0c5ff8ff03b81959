"""The Edge Transformer: states on pairs of entities and triangular attention, without a graph."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from causal_rl.devices import device_of
from causal_rl.downstream.stories import StoryBatch


class TriangularAttention(nn.Module):
    """A pair (i, j) attends over the entities l between: to the pairs (i, l) and (l, j).

    Bergen et al. (2021), "Systematic generalization with edge transformers", eq. 3-5:
    ``softmax_l(q(x_il) . k(x_lj) / sqrt(d)) (v1(x_il) * v2(x_lj))``, by heads, then a linear map.

    Args:
        embed_dim: features of a pair.
        num_heads: heads; divides ``embed_dim``.
    """

    def __init__(self, embed_dim: int, num_heads: int) -> None:
        super().__init__()
        if num_heads < 1 or embed_dim % num_heads:
            raise ValueError(f"num_heads: {num_heads}; allowed: a divisor of embed_dim {embed_dim}")
        self.num_heads = num_heads
        self.first = nn.Linear(embed_dim, 2 * embed_dim)
        self.second = nn.Linear(embed_dim, 2 * embed_dim)
        self.out = nn.Linear(embed_dim, embed_dim)

    def forward(self, x: Tensor, present: Tensor) -> Tensor:
        """New states.

        Args:
            x: (B, n, n, E) states of pairs.
            present: (B, n) booleans, which entities a story has; at least one.

        Returns:
            (B, n, n, E).
        """
        batch, n, _, width = x.shape

        def heads(part: Tensor) -> Tensor:
            return part.view(batch, n, n, self.num_heads, -1)

        query, left = map(heads, self.first(x).chunk(2, dim=-1))
        key, right = map(heads, self.second(x).chunk(2, dim=-1))
        # [b, h, l, i, j]: for every l a product of matrices over the features.
        q, k = query.permute(0, 3, 2, 1, 4), key.permute(0, 3, 1, 4, 2)
        scores = (q @ k) * (width // self.num_heads) ** -0.5
        scores = scores.masked_fill(~present[:, None, :, None, None], float("-inf"))
        weights = scores.softmax(dim=2)
        # Over l, for every feature a product of matrices once the weights are in.
        mixed = torch.einsum("bhlij,bilhd,bljhd->bijhd", weights, left, right)
        projected: Tensor = self.out(mixed.reshape(batch, n, n, width))
        return projected


class EdgeTransformer(nn.Module):
    """Pre-norm blocks of triangular attention over all ordered pairs of a story's entities.

    A pair starts from the embedding of the relation it was told, of "not told", or of "same
    entity"; the answer is read from the query's pair. Nothing depends on the entities' numbers.

    Args:
        n_relations: R.
        embed_dim: features of a pair.
        num_layers: blocks.
        num_heads: heads; divides ``embed_dim``.
        shared: all blocks have the same weights.
        seed: of the first weights.

    Raises:
        ValueError: a size below 1, heads that do not divide.
    """

    def __init__(
        self,
        n_relations: int,
        *,
        embed_dim: int = 48,
        num_layers: int = 4,
        num_heads: int = 4,
        shared: bool = False,
        seed: int = 0,
    ) -> None:
        super().__init__()
        for name, size in (("n_relations", n_relations), ("num_layers", num_layers)):
            if size < 1:
                raise ValueError(f"{name}: {size}; allowed: >= 1")
        self.n_relations, self.num_layers = n_relations, num_layers
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.relation = nn.Embedding(n_relations + 2, embed_dim)
            self.blocks = nn.ModuleList(
                _Block(embed_dim, num_heads) for _ in range(1 if shared else num_layers)
            )
            self.norm = nn.LayerNorm(embed_dim)
            self.out = nn.Linear(embed_dim, n_relations)

    def answer(self, stories: StoryBatch) -> Tensor:
        """(B, R) log-probabilities of the answers."""
        count, n, device = len(stories), stories.n_entities, device_of(self)
        stories = stories.to(device)
        numbers = torch.full((count, n, n), self.n_relations, device=device)
        numbers[:, torch.arange(n), torch.arange(n)] = self.n_relations + 1
        row, column = (stories.told[..., 0] >= 0).nonzero(as_tuple=True)
        i, r, j = stories.told[row, column].unbind(-1)
        numbers[row, i, j] = r
        present = torch.zeros(count, n, dtype=torch.bool, device=device)
        present[row, i] = present[row, j] = True
        rows = torch.arange(count, device=device)
        present[rows[:, None], stories.query] = True
        x = self.relation(numbers)
        for layer in range(self.num_layers):
            x = self.blocks[layer % len(self.blocks)](x, present)
        asked = x[rows, stories.query[:, 0], stories.query[:, 1]]
        return torch.log_softmax(self.out(self.norm(asked)), dim=-1)


class _Block(nn.Module):
    def __init__(self, embed_dim: int, num_heads: int) -> None:
        super().__init__()
        self.norm_attention = nn.LayerNorm(embed_dim)
        self.attention = TriangularAttention(embed_dim, num_heads)
        self.norm_feedforward = nn.LayerNorm(embed_dim)
        self.feedforward = nn.Sequential(
            nn.Linear(embed_dim, 4 * embed_dim), nn.ReLU(), nn.Linear(4 * embed_dim, embed_dim)
        )

    def forward(self, x: Tensor, present: Tensor) -> Tensor:
        x = x + self.attention(self.norm_attention(x), present)
        fed: Tensor = x + self.feedforward(self.norm_feedforward(x))
        return fed
