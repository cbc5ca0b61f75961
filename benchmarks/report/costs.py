"""What a run's methods took, and what failed."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

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
    costs = read_rows(home, COSTS, COST_COLUMNS) if home else []
    rows = pd.DataFrame(costs, columns=list(COST_COLUMNS))
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
    if home is None:
        return []
    costs = read_rows(home, COSTS, COST_COLUMNS)
    painted = {(row["method"], row["subject"]) for row in costs if row["stage"] == "sample"}  # once all was painted
    return [
        Failure(row["method"], row["subject"], row["stage"], row["error"], (row["method"], row["subject"]) in painted)
        for row in read_rows(home, FAILURES, FAILURE_COLUMNS)
    ]
