"""Loaders of data with a treatment: shapes, codes and known means, where the files are at hand."""

from __future__ import annotations

import os
from collections.abc import Callable

import numpy as np
import pytest

from causal_rl.datasets import (
    EffectData,
    load_acic2016,
    load_ihdp,
    load_lalonde,
    load_twins,
)

needs_data = pytest.mark.skipif(
    not os.environ.get("CAUSAL_RL_DATA"), reason="CAUSAL_RL_DATA names no folder of real data"
)
ARMS = np.array([0, 1, 1])


def test_the_truth_is_that_of_the_expected_outcomes_where_known() -> None:
    zero, one, two = np.zeros(3), np.ones(3), np.full(3, 2.0)
    data = EffectData(np.zeros((3, 1)), ("x",), ARMS, one)
    assert data.effect is None
    assert data.ate is None
    data = EffectData(np.zeros((3, 1)), ("x",), ARMS, one, y0=zero, y1=one)
    assert data.ate == 1.0
    data = EffectData(np.zeros((3, 1)), ("x",), ARMS, one, y0=zero, y1=one, mu0=zero, mu1=two)
    assert data.ate == 2.0


@pytest.mark.parametrize(
    ("load", "message"),
    [
        (lambda: load_ihdp(0), "replication is 0"),
        (lambda: load_ihdp(21), "replication is 21"),
        (lambda: load_acic2016(6), "setting is 6"),
        (lambda: load_lalonde("psid"), "controls is 'psid'"),
        (lambda: load_twins(confounding=-1.0), "confounding is -1"),
    ],
)
def test_what_there_is_not(load: Callable[[], EffectData], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load()


def _consistent(data: EffectData) -> None:
    rows = len(data.X)
    assert data.X.shape == (rows, len(data.names))
    assert len(set(data.names)) == len(data.names)
    assert np.isfinite(data.X).all()
    assert set(data.t.tolist()) == {0, 1}
    if data.y0 is not None:
        assert (data.y == np.where(data.t == 1, data.y1, data.y0)).all()


@needs_data
def test_ihdp() -> None:
    data = load_ihdp(1)
    _consistent(data)
    assert data.X.shape == (747, 25)
    assert set(np.unique(data.X[:, 13])) == {0.0, 1.0}
    assert data.ate == pytest.approx(4.016, abs=1e-3)
    assert data.train is not None
    assert data.test is not None
    assert (len(data.train), len(data.test)) == (672, 75)
    assert sorted([*data.train, *data.test]) == list(range(747))
    assert load_ihdp(9, split=False).test is None


@needs_data
def test_twins() -> None:
    data = load_twins(seed=3)
    _consistent(data)
    assert data.X.shape == (11400, 30)
    assert data.ate == pytest.approx(-0.0161, abs=1e-4)
    assert (load_twins(seed=3).t == data.t).all()
    assert (load_twins(seed=4).t != data.t).any()


@needs_data
def test_acic2016() -> None:
    data = load_acic2016(1)
    _consistent(data)
    assert data.X.shape[0] == 4802
    assert len({name.partition("=")[0] for name in data.names}) == 58
    assert data.ate == pytest.approx(2.128, abs=1e-3)


@needs_data
def test_lalonde() -> None:
    pytest.importorskip("pandas")
    data = load_lalonde()
    _consistent(data)
    assert data.X.shape == (185 + 15992, 8)
    assert data.att == pytest.approx(1794.34, abs=0.01)
    assert load_lalonde("experiment").X.shape == (445, 8)
