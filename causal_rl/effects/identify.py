"""Which covariates to adjust for: valid sets by the generalised back-door criterion.

Terms are those of Perković et al. (2018): the *causal nodes* lie on directed paths from treatment
to outcome (the treatment left out); *forbidden* are the treatment, the causal nodes and all their
descendants. A set without forbidden nodes is valid if it blocks every path from treatment to
outcome that is not directed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

import networkx as nx
import numpy as np

from causal_rl.graphs import CausalGraph


class NotIdentifiedError(ValueError):
    """No set of observed covariates makes the effect a matter of the data."""


@dataclass(frozen=True)
class Adjustment:
    """A valid adjustment set.

    Attributes:
        treatment: name of the variable that is set.
        outcome: name of the variable whose response is asked for.
        covariates: the set, in the graph's order.
        mediators: variables on directed paths from treatment to outcome; not to be adjusted for.
        forbidden: all that must not be adjusted for, the treatment left out, in the graph's order.
        optimal: whether the set has the smallest asymptotic variance of all that are valid
            (Henckel, Perković, Maathuis 2022). Not so where a hidden variable stood in its way,
            or where there is no effect.
        no_effect: the outcome is no descendant of the treatment.
    """

    treatment: str
    outcome: str
    covariates: tuple[str, ...]
    mediators: tuple[str, ...]
    forbidden: tuple[str, ...]
    optimal: bool
    no_effect: bool

    def explain(self) -> str:
        """Why the set is valid, in one paragraph."""
        chosen = ", ".join(self.covariates) or "nothing"
        if self.no_effect:
            return (
                f"The graph has no directed path from {self.treatment} to {self.outcome}: by the "
                f"graph there is no effect. Adjusting for {chosen} blocks every path between them."
            )
        text = (
            f"Adjusting for {chosen} blocks every path from {self.treatment} to {self.outcome} "
            "that is not directed (generalised back-door criterion)"
        )
        if self.mediators:
            one = len(self.mediators) == 1
            verbs = "carries the effect and is" if one else "carry the effect and are"
            text += f"; {', '.join(self.mediators)} {verbs} left alone"
        consequences = [name for name in self.forbidden if name not in self.mediators]
        consequences = [name for name in consequences if name != self.outcome]
        if consequences:
            verbs = "is a consequence" if len(consequences) == 1 else "are consequences"
            text += f"; {', '.join(consequences)} {verbs} of it and left out"
        if self.optimal:
            return f"{text}. Of all valid sets this one has the smallest asymptotic variance."
        return f"{text}. The set of smallest variance holds a hidden variable and cannot be had."


def find_adjustment(graph: CausalGraph, treatment: str, outcome: str) -> Adjustment:
    """The best set of observed covariates to adjust for.

    Args:
        graph: over treatment, outcome and all else that matters; contemporaneous edges only.
            Variables of kind ``hidden`` are not observed.
        treatment: name of an observed variable.
        outcome: name of another one.

    Returns:
        The optimal adjustment set where its variables are observed; else the ancestors of
        treatment and outcome that are observed and not forbidden, cut down to those needed.

    Raises:
        NotIdentifiedError: no set of observed variables is valid.
        ValueError: the graph has a cycle or lagged edges, a name is unknown or hidden, or both
            are the same.
    """
    if treatment == outcome:
        raise ValueError(f"outcome must be another variable than the treatment {treatment!r}")
    for role, name in (("treatment", treatment), ("outcome", outcome)):
        try:
            index = graph.index(name)
        except (KeyError, ValueError):
            known = ", ".join(graph.names)
            raise ValueError(f"{role} {name!r} is not in the graph; it has {known}") from None
        if graph.kinds[index] == "hidden":
            raise ValueError(f"{role} {name!r} is hidden in the graph; it must be observed")
    if np.any(graph.lagged):
        raise ValueError("graph has lagged edges; effects of tables take a graph without them")
    if not graph.is_acyclic:
        raise ValueError("graph has a cycle; effects take an acyclic graph")
    dag = nx.DiGraph(graph.to_networkx())
    observed = {n for n, kind in zip(graph.names, graph.kinds, strict=True) if kind != "hidden"}
    return _choose(dag, treatment, outcome, observed)


def _choose(dag: nx.DiGraph, treatment: str, outcome: str, observed: set[str]) -> Adjustment:
    causal = nx.descendants(dag, treatment) & (nx.ancestors(dag, outcome) | {outcome})
    forbidden = {treatment}.union(causal, *(nx.descendants(dag, name) for name in causal))
    if causal:
        best = {p for name in causal for p in dag.predecessors(name)} - forbidden
    else:
        # Unless the outcome causes the treatment, its parents block every path between them.
        best = set(dag.predecessors(outcome)) - forbidden
    known = best <= observed and is_valid_adjustment(dag, treatment, outcome, best)
    chosen = best
    if not known:
        # If any set of observed variables is valid, this one is (van der Zander et al. 2019).
        near = nx.ancestors(dag, treatment) | nx.ancestors(dag, outcome)
        chosen = (near & observed) - forbidden - {outcome}
        if not is_valid_adjustment(dag, treatment, outcome, chosen):
            raise NotIdentifiedError(_why_not(dag, treatment, outcome))
        chosen = _needed(dag, treatment, outcome, chosen)

    def in_order(names: Iterable[str]) -> tuple[str, ...]:
        wanted = set(names)
        return tuple(name for name in dag.nodes if name in wanted)

    return Adjustment(
        treatment,
        outcome,
        covariates=in_order(chosen),
        mediators=in_order(causal - {outcome}),
        forbidden=in_order(forbidden - {treatment}),
        optimal=known and bool(causal),
        no_effect=not causal,
    )


def _why_not(dag: nx.DiGraph, treatment: str, outcome: str) -> str:
    if dag.has_edge(outcome, treatment):
        return (
            f"the effect of {treatment} on {outcome} is not identified by adjustment: the graph "
            f"says that {outcome} causes {treatment}"
        )
    return (
        f"the effect of {treatment} on {outcome} is not identified by adjustment: no set of "
        "observed variables blocks every back-door path between them"
    )


def is_valid_adjustment(
    dag: nx.DiGraph, treatment: str, outcome: str, covariates: Collection[str]
) -> bool:
    """Whether a set satisfies the generalised back-door criterion.

    Args:
        dag: an acyclic graph.
        treatment: a node.
        outcome: another one.
        covariates: nodes, neither of the two.

    Returns:
        True where no member is forbidden and the set separates treatment from outcome in the
        proper back-door graph (the first edges of directed paths to the outcome removed).
    """
    causal = nx.descendants(dag, treatment) & (nx.ancestors(dag, outcome) | {outcome})
    forbidden = {treatment, outcome}.union(causal, *(nx.descendants(dag, name) for name in causal))
    chosen = set(covariates)
    if chosen & forbidden:
        return False
    proper = dag.copy()
    proper.remove_edges_from(
        [(treatment, name) for name in causal if dag.has_edge(treatment, name)]
    )
    return bool(nx.is_d_separator(proper, {treatment}, {outcome}, chosen))


def _needed(dag: nx.DiGraph, treatment: str, outcome: str, covariates: set[str]) -> set[str]:
    """Leave out, one by one, what the set can do without; what is near the treatment goes first."""
    kept = set(covariates)
    order = sorted(kept, key=lambda name: (name not in nx.ancestors(dag, treatment), name))
    for name in order:
        if is_valid_adjustment(dag, treatment, outcome, kept - {name}):
            kept -= {name}
    return kept
