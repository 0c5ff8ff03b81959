"""How small, how valid and how dear are CLEANN's explanations, beside those without a graph?"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray

from causal_rl.benchmarks.abcd_readings import FRESH
from causal_rl.benchmarks.bars import draw_bar
from causal_rl.benchmarks.cells import Cell, Outcome, Row
from causal_rl.benchmarks.report import Findings, Mark, decide, markdown_table
from causal_rl.benchmarks.results import Benchmark, Results
from causal_rl.benchmarks.statistics import estimate, number
from causal_rl.discovery import learner_options
from causal_rl.discovery.abcd import abcd
from causal_rl.discovery.cleann import (
    Explanation,
    Recommendation,
    explain_by_graph,
    explain_by_occlusion,
    explain_by_search,
    explain_by_weight,
)
from causal_rl.discovery.sequence_model import ItemModel, ModelOptions, train_items
from causal_rl.discovery.sessions import Sessions, SessionWorld

PRINTED, MENDED, ATTENTION, SUBSETS, EXHAUSTIVE = (
    "cleann-printed", "cleann-mended", "attention", "attention-subsets", "exhaustive"
)  # fmt: skip
METHODS: Mapping[str, str] = {
    PRINTED: "small sets of items linked in the PAG of `A A^T`, nearest first",
    MENDED: "the same in the PAG of the mended reading",
    "cleann-untrained": f"`{PRINTED}` with the PAG of a model that was not trained",
    ATTENTION: "items removed one after another by attention (the paper's baseline)",
    "random": "items removed one after another at random",
    "occlusion": "each item alone, then the most telling ones together",
    SUBSETS: "all sets, by size and then by attention",
    EXHAUSTIVE: "all sets, by size and then by place: no explanation is smaller",
}
METRICS = {
    "found": "found",
    "size": "size where found",
    "cost": "size, else all items",
    "rank": "rank of replacement",
    "calls": "model calls",
    "reason": "F1 with the true reason",
}
#: Compared over the sessions that both explain.
COMPARED = ((PRINTED, ATTENTION), (PRINTED, SUBSETS), (MENDED, ATTENTION), (MENDED, SUBSETS))
NEEDED_SEEDS = 10
FULL = {"sessions": 3000, "length": 9, "tried": 100, "max_size": 3}
SMOKE = {"sessions": 60, "length": 5, "tried": 4, "max_size": 2}


def grid(seeds: int, smoke: bool) -> list[Cell]:
    """A cell a seed: one shop, one model, all ways to explain it."""
    options = learner_options("abcd")
    model = {f.name: options.get(f.name, f.default) for f in dataclasses.fields(ModelOptions)}
    if smoke:
        model["steps"] = 3
    settings = {**(SMOKE if smoke else FULL), "alpha": options["alpha"]}
    return [
        Cell(
            {"seed": seed},
            {**settings, **{f"model.{k}": v for k, v in (model | {"seed": seed}).items()}},
        )
        for seed in range(min(seeds, 1) if smoke else seeds)
    ]


def run(cell: Cell) -> Outcome:
    """Train a recommender and explain its recommendations after sessions that it has not seen."""
    seed, use = FRESH + int(cell.parameters["seed"] or 0), cell.settings
    options = ModelOptions(**cell.part("model"))
    rng = np.random.default_rng(seed)
    world, length = SessionWorld(seed=seed), int(use["length"])
    known = world.sample(int(use["sessions"]), length, rng)
    tried = world.sample(int(use["tried"]), length, rng)
    started = time.process_time()
    model = train_items(known.items, world.items, options)
    figures: Row = {"seconds_train": time.process_time() - started}
    untrained = train_items(known.items, world.items, dataclasses.replace(options, steps=0))
    found: dict[str, list[Explanation]] = {}
    reasons: list[frozenset[int]] = []
    hits = 0
    for k, items in enumerate(tried.items):
        first = Recommendation(model, items[:-1]).item
        hits += first == items[-1]
        # The reasons of an item that was not recommended explain nothing here.
        reasons.append(_reason(tried, k) if first == items[-1] else frozenset())
        for name in METHODS:
            # Anew each time: one who asked before has made no other way cheaper.
            asked = Recommendation(model, items[:-1])
            explain = _ways(asked, untrained, options, use, rng)[name]
            started = time.process_time()
            found.setdefault(name, []).append(explain())
            key = f"seconds_{name}"
            figures[key] = float(figures.get(key) or 0.0) + time.process_time() - started
    figures["accuracy"] = hits / len(tried)
    for name, answers in found.items():
        scores = [_score(*pair, length - 1) for pair in zip(answers, reasons, strict=True)]
        for metric in METRICS:
            figures[f"{metric}_{name}"] = _mean([score[metric] for score in scores])
    for one, other in COMPARED:
        both = [
            (a, b)
            for a, b in zip(found[one], found[other], strict=True)
            if a.places is not None and b.places is not None
        ]
        for metric in ("size", "rank"):
            differences = [_whole(a, metric) - _whole(b, metric) for a, b in both]
            figures[f"{metric}_{one}_less_{other}"] = _mean(differences)
    return Outcome(figures)


def _mean(values: Sequence[float | None]) -> float | None:
    kept = [value for value in values if value is not None]
    return float(np.mean(kept)) if kept else None


def _whole(answer: Explanation, metric: str) -> int:
    return len(answer.places or ()) if metric == "size" else int(answer.rank or 0)


def _ways(
    asked: Recommendation,
    untrained: ItemModel,
    options: ModelOptions,
    use: Mapping[str, Any],
    rng: np.random.Generator,
) -> dict[str, Callable[[], Explanation]]:
    """Every method; only its own work is done when it is called."""
    tokens = torch.from_numpy(asked.session())[None]
    size, alpha, few = int(use["max_size"]), float(use["alpha"]), options.embed_dim

    def printed(model: ItemModel) -> Explanation:
        graph = abcd(model.read(tokens).numpy(), few, read_as="printed", alpha=alpha)
        return explain_by_graph(asked, graph, max_size=size)

    def mended() -> Explanation:
        attention = asked.model.read_hidden(tokens).numpy()
        graph = abcd(attention, int(use["sessions"]), read_as="mended", alpha=alpha)
        return explain_by_graph(asked, graph, max_size=size)

    def attention() -> NDArray[np.float64]:
        hidden = torch.zeros(tokens.shape, dtype=torch.bool)
        hidden[:, -1] = True
        weights = asked.model.read(tokens, hidden)[0].mean(dim=0)
        return weights[-1, :-1].double().numpy()

    return {
        PRINTED: lambda: printed(asked.model),
        MENDED: mended,
        "cleann-untrained": lambda: printed(untrained),
        ATTENTION: lambda: explain_by_weight(asked, attention()),
        "random": lambda: explain_by_weight(asked, rng.random(len(asked))),
        "occlusion": lambda: explain_by_occlusion(asked),
        SUBSETS: lambda: explain_by_search(asked, attention(), max_size=size),
        EXHAUSTIVE: lambda: explain_by_search(asked, max_size=size),
    }


def _reason(sessions: Sessions, k: int) -> frozenset[int]:
    """The places that caused the last item of a session."""
    return frozenset(np.flatnonzero(sessions.parents[k, :, -1]).tolist())


def _agreement(answer: Explanation, reason: frozenset[int]) -> float | None:
    """F1 of the places removed with those that caused the item, where there are any."""
    if not reason:
        return None
    chosen = frozenset(answer.places or ())
    return 2 * len(chosen & reason) / (len(chosen) + len(reason))


def _score(answer: Explanation, reason: frozenset[int], items: int) -> dict[str, float | None]:
    size = None if answer.places is None else len(answer.places)
    return {
        "found": float(size is not None),
        "size": size,
        # One who finds no explanation is left with all items.
        "cost": items if size is None else size,
        "rank": answer.rank,
        "calls": answer.calls,
        "reason": _agreement(answer, reason),
    }


def findings(results: Results) -> Findings:
    """The paper's claims, what a fair control makes of them, and a table."""
    accuracy = results.estimate("accuracy")
    protocol = [
        f"One shop a seed (see the benchmark `abcd`), {FULL['sessions']:,} sessions of "
        f"{FULL['length']} items, a transformer trained to predict hidden items; "
        f"{FULL['tried']} other sessions whose last item it is asked for. Its first choice is "
        f"the true item in a share of {accuracy or '-'}.",
        "An item is removed by hiding it, as in training. An explanation is a set of items "
        "without which the first choice is another. Graphs are read, as in the paper, with the "
        "recommended item put in the last place; attention is that of the last place, hidden, "
        "the mean over heads of the last layer.",
        f"Methods that try sets try those of up to {FULL['max_size']} items; those that remove one "
        "item after another go on to the last. A model call is a session that it is asked about "
        "beyond the first; passes to read attention (one, or one a place for the mended reading) "
        "are not counted.",
        "`size, else all items` counts a session without explanation as all its items, so that "
        "finding only the easy ones is no merit. `F1 with the true reason` is over sessions in "
        "which the model is right and the item had reasons among the others.",
        "Marks are about paired differences, within a session (where both explain) or a seed.",
    ]
    marks = [
        *(
            _mark(results, f"{claim}, where both explain", f"{metric}_{one}_less_{other}")
            for claim, metric, one, other in (
                (f"`{PRINTED}` is smaller than `{ATTENTION}` (claimed)",
                 "size", PRINTED, ATTENTION),
                (f"`{PRINTED}` is smaller than `{SUBSETS}`", "size", PRINTED, SUBSETS),
                (
                    f"its replacements rank higher than those of `{ATTENTION}` (claimed)",
                    "rank", PRINTED, ATTENTION,
                ),
                (
                    f"its replacements rank higher than those of `{SUBSETS}`",
                    "rank", PRINTED, SUBSETS,
                ),
                (f"`{MENDED}` is smaller than `{ATTENTION}`", "size", MENDED, ATTENTION),
            )
        ),
        *(
            _mark(results, claim, f"{metric}_{one}", f"{metric}_{other}", highest=highest)
            for claim, metric, one, other, highest in (
                (f"`{PRINTED}` finds no fewer than `{EXHAUSTIVE}`",
                 "found", EXHAUSTIVE, PRINTED, 0.0),
                (f"`{MENDED}` finds no fewer than `{EXHAUSTIVE}`",
                 "found", EXHAUSTIVE, MENDED, 0.0),
                (
                    f"`{PRINTED}` is smaller than `cleann-untrained`, all sessions",
                    "cost", PRINTED, "cleann-untrained", None,
                ),
                (
                    f"`{MENDED}` is smaller than `occlusion`, all sessions",
                    "cost", MENDED, "occlusion", None,
                ),
                (
                    f"`{MENDED}` asks the model less than `{SUBSETS}`, which needs no graph",
                    "calls", MENDED, SUBSETS, None,
                ),
                (
                    f"`{MENDED}` is nearer to the true reason than `{SUBSETS}`",
                    "reason", SUBSETS, MENDED, None,
                ),
            )
        ),
    ]  # fmt: skip
    meaning = markdown_table(["row", "what it is"], list(METHODS.items()), text=True)
    return Findings(protocol, marks, [f"## Rows\n\n{meaning}", _table(results)])


