"""A world as a vector environment of Tianshou: one batch of array operations a step, no workers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

import numpy as np
import torch
from gymnasium import spaces
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray
from tianshou.env import BaseVectorEnv

from causal_rl.envs import SCMEnvSpec, SCMVectorEnv, resolve_spec, vector_step

ActionForm = Literal["flat", "native"]
ACTION_FORMS: tuple[ActionForm, ...] = get_args(ActionForm)

Ids = int | Sequence[int] | NDArray[np.integer[Any]] | None
Step = tuple[
    NDArray[np.float64],
    NDArray[np.float64],
    NDArray[np.bool_],
    NDArray[np.bool_],
    NDArray[np.object_],
]

_DEFAULT_ENVS = 8


class TianshouVectorEnv(BaseVectorEnv):
    """Copies of a world as Tianshou's collectors want them.

    Any rows may be stepped and reset, in any order; each row equals an `SCMEnv` of its seed, as
    the rows of `SCMVectorEnv` do. The last observation of an episode is returned by the step that
    ends it, and the first of the next one by the reset of that row. ``info`` holds ``do_target``
    bool (n,), ``do_value`` float64 (n,), both of the step just made, and ``env_id``. Observations
    and rewards are float64: graph learners read them too.

    Inside runs an `SCMVectorEnv` in ``SAME_STEP`` mode, which begins the next episode of a row in
    the step that ends the last; a reset of that row only hands out what has begun. Where some of
    the rows alone are stepped or reset, the others are put back (``get_state``, ``set_state``).

    **Actions.** ``flat`` is ``Discrete(targets * values)``: ``target * values + value index``,
    where every action of target 0 is the same "no intervention". ``native`` keeps
    ``MultiDiscrete([targets, values])``.

    Args:
        world: a specification; a world's name (see `causal_rl.envs.resolve_spec`); or an
            `SCMVectorEnv` in ``SAME_STEP`` mode, which must then be used by nobody else.
        num_envs: copies; default 8. For an `SCMVectorEnv`: its own number, or None.
        actions: "flat" or "native".

    Attributes:
        env: the environment inside.

    Raises:
        TypeError: ``world`` is of another type.
        ValueError: an unknown world or action form, a number of copies below 1 or other than the
            environment's, or another autoreset mode.
    """

    def __init__(
        self,
        world: SCMEnvSpec | str | SCMVectorEnv,
        num_envs: int | None = None,
        *,
        actions: ActionForm = "flat",
    ) -> None:
        # The base class would build a pool of workers; this is what is left of it without one.
        if actions not in ACTION_FORMS:
            raise ValueError(f"actions must be one of {', '.join(ACTION_FORMS)}, got {actions!r}")
        self.env = _vector_env(world, num_envs)
        self.actions_form: ActionForm = actions
        self.env_num = self.env.num_envs
        self.workers = []
        self.wait_num = self.env_num
        self.timeout = None
        self.is_async = False
        self.waiting_conn = []
        self.waiting_id = []
        self.ready_id = list(range(self.env_num))
        self.is_closed = False
        self._n_targets, self._n_values = (int(n) for n in self.env.scm_spec.action_space().nvec)
        self._spaces: list[spaces.Space[Any]] = [self._space() for _ in range(self.env_num)]
        self._observation = np.zeros((self.env_num, len(self.env.scm_spec.observed)))
        # Rows that may be stepped, and rows whose episode has begun without anybody seeing it.
        self._ready: NDArray[np.bool_] = np.zeros(self.env_num, dtype=np.bool_)
        self._begun: NDArray[np.bool_] = np.zeros(self.env_num, dtype=np.bool_)

    def reset(
        self, env_id: Ids = None, **kwargs: Any
    ) -> tuple[NDArray[np.float64], NDArray[np.object_]]:
        """Begin an episode in some rows.

        Args:
            env_id: the rows; None for all.
            **kwargs: ``seed``: an integer s gives row i the seed s + i, a sequence gives one seed
                a row of ``env_id``; None, and a None in a sequence, begins the next episode of the
                row's present seed. ``options`` is ignored.

        Returns:
            Observations float64 (rows, n) and one info a row, in which nothing was set.

        Raises:
            ValueError: rows or seeds that do not exist, or too few seeds.
            TypeError: another keyword argument.
        """
        self._assert_is_not_closed()
        seed = kwargs.pop("seed", None)
        kwargs.pop("options", None)
        if kwargs:
            raise TypeError(f"reset takes seed and options, got {next(iter(kwargs))!r}")
        ids = self._ids(env_id)
        seeds = self._seeds(seed, ids)
        wanted = self._mask(ids)
        given = np.array([key is not None for key in seeds], dtype=np.bool_)
        fresh = wanted & (given | ~self._begun)
        if fresh.any():
            before = None if fresh.all() else self.env.get_state()
            observation, _ = self.env.reset(seed=seeds)
            self._put_back(before, fresh)
            self._observation = np.where(fresh[:, None], observation, self._observation)
        self._ready |= wanted
        self._begun &= ~wanted
        return self._observation[ids], self._infos(ids)

    def step(
        self,
        action: NDArray[Any] | torch.Tensor | None,
        id: Ids = None,
    ) -> Step:
        """One step of some rows.

        Args:
            action: int (rows,) for flat actions, int (rows, 2) for native ones.
            id: the rows, in the order of the actions; None for all.

        Returns:
            Observations float64 (rows, n), rewards float64 (rows,), terminations (never), and
            truncations bool (rows,), and one info a row. A row that is truncated shows the last
            observation of its episode and has to be reset next.

        Raises:
            ValueError: rows that do not exist or were not reset, or actions of another shape or
                outside of the space.
        """
        self._assert_is_not_closed()
        ids = self._ids(id)
        unready = ids[~self._ready[ids]]
        if unready.size:
            raise ValueError(f"id {unready[0]} has no episode running: reset it before a step")
        pairs = np.zeros((self.env_num, 2), dtype=np.int64)
        pairs[ids] = self._pairs(action, len(ids))
        wanted = self._mask(ids)
        before = None if wanted.all() else self.env.get_state()
        outcome = self.env.step(pairs)
        made = vector_step(self._observation, pairs, outcome)
        self._put_back(before, wanted)
        self._observation = np.where(wanted[:, None], outcome[0], self._observation)
        done = (made.terminated | made.truncated) & wanted
        self._ready &= ~done
        self._begun |= done
        return (
            made.next_state[ids].astype(np.float64),
            made.reward[ids],
            made.terminated[ids],
            made.truncated[ids],
            self._infos(ids, made.do_target, made.do_value),
        )

    def seed(self, seed: int | Sequence[int] | None = None) -> list[list[int] | None]:
        """Seed the rows and their action spaces; the next reset of a row begins its episode 0.

        Args:
            seed: an integer s gives row i the seed s + i; a sequence gives one seed a row; None
                changes nothing but the action spaces, which draw seeds of their own.

        Returns:
            The seeds, one list a row.

        Raises:
            ValueError: a seed out of range, or a sequence of another length.
        """
        self._assert_is_not_closed()
        seeds = self._seeds(seed, np.arange(self.env_num))
        known = [key for key in seeds if key is not None]
        if known:
            self._observation, _ = self.env.reset(seed=seeds)
            self._ready[:] = False
            self._begun[:] = True
        for space, key in zip(self._spaces, seeds, strict=True):
            space.seed(None if key is None else key % 2**32)
        return [None if key is None else [key] for key in seeds]

    def get_env_attr(self, key: str, id: Ids = None) -> list[Any]:
        """An attribute of the environment inside, once a row.

        Raises:
            AttributeError: there is none of that name.
        """
        self._assert_is_not_closed()
        rows = self._ids(id)
        if key == "action_space":
            return [self._spaces[i] for i in rows]
        if key == "observation_space":
            return [self.env.single_observation_space for _ in rows]
        found = getattr(self.env, key)
        return [found[i] for i in rows] if key == "values" else [found for _ in rows]

    def set_env_attr(self, key: str, value: Any, id: Ids = None) -> None:
        """Set an attribute of the environment inside, for all rows.

        Raises:
            ValueError: for some of the rows alone; they share one environment.
        """
        self._assert_is_not_closed()
        if not self._mask(self._ids(id)).all():
            raise ValueError(f"id must be None for {key!r}: the rows share one environment")
        setattr(self.env, key, value)

    def render(self, **kwargs: Any) -> list[Any]:
        """A picture a row; None each without a render mode. Arguments are ignored."""
        self._assert_is_not_closed()
        images = self.env.render()
        return [None] * self.env_num if images is None else list(images)

    def close(self) -> None:
        """Close the environment inside."""
        self._assert_is_not_closed()
        self.env.close()
        self.is_closed = True

    def get_state(self) -> dict[str, Any]:
        """What an exact resume needs: arrays, and the generators of the action spaces."""
        generators = [space.np_random.bit_generator.state for space in self._spaces]
        return {"env": self.env.get_state(), "action_spaces": generators}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Take up where `get_state` was called.

        Collectors begin with a reset: the next reset of a row therefore goes on with its episode.

        Raises:
            ValueError: a state of other environments.
        """
        self.env.set_state(state["env"])
        for space, saved in zip(self._spaces, state["action_spaces"], strict=True):
            space.np_random.bit_generator.state = saved
        self._observation = self.env.values[:, self.env.scm_spec.observed]
        self._ready[:] = False
        self._begun[:] = True

    def _space(self) -> spaces.Space[Any]:
        if self.actions_form == "native":
            return self.env.scm_spec.action_space()
        return spaces.Discrete(self._n_targets * self._n_values)

    def _ids(self, id: Ids) -> NDArray[np.int64]:
        if id is None:
            return np.arange(self.env_num)
        ids = np.atleast_1d(np.asarray(id))
        if ids.ndim != 1 or ids.size == 0 or ids.dtype.kind not in "iu":
            raise ValueError(f"id must be one or more row numbers, got {id!r}")
        if ids.min() < 0 or ids.max() >= self.env_num or len(set(ids.tolist())) < len(ids):
            raise ValueError(
                f"id must hold different rows of 0..{self.env_num - 1}, got {ids.tolist()}"
            )
        return ids.astype(np.int64)

    def _mask(self, ids: NDArray[np.int64]) -> NDArray[np.bool_]:
        mask = np.zeros(self.env_num, dtype=np.bool_)
        mask[ids] = True
        return mask

    def _seeds(
        self, seed: int | Sequence[int | None] | None, ids: NDArray[np.int64]
    ) -> list[int | None]:
        """One seed for every row; None for rows outside of ``ids``."""
        seeds: list[int | None] = [None] * self.env_num
        if seed is None:
            return seeds
        if isinstance(seed, list | tuple | np.ndarray):
            if len(seed) != len(ids):
                raise ValueError(f"seed must hold one seed for each of {len(ids)} rows, got {seed}")
            given = list(seed)
        else:
            given = [seed + i for i in ids.tolist()]
        for row, key in zip(ids.tolist(), given, strict=True):
            seeds[row] = key
        return seeds

    def _pairs(
        self, action: NDArray[Any] | torch.Tensor | None, count: int
    ) -> NDArray[np.integer[Any]]:
        """Actions as (count, 2) targets and value indices."""
        array = action.cpu().numpy() if isinstance(action, torch.Tensor) else np.asarray(action)
        shape = (count,) if self.actions_form == "flat" else (count, 2)
        if array.shape != shape or array.dtype.kind not in "iu":
            raise ValueError(
                f"action must be integers of shape {shape}, got {array.dtype} of shape "
                f"{array.shape}"
            )
        if self.actions_form == "native":
            return array  # the environment inside looks at the ranges
        outside = (array < 0) | (array >= self._n_targets * self._n_values)
        if outside.any():
            raise ValueError(
                f"action must lie in 0..{self._n_targets * self._n_values - 1}, got "
                f"{array[outside][0]}"
            )
        return np.stack(np.divmod(array, self._n_values), axis=1)

    def _put_back(
        self, before: Mapping[str, NDArray[Any]] | None, moved: NDArray[np.bool_]
    ) -> None:
        """Let only the rows ``moved`` keep what has happened since ``before``."""
        if before is None:
            return
        merged = {}
        for key, now in self.env.get_state().items():
            column = moved.reshape(-1, *[1] * (now.ndim - 1))
            merged[key] = np.where(column, now, before[key])
        self.env.set_state(merged)

    def _infos(
        self,
        ids: NDArray[np.int64],
        target: NDArray[np.bool_] | None = None,
        value: NDArray[np.floating[Any]] | None = None,
    ) -> NDArray[np.object_]:
        shape = self._observation.shape
        target = np.zeros(shape, dtype=np.bool_) if target is None else target
        value = np.zeros(shape) if value is None else value
        infos = np.empty(len(ids), dtype=object)
        for place, row in enumerate(ids):
            infos[place] = {"do_target": target[row], "do_value": value[row], "env_id": row}
        return infos


def _vector_env(world: SCMEnvSpec | str | SCMVectorEnv, num_envs: int | None) -> SCMVectorEnv:
    if isinstance(world, str):
        world = resolve_spec(world)
    if isinstance(world, SCMEnvSpec):
        return SCMVectorEnv(world, num_envs=_DEFAULT_ENVS if num_envs is None else num_envs)
    if not isinstance(world, SCMVectorEnv):
        raise TypeError(
            f"world must be a name, an SCMEnvSpec or an SCMVectorEnv, got {type(world).__name__}"
        )
    if world.autoreset_mode is not AutoresetMode.SAME_STEP:
        raise ValueError(f"world must be in SAME_STEP mode, got {world.autoreset_mode.name}")
    if num_envs not in (None, world.num_envs):
        raise ValueError(f"num_envs must be None or {world.num_envs}, as world has, got {num_envs}")
    return world
