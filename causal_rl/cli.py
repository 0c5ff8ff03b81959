"""The command-line program ``causal-rl``: train, evaluate-graph, evaluate-agent, discover, ..."""

from __future__ import annotations

import dataclasses
import difflib
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import click
import torch
from rich.console import Console
from rich.table import Table

from causal_rl.agents import (
    AGENT_CONFIGS,
    AgentEvaluation,
    Interrupted,
    ProtocolEvaluation,
    TrainConfig,
    evaluate_agent,
    evaluate_run_graph,
    evaluate_run_shift,
    graph_table,
    parse_options,
    resume,
    return_table,
    save_figure,
    train,
    trained_by,
)
from causal_rl.agents.config import DEFAULT_AGENT, read_options
from causal_rl.agents.report.write import report_command
from causal_rl.agents.transfer.command import act_zero_shot_command, train_family_command
from causal_rl.benchmarks.command import benchmark_command
from causal_rl.discovery.command import discover_command
from causal_rl.discovery.train_command import train_discovery_command
from causal_rl.effects.command import effect_command
from causal_rl.envs import (
    GYM_DYNAMICS,
    Interventions,
    list_envs,
    list_protocols,
    plot_world,
    resolve_spec,
    sortability,
)
from causal_rl.errors import MissingExtraError
from causal_rl.graphs.picture_file import check_picture

EXIT_BAD_INPUT = 2
EXIT_INTERRUPTED = 130
TRACEBACK_VARIABLE = "CAUSAL_RL_TRACEBACK"

_FOLDER = click.Path(path_type=Path)


def _config_options(command: Callable[..., None]) -> Callable[..., None]:
    """One option per field of the agents' options: name, type, help and default are the field's.

    A field that several agents have is one option, with the default of each where they differ.
    """
    fields: dict[str, dict[str, dataclasses.Field[Any]]] = {}
    hints: dict[str, Any] = {}
    for agent, config in AGENT_CONFIGS.items():
        hints = {**get_type_hints(config), **hints}
        for item in dataclasses.fields(config):
            fields.setdefault(item.name, {})[agent] = item
    for owners in reversed(fields.values()):
        item = next(iter(owners.values()))
        annotation = hints[item.name]
        settings: dict[str, Any] = {"default": None}
        flag = f"--{item.name.replace('_', '-')}"
        if get_origin(annotation) is Literal:
            settings["type"] = click.Choice(get_args(annotation))
        elif get_origin(annotation) is tuple:
            flag, settings["multiple"] = item.metadata["flag"], True
            settings["metavar"] = item.metadata["metavar"]
        elif annotation is bool:
            flag = f"{flag}/--no-{item.name.replace('_', '-')}"
        else:
            settings["type"] = annotation
        shown = item.default if item.default != () else "none"
        others = [
            f"; {agent}: {other.default}"
            for agent, other in owners.items()
            if other.default != item.default
        ]
        whose = "" if DEFAULT_AGENT in owners else f"{next(iter(owners)).capitalize()}: "
        settings["help"] = f"{whose}{item.metadata['help']}  [default: {shown}{''.join(others)}]"
        command = click.option(flag, item.name, **settings)(command)
    return command


