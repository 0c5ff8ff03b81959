"""What is known of some rows of a model: all of their variables, or some."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from causal_rl.discovery.table import read_table
from causal_rl.graphs.names import unknown_name
from causal_rl.scm import SCM

Array = NDArray[np.float64]
BoolMatrix = NDArray[np.bool_]


@dataclass(frozen=True)
class Evidence:
    """Rows of a model.

    Attributes:
        values: ``(rows, d)`` float64; zeros where nothing is known.
        observed: ``(rows, d)`` true where the value is known.
    """

    values: Array
    observed: BoolMatrix

    @cached_property
    def full(self) -> bool:
        """Whether every value of every row is known."""
        return bool(self.observed.all())

    def patterns(self) -> Iterator[tuple[NDArray[np.intp], NDArray[np.bool_]]]:
        """Rows with the same variables known, and which those are, ``(d,)``."""
        if self.full:
            yield np.arange(len(self.values)), np.ones(self.values.shape[1], dtype=np.bool_)
            return
        kinds, which = np.unique(self.observed, axis=0, return_inverse=True)
        for place, known in enumerate(kinds):
            yield np.flatnonzero(which.ravel() == place), known


def read_evidence(
    scm: SCM, evidence: Mapping[str, Any] | ArrayLike | Any, observed: ArrayLike | None = None
) -> Evidence:
    """Read evidence in any of its forms.

    Args:
        scm: the model.
        evidence: a table ``(rows, d)`` in the order of the model's columns, a data frame with
            some of its names, or a mapping from names to numbers or ``(rows,)`` arrays. Variables
            that are not named are unknown.
        observed: ``(rows, d)`` or ``(d,)`` booleans, for a table alone: where it is false the
            table's value is not read, and may be NaN.

    Returns:
        The evidence.

    Raises:
        TypeError: not numbers.
        ValueError: an unknown name, shapes that disagree, a value that is not finite where it is
            said to be known.
    """
    if isinstance(evidence, Mapping) or hasattr(evidence, "columns"):
        if observed is not None:
            raise ValueError("observed goes with an array; name the known variables alone instead")
        return _from_names(scm, evidence)
    if observed is None:
        if isinstance(evidence, np.ndarray) and evidence.dtype == np.float64:
            # The usual case without ado: a question about one row should cost little.
            _check_width(evidence, scm)
            _check_finite(evidence, scm)
            return Evidence(evidence, np.ones(evidence.shape, dtype=np.bool_))
        table, _ = read_table(evidence)
        _check_width(table, scm)
        return Evidence(table, np.ones(table.shape, dtype=np.bool_))
    try:
        table = np.array(evidence, dtype=np.float64)
    except (TypeError, ValueError):
        raise TypeError("evidence must be a table of real numbers, or a mapping by name") from None
    _check_width(table, scm)
    mask = np.asarray(observed)
    if mask.dtype != np.bool_ or mask.shape not in (table.shape, (scm.d,)):
        raise ValueError(
            f"observed must be booleans of shape {table.shape} or ({scm.d},), got {mask.dtype} "
            f"{mask.shape}"
        )
    known = np.array(np.broadcast_to(mask, table.shape))
    table[~known] = 0.0
    _check_finite(table, scm)
    return Evidence(table, known)


def read_numbers(name: str, given: Any, argument: str) -> Array:
    """One variable's numbers, () or (rows,).

    Raises:
        TypeError: not numbers.
        ValueError: more than one axis, or a value that is not finite.
    """
    try:
        values = np.asarray(given, dtype=np.float64)
    except (TypeError, ValueError):
        raise TypeError(f"{argument} of {name!r} must be numbers, got {given!r}") from None
    if values.ndim > 1:
        raise ValueError(f"{argument} of {name!r} must be a number or (rows,), got {values.shape}")
    if not np.isfinite(values).all():
        raise ValueError(f"{argument} of {name!r} must be finite")
    return values


def _from_names(scm: SCM, evidence: Any) -> Evidence:
    columns = evidence if isinstance(evidence, Mapping) else {c: evidence[c] for c in evidence}
    given = {}
    for name, values in columns.items():
        if name not in scm.names:
            raise ValueError(f"evidence: {unknown_name(name, scm.names)}")
        given[name] = read_numbers(name, values, "evidence")
    sizes = {len(v) for v in given.values() if v.ndim}
    if len(sizes) > 1:
        raise ValueError(f"evidence must have as many rows of each variable, got {sorted(sizes)}")
    rows = sizes.pop() if sizes else 1
    table = np.zeros((rows, scm.d))
    known = np.zeros((rows, scm.d), dtype=np.bool_)
    for name, values in given.items():
        j = scm.names.index(name)
        table[:, j], known[:, j] = values, True
    return Evidence(table, known)


def _check_width(table: Array, scm: SCM) -> None:
    if table.ndim != 2 or table.shape[1] != scm.d:
        raise ValueError(f"evidence has shape {table.shape}; it must be (rows, {scm.d})")


def _check_finite(table: Array, scm: SCM) -> None:
    if not np.isfinite(table).all():
        row, j = np.argwhere(~np.isfinite(table))[0]
        raise ValueError(f"evidence of {scm.names[j]!r} must be finite, row {row} is not")
