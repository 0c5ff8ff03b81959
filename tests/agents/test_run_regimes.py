"""A world that changes in the middle of a run: told, followed, resumed, and evaluated as it is."""

from __future__ import annotations

import io
import itertools
import json

import numpy as np
import pytest
import torch
from rich.console import Console

from causal_rl.agents import Algorithm5, TrainConfig, resume, train
from causal_rl.agents.training import load_world

OPTIONS = {
    "env": "chain-scm",
    "env_args": ("n=4", "horizon=8", "n_values=3"),
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
    "regimes": ("1200=mechanism", "2000=train"),
}


def run(observer=lambda algorithm: True, **options) -> Algorithm5:
    config = TrainConfig(**{**OPTIONS, **options})
    algorithm = Algorithm5(load_world(config), config)
    assert algorithm.learn(observer)
    return algorithm


def test_the_world_follows_the_schedule():
    seen = []

    def look(algorithm):
        seen.append((algorithm.progress.env_steps, algorithm.progress.regime, algorithm.world))
        return True

    algorithm = run(look)
    first = [regime for _, regime, _ in seen]
    changes = [(a, b) for a, b in itertools.pairwise(first) if a != b]
    assert changes == [("train", "mechanism"), ("mechanism", "train")]
    # The rollout that ends here began before the switch, the next one after it.
    assert all(regime == "train" for steps, regime, _ in seen if steps <= 1200)
    assert {regime for steps, regime, _ in seen if 1300 < steps <= 2000} == {"mechanism"}
    assert algorithm.world is algorithm.spec
    plain, rows = run(regimes=()).store.all(), algorithm.store.all()
    np.testing.assert_array_equal(plain.next_state[:1200], rows.next_state[:1200])
    assert not np.array_equal(plain.next_state[1300:1900], rows.next_state[1300:1900])


def test_continues_from_any_regime_as_if_unbroken():
    states = []
    whole = run(lambda algorithm: states.append(algorithm.state_dict()) or True)
    middle = next(s for s in states if s["regime"] == "mechanism")
    again = Algorithm5(whole.spec, whole.config)
    again.load_state_dict(middle)
    assert again.world is not again.spec
    assert again.learn(lambda algorithm: True)
    for key, value in whole.policy.state_dict().items():
        assert torch.equal(again.policy.state_dict()[key], value), key


def test_a_run_tells_of_it_and_ends_in_the_world_as_it_is(tmp_path):
    text = io.StringIO()
    config = TrainConfig(**{**OPTIONS, "regimes": ("1200=mechanism",)})
    console = Console(file=text, width=200)
    summary = train(config, out=tmp_path / "run", console=console, pictures=False)
    assert text.getvalue().count("world: mechanism from step") == 1
    assert summary["regimes"] == ["1200=mechanism"]
    plain = train(
        TrainConfig(**{**OPTIONS, "regimes": ()}), out=tmp_path / "plain", console=console,
        pictures=False,
    )  # fmt: skip
    # Nobody acts in it: the yardstick is of the world alone, and another one in the shifted world.
    assert summary["return_noop"] != plain["return_noop"]
    assert "regimes" not in plain
    longer = resume(tmp_path / "run", steps=2600, console=Console(file=io.StringIO()))
    assert longer["return_noop"] == summary["return_noop"]
    assert json.loads((tmp_path / "run/summary.json").read_text())["env_steps"] >= 2600


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"regimes": ("mechanism",)}, "regimes must be STEP=SHIFT, got 'mechanism'"),
        ({"regimes": ("-3=mechanism",)}, "regimes must be STEP=SHIFT"),
        ({"regimes": ("900=mechanism", "200=train")}, "times of switches must rise"),
        ({"regimes": ("900=mechanism",), "algo": "sb3-ppo"}, "regimes must be none where algo"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        TrainConfig(**options)


def test_an_unknown_shift_is_named_with_those_there_are(tmp_path):
    config = TrainConfig(**{**OPTIONS, "regimes": ("1200=earthquake",)})
    with pytest.raises(ValueError, match=r"shift 'earthquake' is unknown to world .*; known: "):
        train(config, out=tmp_path / "run", console=Console(file=io.StringIO()))
    assert not (tmp_path / "run").exists()
