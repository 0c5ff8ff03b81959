from __future__ import annotations

import json
import pickle

import numpy as np
import pytest
from program import run

from causal_rl.agents import evaluate, measure_yardsticks, noop_controller
from causal_rl.agents.inspection import ProtocolEvaluation, evaluate_run_agent, evaluate_run_shift
from causal_rl.agents.training import FINAL_SEED_OFFSET
from causal_rl.envs import Interventions, SCMEnv, SCMEnvSpec, resolve_spec
from causal_rl.envs.protocols import (
    MOST_SPLITS,
    PROTOCOLS,
    TEST_EPISODES,
    TRAIN_EPISODES,
    Protocol,
    Split,
    list_protocols,
    protocol,
)
from causal_rl.envs.regimes import RegimeSchedule, RegimeSwitch
from causal_rl.envs.scalar import check_same_interface
from causal_rl.envs.shifts import reward_causes, scale_noise
from causal_rl.envs.unseen_graphs import graph_shifts
from causal_rl.envs.worlds import BUILT_IN
from causal_rl.graphs import CausalGraph
from causal_rl.scm import DynamicSCM, Gaussian, Structural, Variable


def drawn(name: str, **options: object) -> SCMEnvSpec:
    world = BUILT_IN[name]
    chosen = world.options(**options)
    spec = world.build(chosen)
    return spec.replace(shifts={**spec.shifts, **graph_shifts(world.build, chosen)})


@pytest.fixture(scope="module")
def proxy() -> SCMEnvSpec:
    return drawn("proxy-chain-scm", n=4, distractors=2, horizon=6)


@pytest.fixture(scope="module")
def protocols(proxy: SCMEnvSpec) -> dict[str, Protocol]:
    return list_protocols(proxy)


def test_train_and_test_are_disjoint_in_episodes_and_in_worlds(proxy, protocols) -> None:
    assert set(protocols) == set(PROTOCOLS)
    assert not set(TRAIN_EPISODES) & set(TEST_EPISODES)
    assert TEST_EPISODES.start == FINAL_SEED_OFFSET
    for found in protocols.values():
        assert found.applies, found.why_not
        (train,) = found.train
        assert train.world(proxy) is proxy
        assert train.episodes == TRAIN_EPISODES
        labels = [split.label for split in found.test]
        assert len({*labels, train.label}) == len(labels) + 1
        for split in found.test:
            assert split.episodes == TEST_EPISODES
            assert (split.shift is None) != (split.schedule is None)
            if split.schedule is None:
                assert _differs(proxy, split.world(proxy)), split.label


def _differs(one: SCMEnvSpec, two: SCMEnvSpec) -> bool:
    frames = [spec.scm.simulate(4, 0, batch=4).values for spec in (one, two)]
    return not np.array_equal(*frames)


def test_every_split_has_the_interface_of_the_world_and_pickles(proxy, protocols) -> None:
    for found in protocols.values():
        again = pickle.loads(pickle.dumps(found))
        for split, other in zip(found.test, again.test, strict=True):
            world = split.world(proxy)
            check_same_interface(proxy, world)
            assert world.horizon == proxy.horizon
            assert world.scm.graph == other.world(proxy).scm.graph


def test_what_each_protocol_holds(proxy, protocols) -> None:
    tests = {name: [s.label for s in found.test] for name, found in protocols.items()}
    assert tests["cue-flip"] == ["flip", "randomise"]
    assert tests["mechanisms"] == [f"mechanism of {name}" for name in reward_causes(proxy)]
    assert tests["noise-levels"] == ["noise x 0.5", "noise x 2", "noise x 4"]
    (sink,) = (name for name, depth in reward_causes(proxy).items() if depth == 1)
    stuck = tests["hard-interventions"]
    assert {label.split()[0] for label in stuck} == {"X1", "X2", "X3", "X4", "D1", "D2"} - {sink}
    assert {label for label in stuck if "other" in label} == {
        "D1 stuck (other)",
        "D2 stuck (other)",
    }
    assert len(tests["edges"]) == 3
    assert tests["every-shift"] == list(proxy.shifts)
    assert [label.split(",")[0] for label in tests["regimes"]] == list(proxy.shifts)
    graphs: list[CausalGraph] = [s.world(proxy).scm.graph for s in protocols["unseen-graphs"].test]
    assert 1 < len(graphs) <= 10
    assert all(a != b for i, a in enumerate(graphs) for b in [proxy.scm.graph, *graphs[:i]])


