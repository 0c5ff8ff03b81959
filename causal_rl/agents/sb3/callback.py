"""Learning the graph while Stable-Baselines3 learns the policy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Figure

from causal_rl.agents.reporting import save_figure
from causal_rl.agents.sb3.env import SCMVecEnv
from causal_rl.agents.sb3.policy import graph_extractors, set_policy_graph
from causal_rl.agents.store import TransitionStore
from causal_rl.discovery import make_learner
from causal_rl.envs import SCMEnvSpec, SCMVectorEnv, VectorStep, vector_step, vector_transitions
from causal_rl.graphs import CausalGraph

# Explorers run on episodes apart from those of training and evaluation.
_EXPLORE_SEED_OFFSET = 300_000
_CHUNK_ROWS = 512
# Formats of Stable-Baselines3's logger that cannot hold a picture.
_NO_PICTURES = ("stdout", "log", "json", "csv")


class CausalGraphCallback(BaseCallback):
    """Feeds every transition to a graph learner and shows the policy the graph that it finds.

    The counterpart of lines 11 and 25-35 of Algorithm 5 for any algorithm of Stable-Baselines3.
    Rows of `SCMVecEnv` are stored in float64 as the world made them; rows of other environments
    are put together from observations, ``infos[i]["terminal_observation"]`` and the logged
    ``do_target`` and ``do_value``, free of the normalisation of a `VecNormalize`. No row joins two
    episodes. The graph changes between rollouts alone, when at least ``every`` rows are new, and
    once more at the end of training.

    Args:
        learner: name of a graph learner, see `causal_rl.discovery.list_learners`.
        learner_options: its options.
        every: environment steps between two graphs, at least 1.
        names: observed variables in the order of the columns; default the world's.
        kinds: their kinds; default the world's, or all "state" where ``names`` is given.
        store_size: transitions kept (the latest).
        explore_envs: further environments that act at random beside the policy, for the graph
            alone. They need an SCM world, and their steps are counted in `explored_steps`.
        warmup_steps: random interventions before training begins; likewise.
        seed: of the random actions and of the exploring environments.
        set_graph: show the policy what is learned; False only learns.
        oracle: also log SHD and F1 to the true graph and draw it, where the environments have one.
        folder: ``graph.json`` and ``graph.png`` are written there whenever the graph changes.
        verbose: as in `BaseCallback`.

    Attributes:
        graph: what the learner last found, None before.
        store: the replay buffer D of Algorithm 5, a `TransitionStore`.
        figures: scalars of the last graph by TensorBoard tag, ``causal/*``.
        explored_steps: steps of exploring environments, warm-up included.

    Raises:
        ValueError: a number out of its range or an unknown learner. When training begins:
            environments without names, without interventions in their infos, or without the truth
            that ``oracle`` asks for; a policy that reads no graph.
    """

    def __init__(
        self,
        *,
        learner: str = "interventional",
        learner_options: Mapping[str, Any] | None = None,
        every: int = 5_120,
        names: Sequence[str] | None = None,
        kinds: Sequence[str] | None = None,
        store_size: int = 50_000,
        explore_envs: int = 0,
        warmup_steps: int = 0,
        seed: int = 0,
        set_graph: bool = True,
        oracle: bool = False,
        folder: Path | str | None = None,
        verbose: int = 0,
    ) -> None:
        super().__init__(verbose)
        for label, number, least in (
            ("every", every, 1),
            ("explore_envs", explore_envs, 0),
            ("warmup_steps", warmup_steps, 0),
            ("seed", seed, 0),
        ):
            if isinstance(number, bool) or not isinstance(number, int) or number < least:
                raise ValueError(f"{label} must be an integer of at least {least}, got {number!r}")
        self.learner = make_learner(learner, **{"reward_node": True, **(learner_options or {})})
        self.store = TransitionStore(store_size)
        self.every = every
        self.explore_envs = explore_envs
        self.warmup_steps = warmup_steps
        self.seed = seed
        self.set_graph = set_graph
        self.oracle = oracle
        self.folder = None if folder is None else Path(folder)
        self.graph: CausalGraph | None = None
        self.figures: dict[str, float] = {}
        self.explored_steps = 0
        self._given_names, self._given_kinds = names, kinds
        self._names: tuple[str, ...] = ()
        self._kinds: tuple[str, ...] = ()
        self._truth: CausalGraph | None = None
        self._spec: SCMEnvSpec | None = None
        self._explorer: _Explorer | None = None
        self._steps: list[VectorStep] = []
        self._rows = self._new_rows = 0
        self._state: NDArray[np.floating[Any]] | None = None

    def _init_callback(self) -> None:
        env = self.training_env
        columns = env.observation_space.shape
        spec = env.get_attr("scm_spec")[0] if env.has_attr("scm_spec") else None
        if self._given_names is not None:
            self._names = tuple(self._given_names)
            self._kinds = tuple(self._given_kinds or ("state",) * len(self._names))
        elif spec is not None:
            self._names, self._kinds = spec.observed_names, spec.observed_kinds
        if columns != (len(self._names),) or len(self._kinds) != len(self._names):
            raise ValueError(
                "names and kinds must be given, one a column of the observation, whose shape is "
                f"{columns}; got {', '.join(self._names) or 'none'}"
            )
        if self.set_graph:
            graph_extractors(self.model)
        if self.oracle:
            if not env.has_attr("causal_graph"):
                raise ValueError("oracle must be False: the environments have no causal_graph")
            self._truth = env.get_attr("causal_graph")[0]
        if self.explore_envs or self.warmup_steps:
            if spec is None:
                raise ValueError(
                    "explore_envs and warmup_steps must be 0 for environments of no SCM world"
                )
            if self.explore_envs and self._explorer is None:
                self._explorer = _Explorer(spec, self.explore_envs, self.seed, 0)
            self._spec = spec

    def _on_training_start(self) -> None:
        normaliser = self.model.get_vec_normalize_env()
        last = self.model._last_obs if normaliser is None else normaliser.get_original_obs()
        self._state = np.array(last)
        if self._spec is not None and self.explored_steps < self.warmup_steps:
            # As many environments as act later: a warm-up of few would take many steps.
            count = self.training_env.num_envs + self.explore_envs
            walkers = _Explorer(self._spec, count, self.seed, self.explore_envs)
            while self.explored_steps < self.warmup_steps:
                self._keep(walkers.step(), explored=True)
            self._learn()

    def _on_step(self) -> bool:
        self._keep(self._observed())
        if self._explorer is not None:
            self._keep(self._explorer.step(), explored=True)
        return True

    def _on_rollout_start(self) -> None:
        # Here the update is done and no ratio of probabilities spans the change of the graph.
        if self._new_rows >= self.every:
            self._learn()

    def _on_training_end(self) -> None:
        self._learn()
        self.logger.dump(self.num_timesteps)

    def _observed(self) -> VectorStep:
        """The step just made, with the states reached before any reset."""
        source = self.training_env.unwrapped
        if isinstance(source, SCMVecEnv) and source.last_step is not None:
            return source.last_step
        if self._state is None:  # pragma: no cover - training has started
            raise RuntimeError("training has not started")
        normaliser = self.model.get_vec_normalize_env()
        shown, reward = self.locals["new_obs"], self.locals["rewards"]
        if normaliser is not None:
            shown, reward = normaliser.get_original_obs(), normaliser.get_original_reward()
        final = None if normaliser is None else normaliser.unnormalize_obs
        step = step_from_infos(
            self._state,
            self.locals.get("clipped_actions", self.locals["actions"]),
            shown,
            reward,
            self.locals["dones"],
            self.locals["infos"],
            restore=final,
        )
        self._state = np.array(shown)
        return step

    def _keep(self, step: VectorStep, *, explored: bool = False) -> None:
        self._steps.append(step)
        self._rows += len(step)
        self._new_rows += len(step)
        self.explored_steps += len(step) if explored else 0
        if self._rows >= _CHUNK_ROWS:
            self._flush()

    def _flush(self) -> None:
        if self._steps:
            self.store.add(vector_transitions(self._steps, names=self._names, kinds=self._kinds))
        self._steps, self._rows = [], 0

    def _learn(self) -> None:
        """Feed the learner what is new; show the policy the graph it returns."""
        self._flush()
        self._new_rows = 0
        fresh = self.store.take_fresh()
        if fresh is None:
            return
        graph = self.learner.update(fresh)
        changed = self.graph is None or self.graph != graph
        self.graph = graph
        if self.set_graph and changed:
            set_policy_graph(self.model, graph)
        self._log(graph, changed)

    def _log(self, graph: CausalGraph, changed: bool) -> None:
        self.figures = {
            "causal/edges_contemporaneous": float(graph.contemporaneous.sum()),
            "causal/edges_lagged": float(graph.lagged.sum()),
            "causal/transitions": float(len(self.store)),
        }
        if self.set_graph:
            read = next(graph_extractors(self.model)).variables_read
            self.figures["causal/variables_read"] = float(len(read))
        if self._truth is not None:
            scores = graph.compare(self._truth).to_dict()
            for metric in ("shd", "f1"):
                for block in ("contemporaneous", "lagged"):
                    key = f"{metric}_{block}"
                    self.figures[f"causal/{key}"] = float(scores[key] or 0.0)
        for tag, value in self.figures.items():
            self.logger.record(tag, value)
        if not changed:
            return
        picture: Any = (
            graph.plot().figure if self._truth is None else graph.plot_comparison(self._truth)
        )
        self.logger.record("causal/graph", Figure(picture, close=False), exclude=_NO_PICTURES)
        if self.folder is not None:
            self.folder.mkdir(parents=True, exist_ok=True)
            graph.save(self.folder / "graph.json")
            save_figure(picture, self.folder / "graph.png")


def step_from_infos(
    observation: NDArray[np.floating[Any]],
    action: NDArray[Any],
    shown: NDArray[np.floating[Any]],
    reward: NDArray[np.floating[Any]],
    dones: NDArray[np.bool_],
    infos: Sequence[Mapping[str, Any]],
    *,
    restore: Any = None,
) -> VectorStep:
    """What one step of a `VecEnv` returned, with its rows right.

    Args:
        observation: (envs, n) what was shown before the step.
        action: (envs, ...) what was done.
        shown: (envs, n) what the step returned; rows that are done show the next episode.
        reward: (envs,).
        dones: bool (envs,).
        infos: one a row, with ``do_target`` and ``do_value`` of the step (of its last state, where
            it is done), ``terminal_observation`` where done and ``TimeLimit.truncated``.
        restore: undoes the normalisation of a terminal observation; None where there is none.

    Returns:
        The step; ``next_state`` is what was reached before any reset.

    Raises:
        ValueError: an info lacks one of these.
    """
    after = np.array(shown)
    for i, info in enumerate(infos):
        needed = ("do_target", "do_value", *(("terminal_observation",) if dones[i] else ()))
        missing = [key for key in needed if key not in info]
        if missing:
            raise ValueError(
                f"infos[{i}] must hold {missing[0]!r}; the environments log no interventions, or "
                "lose them on the way"
            )
        if dones[i]:
            final = info["terminal_observation"]
            after[i] = final if restore is None else restore(final)
    truncated = np.array([bool(info.get("TimeLimit.truncated", False)) for info in infos]) & dones
    done = {
        key: np.stack([np.asarray(info[key]) for info in infos])
        for key in ("do_target", "do_value")
    }
    outcome = (after, reward, dones & ~truncated, truncated, done)
    return vector_step(observation, action, outcome, autoreset_mode="DISABLED")


class _Explorer:
    """Environments of a world that act at random."""

    def __init__(self, spec: SCMEnvSpec, count: int, seed: int, offset: int) -> None:
        self._rng = np.random.default_rng([seed, 1, offset])
        self._high = spec.action_space().nvec
        self._env = SCMVectorEnv(spec, num_envs=count)
        first = seed * 1_000_000 + _EXPLORE_SEED_OFFSET + offset
        self._observation, _ = self._env.reset(seed=first)

    def step(self) -> VectorStep:
        action = self._rng.integers(0, self._high, size=(self._env.num_envs, 2))
        outcome = self._env.step(action)
        step = vector_step(self._observation, action, outcome)
        self._observation = outcome[0]
        return step
