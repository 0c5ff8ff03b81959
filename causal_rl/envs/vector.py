"""Many copies of one SCM world, stepped together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from gymnasium import error
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import ArrayLike, NDArray

from causal_rl.envs.counterfactual import Do, counterfactual, with_costs
from causal_rl.envs.engine import Engine
from causal_rl.envs.frames import Shown
from causal_rl.envs.interventions import Interventions
from causal_rl.envs.rendering import GraphRenderer
from causal_rl.envs.scalar import SCMEnv, check_arguments, check_same_interface, check_seed
from causal_rl.envs.spec import SCMEnvSpec
from causal_rl.graphs import CausalGraph
from causal_rl.scm import Trajectory

_Bools = NDArray[np.bool_]
_Floats = NDArray[np.float64]


def check_num_envs(num_envs: object) -> int:
    """A number of copies, at least 1.

    Raises:
        ValueError: anything else.
    """
    if isinstance(num_envs, bool) or not isinstance(num_envs, int | np.integer) or num_envs < 1:
        raise ValueError(f"num_envs must be an integer of at least 1, got {num_envs!r}")
    return int(num_envs)


def row_seeds(seed: int | Sequence[int | None] | None, num_envs: int) -> list[int | None]:
    """The seed of each row, None where its present one goes on; see :meth:`SCMVectorEnv.reset`.

    Raises:
        ValueError: a seed out of range, or a sequence of another length.
    """
    if seed is None:
        return [None] * num_envs
    if isinstance(seed, list | tuple | np.ndarray):
        if len(seed) != num_envs:
            raise ValueError(
                f"seed must hold one seed for each of {num_envs} rows, got {len(seed)}"
            )
        return [None if key is None else check_seed(key) for key in seed]
    first = check_seed(seed)
    check_seed(first + num_envs - 1)
    return [first + i for i in range(num_envs)]


class SCMVectorEnv(VectorEnv[_Floats, NDArray[np.int64], NDArray[Any]]):
    """``num_envs`` copies of a world in one batch of array operations.

    Each row equals an :class:`~causal_rl.envs.SCMEnv` of the same seed, bit for bit, over all its
    episodes. Rewards are float64 (num_envs,), terminations and truncations bool (num_envs,);
    nothing terminates, episodes are truncated at the horizon.

    ``info`` holds ``do_target`` bool (num_envs, n_observed) and ``do_value`` float64 (num_envs,
    n_observed), with Gymnasium's masks ``_do_target`` and ``_do_value``. They tell how the
    OBSERVATION RETURNED came about: rows that were reset in this step have nothing set.

    Args:
        scm_spec: the world.
        num_envs: copies, at least 1.
        autoreset_mode: ``SAME_STEP`` (default): a truncated row returns the first observation of
            its next episode; its last observation is ``info["final_obs"][i]`` and its intervention
            ``info["final_info"]["do_target"][i]``. ``NEXT_STEP``: the next call to :meth:`step`
            ignores that row's action, returns its first observation and reward 0.
        render_mode: None, or "rgb_array": :meth:`render` draws one picture a row.

    Raises:
        TypeError: ``scm_spec`` is no :class:`~causal_rl.envs.SCMEnvSpec`.
        ValueError: ``num_envs`` below 1, another autoreset mode, or a render mode.
    """

    def __init__(
        self,
        scm_spec: SCMEnvSpec,
        num_envs: int = 1,
        *,
        autoreset_mode: AutoresetMode | str = AutoresetMode.SAME_STEP,
        render_mode: str | None = None,
    ) -> None:
        super().__init__()
        check_arguments(scm_spec, render_mode)
        rows = check_num_envs(num_envs)
        allowed = (AutoresetMode.SAME_STEP, AutoresetMode.NEXT_STEP)
        mode = next((m for m in allowed if autoreset_mode in (m, m.value, m.name)), None)
        if mode is None:
            raise ValueError(
                f"autoreset_mode must be SAME_STEP or NEXT_STEP, got {autoreset_mode!r}"
            )
        self.scm_spec = scm_spec
        self.num_envs = rows
        self.autoreset_mode = mode
        self.metadata = {**SCMEnv.metadata, "autoreset_mode": mode}
        self.render_mode = render_mode
        self._renderer: GraphRenderer | None = None
        self._shown = [Shown()] * self.num_envs if render_mode is not None else []
        self.single_observation_space = scm_spec.observation_space()
        self.single_action_space = scm_spec.action_space()
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self._engine = Engine(scm_spec, self.num_envs)
        self._tables = scm_spec.action_tables
        self._pending: _Bools = np.zeros(self.num_envs, dtype=np.bool_)  # rows to reset next step
        hidden = len(scm_spec.observed) < scm_spec.scm.n
        self._columns: NDArray[np.int64] | None = scm_spec.observed if hidden else None

    @property
    def causal_graph(self) -> CausalGraph:
        """The true graph over the observed variables and the reward: the explicit oracle."""
        return self.scm_spec.causal_graph

    @property
    def values(self) -> _Floats:
        """Values of all variables, hidden ones included, (num_envs, n): for oracles; a copy."""
        return self._engine.values.copy()

    @property
    def interventions(self) -> Interventions:
        """The action space: settable names, values and costs."""
        return self.scm_spec.interventions

    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[_Floats, dict[str, Any]]:
        """Begin an episode in every row.

        Args:
            seed: an integer s gives row i the seed s + i; a sequence gives one seed a row, where
                None, as for ``seed=None``, begins the next episode of the row's present seed. Rows
                without any seed so far draw one from ``np_random``.
            options: ignored.

        Returns:
            Observations (num_envs, n_observed) and an info in which nothing was set.

        Raises:
            ValueError: a seed out of range, or a sequence of another length.
        """
        keys = row_seeds(seed, self.num_envs)
        first = next((key for key in keys if key is not None), None)
        super().reset(seed=first)
        given = np.array([key is not None for key in keys], dtype=np.bool_)
        drawn = (
            self.np_random.integers(0, 2**63, self.num_envs, dtype=np.uint64)
            if (not (given | self._engine.started).all())
            else np.zeros(self.num_envs, dtype=np.uint64)
        )
        seeds = np.array(
            [drawn[i] if key is None else key for i, key in enumerate(keys)], dtype=np.uint64
        )
        self._engine.reseed(given | ~self._engine.started, seeds)
        every = np.ones(self.num_envs, dtype=np.bool_)
        self._engine.restart(every)
        self._pending = ~every
        self._shown = [Shown()] * len(self._shown)
        return self._observation(), self._info(*self._nothing(), every)

    def step(self, actions: ArrayLike) -> tuple[_Floats, _Floats, _Bools, _Bools, dict[str, Any]]:
        """Set what the actions say, then let every mechanism of every row run once.

        Args:
            actions: int (num_envs, 2), columns target and value index.

        Returns:
            Observations, rewards, terminations, truncations, info.

        Raises:
            ValueError: actions of another shape or outside the space, or a mechanism that returned
                NaN or an infinity; the variable is named.
            gymnasium.error.ResetNeeded: before the first reset.
        """
        engine, pending = self._engine, self._pending
        if not engine.all_started:
            raise error.ResetNeeded("call reset before step")
        target, index = self._tables.check(actions)
        code = target * self._tables.n_values + index
        mask, value, cost = self._tables.setting(target, code)
        if len(mask) != self.num_envs:
            raise ValueError(f"actions must have shape ({self.num_envs}, 2), got ({len(mask)}, 2)")
        every = np.ones(self.num_envs, dtype=np.bool_)
        waiting = pending.any()
        if waiting and pending.all():
            rewards = np.zeros(self.num_envs)
        else:
            rewards = engine.advance(mask, value, cost, code)
        if waiting:
            engine.restart(pending)
            rewards = np.where(pending, 0.0, rewards)
            mask, value = mask & ~pending[:, None], np.where(pending[:, None], 0.0, value)
        truncated = engine.step >= self.scm_spec.horizon
        info = self._info(mask, value, every)
        if self.autoreset_mode is AutoresetMode.NEXT_STEP:
            self._pending = truncated.copy()
        elif truncated.any():
            info = self._reset_now(truncated, mask, value)
        if self._shown:
            self._show(rewards, info)
        return self._observation(), rewards, ~every, truncated, info

    def render(self) -> tuple[NDArray[np.uint8], ...] | None:
        """A picture of every row, as :meth:`SCMEnv.render`; None without a render mode.

        Raises:
            gymnasium.error.ResetNeeded: before the first reset.
        """
        if self.render_mode is None:
            return None
        if not self._engine.started.all():
            raise error.ResetNeeded("call reset before render")
        if self._renderer is None:
            self._renderer = GraphRenderer(self.scm_spec.causal_graph)
        rows = zip(self._shown, self._observation(), self._engine.step.tolist(), strict=True)
        return tuple(shown.frame(self._renderer, obs, step) for shown, obs, step in rows)

    def _show(self, rewards: _Floats, info: dict[str, Any]) -> None:
        fresh = self._engine.step == 0
        self._shown = [
            Shown() if fresh[i] else self._shown[i].after(float(rewards[i]), target, value)
            for i, (target, value) in enumerate(
                zip(info["do_target"], info["do_value"], strict=True)
            )
        ]

    def natural_action(self) -> _Floats:
        """As :meth:`SCMEnv.natural_action`, for every row: (num_envs, targets - 1)."""
        if not self._engine.started.all():
            raise error.ResetNeeded("call reset before natural_action")
        names = self.scm_spec.scm.names
        return self._engine.natural()[:, [names.index(n) for n in self.interventions.settable]]

    def trajectory(self, row: int) -> Trajectory:
        """The present episode of a row so far, with its noise; see :meth:`SCMEnv.trajectory`.

        Args:
            row: 0..num_envs - 1. In ``SAME_STEP`` mode the episode that ended in the last step is
                gone; ask before it ends.

        Raises:
            ValueError: no such row, no step made yet, or the episode began before
                :meth:`set_state`.
        """
        if not 0 <= row < self.num_envs:
            raise ValueError(f"row must lie in 0..{self.num_envs - 1}, got {row}")
        return with_costs(self.scm_spec, self._engine.trajectory(row))

    def counterfactual(self, trajectory: Trajectory, do: Do) -> Trajectory:
        """What an episode would have been; see :func:`causal_rl.envs.counterfactual`."""
        return counterfactual(self.scm_spec, trajectory, do)

    def set_world(self, scm_spec: SCMEnvSpec) -> None:
        """Change the world of every row from the next step on; see :meth:`SCMEnv.set_world`."""
        check_same_interface(self.scm_spec, scm_spec)
        self.scm_spec, self._tables = scm_spec, scm_spec.action_tables
        self._renderer = None
        self._engine.set_world(scm_spec)

    def get_state(self) -> dict[str, NDArray[np.generic]]:
        """What an exact resume needs, as arrays that can be written to an ``.npz``.

        Returns:
            ``values`` (num_envs, n), ``seed``, ``episode``, ``step``, ``started`` and ``pending``
            (num_envs,). Noise is a function of these, so there is no generator to save.
        """
        return {**self._engine.get_state(), "pending": self._pending.copy()}

    def set_state(self, state: Mapping[str, NDArray[np.generic]]) -> None:
        """Take up where :meth:`get_state` was called: the future is the same, bit for bit.

        Raises:
            ValueError: a key is missing, or an array has another shape.
        """
        pending = np.asarray(state.get("pending", np.empty(0)))
        if pending.shape != (self.num_envs,):
            raise ValueError(
                f"state['pending'] must have shape ({self.num_envs},), got {pending.shape}"
            )
        self._engine.set_state(state)
        self._pending = pending.astype(np.bool_)

    def _reset_now(self, rows: _Bools, mask: _Bools, value: _Floats) -> dict[str, Any]:
        """Reset rows in the step that ended them; the info that Gymnasium gives for it."""
        ended = self._observation()
        if rows.all():
            final_obs = np.fromiter(ended, dtype=object, count=self.num_envs)
        else:
            final_obs = np.full(self.num_envs, None, dtype=object)
            for i in np.flatnonzero(rows):
                final_obs[i] = ended[i]
        self._engine.restart(rows)
        column = rows[:, None]
        info = self._info(
            mask & ~column, np.where(column, 0.0, value), np.ones(self.num_envs, dtype=np.bool_)
        )
        final = self._info(mask & column, np.where(column, value, 0.0), rows)
        return info | {
            "final_obs": final_obs,
            "_final_obs": rows.copy(),
            "final_info": final,
            "_final_info": rows.copy(),
        }

    def _nothing(self) -> tuple[_Bools, _Floats]:
        shape = (self.num_envs, self.scm_spec.scm.n)
        return np.zeros(shape, dtype=np.bool_), np.zeros(shape)

    def _info(self, mask: _Bools, value: _Floats, rows: _Bools) -> dict[str, Any]:
        if self._columns is not None:
            mask, value = mask[:, self._columns], value[:, self._columns]
        return {
            "do_target": mask,
            "_do_target": rows.copy(),
            "do_value": value,
            "_do_value": rows.copy(),
        }

    def _observation(self) -> _Floats:
        values = self._engine.values
        return values.copy() if self._columns is None else values[:, self._columns]
