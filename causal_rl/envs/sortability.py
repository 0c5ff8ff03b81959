"""Does the data of a world give its causal order away without any causal reasoning?"""

from __future__ import annotations

import numpy as np

from causal_rl.envs.spec import SCMEnvSpec
from causal_rl.graphs import find_cycle
from causal_rl.scm import r2_sortability, varsortability

_BURN_IN = 16


def sortability(spec: SCMEnvSpec, seed: int = 0, episodes: int = 200) -> dict[str, float | None]:
    """Varsortability and R2-sortability of a world left to itself.

    Both are over the state variables, hidden ones included, and the edges among them of either
    block, a variable's effect on itself apart. 0.5 says nothing about the order; 1 (or 0) gives it
    away, and then a benchmark on this world can be won by sorting.

    Args:
        spec: the world.
        seed: of the episodes.
        episodes: how many are run, 2 at least; the first steps of each are left out.

    Returns:
        ``varsortability`` and ``r2_sortability``; None where the edges are cyclic over time, where
        there are none, or where a variable never varies.
    """
    graph = spec.scm.graph
    keep = [i for i, kind in enumerate(graph.kinds) if kind in ("state", "hidden", "action")]
    edges = graph.summary[np.ix_(keep, keep)] & ~np.eye(len(keep), dtype=np.bool_)
    if not edges.any() or find_cycle(edges) is not None:
        return {"varsortability": None, "r2_sortability": None}
    values = spec.scm.simulate(_BURN_IN + 16, seed, batch=episodes).values[_BURN_IN:]
    rows = values.reshape(-1, spec.scm.n)[:, keep]
    if (rows.std(axis=0) == 0).any():
        return {"varsortability": None, "r2_sortability": None}
    return {
        "varsortability": varsortability(rows, edges),
        "r2_sortability": r2_sortability(rows, edges),
    }
