"""Algorithm 5 with Tianshou's collectors, updates and trainers: ``--algo tianshou-ppo|sac``."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import numpy as np
import torch
import tqdm  # type: ignore[import-untyped]
from tianshou.algorithm.modelfree.ppo import PPO
from tianshou.data import Collector, VectorReplayBuffer
from tianshou.trainer import (
    OffPolicyTrainer,
    OffPolicyTrainerParams,
    OnPolicyTrainer,
    OnPolicyTrainerParams,
)

from causal_rl.agents.algorithm5 import Algorithm5
from causal_rl.agents.config import TIANSHOU_ALGORITHMS, TianshouName, TrainConfig
from causal_rl.agents.tianshou.buffer_state import buffer_state, restore_buffer
from causal_rl.agents.tianshou.env import TianshouVectorEnv
from causal_rl.agents.tianshou.graph import CausalGraphHook
from causal_rl.agents.tianshou.networks import make_ppo, make_sac, set_algorithm_graph
from causal_rl.envs import SCMEnvSpec
from causal_rl.graphs import CausalGraph

#: Environment steps of SAC between two gradient steps.
SAC_STEPS_PER_UPDATE = 32

# Figures of Tianshou's updates under Stable-Baselines3's tags, with their factor.
_TAGS = {
    "actor_loss": ("train/policy_gradient_loss", 1.0),
    "vf_loss": ("train/value_loss", 1.0),
    "ent_loss": ("train/entropy_loss", -1.0),
    "critic1_loss": ("train/critic_loss", 1.0),
    "alpha": ("train/ent_coef", 1.0),
    "alpha_loss": ("train/ent_coef_loss", 1.0),
}


class _QuietOffPolicyTrainer(OffPolicyTrainer):
    """Tianshou's trainer without the bar of gradient steps, which ignores ``show_progress``."""

    @property
    def _pbar(self) -> Callable[..., Any]:
        return lambda *args, **kwargs: tqdm.tqdm(*args, **kwargs | {"disable": True})


