"""One mechanism of a world changes: how soon it is named, what is left after its repair."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from causal_rl.agents.evaluation import Controller, evaluate, measure_yardsticks
from causal_rl.agents.mechanism_watch import MechanismWatch
from causal_rl.agents.planner import SCMPlanner
from causal_rl.agents.repair import MechanismRepair
from causal_rl.agents.ridge_mechanisms import RidgeMechanisms
from causal_rl.benchmarks.cells import Cell, Outcome, Row
from causal_rl.benchmarks.dense_dynamics import DenseDynamics
from causal_rl.benchmarks.report import Findings, Mark, decide, markdown_table
from causal_rl.benchmarks.results import Benchmark, Results
from causal_rl.discovery import Transitions, make_learner
from causal_rl.envs import (
    SCMEnvSpec,
    change_mechanism,
    drop_edge,
    flip_mechanisms,
    record,
    resolve_spec,
)
from causal_rl.envs.shifts import reward_causes
from causal_rl.scm import DynamicSCM, Gaussian, Scaled, Variable

WORLDS = ("chain-scm", "er-scm")
CHANGES = {
    "sink": "the nearest cause of the reward softened (the world's own shift `mechanism`)",
    "soft": "another variable with parents softened, .5 + .6 f",
    "flip": "another variable with parents turned round, -f",
    "edge": "a variable loses one of its within-step parents, held at its mean",
    "scale": "the noise of a variable with parents doubled",
    "root": "the mean of a variable without parents moved by half a standard deviation",
}
QUIET = {
    "quiet": "nothing changes, random interventions go on",
    "policy": "nothing changes, but the policy does: one and the same intervention at every step",
}
PLANNED = ("sink", "flip", "edge")
# Options were settled on graph seeds below this.
FRESH_GRAPHS = 3_000
ALPHA, HORIZON = 0.01, 5_000
LEARN, HELD_OUT, STREAM, AFTER = 4_000, 1_000, 1_000, 64
QUIET_STREAMS, EPISODES = 5, 64
NUM_ENVS = 8
_PROBES, _PROBE_NOISE = 256, 64


def grid(seeds: int, smoke: bool) -> list[Cell]:
    """Seeds outermost: world x change."""
    settings: dict[str, Any] = {
        "alpha": ALPHA,
        "horizon": HORIZON,
        "learn": 600 if smoke else LEARN,
        "held_out": 300 if smoke else HELD_OUT,
        "stream": 200 if smoke else STREAM,
        "quiet_streams": 1 if smoke else QUIET_STREAMS,
        "quiet_rows": 200 if smoke else HORIZON,
        "episodes": 2 if smoke else EPISODES,
    }
    changes = ("sink", "quiet") if smoke else (*CHANGES, *QUIET)
    return [
        Cell({"world": world, "change": change, "seed": seed}, settings)
        for seed in range(min(seeds, 1) if smoke else seeds)
        for world in (WORLDS[:1] if smoke else WORLDS)
        for change in changes
    ]


def run(cell: Cell) -> Outcome:
    """Learn a world, change it, watch and repair; or watch it while nothing changes."""
    seed = FRESH_GRAPHS + int(cell.parameters["seed"] or 0)
    change, settings = str(cell.parameters["change"]), cell.settings
    spec = resolve_spec(str(cell.parameters["world"]), graph_seed=seed)
    count = int(settings["learn"])
    data = record(spec, count + int(settings["held_out"]), seed=10 * seed, num_envs=NUM_ENVS)
    learnt = _Learnt(spec, data, count, float(settings["alpha"]), int(settings["horizon"]))
    if change in QUIET:
        return _quiet(learnt, change, seed, settings)
    return _changed(learnt, change, seed, settings)


@dataclass(frozen=True)
class _Learnt:
    """A world, what was recorded in it, and how a watch is set."""

    spec: SCMEnvSpec
    data: Transitions
    count: int
    alpha: float
    horizon: int

    def watch(self) -> MechanismWatch:
        graph = make_learner("interventional").fit(self.data)
        model = RidgeMechanisms(graph).fit(self.data[: self.count])
        watch = MechanismWatch(model, self.data.names, self.alpha, self.horizon)
        watch.calibrate(self.data[self.count :])
        return watch


def _quiet(learnt: _Learnt, change: str, seed: int, settings: Mapping[str, Any]) -> Outcome:
    watch, rows = learnt.watch(), int(settings["quiet_rows"])
    rng = np.random.default_rng([seed, 1])
    streams = false = mechanisms = 0
    for stream in range(int(settings["quiet_streams"])):
        watch.calibrate(learnt.data[learnt.count :])
        policy: Any = "random"
        if change == "policy":
            low, high = [1, 0], learnt.spec.action_space().nvec
            policy = partial(_always, rng.integers(low, high))
        fresh = record(
            learnt.spec, rows, seed=10 * seed + 2 + stream, num_envs=NUM_ENVS, policy=policy
        )
        alarms = watch.update(fresh)
        streams, mechanisms = streams + 1, mechanisms + len(alarms)
        false += bool(alarms)
    return Outcome(
        {"streams": streams, "false_streams": false, "false_alarms": mechanisms, "rows": rows}
    )


def _always(action: NDArray[np.int64], observation: NDArray[np.floating[Any]]) -> NDArray[np.int64]:
    return np.tile(action, (len(observation), 1))


def _changed(learnt: _Learnt, change: str, seed: int, settings: Mapping[str, Any]) -> Outcome:
    spec, watch = learnt.spec, learnt.watch()
    target, world = _change(spec, change, np.random.default_rng([seed, 2]))
    stream = record(world, int(settings["stream"]), seed=10 * seed + 1, num_envs=NUM_ENVS)
    repair = MechanismRepair(watch)
    assert isinstance(watch.model, RidgeMechanisms)
    model = watch.model
    probe = _Probe(spec, world, target, 10 * seed + 9)
    yard = None
    if change in PLANNED:
        yard = measure_yardsticks(world, episodes=int(settings["episodes"]), seed=seed)

    def returns(controller: Controller) -> float | None:
        if yard is None:
            return None
        value = evaluate(world, controller, episodes=int(settings["episodes"]), seed=seed)
        return yard.normalise(float(value.mean()))

    figures: Row = {"target": target, "model_shd": _distance(model, spec)}
    figures |= probe.of(model, "stale") | {"return_stale": returns(_planner(spec, model))}
    flagged: int | None = None
    others: set[str] = set()
    end = len(stream)
    for row in range(len(stream)):
        for record_ in repair.update(stream[row : row + 1]):
            if record_.alarm.name == target and flagged is None:
                flagged, end = record_.alarm.index + 1, record_.alarm.index + 1 + AFTER
                figures |= {"began_error": record_.alarm.began}
                figures |= probe.of(model, "flag")
                figures |= {"return_flag": returns(_planner(spec, model))}
            elif record_.alarm.name != target:
                others.add(record_.alarm.name)
        if flagged is not None and row + 1 == min(end, len(stream)):
            figures |= probe.of(model, "after") | {"return_after": returns(_planner(spec, model))}
            figures |= {"refit": repair.records[-1].how, "rows_after": row + 1}
            dense = DenseDynamics(spec).fit(learnt.data)
            figures |= probe.dense(dense, "dense_stale")
            figures |= {"dense_return_stale": returns(dense.controller(seed))}
            dense.refit(stream[: row + 1])
            figures |= probe.dense(dense, "dense")
            figures |= {"dense_return": returns(dense.controller(seed))}
            if change == "edge":
                figures |= {"edge_dropped": _same_parents(model, world, target)}
    figures |= {"flagged": flagged, "others": len(others)}
    return Outcome(figures)


def _change(spec: SCMEnvSpec, change: str, rng: np.random.Generator) -> tuple[str, SCMEnvSpec]:
    """The variable whose mechanism changes, and the changed world."""
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


class _Probe:
    """Fresh rows of the changed world, on which models are held against the truth."""

    def __init__(self, spec: SCMEnvSpec, world: SCMEnvSpec, target: str, seed: int) -> None:
        self.spec, self.world = spec, world
        self.rows = record(world, 2_000, seed=seed, num_envs=NUM_ENVS)
        self.column = spec.observed_names.index(target)
        self.sink = spec.observed_names.index(next(iter(reward_causes(spec))))
        self.scale = next(v for v in world.scm.variables if v.name == target).noise.std
        rng = np.random.default_rng(seed)
        self.noise = rng.random((_PROBE_NOISE, spec.scm.n))
        self.some = self.rows[:_PROBES]
        self.truth = self._effect(world.scm)

    def of(self, model: RidgeMechanisms, when: str) -> Row:
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
        effect = self._effect(fitted_world(self.spec, model).scm)
        return {
            f"error_{when}": float(np.sqrt((wrong**2).mean())) / self.scale,
            f"do_r2_{when}": self._r2(effect[:, self.sink]),
        }

    def dense(self, model: DenseDynamics, when: str) -> Row:
        """R2 of do-predictions."""
        mean = model.mean(self.some.state, self.some.do_target, self.some.do_value)
        return {f"do_r2_{when}": self._r2(mean[:, self.sink])}

    def _effect(self, scm: DynamicSCM) -> NDArray[np.float64]:
        """(rows, n) expected next values given state and intervention."""
        rows, times = self.some, len(self.noise)
        noise = np.tile(scm.noise_from_uniforms(self.noise), (len(rows), 1))
        state, mask, value = (
            np.repeat(a, times, axis=0) for a in (rows.state, rows.do_target, rows.do_value)
        )
        return scm.step(state, noise, None, mask, value).reshape(len(rows), times, -1).mean(axis=1)

    def _r2(self, effect: NDArray[np.float64]) -> float:
        truth = self.truth[:, self.sink]
        return float(1.0 - ((effect - truth) ** 2).mean() / truth.var())


@dataclass(frozen=True)
class _Column:
    """One fitted mechanism as a function of its parents' columns."""

    model: RidgeMechanisms
    j: int

    def __call__(self, *columns: NDArray[np.float64]) -> NDArray[np.float64]:
        mechanism = self.model.mechanisms[self.j]
        values = np.zeros((len(columns[0]), 2 * self.model.graph.n))
        values[:, sorted(mechanism.parents)] = np.stack(columns, axis=1)
        return mechanism(values)


