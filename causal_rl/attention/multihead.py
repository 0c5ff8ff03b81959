"""A drop-in for ``torch.nn.MultiheadAttention`` that takes a causal graph (ECAM, equation 2)."""

from __future__ import annotations

from typing import Any

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


class MultiheadAttention(nn.MultiheadAttention):
    """``torch.nn.MultiheadAttention`` whose forward also takes ``graph``.

    The same arguments and the same keys in the ``state_dict``, so that weights load either way;
    without a graph, or with a full one, it runs torch's own code. With a graph the scaled scores
    are modulated by M(G), see :func:`~causal_rl.attention.prepare_mask`, and the masks that torch
    knows are added: what they hide stays hidden. A padded token whose parents are all padded sees
    itself, where torch would answer NaN.

    Args:
        embed_dim: as in torch, like all up to ``dtype``.
        num_heads: heads.
        dropout: probability with which an attention weight is dropped in training.
        bias: whether the projections have biases.
        add_bias_kv: whether a learned token is put behind the keys and values.
        add_zero_attn: whether a token of zeros is.
        kdim: features of the keys.
        vdim: features of the values.
        batch_first: whether tensors are (B, n, E) rather than (n, B, E).
        device: of the parameters.
        dtype: of the parameters.
        modulation: "hard", "log" or "scale".
        log_floor: eps of ``log``, in (0, 1).

    Raises:
        ValueError: an unknown modulation, ``log_floor`` outside (0, 1), or ``scale`` with
            ``add_bias_kv`` or ``add_zero_attn``, whose tokens are in no graph.
    """

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        bias: bool = True,
        add_bias_kv: bool = False,
        add_zero_attn: bool = False,
        kdim: int | None = None,
        vdim: int | None = None,
        batch_first: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        modulation: Modulation = "hard",
        log_floor: float = LOG_FLOOR,
    ) -> None:
        super().__init__(
            embed_dim, num_heads, dropout, bias, add_bias_kv, add_zero_attn, kdim, vdim,
            batch_first, device, dtype,
        )  # fmt: skip
        check_log_floor(log_floor)
        self.modulation: Modulation = check_modulation(modulation)
        self.log_floor = log_floor
        if modulation == "scale" and (add_bias_kv or add_zero_attn):
            raise ValueError(
                "modulation: 'scale' with add_bias_kv or add_zero_attn; allowed: 'hard' or 'log'"
            )

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
        *,
        graph: Graph | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """Let every token attend to its parents and itself.

        Args:
            query: (n, B, E), with ``batch_first`` (B, n, E), or (n, E).
            key: as ``query``, with ``kdim`` features; with a graph, of as many tokens.
            value: as ``key``, with ``vdim`` features.
            key_padding_mask: (B, n), True or -inf where a key is padding.
            need_weights: also return the weights.
            attn_mask: (n, n) or (B * H, n, n), True or -inf where a key is hidden.
            average_attn_weights: whether the weights are averaged over the heads.
            is_causal: torch's hint that ``attn_mask`` is the causal one; not read with a graph.
            graph: (n, n), (B, n, n) or (B or 1, H, n, n), ``graph[i, j]`` = i causes j; None for
                torch's attention.

        Returns:
            The new tokens, shaped as ``query``, and the weights (B, n, n), or (B, H, n, n) if not
            averaged, or None.

        Raises:
            TypeError: the graph is of no allowed type.
            ValueError: it does not fit the tokens, or holds NaN or infinity or a strength that
                ``log`` does not take; ``is_causal`` without ``attn_mask``.
        """
        mask = None
        if graph is not None:
            mask = prepare_mask(
                graph,
                self.modulation,
                dtype=query.dtype,
                device=query.device,
                log_floor=self.log_floor,
                heads=True,
            )
            self._check(mask, query, key)
        if mask is None or (mask.add is None and mask.multiply is None):
            plain: tuple[Tensor, Tensor | None] = super().forward(
                query, key, value, key_padding_mask, need_weights, attn_mask,
                average_attn_weights, is_causal,
            )  # fmt: skip
            return plain
        if is_causal and attn_mask is None:
            raise ValueError("attn_mask: None with is_causal=True; allowed: the causal mask")
        hidden = self._hidden(mask, query, key_padding_mask, attn_mask)
        if mask.multiply is not None:
            return self._scale(
                (query, key, value), mask.multiply, hidden, need_weights, average_attn_weights
            )
        batch = hidden.shape[0]
        merged = hidden.expand(batch, self.num_heads, -1, -1).flatten(0, 1)
        out: tuple[Tensor, Tensor | None] = super().forward(
            query, key, value, None, need_weights, merged, average_attn_weights, False
        )
        return out

    def _sizes(self, x: Tensor) -> tuple[int, int]:
        """Return batch and tokens."""
        if x.ndim == 2:
            return 1, x.shape[0]
        return (x.shape[0], x.shape[1]) if self.batch_first else (x.shape[1], x.shape[0])

    def _check(self, mask: PreparedMask, query: Tensor, key: Tensor) -> None:
        (batch, n), (_, keys) = self._sizes(query), self._sizes(key)
        if not mask.n == n == keys:
            raise ValueError(
                f"graph: has {mask.n} tokens; allowed: as many as query and key, {n} and {keys}"
            )
        tensor = mask.add if mask.multiply is None else mask.multiply
        if tensor is None or tensor.ndim == 2:
            return
        if tensor.shape[0] not in (1, batch) or tensor.shape[1] not in (1, self.num_heads):
            raise ValueError(
                f"graph: {tensor.shape[0]} rows of {tensor.shape[1]} heads; allowed: 1 or "
                f"{batch} rows, 1 or {self.num_heads} heads"
            )

    def _hidden(
        self,
        mask: PreparedMask,
        query: Tensor,
        key_padding_mask: Tensor | None,
        attn_mask: Tensor | None,
    ) -> Tensor:
        """Return all that is added to the scores, (B, H or 1, n, n)."""
        batch, n = self._sizes(query)
        total = torch.zeros(batch, 1, n, n, dtype=query.dtype, device=query.device)
        if attn_mask is not None:
            bias = _bias(attn_mask, query.dtype)
            total = total + (bias.view(batch, -1, n, n) if bias.ndim == 3 else bias)
        if key_padding_mask is not None:
            total = total + _bias(key_padding_mask, query.dtype).view(batch, 1, 1, n)
        if mask.add is not None:
            total = total + mask.add
        alone = (total == -torch.inf).all(-1, keepdim=True)
        itself = torch.eye(n, dtype=torch.bool, device=query.device)
        return total.masked_fill(alone & itself, 0.0)

    def _scale(
        self,
        tensors: tuple[Tensor, Tensor, Tensor],
        multiply: Tensor,
        hidden: Tensor,
        need_weights: bool,
        average: bool,
    ) -> tuple[Tensor, Tensor | None]:
        """Compute softmax(A * M + hidden) V, which torch's own code cannot."""
        first = tensors[0]
        batch, n = self._sizes(first)
        if self._qkv_same_embed_dim:
            kernels = self.in_proj_weight.chunk(3)
        else:
            kernels = (self.q_proj_weight, self.k_proj_weight, self.v_proj_weight)
        biases: Any = (None,) * 3 if self.in_proj_bias is None else self.in_proj_bias.chunk(3)
        heads = []
        for x, kernel, bias in zip(tensors, kernels, biases, strict=True):
            rows = x[None] if x.ndim == 2 else (x if self.batch_first else x.transpose(0, 1))
            y = functional.linear(rows, kernel, bias)
            heads.append(y.view(batch, n, self.num_heads, self.head_dim).transpose(1, 2))
        q, k, v = heads
        scores = (q * self.head_dim**-0.5) @ k.transpose(-1, -2)
        weights = (scores * multiply + hidden).softmax(-1)
        if self.dropout and self.training:
            weights = functional.dropout(weights, self.dropout)
        out: Tensor = self.out_proj((weights @ v).transpose(1, 2).flatten(2))
        shown = weights.mean(1) if average else weights
        if first.ndim == 2:
            return out[0], shown[0] if need_weights else None
        out = out if self.batch_first else out.transpose(0, 1)
        return out, shown if need_weights else None


def _bias(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """Return one of torch's masks, True = hidden or added, as what is added."""
    if mask.dtype != torch.bool:
        return mask.to(dtype)
    return torch.zeros_like(mask, dtype=dtype).masked_fill(mask, -torch.inf)
