"""Counterfactual data: what a rollout would have been, had the policy acted otherwise in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from causal_rl.agents.config import CounterfactualNoise
from causal_rl.agents.planning.learned_model import LearnedSCM
from causal_rl.agents.rollout import ReturnNormaliser, RolloutRecorder
from causal_rl.discovery import Transitions
from causal_rl.envs import SCMEnvSpec
from causal_rl.envs.recording import VectorStep
from causal_rl.graphs import CausalGraph

Floats = NDArray[np.float64]
_STREAM = 35


class CounterfactualData:
    """Replays rollouts in a learned SCM: the noise of the world, the actions of the policy.

    The noise of every step is abducted under the learned mechanisms and kept. From the states in
    which the rollout began, the policy acts anew, and the model says what would have happened under
    the same noise: the same actions lead to the same rollout, and only what other actions change is
    left to the model. What was set tells nothing about its noise, which is drawn then. The reward
    keeps what the model left unexplained of it, too.

    Nothing of this reaches the graph learner: it would only find again what it had found.

    Args:
        spec: the world; its truth is never read.
        seed: of the noise that is drawn.
        noise: "stored" as above; "fresh" draws all of it, and takes from the rollout only the
            states that it began in, as model-based data do elsewhere.

    Raises:
        ValueError: an observed variable is categorical, so that its noise cannot be told from what
            was seen.
    """

    def __init__(
        self, spec: SCMEnvSpec, *, seed: int, noise: CounterfactualNoise = "stored"
    ) -> None:
        check_world(spec)
        self.noise = noise
        self._model: LearnedSCM | None = None
        self._unfitted: tuple[Transitions, CausalGraph] | None = None
        self._tables = spec.interventions.tables(spec.observed_names)
        self._rng = np.random.default_rng([seed, _STREAM])

    def learn(self, transitions: Transitions, graph: CausalGraph) -> None:
        """Take the mechanisms of a graph from these rows, as soon as they are asked for.

        A graph without causes of the reward makes no model.
        """
        self._unfitted = transitions, graph

    @property
    def model(self) -> LearnedSCM | None:
        """The mechanisms, None until there is a reward to explain."""
        if self._unfitted is not None:
            model = LearnedSCM.fit(*self._unfitted)
            self._model, self._unfitted = model if model.has_reward else None, None
        return self._model

    def forget(self) -> None:
        """Make no data until `learn` is called again: the world is another."""
        self._model = self._unfitted = None

    def replay(
        self, steps: Sequence[VectorStep], recorder: RolloutRecorder, normaliser: ReturnNormaliser
    ) -> bool:
        """Let a policy act anew in what was seen.

        Args:
            steps: a rollout, its environments those that followed the policy.
            recorder: of the policy; filled with a rollout of the same length and episodes.
            normaliser: gives the scale of the rewards; it is not changed.

        Returns:
            Whether there was a model to do it in.
        """
        model = self.model
        if model is None:
            return False
        scale = normaliser.scale
        state = np.asarray(steps[0].state, dtype=np.float64)
        for k, step in enumerate(steps):
            noise, unexplained = self._abduct(model, step)
            action = recorder.act(state)
            mask, value, _ = self._tables.decode(action)
            after = model.step(state, noise, None, mask, value)
            reward = model.reward(state, after, mask) + unexplained
            done = step.terminated | step.truncated
            recorder.add(reward / scale, after, step.terminated, done)
            state = after
            if done.any() and k + 1 < len(steps):
                state = np.where(done[:, None], steps[k + 1].state, after)
        return True

    def _abduct(self, model: LearnedSCM, step: VectorStep) -> tuple[Floats, Floats | float]:
        """Noise of a step (envs, n), and what it leaves unexplained of the reward (envs,)."""
        drawn = model.draw_noise(self._rng, len(step.state))
        if self.noise == "fresh":
            return drawn, 0.0
        before = np.asarray(step.state, dtype=np.float64)
        after = np.asarray(step.next_state, dtype=np.float64)
        target = step.do_target
        if target is None:  # pragma: no cover - worlds log what was set
            target = np.zeros(before.shape, dtype=np.bool_)
        noise = np.where(target, drawn, model.abduct(before, after))
        return noise, step.reward - model.reward(before, after, target)

    def state_dict(self) -> dict[str, Any]:
        """Everything that the rest of the run depends on, as plain values and arrays."""
        model = self.model
        return {
            "model": None if model is None else model.state_dict(),
            "rng": self._rng.bit_generator.state,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up where `state_dict` was called."""
        self.forget()
        if state["model"] is not None:
            self._model = LearnedSCM.from_state(state["model"])
        self._rng.bit_generator.state = state["rng"]


def check_world(spec: SCMEnvSpec) -> None:
    """Refuse a world whose noise cannot be abducted.

    Raises:
        ValueError: an observed variable is categorical; it is named.
    """
    for variable in spec.scm.variables:
        if variable.categories is not None and variable.name in spec.observed_names:
            raise ValueError(
                f"counterfactuals must be 0 in this world: {variable.name!r} is categorical, and "
                "its noise cannot be told from what is seen"
            )
