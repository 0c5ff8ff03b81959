"""A Gaussian process over all arms at once, in a subspace that the evidence finds."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from causal_rl.effects.base import Array, EffectEstimator, Treatments
from causal_rl.options import check_integer

_JITTER = 1e-6
# Of the evidence, whose cost is the cube of the rows; and of the rows that predictions rest on.
_EVIDENCE_ROWS, _KEPT_ROWS = 700, 3000
# Kernels: constant, linear and smooth in the subspace, linear and smooth in the columns.
_CONSTANT, _INDEX, _SMOOTH, _COLUMNS, _ARD = range(5)
_START = (1.0, 0.5, 0.5, 0.3, 0.3)


class GaussianProcessEstimator(EffectEstimator):
    """y = f_t(x) + noise, the f_t jointly Gaussian (after Alaa and van der Schaar 2017).

    ``cov(f_s(x), f_t(x')) = sum_k B_k[s, t] kappa_k(x, x')``: arms share what their
    coregionalisation ``B_k`` says they do, so that an arm of few rows borrows from one of many.
    The kappas are a constant, a linear and an RBF kernel in a linear subspace ``x L`` of few
    directions that all arms share, and a linear and an RBF kernel with a scale for every column.
    All of it, L too, maximises the log marginal likelihood under weak priors: no rows are held
    out, no truth is read.

    `ate_interval` is the posterior's. Time grows with the cube of the rows: hyperparameters are
    taken from 700 rows, predictions rest on 3,000 at most; a small arm keeps its rows.

    Args:
        directions: of the subspace. Every one more has a parameter a column, which the evidence
            overfits: held-out factual errors grew where one direction was enough.
        steps: iterations of L-BFGS.
        **options: as in `EffectEstimator`.

    Attributes:
        log_evidence_: of the rows that hyperparameters were taken from, after `fit`.
    """

    def __init__(
        self,
        *,
        directions: int = 1,
        steps: int = 80,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.directions = directions
        self.steps = steps

    def check_options(self) -> None:
        """Check the options; see `EffectEstimator.check_options`."""
        super().check_options()
        for name in ("directions", "steps"):
            check_integer(name, getattr(self, name), least=1)

    def _fit(self, X: Array, t: Treatments, y: Array) -> None:
        self._varying = np.flatnonzero(np.ptp(X, axis=0) > 0)
        Z = X[:, self._varying]
        self._centre, self._spread = Z.mean(axis=0), Z.std(axis=0)
        self._level, self._scale = float(y.mean()), float(y.std()) or 1.0
        rng = np.random.default_rng([self.seed, 3])
        Z = (Z - self._centre) / self._spread
        rows, arms = torch.from_numpy(Z), torch.from_numpy(t)
        target = torch.from_numpy((y - self._level) / self._scale)
        order = torch.from_numpy(_evenly(t, rng))
        few, kept = order[:_EVIDENCE_ROWS], order[:_KEPT_ROWS]
        self._parameters = self._start(Z, t, target.numpy(), rng)
        self._maximise(rows[few], arms[few], target[few])
        self._seen = rows[kept], arms[kept]
        with torch.no_grad():
            self._factor = torch.linalg.cholesky(self._covariance(*self._seen))
            self._weights = torch.cholesky_solve(target[kept, None], self._factor)

    def _start(self, Z: Array, t: Treatments, y: Array, rng: np.random.Generator) -> list[Tensor]:
        p, arms = Z.shape[1], self.n_arms_
        subspace = 0.1 * rng.standard_normal((p, self.directions))
        within = np.column_stack([Z, np.eye(arms)[t]])
        penalty = 0.01 * len(Z) * np.eye(p + arms)
        slopes = np.linalg.solve(within.T @ within + penalty, within.T @ y)[:p]
        if p:
            subspace[:, 0] += slopes / max(float(np.linalg.norm(slopes)), 1e-9)
        mixing = np.stack([level * (0.5 * np.eye(arms) + 0.5) for level in _START])
        parts = (subspace, mixing, np.full(p, -0.5), np.full(p, -1.5), np.full(arms, -0.7))
        return [torch.from_numpy(part).requires_grad_(True) for part in parts]

    def _maximise(self, X: Tensor, t: Tensor, y: Tensor) -> None:
        descent = torch.optim.LBFGS(
            self._parameters, max_iter=self.steps, history_size=20, line_search_fn="strong_wolfe"
        )

        def closure() -> Tensor:
            descent.zero_grad()
            loss = self._prior() - self._evidence(X, t, y)
            torch.autograd.backward(loss)
            return loss

        descent.step(closure)  # type: ignore[no-untyped-call]
        for parameter in self._parameters:
            parameter.requires_grad_(False)
        self.log_evidence_ = float(self._evidence(X, t, y))

    def _evidence(self, X: Tensor, t: Tensor, y: Tensor) -> Tensor:
        factor = torch.linalg.cholesky(self._covariance(X, t))
        half = torch.linalg.solve_triangular(factor, y[:, None], upper=False)
        constant = 0.5 * len(y) * float(np.log(2.0 * np.pi))
        found: Tensor = -0.5 * (half**2).sum() - factor.diagonal().log().sum() - constant
        return found

    def _prior(self) -> Tensor:
        """Minus its logarithm: weak, so that what the data say nothing of stays small."""
        subspace, mixing, slopes, scales, noises = self._parameters
        spread = 0.5 * ((slopes + 0.5) ** 2).sum() + 0.5 * ((scales + 1.5) ** 2).sum()
        return (
            0.5 * (subspace**2).sum()
            + 0.5 * (mixing**2).sum()
            + spread
            + 0.1 * ((noises + 0.7) ** 2).sum()
        )

    def _kernel(self, A: Tensor, s: Tensor, B: Tensor, t: Tensor) -> Tensor:
        """``(len(A), len(B))``, of rows A under arms s and rows B under arms t."""
        subspace, mixing, slopes, scales, _ = self._parameters
        shared = mixing @ mixing.transpose(1, 2)

        def between(kind: int) -> Tensor:
            return shared[kind][s][:, t]

        C, D = A @ subspace, B @ subspace
        found = between(_CONSTANT) + between(_INDEX) * (C @ D.T)
        found = found + between(_SMOOTH) * torch.exp(-0.5 * _squares(C, D))
        weight = (2.0 * slopes).exp() / max(A.shape[1], 1)
        found = found + between(_COLUMNS) * ((A * weight) @ B.T)
        width = scales.exp()
        return found + between(_ARD) * torch.exp(-0.5 * _squares(A * width, B * width))

    def _covariance(self, X: Tensor, t: Tensor) -> Tensor:
        noise = (2.0 * self._parameters[-1]).exp()[t] + _JITTER
        return self._kernel(X, t, X, t) + torch.diag(noise)

    def _standardised(self, X: Array) -> Tensor:
        return torch.from_numpy((X[:, self._varying] - self._centre) / self._spread)

    @torch.no_grad()
    def _outcomes(self, X: Array) -> Array:
        rows, found = self._standardised(X), []
        for arm in range(self.n_arms_):
            arms = torch.full((len(rows),), arm)
            parts = zip(torch.split(rows, 2048), torch.split(arms, 2048), strict=True)
            found.append(
                torch.cat([self._kernel(*part, *self._seen) @ self._weights for part in parts])
            )
        return torch.cat(found, dim=1).numpy() * self._scale + self._level

    @torch.no_grad()
    def _standard_error(self, X: Array | None, t0: int, t1: int, draws: int) -> float:
        rows = self._standardised(self._rows()[0] if X is None else X)
        rows = rows[:: 1 + len(rows) // _KEPT_ROWS]
        arms = [torch.full((len(rows),), arm) for arm in (t1, t0)]

        def mean(B: Tensor, t: Tensor) -> Tensor:
            difference = self._kernel(rows, arms[0], B, t) - self._kernel(rows, arms[1], B, t)
            return difference.mean(dim=0)

        before = mean(rows, arms[0]).mean() - mean(rows, arms[1]).mean()
        half = torch.linalg.solve_triangular(self._factor, mean(*self._seen)[:, None], upper=False)
        variance = float(before - (half**2).sum())
        return float(np.sqrt(max(variance, 0.0))) * self._scale


def _evenly(t: Treatments, rng: np.random.Generator) -> Treatments:
    """All rows, arms taking turns as long as they last, so that the first ones do not lack any."""
    turn, ties = np.empty(len(t)), rng.permutation(len(t))
    for arm in np.unique(t):
        members = ties[t[ties] == arm]
        turn[members] = np.arange(members.size)
    return np.lexsort((ties, turn)).astype(np.int64)


def _squares(A: Tensor, B: Tensor) -> Tensor:
    """Squared distances; not `cdist`, whose gradient is not a number at distance zero."""
    found = (A**2).sum(1)[:, None] + (B**2).sum(1)[None] - 2.0 * A @ B.T
    return found.clamp_min(0.0)
