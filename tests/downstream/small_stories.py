"""Stories of five relations that add up, and small networks that answer them."""

from __future__ import annotations

import itertools

import torch

from causal_rl.datasets.clutrr import ClutrrStory
from causal_rl.downstream import (
    EdgeTokenTransformer,
    EdgeTransformer,
    PairComposer,
    StoryBatch,
    encode_stories,
)

RELATIONS = ("r0", "r1", "r2", "r3", "r4")
R = len(RELATIONS)


def story(words: tuple[int, ...], target: int, text: str = "") -> ClutrrStory:
    """A chain of edges, asked about from its first to its last entity."""
    k = len(words)
    names = tuple(f"N{i}" for i in range(k + 1))
    return ClutrrStory(
        k=k, text=text, ordered_text=text, entities=names, genders=("female",) * (k + 1),
        edges=tuple((i, i + 1) for i in range(k)), relations=tuple(RELATIONS[w] for w in words),
        query=(0, k), target=RELATIONS[target], proof=(),
    )  # fmt: skip


def cyclic(lengths: tuple[int, ...]) -> StoryBatch:
    """Relations are numbers that add up modulo R: every bracketing agrees."""
    stories = [
        story(words, sum(words) % R)
        for k in lengths
        for words in itertools.product(range(R), repeat=k)
    ]
    return encode_stories(stories, RELATIONS)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def models() -> list[PairComposer | EdgeTransformer | EdgeTokenTransformer]:
    made = [
        PairComposer(R, width=8, hidden=8, generator=generator()),
        PairComposer(R, width=8, hidden=8, modulation="scale", generator=generator()),
        EdgeTransformer(R, embed_dim=8, num_heads=2, num_layers=2),
        EdgeTokenTransformer(R, slots=6, embed_dim=8, num_heads=2, num_layers=2),
        EdgeTokenTransformer(
            R, slots=6, embed_dim=8, num_heads=2, num_layers=2, attention="line-graph"
        ),
        EdgeTokenTransformer(R, slots=6, embed_dim=8, num_heads=2, num_layers=2, attention="catt"),
    ]
    return [model.eval() for model in made]


def texts() -> list[ClutrrStory]:
    return [
        story((0, 1), 2, "[N0] went with her aunt [N1]. [N1] and his boss [N2] sat down."),
        story((1, 0), 2, "[N0] has [N1] for a boss. The aunt of [N1] is [N2]."),
    ]
