"""Names of worlds: registration with Gymnasium, and finding a world by name, file or module."""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import importlib
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import gymnasium
from gymnasium.envs.registration import ENV_ID_RE
from gymnasium.vector import AutoresetMode

from causal_rl.envs.interventions import Interventions
from causal_rl.envs.scalar import SCMEnv
from causal_rl.envs.shifts import standard_shifts
from causal_rl.envs.spec import SCMEnvSpec, Shift
from causal_rl.envs.vector import SCMVectorEnv
from causal_rl.envs.worlds import BUILT_IN
from causal_rl.scm import DynamicSCM, Variable

NAMESPACE = "causal_rl"
VERSION = 0

#: Simulators of Gymnasium's under their known graph, by short name; see `gym_dynamics`.
GYM_FACTORIES = {
    "cartpole": "make_cartpole",
    "mountain-car": "make_mountain_car",
    "pendulum": "make_pendulum",
}

#: A reward: its variable, or the names it reads and a function of their columns.
Reward = Variable | tuple[Sequence[str], Callable[..., Any]]

# Worlds that users registered, by short name; like Gymnasium's own registry, one a process.
_CUSTOM: dict[str, SCMEnvSpec] = {}


def register_env(
    name: str,
    world: DynamicSCM | SCMEnvSpec,
    *,
    reward: Reward | None = None,
    actions: Interventions | Sequence[str] | None = None,
    horizon: int = 32,
    shifts: Mapping[str, Shift] | None = None,
    description: str = "",
) -> SCMEnvSpec:
    """Register a world with Gymnasium as ``causal_rl/<name>-v0``.

    Afterwards ``gymnasium.make("causal_rl/<name>")``, ``gymnasium.make_vec`` and the programs'
    ``--env <name>`` find it. Registering a name of one's own again replaces the world.

    Args:
        name: letters, digits, "-", "_" and "."; not the name of a built-in world.
        world: the model; or a whole specification, and then nothing else is given.
        reward: a ``Variable`` of kind "reward"; or ``(parents, function)`` with one array (batch,)
            a parent coming in and one going out; None if ``world`` has a reward already.
        actions: an :class:`Interventions`; or names that may be set, at 7 values on [-2, 2] without
            cost; None for every observed state and action variable.
        horizon: steps of an episode.
        shifts: named changes for test time; None gives those that every world has, ``noise`` and
            ``mechanism``.
        description: a sentence for listings.

    Returns:
        The specification that was registered.

    Raises:
        ValueError: a bad name, two rewards or none, what :class:`SCMEnvSpec` refuses, or a
            mechanism that fails a dry run; the variable is named.
        TypeError: an argument of another type.
    """
    match = ENV_ID_RE.fullmatch(name) if isinstance(name, str) else None
    if match is None or match["namespace"] or match["version"]:
        raise ValueError(
            f"name must be letters, digits, '-', '_' or '.', without namespace and version, got "
            f"{name!r}"
        )
    if name in BUILT_IN or name in GYM_FACTORIES:
        raise ValueError(f"name {name!r} is a built-in world; choose another")
    if isinstance(world, SCMEnvSpec):
        if reward is not None or actions is not None or shifts is not None:
            raise ValueError("world is a whole SCMEnvSpec: reward, actions and shifts must be None")
        spec = dataclasses.replace(world, name=name)
    else:
        spec = _build(name, world, reward, actions, horizon, shifts, description)
    spec.scm.check()
    env_id = f"{NAMESPACE}/{name}-v{VERSION}"
    gymnasium.registry.pop(env_id, None)  # replacing one's own world needs no warning
    # The specification travels in the entry point, so that worker processes need no registry.
    gymnasium.register(
        env_id,
        entry_point=partial(make_env, spec),
        vector_entry_point=partial(make_vector_env, spec),
    )
    _CUSTOM[name] = spec
    return spec


def list_envs() -> dict[str, str]:
    """Short names of all worlds with a sentence on each, the built-in ones first."""
    return {name: world.description for name, world in BUILT_IN.items()} | {
        name: spec.description for name, spec in _CUSTOM.items()
    }


def resolve_spec(text: str, *, shift: str | None = None, **kwargs: Any) -> SCMEnvSpec:
    """Find a world.

    Args:
        text: a short name ("chain-scm"), a Gymnasium id ("causal_rl/chain-scm-v0", with or without
            version), "path/to/file.py:NAME" or "module:NAME", where NAME is an
            :class:`SCMEnvSpec` or a callable that returns one.
        shift: name of a shift to apply, or None.
        **kwargs: options of a built-in world (see ``WorldOptions``), or arguments of the callable;
            ``horizon`` is understood by every world.

    Returns:
        The specification.

    Raises:
        ValueError: nothing is found there (the nearest names are offered), an option is unknown or
            out of range, the file fails to load, or a mechanism of its world fails a dry run (the
            variable is named). The message is one line.
    """
    if not isinstance(text, str) or not text.strip():
        raise ValueError(f"env must be a name, 'file.py:NAME' or 'module:NAME', got {text!r}")
    spec = _from_code(text, kwargs) if ":" in text else _from_name(text, kwargs)
    return spec if shift is None else spec.shifted(shift)


