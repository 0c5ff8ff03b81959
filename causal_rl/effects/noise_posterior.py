"""Posterior draws of exogenous noise where only some variables of a row are known.

Given the noises of the unknown variables every other noise follows, so these alone are drawn. Each
noise is a function of a standard normal, ``ppf(Phi(z))``, so the prior of what is drawn is normal
whatever the model, and the likelihood is that of the known variables that have an unknown parent.
Linear models with Gaussian noise are conditioned in closed form. Otherwise the prior is weighed by
the likelihood, and rows in which few draws keep weight go on by elliptical slice sampling (Murray,
Adams and MacKay 2010), one chain a draw, started from the weighted draws.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from causal_rl.effects.equations import Equations
from causal_rl.scm import Gaussian

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]
Method = Literal["auto", "gaussian", "importance", "mcmc"]
METHODS: tuple[Method, ...] = get_args(Method)
#: From the known values ``(k, rows)``, a number of draws and a generator to normals ``(m, rows,
#: draws)`` of the unknown variables, causes first, and log prior minus log proposal (rows, draws).
Proposal = Callable[[Array, int, np.random.Generator], tuple[Array, Array]]

# Rows whose weighted draws are worth less than this share of their number are sampled by chains.
_ENOUGH = 0.2
_STEPS = 60
_SHRINKS = 60
# Draws from the prior, in multiples of those wanted, before evidence is called impossible.
_ROUNDS = 64


@dataclass(frozen=True)
class Draws:
    """Draws of whole rows that agree with what is known of them.

    Attributes:
        values: ``(d, rows, draws)``.
        noise: ``(d, rows, draws)``; zero where `drawn` is false, to be read off the values.
        drawn: ``(d,)`` whether the noise was drawn.
        weights: ``(rows, draws)``, each row summing to 1.
        effective: ``(rows,)`` effective sample sizes.
    """

    values: Array
    noise: Array
    drawn: Flags
    weights: Array
    effective: Array


class PartialRows:
    """Rows of which the same variables are known.

    Args:
        equations: of the model.
        values: ``(d, rows)``; what is not known is not read.
        known: ``(d,)``.
        row_numbers: ``(rows,)`` how to name the rows in errors.
    """

    def __init__(
        self, equations: Equations, values: Array, known: Flags, row_numbers: NDArray[np.intp]
    ) -> None:
        self._equations, self._values, self._known = equations, values, known
        self._row_numbers = row_numbers
        self.unknown = [j for j in equations.order if not known[j]]
        unknown = set(self.unknown)
        self._judges = [
            j for j in equations.order if known[j] and unknown.intersection(equations.parents[j])
        ]

    def draw(self, n: int, method: Method, rng: np.random.Generator) -> Draws:
        """Draw from the posterior.

        Args:
            n: draws a row.
            method: "auto" takes the closed form where there is one, weighted draws from the prior
                where they suffice, and chains elsewhere.
            rng: draws.

        Raises:
            ValueError: evidence that no noise explains, or a method that the model does not have.
        """
        linear = self._equations.linear_gaussian() if method in ("auto", "gaussian") else None
        if linear is not None:
            return self._closed_form(n, linear, rng)
        if method == "gaussian":
            raise ValueError(
                "method 'gaussian' needs a model of linear mechanisms and Gaussian noise"
            )
        z = rng.standard_normal((len(self.unknown), self._values.shape[1], n))
        likelihood = self._log_likelihood(z)
        if not self._judges:
            return self._finish(z, np.zeros_like(likelihood))
        z, likelihood = self._until_possible(z, likelihood, rng)
        effective = effective_size(likelihood)
        weak = effective < _ENOUGH * n if method == "auto" else np.full(len(effective), True)
        if method == "importance" or not weak.any():
            return self._finish(z, likelihood)
        return self._by_chains(z, likelihood, np.flatnonzero(weak), rng)

    def weigh(self, n: int, proposal: Proposal, rng: np.random.Generator) -> Draws:
        """Draw from a proposal and weigh by prior and likelihood.

        Args:
            n: draws a row.
            proposal: draws, and says how likely it was to draw them.
            rng: draws.
        """
        z, ratio = proposal(self._values[self._known], n, rng)
        return self._finish(z, self._log_likelihood(z) + ratio)

    def _by_chains(
        self, z: Array, likelihood: Array, rows: NDArray[np.intp], rng: np.random.Generator
    ) -> Draws:
        n = z.shape[2]
        start, at = z[:, rows].copy(), likelihood[rows].copy()
        for place in range(len(rows)):
            weights = _normalised(at[place])
            chosen = rng.choice(n, size=n, p=weights)
            start[:, place], at[place] = start[:, place, chosen], at[place, chosen]
        chains = [start, at]
        for _ in range(_STEPS // 2):
            chains = list(self._slice_step(chains[0], chains[1], rows, rng))
        middle = chains[0]
        for _ in range(_STEPS - _STEPS // 2):
            chains = list(self._slice_step(chains[0], chains[1], rows, rng))
        z[:, rows] = chains[0]
        likelihood = likelihood.copy()
        likelihood[rows] = 0.0
        found = self._finish(z, likelihood)
        found.effective[rows] = n * _independence(middle, chains[0])
        return found

    def _slice_step(
        self, z: Array, at: Array, rows: NDArray[np.intp], rng: np.random.Generator
    ) -> tuple[Array, Array]:
        """One step of elliptical slice sampling of every chain at once."""
        m, many, n = z.shape
        other = rng.standard_normal(z.shape).reshape(m, -1)
        here, new = z.reshape(m, -1), z.reshape(m, -1).copy()
        height, level = at.ravel() + np.log(rng.random(at.size)), at.ravel().copy()
        angle = rng.uniform(0.0, 2 * np.pi, at.size)
        low, high = angle - 2 * np.pi, angle.copy()
        active = np.arange(at.size)
        evidence = np.repeat(rows, n)
        for _ in range(_SHRINKS):
            turn = angle[active]
            tried = here[:, active] * np.cos(turn) + other[:, active] * np.sin(turn)
            found = self._log_likelihood_at(tried, evidence[active])
            taken = found > height[active]
            new[:, active[taken]], level[active[taken]] = tried[:, taken], found[taken]
            active, turn = active[~taken], turn[~taken]
            if not len(active):
                break
            low[active] = np.where(turn < 0, turn, low[active])
            high[active] = np.where(turn >= 0, turn, high[active])
            angle[active] = rng.uniform(low[active], high[active])
        return new.reshape(m, many, n), level.reshape(many, n)

    def _until_possible(
        self, z: Array, likelihood: Array, rng: np.random.Generator
    ) -> tuple[Array, Array]:
        """Draw again where no draw explains the evidence, a limited number of times."""
        for _ in range(_ROUNDS):
            hopeless = np.flatnonzero(np.isneginf(likelihood).all(axis=1))
            if not len(hopeless):
                return z, likelihood
            z[:, hopeless] = rng.standard_normal((len(z), len(hopeless), z.shape[2]))
            again = np.repeat(hopeless, z.shape[2])
            found = self._log_likelihood_at(z[:, hopeless].reshape(len(z), -1), again)
            likelihood[hopeless] = found.reshape(len(hopeless), -1)
        row = int(self._row_numbers[hopeless[0]])
        names = ", ".join(repr(self._equations.variables[j].name) for j in self._judges)
        raise ValueError(
            f"evidence is impossible under the model, or too unlikely to be sampled: in row {row} "
            f"none of {_ROUNDS * z.shape[2]} draws gives the values of {names}"
        )

    def _log_likelihood(self, z: Array) -> Array:
        m, rows, n = z.shape
        found = self._log_likelihood_at(z.reshape(m, -1), np.repeat(np.arange(rows), n))
        return found.reshape(rows, n)

    def _log_likelihood_at(self, z: Array, rows: NDArray[np.intp]) -> Array:
        values, _ = self._propagate(z, rows)
        total = np.zeros(len(rows))
        for j in self._judges:
            total += self._equations.log_likelihood(j, values)
        return total

    def _propagate(self, z: Array, rows: NDArray[np.intp]) -> tuple[Array, Array]:
        """Values ``(d, batch)`` and the noises of the unknown variables, from normals."""
        values = self._values[:, rows]
        noise = np.zeros_like(values)
        for place, j in enumerate(self.unknown):
            law, factor = self._equations.variables[j].noise.unscaled
            if isinstance(law, Gaussian):
                noise[j] = z[place] * (law.scale * factor)
            else:
                noise[j] = law.ppf(np.clip(ndtr(z[place]), 2.0**-53, 1 - 2.0**-53)) * factor
            values[j] = self._equations.respond(j, values, noise[j])
        return values, noise

    def _finish(self, z: Array, likelihood: Array) -> Draws:
        m, rows, n = z.shape
        values, noise = self._propagate(z.reshape(m, -1), np.repeat(np.arange(rows), n))
        weights = np.stack([_normalised(row) for row in likelihood])
        return Draws(
            values.reshape(-1, rows, n),
            noise.reshape(-1, rows, n),
            ~self._known,
            weights,
            effective_size(likelihood),
        )

    def _closed_form(
        self, n: int, linear: tuple[Array, Array, Array], rng: np.random.Generator
    ) -> Draws:
        """Noise of a linear Gaussian model given some values: draws corrected by the residual."""
        weights, bias, scale = linear
        d, rows = self._values.shape
        total = np.linalg.inv(np.eye(d) - weights.T)
        seen = np.flatnonzero(self._known)
        reach, offset = total[seen] * scale, total[seen] @ bias
        drawn = rng.standard_normal((d, rows * n))
        missed = np.repeat(self._values[seen], n, axis=1) - offset[:, None] - reach @ drawn
        # A pseudo-inverse: variables without noise make the covariance singular.
        noise = scale[:, None] * (drawn + np.linalg.pinv(reach) @ missed)
        values = total @ (noise + bias[:, None])
        wrong = np.abs(values[seen] - np.repeat(self._values[seen], n, axis=1))
        size = 1.0 + np.abs(self._values[seen]).repeat(n, axis=1)
        if (wrong > 1e-6 * size).any():
            row = int(self._row_numbers[np.argwhere(wrong > 1e-6 * size)[0][1] // n])
            raise ValueError(
                f"evidence is impossible under the model: in row {row} the known values "
                "contradict each other"
            )
        values[seen] = np.repeat(self._values[seen], n, axis=1)
        return Draws(
            values.reshape(d, rows, n),
            noise.reshape(d, rows, n),
            ~self._known,
            np.full((rows, n), 1.0 / n),
            np.full(rows, float(n)),
        )


def effective_size(log_weights: Array) -> Array:
    """Effective sample sizes ``(rows,)`` of log weights ``(rows, draws)``; 0 of none at all."""
    top = log_weights.max(axis=1, keepdims=True)
    weights = np.exp(log_weights - np.where(np.isneginf(top), 0.0, top))
    square = (weights**2).sum(axis=1)
    return np.asarray(weights.sum(axis=1) ** 2 / np.where(square > 0, square, 1.0))


def _normalised(log_weights: Array) -> Array:
    weights = np.exp(log_weights - log_weights.max())
    return np.asarray(weights / weights.sum())


def _independence(middle: Array, end: Array) -> Array:
    """``(rows,)`` share of independent draws, from how much half a chain's length still tells."""
    a = middle - middle.mean(axis=2, keepdims=True)
    b = end - end.mean(axis=2, keepdims=True)
    spread = np.sqrt((a**2).mean(axis=2) * (b**2).mean(axis=2))
    tie = (a * b).mean(axis=2) / np.where(spread > 0, spread, 1.0)
    most = np.clip(tie.max(axis=0), 0.0, 0.999)
    return np.asarray((1.0 - most) / (1.0 + most))
