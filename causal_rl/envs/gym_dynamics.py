"""Gymnasium's own environments with their true graph, counterfactuals and what was done."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
from gymnasium import error, spaces
from numpy.typing import NDArray

from causal_rl.discovery import Transitions
from causal_rl.envs.known_dynamics import (
    CARTPOLE,
    MOUNTAIN_CAR,
    PENDULUM,
    KnownDynamics,
    WeakEdge,
    advance,
    detached,
    read_action,
)
from causal_rl.graphs import CausalGraph

#: A do: variable to value at every step, or step to {variable: value}.
Do = Mapping[str, float] | Mapping[int, Mapping[str, float]]


@dataclass(frozen=True, eq=False)
class GymTrajectory:
    """One episode, or its beginning; step t leads from row t to row t + 1.

    Args:
        names: the columns: states, then the action.
        values: float64 (T + 1, n). The action of step t stands in row t + 1, in row 0 it is 0.
        reward: float64 (T,).
        do_mask: bool (T, n), what was set in each step: the action always.
        do_value: float64 (T, n), to what; 0 where nothing was set.
        terminated: whether the last step ended the episode.
        truncated: whether the time limit ended it there.
    """

    names: tuple[str, ...]
    values: NDArray[np.float64]
    reward: NDArray[np.float64]
    do_mask: NDArray[np.bool_]
    do_value: NDArray[np.float64]
    terminated: bool
    truncated: bool

    def __len__(self) -> int:
        """Number of steps."""
        return len(self.reward)


class GymDynamicsEnv(gymnasium.Env[NDArray[np.float32], Any]):
    """An environment of Gymnasium, unchanged, that knows its causal graph.

    Dynamics, rewards, termination, time limit, action space and seeds are Gymnasium's. So is the
    observation, except where it ties the latent variables by a formula: Pendulum shows
    ``(theta, theta_dot)``, the angle unwrapped, instead of ``(cos, sin, theta_dot)``.

    ``info`` holds what was done, over ``known.names`` (the states, then the action):
    ``do_target`` bool (n,), true for the action only, and ``do_value`` float64 (n,).

    Args:
        known: the description, one of ``GYM_DYNAMICS``.
        render_mode: handed to Gymnasium's environment, which renders.
        max_episode_steps: steps of an episode; None keeps Gymnasium's limit.

    Raises:
        TypeError: ``known`` is no :class:`KnownDynamics`.
    """

    def __init__(
        self,
        known: KnownDynamics,
        *,
        render_mode: str | None = None,
        max_episode_steps: int | None = None,
    ) -> None:
        if not isinstance(known, KnownDynamics):
            raise TypeError(f"known must be a KnownDynamics, got {type(known).__name__}")
        self.known = known
        self.inner = known.make(render_mode=render_mode, max_episode_steps=max_episode_steps)
        self._simulator: Any = self.inner.unwrapped
        self.metadata = self.inner.metadata
        self.render_mode = self.inner.render_mode
        self.action_space = self.inner.action_space
        self.observation_space = (
            spaces.Box(
                np.array(known.low, dtype=np.float32),
                np.array(known.high, dtype=np.float32),
                dtype=np.float32,
            )
            if known.latent_observation
            else self.inner.observation_space
        )
        self._rows: list[NDArray[np.float64]] = []
        self._rewards: list[float] = []
        self._ended = (False, False)

    @property
    def causal_graph(self) -> CausalGraph:
        """The true graph over states, action and reward: the explicit oracle."""
        return self.known.causal_graph

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Begin an episode, as Gymnasium's environment does under this seed.

        Args:
            seed: as in Gymnasium.
            options: as in Gymnasium: bounds of the first state.

        Returns:
            The observation, and an info in which nothing was set.
        """
        super().reset(seed=seed)
        observation, _ = self.inner.reset(seed=seed, options=options)
        self._rows = [self._row(0.0)]
        self._rewards = []
        self._ended = (False, False)
        n = len(self.known.names)
        info = {"do_target": np.zeros(n, dtype=np.bool_), "do_value": np.zeros(n)}
        return self._observe(observation), info

    def step(self, action: Any) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """One step of Gymnasium's environment.

        Args:
            action: an element of the action space. A number outside of a Box goes to Gymnasium,
                which clips it in the dynamics; the action variable keeps it as given.

        Returns:
            Observation, reward, terminated, truncated, info.

        Raises:
            ValueError: no integer of the Discrete space, or not one finite number.
            gymnasium.error.ResetNeeded: before the first reset, or after the end of an episode.
        """
        if not self._rows or any(self._ended):
            raise error.ResetNeeded("call reset before step: no episode is running")
        given, value = read_action(self.action_space, action, self.known.action)
        observation, reward, terminated, truncated, _ = self.inner.step(given)
        self._rows.append(self._row(value))
        self._rewards.append(float(reward))
        self._ended = (bool(terminated), bool(truncated))
        n = len(self.known.names)
        info = {"do_target": np.zeros(n, dtype=np.bool_), "do_value": np.zeros(n)}
        info["do_target"][-1], info["do_value"][-1] = True, value
        return self._observe(observation), float(reward), *self._ended, info

    def trajectory(self) -> GymTrajectory:
        """The present episode so far.

        Raises:
            gymnasium.error.ResetNeeded: before the first reset.
        """
        if not self._rows:
            raise error.ResetNeeded("call reset before trajectory: there is no episode")
        return _trajectory(self.known.names, self._rows, self._rewards, {}, self._ended)

    def counterfactual(self, trajectory: GymTrajectory, do: Do) -> GymTrajectory:
        """What would have happened from the same first state, by rerunning the simulator.

        There is no noise to abduct: the first state and the actions fix everything. A do on the
        action replaces it. A do on a state variable replaces its value after the step: its children
        inside the step read the new value (Pendulum: theta follows theta_dot; MountainCar: velocity
        is zeroed where position is set on the left wall), as do the reward, the termination and
        the steps that follow. The replay ends where it terminates; it is never longer than the
        trajectory. Doing nothing, or what was done, gives the trajectory bit for bit. The
        environment's own episode is not touched.

        Args:
            trajectory: from `trajectory` or from here, of an environment of the same kind.
            do: ``{variable: value}`` at every step, or ``{step: {variable: value}}``, steps from 0.

        Returns:
            The counterfactual trajectory; ``do_mask`` shows the action and what was set.

        Raises:
            TypeError: ``trajectory`` or ``do`` of another type, or keys of both kinds in ``do``.
            ValueError: other variables than this environment's, a step outside of the trajectory,
                the reward, a value that the variable cannot have, or one so large that the
                simulator overflows.
        """
        names = self.known.names
        if not isinstance(trajectory, GymTrajectory):
            raise TypeError(f"trajectory must be a GymTrajectory, got {type(trajectory).__name__}")
        if trajectory.names != names:
            raise ValueError(f"trajectory has variables {trajectory.names}, not {names}")
        known, steps = self.known, len(trajectory)
        dos = _read_do(known, self.action_space, do, steps)
        simulator = detached(self._simulator)
        known.write(simulator, trajectory.values[0, :-1])
        rows, rewards, terminated = [trajectory.values[0].copy()], [], False
        for step in range(steps):
            done = dict(dos.get(step, {}))
            action = done.pop(len(names) - 1, trajectory.values[step + 1, -1])
            given, value = read_action(self.action_space, action, known.action)
            reward, terminated = advance(known, simulator, given, done)
            rows.append(_row(known.read(simulator), value))
            rewards.append(reward)
            if not np.isfinite(rows[-1]).all():
                raise ValueError(
                    f"do drives the simulator out of the finite numbers at step {step}"
                )
            if terminated:
                break
        last = len(rewards) == steps
        ended = (terminated, trajectory.truncated and last)
        return _trajectory(names, rows, rewards, dos, ended)

    def render(self) -> Any:
        """What Gymnasium's environment renders."""
        return self.inner.render()

    def close(self) -> None:
        """Close Gymnasium's environment."""
        self.inner.close()

    def _row(self, action: float) -> NDArray[np.float64]:
        return _row(self.known.read(self._simulator), action)

    def _observe(self, observation: NDArray[np.float32]) -> NDArray[np.float32]:
        if self.known.latent_observation:
            return self._rows[-1][:-1].astype(np.float32)
        # MountainCarContinuous hands out its state itself.
        return np.array(observation, dtype=np.float32)


