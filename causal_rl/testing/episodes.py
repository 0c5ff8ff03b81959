"""Running a world over several episodes, scalar or vector, into one kind of record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray

from causal_rl.envs import SCMEnv, SCMVectorEnv
from causal_rl.testing.world import check_equal, fail

_Array = NDArray[Any]
#: What a step leaves behind, in the order of `Episodes`.
FIELDS = ("observation", "reward", "terminated", "truncated", "do_target", "do_value")


@dataclass(frozen=True, eq=False)
class Episodes:
    """What was seen over T steps of B rows.

    Attributes:
        start: float64 (E, B, n), the first observation of each episode that began, the one that
            began after the last step included.
        observation: float64 (T, B, n), after each step; the last one of an episode is its own, not
            that of the next.
        reward: float64 (T, B).
        terminated: bool (T, B).
        truncated: bool (T, B).
        do_target: bool (T, B, n).
        do_value: float64 (T, B, n).
    """

    start: _Array
    observation: _Array
    reward: _Array
    terminated: _Array
    truncated: _Array
    do_target: _Array
    do_value: _Array

    def row(self, b: int, rows: int = 1) -> Episodes:
        """The record of the rows from ``b`` on."""
        return Episodes(
            **{name: getattr(self, name)[:, b : b + rows] for name in ("start", *FIELDS)}
        )

    def steps(self, first: int) -> Episodes:
        """The record from a step on, all starts included."""
        return Episodes(self.start, *(getattr(self, name)[first:] for name in FIELDS))


def run_scalar(env: SCMEnv, plan: _Array, seed: int | None) -> Episodes:
    """Run a scalar environment; each episode but the first begins with a reset without seed.

    Args:
        env: the environment.
        plan: int (T, 1, 2).
        seed: of the first reset; None goes on where the environment stands.
    """
    starts = [] if seed is None else [env.reset(seed=seed)[0]]
    frames = []
    for action in plan[:, 0]:
        observation, reward, terminated, truncated, info = env.step(action)
        frames.append(
            (observation, reward, terminated, truncated, info["do_target"], info["do_value"])
        )
        if truncated or terminated:
            starts.append(env.reset()[0])
    return _record([[start] for start in starts], [[[x] for x in frame] for frame in frames], env)


def run_vector(env: SCMVectorEnv, plan: _Array, seed: int | None) -> Episodes:
    """Run a vector environment whose rows all begin together, in either autoreset mode.

    Resets are no steps of the record: in ``NEXT_STEP`` mode the calls that reset are made besides,
    with an action that would set something, and checked.

    Args:
        env: the environment.
        plan: int (T, B, 2).
        seed: as for `run_scalar`.

    Raises:
        AssertionError: what the environment says about a reset is wrong.
    """
    starts = [] if seed is None else [env.reset(seed=seed)[0]]
    frames = []
    for actions in plan:
        observation, reward, terminated, truncated, info = env.step(actions)
        done = np.asarray(truncated) | np.asarray(terminated)
        if done.any() and not done.all():
            fail(f"of rows that began together some ended after the others: {done.tolist()}")
        target, value = info["do_target"], info["do_value"]
        if done.any() and env.autoreset_mode is AutoresetMode.SAME_STEP:
            starts.append(observation)
            observation, target, value = _before_reset(observation, info, done)
        frames.append((observation, reward, terminated, truncated, target, value))
        if done.any() and env.autoreset_mode is AutoresetMode.NEXT_STEP:
            starts.append(_after_reset(env, actions))
    return _record(starts, frames, env)


def compare(got: Episodes, wanted: Episodes, what: str, reference: str) -> None:
    """Fail if two records differ, saying in what, at which step and in which row.

    Args:
        got: a record.
        wanted: what it must equal.
        what: whose record ``got`` is.
        reference: whose record ``wanted`` is.

    Raises:
        AssertionError: they differ.
    """
    if len(got.start) != len(wanted.start):
        fail(
            f"{what} began {len(got.start)} episodes in {len(got.reward)} steps, but {reference} "
            f"began {len(wanted.start)}"
        )
    for e, (own, other) in enumerate(zip(got.start, wanted.start, strict=True)):
        check_equal(f"{what}: the first observation of episode {e}", own, other, reference)
    for name in FIELDS:
        pairs = zip(getattr(got, name), getattr(wanted, name), strict=True)
        for t, (own, other) in enumerate(pairs):
            check_equal(f"{what}: {name} of step {t}", own, other, reference)


def _before_reset(
    observation: _Array, info: Mapping[str, Any], done: _Array
) -> tuple[_Array, _Array, _Array]:
    """The observation and interventions that a reset in the same step has replaced."""
    for key in ("final_obs", "final_info"):
        if key not in info:
            fail(f"SAME_STEP: info has no {key!r} in a step in which an episode ended")
        check_equal(f"SAME_STEP: info['_{key}']", info[f"_{key}"], done, "the rows that ended")
    if np.asarray(info["do_target"])[done].any():
        fail("SAME_STEP: info['do_target'] is not False in a row that was reset")
    last = np.array(observation)
    target, value = np.array(info["do_target"]), np.array(info["do_value"])
    for row in np.flatnonzero(done):
        last[row] = info["final_obs"][row]
        target[row] = info["final_info"]["do_target"][row]
        value[row] = info["final_info"]["do_value"][row]
    return last, target, value


def _after_reset(env: SCMVectorEnv, actions: _Array) -> _Array:
    """The call that resets in ``NEXT_STEP`` mode; its actions must be ignored."""
    observation, reward, terminated, truncated, info = env.step(np.ones_like(actions) * [1, 0])
    if np.asarray(reward).any():
        fail(f"NEXT_STEP: the reward of a reset row is {np.asarray(reward).max()}, not 0")
    if np.asarray(terminated).any() or np.asarray(truncated).any():
        fail("NEXT_STEP: a reset row says that its episode has ended")
    if np.asarray(info["do_target"]).any() or np.asarray(info["do_value"]).any():
        fail("NEXT_STEP: the info of a reset row says that something was set")
    return np.asarray(observation)


def _record(
    starts: Sequence[Any], frames: Sequence[Sequence[Any]], env: SCMEnv | SCMVectorEnv
) -> Episodes:
    rows = env.num_envs if isinstance(env, SCMVectorEnv) else 1
    n = len(env.scm_spec.observed)
    columns = [np.array(column) for column in zip(*frames, strict=True)]
    return Episodes(np.array(starts, dtype=np.float64).reshape(-1, rows, n), *columns)
