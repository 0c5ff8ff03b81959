"""Table 3's third column: composition of relations with one part changed, and CLUTRR's accuracy."""

from __future__ import annotations

import time
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import torch
from scipy.special import ndtri
from torch import Tensor, nn

from causal_rl.attention import TimeVaryingAttention
from causal_rl.benchmarks.cells import Cell, Outcome, Row
from causal_rl.benchmarks.table3_rows import (
    CLUTRR,
    CORRELATION,
    GENERALISED,
    HARD,
    KERNEL,
    MULTI_LEVEL,
    NO_GRAPH,
    SCALE,
    TIME_VARYING,
    measured,
)
from causal_rl.datasets.clutrr import CLUTRR_RELATIONS, ClutrrStory, load_clutrr
from causal_rl.downstream.pair_composer import PairComposer
from causal_rl.downstream.stories import (
    StoryBatch,
    StoryTraining,
    encode_stories,
    story_accuracy,
    train_on_stories,
)

_RELATIONS = len(CLUTRR_RELATIONS)
_VERSION, _MADE_UP = "089907f8", "made up"
#: Test stories are longer than any that was trained on.
_LEAST_K = 4
_SPARSITY, _STEPS, _SMOKE_STEPS = 1.0, 600, 20
_MOST_SEEDS = 5
_LEVEL = 0.01


class RadialMap(nn.Module):
    """Features of queries or keys whose scaled inner products are logarithms of a radial kernel.

    ``q' . k' / sqrt(d') = -|q - k|^2 / 2 s^2``, so that a softmax over keys weighs them by
    ``exp(-|q - k|^2 / 2 s^2)``, as `KernelAttention` does.

    Args:
        linear: maps ``(..., E)`` to ``(..., d)``.
        log_bandwidth: log s, one for queries and keys.
        keys: whether these are keys.
    """

    def __init__(self, linear: nn.Linear, log_bandwidth: nn.Parameter, *, keys: bool) -> None:
        super().__init__()
        self.linear, self.log_bandwidth, self.keys = linear, log_bandwidth, keys

    def forward(self, x: Tensor) -> Tensor:
        """``(..., E)`` to ``(..., d + 2)``."""
        x = self.linear(x)
        half = -0.5 * x.square().sum(-1, keepdim=True)
        one = torch.ones_like(half)
        parts = [x, one, half] if self.keys else [x, half, one]
        features = torch.cat(parts, dim=-1)
        scale: Tensor = features.shape[-1] ** 0.25 * torch.exp(-self.log_bandwidth)
        return features * scale


class KernelComposer(PairComposer):
    """Middle entities are weighed by the radial kernel of A.1.2.

    Args: as in `PairComposer`.
    """

    def __init__(self, n_relations: int, **options: Any) -> None:
        super().__init__(n_relations, **options)
        width = self.embedding.embedding_dim
        # The bandwidth that `KernelAttention` begins with.
        self.log_bandwidth = nn.Parameter(torch.tensor(0.25 * np.log(width), dtype=torch.float32))
        for name in ("query", "key"):
            linear = getattr(self, name)
            setattr(self, name, RadialMap(linear, self.log_bandwidth, keys=name == "key"))


class MultiLevelComposer(PairComposer):
    """G = sum_l w_l G^(l) of a learned graph, a given one and all ones (A.1.5).

    Args:
        n_relations: see `PairComposer`.
        level: ``(R, R)`` the given one.
        **options: see `PairComposer`.
    """

    def __init__(self, n_relations: int, *, level: Tensor, **options: Any) -> None:
        super().__init__(n_relations, **options)
        self.register_buffer("level", level)
        # Of the graph, hence by name at the graph's learning rate.
        self.level_graph_logits = nn.Parameter(torch.zeros(3))

    def graph(self) -> Tensor:
        """See `PairComposer.graph`."""
        summed = self._sum()
        if self.training or self.cut is None:
            return summed
        return (summed > self.cut).to(summed.dtype)

    def graph_penalty(self) -> Tensor:
        """R(G) of Eq. 3, of the sum: a level that opens everything costs what it opens."""
        return self._sum().mean()

    def _sum(self) -> Tensor:
        level = self.get_buffer("level")
        levels = torch.stack([torch.sigmoid(self.graph_logits), level, torch.ones_like(level)])
        return (self.level_graph_logits.softmax(0)[:, None, None] * levels).sum(0)


class TimeVaryingComposer(PairComposer):
    """A step of composition is a step in time: G_t from G_{t-1} and embeddings (A.1.3).

    Args: as in `PairComposer`.
    """

    def __init__(self, n_relations: int, **options: Any) -> None:
        super().__init__(n_relations, **options)
        self.recursion = TimeVaryingAttention(self.embedding.embedding_dim, 1)
        # What mixes tokens is not used, the recursion of the graph alone.
        self.recursion.qkv.requires_grad_(False)
        self.recursion.out.requires_grad_(False)

    def states(self, edges: Tensor, steps: Tensor | None = None) -> Tensor:
        """See `PairComposer.states`."""
        if steps is None:
            steps = ((edges.sum(dim=-1) > 0.5).sum(dim=(1, 2)) - 1).clamp(min=1)
        gates, embedding = torch.sigmoid(self.graph_logits), self.embedding.weight
        apart = ~torch.eye(edges.shape[1], dtype=torch.bool, device=edges.device)[None, :, :, None]
        table, states = self.table(), edges
        for step in range(int(steps.max())):
            shown = gates if self.training or self.cut is None else (gates > self.cut).float()
            filled = self.compose(states, embedding, shown, table)
            filled = filled * apart
            states = torch.where((steps > step)[:, None, None, None], filled, states)
            gates = self.recursion.step(gates[None], embedding[None])[0]
        return states