class TianshouAlgorithm5(Algorithm5):
    """Algorithm 5 whose lines 5-24 are Tianshou's: it collects and updates, we learn the graph.

    Warm-up, exploring environments, graph learning, evaluation and the best policy are as in
    `Algorithm5`, and ``policy`` is the same network, so a run's policy can be loaded by
    `load_agent`, Tianshou or not. `causal_rl.agents.train` and `resume` make whole runs of it.

    Tianshou draws from the process's own generators of torch and NumPy. They are put back whenever
    `learn` returns; between, this run's states of them are in place.

    Args:
        spec: the world.
        config: the options; ``algo`` is one of Tianshou's. ``policy_update`` is not read; SAC
            reads ``minibatch_size`` and ``store_size`` (also the size of its replay buffer), and
            neither ``epochs`` nor what belongs to PPO alone.
        graph: as in `Algorithm5`.
        device: as in `Algorithm5`.

    Attributes:
        algo: "ppo" or "sac".
        tianshou: Tianshou's algorithm.
        hook: the graph hook of both collectors.

    Raises:
        ValueError: ``algo`` is none of Tianshou's, or a graph that does not fit.
    """

    def __init__(
        self,
        spec: SCMEnvSpec,
        config: TrainConfig,
        *,
        graph: CausalGraph | None = None,
        device: torch.device | None = None,
    ) -> None:
        if config.algo not in TIANSHOU_ALGORITHMS:
            allowed = ", ".join(TIANSHOU_ALGORITHMS)
            raise ValueError(f"algo must be one of {allowed}; got {config.algo!r}")
        super().__init__(spec, config, graph=graph, device=device)
        self.algo: TianshouName = TIANSHOU_ALGORITHMS[config.algo]
        rollout = config.num_envs * config.rollout_steps
        per_iteration = rollout + config.explore_envs * config.rollout_steps
        iterations = -(-max(config.steps - config.warmup_steps, 1) // per_iteration)
        self._gradient_steps = max(1, rollout // SAC_STEPS_PER_UPDATE)
        make = make_ppo if self.algo == "ppo" else make_sac
        updates = iterations * (1 if self.algo == "ppo" else self._gradient_steps)
        self.tianshou = make(spec, config, body=self.policy, updates=updates).to(self.device)
        if self.fixed_graph is not None:
            set_algorithm_graph(self.tianshou, self.fixed_graph, self.names)
        # Shown to the networks by _learn_graph, which knows of fixed graphs.
        self.hook = CausalGraphHook(None, spec, learner=self.learner, store_size=config.store_size)
        self.store = self.hook.store
        self._explorers: Collector[Any] | None = None
        if config.explore_envs:
            self._explorers = self._collector(config.explore_envs, config.rollout_steps, self.hook)
        kept = config.rollout_steps
        if self.algo == "sac":
            kept = -(-config.store_size // config.num_envs)
        self._actors = self._collector(config.num_envs, kept, self._on_step)
        self._trainer = self._make_trainer(rollout)
        self._acting = False  # the policy acts: its returns are counted
        self._started = False
        self._inside = False
        self._random = _seeded_states(config.seed, self.device)

    def learn(self, observer: Callable[[Algorithm5], bool]) -> bool:
        """As `Algorithm5.learn`."""
        config = self.config
        with self._own_random_states():
            if not self._started:
                self._start()
            while self.progress.env_steps < min(config.warmup_steps, config.steps):
                self.progress.begin()
                self._warm_up()
                self._learn_graph()
                if not observer(self):
                    return False
            if self.progress.iteration == 0 and self.algo == "ppo":
                self._actors.reset()  # whole episodes of the policy, and no random ones
            self._acting = True
            while self.progress.env_steps < config.steps:
                self.progress.begin()
                started = time.perf_counter()
                losses = self._train()  # lines 6-24
                trained = time.perf_counter()
                self.progress.iteration += 1
                last = self.progress.env_steps >= config.steps
                if self.progress.iteration % config.graph_every == 0 or last:
                    self._learn_graph()
                if self.progress.iteration % config.eval_every == 0 or last:
                    self._evaluate()
                self.progress.figures |= losses | {
                    "time/train_seconds": trained - started,
                    "time/graph_and_eval_seconds": time.perf_counter() - trained,
                }
                if not observer(self):
                    return False
            return self._evaluated(observer)

    def state_dict(self) -> dict[str, Any]:
        """Everything that the rest of the run depends on, in plain values and arrays."""
        untyped: Any = self.tianshou
        schedulers = [scheduler.state_dict() for scheduler in self.tianshou.lr_schedulers]
        own = {
            "algorithm": _cpu(untyped.state_dict()),
            "statistics": dict(vars(self.tianshou.ret_rms)) if self.algo == "ppo" else None,
            "alpha": self._alpha_optimiser().state_dict() if self.algo == "sac" else None,
            "schedulers": schedulers,
            "buffer": buffer_state(self._buffer),
            "environments": [collector.env.get_state() for collector in self._collectors()],
            "random": _random_states(self.device) if self._inside else self._random,
            "started": self._started,
        }
        return {**self._learned_state(), "tianshou": own}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where ``state_dict`` was called, as if the run had not stopped."""
        own = state["tianshou"]
        self.tianshou.load_state_dict(own["algorithm"])
        if self.algo == "sac":
            self._alpha_optimiser().load_state_dict(own["alpha"])
        else:
            vars(self.tianshou.ret_rms).update(own["statistics"])
        for scheduler, saved in zip(self.tianshou.lr_schedulers, own["schedulers"], strict=True):
            scheduler.load_state_dict(saved)
        restore_buffer(self._buffer, own["buffer"])
        for collector, saved in zip(self._collectors(), own["environments"], strict=True):
            collector.env.set_state(saved)
            if own["started"]:
                collector.reset_env()  # goes on with the episodes
        self._random = own["random"]
        self._started = own["started"]
        self._load_learned_state(state)

    # --- acting and updating -----------------------------------------------------------------

    def _start(self) -> None:
        first = self._env_seed()
        self._actors.env.seed(first)
        if self._explorers is not None:
            self._explorers.env.seed(first + self.config.num_envs)
        for collector in self._collectors():
            collector.reset()
        self._trainer.reset(reset_collectors=False)
        self._started = True

    def _warm_up(self) -> None:
        """Random interventions in every environment; SAC's replay buffer keeps them too."""
        self._acting = False
        count = self.config.num_envs * self.config.rollout_steps
        self._actors.collect(n_step=count, random=True)
        self.progress.env_steps += count
        self._explore()
        self.hook.flush()

    def _train(self) -> dict[str, float]:
        """One training step of Tianshou's trainer; its figures."""
        self._explore()
        stats = self._trainer.execute_epoch()
        self.hook.flush()  # one chunk an iteration: where chunks end decides which rows go first
        self.progress.env_steps += self.config.num_envs * self.config.rollout_steps
        figures = {}
        losses = {} if stats.training_stat is None else stats.training_stat.get_loss_stats_dict()
        for key, value in losses.items():
            if key in _TAGS:
                tag, factor = _TAGS[key]
                figures[tag] = factor * float(value)
        rates = [scheduler.get_last_lr()[0] for scheduler in self.tianshou.lr_schedulers]
        figures["train/learning_rate"] = float(rates[0])
        if self.episode_returns:
            figures["rollout/ep_rew_mean"] = float(np.mean(self.episode_returns))
        return figures

    def _explore(self) -> None:
        if self._explorers is not None:
            count = self.config.explore_envs * self.config.rollout_steps
            self._explorers.collect(n_step=count, random=True)
            self._explorers.reset_buffer(keep_statistics=True)
            self.progress.env_steps += count

    def _on_step(self, action_batch: Any, rollout_batch: Any) -> None:
        self.hook(action_batch, rollout_batch)
        if self._acting:
            self._track_returns(np.asarray(rollout_batch.rew), np.asarray(rollout_batch.done))

    def _learn_graph(self) -> None:
        super()._learn_graph()
        if self.fixed_graph is None and self.progress.graph_changed and self.learned_graph:
            set_algorithm_graph(self.tianshou, self.learned_graph, self.names)

    # --- Tianshou's parts --------------------------------------------------------------------

    def _collector(self, num_envs: int, rows: int, hook: Any) -> Collector[Any]:
        env = TianshouVectorEnv(self.spec, num_envs)
        buffer = VectorReplayBuffer(rows * num_envs, num_envs)
        return Collector(self.tianshou, env, buffer, on_step_hook=hook)

    def _collectors(self) -> list[Collector[Any]]:
        return [self._actors] if self._explorers is None else [self._actors, self._explorers]

    @property
    def _buffer(self) -> VectorReplayBuffer:
        return cast(VectorReplayBuffer, self._actors.buffer)

    def _make_trainer(self, rollout: int) -> OnPolicyTrainer | OffPolicyTrainer:
        """One epoch is one training step, so that graph and evaluation come between two."""
        common: dict[str, Any] = {
            "training_collector": self._actors,
            "epoch_num_steps": rollout,
            "collection_step_num_env_steps": rollout,
            "batch_size": self.config.minibatch_size,
            "show_progress": False,
            "verbose": False,
        }
        if isinstance(self.tianshou, PPO):
            repeat = self.config.epochs
            params = OnPolicyTrainerParams(**common, update_step_num_repetitions=repeat)
            return OnPolicyTrainer(self.tianshou, params)
        share = self._gradient_steps / rollout
        return _QuietOffPolicyTrainer(
            self.tianshou,
            OffPolicyTrainerParams(**common, update_step_num_gradient_steps_per_sample=share),
        )

    def _alpha_optimiser(self) -> torch.optim.Optimizer:
        # Tianshou leaves this one out of the algorithm's state.
        alpha: Any = self.tianshou.alpha
        return cast(torch.optim.Optimizer, alpha._optim)

    @contextmanager
    def _own_random_states(self) -> Iterator[None]:
        theirs = _random_states(self.device)
        _set_random_states(self._random, self.device)
        self._inside = True
        try:
            yield
        finally:
            self._random = _random_states(self.device)
            self._inside = False
            _set_random_states(theirs, self.device)


def _cpu(state: dict[str, Any]) -> dict[str, Any]:
    """A copy of a state that later steps do not change, its tensors on the CPU."""

    def copy(value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            return value.detach().cpu().clone()
        if isinstance(value, dict):
            return {key: copy(item) for key, item in value.items()}
        return [copy(item) for item in value] if isinstance(value, list) else value

    return cast("dict[str, Any]", copy(state))


def _random_states(device: torch.device) -> dict[str, Any]:
    cuda = torch.cuda.get_rng_state(device) if device.type == "cuda" else None
    numpy = np.random.get_state()  # noqa: NPY002 - Tianshou's own generator
    return {"torch": torch.get_rng_state(), "numpy": numpy, "cuda": cuda}


def _set_random_states(states: dict[str, Any], device: torch.device) -> None:
    torch.set_rng_state(states["torch"])
    np.random.set_state(states["numpy"])  # noqa: NPY002 - Tianshou's own generator
    if states["cuda"] is not None and device.type == "cuda":
        torch.cuda.set_rng_state(states["cuda"], device)


def _seeded_states(seed: int, device: torch.device) -> dict[str, Any]:
    """States of new generators, without touching those of the process."""
    cuda = None
    if device.type == "cuda":
        cuda = torch.Generator(device).manual_seed(seed + 2).get_state()
    return {
        "torch": torch.Generator().manual_seed(seed + 2).get_state(),
        "numpy": np.random.RandomState(seed % 2**32).get_state(),
        "cuda": cuda,
    }
