"""The hook that learns the causal graph while Tianshou trains."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from causal_rl.agents.store import TransitionStore
from causal_rl.agents.tianshou.networks import set_algorithm_graph
from causal_rl.discovery import GraphLearner, make_learner
from causal_rl.envs import SCMEnvSpec, VectorStep
from causal_rl.envs.recording import vector_transitions
from causal_rl.graphs import CausalGraph


class CausalGraphHook:
    """Stores what collectors collect, learns the graph from it, and shows it to the networks.

    Give it to every collector as ``on_step_hook=hook``, and to the trainer's parameters as
    ``training_fn=hook.training_fn``. The graph changes between training steps alone, so PPO's
    ratio never crosses a change.

    Args:
        algorithm: of `make_ppo` or `make_sac`; None learns without showing.
        world: the world of the collectors' environments, `TianshouVectorEnv` with any action form.
        learner: a registered learner's name, or a learner with a reward node.
        every: environment steps, over all collectors, between two updates of the graph.
        store_size: transitions kept.

    Attributes:
        graph: what the learner last found; None before.
        learner: the graph learner.
        store: the transitions.
        env_steps: environment steps seen.

    Raises:
        ValueError: ``every`` or ``store_size`` below 1, or an unknown learner.
    """

    def __init__(
        self,
        algorithm: nn.Module | None,
        world: SCMEnvSpec,
        *,
        learner: str | GraphLearner = "interventional",
        every: int = 5_000,
        store_size: int = 50_000,
    ) -> None:
        if every < 1:
            raise ValueError(f"every must be at least 1, got {every}")
        self.algorithm = algorithm
        self.world = world
        self.every = every
        self.store = TransitionStore(store_size)
        self.learner = (
            make_learner(learner, reward_node=True) if isinstance(learner, str) else learner
        )
        self.graph: CausalGraph | None = None
        self.env_steps = 0
        self._learned_at = 0
        self._steps: list[VectorStep] = []
        self._names = list(world.observed_names)

    def __call__(self, action_batch: Any, rollout_batch: Any) -> None:
        """Keep one step of a collector; nothing of it is changed.

        Raises:
            ValueError: the infos tell no do-targets.
        """
        info = rollout_batch.info
        if "do_target" not in info:
            raise ValueError("rollout_batch.info lacks 'do_target'; use TianshouVectorEnv")
        action = np.asarray(rollout_batch.act)
        if action.ndim == 1:
            action = np.stack(np.divmod(action, self.world.interventions.n_values), axis=1)
        rows = len(action)
        self._steps.append(
            VectorStep(
                state=np.array(rollout_batch.obs),
                action=action,
                reward=np.array(rollout_batch.rew, dtype=np.float64),
                next_state=np.array(rollout_batch.obs_next),
                terminated=np.array(rollout_batch.terminated),
                truncated=np.array(rollout_batch.truncated),
                do_target=np.array(info.do_target),
                do_value=np.array(info.do_value),
                reset=np.zeros(rows, dtype=np.bool_),
            )
        )
        self.env_steps += rows

    def training_fn(self, epoch: int, env_step: int) -> None:
        """Learn if enough steps came since the last time; a trainer's ``training_fn``.

        Args:
            epoch: ignored.
            env_step: ignored; the hook counts the steps of all its collectors itself.
        """
        if self.env_steps - self._learned_at >= self.every:
            self.learn()

    def flush(self) -> None:
        """Put what was kept since the last time into the store."""
        if self._steps:
            self.store.add(
                vector_transitions(self._steps, names=self._names, kinds=self.world.observed_kinds)
            )
            self._steps = []

    def learn(self) -> CausalGraph | None:
        """Feed the learner what is new and show its graph to the networks.

        Returns:
            The graph; None where nothing was ever collected.
        """
        self.flush()
        fresh = self.store.take_fresh()
        self._learned_at = self.env_steps
        if fresh is None:
            return self.graph
        graph = self.learner.update(fresh)
        if self.algorithm is not None and graph != self.graph:
            set_algorithm_graph(self.algorithm, graph, self._names)
        self.graph = graph
        return graph

    def save(self, path: Path) -> None:
        """Write the graph as JSON.

        Raises:
            ValueError: there is none yet.
        """
        if self.graph is None:
            raise ValueError("there is no graph to save yet: nothing was learned")
        self.graph.save(path)
