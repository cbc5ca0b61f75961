"""Everything that is wrong with a data set of judgements, before anybody trains on it."""

from pathlib import Path
from typing import Any

from dreamsim_metric.files.table import Row
from dreamsim_metric.judgements.readers import find_kinds, read_pairs, read_triplets
from dreamsim_metric.judgements.tables import Table, Triplets, check


def validate(folder: Path, *, shared_pictures: bool = False) -> list[Row]:
    """Read the tables, decode all pictures, look for leaks between the splits, and count what there is.

    Args:
        folder: data set in a layout that `judgements.readers` knows, such as NIGHTS or a table of one's own.
        shared_pictures: whether pictures may be in several splits, for data that is split by triplet.

    Returns:
        A row a table: which `table` (`triplets` or `pairs`), its `rows`, `pictures`, `votes`, and rows by `splits`.

    Raises:
        FileNotFoundError: no such folder.
        ValueError: no table that is known.
        DataError: all that is wrong.
    """
    if not folder.exists():
        raise FileNotFoundError(f"no such folder: {folder}")
    found = find_kinds(folder)
    if not found:
        raise ValueError(f"{folder} has no table that is known; expected data.csv or jnd.csv")
    tables: list[Table[Any]] = []
    if "triplets" in found:
        tables.append(read_triplets(folder, min_votes=0))
    if "pairs" in found:
        tables.append(read_pairs(folder))

    from dreamsim_metric.images.ahead import find_unreadable  # and torch: what tables tell is said without

    unreadable = find_unreadable(path for table in tables for path in table.pictures)
    check(tables, unreadable, shared_pictures=shared_pictures)
    return [
        {
            "table": "triplets" if isinstance(table, Triplets) else "pairs",
            "rows": len(table),
            "pictures": len(table.pictures),
            "votes": float(table.votes.sum()),
            "splits": {name: int(mask.sum()) for name, mask in table.split_masks().items() if name in table.splits},
        }
        for table in tables
    ]


def write_line(row: Row) -> str:
    """Write a row of `validate` for people."""
    parts = ", ".join(f"{name} {count}" for name, count in row["splits"].items())
    return f"{row['rows']} {row['table']}, {row['pictures']} pictures, {row['votes']:.0f} votes: {parts}"
