"""Training of the amortised learner's network on simulated tables."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from causal_rl.discovery.amortised_model import (
    AmortisedModel,
    ModelSizes,
    edge_probabilities,
    likely_edges,
    load_model,
    pair_loss,
    read_checkpoint,
    save_model,
)
from causal_rl.discovery.simulated_tasks import TaskBatch, TaskSizes, draw_batch
from causal_rl.files import atomic_open
from causal_rl.graphs import auprc
from causal_rl.options import check_integer, check_number

_FORMAT = "causal_rl training of the amortised graph learner 1"
#: First words of the seeds, so that no table of validation is one of training.
_TRAINING, _VALIDATION = 7001, 7002
_VALIDATION_BATCHES, _VALIDATION_TABLES = 20, 6
_WARM_UP = 100
_BETAS = (0.9, 0.99)
_MOST_NORM = 1.0


@dataclass(frozen=True)
class TrainingSettings:
    """All that the trained network depends on.

    Args:
        steps: gradient steps; the learning rate falls to zero over them, as a cosine.
        seed: of the first weights and the tables.
        learning_rate: its peak, after a warm-up.
        cells: values in a batch of tables, about.
        sizes: of the network.
        tasks: how large the tables are.

    Raises:
        ValueError: a number out of range.
        TypeError: one of the wrong type.
    """

    steps: int = 5000
    seed: int = 0
    learning_rate: float = 0.003
    cells: int = 5000
    sizes: ModelSizes = field(default_factory=ModelSizes)
    tasks: TaskSizes = field(default_factory=TaskSizes)

    def __post_init__(self) -> None:
        check_integer("steps", self.steps, least=1)
        check_integer("seed", self.seed, least=0)
        check_integer("cells", self.cells, least=1)
        check_number("learning_rate", self.learning_rate, least=0.0, open_end=True)


@dataclass(frozen=True)
class Validation:
    """How good a network is on simulated tables that it was not trained on.

    Attributes:
        loss: nats a pair, the mean over tables of one size, then over sizes.
        auprc: mean over the tables whose graphs have edges.
        f1: of directed edges, all tables taken together.
        shd: mean over tables, a wrong direction counted once.
    """

    loss: float
    auprc: float
    f1: float
    shd: float


#: Called with the steps done, the mean loss since the last call, and the last validation.
Report = Callable[[int, float, Validation | None], None]


class Training:
    """A training that can be broken off and taken up again; the outcome is the same.

    The tables of a step depend on the seed and the step alone.

    Args:
        settings: what to train.
        device: of torch.

    Attributes:
        step: steps done.
        tables: tables seen.
        model: the network.
        start: how the network was trained with whose weights this began, see `begin_with`.
    """

    def __init__(self, settings: TrainingSettings, *, device: str = "cpu") -> None:
        self.settings = settings
        self.device = torch.device(device)
        self.step = 0
        self.tables = 0
        self.start: dict[str, Any] | None = None
        # The network draws from torch's own generator, which is left as it was.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings.seed)
            self.model = AmortisedModel(settings.sizes)
        self.model.to(self.device)
        self._optimiser = torch.optim.Adam(self.model.parameters(), betas=_BETAS)

    def begin_with(self, path: str | os.PathLike[str]) -> None:
        """Take the weights of a trained network in place of random ones.

        Raises:
            ValueError: there is no such file, or it is another, or of other sizes.
        """
        model, about = load_model(path)
        if model.sizes != self.settings.sizes:
            raise ValueError(
                f"start {os.fspath(path)!r} has {model.sizes}; it must have {self.settings.sizes}"
            )
        self.model.load_state_dict(model.state_dict())
        self.start = about

    def advance(self) -> float:
        """Take one step; the loss of the last guess, in nats a pair."""
        settings = self.settings
        rng = np.random.default_rng([_TRAINING, settings.seed, self.step])
        batch = draw_batch(rng, settings.tasks, settings.cells)
        share = self.step / settings.steps
        rate = settings.learning_rate * 0.5 * (1.0 + math.cos(math.pi * share))
        for group in self._optimiser.param_groups:
            group["lr"] = rate * min(1.0, (self.step + 1) / _WARM_UP)
        self.model.train()
        graph = torch.from_numpy(batch.graph).to(self.device)
        losses = torch.stack([pair_loss(guess, graph) for guess in self._guesses(batch)])
        # Every guess is judged, for each modulates the block after it; the last counts for half.
        loss = 0.5 * (losses.mean() + losses[-1])
        self._optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), _MOST_NORM)
        self._optimiser.step()
        self.step += 1
        self.tables += len(batch.values)
        return float(losses[-1].detach())

    def validate(self) -> Validation:
        """Judge the network on tables that are the same for every training of these sizes."""
        sizes, most = self.settings.tasks, _VALIDATION_TABLES
        batches = [
            draw_batch(np.random.default_rng([_VALIDATION, k]), sizes, 10**9, most)
            for k in range(_VALIDATION_BATCHES)
        ]
        self.model.eval()
        with torch.no_grad():
            guesses = [self._guesses(batch)[-1].cpu() for batch in batches]
        return _judge(guesses, batches)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the state of the training; whole or not at all."""
        state = {
            "format": _FORMAT,
            "settings": asdict(self.settings),
            "step": self.step,
            "tables": self.tables,
            "start": self.start,
            "weights": self.model.state_dict(),
            "optimiser": self._optimiser.state_dict(),
        }
        with atomic_open(path) as file:
            torch.save(state, file)

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, device: str = "cpu") -> Training:
        """Take up a training that `save` wrote.

        Raises:
            ValueError: there is no such file, or it is another.
        """
        state = read_checkpoint(path, _FORMAT, "an unfinished training")
        try:
            settings = dict(state["settings"])
            settings["sizes"] = ModelSizes(**settings["sizes"])
            settings["tasks"] = TaskSizes(**settings["tasks"])
            training = cls(TrainingSettings(**settings), device=device)
            training.model.load_state_dict(state["weights"])
            training._optimiser.load_state_dict(state["optimiser"])
            training.step, training.tables = int(state["step"]), int(state["tables"])
            training.start = state["start"]
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise ValueError(
                f"checkpoint {os.fspath(path)!r} is of another version's training"
            ) from error
        return training

    def _guesses(self, batch: TaskBatch) -> list[Tensor]:
        parts = (batch.values, batch.do_target, batch.past)
        found: list[Tensor] = self.model(*(torch.from_numpy(x).to(self.device) for x in parts))
        return found


