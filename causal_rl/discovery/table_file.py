"""A CSV file of numbers and categories, read for graph learners; what is wrong is named."""

from __future__ import annotations

import csv
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from causal_rl.discovery.transitions import Transitions
from causal_rl.graphs.names import unknown_name

DELIMITERS = ",\t;|"
SEVERAL = ";"
# How files write that a value is not there.
MISSING = frozenset({"", "na", "n/a", "nan", "null", "none", "?", "-", "."})
# Squares of larger numbers overflow.
LARGEST = 1e150
# A longer first line is no header: nothing may be read without end.
LONGEST_HEADER = 10_000_000
# Columns whose correlation is as near to one as this are the same column in other units.
SAME = 1.0 - 1e-10


@dataclass(frozen=True)
class TableFile:
    """What a file held, fit to be learned from.

    Attributes:
        data: the rows, as transitions without memory.
        rows: number of rows.
        constant: columns that were dropped, for they never change.
        codes: for every column of categories its levels in order; level k became the number k.
        set_rows: for every variable that was ever set, the number of rows in which it was.
        notes: what a reader of the graph should know of the data, a sentence each.
    """

    data: Transitions
    rows: int
    constant: tuple[str, ...]
    codes: Mapping[str, tuple[str, ...]]
    set_rows: Mapping[str, int]
    notes: tuple[str, ...]


def read_table_file(
    path: str | os.PathLike[str],
    *,
    targets: str | None = None,
    levels: Mapping[str, Sequence[str]] | None = None,
    unordered: Collection[str] = (),
    most: int = 1000,
) -> TableFile:
    """Read a CSV file: a header, then a row for each draw.

    Columns are separated by comma, tab, semicolon or bar, whichever the header has most of. A
    column holds numbers, or text of two levels, which become 0 and 1 in alphabetical order, or
    text of more levels whose order ``levels`` gives. Constant columns are dropped.

    Args:
        path: the file, UTF-8.
        targets: the column that names what was set in each row: empty for nothing, several names
            separated by ``;``. None if there is no such column.
        levels: the order of the levels of columns of text; an empty order is the alphabetical one.
        unordered: columns whose levels, where they are text, need no order.
        most: more variables are refused, before the rows are read.

    Raises:
        OSError: the file cannot be read.
        ValueError: not such a table; the message names the line (the header is line 1) or column.
    """
    file = Path(path)
    names, lines, columns = _read_columns(file, most + (targets is not None))
    if targets is not None and targets not in names:
        raise ValueError(f"targets: no column is named {targets!r}; {_offer(targets, names)}")
    marked = columns.pop(targets) if targets is not None else [""] * len(lines)
    names = [name for name in names if name != targets]
    wanted = dict(levels or {})
    for name in wanted:
        if name not in names:
            raise ValueError(f"levels: {unknown_name(name, names)}")
    values = np.empty((len(lines), len(names)))
    codes: dict[str, tuple[str, ...]] = {}
    for index, name in enumerate(names):
        values[:, index], order = _parse_column(
            name, columns[name], lines, wanted.get(name), unordered=name in unordered
        )
        if order:
            codes[name] = order
    do_target = _parse_targets(marked, names, lines)
    return check_rows(values, names, do_target, codes)


def _read_columns(file: Path, most: int) -> tuple[list[str], list[int], dict[str, list[str]]]:
    """Header, line of every row, and the text of every column."""
    try:
        with file.open(newline="", encoding="utf-8-sig") as stream:
            first = stream.readline(LONGEST_HEADER)
            if "\0" in first or len(first) == LONGEST_HEADER:
                raise ValueError(f"{file.name} is no CSV text: its first line is no header")
            delimiter = max(DELIMITERS, key=first.count)
            # What was read is not read again: a pipe has no way back.
            reader = csv.reader(chain([first], stream), delimiter=delimiter)
            rows = _rows(reader)
            _, header = next(rows, (0, []))
            names = _check_header(header, file, most)
            lines: list[int] = []
            cells: list[list[str]] = []
            for line, row in rows:
                if len(row) != len(names):
                    raise ValueError(
                        f"{file.name}, line {line} has {len(row)} values; the header has "
                        f"{len(names)} columns"
                    )
                lines.append(line)
                cells.append(row)
    except UnicodeDecodeError as error:
        raise ValueError(f"{file.name} is no UTF-8 text: {error.reason}") from error
    except csv.Error as error:
        raise ValueError(f"{file.name} is no CSV text: {error}") from error
    if not cells:
        raise ValueError(f"{file.name} has a header and no rows")
    return names, lines, {
        name: [cell.strip() for cell in column]
        for name, column in zip(names, zip(*cells, strict=True), strict=True)
    }  # fmt: skip


def _rows(reader: Iterator[list[str]]) -> Iterator[tuple[int, list[str]]]:
    """Rows that are not blank, each with the line where it ends."""
    for row in reader:
        if len(row) > 1 or (row and row[0].strip()):
            yield getattr(reader, "line_num", 0), row


