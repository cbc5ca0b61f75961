"""Everything that is wrong with a data set of judgements, before anybody trains on it."""

from pathlib import Path
from typing import Any

import PIL.Image

from dreamsim_metric.judgements.readers import kinds, read_pairs, read_triplets
from dreamsim_metric.judgements.tables import Table, Triplets, check


def validate(folder: Path) -> list[str]:
    """Read the tables, decode all pictures, look for leaks between the splits.

    Args:
        folder: in the NIGHTS layout, or with a table of one's own (`data.csv`, `jnd.csv`).

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
    check(tables, {path: why for table in tables for path in table.pictures if (why := _unreadable(path))})
    return [_line(table) for table in tables]


def _unreadable(path: Path) -> str | None:
    try:
        with PIL.Image.open(path) as picture:
            picture.load()
    except FileNotFoundError:
        return None  # which `check` says itself
    except (OSError, ValueError, SyntaxError, PIL.Image.DecompressionBombError) as error:
        return str(error)
    return None


def _line(table: Table[Any]) -> str:
    kind = "triplets" if isinstance(table, Triplets) else "pairs"
    parts = ", ".join(f"{name} {mask.sum()}" for name, mask in table.split_masks().items() if name in table.splits)
    return f"{len(table)} {kind}, {len(table.pictures)} pictures, {table.votes.sum():.0f} votes: {parts}"
