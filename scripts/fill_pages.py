"""Fill in the tables of the pages of worlds, agents and estimators: options, facts, measurements.

What stands between ``<!-- table: NAME -->`` and ``<!-- end of table -->`` is written here, from the
code and the published results; the rest of a page is written by hand.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import click
import numpy as np

from causal_rl.agents.config import RunOptions, TrainConfig
from causal_rl.agents.planning.config import PlannerConfig
from causal_rl.agents.transfer.command import act_zero_shot_command, train_family_command
from causal_rl.envs import GYM_DYNAMICS, SCMEnvSpec, confounded_pairs, gym_dynamics, resolve_spec
from causal_rl.envs.registry import GYM_FACTORIES
from causal_rl.envs.worlds import BUILT_IN
from causal_rl.graphs import CausalGraph

ROOT = Path(__file__).resolve().parents[1]
WORLDS, AGENTS = ROOT / "docs" / "worlds", ROOT / "docs" / "agents"
ESTIMATORS = ROOT / "docs" / "estimators"
RESULTS = "../../results"
_TABLE = re.compile(r"(<!-- table: ([a-z]+) -->\n).*?(<!-- end of table -->)", re.DOTALL)
_LEARNERS = ("interventional", "algorithm5-linear", "algorithm5-mlp", "notears", "dagma", "empty")

_ENCODER = ("encoder", "graph", "modulation", "pooling", "embed_dim", "layers", "heads")
_UPDATE = ("learning_rate", "learning_rate_end", "gamma", "max_grad_norm")
_SB3 = (*_ENCODER, "seed", "num_envs", "normalise_returns", *_UPDATE[:3])
_ON_POLICY = ("rollout_steps", "gae_lambda", "entropy_coef", "value_coef", "max_grad_norm")
_REPLAY = ("store_size", "warmup_steps", "minibatch_size", "epochs")
#: The options that decide what an update or a foreign loop does. What else it reads, world, steps,
#: learner, evaluations, it shares with the actor-critic. Tests run the code and compare.
READ: Mapping[str, tuple[str, ...]] = {
    "ppo": (
        "epochs", "minibatch_size", "clip_range", "entropy_coef", "value_coef", "max_grad_norm",
    ),
    "a2c": ("entropy_coef", "value_coef", "max_grad_norm"),
    "paper": ("gamma", "max_grad_norm"),
    "sb3-ppo": (*_SB3, *_ON_POLICY, "minibatch_size", "epochs", "clip_range"),
    "sb3-a2c": (*_SB3, *_ON_POLICY),
    "sb3-sac": (*_SB3, *_REPLAY),
    "sb3-dqn": (*_SB3, *_REPLAY, "max_grad_norm"),
    "tianshou-ppo": (
        *_ENCODER, "seed", "num_envs", "normalise_returns", *_UPDATE, "rollout_steps", "gae_lambda",
        "entropy_coef", "value_coef", "minibatch_size", "epochs", "clip_range",
    ),
    "tianshou-sac": (
        *_ENCODER, "seed", "num_envs", *_UPDATE[:3], "rollout_steps", "minibatch_size",
        "store_size",
    ),
    "fixed-graph": ("graph", "encoder", "learner"),
    "encoders": _ENCODER,
}  # fmt: skip


#: Of what a command's own help leaves without a word.
_UNTOLD = {
    "predictor": "A file of `train-family`.",
    "seed": "Of the interventions and of the episodes.",
}


class Option(NamedTuple):
    """A line of a table of options."""

    name: str
    default: str
    meaning: str


def world_options(name: str) -> list[Option]:
    """The options of a world, as ``gymnasium.make`` takes them."""
    if name in BUILT_IN:
        return _dataclass_options(BUILT_IN[name].options)
    factory: Callable[..., Any] = getattr(gym_dynamics, GYM_FACTORIES[name])
    meanings = _arguments(factory)
    return [
        Option(parameter.name, _default(parameter.default), meanings[parameter.name])
        for parameter in inspect.signature(factory).parameters.values()
    ]


def agent_options(name: str) -> list[Option]:
    """The options that a page of an agent lists."""
    if name == "zero-shot":
        return [*_command_options(train_family_command), *_command_options(act_zero_shot_command)]
    whose: type[RunOptions] = PlannerConfig if name == "planner" else TrainConfig
    fields = {field.name: field for field in dataclasses.fields(whose)}
    return [
        Option(option, _default(fields[option].default), fields[option].metadata["help"])
        for option in READ.get(name, fields)
    ]


def _dataclass_options(options: type) -> list[Option]:
    meanings: dict[str, str] = {}
    for base in reversed(options.__mro__):
        meanings |= _arguments(base)
    return [
        Option(field.name, _default(field.default), meanings[field.name])
        for field in dataclasses.fields(options)
    ]


def _command_options(command: click.Command) -> list[Option]:
    return [
        Option(
            f"{command.name} {option.opts[0] if isinstance(option, click.Option) else option.name}",
            _told(option),
            getattr(option, "help", None) or _UNTOLD[option.name or ""],
        )
        for option in command.params
    ]


def _told(parameter: click.Parameter) -> str:
    """The default of an option or argument of a command."""
    if parameter.required:
        return "required"
    if isinstance(parameter, click.Option) and parameter.is_flag:
        return "off"
    return (
        "none"
        if isinstance(parameter, click.Option) and parameter.multiple
        else (f"`{parameter.default}`")
    )


def _default(value: object) -> str:
    return f"`{value}`" if value not in ((), "") else "none"


def _arguments(documented: Any) -> dict[str, str]:
    """The lines of a docstring's Args."""
    text = inspect.cleandoc(documented.__doc__ or "")
    found = re.search(r"^Args:\n((?:[ ]{4}.*\n?|\n)+)", text, re.MULTILINE)
    if found is None:
        return {}
    lines = re.split(r"^[ ]{4}(?=\w+: )", found.group(1), flags=re.MULTILINE)
    plain = (re.sub(r":\w+:|``", "", " ".join(line.split())) for line in lines)
    pairs = (line.partition(": ") for line in plain if line)
    return {name: meaning for name, _, meaning in pairs}


