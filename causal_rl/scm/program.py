"""A list of variables compiled for evaluation: checked, ordered, and with every index resolved.

`SCM` and `DynamicSCM` are two faces of this one engine. Inside, arrays are (variables, batch), so
that each variable is one contiguous row and costs no gather.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from math import isfinite

import numpy as np
from numpy.typing import ArrayLike

from causal_rl.graphs import CausalGraph, find_cycle, topological_order
from causal_rl.scm.arguments import BoolArray, FloatArray
from causal_rl.scm.keyed_noise import UintArray, bits_at
from causal_rl.scm.mechanisms import Constant, Linear, Mechanism
from causal_rl.scm.noise import Noise
from causal_rl.scm.variable_checks import check_dynamic, check_parents, distinct_variables
from causal_rl.scm.variables import Variable, do_values

# (row to write, mechanism, rows to read); rows from n on are the previous step's.
Rows = FloatArray | Sequence[FloatArray]
_Instruction = tuple[int, Mechanism, tuple[int, ...], bool]


class Program:
    """The compiled structural equations.

    Attributes:
        variables: All variables: the columns in the user's order, then the sink if there is one.
        names: Names of the columns.
        n: Number of columns.
        sink: The reward of a dynamic model, which is no column, or None.
        graph: The true graph, over `variables`.
        order: Indices of the columns, causes before effects.
        held: Indices of the columns that keep their value through an episode.
        free: Indices of the other columns, causes before effects.
    """

    def __init__(self, variables: Sequence[Variable], *, dynamic: bool) -> None:
        """Check the variables against each other and resolve them.

        Args:
            variables: At least one column.
            dynamic: Whether lagged parents are legal, contexts are held and a reward is kept
                apart as the sink.

        Raises:
            TypeError: If an element is no `Variable`.
            ValueError: On duplicate names, unknown parents, a cycle (which is printed), a reward
                with children, a second reward, and what only one of the two models allows.
        """
        given = distinct_variables(variables)
        rewards = [v for v in given if v.kind == "reward"]
        self.sink = rewards[0] if dynamic and rewards else None
        columns = [v for v in given if v is not self.sink]
        self.variables = (*columns, self.sink) if self.sink is not None else tuple(columns)
        self.names = tuple(v.name for v in columns)
        self.n = len(columns)
        check_parents(self.variables, dynamic=dynamic)
        if dynamic:
            check_dynamic(self.variables)
        if not columns:
            raise ValueError("variables must hold at least one that is not the reward")
        self.graph = _graph(self.variables)
        order = [i for i in topological_order(self.graph.contemporaneous) if i < self.n]
        self.order = tuple(order)
        rows = {name: i for i, name in enumerate(self.names)}
        self.held = tuple(i for i in order if dynamic and columns[i].kind == "context")
        self.free = tuple(i for i in order if i not in self.held)
        self._instructions = tuple(_instruction(i, columns[i], rows) for i in self.free)
        self._mechanisms = {i: (mechanism, read) for i, mechanism, read, _ in self._instructions}
        if self.sink is not None:
            _, mechanism, read, _ = _instruction(self.n, self.sink, rows)
            self._mechanisms[self.n] = mechanism, read
        self._noises = _noise_groups(columns, range(self.n))
        self.drawn = tuple(i for i in range(self.n) if i not in self.held)
        self._drawn_noises = _noise_groups(columns, self.drawn)
        self._start = np.array(
            [v.function.value if isinstance(v.function, Constant) else 0.0 for v in columns]
        )

    def forward(
        self,
        noise: FloatArray,
        previous: FloatArray | None = None,
        held: FloatArray | None = None,
        do_mask: BoolArray | None = None,
        do_value: FloatArray | None = None,
        may_be_set: Container[int] | None = None,
    ) -> FloatArray:
        """Evaluate every column once, causes before effects.

        Args:
            noise: (n, batch), C order.
            previous: (n, batch), the step before; None where nothing is lagged.
            held: (n, batch), the source of held columns; None where there is none.
            do_mask: (n, batch), where to take `do_value` in place of mechanism and noise.
            do_value: (n, batch).
            may_be_set: Columns outside of which `do_mask` is false; None finds out.

        Returns:
            float64 of shape (n, batch).

        Raises:
            ValueError: If a value is not finite or a mechanism returns another shape than
                (batch,); the variable is named.
        """
        out = np.empty(noise.shape)
        batch = noise.shape[1]
        shape = (batch,)
        rows = list(out)
        sources = rows if previous is None else rows + list(previous)
        noise_rows = list(noise)
        if held is not None:
            for i in self.held:
                rows[i][:] = held[i]
        touched = may_be_set
        mask_rows, value_rows = [], []
        if do_mask is not None and do_value is not None:
            mask_rows, value_rows = list(do_mask), list(do_value)
        if do_mask is None:
            touched = ()
        elif touched is None:
            touched = np.flatnonzero(np.logical_or.reduce(do_mask, axis=1)).tolist()
        for i, mechanism, parents, additive in self._instructions:
            columns = [sources[j] for j in parents]
            if additive:
                effect = mechanism.evaluate(columns, batch)
                if effect.shape != shape:
                    raise ValueError(self._bad_shape(i, effect, batch))
                np.add(effect, noise_rows[i], out=rows[i])
            else:
                effect = mechanism.respond(columns, noise_rows[i], batch)
                if effect.shape != shape:
                    raise ValueError(self._bad_shape(i, effect, batch))
                rows[i][:] = effect
            if i in touched:
                np.copyto(rows[i], value_rows[i], where=mask_rows[i])
        # One pass: a sum of squares is finite only if its terms are; it may overflow otherwise.
        if not isfinite(np.vdot(out, out)) and not np.isfinite(out).all():
            raise ValueError(self._not_finite(out))
        return out

    def forward_one(
        self,
        noise: Sequence[float],
        previous: Sequence[float],
        held: Sequence[float],
        column: int,
        value: float,
    ) -> list[float]:
        """`forward` for one row, in floats: the same numbers, bit for bit, without arrays.

        Args:
            noise: n numbers.
            previous: n numbers, the step before.
            held: n numbers, the source of held columns.
            column: Where to take `value` in place of mechanism and noise; -1 for nowhere.
            value: A number.

        Returns:
            n numbers.

        Raises:
            ValueError: As `forward`.
        """
        rows = [*held, *previous]
        for i, mechanism, parents, additive in self._instructions:
            if i == column:
                rows[i] = value
                continue
            values = [rows[j] for j in parents]
            try:
                if additive:
                    number = mechanism.evaluate_one(values) + noise[i]
                else:
                    columns = [np.array([x]) for x in values]
                    number = float(mechanism.respond(columns, np.array([noise[i]]), 1)[0])
            except ValueError as error:
                raise ValueError(f"variable {self.names[i]!r}: {error}") from error
            if not isfinite(number):
                raise ValueError(f"variable {self.names[i]!r} took a value that is not finite")
            rows[i] = number
        return rows[: self.n]

    def effect_one(self, i: int, now: Sequence[float], before: Sequence[float]) -> float:
        """`effect` of one row without noise, in floats.

        Raises:
            ValueError: As `effect`.
        """
        mechanism, read = self._mechanisms[i]
        n = self.n
        try:
            number = mechanism.evaluate_one([now[j] if j < n else before[j - n] for j in read])
        except ValueError as error:
            raise ValueError(f"variable {self.variables[i].name!r}: {error}") from error
        if not isfinite(number):
            raise ValueError(
                f"variable {self.variables[i].name!r}: its mechanism returned a value that is "
                "not finite"
            )
        return number

    def effect(
        self,
        i: int,
        now: Rows,
        before: Rows | None,
        batch: int,
        noise: FloatArray | None = None,
    ) -> FloatArray:
        """The mechanism of one column, or of the sink (i = n), without noise or with it.

        Args:
            i: Index into `variables`, not of a held column.
            now: The rows (n, batch) of this step.
            before: The rows (n, batch) of the step before; None where nothing is lagged.
            batch: Number of rows of the batch.
            noise: (batch,); None for the deterministic part alone, which a mechanism whose noise
                is not additive has not.

        Returns:
            float64 of shape (batch,).

        Raises:
            ValueError: If the mechanism returns another shape or a value that is not finite; the
                variable is named.
        """
        mechanism = self._mechanisms[i][0]
        columns = self._read(i, now, before)
        if mechanism.additive or noise is None:
            result = mechanism.evaluate(columns, batch)
        else:
            result = mechanism.respond(columns, noise, batch)
        if result.shape != (batch,):
            raise ValueError(self._bad_shape(i, result, batch))
        if mechanism.additive and noise is not None:
            result = result + noise
        if not np.isfinite(result).all():
            raise ValueError(
                f"variable {self.variables[i].name!r}: its mechanism returned a value that is "
                "not finite"
            )
        return result

    def residuals(
        self,
        values: FloatArray,
        previous: FloatArray | None = None,
        rng: np.random.Generator | None = None,
        skip: BoolArray | None = None,
    ) -> FloatArray:
        """The noise that explains the values, (n, batch).

        Where noise is additive it is the value minus the mechanism. Elsewhere it is what
        `Mechanism.abduct` says: a draw from the posterior if `rng` is given, a middle value if not.
        Held columns get zeros: after the start they have no noise of their own.

        Args:
            values: (n, batch).
            previous: (n, batch), the step before; None where nothing is lagged.
            rng: For posteriors.
            skip: bool (n, batch), values that were set and need no explanation; None for none.

        Raises:
            ValueError: If no noise explains a value; the variable is named.
        """
        noise = np.zeros_like(values)
        for i in self.free:
            if self._mechanisms[i][0].additive:
                effect = self.effect(i, values, previous, values.shape[1])
                noise[i] = _exact_difference(values[i], effect)
                continue
            rows = np.arange(values.shape[1]) if skip is None else np.flatnonzero(~skip[i])
            columns = [column[rows] for column in self._read(i, values, previous)]
            noise[i, rows] = self._explain(i, values[i, rows], columns, rng)
        return noise

    def _read(self, i: int, now: Rows, before: Rows | None) -> list[FloatArray]:
        n = self.n
        return [
            now[j] if j < n or before is None else before[j - n] for j in self._mechanisms[i][1]
        ]

    def _explain(
        self,
        i: int,
        value: FloatArray,
        columns: list[FloatArray],
        rng: np.random.Generator | None,
    ) -> FloatArray:
        try:
            return self._mechanisms[i][0].abduct(value, columns, rng)
        except ValueError as error:
            raise ValueError(f"variable {self.names[i]!r}: {error}") from None

    def counterfactual(
        self,
        factual: FloatArray,
        do_mask: BoolArray | None,
        do_value: FloatArray | None,
        rng: np.random.Generator | None = None,
    ) -> FloatArray:
        """The factual values (n, batch) under another intervention, noise kept.

        Where a mechanism gives what it gave, the factual value is taken over: values that the
        model did not make need not be a rounded sum of mechanism and noise.
        """
        batch = factual.shape[1]
        out = factual.copy()
        for i in self.free:
            if not self._mechanisms[i][0].additive:
                noise = self._explain(i, factual[i], self._read(i, factual, None), rng)
                was, now = (self.effect(i, x, None, batch, noise) for x in (factual, out))
                np.copyto(out[i], now, where=now != was)
                if do_mask is not None and do_value is not None:
                    np.copyto(out[i], do_value[i], where=do_mask[i])
                continue
            was, now = self.effect(i, factual, None, batch), self.effect(i, out, None, batch)
            np.copyto(out[i], now + (factual[i] - was), where=now != was)
            if do_mask is not None and do_value is not None:
                np.copyto(out[i], do_value[i], where=do_mask[i])
        return out

    def constant_do(
        self, do: Mapping[str, float] | None, batch: int
    ) -> tuple[BoolArray | None, FloatArray | None]:
        """Mask and values, each (n, batch), of an intervention that is the same in every row."""
        if do is None:
            return None, None
        mask = np.zeros((self.n, batch), dtype=np.bool_)
        value = np.zeros((self.n, batch))
        for name, number in do_values(self.names, do).items():
            i = self.names.index(name)
            mask[i], value[i] = True, number
        return mask, value

    def start(self, noise: FloatArray) -> FloatArray:
        """The values that held columns take when an episode starts, (n, batch).

        Other columns are left at zero.
        """
        values = np.zeros_like(noise)
        for i in self.held:
            values[i] = self._start[i] + noise[i]
        return values

    def start_noise(self, values: FloatArray) -> FloatArray:
        """The inverse of `start`: the noise of the held columns, zeros elsewhere."""
        noise = np.zeros_like(values)
        for i in self.held:
            noise[i] = _exact_difference(values[i], self._start[i])
        return noise

    def noise_from_uniforms(self, uniforms: FloatArray) -> FloatArray:
        """Map uniforms (n, batch) through each column's inverse CDF to noise (n, batch)."""
        noise = np.empty_like(uniforms)
        for distribution, sources, rows, scale in self._noises:
            noise[rows] = distribution.ppf(uniforms[sources]) * scale
        return noise

    def keyed_noise(self, key: UintArray, step: ArrayLike, *, start: bool) -> FloatArray:
        """Noise (n, batch) by address; see `uniform_at`.

        Args:
            key: uint64 (batch,) from `episode_key`.
            step: (batch,).
            start: Whether held columns are drawn too; without it theirs is 0.
        """
        noise = np.empty((self.n, len(key)))
        groups, drawn = self._noises, tuple(range(self.n))
        if not start:
            groups, drawn = self._drawn_noises, self.drawn
            for i in self.held:
                noise[i] = 0.0
        bits = bits_at(key, step, drawn)
        for distribution, sources, rows, scale in groups:
            if isinstance(rows, slice):
                values = noise[rows]
                distribution.from_bits(bits[sources], values)
                values *= scale
            else:
                values = np.empty((len(rows), len(key)))
                distribution.from_bits(bits[sources], values)
                noise[rows] = values * scale
        return noise

    def sample_noise(self, rng: np.random.Generator, batch: int) -> FloatArray:
        """Draw noise (n, batch), column by column in the user's order."""
        noise = np.empty((self.n, batch))
        for i in range(self.n):
            noise[i] = self.variables[i].noise.sample(rng, batch)
        return noise

    def _bad_shape(self, i: int, effect: FloatArray, batch: int) -> str:
        return (
            f"variable {self.variables[i].name!r}: its mechanism must return shape ({batch},) "
            f"for a batch of {batch}, got {np.shape(effect)}"
        )

    def _not_finite(self, out: FloatArray) -> str:
        bad = ~np.logical_and.reduce(np.isfinite(out), axis=1)
        name = next(self.names[i] for i in self.order if bad[i])
        return f"variable {name!r} took a value that is not finite"


