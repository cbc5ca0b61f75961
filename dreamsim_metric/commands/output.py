"""What commands print: rows, which a command says how to show to people, and which are JSON or CSV for programs."""

import json
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from dreamsim_metric.files.table import Row, format_csv
from dreamsim_metric.messages import make_printable

Form = Literal["text", "json", "csv"]


def format_table(rows: Sequence[Row]) -> Iterator[str]:
    """Write rows below the names of their columns, numbers to the right."""
    if not rows:
        return
    shown = ({name: "" if value is None else _show(value) for name, value in row.items()} for row in rows)
    cells = [{name: name for name in rows[0]}, *shown]
    widths = {name: max(len(row[name]) for row in cells) for name in rows[0]}
    right = {name for name, value in rows[0].items() if isinstance(value, int | float) and not isinstance(value, bool)}
    for row in cells:
        line = (f"{value:{'>' if name in right else '<'}{widths[name]}}" for name, value in row.items())
        yield "  ".join(line).rstrip()


def format_record(rows: Sequence[Row]) -> Iterator[str]:
    """Write a line a value, the name before it."""
    for row in rows:
        width = max(map(len, row))
        for name, value in row.items():
            for i, item in enumerate(_list_items(value)):
                yield f"{name if i == 0 else '':{width}}  {item}"


def format_matrix(rows: Sequence[Row]) -> Iterator[str]:
    """Write a square table whose columns have the rows' numbers: the paths would be too wide."""
    names = ["picture", *map(str, range(1, len(rows) + 1))]
    yield from format_table(
        [{"": i, **dict(zip(names, row.values(), strict=True))} for i, row in enumerate(rows, start=1)]
    )


@dataclass(frozen=True)
class Output:
    """What a command found.

    Attributes:
        rows: all of it, for programs.
        lines: how it is shown to people.
        single: whether it is one thing: JSON is then the row itself, not a list of it.
        failure: what went wrong in spite of the rows, if anything did: the error that the command ends with.
        columns: names that the rows would have, for CSV where there are none.
    """

    rows: Sequence[Row]
    lines: Callable[[Sequence[Row]], Iterable[str]] = format_table
    single: bool = False
    failure: str = ""
    columns: Sequence[str] = ()


def show(output: Output | None, form: Form) -> None:
    """Print what a command found, if it has anything to say.

    Raises:
        RuntimeError: something failed in spite of it.
    """
    if output is None:
        return
    if form == "text":
        for line in output.lines(output.rows):
            print("\n".join(map(make_printable, line.split("\n"))))
    elif form == "json":
        rows = [_to_plain(row) for row in output.rows]
        print(json.dumps(rows[0] if output.single else rows, indent=2, allow_nan=False))
    else:
        rows = [_to_plain(row) for row in output.rows]
        cells = [{name: _format_cell(value) for name, value in row.items()} for row in rows]
        print(format_csv(cells, () if cells else output.columns), end="")
    if output.failure:
        raise RuntimeError(output.failure)


def list_rows(frame: Any) -> list[Row]:
    """Take the rows of a pandas table, to the last digit, None where it has no value."""
    rows: list[Row] = frame.astype(object).where(frame.notna(), None).to_dict(orient="records")
    return rows


def _to_plain(value: Any) -> Any:
    """Without numbers that JSON does not know."""
    if isinstance(value, dict):
        return {str(name): _to_plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_to_plain(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _format_cell(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, dict | list | bool) else value


def _show(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return "none"
    if isinstance(value, dict):  # agreement by data set: the last is the test
        return next((f"{percent:.1f} % {on}" for on, percent in reversed(value.items())), "")
    if isinstance(value, float):  # what is next to nothing is not shown as nothing
        return f"{value:.0e}" if 0 < abs(value) < 5e-5 else f"{value:.4f}"
    return str(value)


def _list_items(value: Any) -> list[str]:
    """What stands below one another for a value."""
    if isinstance(value, dict):
        return [f"{key}: {held}" for key, held in value.items()]
    if isinstance(value, tuple):
        return [
            ", ".join(f"{key} {held}" for key, held in item.items() if held) if isinstance(item, dict) else str(item)
            for item in value
        ]
    return [_show(value)]
