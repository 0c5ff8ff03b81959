"""The graph behind an estimate where none is given: learned from the very columns."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from causal_rl.discovery import (
    EdgePrior,
    GraphLearner,
    Transitions,
    learner_options,
    make_learner,
)
from causal_rl.graphs import CausalGraph


def check_graph(graph: object) -> None:
    """Check an estimator's option ``graph``.

    Args:
        graph: a graph, a learner, the name of one, or None.

    Raises:
        TypeError: none of these.
        ValueError: no such learner; the nearest are offered.
    """
    if isinstance(graph, str):
        learner_options(graph)
    elif graph is not None and not isinstance(graph, CausalGraph | GraphLearner):
        raise TypeError(
            "graph must be a CausalGraph, a graph learner or the name of one, "
            f"not {type(graph).__name__}"
        )


def ready_learner(learner: GraphLearner | str, seed: int) -> GraphLearner:
    """A learner from an estimator's option ``graph``.

    Args:
        learner: itself, or the name of one, which is made with its defaults.
        seed: of one made here, if it takes one.
    """
    if not isinstance(learner, str):
        return learner
    seeded = {"seed": seed} if "seed" in learner_options(learner) else {}
    return make_learner(learner, **seeded)


def learn_graph(
    learner: GraphLearner,
    columns: NDArray[np.float64],
    names: Sequence[str],
    treatment: str,
    outcome: str,
) -> CausalGraph:
    """Learn a graph from standardised columns.

    Who asks for the effect of one column on another says that the latter does not cause the former.
    The learner is told so, as a forbidden edge, if it takes such rules and has no prior of its own;
    of the other columns it is told nothing.

    Args:
        learner: fitted here, in place.
        columns: ``(N, m)``.
        names: one a column.
        treatment: name of the column whose effect is asked for.
        outcome: name of the column on which.

    Returns:
        The graph over the names, without lagged edges.
    """
    own = learner.prior
    if own is None and "forbidden" in learner.obeys:
        learner.prior = EdgePrior(forbidden=frozenset({(outcome, treatment)}))
    spread = columns.std(axis=0)
    scaled = (columns - columns.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    try:
        return learner.fit(Transitions.from_table(scaled, names=names))
    finally:
        learner.prior = own
