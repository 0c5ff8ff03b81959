"""Train one predictor on many worlds: what it is told of each, and the loop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields

import numpy as np
import torch
from torch import nn

from causal_rl.agents.transfer.do_prediction import DoPredictor, Method
from causal_rl.agents.transfer.mechanism_evidence import MechanismEvidence, fit_evidence
from causal_rl.agents.transfer.questions import DoBatch, do_batch
from causal_rl.agents.transfer.world_family import Queries, WorldFamily, ask, random_transitions
from causal_rl.discovery import Transitions
from causal_rl.graphs import CausalGraph

#: How many first transitions of a training world are known, the worlds taking turns.
TRAIN_ROWS = (100, 250, 500, 1000, 2000)


def method_evidence(
    method: Method, transitions: Transitions, graph: CausalGraph
) -> MechanismEvidence:
    """What a predictor of some method is told of a world.

    Args:
        method: of the predictor. "attention" is told that everything causes everything, inside the
            step and across it, whatever ``graph`` says.
        transitions: of the world.
        graph: true or learned.

    Raises:
        ValueError: as `fit_evidence`.
    """
    if method == "attention":
        graph = CausalGraph.full(graph.names).with_(lagged=np.ones_like(graph.lagged))
    return fit_evidence(transitions, graph)


def training_worlds(
    family: WorldFamily,
    size: int,
    seeds: Sequence[int],
    *,
    method: Method = "ecam",
    queries: int = 64,
    rows: Sequence[int] = TRAIN_ROWS,
) -> list[tuple[MechanismEvidence, Queries]]:
    """Draw worlds, see the first transitions of each under its true graph, and ask them.

    Args:
        family: of the worlds.
        size: variables of each.
        seeds: of the worlds.
        method: of the predictor that is to be trained.
        queries: questions to each world.
        rows: transitions that are seen, in turn.

    Raises:
        ValueError: no rows, or an argument out of its range.
    """
    if not rows:
        raise ValueError("rows must name at least one number of transitions, got none")
    worlds = []
    for k, seed in enumerate(seeds):
        scm = family.world(size, seed)
        data = random_transitions(scm, rows[k % len(rows)], seed=seed)
        evidence = method_evidence(method, data, scm.graph)
        worlds.append((evidence, ask(scm, queries, seed=seed)))
    return worlds


def train_predictor(
    predictor: DoPredictor,
    worlds: Sequence[tuple[MechanismEvidence, Queries]],
    *,
    steps: int = 800,
    batch: int = 64,
    lr: float = 3e-3,
    seed: int = 0,
) -> list[float]:
    """Train on the answers of worlds of one size.

    Args:
        predictor: changed in place.
        worlds: evidence and answered questions of each.
        steps: updates.
        batch: rows of an update.
        lr: largest step of Adam; it falls to 0 along a cosine.
        seed: of the batches and of the slots of ``adjacency``.

    Returns:
        The loss of each step: mean squared errors of the means and of the spreads, summed, over
        variables that are not set. Control leans on the spreads: with a tenth of their weight
        actions whose spread was underrated were taken again and again.
    """
    if not worlds:
        raise ValueError("worlds must hold at least one, got none")
    for name, value in (("steps", steps), ("batch", batch)):
        if value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")
    made = [do_batch(e, q.previous, q.do_mask, q.do_value) for e, q in worlds]
    data = DoBatch(*(torch.cat([getattr(m, f.name) for m in made]) for f in fields(DoBatch)))
    mean = torch.cat([torch.as_tensor((q.mean - e.centre) / e.scale) for e, q in worlds]).float()
    spread = torch.cat([torch.as_tensor(q.spread / e.scale) for e, q in worlds]).float()
    generator = torch.Generator().manual_seed(seed)
    predictor.slot_generator.manual_seed(seed)
    optimiser = torch.optim.Adam(predictor.parameters(), lr=lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    losses = []
    predictor.train()
    for _ in range(steps):
        rows = torch.randint(len(data), (batch,), generator=generator)
        part = data[rows]
        free = ~part.do_mask
        m, s = predictor(part)
        loss = ((m - mean[rows])[free] ** 2).mean() + ((s - spread[rows])[free] ** 2).mean()
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(predictor.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        losses.append(float(loss.detach()))
    predictor.eval()
    return losses