class GeneralisedComposer(PairComposer):
    """Scores A + a A² M_2 of what is visible, M_2 by paths of two edges in G (A.1.1).

    As in the `hard` form of `GeneralisedAttention` the first order is A itself wherever M lets it
    be seen. What is two edges away is no value here: only relations that compose give one.

    Args: as in `PairComposer`.
    """

    def __init__(self, n_relations: int, **options: Any) -> None:
        super().__init__(n_relations, **options)
        self.order_weight = nn.Parameter(torch.zeros(()))

    def scores(self, states: Tensor, embedding: Tensor, graph: Tensor) -> Tensor:
        """See `PairComposer.scores`."""
        first = super().scores(states, embedding, graph)
        second = torch.einsum("bika,bkja->bikj", states @ (graph @ graph).clamp(max=1.0), states)
        return first + self.order_weight * first.square() * second


_FORMS: dict[str, type[PairComposer]] = {
    KERNEL: KernelComposer,
    TIME_VARYING: TimeVaryingComposer,
    GENERALISED: GeneralisedComposer,
}


def correlation_graph(stories: StoryBatch, n_relations: int) -> Tensor:
    """Which relation follows which on the way from one end of the query to the other.

    Args:
        stories: edges in the order of the way.
        n_relations: R.

    Returns:
        ``(R, R)`` floats: 1 where b stands behind a more often than independent draws would put
        it there, one-sided at level .01; else 0.
    """
    counts = torch.zeros(n_relations, n_relations, dtype=torch.float64)
    before, after = stories.told[:, :-1, 1], stories.told[:, 1:, 1]
    there = after >= 0
    weight = stories.weight[:, None].expand_as(after)[there].double()
    counts.index_put_((before[there], after[there]), weight, accumulate=True)
    total = counts.sum().clamp(min=1.0)
    row, column = counts.sum(1, keepdim=True) / total, counts.sum(0, keepdim=True) / total
    expected = total * row * column
    deviation = (expected * (1 - row) * (1 - column)).sqrt()
    return (counts - expected > float(ndtri(1 - _LEVEL)) * deviation).float()


def cells(seeds: int, smoke: bool, fresh: int) -> list[Cell]:
    """Seeds of first weights and batches by rows; the stories are one official set."""
    training = StoryTraining(steps=_SMOKE_STEPS if smoke else _STEPS, sparsity=_SPARSITY)
    found = []
    for seed in range(1 if smoke else min(seeds, _MOST_SEEDS)):
        for row in measured(CLUTRR):
            settings: dict[str, Any] = {
                "fresh": fresh, "stories": _MADE_UP if smoke else _VERSION,
                "training": asdict(training), "hidden": 16 if smoke else 128,
            }  # fmt: skip
            found.append(Cell({"column": CLUTRR, "row": row, "seed": seed}, settings))
    return found


def run(cell: Cell) -> Outcome:
    """Train one row on short stories and ask it about longer ones."""
    settings, row = cell.settings, str(cell.parameters["row"])
    seed = settings["fresh"] + int(cell.parameters["seed"] or 0)
    train, test = _stories(settings["stories"])
    model = composer(row, train, seed, hidden=settings["hidden"]).to(cell.device)
    training = StoryTraining(**settings["training"])
    if not model.learns_graph:
        training = replace(training, sparsity=0.0)
    started = time.process_time()
    train_on_stories(model, model.answer, train, training, seed=seed)
    seconds = time.process_time() - started
    by_k = {k: a for k, a in story_accuracy(model.answer, test).items() if k >= _LEAST_K}
    figures: Row = {
        "accuracy": float(np.mean(list(by_k.values()))),
        "parameters": sum(p.numel() for p in model.parameters() if p.requires_grad),
        "open": float((model.graph() > 0.5).float().sum()),
        "seconds": round(seconds, 2),
    }
    return Outcome(figures | {f"accuracy k={k}": value for k, value in by_k.items()})


def composer(row: str, stories: StoryBatch, seed: int, *, hidden: int) -> PairComposer:
    """The untrained network of a row.

    Args:
        row: one that is measured in this column.
        stories: of training, for what is fixed beforehand.
        seed: of the first weights.
        hidden: see `PairComposer`.
    """
    options: dict[str, Any] = {
        "hidden": hidden,
        "generator": torch.Generator().manual_seed(seed),
    }
    form = _FORMS.get(row, PairComposer)
    if row == MULTI_LEVEL:
        form, options["level"] = MultiLevelComposer, correlation_graph(stories, _RELATIONS)
    elif row == CORRELATION:
        options["graph"] = correlation_graph(stories, _RELATIONS).numpy()
    elif row == NO_GRAPH:
        options["graph"] = "full"
    elif row in (SCALE, HARD):
        options["modulation"] = row
    # What all rows have is drawn by the generator, what a form adds by torch's own.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return form(_RELATIONS, **options)


def _stories(version: str) -> tuple[StoryBatch, StoryBatch]:
    if version == _MADE_UP:
        return encode_stories(_made_up(2) + _made_up(3)), encode_stories(_made_up(4))
    data = load_clutrr(version)
    parts = (data.train, data.test)
    train, test = (encode_stories([s for of_k in part.values() for s in of_k]) for part in parts)
    return train, test


def _made_up(k: int) -> list[ClutrrStory]:
    """All stories of k brothers and sisters, for runs without the data."""
    found = []
    for code in range(2**k):
        words = tuple("sister" if code >> i & 1 else "brother" for i in range(k))
        names = tuple(f"P{i}" for i in range(k + 1))
        edges = tuple((i, i + 1) for i in range(k))
        genders = ("male", *("female" if word == "sister" else "male" for word in words))
        found.append(ClutrrStory(k, "", "", names, genders, edges, words, (0, k), words[-1], ()))
    return found
