"""A vector environment of Gymnasium as Stable-Baselines3's `VecEnv`, in one process."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal, get_args

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv, VectorWrapper
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv

from causal_rl.envs import (
    Interventions,
    SCMEnvSpec,
    SCMVectorEnv,
    VectorStep,
    resolve_spec,
    vector_step,
)

ActionForm = Literal["native", "flat", "continuous"]
ACTION_FORMS: tuple[ActionForm, ...] = get_args(ActionForm)

# What differs between the rows of an SCMVectorEnv; everything else belongs to all of them.
_ROW_ATTRIBUTES = ("values",)
_ROW_RESULTS = ("natural_action", "render")
_ROW_ARGUMENTS = ("trajectory",)


class SCMVecEnv(VecEnv):
    """Copies of a world as Stable-Baselines3 wants them, stepped together without sub-processes.

    Observations are the world's as float32, rewards float32. A row that is done shows the first
    observation of its next episode; its last one is ``infos[i]["terminal_observation"]``, and
    ``infos[i]["TimeLimit.truncated"]`` says whether time ran out. ``infos[i]`` also holds the
    ``do_target`` and ``do_value`` of the step just made, done rows included.

    **Actions.** ``native`` keeps ``MultiDiscrete([targets, values])``: the policy chooses target
    and value apart. ``flat`` is ``Discrete``: the rows of ``Interventions.all_actions()``, the
    no-op first; DQN needs it, and PPO learns better with it, because which value is good depends
    on the target. ``continuous`` is a ``Box`` in [-1, 1] for SAC: one score a target ("no
    intervention" first) and one number for the value. The target of the highest score is taken,
    the first of equals; the number, stretched over the range from the least to the greatest value
    on offer for that target, becomes the nearest value on offer. Scores beside the highest change
    nothing, so a gradient of a critic in them is an approximation.

    Args:
        world: a specification; a world's name (see `causal_rl.envs.resolve_spec`); or a vector
            environment of Gymnasium in ``SAME_STEP`` mode with flat observations, e.g. a wrapped
            `SCMVectorEnv`. It must then be used by nobody else.
        num_envs: copies; default 8. For a vector environment: its own number, or None.
        actions: "native", "flat" or "continuous".
        render_mode: None or "rgb_array".

    Attributes:
        env: the vector environment inside.
        last_step: the last step in float64 with the states reached before any reset, as
            `causal_rl.envs.vector_step` gives it; None before the first.

    Raises:
        TypeError: ``world`` is of another type.
        ValueError: an unknown world or action form, a number of copies below 1 or other than the
            vector environment's, another autoreset mode, or a form that needs an `SCMVectorEnv`.
    """

    def __init__(
        self,
        world: SCMEnvSpec | str | VectorEnv[Any, Any, Any],
        num_envs: int | None = None,
        *,
        actions: ActionForm = "native",
        render_mode: str | None = None,
    ) -> None:
        if actions not in ACTION_FORMS:
            raise ValueError(f"actions must be one of {', '.join(ACTION_FORMS)}, got {actions!r}")
        self.env = _vector_env(world, num_envs, render_mode)
        self.actions_form: ActionForm = actions
        self.last_step: VectorStep | None = None
        inner = self.env.single_action_space
        self._translate = _translator(self.env, actions)
        self._observation: NDArray[np.floating[Any]] | None = None
        self._chosen: NDArray[Any] | None = None
        super().__init__(
            self.env.num_envs,
            _float32_box(self.env.single_observation_space),
            inner if self._translate is None else self._translate.space,
        )

    def reset(self) -> NDArray[np.float32]:
        """Begin an episode in every row, under the seeds of `seed` where it was called.

        Returns:
            float32 (num_envs, n).
        """
        seeds: Any = None if all(seed is None for seed in self._seeds) else list(self._seeds)
        self._observation, info = self.env.reset(seed=seeds)
        self.reset_infos = self._do_rows(info.get("do_target"), info.get("do_value"))
        self.last_step = self._chosen = None
        self._reset_seeds()
        self._reset_options()
        return self._observation.astype(np.float32)

    def step_async(self, actions: NDArray[Any]) -> None:
        """Keep the actions for `step_wait`; see the class for their form.

        Raises:
            ValueError: actions of another shape or outside of the space.
        """
        array = np.asarray(actions)
        self._chosen = array if self._translate is None else self._translate(array)

    def step_wait(
        self,
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_], list[dict[str, Any]]]:
        """Make the step.

        Returns:
            Observations float32 (num_envs, n), rewards float32 (num_envs,), dones bool
            (num_envs,) and one info a row.

        Raises:
            ValueError: as `step_async`, for native actions.
            RuntimeError: no `reset`, or no `step_async`, came before.
        """
        if self._observation is None or self._chosen is None:
            raise RuntimeError("call reset and step_async before step_wait")
        outcome = self.env.step(self._chosen)
        step = vector_step(self._observation, self._chosen, outcome)
        self._observation, self._chosen, self.last_step = outcome[0], None, step
        infos = self._do_rows(step.do_target, step.do_value)
        dones = step.terminated | step.truncated
        for info in infos:
            info["TimeLimit.truncated"] = False
        for i in np.flatnonzero(dones):
            infos[i]["TimeLimit.truncated"] = bool(step.truncated[i] and not step.terminated[i])
            infos[i]["terminal_observation"] = step.next_state[i].astype(np.float32)
        shown = np.asarray(outcome[0]).astype(np.float32)
        return shown, step.reward.astype(np.float32), dones, infos

    def close(self) -> None:
        """Close the vector environment."""
        self.env.close()

    def get_attr(self, attr_name: str, indices: int | Iterable[int] | None = None) -> list[Any]:
        """An attribute of the vector environment, once a row; ``values`` gives each row its own.

        ``observation_space`` and ``action_space`` are those that this environment shows.

        Raises:
            AttributeError: there is none of that name.
        """
        rows = self._rows(indices)
        if attr_name in ("observation_space", "action_space"):
            found = getattr(self, attr_name)
        else:
            found = self._inner(attr_name)
        if attr_name in _ROW_ATTRIBUTES:
            return [found[i] for i in rows]
        return [found] * len(rows)

    def set_attr(
        self, attr_name: str, value: Any, indices: int | Iterable[int] | None = None
    ) -> None:
        """Set an attribute of the vector environment, for all rows.

        Raises:
            ValueError: for some of the rows alone; they share one environment.
        """
        self._check_all(f"attribute {attr_name!r}", self._rows(indices))
        setattr(self.env, attr_name, value)

    def env_method(
        self,
        method_name: str,
        *method_args: Any,
        indices: int | Iterable[int] | None = None,
        **method_kwargs: Any,
    ) -> list[Any]:
        """Call a method of the vector environment; one result a row.

        ``trajectory`` is called once a row; ``natural_action`` and ``render`` once for all, and
        each row gets its own share; anything else, e.g. ``set_world``, once for all rows.

        Raises:
            AttributeError: there is no such method.
            ValueError: a method for all rows with some of them alone, or ``reset``, ``step`` and
                ``close``, which are this environment's own.
        """
        rows = self._rows(indices)
        if method_name in ("reset", "step", "close"):
            raise ValueError(f"method_name {method_name!r} is not for single rows; call it on self")
        method = self._inner(method_name)
        if method_name in _ROW_ARGUMENTS:
            return [method(i, *method_args, **method_kwargs) for i in rows]
        if method_name not in _ROW_RESULTS:
            self._check_all(f"method {method_name!r}", rows)
            return [method(*method_args, **method_kwargs)] * len(rows)
        results = method(*method_args, **method_kwargs)
        return [None if results is None else results[i] for i in rows]

    def env_is_wrapped(
        self, wrapper_class: type[gymnasium.Wrapper[Any, Any, Any, Any]], indices: Any = None
    ) -> list[bool]:
        """Whether the vector environment is wrapped in a class, once a row.

        Rows are no environments of their own, so no wrapper of single environments is ever there.
        """
        env, found = self.env, False
        while isinstance(env, VectorWrapper) and not found:
            found = isinstance(env, wrapper_class)
            env = env.env
        return [found] * len(self._rows(indices))

    def get_images(self) -> Sequence[NDArray[np.uint8] | None]:
        """A picture a row; None each without a render mode."""
        images: Any = self.env.render()
        return [None] * self.num_envs if images is None else list(images)

    def _inner(self, name: str) -> Any:
        """An attribute of the vector environment, through its wrappers."""
        env: Any = self.env
        while isinstance(env, VectorWrapper) and not hasattr(env, name):
            env = env.env
        return getattr(env, name)

    def _rows(self, indices: int | Iterable[int] | None) -> list[int]:
        rows = [int(i) for i in self._get_indices(indices)]
        bad = [i for i in rows if not -self.num_envs <= i < self.num_envs]
        if bad:
            raise ValueError(f"indices must lie in 0..{self.num_envs - 1}, got {bad[0]}")
        return [i % self.num_envs for i in rows]

    def _check_all(self, what: str, rows: list[int]) -> None:
        if set(rows) != set(range(self.num_envs)):
            raise ValueError(
                f"indices must be None for {what}: the rows share one environment, got {rows}"
            )

    def _do_rows(
        self, target: NDArray[np.bool_] | None, value: NDArray[np.floating[Any]] | None
    ) -> list[dict[str, Any]]:
        if target is None or value is None:
            return [{} for _ in range(self.env.num_envs)]
        return [{"do_target": t, "do_value": v} for t, v in zip(target, value, strict=True)]


class FlatActions:
    """Discrete actions as (target, value index) pairs, see `SCMVecEnv`.

    Args:
        interventions: the action space of the world.

    Attributes:
        space: the Discrete space.
    """

    def __init__(self, interventions: Interventions) -> None:
        self.table = interventions.all_actions()
        self.space = spaces.Discrete(len(self.table))

    def __call__(self, actions: NDArray[Any]) -> NDArray[np.int64]:
        """Translate integers (batch,) to int64 (batch, 2).

        Raises:
            ValueError: another shape or dtype, or an action outside of the space.
        """
        if actions.ndim != 1 or actions.dtype.kind not in "iu":
            raise ValueError(
                f"actions must be integers of shape (batch,), got {actions.dtype} of shape "
                f"{actions.shape}"
            )
        outside = (actions < 0) | (actions >= len(self.table))
        if outside.any():
            bad = int(np.argmax(outside))
            raise ValueError(
                f"actions[{bad}] is {actions[bad]}; allowed are 0..{len(self.table) - 1}"
            )
        pairs: NDArray[np.int64] = self.table[actions]
        return pairs


class ContinuousActions:
    """Scores of targets and a number for the value as (target, value index) pairs.

    Args:
        interventions: the action space of the world.

    Attributes:
        space: the Box; see `SCMVecEnv` for what its numbers mean.
    """

    def __init__(self, interventions: Interventions) -> None:
        table = interventions.table
        # Target 0 sets nothing; a row of its own makes the table one of targets.
        self.table = np.concatenate([table[:1], table])
        self.space = spaces.Box(-1.0, 1.0, (len(self.table) + 1,), dtype=np.float32)

    def __call__(self, actions: NDArray[Any]) -> NDArray[np.int64]:
        """Translate numbers (batch, targets + 2) in [-1, 1] to int64 (batch, 2).

        Raises:
            ValueError: another shape or dtype, or an action outside of the space.
        """
        width = len(self.table) + 1
        if actions.ndim != 2 or actions.shape[1] != width or actions.dtype.kind not in "fiu":
            raise ValueError(
                f"actions must be numbers of shape (batch, {width}), got {actions.dtype} of shape "
                f"{actions.shape}"
            )
        outside = ~(np.abs(actions) <= 1.0).all(axis=1)
        if outside.any():
            bad = int(np.argmax(outside))
            raise ValueError(f"actions[{bad}] is {actions[bad].tolist()}; allowed is [-1, 1]")
        target = actions[:, :-1].argmax(axis=1)
        offered = self.table[target]
        low, high = offered.min(axis=1), offered.max(axis=1)
        wanted = low + (actions[:, -1].astype(np.float64) + 1.0) / 2.0 * (high - low)
        index = np.abs(offered - wanted[:, None]).argmin(axis=1)
        pairs: NDArray[np.int64] = np.stack([target, np.where(target == 0, 0, index)], axis=1)
        return pairs


def action_translator(
    interventions: Interventions, form: ActionForm
) -> FlatActions | ContinuousActions | None:
    """What turns a policy's actions into those of the world; None for "native".

    Args:
        interventions: the action space of the world.
        form: as in `SCMVecEnv`.

    Raises:
        ValueError: an unknown form.
    """
    if form not in ACTION_FORMS:
        raise ValueError(f"actions must be one of {', '.join(ACTION_FORMS)}, got {form!r}")
    if form == "native":
        return None
    return FlatActions(interventions) if form == "flat" else ContinuousActions(interventions)


def _translator(
    env: VectorEnv[Any, Any, Any], form: ActionForm
) -> FlatActions | ContinuousActions | None:
    world = env.unwrapped
    if isinstance(world, SCMVectorEnv):
        return action_translator(world.interventions, form)
    if form != "native":
        raise ValueError(
            f"actions must be 'native' for {type(world).__name__}: only an SCMVectorEnv has "
            f"interventions, got {form!r}"
        )
    return None


def _vector_env(
    world: SCMEnvSpec | str | VectorEnv[Any, Any, Any],
    num_envs: int | None,
    render_mode: str | None,
) -> VectorEnv[Any, Any, Any]:
    if isinstance(world, str):
        world = resolve_spec(world)
    if isinstance(world, SCMEnvSpec):
        count = 8 if num_envs is None else num_envs
        return SCMVectorEnv(world, num_envs=count, render_mode=render_mode)
    if not isinstance(world, VectorEnv):
        raise TypeError(
            "world must be a name, an SCMEnvSpec or a vector environment of Gymnasium, got "
            f"{type(world).__name__}"
        )
    if num_envs is not None and num_envs != world.num_envs:
        raise ValueError(
            f"num_envs must be None or the {world.num_envs} of the vector environment, got "
            f"{num_envs!r}"
        )
    if render_mode is not None and render_mode != world.render_mode:
        raise ValueError(
            f"render_mode must be None or that of the vector environment, {world.render_mode!r}, "
            f"got {render_mode!r}"
        )
    mode = world.metadata.get("autoreset_mode")
    if mode is not AutoresetMode.SAME_STEP:
        raise ValueError(
            "world must reset in the step that ends an episode: its autoreset_mode must be "
            f"SAME_STEP, got {mode!r}"
        )
    return world


def _float32_box(space: spaces.Space[Any]) -> spaces.Box:
    if not isinstance(space, spaces.Box) or len(space.shape) != 1:
        raise ValueError(f"world must have flat Box observations, got {space}")
    return spaces.Box(space.low.astype(np.float32), space.high.astype(np.float32), dtype=np.float32)
