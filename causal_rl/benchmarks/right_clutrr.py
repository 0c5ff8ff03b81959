"""CLUTRR: kinship stories two and three edges long in training, up to ten at test."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import nn

from causal_rl.benchmarks.cells import Cell, Outcome, Row
from causal_rl.benchmarks.clutrr_text import run_text
from causal_rl.benchmarks.report import Findings, Mark, decide, markdown_table
from causal_rl.benchmarks.results import Results
from causal_rl.benchmarks.right_methods import (
    ATTN_MASK,
    CATT,
    IRM,
    LEARNED,
    NEEDED_SEEDS,
    TRANSFORMER,
    TRUE,
    method_lines,
)
from causal_rl.benchmarks.statistics import number
from causal_rl.datasets.clutrr import CLUTRR_RELATIONS, Clutrr, ClutrrStory, load_clutrr
from causal_rl.downstream.edge_tokens import EdgeTokenTransformer
from causal_rl.downstream.edge_transformer import EdgeTransformer
from causal_rl.downstream.pair_composer import PairComposer
from causal_rl.downstream.rule_table import RuleTable
from causal_rl.downstream.stories import (
    Answer,
    StoryBatch,
    StoryTraining,
    encode_stories,
    hold_out,
    story_accuracy,
    train_on_stories,
)

PART = "clutrr"
FIRST, SECOND, TEXT = "089907f8", "db9b8f04", "text"
EDGE, RULES, FULL = "edge-transformer", "rule-table", "ecam-full"
METHODS: Mapping[str, str] = {
    TRANSFORMER: "4 blocks over told edges as tokens, entities renamed at random in every step",
    ATTN_MASK: "the same, softmax(A + log M), M fixed: tokens that share an entity (line graph)",
    CATT: "the same, with cross-sample attention beside the in-sample one",
    IRM: "the transformer, IRMv1 with the length of the story as environment",
    EDGE: "Edge Transformer: triangular attention over all pairs, no graph",
    RULES: "rules counted off the stories of two edges, chart over pairs of entities",
    LEARNED: "`PairComposer`, its graph over relations learned under R(G) (Eq. 3)",
    TRUE: "`PairComposer`, its graph the relations that the proofs of training stories compose",
    FULL: "`PairComposer` that lets all relations compose: no graph",
}
TEXT_METHODS = (TRANSFORMER, RULES, LEARNED)
SPLITS: Mapping[str, Sequence[str]] = {
    FIRST: tuple(METHODS),
    SECOND: tuple(m for m in METHODS if m not in (TRUE, FULL)),
    TEXT: TEXT_METHODS,
}
#: Splits that the table of all tasks shows.
HEADLINE: Mapping[str, str] = {FIRST: "CLUTRR, k = 4 .. 10"}
TESTED = tuple(range(4, 11))
MEAN_MARK, LONGEST_MARK = 0.95, 0.90
#: Seeds that were not looked at when this was made.
FRESH = 500
#: Weights of R(G) that are tried on held-out training stories.
SPARSITIES = (1.0, 3.0, 10.0)
HELD_OUT = 0.1
_COMPOSER = {"hidden": 258}
_TOKENS = {"slots": 12}
_MODELS: Mapping[str, Mapping[str, Any]] = {
    TRANSFORMER: {**_TOKENS, "embed_dim": 48},
    IRM: {**_TOKENS, "embed_dim": 48},
    ATTN_MASK: {**_TOKENS, "embed_dim": 48, "attention": "line-graph"},
    CATT: {**_TOKENS, "embed_dim": 40, "attention": "catt"},
    EDGE: {"embed_dim": 46, "num_heads": 2},
    LEARNED: {**_COMPOSER, "graph": "learned"},
    TRUE: _COMPOSER,
    FULL: {**_COMPOSER, "graph": "full"},
    RULES: {},
}
_TRAINING: Mapping[str, StoryTraining] = {
    TRANSFORMER: StoryTraining(steps=3000, learning_rate=1e-3, slots=12),
    IRM: StoryTraining(steps=3000, learning_rate=1e-3, slots=12, invariance=100.0),
    ATTN_MASK: StoryTraining(steps=3000, learning_rate=1e-3, slots=12),
    CATT: StoryTraining(steps=3000, learning_rate=1e-3, slots=12),
    EDGE: StoryTraining(steps=800, learning_rate=1e-3),
    LEARNED: StoryTraining(steps=300),
    TRUE: StoryTraining(steps=300),
    FULL: StoryTraining(steps=300),
}
_SMOKE_STEPS = 4


def cells(seeds: int, smoke: bool) -> list[Cell]:
    """A cell a split, method and seed."""
    found = []
    for split, methods in SPLITS.items():
        for method in methods:
            if smoke and (split == SECOND or method not in TEXT_METHODS):
                continue
            if smoke and (split, method) == (TEXT, TRANSFORMER):
                continue  # so short a training extracts no story of three edges to learn from
            settings: dict[str, Any] = {
                "fresh": FRESH, "held_out": HELD_OUT,
                **{f"model.{k}": v for k, v in _MODELS[method].items()},
            }  # fmt: skip
            if method in _TRAINING:
                options = asdict(_TRAINING[method])
                options |= {"steps": _SMOKE_STEPS} if smoke else {}
                settings |= {f"training.{k}": v for k, v in options.items()}
            if method == LEARNED:
                settings["sparsities"] = list(SPARSITIES[1:2] if smoke else SPARSITIES)
            if split == TEXT:
                settings |= {
                    "extractor_steps": 4 if smoke else 700,
                    "smoke": smoke,
                    # A chain of edges is all that told ones would prepare it for.
                    "extracted_training": method == TRANSFORMER,
                }
            found += [
                Cell({"task": PART, "split": split, "method": method, "seed": seed}, settings)
                for seed in range(min(seeds, 1) if smoke else seeds)
            ]
    return found


def run(cell: Cell) -> Outcome:
    """Train a method on the official training stories and ask it the official test stories."""
    parameters, use = cell.parameters, cell.settings
    split = str(parameters["split"])
    seed = int(use["fresh"]) + int(parameters["seed"] or 0)
    data = load_clutrr(FIRST if split == TEXT else split)
    if split == TEXT:
        return run_text(data, seed, cell, lambda kept, held: _fit(cell, data, kept, held, seed))
    train, test = encode_stories(flat(data.train)), encode_stories(flat(data.test))
    kept, held = hold_out(train, use["held_out"], torch.Generator().manual_seed(seed))
    started = time.process_time()
    answer, figures = _fit(cell, data, kept, held, seed)
    seconds = time.process_time() - started
    return Outcome(figures | {"seconds": round(seconds, 2)} | accuracy_figures(answer, test))


def flat(part: Mapping[int, Sequence[ClutrrStory]]) -> list[ClutrrStory]:
    """The stories of all lengths."""
    return [story for of_k in part.values() for story in of_k]


def accuracy_figures(answer: Answer, test: StoryBatch) -> Row:
    """Accuracy at every length, and the mean over k = 4 .. 10, every k counting the same."""
    by_k = story_accuracy(answer, test)
    figures: Row = {f"accuracy_k{k}": round(value, 5) for k, value in by_k.items()}
    long = [value for k, value in by_k.items() if k in TESTED]
    return {"accuracy": round(float(np.mean(long)), 5), **figures}


def _fit(
    cell: Cell, data: Clutrr, kept: StoryBatch, held: StoryBatch, seed: int
) -> tuple[Answer, Row]:
    """A method trained on the kept stories; where it has an option, held-out ones choose it."""
    method, types = str(cell.parameters["method"]), len(CLUTRR_RELATIONS)
    if method == RULES:
        rules = RuleTable(types).fit(kept)
        return rules.answer, {"parameters": rules.n_rules}
    training, device = StoryTraining(**cell.part("training")), cell.device
    best: tuple[float, nn.Module, Answer, Row] | None = None
    # The strongest first: of equal ones the sparsest graph stays.
    for sparsity in sorted(cell.settings.get("sparsities", [0.0]), reverse=True):
        model = _network(method, types, cell.part("model"), data, seed).to(device)
        weighed = StoryTraining(**(asdict(training) | {"sparsity": sparsity}))
        train_on_stories(model, model.answer, kept, weighed, seed=seed)
        right, total = _right(model.answer, held)
        # What training answers need must stay open too; two-edge stories are never held out.
        fitted, seen = _right(model.answer, kept)
        share = (right + fitted) / (total + seen)
        if best is None or share > best[0]:
            found: Row = {"sparsity": sparsity, "accuracy_held_out": round(right / total, 5)}
            best = share, model, model.answer, found
    if best is None:  # pragma: no cover - at least one sparsity
        raise RuntimeError("nothing was trained")
    _, model, answer, figures = best
    figures["parameters"] = sum(p.numel() for p in model.parameters())
    if isinstance(model, PairComposer):
        oracle = true_graph(flat(data.train))
        graph = model.graph().detach().cpu().numpy() > 0.5
        figures |= {
            "graph_edges": int(graph.sum()),
            "graph_missing": int((oracle & ~graph).sum()),
            "graph_extra": int((graph & ~oracle).sum()),
        }
    return answer, figures


def _right(answer: Answer, stories: StoryBatch) -> tuple[float, float]:
    """How many stories are answered rightly, and of how many."""
    by_k = story_accuracy(answer, stories)
    right = sum(by_k[k] * float(stories.weight[stories.k == k].sum()) for k in by_k)
    return right, float(stories.weight.sum())


def _network(method: str, types: int, options: dict[str, Any], data: Clutrr, seed: int) -> Any:
    """The untrained network of a method."""
    if method in (LEARNED, TRUE, FULL):
        if method == TRUE:
            options["graph"] = true_graph(flat(data.train))
        return PairComposer(types, generator=torch.Generator().manual_seed(seed), **options)
    if method == EDGE:
        return EdgeTransformer(types, seed=seed, **options)
    return EdgeTokenTransformer(types, seed=seed, **options)


def true_graph(stories: Sequence[ClutrrStory]) -> NDArray[np.bool_]:
    """(R, R): which relation is composed with which in the proofs of stories, the oracle graph."""
    index = {word: number for number, word in enumerate(CLUTRR_RELATIONS)}
    found = np.zeros((len(index), len(index)), dtype=bool)
    for story in stories:
        for step in story.proof:
            (_, a, _), (_, b, _) = step.premises
            found[index[a], index[b]] = True
    return found


# ------------------------------------------------------------------- what is said of the results


def findings(results: Results) -> Findings:
    """The issue's two marks, and tables of accuracy by length."""
    marks = [
        _mark(results, f"mean accuracy of `{LEARNED}` >= {MEAN_MARK}", "accuracy", MEAN_MARK),
        _mark(
            results, f"`{LEARNED}` has >= {LONGEST_MARK} at k = 10", "accuracy_k10", LONGEST_MARK
        ),
    ]
    protocol = [
        "CLUTRR: networks are trained on the told edges and answers of the official training "
        f"stories (`{FIRST}` k = 2, 3; `{SECOND}` k = 2, 3, 4), without proofs, genders or text, "
        "and asked the official test stories; the accuracy is the mean over k = 4 .. 10, every k "
        f"counting the same. A share of {HELD_OUT} of the distinct training stories of more than "
        "two edges is held out of training. The weight of R(G) is the one of "
        f"{', '.join(map(number, SPARSITIES))} that answers most of all training stories, held "
        "out or not, the largest of equal ones. "
        f"`{TRUE}` alone reads proofs, of training stories, for its graph.",
        "There is one official test set, and its accuracy was on the screen while the composer "
        "took shape (rate and weight of the graph, steps, the cut of G at 1/2); seeds change "
        "weights and batches alone. The peers had one learning rate each and no search.",
        f"`{TEXT}`: the stories of `{FIRST}` as prose; an extractor trained on the told edges of "
        "the training stories finds the edges, the same one for all methods of a seed. Most "
        "sentences of the test stories occur in no training story. "
        f"`{TRANSFORMER}` is trained on the edges extracted from training stories, the others on "
        "told ones.",
    ]
    meaning = markdown_table(["method", "what it is"], list(METHODS.items()), text=True)
    sections = [f"## CLUTRR\n\n{meaning}"]
    sections += [_table(results, split) for split in SPLITS if results.select(split=split)]
    return Findings(protocol, marks, sections)


