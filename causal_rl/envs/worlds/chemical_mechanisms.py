"""How the objects of a Chemical world get their colours.

The value of an object with C colours is one of 2 C + 1 categories:

- 0: blank, before the episode starts; never seen by an agent;
- 1..C: that colour, not painted in this step;
- C + 1..2 C: colour ``value - C``, painted in this step.

That paint is wet for one step is what tells children that a parent was set, which the colour alone
cannot: it may be painted in the colour it had.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import ClassVar, TypeVar

import numpy as np
from numpy.typing import NDArray

from causal_rl.scm import Noise, NonAdditiveMechanism, Uniform
from causal_rl.scm.mechanisms import sum_of_rows

_Floats = NDArray[np.float64]
_Ints = NDArray[np.int64]
_Number = TypeVar("_Number", np.int64, np.float64)
#: Colourings of the parents up to which a network is tabulated.
_TABLE_ROWS = 10_000


@dataclass(frozen=True, eq=False)
class ColourNet:
    """A network with one hidden layer from the parents' colours to a score for each colour.

    Its input are the parents' one-hot colours, so the first layer is a sum of rows of a table.

    Args:
        first: float64 (parents, C, hidden), what each colour of each parent adds.
        first_bias: float64 (hidden,).
        second: float64 (C, hidden).
        second_bias: float64 (C,).
    """

    first: _Floats
    first_bias: _Floats
    second: _Floats
    second_bias: _Floats

    @classmethod
    def random(
        cls,
        objects: int,
        colours: int,
        parents: Sequence[int],
        hidden: int,
        gain: float,
        bias: float,
        rng: np.random.Generator,
    ) -> ColourNet:
        """Draw a network over all objects, and keep the inputs that are parents.

        Args:
            objects: N.
            colours: C.
            parents: indices of the objects that are read.
            hidden: hidden units.
            gain: of the orthogonal weights of both layers.
            bias: both layers' biases are uniform on [-bias, bias].
            rng: the generator to draw from.
        """
        first = orthogonal(hidden, objects * colours, gain, rng)
        by_object = first.T.reshape(objects, colours, hidden)
        return cls(
            first=by_object[list(parents)],
            first_bias=rng.uniform(-bias, bias, hidden),
            second=orthogonal(colours, hidden, gain, rng),
            second_bias=rng.uniform(-bias, bias, colours),
        )

    @property
    def n_parents(self) -> int:
        """Objects that are read."""
        return len(self.first)

    @property
    def colours(self) -> int:
        """C."""
        return len(self.second)

    def heated(self, temperature: float) -> ColourNet:
        """The network with its scores divided by a temperature."""
        return replace(
            self, second=self.second / temperature, second_bias=self.second_bias / temperature
        )

    def weights(self, colours: _Ints) -> _Floats:
        """Probabilities of the colours up to a factor.

        Args:
            colours: int64 (parents, batch), 0..C; 0 is not read (its one-hot code is zero).

        Returns:
            float64 (C, batch), the greatest of each column being 1.
        """
        if self._table is not None:
            code = np.zeros(colours.shape[1], dtype=np.int64)
            for row in colours:
                code = code * (self.colours + 1) + row
            return np.asarray(self._table[:, code])
        return self._evaluate(colours)

    @cached_property
    def _table(self) -> _Floats | None:
        base = self.colours + 1
        rows = base**self.n_parents
        if rows > _TABLE_ROWS:
            return None
        grid = np.indices((base,) * self.n_parents).reshape(self.n_parents, rows)
        return self._evaluate(grid.astype(np.int64))

    def _evaluate(self, colours: _Ints) -> _Floats:
        """Row b of every sum is added up in the same order whatever the batch."""
        batch = colours.shape[1]
        layer = np.repeat(self.first_bias[:, None], batch, axis=1)
        for table, colour in zip(self.first, colours, strict=True):
            layer += np.concatenate([np.zeros((1, table.shape[1])), table])[colour].T
        np.maximum(layer, 0.0, out=layer)
        scores = np.empty((self.colours, batch))
        for c in range(self.colours):
            scores[c] = sum_of_rows(layer * self.second[c][:, None]) + self.second_bias[c]
        scores -= scores.max(axis=0)
        return np.asarray(np.exp(scores))


@dataclass(frozen=True, eq=False)
class Repaint(NonAdditiveMechanism):
    """An object keeps its colour unless a parent is wet; then its network gives it another.

    Parents come first, in the order of the network's inputs; the object's own previous value last.

    Args:
        net: the network.
        sampled: whether the colour is drawn with the network's probabilities, or the most probable
            one is taken.
        spreads: whether a colour from the network is wet too, so that it goes on to the children;
            if not, only the children of the object that was set are repainted.
        changes: whether the present colour is excluded.
        local: the parents that are read while parent 0, the switch, has colour 1; None for all.
        start: where the first colour of an episode comes from: "net", "uniform", or a colour.
    """

    net: ColourNet
    sampled: bool = True
    spreads: bool = True
    changes: bool = False
    local: tuple[int, ...] | None = None
    start: str | int = "net"
    n_parents: int | None = field(init=False, repr=False)
    default_noise: ClassVar[Noise | None] = Uniform(0.0, 1.0)

    def __post_init__(self) -> None:
        object.__setattr__(self, "n_parents", self.net.n_parents + 1)

    @property
    def n_categories(self) -> int:
        """2 C + 1."""
        return 2 * self.net.colours + 1

    def respond(self, columns: Sequence[_Floats], noise: _Floats, batch: int) -> _Floats:
        """The value; see ``Mechanism.respond``."""
        return self.drawn(columns, noise)[0]

    def drawn(self, columns: Sequence[_Floats], noise: _Floats) -> tuple[_Floats, _Floats, _Floats]:
        """The value, and which noise would have given it.

        Args:
            columns: as for :meth:`respond`.
            noise: float64 (batch,), uniforms.

        Returns:
            The value, and the ends of the interval of uniforms that give it, each (batch,).
        """
        codes = self._codes(columns)
        value = dry(codes[-1], self.net.colours).astype(np.float64)
        low, high = np.zeros(len(value)), np.ones(len(value))
        rows = self._painted(codes).nonzero()[0]
        if len(rows):
            chosen = codes[:, rows]
            bounds = self._bounds(chosen)
            colour, each = (noise[rows] >= bounds[1:-1]).sum(axis=0), np.arange(len(rows))
            value[rows] = self._base(chosen) + 1 + colour
            low[rows], high[rows] = bounds[colour, each], bounds[colour + 1, each]
        return value, low, high

    def distribution(self, columns: Sequence[_Floats]) -> _Floats:
        """Probabilities of the values.

        Args:
            columns: as for :meth:`respond`.

        Returns:
            float64 (2 C + 1, batch).
        """
        codes = self._codes(columns)
        batch = codes.shape[1]
        table = np.zeros((self.n_categories, batch))
        table[dry(codes[-1], self.net.colours), np.arange(batch)] = 1.0
        rows = self._painted(codes).nonzero()[0]
        if len(rows):
            chosen = codes[:, rows]
            table[:, rows] = 0.0
            to = self._base(chosen) + 1 + np.arange(self.net.colours)[:, None]
            table[to, rows] = self._probabilities(chosen)
        return table

    def abduct(
        self,
        value: _Floats,
        columns: Sequence[_Floats],
        rng: np.random.Generator | None = None,
    ) -> _Floats:
        """A uniform from those that give the value, their middle without ``rng``.

        Where the object kept its colour, any uniform does.

        Raises:
            ValueError: a value that the parents do not allow.
        """
        place = np.full(len(value), 0.5) if rng is None else rng.random(len(value))
        return self.explained(value, columns, place)

    def explained(self, value: _Floats, columns: Sequence[_Floats], place: _Floats) -> _Floats:
        """The uniform that lies at ``place`` (in [0, 1)) of the way through those for a value.

        Raises:
            ValueError: a value that the parents do not allow.
        """
        codes, noise = self._codes(columns), place.copy()
        painted = self._painted(codes)
        if (value != dry(codes[-1], self.net.colours))[~painted].any():
            raise ValueError("a value differs from the colour that the object had to keep")
        rows = painted.nonzero()[0]
        if len(rows):
            chosen = codes[:, rows]
            given = value[rows] - self._base(chosen)
            if not np.isin(given, np.arange(1, self.net.colours + 1)).all():
                raise ValueError("a value is no colour that its parents allow")
            colour, each = given.astype(np.int64), np.arange(len(rows))
            bounds = self._bounds(chosen)
            low, high = bounds[colour - 1, each], bounds[colour, each]
            if (low >= high).any():
                raise ValueError("a value has probability zero given its parents")
            # Rounding must not put it on the upper end, which belongs to the next colour.
            inside = np.minimum(low + place[rows] * (high - low), np.nextafter(high, 0.0))
            noise[rows] = np.maximum(low, inside)
        return noise

    def _codes(self, columns: Sequence[_Floats]) -> _Ints:
        """Categories int64 (parents + 1, batch); what is no whole number reads as blank."""
        values = np.array(columns)
        codes = values.astype(np.int64)
        odd = codes != values
        if odd.any():
            codes[odd] = 0
        return codes % self.n_categories

    def _painted(self, codes: _Ints) -> NDArray[np.bool_]:
        """Where the network gives the colour, bool (batch,)."""
        wet = codes[:-1] > self.net.colours
        painted = np.logical_or.reduce(wet, axis=0)
        if self.local is not None:
            here = dry(codes[0], self.net.colours) == 1
            painted = np.where(here, wet[list(self.local)].any(axis=0), painted)
        return np.asarray(painted | (codes[-1] == 0))

    def _base(self, codes: _Ints) -> _Ints:
        """What is added to a colour from the network: C where it is wet, int64 (batch,)."""
        return np.where(self.spreads & (codes[-1] != 0), self.net.colours, 0)

    def _bounds(self, codes: _Ints) -> _Floats:
        """Ends of the colours' intervals of uniforms, (C + 1, batch)."""
        bounds = np.zeros((self.net.colours + 1, codes.shape[1]))
        np.cumsum(self._probabilities(codes), axis=0, out=bounds[1:])
        bounds[-1] = 1.0
        return bounds

    def _probabilities(self, codes: _Ints) -> _Floats:
        """Probabilities (C, batch) of the network's colours."""
        parents, own = dry(codes[:-1], self.net.colours), dry(codes[-1], self.net.colours)
        if self.local is not None:
            hidden = np.ones((len(parents), 1), dtype=np.bool_)
            hidden[list(self.local)] = False
            parents = np.where(hidden & (parents[0] == 1), 0, parents)
        weights = self.net.weights(parents)
        if self.changes:
            weights[np.arange(1, len(weights) + 1)[:, None] == own] = 0.0
        if not self.sampled:
            weights = np.asarray(np.arange(len(weights))[:, None] == weights.argmax(axis=0), float)
        if self.start != "net":
            first = np.full(len(weights), 1.0)
            if self.start != "uniform":
                first[:] = np.arange(1, len(weights) + 1) == self.start
            weights = np.where(own == 0, first[:, None], weights)
        return np.asarray(weights / np.cumsum(weights, axis=0)[-1])


