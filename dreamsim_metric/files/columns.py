"""Tables by column, as programs of all kinds write them: CSV, TSV, Parquet, JSON lines. Cells stay what they are."""

import codecs
import csv
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dreamsim_metric.messages import say_error

if TYPE_CHECKING:
    import pyarrow

ENDINGS = (".csv", ".tsv", ".parquet", ".jsonl")
_LINES = (".jsonl", ".ndjson", ".json")
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        name: its name, as the file has it.
        values: texts or other values, None where there is none, or an Arrow column, which has a type of its own.
        kind: the kind of values that are not Arrow's, for files with types; None to go by the values.
        field: Arrow's description of an Arrow column.
    """

    name: str
    values: Sequence[Any]
    kind: type | None = None
    field: "pyarrow.Field | None" = None

    def texts(self) -> list[str]:
        """Write each value as text, "" where there is none.

        Raises:
            ValueError: the values have no text.
        """
        if self.field is None:
            return [value if isinstance(value, str) else _decode(value) for value in self.values]
        import pyarrow as pa

        values: Any = self.values
        try:
            return values.cast(pa.string()).fill_null("").to_pylist()
        except pa.ArrowException as error:
            raise ValueError(
                f"column {self.name} holds {values.type}, which cannot be text; leave it out, or write .parquet"
            ) from error

    def plain(self) -> list[Any]:
        """List the values as JSON knows them; times and decimal numbers are texts.

        Raises:
            ValueError: the values are bytes.
        """
        if self.field is None:
            return list(self.values)
        import pyarrow as pa

        values: Any = self.values
        if "binary" in str(values.type):
            raise ValueError(f"column {self.name} holds {values.type}, which cannot be text; write .parquet")
        if pa.types.is_floating(values.type):
            return [None if value != value else value for value in values.to_pylist()]
        if pa.types.is_temporal(values.type) or pa.types.is_decimal(values.type):
            values = values.cast(pa.string())
        return values.to_pylist()


@dataclass(frozen=True)
class Columns:
    """A table, column by column, in the file's order.

    Attributes:
        columns: the columns; several may have one name.
        path: the file that holds them, if any.
        numbers: the number of each row, for reports: as a spreadsheet counts them (the first below the header is 2),
            the line of JSON lines, or from 1.
        ragged: what is wrong with rows that have more or fewer cells than there are columns, by their index. Cells
            that lack are empty, those too many are left out.
        notes: what a Parquet file says about all of it, such as pandas' index.
    """

    columns: list[Column]
    path: Path | None = None
    numbers: Sequence[int] = ()
    ragged: dict[int, str] = field(default_factory=dict)
    notes: dict[bytes, bytes] | None = None

    @classmethod
    def of(cls, rows: Sequence[Mapping[str, Any]], kinds: Mapping[str, type]) -> "Columns":
        """Make a table of rows.

        Args:
            rows: values by column.
            kinds: the columns, in order, and the kind of values of each.
        """
        return cls([Column(name, [row[name] for row in rows], kind) for name, kind in kinds.items()])

    @property
    def names(self) -> list[str]:
        """The columns' names, without spaces around them."""
        return [column.name.strip() for column in self.columns]

    def require(self, names: Sequence[str], hint: str = "") -> None:
        """Be sure that these columns are there, each once.

        Args:
            names: names that columns must have.
            hint: text behind the names of missing ones.

        Raises:
            ValueError: some are not; the message names them, gives the hint, and names those that are there.
        """
        found = self.names
        if missing := [name for name in names if name not in found]:
            raise ValueError(f"{self.path} has no column {', '.join(missing)}{hint}; found {', '.join(found)}")
        self.check_once(names)

    def check_once(self, names: Sequence[str]) -> None:
        """Be sure that no column beside another has one of these names.

        Raises:
            ValueError: one has.
        """
        found = self.names
        if any(found.count(name) > 1 for name in names):
            raise ValueError(f"{self.path or 'it'} has several columns of one name; found {', '.join(found)}")

    def find(self, name: str) -> Column:
        """Return the first column of this name."""
        return self.columns[self.names.index(name)]

    def is_blank(self, row: int) -> bool:
        """Look whether all cells of a row are empty."""
        cells = (column.values[row] if column.field is None else column.values[row].as_py() for column in self.columns)
        return all(cell is None or not str(cell).strip() for cell in cells)

    def rows(self) -> list[dict[str, Any]]:
        """List the rows, values by column, as JSON knows them.

        Raises:
            ValueError: several columns have one name, or values are bytes.
        """
        names = [column.name for column in self.columns]
        self.check_once(self.names)
        values = (column.plain() for column in self.columns)
        return [dict(zip(names, row, strict=True)) for row in zip(*values, strict=True)]

    def head(self, rows: int) -> "Columns":
        """Take the first rows."""
        return replace(self, columns=[replace(column, values=column.values[:rows]) for column in self.columns])

    def arrow(self) -> "pyarrow.Table":
        """Make a table of Arrow.

        Raises:
            ValueError: the values of a column are of several kinds.
        """
        import pyarrow as pa

        types: dict[type | None, pa.DataType] = {str: pa.string(), int: pa.int64(), float: pa.float64()}
        fields, arrays = [], []
        for column in self.columns:
            values, described = column.values, column.field
            if described is None:
                try:
                    values = pa.array(values, types.get(column.kind))
                except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
                    raise ValueError(
                        f"column {column.name} holds values of several kinds ({say_error(error)}); write .jsonl or .csv"
                    ) from error
                described = pa.field(column.name, values.type)
            fields.append(described)
            arrays.append(values)
        return pa.Table.from_arrays(arrays, schema=pa.schema(fields, self.notes))


