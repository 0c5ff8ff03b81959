"""The watch on mechanisms: who is named, how often wrongly, and what its repair leaves."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from causal_rl.agents.adaptation.mechanism_watch import Alarm, MechanismWatch
from causal_rl.agents.adaptation.repair import MechanismRepair
from causal_rl.agents.adaptation.shift_evidence import ShiftEvidence
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
from causal_rl.graphs import CausalGraph

NAMES = ("a", "b", "c", "d")
N = len(NAMES)
# a -> b -> c -> d inside the step, and d on itself.
GRAPH = CausalGraph(
    contemporaneous=np.eye(N, k=1, dtype=bool), lagged=np.diag([0, 0, 0, 1]), names=NAMES
)


def world(
    rng: np.random.Generator,
    rows: int,
    *,
    shift: float = 0.0,
    slope: float = 1.0,
    scale: float = 1.0,
    noise: str = "normal",
    do: float = 0.5,
    changed: int = 1,
) -> Transitions:
    """Transitions of a chain in which one variable's mechanism may be another."""
    draws: NDArray[np.float64] = {
        "normal": lambda: rng.normal(size=(rows, N)),
        "t3": lambda: rng.standard_t(3, size=(rows, N)) / np.sqrt(3.0),
        "uniform": lambda: rng.uniform(-1.7, 1.7, size=(rows, N)),
    }[noise]()
    state = rng.normal(size=(rows, N))
    target = np.zeros((rows, N), dtype=bool)
    which = rng.integers(0, N, size=rows)
    target[np.arange(rows), which] = rng.random(rows) < do
    value = rng.uniform(-2.0, 2.0, size=(rows, N))
    now = np.zeros((rows, N))
    for j in range(N):
        mean = np.tanh(now[:, j - 1]) if j else np.zeros(rows)
        mean = mean + (0.5 * state[:, j] if j == N - 1 else 0.0)
        own = 0.5 * draws[:, j]
        if j == changed:
            mean, own = shift + slope * mean, scale * own
        now[:, j] = np.where(target[:, j], value[:, j], mean + own)
    return Transitions(state=state, next_state=now, do_target=target, names=NAMES)


def watched(seed: int = 0, **options: Any) -> tuple[MechanismWatch, np.random.Generator]:
    rng = np.random.default_rng(seed)
    noise = options.pop("noise", "normal")
    model = LearnedSCM.fit(world(rng, 1_000, noise=noise), GRAPH)
    watch = MechanismWatch(model, NAMES, **options)
    watch.calibrate(world(rng, 400, noise=noise))
    return watch, rng


@pytest.mark.parametrize("change", [{"shift": 0.8}, {"slope": -1.0}, {"scale": 3.0}])
def test_names_the_mechanism_that_changed_and_no_descendant(change: dict[str, float]) -> None:
    watch, rng = watched()
    assert watch.update(world(rng, 300)) == []
    alarms = watch.update(world(rng, 300, **change))
    assert [alarm.name for alarm in alarms] == ["b"]
    (alarm,) = alarms
    assert 300 <= alarm.index < 364
    assert abs(alarm.began - 300) <= 16
    assert alarm.statistic >= alarm.threshold == watch.threshold
    assert watch.watched == ("a", "c", "d")
    assert "b" in str(alarm)


def test_larger_shifts_are_named_sooner() -> None:
    delays = []
    for shift in (0.3, 0.6, 1.2):
        found = []
        for seed in range(3):
            watch, rng = watched(seed)
            alarms = watch.update(world(rng, 600, shift=shift))
            found.append(next((a.index for a in alarms if a.name == "b"), 600))
        delays.append(np.mean(found))
    assert delays[0] > delays[1] > delays[2]


def test_a_smaller_alpha_is_slower() -> None:
    found = []
    for alpha in (0.5, 1e-6):
        watch, rng = watched(alpha=alpha)
        found.append(watch.update(world(rng, 300, shift=0.8))[0].index)
    assert found[0] < found[1]


