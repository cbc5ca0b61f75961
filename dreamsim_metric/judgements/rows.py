"""From the rows that a reader finds to a table of judgements."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from dreamsim_metric.judgements.tables import DataError, Table

_MOST_VOTES = 1_000_000_000  # of people; more would outweigh all other rows
Kind = TypeVar("Kind", bound=Table[Any])


@dataclass(frozen=True)
class Judgement:
    """What people said of some pictures.

    Attributes:
        where: the place it stands at, for reports: "data.csv row 17 (id 12)".
        paths: the pictures, as many as the table has a row.
        target: what people said, in the table's own unit.
        id: a name for the row; by default `where`.
        votes: how many people judged.
        split: name of the split that the row is in.
        subset: name of a part that is reported on its own, where the data has any.
        prompt: text that the pictures were generated from, where the data says.
        spread: standard deviation of what people said, where that is known.
    """

    where: str
    paths: tuple[str, ...]
    target: Any
    id: str = ""
    votes: float = 1
    split: str = "test"
    subset: str = ""
    prompt: str = ""
    spread: float | None = None


def assemble(kind: type[Kind], root: Path, rows: Iterable[Judgement | str], min_votes: float = 0) -> Kind:
    """Make a table of the rows that can be used. The others are its problems: texts that say what is wrong with a row.

    Args:
        kind: the class of the table.
        root: the data set's folder or file, for its name.
        rows: the rows found in it, or texts that say what is wrong with one.
        min_votes: the fewest votes of a row that is kept; those with fewer are no problem.

    Raises:
        DataError: no row can be used, and this is what is wrong with each.
        ValueError: there are no rows, or none has enough votes.
    """
    kept: list[Judgement] = []
    problems, too_few = [], 0
    for row in rows:
        if isinstance(row, str):
            problems.append(row)
        elif row.votes < min_votes:
            too_few += 1
        elif row.votes == 0:
            problems.append(f"{row.where}: it has no votes; expected at least 1")
        elif row.votes > _MOST_VOTES:
            problems.append(f"{row.where}: votes is {row.votes:g}; expected {_MOST_VOTES:,} at most")
        elif kind._TARGET_IS_SHARE and not 0 <= row.target <= 1:
            problems.append(f"{row.where}: the share of votes is {row.target:g}; expected one in [0, 1]")
        else:
            kept.append(row)
    if not kept and problems:
        raise DataError(problems)
    if not kept:
        why = f"all {too_few} have fewer than {min_votes:g} votes" if too_few else "it is empty"
        raise ValueError(f"{root} has no rows to use: {why}")
    place = Path(os.path.abspath(root))
    positions: dict[str, int] = {}
    # Two spellings of one path are one picture.
    index = [[positions.setdefault(os.path.normpath(path), len(positions)) for path in row.paths] for row in kept]
    columns: dict[str, Any] = {
        "name": place.parent.name if place.is_file() else place.name,
        "ids": tuple(row.id or row.where for row in kept),
        "pictures": tuple(map(Path, positions)),
        "index": np.array(index, dtype=np.int64),
        kind._TARGET: np.array([row.target for row in kept]),
        "votes": np.array([row.votes for row in kept], dtype=np.float64),
        "splits": tuple(row.split for row in kept),
        "rows": tuple(row.where for row in kept),
        "problems": tuple(problems),
    }
    optional = {
        "subsets": tuple(row.subset for row in kept),
        "prompts": tuple(row.prompt for row in kept),
        "spread": np.array([np.nan if row.spread is None else row.spread for row in kept], dtype=np.float64),
    }
    for name in kind._OPTIONAL:
        values = optional[name]
        if not np.isnan(values).any() if isinstance(values, np.ndarray) else all(values):
            columns[name] = values
    return kind(**columns)
