"""A table with a treatment and an outcome, from a CSV file or a data frame."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from causal_rl.discovery.registry import learner_class
from causal_rl.discovery.table import read_table
from causal_rl.discovery.table_file import TableFile, check_rows, read_table_file
from causal_rl.effects.base import Treatments
from causal_rl.effects.plan import Plan
from causal_rl.graphs.names import unknown_name

MOST_LEVELS = 10
LEAST_ROWS = 5
_MOST_COLUMNS = 1000


def read_effect_table(data: str | os.PathLike[str] | Any, plan: Plan) -> TableFile:
    """Read a table that is to tell an effect.

    Args:
        data: a CSV file, or a data frame whose columns are numbers; its treatment may be text.
        plan: names treatment and outcome, and the order of levels.

    Raises:
        OSError: the file cannot be read.
        TypeError: a column of a frame holds no numbers.
        ValueError: not such a table; treatment or outcome are not in it, or never change.
    """
    if isinstance(data, str | os.PathLike):
        most = _MOST_COLUMNS
        if plan.discover is not None:
            most = min(most, learner_class(plan.discover).most_variables)
        table = read_table_file(data, levels=plan.levels, unordered=(plan.treatment,), most=most)
    else:
        table = _read_frame(data, plan)
    for role, name in (("treatment", plan.treatment), ("outcome", plan.outcome)):
        if name in table.constant:
            raise ValueError(f"{role} {name!r} is the same in every row; there is no effect to see")
        if name not in table.data.names:
            raise ValueError(f"{role}: {unknown_name(name, table.data.names)}")
    return table


def read_treatment(table: TableFile, treatment: str) -> tuple[Treatments, tuple[str, ...]]:
    """The arm of every row.

    Args:
        table: what `read_effect_table` returned.
        treatment: name of its column.

    Returns:
        ``(N,)`` integers ``0 .. K-1`` and the names of the arms. Numbers are arms in their order,
        text in the order of its levels; levels that no row has are left out.

    Raises:
        ValueError: a continuous treatment, or an arm of fewer than five rows.
    """
    values = table.data.next_state[:, table.data.names.index(treatment)]
    found, t = np.unique(values, return_inverse=True)
    if len(found) > MOST_LEVELS:
        raise ValueError(
            f"treatment {treatment!r} has {len(found)} values; effects are told of categories, at "
            f"most {MOST_LEVELS}, so group the values of a continuous treatment"
        )
    codes = table.codes.get(treatment)
    arms = tuple(codes[int(value)] if codes else f"{value:g}" for value in found)
    counts = np.bincount(t)
    if counts.min() < LEAST_ROWS:
        few = int(counts.argmin())
        raise ValueError(
            f"treatment {treatment!r} is {arms[few]} in {counts[few]} rows; each arm needs at "
            f"least {LEAST_ROWS}"
        )
    return t.astype(np.int64), arms


def _read_frame(frame: Any, plan: Plan) -> TableFile:
    if not hasattr(frame, "columns"):
        raise TypeError(f"data must be a CSV file or a data frame, not {type(frame).__name__}")
    names = [str(label) for label in frame.columns]
    codes: dict[str, tuple[str, ...]] = {}
    if plan.treatment in names:
        raw = frame[frame.columns[names.index(plan.treatment)]].to_numpy()
        cells = [str(cell) for cell in raw]
        if raw.dtype.kind not in "biuf" and all(isinstance(cell, str) for cell in raw):
            codes[plan.treatment] = tuple(plan.levels.get(plan.treatment) or sorted(set(cells)))
            if unknown := set(cells) - set(codes[plan.treatment]):
                raise ValueError(
                    f"treatment {plan.treatment!r} has {min(unknown)!r}, which is not among its "
                    f"levels {', '.join(codes[plan.treatment])}"
                )
            place = {level: k for k, level in enumerate(codes[plan.treatment])}
            frame = frame.copy()
            frame[plan.treatment] = [place[cell] for cell in cells]
    values, labels = read_table(frame)
    return check_rows(values, labels, np.zeros(values.shape, dtype=bool), codes)