@dataclass(frozen=True, eq=False)
class Smeared(NonAdditiveMechanism):
    """An object whose value is off by a random multiple of 2 C + 1.

    Whoever reads objects reads them modulo 2 C + 1, so that nothing happens otherwise than before;
    what is seen of the object is far from anything seen before.

    Args:
        inner: the object's own mechanism.
        scale: multiples are 0..scale - 1, with equal probabilities.
    """

    inner: Repaint
    scale: int
    n_parents: int | None = field(init=False, repr=False)
    default_noise: ClassVar[Noise | None] = Uniform(0.0, 1.0)

    def __post_init__(self) -> None:
        object.__setattr__(self, "n_parents", self.inner.n_parents)

    @property
    def n_categories(self) -> int:
        """Scale (2 C + 1)."""
        return self.scale * self.inner.n_categories

    def respond(self, columns: Sequence[_Floats], noise: _Floats, batch: int) -> _Floats:
        """The value; see ``Mechanism.respond``. What the colour leaves open gives the multiple."""
        value, low, high = self.inner.drawn(columns, noise)
        multiple = np.floor((noise - low) / (high - low) * self.scale)
        off = np.minimum(multiple, self.scale - 1) * self.inner.n_categories
        return np.asarray(value + off, dtype=np.float64)

    def abduct(
        self,
        value: _Floats,
        columns: Sequence[_Floats],
        rng: np.random.Generator | None = None,
    ) -> _Floats:
        """As :meth:`Repaint.abduct`.

        Raises:
            ValueError: a value that the parents do not allow.
        """
        multiple, inner = np.divmod(value, self.inner.n_categories)
        if ((multiple < 0) | (multiple >= self.scale)).any():
            raise ValueError(f"values must be categories 0..{self.n_categories - 1}")
        place = np.full(len(value), 0.5) if rng is None else rng.random(len(value))
        return self.inner.explained(inner, columns, (multiple + place) / self.scale)


def dry(values: NDArray[_Number], colours: int) -> NDArray[_Number]:
    """Colours 1..C without regard to whether they are wet; 0 stays blank.

    Args:
        values: values of objects, any shape.
        colours: C.
    """
    wet: NDArray[_Number] = (values > colours) * values.dtype.type(colours)
    return values - wet


def orthogonal(rows: int, columns: int, gain: float, rng: np.random.Generator) -> _Floats:
    """A random matrix with orthogonal rows or columns, whichever are fewer, each of norm ``gain``.

    Uniform over such matrices (Saxe, McClelland & Ganguli 2014).
    """
    tall = rng.normal(size=(max(rows, columns), min(rows, columns)))
    q, r = np.linalg.qr(tall)
    q *= np.where(np.diag(r) < 0, -1.0, 1.0)
    return np.asarray(gain * (q if rows >= columns else q.T))
