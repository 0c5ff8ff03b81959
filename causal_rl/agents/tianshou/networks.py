"""Networks and algorithms of Tianshou on the encoder that reads a causal graph."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium.spaces import Box, Discrete
from numpy.typing import NDArray
from tianshou.algorithm.algorithm_base import Algorithm
from tianshou.algorithm.modelfree.discrete_sac import DiscreteSAC, DiscreteSACPolicy
from tianshou.algorithm.modelfree.ppo import PPO
from tianshou.algorithm.modelfree.reinforce import DiscreteActorPolicy
from tianshou.algorithm.modelfree.sac import AutoAlpha
from tianshou.algorithm.optim import LRSchedulerFactory, OptimizerFactory, TorchOptimizerFactory
from tianshou.utils.net.common import AbstractDiscreteActor, ModuleWithVectorOutput
from torch import Tensor, nn
from torch.distributions import Categorical
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

from causal_rl.agents.config import TrainConfig
from causal_rl.agents.policy import ActorCritic
from causal_rl.envs import SCMEnvSpec
from causal_rl.files import atomic_open
from causal_rl.graphs import CausalGraph

#: What networks are made for: a specification, or an environment with flat observations and
#: discrete actions.
World = SCMEnvSpec | gymnasium.Env[Any, Any]

ALGORITHM_FILE = "tianshou.pt"
GRAPH_FILE = "graph.json"

#: Weight of the newest critic in SAC's target critics.
SAC_TAU = 0.02
#: The entropy that SAC aims at, as a share of that of uniform actions.
SAC_ENTROPY_SHARE = 0.1


class ECAMActor(AbstractDiscreteActor):
    """The actor of an `ActorCritic` as Tianshou calls it.

    Args:
        body: encoder and heads; PPO's critic may share it.
    """

    def __init__(self, body: ActorCritic) -> None:
        super().__init__(body.n_targets * body.n_values)
        self.body = body

    def get_preprocess_net(self) -> ModuleWithVectorOutput:
        """The encoder."""
        width = next(self.body.actor.parameters()).shape[1]
        return ModuleWithVectorOutput.from_module(self.body.encoder, width)

    def forward(self, obs: Any, state: Any = None, info: Any = None) -> tuple[Tensor, Any]:
        """Observations (batch, n) to logits (batch, targets * values); the state goes through.

        Logits of "no intervention" at a value other than the first are -inf.
        """
        features = self.body.encoder(_tensor(obs, self.body))
        return self.body.actor(features) + self.body.illegal, state


class ECAMCritic(nn.Module):
    """The critic of an `ActorCritic` as Tianshou calls it.

    Args:
        body: encoder and heads; PPO's actor may share it.
    """

    def __init__(self, body: ActorCritic) -> None:
        super().__init__()
        self.body = body

    def forward(self, obs: Any, state: Any = None, info: Any = None) -> Tensor:
        """Observations (batch, n) to values (batch, 1)."""
        values: Tensor = self.body.critic(self.body.encoder(_tensor(obs, self.body)))
        return values


class ECAMQNetwork(nn.Module):
    """Values of all actions: the state's value plus each action's, on an encoder of its own.

    Args:
        body: encoder and heads; its actor head gives what each action adds.
    """

    def __init__(self, body: ActorCritic) -> None:
        super().__init__()
        self.body = body

    def forward(self, obs: Any, state: Any = None, info: Any = None) -> Tensor:
        """Observations (batch, n) to values (batch, targets * values)."""
        features = self.body.encoder(_tensor(obs, self.body))
        values: Tensor = self.body.critic(features) + self.body.actor(features)
        return values


class _LinearDecay(LRSchedulerFactory):
    """Step sizes that fall linearly to a share of the first over a number of updates."""

    def __init__(self, updates: int, end: float) -> None:
        self.updates = updates
        self.end = end

    def create_scheduler(self, optim: torch.optim.Optimizer) -> LRScheduler:
        return LambdaLR(optim, lr_lambda=self._factor)

    def _factor(self, update: int) -> float:
        return 1.0 - min(update / self.updates, 1.0) * (1.0 - self.end)


def make_ppo(
    world: World,
    config: TrainConfig,
    *,
    body: ActorCritic | None = None,
    updates: int | None = None,
) -> PPO:
    """Tianshou's PPO with an actor and a critic that share one encoder.

    Args:
        world: says what is observed and what may be done: a specification, or any environment of
            Gymnasium with flat observations and discrete actions.
        config: encoder, modulation, pooling, embed_dim, layers, heads; learning_rate and its end;
            gamma, gae_lambda, clip_range, entropy_coef, value_coef, max_grad_norm,
            normalise_returns; the first weights are drawn by seed.
        body: the network, instead of a new one.
        updates: updates over which the step size falls; None keeps it.

    Returns:
        The algorithm, for flat actions.

    Raises:
        TypeError: ``world`` is of another type.
        ValueError: an environment whose observations are not flat or actions not discrete.
    """
    body = make_body(world, config, 0) if body is None else body
    return PPO(
        policy=DiscreteActorPolicy(
            actor=ECAMActor(body),
            dist_fn=_categorical,
            deterministic_eval=True,
            action_space=_flat_space(body),
            observation_space=_observation_space(world),
        ),
        critic=ECAMCritic(body),
        optim=_adam(config, updates),
        eps_clip=config.clip_range,
        vf_coef=config.value_coef,
        ent_coef=config.entropy_coef,
        max_grad_norm=config.max_grad_norm,
        gae_lambda=config.gae_lambda,
        gamma=config.gamma,
        return_scaling=config.normalise_returns,
        max_batchsize=4096,
    )


def make_sac(
    world: World,
    config: TrainConfig,
    *,
    body: ActorCritic | None = None,
    updates: int | None = None,
) -> DiscreteSAC:
    """Tianshou's discrete SAC with an encoder each for the actor and both critics.

    Args:
        world: says what is observed and what may be done: a specification, or any environment of
            Gymnasium with flat observations and discrete actions.
        config: encoder, modulation, pooling, embed_dim, layers, heads; learning_rate and its end;
            gamma; the first weights are drawn by seed. The weight of the entropy is tuned.
        body: the actor's network, instead of a new one; its value head is not used.
        updates: updates over which the step size falls; None keeps it.

    Returns:
        The algorithm, for flat actions.

    Raises:
        TypeError: ``world`` is of another type.
        ValueError: an environment whose observations are not flat or actions not discrete.
    """
    body = make_body(world, config, 0) if body is None else body
    legal = int(torch.isfinite(body.illegal).sum())
    alpha_rate = TorchOptimizerFactory(torch.optim.Adam, lr=config.learning_rate)
    return DiscreteSAC(
        policy=DiscreteSACPolicy(
            actor=ECAMActor(body),
            action_space=_flat_space(body),
            observation_space=_observation_space(world),
        ),
        policy_optim=_adam(config, updates),
        critic=ECAMQNetwork(make_body(world, config, 1)),
        critic_optim=_adam(config, updates),
        # Without one of its own the second critic would be a copy of the first.
        critic2=ECAMQNetwork(make_body(world, config, 2)),
        tau=SAC_TAU,
        gamma=config.gamma,
        alpha=AutoAlpha(SAC_ENTROPY_SHARE * math.log(legal), math.log(0.2), alpha_rate),
    )


def set_algorithm_graph(algorithm: nn.Module, graph: CausalGraph, names: list[str]) -> int:
    """Let every network of an algorithm read ``graph``, target networks included.

    Target networks follow their sources in the weights alone, so they need to be told.

    Args:
        algorithm: of `make_ppo` or `make_sac`, or any module with such networks.
        graph: graph over ``names`` and a reward node.
        names: observed variables in the order of the observation.

    Returns:
        How many networks there are.

    Raises:
        ValueError: there is none, or the graph lacks a name.
    """
    bodies = [module for module in algorithm.modules() if isinstance(module, ActorCritic)]
    if not bodies:
        raise ValueError(f"algorithm must hold ECAM networks; {type(algorithm).__name__} has none")
    missing = [name for name in names if name not in graph.names]
    if missing:
        raise ValueError(f"graph lacks {missing[0]!r}; it is over {', '.join(graph.names)}")
    for body in bodies:
        body.set_graph(graph, names)
    return len(bodies)


def save_algorithm(folder: Path, algorithm: Algorithm[Any, Any], graph: CausalGraph) -> None:
    """Write weights and optimisers to ``tianshou.pt`` and the graph to ``graph.json`` beside it.

    Args:
        folder: made if it is absent.
        algorithm: of `make_ppo` or `make_sac`; what its networks read of the graph is saved too.
        graph: the graph as it was learned.
    """
    untyped: Any = algorithm
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_open(folder / ALGORITHM_FILE) as file:
        torch.save(untyped.state_dict(), file)
    graph.save(folder / GRAPH_FILE)


def load_algorithm(folder: Path, algorithm: Algorithm[Any, Any]) -> CausalGraph:
    """Restore what `save_algorithm` wrote into an algorithm of the same making.

    Args:
        folder: of `save_algorithm`.
        algorithm: changed in place.

    Returns:
        The graph.

    Raises:
        ValueError: a file is absent, or is of another algorithm or network.
    """
    path = folder / ALGORITHM_FILE
    if not path.is_file():
        raise ValueError(f"folder {str(folder)!r} has no {ALGORITHM_FILE}")
    state = torch.load(path, map_location="cpu", weights_only=True)
    try:
        algorithm.load_state_dict(state)
    except (RuntimeError, ValueError, KeyError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"{str(path)!r} is of another algorithm or network: {reason}") from error
    return CausalGraph.load(folder / GRAPH_FILE)


def make_body(world: World, config: TrainConfig, number: int) -> ActorCritic:
    """A new network whose first weights depend on ``config.seed`` and ``number`` alone.

    Raises:
        TypeError: ``world`` is of another type.
        ValueError: an environment whose observations are not flat or actions not discrete.
    """
    columns, n_targets, n_values = _sizes(world)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed + 1_000_003 * number)
        return ActorCritic(columns, n_targets, n_values, config)


def _sizes(world: World) -> tuple[int, int, int]:
    """Columns of the observation, targets and values; an action of Gymnasium is a target."""
    if isinstance(world, SCMEnvSpec):
        n_targets, n_values = (int(size) for size in world.action_space().nvec)
        return len(world.observed_names), n_targets, n_values
    if not isinstance(world, gymnasium.Env):
        raise TypeError(
            "world must be an SCMEnvSpec or an environment of Gymnasium, got "
            f"{type(world).__name__}"
        )
    observation, action = world.observation_space, world.action_space
    if not isinstance(observation, Box) or len(observation.shape) != 1:
        raise ValueError(f"world must have flat Box observations, got {observation}")
    if not isinstance(action, Discrete) or action.start != 0:
        raise ValueError(f"world must have Discrete actions from 0, got {action}")
    return observation.shape[0], int(action.n), 1


def _observation_space(world: World) -> gymnasium.Space[Any]:
    if isinstance(world, SCMEnvSpec):
        return world.observation_space()
    return world.observation_space


def _flat_space(body: ActorCritic) -> Discrete[np.int64]:
    return Discrete(body.n_targets * body.n_values)


def _adam(config: TrainConfig, updates: int | None) -> OptimizerFactory:
    fused = config.device.startswith(("cpu", "cuda"))
    factory = TorchOptimizerFactory(torch.optim.Adam, lr=config.learning_rate, fused=fused)
    if updates is not None:
        factory.with_lr_scheduler_factory(_LinearDecay(updates, config.learning_rate_end))
    return factory


def _categorical(logits: Tensor) -> Categorical:
    # Logits are finite or -inf by construction; looking at each of them costs a third of a step.
    return Categorical(logits=logits, validate_args=False)


def _tensor(obs: NDArray[np.floating[Any]] | Tensor, body: ActorCritic) -> Tensor:
    return torch.as_tensor(obs, dtype=torch.float32, device=body.illegal.device)