def test_rows_that_set_a_variable_say_nothing_about_it() -> None:
    watch, rng = watched()
    calm = world(rng, 200, do=0.0)
    where = np.zeros((200, N), dtype=bool)
    where[:, 1] = True
    wild = calm.next_state.copy()
    wild[:, 1] = 50.0
    before = copy.deepcopy(watch)
    mean = np.tanh(50.0) + 0.5 * rng.normal(size=200)
    wild[:, 2] = mean
    forced = Transitions(state=calm.state, next_state=wild, do_target=where, names=NAMES)
    watch.update(forced)
    assert watch.evidence["b"] == before.evidence["b"]
    free = Transitions(state=calm.state, next_state=wild, names=NAMES)
    assert "b" in [alarm.name for alarm in before.update(free)]


def test_how_rows_are_cut_into_updates_does_not_matter() -> None:
    watch, rng = watched()
    rows = world(rng, 400, shift=0.5)
    other = copy.deepcopy(watch)
    whole = watch.update(rows)
    parts = [alarm for k in range(0, 400, 7) for alarm in other.update(rows[k : k + 7])]
    assert [(a.name, a.index, a.began) for a in whole] == [
        (a.name, a.index, a.began) for a in parts
    ]
    assert watch.evidence == pytest.approx(other.evidence, abs=1e-9)


def test_permuting_the_variables_permutes_the_alarms() -> None:
    order = [2, 0, 3, 1]
    rng = np.random.default_rng(5)
    fit, held, stream = world(rng, 800), world(rng, 400), world(rng, 200, shift=0.8)

    def permuted(rows: Transitions) -> Transitions:
        return Transitions(
            state=rows.state[:, order],
            next_state=rows.next_state[:, order],
            do_target=rows.do_target[:, order],
            names=[NAMES[k] for k in order],
        )

    def alarms(graph: CausalGraph, parts: list[Transitions]) -> list[Alarm]:
        watch = MechanismWatch(LearnedSCM.fit(parts[0], graph), parts[0].names)
        watch.calibrate(parts[1])
        return watch.update(parts[2])

    plain = alarms(GRAPH, [fit, held, stream])
    other = alarms(GRAPH.permute([NAMES[k] for k in order]), [*map(permuted, (fit, held, stream))])
    assert plain
    assert [(a.name, a.index) for a in plain] == [(a.name, a.index) for a in other]


def test_state_goes_on_where_it_stopped() -> None:
    watch, rng = watched()
    watch.update(world(rng, 100))
    resumed = MechanismWatch(watch.model, NAMES)
    resumed.load_state_dict(pickle.loads(pickle.dumps(watch.state_dict())))
    rows = world(rng, 200, shift=0.8)
    assert resumed.update(rows) == watch.update(rows) != []
    assert resumed.evidence == watch.evidence
    with pytest.raises(ValueError, match=r"alpha=0\.01; this watch has 0\.05"):
        MechanismWatch(watch.model, NAMES, alpha=0.05).load_state_dict(watch.state_dict())


def test_quiet_streams_raise_no_alarm_at_a_hard_level() -> None:
    for noise in ("normal", "t3", "uniform"):
        watch, rng = watched(noise=noise)
        assert watch.update(world(rng, 1_500, noise=noise)) == []


def test_the_evidence_is_a_martingale_under_its_own_null() -> None:
    rng = np.random.default_rng(0)
    limit, rows, runs = np.log(400.0), 80, 400
    alarms = 0
    for _ in range(runs):
        evidence = ShiftEvidence(1, 512)
        u, f = rng.normal(size=480), rng.normal(size=(1, 480))
        evidence.settle(u[:400], f[:, :400])
        alarms += evidence.add(u[400:], f[:, 400:], np.arange(rows), limit) is not None
    # Doob: at most rows / exp(limit) = 0.2; two standard errors are .04.
    assert alarms / runs <= 0.24


