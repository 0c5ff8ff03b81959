"""Abduction by variational inference (Algorithm 3, A.1.4 and A.1.7, their sign mended).

The noise of unknown variables is given a Gaussian posterior whose mean and covariance a network
reads off what is known. It maximises

    ELBO(x) = E_q[log p(x_known | u)] - KL(q(u | x_known) || p(u)) <= log p(x_known),

reconstruction minus divergence; the paper prints that the loss, its negative, be maximised. Noise
enters as standard normals (`noise_posterior`), so the divergence is one of two Gaussians. Draws are
weighed by what they should be likely against what they were, so answers are right in the limit of
many draws however poor the fit, and the effective sample size tells how poor it is.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from causal_rl.effects.abduction import DRAWS, NoisePosterior, read_model
from causal_rl.effects.evidence import Evidence, read_evidence
from causal_rl.effects.torch_rows import TorchRows
from causal_rl.graphs.names import list_names, unknown_name
from causal_rl.options import check_integer, check_number
from causal_rl.scm import SCM
from causal_rl.scm.arguments import as_generator

Array = NDArray[np.float64]

_POOL = 20_000


class VariationalAbduction:
    """An amortised posterior of noise: fitted once, then any row costs one pass of a network.

    It is for questions about the same known variables asked often. For a few rows, `abduct` needs
    no training.

    Args:
        scm: the model.
        known: names of the variables that rows will tell; the others' noise is inferred.
        hidden: units of the network.
        steps: of training.
        batch_size: rows a step.
        learning_rate: of Adam, falling to zero along a cosine.
        seed: of weights, rows and draws.

    Raises:
        TypeError: not a model, or no names.
        ValueError: an unknown name, none or all of the variables, an option out of range, or a
            variable that is not smooth in its noise.
    """

    def __init__(
        self,
        scm: SCM,
        known: Sequence[str],
        *,
        hidden: int = 32,
        steps: int = 1000,
        batch_size: int = 128,
        learning_rate: float = 1e-2,
        seed: int = 0,
    ) -> None:
        self._equations = read_model(scm)
        names = list_names(known)
        for name in names:
            if name not in scm.names:
                raise ValueError(f"known: {unknown_name(name, scm.names)}")
        if not 0 < len(set(names)) < scm.d:
            raise ValueError(f"known must be some of the {scm.d} variables, got {len(set(names))}")
        for option, value in (("hidden", hidden), ("steps", steps), ("batch_size", batch_size)):
            check_integer(option, value, least=1)
        check_integer("seed", seed, least=0)
        check_number("learning_rate", learning_rate, least=0.0, open_end=True)
        self.scm, self.known = scm, tuple(n for n in scm.names if n in names)
        self.hidden, self.steps, self.batch_size = hidden, steps, batch_size
        self.learning_rate, self.seed = learning_rate, seed
        self._rows = TorchRows(self._equations, self.known)

    def fit(self, evidence: Mapping[str, Any] | ArrayLike | Any | None = None) -> Self:
        """Maximise the ELBO over rows.

        Args:
            evidence: rows to train on, the known variables of each; default draws of the model.

        Returns:
            Itself.

        Raises:
            TypeError: not numbers.
            ValueError: rows that tell other variables.
            RuntimeError: training diverged.
        """
        if evidence is None:
            pool = self.scm.sample(_POOL, self.seed)[:, self._rows.known]
        else:
            pool = self._read(evidence).values[:, self._rows.known]
        generator = torch.Generator().manual_seed(self.seed)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            self._network = _Posterior(pool, len(self._rows.unknown), self.hidden)
        rows = torch.from_numpy(pool)
        optimiser = torch.optim.Adam(self._network.parameters(), lr=self.learning_rate)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, self.steps)
        for _ in range(self.steps):
            some = rows[torch.randint(len(rows), (self.batch_size,), generator=generator)]
            loss = -self._elbo(some, generator).mean()
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(self._network.parameters(), 10.0)
            optimiser.step()
            schedule.step()
        if not all(bool(p.isfinite().all()) for p in self._network.parameters()):
            raise RuntimeError("training diverged; lower learning_rate")
        self._network.requires_grad_(False)
        return self

    def elbo(
        self,
        evidence: Mapping[str, Any] | ArrayLike | Any,
        *,
        n_samples: int = DRAWS,
        seed: int = 0,
    ) -> Array:
        """``(rows,)`` the bound on the log density of each row, averaged over draws.

        Args:
            evidence: rows of the known variables.
            n_samples: draws a row.
            seed: of the draws.

        Raises:
            RuntimeError: not fitted.
            TypeError: not numbers.
            ValueError: rows that tell other variables, or too few draws.
        """
        self._check_fitted()
        check_integer("n_samples", n_samples, least=1)
        values = torch.from_numpy(self._read(evidence).values[:, self._rows.known])
        generator = torch.Generator().manual_seed(seed)
        many = self._elbo(values.repeat_interleave(n_samples, 0), generator)
        return many.reshape(len(values), n_samples).mean(1).numpy()

    def posterior(self, evidence: Mapping[str, Any] | ArrayLike | Any) -> tuple[Array, Array]:
        """The Gaussian posterior of the standard normals behind the noise.

        Returns:
            Mean ``(rows, m)`` and covariance ``(rows, m, m)``; the variables are those of
            `unknown`.

        Raises:
            RuntimeError: not fitted.
            TypeError: not numbers.
            ValueError: rows that tell other variables.
        """
        self._check_fitted()
        mean, root = self._network(
            torch.from_numpy(self._read(evidence).values[:, self._rows.known])
        )
        return mean.numpy(), (root @ root.mT).numpy()

    @property
    def unknown(self) -> tuple[str, ...]:
        """Names of the variables whose noise is inferred, causes first."""
        return tuple(self.scm.names[j] for j in self._rows.unknown)

    def abduct(
        self,
        evidence: Mapping[str, Any] | ArrayLike | Any,
        *,
        n_samples: int = DRAWS,
        seed: np.random.Generator | int = 0,
    ) -> NoisePosterior:
        """Weighted draws of the noise, for `causal_rl.effects.predict`.

        Args:
            evidence: rows of the known variables.
            n_samples: draws a row.
            seed: generator or seed.

        Raises:
            RuntimeError: not fitted.
            TypeError: not numbers.
            ValueError: rows that tell other variables, or too few draws.
        """
        self._check_fitted()
        check_integer("n_samples", n_samples, least=1)
        known = self._read(evidence)
        return NoisePosterior(
            self._equations, known, n_samples, "auto", as_generator(seed), self._propose
        )

    def _propose(self, values: Array, n: int, rng: np.random.Generator) -> tuple[Array, Array]:
        mean, root = self._network(torch.from_numpy(np.ascontiguousarray(values.T)))
        drawn = rng.standard_normal((len(mean), n, mean.shape[1]))
        z = mean.numpy()[:, None] + np.einsum("rij,rnj->rni", root.numpy(), drawn)
        log_root = np.log(np.diagonal(root.numpy(), axis1=1, axis2=2)).sum(axis=1)
        # Both densities lack the same constant.
        ratio = 0.5 * ((drawn**2).sum(axis=2) - (z**2).sum(axis=2)) + log_root[:, None]
        return np.moveaxis(z, 2, 0), ratio

    def _elbo(self, values: Tensor, generator: torch.Generator) -> Tensor:
        mean, root = self._network(values)
        drawn = torch.randn(mean.shape, generator=generator, dtype=mean.dtype)
        z = mean + (root @ drawn[..., None])[..., 0]
        bound: Tensor = self._rows.log_likelihood(values.T, z.T)
        trace = (root**2).sum((1, 2)) + (mean**2).sum(1) - mean.shape[1]
        divergence = 0.5 * trace - torch.diagonal(root, dim1=1, dim2=2).log().sum(1)
        bound = bound - divergence
        return bound

    def _read(self, evidence: Mapping[str, Any] | ArrayLike | Any) -> Evidence:
        found = read_evidence(self.scm, evidence)
        wanted = np.isin(np.arange(self.scm.d), self._rows.known)
        if not found.observed[:, wanted].all():
            raise ValueError(f"evidence must tell {', '.join(self.known)}")
        # A whole table may be given: the rest of it is not read.
        return Evidence(
            np.where(wanted, found.values, 0.0), np.tile(wanted, (len(found.values), 1))
        )

    def _check_fitted(self) -> None:
        if not hasattr(self, "_network"):
            raise RuntimeError("not fitted; call fit first")


class _Posterior(nn.Module):
    """Mean and Cholesky factor of a Gaussian, linear in the rows plus a small network."""

    center: Tensor
    scale: Tensor

    def __init__(self, pool: Array, m: int, hidden: int) -> None:
        super().__init__()
        spread = pool.std(axis=0)
        self.register_buffer("center", torch.from_numpy(pool.mean(axis=0)))
        self.register_buffer("scale", torch.from_numpy(np.where(spread > 0, spread, 1.0)))
        outputs = m + m * (m + 1) // 2
        self.straight, last = nn.Linear(pool.shape[1], outputs), nn.Linear(hidden, outputs)
        self.bent = nn.Sequential(
            nn.Linear(pool.shape[1], hidden),
            nn.Tanh(),
            nn.Linear(hidden, hidden),
            nn.Tanh(),
            last,
        )
        # It starts as the prior.
        for layer in (self.straight, last):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
        self._m = m
        self.double()
        self._below = torch.tril_indices(m, m, offset=-1)

    def forward(self, values: Tensor) -> tuple[Tensor, Tensor]:
        x = (values - self.center) / self.scale
        told = self.straight(x) + self.bent(x)
        m = self._m
        root = torch.diag_embed(told[:, m : 2 * m].clamp(-math.log(1e6), math.log(1e6)).exp())
        root[:, self._below[0], self._below[1]] = told[:, 2 * m :]
        return told[:, :m], root
