"""Attention blocks under a graph, and the one loop that trains classifiers made of them."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from causal_rl.attention.block import EncoderBlock, attention_factory
from causal_rl.attention.modulation import LOG_FLOOR, MODULATIONS, Modulation, prepare_mask
from causal_rl.devices import device_of, forked_random
from causal_rl.discovery.cross_sample import CrossSampleAttention
from causal_rl.downstream.irm import irm_penalty
from causal_rl.options import check_choice, check_integer, check_number

Objective = Literal["erm", "irm"]
OBJECTIVES: tuple[Objective, ...] = ("erm", "irm")

# The share of the steps before IRM's penalty gets its weight; it has 1 until then.
_WARM = 0.4
_CLIP = 1.0


@dataclass(frozen=True)
class TokenOptions:
    """What a model is, and how it is trained.

    Args:
        embed_dim: features of a token.
        num_layers: blocks.
        num_heads: heads; divides ``embed_dim``.
        feedforward_dim: of a block.
        modulation: of the attention by the graph.
        dictionary: entries of CATT's cross-sample attention; 0 for none.
        dropout: in attention and residual branches, in [0, 1).
        steps: updates of the weights.
        batch: rows an update.
        learning_rate: highest of a cycle.
        weight_decay: of AdamW, >= 0.
        objective: "erm", or "irm": the mean over environments plus IRMv1's penalty.
        penalty: weight of that penalty in the last three fifths of the training, >= 1.
        seed: of weights and batches.
    """

    embed_dim: int = 32
    num_layers: int = 2
    num_heads: int = 4
    feedforward_dim: int = 128
    modulation: Modulation = "hard"
    dictionary: int = 0
    dropout: float = 0.0
    steps: int = 1500
    batch: int = 64
    learning_rate: float = 2e-3
    weight_decay: float = 0.01
    objective: Objective = "erm"
    penalty: float = 1e4
    seed: int = 0

    def check(self) -> None:
        """Validate.

        Raises:
            ValueError: out of range.
            TypeError: no number.
        """
        for name in ("embed_dim", "num_layers", "num_heads", "feedforward_dim", "batch", "steps"):
            check_integer(name, getattr(self, name), least=1)
        for name in ("dictionary", "seed"):
            check_integer(name, getattr(self, name), least=0)
        check_number("dropout", self.dropout, least=0.0, below=1.0)
        check_number("learning_rate", self.learning_rate, least=0.0, open_end=True)
        check_number("weight_decay", self.weight_decay, least=0.0)
        check_number("penalty", self.penalty, least=1.0)
        check_choice("objective", self.objective, OBJECTIVES)
        check_choice("modulation", self.modulation, MODULATIONS)
        if self.embed_dim % self.num_heads:
            raise ValueError(
                f"num_heads is {self.num_heads}; it must divide embed_dim={self.embed_dim}"
            )


def token_blocks(options: TokenOptions) -> nn.ModuleList:
    """Pre-norm blocks of attention under a graph.

    With a dictionary every block also attends over learned tokens of other samples (CATT).
    Weights are drawn from torch's generator.

    Args:
        options: sizes; those of training are not used.

    Returns:
        ``num_layers`` times `EncoderBlock`.

    Raises:
        ValueError: an option out of range.
        TypeError: an option of a wrong type.
    """
    options.check()
    width = options.embed_dim
    form = attention_factory("causal", options.modulation, options.dropout, LOG_FLOOR)
    blocks = [
        EncoderBlock(width, options.num_heads, form, options.feedforward_dim, options.dropout)
        for _ in range(options.num_layers)
    ]
    if options.dictionary:
        generator = torch.Generator().manual_seed(options.seed)
        for block in blocks:
            entries = torch.randn(options.dictionary, width, generator=generator)
            both = CrossSampleAttention(block.attention, entries, generator=generator)
            block.register_module("attention", both)
    return nn.ModuleList(blocks)


class TokenEncoder(nn.Module):
    """The blocks of `token_blocks` and a norm, of which the first token is read.

    Args:
        options: sizes; those of training are not used.
    """

    def __init__(self, options: TokenOptions) -> None:
        super().__init__()
        self.blocks = token_blocks(options)
        self.norm = nn.LayerNorm(options.embed_dim)
        self.modulation: Modulation = options.modulation

    def forward(self, x: Tensor, graph: Tensor) -> Tensor:
        """What the first token has read.

        Args:
            x: (B, n, embed_dim).
            graph: (n, n) or (B, n, n), [i, j] true where token j may look at token i.

        Returns:
            (B, embed_dim).
        """
        mask = prepare_mask(graph, self.modulation, dtype=x.dtype)
        for block in self.blocks:
            x = block(x, mask)
        out: Tensor = self.norm(x[:, 0])
        return out


def count_parameters(model: nn.Module) -> int:
    """Number of weights that training changes."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def train_model(
    model: nn.Module,
    inputs: Sequence[Tensor],
    labels: Tensor,
    options: TokenOptions,
    *,
    environments: Tensor | None = None,
    held_out: tuple[Sequence[Tensor], Tensor] | None = None,
    checks: int = 10,
    after_step: Callable[[int], None] | None = None,
) -> nn.Module:
    """Train a classifier by AdamW on a cycle of learning rates.

    Batches are drawn where the rows are and then taken to the model's device.

    Args:
        model: called with a batch of every input; gives logits (B, classes). Changed in place.
        inputs: (N, ...) each.
        labels: (N,) int64.
        options: of the training.
        environments: (N,) int64; "irm" draws a share of each batch from every one.
        held_out: inputs and labels that tell when the model was best; the last if None.
        checks: how often that is looked at.
        after_step: called with the number of each step, from 1, once it is done.

    Returns:
        The model, in evaluation mode.

    Raises:
        ValueError: an option out of range, or "irm" with fewer than two environments.
    """
    options.check()
    places = [torch.arange(len(labels))]
    invariant = options.objective == "irm"
    if invariant:
        kinds = [] if environments is None else np.unique(environments.numpy()).tolist()
        if environments is None or len(kinds) < 2:
            raise ValueError("objective is 'irm'; it needs at least two environments")
        places = [torch.nonzero(environments == kind).flatten() for kind in kinds]
    generator = torch.Generator().manual_seed(options.seed)
    optimiser = torch.optim.AdamW(
        model.parameters(), lr=options.learning_rate, weight_decay=options.weight_decay
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, options.learning_rate, options.steps, pct_start=0.1
    )
    share = max(options.batch // len(places), 1)
    best, state = -1.0, None
    device = device_of(model)
    with forked_random(device):
        torch.manual_seed(options.seed)  # of dropout
        for step in range(1, options.steps + 1):
            model.train()
            rows = torch.cat(
                [own[torch.randint(len(own), (share,), generator=generator)] for own in places]
            )
            logits = model(*(values[rows].to(device) for values in inputs))
            wanted = labels[rows].to(device)
            loss = functional.cross_entropy(logits, wanted)
            if invariant:
                weight = options.penalty if step > _WARM * options.steps else 1.0
                parts = zip(torch.split(logits, share), torch.split(wanted, share), strict=True)
                penalty = torch.stack([irm_penalty(*part) for part in parts]).mean()
                loss = (loss + weight * penalty) / weight
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(model.parameters(), _CLIP)
            optimiser.step()
            schedule.step()
            if after_step is not None:
                after_step(step)
            if held_out is not None and step % max(options.steps // checks, 1) == 0:
                right = float((predict_classes(model, held_out[0]) == held_out[1].numpy()).mean())
                if right > best:
                    best, state = right, copy.deepcopy(model.state_dict())
    if state is not None:
        model.load_state_dict(state)
    return model.eval()


@torch.no_grad()
def predict_logits(model: nn.Module, inputs: Sequence[Tensor], *, batch: int = 500) -> Tensor:
    """Logits (N, classes) in evaluation mode, on the CPU.

    Args:
        model: as in `train_model`.
        inputs: (N, ...) each.
        batch: rows a pass.
    """
    model.eval()
    parts = [torch.split(values, batch) for values in inputs]
    device = device_of(model)
    found = [
        model(*(values.to(device) for values in chosen)).cpu()
        for chosen in zip(*parts, strict=True)
    ]
    return torch.cat(found)


def predict_classes(model: nn.Module, inputs: Sequence[Tensor]) -> NDArray[np.int64]:
    """The classes (N,) that a model gives; arguments as `predict_logits`."""
    found: NDArray[np.int64] = predict_logits(model, inputs).argmax(dim=1).numpy()
    return found
