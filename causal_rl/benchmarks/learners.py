"""The graph learners that the tables compare, their options, and what they need."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from causal_rl.discovery import GraphLearner, Transitions, make_learner
from causal_rl.envs import RandomGraphOptions
from causal_rl.errors import require_extra

OURS = "interventional"


@dataclass(frozen=True)
class Method:
    """A learner of the table.

    Attributes:
        learner: its name in `make_learner`.
        options: where they differ from the learner's defaults.
        lagged: whether it learns a lagged block.
        fewer: whether it also runs on fewer rows, for the curves.
        seeded: whether it takes the cell's seed.
        seeds: run it on so many seeds at most; None for all.
        smoke: options of a smoke run.
    """

    learner: str
    options: Mapping[str, Any] = field(default_factory=dict)
    lagged: bool = True
    fewer: bool = False
    seeded: bool = False
    seeds: int | None = None
    smoke: Mapping[str, Any] = field(default_factory=dict)


METHODS: dict[str, Method] = {
    OURS: Method("interventional", fewer=True),
    "algorithm5-linear": Method("algorithm5", {"mechanism": "linear"}, fewer=True),
    "algorithm5-mlp": Method(
        "algorithm5", {"mechanism": "mlp"}, seeded=True, smoke={"steps": 40, "hidden": 4}
    ),
    # Up to two minutes a cell, and far from the marks: on graph seeds 0 to 9 it had no exact graph
    # of 30, and its SHD was flat in the rows.
    "notears": Method("notears", lagged=False, seeds=3),
    "dagma": Method("dagma", lagged=False, fewer=True),
    "empty": Method("empty"),
    "full": Method("full"),
    "random": Method("random", {"density": RandomGraphOptions().density}, seeded=True),
}

# Packages of the peers; both come with one extra.
PEERS = ("castle", "dagma")
EXTRA = "discovery"


def require_peers() -> None:
    """Refuse to begin without the peers' packages.

    Raises:
        MissingExtraError: one is absent.
    """
    for package in PEERS:
        require_extra(package, extra=EXTRA)


def warmed_learner(learner: str, options: Mapping[str, Any]) -> GraphLearner:
    """A new learner, after another of its kind was fitted to a toy.

    So the seconds of its fit hold no import of torch or of a peer's package.
    """
    rng = np.random.default_rng(0)
    toy = Transitions(state=rng.normal(size=(64, 2)), next_state=rng.normal(size=(64, 2)))
    short = {"steps": 5} if "steps" in options else {}
    make_learner(learner, **{**options, **short}).fit(toy)
    return make_learner(learner, **options)
