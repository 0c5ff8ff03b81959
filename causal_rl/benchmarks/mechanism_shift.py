"""One mechanism of a world changes: how soon it is named, how well the planner goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from causal_rl.agents.adaptation import MechanismRepair
from causal_rl.agents.evaluation import Controller, evaluate, measure_yardsticks
from causal_rl.agents.planning import LearnedSCM
from causal_rl.benchmarks.agent_runs import SMOKE_WORLD
from causal_rl.benchmarks.cells import Cell, Outcome, Row
from causal_rl.benchmarks.dense_dynamics import DenseDynamics
from causal_rl.benchmarks.report import Findings, Mark, decide, markdown_table
from causal_rl.benchmarks.results import Benchmark, Results
from causal_rl.benchmarks.shift_stream import (
    CHANGES,
    ActingStream,
    Learnt,
    ModelProbe,
    changed_world,
    controller,
)
from causal_rl.discovery import Transitions
from causal_rl.envs import SCMEnvSpec, record, resolve_spec

WORLDS = ("chain-scm", "er-scm")
QUIET = {
    "quiet": "nothing changes, random interventions go on",
    "policy": "nothing changes, but the policy does: one and the same intervention at every step",
    "planner": "nothing changes, but the policy does: the planner acts",
}
# Options were settled on graph seeds below this.
FRESH_GRAPHS = 3_000
ALPHA, HORIZON = 0.01, 5_000
AFTER = 64

_SETTINGS: dict[str, Any] = {
    "alpha": ALPHA, "horizon": HORIZON, "learn": 4_000, "held_out": 1_000,
    "before": 256, "stream": 1_000, "envs": 4, "explore": 0.1, "plan_horizon": 1, "samples": 64,
    "quiet_streams": 5, "quiet_rows": HORIZON, "episodes": 32,
}  # fmt: skip
_SMOKE = {
    "learn": 600, "held_out": 300, "before": 32, "stream": 120, "samples": 16,
    "quiet_streams": 1, "quiet_rows": 200, "episodes": 2,
    **{f"world.{key}": value for key, value in SMOKE_WORLD.items()},
}  # fmt: skip


def grid(seeds: int, smoke: bool) -> list[Cell]:
    """Seeds outermost: world x change."""
    settings = {**_SETTINGS, **(_SMOKE if smoke else {})}
    changes = ("sink", "quiet") if smoke else (*CHANGES, *QUIET)
    return [
        Cell({"world": world, "change": change, "seed": seed}, settings)
        for seed in range(min(seeds, 1) if smoke else seeds)
        for world in (WORLDS[:1] if smoke else WORLDS)
        for change in changes
    ]


def run(cell: Cell) -> Outcome:
    """Learn a world, plan in it, change it, watch and repair; or watch while nothing changes."""
    seed = FRESH_GRAPHS + int(cell.parameters["seed"] or 0)
    change, settings = str(cell.parameters["change"]), cell.settings
    spec = resolve_spec(str(cell.parameters["world"]), graph_seed=seed, **cell.part("world"))
    learnt = Learnt.of(spec, settings["learn"], settings["held_out"], 10 * seed, 8)
    if change in QUIET:
        return _quiet(learnt, change, seed, settings)
    return _changed(learnt, change, seed, settings)


def _quiet(learnt: Learnt, change: str, seed: int, settings: Mapping[str, Any]) -> Outcome:
    watch, rows = learnt.watch(settings["alpha"], settings["horizon"]), settings["quiet_rows"]
    spec = learnt.spec
    plan = controller(spec, learnt.model(), settings) if change == "planner" else None
    rng = np.random.default_rng([seed, 1])
    streams = 1 if plan else int(settings["quiet_streams"])
    false = mechanisms = 0
    for stream in range(streams):
        watch.calibrate(learnt.data[learnt.count :])
        policy: Any = "random"
        if change == "policy":
            policy = partial(_always, rng.integers([1, 0], spec.action_space().nvec))
        elif plan is not None:
            policy = partial(_exploring, plan, spec, float(settings["explore"]), rng)
        fresh = record(spec, rows, seed=10 * seed + 2 + stream, num_envs=8, policy=policy)
        alarms = watch.update(fresh)
        mechanisms += len(alarms)
        false += bool(alarms)
    return Outcome(
        {"streams": streams, "false_streams": false, "false_alarms": mechanisms, "rows": rows}
    )


def _always(action: NDArray[np.int64], observation: NDArray[np.floating[Any]]) -> NDArray[np.int64]:
    return np.tile(action, (len(observation), 1))


def _exploring(
    plan: Controller,
    spec: SCMEnvSpec,
    share: float,
    rng: np.random.Generator,
    observation: NDArray[np.floating[Any]],
) -> NDArray[np.int64]:
    action = plan(observation, np.asarray(observation, dtype=np.float64))
    free = rng.random(len(action)) < share
    high = spec.action_space().nvec
    return np.where(free[:, None], rng.integers(0, high, size=action.shape), action)


def _changed(learnt: Learnt, change: str, seed: int, settings: Mapping[str, Any]) -> Outcome:
    spec = learnt.spec
    watch = learnt.watch(settings["alpha"], settings["horizon"])
    repair, model = MechanismRepair(watch), watch.model
    assert isinstance(model, LearnedSCM)
    target, world = changed_world(spec, change, np.random.default_rng([seed, 2]))
    yard = measure_yardsticks(world, episodes=settings["episodes"], seed=seed)
    probe = ModelProbe(spec, world, target, 10 * seed + 9)

    def earned(control: Controller) -> float | None:
        value = evaluate(world, control, episodes=settings["episodes"], seed=seed)
        return yard.normalise(float(value.mean()))

    def planned(what: LearnedSCM) -> float | None:
        return earned(controller(spec, what, settings))

    acting = ActingStream(
        spec, repair, settings, num_envs=settings["envs"], seed=1_000_000 * seed + 7
    )
    early = {
        made.alarm.name
        for _ in range(settings["before"] // settings["envs"])
        for made in acting.step()
    }
    acting.change(world)
    began = watch.seen
    figures: Row = {
        "target": target,
        "model_shd": _distance(model, spec),
        "early": len(early),
        **probe.of(model, "stale"),
        "return_stale": planned(model),
        "flagged": None,
    }
    others: set[str] = set()
    last = settings["stream"]
    while (taken := watch.seen - began) < last:
        for made in acting.step():
            if made.alarm.name != target:
                others.add(made.alarm.name)
            elif made.alarm.index >= began and figures["flagged"] is None:
                figures |= {
                    "flagged": made.alarm.index - began + 1,
                    "began_error": made.alarm.began - began,
                    "return_flag": planned(model),
                }
                # Steps are of several transitions: none that would pass the count is taken.
                after = made.alarm.index - began + 1 + AFTER
                last = min(last, after - settings["envs"] + 1)
    figures |= {"others": len(others), "rows_after": taken}
    if figures["flagged"] is None:
        return Outcome(figures)
    mended = [made for made in repair.records if made.alarm.name == target]
    figures |= {"refit": mended[-1].how, **probe.of(model, "after"), "return_after": planned(model)}
    if change == "edge":
        figures["edge_dropped"] = _same_parents(model, world, target)
    figures |= _dense(learnt, acting.rows, probe, earned, planned, seed)
    return Outcome(figures)


def _dense(
    learnt: Learnt,
    rows: Transitions,
    probe: ModelProbe,
    earned: Callable[[Controller], float | None],
    planned: Callable[[LearnedSCM], float | None],
    seed: int,
) -> Row:
    """The models without a graph and with every edge, all of them refitted on the same rows."""
    dense = DenseDynamics(learnt.spec).fit(learnt.data)
    figures: Row = {"dense_return_stale": earned(dense.controller(seed))}
    dense.refit(rows)
    figures |= probe.dense(dense, "dense") | {"dense_return": earned(dense.controller(seed))}
    for name, graph in (("all", learnt.graph), ("full", learnt.dense_graph())):
        model = learnt.model(graph)
        if name == "full":
            figures |= {"full_return_stale": planned(model)}
        for variable, kind in zip(rows.names, rows.kinds, strict=True):
            if kind != "context" and not rows.do_target[:, rows.names.index(variable)].all():
                model.refit(variable, rows)
        figures |= {**probe.of(model, name), f"{name}_return": planned(model)}
    return figures


def _distance(model: LearnedSCM, spec: SCMEnvSpec) -> int:
    """Edges of either block in which the learned graph differs from the truth."""
    found, truth = model.graph, spec.causal_graph.permute(model.graph.names)
    now = found.contemporaneous != truth.contemporaneous
    return int(now.sum() + (found.lagged != truth.lagged).sum())


def _same_parents(model: LearnedSCM, world: SCMEnvSpec, name: str) -> bool:
    truth, found = world.causal_graph, model.graph
    return all(
        set(found.parents(name, block=block)) == set(truth.parents(name, block=block))
        for block in ("contemporaneous", "lagged")
    )


def findings(results: Results) -> Findings:
    """Delays, false alarms and repairs, a table each."""
    given = _SETTINGS
    learn, held = given["learn"], given["held_out"]
    protocol = [
        f"The default learner finds the graph, reward included, from {learn + held:,} transitions "
        f"of uniformly random interventions; a `LearnedSCM` is fitted on {learn:,} of them and "
        f"the watch is calibrated on the other {held:,}. Then a planner in that model acts in "
        f"{given['envs']} environments, {given['explore']:.0%} of its actions random, for "
        f"{given['before']} transitions; one mechanism changes and it acts on, until {AFTER} "
        f"transitions after the alarm, {given['stream']:,} at most. Seed k draws the world as "
        f"graph seed {FRESH_GRAPHS} + k, and which variable changes.",
        f"alpha = {ALPHA} for any false alarm of any mechanism within {HORIZON:,} transitions.",
        *(f"`{name}`: {text}." for name, text in (CHANGES | QUIET).items()),
        f"Figures 'after' are those {AFTER} transitions after the alarm. Error: root mean square "
        "error of the changed mechanism's mean on fresh rows, in units of its noise. R2: of the "
        "expected next value of the sink given state and random intervention. Return: "
        f"{given['episodes']} episodes without exploration in the changed world, 0 random "
        "interventions, 1 the planner in the true changed world.",
        "Others, refitted on all transitions since the change, which are told to them and not to "
        "the watch: `all`, every mechanism of the learned graph refitted, not that one alone; "
        "`full`, the same with every edge that the learned order allows and all from one step to "
        "the next; `dense`, the next state from state and intervention without a graph, a ridge "
        "regression on the same functions drawn towards its old weights, which is given the true "
        "reward and costs.",
    ]
    sections = [_delays(results), _quiet_table(results), _returns(results), _errors(results)]
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
    wrong = sum(int(row.get("others") or 0) + int(row.get("early") or 0) > 0 for row in changed)
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
    for world, change, rows in _streams(results, CHANGES):
        found = results.values("flagged", world=world, change=change)
        lines.append(
            [
                f"{world} {change}",
                f"{sum(map(_soon, rows))} / {len(rows)}",
                f"{len(found)} / {len(rows)}",
                f"{np.median(found):.0f}" if found.size else "-",
                f"{found.max():.0f}" if found.size else "-",
                sum(int(row.get("early") or 0) + int(row.get("others") or 0) for row in rows),
            ]
        )
    header = [
        "", "within 64", f"within {_SETTINGS['stream']:,}", "median", "largest", "others flagged"
    ]  # fmt: skip
    return "## Transitions until the changed mechanism is named\n\n" + markdown_table(header, lines)


def _quiet_table(results: Results) -> str:
    lines: list[list[object]] = []
    for world, change, rows in _streams(results, QUIET):
        sums = [
            sum(int(row.get(key) or 0) for row in rows)
            for key in ("streams", "false_streams", "false_alarms")
        ]
        lines.append([f"{world} {change}", *sums])
    header = ["", f"streams of {HORIZON:,}", "with a false alarm", "mechanisms"]
    return "## Nothing changes\n\n" + markdown_table(header, lines)


def _returns(results: Results) -> str:
    columns = {
        "return_stale": "no repair", "return_flag": "at the alarm", "return_after": "after",
        "all_return": "all", "full_return": "full", "dense_return": "dense",
        "full_return_stale": "full, no repair", "dense_return_stale": "dense, no repair",
    }  # fmt: skip
    return "## Normalised return in the changed world (means)\n\n" + _means(results, columns)


def _errors(results: Results) -> str:
    columns = {
        "error_stale": "error before", "error_after": "after", "error_all": "all",
        "error_full": "full", "do_r2_stale": "R2 before", "do_r2_after": "after",
        "do_r2_all": "all", "do_r2_full": "full", "do_r2_dense": "dense",
    }  # fmt: skip
    return "## The models (means over the streams with an alarm)\n\n" + _means(results, columns)


def _means(results: Results, columns: Mapping[str, str]) -> str:
    lines: list[list[object]] = []
    for world, change, _ in _streams(results, CHANGES):
        values = [results.values(key, world=world, change=change) for key in columns]
        lines.append([f"{world} {change}", *(f"{v.mean():.2f}" if v.size else "-" for v in values)])
    return markdown_table(["", *columns.values()], lines)


def _streams(results: Results, changes: Mapping[str, str]) -> Iterator[tuple[str, str, list[Row]]]:
    for world in WORLDS:
        for change in changes:
            rows = results.select(world=world, change=change)
            if rows:
                yield world, change, rows


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
    description="Transitions until a changed mechanism is named, false alarms, and a planner that "
    "goes on after its repair, beside dense models refitted on the same rows.",
    grid=grid,
    function=run,
    findings=findings,
    figures=figures,
    headline=_headline,
    seeds=10,
)
