"""What can be known about a world from its model: exact values, confounded pairs, where to act."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, combinations, product
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from causal_rl.envs.spec import SCMEnvSpec, marginal_graph
from causal_rl.envs.worlds.enumeration import Branches, enumerate_step, merged, start_state

_Floats = NDArray[np.float64]
_Item = TypeVar("_Item")
_MOST_TARGETS = 12


@dataclass(frozen=True)
class ExactValues:
    """Expected returns of an episode, costs taken off.

    Attributes:
        see: nothing is ever set.
        do: one intervention at every step, by (name, value).
        policy: the best policy that sees the observations and rewards so far.
        counterfactual: the best policy that sees the natural action of each step besides.
        horizon: steps of an episode.
    """

    see: float
    do: dict[tuple[str, float], float]
    policy: float
    counterfactual: float
    horizon: int

    def per_step(self) -> ExactValues:
        """The same, divided by the steps of an episode."""
        n = self.horizon
        return replace(
            self,
            see=self.see / n,
            do={action: value / n for action, value in self.do.items()},
            policy=self.policy / n,
            counterfactual=self.counterfactual / n,
            horizon=1,
        )


def exact_values(spec: SCMEnvSpec) -> ExactValues:
    """Expected returns by exact enumeration: seeing, doing, and acting on intent.

    The best policies are those of the partially observed decision process: beliefs over what is
    hidden follow from the observations by Bayes' rule, and the Bellman equation is solved backwards
    over all beliefs that can be reached. The counterfactual regime adds the natural action to what
    is observed before each action, so that its value is never below that of ``policy``, nor that
    below ``see`` or any ``do``.

    Args:
        spec: a discrete world, small enough.

    Raises:
        ValueError: the world is not discrete; the variable is named.
    """
    solver = _Solver(spec)
    see, *do = (solver.constant(k) for k in range(len(solver.actions)))
    names = [next(iter(action.items())) for action in solver.actions[1:]]
    return ExactValues(
        see=see,
        do=dict(zip(names, do, strict=True)),
        policy=solver.best(intent=False),
        counterfactual=solver.best(intent=True),
        horizon=spec.horizon,
    )


#: States (k, n) and their probabilities (k,), as bytes.
_Belief = tuple[bytes, bytes]


@dataclass(frozen=True)
class _Prospect:
    """What an action brings: reward less cost, and beliefs; both times the probability so far."""

    paid: float
    beliefs: dict[_Belief, float]

    def worth(self, value: dict[_Belief, float]) -> float:
        return self.paid + sum(mass * value[belief] for belief, mass in self.beliefs.items())


class _Solver:
    """Backward induction over beliefs, the distributions of what is hidden given what was seen."""

    def __init__(self, spec: SCMEnvSpec) -> None:
        self.spec, self.scm = spec, spec.scm
        table, offers = spec.interventions.table, spec.interventions
        self.actions: list[dict[str, float]] = [{}] + [
            {offers.settable[t - 1]: float(table[t - 1, v])} for t, v in offers.all_actions()[1:]
        ]
        self.costs = [float(offers.costs[t]) for t, _ in offers.all_actions()]
        self.settable = [self.scm.names.index(name) for name in offers.settable]
        lagged = {p for v in self.scm.variables for p in v.lagged_parents}
        #: Columns that the future does not depend on, bool (n,).
        self.spent = np.array(
            [v.name not in lagged and v.kind != "context" for v in self.scm.variables[: self.scm.n]]
        )

    def constant(self, action: int) -> float:
        """Expected return of one action at every step."""
        first = enumerate_step(self.scm, start_state(self.scm), np.ones(1), [{}])
        states, weight = merged(self._kept(first.values[:, 0]), first.probability)
        total = 0.0
        for _ in range(self.spec.horizon):
            branches = enumerate_step(self.scm, states, weight, [self.actions[action]])
            total += float(branches.probability @ branches.reward[:, 0]) - self.costs[action]
            states, weight = merged(self._kept(branches.values[:, 0]), branches.probability)
        return total

    def best(self, intent: bool) -> float:
        """Expected return of the best policy, with or without sight of the natural action."""
        first = enumerate_step(self.scm, start_state(self.scm), np.ones(1), [{}])
        unpaid = np.zeros(len(first.probability))
        beginning = self._seen(first.values[:, 0], unpaid, first.probability)
        layers = [set(beginning)]  # the beliefs that can be reached, by steps
        choices: dict[_Belief, list[list[_Prospect]]] = {}
        for _ in range(self.spec.horizon - 1):
            for belief in layers[-1] - choices.keys():
                choices[belief] = self._expand(belief, intent)
            reached = (p.beliefs for b in layers[-1] for group in choices[b] for p in group)
            layers.append(set(chain.from_iterable(reached)))
        # The last step needs no beliefs after it; from there the Bellman equation goes backwards.
        ends = {b: self._expand(b, intent, last=True) for b in layers.pop()}
        value = {b: sum(max(p.paid for p in group) for group in ends[b]) for b in ends}
        for layer in reversed(layers):
            value = {b: sum(max(p.worth(value) for p in g) for g in choices[b]) for b in layer}
        return sum(mass * value[belief] for belief, mass in beginning.items())

    def _expand(self, belief: _Belief, intent: bool, last: bool = False) -> list[list[_Prospect]]:
        """For each natural action that may show: what each action brings, times its probability."""
        rows = np.frombuffer(belief[0]).reshape(-1, self.scm.n)
        branches = enumerate_step(self.scm, rows, np.frombuffer(belief[1]), self.actions)
        natural = branches.values[:, 0][:, self.settable]
        shown = [row.tobytes() for row in natural] if intent else [b""] * len(natural)
        groups = [np.array([s == one for s in shown]) for one in dict.fromkeys(shown)]
        n = len(self.actions)
        return [[self._prospect(branches, g, k, last) for k in range(n)] for g in groups]

    def _prospect(
        self, branches: Branches, rows: NDArray[np.bool_], action: int, last: bool
    ) -> _Prospect:
        weight, reward = branches.probability[rows], branches.reward[rows, action]
        paid = float(weight @ reward) - self.costs[action] * float(weight.sum())
        values = branches.values[rows, action]
        return _Prospect(paid, {} if last else self._seen(values, reward, weight))

    def _seen(self, values: _Floats, reward: _Floats, weight: _Floats) -> dict[_Belief, float]:
        """The beliefs, with their probabilities, once these states have shown what they show."""
        shown = np.column_stack([values[:, self.spec.observed], reward]) + 0.0  # no -0.0
        kept = self._kept(values)
        groups: dict[bytes, dict[bytes, float]] = {}
        for look, state, mass in zip(shown, kept, weight.tolist(), strict=True):
            group = groups.setdefault(look.tobytes(), {})
            group[state.tobytes()] = group.get(state.tobytes(), 0.0) + mass
        beliefs: dict[_Belief, float] = {}
        for group in groups.values():
            mass = sum(group.values())
            states = sorted(group)
            # Rounded, so that one belief that is reached in two ways is one.
            part = np.round(np.array([group[state] for state in states]) / mass, 12)
            key = b"".join(states), part.tobytes()
            beliefs[key] = beliefs.get(key, 0.0) + mass
        return beliefs

    def _kept(self, values: _Floats) -> _Floats:
        """The states without what the future does not depend on."""
        return np.where(self.spent, 0.0, values + 0.0)


def set_values(spec: SCMEnvSpec) -> dict[tuple[str, ...], float]:
    """The best mean reward of a step for every set of variables that could be set together.

    An environment lets one variable be set a step; the model lets any set be. Setting more is not
    always better: it cuts hidden causes off that did some good. Costs are not counted.

    Args:
        spec: a discrete world without lagged edges.

    Returns:
        By names in the order of ``interventions.settable``, () for nothing set.

    Raises:
        ValueError: the world is not discrete (the variable is named) or has lagged edges.
    """
    _refuse_memory(spec)
    offers = dict(zip(spec.interventions.settable, spec.interventions.table, strict=True))
    start, best = start_state(spec.scm), {}
    for names in _subsets(tuple(offers)):
        settings = [
            dict(zip(names, map(float, v), strict=True))
            for v in product(*(offers[name] for name in names))
        ]
        branches = enumerate_step(spec.scm, start, np.ones(1), settings)
        best[names] = float((branches.probability @ branches.reward).max())
    return best


def possibly_optimal_sets(spec: SCMEnvSpec) -> list[tuple[str, ...]]:
    """Sets of variables worth setting, read off the graph alone (Lee & Bareinboim 2018).

    The possibly-optimal minimal intervention sets: for each there is a model with this graph in
    which setting it to the best values beats setting any other set, and no other set need be tried.
    They are the borders of the territories that hidden common causes span around the reward.
    Variables that cannot be set are projected out first (Lee & Bareinboim 2019).

    Args:
        spec: a world without lagged edges, with at most 12 settable variables.

    Returns:
        The sets, small ones first, names in the order of ``interventions.settable``.

    Raises:
        ValueError: the world has lagged edges, or too many variables can be set.
    """
    _refuse_memory(spec)
    names = tuple(spec.interventions.settable)
    if len(names) > _MOST_TARGETS:
        raise ValueError(f"spec may have at most {_MOST_TARGETS} settable variables for this")
    directed = marginal_graph(spec.scm.graph, names).contemporaneous
    hidden = [n for n in spec.scm.names if n not in names]
    both = _common_hidden_causes(spec, hidden, [*names, spec.causal_graph.names[-1]])
    found = {_border(directed, both, cut, len(names)) for cut in _subsets(range(len(names)))}
    ordered = sorted(found, key=lambda rows: (len(rows), rows))
    return [tuple(names[i] for i in rows) for rows in ordered]


def confounded_pairs(spec: SCMEnvSpec) -> list[tuple[str, str]]:
    """Pairs of observed variables with a hidden common cause: the bidirected edges of the world.

    A pair is listed if some hidden variable reaches both by paths on which everything else is
    hidden, whatever the lags. The reward counts as observed. A variable that is confounded with its
    own past alone is not listed.

    Args:
        spec: the world; every kind of it.

    Returns:
        Pairs of names, in the order of ``spec.causal_graph``.
    """
    hidden = [v.name for v in spec.scm.variables if v.kind == "hidden"]
    names = spec.causal_graph.names
    both = _common_hidden_causes(spec, hidden, names)
    return [(names[i], names[j]) for i, j in np.argwhere(np.triu(both, 1))]


def _common_hidden_causes(
    spec: SCMEnvSpec, hidden: Sequence[str], kept: Sequence[str]
) -> NDArray[np.bool_]:
    """Whether a hidden variable reaches both through hidden ones alone, bool (kept, kept)."""
    graph = spec.scm.graph
    hide, keep = [graph.index(n) for n in hidden], [graph.index(n) for n in kept]
    reach = np.eye(len(hide), dtype=np.bool_)
    for _ in hide:
        reach = reach | (reach @ graph.summary[np.ix_(hide, hide)])
    out = reach @ graph.summary[np.ix_(hide, keep)]
    both: NDArray[np.bool_] = (out.T @ out) & ~np.eye(len(keep), dtype=np.bool_)
    return both


def _border(
    directed: NDArray[np.bool_], both: NDArray[np.bool_], cut: tuple[int, ...], reward: int
) -> tuple[int, ...]:
    """Parents of the reward's territory once ``cut`` is cut off all causes."""
    directed, both = directed.copy(), both.copy()
    directed[:, cut] = False
    both[:, cut], both[cut, :] = False, False
    ancestors = np.zeros(len(directed), dtype=np.bool_)
    ancestors[reward] = True
    for _ in directed:
        ancestors = ancestors | (directed @ ancestors)
    directed = directed & ancestors[:, None] & ancestors
    both = both & ancestors[:, None] & ancestors
    territory = np.zeros(len(directed), dtype=np.bool_)
    territory[reward] = True
    for _ in territory:  # close under hidden common causes and under effects
        territory = territory | (territory @ both) | (territory @ directed)
    return tuple(int(i) for i in np.flatnonzero((directed @ territory) & ~territory))


def _subsets(items: Sequence[_Item]) -> Iterator[tuple[_Item, ...]]:
    return chain.from_iterable(combinations(items, k) for k in range(len(items) + 1))


def _refuse_memory(spec: SCMEnvSpec) -> None:
    if spec.scm.graph.lagged.any():
        raise ValueError(f"spec {spec.name!r} has lagged edges; this is for independent rounds")
