"""Exact enumeration of small discrete worlds: no sampling, and counterfactuals at once.

The noise of a `Categorical` is one uniform, so that [0, 1] falls into finitely many pieces on which
every intervention under comparison gives one outcome. Running all interventions over the same
pieces gives the joint distribution of what would happen under each of them, the parallel worlds of
counterfactuals (Pearl 2009, section 7.1.4).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from causal_rl.envs.spec import SCMEnvSpec
from causal_rl.scm import Categorical, DynamicSCM

_Floats = NDArray[np.float64]
# Pieces of [0, 1] narrower than this come from rounding.
_LEAST_WIDTH = 1e-13
_MOST_BRANCHES = 2_000_000


@dataclass(frozen=True, eq=False)
class Distribution:
    """An exact joint distribution of the variables of one step.

    Attributes:
        names: of the columns, hidden ones included.
        values: float64 (k, n), the values that can occur.
        probability: float64 (k,).
    """

    names: tuple[str, ...]
    values: _Floats
    probability: _Floats

    def mean(self, name: str, given: Mapping[str, float] | None = None) -> float:
        """E[name | given]: an association, whatever its causes.

        Raises:
            ValueError: an unknown name, or a condition of probability zero.
        """
        weight = self.probability.copy()
        for condition, value in (given or {}).items():
            weight[self.values[:, self._column(condition)] != value] = 0.0
        if weight.sum() <= 0.0:
            raise ValueError(f"given {dict(given or {})!r} has probability 0")
        return float(weight @ self.values[:, self._column(name)] / weight.sum())

    def _column(self, name: str) -> int:
        if name not in self.names:
            raise ValueError(f"{name!r} is no variable; the variables are {', '.join(self.names)}")
        return self.names.index(name)


@dataclass(frozen=True, eq=False)
class Branches:
    """All that one step can bring, under several interventions with the same noise.

    Attributes:
        values: float64 (branches, interventions, n).
        reward: float64 (branches, interventions), before costs.
        probability: float64 (branches,); it sums to that of the rows that came in.
    """

    values: _Floats
    reward: _Floats
    probability: _Floats


def enumerate_step(
    scm: DynamicSCM,
    previous: _Floats,
    probability: _Floats,
    interventions: Sequence[Mapping[str, float]],
) -> Branches:
    """Enumerate a step exactly under several interventions at once.

    Args:
        scm: a model of `Categorical` variables and variables without noise.
        previous: float64 (rows, n), the states before; contexts are copied from here.
        probability: float64 (rows,).
        interventions: what is set in each of the worlds under comparison; ``{}`` sets nothing.

    Raises:
        ValueError: a variable has continuous noise (it is named), or there is too much to
            enumerate.
    """
    check_discrete(scm)
    n, worlds = scm.n, len(interventions)
    before = previous
    weight = probability
    now = np.zeros((len(before), worlds, n))
    now[:, :, scm.contexts] = before[:, None, scm.contexts]
    for i in scm.order:
        variable = scm.variables[i]
        if variable.kind == "context":
            continue
        free = [w for w in range(worlds) if variable.name not in interventions[w]]
        for w in range(worlds):
            if w not in free:
                now[:, w, i] = interventions[w][variable.name]
        if not free:
            continue
        here = [now[:, free, scm.names.index(p)] for p in variable.parents]
        lagged = [
            np.broadcast_to(before[:, None, scm.names.index(p)], (len(before), len(free)))
            for p in variable.lagged_parents
        ]
        columns = [np.ascontiguousarray(c).ravel() for c in (*here, *lagged)]
        size = len(before) * len(free)
        mechanism = variable.function
        if not isinstance(mechanism, Categorical):
            now[:, free, i] = mechanism.evaluate(columns, size).reshape(-1, len(free))
            continue
        bounds = np.cumsum(mechanism.probabilities(columns, size), axis=0)[:-1]
        bounds = bounds.reshape(len(bounds), -1, len(free))
        ends = np.sort(bounds.transpose(1, 0, 2).reshape(len(before), -1), axis=1).clip(0.0, 1.0)
        edges = np.pad(ends, ((0, 0), (1, 1)), constant_values=((0, 0), (0.0, 1.0)))
        width = np.diff(edges, axis=1)
        row, piece = np.nonzero(width > _LEAST_WIDTH)
        if len(row) > _MOST_BRANCHES:
            raise ValueError(f"there are more than {_MOST_BRANCHES} outcomes to enumerate")
        u = 0.5 * (edges[row, piece] + edges[row, piece + 1])
        before, weight, now = before[row], weight[row] * width[row, piece], now[row]
        now[:, free, i] = (u[:, None] >= bounds[:, row]).sum(axis=0)
    flat, past = now.reshape(-1, n), np.repeat(before, worlds, axis=0)
    return Branches(now, scm.reward_value(past, flat).reshape(-1, worlds), weight)


def check_discrete(scm: DynamicSCM) -> None:
    """Refuse a model that cannot be enumerated.

    Raises:
        ValueError: a variable has continuous noise; it is named.
    """
    for v in scm.variables[: scm.n]:
        if not isinstance(v.function, Categorical) and (
            not v.function.additive or v.noise.std != 0.0
        ):
            raise ValueError(
                f"variable {v.name!r} has noise that cannot be enumerated; exact values are for "
                "Categorical variables and variables without noise"
            )


def distribution(
    spec: SCMEnvSpec, step: int = 1, do: Mapping[str, float] | None = None
) -> Distribution:
    """The exact distribution of all variables after some steps, the same thing done in each.

    Args:
        spec: a discrete world.
        step: 0 is the state after a reset, in which nothing is set.
        do: what is set at every step; None for nothing.

    Raises:
        ValueError: the world is not discrete (the variable is named), or ``step`` is below 0.
    """
    if step < 0:
        raise ValueError(f"step must be at least 0, got {step}")
    scm = spec.scm
    states, weight = start_state(scm), np.ones(1)
    for t in range(step + 1):
        branches = enumerate_step(scm, states, weight, [{} if t == 0 else do or {}])
        states, weight = merged(branches.values[:, 0], branches.probability)
    return Distribution(scm.names, states, weight)


def start_state(scm: DynamicSCM) -> NDArray[np.float64]:
    """The state (1, n) from which the first step of an episode is made: zeros, and contexts."""
    check_discrete(scm)
    middle = scm.noise_from_uniforms(np.full((1, scm.n), 0.5))
    first = scm.initial(middle)
    start = np.zeros((1, scm.n))
    start[:, scm.contexts] = first[:, scm.contexts]
    return start


def merged(values: _Floats, probability: _Floats) -> tuple[_Floats, _Floats]:
    """Add up the probabilities (k,) of equal rows of values (k, n); rows come back sorted."""
    rows, inverse = np.unique(values, axis=0, return_inverse=True)
    totals = np.zeros(len(rows))
    np.add.at(totals, inverse.ravel(), probability)
    return rows, totals
