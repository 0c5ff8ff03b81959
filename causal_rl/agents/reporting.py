"""What a person looks at after a run: tables on the console and the pictures of the folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console
from rich.table import Table

from causal_rl.agents.evaluation import Yardsticks
from causal_rl.graphs import CausalGraph
from causal_rl.graphs.drawing import new_figure
from causal_rl.graphs.picture_file import save_figure as save_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# (column title, metric) of the graph table.
_GRAPH_SCORES = (
    ("learned", "n_learned"),
    ("true", "n_true"),
    ("SHD", "shd"),
    ("SID", "sid"),
    ("F1", "f1"),
    ("AUPRC", "auprc"),
)


def graph_rows(graph: CausalGraph, truth: CausalGraph, *, seed: int) -> dict[str, dict[str, Any]]:
    """Scores of a learned graph and of the graphs that know nothing.

    Args:
        graph: the learned graph.
        truth: over the same names.
        seed: of the random graph, which has as many expected edges as the learned one.

    Returns:
        "learned", "empty", "full" and "random", each a flat mapping such as
        ``{"shd_contemporaneous": 0, ...}``.
    """
    density = float(graph.contemporaneous.sum()) / graph.n
    lagged_density = float(graph.lagged.sum()) / graph.n
    candidates = {
        "learned": graph,
        "empty": CausalGraph.empty(graph.names, graph.kinds),
        "full": CausalGraph.full(graph.names, graph.kinds),
        "random": CausalGraph.random(
            graph.names,
            graph.kinds,
            density,
            np.random.default_rng(seed),
            lagged_density=lagged_density,
        ),
    }
    return {name: dict(g.compare(truth).to_dict()) for name, g in candidates.items()}


def graph_table(rows: Mapping[str, Mapping[str, Any]]) -> Table:
    """The rows of `graph_rows` as a table; a dash where a score is undefined."""
    table = Table(title="Graphs against the truth (a reversal counts 1; SID by gadjid)")
    table.add_column("edges")
    table.add_column("graph")
    for title, _ in _GRAPH_SCORES:
        table.add_column(title, justify="right")
    for block, label in (("contemporaneous", "within step"), ("lagged", "lagged")):
        for index, (name, scores) in enumerate(rows.items()):
            table.add_row(
                "" if index else label,
                name,
                *(number_text(scores[f"{metric}_{block}"]) for _, metric in _GRAPH_SCORES),
                end_section=index == len(rows) - 1,
            )
    return table


def return_table(summary: Mapping[str, Any]) -> Table:
    """Mean return of the policy beside its yardsticks, from the figures of a summary."""
    table = Table(title="Mean return per episode")
    for column in ("policy", "return", "normalised"):
        table.add_column(column, justify="left" if column == "policy" else "right")
    yardsticks = Yardsticks(
        random=summary["return_random"],
        noop=summary["return_noop"],
        oracle=summary["return_oracle"],
        oracle_horizon=summary["oracle_horizon"],
    )
    for label, key in (
        ("learned policy", "return_mean"),
        ("random interventions", "return_random"),
        ("no intervention", "return_noop"),
        (f"oracle planner (horizon {summary['oracle_horizon']})", "return_oracle"),
    ):
        normalised = yardsticks.normalise(summary[key])
        table.add_row(label, f"{summary[key]:.3f}", number_text(normalised))
    return table


def print_report(console: Console, summary: Mapping[str, Any], folder: Path) -> None:
    """Print both tables and where everything was written."""
    console.print(return_table(summary))
    console.print(graph_table({"learned": summary, **summary["baselines"]}))
    console.print(f"{summary['env_steps']:,} environment steps in {summary['seconds']:.1f} s")
    names = ", ".join(sorted(path.name for path in folder.iterdir() if path.name[0] != "."))
    console.print(f"Written to {folder}: {names}", soft_wrap=True, highlight=False)


def plot_learning_curve(
    history: Sequence[Mapping[str, float]],
    yardsticks: Yardsticks | None,
    *,
    log_steps: bool = False,
    regimes: Sequence[tuple[int, str]] = (),
) -> Figure:
    """Return and graph error over environment steps.

    Args:
        history: rows with "env_steps" and TensorBoard tags, as ``Algorithm5.history``.
        yardsticks: horizontal lines; None draws none.
        log_steps: draw steps on a logarithmic axis, for agents that learn at doubling steps.
        regimes: steps at which the world became another, and its name; drawn as upright lines.

    Returns:
        A figure of two panels.
    """
    figure = new_figure(10.0, 4.0, layout="constrained")
    left, right = figure.subplots(1, 2)
    for tag, label, style in (
        ("rollout/ep_rew_mean", "training episodes (exploring policy)", "C0-"),
        ("eval/mean_reward", "evaluation (greedy policy)", "C1o-"),
    ):
        steps, values = _series(history, tag)
        left.plot(steps, values, style, label=label, markersize=3)
    if yardsticks is not None:
        for value, label, style in (
            (yardsticks.oracle, "oracle planner", "C2--"),
            (yardsticks.noop, "no intervention", "C7--"),
            (yardsticks.random, "random interventions", "C3--"),
        ):
            left.axhline(value, color=style[:2], linestyle="--", label=label)
    for step, regime in regimes:
        for axes in (left, right):
            axes.axvline(step, color="black", linewidth=0.8, linestyle=":")
        left.annotate(
            regime, (step, 1.0), (2, -2), xycoords=("data", "axes fraction"),
            textcoords="offset points", fontsize=8, rotation=90, va="top",
        )  # fmt: skip
    left.set(xlabel="environment steps", ylabel="return per episode", title="Return")
    left.legend(fontsize=8, loc="best")
    errors: list[list[float]] = []
    for tag, label, style in (
        ("causal/shd_contemporaneous", "within step", "C0-"),
        ("causal/shd_lagged", "lagged", "C1--"),
    ):
        steps, values = _series(history, tag)
        errors.append(values)
        right.step(steps, values, style, where="post", label=label)
    right.set(xlabel="environment steps", ylabel="SHD to the truth [edges]", title="Learned graph")
    top = max((max(values, default=0.0) for values in errors), default=0.0)
    right.set_ylim(-0.05 * max(top, 1.0), 1.1 * max(top, 1.0))
    right.yaxis.get_major_locator().set_params(integer=True)
    right.legend(fontsize=8)
    if log_steps:
        from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

        for axis in (left.xaxis, right.xaxis):
            axis.axes.set_xscale("log")
            axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
            axis.set_minor_formatter(NullFormatter())
    return figure


def _series(history: Sequence[Mapping[str, float]], tag: str) -> tuple[list[float], list[float]]:
    rows = [(row["env_steps"], row[tag]) for row in history if tag in row]
    return [step for step, _ in rows], [value for _, value in rows]


def number_text(value: float | int | None) -> str:
    """A figure as tables show it: whole numbers as they are, three decimals, a dash for None."""
    if value is None:
        return "-"
    return str(value) if isinstance(value, int) else f"{value:.3f}"
