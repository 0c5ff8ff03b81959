"""A planner at work in a world whose mechanism changes, and its watch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from causal_rl.agents.adaptation import MechanismRepair, MechanismWatch, RepairRecord
from causal_rl.agents.evaluation import Controller
from causal_rl.agents.planning import LearnedSCM, ModelPlanner
from causal_rl.benchmarks.cells import Row
from causal_rl.benchmarks.dense_dynamics import DenseDynamics
from causal_rl.discovery import Transitions, make_learner
from causal_rl.envs import (
    SCMEnvSpec,
    SCMVectorEnv,
    change_mechanism,
    drop_edge,
    flip_mechanisms,
    record,
)
from causal_rl.envs.recording import vector_step, vector_transitions
from causal_rl.envs.shifts import reward_causes
from causal_rl.graphs import CausalGraph
from causal_rl.scm import DynamicSCM, Variable

_PROBES, _PROBE_NOISE = 256, 64

#: What can happen to a mechanism, with its words.
CHANGES = {
    "sink": "the nearest cause of the reward softened (the world's own shift `mechanism`)",
    "soft": "another variable with parents softened, .5 + .6 f",
    "flip": "another variable with parents turned round, -f",
    "edge": "a variable loses one of its within-step parents, held at its mean",
    "scale": "the noise of a variable with parents doubled",
    "root": "the mean of a variable without parents moved by half a standard deviation",
}


def changed_world(
    spec: SCMEnvSpec, change: str, rng: np.random.Generator
) -> tuple[str, SCMEnvSpec]:
    """The variable whose mechanism changes, and the changed world.

    Args:
        spec: the world.
        change: one of `CHANGES`.
        rng: chooses the variable.
    """
    sink = next(iter(reward_causes(spec)))
    variables = [v for v in spec.scm.variables if v.kind == "state"]
    inner = [v.name for v in variables if v.parents and v.name != sink]
    roots = [v.name for v in variables if not v.parents and not v.lagged_parents]
    if change == "sink":
        return sink, spec.shifted("mechanism")
    if change == "root":
        name = str(rng.choice(roots))
        return name, change_mechanism(spec, name, shift=0.5, scale=1.0)
    if change == "edge":
        name = str(rng.choice([*inner, sink]))
        parents = next(v.parents for v in variables if v.name == name)
        return name, drop_edge(spec, str(rng.choice(parents)), name)
    name = str(rng.choice(inner))
    if change == "soft":
        return name, change_mechanism(spec, name)
    if change == "flip":
        return name, flip_mechanisms(spec, [name])
    louder = [
        Variable(v.name, v.mechanism, v.noise.scaled(2.0), v.parents, v.lagged_parents, v.kind)
        if v.name == name
        else v
        for v in spec.scm.variables
    ]
    return name, spec.replace(scm=DynamicSCM(louder))


@dataclass(frozen=True)
class Learnt:
    """A world, what was recorded in it under random interventions, and the graph of that.

    Attributes:
        spec: the world.
        data: the recording.
        count: rows to fit on; the rest calibrates the watch.
        graph: learned from all of them, the reward its last node.
    """

    spec: SCMEnvSpec
    data: Transitions
    count: int
    graph: CausalGraph

    @classmethod
    def of(cls, spec: SCMEnvSpec, count: int, held_out: int, seed: int, num_envs: int) -> Learnt:
        """Record and learn."""
        data = record(spec, count + held_out, seed=seed, num_envs=num_envs)
        return cls(spec, data, count, make_learner("interventional", reward_node=True).fit(data))

    def model(self, graph: CausalGraph | None = None) -> LearnedSCM:
        """A model on the learned graph, or on another."""
        return LearnedSCM.fit(self.data[: self.count], graph or self.graph)

    def watch(self, alpha: float, horizon: int) -> MechanismWatch:
        """A calibrated watch on a model."""
        watch = MechanismWatch(self.model(), self.data.names, alpha, horizon)
        watch.calibrate(self.data[self.count :])
        return watch

    def dense_graph(self) -> CausalGraph:
        """Every edge that the learned order allows, and all from one step to the next."""
        graph = self.graph
        place = np.argsort(graph.topological_order())
        full = CausalGraph.full(graph.names, graph.kinds)
        now = full.contemporaneous & (place[:, None] < place[None, :])
        reward = [kind == "reward" for kind in graph.kinds]
        now[:, reward] = graph.contemporaneous[:, reward]
        lag = full.lagged.copy()
        lag[:, reward] = graph.lagged[:, reward]
        return CausalGraph(now, lag, graph.names, graph.kinds)


def controller(spec: SCMEnvSpec, model: LearnedSCM, settings: Mapping[str, Any]) -> Controller:
    """A planner in the model as it stands: its noise bank is drawn now.

    Args:
        spec: the world, whose actions are read.
        model: a fitted model.
        settings: "plan_horizon" and "samples".
    """
    planner = ModelPlanner(
        model,
        spec.interventions,
        horizon=int(settings["plan_horizon"]),
        samples=int(settings["samples"]),
    )

    def control(
        observation: NDArray[np.floating[Any]], values: NDArray[np.float64]
    ) -> NDArray[np.int64]:
        return planner.plan(observation).action

    return control


class ActingStream:
    """A planner that acts in a world, explores now and then, watches and repairs.

    Args:
        spec: the world.
        repair: of a watch on the model that is planned in.
        settings: "explore" (share of random actions), and what `controller` reads.
        num_envs: environments stepped together.
        seed: of world and exploration.

    Attributes:
        rows: transitions since the last change of the world.
        records: what was done, in order.
    """

    def __init__(
        self,
        spec: SCMEnvSpec,
        repair: MechanismRepair,
        settings: Mapping[str, Any],
        *,
        num_envs: int,
        seed: int,
    ) -> None:
        self.spec, self.repair, self.settings = spec, repair, settings
        self._env = SCMVectorEnv(spec, num_envs=num_envs)
        self._observation, _ = self._env.reset(seed=seed)
        self._rng = np.random.default_rng([seed, 3])
        self._parts: list[Transitions] = []
        self._plan()

    @property
    def rows(self) -> Transitions:
        """All transitions since the last change."""
        return Transitions.concatenate(self._parts)

    def change(self, world: SCMEnvSpec) -> None:
        """Let the world be another one from the next step on."""
        self._env.set_world(world)
        self._parts = []

    def step(self) -> list[RepairRecord]:
        """One step of every environment; what was done about alarms."""
        observation = self._observation
        action = self.control(observation, observation)
        free = self._rng.random(len(action)) < float(self.settings["explore"])
        high = self.spec.action_space().nvec
        action[free] = self._rng.integers(0, high, size=(int(free.sum()), 2))
        outcome = self._env.step(action)
        step = vector_step(observation, action, outcome, autoreset_mode=self._env.autoreset_mode)
        self._observation = outcome[0]
        rows = vector_transitions(
            step, names=self.spec.observed_names, kinds=self.spec.observed_kinds
        )
        self._parts.append(rows)
        done = self.repair.update(rows)
        if done:
            self._plan()
        return done

    def _plan(self) -> None:
        model = self.repair.model
        if not isinstance(model, LearnedSCM):
            raise TypeError(f"the watch must be on a LearnedSCM, got {type(model).__name__}")
        self.control = controller(self.spec, model, self.settings)


class ModelProbe:
    """Fresh rows of a changed world, on which models are held against the truth.

    Args:
        spec: the world before.
        world: the world after.
        target: the variable whose mechanism changed.
        seed: of the rows.
    """

    def __init__(self, spec: SCMEnvSpec, world: SCMEnvSpec, target: str, seed: int) -> None:
        self.spec, self.world = spec, world
        self.rows = record(world, 2_000, seed=seed, num_envs=8)
        self.column = spec.observed_names.index(target)
        self.sink = spec.observed_names.index(next(iter(reward_causes(spec))))
        self.scale = next(v for v in world.scm.variables if v.name == target).noise.std
        self.some = self.rows[:_PROBES]
        self.truth = self._effect(
            world.scm, np.random.default_rng(seed).random((_PROBE_NOISE, spec.scm.n))
        )

    def of(self, model: LearnedSCM, when: str) -> Row:
        """Error of the changed mechanism in units of its noise, R2 of do-predictions."""
        own = ~self.rows.do_target[:, self.column]
        state, after = self.rows.state[own], self.rows.next_state[own]
        variable = next(
            v for v in self.world.scm.variables if v.name == self.spec.observed_names[self.column]
        )
        names = self.spec.observed_names
        columns = [after[:, names.index(p)] for p in variable.parents]
        columns += [state[:, names.index(p)] for p in variable.lagged_parents]
        truth = variable.function.evaluate(columns, len(after))
        wrong = model.predict(state, after)[:, self.column] - truth
        some = self.some
        effect, _ = model.predict_do(some.state, some.do_target, some.do_value)
        return {
            f"error_{when}": float(np.sqrt((wrong**2).mean())) / self.scale,
            f"do_r2_{when}": self._r2(effect),
        }

    def dense(self, model: DenseDynamics, when: str) -> Row:
        """R2 of do-predictions."""
        mean = model.mean(self.some.state, self.some.do_target, self.some.do_value)
        return {f"do_r2_{when}": self._r2(mean)}

    def _effect(self, scm: DynamicSCM, uniforms: NDArray[np.float64]) -> NDArray[np.float64]:
        """(rows, n) expected next values given state and intervention."""
        rows, times = self.some, len(uniforms)
        noise = np.tile(scm.noise_from_uniforms(uniforms), (len(rows), 1))
        state, mask, value = (
            np.repeat(a, times, axis=0) for a in (rows.state, rows.do_target, rows.do_value)
        )
        after = scm.step(state, noise, None, mask, value).reshape(len(rows), times, -1)
        mean: NDArray[np.float64] = after.mean(axis=1)
        return mean

    def _r2(self, effect: NDArray[np.float64]) -> float:
        truth = self.truth[:, self.sink]
        return float(1.0 - ((effect[:, self.sink] - truth) ** 2).mean() / truth.var())