def _graph(variables: Sequence[Variable]) -> CausalGraph:
    """The graph that the specification says, with weights where every mechanism is linear."""
    rows = {v.name: i for i, v in enumerate(variables)}
    n = len(variables)
    now, lag = np.zeros((n, n), dtype=np.bool_), np.zeros((n, n), dtype=np.bool_)
    now_weights, lag_weights = np.zeros((n, n)), np.zeros((n, n))
    for j, v in enumerate(variables):
        here, before = [rows[p] for p in v.parents], [rows[p] for p in v.lagged_parents]
        now[here, j], lag[before, j] = True, True
        if isinstance(v.function, Linear):
            now_weights[here, j] = v.function.weights[: len(here)]
            lag_weights[before, j] = v.function.weights[len(here) :]
    cycle = find_cycle(now)
    if cycle is not None:
        raise ValueError(f"cycle: {' -> '.join(variables[i].name for i in cycle)}")
    linear = all(isinstance(v.function, Linear | Constant) for v in variables)
    return CausalGraph(
        contemporaneous=now,
        lagged=lag,
        names=tuple(rows),
        kinds=tuple(v.kind for v in variables),
        contemporaneous_weights=now_weights if linear else None,
        lagged_weights=lag_weights if linear else None,
    )


def _instruction(i: int, v: Variable, rows: dict[str, int]) -> _Instruction:
    here = tuple(rows[p] for p in v.parents)
    before = tuple(len(rows) + rows[p] for p in v.lagged_parents)
    return i, v.function, here + before, v.function.additive


