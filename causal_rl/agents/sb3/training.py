"""A training run by an algorithm of Stable-Baselines3, with the folder of every other run."""

from __future__ import annotations

import copy
import dataclasses
import json
import time
from io import BufferedIOBase
from pathlib import Path
from typing import Any, cast, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from stable_baselines3 import A2C, DQN, PPO, SAC
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import configure
from stable_baselines3.common.utils import LinearSchedule, safe_mean
from stable_baselines3.common.vec_env import VecEnv, VecMonitor, VecNormalize

from causal_rl.agents.config import SB3_ALGORITHMS, AlgoName, SB3Name, TrainConfig
from causal_rl.agents.evaluation import Controller, evaluate, measure_yardsticks
from causal_rl.agents.fixed_graph import fixed_graph
from causal_rl.agents.inspection import AgentEvaluation, evaluate_in_shift
from causal_rl.agents.progress import Progress, Show, progress_display
from causal_rl.agents.reporting import (
    graph_rows,
    plot_learning_curve,
    print_report,
    save_figure,
)
from causal_rl.agents.sb3.callback import CausalGraphCallback
from causal_rl.agents.sb3.env import ActionForm, SCMVecEnv, action_translator
from causal_rl.agents.sb3.policy import ECAMFeaturesExtractor, ECAMPolicy
from causal_rl.agents.tensorboard import LOG_FOLDER
from causal_rl.agents.training import (
    FINAL_SEED_OFFSET,
    GRAPH_FILE,
    SUMMARY_FILE,
    TRANSITIONS_FILE,
    default_folder,
    load_config,
    load_world,
    write_config,
)
from causal_rl.devices import resolve_device
from causal_rl.envs import SCMEnvSpec, resolve_spec
from causal_rl.files import atomic_open, atomic_write_text, make_folder
from causal_rl.graphs import CausalGraph

AlgorithmName = SB3Name
ALGORITHMS: tuple[AlgorithmName, ...] = get_args(AlgorithmName)
MODEL_FILE = "model.zip"
HISTORY_FILE = "history.json"

_CLASSES: dict[str, type[BaseAlgorithm]] = {"ppo": PPO, "a2c": A2C, "sac": SAC, "dqn": DQN}
_FORMS: dict[str, ActionForm] = {
    "ppo": "flat",
    "a2c": "flat",
    "sac": "continuous",
    "dqn": "flat",
}
_EVAL_SEED_OFFSET = 500_000


