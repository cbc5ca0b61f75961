"""Judgements worth looking at, with their pictures: where metrics are far from people, and where they part."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from torchvision.transforms.functional import to_pil_image

from benchmarks.human.scoring import measure_errors
from benchmarks.human.sources import Part
from benchmarks.metrics.base import Metric, Unmeasurable
from benchmarks.thumbnails import make_thumbnail
from dreamsim_metric.difference import overlay
from dreamsim_metric.images.convert import to_image

HARDEST, DISPUTED = "hardest", "disputed"
COLUMNS = ("data", "split", "kind", "id", "why", "number", "picture", "map", "map_metric")

_EACH = 6
_SIDE = 208  # pixels of a thumbnail


def choose_examples(
    parts: Sequence[Part], distances: Sequence[Mapping[str, np.ndarray]], mapper: Metric | None
) -> pd.DataFrame:
    """Choose a few judgements of each part, so that reports need neither the pictures nor a network.

    Args:
        parts: parts of data sets.
        distances: distances on the rows of each part, by metric.
        mapper: metric that draws where pictures differ from the reference; None leaves that out.

    Returns:
        A row a picture, of `COLUMNS`: which judgement and why, the `number` of the picture in it, and as JPEG a
        thumbnail and, but for a judgement's first picture, the map laid over what `map_metric` sees of it.
    """
    rows = [
        {"data": part.data, "split": part.split, "kind": part.kind, "id": part.table.ids[i], "why": why, **picture}
        for part, by_metric in zip(parts, distances, strict=True)
        for why, chosen in _choose(part, by_metric).items()
        for i in chosen
        for picture in _list_pictures(part, i, mapper)
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _choose(part: Part, distances: Mapping[str, np.ndarray]) -> dict[str, list[int]]:
    """Choose rows by reason: the largest mean error of all metrics, the most unequal errors. None is there twice."""
    if not distances:
        return {}
    table = part.table
    by_metric = np.stack([measure_errors(table, d) for d in distances.values()])
    hardest = _choose_first(part, by_metric.mean(0), set())
    # One metric alone has nobody to dispute with.
    disputed = _choose_first(part, by_metric.std(0), set(hardest)) if len(by_metric) > 1 else []
    return {HARDEST: hardest, DISPUTED: disputed}


def _choose_first(part: Part, value: np.ndarray, taken: set[int]) -> list[int]:
    """Choose the largest values above 0; of equal ones, those that more people judged; no reference twice."""
    found: dict[int, int] = {}  # by reference
    for i in np.lexsort((-part.table.votes, -value.round(9))).tolist():
        if value[i] <= 1e-9 or len(found) == _EACH:
            break
        if i not in taken:
            found.setdefault(int(part.table.index[i, 0]), i)
    return list(found.values())


def _list_pictures(part: Part, row: int, mapper: Metric | None) -> list[dict[str, Any]]:
    paths = [part.table.pictures[position] for position in part.table.index[row]]
    found: list[dict[str, Any]] = [
        {
            "number": i,
            "picture": make_thumbnail(to_image(path), _SIDE),
            "map": None,
            "map_metric": "",
        }
        for i, path in enumerate(paths)
    ]
    if mapper is None:
        return found
    try:
        reference, *others = (mapper.read(path) for path in paths)
        maps = [mapper.difference_map(reference, other) for other in others]
    except Unmeasurable:
        return found
    highest = max(float(values.max()) for values in maps)  # one scale, so that both sides can be compared
    for picture, pixels, values in zip(found[1:], others, maps, strict=True):
        drawn = overlay(to_pil_image(pixels), values, highest=highest)
        picture |= {"map": make_thumbnail(drawn, _SIDE), "map_metric": mapper.card.name}
    return found
