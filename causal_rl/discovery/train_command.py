"""``causal-rl train-discovery``: the network of the amortised graph learner."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

if TYPE_CHECKING:
    from causal_rl.discovery.amortised_training import Report, Training, Validation

_COUNT = click.IntRange(min=1)
_OF_THE_NETWORK = ("blocks", "modulated")
_OF_THE_TRAINING = (
    "steps", "seed", "learning_rate", "cells", "variables", "rows", "start", *_OF_THE_NETWORK,
)  # fmt: skip


@click.command("train-discovery")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    metavar="FILE",
    help="Where the network goes; the option checkpoint of the learner amortised takes it.",
)
@click.option("--steps", type=_COUNT, default=5000, show_default=True, help="Gradient steps.")
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Of first weights and simulated tables.",
)
@click.option("--learning-rate", type=float, default=0.003, show_default=True, help="Its peak.")
@click.option(
    "--cells", type=_COUNT, default=5000, show_default=True, help="Values a step [rows x columns]."
)
@click.option(
    "--variables",
    type=click.IntRange(min=2),
    default=12,
    show_default=True,
    help="Columns of the largest simulated table.",
)
@click.option(
    "--rows",
    type=click.IntRange(min=50),
    default=300,
    show_default=True,
    help="Rows of the longest simulated table.",
)
@click.option("--blocks", type=_COUNT, default=2, show_default=True, help="Blocks of the network.")
@click.option(
    "--modulated/--full",
    default=True,
    show_default=True,
    help="Whether the guessed graph modulates the attention between variables (ECAM), or all "
    "attend to all.",
)
@click.option(
    "--start",
    type=click.Path(path_type=Path),
    default=None,
    metavar="FILE",
    help="Begin with the weights of this network, and keep its sizes.  [default: random weights]",
)
@click.option("--device", default="cpu", show_default=True, help="Device of torch.")
@click.option(
    "--resume",
    is_flag=True,
    help="Go on with the unfinished training of FILE, whose settings stay.",
)
def train_discovery_command(
    out: Path,
    steps: int,
    seed: int,
    learning_rate: float,
    cells: int,
    variables: int,
    rows: int,
    blocks: int,
    modulated: bool,
    start: Path | None,
    device: str,
    resume: bool,
) -> None:
    """Train the network of the learner "amortised" on simulated tables."""
    import torch

    from causal_rl.devices import check_device
    from causal_rl.discovery.amortised_model import ModelSizes, load_model
    from causal_rl.discovery.amortised_training import (
        Training,
        TrainingSettings,
        train,
        unfinished_path,
    )
    from causal_rl.discovery.simulated_tasks import TaskSizes

    if not out.absolute().parent.is_dir() or out.is_dir():
        raise click.UsageError(f"--out must be a file in an existing folder, got {str(out)!r}")
    check_device(device)
    torch.set_num_threads(1)
    unfinished = unfinished_path(out)
    if resume:
        _refuse("--resume", _OF_THE_TRAINING)
        if not unfinished.is_file():
            raise click.UsageError(f"--resume finds no unfinished training {str(unfinished)!r}")
        training = Training.load(unfinished, device=device)
    else:
        for path in (out, unfinished):
            if path.exists():
                raise click.UsageError(f"--out must be new, got {str(path)!r}; or give --resume")
        sizes = ModelSizes(num_blocks=blocks, modulated=modulated)
        if start is not None:
            _refuse("--start", _OF_THE_NETWORK)
            sizes = load_model(start)[0].sizes
        settings = TrainingSettings(
            steps,
            seed,
            learning_rate,
            cells,
            sizes,
            TaskSizes(most_variables=variables, most_rows=rows),
        )
        training = Training(settings, device=device)
        if start is not None:
            training.begin_with(start)
    with _progress_bar(training.settings.steps) as report:
        found = train(training, out, command=_command(training), report=report)
    click.echo(
        f"AUPRC {found.auprc:.3f}, F1 {found.f1:.3f}, SHD {found.shd:.2f} on simulated tables that "
        f"it was not trained on. Written to {out}"
    )


def _command(training: Training) -> str:
    """The command line that makes the same network again."""
    settings = training.settings
    words = {
        "steps": settings.steps,
        "seed": settings.seed,
        "learning-rate": settings.learning_rate,
        "cells": settings.cells,
        "variables": settings.tasks.most_variables,
        "rows": settings.tasks.most_rows,
    }
    given = "".join(f" --{name} {value}" for name, value in words.items())
    if training.start is not None:
        return f"causal-rl train-discovery{given} --start FILE"
    full = "" if settings.sizes.modulated else " --full"
    return f"causal-rl train-discovery{given} --blocks {settings.sizes.num_blocks}{full}"


def _refuse(option: str, others: Sequence[str]) -> None:
    context = click.get_current_context()
    for name in others:
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            shown = (
                "--modulated and --full" if name == "modulated" else "--" + name.replace("_", "-")
            )
            raise click.UsageError(f"{shown} cannot be given with {option}")


@contextmanager
def _progress_bar(total: int) -> Iterator[Report]:
    """A bar on a terminal; elsewhere a line now and then."""
    console = Console(stderr=True)
    bar = Progress(
        TextColumn("[bold]train-discovery"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[figures]}"),
        TimeElapsedColumn(),
        console=console,
        disable=not console.is_terminal,
    )
    with bar:
        task = bar.add_task("", total=total, figures="")

        def report(step: int, loss: float, found: Validation | None) -> None:
            figures = f"loss {loss:.3f}"
            if found is not None:
                figures += f"  validation AUPRC {found.auprc:.3f} F1 {found.f1:.3f}"
            bar.update(task, completed=step, figures=figures)
            if not console.is_terminal:
                console.print(f"[{step}/{total}] {figures}", markup=False, highlight=False)

        yield report
