"""What all estimators share: checked rows, columns cut to an adjustment set, intervals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from causal_rl.effects import EffectEstimator, NotIdentifiedError
from causal_rl.graphs import CausalGraph

RNG = np.random.default_rng(0)
N = 120
X = RNG.normal(size=(N, 2))
T = (RNG.random(N) < 0.5).astype(int)
Y = X @ [1.0, -1.0] + 2.0 * T + RNG.normal(scale=0.1, size=N)


class TwoLines(EffectEstimator):
    """A least-squares line for each arm."""

    def _fit(self, X: np.ndarray, t: np.ndarray, y: np.ndarray) -> None:
        rows = np.column_stack([np.ones(len(X)), X])
        self.lines = [
            np.linalg.lstsq(rows[t == arm], y[t == arm], rcond=None)[0]
            for arm in range(self.n_arms_)
        ]

    def _outcomes(self, X: np.ndarray) -> np.ndarray:
        rows = np.column_stack([np.ones(len(X)), X])
        return np.column_stack([rows @ line for line in self.lines])


def graph(edges: list[tuple[str, str]], names: list[str]) -> CausalGraph:
    adjacency = np.zeros((len(names),) * 2, dtype=bool)
    for cause, effect in edges:
        adjacency[names.index(cause), names.index(effect)] = True
    return CausalGraph(adjacency, names=names)


def test_without_a_graph_every_column_is_adjusted_for() -> None:
    found = TwoLines().fit(X, T, Y)
    assert found.adjustment_ is None
    assert found.names_ == ("X1", "X2")
    assert found.ate() == pytest.approx(2.0, abs=0.1)
    assert found.effect(X).shape == (N,)
    assert found.ate() == pytest.approx(found.effect(X).mean(), abs=1e-12)
    assert found.ate(t0=1, t1=0) == pytest.approx(-found.ate(), abs=1e-12)
    low, high = found.ate_interval()
    assert low < found.ate() < high
    wider = found.ate_interval(level=0.99)
    assert wider[0] < low
    assert high < wider[1]
    assert found.ate_interval() == (low, high)


def test_with_a_graph_only_the_adjustment_set_is_read() -> None:
    mediator = 3.0 * T + RNG.normal(scale=0.1, size=N)
    y = X[:, 0] + mediator
    frame = pd.DataFrame({"c": X[:, 0], "m": mediator})
    known = graph(
        [("c", "sick"), ("drug", "m"), ("m", "sick"), ("c", "drug")], ["c", "drug", "m", "sick"]
    )
    found = TwoLines(graph=known, treatment="drug", outcome="sick").fit(frame, T, y)
    assert found.adjustment_ is not None
    assert found.adjustment_.covariates == ("c",)
    assert found.ate() == pytest.approx(3.0, abs=0.1)
    # Adjusted for the mediator as well, nothing is left.
    assert TwoLines().fit(frame, T, y).ate() == pytest.approx(0.0, abs=1e-6)
    moved = frame.assign(m=frame.m + 9.0)
    assert (found.effect(moved) == found.effect(frame)).all()


def test_what_the_table_lacks_is_hidden() -> None:
    names = ["X1", "X2", "t", "u", "y"]
    known = graph([("u", "t"), ("u", "y"), ("t", "y"), ("X1", "y")], names)
    with pytest.raises(NotIdentifiedError, match="t on y is not identified"):
        TwoLines(graph=known).fit(X, T, Y)


def test_several_arms() -> None:
    arms = np.arange(N) % 3
    found = TwoLines().fit(X, arms, X[:, 0] + arms**2)
    assert found.n_arms_ == 3
    assert found.ate(t0=1, t1=2) == pytest.approx(3.0, abs=1e-9)


def test_no_covariates_are_needed() -> None:
    known = graph([("t", "y")], ["X1", "X2", "t", "y"])
    found = TwoLines(graph=known).fit(X, T, Y)
    expected = Y[T == 1].mean() - Y[T == 0].mean()
    assert found.ate() == pytest.approx(expected, abs=1e-9)


def with_(array: np.ndarray, value: float) -> np.ndarray:
    changed = np.array(array, dtype=float)
    changed[3] = value
    return changed


@pytest.mark.parametrize(
    ("table", "t", "y", "error", "message"),
    [
        (X, T[:-1], Y, ValueError, r"t has shape \(119,\); X has 120 rows"),
        (X, T, Y[:, np.newaxis], ValueError, r"y has shape \(120, 1\)"),
        (X, with_(T, 0.5), Y, ValueError, r"t holds 0\.5"),
        (X, with_(T, -1), Y, ValueError, "t holds -1"),
        (X, with_(T, 1e12), Y, ValueError, r"t holds 1e\+12"),
        (X, T, with_(Y, np.nan), ValueError, "y is nan in row 3"),
        (X, np.zeros(N), Y, ValueError, "t is 0 in every row"),
        (X, np.ones(N), Y, ValueError, "t is 1 in every row"),
        (X, with_(np.ones(N), 0), Y, ValueError, "t has 1 rows of arm 0"),
        (X, with_(T, 4), Y, ValueError, "t has 0 rows of arm 2"),
        (X, ["a"] * N, Y, TypeError, "t must be a column of real numbers"),
        (X, T, ["a"] * N, TypeError, "y must be a column of real numbers"),
        (X[:, 0], T, Y, ValueError, "values has shape"),
        (X[:0], T[:0], Y[:0], ValueError, "X has no rows"),
        (pd.DataFrame({"t": Y}), T, Y, ValueError, "X has a column 't', which is the treatment"),
        (pd.DataFrame({"y": Y}), T, Y, ValueError, "X has a column 'y', which is the outcome"),
    ],
)
def test_bad_rows(table: Any, t: Any, y: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        TwoLines().fit(table, t, y)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"graph": np.eye(2)}, TypeError, "graph must be a CausalGraph"),
        ({"treatment": ""}, TypeError, "treatment must be a name"),
        ({"outcome": 3}, TypeError, "outcome must be a name"),
        ({"seed": -1}, ValueError, "seed is -1"),
        ({"graph": graph([], ["t", "y", "X1"])}, ValueError, "graph lacks X2"),
        ({"outcome": "t"}, ValueError, "outcome must be another"),
    ],
)
def test_bad_options(options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        TwoLines(**options).fit(X, T, Y)


def test_bad_questions() -> None:
    with pytest.raises(RuntimeError, match="call fit first"):
        TwoLines().ate()
    found = TwoLines().fit(X, T, Y)
    for arm in (2, -1, 0.0, True):
        with pytest.raises(ValueError, match=f"t1 is {arm!r}; the arms are 0"):
            found.effect(X, t1=arm)
    with pytest.raises(ValueError, match="X has the columns X1; fit saw X1, X2"):
        found.effect(X[:, :1])
    with pytest.raises(ValueError, match="fit saw X1, X2"):
        found.effect(pd.DataFrame(X, columns=["X2", "X1"]))
    with pytest.raises(ValueError, match="level"):
        found.ate_interval(level=1.0)
    with pytest.raises(ValueError, match="draws"):
        found.ate_interval(draws=1)
