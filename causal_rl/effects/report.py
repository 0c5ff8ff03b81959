"""The folder that ``causal-rl effect`` writes: figures, effects of rows, pictures, and a page."""

from __future__ import annotations

import csv
import io
import json
import platform
from pathlib import Path
from typing import Any

import numpy as np

from causal_rl.discovery.assumptions import assumptions
from causal_rl.discovery.report import new_folder
from causal_rl.effects.analysis import EffectAnalysis
from causal_rl.effects.overlap import BALANCED, EXTREME
from causal_rl.effects.pictures import draw_balance, draw_graph, draw_overlap
from causal_rl.effects.refutation import REFUTATIONS


def write_folder(found: EffectAnalysis, folder: Path) -> None:
    """Write everything; the folder appears whole or not at all.

    Args:
        found: what `analyse` returned.
        folder: new or empty.

    Raises:
        OSError: it cannot be written.
        ValueError: it is taken.
    """
    with new_folder(folder) as fresh:
        (fresh / "effect.json").write_text(as_json(found) + "\n", encoding="utf-8")
        (fresh / "cate.csv").write_text(_effects_of_rows(found), encoding="utf-8")
        if found.graph is not None:
            found.graph.save(fresh / "graph.json")
        draw_graph(found, fresh / "graph.png")
        draw_overlap(found, fresh / "overlap.png")
        draw_balance(found, fresh / "balance.png")
        (fresh / "report.md").write_text(page(found), encoding="utf-8")


def summary(found: EffectAnalysis) -> dict[str, Any]:
    """The findings as plain values, ready for JSON."""
    plan, adjustment, overlap = found.plan, found.adjustment, found.overlap
    return {
        "file": found.file,
        "rows": found.rows,
        "treatment": plan.treatment,
        "outcome": plan.outcome,
        "arms": {
            arm: int(count) for arm, count in zip(found.arms, np.bincount(found.t), strict=True)
        },
        "method": plan.method,
        "options": dict(plan.options),
        "seed": plan.seed,
        "level": plan.level,
        "graph": _whence(found),
        "contrasts": [
            {
                "arm": contrast.arm,
                "baseline": contrast.baseline,
                "ate": contrast.estimate,
                "low": contrast.low,
                "high": contrast.high,
                "difference_in_means": contrast.difference,
                "refutations": [
                    {
                        "name": result.name,
                        "expected": result.expected,
                        "mean": result.mean,
                        "deviation": result.deviation,
                        "p_value": result.p_value,
                        "passed": result.passed,
                        "draws": result.draws,
                    }
                    for result in contrast.refutations
                ],
            }
            for contrast in found.contrasts
        ],
        "adjustment": {
            "covariates": list(found.adjusted),
            "mediators": [] if adjustment is None else list(adjustment.mediators),
            "forbidden": [] if adjustment is None else list(adjustment.forbidden),
            "optimal": None if adjustment is None else adjustment.optimal,
            "no_effect": None if adjustment is None else adjustment.no_effect,
            "why": why(found),
        },
        "overlap": {
            arm: {
                "effective_rows": float(overlap.effective[k]),
                "extreme_share": float(overlap.extreme[k]),
                "least_propensity": float(overlap.propensity[:, k].min()),
                "largest_propensity": float(overlap.propensity[:, k].max()),
            }
            for k, arm in enumerate(overlap.arms)
        },
        "balance": {
            arm: {
                name: {"before": float(before), "after": float(after)}
                for name, before, after in zip(overlap.names, *rows, strict=True)
            }
            for arm, *rows in zip(overlap.arms[1:], overlap.before, overlap.after, strict=True)
        },
        "notes": list(found.notes),
        "seconds": found.seconds,
    }


def as_json(found: EffectAnalysis) -> str:
    """`summary` as JSON text."""
    return json.dumps(summary(found), indent=2)


def why(found: EffectAnalysis) -> str:
    """Why the adjustment set is valid, and on whose word."""
    if found.adjustment is not None:
        return found.adjustment.explain()
    if not found.covariates:
        return "There is nothing to adjust for: valid if the treatment was drawn at random."
    return (
        f"Without a graph all other columns are adjusted for: {', '.join(found.covariates)}. That "
        f"is valid if none of them is a consequence of {found.plan.treatment} and nothing unseen "
        f"causes both it and {found.plan.outcome}."
    )