def train(
    training: Training,
    out: str | os.PathLike[str],
    *,
    command: str = "",
    report_every: int = 50,
    validate_every: int = 500,
    report: Report | None = None,
) -> Validation:
    """Train to the end and write the network; the unfinished training lies beside it meanwhile.

    Args:
        training: a new one, or one that was loaded.
        out: the file of the network.
        command: how this was called, kept in the file.
        report_every: steps after which the training is saved and ``report`` called.
        validate_every: steps after which the network is judged; a multiple of ``report_every``.
        report: hears how it goes.

    Returns:
        The validation of the finished network, which is kept in the file too.
    """
    unfinished = unfinished_path(out)
    losses: list[float] = []
    found: Validation | None = None
    while training.step < training.settings.steps:
        losses.append(training.advance())
        if training.step % report_every == 0 or training.step == training.settings.steps:
            training.save(unfinished)
            if training.step % validate_every == 0:
                found = training.validate()
            if report is not None:
                report(training.step, float(np.mean(losses)), found)
            losses.clear()
    found = training.validate()
    save_model(training.model, out, _about(training, found, command))
    unfinished.unlink(missing_ok=True)
    return found


def unfinished_path(out: str | os.PathLike[str]) -> Path:
    """Where the state of a training lies whose network goes to ``out``."""
    path = Path(out)
    return path.with_name(f"{path.name}.unfinished")


def _about(training: Training, found: Validation, command: str) -> dict[str, Any]:
    return {
        "command": command,
        "settings": asdict(training.settings),
        "tables": training.tables,
        "start": training.start,
        "validation": asdict(found),
        "torch": str(torch.__version__),
    }


def _judge(guesses: Sequence[Tensor], batches: Sequence[TaskBatch]) -> Validation:
    losses: list[float] = []
    precisions: list[float] = []
    shds: list[int] = []
    hits = wrong = missed = 0
    for guess, batch in zip(guesses, batches, strict=True):
        losses.append(float(pair_loss(guess, torch.from_numpy(batch.graph))))
        probabilities = edge_probabilities(guess).double().numpy()
        drawn = likely_edges(probabilities)
        for p, edges, truth in zip(probabilities, drawn, batch.graph, strict=True):
            area = auprc(truth, p)
            precisions += [] if area is None else [area]
            hits += int((edges & truth).sum())
            wrong += int((edges & ~truth).sum())
            missed += int((truth & ~edges).sum())
            differs = edges != truth
            shds.append(int(np.triu(differs | differs.T).sum()))
    return Validation(
        float(np.mean(losses)),
        float(np.mean(precisions)) if precisions else 0.0,
        2.0 * hits / max(2 * hits + wrong + missed, 1),
        float(np.mean(shds)),
    )
