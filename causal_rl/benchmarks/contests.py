"""A contest: one figure of ours beside the best of the others, read off the rows of a benchmark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from causal_rl.benchmarks.cells import Row, Value
from causal_rl.benchmarks.statistics import estimate

BETTER, WORSE, EVEN = "better", "worse", "even"


@dataclass(frozen=True)
class Entry:
    """Where the figures of a contender stand.

    Attributes:
        label: what it is called.
        metric: column of its figures.
        where: columns and values that select its rows.
    """

    label: str
    metric: str
    where: Mapping[str, Value]


@dataclass(frozen=True)
class Contest:
    """A line of the page of results.

    Attributes:
        asks: what is measured, with its unit or range.
        ours: our contender, settled beforehand, not the best of several.
        others: what it is held against: other people's methods and trivial ones; none where the
            figure stands beside a claim alone.
        less: whether less is better.
        by: columns that pair a row of ours with one of another's.
        claimed: what the paper prints for its method or claims, in words; its data are not public.
    """

    asks: str
    ours: Entry
    others: Sequence[Entry]
    less: bool = True
    by: Sequence[str] = ("seed",)
    claimed: str = ""


@dataclass(frozen=True)
class Standing:
    """How a contest went.

    Attributes:
        asks: what is measured.
        ours: label and mean of ours with its interval.
        best: label and mean of the best of the others, "-" where there are none.
        claimed: what the paper prints, "-" if nothing.
        verdict: `BETTER`, `WORSE` or `EVEN`: whether the interval of the paired differences
            excludes zero, and on which side; "-" where fewer than two rows can be paired.
    """

    asks: str
    ours: str
    best: str
    claimed: str
    verdict: str


def by_method(
    metric: str, ours: str, others: Sequence[str], column: str = "method", /, **where: Value
) -> tuple[Entry, list[Entry]]:
    """Contenders that are values of a column: ours, then the others."""
    made = [Entry(name, metric, {**where, column: name}) for name in (ours, *others)]
    return made[0], made[1:]


def by_metric(
    pattern: str, ours: str, others: Sequence[str], /, **where: Value
) -> tuple[Entry, list[Entry]]:
    """Contenders that have a column each, ``pattern`` with their name for ``{}``."""
    made = [Entry(name, pattern.format(name), where) for name in (ours, *others)]
    return made[0], made[1:]


def stand(contest: Contest, rows: Sequence[Row]) -> Standing | None:
    """Decide a contest.

    Args:
        contest: who meets whom.
        rows: of the benchmark.

    Returns:
        How it went; None where our contender has no figure in these rows.
    """
    mine = _values(contest.ours, rows)
    if not mine:
        return None
    found = [(entry, values) for entry in contest.others if (values := _values(entry, rows))]
    claimed = contest.claimed or "-"
    ours = f"{contest.ours.label} {estimate(mine)}"
    if not found:
        return Standing(contest.asks, ours, "-", claimed, "-")
    sign = 1.0 if contest.less else -1.0
    best, values = min(found, key=lambda pair: sign * float(np.mean(pair[1])))
    told = f"{best.label} {estimate(values)}"
    return Standing(contest.asks, ours, told, claimed, _verdict(contest, best, rows, sign))


def _verdict(contest: Contest, other: Entry, rows: Sequence[Row], sign: float) -> str:
    first = _figures(contest.ours, rows, contest.by)
    second = _figures(other, rows, contest.by)
    differences = np.array([sign * (first[key] - second[key]) for key in first if key in second])
    if len(differences) < 2:
        return "-"
    found = estimate(differences)
    return BETTER if found.high < 0 else WORSE if found.low > 0 else EVEN


def _values(entry: Entry, rows: Sequence[Row]) -> list[float]:
    return [value for _, value in _numbers(entry, rows)]


def _figures(
    entry: Entry, rows: Sequence[Row], by: Sequence[str]
) -> dict[tuple[Value, ...], float]:
    """Mean figure of every pairing key."""
    found: dict[tuple[Value, ...], list[float]] = {}
    for row, value in _numbers(entry, rows):
        found.setdefault(tuple(row.get(name) for name in by), []).append(value)
    return {key: float(np.mean(values)) for key, values in found.items()}


def _numbers(entry: Entry, rows: Sequence[Row]) -> list[tuple[Row, float]]:
    return [
        (row, float(value))
        for row in rows
        if all(row.get(key) == wanted for key, wanted in entry.where.items())
        and isinstance(value := row.get(entry.metric), int | float)
    ]
