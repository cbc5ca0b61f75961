"""Whether metrics agree on how alike pictures and subjects are."""

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import kendalltau, spearmanr

from benchmarks.personalization.aggregate import Result
from benchmarks.personalization.columns import CORRELATION_COLUMNS
from benchmarks.personalization.layout import PHOTOGRAPHS
from benchmarks.personalization.matrices import (
    Measured,
    average_nearest,
    average_references,
    average_subject,
    take_nearest_reference,
)
from benchmarks.personalization.pairing import Cell
from benchmarks.personalization.protocols import MEAN, NEAREST, OURS

PICTURES, METHODS = "pictures", "methods"

_FEWEST = 3  # of which a rank correlation says anything

Statistic = Callable[[Measured], np.ndarray]


def tabulate_correlations(cells: Sequence[Cell], results: Sequence[Result]) -> pd.DataFrame:
    """Make the table `correlations`: of every two metrics of pictures, rank correlations of subject fidelity.

    Args:
        cells: cells of the pairing.
        results: results of all metrics, `measured` in the order of the cells.

    Returns:
        A table of `CORRELATION_COLUMNS`. Level `pictures`: over the pictures of all methods of one subject, mean over
        subjects; n is the number of subjects. Level `methods`: over the methods' scores; n is the number of methods.
        Positive where metrics agree, whatever their directions; NaN of fewer than three, or where a metric is constant.
    """
    compared = [result for result in results if not result.text]
    painted = [i for i, cell in enumerate(cells) if cell.method != PHOTOGRAPHS and len(cell.prompts)]
    rows: list[dict[str, Any]] = []
    for name, of_picture, of_prompt in (
        (MEAN, average_references, average_subject),
        (NEAREST, take_nearest_reference, average_nearest),
    ):
        by_metric = [_collect_by_subject(cells, painted, result, of_picture) for result in compared]
        by_method = [_collect_by_method(cells, painted, result, of_prompt) for result in compared]
        for level, values in ((PICTURES, by_metric), (METHODS, by_method)):
            for (a, x), (b, y) in itertools.combinations(zip(compared, values, strict=True), 2):
                found = [_correlate(some, other) for some, other in zip(x, y, strict=True)]
                kept = [pair for pair in found if not np.isnan(pair).any()]
                spearman, kendall = np.mean(kept, axis=0) if kept else (np.nan, np.nan)
                n = len(kept) if level == PICTURES else len(x[0]) if x else 0
                rows.append(
                    {"level": level, "protocol": OURS, "score": name, "metric_a": a.metric, "metric_b": b.metric}
                    | {"spearman": float(spearman), "kendall": float(kendall), "n": n}
                )
    return pd.DataFrame(rows, columns=list(CORRELATION_COLUMNS))


def _collect_by_subject(
    cells: Sequence[Cell], painted: Sequence[int], result: Result, values: Statistic
) -> list[np.ndarray]:
    """Collect the values of each subject's pictures, larger the more different."""
    found: dict[str, list[np.ndarray]] = {}
    for i in painted:
        found.setdefault(cells[i].subject.name, []).append(_find_sign(result) * values(result.measured[i]))
    return [np.concatenate(some) for some in found.values()]


def _collect_by_method(
    cells: Sequence[Cell], painted: Sequence[int], result: Result, values: Statistic
) -> list[np.ndarray]:
    """Collect a value of each method, larger the more different, in one list."""
    found: dict[str, list[float]] = {}
    for i in painted:
        found.setdefault(cells[i].method, []).append(_find_sign(result) * float(values(result.measured[i]).mean()))
    return [np.array([np.mean(some) for some in found.values()])] if found else []


def _find_sign(result: Result) -> int:
    return 1 if result.direction == "distance" else -1


def _correlate(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    if len(x) < _FEWEST or (x == x[0]).all() or (y == y[0]).all():
        return float("nan"), float("nan")
    return float(spearmanr(x, y)[0]), float(kendalltau(x, y)[0])
