"""One self-contained HTML page of a run: nothing is fetched when it is opened."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterable, Sequence
from html import escape
from importlib.resources import files
from string import Template
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml

from causal_rl.agents.config import TrainConfig
from causal_rl.agents.planning.config import PlannerConfig
from causal_rl.agents.report.decisions import Attention
from causal_rl.agents.report.evidence import EdgeEvidence
from causal_rl.agents.report.graph_svg import graph_svg
from causal_rl.agents.report.run_record import RunRecord
from causal_rl.agents.reporting import number_text, plot_learning_curve
from causal_rl.graphs.layout import COLOURS, causal_order, edge_arrows

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_VERDICTS = {
    "right": "learned, and true",
    "missing": "true, and not learned",
    "extra": "learned, and not true",
    "reversed": "learned the wrong way round",
}

# Of a summary: what kind of agent it was.
_WHAT = ("encoder", "graph", "learner", "policy_update", "exploration", "horizon")


def render_page(
    run: RunRecord,
    evidence: Sequence[EdgeEvidence],
    changed: Sequence[float],
    attention: Attention | None,
) -> str:
    """The page.

    Args:
        run: what is reported.
        evidence: of every edge, as `edge_evidence`.
        changed: (n + 1,) shares, as `changed_decisions`.
        attention: of the policy, if it attends.

    Returns:
        HTML. Names and options are escaped.
    """
    title = f"{run.summary['env']}, seed {run.summary['seed']}"
    sections = [
        _head(run, title),
        _graphs(run, evidence),
        _edge_table(evidence),
        _curves(run),
        _attended(run, changed, attention),
        _interventions(run),
        _shifts(run),
        _options(run),
    ]
    data = {str(i): _edge_data(each) for i, each in enumerate(evidence)}
    # Inside a script element "<" alone could end it.
    text = json.dumps(data, allow_nan=False).replace("<", "\\u003c")
    page = files("causal_rl.agents.report").joinpath("page.html").read_text(encoding="utf-8")
    return Template(page).substitute(title=escape(title), body="\n".join(sections), data=text)


def _head(run: RunRecord, title: str) -> str:
    summary = run.summary
    normalised = summary["return_normalised"]
    tiles = [
        ("return per episode", f"{summary['return_mean']:.3f}"),
        ("normalised: random 0, oracle 1", "-" if normalised is None else f"{normalised:.3f}"),
        ("SHD inside the step", str(summary["shd_contemporaneous"])),
        ("SHD from t to t+1", str(summary["shd_lagged"])),
        ("environment steps", f"{summary['env_steps']:,}"),
        ("seconds", f"{summary['seconds']:.0f}"),
    ]
    shown = "".join(f'<div class="tile"><b>{b}</b><span>{a}</span></div>' for a, b in tiles)
    what = [f"{key.replace('_', ' ')} {summary[key]}" for key in _WHAT if key in summary]
    return (
        f"<h1>{escape(title)}</h1><p class='soft'>{escape(run.spec.description)}<br>"
        f"{escape(', '.join([f'loop {run.loop}', *what]))}</p>"
        f"<div class='tiles'>{shown}</div>"
    )


def _graphs(run: RunRecord, evidence: Sequence[EdgeEvidence]) -> str:
    truth, graph = run.truth, run.graph.permute(run.truth.names)
    order = causal_order(truth)
    index = {name: i for i, name in enumerate(truth.names)}
    keys = {
        (index[e.parent], index[e.child], e.lagged): str(number)
        for number, e in enumerate(evidence)
    }
    figures = []
    for shown, reference, caption in (
        (truth, None, "Truth"),
        (graph, truth, "Learned; point at an edge, or click to hold it"),
    ):
        svg = graph_svg(shown, edge_arrows(shown, reference), order, keys)
        figures.append(f"<figure><figcaption>{caption}</figcaption>{svg}</figure>")
    styles = [("#222222", "solid", "inside the step"), ("#222222", "dotted", "from t to t+1")]
    styles += [(COLOURS[s], "solid", s) for s in ("extra", "reversed")]
    styles.append((COLOURS["missing"], "dashed", "missing"))
    legend = "".join(
        f'<span><i style="border-color:{colour};border-top-style:{style}"></i>{text}</span>'
        for colour, style, text in styles
    )
    rows = "".join(
        f"<tr><td>{escape(name)}</td>"
        + "".join(
            f"<td>{number_text(scores[f'{metric}_{block}'])}</td>"
            for block in ("contemporaneous", "lagged")
            for metric in ("n_learned", "shd", "sid", "f1")
        )
        + "</tr>"
        for name, scores in run.scores.items()
    )
    head = "".join(
        f"<th>{title}{where}</th>"
        for where in ("", "<br>t to t+1")
        for title in ("edges", "SHD", "SID", "F1")
    )
    return (
        "<h2>Learned graph beside the truth</h2>"
        f"<div class='graphs'>{''.join(figures)}<aside id='evidence' aria-live='polite'>"
        "<h3>Evidence</h3><span class='soft'>Point at an edge of either graph, or at a row of the "
        f"table below.</span></aside></div><div class='legend'>{legend}</div>"
        f"<table><tr><th>graph</th>{head}</tr>{rows}</table>"
    )


def _edge_data(edge: EdgeEvidence) -> dict[str, Any]:
    facts = [
        ("weight", number_text(edge.weight)),
        ("confidence", number_text(edge.confidence)),
        ("partial R²", number_text(edge.partial_r2)),
        ("p of it", _p(edge.partial_p)),
        ("rows", f"{edge.rows:,}"),
    ]
    if edge.do_levels:
        done = sum(level.rows for level in edge.do_levels)
        facts += [(f"times {edge.parent} was set", f"{done:,}"), ("p of do", _p(edge.do_p))]
    return {
        "title": _edge_name(edge),
        "verdict": _VERDICTS[edge.status],
        "facts": facts,
        "caption": f"Mean of {edge.child} after do({edge.parent} = value), ± standard error",
        "levels": [
            {"value": d.value, "mean": d.mean, "error": d.error, "shown": f"{d.value:.2g}"}
            for d in edge.do_levels
        ],
    }


def _edge_table(evidence: Sequence[EdgeEvidence]) -> str:
    rows = "".join(
        f'<tr data-edge="{number}"><td>{escape(_edge_name(e))}</td>'
        f"<td style='color:{COLOURS[e.status]}'>{e.status}</td>"
        + "".join(
            f"<td>{text}</td>"
            for text in (
                number_text(e.weight), number_text(e.confidence), number_text(e.partial_r2),
                escape(_p(e.partial_p)), escape(_p(e.do_p)), f"{e.rows:,}",
            )
        )
        + "</tr>"
        for number, e in enumerate(evidence)
    )  # fmt: skip
    return (
        "<h3>Edges and their evidence</h3><p class='soft'>Weight and confidence are the "
        "learner's. The others are computed for this page from the transitions that the run kept: "
        "how much of what the child's other learned parents leave the parent explains, over rows "
        "in which the child was not set (quadratic regressions with all products; F test), and "
        "whether setting the parent moves the child along any path (one-way ANOVA over the values "
        "set).</p><div class='scroll'><table>"
        "<tr><th>edge</th><th>status</th><th>weight</th><th>confidence</th><th>partial R²</th>"
        f"<th>p</th><th>p of do</th><th>rows</th></tr>{rows}</table></div>"
    )


def _curves(run: RunRecord) -> str:
    schedule = run.config.schedule if isinstance(run.config, TrainConfig) else None
    figure = plot_learning_curve(
        run.history,
        run.yardsticks,
        log_steps=isinstance(run.config, PlannerConfig),
        regimes=() if schedule is None else schedule.switches,
    )
    return f"<h2>Return and graph error over time</h2>{_image(figure, 'learning curves')}"


def _attended(run: RunRecord, changed: Sequence[float], attention: Attention | None) -> str:
    names = run.transitions.names
    bars = "".join(
        f"<div class='bar'><span>{escape(name)}</span><div><i style='width:{100 * share:.1f}%'>"
        f"</i></div><span>{share:.1%}</span></div>"
        for name, share in zip(names, changed, strict=False)
    )
    random = (
        f" Asked twice about the same states it decides otherwise in {changed[-1]:.1%}."
        if changed[-1] > 0
        else ""
    )
    text = (
        "<h2>What the policy attends to</h2><p class='soft'>Share of decisions that become others "
        f"when one variable is taken from another state.{random}</p>{bars}"
    )
    if attention is None:
        return text
    tables = []
    for number, weights in enumerate(attention.layers, start=1):
        head = "".join(f"<th>{escape(name)}</th>" for name in attention.names)
        rows = "".join(
            f"<tr><td>{escape(name)}</td>{''.join(_shaded(w) for w in row)}</tr>"
            for name, row in zip(attention.names, weights, strict=True)
        )
        tables.append(
            f"<h3>Attention, layer {number}</h3><div class='scroll'><table><tr><th></th>{head}"
            f"</tr>{rows}</table></div>"
        )
    return (
        f"{text}<p class='soft'>Mean attention over heads and states: a row's variable looks at a "
        f"column's. Only the variables that the policy reads have tokens.</p>{''.join(tables)}"
    )


def _interventions(run: RunRecord) -> str:
    rows, menu = run.transitions, run.spec.interventions
    set_at_all = rows.do_target.any(axis=1)
    lines = []
    for name, values in zip(menu.settable, menu.table, strict=True):
        if name not in rows.names:
            continue
        column = rows.names.index(name)
        done = rows.next_state[rows.do_target[:, column], column]
        near = np.isclose(done[:, None], values[None, :], rtol=1e-6, atol=1e-9)
        lines.append((name, values, near.sum(axis=0), len(done)))
    most = max((int(counts.max(initial=0)) for _, _, counts, _ in lines), default=0)
    cells = "".join(
        f"<tr><td>{escape(name)}</td>"
        + "".join(
            _shaded(count / max(most, 1), f"{count:,}", f"{value:.3g}")
            for value, count in zip(values, counts, strict=True)
        )
        + f"<td>{total:,}</td></tr>"
        for name, values, counts, total in lines
    )
    same = bool((menu.table == menu.table[0]).all())
    head = "".join(
        f"<th>{f'{value:.3g}' if same else f'value {i + 1}'}</th>"
        for i, value in enumerate(menu.table[0])
    )
    return (
        f"<h2>Interventions made</h2><p class='soft'>In the {len(rows):,} transitions that the run "
        f"kept, {set_at_all.mean():.1%} of the steps set a variable. Rows are variables, columns "
        "the values that they were set to.</p><div class='scroll'><table><tr><th>do</th>"
        f"{head}<th>all</th></tr>{cells}</table></div>"
    )


def _shifts(run: RunRecord) -> str:
    config = run.config
    schedule = config.schedule if isinstance(config, TrainConfig) else None
    switches = [] if schedule is None else schedule.switches
    lines = [f"From step {step:,} on the world was: {escape(name)}." for step, name in switches]
    watched = isinstance(config, TrainConfig) and config.watch > 0
    if not watched:
        lines.append("No mechanism was watched; <code>--watch ALPHA</code> does.")
    elif not run.events:
        lines.append("Every mechanism was watched, and none was found to have changed.")
    keys = list(dict.fromkeys(key for event in run.events for key in event))
    table = ""
    if run.events:
        rows = "".join(
            "<tr>" + "".join(f"<td>{escape(_plain(event.get(key)))}</td>" for key in keys) + "</tr>"
            for event in run.events
        )
        head = "".join(f"<th>{escape(key.replace('_', ' '))}</th>" for key in keys)
        table = f"<div class='scroll'><table><tr>{head}</tr>{rows}</table></div>"
    return f"<h2>Shifts flagged</h2>{_paragraphs(lines)}{table}"


def _options(run: RunRecord) -> str:
    text = yaml.safe_dump(run.config.to_dict(), sort_keys=False)
    return f"<h2>Options</h2><details><summary>All</summary><pre>{escape(text)}</pre></details>"


def _edge_name(edge: EdgeEvidence) -> str:
    return f"{edge.parent} → {edge.child}{' (t to t+1)' if edge.lagged else ''}"


def _paragraphs(lines: Iterable[str]) -> str:
    return "".join(f"<p>{line}</p>" for line in lines)


def _shaded(share: float, text: str | None = None, title: str = "") -> str:
    """A cell that is the darker the larger the share."""
    ink = "#fff" if share > 0.55 else "#1d2530"
    hint = f' title="{escape(title)}"' if title else ""
    return (
        f"<td{hint} style='background:rgba(47,111,173,{share:.3f});color:{ink}'>"
        f"{f'{share:.2f}' if text is None else text}</td>"
    )


def _image(figure: Figure, label: str) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    data = base64.b64encode(buffer.getvalue()).decode("ascii")
    return f'<img alt="{label}" src="data:image/png;base64,{data}">'


def _plain(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "-"
    return number_text(value) if isinstance(value, float) else "-" if value is None else str(value)


def _p(value: float | None) -> str:
    if value is None:
        return "-"
    return "< 1e-99" if value < 1e-99 else f"{value:.2g}"
