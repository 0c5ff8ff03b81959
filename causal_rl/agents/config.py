"""The options of a training run: one frozen dataclass that the CLI, YAML files and docs read."""

from __future__ import annotations

import dataclasses
import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal, Self, get_args, get_origin, get_type_hints

import yaml

from causal_rl.envs.regimes import RegimeSchedule

AgentName = Literal["actor-critic", "planner"]
EncoderName = Literal["ecam", "attention", "mlp", "masked-mlp"]
PolicyUpdateName = Literal["ppo", "a2c", "paper"]
AlgoName = Literal[
    "own", "sb3-ppo", "sb3-a2c", "sb3-sac", "sb3-dqn", "tianshou-ppo", "tianshou-sac"
]
SB3Name = Literal["ppo", "a2c", "sac", "dqn"]
#: Names of Stable-Baselines3's loops among those of ``algo``, as its bridge calls them.
SB3_ALGORITHMS: dict[str, SB3Name] = {
    "sb3-ppo": "ppo",
    "sb3-a2c": "a2c",
    "sb3-sac": "sac",
    "sb3-dqn": "dqn",
}
TianshouName = Literal["ppo", "sac"]
#: Likewise of Tianshou's.
TIANSHOU_ALGORITHMS: dict[str, TianshouName] = {"tianshou-ppo": "ppo", "tianshou-sac": "sac"}
ModulationName = Literal["hard", "log", "scale"]
CounterfactualNoise = Literal["stored", "fresh"]
PoolingName = Literal["attention", "linear"]

#: The agent of options that name none.
DEFAULT_AGENT: AgentName = "actor-critic"
GRAPH_SOURCES = ("learned", "oracle", "full", "empty")
# Random rows that a watch is fitted and calibrated on.
_WATCH_WARMUP = 800


def _option(default: Any, help_text: str, **about: float | str) -> Any:
    """A dataclass field with its help text.

    ``about``: inclusive ``low`` and ``high`` bounds; of what can be repeated, the ``flag`` of one
    and its ``metavar``.
    """
    return field(default=default, metadata={"help": help_text, **about})


