"""Everything that is wrong with a data set of judgements, before anybody trains on it."""

from pathlib import Path
from typing import Any

from dreamsim_metric.images.ahead import find_unreadable
from dreamsim_metric.judgements.readers import kinds, read_pairs, read_triplets
from dreamsim_metric.judgements.tables import Table, Triplets, check


def validate(folder: Path, *, shared_pictures: bool = False) -> list[str]:
    """Read the tables, decode all pictures, look for leaks between the splits.

    Args:
        folder: data set in a layout that `judgements.readers` knows, such as NIGHTS or a table of one's own.
        shared_pictures: whether pictures may be in several splits, for data that is split by triplet.

    Returns:
        What is in it, a line a table.

    Raises:
        FileNotFoundError: no such folder.
        ValueError: no table that is known.
        DataError: all that is wrong.
    """
    if not folder.exists():
        raise FileNotFoundError(f"no such folder: {folder}")
    found = kinds(folder)
    if not found:
        raise ValueError(f"{folder} has no table that is known; expected data.csv or jnd.csv")
    tables: list[Table[Any]] = []
    if "triplets" in found:
        tables.append(read_triplets(folder, min_votes=0))
    if "pairs" in found:
        tables.append(read_pairs(folder))
    unreadable = find_unreadable(path for table in tables for path in table.pictures)
    check(tables, unreadable, shared_pictures=shared_pictures)
    return [_line(table) for table in tables]


def _line(table: Table[Any]) -> str:
    kind = "triplets" if isinstance(table, Triplets) else "pairs"
    parts = ", ".join(f"{name} {mask.sum()}" for name, mask in table.split_masks().items() if name in table.splits)
    return f"{len(table)} {kind}, {len(table.pictures)} pictures, {table.votes.sum():.0f} votes: {parts}"
