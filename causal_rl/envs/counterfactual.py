"""What an episode would have been under other interventions: stored noise, run again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from causal_rl.envs.spec import SCMEnvSpec
from causal_rl.scm import Trajectory

#: Interventions in place of those of an episode; see :func:`counterfactual`.
Do = Mapping[str, float] | Mapping[int, Mapping[str, float]] | tuple[ArrayLike, ArrayLike] | None


def counterfactual(spec: SCMEnvSpec, trajectory: Trajectory, do: Do) -> Trajectory:
    """The same episodes, noise and all, under other interventions.

    Args:
        spec: the world the trajectory comes from.
        trajectory: from an environment's ``trajectory()``.
        do: one of

            - ``{name: value}``: what was done stays, and these are set at every step besides;
            - ``{step: {name: value}}``: at these steps (0 is the first action's) this is done in
              place of what was done, at the others what was done stays; ``{step: {}}`` sets nothing
              there;
            - ``(do_mask, do_value)``, bool and float64 (T, batch, n): exactly this is done;
            - None: nothing is done at any step.

    Returns:
        The counterfactual trajectory, with the same noise. What was done, done again
        (``trajectory.do``), gives the factual trajectory bit for bit; variables that no change
        reaches keep their values bit for bit. ``reward`` includes the costs of what is set.

    Raises:
        TypeError: ``trajectory`` or ``do`` of another type.
        ValueError: an unknown name, a context or the reward, a step outside the episode, a value
            that is not finite, or arrays of a wrong shape.
    """
    if not isinstance(trajectory, Trajectory):
        raise TypeError(f"trajectory must be a Trajectory, got {type(trajectory).__name__}")
    mask, value = _setting(spec, trajectory, do)
    return with_costs(spec, spec.scm.counterfactual(trajectory, mask, value))


def with_costs(spec: SCMEnvSpec, trajectory: Trajectory) -> Trajectory:
    """Take the cost of every variable that is set off the rewards, as an environment does."""
    if trajectory.reward is None:
        return trajectory
    costs = dict(zip(spec.interventions.settable, spec.interventions.costs[1:], strict=True))
    by_column = np.array([costs.get(name, 0.0) for name in spec.scm.names])
    cost = np.zeros(trajectory.reward.shape)
    for column in np.flatnonzero(by_column):  # one term at a time, as one action has one target
        cost += np.where(trajectory.do_mask[:, :, column], by_column[column], 0.0)
    return replace(trajectory, reward=trajectory.reward - cost)


def _setting(
    spec: SCMEnvSpec, trajectory: Trajectory, do: Do
) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    if do is None:
        return np.zeros_like(trajectory.do_mask), np.zeros_like(trajectory.do_value)
    if isinstance(do, tuple) and len(do) == 2:
        return np.asarray(do[0]), np.asarray(do[1], dtype=np.float64)
    if not isinstance(do, Mapping):
        raise TypeError(
            "do must be {name: value}, {step: {name: value}}, (do_mask, do_value) or None, got "
            f"{do!r}"
        )
    mask, value = trajectory.do_mask.copy(), trajectory.do_value.copy()
    for key, entry in do.items():
        if isinstance(key, str):
            _set(spec, mask, value, {key: entry})
            continue
        if isinstance(key, bool) or not isinstance(key, int | np.integer):
            raise TypeError(f"do must be keyed by names or by steps, got the key {key!r}")
        if not 0 <= key < len(mask):
            raise ValueError(f"do names step {key}; the episode has steps 0..{len(mask) - 1}")
        if not isinstance(entry, Mapping):
            raise TypeError(f"do at step {key} must be {{name: value}}, got {entry!r}")
        mask[key], value[key] = False, 0.0
        _set(spec, mask[key : key + 1], value[key : key + 1], entry)
    return mask, value


def _set(
    spec: SCMEnvSpec,
    mask: NDArray[np.bool_],
    value: NDArray[np.float64],
    entry: Mapping[str, object],
) -> None:
    """Write interventions into views of shape (steps, batch, n)."""
    for name, number in entry.items():
        if name not in spec.scm.names:
            raise ValueError(
                f"do names {name!r}; the variables of world {spec.name!r} are "
                f"{', '.join(spec.scm.names)}"
            )
        if spec.scm.kinds[spec.scm.names.index(name)] == "context":
            raise ValueError(f"do names the context {name!r}, which is held through an episode")
        real = isinstance(number, int | float | np.number) and not isinstance(number, bool)
        if not real or not np.isfinite(number):  # type: ignore[call-overload]
            raise ValueError(f"do of {name!r} must be a finite number, got {number!r}")
        column = spec.scm.names.index(name)
        mask[:, :, column], value[:, :, column] = True, float(number)  # type: ignore[arg-type]