def options_table(options: Iterable[Option]) -> list[str]:
    """The table as a page shows it."""
    rows = [
        f"| `{option.name}` | {option.default} | {option.meaning.replace('|', chr(92) + '|')} |"
        for option in options
    ]
    return ["| option | default | meaning |", "|---|---|---|", *rows]


def facts_table(name: str) -> list[str]:
    """What an agent sees, sets and is paid for, and the two graphs, at the default options."""
    rows = _gym_facts(name) if name in GYM_DYNAMICS else _facts(resolve_spec(name))
    return [
        "| at the default options | |", "|---|---|",
        *(f"| {what} | {value} |" for what, value in rows if value),
    ]  # fmt: skip


def _facts(spec: SCMEnvSpec) -> list[tuple[str, str]]:
    graph, names = spec.causal_graph, spec.observed_names
    settable = spec.interventions.settable
    kinds = dict(zip(spec.scm.names, spec.scm.kinds, strict=False))
    costs = sorted(set(spec.interventions.costs[1:].tolist()))
    price = "free" if costs == [0.0] else f"at a cost of {_number(costs[0])}"
    if len(costs) > 1:
        price += f" to {_number(costs[-1])}"
    tables = {tuple(row) for row in spec.interventions.table.tolist()}
    offered = " or ".join(_listed(table) for table in sorted(tables))
    pairs = [f"`{a} <-> {b}`" for a, b in confounded_pairs(spec)]
    categorical = [v.name for v in spec.scm.variables if v.categories and v.name in names]
    return [
        ("sees", _names(names)),
        ("of which drawn once an episode", _names(n for n in names if kinds[n] == "context")),
        ("of which categorical", _names(categorical)),
        ("hidden", _names(n for n in spec.scm.names if kinds[n] == "hidden")),
        ("sets", f"{'one of ' * (len(settable) > 1)}{_names(settable)} a step, or nothing"),
        ("to", f"{offered}, {price}"),
        ("paid for", _names(graph.names[i] for i in np.flatnonzero(_into_reward(graph)))),
        ("within the step", _edges(graph, graph.contemporaneous)),
        ("from step to step", _edges(graph, graph.lagged)),
        ("hidden common causes", ", ".join(pairs)),
        ("steps of an episode", str(spec.horizon)),
        ("shifts", ", ".join(f"`{shift}`" for shift in spec.shifts)),
    ]


