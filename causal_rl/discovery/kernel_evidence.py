"""Evidence for a set of parents: the marginal likelihood of a Gaussian process, in nats.

``x_j = f(parents) + noise`` with a Gaussian-process prior on f and Gaussian noise, the model of
Gaussian-process networks (Friedman and Nachman 2000). The kernel is a rational quadratic in all
parents together plus their inner product, so that effects may bend and interact; the f of a few
hundred rows is represented on inducing rows (Nystroem), which makes a set of parents cost one small
eigenproblem for each length scale, shared by all targets whose rows count alike.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cholesky, eigh, solve_triangular
from scipy.special import logsumexp

Array = NDArray[np.float64]
BoolMatrix = NDArray[np.bool_]

# Ratios of the prior variance of f to that of the noise over which the evidence is averaged.
_RATIOS = np.exp(np.linspace(0.0, 14.0, 15))
_JITTER = 1e-5
_LEAST_ROWS = 3


class KernelEvidence:
    """Log marginal likelihoods of columns given others, remembered once computed.

    For each length scale (and for the inner product alone) and each of fifteen ratios of signal to
    noise variance, the noise variance itself is maximised; over the scales and ratios the evidence
    is averaged with equal weights.

    Args:
        inputs: ``(N, c)`` finite columns of about unit variance, from which parents are taken.
        targets: ``(N, d)`` columns to explain, of about unit variance.
        counted: ``(N, d)`` true where a row counts for a target: false where it was set, for then
            its own mechanism was not at work.
        inducing: rows on which functions are represented, at most.
        lengths: length scales in units of a column's deviation, times the root of the number of
            parents.
        seed: chooses the inducing rows.
    """

    def __init__(
        self,
        inputs: Array,
        targets: Array,
        counted: BoolMatrix,
        *,
        inducing: int = 192,
        lengths: Sequence[float] = (0.5, 1.0, 2.0, 4.0),
        seed: int = 0,
    ) -> None:
        self._inputs = inputs
        rows = np.random.default_rng(seed).permutation(len(inputs))[:inducing]
        self._inducing = np.sort(rows)
        self._lengths = tuple(lengths)
        patterns, group = np.unique(counted, axis=1, return_inverse=True)
        group = np.asarray(group).ravel()
        self._group = group
        self._rows: list[NDArray[np.intp]] = [
            np.flatnonzero(patterns[:, g]) for g in range(patterns.shape[1])
        ]
        self._place = np.zeros(targets.shape[1], dtype=np.intp)
        self._wanted: list[Array] = []
        for g, used in enumerate(self._rows):
            own = np.flatnonzero(group == g)
            self._place[own] = np.arange(len(own))
            wanted = targets[np.ix_(used, own)]
            self._wanted.append(wanted - wanted.mean(axis=0) if len(used) else wanted)
        self._known: dict[tuple[int, tuple[int, ...]], Array] = {}

    @property
    def evaluations(self) -> int:
        """Sets of parents worked out so far."""
        return len(self._known)

    def __call__(self, target: int, parents: Sequence[int]) -> float:
        """Log evidence of the parents against none, in nats.

        Args:
            target: column of the targets.
            parents: columns of the inputs.

        Returns:
            Zero for no parents; also where fewer than three rows count for the target.
        """
        group = int(self._group[target])
        if not len(parents) or len(self._rows[group]) < _LEAST_ROWS:
            return 0.0
        key = (group, tuple(sorted(parents)))
        if key not in self._known:
            self._known[key] = self._evidence(group, np.array(key[1], dtype=np.intp))
        return float(self._known[key][self._place[target]])

    def _evidence(self, group: int, parents: NDArray[np.intp]) -> Array:
        """``(targets of the group,)`` for one set of parents."""
        wanted = self._wanted[group]
        x = self._inputs[np.ix_(self._rows[group], parents)]
        straight = x - x.mean(axis=0)
        straight_gram = straight.T @ straight
        straight_cross = straight.T @ wanted
        found = [self._averaged(straight_gram, straight_cross, wanted)]
        points = self._inputs[np.ix_(self._inducing, parents)]
        apart = squared_distances(x, points)
        among = squared_distances(points, points)
        m = len(points)
        gram = np.empty((m + len(parents),) * 2)
        cross = np.empty((m + len(parents), wanted.shape[1]))
        gram[m:, m:], cross[m:] = straight_gram, straight_cross
        for length in self._lengths:
            width = 2.0 * length**2 * len(parents)
            features = 1.0 / (1.0 + apart / width)
            root = cholesky(
                1.0 / (1.0 + among / width) + _JITTER * np.eye(m), lower=True, check_finite=False
            )
            features -= features.mean(axis=0)
            gram[:m, :m] = _whitened(root, _whitened(root, features.T @ features).T)
            gram[:m, m:] = _whitened(root, features.T @ straight)
            gram[m:, :m] = gram[:m, m:].T
            cross[:m] = _whitened(root, features.T @ wanted)
            found.append(self._averaged(gram, cross, wanted))
        result: Array = logsumexp(np.array(found), axis=0) - np.log(len(found))
        return result

    def _averaged(self, gram: Array, cross: Array, wanted: Array) -> Array:
        """Log evidence over that of no parents, averaged over the ratios; ``(targets,)``."""
        n = len(wanted)
        values, vectors = eigh(gram, check_finite=False)
        values = np.maximum(values, 0.0)
        power = (vectors.T @ cross) ** 2
        spread = 1.0 + _RATIOS[:, None] * values
        total = np.maximum((wanted**2).sum(axis=0), 1e-300)
        explained = (_RATIOS[:, None] / spread) @ power / total
        left = np.maximum(1.0 - explained, 1e-10)
        each = -0.5 * n * np.log(left) - 0.5 * np.log(spread).sum(axis=1)[:, None]
        result: Array = logsumexp(each, axis=0) - np.log(len(_RATIOS))
        return result


def squared_distances(x: Array, y: Array) -> Array:
    """``(N, M)`` squared Euclidean distances of rows ``(N, k)`` from rows ``(M, k)``."""
    apart = (x**2).sum(axis=1)[:, None] + (y**2).sum(axis=1) - 2.0 * x @ y.T
    result: Array = np.maximum(apart, 0.0)
    return result


def _whitened(root: Array, matrix: Array) -> Array:
    result: Array = solve_triangular(root, matrix, lower=True, check_finite=False)
    return result
