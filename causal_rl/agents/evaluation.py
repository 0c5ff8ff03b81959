"""Returns of a policy and of its yardsticks, all on the same seeded episodes."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from causal_rl.agents.oracle_planner import SCMPlanner
from causal_rl.agents.policy import ActorCritic
from causal_rl.envs import SCMEnvSpec, SCMVectorEnv
from causal_rl.envs.regimes import TRAIN, RegimeSchedule, RegimeSwitchVector

# (observation (batch, n_observed), all values (batch, n)) -> actions (batch, 2)
Controller = Callable[[NDArray[np.floating], NDArray[np.float64]], NDArray[np.int64]]

# The oracle plans with the horizon that does best on episodes of its own seed.
ORACLE_HORIZONS = (1, 2, 4)
_ORACLE_VALIDATION_EPISODES = 16


def evaluate(
    spec: SCMEnvSpec,
    controller: Controller,
    *,
    episodes: int,
    seed: int,
    schedule: RegimeSchedule | None = None,
) -> NDArray[np.float64]:
    """Undiscounted returns of whole episodes, run side by side.

    Args:
        spec: the world.
        controller: chooses the actions; sees hidden values too, which only an oracle may read.
        episodes: number of episodes, at least 1.
        seed: episode i runs under seed ``seed + i``: the same noise for every controller.
        schedule: regimes that the world goes through; an episode is the first of its clock.

    Returns:
        (episodes,) float64.

    Raises:
        ValueError: episodes below one, or a regime that is no shift of the world.
    """
    if episodes < 1:
        raise ValueError(f"episodes must be at least 1, got {episodes}")
    world = SCMVectorEnv(spec, num_envs=episodes)
    env = world if schedule is None else RegimeSwitchVector(world, schedule)
    observation, _ = env.reset(seed=seed)
    returns = np.zeros(episodes)
    running = np.ones(episodes, dtype=bool)
    while running.any():
        observation, reward, terminated, truncated, _ = env.step(
            controller(observation, world.values)
        )
        returns += np.where(running, reward, 0.0)
        running &= ~(terminated | truncated)
    env.close()
    return returns


def policy_controller(policy: ActorCritic, device: torch.device) -> Controller:
    """The most probable action of ``policy``."""

    def control(
        observation: NDArray[np.floating], values: NDArray[np.float64]
    ) -> NDArray[np.int64]:
        batch = torch.as_tensor(observation, dtype=torch.float32, device=device)
        action, _, _ = policy.act(batch, None)
        return policy.unflatten(action)

    return control


def random_controller(spec: SCMEnvSpec, seed: int) -> Controller:
    """Uniform over targets ("no intervention" included) and values."""
    rng = np.random.default_rng(seed)
    high = spec.action_space().nvec

    def control(
        observation: NDArray[np.floating], values: NDArray[np.float64]
    ) -> NDArray[np.int64]:
        return rng.integers(0, high, size=(len(observation), 2))

    return control


def noop_controller() -> Controller:
    """Never intervenes."""

    def control(
        observation: NDArray[np.floating], values: NDArray[np.float64]
    ) -> NDArray[np.int64]:
        return np.zeros((len(observation), 2), dtype=np.int64)

    return control


def oracle_controller(
    spec: SCMEnvSpec, *, horizon: int, seed: int, schedule: RegimeSchedule | None = None
) -> Controller:
    """The planner on the true model.

    Args:
        spec: the world.
        horizon: steps to look ahead.
        seed: of the planner's noise.
        schedule: regimes of the world. The planner knows the one in force, from the number of its
            calls, and plans as if it stayed; the controller is then good for one `evaluate`.
    """
    worlds = {TRAIN: spec} if schedule is None else schedule.worlds(spec)
    planners = {
        name: SCMPlanner(world, horizon=horizon, seed=seed) for name, world in worlds.items()
    }
    by_step = schedule is not None and schedule.unit == "steps"
    clock: Iterator[int] = itertools.count() if by_step else itertools.repeat(0)

    def control(
        observation: NDArray[np.floating], values: NDArray[np.float64]
    ) -> NDArray[np.int64]:
        regime = TRAIN if schedule is None else schedule.at(next(clock))
        return planners[regime].plan(values).action

    return control


@dataclass(frozen=True)
class Yardsticks:
    """Mean returns that a policy's return is read against.

    Attributes:
        random: uniformly random interventions.
        noop: never intervening.
        oracle: the planner on the true model.
        oracle_horizon: steps that the oracle looks ahead, chosen on other episodes.
    """

    random: float
    noop: float
    oracle: float
    oracle_horizon: int

    def normalise(self, value: float) -> float | None:
        """(value - random) / (oracle - random); None where the oracle is no better than random."""
        span = self.oracle - self.random
        return (value - self.random) / span if span > 0 else None

    def beside(self, value: float) -> dict[str, float | int | None]:
        """What a table or a summary holds beside a return, its normalised value included."""
        return {
            "return_random": self.random,
            "return_noop": self.noop,
            "return_oracle": self.oracle,
            "return_normalised": self.normalise(value),
            "oracle_horizon": self.oracle_horizon,
        }


def measure_yardsticks(
    spec: SCMEnvSpec, *, episodes: int, seed: int, schedule: RegimeSchedule | None = None
) -> Yardsticks:
    """Measure the yardsticks of a world.

    Args:
        spec: the world.
        episodes: episodes per yardstick.
        seed: seed of the episodes, shared by all three and by the policy they are held against.
        schedule: regimes that the world goes through in each episode.
    """
    validation = {
        horizon: evaluate(
            spec,
            oracle_controller(spec, horizon=horizon, seed=seed + 1, schedule=schedule),
            episodes=_ORACLE_VALIDATION_EPISODES,
            seed=seed + 1_000_003,
            schedule=schedule,
        ).mean()
        for horizon in ORACLE_HORIZONS
    }
    best = max(validation, key=lambda horizon: validation[horizon])

    def mean(controller: Controller) -> float:
        found = evaluate(spec, controller, episodes=episodes, seed=seed, schedule=schedule)
        return float(found.mean())

    return Yardsticks(
        random=mean(random_controller(spec, seed)),
        noop=mean(noop_controller()),
        oracle=mean(oracle_controller(spec, horizon=best, seed=seed + 1, schedule=schedule)),
        oracle_horizon=best,
    )
