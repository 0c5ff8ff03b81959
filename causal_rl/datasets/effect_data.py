"""Data with a treatment: the form in which all loaders of effect benchmarks return them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class EffectData:
    """Covariates, a treatment of two arms, the outcome, and what is known of the truth.

    Attributes:
        X: ``(N, p)`` covariates; categories are 0/1 columns.
        names: one name a column.
        t: ``(N,)`` 0 or 1.
        y: ``(N,)`` the outcome of the arm taken.
        y0: ``(N,)`` the outcome under arm 0, with its noise, or None where unknown.
        y1: ``(N,)`` the same of arm 1.
        mu0: ``(N,)`` the expected outcome under arm 0, or None where unknown.
        mu1: ``(N,)`` the same of arm 1.
        train: indices of the canonical training rows, or None where there is no such split.
        test: those of the rows held out.
        att: the effect on the treated that an experiment found, or None without one.
    """

    X: Array
    names: tuple[str, ...]
    t: Integers
    y: Array
    y0: Array | None = None
    y1: Array | None = None
    mu0: Array | None = None
    mu1: Array | None = None
    train: Integers | None = None
    test: Integers | None = None
    att: float | None = None

    @property
    def effect(self) -> Array | None:
        """``(N,)`` the true effect of every row: of the expected outcomes where they are known."""
        if self.mu0 is not None and self.mu1 is not None:
            return self.mu1 - self.mu0
        if self.y0 is not None and self.y1 is not None:
            return self.y1 - self.y0
        return None

    @property
    def ate(self) -> float | None:
        """The mean of `effect`, or None where it is unknown."""
        return None if self.effect is None else float(self.effect.mean())
