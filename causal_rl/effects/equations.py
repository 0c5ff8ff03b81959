"""A model's equations one by one, over columns of rows of which some are known."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite

import numpy as np
from numpy.typing import NDArray

from causal_rl.effects.noise_law import NoiseWithLaw, log_density
from causal_rl.scm import (
    SCM,
    Categorical,
    Constant,
    Gaussian,
    Laplace,
    Linear,
    Noise,
    NonAdditiveMechanism,
    NoNoise,
    Structural,
    Variable,
)

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]

#: What is known of a noise or a value: it is a point, it has a posterior, or only its prior.
POINT, POSTERIOR, PRIOR = 0, 1, 2
# Relative step of the numerical derivative of an inverse.
_STEP = 1e-5


class Equations:
    """Evaluate, explain and weigh one variable at a time. Arrays are ``(d, batch)``.

    Attributes:
        scm: the model.
        variables: its variables.
        order: its columns, causes before effects.
        parents: columns of the parents of each variable, in the mechanism's order.
    """

    def __init__(self, scm: SCM) -> None:
        self.scm = scm
        self.variables: tuple[Variable, ...] = scm.variables
        # Kept, since `Variable.function` checks its type each time.
        self.functions = tuple(v.function for v in scm.variables)
        self.order = scm.order
        place = {name: i for i, name in enumerate(scm.names)}
        self.parents = tuple(tuple(place[p] for p in v.parents) for v in scm.variables)
        self.additive = tuple(v.function.additive for v in scm.variables)
        self._levels: dict[bytes, list[int]] = {}
        # Noise of bounded or no support can contradict a value; other noise never does.
        self.bounded = tuple(
            j
            for j, v in enumerate(scm.variables)
            if self.additive[j] and not isinstance(_unit(v.noise), _UNBOUNDED)
        )

    def columns(self, j: int, rows: Sequence[Array] | Array) -> list[Array]:
        """What the mechanism of a variable reads."""
        return [rows[i] for i in self.parents[j]]

    def effect(self, j: int, rows: Sequence[Array] | Array, batch: int) -> Array:
        """The mechanism without noise, of a variable whose noise is additive, ``(batch,)``.

        Raises:
            ValueError: it returned another shape, or a value that is not finite.
        """
        return self._checked(j, self.functions[j].evaluate(self.columns(j, rows), batch))

    def effect_one(self, j: int, row: Sequence[float]) -> float:
        """`effect` of one row, in floats.

        Raises:
            ValueError: as `effect`.
        """
        told = self.functions[j].evaluate_one([row[i] for i in self.parents[j]])
        if not isfinite(told):
            raise ValueError(self._not_finite(j))
        return told

    def respond(self, j: int, rows: Sequence[Array] | Array, noise: Array) -> Array:
        """The value that a noise brings about, ``(batch,)``.

        Raises:
            ValueError: as `effect`.
        """
        if self.additive[j]:
            return self.effect(j, rows, len(noise)) + noise
        columns = self.columns(j, rows)
        return self._checked(j, self.functions[j].respond(columns, noise, len(noise)))

    def explain(self, j: int, rows: Sequence[Array] | Array, rng: np.random.Generator) -> Array:
        """The noise behind a value, or a draw from its posterior, ``(batch,)``.

        Raises:
            ValueError: no noise explains a value; the variable is named.
        """
        if self.additive[j]:
            return rows[j] - self.effect(j, rows, len(rows[j]))
        try:
            return self.functions[j].abduct(rows[j], self.columns(j, rows), rng)
        except ValueError as error:
            raise ValueError(f"variable {self.variables[j].name!r}: {error}") from None

    def log_likelihood(self, j: int, rows: Sequence[Array] | Array) -> Array:
        """Log density of a variable's value given its parents' values, ``(batch,)``.

        Zero throughout for a mechanism whose noise cannot be told from values.
        """
        v, value = self.variables[j], rows[j]
        function, columns = self.functions[j], self.columns(j, rows)
        if self.additive[j]:
            residual = value - self.effect(j, rows, len(value))
            if isinstance(_unit(v.noise), NoNoise):
                residual = residual / np.maximum(1.0, np.abs(value))
            return log_density(v.noise, residual)
        if isinstance(function, Categorical):
            found = function.probabilities(columns, len(value))
            category = np.clip(value, 0, len(found) - 1).astype(np.int64)
            chance = found[category, np.arange(len(value))]
            with np.errstate(divide="ignore"):
                return np.asarray(np.where(category == value, np.log(chance), -np.inf))
        if not self.invertible(j):
            return np.zeros(len(value))
        noise = function.abduct(value, columns)
        step = _STEP * np.maximum(1.0, np.abs(value))
        ahead, behind = (function.abduct(value + s * step, columns) for s in (1.0, -1.0))
        slope = np.abs(ahead - behind) / (2.0 * step)
        with np.errstate(divide="ignore"):
            return np.asarray(log_density(v.noise, noise) + np.log(slope))

    def invertible(self, j: int) -> bool:
        """Whether values of a variable and its parents say anything of its noise."""
        function = self.functions[j]
        if isinstance(function, Structural):
            return function.inverse is not None
        if isinstance(function, NonAdditiveMechanism):
            return type(function).abduct is not NonAdditiveMechanism.abduct
        return True

    def noise_levels(self, known: Flags) -> list[int]:
        """What is known of each variable's noise where the values ``known`` (d,) are."""
        key = known.tobytes()
        if key not in self._levels:
            flags = known.tolist()
            self._levels[key] = [self._noise_level(j, flags) for j in range(len(flags))]
        return self._levels[key]

    def _noise_level(self, j: int, known: list[bool]) -> int:
        if isinstance(_unit(self.variables[j].noise), NoNoise) and self.additive[j]:
            return POINT
        if not any(known):
            return PRIOR
        if not known[j] or not all(known[i] for i in self.parents[j]):
            return POSTERIOR if self.invertible(j) or not known[j] else PRIOR
        if not self.invertible(j):
            return PRIOR
        point = self.additive[j] or isinstance(self.functions[j], Structural)
        return POINT if point else POSTERIOR

    def linear_gaussian(self) -> tuple[Array, Array, Array] | None:
        """``x = weights^T x + bias + scale * normal``, or None where the model is no such thing.

        Returns:
            ``weights`` (d, d) with [i, j] of i in j, ``bias`` (d,) and ``scale`` (d,).
        """
        d = len(self.variables)
        weights, bias, scale = np.zeros((d, d)), np.zeros(d), np.zeros(d)
        for j, v in enumerate(self.variables):
            function, (unit, factor) = v.function, v.noise.unscaled
            if isinstance(function, Linear):
                weights[list(self.parents[j]), j], bias[j] = function.weights, function.bias
            elif isinstance(function, Constant):
                bias[j] = function.value
            else:
                return None
            if isinstance(unit, Gaussian):
                scale[j] = factor * unit.scale
            elif not isinstance(unit, NoNoise):
                return None
        return weights, bias, scale

    def refuse_impossible(self, rows: Sequence[Array] | Array, known: Flags) -> None:
        """Refuse rows that the model cannot bring about.

        Args:
            rows: ``(d, batch)``.
            known: ``(d,)``; a variable is looked at if it and its parents are known.

        Raises:
            ValueError: a value's noise would lie where it has no density; variable and row are
                named.
        """
        for j in self.bounded:
            if known[j] and all(known[i] for i in self.parents[j]):
                bad = np.flatnonzero(self.log_likelihood(j, rows) == -np.inf)
                if len(bad):
                    raise ValueError(
                        f"evidence is impossible under the model: in row {bad[0]} no noise of "
                        f"{self.variables[j].name!r} brings about its value "
                        f"{float(rows[j][bad[0]]):g}"
                    )

    def _checked(self, j: int, result: Array) -> Array:
        # One pass: a sum of squares is finite only if its terms are; it may overflow otherwise.
        if not isfinite(np.vdot(result, result)) and not np.isfinite(result).all():
            raise ValueError(self._not_finite(j))
        return result

    def _not_finite(self, j: int) -> str:
        name = self.variables[j].name
        return f"variable {name!r}: its mechanism returned a value that is not finite"


_UNBOUNDED = (Gaussian, Laplace, NoiseWithLaw)


def _unit(noise: Noise) -> Noise:
    return noise.unscaled[0]
