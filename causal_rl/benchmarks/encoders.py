"""What is a graph worth to a policy? Encoders x graphs x shifts, on cues that betray."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from causal_rl.agents import evaluate_run_agent
from causal_rl.benchmarks.agent_runs import (
    SMOKE_OPTIONS,
    SMOKE_WORLD,
    run_settings,
    train_cell,
)
from causal_rl.benchmarks.cells import Cell, Outcome, Row
from causal_rl.benchmarks.report import Findings, Mark, decide, markdown_table
from causal_rl.benchmarks.results import Benchmark, Results
from causal_rl.benchmarks.statistics import Estimate, estimate, number
from causal_rl.envs import ProxyOptions

ENV = "proxy-chain-scm"
ENCODERS = ("ecam", "masked-mlp", "attention", "mlp")
GRAPHS = ("learned", "oracle", "full", "empty")
#: The encoder without a graph of each that reads one.
BLIND = {"ecam": "attention", "masked-mlp": "mlp"}
#: One run stands for several cells of the table: these encoders read no graph, and a mask that
#: lets every variable through is none. The tests hold their networks against each other.
SAME_RUN = {
    **{(encoder, graph): (encoder, "full") for encoder in BLIND.values() for graph in GRAPHS},
    ("masked-mlp", "full"): ("mlp", "full"),
}
TRAIN = "train"
#: Shifts by whether a graph can be expected to help under them.
SHIFTS = {"flip": True, "noise": False, "mechanism": False}
STEPS = 24_000
# Encoders and learners were developed on graph seeds below 100.
FIRST_SEED = 2_000
NEEDED_SEEDS = 10
#: A difference of normalised returns that somebody would notice.
NOTICED = 0.02


def grid(seeds: int, smoke: bool) -> list[Cell]:
    """Seeds outermost: every encoder and graph whose run stands for itself."""
    places = [(e, g) for e in ENCODERS for g in GRAPHS if stand_in(e, g) == (e, g)]
    if smoke:
        places = [("ecam", "learned")]
    return [
        Cell(
            {"encoder": encoder, "graph": graph, "seed": seed},
            _settings(encoder, graph, seed, smoke),
        )
        for seed in range(min(seeds, 1) if smoke else seeds)
        for encoder, graph in places
    ]


def stand_in(encoder: str, graph: str) -> tuple[str, str]:
    """The encoder and graph whose run stands in a place of the table."""
    return SAME_RUN.get((encoder, graph), (encoder, graph))


def _settings(encoder: str, graph: str, seed: int, smoke: bool) -> dict[str, Any]:
    options: dict[str, Any] = {
        "steps": STEPS,
        "eval_every": 5,
        "final_episodes": 64,
        "checkpoint_every": 1_000,
        **(SMOKE_OPTIONS if smoke else {}),
        # A graph that nobody reads need not be learned; the data are the same all the same.
        "learner": "interventional" if graph == "learned" else "empty",
    }
    world = ProxyOptions(
        graph_seed=FIRST_SEED + seed, **({**SMOKE_WORLD, "distractors": 2} if smoke else {})
    )
    return run_settings(ENV, world, FIRST_SEED + seed, encoder=encoder, graph=graph, **options)


def run(cell: Cell) -> Outcome:
    """Train once, evaluate in the world as trained on and under every shift."""
    with train_cell(cell) as (folder, figures):
        found: Row = dict(figures)
        found[f"normalised_{TRAIN}"] = found.pop("return_normalised")
        for shift in SHIFTS:
            after = evaluate_run_agent(folder, shift=shift).to_dict()
            found[f"return_{shift}"] = after["return_mean"]
            found[f"normalised_{shift}"] = after["return_normalised"]
    return Outcome(found)


def findings(results: Results) -> Findings:
    """Marks under flip, a table a shift, what the graph is worth, and where it is worth nothing."""
    steps = sorted({int(value) for value in results.values("env_steps")})
    protocol = [
        f"`{ENV}` with its default options; seed k draws graph, labels and mechanisms as graph "
        f"seed {FIRST_SEED} + k, on none of which anything was settled. "
        f"{' or '.join(f'{s:,}' for s in steps) or 'No'} environment steps, the same warm-up and "
        "exploration for all.",
        "learned: the graph of the run itself. oracle: the true one. full: every edge there can "
        "be. empty: no edge, so that the goal alone is read. Every trained agent meets every "
        "shift.",
        "`attention` and `mlp` read no graph: their runs do not depend on it, so one run a seed "
        "stands in all four columns. `masked-mlp` with the full graph masks nothing: it is `mlp`, "
        "and its figures are those of that run. `ecam` with the full graph is not quite "
        "`attention`: the goal, which nothing causes, attends to itself alone.",
        "flip turns the sign of the distractors that follow the goal in training; noise doubles "
        "the noise of every variable; mechanism changes the mechanism that the reward reads. "
        "Under the last two nothing is expected of a graph.",
        "Normalised return is (return - random) / (oracle - random), the oracle being the planner "
        "in the true model, random and oracle in the same, shifted, world on the same episodes.",
    ]
    sections = [
        *(_return_table(results, world) for world in (TRAIN, *SHIFTS)),
        _worth_table(results),
        _nothing_gained(results),
        _learned_table(results),
    ]
    return Findings(protocol, [_flip_mark(results, encoder) for encoder in BLIND], sections)


def values_of(results: Results, metric: str, encoder: str, graph: str) -> dict[int, float]:
    """A metric by seed for one place of the table, from the run that stands for it."""
    encoder, graph = stand_in(encoder, graph)
    return {
        int(row["seed"] or 0): float(value)
        for row in results.select(encoder=encoder, graph=graph)
        if isinstance(value := row.get(metric), int | float)
    }


def gain(results: Results, metric: str, encoder: str, graph: str) -> Estimate | None:
    """Mean difference to the same encoder without a graph, paired by seed."""
    with_graph = values_of(results, metric, encoder, graph)
    without = values_of(results, metric, BLIND[encoder], "full")
    pairs = [value - without[seed] for seed, value in with_graph.items() if seed in without]
    return estimate(pairs) if pairs else None


def verdict(found: Estimate) -> str:
    """What a difference amounts to: "gained", "lost", "nothing" or "cannot be told"."""
    if found.low > 0:
        return "gained" if found.value >= NOTICED else "nothing to speak of"
    if found.high < 0:
        return "lost" if found.value <= -NOTICED else "nothing to speak of"
    return "nothing" if max(-found.low, found.high) <= 2 * NOTICED else "cannot be told"


def _flip_mark(results: Results, encoder: str) -> Mark:
    learned = values_of(results, "normalised_flip", encoder, "learned")
    found = gain(results, "normalised_flip", encoder, "learned")
    return Mark(
        f"{encoder} with the learned graph earns more under flip than {BLIND[encoder]}",
        f"{estimate(list(learned.values()))}, {found} more" if found else "not measured",
        decide(found.count if found else 0, NEEDED_SEEDS, found is not None and found.low > 0),
    )


def _return_table(results: Results, world: str) -> str:
    lines: list[list[object]] = []
    for encoder in ENCODERS:
        found = [values_of(results, f"normalised_{world}", encoder, graph) for graph in GRAPHS]
        line: list[object] = [estimate(list(f.values())) if f else "-" for f in found]
        for place, graph in enumerate(GRAPHS):
            stands = stand_in(encoder, graph)
            if stands != (encoder, graph):
                line[place] = "the same" if stands[0] == encoder else f"as {stands[0]}"
        lines.append([encoder, *line])
    title = "As trained" if world == TRAIN else f"Under {world}"
    return f"## {title}\n\nNormalised return, mean over seeds.\n\n" + markdown_table(
        ["encoder", *GRAPHS], lines
    )


def _worth_table(results: Results) -> str:
    worlds = (TRAIN, *SHIFTS)
    lines: list[list[object]] = []
    for encoder, graph in _reading():
        line: list[object] = [f"{encoder}, {graph}"]
        for world in worlds:
            found = gain(results, f"normalised_{world}", encoder, graph)
            line.append(f"{found} {verdict(found)}" if found else "-")
        lines.append(line)
    return (
        "## What the graph is worth\n\nDifference of normalised returns to the same encoder "
        "without a graph (ecam to attention, masked-mlp to mlp), paired by seed. gained or lost: "
        f"the interval leaves 0 out and the mean is {NOTICED} or more; nothing: the interval has "
        f"0 and stays within {2 * NOTICED}.\n\n"
        + markdown_table(["encoder, graph", *worlds], lines)
    )


def _nothing_gained(results: Results) -> str:
    """The sentences a reader should not have to look for."""
    lines = []
    for world in (TRAIN, *SHIFTS):
        groups: dict[str, list[str]] = {}
        for encoder, graph in _reading():
            found = gain(results, f"normalised_{world}", encoder, graph)
            if found:
                groups.setdefault(verdict(found), []).append(f"{encoder}/{graph}")
        words = "; ".join(f"{what}: {', '.join(who)}" for what, who in groups.items())
        name = "as trained" if world == TRAIN else f"under {world}"
        if words and "gained" not in groups:
            said = "no gain is shown" if "cannot be told" in groups else "nothing is gained"
            lines.append(f"- **{name} {said} by any graph** ({words}).")
        elif words:
            lines.append(f"- {name}: {words}.")
    return "## Where something is gained, and where not\n\n" + "\n".join(lines)


def _reading() -> list[tuple[str, str]]:
    """Places of the table where a graph makes a run of its own."""
    return [(e, g) for e in BLIND for g in GRAPHS if (e, g) not in SAME_RUN]


def _learned_table(results: Results) -> str:
    """How right the learned graphs are, and what a run costs."""
    lines: list[list[object]] = []
    for encoder in ENCODERS:
        rows = results.select(encoder=encoder, graph="learned")
        exact = sum(r.get("shd_contemporaneous") == 0 and r.get("shd_lagged") == 0 for r in rows)
        difference = "-"
        if encoder in BLIND:
            truth = values_of(results, f"normalised_{TRAIN}", encoder, "oracle")
            learned = values_of(results, f"normalised_{TRAIN}", encoder, "learned")
            pairs = [value - truth[seed] for seed, value in learned.items() if seed in truth]
            difference = str(estimate(pairs)) if pairs else "-"
        seconds = results.estimate("cpu_seconds", encoder=encoder)
        graph = f"{exact} of {len(rows)}" if encoder in BLIND else "none learned"
        lines.append([encoder, graph, difference, number(seconds.value if seconds else None)])
    header = ["encoder", "learned graph exact", "learned - oracle", "processor seconds a cell"]
    return "## Learned graphs and cost\n\n" + markdown_table(header, lines)


def figures(results: Results) -> Mapping[str, Figure]:
    """A panel a world: encoders down, graphs across, the mean in colour and in figures."""
    worlds = (TRAIN, *SHIFTS)
    figure = Figure(figsize=(3.6 * len(worlds), 3.4), layout="constrained")
    panels = np.atleast_1d(figure.subplots(1, len(worlds), sharey=True))
    for axes, world in zip(panels, worlds, strict=True):
        means = np.full((len(ENCODERS), len(GRAPHS)), np.nan)
        for i, encoder in enumerate(ENCODERS):
            for j, graph in enumerate(GRAPHS):
                found = values_of(results, f"normalised_{world}", encoder, graph)
                if found:
                    means[i, j] = np.mean(list(found.values()))
                    axes.text(j, i, f"{means[i, j]:.2f}", ha="center", va="center", fontsize=8)
        axes.imshow(means, vmin=-1.0, vmax=1.0, cmap="RdYlGn", aspect="auto")
        axes.set_xticks(range(len(GRAPHS)), GRAPHS, fontsize=8)
        axes.set_yticks(range(len(ENCODERS)), ENCODERS, fontsize=8)
        axes.set_title("as trained" if world == TRAIN else world, fontsize=9)
    figure.suptitle("Normalised return, mean over seeds", fontsize=10)
    return {"encoders.png": figure}


def _headline(results: Results) -> str:
    parts = []
    for encoder in ENCODERS:
        graph = "learned" if encoder in BLIND else "full"
        found = values_of(results, "normalised_flip", encoder, graph)
        if found:
            parts.append(f"{encoder} {number(float(np.mean(list(found.values()))))}")
    return "under flip: " + ", ".join(parts)


BENCHMARK = Benchmark(
    name="encoders",
    title="Four encoders, four graphs, three shifts",
    description="Normalised return on proxy-chain-scm of every encoder with the learned, the true, "
    "the full and the empty graph, as trained and under three shifts.",
    grid=grid,
    function=run,
    findings=findings,
    figures=figures,
    headline=_headline,
)