def test_a_big_world_is_tested_at_the_causes_nearest_to_the_reward() -> None:
    spec = resolve_spec("chain-scm", n=MOST_SPLITS + 4, mechanism="linear")
    found = protocol(spec, "mechanisms")
    nearest = list(reward_causes(spec))[:MOST_SPLITS]
    assert [split.label for split in found.test] == [f"mechanism of {name}" for name in nearest]


def test_a_protocol_says_why_it_does_not_apply(proxy) -> None:
    world = BUILT_IN["collider-scm"].make(n=3, horizon=2).replace(shifts={})
    why = {name: p.why_not for name, p in list_protocols(world).items() if not p.applies}
    assert set(why) == {"cue-flip", "unseen-graphs", "regimes", "every-shift"}
    assert "no shift flip or randomise" in why["cue-flip"]
    assert "no shift to unseen graphs" in why["unseen-graphs"]
    assert "2 steps, too short" in why["regimes"]
    for name in why:
        assert protocol(world, name).test == protocol(world, name).train == ()
    own = world.replace(shifts={"edges": scale_noise})
    assert "has a shift of that name" in protocol(own, "edges").why_not
    with pytest.raises(ValueError, match="'flop' is unknown; known: cue-flip"):
        protocol(proxy, "flop")


def _hum(x: np.ndarray, noise: np.ndarray) -> np.ndarray:
    return x + noise


def test_splits_that_would_change_nothing_are_none() -> None:
    """Of noise that a mechanism reads as it likes nobody knows the scale."""
    variables = [
        Variable("x", Structural(_hum), lagged_parents=("x",)),
        Variable("goal", noise=Gaussian(1.0), kind="context"),
        Variable("reward", np.subtract, parents=("x", "goal"), kind="reward"),
    ]
    spec = SCMEnvSpec("hum", DynamicSCM(variables), Interventions(["x"]), horizon=3)
    why = {name: p.why_not for name, p in list_protocols(spec).items() if not p.applies}
    assert "no noise whose scale is known" in why["noise-levels"]
    assert "no edge on the way" in why["edges"]
    assert "no cause of the reward has a mechanism that can change" in why["mechanisms"]
    # What the reward reads is all there is to be stuck.
    assert [s.label for s in protocol(spec, "hard-interventions").test] == ["x stuck (cause)"]


def test_a_split_may_not_change_the_interface(proxy) -> None:
    other = resolve_spec("chain-scm")
    with pytest.raises(ValueError, match="other variables"):
        Split("other", lambda spec: other).world(proxy)


def test_regimes_are_evaluated_as_the_wrapper_runs_them(proxy) -> None:
    schedule = protocol(proxy, "regimes").test[0].schedule
    assert schedule == RegimeSchedule(((2, "flip"), (4, "train")))
    schedule = RegimeSchedule(((2, "noise"), (4, "train")))
    returns = evaluate(proxy, noop_controller(), episodes=3, seed=8, schedule=schedule)
    for i, expected in enumerate(returns):
        env = RegimeSwitch(SCMEnv(proxy), schedule)
        env.reset(seed=8 + i)
        rewards = [env.step(np.zeros(2, dtype=int))[1] for _ in range(proxy.horizon)]
        assert sum(rewards) == pytest.approx(expected, abs=1e-12)
    plain = evaluate(proxy, noop_controller(), episodes=3, seed=8)
    assert not np.array_equal(plain, returns)


