"""Minari datasets: an exact round trip, data from elsewhere, and files that are none."""

from __future__ import annotations

import json
import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces
from numpy.typing import NDArray

from causal_rl.discovery import Transitions
from causal_rl.envs import Interventions, SCMEnv, SCMEnvSpec, resolve_spec
from causal_rl.envs.minari_data import export_minari, import_minari
from causal_rl.envs.recording import record, vector_step, vector_transitions
from causal_rl.scm import DynamicSCM, Linear, Uniform, Variable

minari = pytest.importorskip("minari", reason="minari is not installed (extra 'minari')")
pytest.importorskip("h5py", reason="h5py is not installed (extra 'minari')")
from minari.data_collector import EpisodeBuffer  # noqa: E402 - after the check that it is there

ARRAYS = ("state", "action", "reward", "next_state", "terminated", "truncated")


@pytest.fixture(autouse=True)
def datasets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Minari's folder, empty and this test's own."""
    place = tmp_path / "datasets"
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(place))
    return place


@pytest.fixture(scope="module")
def spec() -> SCMEnvSpec:
    """Weights and costs that are no round numbers, a hidden variable, values by target."""
    return SCMEnvSpec(
        name="third-world",
        scm=DynamicSCM(
            [
                Variable("goal", noise=Uniform(-1, 1), kind="context"),
                Variable("u", Linear([1 / 3]), lagged_parents=("u",), kind="hidden"),
                Variable("x", Linear([1 / 7, 0.1]), parents=("u",), lagged_parents=("x",)),
                Variable("y", Linear([-np.pi]), parents=("x",)),
                Variable("r", Linear([1.0, 1.0]), parents=("y", "goal"), kind="reward"),
            ]
        ),
        interventions=Interventions(["x", "y"], values=(-1 / 3, 0.1, 2.0), cost={"x": 0.1}),
        horizon=6,
    )


def assert_equal(a: Transitions, b: Transitions) -> None:
    assert (a.names, a.kinds) == (b.names, b.kinds)
    for name in (*ARRAYS, "do_target", "do_value"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name), err_msg=name)


def write_foreign(dataset_id: str, episodes: list[EpisodeBuffer], **given: Any) -> Any:
    """A dataset as other people make them: no key of ours in its metadata."""
    place = {
        "observation_space": spaces.Box(-np.inf, np.inf, (2,), np.float32),
        "action_space": spaces.Discrete(3),
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # no author, no link to code
        return minari.create_dataset_from_buffers(dataset_id, episodes, **(place | given))


def episode(length: int, *, terminated: bool, infos: Any = None, **given: Any) -> EpisodeBuffer:
    rng = np.random.default_rng(length)
    last = np.arange(length) == length - 1
    arrays = {
        "observations": rng.normal(size=(length + 1, 2)).astype(np.float32),
        "actions": rng.integers(0, 3, size=length),
    }
    return EpisodeBuffer(
        rewards=rng.normal(size=length),
        terminations=last & terminated,
        truncations=last & (not terminated),
        infos=infos,
        **(arrays | given),
    )


def test_round_trip_is_exact(spec: SCMEnvSpec) -> None:
    folder = export_minari("ours/x-v0", spec, 9, seed=5, p_noop=0.4)
    found, graph = import_minari("ours/x-v0")
    assert graph == spec.causal_graph
    assert graph is not None
    np.testing.assert_array_equal(
        graph.contemporaneous_weights, spec.causal_graph.contemporaneous_weights
    )
    # The same episodes again from the seeds and actions that the dataset keeps.
    dataset = minari.load_dataset("ours/x-v0")
    env, steps = SCMEnv(spec), []
    metadata = dataset.storage.get_episode_metadata(range(9))
    for about, kept in zip(metadata, dataset.iterate_episodes(), strict=True):
        before, _ = env.reset(seed=about["seed"])
        for action in kept.actions:
            after, *rest, info = env.step(action)
            batch = [np.array([value]) for value in (after, *rest)]
            logged = {key: value[None] for key, value in info.items()}
            steps.append(
                vector_step(before[None], action[None], (*batch, logged), autoreset_mode="DISABLED")
            )
            before = after
    expected = vector_transitions(steps, names=spec.observed_names, kinds=spec.observed_kinds)
    assert len(expected) == 9 * spec.horizon
    assert_equal(found, expected)
    assert 0 < found.do_target.any(axis=1).mean() < 1
    np.testing.assert_array_equal(
        found.do_value[found.do_target], found.next_state[found.do_target]
    )
    assert_equal(import_minari(folder)[0], expected)
    assert_equal(import_minari(dataset)[0], expected)


def test_an_export_is_a_recording(spec: SCMEnvSpec) -> None:
    def policy(observation: NDArray[np.float64]) -> NDArray[np.int64]:
        return np.stack([(observation > 0).sum(axis=1) % 3, np.zeros(len(observation))], 1).astype(
            int
        )

    export_minari("x-v0", spec, 4, seed=2, policy=policy)
    found, _ = import_minari("x-v0")
    recorded = record(spec, 4 * spec.horizon, seed=2, num_envs=4, policy=policy)
    by_episode = np.arange(len(recorded)).reshape(-1, 4).T.ravel()
    assert_equal(found, recorded[by_episode])
    assert found.do_target.any()


def test_metadata_tell_how_the_data_were_made(spec: SCMEnvSpec) -> None:
    export_minari("x-v0", spec, 1, seed=3, policy="observe")
    about = minari.load_dataset("x-v0").storage.metadata["causal_rl"]
    assert about["names"] == ["goal", "x", "y"]
    assert about["kinds"] == ["context", "state", "state"]
    assert about["settable"] == ["x", "y"]
    assert about["values"] == [-1 / 3, 0.1, 2.0]
    assert about["costs"] == {"x": 0.1, "y": 0.0}
    assert (about["world"], about["given"], about["options"]) == ("third-world", None, {})
    assert (about["policy"], about["p_noop"], about["seed"]) == ("observe", None, 3)


def test_built_in_worlds_can_be_made_again() -> None:
    options = {"n": 4, "density": 1.2, "horizon": 3}
    export_minari("er/x-v1", "er-scm", 2, options=options)
    dataset = minari.load_dataset("er/x-v1")
    about = dataset.storage.metadata["causal_rl"]
    assert (about["given"], about["options"]) == ("er-scm", options)
    env = dataset.recover_environment().unwrapped
    again = resolve_spec("er-scm", **options)
    assert env.scm_spec.causal_graph == again.causal_graph
    assert env.scm_spec.horizon == 3
    first = next(dataset.iterate_episodes())
    seed = next(iter(dataset.storage.get_episode_metadata([0])))["seed"]
    np.testing.assert_array_equal(env.reset(seed=seed)[0], first.observations[0])
    assert list(minari.list_local_datasets()) == ["er/x-v1"]


def test_seeds_decide(spec: SCMEnvSpec, tmp_path: Path) -> None:
    places = [
        export_minari("x-v0", spec, 3, seed=seed, p_noop=0.5, path=tmp_path / str(i))
        for i, seed in enumerate((1, 1, 2))
    ]
    first, again, other = (import_minari(place)[0] for place in places)
    assert_equal(first, again)
    assert not np.isin(other.state[:, 0], first.state[:, 0]).any()
    assert_equal(import_minari("x-v0", path=tmp_path / "0")[0], first)


def test_datasets_from_elsewhere() -> None:
    episodes = [episode(n, terminated=n != 3) for n in (4, 1, 3)]
    write_foreign("foreign/two-v0", episodes)
    found, graph = import_minari("foreign/two-v0")
    assert graph is None
    assert found.names == ("X1", "X2")
    assert len(found) == 8
    assert not found.do_target.any()
    np.testing.assert_array_equal(np.flatnonzero(found.terminated), [3, 4])
    np.testing.assert_array_equal(np.flatnonzero(found.truncated), [7])
    # No row joins two episodes, and the last one of each reaches its last observation.
    seen = [np.asarray(e.observations) for e in episodes]
    np.testing.assert_array_equal(found.state, np.vstack([rows[:-1] for rows in seen]))
    np.testing.assert_array_equal(found.next_state, np.vstack([rows[1:] for rows in seen]))
    np.testing.assert_array_equal(found.reward, np.concatenate([e.rewards for e in episodes]))
    np.testing.assert_array_equal(found.action, np.concatenate([e.actions for e in episodes]))


def test_some_episodes_of_a_dataset() -> None:
    dataset = write_foreign("f-v0", [episode(n, terminated=True) for n in (4, 1, 3)])
    found, _ = import_minari(dataset.filter_episodes(lambda kept: len(kept) > 1))
    assert len(found) == 7


def test_logs_of_interventions_from_elsewhere() -> None:
    values = np.random.default_rng(0).normal(size=(4, 2))
    target = np.array([[0, 0], [1, 0], [0, 1], [0, 0]], dtype=bool)
    space = spaces.Box(-np.inf, np.inf, (2,), np.float64)
    for i, infos in enumerate(
        (
            {"do_target": target, "do_value": np.where(target, values, 7.0)},  # reset in front
            {"do_target": target[1:]},  # steps alone, values not logged
        )
    ):
        kept = episode(3, terminated=False, infos=infos, observations=values)
        unlogged = episode(2, terminated=False, observations=values[:3])
        write_foreign(f"f-v{i}", [kept, unlogged], observation_space=space)
        found, _ = import_minari(f"f-v{i}")
        np.testing.assert_array_equal(found.do_target[:3], target[1:])
        assert not found.do_target[3:].any()
        np.testing.assert_array_equal(found.do_value[found.do_target], [values[1, 0], values[2, 1]])


def test_observations_and_actions_of_other_shapes() -> None:
    box = spaces.Box(0, 1, (2, 3), np.float64)
    observations = np.random.default_rng(0).random((4, 2, 3))
    actions = {"a": np.zeros(3, dtype=int)}
    write_foreign(
        "f-v0",
        [episode(3, terminated=True, observations=observations, actions=actions)],
        observation_space=box,
        action_space=spaces.Dict({"a": spaces.Discrete(2)}),
    )
    found, _ = import_minari("f-v0")
    np.testing.assert_array_equal(found.state, observations[:-1].reshape(3, 6))
    assert found.action is None


def test_discrete_observations_are_refused() -> None:
    kept = episode(3, terminated=True, observations=np.arange(4))
    write_foreign("f-v0", [kept], observation_space=spaces.Discrete(9))
    with pytest.raises(ValueError, match=r"dataset 'f-v0' has observations Discrete\(9\); only"):
        import_minari("f-v0")


def test_existing_datasets_stay_unless_they_may_go(spec: SCMEnvSpec, datasets: Path) -> None:
    export_minari("ns/x-v0", spec, 1, seed=1)
    before, _ = import_minari("ns/x-v0")
    with pytest.raises(ValueError, match=r"dataset_id 'ns/x-v0' exists already.*overwrite=True"):
        export_minari("ns/x-v0", spec, 2, seed=2)
    assert_equal(import_minari("ns/x-v0")[0], before)
    export_minari("ns/x-v0", spec, 2, seed=2, overwrite=True)
    assert len(import_minari("ns/x-v0")[0]) == 2 * spec.horizon
    (datasets / "mine-v0").mkdir()
    (datasets / "mine-v0" / "thesis.txt").write_text("years of work")
    with pytest.raises(ValueError, match=r"dataset_id 'mine-v0'.* is no dataset"):
        export_minari("mine-v0", spec, 1, overwrite=True)
    assert (datasets / "mine-v0" / "thesis.txt").exists()


def test_a_failed_export_leaves_nothing(spec: SCMEnvSpec, datasets: Path) -> None:
    calls = iter(range(8))

    def fails(observation: NDArray[np.float64]) -> NDArray[np.int64]:
        if next(calls) == 7:
            raise RuntimeError("the policy broke")
        return np.zeros((1, 2), dtype=int)

    with pytest.raises(RuntimeError, match="the policy broke"):
        export_minari("x-v0", spec, 3, policy=fails)
    assert list(datasets.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"dataset_id": "no-version"}, "dataset_id must be 'name-v0' or 'namespace/name-v0'"),
        ({"dataset_id": "../up-v0"}, "dataset_id must be"),
        ({"dataset_id": "n/short-v0"}, "dataset_id must be.*a namespace has two or more"),
        ({"dataset_id": 3}, "dataset_id must be.*got 3"),
        ({"n_episodes": 0}, "n_episodes must be an integer of at least 1, got 0"),
        ({"policy": "best"}, "policy must be 'random', 'observe' or callable"),
        ({"seed": -1}, "seed must lie in"),
        ({"p_noop": 2}, "p_noop must be None or a number"),
        ({"world": "er-smc"}, "unknown env 'er-smc'"),
        ({"options": {"n": 3}}, "options must be None where world is an SCMEnvSpec"),
        (
            {"world": "er-scm", "options": {"horizon": np.int64(3)}},
            "options must be plain numbers, strings and lists",
        ),
    ],
)
def test_bad_arguments_of_an_export(
    spec: SCMEnvSpec, arguments: dict[str, Any], message: str, datasets: Path
) -> None:
    given = {"dataset_id": "x-v0", "world": spec, "n_episodes": 1} | arguments
    with pytest.raises(ValueError, match=message) as raised:
        export_minari(**given)
    assert "\n" not in str(raised.value)
    assert not datasets.exists() or list(datasets.iterdir()) == []


def test_bad_arguments_of_an_import(spec: SCMEnvSpec, tmp_path: Path) -> None:
    folder = export_minari("ours/chain-v0", spec, 1)
    with pytest.raises(ValueError, match=r"dataset 'ours/chian-v0' is not in .*ours/chain-v0"):
        import_minari("ours/chian-v0")
    with pytest.raises(ValueError, match="dataset_id must be"):
        import_minari("chain")
    with pytest.raises(ValueError, match="is not the folder of a Minari dataset"):
        import_minari(tmp_path)
    with pytest.raises(TypeError, match="dataset must be an id, a Path or a MinariDataset, got in"):
        import_minari(3)
    metadata = folder / "data" / "metadata.json"
    text = metadata.read_text()
    metadata.write_text(re.sub(r"causal_rl\.minari/1", "causal_rl.minari/9", text))
    with pytest.raises(ValueError, match=r"has the format 'causal_rl\.minari/9'; known is"):
        import_minari("ours/chain-v0")
    del (fewer := json.loads(text))["minari_version"]
    metadata.write_text(json.dumps(fewer))
    with pytest.raises(ValueError, match="cannot be read: KeyError 'minari_version'"):
        import_minari("ours/chain-v0")
    metadata.write_text(text)
    (folder / "data" / "main_data.hdf5").write_bytes(b"no hdf5")
    with pytest.raises(ValueError, match="dataset 'ours/chain-v0' cannot be read: OSError"):
        import_minari("ours/chain-v0")