def _gym_facts(name: str) -> list[tuple[str, str]]:
    known = GYM_DYNAMICS[name]
    graph = known.causal_graph
    here = [graph.names[i] for i in np.flatnonzero(graph.contemporaneous[:, -1])]
    before = [graph.names[i] for i in np.flatnonzero(graph.lagged[:, -1])]
    limit = known.make().spec
    paid = [f"{_names(here)} of the step" if here else "", f"{_names(before)} before it"]
    return [
        ("sees", _names(known.states)),
        ("sets", f"`{known.action}`, at every step"),
        ("paid for", ", ".join(paid if before else paid[:1]) or "1, whatever happens"),
        ("within the step", _edges(graph, graph.contemporaneous)),
        ("from step to step", _edges(graph, graph.lagged)),
        ("edges that random data hardly show", ", ".join(
            f"`{edge.parent} -> {edge.child}` ({edge.note})" for edge in known.near_unfaithful
        )),
        ("steps of an episode", str(limit.max_episode_steps if limit else "")),
    ]  # fmt: skip


def _into_reward(graph: CausalGraph) -> Any:
    column = graph.names.index("reward")
    return graph.contemporaneous[:, column] | graph.lagged[:, column]


def _edges(graph: CausalGraph, block: Any) -> str:
    """Each effect with its causes; the reward has a row of its own."""
    rows = [
        f"`{effect} <- {', '.join(graph.names[i] for i in np.flatnonzero(block[:, j]))}`"
        for j, effect in enumerate(graph.names)
        if block[:, j].any() and effect != "reward"
    ]
    return ", ".join(rows) or "nothing"


def _names(names: Iterable[str]) -> str:
    """Names, runs of X1, X2, X3 as X1 to X3."""
    runs: list[list[str]] = []
    for name in names:
        if runs and _follows(runs[-1][-1], name):
            runs[-1].append(name)
        else:
            runs.append([name])
    short: list[str] = []
    for run in runs:
        short += [f"`{run[0]}` to `{run[-1]}`"] if len(run) > 2 else [f"`{name}`" for name in run]
    return ", ".join(short)


def _follows(before: str, name: str) -> bool:
    parts = [re.fullmatch(r"([A-Za-z]+)(\d+)", each) for each in (before, name)]
    if parts[0] is None or parts[1] is None:
        return False
    return parts[0][1] == parts[1][1] and int(parts[1][2]) == int(parts[0][2]) + 1


def _listed(values: Sequence[float]) -> str:
    if len(values) <= 3:
        return ", ".join(_number(value) for value in values)
    return f"{len(values)} values from {_number(values[0])} to {_number(values[-1])}"


def _number(value: float) -> str:
    return f"{value:.3f}".rstrip("0").rstrip(".")


#: Rows of Table 2 that are an estimator with one of its regressions.
_ROWS = {
    "s-learner": ("s-learner boosting",),
    "t-learner": ("t-learner boosting", "t-learner ridge"),
    "x-learner": ("x-learner boosting",),
}


