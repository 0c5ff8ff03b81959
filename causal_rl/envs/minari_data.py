"""Worlds to Minari datasets and Minari datasets to transitions, on this machine's disk alone."""

from __future__ import annotations

import copy
import difflib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.envs.registration import EnvSpec
from numpy.typing import NDArray

from causal_rl.discovery import Transitions
from causal_rl.envs.recording import (
    Behaviour,
    behaviour,
    first_env_seed,
    read_count,
    resolve_world,
)
from causal_rl.envs.registry import NAMESPACE, VERSION
from causal_rl.envs.scalar import SCMEnv
from causal_rl.envs.spec import SCMEnvSpec
from causal_rl.errors import import_extra
from causal_rl.graphs import CausalGraph

#: Key of a dataset's metadata under which this package keeps what it knows of the world.
METADATA_KEY = "causal_rl"
_FORMAT = "causal_rl.minari/1"
_EXTRA = "minari"
# What Minari and h5py raise on files that are not what their metadata say.
_DAMAGE = (AssertionError, KeyError, OSError, TypeError, ValueError)
_FLAT_ACTIONS = (spaces.Box, spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary)


def export_minari(
    dataset_id: str,
    world: str | SCMEnvSpec,
    n_episodes: int,
    *,
    policy: Behaviour = "random",
    seed: int = 0,
    p_noop: float | None = None,
    options: Mapping[str, Any] | None = None,
    path: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
) -> Path:
    """Record whole episodes of a world as a Minari dataset (HDF5).

    Episode i is ``SCMEnv(world).reset(seed=first + i)``, where ``first`` depends on ``seed``; the
    episode keeps its own seed. Its infos have ``do_target`` and ``do_value``, one row more than
    there are steps, as Minari has it: row 0 belongs to the reset. The metadata have, under the key
    "causal_rl", the true causal graph, names and kinds of the columns, the action space (settable,
    values, costs), the world's name and options, and how the data were drawn. The dataset appears
    whole or not at all.

    Args:
        dataset_id: as Minari has it, "name-v0" or "namespace/name-v0".
        world: a specification, or whatever :func:`~causal_rl.envs.resolve_spec` takes. Built-in
            worlds given by name can be made again by the dataset's ``recover_environment()``.
        n_episodes: episodes, at least 1.
        policy: "random", "observe", or a callable from observations (1, n_observed) to actions
            (1, 2); see :func:`~causal_rl.envs.recording.record`.
        seed: of the episodes and of the random actions.
        p_noop: None, or the share of steps in [0, 1] that are made observational.
        options: options of a world given by name.
        path: folder of the datasets; None for Minari's own, ``MINARI_DATASETS_PATH`` or
            ``~/.minari/datasets``, the only one in which ``minari.load_dataset`` looks.
        overwrite: replace a dataset of this id.

    Returns:
        The dataset's folder, which :func:`import_minari` reads.

    Raises:
        ValueError: an argument out of its range, a malformed or existing id, or an unknown world;
            the argument is named.
        TypeError: an argument of another type.
        MissingExtraError: Minari or h5py is not installed.
    """
    _import_minari()
    import_extra("h5py", extra=_EXTRA)
    spec = resolve_world(world, options)
    n_episodes = read_count("n_episodes", n_episodes)
    act = behaviour(spec, policy, seed=seed, p_noop=p_noop)
    about = {
        "format": _FORMAT,
        "world": spec.name,
        "given": world if isinstance(world, str) else None,
        "options": _plain(options),
        "graph": spec.causal_graph.to_dict(),
        "names": list(spec.observed_names),
        "kinds": list(spec.observed_kinds),
        **_actions_metadata(spec),
        "horizon": spec.horizon,
        "policy": policy if isinstance(policy, str) else _title(policy),
        "p_noop": p_noop if p_noop is None else float(p_noop),
        "seed": int(seed),
    }
    folder = _root(path) / _checked_id(dataset_id)
    _check_free(folder, dataset_id, overwrite)
    folder.parent.mkdir(parents=True, exist_ok=True)
    outer = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    try:
        fresh = outer / "new"
        fresh.mkdir()
        storage = _new_storage(fresh / "data", spec, _env_spec(world, options))
        storage.update_metadata(
            {
                "dataset_id": dataset_id,
                "minari_version": _import_minari().__version__,
                "algorithm_name": about["policy"],
                "description": spec.description or f"Episodes of {spec.name}",
                METADATA_KEY: about,
            }
        )
        storage.update_episodes(_episodes(spec, act, n_episodes, first_env_seed(seed)))
        if folder.exists():
            os.replace(folder, outer / "old")
        os.replace(fresh, folder)
    finally:
        shutil.rmtree(outer, ignore_errors=True)
    return folder


