"""TARNet, CFR and DragonNet: a representation of the covariates and a head for every arm."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from causal_rl.effects.networks import EffectNetwork, NetworkEstimator
from causal_rl.options import check_integer, check_number

# Of Sinkhorn's iterations: the regularisation as a share of the mean cost.
_SINKHORN_STEPS, _SINKHORN_SHARE = 10, 0.1
# Propensities are kept off 0 and 1 in DragonNet's regularisation.
_CLIP = 0.025


def perceptron(*widths: int) -> nn.Sequential:
    """Linear maps with ELUs between them, none after the last."""
    layers: list[nn.Module] = []
    for i, (rows, columns) in enumerate(pairwise(widths)):
        layers += [nn.ELU()] if i else []
        layers.append(nn.Linear(rows, columns))
    return nn.Sequential(*layers)


class HeadsNetwork(EffectNetwork):
    """``h_t(Phi(x))``: TARNet (Shalit et al. 2017).

    Args:
        inputs: p.
        n_arms: K.
        width: hidden units of the representation; a head has half as many.
    """

    def __init__(self, inputs: int, n_arms: int, width: int) -> None:
        super().__init__()
        self.represent = nn.Sequential(perceptron(inputs, width, width, width), nn.ELU())
        half = max(width // 2, 1)
        self.heads = nn.ModuleList(perceptron(width, half, half, 1) for _ in range(n_arms))

    def outcomes(self, X: Tensor) -> Tensor:
        """See `EffectNetwork.outcomes`."""
        return self.read(self.represent(X))

    def read(self, represented: Tensor) -> Tensor:
        """``(B, K)`` outcomes of a representation ``(B, width)``."""
        return torch.cat([head(represented) for head in self.heads], dim=1)

    def errors(self, represented: Tensor, t: Tensor, y: Tensor) -> Tensor:
        """``(B,)`` squared factual errors."""
        return (self.read(represented).gather(1, t[:, None]).squeeze(1) - y) ** 2


class BalancedNetwork(HeadsNetwork):
    """TARNet with a Wasserstein distance between the arms' representations in its loss.

    Args:
        inputs: p.
        n_arms: K.
        width: as in `HeadsNetwork`.
        balance: weight of the distance.
    """

    def __init__(self, inputs: int, n_arms: int, width: int, *, balance: float) -> None:
        super().__init__(inputs, n_arms, width)
        self.balance = balance

    def loss(self, X: Tensor, t: Tensor, y: Tensor) -> Tensor:
        """Every arm weighs the same, as in the paper; the distance is of each arm to arm 0."""
        represented = self.represent(X)
        counts = torch.bincount(t, minlength=len(self.heads)).clamp_min(1)
        weights = len(t) / (len(self.heads) * counts[t])
        total = (weights * self.errors(represented, t, y)).mean()
        for arm in range(1, len(self.heads)):
            apart = sinkhorn_distance(represented[t == 0], represented[t == arm])
            total = total + self.balance * apart
        return total


class DragonNetwork(HeadsNetwork):
    """DragonNet (Shi et al. 2019): the propensity from the same representation, and targeting.

    Args:
        inputs: p.
        n_arms: K.
        width: as in `HeadsNetwork`.
        propensity: weight of the treatment's cross-entropy.
        targeting: weight of the targeted regularisation.
    """

    def __init__(
        self, inputs: int, n_arms: int, width: int, *, propensity: float, targeting: float
    ) -> None:
        super().__init__(inputs, n_arms, width)
        self.propensity, self.targeting = propensity, targeting
        self.treat = nn.Linear(width, n_arms)
        self.shift = nn.Parameter(torch.zeros(n_arms))

    def loss(self, X: Tensor, t: Tensor, y: Tensor) -> Tensor:
        """Factual error, cross-entropy, and the error after a shift along the clever covariate."""
        represented = self.represent(X)
        scores = self.treat(represented)
        expected = self.read(represented).gather(1, t[:, None]).squeeze(1)
        total = ((expected - y) ** 2).mean()
        total = total + self.propensity * functional.cross_entropy(scores, t)
        if self.targeting:
            chance = scores.softmax(1).clamp_min(_CLIP).gather(1, t[:, None]).squeeze(1)
            shifted = expected + self.shift[t] / chance
            total = total + self.targeting * ((shifted - y) ** 2).mean()
        return total


def sinkhorn_distance(A: Tensor, B: Tensor) -> Tensor:
    """Entropy-regularised Wasserstein distance of two samples, squared cost.

    Args:
        A: ``(a, d)``.
        B: ``(b, d)``.

    Returns:
        A scalar; 0 where a sample is empty. Gradients go through the cost, the plan is held.
    """
    if not len(A) or not len(B):
        return A.sum() * 0.0 + B.sum() * 0.0
    cost = (A**2).sum(1)[:, None] + (B**2).sum(1)[None] - 2.0 * A @ B.T
    with torch.no_grad():
        size = _SINKHORN_SHARE * cost.mean().clamp_min(1e-9)
        scores = -cost / size
        g = torch.zeros(len(B), device=B.device)
        log_a, log_b = -torch.tensor(float(len(A))).log(), -torch.tensor(float(len(B))).log()
        for _ in range(_SINKHORN_STEPS):
            f = log_a - torch.logsumexp(scores + g, dim=1)
            g = log_b - torch.logsumexp(scores + f[:, None], dim=0)
        plan = (scores + f[:, None] + g).exp()
    return (plan * cost).sum()


class TARNet(NetworkEstimator):
    """A representation that all arms share, and a head for each.

    Args:
        width: hidden units of the representation; a head has half as many.
        **options: as in `NetworkEstimator`.
    """

    def __init__(
        self,
        *,
        width: int = 64,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.width = width

    def check_options(self) -> None:
        """Check the options; see `EffectEstimator.check_options`."""
        super().check_options()
        check_integer("width", self.width, least=1)

    def _build(self, X: Tensor, t: Tensor, y: Tensor) -> EffectNetwork:
        return HeadsNetwork(X.shape[1], self.n_arms_, self.width)


class CFRWass(TARNet):
    """CFR-Wass (Shalit et al. 2017): TARNet whose arms look alike in the representation.

    Args:
        balance: weight of the Wasserstein distance, Sinkhorn's with ten iterations a batch.
        **options: as in `TARNet`.
    """

    def __init__(self, *, balance: float = 0.5, **options: Any) -> None:
        super().__init__(**options)
        self.balance = balance

    def check_options(self) -> None:
        """Check the options; see `EffectEstimator.check_options`."""
        super().check_options()
        check_number("balance", self.balance, least=0.0)

    def _build(self, X: Tensor, t: Tensor, y: Tensor) -> EffectNetwork:
        return BalancedNetwork(X.shape[1], self.n_arms_, self.width, balance=self.balance)


class DragonNet(TARNet):
    """DragonNet (Shi et al. 2019): outcomes and propensity from one representation.

    Args:
        propensity: weight of the treatment's cross-entropy.
        targeting: weight of the targeted regularisation; 0 leaves it out.
        **options: as in `TARNet`.
    """

    def __init__(self, *, propensity: float = 1.0, targeting: float = 1.0, **options: Any) -> None:
        super().__init__(**options)
        self.propensity = propensity
        self.targeting = targeting

    def check_options(self) -> None:
        """Check the options; see `EffectEstimator.check_options`."""
        super().check_options()
        for name in ("propensity", "targeting"):
            check_number(name, getattr(self, name), least=0.0)

    def _build(self, X: Tensor, t: Tensor, y: Tensor) -> EffectNetwork:
        return DragonNetwork(
            X.shape[1],
            self.n_arms_,
            self.width,
            propensity=self.propensity,
            targeting=self.targeting,
        )
