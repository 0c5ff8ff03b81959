"""Policies of Stable-Baselines3 whose features come from a causal graph."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from gymnasium import spaces
from stable_baselines3 import A2C, PPO
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.type_aliases import Schedule
from torch import Tensor, nn

from causal_rl.agents.config import (
    EncoderName,
    ModulationName,
    PoolingName,
    TrainConfig,
)
from causal_rl.agents.policy import GraphMLP, policy_view
from causal_rl.attention import SCMEncoder
from causal_rl.graphs import CausalGraph

_EMBED_DIM = 32


class ECAMFeaturesExtractor(BaseFeaturesExtractor):
    """The encoder of `causal_rl.agents.ActorCritic` for any policy of Stable-Baselines3.

    Under ``ecam`` tokens are variables, attention follows the graph, and only the ancestors of the
    graph's reward node and the contexts are computed; a graph without a reward node, or whose
    reward has no ancestors here, lets every variable be read. ``masked-mlp`` reads the same
    variables through an MLP; ``attention`` and ``mlp`` ignore the graph. Until a graph is given
    every variable attends to every other.

    The graph is part of the ``state_dict``, so that ``model.save`` and ``model.load`` keep it.

    Args:
        observation_space: a flat Box; column i is the variable ``names[i]``.
        encoder: "ecam", "attention", "mlp" or "masked-mlp".
        graph: a graph over at least the columns, or the path of its JSON file. Nodes that are no
            column, say an action, are left out.
        names: the variables in the order of the columns. Default: the nodes of the first graph
            but those of kind "action", "reward" and "hidden"; they must be as many as the columns.
        embed_dim: width of tokens and of the features.
        layers: attention or hidden layers.
        heads: attention heads; must divide ``embed_dim``.
        modulation: "hard", "log" or "scale".
        pooling: "linear" or "attention".

    Attributes:
        graph: the graph in force, None before the first.
        names: the variables; ``X1 .. Xn`` while nothing names them.

    Raises:
        ValueError: observations that are not flat, names of another number or that repeat, a graph
            that lacks one of them, no such file, or a bad option; the argument is named.
        TypeError: a graph or option of another type.
    """

    def __init__(
        self,
        observation_space: spaces.Space[Any],
        *,
        encoder: EncoderName = "ecam",
        graph: CausalGraph | Path | str | None = None,
        names: Sequence[str] | None = None,
        embed_dim: int = _EMBED_DIM,
        layers: int = 2,
        heads: int = 2,
        modulation: ModulationName = "hard",
        pooling: PoolingName = "linear",
    ) -> None:
        # The options of a run are checked where they are defined.
        options = TrainConfig(
            encoder=encoder,
            embed_dim=embed_dim,
            layers=layers,
            heads=heads,
            modulation=modulation,
            pooling=pooling,
        )
        if not isinstance(observation_space, spaces.Box) or len(observation_space.shape) != 1:
            raise ValueError(f"observation_space must be a flat Box, got {observation_space}")
        super().__init__(observation_space, embed_dim)
        columns = int(observation_space.shape[0])
        self._named = names is not None
        self.names = tuple(f"X{i + 1}" for i in range(columns)) if names is None else tuple(names)
        if len(self.names) != columns or len(set(self.names)) != columns:
            raise ValueError(
                f"names must be {columns} different names, one a column of the observation, got "
                f"{', '.join(map(str, self.names)) or 'none'}"
            )
        self.kind: EncoderName = options.encoder
        self.encoder = _encoder(columns, options)
        self.graph: CausalGraph | None = None
        if graph is not None:
            self.set_graph(_read_graph(graph))

    def set_graph(self, graph: CausalGraph) -> None:
        """Let the encoder read another graph from now on, in place; no parameter changes.

        Raises:
            TypeError: no `CausalGraph`.
            ValueError: it lacks one of ``names``, or none were given and its own do not fit.
        """
        if not isinstance(graph, CausalGraph):
            raise TypeError(f"graph must be a CausalGraph, got {type(graph).__name__}")
        names = self.names if self._named else _names_of(graph, len(self.names))
        missing = [name for name in names if name not in graph.names]
        if missing:
            raise ValueError(
                f"graph must have every observed variable; it lacks {', '.join(missing)} and has "
                f"{', '.join(graph.names)}"
            )
        self.graph, self.names, self._named = graph, names, True
        if self.kind in ("attention", "mlp"):
            return
        adjacency, readout = policy_view(graph, list(self.names))
        if isinstance(self.encoder, SCMEncoder):
            self.encoder.set_graph(torch.as_tensor(adjacency), torch.as_tensor(readout))
        else:
            self.encoder.mask.zero_()
            self.encoder.mask[torch.as_tensor(readout)] = 1.0

    @property
    def variables_read(self) -> tuple[str, ...]:
        """Names of the variables that reach the features."""
        read = self.encoder.mask if isinstance(self.encoder, GraphMLP) else self.encoder.readout
        return tuple(name for name, seen in zip(self.names, read.tolist(), strict=True) if seen)

    def forward(self, observations: Tensor) -> Tensor:
        """(batch, n) -> (batch, embed_dim)."""
        features: Tensor = self.encoder(observations)
        return features

    def get_extra_state(self) -> Tensor:
        """Names and graph as JSON in a uint8 tensor, which every loader of weights takes."""
        state = {
            "names": list(self.names) if self._named else None,
            "graph": None if self.graph is None else self.graph.to_dict(),
        }
        return torch.tensor(list(json.dumps(state).encode()), dtype=torch.uint8)

    def set_extra_state(self, state: Tensor) -> None:
        """Restore what `get_extra_state` gave; what is computed is restored by the buffers."""
        found = json.loads(bytes(state.cpu().tolist()).decode())
        self.graph = None if found["graph"] is None else CausalGraph.from_dict(found["graph"])
        self._named = found["names"] is not None
        if self._named:
            self.names = tuple(found["names"])


class ECAMPolicy(ActorCriticPolicy):
    """Actor and critic of Stable-Baselines3 over an `ECAMFeaturesExtractor`.

    The nets are those of `causal_rl.agents.ActorCritic`: one shared encoder, a hidden layer of the
    encoder's width in each head, a near-uniform first policy. The encoder keeps its own start:
    Stable-Baselines3's orthogonal one (``ortho_init=True``) would overwrite it. Known to PPO and
    A2C as ``"ECAMPolicy"`` once this module is imported.

    Args:
        observation_space: a flat Box.
        action_space: any space that PPO takes.
        lr_schedule: step size by remaining progress.
        net_arch: hidden layers of the heads; default one of the encoder's width each.
        **options: as `ActorCriticPolicy`; options of the encoder, the graph among them, go into
            ``features_extractor_kwargs``.

    Raises:
        ValueError: as `ECAMFeaturesExtractor`.
    """

    def __init__(
        self,
        observation_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        lr_schedule: Schedule,
        net_arch: list[int] | dict[str, list[int]] | None = None,
        **options: Any,
    ) -> None:
        options = {
            "features_extractor_class": ECAMFeaturesExtractor,
            "ortho_init": False,
            **options,
        }
        if options.get("optimizer_class", torch.optim.Adam) is torch.optim.Adam:
            # The fused step takes a third of the time of the default one on these small nets.
            options.setdefault("optimizer_kwargs", {"fused": True})
        if net_arch is None:
            given = options.get("features_extractor_kwargs") or {}
            width = given.get("embed_dim", _EMBED_DIM)
            net_arch = {"pi": [width], "vf": [width]}
        super().__init__(observation_space, action_space, lr_schedule, net_arch, **options)
        if not self.ortho_init and isinstance(self.action_net, nn.Linear):
            nn.init.orthogonal_(self.action_net.weight, gain=0.01)
            nn.init.zeros_(self.action_net.bias)

    def set_graph(self, graph: CausalGraph) -> None:
        """Let every encoder of the policy read another graph, in place.

        Swap graphs between rollouts: within one, the policy that acted must be the one updated.

        Raises:
            TypeError: no `CausalGraph`.
            ValueError: it lacks an observed variable.
        """
        set_policy_graph(self, graph)

    @property
    def graph(self) -> CausalGraph | None:
        """The graph in force, None before the first."""
        return next(graph_extractors(self)).graph


def graph_extractors(policy: nn.Module | BaseAlgorithm) -> Iterator[ECAMFeaturesExtractor]:
    """Every encoder in a policy or model, those of critics and target nets included.

    Raises:
        ValueError: there is none.
    """
    module = policy.policy if isinstance(policy, BaseAlgorithm) else policy
    found = [item for item in module.modules() if isinstance(item, ECAMFeaturesExtractor)]
    if not found:
        raise ValueError(
            f"policy has no ECAMFeaturesExtractor to read a graph, got {type(module).__name__}; "
            "pass policy_kwargs={'features_extractor_class': ECAMFeaturesExtractor}"
        )
    return iter(found)


def set_policy_graph(policy: nn.Module | BaseAlgorithm, graph: CausalGraph) -> None:
    """Let every encoder of a policy or model read another graph, in place.

    Args:
        policy: an `ECAMPolicy`, or any policy or model of Stable-Baselines3 (SAC's, DQN's) with
            an `ECAMFeaturesExtractor`.
        graph: the graph.

    Raises:
        TypeError: no `CausalGraph`.
        ValueError: it lacks an observed variable, or nothing in the policy reads a graph.
    """
    for extractor in graph_extractors(policy):
        extractor.set_graph(graph)


def _read_graph(graph: CausalGraph | Path | str) -> CausalGraph:
    if isinstance(graph, CausalGraph):
        return graph
    if not isinstance(graph, str | Path):
        raise TypeError(
            f"graph must be a CausalGraph or the path of its JSON file, got {type(graph).__name__}"
        )
    if not Path(graph).is_file():
        raise ValueError(f"graph must be a CausalGraph or a JSON file, got {str(graph)!r}")
    return CausalGraph.load(graph)


def _names_of(graph: CausalGraph, columns: int) -> tuple[str, ...]:
    pairs = zip(graph.names, graph.kinds, strict=True)
    names = tuple(name for name, kind in pairs if kind not in ("action", "reward", "hidden"))
    if len(names) != columns:
        raise ValueError(
            f"names must be given: the graph has {len(names)} variables that can be columns "
            f"({', '.join(names)}) and the observation has {columns}"
        )
    return names


def _encoder(columns: int, options: TrainConfig) -> SCMEncoder | GraphMLP:
    if options.encoder in ("mlp", "masked-mlp"):
        return GraphMLP(columns, options.embed_dim, options.layers)
    encoder = SCMEncoder(
        columns,
        embed_dim=options.embed_dim,
        num_layers=options.layers,
        num_heads=options.heads,
        modulation=options.modulation if options.encoder == "ecam" else "hard",
        pooling=options.pooling,
    )
    encoder.set_graph(torch.ones(columns, columns, dtype=torch.bool))
    return encoder


for _algorithm in (PPO, A2C):
    _algorithm.policy_aliases.setdefault("ECAMPolicy", ECAMPolicy)
