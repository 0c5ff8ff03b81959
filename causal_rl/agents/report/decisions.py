"""What a policy looks at: the variables that its decisions hang on, and its attention."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from causal_rl.agents.evaluation import Controller
from causal_rl.attention import CausalAttention, PreparedMask, SCMEncoder
from causal_rl.attention.modulation import Graph


@dataclass(frozen=True)
class Attention:
    """Mean attention of a policy over states.

    Attributes:
        names: (k,) the variables whose tokens are computed.
        layers: float (L, k, k), [l, q, s] how much token q of layer l attends to token s, mean
            over heads and states; rows sum to one.
    """

    names: tuple[str, ...]
    layers: NDArray[np.float64]


def changed_decisions(
    controller: Controller, states: NDArray[np.float64], rng: np.random.Generator
) -> NDArray[np.float64]:
    """How often the decision is another when one variable comes from another state.

    Breiman's permutation importance (2001), of decisions: no model of the world is needed, and
    every kind of policy can be asked.

    Args:
        controller: the policy, as `causal_rl.agents.evaluate` calls it.
        states: (N, n) observed variables.
        rng: shuffles.

    Returns:
        (n + 1,) shares in [0, 1], one a variable; the last is that of no shuffling, above
        0 only where the policy itself is random.
    """
    first = controller(states, states)
    shares = []
    for column in (*range(states.shape[1]), None):
        shuffled = states.copy()
        if column is not None:
            shuffled[:, column] = rng.permutation(shuffled[:, column])
        chosen = controller(shuffled, shuffled)
        shares.append(float((chosen != first).any(axis=1).mean()))
    return np.array(shares)


@torch.no_grad()
def mean_attention(
    policy: nn.Module,
    controller: Controller,
    states: NDArray[np.float64],
    names: tuple[str, ...],
) -> Attention | None:
    """The attention of a policy's encoder while it decides.

    Args:
        policy: the network, with one `SCMEncoder` or none.
        controller: what runs it.
        states: (N, n) observed variables.
        names: of these.

    Returns:
        None where no encoder of the policy attends.
    """
    encoder = next((part for part in policy.modules() if isinstance(part, SCMEncoder)), None)
    if encoder is None:
        return None
    layers = [part for part in encoder.modules() if isinstance(part, CausalAttention)]
    taken: dict[int, NDArray[np.float64]] = {}

    def look(layer: nn.Module, inputs: tuple[Tensor, Graph | PreparedMask]) -> None:
        place = next(i for i, known in enumerate(layers) if known is layer)
        if place not in taken:  # a controller may run its network more than once
            x, graph = inputs
            # Past the hooks, of which this is one.
            _, weights = layers[place].forward(x, graph, need_weights=True)
            taken[place] = weights.mean(dim=(0, 1)).double().cpu().numpy()

    hooks = [layer.register_forward_pre_hook(look) for layer in layers]
    try:
        controller(states, states)
    finally:
        for hook in hooks:
            hook.remove()
    if len(taken) != len(layers) or not layers:
        return None
    read = encoder.readout.cpu().numpy()
    return Attention(
        tuple(name for name, shown in zip(names, read, strict=True) if shown),
        np.stack([taken[place] for place in range(len(layers))]),
    )
