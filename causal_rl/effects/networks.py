"""Neural estimators of effects: one training loop, and what a network must offer it."""

from __future__ import annotations

import copy
from abc import abstractmethod
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from causal_rl.devices import check_device
from causal_rl.effects.base import Array, EffectEstimator, Treatments, some_column
from causal_rl.options import check_integer, check_number

# Share of every arm's rows that is held out, steps between two looks at it, and the least rows
# that are worth holding out.
_HELD_OUT, _LOOK, _LEAST_ROWS = 0.2, 20, 20
_LEAST_RATE = 0.05


class EffectNetwork(nn.Module):
    """A network that tells outcomes of all arms and says what it is trained on.

    Everything is in units of standard deviations.
    """

    @abstractmethod
    def outcomes(self, X: Tensor) -> Tensor:
        """``(B, K)`` expected outcomes of rows ``(B, p)``."""

    def factual(self, X: Tensor, t: Tensor) -> Tensor:
        """``(B,)`` expected outcomes under the arms ``t``."""
        return self.outcomes(X).gather(1, t[:, None]).squeeze(1)

    def loss(self, X: Tensor, t: Tensor, y: Tensor) -> Tensor:
        """What is minimised; by default the mean squared error of the factual outcomes."""
        return ((self.factual(X, t) - y) ** 2).mean()

    def held_out(self, X: Tensor, t: Tensor, y: Tensor) -> Tensor:
        """What decides when to stop: of factual rows alone, like all that may be known."""
        return ((self.factual(X, t) - y) ** 2).mean()


class NetworkEstimator(EffectEstimator):
    """An estimator whose outcomes come from a network.

    Covariates and outcome are standardised inside. A fifth of the rows of each arm is held out;
    the weights of the step with the least factual loss there are kept, and training ends when
    ``patience`` steps brought no better one.

    Args:
        steps: gradient steps at most.
        batch_size: rows a step.
        learning_rate: of Adam, falling to a twentieth along a cosine.
        weight_decay: decoupled from the gradients.
        patience: steps without a better held-out loss after which training ends.
        device: of torch.
        **options: as in `EffectEstimator`.

    Attributes:
        steps_: gradient steps until the weights that were kept, after `fit`.
    """

    def __init__(
        self,
        *,
        steps: int = 800,
        batch_size: int = 128,
        learning_rate: float = 0.003,
        weight_decay: float = 0.001,
        patience: int = 240,
        device: str = "cpu",
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.steps = steps
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.patience = patience
        self.device = device

    def check_options(self) -> None:
        """Check the options; see `EffectEstimator.check_options`."""
        super().check_options()
        for name in ("steps", "batch_size", "patience"):
            check_integer(name, getattr(self, name), least=1)
        check_number("learning_rate", self.learning_rate, least=0.0, open_end=True)
        check_number("weight_decay", self.weight_decay, least=0.0)
        check_device(self.device)

    @abstractmethod
    def _build(self, X: Tensor, t: Tensor, y: Tensor) -> EffectNetwork:
        """A new network for these standardised rows; torch's own generator is seeded."""

    def _fit(self, X: Array, t: Treatments, y: Array) -> None:
        X = some_column(X)
        self._centre, spread = X.mean(axis=0), X.std(axis=0)
        self._spread = np.where(spread > 0, spread, 1.0)
        self._level, self._scale = float(y.mean()), float(y.std()) or 1.0
        rows = self._tensor((X - self._centre) / self._spread)
        arms = torch.from_numpy(t).to(self.device)
        target = self._tensor((y - self._level) / self._scale)
        # Modules draw their first weights from torch's own generator, which is left as it was.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            self._network = self._build(rows, arms, target).to(self.device)
            self.steps_ = _train(self._network, rows, arms, target, self, _held(t, self.seed))

    @torch.no_grad()
    def _outcomes(self, X: Array) -> Array:
        rows = self._tensor((some_column(X) - self._centre) / self._spread)
        found = torch.cat([self._network.outcomes(part) for part in torch.split(rows, 4096)])
        return found.double().cpu().numpy() * self._scale + self._level

    def _tensor(self, values: Array) -> Tensor:
        return torch.from_numpy(values.astype(np.float32)).to(self.device)


def _held(t: Treatments, seed: int) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Which rows are held out: a fifth of each arm, none of very few rows."""
    held = np.zeros(len(t), dtype=bool)
    if len(t) < _LEAST_ROWS:
        return held
    rng = np.random.default_rng([seed, 2])
    for arm in np.unique(t):
        members = rng.permutation(np.flatnonzero(t == arm))
        held[members[: int(_HELD_OUT * members.size)]] = True
    return held


def _train(
    network: EffectNetwork,
    X: Tensor,
    t: Tensor,
    y: Tensor,
    options: NetworkEstimator,
    held: np.ndarray[tuple[int], np.dtype[np.bool_]],
) -> int:
    """Train in place; the number of steps until the weights that were kept."""
    apart = torch.from_numpy(held).to(X.device)
    inside, outside = torch.nonzero(~apart).squeeze(1), torch.nonzero(apart).squeeze(1)
    generator = torch.Generator().manual_seed(options.seed)
    optimiser = torch.optim.AdamW(
        network.parameters(), lr=options.learning_rate, weight_decay=options.weight_decay
    )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(
        optimiser, options.steps, eta_min=_LEAST_RATE * options.learning_rate
    )
    best, kept, kept_at = np.inf, None, 0
    order = torch.zeros(0, dtype=torch.long)
    for step in range(options.steps):
        if len(order) == 0:
            order = inside[torch.randperm(len(inside), generator=generator).to(X.device)]
        batch, order = order[: options.batch_size], order[options.batch_size :]
        loss = network.loss(X[batch], t[batch], y[batch])
        optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimiser.step()
        schedule.step()
        if len(outside) and (step % _LOOK == _LOOK - 1 or step == options.steps - 1):
            network.eval()
            with torch.no_grad():
                found = float(network.held_out(X[outside], t[outside], y[outside]))
            network.train()
            if found < best:
                best, kept, kept_at = found, copy.deepcopy(network.state_dict()), step + 1
            elif step + 1 - kept_at >= options.patience:
                break
    if kept is not None:
        network.load_state_dict(kept)
    network.eval()
    return kept_at or options.steps
