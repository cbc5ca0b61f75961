"""Tables, written whole, and read row by row: a bad row is named, and the others are read."""

import csv
import io
import json
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO, TypeVar

from dreamsim_metric.files.columns import ENDINGS, Columns, read_columns
from dreamsim_metric.files.store import is_url
from dreamsim_metric.files.write import create_file, write_file
from dreamsim_metric.messages import list_briefly

_TRUTHS = {"true": True, "1": True, "false": False, "0": False}

Row = dict[str, Any]
"""A row of a table that is made: values by column."""

Made = TypeVar("Made")


class RowError(ValueError):
    """What is wrong with one row."""


class Sheet:
    """A table in any format of `read_columns`, row by row. Blank rows are passed over, and spaces before a cell.

    Rows are counted as a spreadsheet counts them: the first after the header is row 2.

    Attributes:
        columns: the names in the header.
        records: the rows with as many cells as the header.
    """

    def __init__(self, path: Path) -> None:
        """Read the file.

        Raises:
            FileNotFoundError: no such file.
            ValueError: it is not what its name says, empty, or with several columns of one name.
        """
        self.path = path
        self._table = read_columns(path)
        self.columns = self._table.names
        self._table.check_once([name for name in self.columns if name])
        self.records: list[Record] = []
        self._ragged: list[str] = []
        cells = zip(*(column.texts() for column in self._table.columns), strict=True)
        for index, (number, row) in enumerate(zip(self._table.numbers, cells, strict=True)):
            if not any(map(str.strip, row)):
                continue
            record = Record(dict(zip(self.columns, map(str.lstrip, row), strict=True)), number, path)
            if index in self._table.ragged:
                self._ragged.append(f"{record.where}: {self._table.ragged[index]}")
            else:
                self.records.append(record)

    def require(self, columns: Sequence[str], hint: str = "") -> None:
        """Be sure that these columns are there; see `Columns.require`."""
        self._table.require(columns, hint)

    def rows(self, row: Callable[["Record"], Made]) -> Iterator[Made | str]:
        """Yield what `row` makes of each record, or, where it raises `RowError`, a line that says where and why."""
        yield from self._ragged
        for record in self.records:
            try:
                yield row(record)
            except RowError as error:
                yield f"{record.where}: {error}"


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
        return resolve(self.text(column), self.file)

    def number(self, column: str, default: str | None = None, *, whole: bool = False) -> float:
        """Return the cell as a finite number, 0 or more."""
        text = self.text(column, default)
        value = parse_number(text)
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
        writer = csv.DictWriter(_LineFeeds(text), columns, lineterminator=_QUOTED)
        writer.writeheader()
        writer.writerows(rows)
    return text.getvalue()


_QUOTED = "\r\n"  # a cell with either is quoted, as all readers need


class _LineFeeds:
    """Ends the rows of a CSV writer with a line feed alone; what is inside cells stays."""

    def __init__(self, to: TextIO) -> None:
        self._to = to

    def write(self, row: str) -> None:
        self._to.write(row.removesuffix(_QUOTED) + "\n")


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]], columns: Sequence[str] = ()) -> None:
    """Write or replace a CSV file in UTF-8; see `format_csv`.

    Raises:
        ValueError: a row has other columns.
        OSError: the disk is full or not writable; what was there before is intact.
    """
    write_file(path, format_csv(rows, columns).encode())


def check_ending(path: Path | None) -> None:
    """Be sure that a table of this name, if one is wanted, can be written, before what it holds is computed.

    Raises:
        ValueError: the ending is not of a format of `write_columns`.
        FileNotFoundError: no such folder.
    """
    if path is None:
        return
    if path.suffix.lower() not in ENDINGS:
        raise ValueError(f"got {path}; expected a name that ends in {', '.join(ENDINGS[:-1])} or {ENDINGS[-1]}")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"no such folder: {path.parent}; make it, or name another file than {path}")


def check_columns(path: Path | None, table: Columns) -> None:
    """Be sure that a format can hold a table, before more is computed for it.

    Args:
        path: the file that will be written; None for rows to print.
        table: the columns, of which as many rows are tried as tell.

    Raises:
        ValueError: it cannot, and the message says which can.
    """
    if path is None or path.suffix.lower() == ".jsonl":
        table.head(0).rows()
        return
    for column in table.columns:
        odd = "" if column.field else next((text for text in column.texts() if not _is_unicode(text)), "")
        if odd:
            raise ValueError(
                f"column {column.name} holds {odd!r}, which is not UTF-8; rename the file, or write .jsonl"
            )
    if path.suffix.lower() == ".parquet":
        table.arrow()
    else:
        for column in table.head(0).columns:
            column.texts()


def _is_unicode(text: str) -> bool:
    """Whether it can be written: names of files are any bytes on Linux."""
    return text.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in text)


def write_columns(path: Path, table: Columns) -> None:
    """Write or replace a table in the format that its name's ending says; text is UTF-8, commas are between the cells.

    Args:
        path: the file to write: `.csv`, `.tsv` (tabs are between the cells), `.parquet` or `.jsonl` (an object a line).
        table: what it will hold. Texts stay texts in formats with types; Arrow columns keep their types in Parquet.

    Raises:
        ValueError: the format has no such values, or, in JSON lines, several columns of one name.
        OSError: the disk is full or not writable; what was there before is intact.
    """
    ending = path.suffix.lower()
    with create_file(path) as file:
        if ending == ".parquet":
            import pyarrow.parquet as pq

            pq.write_table(table.arrow(), file)
            return
        text = io.TextIOWrapper(file, encoding="utf-8", newline="")
        if ending == ".jsonl":
            text.writelines(json.dumps(row, default=str) + "\n" for row in table.rows())
        else:
            cells = [column.texts() for column in table.columns]
            writer = csv.writer(_LineFeeds(text), delimiter="\t" if ending == ".tsv" else ",", lineterminator=_QUOTED)
            writer.writerow([column.name for column in table.columns])
            writer.writerows(zip(*cells, strict=True))
        text.detach()


def resolve(name: str, table: Path) -> str:
    """Make the path that a cell of a table means, relative to the table's folder; a URL is as it is."""
    return name if is_url(name) else os.path.join(str(table.parent), name)


def check_names(files: Iterable[str]) -> None:
    """Be sure, before any work, that a table can hold the names of files.

    Raises:
        ValueError: some are not UTF-8, as those of an old archive may be.
    """
    broken = [repr(name) for name in files if not _is_unicode(name)]
    if broken:
        raise ValueError(
            f"names that are not UTF-8, which tables cannot hold: {list_briefly(broken)}; rename the files"
        )


def parse_number(text: str) -> float:
    """Return the finite number that the text is, or NaN."""
    try:
        value = float(text)
    except ValueError:
        return math.nan
    return value if math.isfinite(value) else math.nan
