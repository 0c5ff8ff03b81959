"""Transitions of a world: the one place where steps become rows, in every autoreset mode."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal

import numpy as np
from gymnasium.vector import AutoresetMode
from numpy.typing import ArrayLike, NDArray

from causal_rl.discovery import Transitions
from causal_rl.envs.registry import resolve_spec
from causal_rl.envs.scalar import check_seed
from causal_rl.envs.spec import SCMEnvSpec
from causal_rl.envs.vector import SCMVectorEnv

#: Observations float64 (batch, n_observed) -> actions int (batch, 2).
Policy = Callable[[NDArray[np.float64]], ArrayLike]
#: "random" draws target ("no intervention" among them) and value uniformly, "observe" never acts.
Behaviour = Literal["random", "observe"] | Policy

# Recordings of different seeds share neither an environment's seed nor a random number.
_SEEDS_APART = 1_000_000
_SEED_OFFSET = 300_000
_ACTION_STREAM, _NOOP_STREAM = 11, 12


@dataclass(frozen=True, eq=False)
class VectorStep:
    """One step of every environment, whatever the autoreset mode did to what was returned.

    Attributes:
        state: (envs, n) the observations before the step.
        action: (envs,) or (envs, k).
        reward: float64 (envs,).
        next_state: (envs, n) the states reached: before any reset.
        terminated: bool (envs,).
        truncated: bool (envs,).
        do_target: bool (envs, n) the variables that this step set; None where the environments
            log no interventions.
        do_value: (envs, n) the values set, or None.
        reset: bool (envs,) rows that only began an episode and are no transitions.
    """

    state: NDArray[np.floating]
    action: NDArray[Any]
    reward: NDArray[np.float64]
    next_state: NDArray[np.floating]
    terminated: NDArray[np.bool_]
    truncated: NDArray[np.bool_]
    do_target: NDArray[np.bool_] | None
    do_value: NDArray[np.floating] | None
    reset: NDArray[np.bool_]

    def __len__(self) -> int:
        """Transitions in this step: the environments that were not busy with a reset."""
        return len(self.reset) - int(self.reset.sum())

    def environments(self, chosen: slice) -> VectorStep:
        """The step of some of the environments, as views."""
        given: dict[str, Any] = {}
        for item in fields(self):
            column = getattr(self, item.name)
            given[item.name] = None if column is None else column[chosen]
        return VectorStep(**given)


def vector_step(
    observation: ArrayLike,
    action: ArrayLike,
    outcome: tuple[Any, Any, Any, Any, Mapping[str, Any]],
    *,
    autoreset_mode: AutoresetMode | str = AutoresetMode.SAME_STEP,
    reset: ArrayLike | None = None,
) -> VectorStep:
    """Put right what one call of a vector environment's ``step`` returned.

    Nothing given is changed. Works for every Gymnasium vector environment with flat observations;
    interventions are read from ``info["do_target"]`` and ``info["do_value"]`` where they are.

    Args:
        observation: (envs, n) what the environments showed before the step.
        action: (envs,) or (envs, k) what was done.
        outcome: what ``step(action)`` returned: observations, rewards, terminations, truncations,
            info.
        autoreset_mode: of the environments. SAME_STEP: rows that are done get their state from
            ``info["final_obs"]`` and their intervention from ``info["final_info"]``. NEXT_STEP:
            the rows in ``reset`` are marked. DISABLED: rows are what they seem.
        reset: for NEXT_STEP alone, and needed there: bool (envs,), the rows that were terminated or
            truncated in the step before (none after a reset); their step was the reset.

    Returns:
        The step with its rows right.

    Raises:
        ValueError: shapes that do not fit, an unknown mode, ``reset`` missing or superfluous, or an
            info without the final observations that SAME_STEP promises.
    """
    mode = read_mode(autoreset_mode)
    after, reward, terminated, truncated, info = outcome
    state, next_state = np.asarray(observation), np.asarray(after)
    if state.ndim != 2 or state.shape != next_state.shape:
        raise ValueError(
            f"observation must be (envs, n), as what step returned, got {state.shape} and "
            f"{next_state.shape}"
        )
    terminated = _flags("terminations", terminated, len(state))
    truncated = _flags("truncations", truncated, len(state))
    do_target, do_value = info.get("do_target"), info.get("do_value")
    done = terminated | truncated
    if mode is AutoresetMode.NEXT_STEP:
        if reset is None:
            raise ValueError(
                "reset must be given with NEXT_STEP: the rows that were done in the step before"
            )
        began = _flags("reset", reset, len(state))
    elif reset is not None:
        raise ValueError(f"reset must be None with {mode.name}, which spends no step on a reset")
    else:
        began = np.zeros(len(state), dtype=np.bool_)
    if mode is AutoresetMode.SAME_STEP and done.any():
        final = _final(info, "final_obs")
        next_state = next_state.copy()
        next_state[done] = np.stack(list(final[done]))
        if do_target is not None:
            final = _final(info, "final_info")
            column = done[:, None]
            do_target = np.where(column, _final(final, "do_target"), do_target)
            do_value = np.where(column, _final(final, "do_value"), do_value)
    return VectorStep(
        state=state,
        action=np.asarray(action),
        reward=np.asarray(reward, dtype=np.float64),
        next_state=next_state,
        terminated=terminated,
        truncated=truncated,
        do_target=do_target,
        do_value=do_value,
        reset=began,
    )


def transitions_step(rows: Transitions) -> VectorStep:
    """Transitions as one step of as many environments.

    Args:
        rows: with actions and rewards; rows without flags count as neither terminated nor
            truncated.

    Raises:
        ValueError: no actions, or no rewards.
    """
    if rows.action is None or rows.reward is None:
        raise ValueError("rows must have actions and rewards")
    none = np.zeros(len(rows), dtype=np.bool_)
    return VectorStep(
        state=rows.state,
        action=rows.action,
        reward=rows.reward,
        next_state=rows.next_state,
        terminated=none if rows.terminated is None else rows.terminated,
        truncated=none if rows.truncated is None else rows.truncated,
        do_target=rows.do_target,
        do_value=rows.do_value,
        reset=none,
    )


def vector_transitions(
    steps: VectorStep | Iterable[VectorStep],
    *,
    names: Sequence[str] | None = None,
    kinds: Sequence[str] | None = None,
    reward_node: bool = True,
) -> Transitions:
    """Steps of a vector environment as transitions, one row an environment and step.

    Args:
        steps: one step or several, in order; the rows of a step keep the environments' order.
        names: names of the observed variables; default ``X1 .. Xn``.
        kinds: their kinds; default all "state".
        reward_node: keep the rewards, which a learner with ``reward_node=True`` reads.

    Returns:
        The transitions. Rows spent on a reset are not among them.

    Raises:
        ValueError: no step, or what :class:`~causal_rl.discovery.Transitions` refuses.
    """
    several = [steps] if isinstance(steps, VectorStep) else list(steps)
    if not several:
        raise ValueError("steps is empty; it needs at least one step")

    def rows(name: str) -> NDArray[Any]:
        return np.concatenate([getattr(step, name) for step in several])

    logged = all(step.do_target is not None for step in several)
    return Transitions(
        state=rows("state"),
        action=rows("action"),
        reward=rows("reward") if reward_node else None,
        next_state=rows("next_state"),
        terminated=rows("terminated"),
        truncated=rows("truncated"),
        do_target=rows("do_target") if logged else None,
        do_value=rows("do_value") if logged else None,
        reset=rows("reset"),
        names=names,
        kinds=kinds,
    )


def record(
    world: str | SCMEnvSpec,
    n: int,
    *,
    policy: Behaviour = "random",
    seed: int = 0,
    num_envs: int = 32,
    p_noop: float | None = None,
    reward_node: bool = True,
    autoreset_mode: AutoresetMode | str = AutoresetMode.SAME_STEP,
    options: Mapping[str, Any] | None = None,
) -> Transitions:
    """Run a world and keep what happened.

    Args:
        world: a specification, or whatever :func:`~causal_rl.envs.resolve_spec` takes.
        n: transitions to keep, at least 1, in the order in which they came: a recording of fewer
            rows is the beginning of this one.
        policy: "random" draws one of the targets ("no intervention" among them) and one of the
            values uniformly; "observe" never intervenes; or a callable from observations float64
            (num_envs, n_observed) to actions int (num_envs, 2).
        seed: of the episodes and of the random actions.
        num_envs: environments stepped together.
        p_noop: None, or the share of steps in [0, 1] that are made observational, whatever the
            policy wants; "random" then always intervenes in the others.
        reward_node: keep the rewards, which a learner with ``reward_node=True`` reads.
        autoreset_mode: SAME_STEP, or NEXT_STEP, which spends a step (and a call of the policy) on
            every reset. Either way no row joins two episodes.
        options: options of a world given by name, for instance ``{"n": 5}`` or
            ``{"shift": "noise"}``.

    Returns:
        ``n`` transitions with the intervention log, named as the world's observed variables.

    Raises:
        ValueError: an argument out of its range, an unknown world, or a policy that returns other
            than actions; the argument is named.
        TypeError: an argument of another type.
    """
    spec = resolve_world(world, options)
    n = read_count("n", n)
    num_envs = read_count("num_envs", num_envs)
    mode = read_mode(autoreset_mode)
    if mode is AutoresetMode.DISABLED:
        raise ValueError("autoreset_mode must be SAME_STEP or NEXT_STEP, got DISABLED")
    act = behaviour(spec, policy, seed=seed, p_noop=p_noop)
    env = SCMVectorEnv(spec, num_envs=num_envs, autoreset_mode=mode)
    observation, _ = env.reset(seed=first_env_seed(seed))
    began = np.zeros(num_envs, dtype=np.bool_)
    steps: list[VectorStep] = []
    kept = 0
    while kept < n:
        action = act(observation)
        outcome = env.step(action)
        reset = began if mode is AutoresetMode.NEXT_STEP else None
        step = vector_step(observation, action, outcome, autoreset_mode=mode, reset=reset)
        steps.append(step)
        kept += len(step)
        observation, began = outcome[0], step.terminated | step.truncated
    env.close()
    rows = vector_transitions(
        steps, names=spec.observed_names, kinds=spec.observed_kinds, reward_node=reward_node
    )
    return rows[:n]


def behaviour(
    spec: SCMEnvSpec, policy: Behaviour, *, seed: int, p_noop: float | None = None
) -> Callable[[NDArray[np.float64]], NDArray[np.int64]]:
    """What acts in a recording, with random streams of its own.

    Args:
        spec: the world.
        policy: see :func:`record`.
        seed: of the random actions.
        p_noop: see :func:`record`.

    Returns:
        A function from observations (batch, n_observed) to checked actions int64 (batch, 2).

    Raises:
        ValueError: an unknown policy, or a share outside [0, 1] or given to "observe".
        TypeError: a policy that is neither a name nor callable.
    """
    if not callable(policy) and not isinstance(policy, str):
        raise TypeError(
            f"policy must be 'random', 'observe' or callable, got {type(policy).__name__}"
        )
    if isinstance(policy, str) and policy not in ("random", "observe"):
        raise ValueError(f"policy must be 'random', 'observe' or callable, got {policy!r}")
    share = _share(p_noop, policy)
    key = read_seed(seed)
    actions = np.random.default_rng([key, _ACTION_STREAM])
    noops = np.random.default_rng([key, _NOOP_STREAM])
    low = [0 if share is None else 1, 0]
    high = spec.action_space().nvec

    def choose(observation: NDArray[np.float64]) -> NDArray[np.int64]:
        if policy == "random":
            return actions.integers(low, high, size=(len(observation), 2))
        if isinstance(policy, str):
            return np.zeros((len(observation), 2), dtype=np.int64)
        return _checked(spec, policy(observation), len(observation))

    def act(observation: NDArray[np.float64]) -> NDArray[np.int64]:
        chosen = choose(observation)
        if share is None:
            return chosen
        silent = noops.random(len(observation)) < share
        return np.where(silent[:, None], 0, chosen)

    return act


def resolve_world(world: str | SCMEnvSpec, options: Mapping[str, Any] | None) -> SCMEnvSpec:
    """The specification that ``world`` and ``options`` mean.

    Raises:
        ValueError: an unknown world or option, or options beside a specification.
        TypeError: ``world`` of another type.
    """
    if isinstance(world, str):
        return resolve_spec(world, **dict(options or {}))
    if not isinstance(world, SCMEnvSpec):
        raise TypeError(f"world must be a name or an SCMEnvSpec, got {type(world).__name__}")
    if options:
        raise ValueError(
            f"options must be None where world is an SCMEnvSpec, got {', '.join(options)}"
        )
    return world


def first_env_seed(seed: int) -> int:
    """Seed of a recording's first environment or episode; the next ones count up from it."""
    return read_seed(seed) * _SEEDS_APART + _SEED_OFFSET