def _mark(
    results: Results,
    claim: str,
    metric: str,
    less: str | None = None,
    *,
    highest: float | None = None,
) -> Mark:
    """Whether a metric, less another of the same seed, is below 0, or at most ``highest``."""
    rows = [(row.get(metric), 0.0 if less is None else row.get(less)) for row in results.rows]
    values = [a - b for a, b in rows if isinstance(a, int | float) and isinstance(b, int | float)]
    if not values:
        return Mark(claim, "-", None)
    found = estimate(values)
    holds = found.high < 0 if highest is None else found.value <= highest
    what = METRICS[metric.split("_")[0]]
    return Mark(claim, f"{what}: {found}", decide(found.count, NEEDED_SEEDS, holds))


def _table(results: Results) -> str:
    lines: list[list[object]] = []
    for method in METHODS:
        found = [results.estimate(f"{metric}_{method}") for metric in METRICS]
        seconds = results.estimate(f"seconds_{method}")
        each = "-" if seconds is None else number(1000 * seconds.value / FULL["tried"])
        lines.append([method, *(e or "-" for e in found), each])
    header = ["method", *METRICS.values(), "CPU ms a session"]
    train = results.estimate("seconds_train")
    note = f"Training took {number(train.value) if train else '-'} CPU seconds a seed."
    return f"## Explanations\n\n{markdown_table(header, lines)}\n\n{note}"


