"""Overlap: whether every row could have been in every arm, and how alike the arms are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linprog

from causal_rl.effects.base import Array, Treatments
from causal_rl.effects.propensity import fit_propensity

# Rows as sure of their arm as this say next to nothing of another (Crump et al. 2009 take .1).
EXTREME = 0.05
# A larger share of such rows is worth a warning.
MOST_EXTREME = 0.05
# Standardised mean differences up to this count as balanced (Austin 2009).
BALANCED = 0.1
# Weighted rows worth less than this share of their number are worth a warning.
LEAST_EFFECTIVE = 0.3
# With fewer rows a column, arms come apart by chance.
_ROWS_PER_COLUMN = 10
# Arms that a regression tells apart less well than this are not asked whether they separate.
_NEARLY_TOLD = 0.95
_CLIP = 0.01


class NoOverlapError(ValueError):
    """The covariates determine the treatment."""


@dataclass(frozen=True, eq=False)
class Overlap:
    """Propensities, and what weighting by their inverse does to the arms.

    Attributes:
        names: of the p covariates.
        arms: of the K arms, the first is the one that others are compared with.
        t: ``(N,)`` the arm of every row.
        propensity: ``(N, K)`` the estimated probability of every arm.
        before: ``(K - 1, p)`` standardised mean difference of arm k + 1 and arm 0: that of the
            means over the root of the mean of both variances.
        after: ``(K - 1, p)`` the same (over the same root) with rows weighted by the inverse
            propensity of their arm.
        effective: ``(K,)`` effective sample size of each arm so weighted, (sum w)^2 / sum w^2.
    """

    names: tuple[str, ...]
    arms: tuple[str, ...]
    t: Treatments
    propensity: Array
    before: Array
    after: Array
    effective: Array

    @property
    def extreme(self) -> Array:
        """``(K,)`` the share of rows with a propensity of that arm below `EXTREME`."""
        share: Array = (self.propensity < EXTREME).mean(axis=0)
        return share

    def warnings(self) -> tuple[str, ...]:
        """A sentence for each thing that is poor."""
        found = []
        counts = np.bincount(self.t, minlength=len(self.arms))
        for arm, share in zip(self.arms, self.extreme, strict=True):
            if share > MOST_EXTREME:
                found.append(
                    f"Poor overlap: {share:.0%} of rows had a chance below {EXTREME:g} of arm "
                    f"{arm}; what is said of them is extrapolated."
                )
        for arm, worth, count in zip(self.arms, self.effective, counts, strict=True):
            if worth < LEAST_EFFECTIVE * count:
                found.append(
                    f"Few rows speak for arm {arm}: weighted by their propensity its {count} rows "
                    f"are worth {worth:.0f}."
                )
        for arm, row in zip(self.arms[1:], self.after, strict=True):
            off = [
                name
                for name, value in zip(self.names, row, strict=True)
                if abs(value) > 2 * BALANCED
            ]
            if off:
                found.append(
                    f"Arm {arm} and arm {self.arms[0]} differ in {', '.join(off)} even when "
                    "weighted by the propensity."
                )
        return tuple(found)


def measure_overlap(
    X: Array, t: Treatments, names: Sequence[str], arms: Sequence[str] | None = None
) -> Overlap:
    """Estimate propensities by logistic regression, and compare the arms.

    Args:
        X: ``(N, p)`` the covariates adjusted for; p may be 0.
        t: ``(N,)`` arms ``0 .. K-1``, two or more of each.
        names: one name a column.
        arms: one name an arm; default their numbers.

    Raises:
        NoOverlapError: a covariate, or all of them together, tell an arm from the others without
            a fault.
    """
    n_arms = int(t.max()) + 1
    shown = tuple(map(str, range(n_arms))) if arms is None else tuple(arms)
    for j, name in enumerate(names):
        _refuse_determined(X[:, j], t, name, shown)
    chance = fit_propensity(X, t, n_arms)(X)
    _refuse_separated(X, t, chance, names, shown)
    weights = 1.0 / chance[np.arange(len(t)), t].clip(_CLIP)
    before, after = (_differences(X, t, n_arms, w) for w in (np.ones(len(t)), weights))
    effective = [
        weights[t == arm].sum() ** 2 / (weights[t == arm] ** 2).sum() for arm in range(n_arms)
    ]
    return Overlap(
        names=tuple(names),
        arms=shown,
        t=t,
        propensity=chance,
        before=before,
        after=after,
        effective=np.array(effective),
    )


def _differences(X: Array, t: Treatments, n_arms: int, weights: Array) -> Array:
    found = np.zeros((n_arms - 1, X.shape[1]))
    means = [np.average(X[t == k], axis=0, weights=weights[t == k]) for k in range(n_arms)]
    spreads = [X[t == k].var(axis=0, ddof=1) for k in range(n_arms)]
    for k in range(1, n_arms):
        scale = np.sqrt((spreads[k] + spreads[0]) / 2.0)
        np.divide(means[k] - means[0], scale, out=found[k - 1], where=scale > 0)
    return found


def _refuse_determined(column: Array, t: Treatments, name: str, arms: Sequence[str]) -> None:
    values, place = np.unique(column, return_inverse=True)
    counts = np.zeros((len(values), len(arms)))
    np.add.at(counts, (place, t), 1)
    # Some value repeats, and none is seen in two arms.
    told = len(values) < len(column) / 2 and ((counts > 0).sum(axis=1) == 1).all()
    for arm in range(len(arms)):
        inside, outside = column[t == arm], column[t != arm]
        told |= inside.min() > outside.max() or inside.max() < outside.min()
        if told:
            raise NoOverlapError(
                f"no overlap: {name} determines the treatment (arm {arms[arm]} and the others "
                "share none of its values), so that no rows can be compared"
            )


def _refuse_separated(
    X: Array, t: Treatments, chance: Array, names: Sequence[str], arms: Sequence[str]
) -> None:
    if not X.shape[1] or len(X) < _ROWS_PER_COLUMN * X.shape[1]:
        return
    for arm, shown in enumerate(arms):
        side = np.where(t == arm, 1.0, -1.0)
        # A penalised regression all but separates the arms before it is asked whether they do.
        near = np.mean((chance[:, arm] > 0.5) == (side > 0)) > _NEARLY_TOLD
        if near and _separable(X, side):
            raise NoOverlapError(
                f"no overlap: {', '.join(names)} together tell arm {shown} from the others "
                "without a fault, so that no rows can be compared"
            )


def _separable(X: Array, side: Array) -> bool:
    """Whether a hyperplane has the rows of side 1 before it and those of side -1 behind it."""
    spread = X.std(axis=0)
    Z = np.column_stack([(X - X.mean(axis=0)) / np.where(spread > 0, spread, 1.0), np.ones(len(X))])
    found = linprog(
        np.zeros(Z.shape[1]),
        A_ub=-side[:, np.newaxis] * Z,
        b_ub=-np.ones(len(Z)),
        bounds=(None, None),
    )
    return bool(found.status == 0)
