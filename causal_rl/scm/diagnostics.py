"""Looking at a model from outside: does the order leak, and is the stated graph the real one?"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from causal_rl.graphs import CausalGraph, find_cycle
from causal_rl.scm.arguments import (
    BoolArray,
    FloatArray,
    as_count,
    as_finite_columns,
    as_generator,
)
from causal_rl.scm.dynamic import DynamicSCM

_WARM_UP = 8
# Variances closer than this, relatively, count as equal.
_TIE = 1e-9
# Correlations with a smaller eigenvalue lose digits when they are inverted.
_WELL_CONDITIONED = 1e-6


def varsortability(data: ArrayLike, adjacency: ArrayLike) -> float:
    """How far sorting by variance gives the causal order (Reisach, Seiler & Weichwald 2021).

    The share of directed paths from i to j along which the variance grows, each pair counted once
    for every length that a path between them has; ties count one half. 1: the variances give the
    order away; 0.5: they say nothing; 0: they give it away backwards.

    Args:
        data: float64 of shape (rows, n), at least 2 rows.
        adjacency: (n, n), nonzero at [i, j] if i causes j; acyclic, with at least one edge.

    Returns:
        A number in [0, 1].

    Raises:
        TypeError: If `adjacency` holds no numbers.
        ValueError: If a shape is wrong, `data` is not finite, or the graph is cyclic or empty.
    """
    edges, columns = _edges_and_columns(data, adjacency)
    return _sortability(columns.var(axis=1), edges)


def r2_sortability(data: ArrayLike, adjacency: ArrayLike) -> float:
    """How far sorting by R2 gives the causal order (Reisach, Tami, Seiler et al. 2023).

    As `varsortability`, with the share of a variable's variance that all others explain linearly in
    place of the variance. Unlike variances it does not change when columns are rescaled.

    Args:
        data: float64 of shape (rows, n), more rows than n.
        adjacency: (n, n), nonzero at [i, j] if i causes j; acyclic, with at least one edge.

    Returns:
        A number in [0, 1]; 0.5 says nothing.

    Raises:
        TypeError: If `adjacency` holds no numbers.
        ValueError: If a shape is wrong, `data` is not finite or a column constant, or the graph is
            cyclic or empty.
    """
    edges, columns = _edges_and_columns(data, adjacency)
    n, rows = columns.shape
    if rows <= n:
        raise ValueError(f"data must have more than {n} rows, got {rows}")
    spread = columns.std(axis=1)
    if not spread.all():
        raise ValueError(f"data must not be constant, column {int(np.argmin(spread))} is")
    return _sortability(explained_by_others(columns.T), edges)


def explained_by_others(values: FloatArray) -> FloatArray:
    """Share of every column's variance that all other columns explain linearly.

    Args:
        values: float64 of shape (rows, n); no column may be constant.

    Returns:
        float64 of shape (n,), in [0, 1] up to rounding.
    """
    centred = (values - values.mean(axis=0)).T
    centred /= np.sqrt((centred**2).mean(axis=1, keepdims=True))
    correlation = centred @ centred.T / centred.shape[1]
    eigenvalues, vectors = np.linalg.eigh(correlation)
    if eigenvalues[0] > _WELL_CONDITIONED:
        # 1 / (1 - R2) is the diagonal of the inverse; one inverse in place of n regressions.
        explained: FloatArray = 1.0 - 1.0 / ((vectors**2) @ (1.0 / eigenvalues))
        return explained
    r2 = np.empty(len(centred))
    for j in range(len(centred)):
        others = np.delete(centred, j, axis=0).T
        weights, *_ = np.linalg.lstsq(others, centred[j], rcond=None)
        r2[j] = 1.0 - float(np.mean((centred[j] - others @ weights) ** 2))
    return r2


def _edges_and_columns(data: ArrayLike, adjacency: ArrayLike) -> tuple[BoolArray, FloatArray]:
    cycle = find_cycle(adjacency)
    if cycle is not None:
        raise ValueError(f"adjacency must be acyclic, got the cycle {cycle}")
    edges = np.asarray(adjacency) != 0
    if not edges.any():
        raise ValueError("adjacency must have at least one edge")
    columns = as_finite_columns(data, len(edges), "data")
    if columns.shape[1] < 2:
        raise ValueError(f"data must have at least 2 rows, got {columns.shape[1]}")
    return edges, columns


def _sortability(order: FloatArray, edges: BoolArray) -> float:
    """The share of directed paths along which a score (n,) grows."""
    cause, effect = order[:, None], order[None, :]
    tied = np.abs(cause - effect) <= _TIE * np.maximum(cause, effect)
    score = np.where(tied, 0.5, (cause < effect).astype(np.float64))
    total, sorted_ = 0, 0.0
    paths, step = edges, edges.astype(np.float32)
    while paths.any():
        total += int(paths.sum())
        sorted_ += float(score[paths].sum())
        # Not booleans: their product is a hundred times slower.
        paths = (paths.astype(np.float32) @ step) > 0
    return sorted_ / total


def perturbation_graph(
    scm: DynamicSCM, rng: np.random.Generator | int, n_points: int = 64
) -> CausalGraph:
    """Find the graph of a simulator by moving one value at a time.

    At states that the model visits, all variables but one, j, are held by do() at their values;
    then i alone is moved. There is a contemporaneous edge i -> j if and only if the value of j
    moves at some point, and a lagged one if it moves when i is moved in the step before. The same
    is done to the reward. The noise is held, so that equality is exact and nothing is estimated:
    a false edge is impossible, a missed one needs a mechanism that is flat at every point.

    Args:
        scm: The model; its stated graph is not read.
        rng: Generator or seed, for the points and the moves.
        n_points: How many states to try, at least 1.

    Returns:
        The graph over the columns, and the reward as last node if there is one.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If `n_points` is below 1, or a mechanism gives a value that is not finite.
    """
    if not isinstance(scm, DynamicSCM):
        raise TypeError(f"scm must be a DynamicSCM, got {type(scm).__name__}")
    rng, p, n = as_generator(rng), as_count(n_points, "n_points"), scm.n
    values = scm.simulate(_WARM_UP, rng, batch=p).values
    # Block 0 is the base; block i + 1 is the base with variable i moved, at the same points.
    previous, current = (np.tile(values[t], (n + 1, 1)) for t in (-2, -1))
    moved_previous, moved_current = previous.copy(), current.copy()
    for i, k in enumerate(v.categories for v in scm.variables[:n]):
        rows = slice((i + 1) * p, (i + 2) * p)
        moved_previous[rows, i] = _moved(previous[rows, i], k, rng)
        moved_current[rows, i] = _moved(current[rows, i], k, rng)
    noise = np.tile(scm.sample_noise(rng, p), (n + 1, 1))
    size = n + (scm.reward is not None)
    now, lag = np.zeros((size, size), dtype=np.bool_), np.zeros((size, size), dtype=np.bool_)
    for j in range(n):
        held = np.ones(current.shape, dtype=np.bool_)
        held[:, scm.contexts] = False
        held[:, j] = False
        after = scm.step(previous, noise, moved_current, held, moved_current)
        now[:n, j] = _moves(after[:, j], n)
        after = scm.step(moved_previous, noise, current, held, current)
        lag[:n, j] = _moves(after[:, j], n)
    # A held context shows its own move; it is no effect of itself.
    now[np.arange(n), np.arange(n)] = False
    if scm.reward is not None:
        now[:n, n] = _moves(scm.reward_value(previous, moved_current), n)
        lag[:n, n] = _moves(scm.reward_value(moved_previous, current), n)
    return _with_reward(scm, now, lag)


def perturbation_one_step(
    scm: DynamicSCM, rng: np.random.Generator | int, n_points: int = 64
) -> CausalGraph:
    """Find which values of one step move which of the next, over all paths at once.

    At states that the model visits, one value is moved, the step is run with the same noise and
    without interventions, and all that moves is noted: S_i at t against S_j at t + 1, and the
    reward of that step. A context that is moved stays moved.

    Args:
        scm: The model; its stated graph is not read.
        rng: Generator or seed, for the points and the moves.
        n_points: How many states to try, at least 1.

    Returns:
        The graph over the columns, and the reward as last node if there is one; all its edges are
        lagged.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If `n_points` is below 1, or a mechanism gives a value that is not finite.
    """
    if not isinstance(scm, DynamicSCM):
        raise TypeError(f"scm must be a DynamicSCM, got {type(scm).__name__}")
    rng, p, n = as_generator(rng), as_count(n_points, "n_points"), scm.n
    state = scm.simulate(_WARM_UP, rng, batch=p).values[-1]
    moved = np.tile(state, (n + 1, 1))
    for i, k in enumerate(v.categories for v in scm.variables[:n]):
        rows = slice((i + 1) * p, (i + 2) * p)
        moved[rows, i] = _moved(moved[rows, i], k, rng)
    after = scm.step(moved, np.tile(scm.sample_noise(rng, p), (n + 1, 1)))
    size = n + (scm.reward is not None)
    lag = np.zeros((size, size), dtype=np.bool_)
    for j in range(n):
        lag[:n, j] = _moves(after[:, j], n)
    if scm.reward is not None:
        lag[:n, n] = _moves(scm.reward_value(moved, after), n)
    return _with_reward(scm, np.zeros_like(lag), lag)


def _with_reward(scm: DynamicSCM, now: BoolArray, lag: BoolArray) -> CausalGraph:
    """The graph over the columns, and the reward as last node if there is one."""
    reward = () if scm.reward is None else (scm.reward,)
    return CausalGraph(
        contemporaneous=now,
        lagged=lag,
        names=(*scm.names, *(v.name for v in reward)),
        kinds=(*scm.kinds, *(v.kind for v in reward)),
    )


def _moved(values: FloatArray, categories: int | None, rng: np.random.Generator) -> FloatArray:
    """Other values of the same kind."""
    if categories is None:
        return values + rng.normal(0.0, 2.0, size=values.shape)
    return np.asarray((values + rng.integers(1, categories, size=values.shape)) % categories)


def _moves(values: FloatArray, n: int) -> BoolArray:
    """Which of the n moves changed the value at any point; `values` is (n + 1 blocks,)."""
    blocks = values.reshape(n + 1, -1)
    return np.asarray((blocks[1:] != blocks[0]).any(axis=1))
