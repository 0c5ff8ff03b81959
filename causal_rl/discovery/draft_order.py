"""The default learner's graph of standardised columns, for learners that need a causal order."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from causal_rl.discovery.batch import BoolMatrix, Rows
from causal_rl.discovery.interventional import InterventionalLearner
from causal_rl.discovery.prior import EdgePrior
from causal_rl.discovery.transitions import Transitions
from causal_rl.graphs import CausalGraph


def draft_graph(
    rows: Rows, kinds: Sequence[str], within: BoolMatrix, lagged: BoolMatrix
) -> CausalGraph:
    """Run `InterventionalLearner` inside another learner.

    Args:
        rows: what `BatchLearner` gives to its method.
        kinds: of its columns; "reward" at most for the last.
        within: ``(m, m)`` edges that may be inside the step.
        lagged: ``(m, m)`` edges that may be from step to step; if none, the rows have no past.

    Returns:
        The graph over ``X0, X1, ...`` and, where it is a column, ``reward``.
    """
    rewarded = kinds[-1] == "reward"
    n = len(kinds) - int(rewarded)
    values = rows.current[:, :n]
    data = Transitions(
        state=rows.lagged[:, :n] if lagged.any() else np.zeros_like(values),
        next_state=values,
        reward=rows.current[:, n] if rewarded else None,
        do_target=rows.do_target[:, :n],
        names=[f"X{i}" for i in range(n)],
        kinds=kinds[:n],
    )
    learner = InterventionalLearner(reward_node=rewarded)
    names = [*data.names, "reward"]
    learner.prior = EdgePrior(
        forbidden=frozenset((names[i], names[j]) for i, j in np.argwhere(~within) if i != j)
    )
    return learner.fit(data)