def make_env(
    world: str | SCMEnvSpec,
    *,
    shift: str | None = None,
    render_mode: str | None = None,
    **kwargs: Any,
) -> SCMEnv:
    """Entry point of ``gymnasium.make``.

    Args:
        world: a specification, or whatever :func:`resolve_spec` takes.
        shift: name of a shift to apply, or None.
        render_mode: None or "rgb_array".
        **kwargs: see :func:`resolve_spec`.

    Raises:
        ValueError: see :func:`resolve_spec`.
    """
    return SCMEnv(_resolve(world, shift, kwargs), render_mode=render_mode)


def make_vector_env(
    world: str | SCMEnvSpec,
    num_envs: int = 1,
    *,
    shift: str | None = None,
    autoreset_mode: AutoresetMode | str = AutoresetMode.SAME_STEP,
    render_mode: str | None = None,
    max_episode_steps: int | None = None,
    **kwargs: Any,
) -> SCMVectorEnv:
    """Entry point of ``gymnasium.make_vec``.

    Args:
        world: a specification, or whatever :func:`resolve_spec` takes.
        num_envs: copies.
        shift: name of a shift to apply, or None.
        autoreset_mode: SAME_STEP or NEXT_STEP, see :class:`SCMVectorEnv`.
        render_mode: None or "rgb_array".
        max_episode_steps: what ``gymnasium.make`` does by a wrapper: truncate at this many steps if
            the horizon is longer.
        **kwargs: see :func:`resolve_spec`.

    Raises:
        ValueError: see :func:`resolve_spec`.
    """
    spec = _resolve(world, shift, kwargs)
    if max_episode_steps is not None:
        spec = spec.replace(horizon=min(spec.horizon, max_episode_steps))
    return SCMVectorEnv(spec, num_envs, autoreset_mode=autoreset_mode, render_mode=render_mode)


def register_built_in() -> None:
    """Make the built-in worlds known to Gymnasium; the package does it when it is imported."""
    for name in BUILT_IN:
        env_id = f"{NAMESPACE}/{name}-v{VERSION}"
        if env_id not in gymnasium.registry:
            gymnasium.register(
                env_id,
                entry_point="causal_rl.envs.registry:make_env",
                vector_entry_point="causal_rl.envs.registry:make_vector_env",
                kwargs={"world": name},
            )
    for name, factory in GYM_FACTORIES.items():
        env_id = f"{NAMESPACE}/{name}-v{VERSION}"
        if env_id not in gymnasium.registry:
            gymnasium.register(env_id, entry_point=f"causal_rl.envs.gym_dynamics:{factory}")


def _build(
    name: str,
    world: DynamicSCM,
    reward: Reward | None,
    actions: Interventions | Sequence[str] | None,
    horizon: int,
    shifts: Mapping[str, Shift] | None,
    description: str,
) -> SCMEnvSpec:
    if not isinstance(world, DynamicSCM):
        raise TypeError(f"world must be a DynamicSCM or SCMEnvSpec, got {type(world).__name__}")
    if reward is not None:
        if world.reward is not None:
            raise ValueError(f"world has the reward {world.reward.name!r} already; give one")
        world = DynamicSCM([*world.variables, _reward_variable(reward)])
    if actions is None:
        actions = [
            name
            for name, kind in zip(world.names, world.kinds, strict=False)
            if kind in ("state", "action")
        ]
    if not isinstance(actions, Interventions):
        actions = Interventions(actions)
    return SCMEnvSpec(
        name=name,
        scm=world,
        interventions=actions,
        horizon=horizon,
        shifts=standard_shifts() if shifts is None else shifts,
        description=description,
    )


def _reward_variable(reward: Reward) -> Variable:
    if isinstance(reward, Variable):
        if reward.kind != "reward":
            raise ValueError(f"reward must be a Variable of kind 'reward', got {reward.kind!r}")
        return reward
    if not isinstance(reward, tuple) or len(reward) != 2 or not callable(reward[1]):
        raise TypeError(f"reward must be a Variable or a pair (parents, function), got {reward!r}")
    parents, function = reward
    names = (parents,) if isinstance(parents, str) else tuple(parents)
    return Variable(name="reward", kind="reward", parents=names, mechanism=function)


def _resolve(world: str | SCMEnvSpec, shift: str | None, kwargs: dict[str, Any]) -> SCMEnvSpec:
    if isinstance(world, str):
        return resolve_spec(world, shift=shift, **kwargs)
    spec = _with_options(world, kwargs)
    return spec if shift is None else spec.shifted(shift)