def train_sb3(
    config: TrainConfig,
    algo: AlgorithmName = "ppo",
    *,
    out: Path | None = None,
    console: Console | None = None,
) -> dict[str, Any]:
    """Train by an algorithm of Stable-Baselines3 and write a run's folder.

    The folder holds what `causal_rl.agents.train` writes, but ``model.zip`` (the policy that
    evaluated best, with its graph) and ``history.json`` (figures over time) in place of a
    checkpoint; such a run cannot be resumed. Every option of the config that means something to
    the algorithm is passed on: a2c ignores ``epochs``, ``minibatch_size`` and ``clip_range``; sac
    and dqn take ``minibatch_size`` rows from a replay buffer of ``store_size`` for ``epochs``
    gradient steps after each step of all environments, begin after ``warmup_steps`` random steps,
    and ignore ``gae_lambda``, ``clip_range`` and the coefficients of entropy and value.
    ``policy_update`` is ignored. The seed is also that of the process's global generators:
    Stable-Baselines3 draws from them.

    Args:
        config: the options.
        algo: "ppo", "a2c", "sac" or "dqn".
        out: the run's folder, absent or empty; default as `causal_rl.agents.train`.
        console: where the progress bar and the tables go.

    Returns:
        What ``summary.json`` holds; ``policy_update`` is there ``sb3-<algo>``.

    Raises:
        ValueError: a bad option, world or graph file, or a folder that holds files; nothing is
            written then.
    """
    if algo not in ALGORITHMS:
        raise ValueError(f"algo must be one of {', '.join(ALGORITHMS)}, got {algo!r}")
    folder = default_folder(config) if out is None else Path(out)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(f"out must be a new or empty folder, got {str(folder)!r}")
    started = time.perf_counter()
    config = dataclasses.replace(config, algo=cast(AlgoName, f"sb3-{algo}"))
    spec = load_world(config)
    device = resolve_device(config.device)
    graph = fixed_graph(config, spec)
    env = make_sb3_env(config, algo, spec)
    model = make_sb3_model(config, algo, env, graph, device=device)
    env.seed(config.seed * 1_000_000)  # seeds of different runs lie far apart
    on_policy = algo in ("ppo", "a2c")
    learn_graph = CausalGraphCallback(
        learner=config.learner,
        every=config.graph_every * config.rollout_steps * (config.num_envs + config.explore_envs),
        store_size=config.store_size,
        explore_envs=config.explore_envs,
        # An off-policy algorithm begins with random actions itself and learns from them too.
        warmup_steps=min(config.warmup_steps, config.steps - 1) if on_policy else 0,
        seed=config.seed,
        set_graph=config.graph == "learned" and config.encoder in ("ecam", "masked-mlp"),
        oracle=True,
    )
    make_folder(folder, "out")
    write_config(folder, config)
    model.set_logger(configure(str(folder / LOG_FOLDER), ["tensorboard"]))
    shown = console or Console()
    with progress_display(shown, config.steps, 0) as show:
        watch = _RunWatch(spec, config, _FORMS[algo], learn_graph, show)
        model.learn(_policy_steps(config, on_policy=on_policy), callback=[learn_graph, watch])
    env.close()
    summary = _finish(folder, model, spec, config, algo, learn_graph, watch, started)
    print_report(shown, summary, folder)
    return summary


def make_sb3_env(config: TrainConfig, algo: AlgorithmName, spec: SCMEnvSpec) -> VecEnv:
    """The environments of a run, their rewards normalised where the config says so.

    Args:
        config: num_envs, normalise_returns and gamma are read.
        algo: decides the form of the actions.
        spec: the world.
    """
    world = VecMonitor(SCMVecEnv(spec, config.num_envs, actions=_FORMS[algo]))
    if not config.normalise_returns:
        return world
    return VecNormalize(world, norm_obs=False, gamma=config.gamma, clip_reward=np.inf)


def make_sb3_model(
    config: TrainConfig,
    algo: AlgorithmName,
    env: VecEnv,
    graph: CausalGraph | None,
    *,
    device: torch.device,
) -> BaseAlgorithm:
    """A model whose nets and options are those of a run's config, see `train_sb3`.

    Args:
        config: the options.
        algo: the algorithm.
        env: over an `SCMVecEnv` with actions in the form that the algorithm takes.
        graph: the graph that the encoder begins with; None: every variable reads every other.
        device: of the networks.
    """
    encoder = {
        "encoder": config.encoder,
        "graph": graph,
        "names": env.get_attr("scm_spec")[0].observed_names,
        "embed_dim": config.embed_dim,
        "layers": config.layers,
        "heads": config.heads,
        "modulation": config.modulation,
        "pooling": config.pooling,
    }
    end = config.learning_rate * config.learning_rate_end
    common: dict[str, Any] = {
        "learning_rate": LinearSchedule(config.learning_rate, end, 1.0),
        "gamma": config.gamma,
        "seed": config.seed,
        "device": device,
    }
    if algo in ("ppo", "a2c"):
        common |= {
            "n_steps": config.rollout_steps,
            "gae_lambda": config.gae_lambda,
            "ent_coef": config.entropy_coef,
            "vf_coef": config.value_coef,
            "max_grad_norm": config.max_grad_norm,
            "normalize_advantage": True,
            "policy_kwargs": {"features_extractor_kwargs": encoder},
        }
        if algo == "a2c":
            return A2C(ECAMPolicy, env, use_rms_prop=False, **common)
        return PPO(
            ECAMPolicy,
            env,
            batch_size=config.minibatch_size,
            n_epochs=config.epochs,
            clip_range=config.clip_range,
            **common,
        )
    common |= {
        "buffer_size": config.store_size,
        "learning_starts": config.warmup_steps,
        "batch_size": config.minibatch_size,
        "train_freq": 1,
        "gradient_steps": config.epochs,
        "policy_kwargs": {
            "features_extractor_class": ECAMFeaturesExtractor,
            "features_extractor_kwargs": encoder,
            "net_arch": [config.embed_dim],
        },
    }
    if algo == "sac":
        return SAC("MlpPolicy", env, **common)
    return DQN(
        "MlpPolicy",
        env,
        max_grad_norm=config.max_grad_norm,
        target_update_interval=max(config.num_envs, 512),
        exploration_fraction=0.3,
        **common,
    )