def test_the_oracle_knows_the_regime_in_force(proxy) -> None:
    """A world turned upside down from the first step on is no harder for it than the plain one."""
    spec = proxy.replace(shifts={"mechanism": proxy.shifts["mechanism"]})
    shifted = spec.shifted("mechanism")
    always = RegimeSchedule(((0, "mechanism"),))
    one = measure_yardsticks(spec, episodes=4, seed=0, schedule=always)
    two = measure_yardsticks(shifted, episodes=4, seed=0)
    assert one == two


TINY = [
    "--env=proxy-chain-scm", "--env-arg=n=3", "--env-arg=distractors=2", "--env-arg=horizon=6",
    "--num-envs=4", "--explore-envs=1", "--warmup-steps=64", "--rollout-steps=8",
    "--graph-every=4", "--eval-every=4", "--checkpoint-every=9", "--eval-episodes=2",
    "--final-episodes=3", "--embed-dim=8", "--layers=1", "--steps=400", "--encoder=mlp",
]  # fmt: skip


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("protocols") / "run"
    assert run("train", *TINY, "--out", folder) == 0
    return folder


def test_the_program_runs_a_protocol(trained, capsys) -> None:
    capsys.readouterr()
    assert run("evaluate-agent", trained, "--shift=cue-flip") == 0
    out, err = capsys.readouterr()
    for word in ("cue-flip", "as trained on", "flip", "randomise", "kept", "normalised", "100%"):
        assert word in out
    assert "2/3 flip" in err
    assert (trained / "shift-cue-flip.png").read_bytes()[:4] == b"\x89PNG"
    data = json.loads((trained / "shift-cue-flip.json").read_text())
    train, *test = data["rows"]
    assert [row["split"] for row in data["rows"]] == ["train", "test", "test"]
    summary = json.loads((trained / "summary.json").read_text())
    for key in ("return_mean", "return_random", "return_oracle"):
        assert train[key] == summary[key]
    base = train["return_normalised"]
    for row, name in zip(test, ("flip", "randomise"), strict=True):
        # A split of a protocol is the shift of that name, figure by figure.
        single = evaluate_run_agent(trained, shift=name).to_dict()
        assert single.pop("shift") == row["label"] == name
        assert {key: row[key] for key in single} == single
        assert row["return_low"] <= row["return_mean"] <= row["return_high"]
        kept = row["return_normalised"] / base if base > 0 else None
        assert row["kept"] == (kept if kept is None else pytest.approx(kept))
    capsys.readouterr()
    assert run("evaluate-agent", trained, "--shift=regimes", "--episodes=2", "--json") == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == json.loads((trained / "shift-regimes.json").read_text())
    assert {row["episodes"] for row in printed["rows"]} == {2}


def test_kept_is_nothing_where_training_was_no_better_than_random(trained) -> None:
    found = evaluate_run_shift(trained, "cue-flip", episodes=2)
    assert isinstance(found, ProtocolEvaluation)
    (train,) = found.train
    bad = train.yardsticks.random - 1.0
    object.__setattr__(train, "returns", np.full(2, bad))
    assert all(row["kept"] is None for row in found.rows())


def test_names_that_are_neither_and_protocols_that_do_not_apply(trained, capsys) -> None:
    capsys.readouterr()
    assert run("evaluate-agent", trained, "--shift=flop") == 2
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    for word in ("flop", "noise", "randomise", "cue-flip", "unseen-graphs"):
        assert word in line


def test_a_protocol_that_does_not_apply_is_refused_with_its_reason(trained, monkeypatch) -> None:
    monkeypatch.setitem(PROTOCOLS, "never", _never)
    with pytest.raises(ValueError, match="'never' does not apply: not in this world"):
        evaluate_run_shift(trained, "never")


def _never(spec: SCMEnvSpec) -> list[Split]:
    """Nothing."""
    raise ValueError("not in this world")
