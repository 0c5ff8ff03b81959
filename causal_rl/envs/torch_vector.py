"""Many copies of one SCM world, stepped together on a torch device."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from gymnasium import error, spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray
from torch import Tensor

from causal_rl.envs import torch_mechanisms as _registered  # noqa: F401 - it registers
from causal_rl.envs.engine import read_state
from causal_rl.envs.interventions import Interventions
from causal_rl.envs.scalar import check_arguments
from causal_rl.envs.spec import SCMEnvSpec
from causal_rl.envs.vector import check_num_envs, row_seeds
from causal_rl.graphs import CausalGraph
from causal_rl.scm.torch_noise import episode_key_torch
from causal_rl.scm.torch_program import TorchProgram


class TorchSCMVectorEnv(VectorEnv[Tensor, Tensor, Tensor]):
    """``num_envs`` copies of a world on a torch device: tensors in, tensors out.

    It is :class:`~causal_rl.envs.SCMVectorEnv` with ``autoreset_mode="SameStep"`` on another
    engine: the same seeds give the same noise and, up to rounding, the same trajectories. A state
    of one can be taken up by the other.

    Observations are (num_envs, n_observed) and rewards (num_envs,) of ``dtype``, terminations and
    truncations bool (num_envs,), all on ``device``. ``info`` is as there, in tensors. Where rows
    were truncated, ``info["final_obs"]`` is (num_envs, n_observed): the observation that the step
    led to in EVERY row, reset or not; ``info["_final_obs"]`` tells which were. All tensors are
    the caller's own.

    Args:
        scm_spec: the world; its mechanisms and noises must have torch versions.
        num_envs: copies, at least 1.
        device: a torch device with float64.
        dtype: ``torch.float64``, or ``torch.float32``, which is faster and further from NumPy.
        validate: whether :meth:`step` refuses bad actions and values that are not finite. It has
            to wait for the device once a step. Without it, indices outside are moved to the
            nearest allowed ones, values that are not finite go on, and no call waits.
        render_mode: must be None; there is nothing to render.

    Raises:
        TypeError: ``scm_spec``, ``device`` or ``dtype`` of another type.
        ValueError: ``num_envs`` below 1, a device that is not there, another dtype, or a
            mechanism or noise without a torch version, or with one that does not return what the
            NumPy one does; the variable is named.
    """

    def __init__(
        self,
        scm_spec: SCMEnvSpec,
        num_envs: int = 1,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float64,
        *,
        validate: bool = True,
        render_mode: str | None = None,
    ) -> None:
        super().__init__()
        check_arguments(scm_spec, render_mode)
        rows = check_num_envs(num_envs)
        self._program = TorchProgram(scm_spec.scm, device, dtype)
        self._program.check()
        self.scm_spec = scm_spec
        self.num_envs = rows
        self.device, self.dtype = self._program.device, self._program.dtype
        self.validate = bool(validate)
        self.metadata = {"render_modes": [], "autoreset_mode": AutoresetMode.SAME_STEP}
        self.single_observation_space = self._observation_space()
        self.single_action_space = scm_spec.action_space()
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self._compile_actions()
        zeros = torch.zeros(self.num_envs, dtype=torch.int64, device=self.device)
        self._values = torch.zeros((scm_spec.scm.n, self.num_envs), dtype=dtype, device=device)
        self._seed, self._episode, self._step = zeros, zeros, zeros
        self._key = zeros
        self._started: NDArray[np.bool_] = np.zeros(self.num_envs, dtype=np.bool_)
        # The values that occur in _step. They are known here without asking the device, and so is
        # whether an episode ends.
        self._phases: set[int] = {0}

    @property
    def causal_graph(self) -> CausalGraph:
        """The true graph over the observed variables and the reward: the explicit oracle."""
        return self.scm_spec.causal_graph

    @property
    def interventions(self) -> Interventions:
        """The action space: settable names, values and costs."""
        return self.scm_spec.interventions

    @property
    def values(self) -> Tensor:
        """Values of all variables, hidden ones included, (num_envs, n): for oracles; a copy."""
        return _own(self._values.T)

    @torch.no_grad()
    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[Tensor, dict[str, Any]]:
        """Begin an episode in every row.

        Args:
            seed: as for :meth:`SCMVectorEnv.reset`: an integer s gives row i the seed s + i; a
                sequence gives one seed a row; None begins the next episode of the present seed.
            options: ignored.

        Returns:
            Observations (num_envs, n_observed) and an info in which nothing was set.

        Raises:
            ValueError: a seed out of range, a sequence of another length, or a value that is not
                finite; the variable is named.
        """
        keys = row_seeds(seed, self.num_envs)
        super().reset(seed=next((key for key in keys if key is not None), None))
        given = np.array([key is not None for key in keys], dtype=np.bool_)
        fresh = given | ~self._started
        if not (given | self._started).all():
            drawn = self.np_random.integers(0, 2**63, self.num_envs, dtype=np.uint64)
            keys = [int(drawn[i]) if key is None else key for i, key in enumerate(keys)]
        if fresh.any():
            rows = self._put(fresh)
            bits = np.array([key or 0 for key in keys], dtype=np.uint64).view(np.int64)
            self._seed = torch.where(rows, self._put(bits), self._seed)
            self._episode = torch.where(rows, -1, self._episode)
        self._started = np.ones(self.num_envs, dtype=np.bool_)
        self._episode, self._step = self._episode + 1, torch.zeros_like(self._step)
        self._key = episode_key_torch(self._seed, self._episode)
        self._values = self._program.initial(self._program.noise(self._key, self._step))
        self._phases = {0}
        if self.validate:
            self._refuse_values(self._values)
        nothing = torch.zeros_like(self._step)
        return self._observation(), self._info(nothing, nothing.to(self.dtype), None)

    @torch.no_grad()
    def step(self, actions: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, dict[str, Any]]:
        """Set what the actions say, then let every mechanism of every row run once.

        Args:
            actions: integers (num_envs, 2), columns target and value index; on another device
                they are moved.

        Returns:
            Observations, rewards, terminations, truncations, info.

        Raises:
            ValueError: actions of another shape or no integers; with ``validate``, actions outside
                the space, and a value that is not finite; the variable is named. The state stays.
            gymnasium.error.ResetNeeded: before the first reset.
        """
        if not self._started.all():
            raise error.ResetNeeded("call reset before step")
        actions = self._checked_type(actions)
        target = actions[:, 0].clamp(0, self._tables.n_targets - 1)
        index = actions[:, 1].clamp(0, self._tables.n_values - 1)
        program, horizon = self._program, self.scm_spec.horizon
        number = self._number.index_select(0, target * self._tables.n_values + index)
        mask, value = self._setter[:, None] == target, number.expand(program.n, -1)
        episode, step, key = self._episode, self._step + 1, self._key
        ended = program.forward(self._values, program.noise(key, step), None, mask, value)
        rewards = program.reward(self._values, ended) - self._cost.index_select(0, target)
        phases = {phase + 1 for phase in self._phases}
        values, rows = ended, None
        if max(phases) >= horizon:
            rows = step >= horizon
            episode, step = episode + rows, torch.where(rows, 0, step)
            key = episode_key_torch(self._seed, episode)
            values = torch.where(rows, program.initial(program.noise(key, step)), ended)
            phases = {phase if phase < horizon else 0 for phase in phases}
        if self.validate:
            inside = (target == actions[:, 0]) & (index == actions[:, 1])
            numbers = (ended, values, rewards)
            good = torch.stack([inside.all(), *(torch.isfinite(x).all() for x in numbers)])
            if not good.all():
                self._tables.check(actions.cpu().numpy())
                self._refuse_values(ended, values)
                raise ValueError(f"variable {program.scm.variables[-1].name!r} is not finite")
        self._episode, self._step, self._key = episode, step, key
        self._values, self._phases = values, phases
        info = self._info(target, number, rows)
        if rows is not None:
            info["final_obs"], info["_final_obs"] = self._observation(ended), rows.clone()
        never = torch.zeros(self.num_envs, dtype=torch.bool, device=self.device)
        truncated = never.clone() if rows is None else rows
        return self._observation(), rewards, never, truncated, info

    def get_state(self) -> dict[str, NDArray[np.generic]]:
        """What an exact resume needs, as NumPy arrays: those of :meth:`SCMVectorEnv.get_state`.

        Either environment takes up the state of the other. This waits for the device.
        """
        return {
            "values": self._values.T.to(torch.float64).cpu().numpy().copy(),
            "seed": self._seed.cpu().numpy().view(np.uint64).copy(),
            "episode": self._episode.cpu().numpy().copy(),
            "step": self._step.cpu().numpy().copy(),
            "started": self._started.copy(),
            "pending": np.zeros(self.num_envs, dtype=np.bool_),
        }

    def set_state(self, state: Mapping[str, NDArray[np.generic]]) -> None:
        """Take up where :meth:`get_state` was called, here or in an :class:`SCMVectorEnv`.

        Raises:
            ValueError: a key is missing, an array has another shape, or a row awaits its reset, as
                in the ``NextStep`` mode, which is not known here.
        """
        taken = read_state(state, self.get_state())
        if taken["pending"].any():
            raise ValueError("state['pending'] must be false everywhere, as in SameStep mode")
        self._values = self._put(taken["values"].T).to(self.dtype)
        self._seed = self._put(taken["seed"].view(np.int64))
        self._episode, self._step = self._put(taken["episode"]), self._put(taken["step"])
        self._key = episode_key_torch(self._seed, self._episode)
        self._started = taken["started"].astype(np.bool_)
        self._phases = {int(step) for step in np.unique(taken["step"])}

    def _observation_space(self) -> spaces.Space[Any]:
        shape = (len(self.scm_spec.observed),)
        kind = np.float64 if self.dtype is torch.float64 else np.float32
        return spaces.Box(-np.inf, np.inf, shape, dtype=kind)

    def _compile_actions(self) -> None:
        """Tables on the device: which target sets a variable, and to which number by action."""
        self._tables = self.scm_spec.action_tables
        observed = self.scm_spec.observed
        everything = len(observed) == self.scm_spec.scm.n
        self._columns = None if everything else self._put(observed)
        mask = self._tables.mask
        setter = np.where(mask.any(axis=1), mask.argmax(axis=1), -1)
        self._setter, self._shown_setter = self._put(setter), self._put(setter[observed])
        self._number = self._put(self._tables.value.sum(axis=0)).to(self.dtype)
        self._cost = self._put(self._tables.cost).to(self.dtype)

    def _put(self, array: NDArray[Any]) -> Tensor:
        return torch.tensor(np.ascontiguousarray(array), device=self.device)

    def _checked_type(self, actions: Tensor) -> Tensor:
        """Refuse what can be told without looking at numbers on the device."""
        actions = torch.as_tensor(actions, device=self.device)
        whole = not (actions.is_floating_point() or actions.is_complex())
        if actions.shape != (self.num_envs, 2) or not whole or actions.dtype is torch.bool:
            raise ValueError(
                f"actions must be integers of shape ({self.num_envs}, 2), got {actions.dtype} of "
                f"shape {tuple(actions.shape)}"
            )
        return actions.to(torch.int64)

    def _refuse_values(self, *states: Tensor) -> None:
        for state in states:
            bad = ~torch.isfinite(state).all(dim=1)
            if bad.any():
                scm = self.scm_spec.scm
                name = next(scm.names[i] for i in scm.order if bad[i])
                raise ValueError(f"variable {name!r} took a value that is not finite")

    def _info(self, target: Tensor, number: Tensor, ended: Tensor | None) -> dict[str, Any]:
        """What was done, as SCMVectorEnv tells it: rows that were reset have nothing set."""
        every = torch.ones(self.num_envs, dtype=torch.bool, device=self.device)
        mask = target[:, None] == self._shown_setter
        value = torch.where(mask, number[:, None], 0.0)
        if ended is None:
            return _shown(mask, value, every)
        column = ended[:, None]
        final = _shown(mask & column, torch.where(column, value, 0.0), ended.clone())
        info = _shown(mask & ~column, torch.where(column, 0.0, value), every)
        return info | {"final_info": final, "_final_info": ended.clone()}

    def _observation(self, values: Tensor | None = None) -> Tensor:
        rows = self._values if values is None else values
        return _own((rows if self._columns is None else rows.index_select(0, self._columns)).T)


def _own(rows: Tensor) -> Tensor:
    """A copy in C order: what is handed out is the caller's."""
    return rows.clone(memory_format=torch.contiguous_format)


def _shown(mask: Tensor, value: Tensor, rows: Tensor) -> dict[str, Any]:
    return {"do_target": mask, "_do_target": rows, "do_value": value, "_do_value": rows.clone()}
