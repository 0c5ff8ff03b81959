"""A small pre-norm transformer that classifies sequences under a graph over positions and label."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, cast

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn
from torch.nn import functional

from causal_rl.attention import CausalAttention, Modulation, PreparedMask
from causal_rl.attention.modulation import Graph
from causal_rl.discovery.cross_sample import CrossSampleAttention
from causal_rl.discovery.options import check_choice, check_integer, check_number
from causal_rl.discovery.representation_graph import GraphFromRepresentations
from causal_rl.downstream.cue_game import CueRows
from causal_rl.downstream.irm import irm_penalty

Objective = Literal["erm", "irm"]
OBJECTIVES: tuple[Objective, ...] = ("erm", "irm")

#: IRM's weight of the penalty, before and after the share of the steps that is trained without it.
_PENALTY = (1.0, 1e4)
_WARM = 0.4


@dataclass(frozen=True)
class ClassifierOptions:
    """What a classifier is, and how it is trained.

    Args:
        embed_dim: features of a token.
        num_layers: blocks.
        num_heads: heads; divides ``embed_dim``.
        feedforward_dim: of a block.
        modulation: of the attention by the graph.
        dictionary: entries of CATT's cross-sample attention; 0 for none.
        hide: probability with which a word is hidden in training, so that predictions without
            some words mean something; in [0, 1).
        steps: updates of the weights.
        batch: rows an update.
        learning_rate: highest of a cycle.
        objective: "erm", or "irm": the mean over environments plus IRMv1's penalty.
        seed: of weights, batches and hidden words.
    """

    embed_dim: int = 32
    num_layers: int = 2
    num_heads: int = 2
    feedforward_dim: int = 128
    modulation: Modulation = "hard"
    dictionary: int = 0
    hide: float = 0.0
    steps: int = 600
    batch: int = 128
    learning_rate: float = 3e-3
    objective: Objective = "erm"
    seed: int = 0

    def check(self) -> None:
        """Validate.

        Raises:
            ValueError: out of range.
            TypeError: no number.
        """
        for name in ("embed_dim", "num_layers", "num_heads", "feedforward_dim", "batch", "steps"):
            check_integer(name, getattr(self, name), least=1)
        for name in ("dictionary", "seed"):
            check_integer(name, getattr(self, name), least=0)
        check_number("hide", self.hide, least=0.0, below=1.0)
        check_number("learning_rate", self.learning_rate, least=0.0, open_end=True)
        check_choice("objective", self.objective, OBJECTIVES)
        if self.embed_dim % self.num_heads:
            raise ValueError(
                f"num_heads is {self.num_heads}; it must divide embed_dim={self.embed_dim}"
            )


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
        options.check()
        width = options.embed_dim
        self.length, self.words, self.rows_seen = length, words, 0
        self.word = nn.Embedding(length * words, width)
        self.absent = nn.Parameter(0.5 * torch.randn(length, width))
        self.label = nn.Parameter(0.5 * torch.randn(width))
        self.blocks = nn.ModuleList(_Block(options) for _ in range(options.num_layers))
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
        block = cast(_Block, self.blocks[0])
        return block.attention.prepare(torch.as_tensor(np.asarray(graph, dtype=np.float32)))

    @torch.no_grad()
    def attention(
        self, tokens: Tensor, graph: Graph | PreparedMask, hidden: Tensor | None = None
    ) -> NDArray[np.float64]:
        """The last block's weights, (B, heads, length + 1, length + 1) as [query, key]."""
        x = self.embed(tokens, hidden)
        for block in self.blocks[:-1]:
            x = block(x, graph)
        last = cast(_Block, self.blocks[-1])
        weights = last.attention(last.before(x), graph, need_weights=True)[1]
        found: NDArray[np.float64] = weights.double().numpy()
        return found

    def count(self) -> int:
        """Number of parameters that training changes."""
        return sum(p.numel() for p in self.parameters() if p.requires_grad)


