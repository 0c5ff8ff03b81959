"""From a table to an effect: graph, adjustment, estimate, overlap and refutations."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from causal_rl.discovery.discover import Answer, learn
from causal_rl.discovery.discover import Plan as DiscoveryPlan
from causal_rl.discovery.table_file import TableFile
from causal_rl.effects.base import Array, EffectEstimator, Treatments
from causal_rl.effects.effect_table import read_effect_table, read_treatment
from causal_rl.effects.identify import Adjustment, find_adjustment
from causal_rl.effects.overlap import Overlap, measure_overlap
from causal_rl.effects.plan import Plan
from causal_rl.effects.refutation import REFUTATIONS, Refutation, refute
from causal_rl.effects.two_steps import two_step_graph
from causal_rl.graphs import CausalGraph
from causal_rl.graphs.names import unknown_name

Progress = Callable[[int], None]


@dataclass(frozen=True)
class Contrast:
    """The average effect of one arm against the first.

    Attributes:
        arm: its name.
        baseline: that of the first arm.
        estimate: the average effect over all rows, in units of the outcome.
        low: lower end of the interval.
        high: upper end.
        difference: of the arms' mean outcomes, nothing adjusted for.
        refutations: what `refute` found, empty where it was not asked for.
    """

    arm: str
    baseline: str
    estimate: float
    low: float
    high: float
    difference: float
    refutations: tuple[Refutation, ...]


@dataclass(frozen=True, eq=False)
class EffectAnalysis:
    """The whole of it.

    Attributes:
        file: name of the file, or "data frame".
        rows: how many.
        plan: what was done.
        arms: names of the arms, the first is the baseline.
        t: ``(rows,)`` the arm of every row.
        covariates: names of the columns at hand, treatment and outcome left out.
        graph: given or learned, over the columns used; None without one.
        learned: what the graph learner found, or None.
        adjustment: what was adjusted for and why, or None without a graph.
        contrasts: one for every arm but the first.
        cate: ``(rows, K - 1)`` the effect of every arm but the first, given each row's covariates.
        overlap: over what was adjusted for.
        estimator: fitted.
        notes: what a reader should know, a sentence each.
        seconds: in all.
    """

    file: str
    rows: int
    plan: Plan
    arms: tuple[str, ...]
    t: Treatments
    covariates: tuple[str, ...]
    graph: CausalGraph | None
    learned: Answer | None
    adjustment: Adjustment | None
    contrasts: tuple[Contrast, ...]
    cate: Array
    overlap: Overlap
    estimator: EffectEstimator
    notes: tuple[str, ...]
    seconds: float

    @property
    def adjusted(self) -> tuple[str, ...]:
        """Names of the columns adjusted for."""
        return self.covariates if self.adjustment is None else self.adjustment.covariates


def analyse(
    data: str | os.PathLike[str] | Any, plan: Plan, *, progress: Progress = lambda done: None
) -> EffectAnalysis:
    """Estimate the effect that a plan asks for.

    Args:
        data: a CSV file, see `causal_rl.discovery.table_file.read_table_file`, or a data frame.
        plan: what to do.
        progress: called with the steps done, of `steps`.

    Raises:
        OSError: the file cannot be read.
        TypeError: a column of a frame holds no numbers.
        NotIdentifiedError: the graph has no valid adjustment set.
        NoOverlapError: the covariates determine the treatment.
        ValueError: bad data or options; one line that names what is wrong.
    """
    begin = time.perf_counter()
    table = read_effect_table(data, plan)
    t, arms = read_treatment(table, plan.treatment)
    names = tuple(table.data.names)
    values = table.data.next_state
    notes = _table_notes(table, plan)
    learned = None
    graph = plan.graph
    if plan.discover is not None:
        learned = learn(
            DiscoveryPlan(method=plan.discover, bootstrap=0, seed=plan.seed),
            table.data,
            lambda done: None,
        )
        graph = learned.graph
        notes += [*learned.warnings, *_class_notes(learned, plan.treatment)]
        progress(1)
    covariates = tuple(name for name in names if name not in (plan.treatment, plan.outcome))
    adjustment = None
    if graph is not None:
        graph, kept, told = _fit_graph(graph, names, plan)
        notes += told
        covariates = tuple(name for name in covariates if name in kept)
        adjustment = find_adjustment(graph, plan.treatment, plan.outcome)
        if adjustment.no_effect:
            notes.append(adjustment.explain())
    columns = [names.index(name) for name in covariates]
    X, y = values[:, columns], values[:, names.index(plan.outcome)]
    adjusted = covariates if adjustment is None else adjustment.covariates
    if not adjusted and adjustment is None:
        notes.append("The table has no covariates: the estimate is the difference of the arms.")
    overlap = measure_overlap(
        X[:, [covariates.index(name) for name in adjusted]], t, adjusted, arms
    )
    notes += overlap.warnings()
    before = plan.discover is not None
    estimator, contrasts, cate, said = _estimate(
        plan, graph, covariates, X, t, y, arms, lambda done: progress(before + done)
    )
    return EffectAnalysis(
        file=_name(data),
        rows=table.rows,
        plan=plan,
        arms=arms,
        t=t,
        covariates=covariates,
        graph=graph,
        learned=learned,
        adjustment=adjustment,
        contrasts=contrasts,
        cate=cate,
        overlap=overlap,
        estimator=estimator,
        notes=tuple(dict.fromkeys([*notes, *said])),
        seconds=time.perf_counter() - begin,
    )


def steps(plan: Plan) -> int:
    """How many steps `analyse` tells of."""
    return (plan.discover is not None) + 2 + len(REFUTATIONS) * plan.refutations


def _estimate(
    plan: Plan,
    graph: CausalGraph | None,
    covariates: tuple[str, ...],
    X: Array,
    t: Treatments,
    y: Array,
    arms: tuple[str, ...],
    progress: Progress,
) -> tuple[EffectEstimator, tuple[Contrast, ...], Array, list[str]]:
    """Fit, ask for every arm against the first, refute."""
    if not covariates:
        # Estimators take at least one column; one that never changes has no part in anything.
        X, covariates, graph = np.zeros((len(t), 1)), ("nothing",), None
    pairs = tuple((0, arm) for arm in range(1, len(arms)))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            estimator = plan.estimator(graph).fit(X, t, y, names=covariates)
            progress(1)
            estimates = [estimator.ate(t1=arm) for _, arm in pairs]
            ends = [
                estimator.ate_interval(t1=arm, level=plan.level, draws=plan.draws)
                for _, arm in pairs
            ]
            cate = np.column_stack([estimator.effect(X, t1=arm) for _, arm in pairs])
            progress(2)
            refuted: Mapping[tuple[int, int], tuple[Refutation, ...]] = {}
            if plan.refutations:
                refuted = refute(
                    estimator, X, t, y, draws=plan.refutations, seed=plan.seed, contrasts=pairs,
                    progress=lambda done: progress(2 + done),
                )  # fmt: skip
        except (ArithmeticError, MemoryError, RuntimeError, np.linalg.LinAlgError) as error:
            reason = str(error) or type(error).__name__
            raise ValueError(f"the method {plan.method} failed: {reason}") from error
    said = [
        " ".join(str(entry.message).split())
        for entry in caught
        if issubclass(entry.category, UserWarning | RuntimeWarning)
    ]
    contrasts = tuple(
        Contrast(
            arm=arms[arm],
            baseline=arms[0],
            estimate=estimate,
            low=low,
            high=high,
            difference=float(y[t == arm].mean() - y[t == 0].mean()),
            refutations=refuted.get((0, arm), ()),
        )
        for (_, arm), estimate, (low, high) in zip(pairs, estimates, ends, strict=True)
    )
    return estimator, contrasts, cate, said


def _fit_graph(
    graph: CausalGraph, names: tuple[str, ...], plan: Plan
) -> tuple[CausalGraph, frozenset[str], list[str]]:
    """The graph as the table sees it, the names both have, and what was left out on either side."""
    notes = []
    if graph.lagged.any():
        graph = two_step_graph(graph)
        notes.append(
            "The graph has lagged edges and was unrolled over two steps: x_before is x one step "
            "earlier."
        )
    for role, name in (("treatment", plan.treatment), ("outcome", plan.outcome)):
        if name not in graph.names:
            raise ValueError(f"graph: the {role} is not in it; {unknown_name(name, graph.names)}")
    kept = frozenset(names) & frozenset(graph.names)
    if left := [name for name in names if name not in kept]:
        notes.append(f"Left out, for they are not in the graph: {', '.join(left)}.")
    hidden = [name for name in graph.names if name not in kept]
    if hidden:
        notes.append(f"Taken as not observed, for they are not in the table: {', '.join(hidden)}.")
    kinds = [
        "hidden" if name in hidden else "state" if kind == "hidden" else kind
        for name, kind in zip(graph.names, graph.kinds, strict=True)
    ]
    return graph.with_(kinds=kinds), kept, notes


def _table_notes(table: TableFile, plan: Plan) -> list[str]:
    notes = []
    if table.constant:
        notes.append(f"Dropped, for they never change: {', '.join(table.constant)}.")
    for name, order in table.codes.items():
        if name != plan.treatment and name in table.data.names:
            coded = ", ".join(f"{level} = {k}" for k, level in enumerate(order))
            notes.append(f"Categories of {name} were read as numbers: {coded}.")
    return notes


def _class_notes(learned: Answer, treatment: str) -> list[str]:
    """Whether the learner could not tell which way edges at the treatment point."""
    if learned.equivalence_class is None:
        return []
    open_ended = [
        " ".join(edge)
        for edge in learned.equivalence_class.edges()
        if treatment in (edge[0], edge[-1]) and edge[1] != "-->"
    ]
    if not open_ended:
        return []
    return [
        f"The learner did not tell the direction of {', '.join(open_ended)}: the graph used is one "
        "of several that fit as well."
    ]


def _name(data: Any) -> str:
    return Path(data).name if isinstance(data, str | os.PathLike) else "data frame"
