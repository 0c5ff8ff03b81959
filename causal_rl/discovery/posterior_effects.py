"""Appendix A.1.6: effects averaged over a posterior of graphs.

``E[Y | do(X = x)] = sum_m w_m E[Y | do(X = x), G_m]`` with ``G_m ~ q(G)``. In each graph every
variable is regressed on its parents, from the rows in which it was not set; the variables set are
cut off from theirs; and what is left is computed in causal order. Coefficients are drawn from
their posterior, one draw a graph, so that the interval holds both what the data leave open: the
graph, and the size of effects.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from causal_rl.discovery.graph_posterior import GraphPosterior
from causal_rl.discovery.local_evidence import COEFFICIENT_GRID, SmoothBasis, coefficient_posterior
from causal_rl.discovery.parent_tables import Array, BoolMatrix
from causal_rl.discovery.transitions import Transitions, as_transitions
from causal_rl.graphs import topological_order
from causal_rl.graphs.names import unknown_name
from causal_rl.options import check_choice, check_integer, check_number

EFFECT_MECHANISMS = ("linear", "smooth")
# Prior variance of a linear coefficient, in units of the noise variance: next to nothing is shrunk.
_LINEAR_SIZE = 100.0


@dataclass(frozen=True)
class EffectEstimate:
    """What is believed of one number.

    Attributes:
        mean: over the posterior.
        low: end of the central interval of the level asked for.
        high: the other end.
        draws: ``(M,)`` one a graph.
        weights: ``(M,)`` of the graphs; they sum to 1.
    """

    mean: float
    low: float
    high: float
    draws: Array
    weights: Array


@dataclass(frozen=True)
class _Regression:
    """A variable's mechanism on some parents: posterior of the coefficients, and its errors."""

    parents: tuple[int, ...]
    basis: SmoothBasis | None
    mean: Array
    root: Array  # coefficients are mean + sigma * root @ normal
    shape: float
    rate: float
    center: Array
    own_mean: float
    rows: int
    errors: Array

    def inputs(self, state: Array) -> Array:
        """The regressors ``(N, F)`` of the states ``(N, n)`` of all variables."""
        own = state[:, list(self.parents)]
        return own if self.basis is None else self.basis(own)


