"""Acyclicity: the discrete tests, and two smooth functions that vanish exactly on acyclic matrices.

``h_expm`` is the penalty of ECAM's A.1.4 and Algorithms 1 and 5, tr(exp(W∘W)) - n; ``h_logdet`` is
the log-determinant of Bello et al. (2022), -log det(sI - W∘W) + n log s. Both are >= 0 where they
are defined. The first cannot see long weak cycles: a cycle of length k and strength w counts
w^2k / k!, against w^2k / s^k in the second.
"""

from __future__ import annotations

import heapq
from collections import deque
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from causal_rl.graphs.adjacency import BoolMatrix, FloatMatrix, read_adjacency, read_matrix

if TYPE_CHECKING:
    import torch


def _kahn(edges: BoolMatrix) -> list[int]:
    """Order as many variables as possible, causes first; fewer than n come back if cyclic."""
    waiting = edges.sum(axis=0)
    ready = [int(i) for i in np.flatnonzero(waiting == 0)]
    order: list[int] = []
    while ready:
        i = heapq.heappop(ready)
        order.append(i)
        for j in np.flatnonzero(edges[i]):
            waiting[j] -= 1
            if waiting[j] == 0:
                heapq.heappush(ready, int(j))
    return order


def is_dag(adjacency: ArrayLike) -> bool:
    """Tell whether a directed graph has no cycle (a self-edge is a cycle).

    Args:
        adjacency: (n, n), nonzero at [i, j] if i causes j.

    Returns:
        True if the graph is acyclic.

    Raises:
        TypeError: the entries are not real numbers.
        ValueError: not a square finite matrix.
    """
    edges = read_adjacency(adjacency, "adjacency", binary=False)
    return len(_kahn(edges)) == len(edges)


def topological_order(adjacency: ArrayLike) -> list[int]:
    """Order the variables so that causes come before effects.

    Among all such orders it is the one that is smallest lexicographically, hence deterministic.

    Args:
        adjacency: (n, n), nonzero at [i, j] if i causes j.

    Returns:
        The n indices, causes first.

    Raises:
        TypeError: the entries are not real numbers.
        ValueError: not a square finite matrix, or cyclic; the message shows a cycle by its indices.
    """
    edges = read_adjacency(adjacency, "adjacency", binary=False)
    order = _kahn(edges)
    if len(order) < len(edges):
        cycle = " -> ".join(str(i) for i in _shortest_cycle(edges))
        raise ValueError(f"adjacency must be acyclic, but has the cycle {cycle}")
    return order


def reachability(adjacency: BoolMatrix) -> BoolMatrix:
    """Which variables lie on directed paths from which.

    Args:
        adjacency: (n, n) bool; cycles are legal.

    Returns:
        (n, n) bool, reflexive: [i, j] true if j = i or a directed path leads from i to j.
    """
    reached = adjacency | np.eye(len(adjacency), dtype=np.bool_)
    while True:
        further = bool_product(reached, reached)
        if (further == reached).all():
            return reached
        reached = further


def bool_product(a: BoolMatrix, b: BoolMatrix) -> BoolMatrix:
    """(n, n) bool, [i, j] true if a[i, k] and b[k, j] for some k."""
    # float32 counts are exact to 2^24 and run on BLAS, which boolean products do not.
    result: BoolMatrix = a.astype(np.float32) @ b.astype(np.float32) > 0.5
    return result


def find_cycle(adjacency: ArrayLike) -> list[int] | None:
    """Find a shortest directed cycle.

    Args:
        adjacency: (n, n), nonzero at [i, j] if i causes j.

    Returns:
        The indices along the cycle, the first repeated at the end: ``[a, b, a]`` for a -> b -> a,
        ``[a, a]`` for a self-edge. None if there is no cycle.

    Raises:
        TypeError: the entries are not real numbers.
        ValueError: not a square finite matrix.
    """
    edges = read_adjacency(adjacency, "adjacency", binary=False)
    if len(_kahn(edges)) == len(edges):
        return None
    return _shortest_cycle(edges)


def _shortest_cycle(edges: BoolMatrix) -> list[int]:
    """Breadth-first search from every variable back to itself; the graph must be cyclic."""
    children = [[int(j) for j in np.flatnonzero(row)] for row in edges]
    best: list[int] = []
    for start in range(len(edges)):
        came_from: dict[int, int] = {}
        queue = deque([start])
        while queue and start not in came_from:
            i = queue.popleft()
            for j in children[i]:
                if j not in came_from:
                    came_from[j] = i
                    queue.append(j)
        if start not in came_from:
            continue
        path = [start, came_from[start]]
        while path[-1] != start:
            path.append(came_from[path[-1]])
        if not best or len(path) < len(best):
            best = path[::-1]
    return best


def h_expm(W: ArrayLike) -> tuple[float, FloatMatrix]:
    """Evaluate tr(exp(W∘W)) - n and its gradient exp(W∘W)^T ∘ 2W (Zheng et al. 2018).

    Args:
        W: (n, n) real weights.

    Returns:
        The value (0 for an acyclic matrix, up to rounding) and the gradient (n, n) float64.

    Raises:
        TypeError: the entries are not real numbers.
        ValueError: not a square finite matrix, or weights so large that the exponential overflows.
    """
    from scipy.linalg import expm

    weights = read_matrix(W, "W")
    with np.errstate(all="ignore"):
        exponential = expm(weights * weights)
        gradient = 2.0 * weights * exponential.T
        value = float(np.trace(exponential) - len(weights))
    if not (np.isfinite(value) and np.isfinite(gradient).all()):
        largest = np.abs(weights).max()
        raise ValueError(f"W is too large for exp(W∘W): largest absolute entry {largest:g}")
    return value, gradient


