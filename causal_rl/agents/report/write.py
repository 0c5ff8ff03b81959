"""The report of a run as a file, and the command that writes it."""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np

from causal_rl.agents.report.decisions import changed_decisions, mean_attention
from causal_rl.agents.report.evidence import edge_evidence
from causal_rl.agents.report.page import render_page
from causal_rl.agents.report.run_record import read_run
from causal_rl.files import atomic_write_text

REPORT_FILE = "report.html"
_STATES = 512

_FOLDER = click.Path(path_type=Path)


def write_report(folder: Path, out: Path | None = None, *, device: str = "cpu") -> Path:
    """Write one self-contained HTML page of a finished run.

    It shows the learned graph beside the truth, with the evidence for every edge; return and graph
    error over time; which variables the decisions of the policy hang on, and its attention; the
    interventions that were made; and the shifts that were flagged.

    Args:
        folder: the run's folder.
        out: where to write; ``report.html`` in the folder if None.
        device: device of the networks.

    Returns:
        The path written.

    Raises:
        ValueError: as `read_run`; ``out`` is a folder.
        MissingExtraError: the loop's library is not installed.
    """
    path = folder / REPORT_FILE if out is None else out
    if path.is_dir() or (out is not None and not path.parent.is_dir()):
        raise ValueError(f"out must be a file in a folder that exists, got {str(path)!r}")
    run = read_run(folder, device=device)
    rng = np.random.default_rng(run.config.seed)
    count = len(run.transitions)
    states = run.transitions.next_state[rng.permutation(count)[:_STATES]]
    attention = None
    if run.policy is not None:
        attention = mean_attention(run.policy, run.controller, states, run.transitions.names)
    page = render_page(
        run,
        edge_evidence(run.graph, run.truth, run.transitions),
        changed_decisions(run.controller, states, rng).tolist(),
        attention,
    )
    atomic_write_text(path, page)
    return path


@click.command("report")
@click.argument("run", type=_FOLDER)
@click.option(
    "--out",
    type=_FOLDER,
    default=None,
    metavar="FILE",
    help="Where to write.  [default: RUN/report.html]",
)
@click.option("--device", default="cpu", show_default=True, help="Torch device of the networks.")
def report_command(run: Path, out: Path | None, device: str) -> None:
    """Write one HTML page of RUN: graph and evidence, curves, attention, interventions, shifts."""
    click.echo(f"Written: {write_report(run, out, device=device)}")