@dataclass(frozen=True)
class RunOptions:
    """The options that every agent has, and how options are checked, read and written.

    Attributes:
        agent: whose options the class holds, as ``--agent`` names it.

    Raises:
        ValueError: a value is outside its allowed set or range.
        TypeError: a value has the wrong type.
    """

    agent: ClassVar[AgentName]

    env: str = _option(
        "chain-scm", "World: a registered name, path/to/file.py:NAME or module:NAME."
    )
    env_args: tuple[str, ...] = _option(
        (),
        "Keyword argument of the world as key=value, e.g. n=12; repeatable.",
        flag="--env-arg",
        metavar="KEY=VALUE",
    )
    seed: int = _option(0, "Seed of every random number of the run.", low=0)
    steps: int = _option(
        80_000, "Environment steps in all, warm-up and exploration included.", low=1
    )

    def __post_init__(self) -> None:
        hints = get_type_hints(type(self))
        for item in dataclasses.fields(self):
            value = _coerce(item.name, getattr(self, item.name), hints[item.name])
            object.__setattr__(self, item.name, value)
            _check_range(item.name, value, item.metadata.get("low"), item.metadata.get("high"))

    @property
    def world_kwargs(self) -> dict[str, Any]:
        """``env_args`` as keyword arguments; values are read as YAML scalars.

        Raises:
            ValueError: an item is not of the form key=value.
        """
        kwargs: dict[str, Any] = {}
        for item in self.env_args:
            key, equals, value = item.partition("=")
            if not equals or not key.isidentifier():
                raise ValueError(f"env_args must be key=value, got {item!r}")
            kwargs[key] = yaml.safe_load(value)
        return kwargs

    def to_dict(self) -> dict[str, Any]:
        """Plain values for YAML and checkpoints."""
        plain = dataclasses.asdict(self)
        values = {k: list(v) if isinstance(v, tuple) else v for k, v in plain.items()}
        return values if self.agent == DEFAULT_AGENT else {"agent": self.agent, **values}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Build from a mapping of field names, and perhaps "agent", which must be this class's.

        Raises:
            ValueError: a key is no option; the nearest options are offered.
        """
        given = dict(values)
        agent = given.pop("agent", cls.agent)
        if agent != cls.agent:
            raise ValueError(f"agent must be {cls.agent} here, got {agent!r}")
        known = [item.name for item in dataclasses.fields(cls)]
        for key in given:
            if key not in known:
                near = difflib.get_close_matches(str(key), known, n=3)
                hint = (
                    f"; did you mean {', '.join(near)}?"
                    if near
                    else f" (allowed: {', '.join(known)})"
                )
                whose = "" if cls.agent == DEFAULT_AGENT else f" of agent {cls.agent}"
                raise ValueError(f"unknown option {key!r}{whose}{hint}")
        return cls(**given)

    @classmethod
    def load(cls, path: Path | str) -> dict[str, Any]:
        """Read a YAML file of options and return the mapping, its keys and values checked.

        Raises:
            ValueError: the file is absent, no YAML mapping, or holds an unknown or bad option.
        """
        values = read_options(path)
        cls.from_dict(values)
        return values


@dataclass(frozen=True)
class TrainConfig(RunOptions):
    """Options of Algorithm 5 on one world; every field is a CLI option and a YAML key.

    Raises:
        ValueError: a value is outside its allowed set or range.
        TypeError: a value has the wrong type.
    """

    agent: ClassVar[AgentName] = "actor-critic"

    device: str = _option("cpu", "Torch device of the networks: cpu, cuda, cuda:N, mps or auto.")

    algo: AlgoName = _option(
        "own",
        "Training loop: Algorithm 5's own, or one of Stable-Baselines3 (extra sb3) or Tianshou "
        "(extra tianshou).",
    )
    encoder: EncoderName = _option("ecam", "State encoder of actor and critic.")
    graph: str = _option(
        "learned",
        "Graph the encoder reads: learned, oracle, full, empty or a graph JSON file.",
    )
    learner: str = _option(
        "interventional", "Graph learner: interventional, algorithm5 or another registered one."
    )
    modulation: ModulationName = _option(
        "hard", "How the graph enters the attention scores (ecam encoder)."
    )
    pooling: PoolingName = _option(
        "linear", "How tokens become one vector: a map per variable, or a learned query."
    )
    embed_dim: int = _option(32, "Width of tokens and hidden layers [units].", low=1)
    layers: int = _option(2, "Attention or hidden layers of the encoder [layers].", low=1)
    heads: int = _option(2, "Attention heads; must divide embed_dim [heads].", low=1)

    policy_update: PolicyUpdateName = _option(
        "ppo", "Policy update: ppo, a2c, or the paper's printed replay update."
    )
    num_envs: int = _option(32, "Parallel environments that follow the policy [envs].", low=1)
    explore_envs: int = _option(
        4, "Further environments that act at random, for the graph only [envs].", low=0
    )
    rollout_steps: int = _option(16, "Steps per environment between updates [steps].", low=1)
    epochs: int = _option(4, "Passes over a rollout per PPO update [passes].", low=1)
    minibatch_size: int = _option(128, "Rows per gradient step [rows].", low=1)
    learning_rate: float = _option(2e-3, "Step size of Adam at the start.", low=0.0)
    learning_rate_end: float = _option(
        0.1, "Step size at the end as a share of that at the start; linear in between.", low=0.0
    )
    gamma: float = _option(0.5, "Discount per step.", low=0.0, high=1.0)
    gae_lambda: float = _option(0.95, "Lambda of generalised advantages.", low=0.0, high=1.0)
    clip_range: float = _option(0.2, "Clip range of PPO's probability ratio.", low=0.0)
    entropy_coef: float = _option(0.01, "Weight of the entropy bonus.", low=0.0)
    value_coef: float = _option(0.5, "Weight of the value loss.", low=0.0)
    max_grad_norm: float = _option(0.5, "Gradient norm at which gradients are clipped.", low=0.0)
    normalise_returns: bool = _option(
        True, "Divide rewards by the running standard deviation of the discounted return."
    )

    warmup_steps: int = _option(
        4096, "Random-intervention steps before the first policy rollout [steps].", low=1
    )
    warm_start: str = _option(
        "none",
        "Begin as a planner's pupil, in place of the warm-up: none, planner (one acts first), or "
        "the folder of a planner's run.",
    )
    warm_start_steps: int = _option(
        500, "Steps of the planner of --warm-start planner, counted among all [steps].", low=1
    )
    graph_every: int = _option(10, "Rollouts between two graph updates [rollouts].", low=1)
    watch: float = _option(
        0.0,
        "Watch every mechanism, name and refit one that breaks: probability of any false alarm "
        "in the run, below 1; 0 is off.",
        low=0.0,
        high=0.999,
    )
    regimes: tuple[str, ...] = _option(
        (),
        "The world changes on the way: from this environment step on it is that shift of the "
        "world, or train, which is the world without a shift; repeatable.",
        flag="--regime",
        metavar="STEP=SHIFT",
    )
    counterfactuals: int = _option(
        0,
        "Times that the policy acts anew in every rollout, as it would have gone in the learned "
        "model under the same noise, and learns from it; 0 is off [rollouts].",
        low=0,
    )
    counterfactual_noise: CounterfactualNoise = _option(
        "stored", "Noise of these rollouts: stored (abducted) or, for comparison, fresh."
    )
    store_size: int = _option(50_000, "Transitions kept (the latest) [transitions].", low=1)

    eval_every: int = _option(20, "Rollouts between two evaluations [rollouts].", low=1)
    eval_episodes: int = _option(64, "Episodes per evaluation [episodes].", low=1)
    final_episodes: int = _option(128, "Episodes of the closing evaluation [episodes].", low=1)
    checkpoint_every: int = _option(20, "Rollouts between two checkpoints [rollouts].", low=1)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.embed_dim % self.heads:
            raise ValueError(
                f"heads must divide embed_dim: heads is {self.heads}, embed_dim {self.embed_dim}"
            )
        if self.warm_start != "none" and self.algo != "own":
            raise ValueError(f"warm_start must be none where algo is {self.algo!r}")
        if self.watch and (self.algo, self.warm_start) != ("own", "none"):
            raise ValueError("watch must be 0 where algo is not own or warm_start not none")
        if self.counterfactuals and self.algo != "own":
            raise ValueError(f"counterfactuals must be 0 where algo is {self.algo!r}")
        if self.schedule is not None and (self.algo, self.warm_start) != ("own", "none"):
            raise ValueError("regimes must be none where algo is not own or warm_start not none")
        if self.watch and self.warmup_steps < _WATCH_WARMUP:
            raise ValueError(
                f"warmup_steps must be at least {_WATCH_WARMUP} with watch, got {self.warmup_steps}"
            )

    @property
    def schedule(self) -> RegimeSchedule | None:
        """``regimes`` in order, or None without any.

        Raises:
            ValueError: one that is not STEP=SHIFT, or steps that do not rise.
        """
        switches = []
        for item in self.regimes:
            step, equals, shift = item.partition("=")
            if not equals or not step.isdecimal() or not shift:
                raise ValueError(f"regimes must be STEP=SHIFT, got {item!r}")
            switches.append((int(step), shift))
        try:
            return RegimeSchedule(tuple(switches)) if switches else None
        except ValueError as error:
            raise ValueError(f"regimes: {error}") from error

    @property
    def graph_file(self) -> Path | None:
        """The graph file named by ``graph``, or None where ``graph`` is one of the sources."""
        return None if self.graph in GRAPH_SOURCES else Path(self.graph)


def read_options(path: Path | str) -> dict[str, Any]:
    """Read a YAML file of options, unchecked.

    Raises:
        ValueError: the file is absent or holds no YAML mapping.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"config must be a YAML file, got {str(path)!r}, which is no file")
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"config {str(path)!r} is no valid YAML: {reason}") from error
    if not isinstance(values, dict):
        raise ValueError(f"config {str(path)!r} must hold a mapping of option: value")
    return values


