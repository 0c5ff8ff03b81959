"""CEVAE: a latent variable behind covariates, treatment and outcome (Louizos et al. 2017)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from causal_rl.effects.networks import EffectNetwork, NetworkEstimator
from causal_rl.effects.representation import perceptron
from causal_rl.options import check_integer

# Draws of the latent variable behind a prediction.
_DRAWS = 16
_LOGS = (-6.0, 3.0)


class LatentNetwork(EffectNetwork):
    """p(z) p(x | z) p(t | z) p(y | t, z) and its amortised posterior.

    Covariates are Gaussian given z, those of two values too.

    Args:
        inputs: p.
        n_arms: K.
        width: hidden units.
        latent: dimensions of z.
    """

    def __init__(self, inputs: int, n_arms: int, width: int, latent: int) -> None:
        super().__init__()
        self.n_arms, self.latent = n_arms, latent
        self.encode = perceptron(inputs + n_arms + 1, width, 2 * latent)
        self.guess_arm = perceptron(inputs, width, n_arms)
        self.guess_outcome = perceptron(inputs, width, n_arms)
        self.covariates = perceptron(latent, width, inputs)
        self.arm = perceptron(latent, width, n_arms)
        self.heads = perceptron(latent, width, n_arms)
        # Logarithms of the variances of covariates, outcome and guessed outcome.
        self.spread = nn.Parameter(torch.zeros(inputs))
        self.noise = nn.Parameter(torch.zeros(2))

    def loss(self, X: Tensor, t: Tensor, y: Tensor) -> Tensor:
        """Minus the ELBO, and the guesses of treatment and outcome that predictions need."""
        mean, log_variance = self._posterior(X, functional.one_hot(t, self.n_arms).to(X), y)
        z = mean + (0.5 * log_variance).exp() * torch.randn_like(mean)
        total = 0.5 * (mean**2 + log_variance.exp() - log_variance - 1.0).sum(1).mean()
        total = total + _gaussian(X - self.covariates(z), self.spread).sum(1).mean()
        total = total + functional.cross_entropy(self.arm(z), t)
        total = total + _gaussian(y - _of_arm(self.heads(z), t), self.noise[0]).mean()
        total = total + functional.cross_entropy(self.guess_arm(X), t)
        return total + _gaussian(y - _of_arm(self.guess_outcome(X), t), self.noise[1]).mean()

    def outcomes(self, X: Tensor) -> Tensor:
        """See `EffectNetwork.outcomes`: averages over z, drawn with the same numbers each time."""
        generator = torch.Generator().manual_seed(0)
        chance, expected = self.guess_arm(X).softmax(1), self.guess_outcome(X)
        # Noises are one set for all rows, so that a row's answer is its own.
        noises = torch.randn(_DRAWS, self.latent, generator=generator).to(X)
        total = torch.zeros(len(X), self.n_arms, device=X.device)
        for arm in range(self.n_arms):
            told = functional.one_hot(torch.full((len(X),), arm, device=X.device), self.n_arms)
            mean, log_variance = self._posterior(X, told.to(X), expected[:, arm])
            z = mean + (0.5 * log_variance).exp() * noises[:, None]
            total = total + chance[:, arm : arm + 1] * self.heads(z).mean(dim=0)
        return total

    def _posterior(self, X: Tensor, told: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        found = self.encode(torch.cat([X, told, y[:, None]], dim=1))
        mean, log_variance = found.chunk(2, dim=1)
        return mean, log_variance.clamp(*_LOGS)


def _of_arm(outcomes: Tensor, t: Tensor) -> Tensor:
    return outcomes.gather(1, t[:, None]).squeeze(1)


def _gaussian(error: Tensor, log_variance: Tensor) -> Tensor:
    """Minus log density, without its constant."""
    held = log_variance.clamp(*_LOGS)
    return 0.5 * (error**2 * (-held).exp() + held)


class CEVAE(NetworkEstimator):
    """Effects through a latent confounder of which the covariates are proxies.

    Args:
        width: hidden units of every map.
        latent: dimensions of the latent variable.
        **options: as in `NetworkEstimator`.
    """

    def __init__(self, *, width: int = 64, latent: int = 8, **options: Any) -> None:
        super().__init__(**options)
        self.width = width
        self.latent = latent

    def check_options(self) -> None:
        """Check the options; see `EffectEstimator.check_options`."""
        super().check_options()
        for name in ("width", "latent"):
            check_integer(name, getattr(self, name), least=1)

    def _build(self, X: Tensor, t: Tensor, y: Tensor) -> EffectNetwork:
        return LatentNetwork(X.shape[1], self.n_arms_, self.width, self.latent)
