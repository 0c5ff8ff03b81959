"""How much more likely some parents make a column than none: evidences in closed form.

Two mechanisms, and their even mixture:

* ``linear``: the BGe score of Geiger and Heckerman (2002) in the form of Kuipers, Moffa and
  Heckerman (2014): linear effects, Gaussian noise, a Wishart prior. Markov equivalent graphs get
  the same evidence exactly.
* ``smooth``: a Bayesian regression on eight functions of every parent and three products of every
  pair of them (`SmoothBasis`), Gaussian coefficients, their size in a grid that is averaged over.
* ``mixed``: each mechanism is one or the other with probability one half. Where effects are
  straight lines the smooth one pays for its coefficients and the mixture is BGe; where they bend
  it is not, and the bend orients.

Rows in which a column was set say nothing of its mechanism and are left out of its own evidence.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln, logsumexp

from causal_rl.discovery.basis import WIDE_SIZE, wide_basis_functions

Array = NDArray[np.float64]
BoolMatrix = NDArray[np.bool_]

MECHANISMS = ("linear", "smooth", "mixed")
PAIR_SIZE = 3
# Prior of the linear mechanism: as if one row of half the unit variance had been seen.
_PRIOR_SCATTER = 0.5
# Inverse gamma prior of the noise variance in the smooth one, in units of the column's variance.
_NOISE_SHAPE, _NOISE_RATE = 0.5, 0.05
# Prior variances of a coefficient in units of the noise variance, and how many sets at a time.
COEFFICIENT_GRID = (0.01, 0.1, 1.0, 10.0)
_BATCH = 1024


class SmoothBasis:
    """Functions of single columns and of pairs, each of unit variance over the rows it is made of.

    Args:
        values: ``(N, m)`` standardised columns.
        products: whether there are functions of pairs.
    """

    def __init__(self, values: Array, *, products: bool = True) -> None:
        self.m = values.shape[1]
        self.pairs = list(combinations(range(self.m), 2)) if products else []
        self._place = {pair: place for place, pair in enumerate(self.pairs)}
        raw = self._raw(values)
        self.center: Array = raw.mean(axis=0)
        spread = raw.std(axis=0)
        self.scale: Array = np.where(spread > 1e-9, spread, 1.0)

    def __call__(self, values: Array) -> Array:
        """``(N, m)`` columns to ``(N, F)`` functions of them."""
        result: Array = (self._raw(values) - self.center) / self.scale
        return result

    def _raw(self, values: Array) -> Array:
        single = wide_basis_functions(values)
        odd = np.tanh(single[..., 0])
        even = single[..., 1] / (1.0 + single[..., 1])
        blocks = [single.reshape(len(values), -1)]
        if self.pairs:
            first, second = (np.array(side) for side in zip(*self.pairs, strict=True))
            products = (
                odd[:, first] * odd[:, second],
                odd[:, first] * even[:, second],
                even[:, first] * odd[:, second],
            )
            blocks.append(np.stack(products, axis=-1).reshape(len(values), -1))
        return np.concatenate(blocks, axis=1)

    def columns(self, parents: tuple[int, ...]) -> NDArray[np.intp]:
        """Which functions a regression on these columns has, in a fixed order."""
        own = np.asarray(parents, dtype=np.intp)
        single = (own[:, None] * WIDE_SIZE + np.arange(WIDE_SIZE)).ravel()
        pairs = [self._place[pair] for pair in combinations(sorted(parents), 2) if self.pairs]
        start = self.m * WIDE_SIZE
        joint = start + (np.array(pairs, dtype=np.intp)[:, None] * PAIR_SIZE + np.arange(PAIR_SIZE))
        return np.concatenate([single, joint.ravel()]).astype(np.intp)


class LocalEvidence:
    """Evidence of sets of parents for one column after another.

    Args:
        values: ``(N, m)`` columns of about unit variance.
        do_target: ``(N, m)`` true where the column was set.
        mechanism: one of ``MECHANISMS``.
        products: whether the smooth mechanism has functions of pairs; there are m^2 of them.
    """

    def __init__(
        self,
        values: Array,
        do_target: BoolMatrix,
        *,
        mechanism: str = "mixed",
        products: bool = True,
    ) -> None:
        self.values, self.do_target, self.mechanism = values, do_target, mechanism
        self.basis = None if mechanism == "linear" else SmoothBasis(values, products=products)
        columns = values if self.basis is None else np.hstack([values, self.basis(values)])
        self._columns: Array = columns
        self._known: tuple[bytes, Array, float] | None = None

    def log_factors(self, target: int, sets: list[tuple[int, ...]]) -> Array:
        """Log Bayes factors against the empty set.

        Args:
            target: the column explained.
            sets: parents, each sorted and without the target; of any sizes.

        Returns:
            ``(len(sets),)``; zero for the empty set, and for all where no row is left.
        """
        scatter, freedom = self._scatter(target)
        result = np.zeros(len(sets))
        for size in sorted({len(parents) for parents in sets} - {0}):
            places = [k for k, parents in enumerate(sets) if len(parents) == size]
            for start in range(0, len(places), _BATCH):
                chunk = places[start : start + _BATCH]
                some = [sets[k] for k in chunk]
                result[chunk] = self._of_one_size(scatter, freedom, target, some)
        return result

    def slopes(self, target: int, parents: tuple[int, ...]) -> Array:
        """``(len(parents),)`` expected linear effects on the target."""
        scatter, _ = self._scatter(target)
        own = np.asarray(parents, dtype=np.intp)
        block = scatter[np.ix_(own, own)] + _PRIOR_SCATTER * np.eye(len(own))
        result: Array = np.linalg.solve(block, scatter[own, target])
        return result

    def _of_one_size(
        self, scatter: Array, freedom: float, target: int, sets: list[tuple[int, ...]]
    ) -> Array:
        linear = _linear_factors(scatter, freedom, target, np.array(sets, dtype=np.intp))
        if self.basis is None:
            return linear
        m = self.values.shape[1]
        columns = np.stack([m + self.basis.columns(parents) for parents in sets])
        smooth = _smooth_factors(scatter, freedom, target, columns)
        if self.mechanism == "smooth":
            return smooth
        mixed: Array = np.logaddexp(linear, smooth) - np.log(2.0)
        return mixed

    def _scatter(self, target: int) -> tuple[Array, float]:
        """Scatter of all columns over the target's rows, and how many differences there are."""
        used = ~self.do_target[:, target]
        key = used.tobytes()
        if self._known is None or self._known[0] != key:
            columns = self._columns[used]
            if len(columns):
                columns = columns - columns.mean(axis=0)
            freedom = float(max(len(columns) - 1, 0))
            self._known = (key, columns.T @ columns, freedom)
        return self._known[1], self._known[2]


