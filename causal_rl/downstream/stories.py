"""Stories about entities as tensors: told edges, a query pair, an answer; and training on them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from causal_rl.datasets.clutrr import CLUTRR_RELATIONS, ClutrrStory
from causal_rl.devices import device_of
from causal_rl.downstream.irm import irm_penalty

Answer = Callable[["StoryBatch"], Tensor]
#: Story to logarithms of the probabilities of its answers, (B, R).

_SILENT = -20.0  # a logarithm below it is no answer


@dataclass(frozen=True, eq=False)
class StoryBatch:
    """B stories. An edge (i, r, j) reads "j is the r of i".

    Attributes:
        told: (B, E, 3) integers (i, r, j), rows of -1 where a story has fewer edges.
        query: (B, 2) integers, the pair asked about.
        label: (B,) integers, the relation that answers.
        weight: (B,) floats, how often the story occurs.
        k: (B,) integers, the length of the story, its number of edges.
        n_entities: more than any number of an entity.
    """

    told: Tensor
    query: Tensor
    label: Tensor
    weight: Tensor
    k: Tensor
    n_entities: int

    def __len__(self) -> int:
        return len(self.label)

    def __getitem__(self, index: Tensor | slice) -> StoryBatch:
        """Some of the stories, the padding cut to what they need."""
        told, query = self.told[index], self.query[index]
        longest = int((told[..., 0] >= 0).sum(dim=1).max()) if len(told) else 0
        top = max(int(told.max()) if told.numel() else 0, 0)
        told = told[:, :longest]
        entities = torch.cat([told[..., 0].flatten(), told[..., 2].flatten(), query.flatten()])
        top = int(entities.max()) + 1 if entities.numel() else self.n_entities
        return StoryBatch(told, query, self.label[index], self.weight[index], self.k[index], top)

    def to(self, device: str | torch.device) -> StoryBatch:
        """The same stories on another device."""
        told, query, label = self.told.to(device), self.query.to(device), self.label.to(device)
        weight, k = self.weight.to(device), self.k.to(device)
        return StoryBatch(told, query, label, weight, k, self.n_entities)

    def renumbered(self, slots: int, generator: torch.Generator) -> StoryBatch:
        """The same stories with entities renamed to random different numbers below ``slots``.

        Raises:
            ValueError: fewer slots than entities.
        """
        if slots < self.n_entities:
            raise ValueError(f"slots: {slots}; allowed: >= {self.n_entities}, one an entity")
        new = torch.rand(len(self), slots, generator=generator).argsort(dim=1)
        told = self.told.clone()
        for column in (0, 2):
            found = new.gather(1, self.told[..., column].clamp(min=0))
            told[..., column] = torch.where(self.told[..., column] >= 0, found, -1)
        return StoryBatch(told, new.gather(1, self.query), self.label, self.weight, self.k, slots)

    def dense(self, n_relations: int) -> Tensor:
        """(B, n, n, R) floats: 1 at told relations; a pair told two of them has halves."""
        count, n = len(self), self.n_entities
        edges = torch.zeros(count, n, n, n_relations, device=self.told.device)
        row, column = (self.told[..., 0] >= 0).nonzero(as_tuple=True)
        i, r, j = self.told[row, column].unbind(-1)
        edges[row, i, j, r] = 1.0
        return edges / edges.sum(dim=-1, keepdim=True).clamp(min=1.0)


def encode_stories(
    stories: Sequence[ClutrrStory], relations: Sequence[str] = CLUTRR_RELATIONS
) -> StoryBatch:
    """Stories as tensors, each distinct one once, with the times it occurs as its weight.

    Two stories are the same here if edges, query and answer are; names and words are not read,
    nor the proof.

    Raises:
        ValueError: no stories, or a word that is none of ``relations``.
    """
    if not stories:
        raise ValueError("stories: none; allowed: at least one")
    index = {word: number for number, word in enumerate(relations)}
    for story in stories:
        for word in (*story.relations, story.target):
            if word not in index:
                raise ValueError(f"stories: relation {word!r}; allowed: {', '.join(relations)}")
    found = Counter((s.edges, s.relations, s.query, s.target) for s in stories)
    longest = max(len(edges) for edges, *_ in found)
    told = torch.full((len(found), longest, 3), -1)
    for row, (edges, words, _, _) in enumerate(found):
        for column, ((i, j), word) in enumerate(zip(edges, words, strict=True)):
            told[row, column] = torch.tensor([i, index[word], j])
    query = torch.tensor([query for _, _, query, _ in found])
    return StoryBatch(
        told=told,
        query=query,
        label=torch.tensor([index[target] for *_, target in found]),
        weight=torch.tensor([float(times) for times in found.values()]),
        k=torch.tensor([len(edges) for edges, *_ in found]),
        n_entities=int(torch.stack([told[..., 0].max(), told[..., 2].max(), query.max()]).max())
        + 1,
    )


def hold_out(
    stories: StoryBatch, share: float, generator: torch.Generator
) -> tuple[StoryBatch, StoryBatch]:
    """Split off a share of the distinct stories with more than two edges, for validation.

    Stories of two edges are the facts themselves and stay. As distinct stories are split, nothing
    that is validated on was seen.

    Args:
        stories: training stories.
        share: of them, in (0, 1).
        generator: draws which.

    Returns:
        ``(kept, held_out)``.

    Raises:
        ValueError: a share outside (0, 1), or no story of more than two edges.
    """
    if not 0 < share < 1:
        raise ValueError(f"share: {share}; allowed: in (0, 1)")
    long = (stories.k > 2).nonzero().flatten()
    if not len(long):
        raise ValueError("stories: none of more than two edges; allowed: at least one")
    drawn = long[torch.randperm(len(long), generator=generator)[: max(1, int(share * len(long)))]]
    out = torch.zeros(len(stories), dtype=torch.bool)
    out[drawn] = True
    return stories[~out], stories[out]


@dataclass(frozen=True)
class StoryTraining:
    """How a network is trained on stories.

    Attributes:
        steps: gradient steps; 600 to 3000.
        batch_size: stories a step.
        learning_rate: of Adam, cosine to zero.
        graph_learning_rate: of parameters called ``graph_logits``.
        sparsity: lambda of Eq. 3, of the network's ``graph_penalty``.
        invariance: lambda of IRMv1 after a third of the steps (1 before); 0 for none. The
            environments are the lengths of the stories.
        slots: entities are renamed at random to numbers below it every step; 0 for not at all.
    """

    steps: int = 600
    batch_size: int = 128
    learning_rate: float = 2e-3
    graph_learning_rate: float = 0.06
    sparsity: float = 0.0
    invariance: float = 0.0
    slots: int = 0


def train_on_stories(
    model: nn.Module, answer: Answer, stories: StoryBatch, training: StoryTraining, *, seed: int
) -> None:
    """Minimise the weighted negative log-likelihood of the answers, plus the penalties.

    Args:
        model: trained in place; left in evaluation mode.
        answer: the log-probabilities of its answers to a batch, (B, R).
        stories: the training stories, on the CPU; batches are taken to the model's device.
        training: how.
        seed: of batches and renaming.
    """
    generator = torch.Generator().manual_seed(seed)
    named = list(model.named_parameters())
    graph = [p for name, p in named if name.endswith("graph_logits")]
    other = [p for name, p in named if not name.endswith("graph_logits")]
    groups = [{"params": other, "lr": training.learning_rate}]
    if graph:
        groups.append({"params": graph, "lr": training.graph_learning_rate})
    optimizer = torch.optim.Adam(groups)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, training.steps)
    device = device_of(model)
    mean_weight = stories.weight.mean().to(device)
    model.train()
    order = torch.empty(0, dtype=torch.long)
    for step in range(training.steps):
        if not len(order):
            order = torch.randperm(len(stories), generator=generator)
        batch, order = stories[order[: training.batch_size]], order[training.batch_size :]
        if training.slots:
            batch = batch.renumbered(training.slots, generator)
        batch = batch.to(device)
        weight = batch.weight / mean_weight
        log_probability = answer(batch)
        if training.invariance:
            strength = 1.0 if 3 * step < training.steps else training.invariance
            loss = _invariant_loss(log_probability, batch, weight, strength)
        else:
            hit = log_probability.gather(1, batch.label[:, None])[:, 0]
            loss = -(hit * weight).mean()
        penalty: Callable[[], Tensor] | None = getattr(model, "graph_penalty", None)
        if training.sparsity and penalty is not None:
            loss = loss + training.sparsity * penalty()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(other, 1.0)
        optimizer.step()
        schedule.step()
    model.eval()


def _invariant_loss(
    log_probability: Tensor, batch: StoryBatch, weight: Tensor, strength: float
) -> Tensor:
    """IRMv1: mean risk over lengths plus ``strength`` times the mean penalty, over ``strength``."""
    risks, penalties = [], []
    for k in sorted(set(batch.k.tolist())):
        rows = batch.k == k
        hit = log_probability[rows].gather(1, batch.label[rows, None])[:, 0]
        risks.append(-(hit * weight[rows]).sum() / weight[rows].sum())
        penalties.append(irm_penalty(log_probability[rows], batch.label[rows]))
    loss = torch.stack(risks).mean() + strength * torch.stack(penalties).mean()
    return loss / max(strength, 1.0)


def story_accuracy(
    answer: Answer, stories: StoryBatch, *, batch_size: int = 128
) -> dict[int, float]:
    """The share answered rightly for every length k; no answer at all is wrong.

    Args:
        answer: log-probabilities of the answers to a batch, (B, R).
        stories: asked, on the CPU.
        batch_size: stories at a time.

    Returns:
        Accuracy by k, each story counted as often as it occurs.
    """
    found = {}
    for k in sorted(set(stories.k.tolist())):
        of_k = stories[stories.k == k]
        right = 0.0
        for start in range(0, len(of_k), batch_size):
            batch = of_k[start : start + batch_size]
            with torch.no_grad():
                best, given = answer(batch).cpu().max(dim=1)
            hit = (given == batch.label) & (best > _SILENT)
            right += float((hit * batch.weight).sum())
        found[int(k)] = right / float(of_k.weight.sum())
    return found
