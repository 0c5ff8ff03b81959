"""A small transformer over words whose label reads the words that a graph lets it read."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn
from torch.nn import functional

from causal_rl.downstream.text_tokens import FILLER, ROLES
from causal_rl.downstream.token_model import TokenEncoder, TokenOptions

# Words on either side that a word may look at, where the graph is not full.
_WINDOW = 2


class TextTransformer(nn.Module):
    """The label's token and a token a word; the first is read.

    With a table of edges, a word has an edge to the label if its number and role have, and words
    have edges to those at most two places away in their sentence (a "not" before them) and to all
    of the other sentence. Without one everything is linked. Fillers have no edges.

    Args:
        n_words: numbers of words.
        longest: words of a text.
        classes: of the label.
        options: sizes.
        edges: ``(n_words, 5)`` bool, or None.

    Raises:
        ValueError: ``edges`` has another shape.
    """

    def __init__(
        self,
        n_words: int,
        longest: int,
        classes: int,
        options: TokenOptions,
        edges: ArrayLike | None = None,
    ) -> None:
        super().__init__()
        width = options.embed_dim
        table = None if edges is None else np.array(edges, dtype=bool)
        if table is not None and table.shape != (n_words, len(ROLES)):
            raise ValueError(f"edges has shape {table.shape}; it must be ({n_words}, {len(ROLES)})")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(options.seed)
            self.word = nn.Embedding(n_words, width)
            self.role = nn.Embedding(len(ROLES), width)
            self.place = nn.Parameter(0.1 * torch.randn(longest, width))
            self.label = nn.Parameter(0.5 * torch.randn(width))
            self.encoder = TokenEncoder(options)
            self.head = nn.Linear(width, classes)
        nn.init.normal_(self.word.weight, std=0.5, generator=_generator(options.seed))
        self.dropout = options.dropout
        self.edges: Tensor | None
        self.register_buffer("edges", None if table is None else torch.from_numpy(table))

    def graph(self, words: Tensor, roles: Tensor) -> Tensor:
        """(B, T + 1, T + 1), the label first; [b, i, j] true where j may look at i."""
        there = words != FILLER
        rows, length = words.shape
        if self.edges is None:
            seen = functional.pad(there, (1, 0), value=False)
            return seen[:, :, None].expand(rows, length + 1, length + 1)
        place = torch.arange(length, device=words.device)
        near = (place[:, None] - place[None, :]).abs() <= _WINDOW
        sentence = roles % 2
        same = sentence[:, :, None] == sentence[:, None, :]
        between = (near | ~same) & there[:, :, None]
        read = self.edges[words, roles] & there
        graph = torch.zeros(rows, length + 1, length + 1, dtype=torch.bool, device=words.device)
        graph[:, 1:, 1:] = between
        graph[:, 1:, 0] = read
        return graph

    def forward(self, words: Tensor, roles: Tensor) -> Tensor:
        """Logits (B, classes).

        Args:
            words: (B, T), as in `TextRows`.
            roles: (B, T).
        """
        x = self.word(words) + self.role(roles) + self.place[: words.shape[1]]
        x = torch.cat([self.label.expand(len(x), 1, -1), x], dim=1)
        x = functional.dropout(x, self.dropout, self.training)
        logits: Tensor = self.head(self.encoder(x, self.graph(words, roles)))
        return logits


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)
