"""A small pre-norm transformer that classifies sequences under a graph over positions and label."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn
from torch.nn import functional

from causal_rl.attention import PreparedMask
from causal_rl.attention.block import EncoderBlock
from causal_rl.attention.modulation import Graph
from causal_rl.devices import device_of
from causal_rl.discovery.representation_graph import GraphFromRepresentations
from causal_rl.downstream.cue_game import CueRows
from causal_rl.downstream.token_model import TokenOptions, token_blocks, train_model
from causal_rl.options import check_integer, check_number


@dataclass(frozen=True)
class ClassifierOptions(TokenOptions):
    """What a classifier is, and how it is trained.

    Args: as in `TokenOptions`, and
        hide: probability with which a word is hidden in training, so that predictions without
            some words mean something; in [0, 1).
    """

    embed_dim: int = 32
    num_layers: int = 2
    num_heads: int = 2
    feedforward_dim: int = 128
    dropout: float = 0.0
    steps: int = 600
    batch: int = 128
    learning_rate: float = 3e-3
    weight_decay: float = 0.0
    hide: float = 0.0

    def check(self) -> None:
        """Validate; see `TokenOptions.check`."""
        super().check()
        check_number("hide", self.hide, least=0.0, below=1.0)


class CueClassifier(nn.Module):
    """Words at their positions and a token of the label, from which the label is read.

    The graph is over ``length`` positions and the label, last, so that with a "hard" modulation the
    label hears its ancestors, up to ``num_layers`` edges away, and nothing else.

    Args:
        length: positions.
        words: that there are for a position.
        options: sizes; those of training are not used here.

    Attributes:
        rows_seen: number of rows that it was trained on, 0 before.
    """

    def __init__(self, length: int, words: int, options: ClassifierOptions) -> None:
        super().__init__()
        width = options.embed_dim
        self.length, self.words, self.rows_seen = length, words, 0
        self.word = nn.Embedding(length * words, width)
        self.absent = nn.Parameter(0.5 * torch.randn(length, width))
        self.label = nn.Parameter(0.5 * torch.randn(width))
        self.blocks = token_blocks(options)
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, 2)
        self.register_buffer("first", torch.arange(length) * words, persistent=False)
        nn.init.normal_(self.word.weight, std=0.5)

    def embed(self, tokens: Tensor, hidden: Tensor | None = None) -> Tensor:
        """The tokens before any attention.

        Args:
            tokens: (B, length) numbers of words.
            hidden: (B, length) bool, words that are not to be seen; none if None.

        Returns:
            (B, length + 1, embed_dim), the label's last.
        """
        x: Tensor = self.word(tokens + cast(Tensor, self.first))
        if hidden is not None:
            x = torch.where(hidden.unsqueeze(-1), self.absent, x)
        return torch.cat([x, self.label.expand(len(x), 1, -1)], dim=1)

    def encode(
        self, tokens: Tensor, graph: Graph | PreparedMask, hidden: Tensor | None = None
    ) -> Tensor:
        """The tokens after all blocks, (B, length + 1, embed_dim).

        Args:
            tokens: (B, length).
            graph: (length + 1, length + 1), [i, j] true where j may look at i; or a prepared one.
            hidden: as `embed`.
        """
        x = self.embed(tokens, hidden)
        for block in self.blocks:
            x = block(x, graph)
        return x

    def forward(
        self, tokens: Tensor, graph: Graph | PreparedMask, hidden: Tensor | None = None
    ) -> Tensor:
        """Log odds (B, 2) of the label; arguments as `encode`."""
        logits: Tensor = self.head(self.norm(self.encode(tokens, graph, hidden)[:, -1]))
        return logits

    def prepare(self, graph: ArrayLike) -> PreparedMask:
        """What depends on a graph alone, made once."""
        block = cast(EncoderBlock, self.blocks[0])
        numbers = np.asarray(graph, dtype=np.float32)
        return block.attention.prepare(torch.as_tensor(numbers, device=device_of(self)))

    @torch.no_grad()
    def attention(
        self, tokens: Tensor, graph: Graph | PreparedMask, hidden: Tensor | None = None
    ) -> NDArray[np.float64]:
        """The last block's weights, (B, heads, length + 1, length + 1) as [query, key]."""
        x = self.embed(tokens, hidden)
        for block in self.blocks[:-1]:
            x = block(x, graph)
        last = cast(EncoderBlock, self.blocks[-1])
        weights = last.attention(last.norm_attention(x), graph, need_weights=True)[1]
        found: NDArray[np.float64] = weights.double().cpu().numpy()
        return found


