"""Evidence that a stream of standard scores has begun to behave in another way, row by row.

A score u is the residual of one mechanism, standard normal by calibration. Before a change
``u = beta0 + beta1 f(x) + noise`` with a line and a scale that the calibration rows have nearly
fixed; after it with a line and a scale that are anybody's guess. Both are conjugate
(normal-inverse-gamma) regressions, so the likelihood of either, parameters integrated out, has a
closed form, and the ratio of the second for the rows from s on to the first is a martingale in the
number of rows for every s: it does not drift upwards while nothing changes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

FloatArray = NDArray[np.float64]

# After a change: lines and scales of the order of the noise are expected.
_AFTER_SPREAD = 1.0
_AFTER_FREEDOM = 1.0
# Every beginning is tried for this many rows, every eighth one for the whole window.
_CLOSE = 64
_STRIDE = 8
_CHUNK = 64


class ShiftEvidence:
    """Shiryaev-Roberts sum, over all rows at which a change may have begun, of likelihood ratios.

    The sum minus the number of rows is a martingale while nothing changes, so that by Doob's
    inequality it reaches A within N rows with a probability of at most N / A. Several features f
    are tried, one at a time, and their sums averaged, which keeps that.

    Args:
        features: K, number of features.
        window: rows after which a beginning is given up; at least 16.
        temper: (K,) exponents in (0, 1] of the ratios; below 1 they are trusted less.
    """

    def __init__(self, features: int, window: int, temper: FloatArray | None = None) -> None:
        self.features, self.window = features, window
        self.temper = np.ones(features) if temper is None else np.array(temper, dtype=np.float64)
        self.restart(0)

    def restart(self, warm_rows: int) -> None:
        """Forget all rows; the next ``warm_rows`` are taken as rows before any change."""
        self.rows = 0
        self.warm_rows = warm_rows
        self._total = np.zeros((6, self.features))
        self._starts = np.zeros((6, self.features, 0))
        self._before = np.zeros((self.features, 0))
        self._born = np.zeros(0, dtype=np.int64)
        self._index = np.zeros(0, dtype=np.int64)
        self.log_sum = -np.inf

    def settle(self, score: FloatArray, feature: FloatArray) -> None:
        """Take rows as rows before any change.

        Args:
            score: (T,) scores.
            feature: (K, T) features.
        """
        self._total = self._total + _rows(score, feature).sum(axis=-1)

    def add(
        self, score: FloatArray, feature: FloatArray, index: NDArray[np.int64], limit: float
    ) -> tuple[int, int] | None:
        """Take rows one after another until the sum reaches ``exp(limit)``.

        Args:
            score: (T,) scores.
            feature: (K, T) features.
            index: (T,) what the rows are called.
            limit: logarithm of the sum that ends it.

        Returns:
            The row at which the sum reached the limit and that at which the change most likely
            began, as named by ``index``; None where it did not.
        """
        warm = min(self.warm_rows, len(score))
        if warm:
            self.settle(score[:warm], feature[:, :warm])
            self.warm_rows -= warm
        for start in range(warm, len(score), _CHUNK):
            part = slice(start, start + _CHUNK)
            found = self._add(score[part], feature[:, part], index[part], limit)
            if found is not None:
                return found
        return None

    def _add(
        self, score: FloatArray, feature: FloatArray, index: NDArray[np.int64], limit: float
    ) -> tuple[int, int] | None:
        count = len(score)
        cumulated = self._total[..., None] + np.cumsum(_rows(score, feature), axis=-1)
        through = np.concatenate([self._total[..., None], cumulated], axis=-1)
        evidence = _log_likelihood(through)
        starts = np.concatenate([self._starts, through[..., :-1]], axis=-1)
        at_start = np.concatenate([self._before, evidence[:, :-1]], axis=1)
        born = np.concatenate([self._born, self.rows + np.arange(count)])
        name = np.concatenate([self._index, index])

        age = self.rows + np.arange(count)[:, None] - born[None]  # (rows, starts), 0 at birth
        life = np.where(born % _STRIDE == 0, self.window, min(_CLOSE, self.window))
        alive = (age >= 0) & (age < life)
        since = cumulated[..., None] - starts[..., None, :]  # (6, K, rows, starts)
        ratio = _log_likelihood(since) - (evidence[:, 1:, None] - at_start[:, None])
        ratio = np.where(alive, ratio * self.temper[:, None, None], -np.inf)
        by_start = _log_sum(ratio, 0) - np.log(self.features)
        sums = _log_sum(by_start, 1)
        reached = np.flatnonzero(sums >= limit)
        if reached.size:
            row = int(reached[0])
            self.log_sum = float(sums[row])
            self.rows += row + 1
            return int(index[row]), int(name[int(np.argmax(by_start[row]))])
        self.log_sum = float(sums[-1])
        self.rows += count
        self._total = cumulated[..., -1]
        keep = self.rows - born < life
        self._starts, self._before = starts[..., keep], at_start[:, keep]
        self._born, self._index = born[keep], name[keep]
        return None

    def state_dict(self) -> dict[str, Any]:
        """All that was counted, as plain values and arrays."""
        return {
            "rows": self.rows,
            "warm_rows": self.warm_rows,
            "temper": self.temper.copy(),
            "total": self._total.copy(),
            "starts": self._starts.copy(),
            "before": self._before.copy(),
            "born": self._born.copy(),
            "index": self._index.copy(),
            "log_sum": self.log_sum,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` gave."""
        self.rows, self.warm_rows = int(state["rows"]), int(state["warm_rows"])
        self.log_sum = float(state["log_sum"])
        self.temper = np.array(state["temper"], dtype=np.float64)
        self._total = np.array(state["total"], dtype=np.float64)
        self._starts = np.array(state["starts"], dtype=np.float64)
        self._before = np.array(state["before"], dtype=np.float64)
        self._born = np.array(state["born"], dtype=np.int64)
        self._index = np.array(state["index"], dtype=np.int64)


