"""Four variables whose second mechanism changes, and a watch on their model."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from causal_rl.agents.adaptation.mechanism_watch import MechanismWatch
from causal_rl.agents.planning.learned_model import LearnedSCM
from causal_rl.discovery import Transitions
from causal_rl.graphs import CausalGraph

NAMES = ("a", "b", "c", "d")
N = len(NAMES)
# a -> b -> c -> d inside the step, and d on itself.
GRAPH = CausalGraph(
    contemporaneous=np.eye(N, k=1, dtype=bool), lagged=np.diag([0, 0, 0, 1]), names=NAMES
)


def world(
    rng: np.random.Generator,
    rows: int,
    *,
    shift: float = 0.0,
    slope: float = 1.0,
    scale: float = 1.0,
    noise: str = "normal",
    do: float = 0.5,
    changed: int = 1,
) -> Transitions:
    """Transitions of a chain in which one variable's mechanism may be another."""
    draws: NDArray[np.float64] = {
        "normal": lambda: rng.normal(size=(rows, N)),
        "t3": lambda: rng.standard_t(3, size=(rows, N)) / np.sqrt(3.0),
        "uniform": lambda: rng.uniform(-1.7, 1.7, size=(rows, N)),
    }[noise]()
    state = rng.normal(size=(rows, N))
    target = np.zeros((rows, N), dtype=bool)
    which = rng.integers(0, N, size=rows)
    target[np.arange(rows), which] = rng.random(rows) < do
    value = rng.uniform(-2.0, 2.0, size=(rows, N))
    now = np.zeros((rows, N))
    for j in range(N):
        mean = np.tanh(now[:, j - 1]) if j else np.zeros(rows)
        mean = mean + (0.5 * state[:, j] if j == N - 1 else 0.0)
        own = 0.5 * draws[:, j]
        if j == changed:
            mean, own = shift + slope * mean, scale * own
        now[:, j] = np.where(target[:, j], value[:, j], mean + own)
    return Transitions(state=state, next_state=now, do_target=target, names=NAMES)


def watched(seed: int = 0, **options: Any) -> tuple[MechanismWatch, np.random.Generator]:
    rng = np.random.default_rng(seed)
    noise = options.pop("noise", "normal")
    model = LearnedSCM.fit(world(rng, 1_000, noise=noise), GRAPH)
    watch = MechanismWatch(model, NAMES, **options)
    watch.calibrate(world(rng, 400, noise=noise))
    return watch, rng
