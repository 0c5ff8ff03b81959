"""Random graphs: an order, then every possible edge with equal probability."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from causal_rl.graphs.adjacency import BoolMatrix
from causal_rl.graphs.kinds import Kind, possible_edges


def draw_blocks(
    kinds: Sequence[Kind],
    density: float,
    lagged_density: float | None,
    rng: np.random.Generator,
) -> tuple[BoolMatrix, BoolMatrix]:
    """Draw both blocks; `CausalGraph.random` is the public door.

    Args:
        kinds: of the variables; edges that they rule out never appear.
        density: expected contemporaneous edges per variable.
        lagged_density: expected lagged ones; as ``density`` if None, and no more than possible.
        rng: draws.

    Returns:
        (n, n) each.

    Raises:
        ValueError: a density is negative or asks for more edges than there can be.
    """
    contemporaneous, lagged = possible_edges(kinds)
    # Sources first and sinks last, so that no order is drawn that rules out possible edges.
    level = [-1 if kind in ("action", "context") else int(kind == "reward") for kind in kinds]
    shuffled = rng.permutation(len(kinds))
    position = np.lexsort((shuffled, np.array(level))).argsort()
    contemporaneous &= position[:, np.newaxis] < position[np.newaxis, :]
    if lagged_density is None:
        lagged_density = min(density, float(lagged.sum()) / len(kinds))
    return (
        _thin(contemporaneous, density, "density", rng),
        _thin(lagged, lagged_density, "lagged_density", rng),
    )


def _thin(
    possible: BoolMatrix, density: float, argument: str, rng: np.random.Generator
) -> BoolMatrix:
    """Keep each possible edge with the probability that leaves `density` edges per variable."""
    most = float(possible.sum()) / len(possible)
    # Written so that NaN is refused too.
    if not 0.0 <= density <= most:
        raise ValueError(
            f"{argument} must lie in [0, {most:g}], the edges per variable that these names and "
            f"kinds allow, got {density}"
        )
    probability = density / most if most else 0.0
    return possible & (rng.random(possible.shape) < probability)