def page(found: EffectAnalysis) -> str:
    """The report, Markdown."""
    plan, overlap = found.plan, found.overlap
    counts = np.bincount(found.t)
    lines = [
        f"# The effect of {plan.treatment} on {plan.outcome}",
        "",
        f"From {found.rows} rows of {found.file}, by `{plan.method}`. It is as right as what is "
        "assumed below.",
        "",
        f"| contrast | effect | {plan.level:.0%} interval | difference in means |",
        "|---|---|---|---|",
        *(
            f"| {c.arm} against {c.baseline} | {c.estimate:.4g} | [{c.low:.4g}, {c.high:.4g}] | "
            f"{c.difference:.4g} |"
            for c in found.contrasts
        ),
        "",
        f"The effect is what {plan.outcome} would change by on average, in its units, were "
        f"{plan.treatment} set in every row. `cate.csv` has it given each row's covariates: its "
        "spread is " + _spread(found) + ". The difference in means adjusts for nothing.",
        "",
        "## What was adjusted for",
        why(found),
        "",
        f"Graph: {_whence(found)}.",
        "",
        "![the graph and its roles](graph.png)",
        "",
        "## Overlap and balance",
        f"| {plan.treatment} | rows | worth, weighted | propensity | below {EXTREME:g} |",
        "|---|---|---|---|---|",
        *(
            f"| {arm} | {counts[k]} | {overlap.effective[k]:.0f} | "
            f"{overlap.propensity[:, k].min():.3f} to {overlap.propensity[:, k].max():.3f} | "
            f"{overlap.extreme[k]:.1%} |"
            for k, arm in enumerate(overlap.arms)
        ),
        "",
        "Propensities are a penalised logistic regression of the treatment on what was adjusted "
        "for. Worth is the effective sample size of the arm's rows weighted by their inverse.",
        "",
        "![propensities](overlap.png)",
        "",
        *_balance(found),
        "",
        "![balance](balance.png)",
    ]
    if found.notes:
        lines += ["", "## Take note", *(f"- {note}" for note in found.notes)]
    lines += ["", "## Refutations", *_refutations(found)]
    lines += ["", "## What was assumed", *(f"- {line}" for line in _assumed(found))]
    lines += [
        "",
        "## How it was run",
        f"- method `{plan.method}`, options "
        + (", ".join(f"`{k}={v}`" for k, v in plan.options.items()) or "all at their defaults"),
        f"- seed {plan.seed}; {plan.refutations} refits a refutation; {found.seconds:.2f} s; "
        f"Python {platform.python_version()}, NumPy {np.__version__}",
        "",
    ]
    return "\n".join(lines)


def _whence(found: EffectAnalysis) -> str:
    plan = found.plan
    if plan.discover is not None:
        return f"learned by {plan.discover} from the same table"
    return "given" if plan.graph is not None else "none given"


def _spread(found: EffectAnalysis) -> str:
    return ", ".join(
        f"{np.quantile(column, 0.05):.4g} to {np.quantile(column, 0.95):.4g} ({contrast.arm}, "
        "middle 90% of rows)"
        for contrast, column in zip(found.contrasts, found.cate.T, strict=True)
    )


def _balance(found: EffectAnalysis) -> list[str]:
    overlap = found.overlap
    if not overlap.names:
        return ["Nothing was adjusted for, so there is no balance to show."]
    rows = [
        f"| {name} | {overlap.arms[k + 1]} | {overlap.before[k, j]:.3f} | "
        f"{overlap.after[k, j]:.3f} |"
        for k in range(len(overlap.before))
        for j, name in enumerate(overlap.names)
    ]
    return [
        f"| covariate | arm, against {overlap.arms[0]} | difference | weighted |",
        "|---|---|---|---|",
        *rows,
        "",
        f"Differences of means in standard deviations; up to {BALANCED:g} counts as balanced.",
    ]


def _refutations(found: EffectAnalysis) -> list[str]:
    if not found.plan.refutations:
        return ["None were asked for."]
    rows = [
        f"| {c.arm} | {result.name} | {result.expected:.4g} | {result.mean:.4g} | "
        f"{result.deviation:.2g} | {result.p_value:.2f} | "
        f"{'passed' if result.passed else 'REFUTED'} |"
        for c in found.contrasts
        for result in c.refutations
    ]
    return [
        "| arm | refutation | should be | came out | sd | p | |",
        "|---|---|---|---|---|---|---|",
        *rows,
        "",
        *(f"- {name}: {what}." for name, what in REFUTATIONS.items()),
        "",
        "To pass proves nothing: an effect with an unseen confounder passes all three.",
    ]


def _assumed(found: EffectAnalysis) -> list[str]:
    plan = found.plan
    lines = [
        "Nothing unseen causes both treatment and outcome"
        + (", but as the graph says." if found.graph is not None else "."),
        "Every row could have been in every arm (see overlap).",
        "A row's outcome depends on its own treatment alone, and an arm is the same thing for all.",
    ]
    if found.graph is None:
        lines.append(f"No column is a consequence of {plan.treatment}.")
    else:
        lines.append("The graph is right about the edges that the adjustment set rests on.")
    if plan.discover is not None:
        lines += [f"Graph: {line}" for line in assumptions(plan.discover, interventions=False)]
    return lines


def _effects_of_rows(found: EffectAnalysis) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["row", *(f"effect_{c.arm}_against_{c.baseline}" for c in found.contrasts)])
    for row, values in enumerate(found.cate):
        writer.writerow([row, *(f"{value:.8g}" for value in values)])
    return text.getvalue()