def fitted_world(spec: SCMEnvSpec, model: RidgeMechanisms) -> SCMEnvSpec:
    """The world as a model has it: fitted mechanisms, Gaussian noise; reward, costs as they are."""
    names, n = model.names, model.graph.n
    variables = []
    for v in spec.scm.variables:
        if v.kind in ("context", "reward"):
            variables.append(v)
            continue
        fitted = model.mechanisms[names.index(v.name)]
        noise = Gaussian(max(fitted.sigma, 1e-9))
        if not fitted.parents:
            variables.append(Variable(v.name, Scaled(v.function, fitted.bias, 0.0), noise))
            continue
        columns = sorted(fitted.parents)
        now = tuple(names[c] for c in columns if c < n)
        before = tuple(names[c - n] for c in columns if c >= n)
        variables.append(
            Variable(v.name, _Column(model, names.index(v.name)), noise, now, before, v.kind)
        )
    return spec.replace(scm=DynamicSCM(variables))


def _planner(spec: SCMEnvSpec, model: RidgeMechanisms) -> Controller:
    planner = SCMPlanner(fitted_world(spec, model), samples=16)

    def control(
        observation: NDArray[np.floating[Any]], values: NDArray[np.float64]
    ) -> NDArray[np.int64]:
        return planner.plan(values).action

    return control


