"""An agent that learns a causal graph and a model on it by acting, and acts by planning in both."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from causal_rl.agents.evaluation import Controller, evaluate
from causal_rl.agents.planning.config import PlannerConfig
from causal_rl.agents.planning.exploration import BaggedModels
from causal_rl.agents.planning.learned_model import LearnedSCM
from causal_rl.agents.planning.model_planner import HORIZONS, ModelPlanner, choose_horizon
from causal_rl.agents.progress import Progress, graph_figures
from causal_rl.agents.store import TransitionStore
from causal_rl.discovery import Transitions, make_learner
from causal_rl.envs import SCMEnvSpec, SCMVectorEnv
from causal_rl.envs.recording import VectorStep, vector_step, vector_transitions
from causal_rl.graphs import CausalGraph

MODEL_FILE = "model.npz"
#: Steps after which the graph is learned anew and the agent is evaluated; doubled beyond.
SCHEDULE = (32, 64, 96, 128, 192, 250, 500, 1_000, 2_000, 5_000)
#: Steps between two looks at the run: its figures, a checkpoint, a request to stop.
PIECE = 32
# Episodes of its own, apart from those of an actor-critic of the same seed that it may teach.
_ENV_SEED_OFFSET = 600_000
# The agent chooses nothing by its evaluations, so that all may be on the closing episodes.
_EVALUATION_SEED_OFFSET = 700_000
_SEEDS_APART = 1_000_000
_HORIZON_STATES = 32


class PlannerAgent:
    """Learns graph and mechanisms of one world from its own steps and acts by looking ahead.

    It has the interface of `Algorithm5` as far as a run needs it: `learn`, `progress`, `history`,
    `store`, `learned_graph`, `best_controller`, and its state.

    Args:
        spec: the world; its truth is never read.
        config: the options.
        evaluates: whether `learn` evaluates; where it does not, it is faster and else the same.

    Attributes:
        learner: the graph learner; fed every transition.
        learned_graph: what the learner last found, None before the first learning.
        model: the model planned in, None while the reward has no learned cause.
        planner: plans in ``model``; None without it.
        progress: where the run stands.
        history: a row of figures a piece of `PIECE` steps, filled by whoever observes.
        store: the transitions.

    Raises:
        ValueError: an unknown learner.
    """

    def __init__(self, spec: SCMEnvSpec, config: PlannerConfig, *, evaluates: bool = True) -> None:
        self.spec, self.config, self.evaluates = spec, config, evaluates
        self.env = SCMVectorEnv(spec, num_envs=config.num_envs)
        self.learner = make_learner(config.learner, reward_node=True)
        self.learned_graph: CausalGraph | None = None
        self.model: LearnedSCM | None = None
        self.planner: ModelPlanner | None = None
        self.store = TransitionStore(config.store_size)
        self.progress = Progress()
        self.history: list[dict[str, float]] = []
        self.episode_returns: list[float] = []
        self._running_return = np.zeros(config.num_envs)
        self._rng = np.random.default_rng([config.seed, 31])
        self._actions = spec.interventions.all_actions()
        tables = spec.interventions.tables(spec.observed_names)
        self._mask, self._value, _ = tables.decode(self._actions)
        self._horizon = 0
        self._unfitted = 0
        self._bag: BaggedModels | None = None
        self._bag_rows: Transitions | None = None
        self._observation: NDArray[np.floating] | None = None

    @property
    def epsilon(self) -> float:
        """Share of steps that explore now."""
        config, taken = self.config, self.progress.env_steps
        if taken < config.explore_steps:
            return 1.0
        return max(config.epsilon_end, 1.0 - taken / config.epsilon_steps)

    @property
    def horizon(self) -> int:
        """Steps looked ahead; 0 while there is no model."""
        return 0 if self.planner is None else self.planner.horizon

    def learn(self, observer: Callable[[Any], bool]) -> bool:
        """Run until ``config.steps`` steps are taken.

        Args:
            observer: called after every piece of at most `PIECE` steps; False stops.

        Returns:
            Whether the run came to its end.
        """
        config, progress = self.config, self.progress
        if self._observation is None:
            first = config.seed * _SEEDS_APART + _ENV_SEED_OFFSET
            self._observation, _ = self.env.reset(seed=first)
        while progress.env_steps < config.steps:
            progress.begin()
            left = self._steps_to_learning()
            count = min(left, max(1, PIECE // config.num_envs))
            progress.figures["planner/epsilon"] = self.epsilon
            self._act(count)
            progress.iteration += 1
            if count == left:
                self._learn_graph()
                self._fit(new_horizon=True)
                if self.evaluates:
                    self._evaluate()
            elif self.model is not None and self._unfitted >= config.refit_every:
                self._fit()
            progress.figures["planner/horizon"] = float(self.horizon)
            if self.episode_returns:
                progress.figures["rollout/ep_rew_mean"] = float(np.mean(self.episode_returns))
            if not observer(self):
                return False
        return True

    def act(self, observation: NDArray[np.floating]) -> NDArray[np.int64]:
        """The planned actions (batch, 2), or random ones without a model."""
        if self.planner is None:
            return self._random(len(observation))
        return self.planner.plan(observation).action

    def best_controller(self) -> Controller:
        """The agent as it stands, without exploration, for `evaluate`."""
        planner = self.planner
        # Apart from the agent's own stream: an evaluation must not change what comes after.
        rng = np.random.default_rng([self.config.seed, 32])
        high = self.spec.action_space().nvec

        def control(
            observation: NDArray[np.floating], values: NDArray[np.float64]
        ) -> NDArray[np.int64]:
            if planner is None:
                return rng.integers(0, high, size=(len(observation), 2))
            chosen: NDArray[np.int64] = planner.plan(observation).action
            return chosen

        return control

    def expected_information(self, state: NDArray[np.floating]) -> NDArray[np.float64]:
        """What each action would tell, (batch, actions), in nats; see `BaggedModels.information`.

        0 before anything was learned.
        """
        batch, count = len(state), len(self._actions)
        if self._bag_rows is None:
            return np.zeros((batch, count))
        if self._bag is None:
            seed = [self.config.seed, 33, len(self._bag_rows)]
            self._bag = BaggedModels.fit(self._bag_rows, learner=self.config.learner, seed=seed)
        rows = np.repeat(np.asarray(state, dtype=np.float64), count, axis=0)
        mask, value = np.tile(self._mask, (batch, 1)), np.tile(self._value, (batch, 1))
        return self._bag.information(rows, mask, value).reshape(batch, count)

    # --- acting ------------------------------------------------------------------------------

    def _steps_to_learning(self) -> int:
        """Vector steps to the next learning: no more than the schedule says, but to the end."""
        taken, envs = self.progress.env_steps, self.config.num_envs
        for point in schedule(self.config.steps)[:-1]:
            if taken + envs <= point:
                return (point - taken) // envs
        return -(-(self.config.steps - taken) // envs)

    def _act(self, count: int) -> None:
        steps: list[VectorStep] = []
        for _ in range(count):
            observation = self._observation
            if observation is None:  # pragma: no cover - learn() resets first
                raise RuntimeError("the environments were not reset")
            exploring = self._rng.random(len(observation)) < self.epsilon
            action = np.zeros((len(observation), 2), dtype=np.int64)
            if exploring.any():
                action[exploring] = self._explore(observation[exploring])
            if not exploring.all():
                action[~exploring] = self.act(observation[~exploring])
            outcome = self.env.step(action)
            step = vector_step(observation, action, outcome, autoreset_mode=self.env.autoreset_mode)
            self._observation = outcome[0]
            self.progress.env_steps += len(step)
            self._track_returns(step.reward, step.terminated | step.truncated)
            steps.append(step)
        rows = vector_transitions(
            steps, names=self.spec.observed_names, kinds=self.spec.observed_kinds
        )
        self.store.add(rows)
        self._unfitted += len(rows)

    def _track_returns(self, reward: NDArray[np.float64], done: NDArray[np.bool_]) -> None:
        self._running_return += reward
        self.episode_returns += self._running_return[done].tolist()
        del self.episode_returns[:-100]
        self._running_return[done] = 0.0

    def _explore(self, state: NDArray[np.floating]) -> NDArray[np.int64]:
        """Random actions, or the most informative of a random half of all (batch, 2)."""
        if self.config.exploration == "random" or self._bag_rows is None:
            return self._random(len(state))
        worth = self.expected_information(state)
        # Environments in like states should not all do the same.
        worth[self._rng.random(worth.shape) < 0.5] = -np.inf
        chosen: NDArray[np.int64] = self._actions[worth.argmax(axis=1)]
        return chosen

    def _random(self, count: int) -> NDArray[np.int64]:
        drawn: NDArray[np.int64] = self._rng.integers(
            0, self.spec.action_space().nvec, size=(count, 2)
        )
        return drawn

    # --- learning ----------------------------------------------------------------------------

    def _learn_graph(self) -> None:
        """The graph from all rows; a model on it where it is another one."""
        fresh = self.store.take_fresh()
        if fresh is None:  # pragma: no cover - rows came since the last learning
            return
        graph = self.learner.update(fresh)
        before, self.learned_graph = self.learned_graph, graph
        self.progress.graph_changed = before is None or graph != before
        if self.progress.graph_changed:
            data = self.store.all()
            model = LearnedSCM.fit(data, graph, rows_kept=self.config.rows_kept)
            self.model = model if model.has_reward else None
            self._unfitted = 0
        if self.config.exploration == "information":
            self._bag, self._bag_rows = None, self.store.all()[-self.config.rows_kept :]
        self.progress.figures |= graph_figures(before, graph)

    def _fit(self, *, new_horizon: bool = False) -> None:
        """Bring the mechanisms up to date and plan in them."""
        if self.model is None:
            self.planner, self._unfitted = None, 0
            return
        if self._unfitted:
            self.model.update(self.store.all()[-self._unfitted :])
            self._unfitted = 0
        if self.config.horizon:
            self._horizon = self.config.horizon
        elif new_horizon:
            recent = self.store.all()[-512:].next_state
            chosen = np.linspace(0, len(recent) - 1, min(len(recent), _HORIZON_STATES))
            self._horizon = choose_horizon(
                self.model, self.spec.interventions, recent[chosen.astype(np.int64)],
                horizons=HORIZONS, seed=self.config.seed,
            )  # fmt: skip
        self._plan_in_model()

    def _plan_in_model(self) -> None:
        self.planner = None
        if self.model is not None:
            self.planner = ModelPlanner(
                self.model, self.spec.interventions, horizon=self._horizon,
                samples=self.config.samples, seed=self.config.seed,
            )  # fmt: skip

    def _evaluate(self) -> None:
        returns = evaluate(
            self.spec,
            self.best_controller(),
            episodes=self.config.final_episodes,
            seed=self.config.seed * _SEEDS_APART + _EVALUATION_SEED_OFFSET,
        )
        self.progress.evaluated = True
        self.progress.figures |= {
            "eval/mean_reward": float(returns.mean()),
            "eval/mean_ep_length": float(self.spec.horizon),
        }

    # --- state -------------------------------------------------------------------------------

    def write(self, folder: Path) -> None:
        """Write ``model.npz`` into a run's folder, if there is a model."""
        if self.model is not None:
            self.model.save(folder / MODEL_FILE)

    def state_dict(self) -> dict[str, Any]:
        """Everything that the rest of the run depends on."""
        return {
            "learner": self.learner.state_dict(),
            "learned_graph": None if self.learned_graph is None else self.learned_graph.to_dict(),
            "model": None if self.model is None else self.model.state_dict(),
            "horizon": self._horizon,
            "unfitted": self._unfitted,
            "bag_rows": None if self._bag_rows is None else self._bag_rows.to_dict(),
            "store": self.store.state_dict(),
            "rng": self._rng.bit_generator.state,
            "env": self.env.get_state(),
            "observation": None if self._observation is None else self._observation.copy(),
            "env_steps": self.progress.env_steps,
            "iteration": self.progress.iteration,
            "episode_returns": list(self.episode_returns),
            "running_return": self._running_return.copy(),
            "history": [dict(row) for row in self.history],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where ``state_dict`` was called, as if the run had not stopped."""
        self.learner.load_state_dict(state["learner"])
        graph = state["learned_graph"]
        self.learned_graph = None if graph is None else CausalGraph.from_dict(graph)
        model = state["model"]
        self.model = None if model is None else LearnedSCM.from_state(model)
        self._horizon, self._unfitted = int(state["horizon"]), int(state["unfitted"])
        self._plan_in_model()
        rows = state["bag_rows"]
        self._bag, self._bag_rows = None, None if rows is None else Transitions(**rows)
        self.store.load_state_dict(state["store"])
        self._rng.bit_generator.state = state["rng"]
        self.env.set_state(state["env"])
        self._observation = None if state["observation"] is None else state["observation"].copy()
        self.progress = Progress(env_steps=state["env_steps"], iteration=state["iteration"])
        self.episode_returns = list(state["episode_returns"])
        self._running_return = np.array(state["running_return"])
        self.history = [dict(row) for row in state["history"]]


def schedule(steps: int) -> list[int]:
    """Steps after which the agent learns: `SCHEDULE`, then doubling, and ``steps`` itself."""
    points = list(SCHEDULE)
    while points[-1] < steps:
        points.append(2 * points[-1])
    return [*(point for point in points if point < steps), steps]
