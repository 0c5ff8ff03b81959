"""Multi-head attention between variables, modulated by a causal graph (ECAM, equation 2)."""

from __future__ import annotations

from typing import Literal, overload

import torch
from torch import Tensor, nn
from torch.nn import functional

from causal_rl.attention.modulation import (
    LOG_FLOOR,
    Graph,
    Modulation,
    PreparedMask,
    check_log_floor,
    check_modulation,
    prepare_mask,
)


class CausalAttention(nn.Module):
    """Multi-head self-attention over variables in which effects look at their causes.

    ECAM(Q, K, V; G) = softmax(A modulated by M(G)) V with A = Q K^T / sqrt(d) (Eq. 2). Query j
    attends to key i exactly when i causes j, or i = j. See
    :func:`~causal_rl.attention.prepare_mask` for the three modulations: ``hard`` masks, ``log``
    adds log strengths and can learn them, ``scale`` multiplies and does not mask.

    ``hard`` and ``log`` run on PyTorch's fused kernel (a graph that wants a gradient takes
    PyTorch's unfused one); a full graph runs without a mask.

    Args:
        embed_dim: features of a token, a multiple of ``num_heads``.
        num_heads: heads.
        modulation: "hard", "log" or "scale".
        bias: whether the projections have biases.
        dropout: probability with which an attention weight is dropped in training, in [0, 1).
        log_floor: eps of ``log``, in (0, 1).

    Raises:
        ValueError: a size below 1, heads that do not divide ``embed_dim``, an unknown
            modulation, a dropout or floor outside its range.
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
    ) -> None:
        super().__init__()
        if embed_dim < 1:
            raise ValueError(f"embed_dim: {embed_dim}; allowed: >= 1")
        if num_heads < 1 or embed_dim % num_heads:
            raise ValueError(f"num_heads: {num_heads}; allowed: a divisor of embed_dim {embed_dim}")
        if not 0.0 <= dropout < 1.0:
            raise ValueError(f"dropout: {dropout}; allowed: [0, 1)")
        check_log_floor(log_floor)
        self.embed_dim = embed_dim
        self.num_heads = num_heads
        self.head_dim = embed_dim // num_heads
        self.modulation: Modulation = check_modulation(modulation)
        self.dropout = dropout
        self.log_floor = log_floor
        self.qkv = nn.Linear(embed_dim, 3 * embed_dim, bias=bias)
        self.out = nn.Linear(embed_dim, embed_dim, bias=bias)

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
        """Let every variable attend to its parents and itself.

        Args:
            x: float (B, n, embed_dim), tokens of the variables, finite.
            graph: (n, n) for the whole batch or (B, n, n), one each, ``graph[i, j]`` = i causes
                j; or what :meth:`prepare` made of it, which saves the work on later calls.
            need_weights: also return the weights; they are computed without the fused kernel.

        Returns:
            The new tokens (B, n, embed_dim); with ``need_weights`` also the attention weights
            (B, num_heads, n, n) as [query, key], before dropout.

        Raises:
            TypeError: ``x`` is not of the parameters' dtype, or the graph is of no allowed type.
            ValueError: shapes disagree, the graph holds NaN or infinity or a strength that
                ``log`` does not take, or the mask was prepared for another modulation.
        """
        self._check_tokens(x)
        batch, n, _ = x.shape
        mask = graph if isinstance(graph, PreparedMask) else self._prepare(graph, x)
        self._check_mask(mask, batch, n)

        split = self.qkv(x).view(batch, n, 3, self.num_heads, self.head_dim)
        q, k, v = split.permute(2, 0, 3, 1, 4).unbind(0)
        mixed, weights = self._mix(q, k, v, mask, need_weights)
        out = self._project(mixed)
        return out if weights is None or not need_weights else (out, weights)

    def prepare(self, graph: Graph) -> PreparedMask:
        """Check and convert a graph once for many calls.

        The mask is detached from nothing: a graph that wants gradients must be prepared anew for
        every backward pass. It stays at the dtype and device the parameters have now.

        Args:
            graph: (n, n) or (B, n, n), see :meth:`forward`.

        Returns:
            The mask to pass as ``graph``.

        Raises:
            TypeError: the graph is of no allowed type.
            ValueError: the graph is not square, or holds entries that the modulation does not take.
        """
        return self._prepare(graph, self.qkv.weight)

    def extra_repr(self) -> str:
        """Return the settings that ``print`` shows."""
        return (
            f"embed_dim={self.embed_dim}, num_heads={self.num_heads}, "
            f"modulation={self.modulation!r}, dropout={self.dropout}"
        )

    def _prepare(self, graph: Graph, like: Tensor) -> PreparedMask:
        return prepare_mask(
            graph, self.modulation, dtype=like.dtype, device=like.device, log_floor=self.log_floor
        )

    def _mix(
        self, q: Tensor, k: Tensor, v: Tensor, mask: PreparedMask, need_weights: bool
    ) -> tuple[Tensor, Tensor | None]:
        """Values mixed by the weights, all (B, H, n, D), and the weights if they were computed."""
        drop = self.dropout if self.training else 0.0
        if self._is_plain(mask) and not need_weights:
            add = mask.add
            if add is not None and add.dtype != q.dtype:  # autocast
                add = add.to(q.dtype)
            mixed = functional.scaled_dot_product_attention(q, k, v, attn_mask=add, dropout_p=drop)
            return mixed, None
        weights = self._weights(q, k, mask)
        dropped = functional.dropout(weights, drop) if drop else weights
        return dropped.to(v.dtype) @ v, weights

    def _is_plain(self, mask: PreparedMask) -> bool:
        """Whether the weights are softmax(A + mask), which the fused kernel computes."""
        return mask.multiply is None

    def _weights(self, q: Tensor, k: Tensor, mask: PreparedMask) -> Tensor:
        """The weights (B, H, n, n) of heads (B, H, n, D): the place where variants differ."""
        scores = self._modulate(self._scores(q, k), mask)
        if mask.add is not None:
            scores = scores + mask.add.to(scores.dtype)
        weights: Tensor = scores.softmax(-1)
        return weights

    def _modulate(self, scores: Tensor, mask: PreparedMask) -> Tensor:
        """What is multiplied with A, before anything is added."""
        return scores if mask.multiply is None else scores * mask.multiply

    def _scores(self, q: Tensor, k: Tensor) -> Tensor:
        """A = Q K^T / sqrt(d)."""
        scores: Tensor = (q * self.head_dim**-0.5) @ k.transpose(-1, -2)
        return scores

    def _project(self, mixed: Tensor) -> Tensor:
        """Join the heads (B, H, n, D) -> (B, n, E) and apply the output projection."""
        out: Tensor = self.out(mixed.transpose(1, 2).flatten(2))
        return out

    def _check_tokens(self, x: Tensor) -> None:
        if x.ndim != 3 or x.shape[2] != self.embed_dim or x.shape[1] == 0:
            raise ValueError(
                f"x: shape {tuple(x.shape)}; allowed: (batch, n, embed_dim={self.embed_dim})"
            )
        dtype = self.qkv.weight.dtype
        if x.dtype != dtype and not torch.is_autocast_enabled(x.device.type):
            raise TypeError(f"x: dtype {x.dtype}; allowed: the parameters' {dtype}")

    def _check_mask(self, mask: PreparedMask, batch: int, n: int) -> None:
        if mask.modulation != self.modulation:
            raise ValueError(
                f"graph: prepared for modulation {mask.modulation!r}; allowed: {self.modulation!r}"
            )
        if mask.n != n:
            raise ValueError(f"graph: has {mask.n} variables; allowed: as many as x has, {n}")
        tensor = mask.add if mask.multiply is None else mask.multiply
        if tensor is not None and tensor.ndim == 4 and tensor.shape[0] != batch:
            raise ValueError(
                f"graph: a batch of {tensor.shape[0]}; allowed: one graph, or x's batch of {batch}"
            )
