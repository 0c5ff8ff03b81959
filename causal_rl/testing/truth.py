"""Checks of what a world says about itself: graphs, interventions, counterfactuals."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from causal_rl.envs import SCMEnv, SCMEnvSpec
from causal_rl.graphs import CausalGraph, find_cycle, one_step_graph, within_step_reach
from causal_rl.scm import (
    Trajectory,
    perturbation_graph,
    perturbation_one_step,
    r2_sortability,
    varsortability,
)
from causal_rl.testing.world import WorldUnderTest, check, check_equal, fail

_WARM_UP = 8
_ROWS = 2000
_SORTABILITY = ("varsortability", "r2_sortability", "edges", "variance_ratio")


class TruthChecks(WorldUnderTest):
    """The part of `WorldConformance` that compares the stated truth with what happens."""

    @check
    def test_the_stated_graph(self, spec: SCMEnvSpec) -> None:
        """Moving one parent moves its stated children, directly, and nothing else."""
        found = perturbation_graph(spec.scm, self.seed, self.n_points)
        stated, sure = set(spec.scm.graph.edges()), set(self._sure(spec).edges())
        for block, cause, effect in sorted(sure - set(found.edges())):
            fail(
                f"the {block} edge {cause} -> {effect} is stated, but {cause} never moved {effect} "
                f"at {self.n_points} points"
            )
        for block, cause, effect in sorted(set(found.edges()) - stated):
            fail(f"{cause} moves {effect} directly, but no {block} edge is stated")

    @check
    def test_the_one_step_graph(self, spec: SCMEnvSpec) -> None:
        """What a value moves in the next step, over all paths, is what the graph says."""
        found = perturbation_one_step(spec.scm, self.seed, self.n_points)
        allowed = {(a, b) for block, a, b in self.allowed_missing if block == "one_step"}
        sure = {edge[1:] for edge in one_step_graph(self._sure(spec)).edges()} - allowed
        stated = {edge[1:] for edge in one_step_graph(spec.scm.graph).edges()}
        moved = {edge[1:] for edge in found.edges()}
        for cause, effect in sorted(sure - moved):
            fail(f"{cause} has a path to {effect} a step later, but never moved it")
        for cause, effect in sorted(moved - stated):
            fail(f"{cause} moves {effect} a step later without a path")

    @check
    def test_the_action_graph(self, spec: SCMEnvSpec) -> None:
        """do(X) moves X and its stated within-step descendants, and nothing else."""
        names, settable = spec.causal_graph.names, spec.interventions.settable
        shape = (len(settable), len(names))
        if spec.action_graph.shape != shape:
            fail(f"action_graph must have shape {shape}, got {spec.action_graph.shape}")
        graph = self._sure(spec)
        reach = within_step_reach(graph)[np.ix_(graph.indices(settable), graph.indices(names))]
        for k, target in enumerate(settable):
            moved = self._moved_by(spec, k + 1)
            for j, effect in enumerate(names):
                if moved[j] and not spec.action_graph[k, j]:
                    fail(f"do({target}) moves {effect}, but action_graph denies it")
                if spec.action_graph[k, j] and reach[k, j] and not moved[j]:
                    fail(f"action_graph says that do({target}) moves {effect}, but it never did")

    @check
    def test_the_factual_counterfactual(self, spec: SCMEnvSpec) -> None:
        """What was done, done again with the noise kept, gives what was seen, bit for bit."""
        env = self.make_env(spec)
        observations, rewards = self._episode(env, self.plan(spec, self.short(spec).horizon))
        fact = env.trajectory()
        check_equal("trajectory().values", fact.values[:, 0, spec.observed], observations, "step()")
        check_equal("trajectory().reward", _rewards(fact), rewards, "step()")
        again = env.counterfactual(fact, fact.do)
        _check_noise(again, fact, "the factual counterfactual")
        for what in ("values", "do_mask", "do_value"):
            own, factual = getattr(again, what), getattr(fact, what)
            check_equal(f"{what} of the factual counterfactual", own, factual, "the trajectory")
        own_reward, reward = _rewards(again), _rewards(fact)
        check_equal("reward of the factual counterfactual", own_reward, reward, "the trajectory")
        kept = env.counterfactual(fact, {})
        check_equal("values under no change", kept.values, fact.values, "the trajectory")

    @check
    def test_counterfactuals_move_descendants_only(self, spec: SCMEnvSpec) -> None:
        """Another intervention moves nothing before it and nothing that it does not cause."""
        env = self.make_env(spec)
        self._episode(env, self.plan(spec, self.short(spec).horizon))
        fact = env.trajectory()
        step = len(fact.do_mask) // 2
        graph, table = spec.scm.graph, spec.interventions.table
        for row, target in enumerate(spec.interventions.settable):
            value = float(table[row, -1])
            kept = {name: v for name, v in _done(spec, fact, step).items() if name != target}
            changed = env.counterfactual(fact, {step: {**kept, target: value}})
            what = f"the counterfactual of do({target}) in step {step}"
            _check_noise(changed, fact, what)
            column = spec.scm.names.index(target)
            if changed.values[step + 1, 0, column] != value:
                fail(f"{what} has {target} at {changed.values[step + 1, 0, column]}, not {value}")
            reached = set(graph.descendants(target))
            for j, name in enumerate(spec.scm.names):
                rows, why = slice(None), "which it does not cause,"
                if name in reached:
                    rows, why = slice(step + 1), "before it"
                own, other = changed.values[rows, 0, j], fact.values[rows, 0, j]
                check_equal(f"{what}: {name} {why}", own, other, "the fact")

    @check
    def test_interventions_leave_the_noise_alone(self, spec: SCMEnvSpec) -> None:
        """Under one seed the noise is the same, whatever is done."""
        steps = self.short(spec).horizon
        env, fresh = self.make_env(spec), self.make_env(spec)
        self._episode(env, np.zeros((steps, 1, 2), dtype=np.int64))
        quiet = env.trajectory()
        for k in range(2):
            self._episode(fresh, self.plan(spec, steps, 2)[:, k : k + 1])
            _check_noise(fresh.trajectory(), quiet, "an episode with interventions")
        nothing = fresh.counterfactual(fresh.trajectory(), None)
        check_equal("values if nothing is done", nothing.values, quiet.values, "an episode of it")

    @check
    def test_sortability(self, spec: SCMEnvSpec) -> None:
        """Scales do not give the causal order away beyond ``max_varsortability_excess``."""
        if self.max_varsortability_excess is None:
            return
        score = self.sortability()["varsortability"]
        if score is not None and abs(score - 0.5) > self.max_varsortability_excess:
            fail(
                f"varsortability {score:.2f} is further from 0.5 than "
                f"{self.max_varsortability_excess}: variances give the causal order away"
            )

    def sortability(self) -> dict[str, float | None]:
        """How far variances, and R2, give the causal order of the observed variables away.

        The data are states without interventions, one of each of many episodes. The graph is the
        within-step one, with the lagged edges between different variables if that has no cycle.
        Columns that do not vary are left out.

        Returns:
            ``varsortability`` and ``r2_sortability``, see `causal_rl.scm.varsortability`; 1/2 says
            nothing, None that there is no edge to sort along. ``edges``: their number.
            ``variance_ratio``: the greatest variance over the least. Near 1 the order of the
            variances is one of rounding and sampling, and the varsortability says little.
        """
        spec = self.spec()
        values = spec.scm.simulate(_WARM_UP, self.seed, batch=_ROWS).values[-1][:, spec.observed]
        graph = spec.causal_graph.subgraph(spec.observed_names)
        edges = graph.contemporaneous | (graph.lagged & ~np.eye(graph.n, dtype=np.bool_))
        if find_cycle(edges) is not None:
            edges = graph.contemporaneous
        vary = np.flatnonzero(values.std(axis=0) > 0.0)
        edges, values = edges[np.ix_(vary, vary)], values[:, vary]
        if not edges.any():
            return dict.fromkeys(_SORTABILITY) | {"edges": 0.0}
        variances = values.var(axis=0)
        scores = (
            varsortability(values, edges),
            r2_sortability(values, edges),
            float(edges.sum()),
            float(variances.max() / variances.min()),
        )
        return dict(zip(_SORTABILITY, scores, strict=True))

    def _sure(self, spec: SCMEnvSpec) -> CausalGraph:
        """The stated graph without the edges that need not show."""
        graph = spec.scm.graph
        now, lag = graph.contemporaneous.copy(), graph.lagged.copy()
        blocks = {"contemporaneous": now, "lagged": lag}
        for block, cause, effect in self.allowed_missing:
            if block not in (*blocks, "one_step"):
                fail(f"allowed_missing has the block {block!r}")
            if block in blocks:
                blocks[block][graph.index(cause), graph.index(effect)] = False
        return CausalGraph(now, lag, graph.names, graph.kinds)

    def _moved_by(self, spec: SCMEnvSpec, target: int) -> NDArray[np.bool_]:
        """Which variables of ``causal_graph`` the values of a target move, at any point."""
        scm, p, values = spec.scm, self.n_points, spec.interventions.n_values
        rng = np.random.default_rng([self.seed, 2])
        state = np.tile(scm.simulate(_WARM_UP, rng, batch=p).values[-1], (values + 1, 1))
        noise = np.tile(scm.sample_noise(rng, p), (values + 1, 1))
        actions = np.zeros((values + 1, 2), dtype=np.int64)
        actions[1:] = [[target, index] for index in range(values)]
        mask, value, _ = spec.interventions.decode(np.repeat(actions, p, axis=0), scm.names)
        after = scm.step(state, noise, None, mask, value)
        shown = np.column_stack([after[:, spec.observed], scm.reward_value(state, after)])
        blocks = shown.reshape(values + 1, p, -1)
        return np.asarray((blocks != blocks[0]).any(axis=(0, 1)))

    def _episode(
        self, env: SCMEnv, plan: NDArray[np.int64]
    ) -> tuple[list[NDArray[np.float64]], list[float]]:
        """Observations, the first one included, and rewards of one episode."""
        observations, rewards = [env.reset(seed=self.seed)[0]], []
        for action in plan[:, 0]:
            observation, reward, *_ = env.step(action)
            observations.append(observation)
            rewards.append(reward)
        return observations, rewards


def _rewards(trajectory: Trajectory) -> NDArray[np.float64]:
    if trajectory.reward is None:
        fail("a trajectory has no reward")
    return trajectory.reward[:, 0]


def _check_noise(trajectory: Trajectory, wanted: Trajectory, what: str) -> None:
    check_equal(f"the noise of {what}", trajectory.noise, wanted.noise, "the trajectory")


def _done(spec: SCMEnvSpec, trajectory: Trajectory, step: int) -> dict[str, float]:
    """What was set in a step, by name."""
    columns: Iterable[int] = np.flatnonzero(trajectory.do_mask[step, 0])
    return {spec.scm.names[c]: float(trajectory.do_value[step, 0, c]) for c in columns}
