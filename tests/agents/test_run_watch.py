"""The watch of a training run: silent it changes nothing, at a change it names and goes on."""

from __future__ import annotations

import copy
import io
import json

import numpy as np
import pytest
import torch
from rich.console import Console
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from causal_rl.agents import Algorithm5, TrainConfig, TransitionStore
from causal_rl.agents.adaptation.run_watch import RunWatch
from causal_rl.agents.training import train
from causal_rl.discovery import Transitions
from causal_rl.envs import Interventions, SCMEnvSpec, change_mechanism
from causal_rl.graphs import CausalGraph
from causal_rl.scm import DynamicSCM, Gaussian, Linear, Uniform, Variable

OPTIONS = {
    "num_envs": 8,
    "explore_envs": 4,
    "rollout_steps": 8,
    "warmup_steps": 864,
    "graph_every": 3,
    "eval_every": 6,
    "eval_episodes": 4,
    "final_episodes": 4,
    "embed_dim": 8,
    "layers": 1,
    "steps": 2400,
    "watch": 0.01,
}
CHANGE_AT = 1400


def world() -> SCMEnvSpec:
    scm = DynamicSCM(
        [
            Variable("y", Linear([1.0]), Gaussian(0.2), parents=["x"]),
            Variable("x", Linear([0.8]), Gaussian(0.5), parents=["w"]),
            Variable("w", noise=Gaussian(1.0)),
            Variable("goal", noise=Uniform(-1.0, 1.0), kind="context"),
            Variable(
                "reward", lambda y, goal: -np.abs(y - goal), parents=["y", "goal"], kind="reward"
            ),
        ]
    )
    return SCMEnvSpec("tiny", scm, Interventions(["x", "w"], (-0.5, 0.5), 0.01), horizon=8)


def changing(algorithm: Algorithm5) -> bool:
    """An observer that turns the mechanism of x round once."""
    if algorithm.progress.env_steps >= CHANGE_AT and algorithm.world is algorithm.spec:
        algorithm.env.set_world(change_mechanism(algorithm.spec, "x", shift=0.6, scale=-1.0))
    return True


def test_silent_it_changes_nothing() -> None:
    runs = []
    for watch in (0.0, 0.01):
        run = Algorithm5(world(), TrainConfig(**{**OPTIONS, "watch": watch, "steps": 1300}))
        assert run.learn(lambda current: True)
        runs.append(run)
    plain, watched = runs
    assert plain.watch is None
    assert "watch" not in plain.state_dict()
    assert watched.watch is not None
    assert watched.watch.events == []
    assert watched.learned_graph == plain.learned_graph
    for a, b in zip(plain.policy.parameters(), watched.policy.parameters(), strict=True):
        assert torch.equal(a, b)
    assert set(watched.progress.figures) - set(plain.progress.figures) == {
        "watch/y", "watch/x", "watch/w",
    }  # fmt: skip


def test_a_change_is_named_the_graph_kept_and_the_store_cut() -> None:
    run = Algorithm5(world(), TrainConfig(**OPTIONS))
    found: list[str] = []
    middle: dict[str, object] = {}

    def observer(current: Algorithm5) -> bool:
        found.extend(record.alarm.name for record in current.progress.repairs)
        if found and not middle:
            middle.update(copy.deepcopy(current.state_dict()))
        return changing(current)

    assert run.learn(observer)
    assert set(found) == {"x"}
    assert run.watch is not None
    first = run.watch.events[0]
    assert first["event"] == "mechanism changed"
    assert first["env_steps"] <= CHANGE_AT + 5 * 96
    assert first["error_after"] < first["error_before"]
    # The new learner has not seen enough to be asked.
    assert run.watch.graph is not None
    assert run.learned_graph == run.watch.graph == run.spec.causal_graph
    assert len(run.store) < run.progress.env_steps - CHANGE_AT + 2 * 96
    # The state of that moment leads to the same end.
    twin = Algorithm5(world(), TrainConfig(**OPTIONS))
    twin.load_state_dict(middle)
    twin.env.set_world(run.world)
    twin.env.set_state(middle["env"])
    assert twin.learn(lambda current: True)
    assert twin.watch is not None
    assert twin.watch.events == run.watch.events
    assert twin.learned_graph == run.learned_graph
    for a, b in zip(run.policy.parameters(), twin.policy.parameters(), strict=True):
        assert torch.equal(a, b)