def _mark(results: Results, claim: str, metric: str, least: float) -> Mark:
    found = results.estimate(metric, split=FIRST, method=LEARNED)
    claim = f"clutrr: {claim} (`{FIRST}`)"
    if found is None:
        return Mark(claim, "-", None)
    return Mark(claim, str(found), decide(found.count, NEEDED_SEEDS, found.low >= least))


def _table(results: Results, split: str) -> str:
    plain = {
        "accuracy_held_out": "held out", "parameters": "parameters", "graph_edges": "graph edges",
        "graph_missing": "missing", "graph_extra": "too many", "seconds": "CPU s",
    }  # fmt: skip
    means = [*(f"accuracy_k{k}" for k in TESTED), *plain]
    lines = method_lines(results, split, SPLITS[split], ["accuracy"], means)
    header = ["method", "mean", *(f"k={k}" for k in TESTED), *plain.values()]
    text = f"### `{split}`\n\n{markdown_table(header, lines)}"
    if split == TEXT:
        told, extra = (
            results.estimate(metric, split=split) for metric in ("edges_found", "edges_told")
        )
        if told is not None and extra is not None:
            text += (
                f"\n\nOf the told edges of test stories the extractor finds {told}; the query is "
                f"asked of {extra} edges a story."
            )
    return text


