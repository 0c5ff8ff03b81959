"""From the text of a story to its edges: a small extractor of relations between mentions."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from causal_rl.datasets.clutrr import CLUTRR_RELATIONS, ClutrrStory
from causal_rl.devices import device_of
from causal_rl.downstream.stories import StoryBatch

_TOKEN = re.compile(r"\[[^\]]*\]|\w+|[^\w\s]")
# Numbers of words: padding, unknown, a name.
_PAD, _UNKNOWN, _NAME = 0, 1, 2
# Roles of a token: a word, a mention of the window's first entity, of its second, of another.
_WORD, _FIRST, _SECOND, _OTHER = 0, 1, 2, 3
_MARGIN, _FARTHEST = 6, 20
_LENGTH = _FARTHEST + 1 + 2 * _MARGIN
_MOST = 3  # windows for two entities, the nearest mentions first
_NEVER = -1e4
_NONE = 0.15


@dataclass(frozen=True, eq=False)
class Windows:
    """Parts of stories: up to three for each two entities that are mentioned near each other.

    Attributes:
        words: (W, 33) integers, numbers of words; names are all the same one.
        roles: (W, 33) integers, what a token is: a word, a mention of the pair's first entity, of
            its second, of another.
        rows: (N, 3) integers, the windows of each pair, -1 where it has fewer.
        pair: (N, 3) integers: the story and the two entities, the lower number first.
        label: (N, 2) integers: the relation told from first to second and from second to first;
            R for none, -1 where only the other way was told.
    """

    words: Tensor
    roles: Tensor
    rows: Tensor
    pair: Tensor
    label: Tensor


def read_words(stories: Sequence[ClutrrStory], *, least: int = 3) -> dict[str, int]:
    """Numbers of the words, in lower case, that occur at least so often; names are left out."""
    counts = Counter(
        token.lower()
        for story in stories
        for token in _TOKEN.findall(story.text)
        if token[0] != "["
    )
    kept = sorted(word for word, count in counts.items() if count >= least)
    return {word: number for number, word in enumerate(kept, start=_NAME + 1)}


def cut_windows(
    stories: Sequence[ClutrrStory],
    words: dict[str, int],
    relations: Sequence[str] = CLUTRR_RELATIONS,
) -> Windows:
    """Around mentions of every two entities that are at most 20 tokens apart.

    Args:
        stories: their text and, for the labels alone, edges are read.
        words: numbers of words, of `read_words`.
        relations: the R words of edges.

    Raises:
        ValueError: no story has two entities near each other.
    """
    index = {word: number for number, word in enumerate(relations)}
    numbers: list[list[int]] = []
    roles: list[list[int]] = []
    rows: list[list[int]] = []
    pairs: list[list[int]] = []
    labels: list[list[int]] = []
    for number, story in enumerate(stories):
        tokens = _TOKEN.findall(story.text)
        entity = {name: e for e, name in enumerate(story.entities)}
        who = [entity.get(t[1:-1], -1) if t[0] == "[" else -2 for t in tokens]
        read = [
            _NAME if w > -2 else words.get(t.lower(), _UNKNOWN)
            for t, w in zip(tokens, who, strict=True)
        ]
        told = {edge: index[r] for edge, r in zip(story.edges, story.relations, strict=True)}
        for (first, second), places in _near(who).items():
            marks = {first: _FIRST, second: _SECOND, -2: _WORD}
            rows.append(
                [*range(len(numbers), len(numbers) + len(places)), *[-1] * (_MOST - len(places))]
            )
            for start, end in places:
                low, high = max(0, start - _MARGIN), min(len(tokens), end + 1 + _MARGIN)
                fill = [_PAD] * (_LENGTH - (high - low))
                numbers.append(read[low:high] + fill)
                roles.append([marks.get(w, _OTHER) for w in who[low:high]] + fill)
            pairs.append([number, first, second])
            there, back = told.get((first, second), -1), told.get((second, first), -1)
            labels.append([there, back] if there + back > -2 else [len(relations)] * 2)
    if not rows:
        raise ValueError("stories: no two entities near each other; allowed: at least two in one")
    return Windows(*(torch.tensor(part) for part in (numbers, roles, rows, pairs, labels)))


def _near(who: Sequence[int]) -> dict[tuple[int, int], list[tuple[int, int]]]:
    """The nearest places at which two entities, in order of number, are mentioned."""
    places = [(at, e) for at, e in enumerate(who) if e >= 0]
    found: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for position, (at, e) in enumerate(places):
        for later, other in places[position + 1 :]:
            if later - at > _FARTHEST:
                break
            if other != e:
                found.setdefault((min(e, other), max(e, other)), []).append((at, later))
    return {
        pair: sorted(spans, key=lambda span: span[1] - span[0])[:_MOST]
        for pair, spans in found.items()
    }


class EdgeExtractor(nn.Module):
    """Words, and runs of two and three words, of a window; a hidden layer; a relation each way.

    Runs are read apart before, between and after the two mentions, and mentions are words of their
    own in them ("his brother SECOND"). They are hashed into ``buckets`` embeddings, whose sum is
    what the network sees. Of several windows for two entities the one that speaks most for a
    relation counts. Names are not read, so that it works for names never seen.

    Args:
        n_relations: R.
        buckets: embeddings of runs.
        hidden: features of an embedding.
        dropout: of runs in training.
        seed: of the first weights.

    Raises:
        ValueError: a size below 1.
    """

    def __init__(
        self,
        n_relations: int,
        *,
        buckets: int = 1 << 14,
        hidden: int = 96,
        dropout: float = 0.2,
        seed: int = 0,
    ) -> None:
        super().__init__()
        for name, size in (("n_relations", n_relations), ("buckets", buckets), ("hidden", hidden)):
            if size < 1:
                raise ValueError(f"{name}: {size}; allowed: >= 1")
        self.n_relations, self.buckets, self.dropout = n_relations, buckets, dropout
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.runs = nn.EmbeddingBag(buckets + 1, hidden, mode="sum", padding_idx=0)
            nn.init.normal_(self.runs.weight, std=0.1)
            self.bias = nn.Parameter(torch.zeros(hidden))
            self.middle = nn.Linear(hidden, hidden)
            self.out = nn.Linear(hidden, 2 * n_relations)

    def forward(
        self, windows: Windows, pairs: Tensor, generator: torch.Generator | None = None
    ) -> Tensor:
        """Logits (N, 2, R + 1) of the relation from first to second and back; the last is "none".

        Args:
            windows: parts of stories.
            pairs: (N,) integers, which pairs of them.
            generator: draws what is dropped, where given.
        """
        rows, device = windows.rows[pairs], device_of(self)
        there = rows >= 0
        chosen = rows[there]
        runs = hash_runs(windows.words[chosen], windows.roles[chosen], self.buckets)
        if generator is not None:
            lost = torch.rand(runs.shape, generator=generator) < self.dropout
            runs = runs.masked_fill(lost, 0)
        rows, there, runs = rows.to(device), there.to(device), runs.to(device)
        hidden = functional.gelu(self.runs(runs) + self.bias)
        logits = self.out(hidden + functional.gelu(self.middle(hidden)))
        spread = logits.new_full((*rows.shape, logits.shape[1]), _NEVER)
        spread[there] = logits
        # Against "none", whose logit is 0.
        best = spread.amax(dim=1).view(len(rows), 2, self.n_relations)
        return functional.pad(best, (0, 1))


def hash_runs(words: Tensor, roles: Tensor, buckets: int) -> Tensor:
    """Numbers 1 .. ``buckets`` of all runs of one, two and three words of windows.

    Args:
        words: (W, L) integers.
        roles: (W, L) integers; mentions are told apart by them.
        buckets: how many numbers there are.

    Returns:
        (W, 3 L) integers, 0 in padding.
    """
    real = words != _PAD
    at = (roles == _FIRST) | (roles == _SECOND)
    place = torch.arange(words.shape[1])
    zone = at.long().cumsum(dim=1).clamp(max=1) + (place > _last(at)[:, None]).long()
    token = torch.where(roles == _WORD, words, roles) + torch.where(roles == _WORD, _OTHER + 1, 0)
    found = []
    run = zone + 1
    for length in range(3):
        following = functional.pad(token, (0, length))[:, length:]
        inside = functional.pad(real, (0, length))[:, length:]
        run = (run * 1_000_003 + following * 7_919 + length + 1) % 2_147_483_647
        found.append(torch.where(inside, run % buckets + 1, 0))
    return torch.cat(found, dim=1)


def _last(at: Tensor) -> Tensor:
    """(W,) the last place that is true."""
    return (at * torch.arange(1, at.shape[1] + 1)).amax(dim=1) - 1


def train_extractor(
    model: EdgeExtractor, windows: Windows, *, steps: int, batch_size: int = 128, seed: int = 0
) -> None:
    """Cross-entropy of the told relations and of "none", by Adam.

    A direction not told is left out where the other one was. "None" counts little: the text may
    well say how two are related that no told edge joins.

    Args:
        model: trained in place; left in evaluation mode.
        windows: of training stories, on the CPU.
        steps: gradient steps.
        batch_size: pairs a step.
        seed: of batches and of what is dropped.
    """
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps)
    device = device_of(model)
    weight = torch.ones(model.n_relations + 1, device=device)
    weight[-1] = _NONE
    model.train()
    for _ in range(steps):
        pairs = torch.randint(len(windows.pair), (batch_size,), generator=generator)
        logits = model(windows, pairs, generator)
        wanted = windows.label[pairs].flatten().to(device)
        loss = functional.cross_entropy(
            logits.flatten(0, 1), wanted, weight=weight, ignore_index=-1
        )
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
    model.eval()


def extract_edges(
    model: EdgeExtractor, windows: Windows, n_stories: int, n_entities: int
) -> Tensor:
    """(stories, n, n, R), on the CPU: the probability of relations of pairs near each other."""
    edges = torch.zeros(n_stories, n_entities, n_entities, model.n_relations)
    with torch.no_grad():
        for start in range(0, len(windows.pair), 512):
            part = torch.arange(start, min(start + 512, len(windows.pair)))
            found = torch.softmax(model(windows, part), dim=-1).cpu()
            story, first, second = windows.pair[part].unbind(-1)
            edges[story, first, second] = found[:, 0, :-1]
            edges[story, second, first] = found[:, 1, :-1]
    return edges


def told_edges(edges: Tensor, stories: StoryBatch, *, least: float = 0.3) -> StoryBatch:
    """The same questions with the likeliest relations of ``edges`` for what is told.

    Args:
        edges: (B, n, n, R) probabilities, of `extract_edges`.
        stories: (B,) whose query, label, weight and k stay.
        least: probability of an edge that counts as told.

    Raises:
        ValueError: not as many stories.
    """
    if len(edges) != len(stories):
        raise ValueError(f"edges: of {len(edges)} stories; allowed: {len(stories)}")
    best, relation = edges.max(dim=-1)
    found = [(b > least).nonzero() for b in best]
    longest = max(1, *(len(rows) for rows in found))
    told = torch.full((len(stories), longest, 3), -1)
    for number, rows in enumerate(found):
        i, j = rows.unbind(-1)
        told[number, : len(rows)] = torch.stack([i, relation[number, i, j], j], dim=-1)
    return StoryBatch(told, stories.query, stories.label, stories.weight, stories.k, edges.shape[1])
