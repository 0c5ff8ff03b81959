"""Refutations: estimates that should come out as something known, and what came out.

Each draws a few times, estimates again, and asks whether the spread of those estimates holds the
value that it should, as the package DoWhy does (Sharma, Kiciman 2020). Passing proves nothing; to
fail is a reason to doubt.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr

from causal_rl.effects.base import Array, EffectEstimator, Treatments
from causal_rl.graphs import CausalGraph
from causal_rl.options import check_integer

SUBSET = 0.8
#: A p-value below this counts as refuted.
LEVEL = 0.05
#: What each does and what should come out.
REFUTATIONS = {
    "placebo treatment": "the treatment shuffled among rows: the effect should be zero",
    "random common cause": "a column of noise adjusted for as well: the effect should stay",
    "data subset": f"{SUBSET:.0%} of the rows of each arm: the effect should stay",
}
_NOISE = "random common cause"


@dataclass(frozen=True)
class Refutation:
    """What one refutation found for one contrast.

    Attributes:
        name: one of `REFUTATIONS`.
        expected: what should come out: 0, or the estimate.
        mean: what came out, over the draws.
        deviation: standard deviation of the draws.
        p_value: two-sided, of the expected value under a normal law with that mean and deviation.
        draws: how many.
    """

    name: str
    expected: float
    mean: float
    deviation: float
    p_value: float
    draws: int

    @property
    def passed(self) -> bool:
        """Whether the expected value is within what came out."""
        return self.p_value >= LEVEL


def refute(
    estimator: EffectEstimator,
    X: Array,
    t: Treatments,
    y: Array,
    *,
    draws: int = 10,
    seed: int = 0,
    contrasts: tuple[tuple[int, int], ...] = ((0, 1),),
    progress: Callable[[int], None] = lambda done: None,
) -> dict[tuple[int, int], tuple[Refutation, ...]]:
    """Put an estimate to the three tests.

    Args:
        estimator: fitted to the rows. If its graph was learned, that graph is kept.
        X: ``(N, p)`` the rows of `fit`.
        t: ``(N,)``.
        y: ``(N,)``.
        draws: refits a test, 2 or more.
        seed: of the draws.
        contrasts: pairs of arms ``(t0, t1)``.
        progress: called with the number of refits done.

    Returns:
        For each contrast, a result for each of `REFUTATIONS`, in their order.

    Raises:
        RuntimeError: the estimator has not been fitted.
        ValueError: ``draws`` is below 2, or there is no such arm.
    """
    check_integer("draws", draws, least=2)
    estimates = {pair: estimator.ate(t0=pair[0], t1=pair[1]) for pair in contrasts}
    found: dict[tuple[int, int], list[Refutation]] = {pair: [] for pair in contrasts}
    done = 0
    for number, name in enumerate(REFUTATIONS):
        rng = np.random.default_rng([seed, number])
        outcomes: dict[tuple[int, int], list[float]] = {pair: [] for pair in contrasts}
        for _ in range(draws):
            again = _refit(name, estimator, X, t, y, rng)
            for pair in contrasts:
                outcomes[pair].append(again.ate(t0=pair[0], t1=pair[1]))
            done += 1
            progress(done)
        for pair in contrasts:
            expected = 0.0 if name == "placebo treatment" else estimates[pair]
            found[pair].append(_compare(name, expected, outcomes[pair]))
    return {pair: tuple(results) for pair, results in found.items()}


def _refit(
    name: str,
    estimator: EffectEstimator,
    X: Array,
    t: Treatments,
    y: Array,
    rng: np.random.Generator,
) -> EffectEstimator:
    names, graph = estimator.names_, estimator.graph_
    if name == "placebo treatment":
        t = rng.permutation(t)
    elif name == _NOISE:
        X, names = np.column_stack([X, rng.normal(size=len(X))]), (*names, _NOISE)
        graph = None if graph is None else _with_common_cause(graph, estimator)
    else:
        rows = [
            rng.choice(members, max(2, round(SUBSET * members.size)), replace=False)
            for members in (np.flatnonzero(t == arm) for arm in range(estimator.n_arms_))
        ]
        kept = np.concatenate(rows)
        X, t, y = X[kept], t[kept], y[kept]
    again = type(estimator)(**{**estimator._options(), "graph": graph})
    return again.fit(X, t, y, names=names)


def _with_common_cause(graph: CausalGraph, estimator: EffectEstimator) -> CausalGraph:
    """The graph with a cause of treatment and outcome more."""
    n = graph.n
    edges = np.zeros((n + 1, n + 1), dtype=bool)
    edges[:n, :n] = graph.contemporaneous
    edges[n, graph.indices([estimator.treatment, estimator.outcome])] = True
    return CausalGraph(edges, names=(*graph.names, _NOISE), kinds=(*graph.kinds, "state"))


def _compare(name: str, expected: float, outcomes: list[float]) -> Refutation:
    mean, deviation = float(np.mean(outcomes)), float(np.std(outcomes, ddof=1))
    # Rounding is no spread: an estimate that never moves has come out as expected, or has not.
    off = abs(expected - mean)
    exact = off <= 1e-9 * max(1.0, abs(expected), abs(mean))
    p_value = 1.0 if exact else 2.0 * float(ndtr(-off / deviation)) if deviation > 0 else 0.0
    return Refutation(name, expected, mean, deviation, p_value, len(outcomes))
