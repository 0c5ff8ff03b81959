"""The watch on mechanisms: who is named, how often in vain, and bad input."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest
from watched_world import GRAPH, NAMES, N, watched, world

from causal_rl.agents.adaptation.mechanism_watch import Alarm, MechanismWatch
from causal_rl.agents.adaptation.repair import MechanismRepair
from causal_rl.agents.adaptation.shift_evidence import ShiftEvidence
from causal_rl.agents.planning.learned_model import LearnedSCM
from causal_rl.discovery import Transitions
from causal_rl.graphs import CausalGraph


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
