"""The folder that `causal-rl discover` writes: graph, edges, picture, and the page about them."""

from __future__ import annotations

import csv
import io
import json
import os
import platform
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from causal_rl.discovery.assumptions import assumptions
from causal_rl.discovery.discover import Discovery
from causal_rl.graphs import CausalGraph, PartialGraph
from causal_rl.graphs.drawing import new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLUMNS = (
    "parent",
    "child",
    "block",
    "in_graph",
    "strength",
    "strength_standardised",
    "confidence",
    "share_reversed",
    "share_undirected",
    "share_adjacent",
)
# Sortabilities as far from one half as this are worth a warning, from as many edges upwards.
EXTREME, LEAST_EDGES = 0.4, 3
# Of so many variables, at most, the method gp-network is done in minutes.
MOST_FOR_EVIDENCE = 20
# More arrows than this are no picture.
MOST_ARROWS = 800


def check_folder(folder: Path) -> None:
    """Refuse a folder that is taken.

    Args:
        folder: where the results go.

    Raises:
        ValueError: it is a file, or holds something, or cannot be made.
    """
    try:
        taken = folder.exists() and (not folder.is_dir() or any(folder.iterdir()))
        above = next(parent for parent in folder.absolute().parents if parent.exists())
    except OSError as error:
        reason = (error.strerror or "no such folder").lower()
        raise ValueError(f"out must be a folder, got {str(folder)!r}: {reason}") from error
    if taken:
        raise ValueError(f"out must be a new or empty folder, got {str(folder)!r}")
    if not (above.is_dir() and os.access(above, os.W_OK | os.X_OK)):
        raise ValueError(
            f"out must be in a folder that can be written to, got {str(folder)!r}: "
            f"{str(above)!r} is none"
        )


def write_folder(found: Discovery, folder: Path) -> None:
    """Write everything; the folder appears whole or not at all.

    Args:
        found: what `discover` returned.
        folder: new or empty.

    Raises:
        OSError: it cannot be written.
        ValueError: it is taken.
    """
    with new_folder(folder) as fresh:
        graph, equivalence_class = found.answer.graph, found.answer.equivalence_class
        graph.save(fresh / "graph.json")
        (fresh / "graph.dot").write_text(graph.to_dot(), encoding="utf-8")
        _draw(graph, fresh / "graph.png")
        (fresh / "edges.csv").write_text(_as_csv(edge_rows(found)), encoding="utf-8")
        if equivalence_class is not None:
            equivalence_class.save(fresh / "equivalence_class.json")
            text = equivalence_class.to_dot()
            (fresh / "equivalence_class.dot").write_text(text, encoding="utf-8")
            _draw(equivalence_class, fresh / "equivalence_class.png")
        (fresh / "report.md").write_text(page(found), encoding="utf-8")


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """Fill a folder that appears whole when the block ends without an error, or not at all.

    Args:
        folder: new or empty.

    Yields:
        The folder to write to.

    Raises:
        OSError: it cannot be written.
        ValueError: it is taken.
    """
    check_folder(folder)
    parent = folder.absolute().parent
    parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(dir=parent, prefix=f".{folder.name}."))
    try:
        yield fresh
        umask = os.umask(0)
        os.umask(umask)
        fresh.chmod(0o777 & ~umask)
        os.replace(fresh, folder)
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        raise


def _draw(graph: CausalGraph | PartialGraph, path: Path) -> None:
    whole = graph.contemporaneous if isinstance(graph, CausalGraph) else graph.skeleton
    few = whole.sum() <= MOST_ARROWS
    figure = graph.plot().get_figure(root=True) if few else _dots(graph, whole)
    if figure is not None:
        figure.savefig(path, dpi=120, bbox_inches="tight")


def _dots(graph: CausalGraph | PartialGraph, edges: NDArray[np.bool_]) -> Figure:
    """A dot an edge, for graphs whose arrows would take minutes and show nothing."""
    figure = new_figure(8.0, 8.0, layout="constrained")
    axes = figure.subplots()
    axes.imshow(edges, cmap="Greys", interpolation="nearest", aspect="equal")
    axes.set(
        xlabel="effect", ylabel="cause", title=f"{int(edges.sum())} edges, {graph.n} variables"
    )
    if not isinstance(graph, CausalGraph):
        axes.set(
            xlabel="variable", ylabel="variable", title=f"{graph.n} variables, who is adjacent"
        )
    return figure