def import_minari(
    dataset: str | os.PathLike[str] | Any, *, path: str | os.PathLike[str] | None = None
) -> tuple[Transitions, CausalGraph | None]:
    """Read a Minari dataset as transitions, in the order of episodes and steps.

    Every dataset with ``Box`` observations can be read. Observations of several axes are
    flattened, row by row. Actions that are no numbers (``Dict``, ``Tuple``, ``Text``) are left
    out. Where the infos have no ``do_target``, nothing counts as set; variables of datasets from
    elsewhere are named ``X1 .. Xn``. Nothing is downloaded.

    Args:
        dataset: an id, a dataset's folder as a ``Path``, or a ``minari.MinariDataset`` (of which
            the episodes that it selects are read).
        path: folder of the datasets in which an id is looked up, see :func:`export_minari`.

    Returns:
        The transitions, and the true causal graph, or None where the dataset has none.

    Raises:
        ValueError: an unknown or damaged dataset, other observations than ``Box``, or none at all.
        TypeError: ``dataset`` of another type.
        MissingExtraError: Minari is not installed.
    """
    found = _open(dataset, path)
    metadata = found.storage.metadata
    title = f"dataset {metadata.get('dataset_id')!r}"
    space = found.observation_space
    if not isinstance(space, spaces.Box):
        raise ValueError(f"{title} has observations {space}; only Box observations can be imported")
    about = metadata.get(METADATA_KEY)
    if about is not None and about.get("format") != _FORMAT:
        raise ValueError(f"{title} has the format {about.get('format')!r}; known is {_FORMAT!r}")
    flat = isinstance(found.action_space, _FLAT_ACTIONS)
    parts = [_columns(episode, flat, title) for episode in _read(found, title)]
    if not any(len(part["reward"]) for part in parts):
        raise ValueError(f"{title} has no steps")
    columns: dict[str, Any] = {
        name: None
        if any(part[name] is None for part in parts)
        else np.concatenate([part[name] for part in parts])
        for name in parts[0]
    }
    transitions = Transitions(
        **columns,
        names=None if about is None else about["names"],
        kinds=None if about is None else about["kinds"],
    )
    return transitions, None if about is None else CausalGraph.from_dict(about["graph"])


# --- writing ---------------------------------------------------------------------------------


def _episodes(spec: SCMEnvSpec, act: Any, count: int, first: int) -> Iterator[Any]:
    """Whole episodes as Minari's buffers, one at a time, so that few are in memory."""
    buffer = import_extra("minari.data_collector.episode_buffer", extra=_EXTRA).EpisodeBuffer
    env = SCMEnv(spec)
    for seed in range(first, first + count):
        observation, info = env.reset(seed=seed)
        observations, infos = [observation], [info]
        actions: list[NDArray[np.int64]] = []
        rewards: list[float] = []
        terminations: list[bool] = []
        truncations: list[bool] = []
        done = False
        while not done:
            action = act(observation[None])[0]
            observation, reward, terminated, truncated, info = env.step(action)
            done = terminated or truncated
            observations.append(observation)
            infos.append(info)
            actions.append(action)
            rewards.append(reward)
            terminations.append(terminated)
            truncations.append(truncated)
        yield buffer(
            seed=seed,
            observations=np.stack(observations),
            actions=np.stack(actions),
            rewards=np.array(rewards),
            terminations=np.array(terminations),
            truncations=np.array(truncations),
            infos={key: np.stack([row[key] for row in infos]) for key in ("do_target", "do_value")},
        )


def _new_storage(data: Path, spec: SCMEnvSpec, env_spec: EnvSpec | None) -> Any:
    storage = import_extra("minari.dataset.minari_storage", extra=_EXTRA).MinariStorage
    return storage.new(
        data,
        observation_space=spec.observation_space(),
        action_space=spec.action_space(),
        env_spec=env_spec,
        data_format="hdf5",
    )


def _actions_metadata(spec: SCMEnvSpec) -> dict[str, Any]:
    given = spec.interventions
    values: Any = given.values
    if isinstance(values, Mapping):
        values = {str(name): [float(v) for v in row] for name, row in values.items()}
    else:
        values = [float(v) for v in values]
    costs = dict(zip(given.settable, given.costs[1:].tolist(), strict=True))
    return {"settable": list(given.settable), "values": values, "costs": costs}


def _env_spec(world: str | SCMEnvSpec, options: Mapping[str, Any] | None) -> EnvSpec | None:
    """What Minari makes the world again from; only built-in worlds are known everywhere."""
    if not isinstance(world, str):
        return None
    name = world.removeprefix(f"{NAMESPACE}/").removesuffix(f"-v{VERSION}")
    registered = gymnasium.registry.get(f"{NAMESPACE}/{name}-v{VERSION}")
    if registered is None or not isinstance(registered.entry_point, str):
        return None
    again = copy.deepcopy(registered)
    again.kwargs |= dict(options or {})
    return again


def _plain(options: Mapping[str, Any] | None) -> dict[str, Any]:
    try:
        plain: dict[str, Any] = json.loads(json.dumps(dict(options or {}), allow_nan=False))
    except (TypeError, ValueError) as error:
        raise ValueError(f"options must be plain numbers, strings and lists: {error}") from None
    return plain