class PosteriorEffects:
    """Interventional means, averaged over the graphs of a posterior.

    Args:
        posterior: over the variables of the data.
        data: the table or transitions it was learned from; a table ``(N, n)`` may be a data frame.
        do_target: ``(N, n)`` true where the table's variable was set.
        mechanism: ``"linear"``, means in closed form; or ``"smooth"``, regressions on the functions
            of `SmoothBasis`, pushed through the graph by rows with resampled errors.
        samples: graphs drawn.
        rows: rows pushed through each graph, of smooth mechanisms.
        seed: of graphs, coefficients and errors.

    Of transitions, the state before the step is not entered into the regressions: effects are
    those inside the step, and the past must not be a common cause of them.

    Raises:
        TypeError: not a posterior, or not data.
        ValueError: other variables than the posterior's, an option out of range, or a past.
    """

    def __init__(
        self,
        posterior: GraphPosterior,
        data: Transitions | ArrayLike | Any,
        *,
        do_target: ArrayLike | None = None,
        mechanism: str = "linear",
        samples: int = 200,
        rows: int = 400,
        seed: int = 0,
    ) -> None:
        if not isinstance(posterior, GraphPosterior):
            raise TypeError(f"posterior must be a GraphPosterior, not {type(posterior).__name__}")
        check_choice("mechanism", mechanism, EFFECT_MECHANISMS)
        check_integer("samples", samples, least=1)
        check_integer("rows", rows, least=1)
        check_integer("seed", seed, least=0)
        table = as_transitions(data, do_target=do_target)
        if table.n != posterior.n:
            raise ValueError(f"data has {table.n} variables; the posterior has {posterior.n}")
        if not table.memoryless:
            raise ValueError("data has a past; effects are averaged over graphs of tables alone")
        if len(table) < 2:
            raise ValueError(f"data has {len(table)} rows; regressions need at least 2")
        self.names = posterior.names
        self.mechanism, self._rows, self._seed = mechanism, rows, seed
        values = table.next_state
        self._center: Array = values.mean(axis=0)
        spread = values.std(axis=0)
        self._scale: Array = np.where(spread > 1e-12, spread, 1.0)
        self._values = (values - self._center) / self._scale
        self._do_target: BoolMatrix = table.do_target
        drawn = posterior.sample(samples, np.random.default_rng(seed))
        self._graphs, self._weights = drawn.graphs, drawn.weights
        self._fits: dict[tuple[int, tuple[int, ...]], _Regression] = {}

    def mean(
        self, target: str, do: Mapping[str, float] | None = None, *, level: float = 0.9
    ) -> EffectEstimate:
        """``E[target | do(...)]``; without interventions, its mean where nothing is set.

        Args:
            target: name of a variable.
            do: names of the variables set, and their values.
            level: of the interval, between 0 and 1.

        Returns:
            The estimate, in the units of the data.

        Raises:
            ValueError: unknown names, a value that is not finite, or a level out of range.
        """
        self._check_level(level)
        y, settings = self._place("target", target), self._settings(do or {})
        return self._estimate(self._draws(y, settings), level)

    def effect(
        self, cause: str, target: str, *, low: float, high: float, level: float = 0.9
    ) -> EffectEstimate:
        """``E[target | do(cause = high)] - E[target | do(cause = low)]``.

        Args:
            cause: name of the variable set.
            target: name of another.
            low: the value it is moved from.
            high: the value it is moved to.
            level: of the interval, between 0 and 1.

        Returns:
            The estimate; both terms of a difference come from the same graph, coefficients and
            errors.

        Raises:
            ValueError: as `mean`.
        """
        self._check_level(level)
        y = self._place("target", target)
        ends = [self._draws(y, self._settings({cause: value})) for value in (high, low)]
        return self._estimate(ends[0] - ends[1], level)

    def _check_level(self, level: float) -> None:
        check_number("level", level, least=0.0, below=1.0, open_end=True)

    def _place(self, argument: str, name: str) -> int:
        if name not in self.names:
            raise ValueError(f"{argument}: {unknown_name(name, self.names)}")
        return self.names.index(name)

    def _settings(self, do: Mapping[str, float]) -> dict[int, float]:
        found = {}
        for name, value in do.items():
            if not np.isfinite(value):
                raise ValueError(f"do sets {name!r} to {value!r}; it must be finite")
            j = self._place("do", name)
            found[j] = (float(value) - self._center[j]) / self._scale[j]
        return found

    def _estimate(self, draws: Array, level: float) -> EffectEstimate:
        order = np.argsort(draws, kind="stable")
        reached = np.cumsum(self._weights[order])
        tail = (1.0 - level) / 2.0
        ends = np.searchsorted(reached, [tail, 1.0 - tail]).clip(0, len(draws) - 1)
        low, high = draws[order][ends]
        return EffectEstimate(
            float(self._weights @ draws), float(low), float(high), draws, self._weights
        )

    def _draws(self, y: int, settings: dict[int, float]) -> Array:
        result = np.empty(len(self._graphs))
        for m, graph in enumerate(self._graphs):
            # Its own generator, so that coefficients do not depend on what is set.
            rng = np.random.default_rng([self._seed, m])
            standard = self._one_graph(graph, y, settings, rng)
            result[m] = standard * self._scale[y] + self._center[y]
        return result

    def _one_graph(
        self, graph: BoolMatrix, y: int, settings: dict[int, float], rng: np.random.Generator
    ) -> float:
        linear = self.mechanism == "linear"
        n, count = len(graph), 1 if linear else self._rows
        state = np.zeros((count, n))
        for j in topological_order(graph):
            fit = self._fit(j, tuple(np.flatnonzero(graph[:, j]).tolist()))
            normal = rng.standard_normal(len(fit.mean) + 1)
            sigma = np.sqrt(fit.rate / rng.gamma(fit.shape))
            drawn = rng.integers(len(fit.errors), size=count)
            if j in settings:
                state[:, j] = settings[j]
                continue
            weights = fit.mean + sigma * (fit.root @ normal[:-1])
            offset = fit.own_mean + sigma * normal[-1] / np.sqrt(max(fit.rows, 1))
            state[:, j] = offset + (fit.inputs(state) - fit.center) @ weights
            if not linear:
                state[:, j] += fit.errors[drawn]
        return float(state[:, y].mean())

    def _fit(self, j: int, parents: tuple[int, ...]) -> _Regression:
        key = (j, parents)
        if key in self._fits:
            return self._fits[key]
        used = ~self._do_target[:, j]
        own, inputs = self._values[used, j], self._values[used][:, list(parents)]
        basis = None
        if self.mechanism == "smooth" and parents and len(own):
            basis = SmoothBasis(inputs)
            inputs = basis(inputs)
        rows = len(own)
        center = inputs.mean(axis=0) if rows else np.zeros(len(parents))
        own_mean = float(own.mean()) if rows else 0.0
        inputs, centred = inputs - center, own - own_mean
        sizes = (_LINEAR_SIZE,) if self.mechanism == "linear" else COEFFICIENT_GRID
        fits = [coefficient_posterior(inputs, centred, size) for size in sizes]
        best = max(fits, key=lambda fit: fit.log_factor)
        errors = centred - inputs @ best.mean if rows else np.zeros(1)
        self._fits[key] = _Regression(
            parents,
            basis,
            best.mean,
            best.root,
            best.shape,
            best.rate,
            center,
            own_mean,
            rows,
            errors,
        )
        return self._fits[key]
