"""Features that CInA balances: kernels of covariates, the attention's own among them."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial.distance import pdist, squareform
from scipy.special import logsumexp

from causal_rl.options import check_choice

FloatArray = NDArray[np.float64]
Kernel = Literal["attention", "rbf", "linear"]

KERNELS: tuple[str, ...] = get_args(Kernel)


def gram_matrix(X: ArrayLike, kernel: Kernel = "attention") -> FloatArray:
    """Inner products <phi(X_i), phi(X_j)> of standardised rows.

    ``attention`` is what a row softmax balances. With keys k_i = X_i / p^(1/4), of dimension
    D = p, and E_ij = exp(k_i^T k_j / sqrt(D)), attention weighs row j by E_ij / (N h_i), h_i the
    mean of E over j; that is linear in features of inner product E_ij / (h_i h_j). ``rbf`` is
    exp(-|X_i - X_j|^2 / (2 p)), ``linear`` X_i^T X_j / p.

    Args:
        X: (N, p) covariates; no columns stand for nothing to balance.
        kernel: "attention", "rbf" or "linear".

    Returns:
        (N, N) float64, symmetric, positive semi-definite.

    Raises:
        ValueError: an unknown kernel, or ``X`` is no finite matrix.
    """
    check_choice("kernel", kernel, KERNELS)
    rows = standardise(X)
    n, p = rows.shape
    if p == 0:
        return np.zeros((n, n))
    if kernel == "rbf":
        return np.asarray(np.exp(-squareform(pdist(rows, "sqeuclidean")) / (2 * p)))
    if kernel == "linear":
        return np.asarray(rows @ rows.T / p)
    scores = attention_scores(rows)
    size = log_normaliser(scores)
    return np.asarray(np.exp(scores - size[:, None] - size))


def attention_scores(rows: FloatArray) -> FloatArray:
    """(N, N) k_i^T k_j / sqrt(D) of standardised rows (N, p), k_i = X_i / p^(1/4) and D = p."""
    return np.asarray(rows @ rows.T / max(rows.shape[1], 1))


def log_normaliser(scores: FloatArray) -> FloatArray:
    """(N,) log h_i, of the mean over a row of exp(scores)."""
    return np.asarray(logsumexp(scores, axis=1) - np.log(len(scores)))


def standardise(X: ArrayLike) -> FloatArray:
    """Columns at mean 0 and variance 1; columns that do not vary are left out.

    Args:
        X: (N, p).

    Returns:
        (N, q) float64, q <= p.

    Raises:
        ValueError: no finite matrix of at least one row.
    """
    table = np.asarray(X, dtype=np.float64)
    if table.ndim != 2 or not len(table):
        raise ValueError(f"X has shape {table.shape}; allowed: (N, p) with N >= 1")
    if not np.isfinite(table).all():
        raise ValueError("X holds a value that is not finite")
    spread = table.std(axis=0)
    varies = spread > 1e-10 * (1.0 + np.abs(table).max(axis=0, initial=0.0))
    kept = table[:, varies]
    return np.asarray((kept - kept.mean(axis=0)) / spread[varies])