def is_table(path: Path) -> bool:
    """Tell by its name whether a file is a table of one of the formats."""
    return path.suffix.lower() in (*ENDINGS, *_LINES)


def read_columns(path: Path) -> Columns:
    """Read a table of any of the formats, as its name's ending says.

    `.parquet` is Parquet; `.jsonl`, `.ndjson` and `.json` are JSON lines, an object a line; all others are CSV in
    UTF-8, or in UTF-16 with a mark, below a line of names. What that has between two names most often, a comma,
    semicolon or tab, stands between all cells. Blank lines are passed over.

    Args:
        path: the file, a place that `make_path` gives.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is not what its name says, or empty.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no such table: {path}")
    ending = path.suffix.lower()
    if ending == ".parquet":
        return _read_parquet(path)
    try:
        return _read_lines(path) if ending in _LINES else _read_csv(path)
    except UnicodeError as error:
        raise ValueError(
            f"{path} is not UTF-8 text ({error}); save it as CSV in UTF-8, or name it by what it is: "
            f"{', '.join(ENDINGS)}"
        ) from error
    except csv.Error as error:
        raise ValueError(f"{path} is not a CSV table ({error}); is a quote left open?") from error


def _read_csv(path: Path) -> Columns:
    with path.open("rb") as binary:
        encoding = "utf-16" if binary.read(2) in _UTF16 else "utf-8-sig"  # spreadsheets begin with a mark
    header: list[str] = []
    cells: list[list[str]] = []
    numbers: list[int] = []
    ragged: dict[int, str] = {}
    with path.open(encoding=encoding, newline="") as file:
        first = next((line for line in file if line.strip()), "")
    with path.open(encoding=encoding, newline="") as file:
        between = _find_delimiter(first)
        # Spaces are the cells' own, unless the names have them too.
        lines = csv.reader(file, strict=True, delimiter=between, skipinitialspace=f"{between} " in first)
        for number, row in enumerate(lines, start=1):
            if not header or len(row) != len(header):
                if not any(map(str.strip, row)):
                    continue
                if not header:
                    header, cells = row, [[] for _ in row]
                    continue
                ragged[len(numbers)] = f"it has {len(row)} cells; expected {len(header)}"
                row = (row + [""] * len(header))[: len(header)]
            numbers.append(number)
            for column, cell in zip(cells, row, strict=True):
                column.append(cell)
    if not header:
        raise ValueError(f"{path} is empty; expected a header and rows")
    columns = [Column(name, column, str) for name, column in zip(header, cells, strict=True)]
    return Columns(columns, path, numbers, ragged)


def _find_delimiter(header: str) -> str:
    names = re.sub(r'"[^"]*"', "", header)
    return max(",;\t", key=names.count)


def _read_lines(path: Path) -> Columns:
    rows: list[dict[str, Any]] = []
    numbers: list[int] = []
    with path.open(encoding="utf-8-sig") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except ValueError as error:
                raise ValueError(f"{path} line {number} is no JSON ({error}); expected an object a line") from error
            if not isinstance(row, dict):
                raise ValueError(f"{path} line {number} is {line.strip()[:60]}; expected an object a line")
            rows.append(row)
            numbers.append(number)
    if not rows:
        raise ValueError(f"{path} is empty; expected an object a line")
    names = dict.fromkeys(name for row in rows for name in row)
    return Columns([Column(name, [row.get(name) for row in rows]) for name in names], path, numbers)


def _read_parquet(path: Path) -> Columns:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with path.open("rb") as file:
            table = pq.read_table(file)
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{path} is not a Parquet table ({say_error(error)}); write it again") from error
    columns = [
        Column(field.name, values, field=field) for field, values in zip(table.schema, table.columns, strict=True)
    ]
    return Columns(columns, path, range(1, table.num_rows + 1), notes=table.schema.metadata)


def _decode(value: Any) -> str:
    if value is None:
        return ""
    return json.dumps(value) if isinstance(value, dict | list | bool) else str(value)