# A distribution, the rows of the uniforms it maps, the rows of the noise they become, a scale each.
_Rows = slice | list[int]
_NoiseGroup = tuple[Noise, _Rows, _Rows, FloatArray]


def _noise_groups(columns: Sequence[Variable], drawn: Sequence[int]) -> list[_NoiseGroup]:
    """Columns whose noises differ in scale alone: one call of `ppf` serves them all."""
    return [
        (noise, as_slice(places), as_slice([drawn[k] for k in places]), np.array(factors)[:, None])
        for noise, places, factors in noise_groups([columns[i].noise for i in drawn])
    ]


def noise_groups(noises: Sequence[Noise]) -> list[tuple[Noise, list[int], list[float]]]:
    """Noises that differ in scale alone: the one of scale 1, their places and their scales."""
    groups: list[tuple[Noise, list[int], list[float]]] = []
    for place, noise in enumerate(noises):
        unit, factor = noise.unscaled
        for known, places, factors in groups:
            if known is unit or (type(known) is type(unit) and known == unit):
                places.append(place)
                factors.append(factor)
                break
        else:
            groups.append((unit, [place], [factor]))
    return groups


def as_slice(rows: list[int]) -> slice | list[int]:
    """Ascending rows as a slice where they have no gap: it costs no copy."""
    first, last = rows[0], rows[-1] + 1
    return slice(first, last) if rows == list(range(first, last)) else rows


def _exact_difference(value: FloatArray, effect: FloatArray | float) -> FloatArray:
    """The noise e for which effect + e rounds to value, wherever there is one.

    The rounded difference is that number except where value sits on a power of two, as the spacing
    of floats changes there; then a neighbour is.
    """
    noise = value - effect
    for towards in (-np.inf, np.inf):
        off = effect + noise != value
        if not off.any():
            break
        neighbour = np.nextafter(value - effect, towards)
        noise = np.where(off & (effect + neighbour == value), neighbour, noise)
    return noise
