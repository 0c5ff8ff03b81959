"""Attention with causal effects of higher order: A.1.1 of ECAM."""

from __future__ import annotations

from dataclasses import dataclass

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
)


@dataclass(frozen=True, eq=False, slots=True)
class PreparedOrders(PreparedMask):
    """A graph and its powers made ready; built by :meth:`GeneralisedAttention.prepare`.

    ``multiply`` holds M_1.

    Attributes:
        higher: M_2 to M_order, each float (n, n) or (B, 1, n, n), as [query, key].
    """

    higher: tuple[Tensor, ...] = ()


class GeneralisedAttention(CausalAttention):
    """Attention whose scores are a polynomial, one causal order for each power (A.1.1).

        softmax( A * G_1 + sum_{i=2..order} a_i A^i * G_i ) V        A = Q K^T / sqrt(d)

    Products and powers are element-wise, a_i is learned, and G_i holds effects of i-th order,
    those along directed paths of i edges; all are transposed to [query, key], and G_1 has its
    diagonal on, as everywhere (:func:`~causal_rl.attention.attention_mask`).

    * ``hard``: G_i is 1 where a path of i edges leads, else 0. A pair that no path of at most
      ``order`` edges joins gets exactly no weight, which the printed product does not give it.
      So a variable sees its ancestors up to that distance, not its parents alone.
    * ``scale``: as printed. G_i is the i-th matrix power of the strengths, the sum over paths of
      their products; non-edges keep the weight of a score of 0.

    ``log`` is not among the modulations: strengths that are added as logarithms have no powers.
    ``order=1`` is :class:`~causal_rl.attention.CausalAttention`. All a_i start at 0: the visible
    ancestors beyond the parents then share one score, 0, until a_i says what theirs are.

    Args:
        embed_dim: features of a token, a multiple of ``num_heads``.
        num_heads: heads.
        modulation: "hard" or "scale".
        bias: whether the projections have biases.
        dropout: probability with which an attention weight is dropped in training, in [0, 1).
        log_floor: as in :class:`~causal_rl.attention.CausalAttention`; not used.
        order: the highest order, >= 1.

    Attributes:
        order_weights: parameter (order - 1,), a_2 to a_order.

    Raises:
        ValueError: as for ``CausalAttention``; also ``modulation="log"``, or an order below 1.
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
        order: int = 2,
    ) -> None:
        super().__init__(embed_dim, num_heads, modulation, bias, dropout, log_floor=log_floor)
        if modulation == "log":
            raise ValueError("modulation: 'log'; allowed for generalised attention: hard, scale")
        if order < 1:
            raise ValueError(f"order: {order}; allowed: >= 1")
        self.order = order
        self.order_weights = nn.Parameter(torch.zeros(order - 1))

    def extra_repr(self) -> str:
        """Return the settings that ``print`` shows."""
        return f"{super().extra_repr()}, order={self.order}"

    def _prepare(self, graph: Graph, like: Tensor) -> PreparedMask:
        if self.order == 1:
            return super()._prepare(graph, like)
        graph = as_graph(graph)
        first = attention_mask(graph)  # also checks the entries
        if self.modulation == "hard":
            first = first.detach() != 0
        first = first.to(like)
        eye = torch.eye(graph.shape[-1], dtype=torch.bool, device=like.device)
        step = first.masked_fill(eye, 0.0)
        higher = [step]
        for _ in range(self.order - 1):
            paths = higher[-1] @ step
            higher.append((paths > 0).to(like) if self.modulation == "hard" else paths)
        add = None
        if self.modulation == "hard":
            seen = torch.stack([first, *higher[1:]]).amax(0) > 0
            add = for_heads(torch.where(seen, 0.0, -torch.inf).to(like))
        return PreparedOrders(
            self.modulation,
            graph.shape[-1],
            add,
            for_heads(first),
            higher=tuple(for_heads(effects) for effects in higher[1:]),
        )

    def _check_mask(self, mask: PreparedMask, batch: int, n: int) -> None:
        orders = 1 + len(mask.higher) if isinstance(mask, PreparedOrders) else 1
        if orders != self.order:
            raise ValueError(f"graph: prepared for order {orders}; allowed: order {self.order}")
        super()._check_mask(mask, batch, n)

    def _modulate(self, scores: Tensor, mask: PreparedMask) -> Tensor:
        total, power = super()._modulate(scores, mask), scores
        if isinstance(mask, PreparedOrders):
            for weight, effects in zip(self.order_weights, mask.higher, strict=True):
                power = power * scores
                total = total + weight * power * effects
        return total
