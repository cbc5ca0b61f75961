"""Which pictures are compared: a table of pairs, or two folders whose files have the same names."""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePath

from dreamsim_metric.files.pictures import find_pictures
from dreamsim_metric.files.store import relative
from dreamsim_metric.files.table import Record, Row, Sheet
from dreamsim_metric.messages import list_briefly

COLUMNS = (("a", "b"), ("reference", "picture"))
_ADDED = "distance"


def read_comparisons(table: Path) -> list[Row]:
    """Read the rows of a CSV file of pairs; paths are relative to its folder.

    Args:
        table: a CSV file with columns `a` and `b`, or `reference` and `picture`, and any others.

    Returns:
        Its rows as they are, with `a` and `b`, which lead to the files, before all that are not these.

    Raises:
        FileNotFoundError: no such table.
        ValueError: no such columns, cells that are empty, rows that are too short or long, no rows.
    """
    sheet = Sheet(table)
    first, second = next((names for names in COLUMNS if set(names) <= set(sheet.columns)), COLUMNS[0])
    sheet.require([first, second], " (nor reference, picture)")
    if _ADDED in sheet.columns:
        raise ValueError(f"{table} has a column {_ADDED} already; rename it")

    def row(record: Record) -> Row:
        others = {name: cell for name, cell in record.cells.items() if name not in (first, second)}
        return {"a": record.path(first), "b": record.path(second), **others}

    rows = list(sheet.rows(row))
    problems = [found for found in rows if isinstance(found, str)]
    if problems:
        raise ValueError(f"{table}: {list_briefly(problems, between='; ')}")
    if not rows:
        raise ValueError(f"{table} has no rows; expected pairs of pictures")
    return [found for found in rows if not isinstance(found, str)]


def pair_folders(a: str, b: str, recursive: bool = False) -> tuple[list[Row], list[str]]:
    """Pair the pictures of two folders by their names, without their endings where that leaves no doubt.

    Args:
        a, b: folders, on this machine or URLs.
        recursive: whether folders in folders count too.

    Returns:
        Rows with `a` and `b`, and the files that are in one folder only.

    Raises:
        ValueError: a folder without pictures, or nothing that pairs up.
    """
    sides = [{relative(file, folder): file for file in find_pictures([folder], recursive)} for folder in (a, b)]
    pairs = {name: name for name in sides[0] if name in sides[1]}
    stems = [_by_stem(name for name in side if name not in pairs) for side in sides]
    pairs |= {name: stems[1][stem] for stem, name in stems[0].items() if stem in stems[1]}
    if not pairs:
        raise ValueError(
            f"no picture in {a} has the name of one in {b}; expected pairs such as {a}/1.png and {b}/1.png"
        )
    alone = [file for name, file in sides[0].items() if name not in pairs]
    taken = set(pairs.values())
    alone += [file for name, file in sides[1].items() if name not in taken]
    return [{"a": sides[0][name], "b": sides[1][pairs[name]]} for name in sides[0] if name in pairs], alone


def _by_stem(names: Iterable[PurePath]) -> dict[PurePath, PurePath]:
    names = list(names)
    count = Counter(name.with_suffix("") for name in names)
    return {name.with_suffix(""): name for name in names if count[name.with_suffix("")] == 1}


def flat(rows: Sequence[Row]) -> list[str]:
    """List the files that rows of pairs need."""
    return [row[side] for row in rows for side in ("a", "b")]