def _coerce(name: str, value: Any, annotation: Any) -> Any:
    """Check ``value`` against a field's annotation; ints pass as floats, lists as tuples."""
    origin = get_origin(annotation)
    if origin is Literal:
        allowed = get_args(annotation)
        if value not in allowed:
            raise ValueError(f"{name} must be one of {', '.join(allowed)}; got {value!r}")
        return value
    if origin is tuple:
        if isinstance(value, str) or not isinstance(value, (list, tuple)):
            raise TypeError(f"{name} must be a list of text, got {value!r}")
        if not all(isinstance(item, str) for item in value):
            raise TypeError(f"{name} must be a list of text, got {value!r}")
        return tuple(value)
    if annotation is bool:
        if not isinstance(value, bool):
            raise TypeError(f"{name} must be true or false, got {value!r}")
        return value
    if annotation is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    if annotation is int and isinstance(value, int) and not isinstance(value, bool):
        return value
    if annotation is str and isinstance(value, str):
        return value
    raise TypeError(f"{name} must be of type {annotation.__name__}, got {value!r}")


def _check_range(name: str, value: Any, low: float | None, high: float | None) -> None:
    """Refuse a number outside [low, high], NaN and infinity included."""
    if low is None and high is None:
        return
    above = low is None or value >= low
    below = high is None or value <= high
    if not (above and below and math.isfinite(value)):
        upper = "infinity)" if high is None else f"{high:g}]"
        raise ValueError(f"{name} must be in [{low:g}, {upper}, got {value!r}")
