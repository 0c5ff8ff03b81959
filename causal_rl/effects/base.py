"""What every estimator of effects has in common."""

from __future__ import annotations

import copy
import warnings
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtri

from causal_rl.catalogue import signature_options
from causal_rl.discovery import GraphLearner
from causal_rl.discovery.table import read_table, real_array
from causal_rl.effects.identify import Adjustment, NotIdentifiedError, find_adjustment
from causal_rl.effects.learned_graph import check_graph, learn_graph, ready_learner
from causal_rl.graphs import CausalGraph
from causal_rl.options import check_integer, check_number

Array = NDArray[np.float64]
Treatments = NDArray[np.int64]

_LEAST_ROWS = 2


class EffectEstimator(ABC):
    """Estimates the effect of a treatment with K arms on an outcome, given covariates.

    Without a graph all columns of ``X`` are taken as covariates, as other packages do: roles must
    be known beforehand. With a graph, only the columns of a valid adjustment set are read, so
    mediators and colliders may lie among them.

    The graph may also be learned: give the name of a graph learner (see
    `causal_rl.discovery.list_learners`) or a learner itself, and `fit` learns it from the
    standardised columns of covariates, treatment and outcome. Of these the learner is told that
    the outcome does not cause the treatment (if it takes such rules), and no more. Where its graph
    makes the outcome a cause of the treatment all the same, every effect is 0, as the graph says,
    and `fit` warns of it.

    Args:
        graph: over the names of the columns of ``X``, the treatment and the outcome; or what
            learns it.
        treatment: name of the treatment in the graph.
        outcome: name of the outcome in the graph.
        seed: of all that is drawn.

    Attributes:
        graph_: the graph given or learned, after `fit`; None without one.
        adjustment_: what was adjusted for and why, after `fit`; None without a graph, and where a
            learned graph makes the outcome a cause of the treatment.
        names_: names of the columns of ``X``, after `fit`.
        n_arms_: K, after `fit`.
    """

    graph_: CausalGraph | None
    adjustment_: Adjustment | None
    names_: tuple[str, ...]
    n_arms_: int

    def __init__(
        self,
        *,
        graph: CausalGraph | GraphLearner | str | None = None,
        treatment: str = "t",
        outcome: str = "y",
        seed: int = 0,
    ) -> None:
        self.graph = graph
        self.treatment = treatment
        self.outcome = outcome
        self.seed = seed
        self._fitted: tuple[Array, Treatments, Array] | None = None
        self._no_effect = False

    def check_options(self) -> None:
        """Check the options; subclasses add theirs.

        Raises:
            TypeError: one of a wrong type.
            ValueError: one out of range.
        """
        check_graph(self.graph)
        for option, name in (("treatment", self.treatment), ("outcome", self.outcome)):
            if not isinstance(name, str) or not name:
                raise TypeError(f"{option} must be a name, not {name!r}")
        if self.outcome == self.treatment:
            raise ValueError(f"outcome must be another variable than treatment {self.outcome!r}")
        check_integer("seed", self.seed, least=0)

    def fit(
        self,
        X: ArrayLike | Any,
        t: ArrayLike,
        y: ArrayLike,
        *,
        names: Sequence[str] | None = None,
    ) -> Self:
        """Learn from rows that were treated and rows that were not.

        Args:
            X: ``(N, p)`` covariates, numbers or a data frame, whose labels become the names.
            t: ``(N,)`` arms, integers ``0 .. K-1`` or bool.
            y: ``(N,)`` outcomes.
            names: one name a column; default a frame's labels, else ``X1 .. Xp``.

        Returns:
            Itself.

        Raises:
            TypeError: not numbers.
            ValueError: shapes disagree, a value is not finite, an arm is empty or alone, a
                column's name is that of treatment or outcome, or the graph lacks a column.
            NotIdentifiedError: the graph has no valid adjustment set.
        """
        self.check_options()
        table, names = read_table(X, names)
        if not len(table):
            raise ValueError("X has no rows")
        arms, outcomes = read_arms(t, len(table)), read_outcomes(y, len(table))
        for role, name in (("treatment", self.treatment), ("outcome", self.outcome)):
            if name in names:
                raise ValueError(f"X has a column {name!r}, which is the {role}; leave it out")
        self.names_, self.n_arms_ = names, int(arms.max()) + 1
        self.graph_ = self._find_graph(table, arms, outcomes)
        self.adjustment_ = self._adjust()
        self._columns = self._choose_columns()
        self._fitted = (table[:, self._columns], arms, outcomes)
        if not self._no_effect:
            self._fit(*self._fitted)
        return self

    def effect(self, X: ArrayLike | Any, *, t0: int = 0, t1: int = 1) -> Array:
        """The conditional average effect of arm ``t1`` against arm ``t0``.

        Args:
            X: ``(N, p)`` the columns that `fit` saw, in the same order.
            t0: the arm compared with.
            t1: the arm whose effect is asked for.

        Returns:
            ``(N,)`` float64, ``E[Y | do(t1), x] - E[Y | do(t0), x]``, in units of the outcome.

        Raises:
            RuntimeError: not fitted.
            TypeError: not numbers.
            ValueError: other columns than in `fit`, a value that is not finite, or no such arm.
        """
        self._check_arms(t0, t1)
        rows = self._read(X)
        return np.zeros(len(rows)) if self._no_effect else self._effect(rows, t0, t1)

    def ate(self, X: ArrayLike | Any | None = None, *, t0: int = 0, t1: int = 1) -> float:
        """The average effect over rows.

        Args:
            X: ``(N, p)`` rows; None takes those of `fit`.
            t0: the arm compared with.
            t1: the arm whose effect is asked for.

        Raises:
            RuntimeError: not fitted.
            TypeError: as in `effect`.
            ValueError: as in `effect`.
        """
        self._check_arms(t0, t1)
        rows = self._rows()[0] if X is None else self._read(X)
        return 0.0 if self._no_effect else self._ate(rows, t0, t1)

    def ate_interval(
        self,
        X: ArrayLike | Any | None = None,
        *,
        t0: int = 0,
        t1: int = 1,
        level: float = 0.9,
        draws: int = 20,
    ) -> tuple[float, float]:
        """A confidence interval of `ate`.

        Args:
            X: as in `ate`.
            t0: as in `ate`.
            t1: as in `ate`.
            level: coverage aimed at, inside (0, 1).
            draws: refits on resampled rows, from whose spread the normal interval is made;
                estimators with a standard error of their own do without.

        Returns:
            ``(low, high)``.

        Raises:
            RuntimeError: not fitted.
            TypeError: as in `effect`.
            ValueError: as in `effect`; ``level`` or ``draws`` out of range.
        """
        check_number("level", level, least=0.0, below=1.0, open_end=True)
        check_integer("draws", draws, least=2)
        self._check_arms(t0, t1)
        rows = None if X is None else self._read(X)
        if self._no_effect:
            return 0.0, 0.0
        center = self._ate(self._rows()[0] if rows is None else rows, t0, t1)
        half = float(ndtri(0.5 + level / 2)) * self._standard_error(rows, t0, t1, draws)
        return center - half, center + half

    @abstractmethod
    def _fit(self, X: Array, t: Treatments, y: Array) -> None:
        """Learn from checked rows; ``X`` holds the columns to adjust for alone, maybe none."""

    def _outcomes(self, X: Array) -> Array:
        """``(N, K)``, ``E[Y | do(k), x]`` of each arm; where not `_effect` is overridden."""
        raise NotImplementedError(f"{type(self).__name__} predicts no outcomes of arms")

    def _effect(self, X: Array, t0: int, t1: int) -> Array:
        found = self._outcomes(X)
        difference: Array = found[:, t1] - found[:, t0]
        return difference

    def _ate(self, X: Array, t0: int, t1: int) -> float:
        """The average over the cut rows; estimators of averages alone override it."""
        return float(self._effect(X, t0, t1).mean())

    def _standard_error(self, X: Array | None, t0: int, t1: int, draws: int) -> float:
        """Of `_ate` over ``X``, None for the rows of `fit`: by refits on rows drawn within arms."""
        table, arms, outcomes = self._rows()
        rng = np.random.default_rng([self.seed, 1])
        groups = [np.flatnonzero(arms == arm) for arm in range(self.n_arms_)]
        found = []
        for _ in range(draws):
            rows = np.concatenate([rng.choice(group, group.size) for group in groups])
            # Names, arms, graph and columns stay; what `_fit` finds is made anew.
            other = copy.copy(self)
            other._fitted = (table[rows], arms[rows], outcomes[rows])
            other._fit(*other._fitted)
            found.append(other._ate(table[rows] if X is None else X, t0, t1))
        return float(np.std(found, ddof=1))

    def _options(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in signature_options(type(self))}

    def _rows(self) -> tuple[Array, Treatments, Array]:
        if self._fitted is None:
            raise RuntimeError(f"{type(self).__name__} has seen no rows; call fit first")
        return self._fitted

    def _read(self, X: ArrayLike | Any) -> Array:
        self._rows()
        table, names = read_table(X)
        framed = hasattr(X, "columns")
        if table.shape[1] != len(self.names_) or (framed and names != self.names_):
            raise ValueError(
                f"X has the columns {', '.join(names)}; fit saw {', '.join(self.names_)}"
            )
        return table[:, self._columns]

    def _check_arms(self, t0: int, t1: int) -> None:
        self._rows()
        for name, arm in (("t0", t0), ("t1", t1)):
            if isinstance(arm, bool | float) or arm not in range(self.n_arms_):
                raise ValueError(f"{name} is {arm!r}; the arms are 0 .. {self.n_arms_ - 1}")

    def _find_graph(self, X: Array, t: Treatments, y: Array) -> CausalGraph | None:
        if self.graph is None:
            return None
        if not isinstance(self.graph, CausalGraph):
            names = (*self.names_, self.treatment, self.outcome)
            learner = ready_learner(self.graph, self.seed)
            return learn_graph(
                learner, np.column_stack([X, t, y]), names, self.treatment, self.outcome
            )
        wanted = {*self.names_, self.treatment, self.outcome}
        if missing := wanted - set(self.graph.names):
            raise ValueError(f"graph lacks {', '.join(sorted(missing))}")
        # What the graph has and the table lacks was not observed.
        kinds = [
            kind if name in wanted else "hidden"
            for name, kind in zip(self.graph.names, self.graph.kinds, strict=True)
        ]
        return self.graph.with_(kinds=kinds)

    def _adjust(self) -> Adjustment | None:
        self._no_effect = False
        if self.graph_ is None:
            return None
        try:
            return find_adjustment(self.graph_, self.treatment, self.outcome)
        except NotIdentifiedError:
            if isinstance(self.graph, CausalGraph):
                raise
            # Nothing is hidden in a learned graph, so the parents of the treatment would do if the
            # outcome were not one of its causes.
            warnings.warn(
                f"the learned graph makes {self.outcome} a cause of {self.treatment}: by it there "
                "is no effect",
                stacklevel=3,
            )
            self._no_effect = True
            return None

    def _choose_columns(self) -> list[int]:
        """Columns of ``X`` that are read, by place."""
        if self.adjustment_ is None:
            return list(range(len(self.names_)))
        return [self.names_.index(name) for name in self.adjustment_.covariates]


