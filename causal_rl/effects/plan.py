"""What is to be done to find an effect."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from causal_rl.discovery.registry import learner_options
from causal_rl.effects.base import EffectEstimator
from causal_rl.effects.registry import estimator_options, make_estimator
from causal_rl.graphs import CausalGraph
from causal_rl.options import check_integer, check_number

_SET_BY_THE_PLAN = ("graph", "treatment", "outcome", "seed", "device")


@dataclass(frozen=True)
class Plan:
    """What is asked, and how it is to be answered.

    Attributes:
        treatment: name of the column of the treatment.
        outcome: name of the column of the outcome.
        method: name of an estimator, see `list_estimators`.
        options: of the estimator.
        graph: over the columns, or over two steps of a world whose graph has lagged edges.
        discover: name of a graph learner that finds the graph. Without either, all other columns
            are taken for causes of treatment and outcome.
        levels: the order of the levels of columns of text; the first level of the treatment is
            what others are compared with.
        level: coverage of the intervals.
        draws: refits for the interval, of estimators without a standard error of their own.
        refutations: refits of each refutation, 0 for none, else 2 or more.
        seed: of all that is drawn.
        device: of networks, for estimators that have the option; None for their default.
    """

    treatment: str
    outcome: str
    method: str = "aipw"
    options: Mapping[str, Any] = field(default_factory=dict)
    graph: CausalGraph | None = None
    discover: str | None = None
    levels: Mapping[str, Sequence[str]] = field(default_factory=dict)
    level: float = 0.9
    draws: int = 20
    refutations: int = 10
    seed: int = 0
    device: str | None = None

    def __post_init__(self) -> None:
        """Check all of it."""
        if self.treatment == self.outcome:
            raise ValueError(f"outcome must be another column than the treatment {self.outcome!r}")
        if self.graph is not None and self.discover is not None:
            raise ValueError("graph and discover exclude each other: give the graph or learn it")
        if self.discover is not None:
            learner_options(self.discover)
        check_number("level", self.level, least=0.0, below=1.0, open_end=True)
        check_integer("draws", self.draws, least=2)
        check_integer("seed", self.seed, least=0)
        check_integer("refutations", self.refutations, least=0)
        if self.refutations == 1:
            raise ValueError("refutations is 1; it must be 0, or 2 or more")
        for option in _SET_BY_THE_PLAN:
            if option in self.options:
                raise ValueError(f"options must not hold {option!r}; it is asked for by itself")
        if self.device is not None and "device" not in estimator_options(self.method):
            raise ValueError(f"the method {self.method} takes no device")
        if estimator_options(self.method).get("graph") is not None:
            raise ValueError(f"the method {self.method} finds graphs of its own; use it in Python")
        self.estimator(self.discover if self.graph is None else self.graph)

    def estimator(self, graph: CausalGraph | str | None) -> EffectEstimator:
        """An estimator as planned.

        Args:
            graph: that it is to use, the name of a learner of it, or None.

        Raises:
            ValueError: unknown method or option, or a value out of range.
        """
        known = estimator_options(self.method)
        given = {"seed": self.seed, "device": self.device}
        extra = {k: v for k, v in given.items() if k in known and v is not None}
        return make_estimator(
            self.method,
            graph=graph,
            treatment=self.treatment,
            outcome=self.outcome,
            **extra,
            **self.options,
        )