def figures(results: Results) -> Mapping[str, Figure]:
    """Sizes, shares found and model calls, with intervals."""
    figure = Figure(figsize=(14, 4.2), layout="constrained")
    panels = figure.subplots(1, 4)
    for axes, metric in zip(panels, ("found", "cost", "rank", "calls"), strict=True):
        for place, method in enumerate(METHODS):
            found = results.estimate(f"{metric}_{method}")
            if found is None:
                continue
            draw_bar(axes, place, found, f"C{place}")
        axes.set_xticks(range(len(METHODS)), list(METHODS), rotation=60, ha="right", fontsize=8)
        axes.set_title(METRICS[metric])
    return {"explanations.png": figure}


def _headline(results: Results) -> str:
    parts = []
    for method in (PRINTED, MENDED, ATTENTION, EXHAUSTIVE):
        found = results.estimate(f"cost_{method}")
        if found is not None:
            parts.append(f"{method} {number(found.value)}")
    return f"size: {', '.join(parts)}" if parts else ""


BENCHMARK = Benchmark(
    name="cleann",
    title="Explaining a recommender: CLEANN, attention, occlusion and exhaustive search",
    description="Size, validity, rank of the replacement and model calls of explanations of "
    "transformers trained on sessions whose causes are known.",
    grid=grid,
    function=run,
    findings=findings,
    figures=figures,
    headline=_headline,
)
