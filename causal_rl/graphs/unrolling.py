"""From the two graphs of a world to the one that a step as a whole has."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from causal_rl.graphs.acyclicity import reachability
from causal_rl.graphs.causal_graph import CausalGraph


def within_step_reach(graph: CausalGraph) -> NDArray[np.bool_]:
    """Which variables a change inside a step reaches before the step ends.

    Args:
        graph: any graph; its lagged edges are not read.

    Returns:
        bool (n, n), reflexive: [i, j] true if j = i or there is a within-step path from i to j.
    """
    return reachability(graph.contemporaneous)


def one_step_graph(graph: CausalGraph) -> CausalGraph:
    """Which values at t move which values at t + 1, all of step t held but the one.

    An edge i -> j is a lagged edge into some k followed by a within-step path from k to j. This is
    what a model of one-step dynamics sees, whatever happens inside the step. A context is held, so
    it is carried over into the next step and reaches its children there.

    Args:
        graph: a world's within-step and lagged edges.

    Returns:
        The graph over the same nodes; all its edges are lagged. It is right for mechanisms whose
        effects along two paths do not cancel.
    """
    carried = graph.lagged.copy()
    for i, kind in enumerate(graph.kinds):
        if kind == "context":
            carried[i, i] = True
    return CausalGraph(
        contemporaneous=np.zeros_like(carried),
        lagged=carried @ within_step_reach(graph),
        names=graph.names,
        kinds=graph.kinds,
    )
