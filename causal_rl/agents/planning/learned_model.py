"""A structural causal model fitted to transitions on a learned graph: what an agent plans in."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np

from causal_rl.agents.planning.fitted_world import FittedWorld
from causal_rl.agents.planning.learned_reward import FoldRegression
from causal_rl.agents.planning.mended_mechanism import MendedMechanism
from causal_rl.agents.planning.model_file import read_model, write_model
from causal_rl.discovery import Transitions
from causal_rl.discovery.smooth_regression import SmoothRegression
from causal_rl.graphs import CausalGraph


class LearnedSCM(FittedWorld):
    """Mechanisms, residuals and reward of a world, all from transitions and a learned graph.

    - Each variable is a regression on its parents within the step and one step before, by
      `SmoothRegression`, on the rows in which it was not set. Contexts are held.
    - Its noise is what the regression left on the rows kept, drawn independently of the others'.
    - The reward is a `FoldRegression` on its parents, less a cost for each variable that was set.
    - A mechanism that changed is refitted alone, as a `MendedMechanism`.

    What it answers is in `FittedWorld`. Nothing of the true model is read.

    Args:
        graph: over the transitions' variables, and a last node of kind "reward" if there is one.
            Acyclic inside the step.
        rows_kept: latest rows kept for residuals and reward, at least 16.

    Raises:
        TypeError: ``graph`` of another type.
        ValueError: a cycle (it is printed), more than one reward, or ``rows_kept`` too small.

    Attributes:
        rows: rows fitted.
    """

    def __init__(self, graph: CausalGraph, *, rows_kept: int = 4096) -> None:
        super().__init__(graph)
        if isinstance(rows_kept, bool) or not isinstance(rows_kept, int) or rows_kept < 16:
            raise ValueError(f"rows_kept must be an integer of at least 16, got {rows_kept!r}")
        self.rows_kept = rows_kept
        self.rows = 0
        self._kept: Transitions | None = None

    @classmethod
    def fit(cls, transitions: Transitions, graph: CausalGraph, *, rows_kept: int = 4096) -> Self:
        """Fit a model.

        Args:
            transitions: rows over the graph's variables in any order, with rewards if the graph
                has a reward.
            graph: see the class.
            rows_kept: see the class.

        Raises:
            TypeError: an argument of another type.
            ValueError: no rows, no rewards, or other variables than the graph's.
        """
        return cls(graph, rows_kept=rows_kept).update(transitions)

    def update(self, transitions: Transitions) -> Self:
        """Count more rows and fit again.

        Mechanisms are kept as sums, residuals and reward on the latest ``rows_kept`` rows: the time
        an update takes does not grow with the rows that came before.

        Args:
            transitions: new rows, as for `fit`.

        Returns:
            This model.

        Raises:
            TypeError: ``transitions`` of another type.
            ValueError: no rows, no rewards, or other variables than the graph's.
        """
        data, columns = self._columns.aligned(transitions), self._columns
        if not self._mechanisms:
            self._mechanisms = [self._new_mechanism(j, data) for j in range(self.n)]
        for j, mechanism in enumerate(self._mechanisms):
            free = ~data.do_target[:, j]
            mechanism.add(
                columns.inputs(j, data.state, data.next_state)[free], data.next_state[free, j]
            )
            mechanism.solve()
        self.rows += len(data)
        parts = [data] if self._kept is None else [self._kept, data]
        self._kept = Transitions.concatenate(parts)[-self.rows_kept :]
        for j in columns.order:
            self._fit_noise(j)
        self._fit_reward(self._kept)
        return self

    def refit(
        self,
        variable: str,
        transitions: Transitions,
        *,
        parents: Sequence[int] | None = None,
        prior: LearnedSCM | None = None,
    ) -> str:
        """Refit one mechanism on rows since it changed, with the old one as a prior.

        Mechanism and noise of every other variable stay bit for bit, and so does the reward. Rows
        that `update` counts later are taken as rows since the change.

        Args:
            variable: its name.
            transitions: rows since the change, rewards not needed; those that set the variable are
                left out.
            parents: columns that it reads from now on, as `parents` gives them; None for those of
                the prior.
            prior: the model whose mechanism of this variable is the old one; None for this one.

        Returns:
            What was done, in words: see `MendedMechanism`.

        Raises:
            TypeError: ``transitions`` of another type.
            ValueError: no such variable, no row in which it was not set, parents that it cannot
                have, a prior over other variables, or nothing was fitted yet.
        """
        self._ready()
        j = self._index(variable, "variable")
        source = self if prior is None else prior
        if source.names != self.names or not source._mechanisms:
            raise ValueError(
                f"prior must be fitted over {', '.join(self.names)}, in that order; got one over "
                f"{', '.join(source.names)}"
            )
        data = self._columns.aligned(transitions, rewards=False)
        own = data[~data.do_target[:, j]]
        if not len(own):
            raise ValueError(f"transitions set {variable!r} in every row; nothing to refit it on")
        before = source._columns.parents_of(j)
        now = before if parents is None else tuple(sorted({int(c) for c in parents}))
        if now != self._columns.parents_of(j):
            self._columns = self._columns.with_parents(j, now)
        inputs = self._columns.inputs(j, own.state, own.next_state)
        spread = inputs.std(axis=0)
        mended = MendedMechanism(
            source._mechanisms[j],
            [now.index(c) if c in now else -1 for c in before],
            inputs.mean(axis=0),
            np.where(spread > 1e-9, spread, 1.0),
            self.rows_kept,
        )
        mended.add(inputs, own.next_state[:, j])
        mended.solve()
        self._mechanisms[j] = mended
        self._noise.quantiles[j] = source._noise.quantiles[j]
        self._noise.sigma[j] = source._noise.sigma[j]
        self._fit_noise(j)
        return mended.how

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write to ``path`` (.npz); the file appears whole or not at all.

        Raises:
            ValueError: another suffix, or nothing was fitted yet.
        """
        write_model(self.state_dict(), path)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read what `save` wrote; it predicts and goes on as the model that was saved.

        Raises:
            FileNotFoundError: no such file.
            ValueError: the file holds no model.
        """
        return read_model(path, cls.from_state)

    def state_dict(self) -> dict[str, Any]:
        """All that was fitted, as plain values and arrays.

        Raises:
            ValueError: nothing was fitted yet.
        """
        self._ready()
        kept = {}
        if self._kept is not None:
            names = ("state", "next_state", "reward", "do_target")
            kept = {k: v for k in names if (v := getattr(self._kept, k)) is not None}
        return {
            "graph": self.graph.to_dict(),
            "rows": self.rows,
            "rows_kept": self.rows_kept,
            "reward": self._reward.to_dict(),
            "mechanisms": {str(j): m.state_dict() for j, m in enumerate(self._mechanisms)},
            "kept": kept,
            "quantiles": self._noise.quantiles.copy(),
            "sigma": self._noise.sigma.copy(),
            "costs": self.costs.copy(),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        """Restore what `state_dict` gave."""
        made = cls(CausalGraph.from_dict(state["graph"]), rows_kept=int(state["rows_kept"]))
        made._kept = Transitions(**state["kept"], names=made.names, kinds=made._columns.kinds)
        for j in range(made.n):
            own = state["mechanisms"][str(j)]
            kind = MendedMechanism if "base" in own else SmoothRegression
            made._mechanisms.append(kind.from_state(own))
        made._reward = FoldRegression.from_dict(state["reward"])
        made._noise.quantiles = np.array(state["quantiles"], dtype=np.float64)
        made._noise.sigma = np.array(state["sigma"], dtype=np.float64)
        made.costs, made.rows = np.array(state["costs"], dtype=np.float64), int(state["rows"])
        return made

    # --- fitting -----------------------------------------------------------------------------

    def _new_mechanism(self, j: int, data: Transitions) -> SmoothRegression:
        inputs = self._columns.inputs(j, data.state, data.next_state)
        spread = inputs.std(axis=0)
        return SmoothRegression(
            inputs.mean(axis=0),
            np.where(spread > 1e-9, spread, 1.0),
            float(data.next_state[:, j].mean()),
        )

    def _fit_noise(self, j: int) -> None:
        """From residuals of the rows kept; of a mended mechanism, of those since the change."""
        mechanism, kept = self._mechanisms[j], self._kept
        if isinstance(mechanism, MendedMechanism):
            inputs, target = mechanism.rows_since
            self._noise.refit(j, target - mechanism(inputs), mechanism.noise_variance)
            return
        free = np.zeros(0, dtype=bool) if kept is None else ~kept.do_target[:, j]
        if kept is None or free.sum() < 2:
            return
        inputs = self._columns.inputs(j, kept.state[free], kept.next_state[free])
        residual = kept.next_state[free, j] - mechanism(inputs)
        self._noise.fit(j, residual, mechanism.noise_variance)

    def _fit_reward(self, kept: Transitions) -> None:
        inputs = self._columns.reward_inputs(kept.state, kept.next_state)
        tried = np.flatnonzero(kept.do_target.any(axis=0) & ~kept.do_target.all(axis=0))
        covariates = kept.do_target[:, tried].astype(np.float64)
        reward = np.zeros(len(kept)) if kept.reward is None else kept.reward
        self._reward.fit(inputs, covariates, reward)
        self.costs = np.zeros(self.n)
        self.costs[tried] = -self._reward.covariate_weights
