"""Attention under several graphs at once, with learned weights: A.1.5 of ECAM."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from causal_rl.attention.layer import CausalAttention
from causal_rl.attention.modulation import (
    LOG_FLOOR,
    Graph,
    Modulation,
    PreparedMask,
    attention_mask,
    check_entries,
    for_heads,
)


class MultiLevelAttention(CausalAttention):
    """Attention under a weighted sum of graphs, one for each level (A.1.5).

        G = sum_l w_l G^(l)        w = softmax(level_logits), learned, equal at first

    What the levels are is the caller's: those of `causal_rl.discovery`'s ``multi-level`` learner
    (``levels_``: sparse, smooth, modular), fast and slow effects, several learners' graphs.

    * ``hard``: the levels are read as edges and non-edges. G[i, j] is then the total weight of the
      levels that have i -> j, and the weights are softmax(A + log G): an edge that no level has
      gets exactly no weight, one that all have is not modulated, and w has a gradient.
    * ``log`` and ``scale``: G as it is; strengths and w have gradients. Strengths of opposite signs
      cancel.

    With one level, or with the same graph at all levels, this is
    :class:`~causal_rl.attention.CausalAttention`.

    ``forward`` and ``prepare`` take the levels, (num_levels, n, n), or (B, num_levels, n, n), one
    set for each row, where ``CausalAttention`` takes a graph. What was prepared holds w as it was.

    Args:
        embed_dim: features of a token, a multiple of ``num_heads``.
        num_heads: heads.
        modulation: "hard", "log" or "scale".
        bias: whether the projections have biases.
        dropout: probability with which an attention weight is dropped in training, in [0, 1).
        log_floor: eps of ``log``, in (0, 1).
        num_levels: number of levels, >= 1.

    Attributes:
        level_logits: parameter (num_levels,).

    Raises:
        ValueError: as for ``CausalAttention``, or fewer than 1 level.
    """

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        modulation: Modulation = "hard",
        bias: bool = True,
        dropout: float = 0.0,
        *,
        log_floor: float = LOG_FLOOR,
        num_levels: int = 3,
    ) -> None:
        super().__init__(embed_dim, num_heads, modulation, bias, dropout, log_floor=log_floor)
        if num_levels < 1:
            raise ValueError(f"num_levels: {num_levels}; allowed: >= 1")
        self.num_levels = num_levels
        self.level_logits = nn.Parameter(torch.zeros(num_levels))

    @property
    def level_weights(self) -> Tensor:
        """w, (num_levels,), positive, with sum 1."""
        return self.level_logits.softmax(0)

    def extra_repr(self) -> str:
        """Return the settings that ``print`` shows."""
        return f"{super().extra_repr()}, num_levels={self.num_levels}"

    def _prepare(self, graph: Graph, like: Tensor) -> PreparedMask:
        levels = self._levels(graph)
        limit = 1.0 if self.modulation == "log" else None
        check_entries(levels, limit)
        weights = self.level_weights.view(-1, 1, 1)
        if self.modulation == "hard":
            there = levels.detach() != 0
            n = there.shape[-1]
            seen = attention_mask(there.flatten(end_dim=-3)).view_as(there).to(like.device)
            total = (weights * seen).sum(-3).clamp_min(torch.finfo(like.dtype).tiny)
            add = total.log().masked_fill(~seen.any(-3), -torch.inf)
            return PreparedMask("hard", n, for_heads(add.to(like.dtype)))
        summed = (weights * levels.to(like)).sum(-3)
        if limit is not None:
            # Weights may add up to more than 1 by rounding; a clamp would take the gradient there.
            summed = summed - (summed - summed.clamp(-limit, limit)).detach()
        return super()._prepare(summed, like)

    def _levels(self, graph: Graph) -> Tensor:
        """The levels as a tensor (..., num_levels, n, n), entries not checked."""
        wanted = f"(num_levels={self.num_levels}, n, n) or (B, {self.num_levels}, n, n), n >= 1"
        if isinstance(graph, np.ndarray) and graph.dtype.kind in "biuf":
            graph = torch.from_numpy(np.array(graph))
        if not isinstance(graph, Tensor) or graph.is_complex():
            raise TypeError(f"graph: {_kind(graph)}; allowed: real numbers {wanted}")
        shape = graph.shape
        if len(shape) not in (3, 4) or shape[-1] != shape[-2] or 0 in shape:
            raise ValueError(f"graph: shape {tuple(shape)}; allowed: {wanted}")
        if shape[-3] != self.num_levels:
            raise ValueError(f"graph: shape {tuple(shape)}; allowed: {wanted}")
        return graph


def _kind(graph: object) -> str:
    dtype = getattr(graph, "dtype", None)
    return type(graph).__name__ if dtype is None else f"dtype {dtype}"
