"""RESULTS.md: written from the data, never by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from causal_rl.benchmarks.cells import Cell, Row

RESULTS_FILE = "RESULTS.md"
PROVENANCE_FILE = "provenance.json"

_VERDICT = {True: "holds", False: "**falls short**", None: "undecided"}


@dataclass(frozen=True)
class Mark:
    """A claim that the results are held against.

    Attributes:
        claim: what should hold.
        measured: what was measured, in words made from the data.
        holds: whether it does; None where there are too few seeds to say.
    """

    claim: str
    measured: str
    holds: bool | None


@dataclass(frozen=True)
class Findings:
    """What a benchmark says about its results.

    Attributes:
        protocol: how it was measured, a sentence or two each.
        marks: the claims.
        sections: Markdown, usually a heading and a table each.
    """

    protocol: Sequence[str]
    marks: Sequence[Mark] = ()
    sections: Sequence[str] = field(default_factory=tuple)


def decide(count: int, needed: int, holds: bool) -> bool | None:
    """``holds``, or None where fewer than ``needed`` values were measured."""
    return holds if count >= needed else None


def markdown_table(
    header: Sequence[str], rows: Sequence[Sequence[object]], *, text: bool = False
) -> str:
    """A Markdown table; the first column to the left, the others to the right if no ``text``."""
    lines = [
        _line(header),
        _line(["---", *["---" if text else "---:"] * (len(header) - 1)]),
        *(_line(row) for row in rows),
    ]
    return "\n".join(lines)


def results_text(
    title: str,
    description: str,
    findings: Findings,
    figures: Sequence[str],
    provenance: Mapping[str, Any],
    failures: Sequence[Mapping[str, object]],
) -> str:
    """The text of RESULTS.md.

    Args:
        title: heading.
        description: a sentence.
        findings: what the benchmark says.
        figures: names of its pictures.
        provenance: what ``provenance.json`` holds.
        failures: cells that failed: "cell" and "error" each.
    """
    cells = provenance["cells"]
    lines = [f"# {title}", "", description, ""]
    if cells["finished"] < cells["planned"]:
        lines += [
            f"**Incomplete: {cells['finished']} of {cells['planned']} cells.**",
            *(f"- failed: {item['cell']}: {item['error']}" for item in failures),
            "",
        ]
    if provenance["smoke"]:
        lines += ["**A smoke run: it shows that everything runs, its figures mean nothing.**", ""]
    lines += ["## Protocol", "", *(f"- {line}" for line in findings.protocol), ""]
    if findings.marks:
        table = [(m.claim, m.measured, _VERDICT[m.holds]) for m in findings.marks]
        lines += [
            "## What holds",
            "",
            markdown_table(("mark", "measured", ""), table, text=True),
            "",
        ]
    for section in findings.sections:
        lines += [section, ""]
    lines += [f"![{Path(name).stem}]({name})" for name in figures]
    commits = ", ".join(f"{name} ({count})" for name, count in provenance["commits"].items())
    machine = provenance["machine"]
    gpu = f", {machine['gpu']}" if "gpu" in machine else ""
    lines += [
        "",
        "## Where it comes from",
        "",
        f"`{provenance['command']}`; {cells['finished']} cells, {cells['wall_seconds']:.0f} s of "
        f"work in all; cells by commit: {commits or 'none'}; {machine['cpu']}, {machine['cores']} "
        f"cores{gpu}, Python {machine['python']}. The rows are in `raw.csv`, means "
        f"and interquartile means with 95 % bootstrap intervals in `summary.csv`, versions and "
        f"settings in `{PROVENANCE_FILE}`. Intervals in brackets are of the same kind.",
        "",
    ]
    return "\n".join(lines)


def settings_by_parameter(cells: Sequence[Cell], replicate: str) -> dict[str, dict[str, Any]]:
    """What the cells' settings are, said once.

    Args:
        cells: the grid.
        replicate: the parameter whose own settings (seeds) are left out.

    Returns:
        ``"all"``: on which every cell agrees; ``"name=value"``: on which, beyond those, the cells
        with that value of a parameter agree.
    """
    everywhere = _shared([cell.settings for cell in cells])
    found = {"all": everywhere}
    pairs = dict.fromkeys(pair for cell in cells for pair in cell.parameters.items())
    for name, value in pairs:
        some = [cell.settings for cell in cells if cell.parameters.get(name) == value]
        own = {k: v for k, v in _shared(some).items() if k not in everywhere}
        if own and name != replicate:
            found[f"{name}={value}"] = own
    return found


def _shared(settings: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    if not settings:
        return {}
    first = settings[0]
    return {
        key: value
        for key, value in first.items()
        if all(key in other and other[key] == value for other in settings)
    }


def count_by(rows: Sequence[Row], column: str) -> dict[str, int]:
    """How many rows bear each value of a column, in order of appearance."""
    counts: dict[str, int] = {}
    for row in rows:
        key = str(row.get(column))
        counts[key] = counts.get(key, 0) + 1
    return counts


def _line(cells: Sequence[object]) -> str:
    return "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |"
