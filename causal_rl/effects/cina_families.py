"""Families of simulated data sets on which CInA is amortised and tried, many at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from causal_rl.options import check_choice, check_integer, check_number

Structure = Literal["mixed", "er"]
FloatArray = NDArray[np.float64]

STRUCTURES: tuple[str, ...] = get_args(Structure)


@dataclass(frozen=True, eq=False)
class DataSets:
    """B data sets of N rows each.

    Attributes:
        X: (B, N, p) float64 covariates; all of them precede the treatment.
        t: (B, N) int64, 0 or 1; both arms have at least two rows.
        y: (B, N) float64 outcomes.
        ate: (B,) mean over the rows of what the treatment would change.
    """

    X: FloatArray
    t: NDArray[np.int64]
    y: FloatArray
    ate: FloatArray


@dataclass(frozen=True)
class DataFamily:
    """A distribution over data sets: each draws its own model, then its rows.

    ``mixed`` draws correlated Gaussian covariates, some of them skewed; treatment and outcome
    depend on all of them, the outcome bent. ``er`` draws a structural causal model on an
    Erdos-Renyi graph with linear and bent edges; treatment and outcome each have a few of the
    covariates as parents and share some of them. All covariates and the untreated outcome have
    variance about 1. Every covariate is one of before the treatment, so that adjusting for all of
    them is valid.

    Args:
        structure: "mixed" or "er".
        covariates: p.
        confounding: largest slope of the treatment's log odds in the standardised score; each
            data set draws its own between a third of it and all.
        noise: standard deviation of the outcome's noise.
        heterogeneity: how much of the effect varies with a covariate; 0 for the same effect in
            every row.

    Raises:
        ValueError: out of range.
        TypeError: of the wrong type.
    """

    structure: Structure = "mixed"
    covariates: int = 10
    confounding: float = 2.0
    noise: float = 0.5
    heterogeneity: float = 0.0

    def __post_init__(self) -> None:
        check_choice("structure", self.structure, STRUCTURES)
        check_integer("covariates", self.covariates, least=2)
        for name in ("confounding", "noise", "heterogeneity"):
            check_number(name, getattr(self, name), least=0.0)

    def draw(self, count: int, rows: int, rng: np.random.Generator) -> DataSets:
        """Draw data sets.

        Args:
            count: B.
            rows: N, at least 8.
            rng: of models and rows.

        Raises:
            ValueError: out of range.
            TypeError: of the wrong type.
        """
        check_integer("count", count, least=1)
        check_integer("rows", rows, least=8)
        if self.structure == "er":
            X, score, outcome = _er_rows(count, rows, self.covariates, rng)
        else:
            X, score, outcome = _mixed_rows(count, rows, self.covariates, rng)
        slope = self.confounding * rng.uniform(1 / 3, 1, (count, 1))
        shift = rng.normal(0, 0.3, (count, 1))
        t = (rng.random((count, rows)) < expit(slope * score + shift)).astype(np.int64)
        # An arm of fewer than two rows is filled at random places: rare, and no data set is lost.
        for b in np.flatnonzero((t.sum(1) < 2) | (t.sum(1) > rows - 2)):
            t[b, rng.permutation(rows)[:4]] = [0, 0, 1, 1]
        modifier = np.tanh(X[np.arange(count), :, rng.integers(self.covariates, size=count)])
        effect = rng.normal(0, 1, (count, 1)) * (1 + self.heterogeneity * modifier)
        y = outcome + effect * t + self.noise * rng.standard_normal((count, rows))
        return DataSets(X, t, y, effect.mean(1) * np.ones(count))


def _mixed_rows(
    count: int, rows: int, p: int, rng: np.random.Generator
) -> tuple[FloatArray, FloatArray, FloatArray]:
    loadings = rng.normal(size=(count, p, p)) / np.sqrt(p)
    mix = np.eye(p) + rng.uniform(0, 1, (count, 1, 1)) * loadings
    X = _standardise(rng.standard_normal((count, rows, p)) @ mix)
    skewed = rng.random((count, 1, p)) < 0.2
    X = _standardise(np.where(skewed, np.exp(0.7 * X), X))
    slopes = rng.normal(size=(count, p, 2))
    share = rng.uniform(0.3, 1.0, (count, 1))
    slopes[..., 1] = share * slopes[..., 0] + np.sqrt(1 - share**2) * slopes[..., 1]
    score, line = np.moveaxis(_standardise(X @ slopes), -1, 0)
    bend = _standardise(np.tanh(X) ** 2 @ rng.normal(size=(count, p, 1)))[..., 0]
    part = rng.uniform(0, 0.7, (count, 1))
    return X, score, _standardise((line + part * bend)[..., None])[..., 0]


def _er_rows(
    count: int, rows: int, p: int, rng: np.random.Generator
) -> tuple[FloatArray, FloatArray, FloatArray]:
    # Columns are built in causal order and shuffled at the end; p and p + 1: treatment, outcome.
    edges = np.triu(rng.random((count, p, p)) < min(1.0, 3.0 / (p - 1)), 1)
    weights = edges * _signed(rng, (count, p, p))
    bent = rng.random((count, p)) < 0.5
    X = np.zeros((count, rows, p))
    for j in range(p):
        cause = (X[:, :, :j] @ weights[:, :j, j, None])[..., 0]
        cause = np.where(bent[:, j, None], np.tanh(1.5 * cause), cause)
        column = cause + rng.standard_normal((count, rows))
        X[:, :, j] = _standardise(column[..., None])[..., 0]
    k = max(2, p // 2)
    shared = rng.permuted(np.tile(np.arange(p), (count, 1)), axis=1)
    parents = np.zeros((count, p, 2))
    # The first of the shuffled columns are parents of both, the following of one each.
    rank = np.argsort(shared, axis=1)
    parents[..., 0] = rank < k
    parents[..., 1] = (rank >= k // 2) & (rank < k // 2 + k)
    both = X @ (parents * _signed(rng, (count, p, 2)))
    score, line = np.moveaxis(_standardise(both), -1, 0)
    outcome = np.where(rng.random((count, 1)) < 0.5, np.tanh(1.5 * line), line)
    order = rng.permuted(np.tile(np.arange(p), (count, 1)), axis=1)
    X = np.take_along_axis(X, order[:, None, :], axis=2)
    return X, score, _standardise(outcome[..., None])[..., 0]


def _signed(rng: np.random.Generator, size: tuple[int, ...]) -> FloatArray:
    return rng.choice([-1.0, 1.0], size) * rng.uniform(0.5, 2.0, size)


def _standardise(values: FloatArray) -> FloatArray:
    """To mean 0 and variance 1 over the rows, axis 1."""
    centred = values - values.mean(1, keepdims=True)
    return np.asarray(centred / np.maximum(centred.std(1, keepdims=True), 1e-12))
