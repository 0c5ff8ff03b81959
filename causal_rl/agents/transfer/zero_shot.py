"""Act in a world by predictions of its next state: one step of search over single interventions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from causal_rl.agents.evaluation import Controller
from causal_rl.agents.transfer.do_prediction import DoPredictor
from causal_rl.agents.transfer.family_training import method_evidence
from causal_rl.agents.transfer.mechanism_evidence import MechanismEvidence
from causal_rl.discovery import make_learner
from causal_rl.envs import SCMEnvSpec, record
from causal_rl.graphs import CausalGraph


class Prediction(Protocol):
    """(previous, do_mask, do_value), (rows, n) each, to mean and spread of all variables after."""

    def __call__(  # noqa: D102
        self,
        previous: NDArray[np.float64],
        do_mask: NDArray[np.bool_],
        do_value: NDArray[np.float64],
        /,
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]: ...


@dataclass(frozen=True, eq=False)
class ZeroShotAgent:
    """An agent that has met a world and will learn nothing more of it.

    Attributes:
        graph: that it goes by, over the variables that are no contexts.
        evidence: what its first transitions say of their mechanisms.
        controller: acts; for `causal_rl.agents.evaluate`.
    """

    graph: CausalGraph
    evidence: MechanismEvidence
    controller: Controller


def meet_world(
    predictor: DoPredictor,
    spec: SCMEnvSpec,
    *,
    rows: int = 500,
    seed: int = 0,
    graph: CausalGraph | None = None,
    learner: str = "interventional",
    points: int = 8,
) -> ZeroShotAgent:
    """Enter an unseen world: intervene at random, learn its graph, and be ready to act.

    No weight changes. The reward as a function of the state is given; mechanisms are not read.

    Args:
        predictor: trained on other worlds.
        spec: the world, of any size.
        rows: transitions under random interventions, at least 16.
        seed: of those transitions.
        graph: to go by; None learns one from those transitions.
        learner: learns it.
        points: as in `greedy_controller`.

    Raises:
        ValueError: as `record`, `fit_evidence`, `make_learner` and `greedy_controller`.
    """
    _refuse_hidden(spec)
    data = record(spec, rows, seed=seed).without_contexts()
    known = make_learner(learner).fit(data) if graph is None else graph
    evidence = method_evidence(predictor.method, data, known)

    def predict(
        previous: NDArray[np.float64], mask: NDArray[np.bool_], value: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        return predictor.predict(evidence, previous, mask, value)

    return ZeroShotAgent(known, evidence, greedy_controller(spec, predict, points=points))


def greedy_controller(spec: SCMEnvSpec, predict: Prediction, *, points: int = 8) -> Controller:
    """Take the intervention under which the predicted next state earns most, cost deducted.

    The reward as a function of the state is given; the world's mechanisms are not read. Its mean
    is taken over normal quantiles, at which all variables stand at once. That is exact where, as
    in the built-in worlds, it reads one variable and contexts: the action is then the one that
    brings the sink nearest to the goal.

    Args:
        spec: the world: action space, costs and reward.
        predict: mean and spread of the variables that are no contexts, in the world's order.
        points: quantiles, at least 1; 1 looks at the mean alone.

    Returns:
        A controller for `evaluate`.

    Raises:
        ValueError: points below 1, or a world with hidden variables, without which no state can be
            predicted.
    """
    _refuse_hidden(spec)
    if points < 1:
        raise ValueError(f"points must be at least 1, got {points}")
    free = np.setdiff1d(np.arange(spec.scm.n), spec.scm.contexts)
    actions = spec.interventions.all_actions()
    masks, values, cost = spec.action_tables.decode(actions)
    count = len(actions)
    quantiles = ndtri((np.arange(points) + 0.5) / points)

    def control(observation: NDArray[np.floating], state: NDArray[np.float64]) -> NDArray[np.int64]:
        previous = np.repeat(np.asarray(observation, dtype=np.float64), count, axis=0)
        rows = len(observation)
        mask, value = np.tile(masks, (rows, 1)), np.tile(values, (rows, 1))
        mean, spread = predict(previous[:, free], mask[:, free], value[:, free])
        score = -np.tile(cost, rows)
        current = previous.copy()
        for quantile in quantiles:
            current[:, free] = mean + quantile * spread
            score += spec.scm.reward_value(previous, current) / points
        best: NDArray[np.int64] = actions[score.reshape(rows, count).argmax(axis=1)]
        return best

    return control


def _refuse_hidden(spec: SCMEnvSpec) -> None:
    hidden = [name for name in spec.scm.names if name not in spec.observed_names]
    if hidden:
        raise ValueError(f"spec {spec.name!r} must have no hidden variable, got {hidden[0]!r}")
