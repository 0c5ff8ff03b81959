"""Plans, and their mean returns in a structural causal model, learned or true."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

# Rows simulated at a time: few enough to stay in cache, many enough to hide the overhead of NumPy.
_CHUNK_ROWS = 6_000


class Plan(NamedTuple):
    """What a planner chose.

    Attributes:
        action: (batch, 2) target and value index.
        value: (batch,) expected return of it over the planner's horizon.
    """

    action: NDArray[np.int64]
    value: NDArray[np.float64]


class PlanningModel(Protocol):
    """What a planner needs of a model; `LearnedSCM` and `causal_rl.scm.DynamicSCM` have it."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns."""
        ...

    @property
    def n(self) -> int:
        """Number of columns."""
        ...

    def noise_from_uniforms(self, uniforms: Floats, /) -> Floats:
        """Noise (batch, n) from uniforms (batch, n) in (0, 1)."""
        ...

    def step(
        self,
        previous: ArrayLike,
        noise: ArrayLike,
        context: ArrayLike | None = None,
        do_mask: ArrayLike | None = None,
        do_value: ArrayLike | None = None,
    ) -> Floats:
        """The next state (batch, n)."""
        ...

    def reward_value(self, previous: ArrayLike, current: ArrayLike) -> Floats:
        """Expected reward of a step before costs, (batch,)."""
        ...


class ActionEffects(NamedTuple):
    """What each action of a list does to the columns of a model.

    Attributes:
        mask: bool (actions, n), columns that it sets.
        value: float64 (actions, n), values that it sets them to.
        cost: float64 (actions,).
    """

    mask: NDArray[np.bool_]
    value: Floats
    cost: Floats


def plan_returns(
    model: PlanningModel,
    states: Floats,
    plans: NDArray[np.int64],
    effects: ActionEffects,
    bank: Floats,
) -> Floats:
    """Mean return of every plan from every state, under noise shared by all of them.

    Args:
        model: where to simulate.
        states: (batch, n) where the plans begin.
        plans: (1 or batch, plans, horizon) indices into the actions.
        effects: of the actions.
        bank: (horizon, samples, n) noise.

    Returns:
        (batch, plans).
    """
    count, samples = plans.shape[1], bank.shape[1]
    chunk = max(1, _CHUNK_ROWS // (count * samples))
    parts = []
    for start in range(0, len(states), chunk):
        rows = states[start : start + chunk]
        own = plans if len(plans) == 1 else plans[start : start + chunk]
        own = np.broadcast_to(own, (len(rows), *plans.shape[1:]))
        previous = np.repeat(rows, count * samples, axis=0)
        total = np.zeros(len(previous))
        for t, noise in enumerate(bank):
            tiled = np.tile(noise, (len(rows) * count, 1))
            action = np.repeat(own[..., t].ravel(), samples)
            mask, value = effects.mask[action], effects.value[action]
            current = model.step(previous, tiled, None, mask, value)
            total += model.reward_value(previous, current) - effects.cost[action]
            previous = current
        parts.append(total.reshape(len(rows), count, samples).mean(axis=-1))
    return np.concatenate(parts) if parts else np.zeros((0, count))