def _linear_factors(scatter: Array, freedom: float, target: int, sets: NDArray[np.intp]) -> Array:
    """BGe of sets of one size k, ``(S, k)``, against the empty set."""
    k, nu, t = sets.shape[1], freedom, _PRIOR_SCATTER
    posterior = scatter[sets[:, :, None], sets[:, None, :]].copy()
    posterior[:, np.arange(k), np.arange(k)] += t
    whole = np.concatenate([sets, np.full((len(sets), 1), target, dtype=np.intp)], axis=1)
    joint = scatter[whole[:, :, None], whole[:, None, :]].copy()
    joint[:, np.arange(k + 1), np.arange(k + 1)] += t

    def constant(size: int) -> float:
        gammas = gammaln((nu + size + 2) / 2) - gammaln((size + 2) / 2)
        return float(gammas + ((size + 2) * size - (size + 1) * (size - 1)) / 2 * np.log(t))

    given = (nu + k + 2) / 2 * np.linalg.slogdet(posterior)[1]
    with_target = (nu + k + 3) / 2 * np.linalg.slogdet(joint)[1]
    alone = constant(1) - (nu + 3) / 2 * np.log(scatter[target, target] + t)
    result: Array = constant(k + 1) + given - with_target - alone
    return result


def _smooth_factors(
    scatter: Array, freedom: float, target: int, columns: NDArray[np.intp]
) -> Array:
    """Bayesian regressions on the columns ``(S, F)`` against none, averaged over their sizes."""
    gram = scatter[columns[:, :, None], columns[:, None, :]]
    cross = scatter[columns, target]
    total = float(scatter[target, target])
    shape = _NOISE_SHAPE + freedom / 2
    eye = np.eye(columns.shape[1])
    found = np.empty((len(COEFFICIENT_GRID), len(columns)))
    for place, size in enumerate(COEFFICIENT_GRID):
        lower = np.linalg.cholesky(gram * size + eye)
        half = np.linalg.solve(lower, cross[:, :, None])[:, :, 0] * np.sqrt(size)
        left = np.maximum(total - (half**2).sum(axis=1), 0.0)
        log_det = np.log(np.diagonal(lower, axis1=1, axis2=2)).sum(axis=1)
        fit = np.log(_NOISE_RATE + left / 2) - np.log(_NOISE_RATE + total / 2)
        found[place] = -log_det - shape * fit
    result: Array = logsumexp(found, axis=0) - np.log(len(COEFFICIENT_GRID))
    return result


@dataclass(frozen=True)
class CoefficientPosterior:
    """Of a regression with Gaussian coefficients of one prior size.

    Attributes:
        mean: ``(F,)`` of the coefficients.
        root: ``(F, F)``; given the noise they are ``mean + sigma * root @ normal``.
        shape: of the inverse gamma posterior of the noise variance.
        rate: likewise.
        log_factor: log evidence against a regression on nothing.
    """

    mean: Array
    root: Array
    shape: float
    rate: float
    log_factor: float


def coefficient_posterior(inputs: Array, target: Array, size: float) -> CoefficientPosterior:
    """The regression behind the smooth evidence, for one prior size.

    Args:
        inputs: ``(N, F)`` centred.
        target: ``(N,)`` centred.
        size: prior variance of a coefficient, in units of the noise variance.
    """
    freedom, total = max(len(target) - 1, 0), float(target @ target)
    lower = np.linalg.cholesky(inputs.T @ inputs + np.eye(inputs.shape[1]) / size)
    mean = np.linalg.solve(lower.T, np.linalg.solve(lower, inputs.T @ target))
    left = max(total - float(mean @ (inputs.T @ target)), 0.0)
    shape = _NOISE_SHAPE + freedom / 2
    rate = _NOISE_RATE + left / 2
    log_det = float(np.log(np.diagonal(lower)).sum()) + len(mean) / 2 * np.log(size)
    log_factor = -log_det - shape * (np.log(rate) - np.log(_NOISE_RATE + total / 2))
    root = np.linalg.solve(lower.T, np.eye(len(mean)))
    return CoefficientPosterior(mean, root, shape, rate, float(log_factor))