def h_logdet(W: ArrayLike, s: float = 1.0) -> tuple[float, FloatMatrix]:
    """Evaluate -log det(sI - W∘W) + n log s and its gradient 2 (sI - W∘W)^-T ∘ W.

    Defined where sI - W∘W is a nonsingular M-matrix, that is where the spectral radius of W∘W is
    below s (Bello et al. 2022, DAGMA); every acyclic W lies in that domain.

    Args:
        W: (n, n) real weights.
        s: positive number; larger widens the domain and flattens the function.

    Returns:
        The value (0 for an acyclic matrix, up to rounding) and the gradient (n, n) float64.

    Raises:
        TypeError: the entries, or s, are not real numbers.
        ValueError: not a square finite matrix, s not positive, W outside of the domain, or weights
            so large that the gradient overflows.
    """
    weights = read_matrix(W, "W")
    _check_s(s)
    with np.errstate(over="ignore"):
        squared = weights * weights
    matrix = s * np.eye(len(weights)) - squared
    pivots = _m_matrix_pivots(matrix)
    if not (pivots > 0.0).all():
        raise ValueError(_outside_domain(s))
    value = float(len(weights) * np.log(s) - np.log(pivots).sum())
    # Solving costs little, and stays exact to rounding close to the edge of the domain.
    with np.errstate(all="ignore"):
        gradient = 2.0 * weights * np.linalg.inv(matrix).T
    if not np.isfinite(gradient).all():
        largest = np.abs(weights).max()
        raise ValueError(f"W is too large for the gradient: largest absolute entry {largest:g}")
    return value, gradient


def h_expm_torch(W: torch.Tensor) -> torch.Tensor:
    """Evaluate tr(exp(W∘W)) - n on tensors, differentiably.

    Args:
        W: (..., n, n) floating point; leading dimensions are a batch.

    Returns:
        (...,) tensor of the dtype and device of W.

    Raises:
        TypeError: W is not a floating-point tensor.
        ValueError: the last two dimensions are not equal, or the exponential overflows.
    """
    import torch

    _check_tensor(W)
    exponential = torch.linalg.matrix_exp(W * W)
    value: torch.Tensor = exponential.diagonal(dim1=-2, dim2=-1).sum(-1) - W.shape[-1]
    if not bool(torch.isfinite(value).all()):
        raise ValueError(
            f"W is too large for exp(W∘W): largest absolute entry {float(W.detach().abs().max()):g}"
        )
    return value


def h_logdet_torch(W: torch.Tensor, s: float = 1.0) -> torch.Tensor:
    """Evaluate -log det(sI - W∘W) + n log s on tensors, differentiably.

    Args:
        W: (..., n, n) floating point; leading dimensions are a batch.
        s: positive number, see `h_logdet`.

    Returns:
        (...,) tensor of the dtype and device of W.

    Raises:
        TypeError: W is not a floating-point tensor.
        ValueError: the last two dimensions are not equal, s is not positive, or any matrix of the
            batch lies outside of the domain.
    """
    import torch

    _check_tensor(W)
    _check_s(s)
    n = W.shape[-1]
    matrix = s * torch.eye(n, dtype=W.dtype, device=W.device) - W * W
    if not (_m_matrix_pivots(matrix.detach().double().cpu().numpy()) > 0.0).all():
        raise ValueError(_outside_domain(s))
    value: torch.Tensor = n * float(np.log(s)) - torch.linalg.slogdet(matrix).logabsdet
    return value


def _m_matrix_pivots(matrix: FloatMatrix) -> FloatMatrix:
    """Pivots (..., n) of elimination without row exchanges.

    A matrix with off-diagonal entries <= 0 is a nonsingular M-matrix exactly when they are all
    positive, and their product is then its determinant. No tolerance is needed, where the
    eigenvalues of a nilpotent matrix would be off by eps^(1/n).
    """
    work = np.array(matrix, dtype=np.float64)
    n = work.shape[-1]
    with np.errstate(all="ignore"):
        for k in range(n - 1):
            factors = work[..., k + 1 :, k] / work[..., k, k, np.newaxis]
            work[..., k + 1 :, k + 1 :] -= (
                factors[..., :, np.newaxis] * work[..., np.newaxis, k, k + 1 :]
            )
    # Elimination past a pivot <= 0 may end in NaN, and NaN > 0 is false: it counts as outside.
    return np.diagonal(work, axis1=-2, axis2=-1)


def _check_s(s: float) -> None:
    if isinstance(s, bool) or not isinstance(s, int | float | np.number):
        raise TypeError(f"s must be a number, got {s!r}")
    if not (np.isfinite(s) and s > 0.0):
        raise ValueError(f"s must be a positive finite number, got {s}")


def _outside_domain(s: float) -> str:
    return (
        f"W must have a spectral radius of W∘W below s = {s:g} (sI - W∘W an M-matrix); "
        "scale W down or raise s"
    )


def _check_tensor(W: torch.Tensor) -> None:
    import torch

    if not isinstance(W, torch.Tensor) or not W.is_floating_point():
        got = W.dtype if isinstance(W, torch.Tensor) else type(W).__name__
        raise TypeError(f"W must be a floating-point tensor, got {got}")
    if W.ndim < 2 or W.shape[-1] != W.shape[-2] or W.shape[-1] == 0:
        raise ValueError(f"W must have shape (..., n, n) with n >= 1, got {tuple(W.shape)}")
    # NaN would pass through both functions silently.
    if not bool(torch.isfinite(W.detach()).all()):
        raise ValueError("W must be finite")
