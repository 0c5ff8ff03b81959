"""The actor-critic as a planner's pupil: it begins with the planner's actions and returns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from causal_rl.agents.algorithm5 import Algorithm5
from causal_rl.agents.checkpoint import CHECKPOINT_FILE, load_checkpoint, restoring
from causal_rl.agents.config import TrainConfig
from causal_rl.agents.options import load_options
from causal_rl.agents.planning.agent import PlannerAgent
from causal_rl.agents.planning.config import PlannerConfig
from causal_rl.agents.policy_updates import clone_update
from causal_rl.agents.rollout import ReturnNormaliser
from causal_rl.envs import SCMEnvSpec

Floats = NDArray[np.float64]

#: States that lessons begin in, and steps that each goes on for in the planner's model.
STARTS, STEPS = 128, 16
#: Passes over the lessons.
EPOCHS = 30
# Share of imagined steps that act at random, so that the pupil sees what mistakes lead to.
_MISTAKES = 0.1
_STREAM = 34


@dataclass(frozen=True)
class Lessons:
    """What a planner does and earns in its own model.

    Attributes:
        observation: (rows, n).
        action: int64 (rows, 2), the planner's.
        value: (rows,) discounted returns divided by ``scale``.
        normaliser: of rewards, as it stands after the lessons.
    """

    observation: Floats
    action: NDArray[np.int64]
    value: Floats
    normaliser: ReturnNormaliser

    def __len__(self) -> int:
        return len(self.action)


def find_teacher(config: TrainConfig, spec: SCMEnvSpec) -> PlannerAgent | None:
    """The planner that ``config.warm_start`` names: a new one, that of a run, or none.

    Args:
        config: of the pupil.
        spec: the pupil's world.

    Raises:
        ValueError: no planner's run in that folder, none of this world, or one without a model.
    """
    if config.warm_start == "none":
        return None
    if config.warm_start == "planner":
        options = PlannerConfig(
            env=config.env, env_args=config.env_args, seed=config.seed,
            steps=config.warm_start_steps, learner=config.learner,
        )  # fmt: skip
        return PlannerAgent(spec, options, evaluates=False)
    folder = Path(config.warm_start)
    if not folder.is_dir():
        raise ValueError(
            "warm_start must be none, planner or the folder of a planner's run, got "
            f"{config.warm_start!r}"
        )
    found = load_options(folder)
    if not isinstance(found, PlannerConfig):
        raise ValueError(f"warm_start must name a planner's run; {str(folder)!r} is not one's")
    teacher = PlannerAgent(spec, found)
    path = folder / CHECKPOINT_FILE
    checkpoint = load_checkpoint(path, spec)
    with restoring(path):
        teacher.load_state_dict(checkpoint["algorithm"])
    if teacher.planner is None:
        raise ValueError(f"warm_start: the planner of {str(folder)!r} found no model to plan in")
    return teacher


def warm_start(
    algorithm: Algorithm5, teacher: PlannerAgent, observer: Callable[[PlannerAgent], bool]
) -> bool:
    """Let a planner teach an actor-critic that has not begun.

    A teacher that has not finished its own steps takes them first, and they count as the pupil's.
    The pupil takes over the teacher's transitions and learns the graph from them. Its policy is
    fitted to the teacher's actions, its critic to the teacher's returns, on states that the teacher
    visited and on those that follow in its model, see `imagine`. If the teacher found nothing to
    plan for, the policy stays as it is.

    Args:
        algorithm: the pupil.
        teacher: the planner.
        observer: called as by `PlannerAgent.learn`; False stops.

    Returns:
        Whether it came to its end.
    """
    config, taken = algorithm.config, teacher.progress.env_steps
    if not teacher.learn(observer):
        return False
    algorithm.progress.env_steps += teacher.progress.env_steps - taken
    algorithm.adopt(teacher.store.all())
    figures = {"warm_start/interactions": float(teacher.progress.env_steps)}
    rng = np.random.default_rng([config.seed, _STREAM])
    lessons = imagine(teacher, gamma=config.gamma, rng=rng)
    if lessons is not None:
        figures["warm_start/agreement"] = teach(algorithm, lessons)
    algorithm.progress.figures |= figures
    algorithm._evaluate()
    return True


def imagine(
    teacher: PlannerAgent,
    *,
    gamma: float,
    rng: np.random.Generator,
    starts: int = STARTS,
    steps: int = STEPS,
) -> Lessons | None:
    """Let a planner act in its own model.

    Each episode begins in a state that was visited; in every other one the contexts are a random
    blend of two that were seen, so that there are more of them than the agent met. Beyond the last
    step, rewards are taken to go on at the episode's mean.

    Args:
        teacher: has visited states.
        gamma: discount of the returns.
        rng: draws states, noise and the few actions that are random.
        starts: episodes, at least 1.
        steps: of each, at least 1.

    Returns:
        ``starts * steps`` rows, or None where the teacher has no model.

    Raises:
        ValueError: ``starts`` or ``steps`` below 1.
    """
    for name, count in (("starts", starts), ("steps", steps)):
        if count < 1:
            raise ValueError(f"{name} must be at least 1, got {count}")
    model, planner = teacher.model, teacher.planner
    if model is None or planner is None:
        return None
    visited = teacher.store.all().state
    state = visited[rng.integers(0, len(visited), size=starts)]
    pairs = visited[rng.integers(0, len(visited), size=(2, starts))][:, 1::2]
    share = rng.random((pairs.shape[1], 1))
    blend = share * pairs[0] + (1.0 - share) * pairs[1]
    state[1::2, model.contexts] = blend[:, model.contexts]

    interventions = teacher.spec.interventions
    tables = interventions.tables(model.names)
    everything = interventions.all_actions()
    normaliser = ReturnNormaliser(starts, gamma)
    goes_on = np.zeros(starts, dtype=np.bool_)
    states, actions, rewards = [], [], []
    for _ in range(steps):
        action = planner.plan(state).action
        states.append(state)
        actions.append(action)
        done = np.where(
            rng.random((starts, 1)) < _MISTAKES,
            everything[rng.integers(0, len(everything), size=starts)],
            action,
        )
        mask, target, _ = tables.decode(done)
        after = model.step(state, model.draw_noise(rng, starts), None, mask, target)
        rewards.append(model.reward(state, after, mask))
        normaliser(rewards[-1], goes_on)
        state = after
    ahead = min(1.0 / (1.0 - gamma) if gamma < 1.0 else np.inf, float(teacher.spec.horizon))
    value = np.mean(rewards, axis=0) * ahead
    values = []
    for reward in reversed(rewards):
        value = reward + gamma * value
        values.append(value)
    return Lessons(
        observation=np.concatenate(states),
        action=np.concatenate(actions),
        value=np.concatenate(values[::-1]),
        normaliser=normaliser,
    )


def teach(algorithm: Algorithm5, lessons: Lessons) -> float:
    """Fit an actor-critic to what a planner does and earns.

    Args:
        algorithm: the pupil; it takes over the scale of the lessons' rewards.
        lessons: of a planner.

    Returns:
        The share of lessons in which the pupil's most probable action is the planner's.
    """
    policy, config, device = algorithm.policy, algorithm.config, algorithm.device
    ours, theirs = algorithm.normaliser, lessons.normaliser
    scale = 1.0
    if ours.enabled:
        ours.count, ours.mean, ours.variance = theirs.count, theirs.mean, theirs.variance
        scale = float(np.sqrt(theirs.variance + 1e-8))
    observation = torch.tensor(lessons.observation, dtype=torch.float32, device=device)
    flat = lessons.action[:, 0] * policy.n_values + lessons.action[:, 1]
    action = torch.tensor(flat, dtype=torch.int64, device=device)
    value = torch.tensor(lessons.value / scale, dtype=torch.float32, device=device)
    # Half a lesson for each action that was never right.
    counts = torch.bincount(action, minlength=policy.n_targets * policy.n_values) + 0.5
    policy.begin_at(counts, float(value.mean()))
    generator = torch.Generator().manual_seed(config.seed + 3)
    optimizer = torch.optim.Adam(policy.parameters(), lr=config.learning_rate)
    for _ in range(EPOCHS):
        clone_update(policy, optimizer, observation, action, value, config, generator)
    with torch.no_grad():
        return float((policy(observation).logits.argmax(-1) == action).float().mean())
