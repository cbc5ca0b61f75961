"""CSV files, written whole, and read row by row: a bad row is named, and the others are read."""

import csv
import io
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from dreamsim_metric.files.store import is_url
from dreamsim_metric.files.write import write_file

_TRUTHS = {"true": True, "1": True, "false": False, "0": False}

Row = dict[str, Any]
"""A row of a table that is made: values by column."""

Made = TypeVar("Made")


class RowError(ValueError):
    """What is wrong with one row."""


class Sheet:
    """A CSV file in UTF-8: a header, then a record a row. Blank rows are passed over.

    Rows are counted as a spreadsheet counts them: the first after the header is row 2.

    Attributes:
        columns: the names in the header.
        records: the rows with as many cells as the header.
    """

    def __init__(self, path: Path) -> None:
        """Read the file.

        Raises:
            FileNotFoundError: no such file.
            ValueError: not UTF-8, not CSV, empty, or with several columns of one name.
        """
        if not path.is_file():
            raise FileNotFoundError(f"no such table: {path}")
        self.path = path
        lines = _lines(path)
        if not lines:
            raise ValueError(f"{path} is empty; expected a header and rows")
        self.columns = [name.strip() for name in lines[0][1]]
        if len(set(self.columns)) < len(self.columns):
            raise ValueError(f"{path} has several columns of one name; found {', '.join(self.columns)}")
        self.records: list[Record] = []
        self._ragged: list[str] = []
        for number, cells in lines[1:]:
            record = Record(dict(zip(self.columns, cells, strict=False)), number, path)
            if len(cells) == len(self.columns):
                self.records.append(record)
            else:
                self._ragged.append(f"{record.where}: it has {len(cells)} cells; expected {len(self.columns)}")

    def require(self, columns: Sequence[str], hint: str = "") -> None:
        """Be sure that these columns are there.

        Args:
            columns: names that the header must have.
            hint: text behind the names of missing ones.

        Raises:
            ValueError: some are not; the message names them, gives the hint, and names those that are there.
        """
        missing = [name for name in columns if name not in self.columns]
        if missing:
            raise ValueError(f"{self.path} has no column {', '.join(missing)}{hint}; found {', '.join(self.columns)}")

    def rows(self, row: Callable[["Record"], Made]) -> Iterator[Made | str]:
        """Yield what `row` makes of each record, or, where it raises `RowError`, a line that says where and why."""
        yield from self._ragged
        for record in self.records:
            try:
                yield row(record)
            except RowError as error:
                yield f"{record.where}: {error}"


def _lines(path: Path) -> list[tuple[int, list[str]]]:
    """Number and cells of the lines that are not blank."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:  # spreadsheets begin UTF-8 with a mark
            lines = enumerate(csv.reader(file, strict=True, skipinitialspace=True), 1)
            return [(number, cells) for number, cells in lines if any(map(str.strip, cells))]
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 text ({error}); save it as UTF-8") from error
    except csv.Error as error:
        raise ValueError(f"{path} is not a CSV table ({error}); is a quote left open?") from error


@dataclass(frozen=True)
class Record:
    """One row. What is wrong with a cell is a `RowError`.

    Attributes:
        cells: texts by column.
        row: the row's number, counted as by a spreadsheet.
        file: the file that holds it.
    """

    cells: dict[str, str]
    row: int
    file: Path

    @property
    def id(self) -> str:
        """Name that the table gives, or else the row's number."""
        return self.text("id", str(self.row))

    @property
    def where(self) -> str:
        """Place for reports: "data.csv row 17 (id 12)"."""
        return f"{self.file.name} row {self.row}" + (f" (id {self.cells['id']})" if "id" in self.cells else "")

    def text(self, column: str, default: str | None = None) -> str:
        """Return the cell, not blank, or the default where the table has no such column."""
        text = self.cells[column] if default is None else self.cells.get(column, default)
        if not text.strip():
            raise RowError(f"{column} is empty")
        return text

    def path(self, column: str) -> str:
        """Return the cell as a path, relative to the table's folder, or a URL."""
        text = self.text(column)
        return text if is_url(text) else os.path.join(str(self.file.parent), text)

    def number(self, column: str, default: str | None = None, *, whole: bool = False) -> float:
        """Return the cell as a finite number, 0 or more."""
        text = self.text(column, default)
        value = as_number(text)
        if not value >= 0 or (whole and value % 1):
            raise RowError(f"{column} is {text!r}; expected {'a whole' if whole else 'a'} number, 0 or more")
        return value

    def truth(self, column: str) -> bool | None:
        """Return the cell as true or false; None where the table has no such column."""
        if column not in self.cells:
            return None
        text = self.cells[column].strip().lower()
        if text not in _TRUTHS:
            raise RowError(f"{column} is {self.cells[column]!r}; expected True or False")
        return _TRUTHS[text]


def format_csv(rows: Sequence[Mapping[str, Any]], columns: Sequence[str] = ()) -> str:
    r"""Write rows as CSV: a header, then a line a row, each ended by a line feed.

    Args:
        rows: cells by column; those that are None or missing stay empty.
        columns: their order; by default that of the first row. Without rows and columns the text is empty.

    Raises:
        ValueError: a row has other columns.

    Example:
        >>> format_csv([{"id": "cat, grey", "votes": 5}])
        'id,votes\n"cat, grey",5\n'
    """
    columns = list(columns or (rows[0] if rows else ()))
    text = io.StringIO()
    if columns:
        writer = csv.DictWriter(text, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return text.getvalue()


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]], columns: Sequence[str] = ()) -> None:
    """Write or replace a CSV file in UTF-8; see `format_csv`.

    Raises:
        ValueError: a row has other columns.
        OSError: the disk is full or not writable; what was there before is intact.
    """
    write_file(path, format_csv(rows, columns).encode())


def as_number(text: str) -> float:
    """Return the finite number that the text is, or NaN."""
    try:
        value = float(text)
    except ValueError:
        return math.nan
    return value if math.isfinite(value) else math.nan
