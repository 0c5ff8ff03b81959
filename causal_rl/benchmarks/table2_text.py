"""What the left half of Table 2 says about its rows: marks, tables, paired tests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import wilcoxon

from causal_rl.benchmarks.cells import Row, Value
from causal_rl.benchmarks.report import Findings, Mark, decide, markdown_table
from causal_rl.benchmarks.results import Results
from causal_rl.benchmarks.static_models import STRUCTURES
from causal_rl.benchmarks.statistics import estimate, holm, number
from causal_rl.benchmarks.table2_methods import (
    COLUMNS,
    FRESH,
    KNOWS,
    LEARNED,
    LEARNER,
    METHODS,
    OURS,
    OURS_REAL,
    TRUE,
)

REAL = ("ihdp", "acic2016", "lalonde")
WORLDS: tuple[str, ...] = tuple(STRUCTURES)
NEEDED_WORLDS, NEEDED_IHDP = 50, 20
LEARNED_MARK, IHDP_MEDIAN_MARK, IHDP_MEAN_MARK = 0.15, 0.52, 0.53
#: Index of IHDP's replication 9, whose effects spread thirty times as far as the others'.
OUTLYING = 8
_LEVEL = 0.05
_GRAPH_FIGURES = ("shd", "clean", "valid", "graph seconds")


@dataclass(frozen=True)
class Line:
    """One method with what it was told, and a figure of each data set.

    Attributes:
        method: name of the method.
        knows: what it was told.
        values: by name of the data and seed.
    """

    method: str
    knows: str
    values: dict[tuple[str, int], float]

    @property
    def label(self) -> str:
        """The method, and the graph it was given."""
        return self.method if self.knows == COLUMNS else f"{self.method}, {self.knows}"

    @property
    def mean(self) -> float:
        """Over data sets."""
        return float(np.mean(list(self.values.values())))

    def median(self) -> float:
        """Over data sets."""
        return float(np.median(list(self.values.values())))


def lines(results: Results, metric: str, data: Sequence[str]) -> list[Line]:
    """A figure of all methods on some data, in the order of the table.

    Args:
        results: finished cells.
        metric: its name behind the method's.
        data: names of the data.

    Returns:
        Methods that have the figure.
    """
    found = []
    for method in METHODS:
        for knows in KNOWS:
            values = {}
            for row in results.rows:
                value = row.get(f"{method}: {metric}")
                wanted = row["data"] in data and row["knows"] == knows
                if wanted and isinstance(value, int | float):
                    values[str(row["data"]), int(row["seed"] or 0)] = float(value)
            if values:
                found.append(Line(method, knows, values))
    return found


def findings(results: Results) -> Findings:
    """Marks, a table for each kind of data, paired tests, and what the learned graphs are like."""
    protocol = [
        "Random worlds: 10 standardised variables, degree 4, edges that are lines, tanhs and "
        "sines, weights ±U(.5, 2), noise .7; T ~ Bernoulli(sigmoid(1.5 z)), its effect times "
        "(1 + .6 tanh(x)), Y one of its confounded descendants. 2,000 rows to fit, 2,000 others to "
        "judge. Nobody says which of the eight other columns are confounders, mediators or "
        "colliders. The truth is the difference of twins that share all noise.",
        "PEHE is reported with its root and without; most of what is called PEHE .2 to .5 in the "
        "literature on this set-up is without. ATE error is absolute; its square is part of the "
        "squared PEHE.",
        f"Learned graph: `{LEARNER}` on the standardised columns, told that Y does not cause T and "
        "nothing else; the same graph for all methods. Where it makes the outcome a cause of the "
        "treatment all the same, the effect is none. True graph: the oracle's rows, a bound and no "
        "method.",
        "IHDP: replications 1 to 20, the canonical 672 and 75 rows. ACIC 2016: settings 1 to 5, a "
        "fifth held out. Roles are known there, and the truth is of expected outcomes. LaLonde: "
        "the treated of the experiment and 15,992 people of a survey; the target is the "
        "experiment's difference of means, for the treated.",
        "All options are defaults, the same for all data. Networks stop by the factual loss on a "
        "fifth of the training rows; the Gaussian process by its evidence. The random worlds here "
        f"(seeds from {FRESH} on) were not looked at before; on worlds of other seeds errors of "
        f"effects were seen while `{OURS}` and the choice of the learner took shape. So were those "
        "of IHDP replications 1 to 13 while the Gaussian process did; its last change, one "
        "direction in place of two, was made by factual cross-validation on replications 1 and 3.",
    ]
    sections = [_worlds(results), _paired(results), _graphs(results)]
    sections += [_real(results, data) for data in REAL[:2]]
    sections += [_lalonde(results)]
    return Findings(protocol, _marks(results), [text for text in sections if text])


def _find(found: Sequence[Line], method: str, knows: str) -> Line | None:
    return next((line for line in found if (line.method, line.knows) == (method, knows)), None)


def _marks(results: Results) -> list[Mark]:
    squared = lines(results, "pehe squared", WORLDS)
    learned = _find(squared, OURS, LEARNED)
    count = len(learned.values) if learned else 0
    blind = [line for line in squared if line.knows == COLUMNS]
    marks = [
        Mark(
            f"random worlds, learned graph: squared PEHE of {OURS} <= {LEARNED_MARK:g}",
            _estimated(learned) if learned else "-",
            decide(count, NEEDED_WORLDS, learned is not None and learned.mean <= LEARNED_MARK),
        )
    ]
    if learned and blind:
        best = min(blind, key=lambda line: line.mean)
        p = _p_value(learned, best)
        better = learned.mean < best.mean and p < _LEVEL
        marks.append(
            Mark(
                f"random worlds: {OURS} with the learned graph better than every method without a "
                "graph (Wilcoxon, against the best of them)",
                f"{number(learned.mean)}; {best.label} {number(best.mean)}, p = {p:.2g}",
                decide(min(count, len(best.values)), NEEDED_WORLDS, better),
            )
        )
    roots = _find(lines(results, "pehe", REAL[:1]), OURS_REAL, COLUMNS)
    count = len(roots.values) if roots else 0
    rest = [v for (_, seed), v in roots.values.items() if seed != OUTLYING] if roots else []
    middle, mean = (roots.median() if roots else np.nan), (np.mean(rest) if rest else np.nan)
    marks += [
        Mark(
            f"IHDP 1-20: median root PEHE of {OURS_REAL}, held out, <= {IHDP_MEDIAN_MARK:g}",
            number(float(middle)) if roots else "-",
            decide(count, NEEDED_IHDP, bool(middle <= IHDP_MEDIAN_MARK)),
        ),
        Mark(
            f"IHDP without replication 9: mean root PEHE of {OURS_REAL}, held out, "
            f"<= {IHDP_MEAN_MARK:g}",
            number(float(mean)) if rest else "-",
            decide(count, NEEDED_IHDP, bool(mean <= IHDP_MEAN_MARK)),
        ),
    ]
    return marks


def _estimated(line: Line) -> str:
    return str(estimate(list(line.values.values())))


def _p_value(a: Line, b: Line) -> float:
    shared = [key for key in a.values if key in b.values]
    gaps = np.array([a.values[key] - b.values[key] for key in shared])
    return float(wilcoxon(gaps).pvalue) if np.any(gaps) else 1.0


def _worlds(results: Results) -> str:
    metrics = ("pehe squared", "pehe", "ate error", "ate error squared")
    tables = {metric: lines(results, metric, WORLDS) for metric in metrics}
    by_structure = {s: lines(results, "pehe squared", (s,)) for s in WORLDS}
    seconds = lines(results, "seconds", WORLDS)
    rows: list[list[object]] = []
    for line in sorted(tables["pehe squared"], key=lambda line: line.mean):
        cells: list[object] = [line.label, len(line.values), _estimated(line)]
        cells.append(number(line.median()))
        for found in (*(tables[m] for m in metrics[1:]), *by_structure.values(), seconds):
            other = _find(found, line.method, line.knows)
            cells.append(number(other.mean) if other else "-")
        rows.append(cells)
    if not rows:
        return ""
    header = [
        "method", "worlds", "PEHE²", "median PEHE²", "root PEHE", "ATE error", "ATE error²",
        *(f"PEHE² {s}" for s in WORLDS), "CPU seconds",
    ]  # fmt: skip
    return f"## Random worlds, roles unknown\n\nThe best first.\n\n{markdown_table(header, rows)}"


def _paired(results: Results) -> str:
    found = lines(results, "pehe squared", WORLDS)
    ours = _find(found, OURS, LEARNED)
    others = [line for line in found if line.knows != TRUE and line is not ours]
    if ours is None or not others:
        return ""
    adjusted = holm([_p_value(ours, line) for line in others])
    rows: list[list[object]] = []
    for line, p in zip(others, adjusted, strict=True):
        gaps = [line.values[key] - v for key, v in ours.values.items() if key in line.values]
        better = sum(gap > 0 for gap in gaps)
        mean = number(float(np.mean(gaps))) if gaps else "-"
        rows.append([line.label, mean, f"{better} of {len(gaps)}", f"{p:.2g}"])
    header = ["method", f"PEHE² less that of {OURS}, {LEARNED}", "worlds worse", "p (Holm)"]
    text = (
        "World by world; positive is worse than ours. Wilcoxon's signed-rank test, two-sided, "
        "corrected by Holm."
    )
    return f"## Paired tests\n\n{text}\n\n{markdown_table(header, rows)}"


def _graphs(results: Results) -> str:
    rows = [row for row in results.select(knows=LEARNED) if row["data"] in WORLDS]
    if not rows:
        return ""
    table: list[list[object]] = []
    for structure in WORLDS:
        chosen = [row for row in rows if row["data"] == structure]
        if chosen:
            table.append([structure, len(chosen), *(_average(chosen, m) for m in _GRAPH_FIGURES)])
    header = ["graphs", "worlds", "SHD", "no forbidden variable", "valid set", "CPU seconds"]
    text = (
        "What the learned graph says to adjust for, held against the true one: the share of worlds "
        "in which the set holds nothing that the treatment moves on its way to the outcome, and in "
        "which it is valid."
    )
    return f"## The learned graphs\n\n{text}\n\n{markdown_table(header, table)}"


def _average(rows: Sequence[Row], metric: str) -> str:
    values: list[Value] = [row.get(metric) for row in rows]
    known = [float(v) for v in values if isinstance(v, bool | int | float)]
    return number(float(np.mean(known))) if known else "-"


def _real(results: Results, data: str) -> str:
    outside = lines(results, "pehe", (data,))
    if not outside:
        return ""
    inside, errors = lines(results, "pehe, train", (data,)), lines(results, "ate error", (data,))
    rows: list[list[object]] = []
    for line in sorted(outside, key=Line.median):
        kept = [v for (_, seed), v in line.values.items() if data != REAL[0] or seed != OUTLYING]
        cells: list[object] = [line.label, len(line.values), number(line.median())]
        cells += [number(line.mean), number(float(np.mean(kept))) if kept else "-"]
        within, ate = _find(inside, line.method, COLUMNS), _find(errors, line.method, COLUMNS)
        cells += [number(within.median()) if within else "-", number(ate.mean) if ate else "-"]
        rows.append(cells)
    header = ["method", "sets", "median root PEHE", "mean", "mean without 9", "median, train"]
    if data != REAL[0]:
        rows = [[*row[:4], *row[5:]] for row in rows]
        header.remove("mean without 9")
    header.append("ATE error")
    title = {"ihdp": "IHDP", "acic2016": "ACIC 2016"}[data]
    text = "Held-out rows where nothing else is said; the best median first."
    return f"## {title}\n\n{text}\n\n{markdown_table(header, rows)}"


def _lalonde(results: Results) -> str:
    errors = lines(results, "att error", (REAL[2],))
    found = lines(results, "att", (REAL[2],))
    if not errors:
        return ""
    rows: list[list[object]] = []
    for line in sorted(errors, key=lambda line: line.mean):
        att = _find(found, line.method, COLUMNS)
        rows.append([line.label, number(att.mean) if att else "-", number(line.mean)])
    return "## LaLonde\n\n" + markdown_table(["method", "ATT [dollars]", "error [dollars]"], rows)