def _distance(model: RidgeMechanisms, spec: SCMEnvSpec) -> int:
    """Edges of either block in which the learned graph differs from the truth."""
    truth = spec.causal_graph.subgraph(model.names)
    now = model.graph.contemporaneous != truth.contemporaneous
    return int(now.sum() + (model.graph.lagged != truth.lagged).sum())


def _same_parents(model: RidgeMechanisms, world: SCMEnvSpec, name: str) -> bool:
    truth = world.causal_graph.subgraph(model.names)
    j = truth.index(name)
    return bool(
        (model.graph.contemporaneous[:, j] == truth.contemporaneous[:, j]).all()
        and (model.graph.lagged[:, j] == truth.lagged[:, j]).all()
    )


def findings(results: Results) -> Findings:
    """Delays, false alarms and repairs, a table each."""
    protocol = [
        f"The default learner finds the graph from {LEARN + HELD_OUT:,} transitions of uniformly "
        f"random interventions; mechanisms are fitted on {LEARN:,} of them and the watch is "
        f"calibrated on the other {HELD_OUT:,}. Then one mechanism changes and the random "
        f"interventions go on, at most {STREAM:,} transitions. Seed k draws the world as graph "
        f"seed {FRESH_GRAPHS} + k, and which variable changes.",
        f"alpha = {ALPHA} for any false alarm of any mechanism within {HORIZON:,} transitions.",
        *(f"`{name}`: {text}." for name, text in (CHANGES | QUIET).items()),
        f"Figures 'after' are those {AFTER} transitions after the alarm. Error: root mean square "
        "error of the changed mechanism's mean on fresh rows, in units of its noise. R2: of the "
        "expected next value of the sink given state and random intervention. Return: of a "
        f"one-step planner in the model, {EPISODES} episodes, 0 random interventions, 1 the "
        "planner in the true changed world. The reward function and the costs are given to both "
        "planners.",
        "Dense: the next state from the state and the intervention without a graph, a ridge "
        "regression on the same functions, fitted on the same transitions before the change and "
        "refitted on all those after it with its old weights as a prior; the change point is told.",
    ]
    sections = [_delays(results), _quiet_table(results), _repairs(results)]
    return Findings(protocol, _marks(results), sections)


