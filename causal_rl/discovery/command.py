"""``causal-rl discover``: the causal graph of a table."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import click
import yaml
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from causal_rl.discovery.discover import Discovery, Plan, discover
from causal_rl.discovery.discover import Progress as Report
from causal_rl.discovery.prior import HEADER, EdgePrior
from causal_rl.discovery.registry import list_learners
from causal_rl.discovery.report import as_json, check_folder, edge_rows, summary, write_folder

_PATH = click.Path(path_type=Path)


@click.command("discover")
@click.argument("data", type=_PATH)
@click.option(
    "--method",
    default="interventional",
    show_default=True,
    metavar="NAME",
    help=f"One of {', '.join(list_learners())}.",
)
@click.option(
    "--targets",
    default=None,
    metavar="COLUMN",
    help="The column that names the variable set in each row: empty for none, several separated "
    "by ';'.  [default: no row was intervened on]",
)
@click.option(
    "--out",
    type=_PATH,
    default=None,
    metavar="DIR",
    help="Folder of the results, new or empty.  [default: runs/discover-FILE-TIME]",
)
@click.option(
    "--prior",
    type=_PATH,
    default=None,
    metavar="FILE",
    help=f"CSV file with the header {','.join(HEADER)} and rows such as required,a,b or "
    "forbidden,a,b or tier,a,2.",
)
@click.option(
    "--levels",
    multiple=True,
    metavar="COLUMN[=A,B,...]",
    help="This column holds categories in this order (else in alphabetical order), which become "
    "0, 1, 2 ...; may be repeated.",
)
@click.option(
    "--option",
    "options",
    multiple=True,
    metavar="KEY=VALUE",
    help="An option of the method; may be repeated.",
)
@click.option(
    "--bootstrap",
    type=click.IntRange(min=0),
    default=20,
    show_default=True,
    help="Graphs learned from other draws of the rows [graphs].",
)
@click.option(
    "--time-limit",
    type=float,
    default=None,
    metavar="SECONDS",
    help="Give up after this time, bootstrap included.  [default: none]",
)
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Of the bootstrap, and of a method that draws numbers.",
)
@click.option("--json", "json_wanted", is_flag=True, help="Print JSON instead of the table.")
def discover_command(
    data: Path,
    method: str,
    targets: str | None,
    out: Path | None,
    prior: Path | None,
    levels: tuple[str, ...],
    options: tuple[str, ...],
    bootstrap: int,
    time_limit: float | None,
    seed: int,
    json_wanted: bool,
) -> None:
    """Learn the causal graph of the table in the CSV file DATA.

    Writes graph.json, graph.png, graph.dot, edges.csv with confidences, and report.md, which says
    what was assumed.
    """  # fmt: skip
    check_readable("DATA", data, "a CSV file")
    if prior is not None:
        check_readable("--prior", prior, f"a CSV file with the header {','.join(HEADER)}")
    folder = default_folder("discover", data) if out is None else out
    check_folder(folder)
    plan = Plan(
        method=method,
        options=read_options(options),
        prior=None if prior is None else EdgePrior.read(prior),
        bootstrap=bootstrap,
        seed=seed,
        time_limit=time_limit,
    )
    with progress_bar(method, 1 + bootstrap) as progress:
        found = discover(data, plan, targets=targets, levels=read_levels(levels), progress=progress)
    write_folder(found, folder)
    for note in summary(found)["notes"]:
        click.echo(f"note: {note}", err=True)
    if json_wanted:
        click.echo(as_json(found))
        return
    console = Console()
    console.print(_edges(found))
    console.print(f"Written to {folder}", soft_wrap=True, highlight=False)


def check_readable(argument: str, path: Path, allowed: str) -> None:
    """Refuse a file that cannot be read; it is not opened, for a pipe is read but once.

    Args:
        argument: what the user calls it.
        path: the file.
        allowed: what it must be.

    Raises:
        ValueError: it is not there, a folder, or not to be read.
    """
    try:
        path.stat()
        found = "is a folder" if path.is_dir() else "must not be read by you"
        wrong = path.is_dir() or not os.access(path, os.R_OK)
    except OSError as error:
        found, wrong = f"cannot be read ({(error.strerror or 'no such file').lower()})", True
    if wrong:
        raise ValueError(f"{argument} must be {allowed}; {str(path)!r} {found}")


def default_folder(command: str, data: Path) -> Path:
    """``runs/<command>-<file>-<time>`` below the current folder."""
    stamp = datetime.now().strftime("%Y%m%d-%H%M%S")
    return Path("runs") / f"{command}-{data.stem}-{stamp}"


def read_options(words: tuple[str, ...]) -> dict[str, Any]:
    """``KEY=VALUE`` words as keyword arguments; values are YAML scalars, and 1e-3 is a number.

    Raises:
        ValueError: a word of another form.
    """
    found: dict[str, Any] = {}
    for word in words:
        key, equals, text = word.partition("=")
        if not equals or not key.isidentifier():
            raise ValueError(f"--option must be KEY=VALUE, got {word!r}")
        try:
            value = yaml.safe_load(text)
            found[key] = float(value) if isinstance(value, str) else value
        except (ValueError, yaml.YAMLError):
            found[key] = text
    return found


def read_levels(words: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """``COLUMN=A,B,...`` words as the levels of each column; none given for ``COLUMN`` alone.

    Raises:
        ValueError: a column without a name, or a level that is empty or repeats.
    """
    found: dict[str, tuple[str, ...]] = {}
    for word in words:
        column, equals, text = word.partition("=")
        order = tuple(level.strip() for level in text.split(",")) if equals else ()
        if not column or "" in order or len(set(order)) < len(order):
            raise ValueError(f"--levels must be COLUMN or COLUMN=A,B,..., got {word!r}")
        found[column] = order
    return found


@contextmanager
def progress_bar(title: str, total: int) -> Iterator[Report]:
    """A bar on a terminal; nothing in a log, where the last line says it all.

    Args:
        title: what is being done.
        total: steps.

    Yields:
        What to call with the steps done.
    """
    console = Console(stderr=True)
    bar = Progress(
        TextColumn("[bold]{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
        disable=not console.is_terminal,
        transient=True,
    )
    with bar:
        task = bar.add_task(title, total=total)
        yield lambda done: bar.update(task, completed=done)


def _edges(found: Discovery) -> Table:
    table = Table("edge", title=f"{found.plan.method}: {found.file}")
    for title in ("strength", "confidence", "reversed", "undirected"):
        table.add_column(title, justify="right")
    keys = ("strength", "confidence", "share_reversed", "share_undirected")
    for row in edge_rows(found):
        if row["in_graph"]:
            figures = ("-" if row[key] is None else f"{row[key]:.3g}" for key in keys)
            table.add_row(f"{row['parent']} -> {row['child']}", *figures)
    return table
