"""The least code that does the arithmetic of a chain world: what a step can cost at best.

No spaces, no seeds by address, no checks, no info, no resets: noise, mechanisms, do, reward.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

_Floats = NDArray[np.float64]
#: From targets and value indices, (batch,) each, to observations (batch, n) and rewards (batch,).
Kernel = Callable[[NDArray[np.int64], NDArray[np.int64]], tuple[_Floats, _Floats]]


def chain_kernel(n: int, batch: int, *, lagged: bool, mechanism: str, seed: int = 0) -> Kernel:
    """A chain of n variables in NumPy, the last of which remembers itself.

    Args:
        n: variables.
        batch: rows.
        lagged: whether edges act one step later.
        mechanism: "linear" or "tanh".
        seed: of weights and noise.
    """
    rng = np.random.default_rng(seed)
    weights, biases = rng.uniform(0.5, 1.0, n).tolist(), rng.uniform(-0.1, 0.1, n).tolist()
    scales, cost = rng.uniform(0.4, 1.0, (n, 1)), np.linspace(0.0, 0.1, n)
    values, goal = np.linspace(-2.0, 2.0, 7), rng.uniform(-1.0, 1.0, batch)
    state = np.zeros((n, batch))

    def step(target: NDArray[np.int64], index: NDArray[np.int64]) -> tuple[_Floats, _Floats]:
        nonlocal state
        before, now = state, rng.standard_normal((n, batch))
        now *= scales
        value, source = values[index], before if lagged else now
        for i in range(n):
            if i:
                effect = weights[i] * source[i - 1]
                effect += biases[i]
                if mechanism == "tanh":
                    np.tanh(effect, out=effect)
                    effect *= 0.9
                if i == n - 1:
                    effect += 0.5 * before[i]
                now[i] += effect
            np.copyto(now[i], value, where=target == i + 1)
        state = now
        return now.T, -np.abs(now[-1] - goal) - cost.take(target)

    return step


def playground_chain(n: int) -> Any:
    """The same chain as a CausalPlayground environment, which samples each step anew.

    Raises:
        MissingExtraError: CausalPlayground is not installed.
    """
    from causal_rl.errors import import_extra

    package = import_extra("CausalPlayground", extra="peers")

    class Chain(package.SCMEnvironment):  # type: ignore[name-defined, misc]
        def determine_reward(self) -> float:
            return -abs(float(self.endogenous_vars[f"X{n}"]))

        def determine_truncated(self) -> bool:
            return False

        def determine_terminated(self) -> bool:
            return False

        def get_observation(self) -> _Floats:
            return np.array([*self.endogenous_vars.values(), *self.exogenous_vars.values()])

    scm = package.StructuralCausalModel()
    for i in range(1, n + 1):
        scm.add_exogenous_var(f"U{i}", np.random.normal, {"loc": 0.0, "scale": 0.45})
        parents = {"u": f"U{i}"} | ({"x": f"X{i - 1}"} if i > 1 else {})
        scm.add_endogenous_var(f"X{i}", _chained if i > 1 else _root, parents)
    settings: list[tuple[str, Any]] = [
        (f"X{i}", (_constant(value), {})) for i in range(1, n) for value in np.linspace(-2, 2, 7)
    ]
    return Chain(scm, settings)


def _root(u: float) -> float:
    return u


def _chained(u: float, x: float) -> float:
    return float(np.tanh(0.8 * x)) + u


def _constant(value: float) -> Callable[[], float]:
    return lambda: value