def edge_rows(found: Discovery) -> list[dict[str, Any]]:
    """A row for each edge of the graph, then for those that only bootstrap graphs have.

    Returns:
        Mappings with the keys `COLUMNS`; None where unknown.
    """
    graph, shares = found.answer.graph, found.answer.shares
    n, names = graph.n, graph.names
    spread = found.table.data.next_state.std(axis=0)
    nothing = np.zeros((n, n))
    rows = []
    for block, edges, weights, directed in (
        (
            "contemporaneous",
            graph.contemporaneous,
            graph.contemporaneous_weights,
            nothing if shares is None else shares.directed,
        ),
        (
            "lagged",
            graph.lagged,
            graph.lagged_weights,
            nothing if shares is None else shares.lagged,
        ),
    ):
        for i, j in np.argwhere(edges | (directed > 0)):
            weight = None if weights is None or not edges[i, j] else float(weights[i, j])
            row: dict[str, Any] = dict.fromkeys(COLUMNS)
            row |= {"parent": names[i], "child": names[j], "block": block}
            row |= {"in_graph": bool(edges[i, j]), "strength": weight}
            if weight is not None:
                row["strength_standardised"] = weight * float(spread[i] / spread[j])
            if shares is not None:
                row["confidence"] = float(directed[i, j])
            if shares is not None and block == "contemporaneous":
                row["share_reversed"] = float(shares.directed[j, i])
                row["share_undirected"] = float(shares.undirected[i, j])
                row["share_adjacent"] = float(shares.adjacent[i, j])
            rows.append(row)
    return sorted(rows, key=lambda row: (not row["in_graph"], -(row["confidence"] or 0.0)))


def summary(found: Discovery) -> dict[str, Any]:
    """The findings as plain values, ready for JSON."""
    table, plan, answer = found.table, found.plan, found.answer
    shares = answer.shares
    return {
        "file": found.file,
        "rows": table.rows,
        "variables": list(table.data.names),
        "dropped": list(table.constant),
        "targets": found.targets,
        "set_rows": dict(table.set_rows),
        "method": plan.method,
        "options": dict(plan.options),
        "prior": None if plan.prior is None else plan.prior.to_dict(),
        "seed": plan.seed,
        "bootstrap": 0 if shares is None else shares.graphs,
        "bootstrap_failed": 0 if shares is None else shares.failed,
        "edges": [row for row in edge_rows(found) if row["in_graph"]],
        "equivalence_class": (
            None
            if answer.equivalence_class is None
            else [list(edge) for edge in answer.equivalence_class.edges()]
        ),
        "notes": [*table.notes, *_remarks(found)],
        **found.sortability,
        "seconds_fit": answer.seconds[0],
        "seconds_bootstrap": answer.seconds[1],
    }


def _remarks(found: Discovery) -> list[str]:
    return [*found.answer.warnings, *method_notes(found), *sortability_notes(found)]


def method_notes(found: Discovery) -> list[str]:
    """Whether another method suits the table better."""
    n = found.table.data.n
    if found.plan.method != "interventional" or found.table.set_rows or n > MOST_FOR_EVIDENCE:
        return []
    return [
        "No row was intervened on, so that directions rest on the shapes of the effects alone: "
        "the method gp-network tells them better, and takes longer."
    ]


def sortability_notes(found: Discovery) -> list[str]:
    """What the order of variances and of R2 along the learned graph warns of."""
    edges = int(found.answer.graph.contemporaneous.sum())
    notes = []
    for key, what, why in (
        ("varsortability", "variances", "the units of the columns"),
        ("r2_sortability", "R2 (how well all others explain a variable)", "that order alone"),
    ):
        value = found.sortability[key]
        if value is not None and abs(value - 0.5) >= EXTREME and edges >= LEAST_EDGES:
            way = "grow" if value > 0.5 else "shrink"
            notes.append(
                f"Along the learned graph {what} {way} from cause to effect ({key} {value:.2f}; .5 "
                f"says nothing): make sure that the directions are not owed to {why}."
            )
    return notes


