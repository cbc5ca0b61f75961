"""What a run's methods took, and what failed."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.personalization.columns import COST_COLUMNS, FAILURE_COLUMNS
from benchmarks.personalization.layout import COSTS, FAILURES
from data_tools.manifest import read_rows


@dataclass(frozen=True)
class Cost:
    """Costs of a method.

    Attributes:
        method: name of the method.
        fits: number of fits that were counted.
        fit: mean seconds of a fit; NaN where none was counted.
        picture: mean seconds to paint a picture.
        peak: highest memory of fits and sampling, in GiB.
    """

    method: str
    fits: int
    fit: float
    picture: float
    peak: float


@dataclass(frozen=True)
class Failure:
    """A failure, and whether a later run made it good."""

    method: str
    subject: str
    stage: str
    error: str
    done: bool


def read_costs(home: Path | None, methods: Sequence[str]) -> list[Cost]:
    """Read the costs of the methods that have any.

    Args:
        home: folder of the run; None: there is none.
        methods: names in the order of the page.

    Raises:
        ValueError: the file is damaged.
    """
    rows = pd.DataFrame(_lines(home, COSTS, COST_COLUMNS), columns=list(COST_COLUMNS))
    found = []
    for name in methods:
        mine = rows[rows["method"] == name]
        if len(mine):
            fits, sampled = (mine[mine["stage"] == stage] for stage in ("fit", "sample"))
            painted = sampled["count"].sum()
            each = sampled["seconds"].sum() / painted if painted else np.nan
            peak = mine["peak_bytes"].max() / 2**30
            found.append(Cost(name, len(fits), float(fits["seconds"].mean()), float(each), float(peak)))
    return found


def read_failures(home: Path | None) -> list[Failure]:
    """Read all failures that were written down.

    Raises:
        ValueError: a file is damaged.
    """
    painted = {
        (row["method"], row["subject"]) for row in _lines(home, COSTS, COST_COLUMNS) if row["stage"] == "sample"
    }  # written when all was painted
    return [
        Failure(row["method"], row["subject"], row["stage"], row["error"], (row["method"], row["subject"]) in painted)
        for row in _lines(home, FAILURES, FAILURE_COLUMNS)
    ]


def _lines(home: Path | None, name: str, columns: Sequence[str]) -> list[dict[str, Any]]:
    if home is None:
        return []
    try:
        rows = read_rows(home, name)
    except json.JSONDecodeError as error:
        raise ValueError(f"{home / name} is damaged ({error}); remove the line, or the file") from error
    missing = sorted({column for column in columns for row in rows if column not in row})
    if missing:
        raise ValueError(f"{home / name} has lines without {', '.join(missing)}; remove them, or the file")
    return rows
