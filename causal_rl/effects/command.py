"""``causal-rl effect``: the effect of a treatment in a table."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from causal_rl.discovery.command import (
    check_readable,
    default_folder,
    progress_bar,
    read_levels,
    read_options,
)
from causal_rl.discovery.registry import list_learners
from causal_rl.discovery.report import check_folder
from causal_rl.effects.analysis import EffectAnalysis, analyse, steps
from causal_rl.effects.plan import Plan
from causal_rl.effects.registry import list_estimators
from causal_rl.effects.report import as_json, why, write_folder
from causal_rl.graphs import CausalGraph

_PATH = click.Path(path_type=Path)


@click.command("effect")
@click.argument("data", type=_PATH)
@click.option(
    "--treatment",
    required=True,
    metavar="COLUMN",
    help="Column of the treatment: 0 and 1, or categories; others are compared with the first.",
)
@click.option("--outcome", required=True, metavar="COLUMN", help="Column of the outcome.")
@click.option(
    "--graph",
    "graph_file",
    type=_PATH,
    default=None,
    metavar="FILE",
    help="The causal graph: JSON as discover and train write it, or DOT.  [default: all other "
    "columns are causes of treatment and outcome]",
)
@click.option(
    "--discover",
    default=None,
    metavar="METHOD",
    help=f"Learn the graph: one of {', '.join(list_learners())}.",
)
@click.option(
    "--method",
    default=list_estimators()[0],
    show_default=True,
    metavar="ESTIMATOR",
    help=f"One of {', '.join(list_estimators())}.",
)
@click.option(
    "--option",
    "options",
    multiple=True,
    metavar="KEY=VALUE",
    help="An option of the estimator; may be repeated.",
)
@click.option(
    "--levels",
    multiple=True,
    metavar="COLUMN[=A,B,...]",
    help="This column holds categories in this order (else in alphabetical order); may be "
    "repeated.",
)
@click.option(
    "--level",
    type=float,
    default=0.9,
    show_default=True,
    help="Coverage of the intervals.",
)
@click.option(
    "--draws",
    type=click.IntRange(min=2),
    default=20,
    show_default=True,
    help="Refits for an interval, of estimators without a standard error of their own [refits].",
)
@click.option(
    "--refutations",
    type=click.IntRange(min=0),
    default=10,
    show_default=True,
    help="Refits of each refutation [refits].",
)
@click.option(
    "--out",
    type=_PATH,
    default=None,
    metavar="DIR",
    help="Folder of the results, new or empty.  [default: runs/effect-FILE-TIME]",
)
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of all that is drawn."
)
@click.option(
    "--device", default=None, help="Torch device, for estimators that are networks.  [default: cpu]"
)
@click.option("--json", "json_wanted", is_flag=True, help="Print JSON instead of the table.")
def effect_command(
    data: Path,
    treatment: str,
    outcome: str,
    graph_file: Path | None,
    discover: str | None,
    method: str,
    options: tuple[str, ...],
    levels: tuple[str, ...],
    level: float,
    draws: int,
    refutations: int,
    out: Path | None,
    seed: int,
    device: str | None,
    json_wanted: bool,
) -> None:
    """Estimate the effect of a treatment on an outcome in the CSV file DATA.

    Writes effect.json, cate.csv (an effect for every row), graph.png with the roles, overlap.png,
    balance.png, graph.json where there is a graph, and report.md.
    """  # fmt: skip
    check_readable("DATA", data, "a CSV file")
    folder = default_folder("effect", data) if out is None else out
    check_folder(folder)
    plan = Plan(
        treatment=treatment,
        outcome=outcome,
        method=method,
        options=read_options(options),
        graph=None if graph_file is None else read_graph(graph_file),
        discover=discover,
        levels=read_levels(levels),
        level=level,
        draws=draws,
        refutations=refutations,
        seed=seed,
        device=device,
    )
    with progress_bar(method, steps(plan)) as progress:
        found = analyse(data, plan, progress=progress)
    write_folder(found, folder)
    for note in found.notes:
        click.echo(f"note: {note}", err=True)
    if json_wanted:
        click.echo(as_json(found))
        return
    console = Console()
    console.print(_contrasts(found))
    console.print(why(found), highlight=False)
    console.print(f"Written to {folder}", soft_wrap=True, highlight=False)


def read_graph(path: Path) -> CausalGraph:
    """A graph from a JSON or DOT file.

    Args:
        path: what `CausalGraph.save` wrote, or DOT text.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is neither, or no valid graph.
    """
    check_readable("--graph", path, "a graph, JSON or DOT")
    if path.suffix == ".json":
        return CausalGraph.load(path)
    try:
        return CausalGraph.from_dot(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} holds no valid graph: {error}") from error


def _contrasts(found: EffectAnalysis) -> Table:
    plan = found.plan
    table = Table(
        plan.treatment, title=f"{plan.method}: effect on {plan.outcome}, {found.rows} rows"
    )
    columns = ("effect", f"{plan.level:.0%} interval", "difference in means", "refutations")
    for title in columns:
        table.add_column(title, justify="right")
    for contrast in found.contrasts:
        failed = [result.name for result in contrast.refutations if not result.passed]
        refuted = f"failed: {', '.join(failed)}" if failed else "passed"
        table.add_row(
            f"{contrast.arm} against {contrast.baseline}",
            f"{contrast.estimate:.4g}",
            f"{contrast.low:.4g} to {contrast.high:.4g}",
            f"{contrast.difference:.4g}",
            refuted if contrast.refutations else "-",
        )
    return table