def _from_name(text: str, kwargs: dict[str, Any]) -> SCMEnvSpec:
    name = text.removeprefix(f"{NAMESPACE}/").removesuffix(f"-v{VERSION}")
    if name in _CUSTOM:
        return _with_options(_CUSTOM[name], kwargs)
    if name in GYM_FACTORIES:
        raise ValueError(
            f"env {text!r} is one of Gymnasium's simulators and has no SCM to run or shift; make "
            f"with gymnasium.make('{NAMESPACE}/{name}-v{VERSION}')"
        )
    if name not in BUILT_IN:
        known = [*BUILT_IN, *_CUSTOM]
        near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(known)}"
        if name.endswith(".py"):
            hint = "a world in a file is given as file.py:NAME"
        raise ValueError(f"unknown env {text!r}; {hint}")
    world = BUILT_IN[name]
    allowed = [field.name for field in dataclasses.fields(world.options)]
    unknown = next((key for key in kwargs if key not in allowed), None)
    if unknown is not None:
        raise ValueError(
            f"env {name!r} has no option {unknown!r}; its options are {', '.join(allowed)}"
        )
    return world.make(**kwargs)


def _with_options(spec: SCMEnvSpec, kwargs: dict[str, Any]) -> SCMEnvSpec:
    unknown = next((key for key in kwargs if key != "horizon"), None)
    if unknown is not None:
        raise ValueError(f"env {spec.name!r} has no option {unknown!r}; its options are horizon")
    return spec.replace(**kwargs) if kwargs else spec


def _from_code(text: str, kwargs: dict[str, Any]) -> SCMEnvSpec:
    place, _, attribute = text.rpartition(":")
    if not place or not attribute:
        raise ValueError(f"env {text!r} must be 'path/to/file.py:NAME' or 'module:NAME'")
    module = _load(text, place)
    if not hasattr(module, attribute):
        offered = [
            key
            for key, value in vars(module).items()
            if isinstance(value, SCMEnvSpec) or (callable(value) and not key.startswith("_"))
        ]
        near = difflib.get_close_matches(attribute, offered, n=3, cutoff=0.5)
        specs = near or [key for key in offered if isinstance(vars(module)[key], SCMEnvSpec)]
        hint = f"; did you mean {' or '.join(specs)}?" if specs else ""
        raise ValueError(f"env {text!r}: {place} has no {attribute!r}{hint}")
    found = getattr(module, attribute)
    if isinstance(found, SCMEnvSpec):
        spec = _with_options(found, kwargs)
    elif callable(found):
        spec = _called(text, found, kwargs)
    else:
        raise ValueError(
            f"env {text!r} must be an SCMEnvSpec or a callable that returns one, got "
            f"{type(found).__name__}"
        )
    spec.scm.check()
    return spec


def _called(text: str, function: Callable[..., Any], kwargs: dict[str, Any]) -> SCMEnvSpec:
    try:
        made = function(**kwargs)
    except Exception as error:
        raise ValueError(f"env {text!r} failed: {_one_line(error)}") from error
    if not isinstance(made, SCMEnvSpec):
        raise ValueError(f"env {text!r} must return an SCMEnvSpec, got {type(made).__name__}")
    return made


def _load(text: str, place: str) -> ModuleType:
    if not place.endswith(".py"):
        try:
            return importlib.import_module(place)
        except Exception as error:
            raise ValueError(
                f"env {text!r}: importing {place} failed: {_one_line(error)}"
            ) from error
    path = Path(place).resolve()
    if not path.is_file():
        raise ValueError(f"env {text!r}: there is no file {place}")
    # Functions of the file pickle by module name, so the name must find the module again.
    name = f"_causal_rl_world_{hashlib.sha256(str(path).encode()).hexdigest()[:12]}"
    module = ModuleType(name)
    module.__file__ = str(path)
    previous = sys.modules.get(name)
    sys.modules[name] = module
    try:
        # Not through the import system: its bytecode cache misses two edits in one second.
        exec(compile(path.read_text(encoding="utf-8"), str(path), "exec"), vars(module))
    except Exception as error:
        if previous is None:
            del sys.modules[name]
        else:
            sys.modules[name] = previous
        line = _line_in(error, str(path))
        raise ValueError(f"env {text!r}: {place}{line} failed: {_one_line(error)}") from error
    return module


def _line_in(error: BaseException, file: str) -> str:
    """Where in ``file`` the error arose, as ``, line N``; empty if it never was there."""
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == file]
    if isinstance(error, SyntaxError) and error.filename == file:
        lines.append(error.lineno)
    return f", line {lines[-1]}" if lines and lines[-1] is not None else ""


def _one_line(error: Exception) -> str:
    message = " ".join(str(error).split())
    return message if isinstance(error, ValueError) else f"{type(error).__name__}: {message}"
