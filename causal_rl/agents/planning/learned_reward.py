"""The reward as a function of its parents: straight lines, and folds and bends along directions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

Floats = NDArray[np.float64]

_ANGLES, _FEW_ANGLES = 15, 7
_PARENTS_WITH_ALL_ANGLES = 4
_KNOTS = 13
# Rows that candidates are screened on; the chosen one is refined on all.
_SCREENED_ROWS = 1_000
_PARAMETERS_PER_TERM = 3.0
# A term must lower the generalised cross-validation by this factor.
_MARGIN = 0.98
_EXACT = 1e-12


@dataclass(frozen=True)
class Term:
    """One nonlinear piece of the reward, of ``u = direction . z`` with z standardised parents.

    Attributes:
        shape: "fold" is ``|u - knot|``, "square" is ``u^2``.
        direction: (k,) of unit length, with one or two entries that are not zero.
        knot: where a fold lies.
    """

    shape: Literal["fold", "square"]
    direction: tuple[float, ...]
    knot: float = 0.0

    def __call__(self, z: Floats) -> Floats:
        """Evaluate: (rows, k) -> (rows,)."""
        u = np.zeros(len(z))
        for c, weight in enumerate(self.direction):
            if weight:
                u += weight * z[:, c]
        u = u**2 if self.shape == "square" else np.abs(u - self.knot)
        return u


class FoldRegression:
    """``reward = line + terms + a number for each covariate``, found greedily.

    Terms are folds ``|u - t|`` and squares ``u^2`` of single parents and of combinations of two:
    a distance between two variables is a single fold, whose direction and place are refined by
    direct search, and so is exact after a few rows. Terms are added while the generalised
    cross-validation falls, each at the price of three parameters.

    Beyond the rewards seen, predictions are held at the range of what the fit gave on its rows,
    widened by a quarter on both sides.

    Args:
        most_terms: most terms.

    Attributes:
        terms: those found.
        covariate_weights: (q,) what each covariate adds.
        noise_variance: variance of the residuals, degrees of freedom accounted for.
        rows: rows of the last fit.
    """

    def __init__(self, most_terms: int = 12) -> None:
        self.most_terms = most_terms
        self.terms: tuple[Term, ...] = ()
        self.covariate_weights: Floats = np.zeros(0)
        self.noise_variance = 0.0
        self.rows = 0
        self._intercept = 0.0
        self._center = self._scale = self._line = self._weights = np.zeros(0)
        self._range = (-np.inf, np.inf)

    def fit(self, parents: Floats, covariates: Floats, target: Floats) -> None:
        """Fit anew.

        Args:
            parents: (rows, k), at least one row.
            covariates: (rows, q) that enter as they are: which variable was set.
            target: (rows,).
        """
        n, k = parents.shape
        q = covariates.shape[1]
        self.rows = n
        self._center = parents.mean(axis=0)
        spread = parents.std(axis=0)
        self._scale = np.where(spread > 1e-9, spread, 1.0)
        z = (parents - self._center) / self._scale
        design = np.hstack([np.ones((n, 1)), covariates, z])
        y = target - target.mean()
        power = max(float(y @ y), 1e-300)
        directions = _directions(np.flatnonzero(spread > 1e-9), k)
        terms: list[Term] = []
        best: tuple[float, int, Floats, float] | None = None
        # Never more parameters than a third of the rows.
        most = min(self.most_terms, int((n / 3 - design.shape[1]) // _PARAMETERS_PER_TERM))
        while True:
            weights = _solve(design, y)
            residual = y - design @ weights
            left = float(residual @ residual)
            degrees = 1 + q + k + _PARAMETERS_PER_TERM * len(terms)
            score = left / n / max(1 - degrees / n, 1e-2) ** 2
            if best is not None and score >= best[0] * _MARGIN:
                break
            best = (score, len(terms), weights, left / max(n - degrees, 1.0))
            if left <= _EXACT * power or len(terms) >= most or not len(directions):
                break
            term = _refine(_screen(z, residual, design, directions), z, residual, design)
            terms.append(term)
            design = np.column_stack([design, term(z)])
        _, count, weights, self.noise_variance = best
        self.terms = tuple(terms[:count])
        self._intercept = float(weights[0] + target.mean())
        self.covariate_weights = weights[1 : 1 + q]
        self._line, self._weights = weights[1 + q : 1 + q + k], weights[1 + q + k :]
        self._range = (-np.inf, np.inf)
        fitted = self(parents)
        margin = 0.25 * float(np.ptp(fitted))
        self._range = (float(fitted.min()) - margin, float(fitted.max()) + margin)

    def __call__(self, parents: Floats) -> Floats:
        """Predict without covariates: (batch, k) -> (batch,)."""
        z = (parents - self._center) / self._scale
        value = self._intercept + z @ self._line
        for weight, term in zip(self._weights, self.terms, strict=True):
            value += weight * term(z)
        return np.asarray(np.clip(value, *self._range))

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "terms": [[t.shape, list(t.direction), t.knot] for t in self.terms],
            "weights": self._weights.tolist(),
            "intercept": self._intercept,
            "line": self._line.tolist(),
            "center": self._center.tolist(),
            "scale": self._scale.tolist(),
            "covariate_weights": self.covariate_weights.tolist(),
            "noise_variance": self.noise_variance,
            "rows": self.rows,
            "range": list(self._range),
            "most_terms": self.most_terms,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> FoldRegression:
        """Restore what `to_dict` gave."""
        made = cls(int(values["most_terms"]))
        made.terms = tuple(Term(s, tuple(d), float(t)) for s, d, t in values["terms"])
        made._weights = np.array(values["weights"], dtype=np.float64)
        made._intercept = float(values["intercept"])
        made._line = np.array(values["line"], dtype=np.float64)
        made._center = np.array(values["center"], dtype=np.float64)
        made._scale = np.array(values["scale"], dtype=np.float64)
        made.covariate_weights = np.array(values["covariate_weights"], dtype=np.float64)
        made.noise_variance, made.rows = float(values["noise_variance"]), int(values["rows"])
        low, high = values["range"]
        made._range = (float(low), float(high))
        return made


def _directions(moving: Sequence[int] | NDArray[np.int64], k: int) -> Floats:
    """(m, k) unit vectors: each parent that moves, and each pair of such on a grid of angles."""
    found = [np.eye(k)[i] for i in moving]
    count = _ANGLES if len(found) <= _PARENTS_WITH_ALL_ANGLES else _FEW_ANGLES
    for i, j in combinations(moving, 2):
        for angle in np.arange(1, count + 1) * np.pi / (count + 1):
            if abs(np.cos(angle)) > 1e-9:
                direction = np.zeros(k)
                direction[i], direction[j] = np.cos(angle), np.sin(angle)
                found.append(direction)
    return np.array(found) if found else np.zeros((0, k))


def _solve(design: Floats, y: Floats) -> Floats:
    return np.asarray(np.linalg.lstsq(design, y, rcond=1e-9)[0], dtype=np.float64)


def _basis_of(design: Floats) -> Floats:
    """Orthonormal columns that span the design, columns without anything new left out."""
    q, r = np.linalg.qr(design)
    size = np.abs(np.diag(r))
    return np.asarray(q[:, size > 1e-9 * max(size.max(), 1e-300)])


def _screen(z: Floats, residual: Floats, design: Floats, directions: Floats) -> Term:
    """The candidate that would take most off the residual."""
    if len(z) > _SCREENED_ROWS:
        rows = np.linspace(0, len(z) - 1, _SCREENED_ROWS).astype(np.int64)
        z, residual, design = z[rows], residual[rows], design[rows]
    basis = _basis_of(design)
    residual = residual - basis @ (basis.T @ residual)
    best, term = -1.0, Term("square", tuple(directions[0].tolist()))
    shares = np.linspace(0.05, 0.95, _KNOTS)
    for direction in directions:
        u = z @ direction
        knots = np.quantile(u, shares)
        pieces = np.column_stack([np.abs(u[:, None] - knots), u**2])
        pieces -= basis @ (basis.T @ pieces)
        size = (pieces**2).sum(axis=0)
        gain = np.where(size > 1e-9, (residual @ pieces) ** 2 / np.maximum(size, 1e-9), 0.0)
        place = int(gain.argmax())
        if gain[place] > best:
            best, d = float(gain[place]), tuple(direction.tolist())
            term = Term("square", d) if place == _KNOTS else Term("fold", d, float(knots[place]))
    return term


def _refine(term: Term, z: Floats, residual: Floats, design: Floats) -> Term:
    """Turn the direction and move the knot to where the term takes most off the residual."""
    basis = _basis_of(design)
    among = np.flatnonzero(term.direction)

    def build(values: Floats) -> Term:
        direction = np.array(term.direction)
        if len(among) == 2:
            direction[among] = np.cos(values[0]), np.sin(values[0])
        knot = float(values[-1]) if term.shape == "fold" else 0.0
        return Term(term.shape, tuple(direction.tolist()), knot)

    def loss(values: Floats) -> float:
        piece = build(values)(z)
        piece -= basis @ (basis.T @ piece)
        size = float(piece @ piece)
        return -(float(piece @ residual) ** 2) / size if size > 1e-9 else 0.0

    start = []
    if len(among) == 2:
        start.append(np.arctan2(term.direction[among[1]], term.direction[among[0]]))
    if term.shape == "fold":
        start.append(term.knot)
    if not start:
        return term
    simplex = np.array([start, *(np.array(start) + 0.1 * row for row in np.eye(len(start)))])
    options = {"initial_simplex": simplex, "xatol": 1e-8, "fatol": 1e-14, "maxfev": 200}
    found = minimize(loss, start, method="Nelder-Mead", options=options)
    return build(found.x) if found.fun <= loss(np.array(start)) else term