def read_seed(seed: int) -> int:
    """A recording's seed in [0, 2**44).

    Raises:
        ValueError: anything else.
    """
    if seed is None or check_seed(seed) >= 2**44:
        raise ValueError(f"seed must be an integer in [0, 2**44), got {seed!r}")
    return int(seed)


def read_count(name: str, value: int) -> int:
    """An integer of at least 1.

    Raises:
        ValueError: anything else; ``name`` is named.
    """
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise ValueError(f"{name} must be an integer of at least 1, got {value!r}")
    return int(value)


def read_mode(mode: AutoresetMode | str) -> AutoresetMode:
    """The autoreset mode, given as such, by name or by value.

    Raises:
        ValueError: there is no such mode.
    """
    found = next(
        (known for known in AutoresetMode if mode in (known, known.value, known.name)), None
    )
    if found is None:
        names = ", ".join(known.name for known in AutoresetMode)
        raise ValueError(f"autoreset_mode must be one of {names}, got {mode!r}")
    return found


def _share(p_noop: float | None, policy: Behaviour) -> float | None:
    if p_noop is None:
        return None
    if (
        isinstance(p_noop, bool)
        or not isinstance(p_noop, float | int | np.number)
        or not 0.0 <= float(p_noop) <= 1.0
    ):
        raise ValueError(f"p_noop must be None or a number in [0, 1], got {p_noop!r}")
    if policy == "observe":
        raise ValueError("p_noop must be None where policy is 'observe', which never intervenes")
    return float(p_noop)


def _checked(spec: SCMEnvSpec, actions: ArrayLike, batch: int) -> NDArray[np.int64]:
    array = np.asarray(actions)
    if array.shape != (batch, 2) or array.dtype.kind not in "iu":
        raise ValueError(
            f"policy must return integers of shape ({batch}, 2), got {array.dtype} of shape "
            f"{array.shape}"
        )
    try:
        spec.action_tables.check(array)
    except ValueError as error:
        raise ValueError(f"policy returned an action that is none: {error}") from None
    return array.astype(np.int64)


def _final(info: Mapping[str, Any], key: str) -> Any:
    if key not in info:
        raise ValueError(
            f"info lacks {key!r} of rows that are done; is autoreset_mode another than SAME_STEP?"
        )
    return info[key]


def _flags(name: str, value: ArrayLike, rows: int) -> NDArray[np.bool_]:
    array = np.asarray(value, dtype=np.bool_)
    if array.shape != (rows,):
        raise ValueError(f"{name} must have shape ({rows},), got {array.shape}")
    return array
