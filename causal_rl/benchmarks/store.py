"""The folder of a benchmark: finished cells, written so that a killed run loses none of them."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from causal_rl.benchmarks.cells import BOOK_COLUMNS, Cell, Outcome, Row, Value
from causal_rl.files import atomic_write_text

RAW_FILE = "raw.csv"
CURVES_FILE = "curves.csv"
ASIDE_FILE = "set_aside.csv"
FAILURES_FILE = "failures.json"


class ResultStore:
    """Finished cells on disk.

    ``raw.csv`` holds a row per finished cell of the present grid, in the order of the grid. Rows of
    other grids (fewer seeds, or a default that has changed since) go to ``set_aside.csv`` and come
    back when a grid asks for them again. ``curves.csv`` holds the curves of both.

    Args:
        folder: the benchmark's folder; made when the first cell is added.
        cells: the present grid.

    Raises:
        ValueError: a file there is no table of ours.
    """

    def __init__(self, folder: Path, cells: Sequence[Cell]) -> None:
        self.folder = folder
        self.cells = list(cells)
        aside = {str(row["cell"]): row for row in read_table(folder / ASIDE_FILE)}
        self._aside = set(aside)
        self._rows = aside | {str(row["cell"]): row for row in read_table(folder / RAW_FILE)}
        # A run killed between its two files may leave a curve whose cell is not finished.
        self._curves = [
            row for row in read_table(folder / CURVES_FILE) if str(row["cell"]) in self._rows
        ]

    def finished(self, cell: Cell) -> bool:
        """Whether ``cell``, with these very settings, is on disk."""
        return cell.id in self._rows

    def add(self, cell: Cell, outcome: Outcome, book: Mapping[str, Value]) -> None:
        """Write a finished cell; the files change as a whole or not at all.

        Args:
            cell: the cell.
            outcome: its figures and curve.
            book: the machinery's own columns, see `BOOK_COLUMNS`.
        """
        if outcome.curve:
            self._curves += [{"cell": cell.id, **cell.parameters, **row} for row in outcome.curve]
        self._rows[cell.id] = {"cell": cell.id, **cell.parameters, **outcome.figures, **book}
        self.write()

    def write(self) -> None:
        """Bring all three tables into line with what is finished."""
        self.folder.mkdir(parents=True, exist_ok=True)
        grid = {cell.id for cell in self.cells}
        aside = {key: row for key, row in self._rows.items() if key not in grid}
        if self._curves:
            # In the order of the grid, whatever the order in which the cells ended.
            order = {key: i for i, key in enumerate([*(c.id for c in self.cells), *aside])}
            self._curves.sort(key=lambda row: order[str(row["cell"])])
            atomic_write_text(self.folder / CURVES_FILE, to_csv(self._curves))
        moved = aside.keys() != self._aside
        if moved:  # a row that changes files is in both for a moment, never in none
            both = {key: self._rows[key] for key in {*self._aside, *aside}}
            self._write_aside(both)
        atomic_write_text(self.folder / RAW_FILE, to_csv(self._grid_rows()))
        if moved:
            self._write_aside(aside)
            self._aside = set(aside)

    def _write_aside(self, rows: Mapping[str, Row]) -> None:
        path = self.folder / ASIDE_FILE
        if rows:
            atomic_write_text(path, to_csv(rows.values()))
        else:
            path.unlink(missing_ok=True)

    def rows(self) -> list[Row]:
        """Rows of the present grid, values as they would be read back from ``raw.csv``."""
        return [from_text(row) for row in csv.DictReader(io.StringIO(to_csv(self._grid_rows())))]

    def curves(self) -> list[Row]:
        """Curve rows of the present grid."""
        grid = {cell.id for cell in self.cells}
        mine = [row for row in self._curves if row["cell"] in grid]
        return [from_text(row) for row in csv.DictReader(io.StringIO(to_csv(mine)))]

    def write_failures(self, failures: Sequence[Mapping[str, object]]) -> None:
        """Keep the errors of cells that failed; no file where none did."""
        path = self.folder / FAILURES_FILE
        if failures:
            self.folder.mkdir(parents=True, exist_ok=True)
            atomic_write_text(path, json.dumps(list(failures), indent=2) + "\n")
        else:
            path.unlink(missing_ok=True)

    def _grid_rows(self) -> list[Row]:
        return [self._rows[cell.id] for cell in self.cells if cell.id in self._rows]


def read_table(path: Path) -> list[Row]:
    """Rows of a CSV table with a ``cell`` column; none where there is no file.

    Raises:
        ValueError: a table without that column.
    """
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        rows = [from_text(row) for row in reader]
    if rows and "cell" not in rows[0]:
        raise ValueError(f"{path.name} has no column 'cell': it is no table of a benchmark")
    return rows


def to_csv(rows: Iterable[Row], first: Sequence[str] = ("cell",)) -> str:
    """CSV text.

    Args:
        rows: what to write; a column that a row lacks is empty there.
        first: columns that stand first, rows or no rows. The others follow as they come, the
            machinery's own last.
    """
    listed = list(rows)
    present = dict.fromkeys(key for row in listed for key in row)
    columns = [key for key in present if key not in first and key not in BOOK_COLUMNS]
    last = [key for key in BOOK_COLUMNS if key in present and key not in first]
    text = io.StringIO()
    writer = csv.DictWriter(text, [*first, *columns, *last], lineterminator="\n", restval="")
    writer.writeheader()
    writer.writerows(listed)
    return text.getvalue()


def from_text(row: Mapping[str, str | None]) -> Row:
    """A row of text as values: empty is None, then integer, number, truth value, text.

    The columns ``cell`` and ``commit`` stay text: hexadecimal digits can look like a number.
    """
    return {
        key: (text or "") if key in ("cell", "commit") else _value(text)
        for key, text in row.items()
        if key is not None
    }


def _value(text: str | None) -> Value:
    if text is None or text == "":
        return None
    if text in ("True", "False"):
        return text == "True"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