def _marks(results: Results) -> list[Mark]:
    marks = []
    for world in WORLDS:
        rows = results.select(world=world, change="sink")
        total = len(rows)
        soon = sum(_soon(row) for row in rows)
        marks.append(
            Mark(
                f"{world}: flagged within 64 transitions in 9 of 10",
                f"{soon} of {total}",
                decide(total, 10, soon >= 0.9 * total),
            )
        )
        good = sum(float(row.get("return_after") or 0.0) >= 0.9 for row in rows)
        marks.append(
            Mark(
                f"{world}: normalised return >= .9 within {AFTER} more in 9 of 10",
                f"{good} of {total}",
                decide(total, 10, good >= 0.9 * total),
            )
        )
    changed = [row for row in results.rows if row["change"] in CHANGES]
    wrong = sum(int(row.get("others") or 0) > 0 for row in changed)
    marks.append(
        Mark(
            "no other mechanism flagged, at 1 %",
            f"{wrong} of {len(changed)} changed streams",
            decide(len(changed), 60, wrong <= max(1, 0.01 * len(changed))),
        )
    )
    rows = results.select(change="quiet")
    streams = int(sum(int(row.get("streams") or 0) for row in rows))
    false = int(sum(int(row.get("false_streams") or 0) for row in rows))
    marks.append(
        Mark(
            f"a false alarm in at most 1 % of quiet streams of {HORIZON:,}",
            f"{false} of {streams}",
            decide(streams, 50, false <= max(1, ALPHA * streams)),
        )
    )
    return marks


def _soon(row: Row) -> bool:
    return row.get("flagged") is not None and int(row["flagged"] or 0) <= 64


def _delays(results: Results) -> str:
    lines: list[list[object]] = []
    for world in WORLDS:
        for change in CHANGES:
            rows = results.select(world=world, change=change)
            if not rows:
                continue
            found = results.values("flagged", world=world, change=change)
            lines.append(
                [
                    f"{world} {change}",
                    f"{sum(map(_soon, rows))} / {len(rows)}",
                    f"{len(found)} / {len(rows)}",
                    f"{np.median(found):.0f}" if found.size else "-",
                    f"{found.max():.0f}" if found.size else "-",
                    sum(int(row.get("others") or 0) for row in rows),
                ]
            )
    header = ["", "within 64", f"within {STREAM:,}", "median", "largest", "others flagged"]
    return "## Transitions until the changed mechanism is named\n\n" + markdown_table(header, lines)


def _quiet_table(results: Results) -> str:
    lines: list[list[object]] = []
    for world in WORLDS:
        for change in QUIET:
            rows = results.select(world=world, change=change)
            if rows:
                sums = [
                    sum(int(row.get(key) or 0) for row in rows)
                    for key in ("streams", "false_streams", "false_alarms")
                ]
                lines.append([f"{world} {change}", *sums])
    header = ["", f"streams of {HORIZON:,}", "with a false alarm", "mechanisms"]
    return "## Nothing changes\n\n" + markdown_table(header, lines)


def _repairs(results: Results) -> str:
    columns = {
        "error_stale": "error before",
        "error_after": "after",
        "do_r2_stale": "R2 before",
        "do_r2_after": "after",
        "do_r2_dense": "dense",
        "return_stale": "return before",
        "return_flag": "at the alarm",
        "return_after": "after",
        "dense_return_stale": "dense before",
        "dense_return": "dense",
    }
    lines: list[list[object]] = []
    for world in WORLDS:
        for change in CHANGES:
            if results.select(world=world, change=change):
                values = [results.values(key, world=world, change=change) for key in columns]
                lines.append(
                    [f"{world} {change}", *(f"{v.mean():.2f}" if v.size else "-" for v in values)]
                )
    return "## Repair (means over the streams with an alarm)\n\n" + markdown_table(
        ["", *columns.values()], lines
    )


def figures(results: Results) -> Mapping[str, Figure]:
    """Share of streams in which the changed mechanism has been named, over transitions."""
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    panels = figure.subplots(1, len(WORLDS), sharey=True)
    for axes, world in zip(panels, WORLDS, strict=True):
        for change in CHANGES:
            rows = results.select(world=world, change=change)
            if rows:
                found = np.sort(results.values("flagged", world=world, change=change))
                share = np.arange(1, len(found) + 1) / len(rows)
                axes.step([1, *found], [0, *share], where="post", label=change)
        axes.axvline(64, color="0.6", linestyle=":")
        axes.set(xscale="log", title=world, xlabel="transitions since the change")
        axes.grid(alpha=0.3)
    panels[0].set_ylabel("share named")
    panels[0].legend(fontsize=8)
    return {"delays.png": figure}


def _headline(results: Results) -> str:
    rows = [row for row in results.rows if row["change"] in CHANGES]
    return f"named within 64 in {sum(map(_soon, rows))} of {len(rows)}" if rows else ""


BENCHMARK = Benchmark(
    name="mechanism-shift",
    title="A mechanism changes: named, repaired",
    description="Transitions until a changed mechanism is named, false alarms, and the model after "
    "its repair beside a dense one refitted on the same rows.",
    grid=grid,
    function=run,
    findings=findings,
    figures=figures,
    headline=_headline,
    seeds=10,
)