def _check_header(header: list[str], file: Path, most: int) -> list[str]:
    names = [name.strip() for name in header]
    if not names:
        raise ValueError(f"{file.name} is empty; it must have a header and rows")
    numbers = [name for name in names if _number(name) is not None]
    if len(numbers) == len(names) or any("." in name or "e" in name for name in numbers):
        raise ValueError(
            f"{file.name} has no header: its first line must name the columns, and holds the "
            f"number {numbers[0]}"
        )
    if "" in names:
        raise ValueError(f"{file.name}: column {names.index('') + 1} has no name in the header")
    if len(names) > most:
        raise ValueError(f"{file.name} has {len(names)} columns; this method takes at most {most}")
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ValueError(f"{file.name} has more than one column named {', '.join(repeated)}")
    return names


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _parse_column(
    name: str,
    cells: Sequence[str],
    lines: Sequence[int],
    order: Sequence[str] | None,
    *,
    unordered: bool,
) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    """The numbers of a column, and its levels if it holds categories."""
    for cell, line in zip(cells, lines, strict=True):
        if cell.lower() in MISSING and cell not in (order or ()):
            shown = f"the value {cell!r}" if cell else "no value"
            raise ValueError(f"column {name!r} has {shown} in line {line}; none may be missing")
    if order is None:
        numbers = [_number(cell) for cell in cells]
        told = [number is not None for number in numbers]
        if all(told):
            for number, line in zip(numbers, lines, strict=True):
                if number is None or not abs(number) <= LARGEST:
                    raise ValueError(
                        f"column {name!r} has {number} in line {line}; every value must be finite "
                        f"and below {LARGEST:g}"
                    )
            return np.array(numbers, dtype=np.float64), ()
        if any(told):
            first = told.index(False)
            raise ValueError(
                f"column {name!r} has the text {cells[first]!r} in line {lines[first]} and numbers "
                "elsewhere"
            )
    found = sorted(set(cells))
    if order is None and len(found) > 2 and not unordered:
        raise ValueError(
            f"column {name!r} has {len(found)} categories, and no learner here takes categories "
            f"without an order; give one by --levels {name}=A,B,..., or drop the column"
        )
    levels = tuple(order or found)
    for cell, line in zip(cells, lines, strict=True):
        if cell not in levels:
            raise ValueError(
                f"column {name!r} has {cell!r} in line {line}, which is not among its levels "
                f"{', '.join(levels)}"
            )
    place = {level: float(k) for k, level in enumerate(levels)}
    return np.array([place[cell] for cell in cells]), levels


def _parse_targets(
    marked: Sequence[str], names: Sequence[str], lines: Sequence[int]
) -> NDArray[np.bool_]:
    place = {name: i for i, name in enumerate(names)}
    do_target = np.zeros((len(marked), len(names)), dtype=bool)
    for row, (cell, line) in enumerate(zip(marked, lines, strict=True)):
        for name in cell.split(SEVERAL) if cell else ():
            if name.strip() not in place:
                raise ValueError(f"targets, line {line}: {unknown_name(name.strip(), names)}")
            do_target[row, place[name.strip()]] = True
    return do_target


def check_rows(
    values: NDArray[np.float64],
    names: Sequence[str],
    do_target: NDArray[np.bool_],
    codes: Mapping[str, tuple[str, ...]],
) -> TableFile:
    """Drop what is constant, refuse what nothing can be learned from, note the rest.

    Args:
        values: ``(N, n)``.
        names: one a column.
        do_target: ``(N, n)`` true where a variable was set.
        codes: the levels of columns of categories.

    Raises:
        ValueError: one row, too few columns that change, no more rows than columns, or columns
            that are the same.
    """
    rows = len(values)
    if rows == 1:
        raise ValueError("the table has one row; nothing can be learned from one draw")
    moving = (values != values[0]).any(axis=0)
    still = np.flatnonzero(~moving & do_target.any(axis=0)).tolist()
    if still:
        raise ValueError(f"targets names {names[still[0]]!r}, which never changes")
    constant = tuple(name for name, moves in zip(names, moving, strict=True) if not moves)
    values, do_target = values[:, moving], do_target[:, moving]
    names = [name for name, moves in zip(names, moving, strict=True) if moves]
    n = len(names)
    if n < 2:
        raise ValueError(
            f"the table has {n} column{'s' * (n != 1)} that change{'s' * (n == 1)}; "
            "a graph needs two or more"
        )
    if rows <= n:
        raise ValueError(f"the table has {rows} rows for {n} variables; it needs more rows")
    scaled = values - values.mean(axis=0)
    largest = np.abs(scaled).max(axis=0)
    scaled /= largest * np.sqrt(np.mean((scaled / largest) ** 2, axis=0))
    correlation = scaled.T @ scaled / rows
    same = np.argwhere(np.triu(np.abs(correlation) >= SAME, k=1))
    if len(same):
        i, j = same[0]
        how = "equal" if np.array_equal(values[:, i], values[:, j]) else "the same in other units"
        raise ValueError(f"columns {names[i]!r} and {names[j]!r} are {how}; drop one of them")
    notes = [f"Dropped, for they never change: {', '.join(constant)}."] if constant else []
    rank = int(np.linalg.matrix_rank(correlation, hermitian=True, tol=1e-9 * n))
    if rank < n:
        notes.append(
            f"The columns are linearly dependent (rank {rank} of {n}): some are sums of others, "
            "and the edges among those are not determined by the data."
        )
    for name, order in codes.items():
        if name in names:
            coded = ", ".join(f"{level} = {k}" for k, level in enumerate(order))
            notes.append(f"Categories of {name} were read as numbers: {coded}.")
    few = [name for j, name in enumerate(names) if len(np.unique(values[:, j])) <= 10]
    if few:
        notes.append(
            f"Ten values or fewer: {', '.join(few)}. The methods take them for points on a line."
        )
    never_free = [name for j, name in enumerate(names) if do_target[:, j].all()]
    if never_free:
        notes.append(f"Set in every row, so that no causes can be seen: {', '.join(never_free)}.")
    counts = do_target.sum(axis=0)
    return TableFile(
        data=Transitions.from_table(values, do_target=do_target, names=names),
        rows=rows,
        constant=constant,
        codes=dict(codes),
        set_rows={name: int(counts[j]) for j, name in enumerate(names) if counts[j]},
        notes=tuple(notes),
    )


def _offer(name: str, names: Sequence[str]) -> str:
    return unknown_name(name, names).partition("; ")[2]
