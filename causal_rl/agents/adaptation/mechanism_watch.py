"""A watch on every mechanism: names the one that changed, with a false-alarm rate set beforehand.

A mechanism is a variable given its parents. When one changes, the values of all its descendants
change too, but their residuals given their own parents do not: the residual tells who it was.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from causal_rl.agents.adaptation.shift_evidence import ShiftEvidence
from causal_rl.discovery import Transitions
from causal_rl.graphs import CausalGraph

FloatArray = NDArray[np.float64]

#: Rows without an intervention on a variable that its calibration needs.
LEAST_CALIBRATION = 50
_FEATURE_LIMIT = 3.0
# A residual is never measured in units finer than this share of its variable's spread.
_FINEST = 1e-3


class MechanismModel(Protocol):
    """Fitted mechanisms, one a variable, as the watch and the repair need them."""

    @property
    def graph(self) -> CausalGraph:
        """Over the variables in the order of the columns; a reward node may follow."""
        ...

    @property
    def sigma(self) -> FloatArray:
        """(n,) standard deviation of every variable's residual on rows it was not fitted on."""
        ...

    def predict(self, previous: FloatArray, current: FloatArray) -> FloatArray:
        """Mean of every variable given its parents' values.

        Args:
            previous: (B, n) values before the step.
            current: (B, n) values after it; within-step parents are read here.

        Returns:
            (B, n).
        """
        ...


@dataclass(frozen=True)
class Alarm:
    """A mechanism that changed.

    Attributes:
        name: the variable.
        index: the transition at which it was noticed, counted from the first one watched.
        began: the transition at which the change most likely began.
        statistic: logarithm of the evidence.
        threshold: what the statistic had to reach.
    """

    name: str
    index: int
    began: int
    statistic: float
    threshold: float

    def __str__(self) -> str:
        return (
            f"the mechanism of {self.name} changed near transition {self.began} "
            f"(noticed at {self.index}, evidence {self.statistic:.1f} of {self.threshold:.1f})"
        )


