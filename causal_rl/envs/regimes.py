"""Worlds that change at known times: a schedule of shifts, and wrappers that follow it."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import gymnasium
import numpy as np
from gymnasium.utils import RecordConstructorArgs
from gymnasium.vector import AutoresetMode, VectorWrapper
from numpy.typing import NDArray

from causal_rl.envs.scalar import SCMEnv
from causal_rl.envs.spec import SCMEnvSpec
from causal_rl.envs.vector import SCMVectorEnv

#: The regime that an environment was made with.
TRAIN = "train"

Unit = Literal["steps", "episodes"]


@dataclass(frozen=True)
class RegimeSchedule:
    """When a world changes into which of its shifts, and back.

    The clock starts at a reset with a seed. ``steps`` counts the transitions made since then, over
    all episodes; ``episodes`` the episodes begun, the first being number 0. Before the first switch
    the regime is ``"train"``, the world as it is without a shift.

    Args:
        switches: ``(time, regime)`` in order of time: from this step or episode on. A regime is
            the name of a shift of the world, or ``"train"``.
        unit: "steps" or "episodes".

    Raises:
        ValueError: no switch, times that are not rising integers from 0 on, or another unit.
        TypeError: a switch that is no pair, or a regime that is no name.
    """

    switches: tuple[tuple[int, str], ...]
    unit: Unit = "steps"

    def __post_init__(self) -> None:
        kept: list[tuple[int, str]] = []
        for switch in self.switches:
            if not isinstance(switch, Sequence) or isinstance(switch, str) or len(switch) != 2:
                raise TypeError(f"switches must be pairs (time, regime), got {switch!r}")
            time, regime = switch
            if isinstance(time, bool) or not isinstance(time, int | np.integer) or time < 0:
                raise ValueError(f"times of switches must be integers from 0 on, got {time!r}")
            if not isinstance(regime, str) or not regime:
                raise TypeError(f"regimes of switches must be names, got {regime!r}")
            if kept and time <= kept[-1][0]:
                raise ValueError(f"times of switches must rise, got {kept[-1][0]} and then {time}")
            kept.append((int(time), regime))
        if not kept:
            raise ValueError("switches must hold one switch or more, got none")
        if self.unit not in get_args(Unit):
            raise ValueError(f"unit must be 'steps' or 'episodes', got {self.unit!r}")
        object.__setattr__(self, "switches", tuple(kept))

    @property
    def regimes(self) -> tuple[str, ...]:
        """Every regime there is, "train" first."""
        return tuple(dict.fromkeys((TRAIN, *(regime for _, regime in self.switches))))

    def at(self, time: int) -> str:
        """The regime in force at a step or episode, whichever the schedule counts."""
        index = bisect_right(self.switches, time, key=lambda switch: switch[0])
        return self.switches[index - 1][1] if index else TRAIN

    def worlds(self, spec: SCMEnvSpec) -> dict[str, SCMEnvSpec]:
        """The specification of every regime.

        Args:
            spec: the world of the regime "train".

        Raises:
            ValueError: a regime that is no shift of the world, or one that changes the spaces.
        """
        return {name: spec if name == TRAIN else spec.shifted(name) for name in self.regimes}


class _Clock:
    """Where in a schedule an environment is, and in which of its worlds."""

    def __init__(self, schedule: RegimeSchedule, spec: SCMEnvSpec) -> None:
        if not isinstance(schedule, RegimeSchedule):
            raise TypeError(f"schedule must be a RegimeSchedule, got {type(schedule).__name__}")
        self.schedule = schedule
        self.worlds = schedule.worlds(spec)
        self.steps = 0
        self.episodes = -1  # none begun
        self.regime = TRAIN

    def begin(self, *, anew: bool) -> None:
        """Count an episode, or start from the first."""
        if anew or self.episodes < 0:
            self.steps, self.episodes = 0, 0
        else:
            self.episodes += 1

    def enter(self, env: SCMEnv | SCMVectorEnv) -> bool:
        """Put the environment into the world of the hour; whether that is another one."""
        counted = self.steps if self.schedule.unit == "steps" else max(self.episodes, 0)
        regime = self.schedule.at(counted)
        if regime == self.regime:
            return False
        env.set_world(self.worlds[regime])
        self.regime = regime
        return True


class RegimeSwitch(
    gymnasium.Wrapper[
        NDArray[np.float64], NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]
    ],
    RecordConstructorArgs,
):
    """An :class:`~causal_rl.envs.SCMEnv` whose world changes by a schedule.

    A transition, and the first state of an episode, is made in the regime in force when it begins.
    Noise is keyed as ever, so that two regimes differ by what the shift changes alone.

    Args:
        env: an :class:`~causal_rl.envs.SCMEnv`, wrapped or not; its present world is "train".
        schedule: when to change into what.
        reveal: whether ``info["regime"]`` names the regime in which the observation came about.

    Raises:
        TypeError: another environment or schedule.
        ValueError: a regime that is no shift of the world.
    """

    def __init__(
        self,
        env: gymnasium.Env[NDArray[np.float64], NDArray[np.int64]],
        schedule: RegimeSchedule,
        *,
        reveal: bool = False,
    ) -> None:
        RecordConstructorArgs.__init__(self, schedule=schedule, reveal=reveal)
        super().__init__(env)
        if not isinstance(env.unwrapped, SCMEnv):
            raise TypeError(f"env must be an SCMEnv, got {type(env.unwrapped).__name__}")
        self._world: SCMEnv = env.unwrapped
        self._clock = _Clock(schedule, self._world.scm_spec)
        self._reveal = bool(reveal)

    @property
    def regime(self) -> str:
        """The regime now in force, an oracle."""
        return self._clock.regime

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float64], dict[str, Any]]:
        """Begin an episode; with a seed, the clock starts again. See :meth:`SCMEnv.reset`."""
        self._clock.begin(anew=seed is not None)
        self._clock.enter(self._world)
        observation, info = self.env.reset(seed=seed, options=options)
        return observation, self._with_regime(info)

    def step(
        self, action: NDArray[np.int64]
    ) -> tuple[NDArray[np.float64], float, bool, bool, dict[str, Any]]:
        """One step in the regime of the hour; see :meth:`SCMEnv.step`."""
        self._clock.enter(self._world)
        observation, reward, terminated, truncated, info = self.env.step(action)
        self._clock.steps += 1
        return observation, float(reward), terminated, truncated, self._with_regime(info)

    def _with_regime(self, info: dict[str, Any]) -> dict[str, Any]:
        return {**info, "regime": self.regime} if self._reveal else info


class RegimeSwitchVector(VectorWrapper):
    """An :class:`~causal_rl.envs.SCMVectorEnv` whose world changes by a schedule.

    All rows are in one regime: their episodes begin and end together. Each row equals a
    :class:`RegimeSwitch` of the same seed, bit for bit, in both autoreset modes; a step in which
    ``NEXT_STEP`` resets is no transition and is not counted.

    Args:
        env: the environment itself; other wrappers go around this one.
        schedule: when to change into what.
        reveal: whether ``info["regime"]`` (num_envs,) names the regime in which the observation
            came about.

    Raises:
        TypeError: another environment or schedule.
        ValueError: a regime that is no shift of the world.
    """

    env: SCMVectorEnv

    def __init__(
        self, env: SCMVectorEnv, schedule: RegimeSchedule, *, reveal: bool = False
    ) -> None:
        if not isinstance(env, SCMVectorEnv):
            raise TypeError(f"env must be an SCMVectorEnv, got {type(env).__name__}")
        super().__init__(env)
        self._clock = _Clock(schedule, env.scm_spec)
        self._reveal = bool(reveal)
        self._pending = False  # whether the next step resets

    @property
    def regime(self) -> str:
        """The regime now in force, an oracle."""
        return self._clock.regime

    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[NDArray[np.float64], dict[str, Any]]:
        """Begin an episode in every row; with any seed, the clock starts again.

        See :meth:`SCMVectorEnv.reset`.
        """
        several = isinstance(seed, Sequence | np.ndarray)
        anew = any(s is not None for s in seed) if several else seed is not None  # type: ignore[union-attr]
        self._clock.begin(anew=anew)
        self._clock.enter(self.env)
        self._pending = False
        observation, info = self.env.reset(seed=seed, options=options)
        return observation, self._with_regime(info)

    def step(
        self, actions: Any
    ) -> tuple[
        NDArray[np.float64],
        NDArray[np.float64],
        NDArray[np.bool_],
        NDArray[np.bool_],
        dict[str, Any],
    ]:
        """One step of every row in the regime of the hour; see :meth:`SCMVectorEnv.step`.

        Raises:
            ValueError: bad actions, or rows whose episodes do not end together (which only
                ``set_state`` can bring about).
        """
        clock, pending = self._clock, self._pending
        if pending:
            clock.begin(anew=False)
        clock.enter(self.env)
        try:
            observation, reward, terminated, truncated, info = self.env.step(actions)
        except Exception:
            clock.episodes -= pending  # refused: the episode that was to begin has not
            raise
        clock.steps += not pending
        self._pending = bool(truncated.any())
        info = self._with_regime(info)
        if not self._pending:
            return observation, reward, terminated, truncated, info
        if not truncated.all():
            raise ValueError("the episodes of the rows must end together for a RegimeSwitch")
        if self.env.autoreset_mode is AutoresetMode.SAME_STEP:
            info["final_info"] = self._with_regime(info["final_info"])
            self._pending = False
            clock.begin(anew=False)
            observation = self._begun(observation)
            info = self._with_regime(info)
        return observation, reward, terminated, truncated, info

    def _begun(self, observation: NDArray[np.float64]) -> NDArray[np.float64]:
        """First observations of the episodes that SAME_STEP began before the world changed."""
        if not self._clock.enter(self.env):
            return observation
        state = self.env.get_state()
        state["episode"] = np.asarray(state["episode"], dtype=np.int64) - 1
        self.env.set_state(state)
        return self.env.reset()[0]

    def _with_regime(self, info: dict[str, Any]) -> dict[str, Any]:
        if not self._reveal:
            return info
        rows = np.ones(self.num_envs, dtype=np.bool_)
        return {
            **info,
            "regime": np.full(self.num_envs, self.regime, dtype=object),
            "_regime": rows,
        }
