"""The cells of the benchmark `abcd`: train one model, read it in every way, score every graph."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from causal_rl.benchmarks.cells import Cell, Outcome, Row
from causal_rl.discovery import make_learner
from causal_rl.discovery.abcd import ReadAs, abcd
from causal_rl.discovery.pag import fci_of_covariance, pag_of_dag
from causal_rl.discovery.sequence_model import (
    ModelOptions,
    TokenModel,
    train_items,
    train_rows,
)
from causal_rl.discovery.sessions import SessionWorld
from causal_rl.graphs import CausalGraph, PartialGraph
from causal_rl.graphs.marks import ARROW, CIRCLE
from causal_rl.scm import random_scm, topology

SESSIONS = "sessions"
PRINTED, PRINTED_MEAN, MENDED, MENDED_FEW = "printed", "printed-mean", "mended", "mended-few"
#: Graphs and models of lower seeds were looked at when the mended reading was settled.
FRESH = 3000
DRAWN = ("truth", PRINTED, MENDED, "fci")


def run(cell: Cell) -> Outcome:
    """Train, read, and score every graph against the same truth."""
    seed = FRESH + int(cell.parameters["seed"] or 0)
    world, use = str(cell.parameters["world"]), cell.settings
    options = ModelOptions(**cell.part("model"))
    made = _sessions(seed, use, options) if world == SESSIONS else _rows(world, seed, use, options)
    figures: Row = {}
    truths, found, seconds = made
    for method, graphs in found.items():
        scores = [score(g, t) for g, t in zip(graphs, truths, strict=True)]
        for metric in scores[0]:
            values = [s[metric] for s in scores if not math.isnan(s[metric])]
            figures[f"{metric}_{method}"] = float(np.mean(values)) if values else None
    figures["true_edges"] = float(np.mean([np.triu(t.skeleton).sum() for t in truths]))
    figures |= seconds
    for name in DRAWN:
        graph = truths[0] if name == "truth" else found[name][0]
        # A letter first, lest the digits be read as a number.
        figures[f"pag_{name}"] = "m" + "".join(str(mark) for mark in graph.marks.ravel())
    return Outcome(figures)


Made = tuple[list[PartialGraph], dict[str, list[PartialGraph]], Row]


def _rows(world: str, seed: int, use: Mapping[str, Any], options: ModelOptions) -> Made:
    """One graph, of a table."""
    rng = np.random.default_rng(seed)
    unseen = int(use["hidden"]) if world == "rows hidden" else 0
    n = int(use["n"]) + unseen
    dag = CausalGraph(topology("er", n, rng, density=float(use["density"])))
    mechanism = "mlp" if world == "rows mlp" else "linear"
    scm = random_scm(dag.contemporaneous, mechanism, rng, noise_share="balanced")
    table = scm.sample(int(use["rows"]), rng)
    # Those with most effects are hidden, for a cause without two effects hides nothing.
    order = np.argsort(-dag.contemporaneous.sum(axis=1), kind="stable")
    seen = np.sort(order[unseen:])
    table = table[:, seen]
    table = (table - table.mean(axis=0)) / table.std(axis=0)
    truth = pag_of_dag(dag, [dag.names[i] for i in order[:unseen]])

    started = time.process_time()
    model = train_rows(table, options)
    seconds: Row = {"seconds_train": time.process_time() - started}
    untrained = train_rows(table, dataclasses.replace(options, steps=0))
    tokens = torch.from_numpy(table[: int(use["read"])].astype(np.float32))
    few, many, alpha = options.embed_dim, len(table), float(use["alpha"])
    readings: dict[str, Callable[[], PartialGraph]] = {
        PRINTED: _read(model, tokens[:1], "printed", few, alpha),
        PRINTED_MEAN: _read(model, tokens, "printed", few, alpha),
        MENDED: _read(model, tokens, "mended", many, alpha),
        MENDED_FEW: _read(model, tokens, "mended", few, alpha),
        "untrained-printed": _read(untrained, tokens[:1], "printed", few, alpha),
        "untrained": _read(untrained, tokens, "mended", many, alpha),
        "model": lambda: fci_of_covariance(model.implied_covariance(tokens), many, alpha=alpha),
        "fci": lambda: fci_of_covariance(np.cov(table.T), many, alpha=alpha),
        "pc": lambda: _pc(table, alpha),
    }
    found = {}
    for method, read in readings.items():
        started = time.process_time()
        graph = read()
        seconds[f"seconds_{method}"] = time.process_time() - started
        found[method] = [PartialGraph(graph.marks, truth.names)]
    return [truth], found | _plain(found[MENDED], rng), seconds


def _sessions(seed: int, use: Mapping[str, Any], options: ModelOptions) -> Made:
    """One graph a session, of some that the model was not trained on."""
    rng = np.random.default_rng(seed)
    world, length = SessionWorld(seed=seed), int(use["length"])
    known = world.sample(int(use["sessions"]), length, rng)
    tried = world.sample(int(use["tried"]), length, rng)
    truths = []
    for k in range(len(tried)):
        dag = tried.graph(k)
        truths.append(pag_of_dag(dag, [v for v in dag.names if v.startswith("event")]))

    started = time.process_time()
    model = train_items(known.items, world.items, options)
    seconds: Row = {"seconds_train": time.process_time() - started}
    untrained = train_items(known.items, world.items, dataclasses.replace(options, steps=0))
    few, many, alpha = options.embed_dim, len(known), float(use["alpha"])
    present = np.zeros((len(known), world.items))
    present[np.arange(len(known))[:, None], known.items] = 1.0
    shop_pc = _pc(present, alpha, max_conditioning=1)
    shop_fci = fci_of_covariance(np.cov(present.T), many, alpha=alpha, max_conditioning=1)
    found: dict[str, list[PartialGraph]] = {}
    for truth, items in zip(truths, tried.items, strict=True):
        tokens = torch.from_numpy(items)[None]
        graphs = {
            PRINTED: _read(model, tokens, "printed", few, alpha)(),
            MENDED: _read(model, tokens, "mended", many, alpha)(),
            MENDED_FEW: _read(model, tokens, "mended", few, alpha)(),
            "untrained-printed": _read(untrained, tokens, "printed", few, alpha)(),
            "untrained": _read(untrained, tokens, "mended", many, alpha)(),
            "pc": _among(shop_pc, items),
            "fci": _among(shop_fci, items),
        }
        for method, graph in graphs.items():
            found.setdefault(method, []).append(PartialGraph(graph.marks, truth.names))
    return truths, found | _plain(found[MENDED], rng), seconds


def _read(
    model: TokenModel, tokens: torch.Tensor, read_as: ReadAs, rows: int, alpha: float
) -> Callable[[], PartialGraph]:
    def read() -> PartialGraph:
        attention = model.read(tokens) if read_as == "printed" else model.read_hidden(tokens)
        return abcd(attention.numpy(), rows, read_as=read_as, alpha=alpha)

    return read


def _pc(
    table: NDArray[np.float64], alpha: float, max_conditioning: int | None = None
) -> PartialGraph:
    learner = make_learner("pc", alpha=alpha, max_conditioning=max_conditioning)
    learner.fit(table)
    if learner.equivalence_class_ is None:
        raise RuntimeError("pc keeps its equivalence class")
    return learner.equivalence_class_


def _among(shop: PartialGraph, items: NDArray[np.int64]) -> PartialGraph:
    """The edges between the items of a session; an item is not joined to itself."""
    marks = shop.marks[np.ix_(items, items)].copy()
    marks[items[:, None] == items] = 0
    return PartialGraph(marks)


def _plain(mended: list[PartialGraph], rng: np.random.Generator) -> dict[str, list[PartialGraph]]:
    """The graphs that know nothing."""
    found: dict[str, list[PartialGraph]] = {"relabelled": [], "complete": [], "empty": []}
    for graph in mended:
        shuffled = rng.permutation(graph.n)
        full = np.where(np.eye(graph.n, dtype=bool), 0, CIRCLE)
        for name, marks in (
            ("relabelled", graph.marks[np.ix_(shuffled, shuffled)]),
            ("complete", full),
            ("empty", np.zeros_like(full)),
        ):
            found[name].append(PartialGraph(marks, graph.names))
    return found


def score(graph: PartialGraph, truth: PartialGraph) -> dict[str, float]:
    """Scores of the skeleton, and of the ends of the edges that are right.

    ``ends``: of the ends of adjacencies in both graphs, the share on whose arrowhead both agree.
    """
    found = graph.compare(truth)
    both = graph.skeleton & truth.skeleton
    # Tails of a CPDAG's undirected edges say no more than circles.
    marks = np.where(graph.undirected, CIRCLE, graph.marks)
    agree = (marks == ARROW) == (truth.marks == ARROW)
    return {
        "f1": found.skeleton_f1,
        "shd": float(np.triu(graph.skeleton != truth.skeleton).sum()),
        "edges": float(found.n_learned),
        "ends": float(agree[both].mean()) if both.any() else math.nan,
        "arrow_f1": found.arrow_f1,
    }
