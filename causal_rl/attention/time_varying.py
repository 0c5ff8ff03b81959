"""Attention under a graph that changes in time: A.1.3 of ECAM."""

from __future__ import annotations

import math
from typing import Literal, overload

import torch
from torch import Tensor, nn

from causal_rl.attention.layer import CausalAttention
from causal_rl.attention.modulation import (
    LOG_FLOOR,
    Graph,
    Modulation,
    PreparedMask,
    as_graph,
    attention_mask,
    for_heads,
    prepare_mask,
)

# A gate's chance to change in a step when training begins.
_HAZARD = 0.1


class TimeVaryingAttention(CausalAttention):
    """Attention at each time step under that step's graph, which follows from the last (A.1.3).

        G_t = sigmoid( W_g G_{t-1} + W_x X_{t-1} + b )

    X_{t-1} are the tokens of the step before; G_t[i, j] in (0, 1) is the gate of i -> j. Two forms
    of the weights:

    * ``n_variables=None``: all edges share them, W_g G = w_g G[i, j] and W_x X = u . x_i + v . x_j
      for the edge i -> j: 2 embed_dim + 2 numbers, for graphs of any size and in any labels.
    * a number n: the paper's matrices over all edges, W_g (n^2, n^2), W_x (n^2, n embed_dim) and b
      (n^2,), with G and X laid out as vectors. Their number grows as n^4.

    At first a gate near 0 or 1 stays where it is with a chance of 9 in 10 (w_g = 2 log 9, b =
    -w_g / 2; the same line as in `causal_rl.discovery.time_varying_gates`), and X moves it little.

    In ``log`` (the default) and ``scale`` the gates are strengths. In ``hard`` a gate above 1/2 is
    an edge and any other gets exactly no weight; the gradient of an open gate is that of its
    logarithm (straight through), a closed one has none, so that what learns to open a gate again
    are weights that edges share.

    Args:
        embed_dim: features of a token, a multiple of ``num_heads``.
        num_heads: heads.
        modulation: "log", "hard" or "scale".
        bias: whether the projections have biases.
        dropout: probability with which an attention weight is dropped in training, in [0, 1).
        log_floor: eps of ``log``, in (0, 1).
        n_variables: None, or the number of variables.

    Raises:
        ValueError: as for ``CausalAttention``, or a number of variables below 1.
    """

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        modulation: Modulation = "log",
        bias: bool = True,
        dropout: float = 0.0,
        *,
        log_floor: float = LOG_FLOOR,
        n_variables: int | None = None,
    ) -> None:
        super().__init__(embed_dim, num_heads, modulation, bias, dropout, log_floor=log_floor)
        if n_variables is not None and n_variables < 1:
            raise ValueError(f"n_variables: {n_variables}; allowed: None or >= 1")
        self.n_variables = n_variables
        persistence = 2.0 * math.log((1.0 - _HAZARD) / _HAZARD)
        edges = 1 if n_variables is None else n_variables**2
        inputs = 2 if n_variables is None else n_variables
        self.from_graph = nn.Parameter(persistence * torch.eye(edges))
        self.from_tokens = nn.Parameter(
            torch.randn(edges, inputs * embed_dim) * 0.1 * (inputs * embed_dim) ** -0.5
        )
        self.offset = nn.Parameter(torch.full((edges,), -persistence / 2))

    @overload
    def forward(
        self, x: Tensor, graph: Graph | PreparedMask, need_weights: Literal[False] = False
    ) -> Tensor: ...

    @overload
    def forward(
        self, x: Tensor, graph: Graph | PreparedMask, need_weights: Literal[True]
    ) -> tuple[Tensor, Tensor]: ...

    def forward(
        self, x: Tensor, graph: Graph | PreparedMask, need_weights: bool = False
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Let every variable attend to its parents of the step and itself, at all steps.

        Args:
            x: float (B, T, n, embed_dim), tokens of the variables at T steps, finite.
            graph: (n, n) or (B, n, n), G_0, the gates at the first step, in [0, 1].
            need_weights: also return the weights.

        Returns:
            The new tokens (B, T, n, embed_dim); with ``need_weights`` also the attention weights
            (B, T, num_heads, n, n) as [query, key], before dropout.

        Raises:
            TypeError: a wrong dtype, or a prepared mask in place of the graph.
            ValueError: shapes disagree, or an entry of the graph is NaN or outside [0, 1].
        """
        gates = self.graphs(x, graph)
        folded, mask = x.flatten(0, 1), self._mask(gates.flatten(0, 1))
        if not need_weights:
            return super().forward(folded, mask).view_as(x)
        out, weights = super().forward(folded, mask, True)
        return out.view_as(x), weights.view(*x.shape[:2], *weights.shape[1:])

    def graphs(self, x: Tensor, graph: Graph | PreparedMask) -> Tensor:
        """The graphs of all steps.

        Args:
            x: as in :meth:`forward`.
            graph: as in :meth:`forward`.

        Returns:
            Float (B, T, n, n), G_0 to G_{T-1}; ``[b, t, i, j]`` is the gate of i -> j.

        Raises:
            TypeError: as in :meth:`forward`.
            ValueError: as in :meth:`forward`.
        """
        if x.ndim != 4 or x.shape[3] != self.embed_dim or 0 in x.shape[1:3]:
            raise ValueError(
                f"x: shape {tuple(x.shape)}; allowed: (batch, T, n, embed_dim={self.embed_dim})"
            )
        self._check_tokens(x.flatten(0, 1))
        batch, steps, n, _ = x.shape
        if self.n_variables is not None and n != self.n_variables:
            raise ValueError(f"x: has {n} variables; allowed: {self.n_variables}")
        gate = self._first(graph, batch, n)
        found = [gate]
        for t in range(steps - 1):
            found.append(self.step(found[-1], x[:, t]))
        return torch.stack(found, dim=1)

    def step(self, gates: Tensor, x: Tensor) -> Tensor:
        """One step of the recursion.

        Args:
            gates: float (B, n, n), G_{t-1}.
            x: float (B, n, embed_dim), X_{t-1}.

        Returns:
            Float (B, n, n), G_t.
        """
        if self.n_variables is None:
            cause, effect = self.from_tokens.view(2, self.embed_dim)
            drive = (x @ cause).unsqueeze(-1) + (x @ effect).unsqueeze(-2)
            return torch.sigmoid(self.from_graph * gates + drive + self.offset)
        logits = gates.flatten(1) @ self.from_graph.T + x.flatten(1) @ self.from_tokens.T
        return torch.sigmoid(logits + self.offset).view_as(gates)

    def extra_repr(self) -> str:
        """Return the settings that ``print`` shows."""
        return f"{super().extra_repr()}, n_variables={self.n_variables}"

    def _first(self, graph: Graph | PreparedMask, batch: int, n: int) -> Tensor:
        """G_0 for every row."""
        if isinstance(graph, PreparedMask):
            raise TypeError("graph: PreparedMask; allowed: G_0, (n, n) or (B, n, n)")
        gates = as_graph(graph).to(self.qkv.weight)
        if gates.shape[-1] != n:
            raise ValueError(f"graph: has {gates.shape[-1]} variables; allowed: {n}, as x has")
        if gates.ndim == 3 and len(gates) != batch:
            raise ValueError(
                f"graph: a batch of {len(gates)}; allowed: one, or x's batch of {batch}"
            )
        if not bool(((gates >= 0) & (gates <= 1)).all()):
            raise ValueError("graph: NaN or an entry outside [0, 1]; allowed: gates in [0, 1]")
        return gates.expand(batch, n, n)

    def _mask(self, gates: Tensor) -> PreparedMask:
        if self.modulation != "hard":
            return prepare_mask(gates, self.modulation, dtype=gates.dtype, log_floor=self.log_floor)
        turned = attention_mask(gates)
        straight = 1.0 + turned - turned.detach()
        closed = turned <= 0.5
        return PreparedMask(
            "hard", gates.shape[-1], for_heads(straight.log().masked_fill(closed, -torch.inf))
        )