def page(found: Discovery) -> str:
    """The report, Markdown."""
    table, plan, answer = found.table, found.plan, found.answer
    graph, shares = answer.graph, answer.shares
    data = table.data
    lines = [
        f"# The graph of {found.file}",
        "",
        f"Learned by `{plan.method}` from {table.rows} rows over {data.n} variables: "
        f"{int(graph.contemporaneous.sum())} edges. It is as right as what is assumed below.",
        "",
        "![the graph](graph.png)",
        "",
        "## What was assumed",
        *(f"- {line}" for line in _assumed(found)),
        "",
        "## What the data looked like",
        f"- {table.rows} rows, {data.n} variables: {', '.join(data.names)}.",
        f"- {_interventions(found)}",
        *(f"- {note}" for note in table.notes),
        f"- Duplicate rows: {table.rows - len(np.unique(data.next_state, axis=0))}.",
        *(
            f"- {key} along the learned graph: {'-' if value is None else f'{value:.2f}'} "
            "(.5 says nothing; near 1 or 0 the order could be read off it)."
            for key, value in found.sortability.items()
        ),
    ]
    remarks = _remarks(found)
    if remarks:
        lines += ["", "## Take note", *(f"- {line}" for line in remarks)]
    lines += ["", "## Edges", *_edge_table(found)]
    if answer.equivalence_class is not None:
        lines += [
            "",
            "## Equivalence class",
            "All that the method claims; `graph.json` is one member of it. `---` may point either "
            "way, `o` marks an end that is not determined.",
            "",
            *(f"- {' '.join(edge)}" for edge in answer.equivalence_class.edges()),
        ]
    lines += [
        "",
        "## How it was run",
        f"- method `{plan.method}`, options "
        + (", ".join(f"`{k}={v}`" for k, v in plan.options.items()) or "all at their defaults"),
        f"- prior: {_prior(found)}",
        f"- seed {plan.seed}; bootstrap "
        + ("none" if shares is None else f"{shares.graphs} graphs, {shares.failed} draws failed"),
        f"- {answer.seconds[0]:.2f} s for the graph, {answer.seconds[1]:.2f} s for the bootstrap; "
        f"Python {platform.python_version()}, NumPy {np.__version__}",
        "",
    ]
    return "\n".join(lines)


def _assumed(found: Discovery) -> list[str]:
    lines = list(assumptions(found.plan.method, interventions=bool(found.table.set_rows)))
    if found.plan.prior is not None:
        lines.append("What the prior says is true.")
    return lines


def _interventions(found: Discovery) -> str:
    if found.targets is None:
        return "No column of interventions: all rows count as observed."
    set_rows = found.table.set_rows
    if not set_rows:
        return f"Column {found.targets} names no intervention: all rows are observed."
    free = int((~found.table.data.do_target.any(axis=1)).sum())
    counts = ", ".join(f"{name} {rows}" for name, rows in set_rows.items())
    return f"Rows in which a variable was set (column {found.targets}): {counts}; observed: {free}."


def _prior(found: Discovery) -> str:
    prior = found.plan.prior
    if prior is None:
        return "none"
    parts = [
        f"{word} {', '.join(f'{a} -> {b}' for a, b in sorted(edges))}"
        for word, edges in (("required", prior.required), ("forbidden", prior.forbidden))
        if edges
    ]
    if prior.tiers:
        parts.append("tiers " + " < ".join(f"({', '.join(tier)})" for tier in prior.tiers))
    return "; ".join(parts) or "empty"


def _edge_table(found: Discovery) -> list[str]:
    rows = [row for row in edge_rows(found) if row["in_graph"]]
    if not rows:
        return ["None."]
    head = [
        "| edge | strength | in standard units | confidence | reversed | undirected | adjacent |",
        "|---|---|---|---|---|---|---|",
    ]
    keys = COLUMNS[4:]
    body = [
        f"| {row['parent']} -> {row['child']}{' (lagged)' if row['block'] == 'lagged' else ''} | "
        + " | ".join("-" if row[key] is None else f"{row[key]:.3g}" for key in keys)
        + " |"
        for row in rows
    ]
    tail = [
        "",
        "Confidence: the share of bootstrap graphs with this edge in this direction; then the "
        "shares with it reversed, without an orientation, and with any edge between the two. They "
        "say how stable the learner is under other draws of rows; they are no probabilities of "
        "being right. Strength: the effect per unit of the cause where the method tells it, for "
        "most the slope of a linear regression on all parents. "
        "`edges.csv` has these, and the edges that only bootstrap graphs have.",
    ]
    return [*head, *body, *tail]


def _as_csv(rows: list[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        shown = {k: f"{v:.6g}" if isinstance(v, float) else v for k, v in row.items()}
        shown["in_graph"] = "yes" if row["in_graph"] else "no"
        writer.writerow(shown)
    return text.getvalue()


def as_json(found: Discovery) -> str:
    """`summary` as JSON text."""
    return json.dumps(summary(found), indent=2)
