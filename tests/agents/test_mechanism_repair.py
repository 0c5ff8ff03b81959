"""The repair of a mechanism: that one alone, from few rows, and again."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from watched_world import GRAPH, NAMES, N, watched, world

from causal_rl.agents.adaptation.mechanism_watch import MechanismWatch
from causal_rl.agents.adaptation.repair import MechanismRepair
from causal_rl.agents.planning.learned_model import LearnedSCM
from causal_rl.agents.planning.mended_mechanism import (
    ANEW,
    FUNCTIONS,
    KEPT,
    LINE,
    MOVED,
    MendedMechanism,
)
from causal_rl.discovery import Transitions
from causal_rl.discovery.smooth_regression import SmoothRegression
from causal_rl.files import read_torch


@pytest.mark.parametrize(
    ("change", "factor"), [({"shift": 0.8}, 2.0), ({"slope": -1.0}, 2.0), ({"slope": 0.0}, 1.5)]
)
def test_repair_refits_that_mechanism_alone(change: dict[str, float], factor: float) -> None:
    watch, rng = watched()
    model = watch.model
    assert isinstance(model, LearnedSCM)
    before, stale = [model.mechanism(name) for name in NAMES], copy.deepcopy(model)
    repair = MechanismRepair(watch)
    stream, fresh = world(rng, 200, **change), world(rng, 1_000, do=0.0, **change)
    made = [record for k in range(0, 200, 8) for record in repair.update(stream[k : k + 8])]
    assert {record.alarm.name for record in made} == {"b"}
    for j, name in enumerate(NAMES):
        assert (model.mechanism(name) is before[j]) == (name != "b")
        if name != "b":  # bit for bit, noise included
            kept = stale.predict(fresh.state, fresh.next_state)[:, j]
            np.testing.assert_array_equal(model.predict(fresh.state, fresh.next_state)[:, j], kept)
            assert model.sigma[j] == stale.sigma[j]
    drawn = np.random.default_rng(0).random((50, N))
    same = model.noise_from_uniforms(drawn) == stale.noise_from_uniforms(drawn)
    assert same[:, [0, 2, 3]].all()
    assert not same[:, 1].any()

    def error(mechanisms: LearnedSCM) -> float:
        mean = mechanisms.predict(fresh.state, fresh.next_state)[:, 1]
        return float(((fresh.next_state[:, 1] - mean) ** 2).mean())

    assert error(model) < 0.3  # the noise alone is .25
    assert error(stale) > factor * 0.25
    last = made[-1]
    assert last.rows > made[0].rows
    assert last.error_after < last.error_before
    assert last.scalars()["mechanism/b/error_after"] == last.error_after
    assert "b: " in str(last)


def test_a_lost_parent_is_dropped_and_a_new_one_added() -> None:
    watch, rng = watched()
    repair = MechanismRepair(watch)
    stream = world(rng, 300, slope=0.0, changed=2)
    repair.update(stream[:100])
    for k in range(100, 300, 50):
        repair.update(stream[k : k + 50])
    assert isinstance(watch.model, LearnedSCM)
    assert watch.model.graph.parents("c") == ()
    assert watch.model.graph.parents("d") == GRAPH.parents("d")
    assert repair.records[-1].dropped == ("b",)

    watch, rng = watched(1)
    repair = MechanismRepair(watch)
    calm = world(rng, 600, do=0.0)
    moved = calm.next_state.copy()
    moved[:, 3] += 1.5 * moved[:, 0]
    for k in range(0, 600, 50):
        part = slice(k, k + 50)
        repair.update(Transitions(state=calm.state[part], next_state=moved[part], names=NAMES))
    assert isinstance(watch.model, LearnedSCM)
    assert set(watch.model.graph.parents("d")) == {"a", "c", "d"}
    assert repair.records[-1].added == ("a",)


def test_repair_goes_on_where_it_stopped(tmp_path: Path) -> None:
    watch, rng = watched()
    repair = MechanismRepair(watch)
    repair.update(world(rng, 60, shift=0.8))
    assert repair.records
    assert isinstance(watch.model, LearnedSCM)
    torch.save((watch.model.state_dict(), repair.state_dict()), tmp_path / "repair.pt")
    fitted, state = read_torch(tmp_path / "repair.pt")
    model = LearnedSCM.from_state(fitted)
    other = MechanismRepair(MechanismWatch(model, NAMES))
    other.load_state_dict(state)
    rows = world(rng, 200, shift=0.8)
    done = repair.update(rows)
    assert done == other.update(rows) != []
    again = rows.next_state
    assert np.array_equal(watch.model.predict(rows.state, again), model.predict(rows.state, again))


def test_after_a_repair_a_second_change_is_named_too() -> None:
    watch, rng = watched()
    repair = MechanismRepair(watch)
    for _ in range(10):
        repair.update(world(rng, 40, shift=0.8))
    assert watch.watched == NAMES
    count = len(repair.records)
    for _ in range(10):
        repair.update(world(rng, 40, shift=-0.8))
    began = [record.alarm.began for record in repair.records[count:]]
    assert max(began) >= 390


def test_refitting_on_rows_of_the_old_world_changes_little() -> None:
    rng = np.random.default_rng(0)
    rows, fresh = world(rng, 2_000), world(rng, 40)
    model = LearnedSCM.fit(rows, GRAPH)
    before = model.predict(rows.state, rows.next_state)[:, 1]
    model.refit("b", fresh)
    after = model.predict(rows.state, rows.next_state)[:, 1]
    assert np.sqrt(((after - before) ** 2).mean()) < 0.2


def old_mechanism(
    rows: int = 600, parents: int = 2
) -> tuple[SmoothRegression, np.random.Generator]:
    """tanh of the first parent plus the second, noise .1."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(rows, parents))
    fitted = SmoothRegression(np.zeros(parents), np.ones(parents))
    fitted.add(x, np.tanh(2 * x[:, 0]) + x[:, 1:].sum(axis=1) + 0.1 * rng.normal(size=rows))
    fitted.solve()
    return fitted, rng


