"""The default graph learner: do-masked search on Gram matrices, do-shift tests, interactions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from causal_rl.discovery.base import GraphLearner
from causal_rl.discovery.do_shift import add_path, do_shifts, moved_order
from causal_rl.discovery.interaction import InteractionModel, RowBasis, Worth
from causal_rl.discovery.parent_search import Regression, Rules, search_parents
from causal_rl.discovery.refinement import Limits, refine_parents
from causal_rl.discovery.reward_parents import select_parents
from causal_rl.discovery.stream import Summary, TransitionStream
from causal_rl.discovery.transitions import Transitions
from causal_rl.graphs import CausalGraph

Matrix = NDArray[np.float64]


class InterventionalLearner(GraphLearner):
    """Learns both graphs from transitions whose interventions are known.

    1. Rows where j was set drop out of j's own regression. Gram matrices over four functions of
       every variable, after and before the step, are summed for each intervened variable; the cost
       of learning does not grow with the number of rows.
    2. Do-shift tests, contexts and the state before the step adjusted for: if setting i moves j,
       then j is no ancestor of i.
    3. A greedy search over both graphs at once on the extended BIC, with a floor on the share of
       variance an edge accounts for, without cycles inside the step.
    4. On a bounded set of raw rows, balanced over the interventions, models with all pairwise
       interactions prune ancestors that only stood in for an interaction, turn edges whose
       direction no test proved, and add parents that matter by interactions alone.
    5. The reward's parents, if asked for, by a search over such models that begins from pairs;
       what was intervened on is always among the covariates, for actions cost.

    A prior is obeyed at every stage: edges that it forbids are no candidates, required ones are
    there from the start, are never dropped, and outrank do-shift tests that contradict them.

    Confidences are ``w / (1 + w)`` with w the share of variance an edge accounts for in units of
    its floor: at least 1/2 for edges in the graph, at most 1/2 for others. They rank edges; they
    are no probabilities. Weights are slopes of a linear regression on the parents found.

    Args:
        floor: least share of a variable's variance that a parent must account for.
        nonlinear_floor: the same where mechanisms bend, and a share so small could be misfit.
        interaction_floor: the same for a parent that matters by its products with others alone.
        reward_floor: the same for the parents of the reward.
        alpha: level of the do-shift tests, over all pairs together.
        min_effect: share of variance below which a do-shift proves no ancestor.
        block: rows in a block. The first block fixes the units; more rows make them more precise.
        rows_kept: raw rows kept. More find weaker interactions and take more time.
        reward_node: add the reward as the last node.
    """

    name: ClassVar[str] = "interventional"
    uses_interventions: ClassVar[bool] = True
    uses_lags: ClassVar[bool] = True
    obeys: ClassVar[frozenset[str]] = frozenset({"forbidden", "required"})
    most_variables: ClassVar[int] = 600

    def __init__(
        self,
        *,
        floor: float = 0.001,
        nonlinear_floor: float = 0.002,
        interaction_floor: float = 0.01,
        reward_floor: float = 0.01,
        alpha: float = 1e-3,
        min_effect: float = 0.002,
        block: int = 1024,
        rows_kept: int = 4096,
        reward_node: bool = False,
    ) -> None:
        super().__init__(reward_node=reward_node)
        self.floor = floor
        self.nonlinear_floor = nonlinear_floor
        self.interaction_floor = interaction_floor
        self.reward_floor = reward_floor
        self.alpha = alpha
        self.min_effect = min_effect
        self.block = block
        self.rows_kept = rows_kept
        self._stream: TransitionStream | None = None

    def check_options(self) -> None:
        """Validate the options.

        Raises:
            ValueError: one out of range.
            TypeError: one of the wrong type.
        """
        super().check_options()
        shares = ("floor", "nonlinear_floor", "interaction_floor", "reward_floor", "min_effect")
        for name in (*shares, "alpha"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise TypeError(f"{name} must be a number, not {value!r}")
            if not 0 < value < 1:
                raise ValueError(f"{name} must be between 0 and 1, not {value!r}")
        for name, least in (("block", 32), ("rows_kept", 256)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int):
                raise TypeError(f"{name} must be an integer, not {value!r}")
            if value < least:
                raise ValueError(f"{name} must be at least {least}, not {value}")

    def reset(self) -> None:
        """Forget everything learned; options stay."""
        super().reset()
        self._stream = None

    def update(self, transitions: Transitions) -> CausalGraph:
        """Count these transitions and learn the graph from all so far.

        Args:
            transitions: new rows over the same variables.

        Returns:
            The graph, with confidences in [0, 1] and signed linear weights in the data's units.

        Raises:
            TypeError: not `Transitions`.
            ValueError: no rows, other variables than before, or no rewards for a reward node.
        """
        self._admit(transitions)
        if self._stream is None:
            self._stream = self._new_stream(transitions.n)
        self._stream.add(transitions)
        kinds = transitions.kinds
        self.graph_ = self._learn(self._stream.summary(), kinds, transitions.names)
        return self.graph_

    def _learn(self, summary: Summary, kinds: Sequence[str], names: Sequence[str]) -> CausalGraph:
        n, store, rows = summary.n, summary.store, summary.reservoir.rows
        possible = self._possible_edges()
        allowed = np.hstack([block[:n, :n].T for block in possible])
        required = self._required_edges()
        known = np.zeros((n, n), dtype=bool)
        for i, j in np.argwhere(required[:n, :n]):
            add_path(known, int(i), int(j))
        context = np.array([kind == "context" for kind in kinds])
        reach = moved_order(
            do_shifts(store, context),
            alpha=self.alpha,
            min_effect=self.min_effect,
            exogenous=np.array([not row.any() for row in allowed]),
            known=known,
        )
        regressions = [Regression(*store.without(j), j) for j in range(n)]
        kept_always = [tuple(np.flatnonzero(required[:n, j]).tolist()) for j in range(n)]
        floor = np.full(allowed.shape, self.floor)
        rules = Rules(allowed=allowed, floor=floor, reach=reach, required=kept_always)
        additive = search_parents(regressions, rules)

        units = summary.features
        z = np.hstack([units.standardise(rows[:, n : 2 * n]), units.standardise(rows[:, :n])])
        basis = RowBasis(z)
        models = [InteractionModel(z[:, j], basis, rows[:, 2 * n + j] == 0) for j in range(n)]
        limits = Limits(self.floor, self.nonlinear_floor, self.interaction_floor)
        draft = _Draft(n + int(self.reward_node), n, units.scale)
        for j, (kept, values) in enumerate(
            refine_parents(models, additive, allowed, reach, limits, required=kept_always)
        ):
            regression, worth = regressions[j], np.zeros(2 * n)
            if regression.testable:
                left, _ = regression.residual(kept)
                worth = np.where(allowed[j], regression.gains(left)[1] / self.floor, 0.0)
            for c, own in values.items():
                worth[c] = own
            draft.enter(j, kept, regression.linear_weights(kept) * units.scale[j], worth)
        if self.reward_node:
            into = np.concatenate([block[:n, n] for block in possible])
            self._learn_reward(draft, rows, z, basis, into, required[:n, n])
        return CausalGraph(
            contemporaneous=draft.edges[0],
            lagged=draft.edges[1],
            names=self.names_ if self.names_ is not None else names,
            kinds=self.kinds_ if self.kinds_ is not None else kinds,
            contemporaneous_weights=draft.weights[0],
            lagged_weights=draft.weights[1],
            contemporaneous_confidence=draft.confidence[0],
            lagged_confidence=draft.confidence[1],
        )

    def _learn_reward(
        self,
        draft: _Draft,
        rows: Matrix,
        z: Matrix,
        basis: RowBasis,
        possible: NDArray[np.bool_],
        required: NDArray[np.bool_],
    ) -> None:
        n = draft.n
        reward, covariates = rows[:, -1], rows[:, 2 * n : 3 * n]
        model = InteractionModel(reward, basis, np.ones(len(rows), dtype=bool), covariates)
        usable = np.flatnonzero(possible).tolist()
        floors = Worth(alone=self.reward_floor, full=self.reward_floor)
        kept, values = select_parents(model, usable, floors)
        kept = tuple(sorted({*kept, *np.flatnonzero(required).tolist()}))
        worth = np.zeros(2 * n)
        worth[list(values)] = list(values.values())
        design = np.column_stack([z[:, list(kept)], covariates, np.ones(len(rows))])
        slopes = np.asarray(np.linalg.lstsq(design, reward, rcond=None)[0], dtype=np.float64)
        draft.enter(n, kept, slopes[: len(kept)], worth)

    def _new_stream(self, n: int) -> TransitionStream:
        return TransitionStream(
            n, rewards=self.reward_node, block=self.block, rows_kept=self.rows_kept
        )

    def state_dict(self) -> dict[str, Any]:
        """All that was learned and counted, as plain values and arrays."""
        state = super().state_dict()
        state["block"], state["rows_kept"] = self.block, self.rows_kept
        state["stream"] = None if self._stream is None else self._stream.state_dict()
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up where `state_dict` was called.

        Args:
            state: what `state_dict` of this class with the same options returned.

        Raises:
            ValueError: the state is of another learner, or of other options.
        """
        for name in ("block", "rows_kept"):
            if name in state and state[name] != getattr(self, name):
                raise ValueError(
                    f"state has {name}={state[name]}; this learner has {name}={getattr(self, name)}"
                )
        super().load_state_dict(state)
        self._stream = None
        if state["stream"] is not None and self.kinds_ is not None:
            self._stream = self._new_stream(len(self.kinds_) - int(self.reward_node))
            self._stream.load_state_dict(state["stream"])


class _Draft:
    """The graph under construction: edges, weights in the data's units, confidences."""

    def __init__(self, size: int, n: int, scale: NDArray[np.float64]) -> None:
        self.n, self.scale = n, scale
        self.edges = np.zeros((2, size, size), dtype=bool)
        self.weights = np.zeros((2, size, size))
        self.confidence = np.zeros((2, size, size))

    def enter(
        self,
        j: int,
        parents: tuple[int, ...],
        slopes: NDArray[np.float64],
        worth: NDArray[np.float64],
    ) -> None:
        """Draw the edges into j; an edge drawn is at least an even bet, others at most that."""
        n = self.n
        drawn = np.isin(np.arange(2 * n), parents)
        even = np.where(drawn, np.maximum(worth, 1.0), np.clip(worth, 0.0, 1.0))
        for lag in range(2):
            part = slice(lag * n, (lag + 1) * n)
            self.confidence[lag, :n, j] = even[part] / (1.0 + even[part])
            self.edges[lag, :n, j] = drawn[part]
        for c, slope in zip(parents, slopes, strict=True):
            self.weights[c // n, c % n, j] = slope / self.scale[c % n]
