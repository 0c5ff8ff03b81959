"""Effects averaged over graphs (Appendix A.1.6): what is not known of the graph stays in them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from causal_rl.discovery.variational import VariationalLearner
from causal_rl.effects.base import Array, EffectEstimator, Treatments
from causal_rl.effects.identify import Adjustment, NotIdentifiedError, find_adjustment
from causal_rl.effects.learned_graph import learn_graph, ready_learner
from causal_rl.effects.registry import estimator_class, make_estimator
from causal_rl.graphs import CausalGraph
from causal_rl.options import check_integer


@dataclass(frozen=True)
class WeightedSet:
    """Graphs of a posterior that ask for the same adjustment.

    Attributes:
        weight: their share of the posterior.
        adjustment: what they say to adjust for; None where the outcome causes the treatment, so
            that there is no effect.
        graph: one of them.
    """

    weight: float
    adjustment: Adjustment | None
    graph: CausalGraph


class PosteriorAverage(EffectEstimator):
    """``E_{G ~ q}`` of the effect under G, q the variational posterior over graphs.

    DAGs are drawn from the posterior. Those that ask for the same adjustment set share one fit;
    effects are averaged with the posterior's weights. A graph in which the outcome causes the
    treatment counts with an effect of 0.

    Args:
        estimator: name of the estimator that is averaged.
        estimator_options: its options, but those that name graph and columns; None for its
            defaults.
        draws: DAGs drawn.
        **options: as in `EffectEstimator`; ``graph`` must be ``"variational"`` or a
            `VariationalLearner`.

    Attributes:
        sets_: the adjustment sets and their weights, the heaviest first, after `fit`.
    """

    sets_: tuple[WeightedSet, ...]

    def __init__(
        self,
        *,
        estimator: str = "ecam",
        estimator_options: Mapping[str, Any] | None = None,
        draws: int = 20,
        graph: VariationalLearner | str = "variational",
        **options: Any,
    ) -> None:
        super().__init__(graph=graph, **options)
        self.estimator = estimator
        self.estimator_options = estimator_options
        self.draws = draws

    def check_options(self) -> None:
        """Check the options; see `EffectEstimator.check_options`."""
        super().check_options()
        check_integer("draws", self.draws, least=1)
        if self.graph != "variational" and not isinstance(self.graph, VariationalLearner):
            raise ValueError(
                f"graph is {self.graph!r}; an average over graphs needs a posterior: 'variational' "
                "or such a learner"
            )
        if issubclass(estimator_class(self.estimator), PosteriorAverage):
            raise ValueError(f"estimator is {self.estimator!r}; it must be one that is averaged")
        self._inner(None)

    def _inner(self, graph: CausalGraph | None) -> EffectEstimator:
        options = dict(self.estimator_options or {})
        if taken := {"graph", "treatment", "outcome"} & set(options):
            raise ValueError(f"estimator_options has {taken.pop()!r}, which is set here")
        given = {"graph": graph} if graph is not None else {}
        return make_estimator(self.estimator, **{"seed": self.seed, **options, **given})

    def _find_graph(self, X: Array, t: Treatments, y: Array) -> CausalGraph | None:
        # Names of the inner estimators' columns; no two can be alike.
        names = (*(f"X{i + 1}" for i in range(X.shape[1])), "t", "y")
        learner = cast(
            VariationalLearner,
            ready_learner(cast("VariationalLearner | str", self.graph), self.seed),
        )
        graph = learn_graph(learner, np.column_stack([X, t, y]), names, "t", "y")
        if learner.posterior_ is None:  # pragma: no cover - every fit makes one
            raise RuntimeError("the learner has no posterior")
        drawn = learner.posterior_.sample(self.draws, self.seed)
        found: dict[tuple[str, ...] | None, WeightedSet] = {}
        for edges, weight in zip(drawn.graphs, drawn.weights.tolist(), strict=True):
            one = CausalGraph(edges, names=names)
            try:
                adjustment = find_adjustment(one, "t", "y")
            except NotIdentifiedError:  # nothing is hidden: the outcome causes the treatment
                adjustment = None
            key = None if adjustment is None else adjustment.covariates
            before = found[key].weight if key in found else 0.0
            found[key] = WeightedSet(before + weight, adjustment, one)
        self.sets_ = tuple(sorted(found.values(), key=lambda each: -each.weight))
        own = (*self.names_, self.treatment, self.outcome)
        return CausalGraph(graph.contemporaneous, names=own)

    def _adjust(self) -> Adjustment | None:
        return None

    def _fit(self, X: Array, t: Treatments, y: Array) -> None:
        self._fits = [
            (each.weight, self._inner(each.graph).fit(X, t, y))
            for each in self.sets_
            if each.adjustment is not None
        ]

    def _effect(self, X: Array, t0: int, t1: int) -> Array:
        total = np.zeros(len(X))
        for weight, fit in self._fits:
            total += weight * fit.effect(X, t0=t0, t1=t1)
        return total
