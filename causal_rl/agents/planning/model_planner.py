"""Looking ahead in a model, learned or true: exhaustively where actions are few, else by CEM."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from causal_rl.agents.plan_simulation import ActionEffects, Plan, PlanningModel, plan_returns
from causal_rl.agents.planning.learned_model import LearnedSCM
from causal_rl.agents.planning.learned_noise import noise_points
from causal_rl.envs import Interventions
from causal_rl.options import check_choice, check_integer

Floats = NDArray[np.float64]

#: Horizons among which `choose_horizon` chooses.
HORIZONS = (1, 2, 3, 4)
#: With more actions than this, "auto" searches by CEM.
MOST_ACTIONS_TRIED = 512

# The first look at all plans takes one in so many samples, and leaves so many plans for the second.
_FIRST_LOOK = 8
_SECOND_LOOK_PLANS = 8


class ModelPlanner:
    """Model-predictive control over single interventions, in any `PlanningModel`.

    "exhaustive": every action is tried in two ways, held for ``horizon`` steps and held for one
    step with no intervention after it, under noise shared by all actions and states (scrambled
    Sobol points): all plans under an eighth of the samples, then the best eight under all of
    them. A small bank of noise is off by a little for each plan, by the same in every state, and
    the plan that it flatters most would be taken again and again. "cem": sequences of ``horizon``
    actions are drawn from a categorical distribution a step, which moves to the best of them (the
    cross-entropy method). Either way the first action of the best plan is taken and the next step
    plans anew.

    Args:
        model: where to plan.
        interventions: the actions; their costs are not read.
        costs: (n,) cost of setting each column of the model; None for ``model.costs`` of a
            `LearnedSCM` and none otherwise.
        horizon: steps to look ahead, at least 1.
        samples: noise samples a step for the best plans, a power of two.
        search: "exhaustive", "cem", or "auto" for CEM above `MOST_ACTIONS_TRIED` actions.
        population: sequences that CEM draws in a round.
        rounds: rounds of CEM.
        seed: of the noise and of CEM.

    Raises:
        TypeError: a whole number that is none.
        ValueError: an option out of its range, costs of another shape, or an intervention on what
            is no variable of the model.
    """

    def __init__(
        self,
        model: PlanningModel,
        interventions: Interventions,
        *,
        costs: ArrayLike | None = None,
        horizon: int = 1,
        samples: int = 64,
        search: Literal["auto", "exhaustive", "cem"] = "auto",
        population: int = 256,
        rounds: int = 4,
        seed: int = 0,
    ) -> None:
        check_integer("horizon", horizon, least=1)
        check_integer("population", population, least=8)
        check_integer("rounds", rounds, least=1)
        check_choice("search", search, ("auto", "exhaustive", "cem"))
        self.model, self.horizon = model, horizon
        self.actions = interventions.all_actions()
        mask, value, _ = interventions.tables(model.names).decode(self.actions)
        if costs is None:
            costs = model.costs if isinstance(model, LearnedSCM) else np.zeros(model.n)
        table = np.asarray(costs, dtype=np.float64)
        if table.shape != (model.n,) or not np.isfinite(table).all():
            raise ValueError(f"costs must be {model.n} finite numbers, got shape {table.shape}")
        self._effects = ActionEffects(mask, value, mask @ table)
        self.search = search
        if search == "auto":
            self.search = "cem" if len(self.actions) > MOST_ACTIONS_TRIED else "exhaustive"
        self.population, self.rounds, self.seed = population, rounds, seed
        points = noise_points(samples, horizon, model.n, seed)
        self._noise = np.stack([model.noise_from_uniforms(step) for step in points])
        # (plans, horizon) action indices; no intervention is action 0.
        held = np.repeat(np.arange(len(self.actions))[:, None], horizon, axis=1)
        once = held * (np.arange(horizon) == 0)
        self._plans = held if horizon == 1 else np.concatenate([held, once[1:]])

    def plan(self, values: ArrayLike) -> Plan:
        """Choose an action for every state.

        Args:
            values: (batch, n) values of the model's columns.

        Returns:
            Actions and the expected returns of their plans over the horizon.

        Raises:
            ValueError: a wrong shape.
        """
        states = np.asarray(values, dtype=np.float64)
        if states.ndim != 2 or states.shape[1] != self.model.n:
            raise ValueError(f"values must have shape (batch, {self.model.n}), got {states.shape}")
        if self.search == "exhaustive":
            best, scores = self._second_look(states, self._plans[None])
            return Plan(self.actions[self._plans[best, 0]], scores)
        return self._cross_entropy(states)

    def scores(self, values: ArrayLike) -> Floats:
        """Expected return of every action held for the horizon, (batch, actions)."""
        states = np.asarray(values, dtype=np.float64)
        return self._scores(states, self._plans[None, : len(self.actions)], self._noise)

    def _second_look(
        self, states: Floats, plans: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], Floats]:
        """Index and mean return of the best of ``plans``, (batch,) each."""
        samples, rows = self._noise.shape[1], np.arange(len(states))
        if samples < 2 * _FIRST_LOOK or plans.shape[1] <= 2 * _SECOND_LOOK_PLANS:
            scores = self._scores(states, plans, self._noise)
            best = scores.argmax(axis=1)
            return best, scores[rows, best]
        rough = self._scores(states, plans, self._noise[:, : samples // _FIRST_LOOK])
        kept = np.argpartition(-rough, _SECOND_LOOK_PLANS - 1, axis=1)[:, :_SECOND_LOOK_PLANS]
        kept.sort(axis=1)  # of equal plans the first is taken, whatever the partition did
        everyone = np.broadcast_to(plans, (len(states), *plans.shape[1:]))
        some = np.take_along_axis(everyone, kept[..., None], axis=1)
        scores = self._scores(states, some, self._noise)
        best = scores.argmax(axis=1)
        return kept[rows, best], scores[rows, best]

    def _cross_entropy(self, states: Floats) -> Plan:
        rng = np.random.default_rng(self.seed)
        batch, count = len(states), len(self.actions)
        elite = max(1, self.population // 8)
        odds = np.full((batch, self.horizon, count), 1.0 / count)
        best = np.full(batch, -np.inf)
        first = np.zeros(batch, dtype=np.int64)
        rows = np.arange(batch)
        samples = self._noise.shape[1]
        few = max(samples // _FIRST_LOOK, 1)
        for _ in range(self.rounds):
            # The inverse distribution function of each categorical, at sorted uniforms.
            edges = odds.cumsum(axis=-1)
            draws = rng.random((batch, self.population, self.horizon))
            plans = (draws[..., None] > edges[:, None]).sum(axis=-1).clip(max=count - 1)
            scores = self._scores(states, plans, self._noise[:, :few])
            top = scores.argmax(axis=1)
            better = scores[rows, top] > best
            best = np.where(better, scores[rows, top], best)
            first = np.where(better, plans[rows, top, 0], first)
            chosen = np.argpartition(-scores, elite - 1, axis=1)[:, :elite]
            picked = np.take_along_axis(plans, chosen[..., None], axis=1)
            share = (picked[..., None] == np.arange(count)).mean(axis=1)
            odds = 0.3 * odds + 0.7 * share
        return Plan(self.actions[first], best)

    def _scores(self, states: Floats, plans: NDArray[np.int64], bank: Floats) -> Floats:
        """(batch, plans) mean return of plans (1 or batch, plans, horizon)."""
        return plan_returns(self.model, states, plans, self._effects, bank)


def choose_horizon(
    model: PlanningModel,
    interventions: Interventions,
    states: ArrayLike,
    *,
    costs: ArrayLike | None = None,
    horizons: Sequence[int] = HORIZONS,
    steps: int = 8,
    samples: int = 32,
    seed: int = 0,
) -> int:
    """The horizon that the model itself predicts to earn most.

    From each state, planners of every horizon act in the model for ``steps`` steps under the same
    noise. A longer horizon is taken where its mean return exceeds that of the best shorter one by
    more than two standard errors of their difference.

    Args:
        model: where to plan and to act.
        interventions: the actions.
        states: (batch, n) where to begin, such as states met lately; at least one.
        costs: as for `ModelPlanner`.
        horizons: to choose among, at least one, each at least 1.
        steps: steps to act.
        samples: noise samples a step of the planners, a power of two.
        seed: of all noise.

    Raises:
        ValueError: no states or horizons, or an option that `ModelPlanner` refuses.
    """
    begin = np.asarray(states, dtype=np.float64)
    if begin.ndim != 2 or not len(begin):
        raise ValueError(f"states must have shape (batch, n), batch at least 1, got {begin.shape}")
    if not horizons:
        raise ValueError("horizons is empty; name at least one")
    ordered = sorted(set(horizons))
    if len(ordered) == 1:
        return ordered[0]
    rng = np.random.default_rng([seed, 1])
    noise = [model.noise_from_uniforms(rng.random(begin.shape)) for _ in range(steps)]
    chosen, best = ordered[0], np.zeros(0)
    for horizon in ordered:
        planner = ModelPlanner(
            model, interventions, costs=costs, horizon=horizon, samples=samples, seed=seed
        )
        earned = _earn(planner, begin, noise)
        gain = earned - best if best.size else np.zeros(len(begin))
        error = gain.std() / np.sqrt(len(gain))
        if not best.size or gain.mean() > 2 * error:
            chosen, best = horizon, earned
    return chosen


def _earn(planner: ModelPlanner, begin: Floats, noise: Sequence[Floats]) -> Floats:
    """(batch,) returns of acting by ``planner`` in its own model."""
    state, total = begin, np.zeros(len(begin))
    effects = planner._effects
    index = {tuple(action): k for k, action in enumerate(planner.actions.tolist())}
    for drawn in noise:
        action = [index[tuple(row)] for row in planner.plan(state).action.tolist()]
        mask, value = effects.mask[action], effects.value[action]
        after = planner.model.step(state, drawn, None, mask, value)
        total += planner.model.reward_value(state, after) - effects.cost[action]
        state = after
    return total
