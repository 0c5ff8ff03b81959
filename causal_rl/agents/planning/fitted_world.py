"""Fitted mechanisms, noise and reward put together: steps, means, rewards, interventions."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from causal_rl.agents.planning.learned_noise import ResidualNoise, noise_points
from causal_rl.agents.planning.learned_reward import FoldRegression
from causal_rl.agents.planning.mended_mechanism import MendedMechanism
from causal_rl.agents.planning.model_columns import ModelColumns
from causal_rl.discovery.smooth_regression import SmoothRegression
from causal_rl.graphs import CausalGraph

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
FittedMechanism = SmoothRegression | MendedMechanism


class FittedWorld:
    """What a fitted model answers; `LearnedSCM` fits it.

    It answers `step` and `reward_value` as `causal_rl.scm.DynamicSCM` does, over the observed
    variables, so that a planner needs not know in which of the two it plans.

    Args:
        graph: acyclic inside the step, with at most one node of kind "reward".

    Raises:
        TypeError: ``graph`` of another type.
        ValueError: a cycle (it is printed), or more than one reward.

    Attributes:
        costs: float64 (n,), what setting each variable takes off the reward; 0 where never set.
    """

    def __init__(self, graph: CausalGraph) -> None:
        self._columns = ModelColumns(graph)
        self.costs = np.zeros(self.n)
        self._mechanisms: list[FittedMechanism] = []
        self._noise = ResidualNoise(self.n)
        self._reward = FoldRegression()

    @property
    def graph(self) -> CausalGraph:
        """As given; edges into variables that were refitted with other parents changed."""
        return self._columns.graph

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns."""
        return self._columns.names

    @property
    def n(self) -> int:
        """Number of columns."""
        return self._columns.n

    @property
    def contexts(self) -> NDArray[np.int64]:
        """Columns that are held."""
        return self._columns.contexts

    @property
    def sigma(self) -> Floats:
        """(n,) standard deviation of each residual."""
        return self._noise.sigma

    @property
    def has_reward(self) -> bool:
        """Whether the graph gives the reward any parent; if not, there is nothing to plan for."""
        here, earlier = self._columns.reward_parents
        return bool(len(here) or len(earlier))

    @property
    def reward_model(self) -> FoldRegression:
        """The fitted reward."""
        return self._reward

    def mechanism(self, name: str) -> FittedMechanism:
        """The fitted mechanism of a variable; its parents are those within the step, then before.

        Raises:
            ValueError: no such variable, or nothing was fitted yet.
        """
        self._ready()
        return self._mechanisms[self._index(name, "name")]

    def parents(self, name: str) -> tuple[int, ...]:
        """Columns that a mechanism reads: below n after the step, from n on before it.

        Raises:
            ValueError: no such variable.
        """
        return self._columns.parents_of(self._index(name, "name"))

    def step(
        self,
        previous: ArrayLike,
        noise: ArrayLike,
        context: ArrayLike | None = None,
        do_mask: ArrayLike | None = None,
        do_value: ArrayLike | None = None,
    ) -> Floats:
        """One step: every variable once, causes before effects.

        Args:
            previous: (batch, n), the state before.
            noise: (batch, n), residuals, as `noise_from_uniforms` or `draw_noise` give them.
            context: (batch, n) whose context columns are taken; ``previous`` if None.
            do_mask: bool (batch, n), where a variable is set; None sets nothing.
            do_value: (batch, n), read where ``do_mask`` is true.

        Returns:
            float64 (batch, n).

        Raises:
            ValueError: a shape is wrong, one of ``do_mask`` and ``do_value`` is missing, or nothing
                was fitted yet.
        """
        self._ready()
        read = self._columns.read
        before = read(previous, "previous")
        batch = len(before)
        drawn = read(noise, "noise", batch)
        held = before if context is None else read(context, "context", batch)
        if (do_mask is None) != (do_value is None):
            raise ValueError("do_mask and do_value must be given together")
        mask = value = None
        if do_mask is not None and do_value is not None:
            mask = read(do_mask, "do_mask", batch, np.bool_)
            value = read(do_value, "do_value", batch)
        return self._forward(before, drawn, held, mask, value).T

    def predict(self, previous: ArrayLike, current: ArrayLike) -> Floats:
        """Every variable's mean given the values that its parents took, for residual tests.

        Args:
            previous: (batch, n), the state before.
            current: (batch, n), the state after.

        Returns:
            float64 (batch, n); contexts as they were.

        Raises:
            ValueError: a wrong shape, or nothing was fitted yet.
        """
        before, after = self._both(previous, current)
        mean: Floats = before.copy()
        for j in self._columns.order:
            mean[:, j] = self._mechanisms[j](self._columns.inputs(j, before, after))
        return mean

    def reward_value(self, previous: ArrayLike, current: ArrayLike) -> Floats:
        """Expected reward of a step before costs.

        Args:
            previous: (batch, n), the state before.
            current: (batch, n), the state after.

        Returns:
            float64 (batch,).

        Raises:
            ValueError: a wrong shape, or nothing was fitted yet.
        """
        before, after = self._both(previous, current)
        return self._reward(self._columns.reward_inputs(before, after))

    def reward(
        self, previous: ArrayLike, current: ArrayLike, do_mask: ArrayLike | None = None
    ) -> Floats:
        """As `reward_value`, less the costs of what ``do_mask`` (batch, n) says was set."""
        value = self.reward_value(previous, current)
        if do_mask is None:
            return value
        mask = self._columns.read(do_mask, "do_mask", len(value), np.bool_)
        return np.asarray(value - mask @ self.costs)

    def noise_from_uniforms(self, uniforms: ArrayLike) -> Floats:
        """Residuals by the inverse of their empirical distribution functions.

        Args:
            uniforms: (batch, n) in [0, 1].

        Returns:
            float64 (batch, n); 0 for contexts.

        Raises:
            ValueError: a wrong shape, a value outside [0, 1], or nothing was fitted yet.
        """
        self._ready()
        u = self._columns.read(uniforms, "uniforms")
        if u.size and not (u.min() >= 0.0 and u.max() <= 1.0):
            raise ValueError("uniforms must lie in [0, 1]")
        return self._noise.from_uniforms(u)

    def draw_noise(self, rng: np.random.Generator, size: int) -> Floats:
        """(size, n) independent residuals."""
        return self.noise_from_uniforms(rng.random((size, self.n)))

    def abduct(self, previous: ArrayLike, current: ArrayLike) -> Floats:
        """The noise of a step that was seen: what each mechanism left unexplained.

        With it, `step` from ``previous`` gives ``current`` again, and under another intervention
        what would have been: the abduction of Algorithm 3 of the ECAM paper, exact where noise is
        additive. Of a variable that was set it is no noise: the value tells nothing about it.

        Args:
            previous: (batch, n), the state before.
            current: (batch, n), the state after.

        Returns:
            float64 (batch, n); 0 for contexts.

        Raises:
            ValueError: a wrong shape, or nothing was fitted yet.
        """
        noise = np.asarray(current, dtype=np.float64) - self.predict(previous, current)
        noise[:, self.contexts] = 0.0
        return noise

    def predict_do(
        self,
        previous: ArrayLike,
        do_mask: ArrayLike,
        do_value: ArrayLike,
        *,
        samples: int = 64,
        seed: int = 0,
    ) -> tuple[Floats, Floats]:
        """Expected next state and reward under interventions.

        Args:
            previous: (batch, n), the state before.
            do_mask: bool (batch, n), what is set.
            do_value: (batch, n), to which values.
            samples: residuals that are averaged over, a power of two, shared by all rows.
            seed: of the residuals.

        Returns:
            float64 (batch, n) and, costs taken off, (batch,).

        Raises:
            ValueError: a wrong shape, ``samples`` no power of two, or nothing was fitted yet.
        """
        before, mask, value = self._intervened(previous, do_mask, do_value)
        batch = len(before)
        noise = self.noise_from_uniforms(noise_points(samples, 1, self.n, seed)[0])
        rows = np.repeat(before, samples, axis=0)
        masks, values = np.repeat(mask, samples, axis=0), np.repeat(value, samples, axis=0)
        after = self._forward(rows, np.tile(noise, (batch, 1)), rows, masks, values).T
        reward = self.reward(rows, after, masks).reshape(batch, samples).mean(axis=1)
        return after.reshape(batch, samples, self.n).mean(axis=1), reward

    def expected_information(
        self, previous: ArrayLike, do_mask: ArrayLike, do_value: ArrayLike
    ) -> Floats:
        """What the next step would tell about the mechanisms, the graph taken for true, in nats.

        For each variable that is not set, ``log(1 + s / v) / 2`` with s the variance of what the
        mechanism predicts and v that of its noise: the mutual information of outcome and
        coefficients in Bayesian linear regression, at the state expected without noise.

        Args:
            previous: (batch, n), the state before.
            do_mask: bool (batch, n), what would be set.
            do_value: (batch, n), to which values.

        Returns:
            float64 (batch,).

        Raises:
            ValueError: a wrong shape, or nothing was fitted yet.
        """
        before, mask, value = self._intervened(previous, do_mask, do_value)
        after = self._forward(before, np.zeros_like(before), before, mask, value).T
        total = np.zeros(len(before))
        for j in self._columns.order:
            mechanism = self._mechanisms[j]
            noise = max(mechanism.noise_variance, 1e-9)
            unsure = mechanism.uncertainty(self._columns.inputs(j, before, after))
            total += np.where(mask[:, j], 0.0, 0.5 * np.log1p(unsure / noise))
        return total

    def _forward(
        self, before: Floats, noise: Floats, held: Floats, mask: Bools | None, value: Floats | None
    ) -> Floats:
        """The next state, (n, batch): rows are variables, so that columns lie together."""
        batch = len(before)
        after = np.empty((self.n, batch))
        after[self.contexts] = held[:, self.contexts].T
        for j in self._columns.order:
            here, earlier = self._columns.parents[j]
            columns = [after[i] for i in here] + [before[:, i] for i in earlier]
            after[j] = self._mechanisms[j].evaluate(columns, batch)
            after[j] += noise[:, j]
            if mask is not None and value is not None:
                np.copyto(after[j], value[:, j], where=mask[:, j])
        return after

    def _both(self, previous: ArrayLike, current: ArrayLike) -> tuple[Floats, Floats]:
        self._ready()
        after = self._columns.read(current, "current")
        return self._columns.read(previous, "previous", len(after)), after

    def _intervened(
        self, previous: ArrayLike, do_mask: ArrayLike, do_value: ArrayLike
    ) -> tuple[Floats, Bools, Floats]:
        self._ready()
        before = self._columns.read(previous, "previous")
        mask = self._columns.read(do_mask, "do_mask", len(before), np.bool_)
        return before, mask, self._columns.read(do_value, "do_value", len(before))

    def _index(self, name: str, argument: str) -> int:
        if name not in self.names:
            raise ValueError(f"{argument} must be one of {', '.join(self.names)}, got {name!r}")
        return self.names.index(name)

    def _ready(self) -> None:
        if not self._mechanisms:
            raise ValueError("the model was not fitted yet; call update with transitions first")