def sb3_controller(
    model: BaseAlgorithm, spec: SCMEnvSpec, actions: ActionForm = "flat"
) -> Controller:
    """The deterministic action of a model, for `causal_rl.agents.evaluate`.

    Args:
        model: trained on `SCMVecEnv` observations of the world.
        spec: the world.
        actions: the form in which the model acts, as in `SCMVecEnv`.

    Raises:
        ValueError: an unknown form, or one whose action space is not the model's.
    """
    translate = action_translator(spec.interventions, actions)
    space = spec.action_space() if translate is None else translate.space
    if model.action_space != space:
        raise ValueError(
            f"actions must be the form that the model acts in: {actions!r} has {space}, the model "
            f"{model.action_space}"
        )

    def control(
        observation: NDArray[np.floating], values: NDArray[np.float64]
    ) -> NDArray[np.int64]:
        chosen, _ = model.predict(observation.astype(np.float32), deterministic=True)
        return np.asarray(chosen) if translate is None else translate(chosen)

    return control


def load_sb3_agent(
    folder: Path, *, device: str = "cpu"
) -> tuple[BaseAlgorithm, SCMEnvSpec, TrainConfig, Controller]:
    """The policy of a run of `train_sb3`, ready to act.

    Args:
        folder: the run's folder.
        device: of the networks.

    Returns:
        The model, the world, the options, and the policy as a controller.

    Raises:
        ValueError: no run of Stable-Baselines3 there, or one that is not finished.
    """
    config = load_config(folder)
    if config.algo not in SB3_ALGORITHMS:
        raise ValueError(f"{str(folder)!r} is no run of Stable-Baselines3, but of {config.algo}")
    algo = SB3_ALGORITHMS[config.algo]
    paths = [folder / SUMMARY_FILE, folder / MODEL_FILE]
    if not all(path.is_file() for path in paths):
        raise ValueError(f"{str(folder)!r} is no finished run: it lacks its summary or model")
    spec = resolve_spec(config.env, **config.world_kwargs)
    model = _CLASSES[algo].load(paths[1], device=resolve_device(device))
    return model, spec, config, sb3_controller(model, spec, _FORMS[algo])


def evaluate_sb3_agent(
    folder: Path, *, shift: str | None = None, episodes: int | None = None, device: str = "cpu"
) -> AgentEvaluation:
    """Evaluate the policy of a run of `train_sb3`; see `causal_rl.agents.evaluate_run_agent`.

    Args:
        folder: the run's folder.
        shift: a shift of the world by name; None for the world that was trained on.
        episodes: episodes to run; default the run's ``final_episodes``.
        device: of the networks.

    Raises:
        ValueError: as `load_sb3_agent`, or a shift that the world has not.
    """
    _, spec, config, controller = load_sb3_agent(folder, device=device)
    return evaluate_in_shift(controller, spec, config, shift, episodes)


