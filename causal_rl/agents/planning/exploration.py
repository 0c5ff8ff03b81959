"""What an intervention would tell, by bagged models: a posterior over graphs and mechanisms."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from causal_rl.agents.planning.learned_model import LearnedSCM
from causal_rl.discovery import Transitions, make_learner

Floats = NDArray[np.float64]

#: Models in a bag.
BAG_SIZE = 5
# Least noise of a variable and of the reward, as shares of their scale: what is fitted exactly
# would else be worth any price to know better.
_LEAST_NOISE, _LEAST_REWARD_NOISE = 1e-3, 0.1


class BaggedModels:
    """Models of one world, each from a bootstrap sample of the same rows.

    Where the rows leave graph or mechanisms open, the samples lead to different graphs and
    mechanisms, and the models predict different outcomes of an intervention. They stand for draws
    from the posterior.

    Args:
        models: at least two, over the same variables in the same order.
        scale: float64 (n + 1,), standard deviations of the variables and of the reward.

    Attributes:
        models: as given.

    Raises:
        ValueError: fewer than two models, other variables, or a scale of another shape.
    """

    def __init__(self, models: Sequence[LearnedSCM], scale: ArrayLike) -> None:
        self.models = tuple(models)
        if len(self.models) < 2 or len({model.names for model in self.models}) != 1:
            raise ValueError("models must be at least two, over the same variables in one order")
        table = np.asarray(scale, dtype=np.float64)
        n = self.models[0].n
        if table.shape != (n + 1,):
            raise ValueError(f"scale must have shape ({n + 1},), got {table.shape}")
        own = np.mean([model.sigma**2 for model in self.models], axis=0)
        self._noise = np.maximum(np.maximum(own, (_LEAST_NOISE * table[:n]) ** 2), 1e-12)
        left = np.mean([model.reward_model.noise_variance for model in self.models])
        self._reward_noise = max(float(left), (_LEAST_REWARD_NOISE * table[n]) ** 2, 1e-12)

    @classmethod
    def fit(
        cls,
        transitions: Transitions,
        *,
        learner: str,
        count: int = BAG_SIZE,
        seed: int | Sequence[int] = 0,
    ) -> Self:
        """Draw the samples, learn a graph from each, fit a model on each graph.

        Args:
            transitions: rows with rewards, at least two.
            learner: name of the graph learner.
            count: models, at least 2.
            seed: of the samples.

        Raises:
            ValueError: fewer models or rows than two, no rewards, or an unknown learner.
        """
        if count < 2 or len(transitions) < 2:
            raise ValueError(
                f"a bag needs two models and two rows, got {count} and {len(transitions)}"
            )
        if transitions.reward is None:
            raise ValueError("transitions has no reward, which a model to plan in needs")
        rng, models = np.random.default_rng(seed), []
        for _ in range(count):
            sample = transitions[np.sort(rng.integers(0, len(transitions), size=len(transitions)))]
            graph = make_learner(learner, reward_node=True).fit(sample)
            models.append(LearnedSCM.fit(sample, graph))
        return cls(models, np.append(transitions.next_state.std(axis=0), transitions.reward.std()))

    def edge_shares(self) -> tuple[Floats, Floats]:
        """The share of models with each edge: within the step and lagged, (n + 1, n + 1) each."""
        graphs = [model.graph for model in self.models]
        now = np.mean([graph.contemporaneous for graph in graphs], axis=0)
        return now, np.mean([graph.lagged for graph in graphs], axis=0)

    def information(self, previous: ArrayLike, do_mask: ArrayLike, do_value: ArrayLike) -> Floats:
        """What an intervention is expected to tell about graph and mechanisms, in nats.

        With s the variance among what the models expect of a variable, and v that of its noise,
        ``log(1 + s / v) / 2`` is summed over the variables and the reward: the mutual information
        of model and outcome where both are normal and the variables are told apart.

        Args:
            previous: (batch, n), the state before.
            do_mask: bool (batch, n), what would be set.
            do_value: (batch, n), to which values.

        Returns:
            float64 (batch,).

        Raises:
            ValueError: a wrong shape.
        """
        before = np.asarray(previous, dtype=np.float64)
        still = np.zeros_like(before)
        means = np.stack([m.step(before, still, None, do_mask, do_value) for m in self.models])
        rewards = np.stack(
            [m.reward(before, mean, do_mask) for m, mean in zip(self.models, means, strict=True)]
        )
        found = 0.5 * np.log1p(means.var(axis=0) / self._noise).sum(axis=1)
        found += 0.5 * np.log1p(rewards.var(axis=0) / self._reward_noise)
        return np.asarray(found)
