"""The line that shows how a run is doing: a bar on a terminal, plain lines in a log."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from causal_rl.agents.algorithm5 import Progress as RunProgress

# What is shown of the figures, in this order; the line must fit 80 columns.
_SHOWN = {
    "rollout/ep_rew_mean": "return {:.1f}",
    "eval/mean_reward": "eval {:.1f}",
    "causal/edges_contemporaneous": "edges {:.0f}",
    "causal/edges_lagged": "+{:.0f} lagged",
}
_LINES = 10

Show = Callable[[RunProgress, float], None]


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

    def figures(progress: RunProgress, fps: float) -> str:
        latest.update({key: value for key, value in progress.figures.items() if key in _SHOWN})
        shown = [text.format(latest[key]) for key, text in _SHOWN.items() if key in latest]
        return " ".join([*shown, f"{fps:,.0f} steps/s"])

    if not console.is_terminal:
        shown = done * _LINES // steps

        def line(progress: RunProgress, fps: float) -> None:
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
    with Progress(
        BarColumn(bar_width=12),
        TaskProgressColumn(),
        TextColumn("{task.fields[figures]}"),
        TimeRemainingColumn(compact=True),
        console=console,
    ) as bar:
        task = bar.add_task("", total=steps, completed=min(done, steps), figures="warming up")

        def update(progress: RunProgress, fps: float) -> None:
            completed = min(progress.env_steps, steps)
            bar.update(task, completed=completed, figures=figures(progress, fps))

        yield update