@pytest.mark.parametrize(
    ("shift", "slope", "how"), [(0.0, 1.0, KEPT), (0.7, 1.0, MOVED), (0.5, 0.6, LINE)]
)
def test_an_affine_change_is_mended_exactly(shift: float, slope: float, how: str) -> None:
    old, rng = old_mechanism()
    x = rng.normal(size=(12, 2))
    mended = MendedMechanism(old, (0, 1), np.zeros(2), np.ones(2))
    mended.add(x, shift + slope * old(x))
    mended.solve()
    assert mended.how == how
    fresh = rng.normal(size=(50, 2))
    np.testing.assert_allclose(mended(fresh), shift + slope * old(fresh), atol=1e-6)
    # Changed back, corrections are composed and cancel.
    again = MendedMechanism(mended, (0, 1), np.zeros(2), np.ones(2))
    again.add(x, old(x))
    again.solve()
    assert again.base is old
    np.testing.assert_allclose(again(fresh), old(fresh), atol=1e-6)


def test_a_lost_parent_is_held_at_its_mean_and_a_new_one_gets_functions() -> None:
    old, rng = old_mechanism()
    x = rng.normal(size=(200, 2))
    held = np.column_stack([x[:, 1], np.zeros(200)])
    # Now it reads (new, first): the second is lost, a new one came.
    mended = MendedMechanism(old, (1, -1), np.zeros(2), np.ones(2))
    np.testing.assert_allclose(mended(x), old(held), atol=1e-9)
    mended.add(x, old(held) + 0.8 * x[:, 0] + 0.01 * rng.normal(size=200))
    mended.solve()
    assert mended.how in (FUNCTIONS, ANEW)
    inside = rng.uniform(-1, 1, size=(100, 2))
    truth = old(np.column_stack([inside[:, 1], np.zeros(100)])) + 0.8 * inside[:, 0]
    np.testing.assert_allclose(mended(inside), truth, atol=0.1)


def test_quite_another_mechanism_is_fitted_anew_and_goes_on_from_its_state() -> None:
    old, rng = old_mechanism()
    x = rng.normal(size=(400, 2))
    y = np.cos(2 * x[:, 0]) * x[:, 1] + 0.05 * rng.normal(size=400)
    mended = MendedMechanism(old, (0, 1), np.zeros(2), np.ones(2), rows_kept=300)
    mended.add(x[:200], y[:200])
    mended.solve()
    assert mended.how == ANEW
    assert mended.fresh is not None
    twin = MendedMechanism.from_state(pickle.loads(pickle.dumps(mended.state_dict())))
    for one in (mended, twin):
        one.add(x[200:], y[200:])
        one.solve()
        assert one.rows == 400
        assert len(one.rows_since[1]) == 300
    np.testing.assert_array_equal(mended(x), twin(x))
    np.testing.assert_array_equal(mended.uncertainty(x), twin.uncertainty(x))
    # A new mechanism that changes again is corrected from where it was.
    moved = MendedMechanism(mended, (0, 1), np.zeros(2), np.ones(2))
    moved.add(x[:20], mended(x[:20]) + 1.0)
    moved.solve()
    assert moved.how == MOVED
    np.testing.assert_allclose(moved(x), mended(x) + 1.0, atol=1e-6)


@pytest.mark.parametrize("kind", ["moved", "line", "functions"])
def test_a_correction_is_surest_where_its_rows_are(kind: str) -> None:
    old, rng = old_mechanism()
    x = rng.normal(size=(60, 2))
    bend = {"moved": 0.0, "line": -0.5 * old(x), "functions": np.exp(-(x[:, 0] ** 2))}[kind]
    mended = MendedMechanism(old, (0, 1), np.zeros(2), np.ones(2))
    mended.add(x, old(x) + 1.0 + bend + 0.1 * rng.normal(size=60))
    mended.solve()
    assert mended.how == {"moved": MOVED, "line": LINE, "functions": FUNCTIONS}[kind]
    near, far = mended.uncertainty(np.array([[0.0, 0.0], [2.5, 2.5]]))
    assert 0 < near <= far
    assert near < mended.noise_variance


def test_a_refitted_model_saves_loads_and_counts_on(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    model = LearnedSCM.fit(world(rng, 800), GRAPH)
    more = world(rng, 300, slope=-1.0)
    assert model.refit("b", more[:40]) == LINE
    model.refit("d", more[:100], parents=(0, 2))
    assert model.graph.parents("d") == ("a", "c")
    assert model.parents("d") == (0, 2)
    model.save(tmp_path / "model.npz")
    twin = LearnedSCM.load(tmp_path / "model.npz")
    assert twin.graph == model.graph
    rows, noise = world(rng, 50), model.draw_noise(rng, 50)
    for _ in range(2):
        np.testing.assert_array_equal(
            twin.predict(rows.state, rows.next_state), model.predict(rows.state, rows.next_state)
        )
        np.testing.assert_array_equal(twin.step(rows.state, noise), model.step(rows.state, noise))
        np.testing.assert_array_equal(twin.sigma, model.sigma)
        twin.update(more[100:])
        model.update(more[100:])
    # Rows since the change alone speak for the changed mechanism.
    assert model.mechanism("b").rows < model.mechanism("a").rows
    assert model.sigma[1] == pytest.approx(0.5, rel=0.15)