def _title(policy: object) -> str:
    return str(getattr(policy, "__qualname__", type(policy).__qualname__))


def _check_free(folder: Path, dataset_id: str, overwrite: bool) -> None:
    if not folder.exists():
        return
    if not overwrite:
        raise ValueError(
            f"dataset_id {dataset_id!r} exists already in {folder.parent}; take another version or "
            "pass overwrite=True"
        )
    if not _is_dataset(folder):
        raise ValueError(f"dataset_id {dataset_id!r}: {folder} is no dataset, so it is left alone")


# --- reading ---------------------------------------------------------------------------------


def _open(dataset: Any, path: str | os.PathLike[str] | None) -> Any:
    minari = _import_minari()
    if isinstance(dataset, minari.MinariDataset):
        return dataset
    if isinstance(dataset, str):
        root = _root(path)
        folder = root / _checked_id(dataset)
        if not _is_dataset(folder):
            raise ValueError(f"dataset {dataset!r} is not in {root}{_hint(dataset, root)}")
    elif isinstance(dataset, os.PathLike):
        folder = Path(dataset)
        if not _is_dataset(folder):
            raise ValueError(f"dataset {os.fspath(folder)!r} is not the folder of a Minari dataset")
    else:
        raise TypeError(
            f"dataset must be an id, a Path or a MinariDataset, got {type(dataset).__name__}"
        )
    try:
        return minari.MinariDataset(folder / "data")
    except _DAMAGE as error:
        raise ValueError(f"dataset {str(dataset)!r} cannot be read: {_line(error)}") from error


def _read(dataset: Any, title: str) -> list[Any]:
    try:
        return list(dataset.iterate_episodes())
    except _DAMAGE as error:
        raise ValueError(f"{title} cannot be read: {_line(error)}") from error


def _line(error: Exception) -> str:
    return f"{type(error).__name__} {' '.join(str(error).split())}"


def _columns(episode: Any, flat: bool, title: str) -> dict[str, Any]:
    """One episode as the arrays of `Transitions`."""
    steps = len(episode.rewards)
    observations = np.asarray(episode.observations)
    if len(observations) != steps + 1:
        raise ValueError(
            f"{title}, episode {episode.id}: {len(observations)} observations for {steps} steps; "
            "there must be one more than steps"
        )
    states = observations.reshape(steps + 1, -1)
    actions = np.asarray(episode.actions) if flat else None
    if actions is not None and actions.ndim > 2:
        actions = actions.reshape(steps, -1)
    next_state = states[1:]
    logged = episode.infos or {}
    do_target = _info_rows(logged, "do_target", next_state.shape, f"{title}, episode {episode.id}")
    do_value = _info_rows(logged, "do_value", next_state.shape, f"{title}, episode {episode.id}")
    return {
        "state": states[:-1],
        "action": actions,
        "reward": np.asarray(episode.rewards),
        "next_state": next_state,
        "terminated": np.asarray(episode.terminations),
        "truncated": np.asarray(episode.truncations),
        "do_target": np.zeros(next_state.shape, dtype=np.bool_) if do_target is None else do_target,
        # What was set is what is seen, should only the targets have been logged.
        "do_value": next_state if do_target is None or do_value is None else do_value,
    }


def _info_rows(
    infos: Mapping[str, Any], key: str, shape: tuple[int, ...], title: str
) -> NDArray[Any] | None:
    """The rows of steps in an info; Minari puts one of the reset before them, if it has any."""
    if key not in infos:
        return None
    rows = np.asarray(infos[key])
    rows = rows[1:] if len(rows) == shape[0] + 1 else rows
    if rows.shape != shape:
        raise ValueError(f"{title}: info {key!r} has steps of shape {rows.shape}, not {shape}")
    return rows


# --- places ----------------------------------------------------------------------------------


def _import_minari() -> Any:
    return import_extra("minari", extra=_EXTRA)


def _root(path: str | os.PathLike[str] | None) -> Path:
    if path is not None:
        return Path(path)
    place: Path = import_extra("minari.storage", extra=_EXTRA).get_dataset_path()
    return place


def _checked_id(dataset_id: object) -> str:
    parse = import_extra("minari.dataset.minari_dataset", extra=_EXTRA).parse_dataset_id
    if isinstance(dataset_id, str):
        try:
            parse(dataset_id)
        except (TypeError, ValueError):  # TypeError: an id without a version
            pass
        else:
            return dataset_id
    raise ValueError(
        f"dataset_id must be 'name-v0' or 'namespace/name-v0' of letters, digits, '-' and '_' (a "
        f"namespace has two or more), got {dataset_id!r}"
    )


def _is_dataset(folder: Path) -> bool:
    return (folder / "data" / "metadata.json").is_file()


def _hint(dataset_id: str, root: Path) -> str:
    known = sorted(
        file.parent.parent.relative_to(root).as_posix()
        for file in root.glob("**/data/metadata.json")
    )
    near = difflib.get_close_matches(dataset_id, known, n=3, cutoff=0.5)
    return f"; did you mean {' or '.join(near)}?" if near else ""
