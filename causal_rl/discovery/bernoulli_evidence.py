"""Evidence for the parents of a column with two values: a logistic model's marginal likelihood.

``P(x_j = 1 | parents) = sigmoid(a + f(parents))`` with a Gaussian-process prior on f; the integral
over f is Laplace's approximation (Rasmussen and Williams 2006, section 3.4), f being represented on
few inducing rows. The unit and the rival (no parents) are those of `KernelEvidence`, so that
columns with two values and others stand in one score.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve, eigh
from scipy.special import expit, logsumexp

from causal_rl.discovery.kernel_evidence import squared_distances

Array = NDArray[np.float64]

# Prior variances of f, in squared log-odds, over which the evidence is averaged.
_VARIANCES = (0.25, 1.0, 4.0, 16.0, 64.0)
_LENGTHS = (1.0, 3.0)
_INDUCING = 32
_INTERCEPT_VARIANCE = 100.0
_LEAST_SHARE = 1e-6
_STEPS = 30
_STOP = 1e-6


class BernoulliEvidence:
    """Log marginal likelihoods of one column of zeros and ones, remembered once computed.

    Args:
        inputs: ``(N, c)`` finite columns of about unit variance, from which parents are taken.
        target: ``(N,)`` bool.
        counted: ``(N,)`` true where a row counts: false where the column was set.
        seed: chooses the inducing rows.
    """

    def __init__(
        self, inputs: Array, target: NDArray[np.bool_], counted: NDArray[np.bool_], *, seed: int = 0
    ) -> None:
        self._inputs = inputs[counted]
        self._signs = np.where(target[counted], 1.0, -1.0)
        rows = np.random.default_rng(seed).permutation(len(self._inputs))[:_INDUCING]
        self._inducing = np.sort(rows)
        self._known: dict[tuple[int, ...], float] = {}
        self._nothing = self._laplace(np.zeros((len(self._inputs), 0)), 1.0)[0]

    def __call__(self, parents: Sequence[int]) -> float:
        """Log evidence of the parents against none, in nats.

        Args:
            parents: columns of the inputs.

        Returns:
            Zero for no parents, and where the column has one value alone in the rows that count.
        """
        if not len(parents) or len(set(self._signs.tolist())) < 2:
            return 0.0
        key = tuple(sorted(parents))
        if key not in self._known:
            self._known[key] = self._evidence(list(key)) - self._nothing
        return self._known[key]

    def _evidence(self, parents: list[int]) -> float:
        x = self._inputs[:, parents]
        straight = (x - x.mean(axis=0)) / np.sqrt(len(parents))
        forms = [straight]
        points = x[self._inducing]
        for length in _LENGTHS:
            width = 2.0 * length**2 * len(parents)
            features = 1.0 / (1.0 + squared_distances(x, points) / width)
            among = 1.0 / (1.0 + squared_distances(points, points) / width)
            values, vectors = eigh(among, check_finite=False)
            kept = values > _LEAST_SHARE * values[-1]
            features = features @ (vectors[:, kept] / np.sqrt(values[kept]))
            forms.append(np.hstack([straight, features - features.mean(axis=0)]))
        found = []
        for form in forms:
            start: Array | None = None
            for variance in _VARIANCES:
                log_evidence, start = self._laplace(form, variance, start)
                found.append(log_evidence)
        return float(logsumexp(found) - np.log(len(found)))

    def _laplace(
        self, features: Array, variance: float, start: Array | None = None
    ) -> tuple[float, Array]:
        """Log evidence and mode of the logistic regression on the features, and an intercept."""
        design = np.column_stack([np.ones(len(features)), features])
        precision = np.full(design.shape[1], 1.0 / variance)
        precision[0] = 1.0 / _INTERCEPT_VARIANCE
        mode = np.zeros(design.shape[1]) if start is None else start
        objective = self._objective(design, precision, mode)
        for _ in range(_STEPS):
            hessian, step = self._newton(design, precision, mode)
            moved = mode + step
            after = self._objective(design, precision, moved)
            # The log posterior is concave: a step that lowers it went too far.
            while after < objective and np.abs(step).max() > _STOP:
                step *= 0.5
                moved = mode + step
                after = self._objective(design, precision, moved)
            gain, mode, objective = after - objective, moved, after
            if gain < _STOP:
                break
        _, log_det = np.linalg.slogdet(hessian)
        log_evidence = objective + 0.5 * np.log(precision).sum() - 0.5 * float(log_det)
        return float(log_evidence), mode

    def _objective(self, design: Array, precision: Array, mode: Array) -> float:
        """Log posterior of the coefficients, up to a constant."""
        likelihood = -np.logaddexp(0.0, -self._signs * (design @ mode)).sum()
        return float(likelihood - 0.5 * precision @ mode**2)

    def _newton(self, design: Array, precision: Array, mode: Array) -> tuple[Array, Array]:
        """Negative Hessian of the log posterior, and Newton's step."""
        share = expit(design @ mode)
        gradient = design.T @ ((self._signs > 0) - share) - precision * mode
        hessian: Array = (design.T * (share * (1.0 - share))) @ design + np.diag(precision)
        root = cho_factor(hessian, check_finite=False)
        return hessian, cho_solve(root, gradient, check_finite=False)