def test_log_events_and_tensorboard_name_it(tmp_path, monkeypatch) -> None:
    step = Algorithm5._rollout
    monkeypatch.setattr("causal_rl.agents.training.load_world", lambda config: world())
    monkeypatch.setattr(Algorithm5, "_rollout", lambda run: (changing(run), step(run))[1])
    text = io.StringIO()
    folder = tmp_path / "run"
    train(TrainConfig(**OPTIONS), out=folder, console=Console(file=text, width=200))
    assert "x: changed by a line on" in text.getvalue()
    events = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]
    assert events[0]["variable"] == "x"
    board = EventAccumulator(str(folder / "tensorboard"))
    board.Reload()
    tags = board.Tags()
    assert {"watch/x", "mechanism/x/error_after"} <= set(tags["scalars"])
    assert "watch/repairs/text_summary" in tags["tensors"]


GRAPH = CausalGraph(
    contemporaneous=[[0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0], [0, 0, 1, 0]],
    lagged=np.diag([0, 1, 0, 0]),
    names=("a", "b", "c", "d"),
    contemporaneous_confidence=np.full((4, 4), 0.7) * (1 - np.eye(4)),
)


def test_a_new_learner_is_believed_step_by_step() -> None:
    rng = np.random.default_rng(0)

    def rows(count: int, shift: float) -> Transitions:
        state, now = rng.normal(size=(2, count, 4))
        now[:, 1] += now[:, 0] + 0.5 * state[:, 1] + shift
        now[:, 2] += now[:, 1] + now[:, 3]
        return Transitions(state=state, next_state=now, names=GRAPH.names)

    watch = RunWatch(0.01, 5000, relearn_rows=500)
    assert watch.update(rows(10, 0.0), GRAPH, 0) == []
    assert watch.reconcile(GRAPH, 1000) is GRAPH
    watch.begin(rows(1000, 0.0), GRAPH)
    assert watch.update(rows(200, 0.0), GRAPH, 1200) == []
    done = watch.update(rows(60, 2.0), GRAPH, 1260)
    assert [alarm.name for alarm in watch.new(done)] == ["b"]
    assert 55 <= watch.restart(watch.new(done)) <= 65
    assert watch.graph == GRAPH
    state = watch.state_dict()
    twin = RunWatch(0.01, 5000, relearn_rows=500)
    twin.load_state_dict(state)
    # The new learner has another parent for b, turned an edge, and forgot one that still holds.
    found = CausalGraph(
        contemporaneous=[[0, 0, 0, 0], [0, 0, 0, 0], [0, 1, 0, 0], [0, 1, 0, 0]],
        names=GRAPH.names,
        contemporaneous_confidence=np.full((4, 4), 0.6) * (1 - np.eye(4)),
    )
    for one in (watch, twin):
        assert one.reconcile(found, 499) == GRAPH
        mixed = one.reconcile(found, 1)
        assert set(mixed.parents("b")) == {"d"}  # c, an effect of b, would close a cycle
        assert mixed.parents("c") == GRAPH.parents("c")
        assert one.reconcile(found, 499) == mixed
        assert one.reconcile(found, 1) is found
        assert one.graph is None
    more = rows(400, 2.0)
    for one in (watch, twin):
        # The repair of the old alarm goes on in the model; the learner's graph is not overruled.
        going_on = one.update(more, found, 2260)
        assert {record.alarm.name for record in going_on} == {"b"}
        assert one.new(going_on) == []
        assert one.graph is None
    with pytest.raises(ValueError, match="nothing is watched yet"):
        RunWatch(0.01, 5000, relearn_rows=500).restart([])


def test_the_store_keeps_the_latest_rows_alone() -> None:
    store = TransitionStore(100)
    for start in (0, 4, 8):
        values = np.arange(start, start + 4, dtype=float)[:, None]
        store.add(Transitions(state=values, next_state=values))
    store.take_fresh()
    assert store.latest.state[:, 0].tolist() == [8, 9, 10, 11]
    store.keep_latest(20)
    assert len(store) == 12
    store.keep_latest(6)
    assert store.all().state[:, 0].tolist() == [6, 7, 8, 9, 10, 11]
    fresh = store.take_fresh()
    assert fresh is not None
    assert len(fresh) == 6
    with pytest.raises(ValueError, match="rows must be at least 1"):
        store.keep_latest(0)
    with pytest.raises(ValueError, match="empty"):
        _ = TransitionStore(3).latest


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"watch": 1.0}, r"watch must be in \[0, 0.999\]"),
        ({"watch": 0.1, "algo": "sb3-ppo"}, "watch must be 0 where algo"),
        ({"watch": 0.1, "warmup_steps": 100}, "warmup_steps must be at least 800 with watch"),
    ],
)
def test_bad_options_are_named(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TrainConfig.from_dict(options)