class _RunWatch(BaseCallback):
    """Evaluates between rollouts, keeps the best policy, notes the figures, shows the progress."""

    def __init__(
        self,
        spec: SCMEnvSpec,
        config: TrainConfig,
        actions: ActionForm,
        graph: CausalGraphCallback,
        show: Show,
    ) -> None:
        super().__init__()
        self.spec, self.config, self.actions = spec, config, actions
        self.graph, self.show = graph, show
        self.progress = Progress()
        self.history: list[dict[str, float]] = []
        self.best: tuple[float, dict[str, Any]] | None = None
        self._started = time.perf_counter()

    def _on_step(self) -> bool:
        return True

    def _on_rollout_start(self) -> None:
        config = self.config
        iteration = self.num_timesteps // (config.num_envs * config.rollout_steps)
        if iteration > self.progress.iteration:
            self.progress.iteration = iteration
            self._note(evaluated=iteration % config.eval_every == 0)

    def _on_training_end(self) -> None:
        self._note(evaluated=True)

    def _note(self, *, evaluated: bool) -> None:
        progress = self.progress
        progress.env_steps = self.num_timesteps + self.graph.explored_steps
        progress.figures = dict(self.graph.figures)
        episodes = self.model.ep_info_buffer
        if episodes:
            progress.figures["rollout/ep_rew_mean"] = float(safe_mean([e["r"] for e in episodes]))
        if evaluated:
            mean = self._evaluate()
            progress.figures["eval/mean_reward"] = mean
            self.logger.record("eval/mean_reward", mean)
        self.history.append({"env_steps": float(progress.env_steps), **progress.figures})
        self.show(progress, progress.env_steps / (time.perf_counter() - self._started))

    def _evaluate(self) -> float:
        returns = evaluate(
            self.spec,
            sb3_controller(self.model, self.spec, self.actions),
            episodes=self.config.eval_episodes,
            seed=self.config.seed * 1_000_000 + _EVAL_SEED_OFFSET,
        )
        mean = float(returns.mean())
        if self.best is None or mean > self.best[0]:
            self.best = (mean, copy.deepcopy(self.model.policy.state_dict()))
        return mean


def _policy_steps(config: TrainConfig, *, on_policy: bool) -> int:
    """Steps of the policy's own environments where ``config.steps`` counts all of them."""
    warm = min(config.warmup_steps, config.steps - 1) if on_policy else 0
    share = config.num_envs / (config.num_envs + config.explore_envs)
    return max(1, int((config.steps - warm) * share))


def _finish(
    folder: Path,
    model: BaseAlgorithm,
    spec: SCMEnvSpec,
    config: TrainConfig,
    algo: AlgorithmName,
    learned: CausalGraphCallback,
    watch: _RunWatch,
    started: float,
) -> dict[str, Any]:
    """The closing evaluation and every file a person would look at; the summary comes last."""
    if learned.graph is None or watch.best is None:  # pragma: no cover - learn() ends with both
        raise RuntimeError("the run ended without a graph or an evaluation")
    model.policy.load_state_dict(watch.best[1])
    with atomic_open(folder / MODEL_FILE) as file:
        model.save(cast(BufferedIOBase, file))
    seed = config.seed * 1_000_000 + FINAL_SEED_OFFSET
    controller = sb3_controller(model, spec, _FORMS[algo])
    returns = evaluate(spec, controller, episodes=config.final_episodes, seed=seed)
    yardsticks = measure_yardsticks(spec, episodes=config.final_episodes, seed=seed)
    truth = spec.causal_graph
    rows = graph_rows(learned.graph, truth, seed=config.seed)
    learned.graph.save(folder / GRAPH_FILE)
    learned.store.all().save(folder / TRANSITIONS_FILE)
    atomic_write_text(folder / HISTORY_FILE, json.dumps(watch.history) + "\n")
    save_figure(learned.graph.plot_comparison(truth), folder / "graph.png")
    save_figure(plot_learning_curve(watch.history, yardsticks), folder / "learning_curve.png")
    mean = float(returns.mean())
    summary = {
        "env": config.env,
        "env_args": list(config.env_args),
        "seed": config.seed,
        "encoder": config.encoder,
        "graph": config.graph,
        "learner": config.learner,
        "policy_update": config.algo,
        "env_steps": watch.progress.env_steps,
        "seconds": round(time.perf_counter() - started, 2),
        "return_mean": mean,
        **yardsticks.beside(mean),
        **rows["learned"],
        "baselines": {name: row for name, row in rows.items() if name != "learned"},
    }
    atomic_write_text(folder / SUMMARY_FILE, json.dumps(summary, indent=2) + "\n")
    return summary
