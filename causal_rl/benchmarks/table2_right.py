"""Table 2, right half: transformers with and without a causal graph on downstream tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol, cast

from causal_rl.benchmarks import right_clutrr, right_cues, right_scenes, right_text
from causal_rl.benchmarks.cells import Cell, Outcome
from causal_rl.benchmarks.report import Findings, markdown_table
from causal_rl.benchmarks.results import Benchmark, Results
from causal_rl.benchmarks.statistics import number

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Replicates of every task.
SEEDS = 5


class Part(Protocol):
    """What the module of a task offers.

    Attributes:
        PART: value of the parameter "task" of its cells.
        HEADLINE: the splits that the table of all tasks shows, each with its heading.
    """

    PART: str
    HEADLINE: Mapping[str, str]

    def cells(self, seeds: int, smoke: bool) -> list[Cell]:
        """Its cells: parameters task, split, method and seed."""

    def run(self, cell: Cell) -> Outcome:
        """One method on one split; the figure "accuracy" is the one that is compared."""

    def findings(self, results: Results) -> Findings:
        """Protocol, marks and tables, from the task's own rows."""

    def figures(self, results: Results) -> Mapping[str, Figure]:
        """Pictures by file name."""


PARTS: Mapping[str, Part] = {
    part.PART: part
    for part in cast(Sequence[Part], (right_clutrr, right_cues, right_scenes, right_text))
}

#: What the paper's Table 2 says, in percent; its data and models are not public.
_PAPER = {
    "transformer": (61.2, 58.4), "irm": (65.3, 63.5), "attn-mask": (67.2, 64.8),
    "catt": (68.5, 65.7), "ECAM": (72.9, 69.3),
}  # fmt: skip


def grid(seeds: int, smoke: bool) -> list[Cell]:
    """All cells, task by task."""
    return [cell for part in PARTS.values() for cell in part.cells(seeds, smoke)]


def run(cell: Cell) -> Outcome:
    """Run a cell by its task."""
    return PARTS[str(cell.parameters["task"])].run(cell)


def findings(results: Results) -> Findings:
    """The table of all tasks, then what each task that was run says."""
    found = [
        part.findings(own)
        for name, part in PARTS.items()
        if (own := _of(results, name)).rows or not results.rows
    ]
    protocol = [
        "Every method of a split and seed gets the same rows. Networks of a task have equal "
        "numbers of parameters to within 5 % where its section does not say otherwise. In a run no "
        "test row chooses an option, a threshold or a stopping time; what was seen of test rows "
        "while the methods were made is said with each task.",
    ]
    return Findings(
        [*protocol, *(line for each in found for line in each.protocol)],
        [mark for each in found for mark in each.marks],
        [_overview(results), *(section for each in found for section in each.sections)],
    )


def _of(results: Results, task: str) -> Results:
    return Results(
        [row for row in results.rows if row["task"] == task],
        [row for row in results.curves if row["task"] == task],
    )


def _overview(results: Results) -> str:
    """Accuracy of every method in the headline splits of every task, and the paper's figures."""
    columns = [
        (name, split, heading)
        for name, part in PARTS.items()
        for split, heading in part.HEADLINE.items()
        if results.select(task=name, split=split)
    ]
    methods = dict.fromkeys(
        str(row["method"])
        for name, split, _ in columns
        for row in results.select(task=name, split=split)
    )
    lines = [
        [
            method,
            *(
                results.estimate("accuracy", task=name, split=split, method=method) or "-"
                for name, split, _ in columns
            ),
        ]
        for method in methods
    ]
    printed = [[f"paper: {method}", *_PAPER[method]] for method in _PAPER]
    return "\n\n".join(
        [
            "## All tasks",
            markdown_table(["method", *(heading for _, _, heading in columns)], lines),
            "The paper prints the following, in percent; how it made its test sets is not said, so "
            "that they can be read beside ours, not against them.",
            markdown_table(["", "CLUTRR", "visual questions"], printed),
        ]
    )


def figures(results: Results) -> Mapping[str, Figure]:
    """The pictures of all tasks."""
    made: dict[str, Figure] = {}
    for name, part in PARTS.items():
        own = _of(results, name)
        if own.rows:
            made |= {f"{name}-{file}": figure for file, figure in part.figures(own).items()}
    return made


def _headline(results: Results) -> str:
    words = []
    for name, part in PARTS.items():
        for split in part.HEADLINE:
            found = {
                str(row["method"]): results.estimate(
                    "accuracy", task=name, split=split, method=row["method"]
                )
                for row in results.select(task=name, split=split)
            }
            best = max(
                (method for method, each in found.items() if each),
                key=lambda method: found[method].value,  # type: ignore[union-attr]
                default=None,
            )
            if best is not None:
                words.append(f"{name} {best} {number(found[best].value)}")  # type: ignore[union-attr]
    return ", ".join(words) or "-"


BENCHMARK = Benchmark(
    name="table2-right",
    title="Table 2, right half: downstream tasks",
    description="Accuracy of transformers with a learned causal graph, the true one or none, and "
    "of their peers, on CLUTRR, the spurious-cue game, rendered scenes, ACRE and revised text.",
    grid=grid,
    function=run,
    findings=findings,
    figures=figures,
    headline=_headline,
    seeds=SEEDS,
    devices=True,
)