class _Verbs(click.Group):
    """A group that names its commands where none is given, or an unknown one."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args and not ctx.resilient_parsing:
            ctx.fail(f"Missing command; {self._offer(ctx)}")
        return super().parse_args(ctx, args)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        unknown = self.get_command(ctx, args[0]) is None and not args[0].startswith("-")
        if unknown and not ctx.resilient_parsing:  # else a shell completes the word
            near = difflib.get_close_matches(args[0], self.commands)
            hint = f"did you mean {' or '.join(near)}?" if near else self._offer(ctx)
            ctx.fail(f"No such command {args[0]!r}; {hint}")
        return super().resolve_command(ctx, args)

    def _offer(self, ctx: click.Context) -> str:
        return f"it must be one of {', '.join(self.list_commands(ctx))}"


@click.group(
    cls=_Verbs,
    no_args_is_help=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=f"Errors are one line; with {TRACEBACK_VARIABLE}=1 in the environment they are traced.",
)
@click.version_option(package_name="causal_rl")
def cli() -> None:
    """Agents that learn the causal graph of their world and use it."""


@cli.command("train")
@click.option(
    "--agent",
    type=click.Choice(list(AGENT_CONFIGS)),
    default=None,
    help="Actor-critic by Algorithm 5, or a planner in the learned model; options that say nothing "
    f"of the planner are the actor-critic's.  [default: {DEFAULT_AGENT}]",
)
@_config_options
@click.option(
    "--out",
    type=_FOLDER,
    default=None,
    metavar="DIR",
    help="Folder of the run, new or empty.  [default: runs/WORLD-seedN-TIME]",
)
@click.option(
    "--config",
    "config_file",
    type=_FOLDER,
    default=None,
    metavar="FILE",
    help="YAML file of options; options on the command line win.",
)
@click.option(
    "--resume",
    "resume_folder",
    type=_FOLDER,
    default=None,
    metavar="RUN",
    help="Go on with the run in this folder; of the other options only --steps and "
    "--device may be given.",
)
@click.option(
    "--threads",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="CPU threads of torch; one is fastest for networks of this size [threads].",
)
def train_command(
    out: Path | None,
    config_file: Path | None,
    resume_folder: Path | None,
    threads: int,
    **options: Any,
) -> None:
    """Train an agent and hold its graph against the truth."""
    given = {key: value for key, value in options.items() if value not in (None, ())}
    torch.set_num_threads(threads)
    if resume_folder is not None:
        refused = sorted(set(given) - {"steps", "device"})
        if out is not None or config_file is not None or refused:
            names = [*refused, *(["out"] if out else []), *(["config"] if config_file else [])]
            raise ValueError(
                f"--resume takes the run's own options; of others only --steps and --device are "
                f"allowed, got {', '.join('--' + n.replace('_', '-') for n in names)}"
            )
        resume(resume_folder, **given)
        return
    values = {} if config_file is None else read_options(config_file)
    train(parse_options({**values, **given}), out=out)


@cli.command("evaluate-graph")
@click.argument("run", type=_FOLDER)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of the table.")
@click.option(
    "--out",
    type=_FOLDER,
    default=None,
    metavar="FILE",
    help="Picture of the graph beside the truth.  [default: RUN/graph.png]",
)
def evaluate_graph_command(run: Path, as_json: bool, out: Path | None) -> None:
    """Score the graph that RUN learned against the truth, and draw both."""
    if out is not None:
        check_picture(out, "out")
    rows, graph, truth = evaluate_run_graph(run)
    picture = run / "graph.png" if out is None else out
    save_figure(graph.plot_comparison(truth), picture)
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    console = Console()
    console.print(graph_table(rows))
    console.print(f"Picture: {picture}", soft_wrap=True, highlight=False)


@cli.command("evaluate-agent")
@click.argument("run", type=_FOLDER)
@click.option(
    "--shift",
    default=None,
    metavar="NAME",
    help="Evaluate in this shift of the world, or over this protocol of train and test splits.  "
    "[default: the world trained on]",
)
@click.option(
    "--episodes",
    type=click.IntRange(min=1),
    default=None,
    help="Episodes to run [episodes].  [default: the run's final_episodes]",
)
@click.option("--device", default="cpu", show_default=True, help="Torch device of the networks.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of the table.")
def evaluate_agent_command(
    run: Path, shift: str | None, episodes: int | None, device: str, as_json: bool
) -> None:
    """Evaluate the policy of RUN beside random, no intervention and the oracle planner."""
    torch.set_num_threads(1)
    if shift is None or trained_by(run).startswith("sb3-"):
        found: AgentEvaluation | ProtocolEvaluation = evaluate_agent(
            run, shift=shift, episodes=episodes, device=device
        )
    else:
        found = evaluate_run_shift(
            run,
            shift,
            episodes=episodes,
            device=device,
            progress=lambda line: click.echo(line, err=True),
        )
    if isinstance(found, ProtocolEvaluation):
        _report_protocol(found, run, as_json=as_json)
        return
    result = found.to_dict()
    if as_json:
        click.echo(json.dumps(result, indent=2))
        return
    console = Console()
    console.print(return_table(result))
    console.print(
        f"world: {shift or 'as trained on'}; {result['episodes']} episodes; 95 % interval of the "
        f"policy's mean [{result['return_low']:.3f}, {result['return_high']:.3f}]",
        soft_wrap=True,
        highlight=False,
    )


@cli.command("envs")
@click.argument("name", required=False)
@click.option("--plot", is_flag=True, help="Draw the world NAME: its true graph and what it is.")
@click.option(
    "--out",
    type=_FOLDER,
    default=None,
    metavar="FILE",
    help="Where --plot writes.  [default: NAME.png]",
)
@click.option(
    "--env-arg",
    "env_args",
    multiple=True,
    metavar="KEY=VALUE",
    help="An option of the world; may be given several times.",
)
def envs_command(name: str | None, plot: bool, out: Path | None, env_args: tuple[str, ...]) -> None:
    """List the registered worlds, or describe the world NAME."""
    console = Console()
    if name is None and (plot or out is not None or env_args):
        raise click.UsageError("--plot, --out and --env-arg need the NAME of a world")
    if out is not None and not plot:
        raise click.UsageError("--out needs --plot")
    if name is None:
        table = Table()
        for title in ("world", "variables", "edges"):
            table.add_column(title, no_wrap=True)
        table.add_column("what it is, and its shifts")
        for listed in list_envs():
            spec = resolve_spec(listed)
            graph = spec.causal_graph
            edges = f"{int(graph.contemporaneous.sum())} + {int(graph.lagged.sum())} lagged"
            table.add_row(
                listed,
                str(len(spec.observed_names)),
                edges,
                f"{spec.description} Shifts: {', '.join(spec.shifts) or 'none'}.",
            )
        console.print(table)
        console.print(
            "Gymnasium's own simulators with their known graph (gymnasium.make, no SCM to train "
            f"on): {', '.join(GYM_DYNAMICS)}",
            highlight=False,
        )
        return
    spec = resolve_spec(name, **TrainConfig(env=name, env_args=env_args).world_kwargs)
    if plot:
        picture = check_picture(Path(f"{spec.name}.png") if out is None else out, "out")
        plot_world(spec, picture)
        console.print(f"Picture: {picture}", soft_wrap=True, highlight=False)
    leaks = sortability(spec)
    console.print(f"{spec.name}: {spec.description}", highlight=False)
    observed = zip(spec.observed_names, spec.observed_kinds, strict=True)
    for title, values in (
        ("observed", [f"{n} ({k})" for n, k in observed]),
        ("settable", list(spec.interventions.settable)),
        ("values", _offered(spec.interventions)),
        ("horizon", [f"{spec.horizon} steps"]),
        ("shifts", list(spec.shifts) or ["none"]),
        (
            "protocols",
            [name for name, p in list_protocols(spec).items() if not p.why_not] or ["none"],
        ),
        (
            "leaks of the order (.5 is none)",
            [f"{key} {'-' if value is None else f'{value:.2f}'}" for key, value in leaks.items()],
        ),
        (
            "edges (the truth)",
            [
                f"{a} -> {b}{' (lagged)' if block == 'lagged' else ''}"
                for block, a, b in spec.causal_graph.edges()
            ],
        ),
    ):
        console.print(f"  {title}: {', '.join(values)}", highlight=False)


for _command in (
    benchmark_command,
    discover_command,
    train_discovery_command,
    train_family_command,
    act_zero_shot_command,
    effect_command,
    report_command,
):
    cli.add_command(_command)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the program and exit: 0 done, 2 bad input (one line), 130 interrupted.

    Args:
        arguments: the words after the program's name; default those of the process.
    """
    try:
        code = cli.main(args=None if arguments is None else list(arguments), standalone_mode=False)
    except click.UsageError as error:
        _fail(error.format_message())
    except click.Abort:
        sys.exit(EXIT_INTERRUPTED)
    except (Interrupted, KeyboardInterrupt) as error:
        click.echo(str(error) or "interrupted", err=True)
        sys.exit(EXIT_INTERRUPTED)
    except (ValueError, TypeError, OSError, MissingExtraError) as error:
        if os.environ.get(TRACEBACK_VARIABLE):
            raise
        _fail(str(error))
    sys.exit(code if isinstance(code, int) else 0)


def _offered(interventions: Interventions) -> list[str]:
    """The values on offer, by variable where they differ."""
    table = interventions.table
    if (table == table[0]).all():
        return [f"{value:.3g}" for value in table[0]]
    return [
        f"{name} {' '.join(f'{value:.3g}' for value in row)}"
        for name, row in zip(interventions.settable, table, strict=True)
    ]


def _report_protocol(found: ProtocolEvaluation, run: Path, *, as_json: bool) -> None:
    data, picture = found.save(run)
    if as_json:
        click.echo(json.dumps(found.to_dict(), indent=2))
        return
    console = Console()
    console.print(found.table())
    console.print(f"Written: {data}, {picture}", soft_wrap=True, highlight=False)


def _fail(message: str) -> None:
    click.echo(f"Error: {' '.join(message.split())}", err=True)
    sys.exit(EXIT_BAD_INPUT)