def some_column(X: Array) -> Array:
    """The columns ``(N, p)``; one of zeros where there is none and a model needs an input."""
    return X if X.shape[1] else np.zeros((len(X), 1))


def read_arms(t: ArrayLike, rows: int) -> Treatments:
    """Check a treatment.

    Args:
        t: ``(rows,)`` integers ``0 .. K-1``, floats with such values, or bool.
        rows: how many.

    Returns:
        ``(rows,)`` int64.

    Raises:
        TypeError: not numbers.
        ValueError: another shape, not whole numbers from 0 on, one arm alone, or an arm with
            fewer than two rows.
    """
    raw = _column("t", t, rows)
    # An arm beyond the number of rows leaves another one empty, and need not be counted up to.
    wrong = (raw != np.floor(raw)) | (raw < 0) | (raw >= max(rows, _LEAST_ROWS))
    if np.any(wrong):
        raise ValueError(f"t holds {raw[wrong][0]:g}; arms must be integers 0 .. K-1")
    arms = raw.astype(np.int64)
    counts = np.bincount(arms)
    if counts.size < 2:
        raise ValueError("t is 0 in every row; an effect needs at least two arms")
    if np.count_nonzero(counts) == 1:
        raise ValueError(f"t is {arms[0]} in every row; an effect needs at least two arms")
    if np.any(counts < _LEAST_ROWS):
        arm = int(np.flatnonzero(counts < _LEAST_ROWS)[0])
        raise ValueError(
            f"t has {counts[arm]} rows of arm {arm}; each needs at least {_LEAST_ROWS}"
        )
    return arms


def read_outcomes(y: ArrayLike, rows: int) -> Array:
    """Check an outcome.

    Args:
        y: ``(rows,)`` numbers.
        rows: how many.

    Returns:
        ``(rows,)`` float64.

    Raises:
        TypeError: not numbers.
        ValueError: another shape, or a value that is not finite.
    """
    return _column("y", y, rows)


def _column(name: str, values: ArrayLike, rows: int) -> Array:
    raw = real_array(values, f"{name} must be a column of real numbers")
    if raw.shape != (rows,):
        raise ValueError(
            f"{name} has shape {raw.shape}; X has {rows} rows, so it must be ({rows},)"
        )
    column = raw.astype(np.float64)
    if len(bad := np.flatnonzero(~np.isfinite(column))):
        raise ValueError(f"{name} is {column[bad[0]]} in row {bad[0]}; every value must be finite")
    return column
