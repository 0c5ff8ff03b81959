"""A mechanism that changed: the old one with the least correction that the new rows ask for."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from causal_rl.discovery.basis import BASIS_SIZE, basis_functions
from causal_rl.discovery.smooth_regression import SmoothRegression

Floats = NDArray[np.float64]

KEPT = "kept as it was"
MOVED = "moved by a constant"
LINE = "changed by a line"
FUNCTIONS = "changed by a line and functions of its parents"
ANEW = "fitted anew"
# What each has to gain over the first in log likelihood of rows left out: of many that are tried
# some fit by luck, and most changes of the world are simple ones.
_PRICES = {KEPT: 0.0, MOVED: 0.5, LINE: 1.0, FUNCTIONS: 3.0, ANEW: 5.0}
# Rows from which each is tried.
_LEAST = {KEPT: 0, MOVED: 4, LINE: 6, FUNCTIONS: 8, ANEW: 64}
# Of the functions, in units of a row's weight.
_PENALTIES = (1.0, 10.0, 100.0)
_KNOTS = 256


@dataclass(frozen=True, eq=False)
class Correction:
    """``shift + slope * base + functions of each parent``.

    Attributes:
        shift: constant.
        slope: of the base mechanism.
        functions: (k, 4) weights of each parent's `basis_functions`.
    """

    shift: float
    slope: float
    functions: Floats

    def of(self, base: Floats, features: Floats) -> Floats:
        """Its value, from (rows,) and (rows, k, 4)."""
        extra = np.einsum("nkf,kf->n", features, self.functions)
        return np.asarray(self.shift + self.slope * base + extra)

    def followed_by(self, line: Floats, functions: Floats) -> Correction:
        """This, then a line (constant, slope) and more functions."""
        shift, slope = float(line[0]), float(line[1])
        return Correction(
            shift + slope * self.shift, slope * self.slope, slope * self.functions + functions
        )


class MendedMechanism:
    """An old mechanism as it is after a change, re-estimated with every row since.

    In turn: as it is, moved by a constant, changed by a line, changed by a line and by functions of
    each parent, and an entirely new one. Whichever predicts best the rows left out one at a time,
    less a price for its freedom, is taken.

    It answers as `SmoothRegression` does; mended again, corrections are composed, so that a
    mechanism which changes often costs no more to evaluate.

    Args:
        old: the mechanism before the change.
        places: for each parent of ``old``, its place among the parents now, or -1 where it is no
            parent any more: it is held at its mean.
        center: (k,) of the parents now, read for those that are new.
        scale: (k,) of the parents now, read for those that are new.
        rows_kept: rows kept, the latest; at least 16.

    Attributes:
        how: what was done, one of the constants of this module.
        rows: rows since the change, those no longer kept included.
        noise_variance: mean squared error on rows left out.
    """

    base: SmoothRegression
    k: int
    places: list[int]
    start: Correction
    correction: Correction
    noise_variance: float

    def __init__(
        self,
        old: SmoothRegression | MendedMechanism,
        places: Sequence[int],
        center: Floats,
        scale: Floats,
        rows_kept: int = 4096,
    ) -> None:
        k = len(center)
        if isinstance(old, SmoothRegression):
            base, at = old, list(range(old.k))
            start = Correction(0.0, 1.0, np.zeros((old.k, BASIS_SIZE)))
        elif old.fresh is not None:
            base, at = old.fresh, list(range(old.k))
            start = Correction(0.0, 1.0, np.zeros((old.k, BASIS_SIZE)))
        else:
            base, at, start = old.base, old.places, old.correction
        self.base, self.k, self.rows_kept = base, k, rows_kept
        self.places = [-1 if c < 0 else int(places[c]) for c in at]
        self.center, self.scale = np.array(center, float), np.array(scale, float)
        self.low, self.high = np.full(k, np.inf), np.full(k, -np.inf)
        functions, shift = np.zeros((k, BASIS_SIZE)), start.shift
        still = basis_functions(np.zeros(1))[0]
        for c, place in enumerate(places):  # parents of ``old``, in its units
            if place < 0:
                shift += float(start.functions[c] @ still)
                continue
            functions[place] = start.functions[c]
            self.center[place], self.scale[place] = old.center[c], old.scale[c]
            self.low[place], self.high[place] = old.low[c], old.high[c]
        self._new = np.array([p not in list(places) for p in range(k)], dtype=bool)
        self.start = self.correction = Correction(shift, start.slope, functions)
        self.fresh: SmoothRegression | None = None
        self.how, self.rows = KEPT, 0
        self.noise_variance = old.noise_variance
        self._parents, self._target = np.zeros((0, k)), np.zeros(0)
        self._inverse = np.zeros((0, 0))
        self._tabulate()

    @property
    def family(self) -> str:
        """What was done, in words; of a new mechanism, its family."""
        return self.how if self.fresh is None else self.fresh.family

    @property
    def rows_since(self) -> tuple[Floats, Floats]:
        """The rows kept: parents (rows, k) and values (rows,)."""
        return self._parents, self._target

    def add(self, parents: Floats, target: Floats) -> None:
        """Count rows; `solve` must be called before the next prediction.

        Args:
            parents: (rows, k).
            target: (rows,).
        """
        if not len(target):
            return
        self._parents = np.concatenate([self._parents, parents])[-self.rows_kept :]
        self._target = np.concatenate([self._target, target])[-self.rows_kept :]
        self.rows += len(target)
        z = self._standardise(parents)
        self.low = np.minimum(self.low, z.min(axis=0, initial=np.inf))
        self.high = np.maximum(self.high, z.max(axis=0, initial=-np.inf))

    def solve(self) -> None:
        """Choose what to do about the change, and fit it."""
        rows, target = len(self._target), self._target
        if not rows:
            return
        features = basis_functions(self._standardise(self._parents))
        base = self._base(list(self._parents.T), rows)
        old = self.start.of(base, features)
        one, identity = np.ones((rows, 1)), np.array([0.0, 1.0])
        none, best = np.zeros((self.k, BASIS_SIZE)), math.inf
        error = float(((target - old) ** 2).mean())

        def better(how: str, error: float) -> bool:
            nonlocal best
            score = math.log(max(error, 1e-24)) + _PRICES[how] / (0.5 * rows)
            if rows < _LEAST[how] or score >= best:
                return False
            best, self.how, self.noise_variance = score, how, max(error, 1e-24)
            return True

        def take(line: Floats, functions: Floats, inverse: Floats) -> None:
            self.correction = self.start.followed_by(line, functions)
            self._inverse, self.fresh = inverse, None

        better(KEPT, error)
        take(identity, none, np.zeros((0, 0)))
        error, weight, inverse = _left_out(one, target - old)
        if better(MOVED, error):
            take(np.array([weight[0], 1.0]), none, inverse)
        sloped = float(old.std()) > 1e-9
        line = np.column_stack([one, old]) if sloped else one
        error, weight, inverse = _left_out(line, target)
        if sloped and better(LINE, error):
            take(weight, none, inverse)
        if self.k and rows >= _LEAST[FUNCTIONS]:
            own = features.copy()
            own[:, self._new] = 0.0
            design = np.hstack([line, own.reshape(rows, self.k * BASIS_SIZE)])
            for penalty in _PENALTIES:
                error, weight, inverse = _left_out(design, target, penalty, line.shape[1])
                if better(FUNCTIONS, error):
                    both = weight[:2] if sloped else np.array([weight[0], 0.0])
                    take(both, weight[line.shape[1] :].reshape(self.k, BASIS_SIZE), inverse)
        if self.k and rows >= _LEAST[ANEW]:
            fresh = SmoothRegression(
                self._parents.mean(axis=0), _spread(self._parents), float(target.mean())
            )
            fresh.add(self._parents, target)
            fresh.solve()
            free = 1.0 - np.minimum(fresh.leverage(self._parents), 0.999)
            if better(ANEW, float((((target - fresh(self._parents)) / free) ** 2).mean())):
                self.fresh = fresh
        if self._new.any() and self.fresh is None and rows >= _LEAST[FUNCTIONS]:
            self._add_new_parents(features, base)
        self._tabulate()

    def __call__(self, parents: Floats) -> Floats:
        """Predict: (batch, k) -> (batch,)."""
        return self.evaluate(list(parents.T), len(parents))

    def evaluate(self, columns: list[Floats], batch: int) -> Floats:
        """As calling, from columns of shape (batch,), one a parent."""
        if self.fresh is not None:
            return self.fresh.evaluate(columns, batch)
        total = self.correction.slope * self._base(columns, batch) + self.correction.shift
        for c, knots, table in self._tables:
            z = (columns[c] - self.center[c]) / self.scale[c]
            total += np.interp(z, knots, table)  # held constant beyond the values seen
        return total

    def leverage(self, parents: Floats) -> Floats:
        """Share of a row's noise that fitting it would take up, (batch, k) -> (batch,)."""
        if self.fresh is not None:
            return self.fresh.leverage(parents)
        size = len(self._inverse)
        if not size:  # the old mechanism as it was
            return np.asarray(self.base.leverage(self._held(parents)))
        batch = len(parents)
        features = basis_functions(self._standardise(parents))
        old = self.start.of(self._base(list(parents.T), batch), features)
        features[:, self._new] = 0.0
        # The chosen design is the beginning of this one, or this one, perhaps without the slope.
        full = np.column_stack([np.ones(batch), old, features.reshape(batch, self.k * BASIS_SIZE)])
        design = full[:, :size] if size in (1, 2, full.shape[1]) else np.delete(full, 1, axis=1)
        return np.asarray(np.einsum("nf,fg,ng->n", design, self._inverse, design))

    def uncertainty(self, parents: Floats) -> Floats:
        """Variance of the prediction that more rows would take away, (batch, k) -> (batch,)."""
        return np.asarray(self.noise_variance * self.leverage(parents))

    def state_dict(self) -> dict[str, Any]:
        """The base, what was corrected before, and the rows since, as arrays and numbers."""
        return {
            "base": self.base.state_dict(),
            "places": np.array(self.places, dtype=np.int64),
            "shift": self.start.shift,
            "slope": self.start.slope,
            "functions": self.start.functions.copy(),
            "center": self.center.copy(),
            "scale": self.scale.copy(),
            "low": self.low.copy(),
            "high": self.high.copy(),
            "new": self._new.copy(),
            "parents": self._parents.copy(),
            "target": self._target.copy(),
            "rows": self.rows,
            "rows_kept": self.rows_kept,
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> MendedMechanism:
        """Restore what `state_dict` gave, solved."""
        base = SmoothRegression.from_state(state["base"])
        places = [int(place) for place in state["places"]]
        made = cls(base, places, state["center"], state["scale"], int(state["rows_kept"]))
        functions = np.array(state["functions"], dtype=np.float64)
        made.start = Correction(float(state["shift"]), float(state["slope"]), functions)
        made.low, made.high = (np.array(state[key], dtype=np.float64) for key in ("low", "high"))
        made.correction, made._new = made.start, np.array(state["new"], dtype=bool)
        made._parents = np.array(state["parents"], dtype=np.float64)
        made._target = np.array(state["target"], dtype=np.float64)
        made.rows = int(state["rows"])
        made.solve()
        return made

    def _add_new_parents(self, features: Floats, base: Floats) -> None:
        """Functions of new parents, of what the others leave unexplained."""
        rest = self._target - self.correction.of(base, features)
        own = features.copy()
        own[:, ~self._new] = 0.0
        design = np.hstack([np.ones((len(rest), 1)), own.reshape(len(rest), -1)])
        error, weight, _ = min(
            (_left_out(design, rest, penalty, 1) for penalty in _PENALTIES), key=lambda fit: fit[0]
        )
        line = np.array([weight[0], 1.0])
        more = weight[1:].reshape(self.k, BASIS_SIZE)
        self.correction = self.correction.followed_by(line, more)
        self.how, self.noise_variance = FUNCTIONS, max(error, 1e-24)

    def _base(self, columns: list[Floats], batch: int) -> Floats:
        center = self.base.center
        held = [
            np.full(batch, center[c]) if place < 0 else columns[place]
            for c, place in enumerate(self.places)
        ]
        return self.base.evaluate(held, batch)

    def _held(self, parents: Floats) -> Floats:
        """(batch, k) parents now to those of the base, lost ones at their means."""
        columns = np.tile(self.base.center, (len(parents), 1))
        for c, place in enumerate(self.places):
            if place >= 0:
                columns[:, c] = parents[:, place]
        return columns

    def _standardise(self, parents: Floats) -> Floats:
        return np.asarray((parents - self.center) / self.scale)

    def _tabulate(self) -> None:
        """What each parent's functions add, on a fine grid over the values seen."""
        self._tables: list[tuple[int, Floats, Floats]] = []
        for c, weight in enumerate(self.correction.functions):
            if self.fresh is None and weight.any() and self.low[c] < self.high[c]:
                knots = np.linspace(self.low[c], self.high[c], _KNOTS + 1)
                self._tables.append((c, knots, basis_functions(knots) @ weight))


def _spread(columns: Floats) -> Floats:
    spread = columns.std(axis=0)
    return np.where(spread > 1e-9, spread, 1.0)


def _left_out(
    design: Floats, target: Floats, penalty: float = 0.0, free: int = 0
) -> tuple[float, Floats, Floats]:
    """Ridge regression: mean squared leave-one-out error, weights, inverse Gram matrix.

    The first ``free`` columns are not penalised.
    """
    weight_of = np.full(design.shape[1], max(penalty, 1e-9))
    weight_of[: free if penalty else None] = 1e-9
    gram = design.T @ design + np.diag(weight_of)
    inverse = np.asarray(np.linalg.inv(gram), dtype=np.float64)
    weight = inverse @ (design.T @ target)
    leverage = np.einsum("nf,fg,ng->n", design, inverse, design)
    error = (target - design @ weight) / np.maximum(1.0 - leverage, 1e-3)
    return float((error**2).mean()), weight, inverse