def make_cartpole(
    *,
    sutton_barto_reward: bool = False,
    render_mode: str | None = None,
    max_episode_steps: int | None = None,
) -> GymDynamicsEnv:
    """CartPole-v1 with its graph.

    Args:
        sutton_barto_reward: -1 where the episode terminates and 0 elsewhere, so that the new x and
            theta cause the reward; else the reward is the constant 1 and has no cause.
        render_mode: as in Gymnasium.
        max_episode_steps: None keeps Gymnasium's 500.
    """
    known = CARTPOLE
    if sutton_barto_reward:
        known = dataclasses.replace(
            known,
            options=(("sutton_barto_reward", True),),
            reward_contemporaneous=("x", "theta"),
            near_unfaithful=(
                *known.near_unfaithful,
                WeakEdge("contemporaneous", "x", "reward", "acts where x leaves the track only"),
                WeakEdge("contemporaneous", "theta", "reward", "acts where the pole falls, even"),
            ),
            notes=known.notes[:2],
        )
    return GymDynamicsEnv(known, render_mode=render_mode, max_episode_steps=max_episode_steps)


def make_pendulum(
    *, g: float = 10.0, render_mode: str | None = None, max_episode_steps: int | None = None
) -> GymDynamicsEnv:
    """Pendulum-v1 with its graph, observed by its latent state.

    Args:
        g: gravity, not 0: without it theta no longer moves theta_dot.
        render_mode: as in Gymnasium.
        max_episode_steps: None keeps Gymnasium's 200.

    Raises:
        ValueError: ``g`` is 0 or not finite.
    """
    if not _is_number(g) or g == 0.0:
        raise ValueError(f"g must be a finite number other than 0, got {g!r}")
    known = PENDULUM if g == 10.0 else dataclasses.replace(PENDULUM, options=(("g", float(g)),))
    return GymDynamicsEnv(known, render_mode=render_mode, max_episode_steps=max_episode_steps)