def _rows(score: FloatArray, feature: FloatArray) -> FloatArray:
    """(6, K, T) of every row: 1, f, f^2, u, f u, u^2, whose sums the likelihood is made of."""
    u = np.broadcast_to(score, feature.shape)
    return np.stack([np.ones_like(feature), feature, feature**2, u, feature * u, u * u])


def _log_likelihood(sums: FloatArray) -> FloatArray:
    """Log density of the scores behind some sums, (6, ...) -> (...), line and scale integrated out.

    ``beta ~ N(0, s^2 I)`` in units of the noise, whose precision is Gamma(a, a).
    """
    n, f, ff, u, fu, uu = sums
    prior, a = 1.0 / _AFTER_SPREAD**2, _AFTER_FREEDOM
    p, q = n + prior, ff + prior
    determinant = np.maximum(p * q - f * f, 1e-300)
    explained = (q * u * u - 2.0 * f * u * fu + p * fu * fu) / determinant
    rest = a + 0.5 * np.maximum(uu - explained, 0.0)
    constant = _constants(n[0])  # of any feature: they share their rows
    value: FloatArray = constant - 0.5 * np.log(determinant) - (a + 0.5 * n) * np.log(rest)
    return value


def _constants(n: FloatArray) -> FloatArray:
    """What depends on the number of rows alone; they lie in a narrow range."""
    a = _AFTER_FREEDOM
    counts = np.rint(n).astype(np.int64)
    low, high = (int(counts.min()), int(counts.max())) if counts.size else (0, 0)
    each = np.maximum(np.arange(low, high + 1), 0.0)
    table = gammaln(a + 0.5 * each) - gammaln(a) - 0.5 * each * np.log(2.0 * np.pi)
    table += a * np.log(a) - 2.0 * np.log(_AFTER_SPREAD)
    return np.asarray(table[counts - low], dtype=np.float64)


def _log_sum(values: FloatArray, axis: int) -> FloatArray:
    """Logarithm of the sum of exponentials; each has at least one that is finite, or gives -inf."""
    top = values.max(axis=axis, keepdims=True)
    safe = np.where(np.isfinite(top), top, 0.0)
    with np.errstate(divide="ignore"):
        total = np.log(np.exp(values - safe).sum(axis=axis))
    return np.asarray(total + np.squeeze(safe, axis=axis), dtype=np.float64)
