"""The state and the random numbers of a batch of SCM worlds, shared by both environments."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from causal_rl.envs.spec import SCMEnvSpec
from causal_rl.scm import DynamicSCM, Trajectory, episode_key

#: Numbers drawn in one go: a lone environment draws its whole episode, a thousand a few steps.
_NUMBERS_AHEAD = 65_536

_Bools = NDArray[np.bool_]
_Floats = NDArray[np.float64]


class NoiseTape:
    """Exogenous noise keyed by (seed, episode, step, variable), drawn some steps ahead.

    Args:
        scm: the model whose noise distributions are used.
        num_envs: rows.
        horizon: steps of an episode.
    """

    def __init__(self, scm: DynamicSCM, num_envs: int, horizon: int) -> None:
        self._scm = scm
        self._rows = num_envs
        self._most = max(1, min(horizon + 1, _NUMBERS_AHEAD // (num_envs * scm.n)))
        self._length = self._most
        self._horizon = horizon
        self._block: list[_Floats] = []  # noise of the steps to come, the nearest last

    def forget(self) -> None:
        """Drop what was drawn ahead; to be called whenever a key changes out of turn."""
        if self._block:
            # Rows that begin their episodes at different times would waste every block.
            self._length = 1
        self._block.clear()

    def next(self, key: NDArray[np.uint64], step: NDArray[np.int64], *, start: bool) -> _Floats:
        """Noise (num_envs, n) of ``step``; until forgotten, calls must count it up by one.

        That of contexts may be missing (0) unless ``start``.
        """
        if not self._block:
            left = max(1, self._horizon + 1 - int(step.max()))
            length, self._length = min(self._length, left), min(2 * self._length, self._most)
            if length == 1:
                return self._scm.keyed_noise(key, step, start=start)
            ahead = (step + np.arange(length)[:, None]).ravel()
            noise = self.draw(np.tile(key, length), ahead)
            self._block = np.split(noise, length)[::-1]
        return self._block.pop()

    def draw(self, key: NDArray[np.uint64], step: NDArray[np.int64]) -> _Floats:
        """Noise (rows, n) for episode keys and steps of shape (rows,)."""
        return self._scm.keyed_noise(key, step)


def read_state(
    state: Mapping[str, NDArray[np.generic]], own: Mapping[str, NDArray[np.generic]]
) -> dict[str, NDArray[np.generic]]:
    """The arrays of a saved state, in the dtypes of one's own.

    Args:
        state: what was saved; other keys are left out.
        own: the present state, for names, shapes and dtypes.

    Raises:
        ValueError: a key is missing, or an array has another shape.
    """
    taken: dict[str, NDArray[np.generic]] = {}
    for key, mine in own.items():
        if key not in state:
            raise ValueError(f"state lacks {key!r}; it has {', '.join(state) or 'nothing'}")
        given = np.asarray(state[key])
        if given.shape != mine.shape:
            raise ValueError(f"state[{key!r}] must have shape {mine.shape}, got {given.shape}")
        taken[key] = given.astype(mine.dtype)
    return taken


class Engine:
    """Current values, seeds and counters of ``num_envs`` copies of one world.

    Rows do not influence one another, so one row of a batch equals the same world run alone.

    Args:
        spec: the world.
        num_envs: rows, at least 1.
    """

    def __init__(self, spec: SCMEnvSpec, num_envs: int) -> None:
        self.spec = spec
        self.scm = spec.scm
        self.values: _Floats = np.zeros((num_envs, self.scm.n))
        self.seed: NDArray[np.uint64] = np.zeros(num_envs, dtype=np.uint64)
        self.episode: NDArray[np.int64] = np.zeros(num_envs, dtype=np.int64)
        self.step: NDArray[np.int64] = np.zeros(num_envs, dtype=np.int64)
        self.started: _Bools = np.zeros(num_envs, dtype=np.bool_)
        self.all_started = False
        self._may_be_set = spec.action_tables.columns
        self._tape = NoiseTape(self.scm, num_envs, spec.horizon)
        self._key: NDArray[np.uint64] = episode_key(self.seed, self.episode)
        # Noise has an address, so that actions are all that an episode has to remember.
        self._actions: deque[NDArray[np.int32]] = deque(maxlen=spec.horizon)

    def reseed(self, rows: _Bools, seed: NDArray[np.uint64]) -> None:
        """Give rows (num_envs,) the seeds (num_envs,); their next episode is number 0."""
        self.seed = np.where(rows, seed, self.seed)
        self.episode = np.where(rows, -1, self.episode)
        self.started = self.started | rows
        self.all_started = bool(self.started.all())

    def restart(self, rows: _Bools) -> None:
        """Begin the next episode of the rows (num_envs,)."""
        self.episode = self.episode + rows
        self.step = np.where(rows, 0, self.step)
        self._rekey()
        if rows.all():
            self.values = self.scm.initial(self._tape.next(self._key, self.step, start=True))
        else:
            self.values = self.values.copy(order="K")
            self.values[rows] = self.scm.initial(self._tape.draw(self._key[rows], self.step[rows]))

    def advance(
        self,
        do_mask: _Bools,
        do_value: _Floats,
        cost: _Floats,
        action: NDArray[np.integer],
    ) -> _Floats:
        """One step of every row.

        Args:
            do_mask: (num_envs, n).
            do_value: (num_envs, n).
            cost: (num_envs,).
            action: (num_envs,), ``target * n_values + value index``, for the log.

        Returns:
            Rewards (num_envs,).

        Raises:
            ValueError: a mechanism returned NaN, an infinity or a wrong shape; the variable is
                named, and the state stays as it was.
        """
        step = self.step + 1
        noise = self._tape.next(self._key, step, start=False)
        try:
            # What DynamicSCM.step and reward_value do, less the checks of what is right by
            # construction here.
            before = np.ascontiguousarray(self.values.T)
            after = self.scm.program.forward(
                noise.T,  # its rows are contiguous, and rows are what is read
                before,
                before,
                np.ascontiguousarray(do_mask.T),
                np.ascontiguousarray(do_value.T),
                self._may_be_set,
            )
            reward = self.scm.program.effect(self.scm.n, after, before, len(cost)) - cost
        except Exception:
            self._tape.forget()
            raise
        self.step, self.values = step, after.T
        self._actions.append(action.astype(np.int32))
        return reward

    def advance_one(self, column: int, value: float, cost: float, action: int) -> float:
        """`advance` for a single row, in floats: the same numbers, bit for bit.

        Args:
            column: the variable that is set, -1 for none.
            value: what it is set to.
            cost: of the action.
            action: its code, for the log.

        Returns:
            The reward.

        Raises:
            ValueError: as `advance`.
        """
        step = self.step + 1
        noise = self._tape.next(self._key, step, start=False)
        try:
            before = self.values[0].tolist()
            after = self.scm.program.forward_one(noise[0].tolist(), before, before, column, value)
            reward = self.scm.program.effect_one(self.scm.n, after, before) - cost
        except Exception:
            self._tape.forget()
            raise
        self.step, self.values = step, np.array([after])
        self._actions.append(np.array([action], dtype=np.int32))
        return reward

    def natural(self) -> _Floats:
        """Values (num_envs, n) of the coming step if nothing is set in it; the state stays."""
        noise = self._tape.draw(self._key, self.step + 1)
        return self.scm.step(self.values, noise)

    def set_world(self, spec: SCMEnvSpec) -> None:
        """Go on in another world: values, seeds and counters stay; see ``SCMEnv.set_world``."""
        self.spec, self.scm = spec, spec.scm
        self._may_be_set = spec.action_tables.columns
        self._tape = NoiseTape(self.scm, len(self.seed), spec.horizon)
        self._actions = deque(maxlen=spec.horizon)

    def trajectory(self, row: int) -> Trajectory:
        """The present episode of a row, from its start to now, by running it again.

        Raises:
            ValueError: no step was made in it, or it began before the log did.
        """
        steps = int(self.step[row])
        if not self.started[row] or steps < 1:
            raise ValueError("there is no trajectory yet: call reset and step first")
        if steps > len(self._actions):
            raise ValueError(
                "this episode began before set_state or set_world, and what was done then is not "
                "known here; call reset to begin another"
            )
        actions = [int(codes[row]) for codes in list(self._actions)[-steps:]]
        target, index = np.divmod(actions, self.spec.action_tables.n_values)
        mask, value, _ = self.spec.action_tables.decode(np.stack([target, index], axis=1))
        key = np.repeat(self._key[row : row + 1], steps + 1)
        noise = self._tape.draw(key, np.arange(steps + 1))
        noise[1:, self.scm.contexts] = 0.0
        exogenous = Trajectory(
            values=np.zeros((steps + 1, 1, self.scm.n)),
            noise=noise[:, None],
            do_mask=mask[:, None],
            do_value=value[:, None],
            reward=None,
        )
        return self.scm.counterfactual(exogenous, *exogenous.do)

    def _rekey(self) -> None:
        self._key = episode_key(self.seed, self.episode)
        self._tape.forget()

    def get_state(self) -> dict[str, NDArray[np.generic]]:
        """Everything that the future depends on, as arrays that are copies."""
        return {
            "values": self.values.copy(),
            "seed": self.seed.copy(),
            "episode": self.episode.copy(),
            "step": self.step.copy(),
            "started": self.started.copy(),
        }

    def set_state(self, state: Mapping[str, NDArray[np.generic]]) -> None:
        """Take up where :meth:`get_state` was called.

        Raises:
            ValueError: a key is missing, or an array has another shape.
        """
        for key, array in read_state(state, self.get_state()).items():
            setattr(self, key, array)
        self.all_started = bool(self.started.all())
        self._actions.clear()
        self._rekey()