@pytest.mark.slow
@pytest.mark.parametrize("noise", ["normal", "t3", "uniform"])
def test_false_alarms_keep_to_alpha(noise: str) -> None:
    alpha, rows, runs, false = 0.1, 1_000, 60, 0
    for seed in range(runs):
        watch, rng = watched(seed, noise=noise, alpha=alpha, horizon=rows)
        false += bool(watch.update(world(rng, rows, noise=noise)))
    assert false / runs <= alpha + 2.0 * np.sqrt(alpha * (1 - alpha) / runs)


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


def test_a_context_is_not_watched() -> None:
    rng = np.random.default_rng(0)
    goal = np.repeat(rng.normal(size=50), 8)
    x = goal + 0.1 * rng.normal(size=400)
    rows = Transitions(
        state=np.column_stack([x, goal]),
        next_state=np.column_stack([x, goal]),
        names=("x", "goal"),
        kinds=("state", "context"),
    )
    graph = CausalGraph(
        contemporaneous=[[0, 0], [1, 0]], names=("x", "goal"), kinds=("state", "context")
    )
    watch = MechanismWatch(LearnedSCM.fit(rows, graph), rows.names)
    watch.calibrate(rows)
    assert watch.watched == ("x",)


BAD_OPTIONS: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"alpha": 0.0}, ValueError, "alpha must be in"),
    ({"alpha": True}, TypeError, "alpha must be a number"),
    ({"horizon": 0}, ValueError, "horizon must be at least 1"),
    ({"horizon": 1.5}, TypeError, "horizon must be an integer"),
    ({"window": 4}, ValueError, "window must be at least 16"),
]


@pytest.mark.parametrize(("options", "error", "message"), BAD_OPTIONS)
def test_bad_options_are_named(
    options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        MechanismWatch(LearnedSCM(GRAPH), NAMES, **options)


def test_bad_input_is_named() -> None:
    model = LearnedSCM(GRAPH)
    with pytest.raises(TypeError, match="names must be a sequence"):
        MechanismWatch(model, "abcd")
    with pytest.raises(ValueError, match="names must be the variables"):
        MechanismWatch(model, ("b", "a"))
    watch, rng = watched()
    rows = world(rng, 60)
    alien = Transitions(state=rows.state, next_state=rows.next_state)
    with pytest.raises(ValueError, match="variables X1, X2, X3, X4"):
        watch.update(alien)
    with pytest.raises(TypeError, match="must be Transitions"):
        watch.update(rows.state)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="not calibrated"):
        MechanismWatch(watch.model, NAMES).update(rows)
    with pytest.raises(ValueError, match="10 rows in which 'a' was not set"):
        watch.calibrate(world(rng, 10, do=0.0))
    with pytest.raises(ValueError, match="name must be one of a, b, c, d"):
        watch.reset("z")
    with pytest.raises(ValueError, match="warm_rows must be"):
        watch.reset("a", warm_rows=0)
    with pytest.raises(TypeError, match="watch must be a MechanismWatch"):
        MechanismRepair(model)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="memory must be at least 64"):
        MechanismRepair(watch, memory=8)
    with pytest.raises(TypeError, match="graph_rows must be an integer"):
        MechanismRepair(watch, graph_rows=1.5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="variable must be one of"):
        LearnedSCM.fit(rows, GRAPH).refit("z", rows)
    always = np.zeros((60, N), dtype=bool)
    always[:, 1] = True
    forced = Transitions(
        state=rows.state, next_state=rows.next_state, do_target=always, names=NAMES
    )
    model = LearnedSCM.fit(rows, GRAPH)
    for options, message in (
        ({"parents": (8,)}, r"parents must be columns in \[0, 8\)"),
        ({"parents": (2,)}, "b -> c -> b|c -> b -> c"),
        ({"prior": LearnedSCM(GRAPH)}, "prior must be fitted"),
    ):
        with pytest.raises(ValueError, match=message):
            model.refit("b", rows, **options)
    with pytest.raises(ValueError, match="set 'b' in every row"):
        LearnedSCM.fit(rows, GRAPH).refit("b", forced)
