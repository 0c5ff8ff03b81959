"""Predict every variable under do(X_j = v), in worlds and sizes never trained on."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn
from torch.nn import functional

from causal_rl.agents.transfer.mechanism_evidence import MechanismEvidence
from causal_rl.agents.transfer.questions import NODE_FEATURES, DoBatch, do_batch
from causal_rl.attention import CausalAttention, PreparedMask, attention_mask
from causal_rl.files import atomic_open, read_payload

Method = Literal["ecam", "attention", "adjacency"]
METHODS: tuple[Method, ...] = get_args(Method)

# Heads: positive and negative weights; inside the step also squares, by which variances add up,
# and the bare graph.
_HEADS_ACROSS, _HEADS_INSIDE = 2, 4
# Sum of a head's strengths, what a variable keeps for itself included.
_TOTAL = 6.0
_LEAST_SELF = 0.1
_STATE_FEATURES = 4
_FORMAT = "causal_rl.do_predictor/1"


class DoPredictor(nn.Module):
    """A shared-weight transformer over variables; no parameter belongs to a variable.

    Tokens are the variables before the step and after it. Attention runs along the graph alone,
    weighted by the evidence's weights: hard masking, so that nothing but ancestors can reach a
    variable. It runs along the edges across the step once, then along those inside it: one block
    is applied once for each level of the graph, causes before effects, and what passes from level
    to level is a mean and a spread for each variable. ``do`` cuts the edges into the variable that
    is set.

    ``attention`` is the same network told that everything causes everything (give it evidence on
    the full graph). ``adjacency`` gives each token its rows and columns of the weighted graph as
    features, padded, under a slot drawn at random, and lets everything attend to everything. Both
    have no causes before effects, and update all variables together, ``sweeps`` times.

    Args:
        method: "ecam", "attention" or "adjacency".
        embed_dim: features of a token, a multiple of 4.
        hidden: units of the hidden layers.
        sweeps: times the block is applied where there is no order; read by the baselines.
        max_variables: slots of ``adjacency``.
        seed: of the first weights.

    Raises:
        ValueError: an unknown method or a size out of range.
    """

    def __init__(
        self,
        method: Method = "ecam",
        *,
        embed_dim: int = 48,
        hidden: int = 96,
        sweeps: int = 6,
        max_variables: int = 12,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if method not in METHODS:
            raise ValueError(f"method must be one of {', '.join(METHODS)}, got {method!r}")
        if embed_dim < _HEADS_INSIDE or embed_dim % _HEADS_INSIDE:
            raise ValueError(f"embed_dim must be a multiple of {_HEADS_INSIDE}, got {embed_dim}")
        for name, size in (
            ("hidden", hidden),
            ("sweeps", sweeps),
            ("max_variables", max_variables),
        ):
            if size < 1:
                raise ValueError(f"{name} must be at least 1, got {size}")
        self.method: Method = method
        self.sweeps, self.max_variables = sweeps, max_variables
        self._sizes = {
            "embed_dim": embed_dim,
            "hidden": hidden,
            "sweeps": sweeps,
            "max_variables": max_variables,
        }
        #: Draws the slots of ``adjacency`` while it trains.
        self.slot_generator = torch.Generator()
        inputs = _STATE_FEATURES + NODE_FEATURES
        if method == "adjacency":
            inputs += 5 * max_variables
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.embed = _Skip(inputs, hidden, embed_dim)
            self.across = CausalAttention(embed_dim, _HEADS_ACROSS)
            self.inside = CausalAttention(embed_dim, _HEADS_INSIDE)
            self.read = _Skip(embed_dim, hidden, 2, layers=2)
        with torch.no_grad():
            # Queries and keys start small: attention begins as the graph's weights say.
            for layer in (self.across, self.inside):
                layer.qkv.weight[: 2 * embed_dim] *= 0.1

    def forward(self, batch: DoBatch) -> tuple[Tensor, Tensor]:
        """Predict in standard units.

        Args:
            batch: of any number of variables (``adjacency``: up to ``max_variables``).

        Returns:
            Mean and standard deviation after the step, (rows, n) each; a variable that is set has
            its value and 0.

        Raises:
            ValueError: for "ecam" a graph with a cycle, for "adjacency" too many variables.
        """
        free = ~batch.do_mask
        mean = torch.where(batch.do_mask, batch.do_value, 0.0)
        spread = torch.zeros_like(mean)
        slots = self._slots(batch) if self.method == "adjacency" else None
        across, inside = self._masks(batch)
        memory = self._remember(batch, across, slots)
        if self.method != "ecam":
            for _ in range(self.sweeps):
                out = self._step(batch, mean, spread, memory, inside, slots, free)
                mean, spread = mean.clone(), spread.clone()
                mean[free], spread[free] = out
            return mean, spread
        edges = batch.now != 0
        level = _levels(edges)
        for k in range(int(level.max()) + 1):
            at = level == k
            due = free & at
            rows = due.any(1).nonzero().squeeze(1)  # deep graphs are few
            if not len(rows):
                continue
            # Nothing but causes is read: in one world, other tokens need not be computed.
            tokens = (at | (edges & at[:, None, :]).any(2)).any(0).nonzero().squeeze(1)
            here = rows[:, None], tokens
            part, mask = batch.part(rows, tokens), _part(inside, rows, tokens)
            out = self._step(part, mean[here], spread[here], memory[here], mask, None, due[here])
            mean, spread = mean.clone(), spread.clone()
            mean[due], spread[due] = out
        return mean, spread

    @torch.no_grad()
    def predict(
        self,
        evidence: MechanismEvidence,
        previous: ArrayLike,
        do_mask: ArrayLike,
        do_value: ArrayLike,
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Predict mean and standard deviation in the world's own units.

        Args:
            evidence: on the world.
            previous: (rows, n) before the step.
            do_mask: bool (rows, n), where a variable is set.
            do_value: (rows, n), read where ``do_mask`` is true.

        Returns:
            float64 (rows, n) each.

        Raises:
            ValueError: as `do_batch` and `forward`.
        """
        mean, spread = self(do_batch(evidence, previous, do_mask, do_value))
        return (
            mean.double().numpy() * evidence.scale + evidence.centre,
            spread.double().numpy() * evidence.scale,
        )

    def save(self, path: str | Path) -> None:
        """Write weights and sizes to a file, whole or not at all.

        Args:
            path: the file; its folder must exist.
        """
        payload = {
            "format": _FORMAT,
            "method": self.method,
            "sizes": self._sizes,
            "weights": self.state_dict(),
        }
        with atomic_open(path) as file:
            torch.save(payload, file)

    @classmethod
    def load(cls, path: str | Path) -> DoPredictor:
        """Read a file of `save`; nothing in it is executed.

        Args:
            path: the file.

        Raises:
            ValueError: there is no such file, or it is none of `save`.
        """
        shown = repr(str(path))
        payload = read_payload(
            path,
            _FORMAT,
            missing=f"path must be a saved predictor, got {shown}, which is no file",
            unreadable=f"path {shown} is no readable predictor file",
            foreign=f"path {shown} is no predictor of this program ({_FORMAT})",
        )
        predictor = cls(payload["method"], **payload["sizes"])
        predictor.load_state_dict(payload["weights"])
        return predictor.eval()

    def _masks(self, batch: DoBatch) -> tuple[PreparedMask, PreparedMask]:
        """Across the step over 2 n tokens, those before first, and inside it over n."""
        n = batch.previous.shape[1]
        if self.method == "adjacency":
            return PreparedMask("hard", 2 * n), PreparedMask("hard", n)
        cut = (~batch.do_mask).to(batch.now.dtype)[:, None, :]
        now, lagged = batch.now * cut, functional.pad(batch.lagged * cut, (n, 0, 0, n))
        across = torch.stack([lagged, -lagged], 1).clamp(min=0)
        signed = torch.stack([now, -now], 1).clamp(min=0)
        inside = torch.cat([signed, torch.stack([now**2, (now != 0).to(now)], 1)], 1)
        return _weighted(across), _weighted(inside)

    def _remember(self, batch: DoBatch, across: PreparedMask, slots: Tensor | None) -> Tensor:
        """What reaches each variable from before the step, (rows, n, embed_dim)."""
        n = batch.previous.shape[1]
        zero = torch.zeros_like(batch.previous)
        before = self._tokens(torch.zeros_like(batch.nodes), batch.previous, zero, zero + 1, slots)
        after = self._tokens(batch.nodes, zero, zero, zero, slots)
        memory: Tensor = self.across(torch.cat([before, after], 1), across)[:, n:]
        return memory

    def _step(
        self,
        batch: DoBatch,
        mean: Tensor,
        spread: Tensor,
        memory: Tensor,
        inside: PreparedMask,
        slots: Tensor | None,
        due: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """New means and spreads of the variables that are due, (due,) each."""
        x = memory + self._tokens(batch.nodes, mean, spread, 2.0 * batch.do_mask, slots)
        out = self.read((x + self.inside(x, inside))[due])
        return out[:, 0], functional.softplus(out[:, 1])

    def _tokens(
        self, nodes: Tensor, mean: Tensor, spread: Tensor, role: Tensor, slots: Tensor | None
    ) -> Tensor:
        """Embed variables; ``role`` is 0 for one after the step, 1 before it, 2 for one set."""
        state = torch.stack([mean, spread, (role == 1).to(mean), (role == 2).to(mean)], -1)
        parts = [state, nodes] if slots is None else [state, nodes, slots]
        tokens: Tensor = self.embed(torch.cat(parts, -1))
        return tokens

    def _slots(self, batch: DoBatch) -> Tensor:
        """Rows and columns of the weighted graph, padded, and each variable's slot."""
        rows, n, slots = *batch.previous.shape, self.max_variables
        if n > slots:
            raise ValueError(f"batch has {n} variables, max_variables is {slots}")
        cut = ~batch.do_mask[:, None, :]
        at = torch.eye(slots)
        if self.training:
            draws = torch.rand(rows, slots, generator=self.slot_generator)
            order = draws.argsort(1)[:, :n]
        else:
            order = torch.arange(n).expand(rows, n)
        slot = at[order]
        now, lagged = batch.now * cut, batch.lagged * cut
        seen = [now.mT @ slot, now @ slot, lagged.mT @ slot, lagged @ slot, slot]
        return torch.cat(seen, -1)


class _Skip(nn.Module):
    """A linear map plus a multilayer perceptron: what is linear need not be learned by bends."""

    def __init__(self, inputs: int, hidden: int, outputs: int, layers: int = 1) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, outputs)
        parts: list[nn.Module] = [nn.Linear(inputs, hidden), nn.SiLU()]
        for _ in range(layers - 1):
            parts += [nn.Linear(hidden, hidden), nn.SiLU()]
        self.bends = nn.Sequential(*parts, nn.Linear(hidden, outputs))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.linear(x) + self.bends(x)
        return out


