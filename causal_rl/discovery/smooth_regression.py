"""One mechanism fitted from rows: ridge on nested families of functions, kept as sums."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from causal_rl.discovery.basis import wide_basis_functions

Floats = NDArray[np.float64]

#: Families of functions from stiff to supple, as "how each parent enters[, with products]".
FAMILIES = ("line", "smooth", "wide", "smooth products", "wide products")
# Products of each pair of parents' line and bend; with more parents than this there are none.
MOST_PARENTS_WITH_PRODUCTS = 8
_PRODUCT_SIZE = 2
_PENALTIES = 10.0 ** np.arange(-6.0, 2.0, 0.5)
# A more supple family must beat a stiffer one by this much of the generalised cross-validation.
_MARGIN = 0.98
_KNOTS = 256


class SmoothRegression:
    """``E[target | parents]`` by ridge regression on functions of the parents.

    Rows are kept as sums alone, so that adding and solving cost the same however many came
    before. The family of functions and the penalty are those of the least generalised
    cross-validation. Beyond the values seen, all but straight lines are held constant.

    Args:
        center: (k,) subtracted from the parents.
        scale: (k,) positive divisors of the parents.
        origin: subtracted from the target.

    Attributes:
        rows: rows added.
        family: the chosen one of `FAMILIES`, or "constant" where there is nothing to fit.
        degrees: effective number of parameters, the intercept included.
        noise_variance: variance of the residuals, degrees of freedom accounted for.
    """

    family: str
    noise_variance: float

    def __init__(self, center: Floats, scale: Floats, origin: float = 0.0) -> None:
        self.center = np.array(center, dtype=np.float64)
        self.scale = np.array(scale, dtype=np.float64)
        self.origin = float(origin)
        self.k = len(self.center)
        products = 2 <= self.k <= MOST_PARENTS_WITH_PRODUCTS
        first, second = np.triu_indices(self.k, 1) if products else (np.zeros(0, int),) * 2
        self._pairs = np.stack([first, second])
        self.size = 1 + 8 * self.k + _PRODUCT_SIZE**2 * len(first)
        self._gram = np.zeros((self.size, self.size))
        self._cross = np.zeros(self.size)
        self._square = 0.0
        self.rows = 0
        self.low = np.full(self.k, np.inf)
        self.high = np.full(self.k, -np.inf)
        self._set_constant(0.0, 0.0)

    def add(self, parents: Floats, target: Floats) -> None:
        """Count rows; `solve` must be called before the next prediction.

        Args:
            parents: (rows, k).
            target: (rows,).
        """
        if not len(target):
            return
        z = self._standardise(parents)
        self.low = np.minimum(self.low, z.min(axis=0, initial=np.inf))
        self.high = np.maximum(self.high, z.max(axis=0, initial=-np.inf))
        features, y = self._features(z), target - self.origin
        self._gram += features.T @ features
        self._cross += features.T @ y
        self._square += float(y @ y)
        self.rows += len(y)

    def solve(self) -> None:
        """Choose family and penalty, and fit."""
        n = self.rows
        mean_y = float(self._cross[0] / n) if n else 0.0
        total = max(self._square - n * mean_y**2, 0.0)
        self._set_constant(mean_y, total / (n - 1) if n > 1 else 0.0)
        if self.k == 0 or n < 4 or total <= 1e-14 * max(self._square, 1e-300):
            return
        mean = self._gram[0] / n
        gram = self._gram - n * np.outer(mean, mean)
        cross = self._cross - n * mean * mean_y
        spread = np.sqrt(np.maximum(np.diag(gram) / n, 0.0))
        alive = spread > 1e-9
        spread = np.where(alive, spread, 1.0)
        gram, cross = gram / np.outer(spread, spread), cross / spread
        best = total / n / (1 - 1 / n) ** 2
        for family, members in self._families().items():
            use = members[alive[members]]
            if not len(use):
                continue
            values, vectors = np.linalg.eigh(gram[np.ix_(use, use)])
            values = np.maximum(values, 0.0)
            along = vectors.T @ cross[use]
            for penalty in _PENALTIES * n:
                shrunk = along / (values + penalty)
                left = total - 2 * float(shrunk @ along) + float(shrunk**2 @ values)
                degrees = 1.0 + float((values / (values + penalty)).sum())
                if degrees >= 0.8 * n:
                    continue
                score = max(left, 1e-14 * total) / n / (1 - degrees / n) ** 2
                if score < best * (1.0 if family == self.family else _MARGIN):
                    best, self.family, self.degrees = score, family, degrees
                    self.noise_variance = max(left, 0.0) / (n - degrees)
                    weights = (vectors @ shrunk) / spread[use]
                    self._weights = np.zeros(self.size)
                    self._weights[use] = weights
                    self._weights[0] = mean_y - float(weights @ mean[use])
                    whitened = vectors / spread[use][:, None] / np.sqrt(values + penalty)
                    self._use, self._root, self._mean = use, whitened, mean[use]
        self._tabulate()

    def __call__(self, parents: Floats) -> Floats:
        """Predict: (batch, k) -> (batch,)."""
        return self.evaluate(list(parents.T), len(parents))

    def evaluate(self, columns: list[Floats], batch: int) -> Floats:
        """As calling, from columns of shape (batch,), one a parent."""
        total = np.full(batch, self.origin + self._weights[0])
        if self.family == "constant":
            return total
        if self.family == "line":
            for c, column in enumerate(columns):
                total += self._slope[c] * (column - self.center[c])
            return total
        inside = []
        for c, column in enumerate(columns):
            z = (column - self.center[c]) / self.scale[c]
            np.clip(z, self.low[c], self.high[c], out=z)
            place = (z - self.low[c]) * self._density[c]
            index = place.astype(np.int64)
            np.minimum(index, _KNOTS - 1, out=index)
            place -= index
            table = self._table[c]
            total += table[0].take(index) + place * table[1].take(index)
            inside.append(z)
        if self._products is not None:
            bent = [_bend(z) for z in inside]
            for a, b, weight in self._products:
                total += inside[a] * (weight[0, 0] * inside[b] + weight[0, 1] * bent[b])
                total += bent[a] * (weight[1, 0] * inside[b] + weight[1, 1] * bent[b])
        return total

    def leverage(self, parents: Floats) -> Floats:
        """Share of a row's noise that fitting it would take up, (batch, k) -> (batch,)."""
        about_mean = 1.0 / max(self.rows, 1)
        if self.family == "constant":
            return np.full(len(parents), about_mean)
        z = self._standardise(parents)
        z = z if self.family == "line" else np.clip(z, self.low, self.high)
        centred = self._features(z)[:, self._use] - self._mean
        return np.asarray(about_mean + ((centred @ self._root) ** 2).sum(axis=1))

    def uncertainty(self, parents: Floats) -> Floats:
        """Variance of the prediction that more rows would take away, (batch, k) -> (batch,).

        The posterior variance of the regression function of Bayesian ridge regression.
        """
        return np.asarray(self.noise_variance * self.leverage(parents))

    def state_dict(self) -> dict[str, Any]:
        """The sums and units, as arrays and numbers."""
        return {
            "center": self.center.copy(),
            "scale": self.scale.copy(),
            "origin": self.origin,
            "gram": self._gram.copy(),
            "cross": self._cross.copy(),
            "square": self._square,
            "rows": self.rows,
            "low": self.low.copy(),
            "high": self.high.copy(),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> SmoothRegression:
        """Restore what `state_dict` gave, solved."""
        made = cls(state["center"], state["scale"], float(state["origin"]))
        made._gram = np.array(state["gram"], dtype=np.float64)
        made._cross = np.array(state["cross"], dtype=np.float64)
        made._square, made.rows = float(state["square"]), int(state["rows"])
        made.low = np.array(state["low"], dtype=np.float64)
        made.high = np.array(state["high"], dtype=np.float64)
        made.solve()
        return made

    def _standardise(self, parents: Floats) -> Floats:
        return (parents - self.center) / self.scale

    def _features(self, z: Floats) -> Floats:
        """(rows, size): one, lines, the rest of the smooth basis, bumps, products."""
        basis = wide_basis_functions(z)  # (rows, k, 8)
        parts = [np.ones((len(z), 1)), basis[..., 0]]
        parts += [basis[..., 1:4].reshape(len(z), -1), basis[..., 4:].reshape(len(z), -1)]
        first, second = self._pairs
        some = basis[..., :_PRODUCT_SIZE]
        products = some[:, first, :, None] * some[:, second, None, :]
        return np.hstack([*parts, products.reshape(len(z), -1)])

    def _families(self) -> dict[str, NDArray[np.int64]]:
        k, smooth, wide = self.k, 1 + 4 * self.k, 1 + 8 * self.k
        products = np.arange(wide, self.size)
        members = [
            np.arange(1, 1 + k),
            np.arange(1, smooth),
            np.arange(1, wide),
            np.concatenate([np.arange(1, smooth), products]),
            np.arange(1, self.size),
        ]
        return dict(zip(FAMILIES, members if products.size else members[:3], strict=False))

    def _set_constant(self, mean: float, variance: float) -> None:
        self.family, self.degrees, self.noise_variance = "constant", 1.0, variance
        self._weights = np.zeros(self.size)
        self._weights[0] = mean
        self._products: list[tuple[int, int, Floats]] | None = None

    def _tabulate(self) -> None:
        """What each parent adds, on a fine grid: planning evaluates a mechanism many times."""
        k, weights = self.k, self._weights
        self._slope = weights[1 : 1 + k] / self.scale
        if self.family in ("constant", "line"):
            return
        each = np.hstack(
            [
                weights[1 : 1 + k, None],
                weights[1 + k : 1 + 4 * k].reshape(k, 3),
                weights[1 + 4 * k : 1 + 8 * k].reshape(k, 4),
            ]
        )
        width = np.maximum(self.high - self.low, 1e-9)
        grid = self.low + width * np.linspace(0.0, 1.0, _KNOTS + 1)[:, None]
        value = np.einsum("gcs,cs->cg", wide_basis_functions(grid), each)
        self._table = np.stack([value[:, :-1], np.diff(value, axis=1)], axis=1)
        self._density = _KNOTS / width
        if "products" in self.family:
            shaped = weights[1 + 8 * k :].reshape(-1, _PRODUCT_SIZE, _PRODUCT_SIZE)
            self._products = [
                (int(a), int(b), w) for a, b, w in zip(*self._pairs, shaped, strict=True)
            ]


def _bend(z: Floats) -> Floats:
    """``log cosh(1.5 z)``, the second function of the basis, by one exponential."""
    size = 1.5 * np.abs(z)
    return np.asarray(size + np.log1p(np.exp(-2.0 * size)) - np.log(2.0))