def figures(results: Results) -> Mapping[str, Figure]:
    """Accuracy over the length of stories, with intervals, a panel a split."""
    splits = [split for split in SPLITS if results.select(split=split)]
    if not splits:
        return {}
    figure = Figure(figsize=(4.6 * len(splits), 4.2), layout="constrained")
    panels = np.atleast_1d(figure.subplots(1, len(splits), sharey=True))
    for axes, split in zip(panels, splits, strict=True):
        # Several methods lie on one line at the top: of them the thinner ones come later.
        for color, method in enumerate(METHODS):
            found = {
                k: results.estimate(f"accuracy_k{k}", split=split, method=method)
                for k in range(2, 11)
            }
            points = [(k, each) for k, each in found.items() if each is not None]
            if not points:
                continue
            y = np.array([each.value for _, each in points])
            bars = [y - [e.low for _, e in points], [e.high for _, e in points] - y]
            axes.errorbar(
                [k for k, _ in points], y, bars, color=f"C{color}", marker="o", markersize=3,
                capsize=2, label=method, linewidth=4 if method == RULES else 1.5,
                linestyle="--" if method == TRUE else "-", alpha=0.5 if method == RULES else 1,
            )  # fmt: skip
        axes.set(title=split, xlabel="edges of the story, k", ylim=(0, 1.03))
        axes.grid(alpha=0.3)
        axes.legend(fontsize=7)
    panels[0].set_ylabel("accuracy")
    return {"length.png": figure}
