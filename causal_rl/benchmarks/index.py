"""The page of all results, ``results/README.md``: written from the rows, never by hand."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from causal_rl.benchmarks.contests import BETTER, EVEN, WORSE, Standing, stand
from causal_rl.benchmarks.headlines import HEADLINES
from causal_rl.benchmarks.report import PROVENANCE_FILE, RESULTS_FILE, markdown_table
from causal_rl.benchmarks.store import RAW_FILE, read_table
from causal_rl.files import atomic_write_text

INDEX_FILE = "README.md"


def write_index(folder: Path) -> None:
    """Write ``README.md`` of the folder that holds the benchmarks' folders.

    Args:
        folder: its sub-folders with a ``provenance.json`` are listed, smoke runs left out.

    Raises:
        ValueError: a ``raw.csv`` that is no table of a benchmark.
    """
    found = [
        (path.parent, json.loads(path.read_text(encoding="utf-8")))
        for path in sorted(folder.glob(f"*/{PROVENANCE_FILE}"))
    ]
    published = [(path, provenance) for path, provenance in found if not provenance["smoke"]]
    standings = [(path.name, each) for path, _ in published for each in _standings(path)]
    text = [
        "# Results",
        "",
        "Written by `causal-rl benchmark`; nothing here is typed by hand.",
        "",
        *_headlines(standings),
        "## All benchmarks",
        "",
        markdown_table(
            ("results", "what it measures", "cells", "marks that hold", "command"),
            [_line(path, provenance) for path, provenance in published],
            text=True,
        ),
        "",
    ]
    atomic_write_text(folder / INDEX_FILE, "\n".join(text))


def _standings(folder: Path) -> list[Standing]:
    contests = HEADLINES.get(folder.name, ())
    rows = read_table(folder / RAW_FILE) if contests else []
    return [each for contest in contests if (each := stand(contest, rows)) is not None]


def _headlines(standings: Sequence[tuple[str, Standing]]) -> list[str]:
    if not standings:
        return []
    counts = {
        verdict: sum(each.verdict == verdict for _, each in standings)
        for verdict in (BETTER, EVEN, WORSE)
    }
    lines = [
        (_link(name), each.asks, each.ours, each.best, each.claimed, _emphasis(each.verdict))
        for name, each in standings
    ]
    return [
        "## Headlines",
        "",
        f"Ours is {BETTER} in {counts[BETTER]} of these lines, {EVEN} in {counts[EVEN]} and "
        f"{WORSE} in {counts[WORSE]}: by the interval of the differences to the best of the "
        "others, paired over seeds. Ours is in every line the method that was settled beforehand; "
        "the best of the others is chosen by the very rows that it is shown with. Means with 95 % "
        "bootstrap intervals. What the paper prints was measured on data that it does not publish: "
        "it can be read beside ours, not against it.",
        "",
        markdown_table(
            ("results", "measured", "ours", "best of the others", "the paper", "ours is"),
            lines,
            text=True,
        ),
        "",
    ]


def _emphasis(verdict: str) -> str:
    return f"**{verdict}**" if verdict == WORSE else verdict


def _link(name: str) -> str:
    return f"[{name}]({name}/{RESULTS_FILE})"


def _line(folder: Path, provenance: dict[str, Any]) -> tuple[str, str, str, str, str]:
    marks, cells = provenance["marks"], provenance["cells"]
    return (
        _link(folder.name),
        provenance["description"],
        f"{cells['finished']} of {cells['planned']}",
        "-" if not marks else f"{sum(m['holds'] is True for m in marks)} of {len(marks)}",
        f"`{provenance['command']}`",
    )
