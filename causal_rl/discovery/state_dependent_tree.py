"""A partition of the state into regions, with a sparse linear mechanism in each: one target's tree.

Model trees (Quinlan 1992; model-based recursive partitioning, Zeileis, Hothorn and Hornik 2008): a
node is split at a value of one candidate cause if two mechanisms, one on each side, are worth their
price in BIC. The parents of a mechanism are chosen stepwise. All fits are from second moments.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_CUTS = 16  # quantiles tried of each column, and values in each finer round
_TRIED = 3  # splits for which parents are chosen anew on both sides
_FINER = 3  # rounds in which the best value is looked for more finely
_LEAST = 1e-9  # of a variance of 1: perfect fits stay finite


@dataclass(frozen=True)
class Mechanism:
    """Linear in some columns.

    Attributes:
        parents: ascending columns.
        slopes: one for each.
        shares: the share of the target's variance (over all rows) that each accounts for here.
        intercept: the constant.
        rows: rows behind it.
        error: sum of squared residuals.
    """

    parents: tuple[int, ...]
    slopes: tuple[float, ...]
    shares: tuple[float, ...]
    intercept: float
    rows: int
    error: float


@dataclass(frozen=True)
class Node:
    """A region, or a split of one.

    Attributes:
        mechanism: of all rows in the region.
        column: where not None, rows with values below ``threshold`` in it go ``low``.
        threshold: see ``column``.
        low: None in a leaf.
        high: None in a leaf.
    """

    mechanism: Mechanism
    column: int | None = None
    threshold: float = 0.0
    low: Node | None = None
    high: Node | None = None

    def leaves(self) -> Iterator[Node]:
        """The regions, from low to high."""
        if self.low is None or self.high is None:
            yield self
            return
        yield from self.low.leaves()
        yield from self.high.leaves()

    def columns(self) -> set[int]:
        """The columns that decide between regions."""
        if self.column is None or self.low is None or self.high is None:
            return set()
        return {self.column} | self.low.columns() | self.high.columns()

    def reached(self, values: Array) -> list[Node]:
        """The regions that a point may be in; several where a column is NaN, that is unknown."""
        if self.column is None or self.low is None or self.high is None:
            return [self]
        value = values[self.column]
        if math.isnan(value):
            return self.low.reached(values) + self.high.reached(values)
        return (self.low if value < self.threshold else self.high).reached(values)

    def in_units(self, centre: Array, scale: Array, own: float, own_centre: float) -> Node:
        """The same tree for columns ``scale * z + centre`` and a target in units of ``own``."""
        m = self.mechanism
        slopes = tuple(float(s * own / scale[c]) for c, s in zip(m.parents, m.slopes, strict=True))
        moved = sum(s * centre[c] for c, s in zip(m.parents, slopes, strict=True))
        mechanism = replace(
            m, slopes=slopes, intercept=float(own_centre + own * m.intercept - moved)
        )
        if self.column is None or self.low is None or self.high is None:
            return Node(mechanism)
        return Node(
            mechanism,
            self.column,
            float(self.threshold * scale[self.column] + centre[self.column]),
            self.low.in_units(centre, scale, own, own_centre),
            self.high.in_units(centre, scale, own, own_centre),
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        own = {"mechanism": {k: getattr(self.mechanism, k) for k in Mechanism.__annotations__}}
        if self.low is None or self.high is None:
            return own
        sides = {"low": self.low.to_dict(), "high": self.high.to_dict()}
        return {**own, "column": self.column, "threshold": self.threshold, **sides}

    @classmethod
    def from_dict(cls, state: dict[str, Any]) -> Node:
        """What `to_dict` gave."""
        parts: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list | tuple) else v for k, v in state["mechanism"].items()
        }
        mechanism = Mechanism(**parts)
        if "low" not in state:
            return cls(mechanism)
        low, high = (cls.from_dict(state[side]) for side in ("low", "high"))
        return cls(mechanism, int(state["column"]), float(state["threshold"]), low, high)


@dataclass(frozen=True)
class Growth:
    """How a tree grows.

    Attributes:
        candidates: columns that may be parents and may decide between regions.
        floor: least share of the target's variance that a parent accounts for in its region, in
            units of all rows' variance.
        least_rows: of a region.
        depth: splits above a leaf, at most.
    """

    candidates: NDArray[np.intp]
    floor: float
    least_rows: int
    depth: int


def grow_tree(columns: Array, target: Array, growth: Growth) -> Node:
    """Grow the tree of one target.

    Args:
        columns: ``(N, p)`` standardised values of possible causes.
        target: ``(N,)`` standardised values.
        growth: its rules.

    Returns:
        The root.
    """
    design = np.column_stack([np.ones(len(target)), columns[:, growth.candidates], target])
    root = _select(design.T @ design, (), growth)
    node = _grow(design, root, growth, growth.depth)
    return renamed(node, growth.candidates)


def _grow(design: Array, own: Mechanism, growth: Growth, depth: int) -> Node:
    rows = len(design)
    node = Node(_named(own))
    p = design.shape[1] - 2
    least = max(growth.least_rows, 2 * (p + 1))
    if depth == 0 or rows < 2 * least or p == 0:
        return node
    best: tuple[float, int, float, Mechanism, Mechanism] | None = None
    tries = _best_cuts(design, least)
    price = 2.0 * math.log(p * rows)  # as many splits there are
    before = _score(own.error, rows, [own], p)
    for column, threshold in tries:
        below = design[:, column] < threshold
        parts = design[below], design[~below]
        low, high = (_select(part.T @ part, own.parents, growth) for part in parts)
        after = _score(low.error + high.error, rows, [low, high], p)
        gain = before - after - price
        if gain > 0 and (best is None or gain > best[0]):
            best = gain, column, threshold, low, high
    if best is None:
        return node
    _, column, threshold, low, high = best
    below = design[:, column] < threshold
    return Node(
        node.mechanism,
        column - 1,
        threshold,
        _grow(design[below], low, growth, depth - 1),
        _grow(design[~below], high, growth, depth - 1),
    )


def _score(error: float, rows: int, parts: list[Mechanism], p: int) -> float:
    """Extended BIC of mechanisms that share one noise variance."""
    fit = rows * math.log(max(error / rows, _LEAST))
    cost = [
        math.log(max(part.rows, 2)) * (1 + len(part.parents)) + 2 * math.log(p) * len(part.parents)
        for part in parts
    ]
    return fit + sum(cost)


def _select(moments: Array, inherited: tuple[int, ...], growth: Growth) -> Mechanism:
    """Stepwise choice of parents: columns ``1 .. p`` of moments that begin with ones."""
    p, y = len(moments) - 2, len(moments) - 1
    rows = max(float(moments[0, 0]), 1.0)
    old, new = math.log(max(rows, 2.0)), math.log(max(rows, 2.0)) + 2 * math.log(max(p, 1))
    least = growth.floor * rows
    chosen = list(inherited)
    while len(chosen) < min(p, rows - 3):
        active = [0, *chosen]
        inverse = np.linalg.pinv(moments[np.ix_(active, active)], rcond=1e-12, hermitian=True)
        cross = moments[:, active] @ inverse
        spread = np.diagonal(moments) - np.einsum("ca,ca->c", cross, moments[:, active])
        joint = moments[:, y] - cross @ moments[active, y]
        free = spread > 1e-8 * np.maximum(np.diagonal(moments), _LEAST * rows)
        free[[0, *chosen, y]] = False
        gain = np.where(free, joint**2 / np.where(free, spread, 1.0), 0.0)
        c = int(gain.argmax())
        error = max(float(spread[y]), _LEAST * rows)
        rest = max(error - float(gain[c]), _LEAST * rows)
        if gain[c] <= least or rows * math.log(error / rest) <= new:
            break
        chosen.append(c)
    while True:
        active = [0, *sorted(chosen)]
        block = moments[np.ix_(active, active)]
        inverse = np.linalg.pinv(block, rcond=1e-12, hermitian=True)
        slopes = inverse @ moments[active, y]
        error = max(float(moments[y, y] - slopes @ moments[active, y]), _LEAST * rows)
        lost = slopes**2 / np.maximum(np.diagonal(inverse), 1e-300)
        lost[0] = np.inf
        c = int(lost.argmin())
        if not chosen or (lost[c] > least and rows * math.log1p(lost[c] / error) > old):
            break
        chosen.remove(active[c])
    return Mechanism(
        tuple(active[1:]),
        tuple(slopes[1:].tolist()),
        tuple((lost[1:] / rows).tolist()),
        float(slopes[0]),
        int(moments[0, 0]),
        error,
    )


def _best_cuts(design: Array, least: int) -> list[tuple[int, float]]:
    """Splits with the smallest squared error when all columns are parents on both sides."""
    p = design.shape[1] - 2
    found = []
    for column in range(1, p + 1):
        values = design[:, column]
        cuts = np.unique(np.quantile(values, np.linspace(0, 1, _CUTS + 2)[1:-1]))
        error, cut = _cheapest(design, values, cuts, least)
        if math.isfinite(error):
            found.append((error, column, cut, cuts))
    found.sort(key=lambda one: one[:2])
    refined = []
    for _error, column, cut, cuts in found[:_TRIED]:
        values = design[:, column]
        for _ in range(_FINER):
            around = np.concatenate([[values.min()], cuts, [values.max()]])
            k = int(np.searchsorted(around, cut))
            cuts = np.linspace(around[k - 1], around[k + 1], _CUTS + 2)[1:-1]
            cuts = np.unique(np.append(cuts, cut))
            if len(cuts) < 3:
                break
            _, cut = _cheapest(design, values, cuts, least)
        refined.append((column, cut))
    return refined


def _cheapest(design: Array, values: Array, cuts: Array, least: int) -> tuple[float, float]:
    """The cut with the smallest error, and that error; infinite if no cut leaves enough rows."""
    q = design.shape[1]
    piece = np.searchsorted(cuts, values, side="right")
    moments = np.zeros((len(cuts) + 1, q, q))
    for k in range(len(cuts) + 1):
        part = design[piece == k]
        moments[k] = part.T @ part
    below = np.cumsum(moments, axis=0)
    sides = below[:-1], below[-1] - below[:-1]
    enough = (sides[0][:, 0, 0] >= least) & (sides[1][:, 0, 0] >= least)
    if not enough.any():
        return math.inf, 0.0
    error = np.zeros(int(enough.sum()))
    for side in sides:
        part = side[enough]
        ridge = 1e-6 * part[:, :1, :1] * np.eye(q - 1)
        cross = part[:, :-1, -1]
        slopes = np.linalg.solve(part[:, :-1, :-1] + ridge, cross[:, :, None])[:, :, 0]
        error += part[:, -1, -1] - (slopes * cross).sum(axis=1)
    k = int(error.argmin())
    return float(error[k]), float(cuts[enough][k])


def _named(mechanism: Mechanism) -> Mechanism:
    """Parents as candidates from 0, where moments count the ones first."""
    return replace(mechanism, parents=tuple(c - 1 for c in mechanism.parents))


def renamed(node: Node, candidates: NDArray[np.intp]) -> Node:
    """Columns of the data in place of positions among the candidates."""
    own = node.mechanism
    mechanism = replace(own, parents=tuple(int(candidates[c]) for c in own.parents))
    if node.column is None or node.low is None or node.high is None:
        return Node(mechanism)
    return Node(
        mechanism,
        int(candidates[node.column]),
        node.threshold,
        renamed(node.low, candidates),
        renamed(node.high, candidates),
    )
