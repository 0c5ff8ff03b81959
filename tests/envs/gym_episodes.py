"""Episodes of Gymnasium's environments under their known graphs, and when two are the same."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np

from causal_rl.envs.gym_dynamics import (
    GymDynamicsEnv,
    GymTrajectory,
    make_cartpole,
    make_mountain_car,
    make_pendulum,
)
from causal_rl.envs.known_dynamics import GYM_DYNAMICS

MAKE = {"cartpole": make_cartpole, "pendulum": make_pendulum, "mountain-car": make_mountain_car}
NAMES = list(GYM_DYNAMICS)


def play(env: GymDynamicsEnv, seed: int, steps: int = 10_000, swing: bool = False) -> GymTrajectory:
    """Random actions; or push along the velocity, which takes the mountain car to wall and goal."""
    rng = np.random.default_rng(seed)
    observation, _ = env.reset(seed=seed)
    for _ in range(steps):
        if swing:
            action: Any = np.array([1.0 if observation[1] >= 0.0 else -1.0], dtype=np.float32)
        elif isinstance(env.action_space, gymnasium.spaces.Discrete):
            action = int(rng.integers(env.action_space.n))
        else:
            action = rng.uniform(env.action_space.low, env.action_space.high).astype(np.float32)
        observation, _, terminated, truncated, _ = env.step(action)
        if terminated or truncated:
            break
    return env.trajectory()


def same(left: GymTrajectory, right: GymTrajectory) -> None:
    assert left.names == right.names
    np.testing.assert_array_equal(left.values, right.values)
    np.testing.assert_array_equal(left.reward, right.reward)
    assert (left.terminated, left.truncated) == (right.terminated, right.truncated)
