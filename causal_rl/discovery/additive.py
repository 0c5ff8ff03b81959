"""Additive spline regressions of every column on any others, from one Gram matrix.

What the methods for additive noise models share: how well a column is explained by smooth
functions of some others (CAM's search), and which of them it needs (the pruning of CAM and SCORE).
Buehlmann, Peters and Ernest (2014) use penalised splines; these are regression splines, so that
after one pass over the rows everything is small linear algebra and the tests are exact F-tests.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import BSpline
from scipy.special import fdtrc

Array = NDArray[np.float64]

_DEGREE = 3
# Relative size below which a direction of a basis, or a variance, counts as zero.
_ZERO = 1e-10
_JITTER = 1e-9


class AdditiveModels:
    """All additive models of all columns, as far as they are asked for.

    Args:
        values: ``(N, d)`` finite; every column must vary.
        size: cubic B-splines a column, at least 4; knots are quantiles, so that the models do not
            change when a column is shifted or rescaled. 1 stands for straight lines.
    """

    def __init__(self, values: Array, size: int) -> None:
        rows, d = values.shape
        centred = values - values.mean(axis=0)
        columns = centred / centred.std(axis=0)
        bases = [_basis(columns[:, j], size) for j in range(d)]
        width = bases[0].shape[1]
        features = np.concatenate(bases, axis=1)
        self.rows = rows
        self.freedom = np.array([int(np.any(basis != 0, axis=0).sum()) for basis in bases])
        self._blocks = np.arange(d * width).reshape(d, width)
        self._gram: Array = features.T @ features / rows
        self._gram[np.diag_indices(d * width)] += _JITTER
        self._cross: Array = features.T @ columns / rows  # (features, targets)

    def unexplained(self, target: int, parents: list[int]) -> float:
        """Share of the target's variance that its parents leave, at least a tiny one."""
        columns = self._blocks[parents].ravel()
        cross = self._cross[columns, target]
        fitted = np.linalg.solve(self._gram[np.ix_(columns, columns)], cross)
        return max(1.0 - float(cross @ fitted), _ZERO)

    def unexplained_with(self, target: int, parents: list[int], candidates: list[int]) -> Array:
        """The same with one candidate more, for each of them.

        Args:
            target: the regressed column.
            parents: columns already in the model.
            candidates: columns that are neither the target nor among the parents.

        Returns:
            ``(len(candidates),)``.
        """
        own, tried = self._blocks[parents].ravel(), self._blocks[candidates]
        left = self._gram[tried[:, :, None], tried[:, None, :]].copy()
        cross = self._cross[tried, target]
        share = 1.0
        if len(own):
            both = self._gram[np.ix_(own, tried.ravel())]
            targets = np.column_stack([both, self._cross[own, target]])
            solved = np.linalg.solve(self._gram[np.ix_(own, own)], targets)
            share -= float(self._cross[own, target] @ solved[:, -1])
            blocks = both.reshape(len(own), *tried.shape)
            moved = solved[:, :-1].reshape(len(own), *tried.shape)
            left -= np.einsum("pca,pcb->cab", blocks, moved)
            cross = cross - np.einsum("pca,p->ca", blocks, solved[:, -1])
        ridge = np.arange(left.shape[1])
        left[:, ridge, ridge] += _JITTER
        gain = np.einsum("ca,ca->c", cross, np.linalg.solve(left, cross[:, :, None])[:, :, 0])
        result: Array = np.maximum(share - np.maximum(gain, 0.0), _ZERO)
        return result

    def p_values(self, target: int, parents: list[int]) -> Array:
        """F-tests of each parent's whole function in the model with all of them.

        Returns:
            ``(len(parents),)``; ones where the rows do not suffice for the model.
        """
        freedom = self.freedom[parents]
        spare = self.rows - 1 - int(freedom.sum())
        if not parents or spare < 1:
            return np.ones(len(parents))
        columns = self._blocks[parents].ravel()
        inverse = np.linalg.inv(self._gram[np.ix_(columns, columns)])
        weights = inverse @ self._cross[columns, target]
        left = max(1.0 - float(self._cross[columns, target] @ weights), _ZERO)
        width = self._blocks.shape[1]
        result = np.ones(len(parents))
        for index, own in enumerate(freedom):
            block = slice(index * width, (index + 1) * width)
            lost = float(weights[block] @ np.linalg.solve(inverse[block, block], weights[block]))
            ratio = max(lost, 0.0) / own / (left / spare)
            result[index] = fdtrc(own, spare, ratio)
        return result


def spline_size(rows: int, parents: int, size: int) -> int:
    """Fewer splines where rows are few: three rows a coefficient, as in Buehlmann et al. (2014).

    Args:
        rows: number of rows.
        parents: largest number of parents of one model.
        size: splines a column where rows suffice.

    Returns:
        At most ``size``; 1 (straight lines) where not even cubics can be afforded.
    """
    affordable = min(size, rows // (3 * max(parents, 1)))
    return affordable if affordable > _DEGREE else 1


def prune_order(
    models: AdditiveModels, order: list[int], candidates: NDArray[np.bool_], alpha: float
) -> tuple[NDArray[np.bool_], Array]:
    """From a causal order to a graph: keep of the predecessors those whose test says so.

    Args:
        models: of the columns.
        order: all columns, causes first.
        candidates: ``(d, d)`` true at [i, j] where i may be a parent of j.
        alpha: level of the tests.

    Returns:
        ``(edges, p_values)``, each ``(d, d)``; p-values are 1 where nothing was tested.
    """
    d = len(order)
    p_values = np.ones((d, d))
    for place, j in enumerate(order):
        before = [i for i in sorted(order[:place]) if candidates[i, j]]
        p_values[before, j] = models.p_values(j, before)
    return p_values < alpha, p_values


def nearest(models: AdditiveModels, count: int, allowed: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Preliminary neighbourhoods: of every column those that alone explain most of it.

    Args:
        models: of the columns.
        count: how many to keep a column.
        allowed: ``(d, d)`` true at [i, j] where i may be a parent of j.

    Returns:
        ``(d, d)`` true at [i, j] where i is kept for j.
    """
    d = len(allowed)
    kept = np.zeros((d, d), dtype=bool)
    for j in range(d):
        sources = np.flatnonzero(allowed[:, j])
        if len(sources) > count:
            left = models.unexplained_with(j, [], sources.tolist())
            sources = sources[np.argsort(left, kind="stable")[:count]]
        kept[sources, j] = True
    return kept


def _basis(z: Array, size: int) -> Array:
    """``(N, size - 1)`` orthonormal centred functions; zero columns where z has few values."""
    if size <= _DEGREE:
        return z[:, None].copy()
    inner = np.quantile(z, np.linspace(0.0, 1.0, size - _DEGREE + 1)[1:-1])
    low, high = float(z.min()), float(z.max())
    # Repeated inner knots would be jumps of a derivative; equal quantiles are one knot.
    inner = np.unique(inner[(inner > low) & (inner < high)])
    knots = np.concatenate([[low] * (_DEGREE + 1), inner, [high] * (_DEGREE + 1)])
    splines = BSpline.design_matrix(z, knots, _DEGREE).toarray()
    splines -= splines.mean(axis=0)
    left, singular, _ = np.linalg.svd(splines, full_matrices=False)
    functions = left[:, singular > 1e-6 * singular[0]] * np.sqrt(len(z))
    basis = np.zeros((len(z), size - 1))
    basis[:, : functions.shape[1]] = functions
    return basis
