"""CLUTRR's stories as prose: edges are extracted, then the methods of the symbolic task answer."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from causal_rl.benchmarks.cells import Cell, Outcome, Row
from causal_rl.datasets.clutrr import CLUTRR_RELATIONS, Clutrr, ClutrrStory
from causal_rl.downstream.stories import (
    Answer,
    StoryBatch,
    encode_stories,
    hold_out,
    story_accuracy,
)
from causal_rl.downstream.story_text import (
    EdgeExtractor,
    cut_windows,
    extract_edges,
    read_words,
    told_edges,
    train_extractor,
)

_SMOKE_STORIES = 200
_TESTED = tuple(range(4, 11))
Fit = Callable[[StoryBatch, StoryBatch], tuple[Answer, Row]]


def run_text(data: Clutrr, seed: int, cell: Cell, fit: Fit) -> Outcome:
    """Train the extractor on prose and the method on told edges; ask about extracted ones.

    Args:
        data: the stories.
        seed: of the extractor and of what is held out.
        cell: its device, and of its settings "extractor_steps", "held_out", "smoke" and
            "extracted_training", whether the method too is trained on extracted edges, not on told
            ones.
        fit: trains the method on kept and held-out stories, to its answers and figures.
    """
    use = cell.settings
    train = [story for of_k in data.train.values() for story in of_k]
    test = [story for of_k in data.test.values() for story in of_k]
    if use["smoke"]:
        train, test = train[:_SMOKE_STORIES], test[:: len(test) // _SMOKE_STORIES]
    started = time.process_time()
    words = read_words(train)
    extractor = EdgeExtractor(len(CLUTRR_RELATIONS), seed=seed).to(cell.device)
    windows = cut_windows(train, words)
    train_extractor(extractor, windows, steps=int(use["extractor_steps"]), seed=seed)
    symbols = encode_stories([story for of_k in data.train.values() for story in of_k])
    if use["extracted_training"]:
        asked = questions(train)
        found = extract_edges(extractor, windows, len(train), asked.n_entities)
        symbols = told_edges(found, asked)
    kept, held = hold_out(symbols, use["held_out"], torch.Generator().manual_seed(seed))
    answer, figures = fit(kept, held)
    seconds = time.process_time() - started
    asked = questions(test)
    edges = extract_edges(extractor, cut_windows(test, words), len(test), asked.n_entities)
    told = told_edges(edges, asked)
    by_k = story_accuracy(answer, told)
    figures |= {f"accuracy_k{k}": round(value, 5) for k, value in by_k.items()}
    figures |= {
        "accuracy": round(float(np.mean([by_k[k] for k in by_k if k in _TESTED])), 5),
        "edges_found": round(_found(told, test), 5),
        "edges_told": round(float((told.told[..., 0] >= 0).sum(dim=1).float().mean()), 3),
        "extractor_parameters": sum(p.numel() for p in extractor.parameters()),
        "seconds": round(seconds, 2),
    }
    return Outcome(figures)


def questions(stories: Sequence[ClutrrStory]) -> StoryBatch:
    """The stories, one by one, without their edges.

    ``k`` is kept for the tables alone.
    """
    index = {word: number for number, word in enumerate(CLUTRR_RELATIONS)}
    return StoryBatch(
        told=torch.full((len(stories), 1, 3), -1),
        query=torch.tensor([story.query for story in stories]),
        label=torch.tensor([index[story.target] for story in stories]),
        weight=torch.ones(len(stories)),
        k=torch.tensor([story.k for story in stories]),
        n_entities=max(len(story.entities) for story in stories),
    )


def _found(told: StoryBatch, stories: Sequence[ClutrrStory]) -> float:
    """The share of the stories' edges that were extracted with the right relation."""
    right = total = 0
    rows: list[Tensor] = list(told.told)
    for row, story in zip(rows, stories, strict=True):
        known = {tuple(edge) for edge in row.tolist()}
        for (i, j), word in zip(story.edges, story.relations, strict=True):
            total += 1
            right += (i, CLUTRR_RELATIONS.index(word), j) in known
    return right / max(total, 1)
