"""The encoder that agents, discovery and effects share: tokens are variables."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

from causal_rl.attention.layer import CausalAttention
from causal_rl.attention.modulation import (
    LOG_FLOOR,
    Graph,
    Modulation,
    PreparedMask,
    as_graph,
    prepare_mask,
)

Pooling = Literal["attention", "linear"]
POOLINGS: tuple[Pooling, ...] = get_args(Pooling)

# How a new encoder starts: see SCMEncoder._start_centred.
_IDENTITY_SCALE = 0.1
_VALUE_GAIN = 6.0
_BRANCH_GAIN = 0.1


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

    Attributes:
        identity: parameter (n_variables, embed_dim), row i belongs to variable i.
        graph: buffer (n_variables, n_variables), float; what ``set_graph`` was given.
        readout: buffer (n_variables,), bool; all False until ``set_graph``.

    Raises:
        ValueError: a size below 1 or any value that ``CausalAttention`` refuses.
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
        self.blocks = nn.ModuleList(
            _Block(embed_dim, num_heads, modulation, hidden, dropout, log_floor)
            for _ in range(num_layers)
        )
        self._start_centred()
        self.pooling: Pooling = pooling
        if pooling == "attention":
            self.norm = nn.LayerNorm(embed_dim)
            self.query = nn.Linear(embed_dim, num_queries, bias=False)
            self.out = nn.Linear(num_queries * embed_dim, embed_dim)
        else:
            scale = (3 * embed_dim) ** -0.5
            self.maps = nn.Parameter(scale * torch.randn(n_variables, embed_dim, embed_dim))
        self.modulation: Modulation = modulation
        self.log_floor = log_floor

        self.register_buffer("graph", torch.zeros(n_variables, n_variables))
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
            graph: (n, n) or (B, n, n), ``graph[i, j]`` = i causes j; or a mask prepared for the
                tokens that are read; None takes what :meth:`set_graph` stored, readout included.
            readout: which tokens are computed and read: bool (n_variables,) or distinct integers
                (k,); None reads all.

        Returns:
            Float (B, embed_dim).

        Raises:
            TypeError: a wrong dtype or type of an argument.
            ValueError: wrong shapes, an empty or repeated readout, a bad graph, no graph at all,
                or a readout without a graph.
        """
        self._check_values(values)
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

    def _tokens(self, values: Tensor, mask: PreparedMask, index: Tensor | None) -> Tensor:
        values = values.to(self.identity.dtype)
        identity: Tensor = self.identity
        if index is not None:
            values, identity = values.index_select(1, index), identity.index_select(0, index)
        x: Tensor = self.value(values.unsqueeze(-1)) + identity
        for block in self.blocks:
            x = block(x, mask)
        return x

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
        """
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
            graph: (n_variables, n_variables), without gradient; ``graph[i, j]`` = i causes j.
            readout: as in :meth:`forward`; None reads all.

        Raises:
            TypeError: a wrong type or dtype.
            ValueError: a batch of graphs, a graph that wants gradients (pass both by call),
                a bad shape or entry, an empty or repeated readout.
        """
        graph = as_graph(graph)
        if graph.ndim != 2 or graph.requires_grad:
            what = "a batch of graphs" if graph.ndim != 2 else "a graph that requires grad"
            raise ValueError(f"graph: {what}; allowed here: one fixed graph (pass others by call)")
        index = self._check_readout(readout)
        # Prepared before anything is stored: a bad graph must leave the old one in place.
        prepare_mask(graph, self.modulation, log_floor=self.log_floor)
        self._check_size(graph)
        self.graph = graph.to(self.graph, copy=True)
        chosen = torch.ones_like(self.readout)
        if index is not None:
            chosen = torch.zeros_like(self.readout)
            chosen[index] = True
        self.readout = chosen
        self._prepare_stored()

    @torch.no_grad()
    def _start_centred(self) -> None:
        """Let the first outcomes be odd functions of the values, without a common offset.

        With torch's defaults an encoding is mostly a constant that no value moves. A policy then
        learns the best constant action long before it hears a value, and may stay there: on the
        8-variable chain it froze at 23 % of the oracle's gain, and from this start never did.
        """
        first, last = self.value[0], self.value[2]
        if isinstance(first, nn.Linear) and isinstance(last, nn.Linear):
            nn.init.zeros_(first.bias)
            last.weight.mul_(_VALUE_GAIN)
        for block in self.blocks:
            if isinstance(block, _Block):
                for branch in block.branch_outputs():
                    branch.weight.mul_(_BRANCH_GAIN)
                    nn.init.zeros_(branch.bias)

    def _resolve(
        self, graph: Graph | PreparedMask | None, readout: Tensor | None
    ) -> tuple[PreparedMask, Tensor | None]:
        """Return the prepared mask and the index of the tokens to compute (None: all)."""
        if graph is None:
            if readout is not None:
                raise ValueError("readout: given without a graph; allowed: both, or set_graph")
            if not self._has_graph:
                raise ValueError("graph: None and none stored; allowed: a graph, or set_graph")
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
        graph = as_graph(graph)
        self._check_size(graph)
        return self._prepare(graph, index), index

    def _check_size(self, graph: Tensor) -> None:
        if graph.shape[-1] != self.n_variables:
            raise ValueError(f"graph: has {graph.shape[-1]} variables; allowed: {self.n_variables}")

    def _prepare(self, graph: Tensor, index: Tensor | None) -> PreparedMask:
        if index is not None:
            on = index.to(graph.device)
            graph = graph.index_select(-1, on).index_select(-2, on)
        return prepare_mask(
            graph,
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
        mask = self._prepare(self.graph, self._index)
        self._add, self._multiply = mask.add, mask.multiply

    def _check_readout(self, readout: Tensor | None) -> Tensor | None:
        """Return the readout as distinct indices on the parameters' device; None for all."""
        if readout is None:
            return None
        n = self.n_variables
        allowed = f"bool ({n},) or distinct integers (k,) in [0, {n})"
        if not isinstance(readout, Tensor):
            raise TypeError(f"readout: {type(readout).__name__}; allowed: a tensor, {allowed}")
        if readout.is_floating_point() or readout.is_complex():
            raise TypeError(f"readout: dtype {readout.dtype}; allowed: {allowed}")
        if readout.ndim != 1 or (readout.dtype == torch.bool and len(readout) != n):
            raise ValueError(f"readout: shape {tuple(readout.shape)}; allowed: {allowed}")
        index = readout.nonzero().squeeze(1) if readout.dtype == torch.bool else readout.long()
        if len(index) == 0:
            raise ValueError(f"readout: selects no variable; allowed: {allowed}")
        if len(set(index.tolist())) < len(index) or int(index.min()) < 0 or int(index.max()) >= n:
            raise ValueError(f"readout: {index.tolist()}; allowed: {allowed}")
        return index.to(self.identity.device)


class _Block(nn.Module):
    """Pre-norm attention and feed-forward, each with a residual."""

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        modulation: Modulation,
        hidden: int,
        dropout: float,
        log_floor: float,
    ) -> None:
        super().__init__()
        self.norm_attention = nn.LayerNorm(embed_dim)
        self.attention = CausalAttention(
            embed_dim, num_heads, modulation, dropout=dropout, log_floor=log_floor
        )
        self.norm_feedforward = nn.LayerNorm(embed_dim)
        self.feedforward = nn.Sequential(
            nn.Linear(embed_dim, hidden), nn.ReLU(), nn.Linear(hidden, embed_dim)
        )
        self.dropout = dropout

    def forward(self, x: Tensor, mask: PreparedMask) -> Tensor:
        x = x + self._drop(self.attention(self.norm_attention(x), mask))
        return x + self._drop(self.feedforward(self.norm_feedforward(x)))

    def branch_outputs(self) -> tuple[nn.Linear, nn.Linear]:
        """The last map of the attention and of the feed-forward branch."""
        last = self.feedforward[2]
        if not isinstance(last, nn.Linear):  # pragma: no cover - built above
            raise TypeError("the feed-forward net ends in a linear map")
        return self.attention.out, last

    def _drop(self, x: Tensor) -> Tensor:
        return functional.dropout(x, self.dropout) if self.training and self.dropout else x


def _restore_graph(module: nn.Module, _incompatible: object) -> None:
    """Rebuild what is derived from the stored graph after a ``state_dict`` was loaded."""
    # A function of the module, not a bound method: a deep copy must restore itself.
    if isinstance(module, SCMEncoder):
        module._prepare_stored()
