"""The interface of graph learners: transitions go in, a `CausalGraph` comes out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from causal_rl.discovery.prior import EdgePrior
from causal_rl.discovery.transitions import Transitions, as_transitions
from causal_rl.graphs import CausalGraph, PartialGraph, possible_edges

__all__ = ["ConvergenceWarning", "GraphLearner", "stacked_columns"]

REWARD_NAME = "reward"


class ConvergenceWarning(UserWarning):
    """A learner ended without meeting its own criterion; its graph is the best so far."""


class GraphLearner(ABC):
    """Learns the within-step and the lagged graph of a world from transitions.

    `fit` forgets what was learned and starts from the transitions given; `update` adds
    transitions to those already seen. Both return the graph, which is also kept as ``graph_``.
    Parameters are plain attributes set by keyword; `check_options` validates them, at
    construction by `make_learner` and again at every `fit` and `update`.

    A subclass implements `update` (beginning with ``self._admit(transitions)``), and extends
    `reset`, `state_dict`, `load_state_dict` and `check_options` as far as it has state or options
    of its own. It draws no edge outside of ``self._possible_edges()``, and says in ``obeys`` how
    much of a prior it takes.

    Args:
        reward_node: add a last node ``"reward"`` (kind ``"reward"``), a sink whose parents are
            sought among ``next_state`` (contemporaneous) and ``state`` (lagged).

    Attributes:
        name: the name under which `make_learner` knows the class.
        obeys: the rules of a prior that the learner can obey, of "forbidden" and "required".
        most_variables: more are refused, for they would take hours or more memory than there is.
        uses_interventions: whether do-targets change what is learned.
        uses_lags: whether the lagged block is learned too.
        scale_free: whether the graph is the same when columns are rescaled; where it is not, an
            option ``standardise`` decides whether the method sees the scales, if it is there.
        prior: what is known of the edges beforehand, or None; set it before `fit`.
        graph_: the last graph learned, or None.
        equivalence_class_: the CPDAG or PAG that the last data determined, of learners whose answer
            is one (``graph_`` is then a member of it by a fixed rule); None for all others.
        names_: the graph's node names, reward included, or None before the first data.
        kinds_: the graph's node kinds, or None before the first data.
    """

    name: ClassVar[str]
    obeys: ClassVar[frozenset[str]] = frozenset()
    most_variables: ClassVar[int] = 1000
    uses_interventions: ClassVar[bool] = False
    uses_lags: ClassVar[bool] = False
    scale_free: ClassVar[bool] = True

    def __init__(self, *, reward_node: bool = False) -> None:
        self.reward_node = reward_node
        self.prior: EdgePrior | None = None
        self._memoryless = True
        self.graph_: CausalGraph | None = None
        self.equivalence_class_: PartialGraph | None = None
        self.names_: tuple[str, ...] | None = None
        self.kinds_: tuple[str, ...] | None = None

    def fit(
        self, data: Transitions | ArrayLike | Any, *, do_target: ArrayLike | None = None
    ) -> CausalGraph:
        """Learn from these data alone.

        Args:
            data: transitions, at least one row; or a table, ``(N, n)`` numbers or a data frame
                (its columns give the names), see `Transitions.from_table`. Of a table the lagged
                block is empty.
            do_target: ``(N, n)`` booleans, true where the table's variable was set; with a table
                only, for transitions carry their own.

        Returns:
            The graph over the names of the data (and the reward), kept as ``graph_``.

        Raises:
            TypeError: neither transitions nor a table of numbers.
            ValueError: no rows, NaN, no rewards for a reward node, an option out of range, more
                variables than the learner takes, or a prior that it cannot obey or that names
                other variables.
        """
        self.check_options()
        transitions = as_transitions(data, do_target=do_target)
        self._check_transitions(transitions)
        self.reset()
        return self.update(transitions)

    @abstractmethod
    def update(self, transitions: Transitions) -> CausalGraph:
        """Learn from these transitions added to those seen since the last `fit` or `reset`.

        Args:
            transitions: new rows over the same variables.

        Returns:
            The graph learned from all rows so far.

        Raises:
            TypeError: not `Transitions`.
            ValueError: no rows, other variables than before, or no rewards for a reward node.
        """

    def reset(self) -> None:
        """Forget everything learned; options and the prior stay."""
        self.graph_ = None
        self.equivalence_class_ = None
        self._memoryless = True
        self.names_ = None
        self.kinds_ = None

    def state_dict(self) -> dict[str, Any]:
        """All that was learned, as plain values and arrays; see `load_state_dict`."""
        return {
            "learner": self.name,
            "reward_node": self.reward_node,
            "memoryless": self._memoryless,
            "names": None if self.names_ is None else list(self.names_),
            "kinds": None if self.kinds_ is None else list(self.kinds_),
            "graph": None if self.graph_ is None else self.graph_.to_dict(),
            "equivalence_class": (
                None if self.equivalence_class_ is None else self.equivalence_class_.to_dict()
            ),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up where `state_dict` was called; the learner then continues as if unbroken.

        Args:
            state: what `state_dict` of a learner with the same name and options returned.

        Raises:
            ValueError: the state is of another learner, or of another ``reward_node``.
        """
        if state.get("learner") != self.name:
            raise ValueError(
                f"state is of the learner {state.get('learner')!r}; this learner is {self.name!r}"
            )
        if bool(state["reward_node"]) != self.reward_node:
            raise ValueError(
                f"state has reward_node={state['reward_node']}; "
                f"this learner has reward_node={self.reward_node}"
            )
        graph = state["graph"]
        self._memoryless = bool(state.get("memoryless", False))
        self.names_ = None if state["names"] is None else tuple(state["names"])
        self.kinds_ = None if state["kinds"] is None else tuple(state["kinds"])
        self.graph_ = None if graph is None else CausalGraph.from_dict(graph)
        found = state.get("equivalence_class")
        self.equivalence_class_ = None if found is None else PartialGraph.from_dict(found)

    def check_options(self) -> None:
        """Validate the learner's options.

        Raises:
            ValueError: an option out of range; the message names it and what is allowed.
            TypeError: an option of the wrong type.
        """
        if not isinstance(self.reward_node, bool):
            raise TypeError(f"reward_node must be True or False, not {self.reward_node!r}")
        if self.prior is None:
            return
        if not isinstance(self.prior, EdgePrior):
            raise TypeError(f"prior must be an EdgePrior, not {type(self.prior).__name__}")
        beyond = sorted(self.prior.rules - self.obeys)
        if beyond:
            raise ValueError(
                f"prior has {beyond[0]} edges (or tiers, which forbid), which the learner "
                f"{self.name!r} cannot obey"
            )

    def _admit(self, transitions: Transitions) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Validate options and data, remember the variables at first sight, return the nodes."""
        self.check_options()
        self._check_transitions(transitions)
        names: tuple[str, ...] = transitions.names
        kinds: tuple[str, ...] = transitions.kinds
        if self.reward_node:
            names, kinds = (*names, REWARD_NAME), (*kinds, "reward")
        if self.names_ is None:
            self.names_, self.kinds_ = names, kinds
        elif (self.names_, self.kinds_) != (names, kinds):
            raise ValueError(
                f"transitions have variables {names} of kinds {kinds}; this learner has seen "
                f"{self.names_} of kinds {self.kinds_}; call fit or reset to start anew"
            )
        self._memoryless = self._memoryless and transitions.memoryless
        return names, kinds

    def _possible_edges(self) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """The edges that the kinds, the prior and, in a table, the want of a past leave possible.

        Returns:
            ``(contemporaneous, lagged)``, each ``(m, m)`` booleans over ``names_``.
        """
        contemporaneous, lagged = possible_edges(self.kinds_ or ())
        if self.prior is not None:
            contemporaneous &= self.prior.allowed(self.names_ or ())
        return contemporaneous, lagged & (not self._memoryless)

    def _required_edges(self) -> NDArray[np.bool_]:
        """The within-step edges that the prior requires, ``(m, m)`` booleans over ``names_``."""
        names = self.names_ or ()
        return (EdgePrior() if self.prior is None else self.prior).needed(names)

    def _check_transitions(self, transitions: Transitions) -> None:
        if not isinstance(transitions, Transitions):
            raise TypeError(f"transitions must be Transitions, not {type(transitions).__name__}")
        if len(transitions) == 0:
            raise ValueError("transitions has no rows; a graph learner needs at least one")
        if self.reward_node and transitions.reward is None:
            raise ValueError("transitions has no reward; reward_node=True needs one for every row")
        if self.reward_node and REWARD_NAME in transitions.names:
            raise ValueError(
                f"a variable is named {REWARD_NAME!r}; with reward_node=True that name is taken"
            )
        if transitions.n > self.most_variables:
            raise ValueError(
                f"there are {transitions.n} variables; the learner {self.name!r} takes at most "
                f"{self.most_variables}"
            )
        if self.prior is not None:
            self._check_prior(self.prior, transitions)

    def _check_prior(self, prior: EdgePrior, transitions: Transitions) -> None:
        names: tuple[str, ...] = transitions.names
        kinds: tuple[str, ...] = transitions.kinds
        if self.reward_node:
            names, kinds = (*names, REWARD_NAME), (*kinds, "reward")
        prior.check(names)
        impossible = np.argwhere(prior.needed(names) & ~possible_edges(kinds)[0])
        if len(impossible):
            i, j = impossible[0]
            raise ValueError(
                f"prior requires the edge {names[i]} -> {names[j]}, which no {kinds[i]} can have "
                f"to a {kinds[j]}"
            )


def stacked_columns(
    transitions: Transitions, *, reward_node: bool
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    """The columns of a transition model: one target a node, two blocks of candidate parents.

    Args:
        transitions: N rows over n variables.
        reward_node: whether the reward is the last node; it is then the last target and, being a
            sink, no candidate parent: its columns among the candidates are zero.

    Returns:
        ``(current, lagged, do_target)``: ``current (N, m)`` the values after the step with the
        reward last, ``lagged (N, m)`` those before it with zeros for the reward, and
        ``do_target (N, m)`` true where the node was set; ``m = n + reward_node``.

    Raises:
        ValueError: ``reward_node`` without rewards.
    """
    if not reward_node:
        return transitions.next_state, transitions.state, transitions.do_target
    if transitions.reward is None:
        raise ValueError("transitions has no reward; reward_node=True needs one for every row")
    rows = len(transitions)
    current = np.column_stack([transitions.next_state, transitions.reward])
    lagged = np.column_stack([transitions.state, np.zeros(rows)])
    do_target = np.column_stack([transitions.do_target, np.zeros(rows, dtype=bool)])
    return current, lagged, do_target
