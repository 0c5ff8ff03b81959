"""The encoder as a masked predictor: every variable is told from those that its graph lets it see.

`SCMEncoder` runs over two tokens a variable. A query token says which variable is asked for and
holds no value; a value token holds the value. Edges lead from value tokens to query tokens alone,
so that a prediction sees the values its edges show and, at any depth, never the value asked for.
Which edges there are is the graph: fixed, or sampled gates that carry gradients (ECAM, Eq. 2 and
3), modulating the attention as everywhere else.
"""

from __future__ import annotations

from dataclasses import replace
from typing import cast

import torch
from torch import Tensor, nn

from causal_rl.attention import (
    CausalAttention,
    Modulation,
    PreparedMask,
    SCMEncoder,
    attention_mask,
    prepare_mask,
)

# What `log` leaves to a closed gate. Scores grow until a floor is undone (1e-6 was, within hundreds
# of steps), so it must be out of their reach; the gate's gradient does not depend on it.
GATE_FLOOR = 1e-12


class MaskedPredictor(nn.Module):
    """x_j ~ N(f_j(attention over the values that j's gates show), v_j), all j at once.

    Args:
        allowed: ``(inputs, m)`` booleans, the edges that may be; the m variables themselves first,
            then, if there are 2 m inputs, the variables before the step.
        gated: whether gates are learned; if not, every allowed edge is there.
        embed_dim: features of a token.
        num_layers: blocks of the encoder.
        num_heads: heads of attention.
        generator: draws the first weights.
        required: ``(inputs, m)`` booleans, gates that are always open; none if None.
    """

    allowed: Tensor
    required: Tensor

    def __init__(
        self,
        allowed: Tensor,
        *,
        gated: bool,
        embed_dim: int,
        num_layers: int,
        num_heads: int,
        generator: torch.Generator,
        required: Tensor | None = None,
    ) -> None:
        super().__init__()
        inputs, m = allowed.shape
        self.register_buffer("allowed", allowed)
        always = torch.zeros_like(allowed) if required is None else required
        self.register_buffer("required", always)
        self.gated = gated
        modulation: Modulation = "log" if gated else "hard"
        # The encoder's modules draw from torch's own generator, which is left as it was.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(torch.randint(2**31, (1,), generator=generator)))
            self.encoder = SCMEncoder(
                m + inputs, embed_dim, num_layers, num_heads, modulation, log_floor=GATE_FLOOR
            )
            self.read = nn.Parameter(torch.randn(m, embed_dim) * embed_dim**-0.5)
        # Every query token is read by itself.
        self.encoder.drop_pooling()
        self.offset = nn.Parameter(torch.zeros(m))
        self.log_variance = nn.Parameter(torch.zeros(m))
        self.gates = nn.Parameter(torch.zeros(inputs, m), requires_grad=gated)

    @property
    def n_nodes(self) -> int:
        """Number of variables m."""
        return int(self.allowed.shape[1])

    def probabilities(self) -> Tensor:
        """``(inputs, m)`` how likely each gate is open; exactly 0 where no edge may be."""
        if not self.gated:
            return self.allowed.float()
        return torch.where(self.required, 1.0, torch.sigmoid(self.gates) * self.allowed)

    def sample_gates(self, rows: int, temperature: float, generator: torch.Generator) -> Tensor:
        """``(rows, inputs, m)`` gates, hard with the gradient of soft ones; one set if fixed."""
        if not self.gated:
            return self.allowed
        shape = (rows, *self.gates.shape)
        uniform = torch.rand(shape, generator=generator).clamp_(1e-6, 1 - 1e-6)
        logits = self.gates + torch.logit(uniform.to(self.gates.device))
        soft = torch.sigmoid(logits / temperature)
        gates = ((soft > 0.5).to(soft.dtype) + (soft - soft.detach())) * self.allowed
        return torch.where(self.required, 1.0, gates)

    def tokens_graph(self, gates: Tensor) -> Tensor:
        """The gates as a graph over all tokens: queries first, then values."""
        m, inputs = self.n_nodes, self.allowed.shape[0]
        graph = gates.new_zeros((*gates.shape[:-2], m + inputs, m + inputs))
        graph[..., m:, :m] = gates
        return graph

    def token_values(self, columns: Tensor) -> Tensor:
        """``(rows, m + inputs)``: query tokens hold no value."""
        return torch.cat([columns.new_zeros(len(columns), self.n_nodes), columns], dim=1)

    def _mask(self, gates: Tensor) -> PreparedMask:
        """Closed gates keep a floor and a gradient; what is no edge (own values!) has neither."""
        graph = self.tokens_graph(gates)
        mask = prepare_mask(graph, self.encoder.modulation, log_floor=GATE_FLOOR)
        if not self.gated or mask.add is None:
            return mask
        never = ~attention_mask(self.tokens_graph(self.allowed))
        return replace(mask, add=mask.add.masked_fill(never, -torch.inf))

    def predict(self, columns: Tensor, gates: Tensor) -> Tensor:
        """``(rows, m)`` expectations, of columns ``(rows, inputs)``."""
        mask = self._mask(gates)
        tokens = self.encoder.tokens(self.token_values(columns), mask)[:, : self.n_nodes]
        expected: Tensor = (tokens * self.read).sum(-1) + self.offset
        return expected

    def negative_log_likelihood(self, columns: Tensor, gates: Tensor, kept: Tensor) -> Tensor:
        """Mean over rows of the sum over variables, do-rows masked from their own term.

        Args:
            columns: ``(rows, inputs)`` standardised.
            gates: as `sample_gates` returns them.
            kept: ``(rows, m)`` 1 where the variable was not set, else 0.
        """
        log_variance = self.log_variance.clamp(-9.0, 9.0)
        error = (columns[:, : self.n_nodes] - self.predict(columns, gates)) ** 2
        terms = 0.5 * (log_variance + error * torch.exp(-log_variance))
        return (terms * kept).sum() / len(columns)

    @torch.no_grad()
    def attention(self, columns: Tensor) -> Tensor:
        """``(inputs, m)`` how much the query of j attends to the value of i, on average.

        The mean over rows, heads and layers. What a query keeps for itself is not counted, so that
        the columns add up to less than 1.
        """
        m, encoder = self.n_nodes, self.encoder
        gates = self.probabilities() > 0.5 if self.gated else self.allowed
        mask = prepare_mask(self.tokens_graph(gates), encoder.modulation, log_floor=GATE_FLOOR)
        x = encoder.value(self.token_values(columns).unsqueeze(-1)) + encoder.identity
        total = torch.zeros(self.allowed.shape, device=columns.device)
        for block in encoder.blocks:
            attend, norm = (
                cast(CausalAttention, block.attention),
                cast(nn.Module, block.norm_attention),
            )
            weights = attend(norm(x), mask, need_weights=True)[1]
            total += weights[:, :, :m, m:].mean(dim=(0, 1)).T
            x = block(x, mask)
        return total / len(encoder.blocks)
