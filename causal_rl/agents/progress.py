"""Where a run stands, and the line that shows it: a bar on a terminal, plain lines in a log."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console
from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as ProgressBar

from causal_rl.agents.adaptation.repair import RepairRecord
from causal_rl.envs.regimes import TRAIN
from causal_rl.graphs import CausalGraph

# What is shown of the figures, in this order; the line must fit 80 columns.
_SHOWN = {
    "rollout/ep_rew_mean": "return {:.1f}",
    "eval/mean_reward": "eval {:.1f}",
    "causal/edges_contemporaneous": "edges {:.0f}",
    "causal/edges_lagged": "+{:.0f} lagged",
}
_LINES = 10


@dataclass
class Progress:
    """Where a run stands, and the figures of its last iteration.

    Attributes:
        env_steps: environment steps taken, warm-up and exploration included.
        iteration: rollouts taken.
        figures: scalar figures of the last iteration by TensorBoard tag.
        graph_changed: whether the last iteration changed the learned graph.
        evaluated: whether the last iteration evaluated the policy.
        repairs: what the watch did about broken mechanisms in the last iteration.
        regime: the shift that the world is under, or "train".
    """

    env_steps: int = 0
    iteration: int = 0
    figures: dict[str, float] = field(default_factory=dict)
    graph_changed: bool = False
    evaluated: bool = False
    repairs: list[RepairRecord] = field(default_factory=list)
    regime: str = TRAIN

    def begin(self) -> None:
        """Forget the last iteration's figures."""
        self.figures = {}
        self.graph_changed = self.evaluated = False
        self.repairs = []


def graph_figures(before: CausalGraph | None, after: CausalGraph) -> dict[str, float]:
    """Size of a learned graph, and in how many edges it differs from the one before, by tag."""
    blocks = ("contemporaneous", "lagged")
    edges = {block: getattr(after, block) for block in blocks}
    # Where there was no graph, every edge is new.
    churn = sum(
        int((edges[block] != (False if before is None else getattr(before, block))).sum())
        for block in blocks
    )
    return {
        **{f"causal/edges_{block}": float(edges[block].sum()) for block in blocks},
        "causal/density": float(edges["contemporaneous"].sum()) / max(after.n * (after.n - 1), 1),
        "causal/edge_churn": float(churn),
    }


Show = Callable[[Progress, float], None]


@contextmanager
def progress_display(console: Console, steps: int, done: int) -> Iterator[Show]:
    """Show return, steps per second, edges found and the time left.

    Args:
        console: a bar on it if it is a terminal; else about ten plain lines over the run.
        steps: environment steps of the whole run.
        done: steps taken before.

    Yields:
        A function of the run's progress and its steps per second, to be called now and then.
    """
    latest: dict[str, float] = {}

    def figures(progress: Progress, fps: float) -> str:
        latest.update({key: value for key, value in progress.figures.items() if key in _SHOWN})
        shown = [text.format(latest[key]) for key, text in _SHOWN.items() if key in latest]
        return " ".join([*shown, f"{fps:,.0f} steps/s"])

    if not console.is_terminal:
        shown = done * _LINES // steps

        def line(progress: Progress, fps: float) -> None:
            nonlocal shown
            text = figures(progress, fps)
            tenth = min(progress.env_steps, steps) * _LINES // steps
            if tenth > shown:
                shown = tenth
                console.print(
                    f"{progress.env_steps:,}/{steps:,} steps  {text}",
                    soft_wrap=True,
                    highlight=False,
                )

        yield line
        return
    with ProgressBar(
        BarColumn(bar_width=12),
        TaskProgressColumn(),
        TextColumn("{task.fields[figures]}"),
        TimeRemainingColumn(compact=True),
        console=console,
    ) as bar:
        task = bar.add_task("", total=steps, completed=min(done, steps), figures="warming up")

        def update(progress: Progress, fps: float) -> None:
            completed = min(progress.env_steps, steps)
            bar.update(task, completed=completed, figures=figures(progress, fps))

        yield update
