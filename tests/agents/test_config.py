from __future__ import annotations

import dataclasses

import pytest
import yaml

from causal_rl.agents import TrainConfig


def test_round_trip_through_yaml(tmp_path):
    config = TrainConfig(env="er-scm", env_args=("n=5",), seed=3, gamma=0.5)
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(config.to_dict()))
    assert TrainConfig.from_dict(TrainConfig.load(path)) == config


def test_every_option_has_help():
    assert all(item.metadata["help"] for item in dataclasses.fields(TrainConfig))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": 0}, r"steps must be in \[1, infinity\), got 0"),
        ({"seed": -1}, "seed must be in"),
        ({"gamma": 1.5}, r"gamma must be in \[0, 1\], got 1.5"),
        ({"gamma": float("nan")}, "gamma must be in"),
        ({"encoder": "lstm"}, "encoder must be one of ecam, attention, mlp, masked-mlp"),
        ({"heads": 3}, "heads must divide embed_dim"),
        ({"stepz": 5}, "unknown option 'stepz'; did you mean steps"),
    ],
)
def test_bad_values_name_the_option(change, message):
    with pytest.raises(ValueError, match=message):
        TrainConfig.from_dict(change)


@pytest.mark.parametrize("change", [{"steps": "many"}, {"steps": 1.5}, {"normalise_returns": 1}])
def test_bad_types_name_the_option(change):
    with pytest.raises(TypeError, match=next(iter(change))):
        TrainConfig.from_dict(change)


def test_world_kwargs_are_yaml_scalars():
    assert TrainConfig(env_args=("n=5", "mechanism=tanh", "x=.5")).world_kwargs == {
        "n": 5,
        "mechanism": "tanh",
        "x": 0.5,
    }
    with pytest.raises(ValueError, match="key=value"):
        _ = TrainConfig(env_args=("n",)).world_kwargs


@pytest.mark.parametrize("text", ["[1, 2]", "a: [", "stepz: 1"])
def test_bad_files_are_refused(tmp_path, text):
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"bad\.yaml|stepz"):
        TrainConfig.load(path)
