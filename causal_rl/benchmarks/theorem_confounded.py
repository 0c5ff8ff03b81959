"""The world of theorem 4: X1 -> X2 -> Y and X1 -> Y, with its answers in closed form."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from causal_rl.scm import SCM, Function, Gaussian, Linear, Variable

Array = NDArray[np.float64]

#: Standard deviation of Y's noise.
NOISE = 0.3


@dataclass(frozen=True)
class Confounded:
    """X1 -> X2 -> Y and X1 -> Y, everything of mean 0.

    Attributes:
        a: effect of X1 on X2.
        b: effect of X1 on Y.
        w: Y has tanh(w X2).
        s: standard deviation of X2's own noise.
    """

    a: float
    b: float
    w: float
    s: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Confounded:
        """One at random; X1 and X2 have a correlation of .5 to .8."""
        signs = rng.choice([-1.0, 1.0], 2)
        a, b, w, s = rng.uniform([0.6, 0.6, 0.8, 0.7], [1.0, 1.2, 1.6, 1.0])
        return cls(float(signs[0] * a), float(signs[1] * b), float(w), float(s))

    @property
    def spread(self) -> float:
        """Standard deviation of X2."""
        return math.hypot(self.a, self.s)

    @property
    def scm(self) -> SCM:
        """As a model to draw from."""
        outcome = Function(lambda x1, x2: self.b * x1 + np.tanh(self.w * x2))
        return SCM(
            [
                Variable("X1"),
                Variable("X2", Linear([self.a]), Gaussian(self.s), parents=("X1",)),
                Variable("Y", outcome, Gaussian(NOISE), parents=("X1", "X2")),
            ]
        )

    @property
    def randomised(self) -> SCM:
        """The model with X2 set at random, with the distribution that it has by itself."""
        return self.scm.soft_do({"X2": Variable("X2", noise=Gaussian(self.spread))})

    def intervened(self, x: Array) -> Array:
        """E[Y | do(X2 = x)]."""
        return np.asarray(np.tanh(self.w * x))

    def regressed(self, x: Array) -> Array:
        """E[Y | X2 = x]."""
        return self.intervened(x) + self.b * self.a / self.spread**2 * x
