"""Small transformers to read attention from: over rows of a table, and over sessions of items.

Both are trained as BERT is: some tokens are hidden, and predicted from those that are left.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn
from torch.nn import functional

from causal_rl.attention import CausalAttention
from causal_rl.options import check_integer, check_number

Array = NDArray[np.float64]

# Tokens are hidden with a probability drawn for each sequence, so that models see few and many.
_HIDDEN = (0.1, 0.5)
_LEAST_ERROR = 1e-2


@dataclass(frozen=True)
class ModelOptions:
    """What a model is, and how it is trained.

    Args:
        embed_dim: features of a token; the paper's number of rows behind its correlations.
        num_layers: blocks of attention; the last one's is read.
        num_heads: heads; divides ``embed_dim``.
        steps: updates of the weights; 0 leaves the model untrained, as a control.
        batch: sequences an update.
        learning_rate: of Adam, falling to zero by the cosine.
        seed: of weights, batches and hidden tokens.
    """

    embed_dim: int = 32
    num_layers: int = 2
    num_heads: int = 2
    steps: int = 500
    batch: int = 64
    learning_rate: float = 3e-3
    seed: int = 0

    def check(self) -> None:
        """Validate.

        Raises:
            ValueError: out of range.
            TypeError: no number.
        """
        for name in ("embed_dim", "num_layers", "num_heads", "batch"):
            check_integer(name, getattr(self, name), least=1)
        check_integer("steps", self.steps, least=0)
        check_integer("seed", self.seed, least=0)
        check_number("learning_rate", self.learning_rate, least=0.0, open_end=True)
        if self.embed_dim % self.num_heads:
            raise ValueError(
                f"num_heads is {self.num_heads}; it must divide embed_dim={self.embed_dim}"
            )


class TokenModel(nn.Module, ABC):
    """Blocks of attention between all tokens, and a prediction of each token.

    Args:
        options: sizes; those of training are not used here.
    """

    def __init__(self, options: ModelOptions) -> None:
        super().__init__()
        width = options.embed_dim
        self.blocks = nn.ModuleList(
            _Block(width, options.num_heads) for _ in range(options.num_layers)
        )
        self.norm = nn.LayerNorm(width)

    @abstractmethod
    def embed(self, tokens: Tensor, hidden: Tensor) -> Tensor:
        """The embeddings (B, n, embed_dim) of tokens (B, n), some hidden (B, n) bool."""

    @abstractmethod
    def predict(self, tokens: Tensor, hidden: Tensor) -> Tensor:
        """What the model expects at every token, (B, n) or (B, n, items)."""

    @abstractmethod
    def loss(self, tokens: Tensor, hidden: Tensor) -> Tensor:
        """Mean loss of the predictions of the hidden tokens."""

    def encode(self, tokens: Tensor, hidden: Tensor) -> Tensor:
        """The tokens (B, n, embed_dim) after all blocks."""
        x = self.embed(tokens, hidden)
        for block in self.blocks:
            x = block(x)
        out: Tensor = self.norm(x)
        return out

    @torch.no_grad()
    def read(self, tokens: Tensor, hidden: Tensor | None = None) -> Tensor:
        """The last layer's attention.

        Args:
            tokens: (B, n).
            hidden: (B, n) bool; nothing if None.

        Returns:
            (B, heads, n, n) as [query, key], rows of sum 1.
        """
        hidden = torch.zeros(tokens.shape, dtype=torch.bool) if hidden is None else hidden
        x = self.embed(tokens, hidden)
        for block in self.blocks[:-1]:
            x = block(x)
        last = self.blocks[-1]
        if not isinstance(last, _Block):  # pragma: no cover - built above
            raise TypeError("the model ends in a block of attention")
        return last.look(x)

    @torch.no_grad()
    def read_hidden(self, tokens: Tensor) -> Tensor:
        """The last layer's attention, each token's row with this token alone hidden.

        Training asks nothing of a token that it shows; the row by which a token is predicted is
        that of the pass in which it is hidden.

        Args:
            tokens: (B, n).

        Returns:
            (B, heads, n, n) as `read`; n passes a sequence.
        """
        batch, n = tokens.shape
        own = torch.arange(n)
        each = torch.eye(n, dtype=torch.bool).repeat(batch, 1)
        attention = self.read(tokens.repeat_interleave(n, dim=0), each)
        # Advanced indices apart from each other: their axis comes first, (n, B, heads, n).
        return attention.view(batch, n, -1, n, n)[:, own, :, own].permute(1, 2, 0, 3)


class RowModel(TokenModel):
    """A transformer over the variables of a row: each is a token, of its value and its identity.

    Args:
        n: variables.
        options: sizes.
    """

    def __init__(self, n: int, options: ModelOptions) -> None:
        super().__init__(options)
        width = options.embed_dim
        self.identity = nn.Parameter(0.5 * torch.randn(n, width))
        self.absent = nn.Parameter(0.5 * torch.randn(width))
        self.value = nn.Sequential(nn.Linear(1, width), nn.Tanh(), nn.Linear(width, width))
        self.head = nn.Linear(width, n)

    def embed(self, tokens: Tensor, hidden: Tensor) -> Tensor:
        """See `TokenModel.embed`; tokens are values."""
        shown = self.value(tokens.unsqueeze(-1))
        return self.identity + torch.where(hidden.unsqueeze(-1), self.absent, shown)

    def predict(self, tokens: Tensor, hidden: Tensor) -> Tensor:
        """Expected values (B, n)."""
        values: Tensor = self.head(self.encode(tokens, hidden))
        return values.diagonal(dim1=1, dim2=2)

    def implied_covariance(self, tokens: Tensor) -> Array:
        """The covariance that the model's predictions imply, were they linear; no attention in it.

        Row j of B holds the mean derivatives of variable j's prediction, j hidden, by the others,
        and s_j the mean square of its errors. Of a linear model of all on all, the precision
        is ``(I - B)[j, i] / s_j``; here both directions are averaged, and eigenvalues below .01
        raised to it.

        Args:
            tokens: (B, n) standardised values.

        Returns:
            (n, n) float64, positive definite.
        """
        n = tokens.shape[1]
        precision = np.eye(n)
        for j in range(n):
            given = tokens.clone().requires_grad_(True)
            hidden = torch.zeros(tokens.shape, dtype=torch.bool)
            hidden[:, j] = True
            expected = self.predict(given, hidden)[:, j]
            (slopes,) = torch.autograd.grad(expected.sum(), given)
            error = float(((expected.detach() - tokens[:, j]) ** 2).mean())
            precision[j] -= slopes.mean(dim=0).numpy()
            precision[j] /= max(error, _LEAST_ERROR)
        values, vectors = np.linalg.eigh((precision + precision.T) / 2)
        return np.asarray((vectors / np.maximum(values, _LEAST_ERROR)) @ vectors.T)

    def loss(self, tokens: Tensor, hidden: Tensor) -> Tensor:
        """Mean squared error."""
        error = (self.predict(tokens, hidden) - tokens) ** 2
        return error[hidden].mean()


class ItemModel(TokenModel):
    """A transformer over the items of a session, each a token of the item and its place.

    Args:
        items: size of the vocabulary.
        length: of a session, the place to be predicted included.
        options: sizes.
    """

    def __init__(self, items: int, length: int, options: ModelOptions) -> None:
        super().__init__(options)
        width = options.embed_dim
        self.item = nn.Embedding(items + 1, width)
        self.place = nn.Parameter(0.2 * torch.randn(length, width))
        self.head = nn.Linear(width, items)
        self.items = items
        self.length = length
        nn.init.normal_(self.item.weight, std=0.5)

    def embed(self, tokens: Tensor, hidden: Tensor) -> Tensor:
        """See `TokenModel.embed`; tokens are numbers of items."""
        shown: Tensor = self.item(torch.where(hidden, self.items, tokens))
        return shown + self.place

    def predict(self, tokens: Tensor, hidden: Tensor) -> Tensor:
        """Log odds (B, n, items)."""
        logits: Tensor = self.head(self.encode(tokens, hidden))
        return logits

    def loss(self, tokens: Tensor, hidden: Tensor) -> Tensor:
        """Mean cross-entropy."""
        logits = self.predict(tokens, hidden)
        return functional.cross_entropy(logits[hidden], tokens[hidden])


class _Block(nn.Module):
    """Pre-norm attention between all tokens, and a feed-forward net."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.before = nn.LayerNorm(width)
        self.attention = CausalAttention(width, heads)
        self.between = nn.LayerNorm(width)
        self.feedforward = nn.Sequential(
            nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )

    def look(self, x: Tensor) -> Tensor:
        """The weights of attention (B, heads, n, n) on tokens (B, n, width)."""
        weights: Tensor = self.attention(self.before(x), _everything(x), need_weights=True)[1]
        return weights

    def forward(self, x: Tensor) -> Tensor:
        """Tokens (B, n, width) to tokens."""
        x = x + self.attention(self.before(x), _everything(x))
        out: Tensor = x + self.feedforward(self.between(x))
        return out