class _UnderGraph(nn.Module):
    """A classifier as a function of the words alone, some of them hidden in training."""

    def __init__(
        self, model: CueClassifier, graph: Callable[[], Graph | PreparedMask], hide: float
    ) -> None:
        super().__init__()
        self.model, self.graph, self.hide = model, graph, hide

    def forward(self, tokens: Tensor) -> Tensor:
        hidden = (torch.rand(tokens.shape) < self.hide).to(tokens.device) if self.hide else None
        logits: Tensor = self.model(tokens, self.graph(), hidden)
        return logits


def train_classifier(
    rows: CueRows,
    words: int,
    graph: ArrayLike | GraphFromRepresentations,
    options: ClassifierOptions | None = None,
    *,
    rounds: int = 4,
    device: str | torch.device = "cpu",
) -> CueClassifier:
    """Train a classifier under a graph.

    Args:
        rows: to learn from. "irm" draws half of a batch from each environment that there is.
        words: that there are for a position.
        graph: (length + 1, length + 1), fixed; or Algorithm 1, which then changes its graph
            ``rounds`` times while the classifier is trained, by what the deepest layer holds.
        options: sizes and training; the defaults if None.
        rounds: see ``graph``.
        device: of the classifier.

    Returns:
        The classifier, in evaluation mode.

    Raises:
        ValueError: an option out of range, a graph of another size, or "irm" with fewer than two
            environments.
    """
    options = ClassifierOptions() if options is None else options
    options.check()
    check_integer("rounds", rounds, least=1)
    length = rows.tokens.shape[1]
    learner = graph if isinstance(graph, GraphFromRepresentations) else None
    fixed = None if isinstance(graph, GraphFromRepresentations) else np.atleast_1d(graph)
    n = learner.n if learner is not None else len(np.asarray(fixed))
    if n != length + 1:
        raise ValueError(f"graph is over {n} nodes; it must be over {length + 1}, the label last")
    data = (torch.from_numpy(rows.tokens), torch.from_numpy(rows.labels))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(options.seed)
        model = CueClassifier(length, words, options).to(device)
    mask = None if fixed is None else model.prepare(fixed)
    every = max(options.steps // (rounds + 1), 1)

    def graph_now() -> Graph | PreparedMask:
        if mask is None and learner is not None:
            return learner.graph.detach().to(device)
        return cast(Graph, mask)

    def learn(step: int) -> None:
        if learner is not None and step % every == 0:
            _learn_graph(model, data, learner)

    train_model(
        _UnderGraph(model, graph_now, options.hide),
        data[:1],
        data[1],
        options,
        environments=torch.from_numpy(rows.environment),
        after_step=learn,
    )
    model.rows_seen = len(rows)
    return model.eval()


def _learn_graph(
    model: CueClassifier, data: tuple[Tensor, Tensor], learner: GraphFromRepresentations
) -> None:
    """Lines 14 to 36 of Algorithm 1 on a sample of the rows, the network standing still."""
    device = device_of(model)
    chosen = torch.randperm(len(data[1]))[: learner.capacity]
    for start in range(0, len(chosen), 500):
        batch = chosen[start : start + 500]
        deepest = model.encode(data[0][batch].to(device), learner.graph.to(device))
        logits = model.head(model.norm(deepest[:, -1]))
        loss = functional.cross_entropy(logits, data[1][batch].to(device))
        (gradient,) = torch.autograd.grad(loss, learner.graph)
        learner.observe(deepest)
        learner.add_gradient(gradient)
    learner.step()


@torch.no_grad()
def predict(model: CueClassifier, rows: CueRows, graph: ArrayLike) -> NDArray[np.int64]:
    """The labels that a classifier gives.

    Args:
        model: trained.
        rows: to be classified.
        graph: (length + 1, length + 1), that of the training.

    Returns:
        (N,) of 0 and 1.
    """
    tokens = torch.from_numpy(rows.tokens).to(device_of(model))
    found: NDArray[np.int64] = model(tokens, model.prepare(graph)).argmax(dim=1).cpu().numpy()
    return found
