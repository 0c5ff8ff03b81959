"""Categorical variables: their mechanisms, and how other mechanisms read them.

A category is a whole number 0, 1, ..., K - 1, held as a float like any other value.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from causal_rl.scm.arguments import FloatArray, as_count
from causal_rl.scm.mechanisms import ColumnMechanism, Constant, Mechanism
from causal_rl.scm.noise import Noise, NoNoise, Uniform
from causal_rl.scm.structural import NonAdditiveMechanism


@dataclass(frozen=True, eq=False)
class Categorical(NonAdditiveMechanism):
    """A category drawn with probabilities softmax(logits(parents)), by one uniform.

    The value is the smallest k whose cumulative probability exceeds the noise u in (0, 1): the
    monotone coupling. It fixes counterfactuals, which the probabilities alone do not (Pearl 2009,
    section 9.3.4); another coupling, such as Gumbel-max (Oberst & Sontag 2019), would give others.

    Attributes:
        logits: One mechanism a category, all over the same parents.
    """

    logits: tuple[Mechanism, ...]
    n_parents: int | None = field(init=False, repr=False)
    default_noise: ClassVar[Noise | None] = Uniform(0.0, 1.0)

    def __init__(self, logits: Sequence[Mechanism]) -> None:
        """Check and keep the logits.

        Args:
            logits: At least two mechanisms with additive noise, of the same number of parents.

        Raises:
            TypeError: If one is no such mechanism.
            ValueError: If there are fewer than two, or they take different numbers of parents.
        """
        object.__setattr__(self, "logits", checked_logits(logits))
        object.__setattr__(self, "n_parents", self.logits[0].n_parents)

    @classmethod
    def from_probabilities(cls, probabilities: Sequence[float]) -> Categorical:
        """A root: the same probabilities at every draw.

        Args:
            probabilities: At least two positive numbers; they are normalised.

        Raises:
            ValueError: If a number is not above zero.
        """
        try:
            values = np.asarray(probabilities, dtype=np.float64)
        except (TypeError, ValueError):
            raise TypeError(f"probabilities must be numbers, got {probabilities!r}") from None
        if values.ndim != 1 or not (values > 0).all() or not np.isfinite(values).all():
            raise ValueError(f"probabilities must be numbers above 0, got {probabilities!r}")
        return cls([Constant(float(np.log(p))) for p in values])

    @property
    def n_categories(self) -> int:
        """K."""
        return len(self.logits)

    def probabilities(self, columns: Sequence[FloatArray], batch: int) -> FloatArray:
        """Probabilities of the categories.

        Args:
            columns: One array (batch,) a parent.
            batch: The number of rows.

        Returns:
            float64 of shape (K, batch).
        """
        scores = np.stack([logit.evaluate(columns, batch) for logit in self.logits])
        scores -= scores.max(axis=0)
        np.exp(scores, out=scores)
        scores /= _running_sum(scores)[-1]
        return np.asarray(scores, dtype=np.float64)

    def respond(self, columns: Sequence[FloatArray], noise: FloatArray, batch: int) -> FloatArray:
        """The category; see `Mechanism.respond`."""
        bounds = _running_sum(self.probabilities(columns, batch))[:-1]
        category = np.asarray((noise >= bounds).sum(axis=0), dtype=np.float64)
        # A logit that is not finite must not pass for category 0.
        category[np.isnan(bounds[-1])] = np.nan
        return category

    def abduct(
        self,
        value: FloatArray,
        columns: Sequence[FloatArray],
        rng: np.random.Generator | None = None,
    ) -> FloatArray:
        """A uniform from the interval that gives the category; its middle without `rng`.

        Raises:
            ValueError: If a value is no category, or has probability zero.
        """
        batch = len(value)
        category = value.astype(np.int64)
        if (category != value).any() or ((category < 0) | (category >= self.n_categories)).any():
            raise ValueError(
                f"values must be categories 0..{self.n_categories - 1}, got "
                f"{sorted(set(value.tolist()))[:5]}"
            )
        inner = _running_sum(self.probabilities(columns, batch))[:-1]
        bounds = np.concatenate([np.zeros((1, batch)), inner, np.ones((1, batch))])
        rows = np.arange(batch)
        low, high = bounds[category, rows], bounds[category + 1, rows]
        if (low >= high).any():
            raise ValueError("a value has probability zero given its parents")
        place = np.full(batch, 0.5) if rng is None else rng.random(batch)
        # Rounding must not put the draw on the upper bound, which belongs to the next category.
        inside = np.minimum(low + place * (high - low), np.nextafter(high, 0.0))
        return np.asarray(np.maximum(low, inside), dtype=np.float64)


@dataclass(frozen=True, eq=False)
class Argmax(ColumnMechanism):
    """The category with the greatest score, without noise; the first of equal ones.

    Attributes:
        logits: One mechanism a category, all over the same parents.
    """

    logits: tuple[Mechanism, ...]
    n_parents: int | None = field(init=False, repr=False)
    default_noise: ClassVar[Noise | None] = NoNoise()

    def __init__(self, logits: Sequence[Mechanism]) -> None:
        """Check and keep the scores; see `Categorical`."""
        object.__setattr__(self, "logits", checked_logits(logits))
        object.__setattr__(self, "n_parents", self.logits[0].n_parents)

    @property
    def n_categories(self) -> int:
        """K."""
        return len(self.logits)

    def evaluate(self, columns: Sequence[FloatArray], batch: int) -> FloatArray:
        """The category; see `Mechanism.evaluate`."""
        scores = np.stack([logit.evaluate(columns, batch) for logit in self.logits])
        category = np.asarray(scores.argmax(axis=0), dtype=np.float64)
        category[np.isnan(scores).any(axis=0)] = np.nan
        return category


@dataclass(frozen=True, eq=False)
class OneHot(ColumnMechanism):
    """Another mechanism over indicator columns of categorical parents.

    Attributes:
        mechanism: Takes one column a continuous parent and K columns a parent of K categories.
        categories: For each parent its K, or None where it is continuous.
    """

    mechanism: Mechanism
    categories: tuple[int | None, ...]
    n_parents: int | None = field(init=False, repr=False)

    def __init__(self, mechanism: Mechanism, categories: Sequence[int | None]) -> None:
        """Check and keep.

        Args:
            mechanism: The inner mechanism, with additive noise.
            categories: For each parent its number of categories, at least 2, or None.

        Raises:
            TypeError: If `mechanism` is no such mechanism, or a count is no integer.
            ValueError: If it takes another number of columns than there will be.
        """
        if not isinstance(mechanism, Mechanism) or not mechanism.additive:
            raise TypeError(f"mechanism must be a Mechanism with additive noise, got {mechanism!r}")
        if not isinstance(categories, Iterable):
            raise TypeError(f"categories must be a sequence, got {categories!r}")
        kept = tuple(None if k is None else as_count(k, "categories", 2) for k in categories)
        width = sum(1 if k is None else k for k in kept)
        if mechanism.n_parents not in (None, width):
            raise ValueError(
                f"categories {kept} make {width} columns, but the mechanism takes "
                f"{mechanism.n_parents}"
            )
        object.__setattr__(self, "mechanism", mechanism)
        object.__setattr__(self, "categories", kept)
        object.__setattr__(self, "n_parents", len(kept))

    def evaluate(self, columns: Sequence[FloatArray], batch: int) -> FloatArray:
        """The inner mechanism's value on the indicators; see `Mechanism.evaluate`."""
        expanded: list[FloatArray] = []
        for column, k in zip(columns, self.categories, strict=True):
            if k is None:
                expanded.append(column)
            else:
                expanded.extend((column == c).astype(np.float64) for c in range(k))
        return self.mechanism.evaluate(expanded, batch)


def checked_logits(logits: Sequence[Mechanism]) -> tuple[Mechanism, ...]:
    """At least two mechanisms with additive noise over the same number of parents.

    Raises:
        TypeError: If one is no such mechanism.
        ValueError: If there are fewer than two, or they take different numbers of parents.
    """
    if not isinstance(logits, Iterable):
        raise TypeError(f"logits must be a sequence of Mechanisms, got {logits!r}")
    kept = tuple(logits)
    for logit in kept:
        if not isinstance(logit, Mechanism) or not logit.additive:
            raise TypeError(f"logits must be Mechanisms with additive noise, got {logit!r}")
    if len(kept) < 2:
        raise ValueError(f"logits must hold one mechanism for each of 2 or more, got {len(kept)}")
    arities = {logit.n_parents for logit in kept}
    if len(arities) > 1:
        raise ValueError(
            f"logits must take the same parents, they take {sorted(map(str, arities))}"
        )
    return kept


def _running_sum(rows: FloatArray) -> FloatArray:
    """Cumulative sums over axis 0, one row after the other, whatever the batch."""
    sums = rows.copy()
    for k in range(1, len(rows)):
        sums[k] += sums[k - 1]
    return sums