def make_mountain_car(
    *,
    goal_velocity: float = 0.0,
    render_mode: str | None = None,
    max_episode_steps: int | None = None,
) -> GymDynamicsEnv:
    """MountainCarContinuous-v0 with its graph.

    Args:
        goal_velocity: least velocity on arrival, in [0, 0.07): beyond that nothing terminates.
        render_mode: as in Gymnasium.
        max_episode_steps: None keeps Gymnasium's 999.

    Raises:
        ValueError: ``goal_velocity`` is outside of its range.
    """
    if not _is_number(goal_velocity) or not 0.0 <= goal_velocity < 0.07:
        raise ValueError(f"goal_velocity must lie in [0, 0.07), got {goal_velocity!r}")
    known = MOUNTAIN_CAR
    if goal_velocity:
        known = dataclasses.replace(known, options=(("goal_velocity", float(goal_velocity)),))
    return GymDynamicsEnv(known, render_mode=render_mode, max_episode_steps=max_episode_steps)


def random_transitions(
    known_or_env: KnownDynamics | gymnasium.Env[Any, Any],
    n: int,
    rng: np.random.Generator | int,
) -> Transitions:
    """Transitions of a policy that draws its actions uniformly, whatever the state.

    Columns are ``known.names``. The action of a row stands in ``next_state`` and is marked as set;
    ``state`` has the action of the step before it, 0 in the first row of an episode. Values are
    the simulator's latent ones, in its own precision. No row leads from one episode to the next.

    Args:
        known_or_env: a description, or an environment of one (wrapped or not): a fresh copy of it
            is run, under its time limit, so that its own episode is not touched.
        n: rows.
        rng: generator, or a seed for one; draws first states and actions.

    Returns:
        ``n`` transitions with action, reward, terminated and truncated.

    Raises:
        TypeError: neither a description nor such an environment.
        ValueError: ``n`` is no positive integer.
    """
    known, limit = _known(known_or_env)
    if isinstance(n, bool) or not isinstance(n, int | np.integer) or n < 1:
        raise ValueError(f"n must be a positive integer, got {n!r}")
    generator = np.random.default_rng(rng)
    env = known.make(max_episode_steps=limit)
    simulator: Any = env.unwrapped
    width = len(known.names)
    before, after = np.zeros((n, width)), np.zeros((n, width))
    reward, ended = np.zeros(n), np.zeros((2, n), dtype=np.bool_)
    restart, previous = True, 0.0
    for row in range(n):
        if restart:
            env.reset(seed=int(generator.integers(2**31)))
            previous = 0.0
        given, value = draw_action(env.action_space, generator)
        before[row, :-1], before[row, -1] = known.read(simulator), previous
        _, reward[row], ended[0, row], ended[1, row], _ = env.step(given)
        after[row, :-1], after[row, -1] = known.read(simulator), value
        restart, previous = bool(ended[:, row].any()), value
    target = np.zeros((n, width), dtype=np.bool_)
    target[:, -1] = True
    return Transitions(
        state=before,
        next_state=after,
        action=after[:, -1],
        reward=reward,
        terminated=ended[0],
        truncated=ended[1],
        do_target=target,
        do_value=np.where(target, after, 0.0),
        names=known.names,
        kinds=known.kinds,
    )


