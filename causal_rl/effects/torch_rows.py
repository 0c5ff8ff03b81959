"""Rows of a model on torch, differentiable in the noise of the variables that are not known."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from causal_rl.effects.empirical_noise import EmpiricalNoise
from causal_rl.effects.encoder_mechanism import EncoderMechanism
from causal_rl.effects.equations import Equations
from causal_rl.scm import Categorical, Gaussian, Laplace, Noise, NoNoise, Uniform
from causal_rl.scm.torch_mechanisms import TorchMechanism, to_torch

_LIKE = torch.zeros((), dtype=torch.float64)


@to_torch.register
def _(mechanism: EncoderMechanism, like: Tensor) -> TorchMechanism:
    shift, divide = (
        torch.from_numpy(np.array(a)).to(like) for a in (mechanism.shift, mechanism.divide)
    )

    def evaluate(columns: Sequence[Tensor], noise: Tensor) -> Tensor:
        parents = (torch.stack(list(columns), dim=1) - shift) / divide
        told = mechanism.answer(parents.to(mechanism.network.read.dtype)).to(noise)
        return mechanism.center + mechanism.scale * told

    return evaluate


class TorchRows:
    """Log density of what is known, given standard normals behind the unknown variables.

    Args:
        equations: of the model.
        known: names of the known variables.

    Raises:
        ValueError: an unknown variable whose value is no smooth function of its noise (a category),
            a known one whose density is not smooth, or a mechanism without a torch version. The
            variable is named.
    """

    def __init__(self, equations: Equations, known: Sequence[str]) -> None:
        names = equations.scm.names
        self._equations = equations
        self.known = [j for j in range(len(names)) if names[j] in known]
        self.unknown = [j for j in equations.order if names[j] not in known]
        self._functions: dict[int, list[TorchMechanism]] = {}
        for j, v in enumerate(equations.variables):
            seen = names[j] in known
            category = isinstance(v.function, Categorical)
            smooth = category if seen else not category
            if equations.additive[j]:
                unit = v.noise.unscaled[0]
                smooth = isinstance(unit, _DENSE) or (not seen and isinstance(unit, _DRAWN))
            elif seen and not category:
                smooth = False
            if not smooth:
                what = "known: its density" if seen else "unknown: its value"
                raise ValueError(
                    f"variable {v.name!r} is {what} is no smooth function here; use "
                    "causal_rl.effects.abduct"
                )
            parts = v.function.logits if isinstance(v.function, Categorical) else [v.function]
            self._functions[j] = [to_torch(part, _LIKE) for part in parts]

    def log_likelihood(self, values: Tensor, z: Tensor) -> Tensor:
        """Log density of the known values.

        Args:
            values: ``(k, batch)`` of the known variables, in the order of the columns.
            z: ``(m, batch)`` of the unknown ones, causes first.

        Returns:
            ``(batch,)``, differentiable in ``z``.
        """
        given = dict(zip(self.known, values, strict=True))
        normal = dict(zip(self.unknown, z, strict=True))
        rows: dict[int, Tensor] = {}
        total = torch.zeros_like(z[0])
        for j in self._equations.order:
            columns = [rows[i] for i in self._equations.parents[j]]
            v, parts = self._equations.variables[j], self._functions[j]
            if j in normal:
                noise = _noise(v.noise, normal[j])
                told = parts[0](columns, noise)
                rows[j] = told + noise if self._equations.additive[j] else told
                continue
            rows[j] = given[j]
            if isinstance(v.function, Categorical):
                scores = torch.stack([part(columns, total) for part in parts])
                chosen = given[j].long().clamp(0, len(parts) - 1)[None]
                total = total + scores.log_softmax(0).gather(0, chosen)[0]
            else:
                total = total + _log_density(v.noise, given[j] - parts[0](columns, total))
        return total


_DENSE = (Gaussian, Laplace, EmpiricalNoise)
_DRAWN = (Uniform, NoNoise)


def _noise(noise: Noise, z: Tensor) -> Tensor:
    """Noise from standard normals by its inverse CDF."""
    unit, factor = noise.unscaled
    if isinstance(unit, Gaussian):
        return z * (unit.scale * factor)
    if isinstance(unit, NoNoise):
        return torch.zeros_like(z)
    level = torch.special.ndtr(z)
    if isinstance(unit, Uniform):
        drawn: Tensor = unit.low + (unit.high - unit.low) * level
    elif isinstance(unit, Laplace):
        tail = torch.special.log_ndtr(-z.abs()) + math.log(2.0)
        drawn = torch.sign(z) * -tail * unit.scale
    else:
        assert isinstance(unit, EmpiricalNoise)
        values, levels, _ = unit.tables()
        drawn = _interpolated(level, levels, values)
    return drawn * factor


def _log_density(noise: Noise, x: Tensor) -> Tensor:
    unit, factor = noise.unscaled
    if isinstance(unit, Gaussian):
        scale = unit.scale * factor
        normal: Tensor = -0.5 * (x / scale) ** 2 - math.log(scale * math.sqrt(2 * math.pi))
        return normal
    if isinstance(unit, Laplace):
        scale = unit.scale * factor
        return -x.abs() / scale - math.log(2 * scale)
    assert isinstance(unit, EmpiricalNoise)
    values, _, density = unit.tables()
    # Beyond the table it falls on along its last slope, so that a gradient leads back.
    return _interpolated(x / factor, values, density) - math.log(factor)


def _interpolated(x: Tensor, xs: object, ys: object) -> Tensor:
    """Linear interpolation, continued beyond the ends."""
    grid, heights = (torch.as_tensor(np.asarray(a)) for a in (xs, ys))
    place = torch.searchsorted(grid, x.detach()).clamp(1, len(grid) - 1)
    width = (grid[place] - grid[place - 1]).clamp_min(1e-12)
    share = (x - grid[place - 1]) / width
    return heights[place - 1] + share * (heights[place] - heights[place - 1])
