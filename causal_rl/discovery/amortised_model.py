"""An ECAM transformer that reads a whole table and tells the graph behind it.

Tokens are the values of a table, one for each row and variable. Every block lets each value attend
to the other variables of its row, as far as the present guess of the graph has them as its causes
(ECAM, Eq. 2, modulation ``log``), and to the same variable in the other rows. Products of what two
variables then hold, averaged over rows, tell of each pair; from these the guess is made anew, which
modulates the next block. Nothing depends on the number or order of rows, and a permutation of
variables permutes the answer.
"""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from causal_rl.attention import CausalAttention, PreparedMask
from causal_rl.discovery.amortised_pairs import (
    Messages,
    PairProducts,
    PairUpdate,
    feed_forward,
    standardised,
)
from causal_rl.files import atomic_open, read_payload

#: Standardised values beyond this are cut off.
_LARGEST = 6.0
_CHANNELS = 3
_FORMAT = "causal_rl amortised graph learner 1"
#: Logit of an edge before anything is known: one pair in four or so is joined.
_FIRST_LOGIT = -2.0


@dataclass(frozen=True)
class ModelSizes:
    """Sizes of an `AmortisedModel`.

    Args:
        embed_dim: features of a token.
        pair_dim: features of a pair of variables.
        product_dim: features of tokens or pairs that enter products with those of others.
        num_blocks: blocks; the graph is guessed before the first and after each.
        num_heads: heads of attention.
        pair_updates: updates of the pairs a block.
        modulated: whether the guess of the graph modulates the attention over variables; if not,
            every variable attends to all.

    Raises:
        ValueError: a size below 1, or heads that do not divide ``embed_dim``.
    """

    embed_dim: int = 32
    pair_dim: int = 32
    product_dim: int = 8
    num_blocks: int = 2
    num_heads: int = 2
    pair_updates: int = 3
    modulated: bool = True

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if name != "modulated" and (isinstance(value, bool) or value < 1):
                raise ValueError(f"{name} must be an integer >= 1, got {value!r}")
        if self.embed_dim % self.num_heads:
            raise ValueError(f"num_heads must divide {self.embed_dim}, got {self.num_heads}")