def draw_action(space: spaces.Space[Any], rng: np.random.Generator) -> tuple[Any, float]:
    """A uniform action, as the simulator takes it and as the value of its variable.

    Args:
        space: Discrete, or a Box of shape (1,).
        rng: generator.

    Raises:
        TypeError: another space.
    """
    if isinstance(space, spaces.Discrete):
        return read_action(space, int(rng.integers(space.n) + space.start), "action")
    if isinstance(space, spaces.Box):
        return read_action(space, rng.uniform(space.low, space.high), "action")
    raise TypeError(f"space must be Discrete or a Box, got {type(space).__name__}")


def _known(
    known_or_env: KnownDynamics | gymnasium.Env[Any, Any],
) -> tuple[KnownDynamics, int | None]:
    if isinstance(known_or_env, KnownDynamics):
        return known_or_env, None
    inside = getattr(known_or_env, "unwrapped", None)
    if not isinstance(inside, GymDynamicsEnv):
        raise TypeError(
            "known_or_env must be a KnownDynamics or a GymDynamicsEnv, got "
            f"{type(known_or_env).__name__}"
        )
    spec = inside.inner.spec
    return inside.known, None if spec is None else spec.max_episode_steps


def _row(state: NDArray[Any], action: float) -> NDArray[np.float64]:
    row = np.empty(len(state) + 1)
    row[:-1], row[-1] = state, action
    return row


def _trajectory(
    names: tuple[str, ...],
    rows: list[NDArray[np.float64]],
    rewards: list[float],
    dos: Mapping[int, Mapping[int, float]],
    ended: tuple[bool, bool],
) -> GymTrajectory:
    values = np.array(rows)
    mask = np.zeros((len(rewards), len(names)), dtype=np.bool_)
    mask[:, -1] = True
    for step, done in dos.items():
        if step < len(rewards):
            mask[step, list(done)] = True
    return GymTrajectory(
        names=names,
        values=values,
        reward=np.array(rewards, dtype=np.float64),
        do_mask=mask,
        do_value=np.where(mask, values[1:], 0.0),
        terminated=ended[0],
        truncated=ended[1],
    )


def _read_do(
    known: KnownDynamics, space: spaces.Space[Any], do: object, steps: int
) -> dict[int, dict[int, float]]:
    """Every step's do as {column: value}, checked."""
    if not isinstance(do, Mapping):
        raise TypeError(f"do must be a mapping, got {type(do).__name__}")
    if all(isinstance(key, str) for key in do):
        everywhere = _read_values(known, space, do)
        return dict.fromkeys(range(steps), everywhere)
    dos: dict[int, dict[int, float]] = {}
    for step, values in do.items():
        if isinstance(step, bool) or not isinstance(step, int | np.integer):
            raise TypeError(f"do must have names or steps as keys, not both, got {step!r}")
        if not 0 <= step < steps:
            raise ValueError(f"do has step {step}; the trajectory has steps 0 to {steps - 1}")
        if not isinstance(values, Mapping):
            raise TypeError(f"do[{step}] must map names to values, got {values!r}")
        dos[int(step)] = _read_values(known, space, values)
    return dos


def _read_values(
    known: KnownDynamics, space: spaces.Space[Any], values: Mapping[Any, Any]
) -> dict[int, float]:
    columns: dict[int, float] = {}
    for name, value in values.items():
        if name not in known.names:
            raise ValueError(
                f"do names {name!r}; it must be one of {', '.join(known.names)} (the reward and "
                "what ends an episode follow from these)"
            )
        column = known.names.index(name)
        if name == known.action:
            columns[column] = read_action(space, value, name)[1]
            continue
        low, high = known.low[column], known.high[column]
        # The simulator may keep single precision: its own bound must not be refused.
        least, most = min(low, float(np.float32(low))), max(high, float(np.float32(high)))
        if not _is_number(value) or not least <= value <= most:
            raise ValueError(
                f"do sets {name} to {value!r}; it must be a finite number in [{low:g}, {high:g}]"
            )
        columns[column] = float(value)
    return columns


def _is_number(value: object) -> bool:
    return (
        isinstance(value, int | float | np.integer | np.floating)
        and not isinstance(value, bool)
        and math.isfinite(value)
    )
