"""The graph of Algorithm 5 as gates on the inputs of one small network a target.

G[i, j] is the probability that input i of target j's network is open. Gates are sampled per row
and are hard, 0 or 1, in the forward pass, with the gradient of their relaxation (straight-through
Gumbel). Soft gates do not do: L1 shrinks the gate and the weight behind it grows back.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, TypedDict, Unpack

import numpy as np
import torch
from torch import Tensor, nn

from causal_rl.graphs import h_expm_torch, h_logdet_torch, project_to_dag

_BEFORE_REOPENING = 0.6


class GatedModel(Protocol):
    """What `train_gates` and `reopen` train: a predictor of all variables through its gates.

    Attributes:
        allowed: ``(inputs, m)`` booleans, the edges that may be; contemporaneous first.
        required: ``(inputs, m)`` booleans, gates that are always open.
        gates: ``(inputs, m)`` their logits.
        n_nodes: m.
    """

    allowed: Tensor
    required: Tensor
    gates: nn.Parameter

    @property
    def n_nodes(self) -> int: ...  # noqa: D102

    def named_parameters(self) -> Iterator[tuple[str, nn.Parameter]]: ...  # noqa: D102

    def probabilities(self) -> Tensor: ...  # noqa: D102

    def sample_gates(  # noqa: D102
        self, rows: int, temperature: float, generator: torch.Generator
    ) -> Tensor: ...

    def negative_log_likelihood(  # noqa: D102
        self, columns: Tensor, gates: Tensor, kept: Tensor
    ) -> Tensor: ...


class GatedMLP(nn.Module):
    """x'_j ~ N(f_j(gated nodes after the step, gated nodes before it), v_j), all j at once.

    Args:
        allowed: ``(2 m, m)`` booleans, the edges that may be; contemporaneous first.
        hidden: width of the one hidden layer.
        generator: draws the first weights.
        required: ``(2 m, m)`` booleans, gates that are always open; none if None.
    """

    allowed: Tensor
    required: Tensor

    def __init__(
        self,
        allowed: Tensor,
        *,
        hidden: int,
        generator: torch.Generator,
        required: Tensor | None = None,
    ) -> None:
        super().__init__()
        inputs, targets = allowed.shape
        self.register_buffer("allowed", allowed)
        always = torch.zeros_like(allowed) if required is None else required
        self.register_buffer("required", always)

        def drawn(*shape: int, fan_in: int) -> nn.Parameter:
            return nn.Parameter(torch.randn(shape, generator=generator) / fan_in**0.5)

        self.gates = nn.Parameter(torch.zeros(inputs, targets))
        self.first = drawn(targets, inputs, hidden, fan_in=max(1, min(inputs, 8)))
        self.first_bias = drawn(targets, 1, hidden, fan_in=4)
        self.second = drawn(targets, hidden, 1, fan_in=hidden)
        self.second_bias = nn.Parameter(torch.zeros(targets, 1, 1))
        self.log_variance = nn.Parameter(torch.zeros(targets))

    @property
    def n_nodes(self) -> int:
        """Number of nodes m."""
        return int(self.allowed.shape[1])

    def probabilities(self) -> Tensor:
        """``(2 m, m)`` how likely each gate is open; exactly 0 where no edge may be."""
        return torch.where(self.required, 1.0, torch.sigmoid(self.gates) * self.allowed)

    def sample_gates(self, rows: int, temperature: float, generator: torch.Generator) -> Tensor:
        """Hard gates that carry the gradient of soft ones, ``(m, rows, 2 m)``."""
        logits = self.gates.T[:, None, :]
        shape = (self.n_nodes, rows, logits.shape[2])
        uniform = torch.rand(shape, generator=generator).clamp_(1e-6, 1 - 1e-6)
        soft = torch.sigmoid((logits + torch.logit(uniform)) / temperature)
        hard = (soft > 0.5).to(soft.dtype)
        gates = (hard - soft.detach() + soft) * self.allowed.T[:, None, :]
        return torch.where(self.required.T[:, None, :], 1.0, gates)

    def negative_log_likelihood(self, columns: Tensor, gates: Tensor, kept: Tensor) -> Tensor:
        """Mean over rows of the sum over targets, do-rows masked from their target's own term.

        Args:
            columns: ``(rows, 2 m)`` standardised, nodes after the step first.
            gates: ``(m, rows, 2 m)`` or ``(m, 1, 2 m)``.
            kept: ``(rows, m)`` 1 where the target was not set, else 0.
        """
        activity = torch.tanh(torch.bmm(columns * gates, self.first) + self.first_bias)
        predicted = (torch.bmm(activity, self.second) + self.second_bias).squeeze(2).T
        log_variance = self.log_variance.clamp(-9.0, 9.0)
        error = (columns[:, : self.n_nodes] - predicted) ** 2
        terms = 0.5 * (log_variance + error * torch.exp(-log_variance))
        return (terms * kept).sum() / len(columns)


@dataclass(frozen=True)
class GatedFit:
    """What `train_gates` reached: gate probabilities ``(2 m, m)``, acyclicity, finite or not."""

    probabilities: Tensor
    acyclicity: float
    finite: bool


def acyclicity_of(probabilities: Tensor, kind: str) -> Tensor:
    """The penalty on the contemporaneous block ``(m, m)``, a scalar that is 0 on a DAG."""
    if kind == "expm":
        return h_expm_torch(probabilities)
    # Any s beyond the spectral radius will do; a column sum bounds it.
    bound = float((probabilities.detach() ** 2).sum(dim=0).max())
    return h_logdet_torch(probabilities, s=max(1.0, 1.05 * bound))


def train_gates(
    model: GatedModel,
    columns: Tensor,
    kept: Tensor,
    *,
    steps: int,
    batch_size: int,
    sparsity: float,
    acyclicity: str,
    penalty_end: float,
    learning_rate: float,
    gate_learning_rate: float,
    temperature: float,
    generator: torch.Generator,
) -> GatedFit:
    """Algorithm 5, lines 29-35: descend on L_causal + lambda |G|_1 + mu h(G).

    mu is 0 in the first tenth (networks learn before gates move), then grows as a cube to
    ``penalty_end`` at two thirds of the steps.

    Args:
        model: trained in place.
        columns: ``(N, 2 m)`` standardised data.
        kept: ``(N, m)`` 1 where the target was not set.
        steps: gradient steps.
        batch_size: rows a step.
        sparsity: lambda.
        acyclicity: ``"expm"`` or ``"logdet"``.
        penalty_end: the last mu.
        learning_rate: of the networks.
        gate_learning_rate: of the gates.
        temperature: of the relaxed gates.
        generator: draws rows and gates.

    Returns:
        The fit; if a loss stopped being finite, training ended there and ``finite`` is false.
    """
    networks = [p for name, p in model.named_parameters() if name != "gates"]
    optimiser = torch.optim.Adam(
        [
            {"params": networks, "lr": learning_rate},
            {"params": [model.gates], "lr": gate_learning_rate, "betas": (0.9, 0.99)},
        ]
    )
    m, rows, finite = model.n_nodes, len(columns), True
    for step in range(steps):
        progress = step / steps
        warm = progress < 0.1
        mu = penalty_end * min(1.0, max(0.0, (progress - 0.1) / 0.55)) ** 3
        decay = min(1.0, 2.0 * (1.0 - progress)) + 0.02
        optimiser.param_groups[0]["lr"] = learning_rate * decay
        optimiser.param_groups[1]["lr"] = 0.0 if warm else gate_learning_rate
        batch = torch.randint(rows, (min(batch_size, rows),), generator=generator)
        gates = model.sample_gates(len(batch), temperature, generator)
        causal = model.negative_log_likelihood(columns[batch], gates, kept[batch])  # line 30
        probabilities = model.probabilities()
        sparse = sparsity * probabilities.sum()  # line 31
        dag = mu * acyclicity_of(probabilities[:m], acyclicity)  # line 32
        loss = causal + sparse + dag  # line 33
        if not bool(torch.isfinite(loss)):
            finite = False
            break
        optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        optimiser.step()  # line 34
    with torch.no_grad():
        probabilities = model.probabilities()
        h = float(acyclicity_of(probabilities[:m].double(), acyclicity))
    return GatedFit(probabilities, h, finite and bool(torch.isfinite(probabilities).all()))


class GateTraining(TypedDict):
    """The settings of `train_gates` that both passes of `train_and_reopen` share."""

    batch_size: int
    sparsity: float
    acyclicity: str
    penalty_end: float
    learning_rate: float
    gate_learning_rate: float
    temperature: float
    generator: torch.Generator


def train_and_reopen(
    model: GatedModel,
    columns: Tensor,
    kept: Tensor,
    *,
    steps: int,
    **settings: Unpack[GateTraining],
) -> GatedFit:
    """Train, `reopen` after three fifths of the steps, and train on.

    Args:
        model: trained in place.
        columns: as in `train_gates`.
        kept: as in `train_gates`.
        steps: gradient steps of both passes together.
        **settings: as in `train_gates`.

    Returns:
        The last fit; the first one if its loss stopped being finite.
    """
    first = math.ceil(_BEFORE_REOPENING * steps)
    fit = train_gates(model, columns, kept, steps=first, **settings)
    if fit.finite and first < steps:
        reopen(model)
        fit = train_gates(model, columns, kept, steps=steps - first, **settings)
    return fit


def reopen(model: GatedModel) -> None:
    """Give edges that the penalty closed on its way a second chance, without making new cycles.

    While mu grows, a wrong edge of a cycle may be open still and close true ones with it. Here
    open edges stay as likely as they are, edges that would close a cycle with them are ruled out,
    and all others start again undecided.

    Args:
        model: changed in place.
    """
    m = model.n_nodes
    with torch.no_grad():
        probabilities = model.probabilities()
        # Twice what any cycle could weigh, so that no required edge is projected away.
        within = torch.where(model.required[:m], 2.0 * m, probabilities[:m]).double().cpu().numpy()
        dag = project_to_dag(np.where(within > 0.5, within, 0.0)) != 0
        reach = dag.copy()
        for k in range(m):
            reach |= np.outer(reach[:, k], reach[k])
        model.allowed[:m] &= torch.from_numpy(~reach.T).to(model.allowed.device)
        held = torch.from_numpy(dag).to(model.allowed.device)
        model.gates[:m] = torch.where(held, model.gates[:m].clamp(1.0, 3.0), 0.0)
        model.gates[m:].clamp_(-1.0, 3.0)
