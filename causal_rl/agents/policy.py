"""Actor and critic over one shared encoder that may read a causal graph."""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from causal_rl.agents.config import TrainConfig
from causal_rl.attention import SCMEncoder
from causal_rl.graphs import CausalGraph


class PolicyOutput(NamedTuple):
    """What one forward pass gives.

    Attributes:
        logits: (batch, targets * values) log probabilities up to a constant; -inf where illegal.
        value: (batch,) value estimates in normalised reward units.
    """

    logits: Tensor
    value: Tensor


def policy_view(graph: CausalGraph, names: list[str]) -> tuple[NDArray[np.bool_], NDArray[np.intp]]:
    """What a policy may look at under a graph with a reward node.

    Args:
        graph: nodes are the observed variables ``names`` and a node of kind "reward".
        names: observed variables in the order of the observation, length n.

    Returns:
        (n, n) boolean adjacency of the summary graph over ``names``, and the sorted positions of
        the variables the policy reads: the reward's ancestors and every context. Where there is
        none of either, all positions.
    """
    adjacency = graph.subgraph(names).summary
    rewards = [
        name for name, kind in zip(graph.names, graph.kinds, strict=True) if kind == "reward"
    ]
    readable = set(graph.ancestors(rewards, include_self=False)) if rewards else set()
    readable |= {
        name for name, kind in zip(graph.names, graph.kinds, strict=True) if kind == "context"
    }
    positions = [index for index, name in enumerate(names) if name in readable]
    if not positions:
        positions = list(range(len(names)))
    return adjacency, np.asarray(positions, dtype=np.intp)


class GraphMLP(nn.Module):
    """MLP on the variables of a readout; the others are multiplied by zero.

    Args:
        n_variables: variables in the observation, n.
        width: units per hidden layer.
        layers: hidden layers.
    """

    def __init__(self, n_variables: int, width: int, layers: int) -> None:
        super().__init__()
        sizes = [n_variables] + [width] * layers
        blocks: list[nn.Module] = []
        for inputs, outputs in itertools.pairwise(sizes):
            blocks += [nn.Linear(inputs, outputs), nn.Tanh()]
        self.network = nn.Sequential(*blocks)
        self.register_buffer("mask", torch.ones(n_variables))
        self.mask: Tensor

    def forward(self, values: Tensor) -> Tensor:
        """(batch, n) -> (batch, width)."""
        out: Tensor = self.network(values * self.mask)
        return out


class ActorCritic(nn.Module):
    """Policy over (intervention target, value) and state value, on one encoder.

    The action distribution is one categorical over all legal (target, value) pairs: which value
    is good depends on the target, so independent heads would have to be lucky together.

    Args:
        n_variables: observed variables, n.
        n_targets: settable variables plus one; target 0 is "no intervention".
        n_values: values that an intervention can set.
        config: encoder, embed_dim, layers, heads and modulation are read.
    """

    def __init__(
        self, n_variables: int, n_targets: int, n_values: int, config: TrainConfig
    ) -> None:
        super().__init__()
        self.n_variables = n_variables
        self.n_targets = n_targets
        self.n_values = n_values
        self.kind = config.encoder
        width = config.embed_dim
        if self.kind in ("ecam", "attention"):
            self.encoder: SCMEncoder | GraphMLP = SCMEncoder(
                n_variables,
                embed_dim=width,
                num_layers=config.layers,
                num_heads=config.heads,
                modulation=config.modulation if self.kind == "ecam" else "hard",
                pooling=config.pooling,
            )
        else:
            self.encoder = GraphMLP(n_variables, width, config.layers)
        self.actor = nn.Sequential(
            nn.Linear(width, width), nn.Tanh(), nn.Linear(width, n_targets * n_values)
        )
        self.critic = nn.Sequential(nn.Linear(width, width), nn.Tanh(), nn.Linear(width, 1))
        # Near-uniform first policy: a confident random start is slow to unlearn.
        last = self.actor[-1]
        if isinstance(last, nn.Linear):
            nn.init.orthogonal_(last.weight, gain=0.01)
            nn.init.zeros_(last.bias)
        illegal = torch.zeros(n_targets, n_values)
        illegal[0, 1:] = -torch.inf  # "no intervention" has no value: keep one copy of it
        self.register_buffer("illegal", illegal.reshape(-1), persistent=False)
        self.illegal: Tensor
        everything = torch.arange(n_variables)
        self._set_view(torch.ones(n_variables, n_variables, dtype=torch.bool), everything)

    def set_graph(self, graph: CausalGraph, names: list[str]) -> None:
        """Let the encoder read ``graph``; encoders without a graph ignore it.

        What is set is part of the ``state_dict``.

        Args:
            graph: graph over ``names`` and a reward node.
            names: observed variables in the order of the observation.
        """
        if self.kind in ("ecam", "masked-mlp"):
            adjacency, readout = policy_view(graph, names)
            self._set_view(torch.as_tensor(adjacency), torch.as_tensor(readout))

    @torch.no_grad()
    def begin_at(self, frequency: Tensor, value: float) -> None:
        """Set the last biases, so that before any training the policy is a fixed mixture.

        Learning a mixture and a mean through the trunk that actor and critic share can freeze it
        there: what depends on the observation is never learned. Given them, only that is left.

        Args:
            frequency: (targets * values,) positive, of each flat action.
            value: estimate of every state, in normalised reward units.
        """
        share = torch.log(frequency / frequency.sum())
        self.actor[-1].get_parameter("bias").copy_(share)
        self.critic[-1].get_parameter("bias").fill_(value)

    @property
    def variables_read(self) -> int:
        """How many observed variables reach the policy."""
        read = self.encoder.mask if isinstance(self.encoder, GraphMLP) else self.encoder.readout
        return int(read.sum())

    def _set_view(self, adjacency: Tensor, readout: Tensor) -> None:
        if isinstance(self.encoder, GraphMLP):
            self.encoder.mask.zero_()
            self.encoder.mask[readout.to(self.encoder.mask.device)] = 1.0
        else:
            self.encoder.set_graph(adjacency, readout)

    def forward(self, observation: Tensor) -> PolicyOutput:
        """One pass.

        Args:
            observation: (batch, n) float32.

        Returns:
            Logits over flat actions ``target * n_values + value``, and values.
        """
        features = self.encoder(observation)
        logits = self.actor(features) + self.illegal
        return PolicyOutput(logits, self.critic(features).squeeze(-1))

    @torch.no_grad()
    def act(
        self, observation: Tensor, generator: torch.Generator | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Choose actions.

        Args:
            observation: (batch, n).
            generator: sample with it (Gumbel-max); None takes the most probable action.

        Returns:
            Flat actions (batch,) int64, their log probabilities and the values (batch,).
        """
        logits, value = self(observation)
        if generator is None:
            action = logits.argmax(-1)
        else:
            uniform = torch.rand(logits.shape, generator=generator, device=logits.device)
            gumbel = -torch.log(-torch.log(uniform.clamp(1e-20, 1 - 1e-7)))
            action = (logits + gumbel).argmax(-1)
        log_prob = torch.log_softmax(logits, -1).gather(-1, action[:, None]).squeeze(-1)
        return action, log_prob, value

    def unflatten(self, action: Tensor) -> NDArray[np.int64]:
        """Flat actions (batch,) as (batch, 2) pairs of target and value index."""
        flat = action.cpu().numpy()
        return np.stack([flat // self.n_values, flat % self.n_values], axis=-1)
