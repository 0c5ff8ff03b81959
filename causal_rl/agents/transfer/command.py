"""``causal-rl train-family`` and ``causal-rl act-zero-shot``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import get_args

import click
import torch

from causal_rl.agents.config import TrainConfig
from causal_rl.agents.evaluation import evaluate, measure_yardsticks
from causal_rl.agents.transfer.do_prediction import DoPredictor
from causal_rl.agents.transfer.family_training import train_predictor, training_worlds
from causal_rl.agents.transfer.world_family import WorldFamily
from causal_rl.agents.transfer.zero_shot import meet_world
from causal_rl.envs import resolve_spec
from causal_rl.scm import MECHANISMS, Topology

_FILE = click.Path(path_type=Path)
_COUNT = click.IntRange(min=1)


@click.command("train-family")
@click.option("--out", type=_FILE, required=True, metavar="FILE", help="Where the weights go.")
@click.option(
    "--topology",
    type=click.Choice(get_args(Topology)),
    default="er",
    show_default=True,
    help="Graphs of the family.",
)
@click.option(
    "--mechanism",
    type=click.Choice(MECHANISMS),
    default="tanh",
    show_default=True,
    help="Mechanisms of the family.",
)
@click.option(
    "--density",
    type=float,
    default=1.5,
    show_default=True,
    help="Expected edges for each variable, for er and sf graphs [edges].",
)
@click.option(
    "--size", type=click.IntRange(min=2), default=6, show_default=True, help="Variables of a world."
)
@click.option("--worlds", type=_COUNT, default=400, show_default=True, help="Worlds [worlds].")
@click.option("--steps", type=_COUNT, default=800, show_default=True, help="Updates [updates].")
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Of worlds, first weights and batches.",
)
def train_family_command(
    out: Path,
    topology: Topology,
    mechanism: str,
    density: float,
    size: int,
    worlds: int,
    steps: int,
    seed: int,
) -> None:
    """Train one predictor of interventions on a family of random worlds."""
    if not out.absolute().parent.is_dir() or out.is_dir():
        raise click.UsageError(f"--out must be a file in an existing folder, got {str(out)!r}")
    torch.set_num_threads(1)
    family = WorldFamily(topology, mechanism, density)
    click.echo(f"drawing {worlds} worlds of {size} variables", err=True)
    seeds = family.split((size, worlds), {}, seed=seed).train
    data = training_worlds(family, size, seeds)
    click.echo(f"{steps} updates", err=True)
    predictor = DoPredictor(seed=seed)
    losses = train_predictor(predictor, data, steps=steps, seed=seed)
    predictor.save(out)
    last = losses[-100:]
    click.echo(f"squared error of the last updates {sum(last) / len(last):.4f}. Written to {out}")


@click.command("act-zero-shot")
@click.argument("predictor", type=_FILE)
@click.option("--env", default="er-scm", show_default=True, help="The unseen world.")
@click.option(
    "--env-arg",
    "env_args",
    multiple=True,
    metavar="KEY=VALUE",
    help="Keyword argument of the world, e.g. n=12; repeatable.",
)
@click.option(
    "--rows",
    type=click.IntRange(min=16),
    default=500,
    show_default=True,
    help="Random interventions before it acts [transitions].",
)
@click.option(
    "--graph",
    type=click.Choice(["learned", "oracle"]),
    default="learned",
    show_default=True,
    help="Graph that it goes by: learned from those transitions, or the true one.",
)
@click.option("--episodes", type=_COUNT, default=64, show_default=True, help="[episodes]")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def act_zero_shot_command(
    predictor: Path,
    env: str,
    env_args: tuple[str, ...],
    rows: int,
    graph: str,
    episodes: int,
    seed: int,
    as_json: bool,
) -> None:
    """Act in a world that PREDICTOR, a file of train-family, was not trained on."""
    torch.set_num_threads(1)
    network = DoPredictor.load(predictor)
    spec = resolve_spec(env, **TrainConfig(env=env, env_args=env_args).world_kwargs)
    truth = spec.causal_graph if graph == "oracle" else None
    agent = meet_world(network, spec, rows=rows, seed=seed, graph=truth)
    value = float(evaluate(spec, agent.controller, episodes=episodes, seed=seed).mean())
    yardsticks = measure_yardsticks(spec, episodes=episodes, seed=seed)
    found = {
        "return_mean": value,
        "return_random": yardsticks.random,
        "return_noop": yardsticks.noop,
        "return_oracle": yardsticks.oracle,
        "return_normalised": yardsticks.normalise(value),
    }
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    for name, figure in found.items():
        click.echo(f"{name} {'-' if figure is None else f'{figure:.3f}'}")