def effects_table(name: str) -> list[str]:
    """What an estimator reaches in the left half of Table 2, letter by letter."""
    tables = {
        heading: _published("table2-left", heading)
        for heading in ("Random worlds, roles unknown", "IHDP", "ACIC 2016", "LaLonde")
    }
    worlds, ihdp, acic, lalonde = tables.values()
    lines = [
        f"| [Table 2, left]({RESULTS}/table2-left/RESULTS.md): row | PEHE², random worlds "
        "| IHDP, median root PEHE | ACIC 2016, median root PEHE | LaLonde, error of the ATT [$] |",
        "|---|---:|---:|---:|---:|",
    ]
    for row in _ROWS.get(name, (name,)):
        for label in (row, f"{row}, learned graph", f"{row}, true graph"):
            figures = [
                worlds.get(label, {}).get("PEHE²", "-"),
                ihdp.get(label, {}).get("median root PEHE", "-"),
                acic.get(label, {}).get("median root PEHE", "-"),
                lalonde.get(label, {}).get("error [dollars]", "-"),
            ]
            if set(figures) != {"-"}:
                lines.append(f"| {label} | {' | '.join(figures)} |")
    return lines


def measured_table(name: str) -> list[str]:
    """What random actions, doing nothing and the oracle earn, and how learners recover the graph.

    Figures are those of the published pages, letter by letter.
    """
    lines: list[str] = []
    paid = _published("world-returns", "Mean reward of a step").get(name)
    if paid is not None:
        lines += [
            f"| [mean reward of a step]({RESULTS}/world-returns/RESULTS.md) | random | nothing "
            "| oracle |",
            "|---|---:|---:|---:|",
            f"| | {paid['random']} | {paid['nothing']} | {paid['oracle']} |",
            "",
        ]
    lines += [
        f"| [SHD of the learned graph, mean of 10 seeds]({RESULTS}/world-recovery/RESULTS.md) "
        f"| true edges | {' | '.join(_LEARNERS)} |",
        f"|---|---:|{'---:|' * len(_LEARNERS)}",
    ]
    for title, heading in (
        ("within the step", "Within step: SHD (mean; true edges)"),
        ("from step to step", "From step to step: SHD (mean; true edges)"),
    ):
        row = _published("world-recovery", heading)[name]
        cells = " | ".join(row.get(learner, "-") for learner in _LEARNERS)
        lines.append(f"| {title} | {row['edges']} | {cells} |")
    sorting = _published("world-recovery", "What sorting would tell")[name]
    if sorting["varsortability"] != "-":
        lines += [
            "",
            f"Varsortability {sorting['varsortability']}, R2-sortability "
            f"{sorting['R2-sortability']}: .5 says nothing about the order, 0 and 1 give it away.",
        ]
    return lines


def _published(benchmark: str, heading: str) -> dict[str, dict[str, str]]:
    """A table of a page of results: by the first column, then by the heading of the column."""
    text = (ROOT / "results" / benchmark / "RESULTS.md").read_text(encoding="utf-8")
    section = text.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    rows = [
        [cell.strip() for cell in line.strip("| ").split(" | ")]
        for line in section.splitlines()
        if line.startswith("|")
    ]
    if len(rows) < 3:
        raise ValueError(f"results of {benchmark} have no table under {heading!r}")
    return {row[0]: dict(zip(rows[0], row, strict=True)) for row in rows[2:]}


def filled(path: Path) -> str:
    """The text of a page with its tables written anew.

    Raises:
        ValueError: a table that nobody knows.
    """
    name, text = path.stem, path.read_text(encoding="utf-8")
    options = world_options if path.parent == WORLDS else agent_options
    tables: dict[str, Callable[[str], list[str]]] = {
        "options": lambda name: options_table(options(name)),
        "facts": facts_table,
        "measured": effects_table if path.parent == ESTIMATORS else measured_table,
    }

    def written(found: re.Match[str]) -> str:
        if found[2] not in tables:
            raise ValueError(f"{path.name}: there is no table {found[2]!r}")
        lines = "\n".join(tables[found[2]](name))
        return f"{found[1]}{lines}\n{found[3]}"

    return _TABLE.sub(written, text)


def main() -> None:
    """Write every page whose tables have changed."""
    for path in sorted(
        path for pages in (WORLDS, AGENTS, ESTIMATORS) for path in pages.glob("*.md")
    ):
        text = filled(path)
        if text != path.read_text(encoding="utf-8"):
            path.write_text(text, encoding="utf-8")
            print(path.relative_to(ROOT), file=sys.stderr)


if __name__ == "__main__":
    main()
