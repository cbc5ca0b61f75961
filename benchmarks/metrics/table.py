"""The table `metrics` of a benchmark: what each metric is, what became of it, and its time."""

import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.metrics.base import Metric

MEASURED = "measured"
METRIC_COLUMNS = (
    *("metric", "status", "lowest", "highest", "direction", "input", "preprocessing", "weights", "citation"),
    *("parameters", "seconds", "key"),
)
_TIMED = 4  # pictures whose time is taken


def make_unavailable_row(name: str, status: str) -> dict[str, Any]:
    """Make the row of the table `metrics` for one that could not be made."""
    unknown = {"direction": "", "lowest": np.nan, "highest": np.nan, "input": "", "preprocessing": "", "weights": ""}
    return {"metric": name, "status": status, **unknown, "citation": "", "parameters": 0, "seconds": np.nan, "key": ""}


def make_measured_row(name: str, metric: Metric, status: str, pictures: Sequence[Path]) -> dict[str, Any]:
    """Make the row of the table `metrics`: its card, what became of it, and its time on the first of some pictures."""
    card = asdict(metric.card)
    lowest, highest = card.pop("range")
    del card["name"]
    return {"metric": name, "status": status, "lowest": lowest, "highest": highest, **card} | {
        "seconds": _time_comparison(metric, pictures),
        "key": metric.key(),
    }


def _time_comparison(metric: Metric, pictures: Sequence[Path]) -> float:
    """Time a comparison of two pictures that it has not seen, decoded already: the least seconds of some tries.

    Of one core's time on a CPU, else by the clock.
    """
    clock = time.process_time if metric.device.type == "cpu" else time.perf_counter
    found = []
    for picture in pictures[:_TIMED]:
        try:
            with torch.inference_mode():
                pixels = metric.read(picture)[None].to(metric.device)
                start = clock()
                metric.compare(metric.features(pixels), metric.features(pixels)).cpu()
            found.append(clock() - start)
        except (ValueError, RuntimeError, AssertionError):  # a picture that it cannot take
            continue
    return min(found, default=float("nan"))