def _weighted(strengths: Tensor) -> PreparedMask:
    """The modulation of each head: softmax(A + log(strength)) on edges, nothing elsewhere.

    What the edges into a token leave of ``_TOTAL`` is its own. Where scores are equal, weights are
    then the strengths over ``_TOTAL``, however many edges there are: a head adds up its causes.

    Args:
        strengths: (rows, heads, tokens, tokens), at least 0, [i, j] of i on j.
    """
    own = (_TOTAL - strengths.sum(-2, keepdim=True)).clamp(min=_LEAST_SELF)
    mask = attention_mask((strengths / own).flatten(0, 1))
    return PreparedMask("hard", strengths.shape[-1], mask.log().view_as(strengths))


def _part(mask: PreparedMask, rows: Tensor, tokens: Tensor) -> PreparedMask:
    """The mask of some tokens in some rows."""
    if mask.add is None:
        return PreparedMask(mask.modulation, len(tokens))
    add = mask.add[rows][:, :, tokens][..., tokens]
    return PreparedMask(mask.modulation, len(tokens), add)


def _levels(edges: Tensor) -> Tensor:
    """Edges of the longest path into each variable, int64 (rows, n), from bool (rows, n, n)."""
    rows, n = edges.shape[:2]
    level = torch.zeros(rows, n, dtype=torch.int64)
    for _ in range(n):
        deeper = torch.where(edges, level[:, :, None] + 1, 0).amax(1)
        if torch.equal(deeper, level):
            return level
        level = deeper
    raise ValueError("evidence has a graph with a cycle inside the step; allowed: none for 'ecam'")
