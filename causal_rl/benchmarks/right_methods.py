"""What the tasks of Table 2's right half share: methods by name, how two are compared and drawn."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from matplotlib.figure import Figure

from causal_rl.benchmarks.bars import draw_bar
from causal_rl.benchmarks.cells import Row
from causal_rl.benchmarks.report import Mark, decide
from causal_rl.benchmarks.results import Results
from causal_rl.benchmarks.statistics import estimate, number

TRANSFORMER, ATTN_MASK, CATT, IRM, LEARNED, TRUE = (
    "transformer", "attn-mask", "catt", "irm", "ecam-learned", "ecam-true"
)  # fmt: skip
#: Seeds before a claim is decided.
NEEDED_SEEDS = 5


def plain_mean(results: Results, metric: str, **where: str) -> str:
    """The mean alone; a dash where nothing was measured."""
    found = results.estimate(metric, **where)
    return "-" if found is None else number(found.value)


def method_lines(
    results: Results,
    split: str,
    methods: Iterable[str],
    estimated: Iterable[str],
    plain: Iterable[str],
) -> list[list[object]]:
    """A line of each method that ran: its name, metrics with intervals, and means alone."""
    shown, alone = list(estimated), list(plain)
    lines: list[list[object]] = []
    for method in methods:
        where = {"split": split, "method": method}
        if results.select(**where):
            line: list[object] = [method]
            line += [results.estimate(metric, **where) or "-" for metric in shown]
            lines.append(line + [plain_mean(results, metric, **where) for metric in alone])
    return lines


def learned_is_better(
    results: Results, split: str, other: str, what: str, *, ours: str = LEARNED
) -> Mark:
    """The claim that a learned graph beats another method, on the differences seed by seed.

    Args:
        results: of one task.
        split: of it.
        other: the other method.
        what: how the claim names the split.
        ours: the method with the learned graph.

    Returns:
        The mark; undecided where the two have other seeds, or too few.
    """
    claim = f"{what}: `{ours}` is more accurate than `{other}`, paired by seed"
    one: Row = {"split": split, "method": ours}
    two: Row = {"split": split, "method": other}
    gaps = results.differences("accuracy", one, two)
    if not gaps.size or {len(results.select(**each)) for each in (one, two)} != {gaps.size}:
        return Mark(claim, "-", None)
    gap = estimate(gaps)
    return Mark(claim, f"difference {gap}", decide(gap.count, NEEDED_SEEDS, gap.low > 0))


def draw_splits(
    results: Results,
    splits: Mapping[str, Iterable[str]],
    inside: str,
    outside: str,
    *,
    columns: int,
    least: float | None = None,
) -> Figure | None:
    """Two bars a method, on test data like the training's and on the other, a panel a split.

    Args:
        results: of one task.
        splits: methods by split.
        inside: what the figure "accuracy_in" is called.
        outside: what "accuracy" is called.
        columns: panels in a line.
        least: a dotted line at the mark, if there is one.

    Returns:
        The figure; None where there are no rows.
    """
    drawn = [split for split in splits if results.select(split=split)]
    if not drawn:
        return None
    columns = min(columns, len(drawn))
    lines = -(-len(drawn) // columns)
    figure = Figure(figsize=(4.5 * columns, 3.5 * lines), layout="constrained")
    panels = figure.subplots(lines, columns, sharey=True, squeeze=False).ravel()
    sides = (("accuracy_in", -0.2, "C7", inside), ("accuracy", 0.2, "C0", outside))
    for axes, split in zip(panels, drawn, strict=False):
        methods = list(splits[split])
        both = results.values("accuracy_in", split=split).size > 0
        for place, method in enumerate(methods):
            for metric, shift, color, label in sides:
                found = results.estimate(metric, split=split, method=method)
                if found is not None:
                    once = None if place else label
                    x = place + shift if both else place
                    draw_bar(axes, x, found, color, width=0.4, label=once)
        if least is not None:
            axes.axhline(least, color="black", linewidth=0.8, linestyle=":")
        axes.set_xticks(range(len(methods)), methods, rotation=30, ha="right", fontsize=7)
        axes.set_title(split)
    for axes in panels[len(drawn) :]:
        axes.set_visible(False)
    panels[0].set_ylabel("accuracy")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, fontsize=8, ncols=len(labels), loc="outside upper center")
    return figure