class _Block(nn.Module):
    def __init__(self, options: ClassifierOptions) -> None:
        super().__init__()
        width = options.embed_dim
        self.before = nn.LayerNorm(width)
        attention: CausalAttention | CrossSampleAttention
        attention = CausalAttention(width, options.num_heads, options.modulation)
        if options.dictionary:
            generator = torch.Generator().manual_seed(options.seed)
            entries = torch.randn(options.dictionary, width, generator=generator)
            attention = CrossSampleAttention(attention, entries, generator=generator)
        self.attention = attention
        self.between = nn.LayerNorm(width)
        self.feedforward = nn.Sequential(
            nn.Linear(width, options.feedforward_dim),
            nn.GELU(),
            nn.Linear(options.feedforward_dim, width),
        )

    def forward(self, x: Tensor, graph: Graph | PreparedMask) -> Tensor:
        x = x + cast(Tensor, self.attention(self.before(x), graph))
        out: Tensor = x + self.feedforward(self.between(x))
        return out


def train_classifier(
    rows: CueRows,
    words: int,
    graph: ArrayLike | GraphFromRepresentations,
    options: ClassifierOptions | None = None,
    *,
    rounds: int = 4,
) -> CueClassifier:
    """Train a classifier under a graph.

    Args:
        rows: to learn from. "irm" draws half of a batch from each environment that there is.
        words: that there are for a position.
        graph: (length + 1, length + 1), fixed; or Algorithm 1, which then changes its graph
            ``rounds`` times while the classifier is trained, by what the deepest layer holds.
        options: sizes and training; the defaults if None.
        rounds: see ``graph``.

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
    places = [
        torch.from_numpy(np.flatnonzero(rows.environment == e)) for e in np.unique(rows.environment)
    ]
    if options.objective == "irm" and len(places) < 2:
        raise ValueError("objective is 'irm'; it needs rows from at least two environments")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(options.seed)
        model = CueClassifier(length, words, options)
        mask = None if fixed is None else model.prepare(fixed)
        data = (torch.from_numpy(rows.tokens), torch.from_numpy(rows.labels))
        _fit(model, data, places, mask, learner, options, rounds)
    model.rows_seen = len(rows)
    return model.eval()


def _fit(
    model: CueClassifier,
    data: tuple[Tensor, Tensor],
    places: list[Tensor],
    mask: PreparedMask | None,
    learner: GraphFromRepresentations | None,
    options: ClassifierOptions,
    rounds: int,
) -> None:
    tokens, labels = data
    optimiser = torch.optim.Adam(model.parameters(), lr=options.learning_rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, options.learning_rate, options.steps, pct_start=0.1
    )
    invariant = options.objective == "irm"
    for step in range(1, options.steps + 1):
        graph: Graph | PreparedMask
        graph = mask if learner is None else learner.graph.detach()  # type: ignore[assignment]
        if invariant:
            share = options.batch // len(places)
            drawn = [own[torch.randint(len(own), (share,))] for own in places]
        else:
            drawn = [torch.randint(len(labels), (options.batch,))]
        batch = torch.cat(drawn)
        hidden = torch.rand(tokens[batch].shape) < options.hide if options.hide else None
        logits = model(tokens[batch], graph, hidden)
        loss = functional.cross_entropy(logits, labels[batch])
        if invariant:
            weight = _PENALTY[step > _WARM * options.steps]
            count = len(places)
            parts = zip(logits.view(count, share, 2), labels[batch].view(count, share), strict=True)
            penalty = torch.stack([irm_penalty(*part) for part in parts]).mean()
            loss = (loss + weight * penalty) / max(weight, 1.0)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()
        if learner is not None and step % max(options.steps // (rounds + 1), 1) == 0:
            _learn_graph(model, data, learner)


def _learn_graph(
    model: CueClassifier, data: tuple[Tensor, Tensor], learner: GraphFromRepresentations
) -> None:
    """Lines 14 to 36 of Algorithm 1 on a sample of the rows, the network standing still."""
    chosen = torch.randperm(len(data[1]))[: learner.capacity]
    for start in range(0, len(chosen), 500):
        batch = chosen[start : start + 500]
        deepest = model.encode(data[0][batch], learner.graph)
        logits = model.head(model.norm(deepest[:, -1]))
        loss = functional.cross_entropy(logits, data[1][batch])
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
    logits = model(torch.from_numpy(rows.tokens), model.prepare(graph))
    found: NDArray[np.int64] = logits.argmax(dim=1).numpy()
    return found
