"""The graph of one forward pass through a host model, made ready for each of its layers.

A host brings masks of its own (padding, order in time). What it hides stays hidden: a graph can
only take attention away from what is left.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from causal_rl.attention.annealing import Annealing
from causal_rl.attention.modulation import (
    LOG_FLOOR,
    Graph,
    Modulation,
    PreparedMask,
    as_graph,
    prepare_mask,
)

LayerGraphs: TypeAlias = Graph | Sequence[Graph | None]
"""A graph for all layers, or a sequence of one for each layer; None leaves a layer as it is."""


@dataclass(frozen=True, eq=False)
class EcamOptions:
    """What ``use_ecam`` was told about a model.

    Attributes:
        modulation: "hard", "log" or "scale".
        log_floor: eps of ``log``.
        annealing: how much of a graph is applied; None for all of it.
        n_layers: self-attention layers of the model.
    """

    modulation: Modulation = "hard"
    log_floor: float = LOG_FLOOR
    annealing: Annealing | None = None
    n_layers: int = 1


class GraphCall:
    """A graph and what is asked of one forward pass.

    The masks are made here, outside any layer, so that a layer which is computed again in the
    backward pass (gradient checkpointing) does the same operations twice.

    Args:
        graph: (n, n), (B, n, n) or (B or 1, H, n, n), ``graph[i, j]`` = token i causes token j; or
            a list or tuple of such, one for each layer (None: a full graph); or None.
        options: of the model.
        dtype: float dtype of the scores.
        device: of the scores.
        seen: tokens in a cache before this pass; None without a cache.
        need_weights: whether the attention weights are wanted.

    Raises:
        TypeError: a graph is no tensor or array of a real dtype.
        ValueError: a graph of a wrong shape or with entries that the modulation does not take, or
            not as many graphs as layers.
    """

    def __init__(
        self,
        graph: LayerGraphs | None,
        options: EcamOptions,
        *,
        dtype: torch.dtype,
        device: torch.device,
        seen: int | None = None,
        need_weights: bool = False,
    ) -> None:
        self.seen = seen
        self.need_weights = need_weights
        self.used = False
        self.door: int | None = None
        self._masks: dict[int | None, PreparedMask | None] = {}
        self._made: dict[
            tuple[object, ...], tuple[Tensor | None, tuple[Tensor | None, Tensor | None]]
        ] = {}
        share = 1.0 if options.annealing is None else options.annealing.share

        def prepare(one: Graph | None, name: str) -> PreparedMask | None:
            if one is None:
                return None
            try:
                return prepare_mask(
                    one,
                    options.modulation,
                    dtype=dtype,
                    device=device,
                    log_floor=options.log_floor,
                    share=share,
                    heads=True,
                )
            except (TypeError, ValueError) as error:
                # The keyword that the caller wrote, in place of prepare_mask's.
                raise type(error)(name + str(error).removeprefix("graph")) from None

        if isinstance(graph, list | tuple):
            if len(graph) != options.n_layers:
                raise ValueError(
                    f"ecam_graph: a sequence of {len(graph)} graphs; allowed: one for each of the "
                    f"model's {options.n_layers} attention layers"
                )
            self._masks = {k: prepare(g, f"ecam_graph[{k}]") for k, g in enumerate(graph)}
            self._by_layer = True
        else:
            self._masks = {None: prepare(graph, "ecam_graph")}  # type: ignore[arg-type]
            self._by_layer = False

    def modulation(
        self, layer: int, host: Tensor | None, query: Tensor, key: Tensor
    ) -> tuple[Tensor | None, Tensor | None] | None:
        """Return what to multiply the scaled scores with, and what to add to them then.

        Args:
            layer: index of the attention layer.
            host: the host's mask, bool (True = visible) or float (added), broadcastable to
                (B, H, q, k); None hides nothing.
            query: (B, H, q, D).
            key: (B, any, k, D); the last k tokens of the n that the graph is over, of which the
                queries are the last q.

        Returns:
            ``multiply`` and ``add``, each of four axes and broadcastable to (B, H, q, k), or None;
            None for both where the layer's attention is the host's own.

        Raises:
            ValueError: the graph has another number of tokens, heads or rows than the scores.
        """
        self.used = True
        which = layer if self._by_layer else None
        mask = self._masks[which]
        if mask is None:
            return None
        self._check(mask, query, key)
        graph = mask.add if mask.multiply is None else mask.multiply
        if graph is None:
            return None
        q, k = query.shape[2], key.shape[2]
        slot = (which, id(host), q, k, query.dtype, query.device)
        if slot in self._made:
            return self._made[slot][1]
        cut = _last(graph, q, k).to(query)
        hidden = None if host is None else _bias(host, query.dtype)
        if mask.multiply is not None:
            made: tuple[Tensor | None, Tensor | None] = (cut, hidden)
        else:
            made = (None, cut if hidden is None else hidden + cut)
        # A graph that learns gets its gradient from operations inside each layer, which
        # checkpointing may compute twice. The host's mask is kept alive: its id names it.
        if not graph.requires_grad:
            self._made[slot] = (host, made)
        return made

    def _check(self, mask: PreparedMask, query: Tensor, key: Tensor) -> None:
        n, graph = mask.n, mask.add if mask.multiply is None else mask.multiply
        batch, heads, length, _ = query.shape
        tokens = key.shape[2] if self.seen is None else self.seen + length
        if n != tokens:
            cached = f" ({self.seen} of them in the cache)" if self.seen else ""
            raise ValueError(
                f"ecam_graph: has {n} tokens; allowed: as many as the model attends over, "
                f"{tokens}{cached}"
            )
        if graph is None or graph.ndim == 2:
            return
        if graph.shape[0] not in (1, batch):
            raise ValueError(
                f"ecam_graph: a batch of {graph.shape[0]}; allowed: one graph, or the batch's "
                f"{batch}"
            )
        if graph.shape[1] not in (1, heads):
            raise ValueError(
                f"ecam_graph: {graph.shape[1]} heads; allowed: one graph, or the layer's {heads}"
            )


def crop_graph(graph: LayerGraphs, n: int) -> LayerGraphs:
    """Return the graph between the first ``n`` tokens, for a text that is still being written.

    Args:
        graph: any form that :class:`GraphCall` takes, of at least ``n`` tokens.
        n: tokens so far.

    Returns:
        The same form.

    Raises:
        TypeError: a graph is no tensor or array of a real dtype.
        ValueError: a graph has fewer than ``n`` tokens, or is not square.
    """
    if isinstance(graph, list | tuple):
        return [None if one is None else _crop(one, n, f"ecam_graph[{k}]")
                for k, one in enumerate(graph)]  # fmt: skip
    return _crop(graph, n, "ecam_graph")  # type: ignore[arg-type]


def _crop(graph: Graph, n: int, name: str) -> Tensor:
    try:
        tensor = as_graph(graph, heads=True)
    except (TypeError, ValueError) as error:
        raise type(error)(name + str(error).removeprefix("graph")) from None
    if tensor.shape[-1] < n:
        raise ValueError(
            f"{name}: has {tensor.shape[-1]} tokens; allowed: as many as the generated text will "
            f"have, now {n}"
        )
    return tensor[..., :n, :n]


def _last(mask: Tensor, q: int, k: int) -> Tensor:
    """Return the last q rows and k columns of a mask, with four axes."""
    mask = mask[..., mask.shape[-2] - q :, mask.shape[-1] - k :]
    return mask[None, None] if mask.ndim == 2 else mask


def _bias(host: Tensor, dtype: torch.dtype) -> Tensor:
    """Return a host's mask as what is added to scores."""
    if host.dtype == torch.bool:
        # Not -inf: a row of padding may see nothing, and its softmax must still be a number.
        low = torch.finfo(dtype).min
        return torch.zeros((), dtype=dtype, device=host.device).where(host, low)
    # A wide dtype's lowest number would be -inf in a narrow one.
    return host.clamp(min=torch.finfo(dtype).min).to(dtype)
