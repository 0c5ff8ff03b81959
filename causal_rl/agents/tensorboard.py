"""TensorBoard events of a run: Stable-Baselines3's tags, ``causal/*`` and the graph over time."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from causal_rl.graphs import CausalGraph

LOG_FOLDER = "tensorboard"


class RunLogger:
    """Writes scalars and graph pictures; a context manager.

    Args:
        folder: the run's folder; events go below it.
        first_step: environment steps already logged; later events of an earlier, killed process
            are hidden.
    """

    def __init__(self, folder: Path, *, first_step: int) -> None:
        from torch.utils.tensorboard.writer import SummaryWriter

        purge = first_step + 1 if first_step else None
        self._writer = SummaryWriter(str(folder / LOG_FOLDER), purge_step=purge)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._writer.close()

    def scalars(self, figures: Mapping[str, float], step: int) -> None:
        """Write ``figures`` (tag to value) at environment step ``step``."""
        for tag, value in figures.items():
            self._writer.add_scalar(tag, value, step)

    def text(self, tag: str, words: str, step: int) -> None:
        """Write ``words`` at environment step ``step``."""
        self._writer.add_text(tag, words, step)

    def graph(self, learned: CausalGraph, truth: CausalGraph, step: int) -> None:
        """Write a picture of the learned graph beside the truth."""
        figure = learned.plot_comparison(truth)
        self._writer.add_figure("causal/graph", figure, step)
