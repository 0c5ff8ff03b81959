"""Symbolic ACRE as tokens: objects in trials and in a query, and which may look at which."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from causal_rl.datasets import ACRE_ANSWERS, ACRE_KINDS, AcreProblem
from causal_rl.downstream.token_model import (
    TokenEncoder,
    TokenOptions,
    predict_logits,
    train_model,
)

#: Ways in which one token (of the kind before "to") stands to another that may look at it.
RELATIONS = (
    "trial to trial, same object",
    "trial to trial, same trial",
    "trial to trial, neither",
    "trial to query, same object",
    "trial to query, another object",
    "query to query",
    "query to answer",
    "trial to answer",
    "query to trial, same object",
    "query to trial, another object",
)
#: The light of a trial is caused by its objects; an object is the same in trials and query.
TRUE_RELATIONS = (RELATIONS[0], RELATIONS[1], RELATIONS[3], RELATIONS[6])
#: Tokens of one trial, and all of the answer: what stands together, without what is the same.
TOGETHER = (RELATIONS[1], RELATIONS[5], RELATIONS[6], RELATIONS[7])

_TRIALS, _SLOTS, _NONE = 6, 9, 99
# Kinds of light: off, on, not known (of a query).
_UNKNOWN = 2
_CHANCE_DROPPED = 0.15


@dataclass(frozen=True)
class AcreRows:
    """Queries as rows of tokens; shorter rows are filled up with tokens of trial -1.

    Attributes:
        slot: int64 ``(N, T)``, the objects of a problem as 0, 1, ... by first appearance.
        trial: int64 ``(N, T)``, 0-5 for tokens of trials, 6 for those of the query, -1 for none.
        light: int64 ``(N, T)``, 0 off, 1 on, 2 in the query.
        answer: int64 ``(N,)``, index into `ACRE_ANSWERS`.
        kind: int64 ``(N,)``, index into `ACRE_KINDS`.
        problem: int64 ``(N,)``, number of the problem.
    """

    slot: NDArray[np.int64]
    trial: NDArray[np.int64]
    light: NDArray[np.int64]
    answer: NDArray[np.int64]
    kind: NDArray[np.int64]
    problem: NDArray[np.int64]

    def inputs(self) -> tuple[Tensor, Tensor, Tensor]:
        """The inputs of `AcreTransformer`."""
        return (
            torch.from_numpy(self.slot),
            torch.from_numpy(self.trial),
            torch.from_numpy(self.light),
        )


def acre_rows(problems: Sequence[AcreProblem]) -> AcreRows:
    """Make a row of every query.

    Args:
        problems: with at most 9 objects each.

    Raises:
        ValueError: no problems, or one with more objects.
    """
    if not problems:
        raise ValueError("problems is empty; it must hold at least one")
    tokens: list[list[tuple[int, int, int]]] = []
    labels: list[tuple[int, int, int]] = []
    for number, problem in enumerate(problems):
        slots: dict[int, int] = {}
        seen = [
            (slots.setdefault(o, len(slots)), t, int(trial.light))
            for t, trial in enumerate(problem.trials)
            for o in trial.objects
        ]
        for query in problem.queries:
            own = [(slots.setdefault(o, len(slots)), _TRIALS, _UNKNOWN) for o in query.objects]
            tokens.append([*seen, *own])
            answer = ACRE_ANSWERS.index(query.answer)
            labels.append((answer, ACRE_KINDS.index(query.kind), number))
        if len(slots) > _SLOTS:
            raise ValueError(f"problem {number} has {len(slots)} objects; at most {_SLOTS} fit")
    longest = max(map(len, tokens))
    filled = np.full((len(tokens), longest, 3), -1, dtype=np.int64)
    for row, own in zip(filled, tokens, strict=True):
        row[: len(own)] = own
    slot, trial, light = (np.ascontiguousarray(filled[:, :, i]) for i in range(3))
    return AcreRows(slot, trial, light, *np.array(labels, dtype=np.int64).T)


class AcreTransformer(nn.Module):
    """An answer's token and a token for every object of a trial or query; the first is read.

    A token is the sum of embeddings of its object, trial and light. Objects are interchangeable:
    their embeddings are dealt out anew for each row in training. Without positions, the graph is
    given by which of `RELATIONS` are open.

    Args:
        options: sizes.
        relations: open ones, of `RELATIONS`.
        drop: probability with which a relation is closed in a row, in training.

    Raises:
        ValueError: an unknown relation.
    """

    opened: Tensor

    def __init__(
        self, options: TokenOptions, relations: Iterable[str] = RELATIONS, *, drop: float = 0.0
    ) -> None:
        super().__init__()
        chosen = set(relations)
        if unknown := chosen.difference(RELATIONS):
            raise ValueError(f"relations holds {sorted(unknown)[0]!r}; allowed: {RELATIONS}")
        width = options.embed_dim
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(options.seed)
            self.object = nn.Embedding(_SLOTS, width)
            self.trial = nn.Embedding(_TRIALS + 1, width)
            self.light = nn.Embedding(_UNKNOWN + 1, width)
            self.answer = nn.Parameter(torch.randn(width))
            self.encoder = TokenEncoder(options)
            self.head = nn.Linear(width, len(ACRE_ANSWERS))
        self.register_buffer("opened", torch.tensor([name in chosen for name in RELATIONS]))
        self.drop = drop

    def forward(self, slot: Tensor, trial: Tensor, light: Tensor) -> Tensor:
        """Logits (B, 3) of the answers.

        Args:
            slot: (B, T) as in `AcreRows`, like the others.
            trial: (B, T).
            light: (B, T).
        """
        named = slot.clamp(min=0)
        if self.training:
            dealt = torch.rand(len(slot), _SLOTS).argsort(dim=1)
            named = dealt.to(slot.device).gather(1, named)
        x = self.object(named) + self.trial(trial.clamp(min=0)) + self.light(light.clamp(min=0))
        x = torch.cat([self.answer.expand(len(x), 1, -1), x], dim=1)
        opened = self.opened.expand(len(slot), -1)
        if self.training and self.drop:
            opened = opened & (torch.rand(opened.shape) >= self.drop).to(opened.device)
        # No relation at all is the last column, always closed.
        opened = functional.pad(opened, (0, 1), value=False)
        code = relation_codes(slot, trial)
        graph = opened.gather(1, code.flatten(1)).view(code.shape)
        logits: Tensor = self.head(self.encoder(x, graph))
        return logits


def relation_codes(slot: Tensor, trial: Tensor) -> Tensor:
    """Which relation each pair of tokens is in.

    Args:
        slot: (B, T).
        trial: (B, T).

    Returns:
        int64 (B, T + 1, T + 1), the answer's token first: [b, i, j] the index into `RELATIONS` of
        the edge i -> j, or ``len(RELATIONS)`` for none.
    """
    slot = functional.pad(slot, (1, 0), value=_NONE)
    trial = functional.pad(trial, (1, 0), value=_NONE)
    in_trial, in_query, answer = (
        (trial >= 0) & (trial < _TRIALS), trial == _TRIALS, trial == _NONE
    )  # fmt: skip
    same_object = slot[:, :, None] == slot[:, None, :]
    same_trial = trial[:, :, None] == trial[:, None, :]

    def between(source: Tensor, target: Tensor) -> Tensor:
        return source[:, :, None] & target[:, None, :]

    trials = between(in_trial, in_trial)
    asked, asking = between(in_trial, in_query), between(in_query, in_trial)
    found = (
        trials & same_object & ~same_trial,
        trials & same_trial,
        trials & ~same_object & ~same_trial,
        asked & same_object,
        asked & ~same_object,
        between(in_query, in_query),
        between(in_query, answer),
        between(in_trial, answer),
        asking & same_object,
        asking & ~same_object,
    )
    code = torch.full(same_object.shape, len(RELATIONS), dtype=torch.int64, device=slot.device)
    for index, where in enumerate(found):
        code[where] = index
    return code


def learn_relations(
    rows: AcreRows,
    options: TokenOptions,
    *,
    level: float = 0.05,
    device: str | torch.device = "cpu",
) -> tuple[str, ...]:
    """The relations that the answer needs, learned from training rows.

    A transformer is trained with relations closed at random, so that it predicts under any graph.
    On a fifth of the problems, held out, the relation that is missed least is closed for good as
    long as the loss without it is not larger (paired one-sided test).

    Args:
        rows: of the training.
        options: of the model and its training.
        level: of the test, in (0, 1).
        device: of the model.
    """
    from scipy.stats import ttest_rel

    # Queries of one problem stay together.
    last = rows.problem[-1] - (1 + rows.problem[-1]) // 5
    fit = torch.from_numpy(np.flatnonzero(rows.problem <= last))
    rest = torch.from_numpy(np.flatnonzero(rows.problem > last))
    inputs, labels = rows.inputs(), torch.from_numpy(rows.answer)
    model = AcreTransformer(options, drop=_CHANCE_DROPPED).to(device)
    train_model(model, [values[fit] for values in inputs], labels[fit], options)
    held = [values[rest] for values in inputs]

    def losses(opened: Sequence[str]) -> NDArray[np.float64]:
        model.opened.copy_(torch.tensor([name in opened for name in RELATIONS]))
        logits = predict_logits(model, held)
        return functional.cross_entropy(logits, labels[rest], reduction="none").double().numpy()

    kept = list(RELATIONS)
    now = losses(kept)
    while len(kept) > 1:
        without = {name: losses([other for other in kept if other != name]) for name in kept}
        name = min(without, key=lambda key: float(without[key].mean()))
        worse = without[name].mean() > now.mean()
        if worse and ttest_rel(without[name], now, alternative="greater").pvalue < level:
            break
        kept.remove(name)
        now = without[name]
    return tuple(kept)