class AmortisedModel(nn.Module):
    """From a table to the logits of edges, in one pass.

    Args:
        sizes: of the network.
    """

    def __init__(self, sizes: ModelSizes | None = None) -> None:
        super().__init__()
        self.sizes = ModelSizes() if sizes is None else sizes
        width = self.sizes.embed_dim
        self.embed = nn.Sequential(
            nn.Linear(_CHANNELS, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )
        self.first = PairProducts(width, self.sizes.pair_dim, self.sizes.product_dim)
        self.update = PairUpdate(self.sizes.pair_dim, self.sizes.product_dim)
        self.blocks = nn.ModuleList(Block(self.sizes) for _ in range(self.sizes.num_blocks))
        read = nn.Linear(self.sizes.pair_dim, 1)
        self.read = nn.Sequential(nn.LayerNorm(self.sizes.pair_dim), read)
        with torch.no_grad():
            read.weight.mul_(0.1)
            read.bias.fill_(_FIRST_LOGIT)

    def forward(
        self,
        values: Tensor,
        do_target: Tensor,
        past: Tensor | None = None,
        possible: Tensor | None = None,
    ) -> list[Tensor]:
        """The logits of the graph before the first block and after each; the last is the answer.

        Args:
            values: float32 ``(batch, rows, variables)``; columns are `standardised` here.
            do_target: bool ``(batch, rows, variables)``, true where the variable was set.
            past: bool ``(variables,)``, true for columns of the step before, which have no causes
                among the others; none if None.
            possible: bool ``(variables, variables)`` or with a batch before, false at [i, j]
                where i is known not to cause j; all are possible if None.

        Returns:
            Tensors ``(batch, variables, variables)``, one more than blocks; -inf where no edge can
            be.

        Raises:
            ValueError: shapes that do not agree, or no rows or variables.
        """
        if values.ndim != 3 or 0 in values.shape or values.shape != do_target.shape:
            raise ValueError(
                "values and do_target must be (batch, rows, variables), none of them 0, got "
                f"{tuple(values.shape)} and {tuple(do_target.shape)}"
            )
        d = values.shape[2]
        allowed = ~torch.eye(d, dtype=torch.bool, device=values.device)
        is_past = torch.zeros_like(values[:1, :1])
        if past is not None:
            allowed = allowed & ~past[None, :]
            is_past = past.to(values.dtype)[None, None, :]
        if possible is not None:
            allowed = allowed & possible
        was_set = do_target.to(values.dtype)
        cut = standardised(values, 1.0 - was_set).clamp(-_LARGEST, _LARGEST)
        tokens = self.embed(torch.stack([cut, was_set, is_past.expand_as(cut)], -1))
        pairs = self.update(self.first(tokens, was_set))
        found = [self._logits(pairs, allowed)]
        for block in self.blocks:
            tokens, pairs = block(tokens, pairs, was_set, found[-1])
            found.append(self._logits(pairs, allowed))
        return found

    def _logits(self, pairs: Tensor, allowed: Tensor) -> Tensor:
        logits: Tensor = self.read(pairs).squeeze(-1)
        return logits.masked_fill(~allowed, -torch.inf)


def edge_probabilities(logits: Tensor) -> Tensor:
    """Probabilities of edges: each pair is one of i -> j, j -> i, or none.

    Args:
        logits: ``(..., d, d)``, each against the log-odds 0 of no edge.

    Returns:
        ``(..., d, d)``; that of i -> j and that of j -> i add up to at most 1.
    """
    back = logits.transpose(-1, -2)
    most = torch.maximum(logits, back).clamp(min=0.0)
    here = torch.exp(logits - most)
    return here / (torch.exp(-most) + here + torch.exp(back - most))


def pair_loss(logits: Tensor, graph: Tensor) -> Tensor:
    """Cross entropy of the pairs, in nats a pair that may be joined.

    Args:
        logits: ``(batch, d, d)``, -inf where no edge can be.
        graph: bool ``(batch, d, d)``, acyclic.
    """
    back = logits.transpose(-1, -2)
    upper = torch.ones_like(graph[0]).triu(1) & (torch.isfinite(logits) | torch.isfinite(back))
    three = torch.stack([torch.zeros_like(logits), logits, back], -1)
    label = graph.long() + 2 * graph.transpose(-1, -2).long()
    return functional.cross_entropy(three[upper], label[upper])


def likely_edges(probabilities: NDArray[np.floating], threshold: float = 0.5) -> NDArray[np.bool_]:
    """For each pair the likelier direction, if it is likely enough against no edge.

    With the threshold of one half every pair is what it most probably is, so that the expected
    number of wrong pairs is least.

    Args:
        probabilities: ``(..., d, d)`` of edges, as `edge_probabilities` gives them.
        threshold: on the probability of the edge given that the opposite one is not there.

    Returns:
        ``(..., d, d)`` bool, never both directions; of two that are equally likely, the one from
        the earlier variable. Cycles of three and more are possible.
    """
    back = np.swapaxes(probabilities, -1, -2)
    first = np.triu(np.ones(probabilities.shape[-2:], dtype=bool), 1)
    ahead = (probabilities > back) | ((probabilities == back) & first)
    return np.asarray((probabilities > threshold * (1.0 - back)) & ahead)


def save_model(model: AmortisedModel, path: str | os.PathLike[str], about: dict[str, Any]) -> None:
    """Write sizes, weights (of half precision) and how they came about; whole or not at all.

    Args:
        model: the network.
        path: the file; its folder must exist.
        about: plain values, see `load_model`.
    """
    payload = {
        "format": _FORMAT,
        "sizes": asdict(model.sizes),
        "weights": {k: v.detach().half().cpu() for k, v in model.state_dict().items()},
        "about": about,
    }
    with atomic_open(path) as file:
        torch.save(payload, file)


def load_model(path: str | os.PathLike[str]) -> tuple[AmortisedModel, dict[str, Any]]:
    """Read a file of `save_model`; nothing in it is executed.

    Args:
        path: the file.

    Returns:
        The network, ready to answer, and how it was trained.

    Raises:
        ValueError: there is no such file, or it is none of `save_model`.
    """
    payload = read_checkpoint(path, _FORMAT, "a trained network of causal-rl train-discovery")
    try:
        model = AmortisedModel(ModelSizes(**payload["sizes"]))
        model.load_state_dict({k: v.float() for k, v in payload["weights"].items()})
        about = dict(payload["about"])
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise ValueError(f"checkpoint {os.fspath(path)!r} is of another network") from error
    return model.eval(), about


def read_checkpoint(path: str | os.PathLike[str], form: str, what: str) -> dict[str, Any]:
    """Read a dictionary that the option ``checkpoint`` names; see `read_payload`.

    Raises:
        ValueError: there is no such file, or it is another.
    """
    shown = repr(os.fspath(path))
    return read_payload(
        path,
        form,
        missing=f"checkpoint must be {what}, got {shown}, which is no file",
        unreadable=f"checkpoint must be {what}; {shown} cannot be read as one",
        foreign=f"checkpoint must be {what}; {shown} is another file",
    )


class Block(nn.Module):
    """Attention over variables and over rows, and what follows for each pair.

    Args:
        sizes: of the network.
    """

    def __init__(self, sizes: ModelSizes) -> None:
        super().__init__()
        width = sizes.embed_dim
        self.modulated = sizes.modulated
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
        self.over_variables = CausalAttention(width, sizes.num_heads, "log")
        self.over_rows = CausalAttention(width, sizes.num_heads, "log")
        self.messages = Messages(width, sizes.pair_dim, sizes.num_heads)
        self.feed = feed_forward(width)
        self.products = PairProducts(width, sizes.pair_dim, sizes.product_dim)
        self.updates = nn.Sequential(
            *(PairUpdate(sizes.pair_dim, sizes.product_dim) for _ in range(sizes.pair_updates))
        )

    def forward(
        self, tokens: Tensor, pairs: Tensor, was_set: Tensor, logits: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Tokens and pairs after the block.

        Args:
            tokens: ``(batch, rows, variables, embed_dim)``.
            pairs: ``(batch, variables, variables, pair_dim)``.
            was_set: ``(batch, rows, variables)``, 1 where the variable was set, else 0.
            logits: ``(batch, variables, variables)``, the present guess of the graph.
        """
        batch, rows, d, width = tokens.shape
        within = self.norms[0](tokens)
        seen = self.over_variables(within.flatten(0, 1), self._mask(logits, rows))
        tokens = tokens + seen.view_as(tokens) + self.messages(within, pairs)
        across = self.norms[1](tokens).transpose(1, 2).flatten(0, 1)
        seen = self.over_rows(across, PreparedMask("log", rows))
        tokens = tokens + seen.view(batch, d, rows, width).transpose(1, 2)
        tokens = tokens + self.feed(tokens)
        pairs = self.updates(pairs + self.products(tokens, was_set))
        return tokens, pairs

    def _mask(self, logits: Tensor, rows: int) -> PreparedMask:
        """The present guess of each table's graph, for each of its rows."""
        d = logits.shape[-1]
        if not self.modulated or d == 1:
            return PreparedMask("log", d)
        # The guess learns from its own loss; a gradient through the mask takes the slow kernel.
        mask = self.over_variables.prepare(edge_probabilities(logits.detach()))
        if mask.add is None:
            return mask
        return replace(mask, add=mask.add.repeat_interleave(rows, dim=0))
