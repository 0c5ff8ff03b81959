"""Graphs that learn nothing: what any learner has to beat."""

from __future__ import annotations

from typing import ClassVar

from causal_rl.discovery.base import GraphLearner
from causal_rl.discovery.transitions import Transitions
from causal_rl.graphs import CausalGraph
from causal_rl.options import check_integer, check_number


class EmptyLearner(GraphLearner):
    """Always the graph without edges.

    Args:
        reward_node: add the reward as the last node.
    """

    name: ClassVar[str] = "empty"

    def update(self, transitions: Transitions) -> CausalGraph:
        """Return the empty graph over the variables; see `GraphLearner.update`."""
        names, kinds = self._admit(transitions)
        self.graph_ = CausalGraph.empty(names, kinds)
        return self.graph_


class FullLearner(GraphLearner):
    """Always every edge that the kinds allow; its contemporaneous block is cyclic.

    In a table, where nothing has a past, these are the contemporaneous ones; those that a prior
    forbids are left out.

    Args:
        reward_node: add the reward as the last node.
    """

    name: ClassVar[str] = "full"
    obeys: ClassVar[frozenset[str]] = frozenset({"forbidden", "required"})

    def update(self, transitions: Transitions) -> CausalGraph:
        """Return the full graph over the variables; see `GraphLearner.update`."""
        names, kinds = self._admit(transitions)
        within, lagged = self._possible_edges()
        self.graph_ = CausalGraph(within, lagged, names, kinds, allow_cycles=True)
        return self.graph_


class RandomLearner(GraphLearner):
    """One random graph, drawn from the seed and the variables alone; data never changes it.

    Args:
        density: expected contemporaneous edges a node, and as many lagged ones; at most what the
            kinds leave possible, and that where it asks for more.
        seed: of the draw.
        reward_node: add the reward as the last node.
    """

    name: ClassVar[str] = "random"

    def __init__(self, *, density: float = 1.0, seed: int = 0, reward_node: bool = False) -> None:
        super().__init__(reward_node=reward_node)
        self.density = density
        self.seed = seed

    def check_options(self) -> None:
        """Validate the options; see `GraphLearner.check_options`."""
        super().check_options()
        check_number("density", self.density, least=0.0)
        check_integer("seed", self.seed, least=0)

    def update(self, transitions: Transitions) -> CausalGraph:
        """Return the random graph over the variables; see `GraphLearner.update`."""
        names, kinds = self._admit(transitions)
        # Ordered pairs of a cyclic block count both ways; a DAG can hold half of the mutual ones.
        contemporaneous, lagged = self._possible_edges()
        mutual = contemporaneous & contemporaneous.T
        most = (float(contemporaneous.sum()) - float(mutual.sum()) / 2) / len(names)
        self.graph_ = CausalGraph.random(
            names,
            kinds,
            min(self.density, most),
            self.seed,
            lagged_density=min(self.density, float(lagged.sum()) / len(names)),
        )
        return self.graph_
