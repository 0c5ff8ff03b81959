"""The encoder that agents, discovery and effects share: tokens are variables."""

from __future__ import annotations

from typing import Literal, Self, get_args

import torch
from torch import Tensor, nn

from causal_rl.attention.block import (
    AttentionFactory,
    AttentionForm,
    EncoderBlock,
    attention_factory,
    start_centred,
)
from causal_rl.attention.layer import CausalAttention
from causal_rl.attention.modulation import (
    LOG_FLOOR,
    Graph,
    Modulation,
    PreparedMask,
    as_graph,
    prepare_mask,
)
from causal_rl.attention.multi_level import MultiLevelAttention
from causal_rl.attention.readout import cut_graph, readout_index

Pooling = Literal["attention", "linear"]
POOLINGS: tuple[Pooling, ...] = get_args(Pooling)

# How a new encoder starts: see `start_centred`.
_IDENTITY_SCALE = 0.1


class SCMEncoder(nn.Module):
    """Encode the values of variables through their causal graph.

    A token is the variable's learned identity plus a small MLP of its value (shared by all
    variables; an affine value alone would lose all but its sign in the first LayerNorm). Pre-norm
    blocks of :class:`~causal_rl.attention.CausalAttention` and a feed-forward net follow, and the
    tokens that are read are pooled into one vector.

    **Pooling.** ``attention``: a few learned queries attend over the tokens, and what they gather
    is mapped to one vector; nothing in it belongs to one variable, so it can go to other graphs.
    ``linear``: each variable's token has a linear map of its own and the outcomes are summed. The
    policy of one world learns faster from that (docs/attention.md): no variable has to win
    weight from the others before it is heard.

    **Readout.** With ``readout`` only those tokens are computed; values, identities and graph are
    cut to them. Give the ancestors of the target *including their own ancestors*: such a set is
    closed under parents, and with ``hard`` the outcome is that of computing everything and
    pooling these tokens, while nothing outside can reach it. A set that is not closed is legal
    and encodes the subgraph that it induces.

    **Graph.** Pass it with each call (gradients, one graph per row), or once by
    :meth:`set_graph`, which keeps it in the ``state_dict`` with the readout.

    **Attention.** The blocks' layers are :class:`~causal_rl.attention.CausalAttention` or one of
    the appendix's forms of it, which prepare the graph themselves in every call; "multi-level"
    takes its levels, (L, n, n) or (B, L, n, n), wherever a graph is asked for.

    Args:
        n_variables: number of variables, one column of ``values`` each.
        embed_dim: features of a token and of the output.
        num_layers: blocks; information travels ``num_layers`` edges.
        num_heads: heads of attention; divides ``embed_dim``.
        modulation: "hard", "log" or "scale", see :func:`~causal_rl.attention.prepare_mask`.
        feedforward_dim: hidden units of the feed-forward nets; None takes ``2 * embed_dim``.
        num_queries: learned queries of the readout. Each can only average what it attends to: few
            lose the values of single variables (docs/attention.md has the measurement).
        dropout: dropout of attention weights and of each residual branch, in [0, 1).
        log_floor: eps of ``log``, in (0, 1).
        pooling: "attention" or "linear".
        attention: one of ``ATTENTION_FORMS``, under ``modulation``, ``dropout`` and ``log_floor``;
            or a function ``(embed_dim, num_heads)`` that builds a layer, such as the class of a
            form or a ``functools.partial`` of it, and settles these three for it.

    Attributes:
        identity: parameter (n_variables, embed_dim), row i belongs to variable i.
        graph: buffer (n_variables, n_variables), float; what ``set_graph`` was given.
        modulation: that of the layers.
        readout: buffer (n_variables,), bool; all False until ``set_graph``.

    Raises:
        TypeError: ``attention`` is neither a name nor a function, or builds something else than a
            ``CausalAttention``.
        ValueError: a size below 1, an unknown form, a layer of another ``embed_dim`` or over many
            steps, or any value that the layer refuses.
    """

    identity: nn.Parameter
    graph: Tensor
    readout: Tensor
    _index: Tensor | None
    _add: Tensor | None
    _multiply: Tensor | None

    def __init__(
        self,
        n_variables: int,
        embed_dim: int = 32,
        num_layers: int = 2,
        num_heads: int = 2,
        modulation: Modulation = "hard",
        *,
        feedforward_dim: int | None = None,
        num_queries: int = 8,
        dropout: float = 0.0,
        log_floor: float = LOG_FLOOR,
        pooling: Pooling = "attention",
        attention: AttentionForm | AttentionFactory = "causal",
    ) -> None:
        super().__init__()
        if pooling not in POOLINGS:
            raise ValueError(f"pooling: {pooling!r}; allowed: {', '.join(POOLINGS)}")
        hidden = 2 * embed_dim if feedforward_dim is None else feedforward_dim
        for name, size in (
            ("n_variables", n_variables),
            ("embed_dim", embed_dim),
            ("num_layers", num_layers),
            ("feedforward_dim", hidden),
            ("num_queries", num_queries),
        ):
            if size < 1:
                raise ValueError(f"{name}: {size}; allowed: >= 1")
        self.n_variables = n_variables
        self.embed_dim = embed_dim
        self.identity = nn.Parameter(_IDENTITY_SCALE * torch.randn(n_variables, embed_dim))
        # The last bias is left to the identities.
        self.value = nn.Sequential(
            nn.Linear(1, embed_dim), nn.Tanh(), nn.Linear(embed_dim, embed_dim, bias=False)
        )
        build = attention_factory(attention, modulation, dropout, log_floor)
        self.blocks = nn.ModuleList(
            EncoderBlock(embed_dim, num_heads, build, hidden, dropout) for _ in range(num_layers)
        )
        start_centred(self.value, self._blocks())
        self.pooling: Pooling | None = pooling
        if pooling == "attention":
            self.norm = nn.LayerNorm(embed_dim)
            self.query = nn.Linear(embed_dim, num_queries, bias=False)
            self.out = nn.Linear(num_queries * embed_dim, embed_dim)
        else:
            scale = (3 * embed_dim) ** -0.5
            self.maps = nn.Parameter(scale * torch.randn(n_variables, embed_dim, embed_dim))
        layers = [block.attention for block in self._blocks()]
        first = layers[0]
        self.modulation: Modulation = first.modulation
        self.log_floor = first.log_floor
        # A mask that is prepared here, once for all layers, does for plain ones of one kind alone.
        self._shared = len({(type(x), x.modulation, x.log_floor) for x in layers}) == 1 and (
            type(first) is CausalAttention
        )
        levels = first.num_levels if isinstance(first, MultiLevelAttention) else None
        shape = (n_variables, n_variables)

        self.register_buffer("graph", torch.zeros(shape if levels is None else (levels, *shape)))
        self.register_buffer("readout", torch.zeros(n_variables, dtype=torch.bool))
        # Made from the two above, whose shapes never change, so that a state_dict always fits.
        for name in ("_index", "_add", "_multiply"):
            self.register_buffer(name, None, persistent=False)
        self._has_graph = False
        self.register_load_state_dict_post_hook(_restore_graph)  # type: ignore[no-untyped-call]

    def forward(
        self,
        values: Tensor,
        graph: Graph | PreparedMask | None = None,
        readout: Tensor | None = None,
    ) -> Tensor:
        """Encode a batch of values.

        Args:
            values: float (B, n_variables), finite; cast to the parameters' dtype.
            graph: (n, n) or (B, n, n), ``graph[i, j]`` = i causes j, with an axis of levels before
                (n, n) for "multi-level"; or a mask prepared for the tokens that are read; None
                takes what :meth:`set_graph` stored, readout included.
            readout: which tokens are computed and read: bool (n_variables,) or distinct integers
                (k,); None reads all.

        Returns:
            Float (B, embed_dim).

        Raises:
            TypeError: a wrong dtype or type of an argument.
            ValueError: wrong shapes, an empty or repeated readout, a bad graph, no graph at all,
                or a readout without a graph.
            RuntimeError: after :meth:`drop_pooling`.
        """
        self._check_values(values)
        self._check_pooling()
        mask, index = self._resolve(graph, readout)
        return self._pool(self._tokens(values, mask, index), index)

    def tokens(
        self,
        values: Tensor,
        graph: Graph | PreparedMask | None = None,
        readout: Tensor | None = None,
    ) -> Tensor:
        """Compute the tokens that :meth:`forward` pools.

        Args:
            values: as in :meth:`forward`.
            graph: as in :meth:`forward`.
            readout: as in :meth:`forward`.

        Returns:
            Float (B, k, embed_dim), in the order of ``readout`` (of the variables, if it is
            bool or was stored by :meth:`set_graph`).

        Raises:
            TypeError: as in :meth:`forward`.
            ValueError: as in :meth:`forward`.
        """
        self._check_values(values)
        mask, index = self._resolve(graph, readout)
        return self._tokens(values, mask, index)

    def _check_values(self, values: Tensor) -> None:
        if values.ndim != 2 or values.shape[1] != self.n_variables:
            raise ValueError(
                f"values: shape {tuple(values.shape)}; allowed: (batch, {self.n_variables})"
            )
        if not values.is_floating_point():
            raise TypeError(f"values: dtype {values.dtype}; allowed: a floating point dtype")

    def _tokens(self, values: Tensor, graph: Tensor | PreparedMask, index: Tensor | None) -> Tensor:
        values = values.to(self.identity.dtype)
        identity: Tensor = self.identity
        if index is not None:
            values, identity = values.index_select(1, index), identity.index_select(0, index)
        x: Tensor = self.value(values.unsqueeze(-1)) + identity
        for block in self.blocks:
            x = block(x, graph)
        return x

    def drop_pooling(self) -> Self:
        """Keep the tokens alone: what pools them goes, and with it :meth:`forward`.

        For callers that read every token by itself. The first weights of all else are those of an
        encoder that pools.

        Returns:
            Itself; ``pooling`` is None now.
        """
        for name in ("maps",) if self.pooling == "linear" else ("norm", "query", "out"):
            if hasattr(self, name):
                delattr(self, name)
        self.pooling = None
        return self

    def _check_pooling(self) -> None:
        if self.pooling is None:
            raise RuntimeError("the pooling was dropped; tokens() is what this encoder computes")

    def pool(self, tokens: Tensor, readout: Tensor | None = None) -> Tensor:
        """Pool tokens into one vector.

        Args:
            tokens: float (B, k, embed_dim), k >= 1, as :meth:`tokens` returns them.
            readout: which variables the tokens belong to, as in :meth:`forward`; only "linear"
                pooling asks for it, None stands for all.

        Returns:
            Float (B, embed_dim).

        Raises:
            TypeError: as in :meth:`forward`.
            ValueError: the shape is another.
            RuntimeError: after :meth:`drop_pooling`.
        """
        self._check_pooling()
        if tokens.ndim != 3 or tokens.shape[1] == 0 or tokens.shape[2] != self.embed_dim:
            raise ValueError(
                f"tokens: shape {tuple(tokens.shape)}; allowed: (batch, k, {self.embed_dim})"
            )
        index = self._check_readout(readout)
        if self.pooling == "linear":
            allowed = self.n_variables if index is None else len(index)
            if tokens.shape[1] != allowed:
                raise ValueError(f"tokens: {tokens.shape[1]} of them; allowed: {allowed}")
        return self._pool(tokens, index)

    def _pool(self, tokens: Tensor, index: Tensor | None) -> Tensor:
        if self.pooling == "linear":
            maps = self.maps if index is None else self.maps.index_select(0, index)
            mapped: Tensor = tokens.flatten(1) @ maps.flatten(0, 1)
            return mapped
        x = self.norm(tokens)
        weights = self.query(x).softmax(1)
        out: Tensor = self.out((weights.transpose(1, 2) @ x).flatten(1))
        return out

    def set_graph(self, graph: Graph, readout: Tensor | None = None) -> None:
        """Store a graph and readout that calls without a graph use from now on.

        Both are copied, prepared once, and saved in the ``state_dict``; loading one restores
        the graph it was saved with.

        Args:
            graph: (n_variables, n_variables), without gradient; ``graph[i, j]`` = i causes j; for
                "multi-level" (L, n_variables, n_variables).
            readout: as in :meth:`forward`; None reads all.

        Raises:
            TypeError: a wrong type or dtype.
            ValueError: a batch of graphs, a graph that wants gradients (pass both by call),
                a bad shape or entry, an empty or repeated readout.
        """
        graph = self._as_graph(graph)
        if graph.ndim > self.graph.ndim or graph.requires_grad:
            what = "a graph that requires grad" if graph.requires_grad else "a batch of graphs"
            raise ValueError(f"graph: {what}; allowed here: one fixed graph (pass others by call)")
        index = self._check_readout(readout)
        # Prepared before anything is stored: a bad graph must leave the old one in place.
        if self._shared:
            prepare_mask(graph, self.modulation, log_floor=self.log_floor)
        else:
            for block in self._blocks():
                block.attention.prepare(graph)
        self._check_size(graph)
        self.graph = graph.to(self.graph, copy=True)
        chosen = torch.ones_like(self.readout)
        if index is not None:
            chosen = torch.zeros_like(self.readout)
            chosen[index] = True
        self.readout = chosen
        self._prepare_stored()

    def _resolve(
        self, graph: Graph | PreparedMask | None, readout: Tensor | None
    ) -> tuple[Tensor | PreparedMask, Tensor | None]:
        """Return what the blocks take and the index of the tokens to compute (None: all)."""
        if graph is None:
            if readout is not None:
                raise ValueError("readout: given without a graph; allowed: both, or set_graph")
            if not self._has_graph:
                raise ValueError("graph: None and none stored; allowed: a graph, or set_graph")
            if not self._shared:
                return cut_graph(self.graph, self._index), self._index
            k = self.n_variables if self._index is None else len(self._index)
            return PreparedMask(self.modulation, k, self._add, self._multiply), self._index
        index = self._check_readout(readout)
        if isinstance(graph, PreparedMask):
            k = self.n_variables if index is None else len(index)
            if graph.n != k:
                raise ValueError(
                    f"graph: prepared for {graph.n} variables; allowed: the {k} that are read"
                )
            return graph, index
        graph = self._as_graph(graph)
        self._check_size(graph)
        return (self._prepare if self._shared else cut_graph)(graph, index), index

    def _as_graph(self, graph: Graph) -> Tensor:
        """A graph as a tensor, or, if the layers take levels, those."""
        return as_graph(graph, heads=self.graph.ndim == 3)

    def _blocks(self) -> list[EncoderBlock]:
        return [block for block in self.blocks if isinstance(block, EncoderBlock)]

    def _check_size(self, graph: Tensor) -> None:
        if graph.shape[-1] != self.n_variables:
            raise ValueError(f"graph: has {graph.shape[-1]} variables; allowed: {self.n_variables}")

    def _prepare(self, graph: Tensor, index: Tensor | None) -> PreparedMask:
        return prepare_mask(
            cut_graph(graph, index),
            self.modulation,
            dtype=self.identity.dtype,
            device=self.identity.device,
            log_floor=self.log_floor,
        )

    def _prepare_stored(self) -> None:
        """Make the derived buffers from ``graph`` and ``readout``."""
        self._has_graph = bool(self.readout.any())
        if not self._has_graph:
            self._index = self._add = self._multiply = None
            return
        self._index = None if bool(self.readout.all()) else self.readout.nonzero().squeeze(1)
        if self._shared:
            mask = self._prepare(self.graph, self._index)
            self._add, self._multiply = mask.add, mask.multiply

    def _check_readout(self, readout: Tensor | None) -> Tensor | None:
        """Return the readout as distinct indices on the parameters' device; None for all."""
        index = readout_index(readout, self.n_variables)
        return None if index is None else index.to(self.identity.device)


def _restore_graph(module: nn.Module, _incompatible: object) -> None:
    """Rebuild what is derived from the stored graph after a ``state_dict`` was loaded."""
    # A function of the module, not a bound method: a deep copy must restore itself.
    if isinstance(module, SCMEncoder):
        module._prepare_stored()
