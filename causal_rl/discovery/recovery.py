"""How often PC finds the true class as rows grow: theorem 7, in a form that could refute it.

For Gaussian variables the sample covariance of N rows has Wishart's distribution, which is drawn
here directly. So a point of the curve costs the same at a hundred rows as at a hundred million.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from causal_rl.discovery.pc import VANISHING, PCLearner
from causal_rl.graphs import CausalGraph, PartialGraph
from causal_rl.graphs.adjacency import read_matrix
from causal_rl.options import check_integer

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Recovery:
    """PC at one number of rows.

    Attributes:
        rows: how many.
        exact: share of the draws in which the CPDAG was the true one.
        shd: mean number of pairs whose marks differed from the true CPDAG.
        skeleton_f1: mean F1 of the adjacencies.
    """

    rows: int
    exact: float
    shd: float
    skeleton_f1: float


def linear_covariance(weights: ArrayLike, noise: ArrayLike | None = None) -> Array:
    """The covariance of a linear model with independent noises.

    Args:
        weights: (n, n) acyclic, [i, j] the effect of i on j.
        noise: (n,) standard deviations; all 1 if None.

    Returns:
        (n, n).

    Raises:
        TypeError: not numbers.
        ValueError: not square, cyclic, or noises that are not n positive numbers.
    """
    matrix = read_matrix(weights, "weights")
    CausalGraph(matrix != 0)
    scales = np.ones(len(matrix)) if noise is None else np.asarray(noise, dtype=np.float64)
    if scales.shape != (len(matrix),) or not (scales > 0).all():
        raise ValueError(f"noise must be {len(matrix)} positive numbers, got {noise!r}")
    effects = np.linalg.inv(np.eye(len(matrix)) - matrix)
    covariance: Array = (effects.T * scales**2) @ effects
    return covariance


def sample_covariance(covariance: Array, rows: int, rng: np.random.Generator) -> Array:
    """Draw the sample covariance of Gaussian rows, by Bartlett's decomposition.

    Args:
        covariance: (n, n) positive definite.
        rows: how many; more than n.
        rng: generator.

    Returns:
        (n, n).

    Raises:
        ValueError: too few rows.
    """
    n = len(covariance)
    if rows <= n:
        raise ValueError(f"rows is {rows}; it must be more than the {n} variables")
    lower = np.tril(rng.standard_normal((n, n)), -1)
    np.fill_diagonal(lower, np.sqrt(rng.chisquare(rows - 1 - np.arange(n))))
    root = np.linalg.cholesky(covariance) @ lower
    result: Array = root @ root.T / (rows - 1)
    return result


def recovery_curve(
    weights: ArrayLike,
    rows: Sequence[int],
    rng: np.random.Generator | int,
    *,
    noise: ArrayLike | None = None,
    repeats: int = 20,
    alpha: float | str = VANISHING,
    **options: Any,
) -> list[Recovery]:
    """Run PC on draws of a linear Gaussian model at several numbers of rows.

    Args:
        weights: (n, n) acyclic, [i, j] the effect of i on j; faithful unless effects cancel.
        rows: numbers of rows, each more than n.
        rng: generator, or a seed for one.
        noise: (n,) standard deviations; all 1 if None.
        repeats: draws at each number of rows.
        alpha: of `PCLearner`; a fixed level keeps a share of errors at any number of rows.
        **options: more options of `PCLearner`.

    Returns:
        One entry for each number of rows.

    Raises:
        TypeError: not numbers, or an unknown option.
        ValueError: see `linear_covariance`, `sample_covariance`, and `PCLearner`.
    """
    check_integer("repeats", repeats, least=1)
    generator = np.random.default_rng(rng)
    covariance = linear_covariance(weights, noise)
    truth = PartialGraph.cpdag(np.asarray(weights) != 0)
    learner = PCLearner(alpha=alpha, **options)
    curve = []
    for count in rows:
        scores = []
        for _ in range(repeats):
            learner.fit_covariance(sample_covariance(covariance, count, generator), float(count))
            found = learner.equivalence_class_
            if found is not None:
                scores.append(found.compare(truth))
        curve.append(
            Recovery(
                rows=int(count),
                exact=float(np.mean([score.shd == 0 for score in scores])),
                shd=float(np.mean([score.shd for score in scores])),
                skeleton_f1=float(np.mean([score.skeleton_f1 for score in scores])),
            )
        )
    return curve