def _everything(x: Tensor) -> Tensor:
    """The graph in which every token may look at every other."""
    return torch.ones(x.shape[1], x.shape[1])


Model = TypeVar("Model", bound=TokenModel)


def train_rows(values: ArrayLike, options: ModelOptions | None = None) -> RowModel:
    """Train a transformer to predict hidden variables of a row from the others.

    Args:
        values: (N, n) numbers, of comparable scale.
        options: sizes and training; the defaults if None.

    Returns:
        The model, in evaluation mode.

    Raises:
        ValueError: another shape, NaN, or an option out of range.
    """
    options = ModelOptions() if options is None else options
    options.check()
    table = np.asarray(values, dtype=np.float32)
    if table.ndim != 2 or 0 in table.shape or not np.isfinite(table).all():
        raise ValueError(f"values must be (N, n) finite numbers, got shape {table.shape}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(options.seed)
        return _train(RowModel(table.shape[1], options), torch.from_numpy(table), options, 0.0)


def train_items(sessions: ArrayLike, items: int, options: ModelOptions | None = None) -> ItemModel:
    """Train a transformer to predict hidden items of a session, the last one above all.

    Args:
        sessions: (N, length) numbers of items from 0 to ``items - 1``.
        items: size of the vocabulary.
        options: sizes and training; the defaults if None.

    Returns:
        The model, in evaluation mode.

    Raises:
        ValueError: another shape, unknown items, or an option out of range.
    """
    options = ModelOptions() if options is None else options
    options.check()
    table = np.asarray(sessions)
    if table.ndim != 2 or 0 in table.shape or table.dtype.kind not in "iu":
        raise ValueError(f"sessions must be (N, length) integers, got {table.dtype} {table.shape}")
    if table.min() < 0 or table.max() >= items:
        raise ValueError(f"sessions must hold items from 0 to {items - 1}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(options.seed)
        model = ItemModel(items, table.shape[1], options)
        return _train(model, torch.from_numpy(table.astype(np.int64)), options, 0.5)


def _train(model: Model, data: Tensor, options: ModelOptions, last: float) -> Model:
    """Adam on the loss of hidden tokens; in a share ``last`` of sequences the last is one."""
    if not options.steps:
        return model.eval()
    optimiser = torch.optim.Adam(model.parameters(), lr=options.learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, options.steps)
    low, high = _HIDDEN
    for _ in range(options.steps):
        tokens = data[torch.randint(len(data), (options.batch,))]
        share = low + (high - low) * torch.rand(len(tokens), 1)
        hidden = torch.rand(tokens.shape) < share
        # A token at least, so that there is a loss.
        hidden[torch.arange(len(tokens)), torch.randint(tokens.shape[1], (len(tokens),))] = True
        hidden[:, -1] |= torch.rand(len(tokens)) < last
        loss = model.loss(tokens, hidden)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()
    return model.eval()