class MechanismWatch:
    """Sequential tests of all mechanisms at once; see docs/mechanism_watch.md.

    The guarantee: while no mechanism changes, the probability that any alarm at all is raised
    within T transitions is at most ``alpha * T / horizon``, whatever T, however the transitions
    are cut into updates. It is a bound by Doob's inequality, divided over the mechanisms by
    Bonferroni's, and holds for residuals that, mapped to normal scores by those of the
    calibration, are normal about a line in the features; how near the truth that is with other
    noise is measured in the benchmark ``mechanism-shift``.

    Rows in which a variable was set say nothing about its mechanism and are left out. Shifts of
    mean, of slope (along the fitted mechanism as a whole, and along each parent) and of scale are
    all looked for. After its alarm a mechanism is no longer tested until `reset`.

    Args:
        model: the mechanisms; read at every update, so that refits take effect.
        names: the variables, one a column of the transitions.
        alpha: probability of any false alarm within ``horizon`` transitions, in (0, 1).
        horizon: the transitions that ``alpha`` is for, at least 1.
        window: rows of a mechanism within which a change has to show, at least 16. Longer finds
            smaller changes and takes more time; shorter forgives slow drift.

    Raises:
        ValueError: an argument out of its range; it is named.
        TypeError: an argument of another type.
    """

    def __init__(
        self,
        model: MechanismModel,
        names: Sequence[str],
        alpha: float = 0.01,
        horizon: int = 5_000,
        window: int = 512,
    ) -> None:
        if isinstance(names, str) or not all(isinstance(name, str) for name in names):
            raise TypeError(f"names must be a sequence of strings, got {names!r}")
        self.names = tuple(names)
        if not self.names or self.names != model.graph.names[: len(self.names)]:
            raise ValueError(
                f"names must be the variables of the model's graph, {', '.join(model.graph.names)}"
                f", in that order, got {', '.join(self.names) or 'none'}"
            )
        if isinstance(alpha, bool) or not isinstance(alpha, int | float | np.number):
            raise TypeError(f"alpha must be a number in (0, 1), got {alpha!r}")
        if not 0.0 < alpha < 1.0:
            raise ValueError(f"alpha must be in (0, 1), got {alpha}")
        for name, value, least in (("horizon", horizon, 1), ("window", window, 16)):
            if isinstance(value, bool) or not isinstance(value, int | np.integer):
                raise TypeError(f"{name} must be an integer, got {value!r}")
            if value < least:
                raise ValueError(f"{name} must be at least {least}, got {value}")
        self.model = model
        self.alpha, self.horizon, self.window = float(alpha), int(horizon), int(window)
        self.seen = 0
        self._tests: dict[str, _Test] = {}

    @property
    def watched(self) -> tuple[str, ...]:
        """Names of the mechanisms under test, those with an alarm not reset left out."""
        return tuple(name for name, test in self._tests.items() if not test.fired)

    @property
    def threshold(self) -> float:
        """The logarithm that a mechanism's evidence has to reach.

        Raises:
            ValueError: not calibrated yet.
        """
        return math.log(self.horizon * len(self._calibrated()) / self.alpha)

    @property
    def evidence(self) -> dict[str, float]:
        """Evidence of every mechanism now, as a share of the threshold in [0, 1], for logs."""
        limit = self.threshold
        return {
            name: 1.0 if test.fired else min(1.0, max(0.0, test.evidence.log_sum / limit))
            for name, test in self._tests.items()
        }

    def calibrate(self, transitions: Transitions) -> None:
        """Learn from held-out rows how large residuals are while nothing changes; start anew.

        Contexts have no mechanism and are not watched, nor is a variable that was always set.

        Args:
            transitions: rows that the model was not fitted on, from before any change. A variable
                needs 50 in which it was not set; the tails are the better known the more there are.

        Raises:
            TypeError: not `Transitions`.
            ValueError: other variables, or too few rows; the variable is named.
        """
        self._check(transitions)
        mean = self.model.predict(transitions.state, transitions.next_state)
        tests = {}
        for j, name in enumerate(self.names):
            own = np.flatnonzero(~transitions.do_target[:, j])
            if transitions.kinds[j] == "context" or (len(transitions) and not own.size):
                continue
            if own.size < LEAST_CALIBRATION:
                raise ValueError(
                    f"transitions have {own.size} rows in which {name!r} was not set; its "
                    f"calibration needs at least {LEAST_CALIBRATION}"
                )
            tests[name] = _Test(j, self._parents(j), self.window)
            tests[name].calibrate(transitions[own], mean[own, j])
        self._tests, self.seen = tests, 0

    def update(self, transitions: Transitions) -> list[Alarm]:
        """Watch these transitions, in their order.

        Args:
            transitions: new rows.

        Returns:
            Alarms in the order of their indices; at most one a mechanism.

        Raises:
            TypeError: not `Transitions`.
            ValueError: other variables, or not calibrated yet.
        """
        limit = self.threshold
        self._check(transitions)
        index = self.seen + np.arange(len(transitions))
        alarms = []
        if len(transitions):
            mean = self.model.predict(transitions.state, transitions.next_state)
            for name, test in self._tests.items():
                own = np.flatnonzero(~transitions.do_target[:, test.column])
                if test.fired or not own.size:
                    continue
                found = test.add(transitions[own], mean[own, test.column], index[own], limit)
                if found is not None:
                    alarms.append(Alarm(name, *found, test.evidence.log_sum, limit))
        self.seen += len(transitions)
        return sorted(alarms, key=lambda alarm: (alarm.index, self.names.index(alarm.name)))

    def reset(self, name: str, warm_rows: int = 64) -> None:
        """Watch a mechanism anew, after it was refitted.

        The shape of its noise is kept, its scale is taken from the model. The refitted mechanism
        is imprecise, so the next rows only show where its residuals lie.

        Args:
            name: the variable.
            warm_rows: rows of this variable before it is tested again, at least 1; a change among
                them goes unnoticed.

        Raises:
            ValueError: the variable is not watched, or ``warm_rows`` is out of range.
        """
        if name not in self._calibrated():
            raise ValueError(f"name must be one of {', '.join(self._tests)}, got {name!r}")
        if isinstance(warm_rows, bool) or not isinstance(warm_rows, int) or warm_rows < 1:
            raise ValueError(f"warm_rows must be an integer of at least 1, got {warm_rows!r}")
        test = self._tests[name]
        test.restart(float(self.model.sigma[test.column]), self._parents(test.column), warm_rows)

    def state_dict(self) -> dict[str, Any]:
        """All that was counted, the model left out, as plain values and arrays."""
        return {
            "names": list(self.names),
            "alpha": self.alpha,
            "horizon": self.horizon,
            "window": self.window,
            "seen": self.seen,
            "tests": {name: test.state_dict() for name, test in self._tests.items()},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up where `state_dict` was called; the watch then continues as if unbroken.

        Args:
            state: of a watch with the same names and options.

        Raises:
            ValueError: the state is of other names or options; the first that differs is named.
        """
        for key in ("names", "alpha", "horizon", "window"):
            own = list(self.names) if key == "names" else getattr(self, key)
            if state.get(key) != own:
                raise ValueError(f"state has {key}={state.get(key)!r}; this watch has {own!r}")
        self.seen = int(state["seen"])
        self._tests = {}
        for name, content in state["tests"].items():
            test = _Test(self.names.index(name), (), self.window)
            test.load_state_dict(content)
            self._tests[name] = test

    def _calibrated(self) -> dict[str, _Test]:
        if not self._tests:
            raise ValueError(
                "the watch is not calibrated; call calibrate with held-out transitions"
            )
        return self._tests

    def _parents(self, column: int) -> tuple[int, ...]:
        """Columns of (current, previous) that the mechanism reads."""
        n, graph = len(self.names), self.model.graph
        return (
            *np.flatnonzero(graph.contemporaneous[:n, column]).tolist(),
            *(n + np.flatnonzero(graph.lagged[:n, column])).tolist(),
        )

    def _check(self, transitions: Transitions) -> None:
        if not isinstance(transitions, Transitions):
            raise TypeError(f"transitions must be Transitions, not {type(transitions).__name__}")
        if transitions.names != self.names:
            raise ValueError(
                f"transitions have variables {', '.join(transitions.names)}; this watch has "
                f"{', '.join(self.names)}"
            )


class _Test:
    """One mechanism under test: residuals to normal scores, features, evidence."""

    def __init__(self, column: int, parents: tuple[int, ...], window: int) -> None:
        self.column, self.parents, self.window = column, parents, window
        self.fired = False
        self.scale = 1.0
        self.shape = np.zeros(0)  # sorted residuals of the calibration in units of the scale
        self.center, self.spread = np.zeros(1), np.ones(1)
        self.evidence = ShiftEvidence(1, window)

    def calibrate(self, rows: Transitions, mean: FloatArray) -> None:
        value = rows.next_state[:, self.column]
        residual = value - mean
        finest = _FINEST * float(value.std())
        self.scale = max(float(np.sqrt((residual**2).mean())), finest, 1e-12)
        self.shape = np.sort(residual) / self.scale
        inputs = self._inputs(rows, mean)
        self.center, self.spread = inputs.mean(axis=1), inputs.std(axis=1)
        score, feature = self._score(residual), self._features(inputs)
        # Where the noise is wider at the ends of a feature, a slope is less certain than it seems.
        power = (feature**2).mean(axis=1) * float((score**2).mean())
        wide = (feature**2 * score**2).mean(axis=1) / np.maximum(power, 1e-12)
        self.evidence = ShiftEvidence(len(feature), self.window, 1.0 / np.maximum(wide, 1.0))
        self.evidence.settle(score, feature)
        self.fired = False

    def restart(self, sigma: float, parents: tuple[int, ...], warm_rows: int) -> None:
        if parents != self.parents:  # the parents' lines are not calibrated: the mean's alone
            self.parents = ()
            self.center, self.spread = self.center[:1], self.spread[:1]
            self.evidence = ShiftEvidence(1, self.window, self.evidence.temper[:1])
        self.scale = max(sigma, 1e-12)
        self.evidence.restart(warm_rows)
        self.fired = False

    def add(
        self, rows: Transitions, mean: FloatArray, index: NDArray[np.int64], limit: float
    ) -> tuple[int, int] | None:
        score = self._score(rows.next_state[:, self.column] - mean)
        found = self.evidence.add(score, self._features(self._inputs(rows, mean)), index, limit)
        self.fired = found is not None
        return found

    def _inputs(self, rows: Transitions, mean: FloatArray) -> FloatArray:
        """(K, T): the predicted mean; the parents too, where there are several."""
        if len(self.parents) < 2:
            return mean[None]
        values = np.hstack([rows.next_state, rows.state])
        return np.vstack([mean[None], values[:, list(self.parents)].T])

    def _features(self, inputs: FloatArray) -> FloatArray:
        moving = self.spread > 1e-9 * np.maximum(1.0, np.abs(self.center))
        z = (inputs - self.center[:, None]) / np.where(moving, self.spread, 1.0)[:, None]
        return np.where(moving[:, None], np.clip(z, -_FEATURE_LIMIT, _FEATURE_LIMIT), 0.0)

    def _score(self, residual: FloatArray) -> FloatArray:
        """Normal scores by rank among the calibration's residuals; none beyond the extremes."""
        if self.shape[-1] - self.shape[0] < 1e-6:
            return np.asarray(residual / self.scale, dtype=np.float64)
        count = len(self.shape)
        grid = ndtri((np.arange(count) + 0.5) / count)
        return np.asarray(np.interp(residual / self.scale, self.shape, grid), dtype=np.float64)

    def state_dict(self) -> dict[str, Any]:
        return {
            "parents": list(self.parents),
            "fired": self.fired,
            "scale": self.scale,
            "shape": self.shape.copy(),
            "center": self.center.copy(),
            "spread": self.spread.copy(),
            "evidence": self.evidence.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.parents = tuple(int(parent) for parent in state["parents"])
        self.fired, self.scale = bool(state["fired"]), float(state["scale"])
        for name in ("shape", "center", "spread"):
            setattr(self, name, np.array(state[name], dtype=np.float64))
        self.evidence = ShiftEvidence(len(self.center), self.window)
        self.evidence.load_state_dict(state["evidence"])
