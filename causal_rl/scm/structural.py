"""Mechanisms whose noise is not added at the end: value = f(parents, noise)."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from causal_rl.scm.arguments import FloatArray
from causal_rl.scm.mechanisms import ColumnMechanism, fixed_arity
from causal_rl.scm.noise import Noise


class NonAdditiveMechanism(ColumnMechanism):
    """Base of mechanisms that read their noise: implement `respond`, and `abduct` if you can.

    Attributes:
        default_noise: The noise that a variable with this mechanism gets if none is given; None
            for that of any other variable.
    """

    additive: ClassVar[bool] = False
    default_noise: ClassVar[Noise | None] = None

    @abstractmethod
    def respond(self, columns: Sequence[FloatArray], noise: FloatArray, batch: int) -> FloatArray:
        """The value of the variable; see `Mechanism.respond`. Row b depends on row b alone."""

    def abduct(
        self,
        value: FloatArray,
        columns: Sequence[FloatArray],
        rng: np.random.Generator | None = None,
    ) -> FloatArray:
        """The noise that explains a value; see `Mechanism.abduct`.

        Raises:
            ValueError: Always, unless a subclass knows how.
        """
        raise ValueError(
            f"{type(self).__name__} does not say which noise explains a value; give it an inverse, "
            "or use the noise that a simulation kept"
        )

    def evaluate(self, columns: Sequence[FloatArray], batch: int) -> FloatArray:
        """There is no deterministic part.

        Raises:
            TypeError: Always.
        """
        raise TypeError(f"{type(self).__name__} has no part without noise; call respond")


@dataclass(frozen=True, eq=False)
class Structural(NonAdditiveMechanism):
    """Any callable over columns and noise: ``f(*columns, noise)``.

    Attributes:
        f: Takes one (batch,) array a parent and then the noise (batch,); returns (batch,). It must
            act row by row and must not change its arguments.
        inverse: From ``(value, *columns)`` to the noise (batch,), or None where abduction is not
            wanted. It must invert `f` exactly: ``f(*columns, inverse(value, *columns)) == value``.
    """

    f: Callable[..., Any]
    inverse: Callable[..., Any] | None = None
    n_parents: int | None = field(init=False, repr=False)

    def __init__(self, f: Callable[..., Any], inverse: Callable[..., Any] | None = None) -> None:
        """Wrap the callables.

        Args:
            f: The mechanism; its number of parents is read off its signature where it is fixed.
            inverse: Its inverse in the noise, or None.

        Raises:
            TypeError: If one cannot be called, or `f` takes no noise.
        """
        if not callable(f):
            raise TypeError(f"f must be callable, got {f!r}")
        if inverse is not None and not callable(inverse):
            raise TypeError(f"inverse must be callable or None, got {inverse!r}")
        arity = fixed_arity(f)
        if arity == 0:
            raise TypeError("f must take the noise as its last argument; it takes none")
        object.__setattr__(self, "f", f)
        object.__setattr__(self, "inverse", inverse)
        object.__setattr__(self, "n_parents", None if arity is None else arity - 1)

    def respond(self, columns: Sequence[FloatArray], noise: FloatArray, batch: int) -> FloatArray:
        """The callable's value; see `Mechanism.respond`."""
        return np.asarray(self.f(*columns, noise), dtype=np.float64)

    def abduct(
        self,
        value: FloatArray,
        columns: Sequence[FloatArray],
        rng: np.random.Generator | None = None,
    ) -> FloatArray:
        """The inverse's value; see `Mechanism.abduct`.

        Raises:
            ValueError: If there is no inverse, or it does not give the value back.
        """
        if self.inverse is None:
            return super().abduct(value, columns, rng)
        noise = np.asarray(self.inverse(value, *columns), dtype=np.float64)
        if not np.allclose(self.respond(columns, noise, len(value)), value):
            raise ValueError("the inverse of its mechanism does not give the value back")
        return noise
