"""``causal-rl benchmark``: run one benchmark, or list them all."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from causal_rl.benchmarks.registry import find_benchmark, list_benchmarks
from causal_rl.benchmarks.results import BenchmarkRun, run_benchmark

_VERDICT = {True: "holds", False: "falls short", None: "undecided"}


@click.command("benchmark")
@click.argument("name", required=False)
@click.option("--list", "as_list", is_flag=True, help="List the benchmarks.")
@click.option(
    "--seeds",
    type=click.IntRange(min=1),
    default=None,
    help="Seeds of every cell, 0 upwards [seeds].  [default: the benchmark's own]",
)
@click.option(
    "--jobs",
    type=click.IntRange(min=1),
    default=None,
    help="Processes, each of one thread [processes].  [default: one per core]",
)
@click.option(
    "--ray",
    default=None,
    metavar="ADDRESS",
    help="Run the cells over Ray: local (a cluster of its own), auto (that of this machine) or "
    "host:port; --jobs is then cells at a time, one per processor of the cluster by default.  "
    "[default: processes of this machine]",
)
@click.option(
    "--only",
    multiple=True,
    metavar="KEY=VALUE",
    help="Only the cells with this value of a parameter, e.g. world=er-scm; may be repeated.",
)
@click.option(
    "--device",
    default="cpu",
    show_default=True,
    help="Device of the networks: cpu, cuda, cuda:N, mps or auto; but for cpu it needs --out.",
)
@click.option("--smoke", is_flag=True, help="A small slice that shows that it runs; needs --out.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=None,
    metavar="DIR",
    help="Folder of the results.  [default: results/NAME]",
)
@click.pass_context
def benchmark_command(
    context: click.Context,
    name: str | None,
    as_list: bool,
    seeds: int | None,
    jobs: int | None,
    ray: str | None,
    only: tuple[str, ...],
    device: str,
    smoke: bool,
    out: Path | None,
) -> None:
    """Run the benchmark NAME and write its table, figures and provenance.

    Finished cells are kept: the same command goes on where a killed one stopped, and more seeds
    add to what is there. A cell that fails is named, its error kept, and the exit status is 1.
    """  # fmt: skip
    console = Console()
    if as_list:
        if name is not None:
            raise click.UsageError("--list takes no name")
        table = Table("benchmark", "what it measures", "cells")
        for listed in list_benchmarks():
            found = find_benchmark(listed)
            table.add_row(listed, found.description, str(len(found.grid(found.seeds, False))))
        console.print(table)
        return
    if name is None:
        raise click.UsageError(f"give a name ({', '.join(list_benchmarks())}) or --list")
    try:
        done = run_benchmark(
            find_benchmark(name),
            out=out,
            seeds=seeds,
            jobs=jobs,
            smoke=smoke,
            ray=ray,
            only=_by_parameter(only),
            device=device,
        )
    except KeyboardInterrupt:
        click.echo("interrupted; finished cells are kept, the same command goes on", err=True)
        context.exit(130)
    _print(console, done)
    if done.failures:
        for failure in done.failures:
            click.echo(f"failed: {failure['cell']}: {failure['error']}", err=True)
        context.exit(1)


def _by_parameter(only: tuple[str, ...]) -> dict[str, list[str]]:
    """``key=value`` words as the values of each key."""
    found: dict[str, list[str]] = {}
    for word in only:
        key, equals, value = word.partition("=")
        if not key or not equals:
            raise click.UsageError(f"--only must be KEY=VALUE, got {word!r}")
        found.setdefault(key, []).append(value)
    return found


def _print(console: Console, done: BenchmarkRun) -> None:
    if done.findings.marks:
        table = Table("mark", "measured", "")
        for mark in done.findings.marks:
            table.add_row(mark.claim, mark.measured, _VERDICT[mark.holds])
        console.print(table)
    kept = done.planned - done.computed - len(done.failures)
    console.print(
        f"{done.computed} cells computed, {kept} kept, {len(done.failures)} failed. "
        f"Written to {done.folder}",
        soft_wrap=True,
        highlight=False,
    )
