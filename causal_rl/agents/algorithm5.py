"""Algorithm 5 of the ECAM paper: an actor-critic whose encoder reads a graph learned on the way.

Line numbers in comments count the statements of the printed algorithm from its first
initialisation: 1-4 initialise, 5-12 act and store, 13-24 update policy and value, 25-35 learn the
graph, 36-38 evaluate. Where the text cannot be taken at its word, PPO on fresh rollouts stands for
lines 13-24 by default (``policy_update="paper"`` runs them as printed), transitions carry the
intervention's target and value, and lines 28-35 are the chosen graph learner's.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from causal_rl.agents.adaptation.run_watch import RunWatch
from causal_rl.agents.config import TrainConfig
from causal_rl.agents.counterfactual_data import CounterfactualData
from causal_rl.agents.evaluation import Controller, evaluate, policy_controller
from causal_rl.agents.fixed_graph import fixed_graph
from causal_rl.agents.policy import ActorCritic
from causal_rl.agents.policy_updates import a2c_update, paper_update, ppo_update
from causal_rl.agents.progress import Progress, graph_figures
from causal_rl.agents.rollout import ReturnNormaliser, RolloutBatch, RolloutRecorder
from causal_rl.agents.store import TransitionStore
from causal_rl.discovery import Transitions, make_learner
from causal_rl.envs import SCMEnvSpec, SCMVectorEnv
from causal_rl.envs.recording import (
    VectorStep,
    transitions_step,
    vector_step,
    vector_transitions,
)
from causal_rl.graphs import CausalGraph

# Seeds of the run's own streams, apart from one another and from those of the environments.
_EVAL_SEED_OFFSET = 500_000


class Algorithm5:
    """ECAM-based causal reinforcement learning on one world.

    Args:
        spec: the world; its truth is read only where ``config.graph`` is "oracle".
        config: the options.
        graph: the fixed graph for the encoder where ``config.graph`` names a file; over the
            observed variables and the reward. None reads the file.
        device: device of the networks.

    Attributes:
        policy: actor and critic.
        learner: the graph learner; fed every transition.
        learned_graph: what the learner last found, None before the warm-up.
        progress: where the run stands.
    """

    def __init__(
        self,
        spec: SCMEnvSpec,
        config: TrainConfig,
        *,
        graph: CausalGraph | None = None,
        device: torch.device | None = None,
    ) -> None:
        self.spec = spec
        self.config = config
        self.device = device or torch.device("cpu")
        self.names = list(spec.observed_names)
        self.env = SCMVectorEnv(spec, num_envs=config.num_envs + config.explore_envs)
        # Lines 1-2: initialise theta and phi (one trunk, two heads), without touching the
        # process's global generator.
        targets, values = self._action_sizes = tuple(map(int, spec.action_space().nvec))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            policy = ActorCritic(len(self.names), targets, values, config)
        self.policy = policy.to(self.device)
        self.optimizer = torch.optim.Adam(
            self.policy.parameters(),
            lr=config.learning_rate,
            fused=self.device.type in ("cpu", "cuda"),
        )
        self.learner = make_learner(config.learner, reward_node=True)
        self.learned_graph: CausalGraph | None = None
        self.watch: RunWatch | None = None
        if config.watch:
            self.watch = RunWatch(config.watch, config.steps, relearn_rows=config.warmup_steps)
        self._schedule = config.schedule
        self._worlds = {} if self._schedule is None else self._schedule.worlds(spec)
        self.counterfactuals: CounterfactualData | None = None
        if config.counterfactuals:
            self.counterfactuals = CounterfactualData(
                spec, seed=config.seed, noise=config.counterfactual_noise
            )
        # Line 3: G is all ones until there is something better.
        self.fixed_graph = fixed_graph(config, spec, graph)
        if self.fixed_graph is not None:
            self.policy.set_graph(self.fixed_graph, self.names)
        self.store = TransitionStore(config.store_size)  # line 4: D = {}
        self.normaliser = ReturnNormaliser(
            config.num_envs, config.gamma, enabled=config.normalise_returns
        )
        self.rng = np.random.default_rng([config.seed, 1])
        self.shuffle = torch.Generator().manual_seed(config.seed + 1)
        self.sampler = torch.Generator(device=self.device).manual_seed(config.seed + 2)
        self.progress = Progress()
        self.episode_returns: list[float] = []
        self.history: list[dict[str, float]] = []
        self.best: dict[str, Any] | None = None
        self._running_return = np.zeros(config.num_envs)
        self._observation: NDArray[np.floating] | None = None

    def learn(self, observer: Callable[[Algorithm5], bool]) -> bool:
        """Run until ``config.steps`` environment steps are taken.

        Args:
            observer: called after every piece of the warm-up and every iteration; False stops.

        Returns:
            Whether the run came to its end.
        """
        config = self.config
        if self._observation is None:
            self._observation, _ = self.env.reset(seed=self._env_seed())
        # A planner's rows, where one taught the policy, stand for the warm-up's.
        warm_up = config.warmup_steps if config.warm_start == "none" else 0
        while self.progress.env_steps < min(warm_up, config.steps):
            self.progress.begin()
            self._enter_regime()
            self._warm_up()
            self._learn_graph()
            if not observer(self):
                return False
        if self.progress.iteration == 0:
            if self.watch is not None and self.learned_graph is not None:
                self.watch.begin(self.store.all(), self.learned_graph)
            # The policy's first episodes are whole ones.
            self._observation, _ = self.env.reset()
        while self.progress.env_steps < config.steps:  # line 5: for each episode
            self.progress.begin()
            self._enter_regime()
            started = time.perf_counter()
            batch, steps = self._rollout()  # lines 6-12
            acted = time.perf_counter()
            self._update_policy(batch)  # lines 13-24
            if config.policy_update != "paper":  # which has updated on those of its mini-batches
                self._update_on_counterfactuals(steps)
            if self.watch is not None:
                self._watch_mechanisms(self.watch)
            updated = time.perf_counter()
            self.progress.iteration += 1
            last = self.progress.env_steps >= config.steps
            if self.progress.iteration % config.graph_every == 0 or last:  # line 25
                self._learn_graph()  # lines 26-35
            if self.progress.iteration % config.eval_every == 0 or last:  # line 36
                self._evaluate()  # line 37
            self.progress.figures |= {
                "time/rollout_seconds": acted - started,
                "time/update_seconds": updated - acted,
                "time/graph_and_eval_seconds": time.perf_counter() - updated,
            }
            if not observer(self):
                return False
        return self._evaluated(observer)

    def _evaluated(self, observer: Callable[[Algorithm5], bool]) -> bool:
        """Evaluate a policy that never was, for the run ended within its warm-up."""
        if self.best is not None:
            return True
        self.progress.begin()
        self._evaluate()
        return observer(self)

    # --- lines 5-12: act and store -----------------------------------------------------------

    def _enter_regime(self) -> None:
        """Put the environments into the world of the hour."""
        if self._schedule is None:
            return
        regime = self._schedule.at(self.progress.env_steps)
        if regime != self.progress.regime:
            self._set_regime(regime)
            self.best = None  # it was the best in another world

    def _set_regime(self, name: str) -> None:
        if name != self.progress.regime:
            self.env.set_world(self._worlds[name])
            self.progress.regime = name

    def _warm_up(self) -> None:
        """Random interventions in every environment, for the graph alone."""
        actions = (
            self._random_actions(self.env.num_envs) for _ in range(self.config.rollout_steps)
        )
        self._store([self._step(action) for action in actions])

    def _rollout(self) -> tuple[RolloutBatch, list[VectorStep]]:
        """Act for ``rollout_steps`` steps; store every transition, return the policy's own."""
        config, acting = self.config, self.config.num_envs
        recorder = RolloutRecorder(self.policy, self.sampler, self.device)
        steps = []
        for _ in range(config.rollout_steps):
            chosen = recorder.act(self._current()[:acting])  # lines 7-9
            step = self._step(np.concatenate([chosen, self._random_actions(config.explore_envs)]))
            steps.append(step)  # line 10
            done = (step.terminated | step.truncated)[:acting]
            self._track_returns(step.reward[:acting], done)
            recorder.add(
                self.normaliser(step.reward[:acting], done),
                step.next_state[:acting],
                step.terminated[:acting],
                done,
            )
        self._store(steps)  # line 11
        batch = recorder.batch(gamma=config.gamma, gae_lambda=config.gae_lambda)  # lines 15-17
        return batch, [step.environments(slice(acting)) for step in steps]

    def _step(self, action: NDArray[np.int64]) -> VectorStep:
        """One step of every environment, with the states reached before any reset."""
        outcome = self.env.step(action)
        step = vector_step(self._current(), action, outcome, autoreset_mode=self.env.autoreset_mode)
        self._observation = outcome[0]
        self.progress.env_steps += len(action)
        return step

    def _store(self, steps: list[VectorStep]) -> None:
        """Put whole steps of every environment into the replay buffer."""
        self.store.add(vector_transitions(steps, names=self.names, kinds=self.spec.observed_kinds))

    def _random_actions(self, count: int) -> NDArray[np.int64]:
        """(count, 2) uniform targets and values."""
        return self.rng.integers(0, self._action_sizes, size=(count, 2))

    def _track_returns(self, reward: NDArray[np.float64], done: NDArray[np.bool_]) -> None:
        self._running_return += reward
        finished = self._running_return[done]
        self.episode_returns = [*self.episode_returns, *finished.tolist()][-100:]
        self._running_return[done] = 0.0

    # --- lines 13-24: update policy and value ------------------------------------------------

    def _update_policy(self, batch: RolloutBatch) -> None:
        config = self.config
        done = min(self.progress.env_steps / config.steps, 1.0)
        rate = config.learning_rate * (1 - done * (1 - config.learning_rate_end))
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.progress.figures["train/learning_rate"] = rate
        if config.policy_update == "paper":
            for _ in range(config.epochs):  # line 13: n_updates
                figures = self._replay_update()
        else:
            figures = self._on_policy_update(batch)
        self.progress.figures |= {f"train/{tag}": value for tag, value in figures.items()}
        if self.episode_returns:
            self.progress.figures["rollout/ep_rew_mean"] = float(np.mean(self.episode_returns))

    def _on_policy_update(self, batch: RolloutBatch) -> dict[str, float]:
        update = ppo_update if self.config.policy_update == "ppo" else a2c_update
        return update(self.policy, self.optimizer, batch, self.config, self.shuffle)

    def _replay_update(self) -> dict[str, float]:
        """One update as printed, on a uniform mini-batch of the replay buffer (line 14)."""
        data = self.store.all()
        index = self.rng.integers(0, len(data), size=self.config.minibatch_size)
        sample = data[index]
        if sample.action is None or sample.reward is None:  # pragma: no cover - always stored
            raise ValueError("the replay buffer holds no actions or rewards")
        flat = sample.action[:, 0] * self.policy.n_values + sample.action[:, 1]
        flat[sample.action[:, 0] == 0] = 0  # every "no intervention" is the same action
        figures = paper_update(
            self.policy,
            self.optimizer,
            self._tensor(sample.state),
            torch.as_tensor(flat, dtype=torch.int64, device=self.device),
            self._tensor(sample.reward / self.normaliser.scale),
            self._tensor(sample.next_state),
            self.config,
        )
        if self.counterfactuals is not None:
            self._update_on_counterfactuals([transitions_step(sample)])
        return figures

    # --- counterfactual data (not in the printed algorithm) ----------------------------------

    def _update_on_counterfactuals(self, steps: list[VectorStep]) -> None:
        """Update again on what would have been had the policy, as it is now, acted in ``steps``."""
        config, data = self.config, self.counterfactuals
        if data is None:
            return
        for _ in range(config.counterfactuals):
            recorder = RolloutRecorder(self.policy, self.sampler, self.device)
            if not data.replay(steps, recorder, self.normaliser):
                break
            rows = self._update_on(recorder)
            self.progress.figures["counterfactual/rows"] = (
                self.progress.figures.get("counterfactual/rows", 0.0) + rows
            )

    def _update_on(self, recorder: RolloutRecorder) -> int:
        """One policy update on a rollout beside the run's own; how many rows it had."""
        config = self.config
        if config.policy_update == "paper":
            told = recorder.transitions()
            paper_update(
                self.policy, self.optimizer, told.observation, told.action, told.reward,
                told.reached, config,
            )  # fmt: skip
            return len(told.action)
        batch = recorder.batch(gamma=config.gamma, gae_lambda=config.gae_lambda)
        self._on_policy_update(batch)
        return len(batch)

    # --- lines 25-35: learn the graph --------------------------------------------------------

    def adopt(self, transitions: Transitions) -> None:
        """Store what another agent saw in this world, and learn the graph from it.

        Args:
            transitions: over this world's observed variables, with rewards.
        """
        if self._observation is None:
            self._observation, _ = self.env.reset(seed=self._env_seed())
        self.store.add(transitions)
        self._learn_graph()

    def _learn_graph(self) -> None:
        """Feed the learner what is new; show the encoder the graph it returns."""
        fresh = self.store.take_fresh()  # line 26
        if fresh is None:
            return
        graph = self.learner.update(fresh)  # lines 27-35
        if self.watch is not None:
            graph = self.watch.reconcile(graph, len(fresh))
        self._show_graph(graph)
        if self.counterfactuals is not None:
            self.counterfactuals.learn(self.store.all(), graph)

    def _show_graph(self, graph: CausalGraph) -> None:
        """Let the encoder read a graph from now on, unless it reads a fixed one."""
        before = self.learned_graph
        self.progress.graph_changed |= before is None or before != graph
        self.learned_graph = graph
        if self.fixed_graph is None and self.progress.graph_changed:
            self.policy.set_graph(graph, self.names)
        self.progress.figures |= {
            **graph_figures(before, graph),
            "causal/variables_read": float(self.policy.variables_read),
        }

    # --- a mechanism that breaks (not in the paper) ------------------------------------------

    def _watch_mechanisms(self, watch: RunWatch) -> None:
        """Name what broke and refit it; go on with the graph revised around it.

        The environments that act at random are watched where there are any: theirs are the inputs
        that mechanisms were fitted and the watch calibrated on.
        """
        if self.learned_graph is None:  # pragma: no cover - the warm-up ends with one
            return
        rows = self.store.latest
        first = self.config.num_envs if self.config.explore_envs else 0
        watched = np.arange(len(rows)) % self.env.num_envs >= first
        done = watch.update(rows[watched], self.learned_graph, self.progress.env_steps)
        self.progress.repairs = done
        self.progress.figures |= watch.figures()
        for record in done:
            self.progress.figures |= record.scalars()
        alarms = watch.new(done)
        if alarms:
            self.learner.reset()
            since = watch.restart(alarms) // (self.env.num_envs - first)
            self.store.keep_latest(max(since, 1) * self.env.num_envs)
            self.best = None  # it was the best in a world that is no more
            if self.counterfactuals is not None:
                self.counterfactuals.forget()
        if done and watch.graph is not None:
            self._show_graph(watch.graph)

    # --- lines 36-38: evaluate ---------------------------------------------------------------

    def best_controller(self) -> Controller:
        """The policy that evaluated best, as `evaluate` takes it; it is the policy from then on.

        Raises:
            RuntimeError: none was evaluated yet.
        """
        if self.best is None:
            raise RuntimeError("no policy was evaluated yet")
        self.policy.load_state_dict(self.best["policy"])
        return policy_controller(self.policy, self.device)

    def _evaluate(self) -> None:
        """Evaluate the greedy policy on seeded episodes of its own; keep the best so far."""
        returns = evaluate(
            self.world,
            policy_controller(self.policy, self.device),
            episodes=self.config.eval_episodes,
            seed=self._env_seed() + _EVAL_SEED_OFFSET,
        )
        mean = float(returns.mean())
        if self.best is None or mean > self.best["mean_return"]:
            self.best = {"mean_return": mean, "policy": self.snapshot_policy()}
        self.progress.evaluated = True
        self.progress.figures |= {
            "eval/mean_reward": mean,
            "eval/mean_ep_length": float(self.spec.horizon),
        }

    @property
    def world(self) -> SCMEnvSpec:
        """The world as it is now: ``spec``, unless its environments were put into another."""
        return self.env.scm_spec

    # --- state -------------------------------------------------------------------------------

    def snapshot_policy(self) -> dict[str, torch.Tensor]:
        """Parameters and graph of the policy, detached copies."""
        state = self.policy.state_dict()
        return {key: value.detach().cpu().clone() for key, value in state.items()}

    def state_dict(self) -> dict[str, Any]:
        """Everything that the rest of the run depends on."""
        optional = {"watch": self.watch, "counterfactuals": self.counterfactuals}
        return {
            **self._learned_state(),
            "optimizer": copy.deepcopy(self.optimizer.state_dict()),
            "normaliser": self.normaliser.state_dict(),
            "rng": self.rng.bit_generator.state,
            "shuffle": self.shuffle.get_state(),
            "sampler": self.sampler.get_state(),
            "env": self.env.get_state(),
            "observation": self._current().copy(),
            **{name: part.state_dict() for name, part in optional.items() if part is not None},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where ``state_dict`` was called, as if the run had not stopped."""
        self.policy.load_state_dict(state["policy"])
        self._load_learned_state(state)
        self.optimizer.load_state_dict(state["optimizer"])
        self.normaliser.load_state_dict(state["normaliser"])
        self.rng.bit_generator.state = state["rng"]
        self.shuffle.set_state(state["shuffle"])
        self.sampler.set_state(state["sampler"])
        self._set_regime(state["regime"])
        self.env.set_state(state["env"])
        self._observation = np.array(state["observation"])
        if self.watch is not None:
            self.watch.load_state_dict(state["watch"])
        if self.counterfactuals is not None:
            self.counterfactuals.load_state_dict(state["counterfactuals"])

    def _learned_state(self) -> dict[str, Any]:
        """What a run has learned and counted, whichever library's loop it runs in."""
        return {
            "policy": self.snapshot_policy(),
            "learner": self.learner.state_dict(),
            "learned_graph": None if self.learned_graph is None else self.learned_graph.to_dict(),
            "store": self.store.state_dict(),
            "env_steps": self.progress.env_steps,
            "iteration": self.progress.iteration,
            "regime": self.progress.regime,
            "episode_returns": list(self.episode_returns),
            "running_return": self._running_return.copy(),
            "history": [dict(row) for row in self.history],
            "best": self.best,
        }

    def _load_learned_state(self, state: dict[str, Any]) -> None:
        """Take over what `_learned_state` gave; the policy is the loop's to load."""
        self.learner.load_state_dict(state["learner"])
        graph = state["learned_graph"]
        self.learned_graph = None if graph is None else CausalGraph.from_dict(graph)
        self.store.load_state_dict(state["store"])
        self.progress = Progress(env_steps=state["env_steps"], iteration=state["iteration"])
        self.episode_returns = list(state["episode_returns"])
        self._running_return = np.array(state["running_return"])
        self.history = [dict(row) for row in state["history"]]
        self.best = state["best"]

    def _env_seed(self) -> int:
        """Seeds of different runs lie far apart, as environment i adds i to it."""
        return self.config.seed * 1_000_000

    def _current(self) -> NDArray[np.floating]:
        if self._observation is None:  # pragma: no cover - learn() resets first
            raise RuntimeError("the environments were not reset")
        return self._observation

    def _tensor(self, array: NDArray[np.floating]) -> torch.Tensor:
        # A copy: stored rows are read-only, which torch tensors cannot express.
        return torch.tensor(array, dtype=torch.float32, device=self.device)
