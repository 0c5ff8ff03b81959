"""Wrappers that show an agent its natural action, so that any RL library can act on intent.

Where a hidden variable causes both what would be done and what comes of it, the natural action is
evidence about the hidden variable. An agent that sees it before it acts is in the counterfactual
regime of Bareinboim, Forney & Pearl (2015): its policy maps observation AND intent to an action,
and target 0, doing nothing, follows the intent.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv, VectorWrapper
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from causal_rl.envs.scalar import SCMEnv
from causal_rl.envs.vector import SCMVectorEnv

_Array = NDArray[Any]


class NaturalActionObservation(
    gymnasium.ObservationWrapper[_Array, NDArray[np.int64], _Array],
    gymnasium.utils.RecordConstructorArgs,
):
    """Append the natural values of the settable variables to the observation.

    The observation becomes (n + k,): first that of the wrapped environment, then what the k
    settable variables, in the order of ``interventions.settable``, would be in the coming step if
    nothing were set (:meth:`SCMEnv.natural_action`). Rewards, infos and seeds stay as they were.

    Args:
        env: an :class:`~causal_rl.envs.SCMEnv`, perhaps wrapped, whose observation is a flat Box.

    Raises:
        TypeError: ``env`` is no such environment.
        ValueError: its observation is no flat Box.
    """

    def __init__(self, env: gymnasium.Env[_Array, NDArray[np.int64]]) -> None:
        gymnasium.utils.RecordConstructorArgs.__init__(self)
        if not isinstance(env, gymnasium.Env) or not isinstance(env.unwrapped, SCMEnv):
            raise TypeError(f"env must be an SCMEnv, perhaps wrapped, got {type(env).__name__}")
        gymnasium.ObservationWrapper.__init__(self, env)
        self._world: SCMEnv = env.unwrapped
        self.observation_space = longer_box(
            env.observation_space, len(self._world.interventions.settable)
        )

    def observation(self, observation: _Array) -> _Array:
        """The observation (n,) followed by the natural action (k,), in the space's dtype."""
        natural = self._world.natural_action()
        return np.concatenate([observation, natural]).astype(self.observation_space.dtype)


class NaturalActionVectorObservation(VectorWrapper[_Array, _Array, _Array, _Array, _Array]):
    """As :class:`NaturalActionObservation`, for all rows of a vector environment.

    Row i equals the wrapped scalar environment of the same seed, bit for bit. In ``SAME_STEP`` mode
    ``info["final_obs"]`` is extended too, by what the natural action would have been had the
    episode gone on: the step that ended it is run once more for that, in a copy.

    Args:
        env: an :class:`~causal_rl.envs.SCMVectorEnv`, not wrapped.

    Raises:
        TypeError: ``env`` is no such environment.
    """

    env: SCMVectorEnv

    def __init__(self, env: VectorEnv[_Array, _Array, _Array]) -> None:
        if not isinstance(env, SCMVectorEnv):
            raise TypeError(f"env must be an SCMVectorEnv, got {type(env).__name__}")
        super().__init__(env)
        k = len(env.interventions.settable)
        self.single_observation_space = longer_box(env.single_observation_space, k)
        self.observation_space = batch_space(self.single_observation_space, env.num_envs)

    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[_Array, dict[str, Any]]:
        """As the vector environment's, with longer observations."""
        observations, info = self.env.reset(seed=seed, options=options)
        return self._longer(observations), info

    def step(self, actions: _Array) -> tuple[_Array, _Array, _Array, _Array, dict[str, Any]]:
        """As the vector environment's, with longer observations and final observations."""
        before = self.env.get_state()
        observations, rewards, terminations, truncations, info = self.env.step(actions)
        if "final_obs" in info:
            natural = self._natural_after(before, actions)
            for i in np.flatnonzero(info["_final_obs"]):
                info["final_obs"][i] = np.concatenate([info["final_obs"][i], natural[i]])
        return self._longer(observations), rewards, terminations, truncations, info

    def _longer(self, observations: _Array) -> _Array:
        return np.concatenate([observations, self.env.natural_action()], axis=1)

    def _natural_after(self, state: dict[str, NDArray[np.generic]], actions: _Array) -> _Array:
        """The natural action after a step, with no row reset."""
        mode = AutoresetMode.NEXT_STEP
        again = SCMVectorEnv(self.env.scm_spec, self.env.num_envs, autoreset_mode=mode)
        again.set_state(state)
        again.step(actions)
        return again.natural_action()


def longer_box(space: spaces.Space[Any], more: int) -> spaces.Box:
    """A flat Box with ``more`` unbounded numbers at its end.

    Raises:
        ValueError: ``space`` is no flat Box.
    """
    if not isinstance(space, spaces.Box) or len(space.shape) != 1:
        raise ValueError(f"env must have a flat Box as its observation space, got {space}")
    low = np.concatenate([space.low, np.full(more, -np.inf)]).astype(space.dtype)
    high = np.concatenate([space.high, np.full(more, np.inf)]).astype(space.dtype)
    return spaces.Box(low, high, dtype=space.dtype.type)
