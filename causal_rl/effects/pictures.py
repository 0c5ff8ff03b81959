"""Pictures of an effect: the graph with its roles, propensities, and balance."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from causal_rl.effects.analysis import EffectAnalysis
from causal_rl.effects.overlap import BALANCED, EXTREME
from causal_rl.graphs import CausalGraph
from causal_rl.graphs.drawing import new_figure
from causal_rl.graphs.layout import shorten

#: Colour of each role.
ROLES = {
    "treatment": "#ffd166",
    "outcome": "#f4978e",
    "adjusted for": "#9bc1e8",
    "mediator": "#c7e5b4",
    "left alone": "#eeeeee",
    "not observed": "#ffffff",
}
_ARMS = ("#4477aa", "#cc6677", "#ddaa33", "#228833", "#aa3377", "#66ccee", "#888888")
# Circles of more variables show nothing, and balance of more columns fills no page.
_MOST_NODES, _MOST_COLUMNS = 60, 40


def assumed_graph(found: EffectAnalysis) -> CausalGraph:
    """The graph of an analysis; without one, that all columns cause treatment and outcome."""
    if found.graph is not None:
        return found.graph
    plan = found.plan
    names = (*found.covariates, plan.treatment, plan.outcome)
    edges = np.zeros((len(names),) * 2, dtype=bool)
    edges[:-2, -2:] = True
    edges[-2, -1] = True
    return CausalGraph(edges, names=names)


def roles(found: EffectAnalysis) -> dict[str, str]:
    """The role, one of `ROLES`, of every variable of `assumed_graph`."""
    graph = assumed_graph(found)
    chosen = dict.fromkeys(graph.names, "left alone")
    for name, kind in zip(graph.names, graph.kinds, strict=True):
        if kind == "hidden":
            chosen[name] = "not observed"
    if found.adjustment is not None:
        chosen |= dict.fromkeys(found.adjustment.mediators, "mediator")
        for name in graph.names:
            if chosen[name] == "mediator" and name not in found.covariates:
                chosen[name] = "not observed"
    chosen |= dict.fromkeys(found.adjusted, "adjusted for")
    return chosen | {found.plan.treatment: "treatment", found.plan.outcome: "outcome"}


def draw_graph(found: EffectAnalysis, path: Path) -> None:
    """Draw the graph, each variable in the colour of its role.

    Args:
        found: what `analyse` returned.
        path: of the picture.
    """
    from matplotlib.lines import Line2D

    graph, role = assumed_graph(found), roles(found)
    if graph.n > _MOST_NODES:
        kept = [name for name in graph.names if role[name] in ("treatment", "outcome", "mediator")]
        rest = [name for name in graph.names if name not in kept and role[name] != "left alone"]
        graph = graph.subgraph([*kept, *rest][:_MOST_NODES])
    axes = graph.plot()
    # The last patches are the nodes, in the graph's order.
    for name, patch in zip(graph.names, axes.patches[-graph.n :], strict=True):
        patch.set_facecolor(ROLES[role[name]])
        patch.set_linestyle("dashed" if role[name] == "not observed" else "solid")
    present = [name for name in ROLES if name in set(role.values())]
    axes.legend(
        handles=[
            Line2D(
                [], [], linestyle="none", marker="o", markersize=9, label=name,
                markerfacecolor=ROLES[name], markeredgecolor="#333333",
            )
            for name in present
        ],
        loc="upper center", bbox_to_anchor=(0.5, 0.0), ncol=3, frameon=False, fontsize=9,
    )  # fmt: skip
    figure = axes.get_figure(root=True)
    if figure is not None:
        figure.savefig(path, dpi=120, bbox_inches="tight")


def draw_overlap(found: EffectAnalysis, path: Path) -> None:
    """Draw the propensity of every arm but the first, among the rows of each arm.

    Args:
        found: what `analyse` returned.
        path: of the picture.
    """
    overlap = found.overlap
    shown = range(1, len(overlap.arms))
    figure = new_figure(6.4, 2.6 * len(shown) + 0.4)
    for place, arm in enumerate(shown):
        axes = figure.add_subplot(len(shown), 1, place + 1)
        bins = np.linspace(0.0, 1.0, 41).tolist()
        for k, (name, colour) in enumerate(zip(overlap.arms, _colours(found), strict=True)):
            values = overlap.propensity[overlap.t == k, arm]
            axes.hist(
                values, bins, density=True, histtype="stepfilled", alpha=0.35, color=colour,
                label=f"{shorten(name)} ({values.size} rows)",
            )  # fmt: skip
        axes.axvspan(0.0, EXTREME, color="#000000", alpha=0.06, linewidth=0)
        axes.axvspan(1.0 - EXTREME, 1.0, color="#000000", alpha=0.06, linewidth=0)
        axes.set(
            xlim=(0, 1), ylabel="density",
            xlabel=f"propensity of {shorten(found.plan.treatment)} = {shorten(overlap.arms[arm])}",
        )  # fmt: skip
        axes.legend(frameon=False, fontsize=8, title="rows of the arm", title_fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=120)


def draw_balance(found: EffectAnalysis, path: Path) -> None:
    """Draw how much the arms differ in each covariate, before and after weighting.

    Args:
        found: what `analyse` returned.
        path: of the picture.
    """
    overlap = found.overlap
    before, after = (np.abs(part).max(axis=0) for part in (overlap.before, overlap.after))
    order = np.argsort(before)[-_MOST_COLUMNS:]
    figure = new_figure(6.4, 1.6 + 0.22 * max(len(order), 3))
    axes = figure.add_subplot()
    rows = np.arange(len(order))
    axes.axvline(BALANCED, color="#999999", linestyle="dashed", linewidth=1)
    axes.plot(before[order], rows, "o", color="#cc6677", label="as they are")
    axes.plot(after[order], rows, "D", color="#4477aa", label="weighted by inverse propensity")
    axes.set_yticks(rows, [shorten(overlap.names[j]).replace("$", r"\$") for j in order])
    axes.set_xlabel("standardised mean difference between arms (largest)")
    axes.set_xlim(left=0.0)
    axes.set_ylim(-0.8, max(len(order), 1) - 0.2)
    if not len(order):
        axes.text(0.05, 0.5, "nothing was adjusted for", transform=axes.transAxes)
    axes.legend(frameon=False, fontsize=8, ncol=2, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    figure.tight_layout()
    figure.savefig(path, dpi=120)


def _colours(found: EffectAnalysis) -> list[str]:
    return [_ARMS[k % len(_ARMS)] for k in range(len(found.arms))]
