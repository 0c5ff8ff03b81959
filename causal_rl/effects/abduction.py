"""Abduction: the noise behind rows of which all or some variables are known (Algorithm 3)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from causal_rl.effects.equations import POINT, Equations
from causal_rl.effects.evidence import Evidence, read_evidence
from causal_rl.effects.noise_posterior import METHODS, Method, PartialRows, Proposal
from causal_rl.options import check_choice, check_integer
from causal_rl.scm import SCM
from causal_rl.scm.arguments import as_generator

Array = NDArray[np.float64]

DRAWS = 256


class NoisePosterior:
    """Draws of the noise, and of all values, given what is known of each row.

    Where rows are known in full and their mechanisms can be inverted, there is one draw and it is
    the truth under the model.

    Attributes:
        scm: the model.
        evidence: what is known.
        draws: a row.
        weights: ``(rows, draws)``, each row summing to 1.
        effective_sample_size: ``(rows,)``; how many independent draws the weighted draws are worth.
    """

    def __init__(
        self,
        equations: Equations,
        evidence: Evidence,
        draws: int,
        method: Method,
        seed: np.random.Generator | int,
        proposal: Proposal | None = None,
    ) -> None:
        """Draw; see `abduct`, which checks the arguments. A proposal takes the method's place."""
        self.scm, self.equations, self.evidence = equations.scm, equations, evidence
        self.draws, self._seed = draws, seed
        rows, d = evidence.values.shape
        # (d, rows * draws): each variable one contiguous row, draws of a row side by side.
        # A copy: what the caller does to the rows afterwards must not reach it.
        values = np.repeat(evidence.values.T, draws, axis=1)
        self.columns: list[Array] = list(values)
        self.weights: Array = np.full((rows, draws), 1.0 / draws)
        self.effective_sample_size: Array = np.full(rows, float(draws))
        self._noise: dict[int, Array] = {}
        self._drawn = np.zeros((d, rows, 1), dtype=np.bool_)
        if not evidence.full:
            self._draw_unknown(method, proposal)
        elif equations.bounded:
            equations.refuse_impossible(self.columns, np.ones(d, dtype=np.bool_))

    @property
    def _rng(self) -> np.random.Generator:
        """The generator, made when it is first needed: exact answers need none."""
        if not isinstance(self._seed, np.random.Generator):
            self._seed = as_generator(self._seed)
        return self._seed

    def _draw_unknown(self, method: Method, proposal: Proposal | None) -> None:
        rows, d = self.evidence.values.shape
        values = np.stack(self.columns).reshape(d, rows, self.draws)
        noise = np.zeros_like(values)
        for at, known in self.evidence.patterns():
            own = self.evidence.values[at].T
            self.equations.refuse_impossible(own, known)
            if known.all():
                continue
            partial = PartialRows(self.equations, own, known, at)
            if proposal is None:
                found = partial.draw(self.draws, method, self._rng)
            else:
                found = partial.weigh(self.draws, proposal, self._rng)
            values[:, at], noise[:, at] = found.values, found.noise
            self.weights[at], self.effective_sample_size[at] = found.weights, found.effective
            self._drawn[:, at, 0] = found.drawn[:, None]
        self.columns = list(values.reshape(d, -1))
        self._given = noise

    def noise_of(self, j: int) -> Array:
        """Noise of a variable, ``(rows * draws,)``: drawn, or read off the values.

        Noise that values say nothing of (a mechanism without an inverse) is drawn from its prior.

        Raises:
            ValueError: no noise explains a value; the variable is named.
        """
        if j not in self._noise:
            self._noise[j] = self._find_noise(j)
        return self._noise[j]

    def _find_noise(self, j: int) -> Array:
        drawn = np.repeat(self._drawn[j], self.draws, axis=1).ravel()
        if drawn.all():
            return np.asarray(self._given[j].ravel())
        if not self.equations.invertible(j):
            noise = self.equations.variables[j].noise.sample(self._rng, len(drawn))
        else:
            rows = self.columns
            if drawn.any() and not self.equations.additive[j]:
                # What was drawn of this variable need not be explained.
                keep = np.flatnonzero(~drawn)
                noise = np.zeros(len(drawn))
                noise[keep] = self.equations.explain(j, [r[keep] for r in rows], self._rng)
            else:
                noise = self.equations.explain(j, rows, self._rng)
        return np.where(drawn, self._given[j].ravel(), noise) if drawn.any() else noise

    @property
    def noise(self) -> Array:
        """``(rows, draws, d)`` of all variables."""
        d, rows = len(self.columns), len(self.weights)
        stacked = np.stack([self.noise_of(j) for j in range(d)])
        return np.moveaxis(stacked.reshape(d, rows, self.draws), 0, -1)

    @property
    def values(self) -> Array:
        """``(rows, draws, d)``: the factual rows, what was unknown of them drawn."""
        d, rows = len(self.columns), len(self.weights)
        return np.moveaxis(np.stack(self.columns).reshape(d, rows, self.draws), 0, -1)

    def noise_levels(self) -> NDArray[np.int64]:
        """``(rows, d)``: whether each noise is a point, has a posterior, or its prior alone."""
        levels = np.empty(self.evidence.values.shape, dtype=np.int64)
        for at, known in self.evidence.patterns():
            levels[at] = self.equations.noise_levels(known)
        return levels


def abduct(
    scm: SCM,
    evidence: Mapping[str, Any] | ArrayLike | Any,
    *,
    observed: ArrayLike | None = None,
    n_samples: int = DRAWS,
    method: Method = "auto",
    seed: np.random.Generator | int = 0,
) -> NoisePosterior:
    """Infer the exogenous noise behind evidence.

    Noise is exact where a row is known in full and its mechanisms invert. Elsewhere it is drawn
    from its posterior: in closed form for linear Gaussian models, by weighted draws, or by
    elliptical slice sampling where these would be worth too little.

    Args:
        scm: the model.
        evidence: a table ``(rows, d)``, a data frame or a mapping by name; variables that are not
            named are unknown. An empty mapping knows nothing.
        observed: which entries of a table are known, ``(rows, d)`` or ``(d,)``.
        n_samples: draws a row where noise is drawn.
        method: "auto", or one of "gaussian", "importance" and "mcmc".
        seed: generator or seed of the draws.

    Returns:
        The posterior.

    Raises:
        TypeError: not a model, or not numbers.
        ValueError: an unknown name, bad shapes, evidence that is impossible under the model (the
            row and a variable are named), or an option out of range.
    """
    equations = read_model(scm)
    known = read_evidence(scm, evidence, observed)
    check_integer("n_samples", n_samples, least=1)
    check_choice("method", method, METHODS)
    rng = as_generator(seed)
    single = known.full and max(equations.noise_levels(known.observed[0])) == POINT
    return NoisePosterior(equations, known, 1 if single else n_samples, method, rng)


def read_model(scm: SCM) -> Equations:
    """The equations of a model; those of one that was asked about before are kept.

    Raises:
        TypeError: not a model.
    """
    if not isinstance(scm, SCM):
        raise TypeError(f"scm must be a causal_rl.scm.SCM, got {type(scm).__name__}")
    return _kept(scm)


@lru_cache(maxsize=32)
def _kept(scm: SCM) -> Equations:
    return Equations(scm)
