"""What metrics notice, on the page: curves by level of each known change, beside the pictures."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.report.charts import Line, draw_curves
from benchmarks.report.examples import encode_uri
from benchmarks.sensitivity.run import COLUMNS, PICTURE_COLUMNS, PICTURES, SETTINGS, TABLE, rank_changes
from benchmarks.tables import read_settings, read_table


@dataclass(frozen=True)
class Change:
    """A known change.

    Attributes:
        name: name of the change.
        invariance: whether people would call the result the same picture.
        means: text and percentage of each metric, over pictures and levels.
        curves: chart of the curves as SVG.
        thumbnails: picture and level, from weak to strong.
    """

    name: str
    invariance: bool
    means: list[tuple[str, int]]
    curves: str
    thumbnails: list[tuple[str, str]]


@dataclass(frozen=True)
class Sensitivity:
    """All changes, what the metrics together mind most first.

    Attributes:
        scenes: number of pictures that were changed.
        scene: name of the one that is shown.
        metrics: names in the order of the means.
        lines: look of the metrics.
        changes: changes, what is minded most first.
        left_out: metrics that were left out, and why.
    """

    scenes: int
    scene: str
    metrics: list[str]
    lines: list[Line]
    changes: list[Change]
    left_out: dict[str, str]


def read_sensitivity(folder: Path, lines: Sequence[Line]) -> Sensitivity | None:
    """Read the tables that `dreamsim-bench sensitivity` wrote, if they are there and hold a metric.

    Args:
        folder: folder of the tables.
        lines: metrics that have their colours already.
    """
    if not (folder / SETTINGS).is_file():
        return None
    settings = read_settings(folder / SETTINGS, "scenes", "left out")
    table, pictures = read_table(folder, TABLE, COLUMNS), read_table(folder, PICTURES, PICTURE_COLUMNS)
    if not len(table):
        return None
    names = dict.fromkeys([*(line.name for line in lines), *table["metric"]])
    drawn = [Line(name, i) for i, name in enumerate(names) if name in set(table["metric"])]
    means = rank_changes(table)
    changes = []
    for name, values in means.iterrows():
        rows, shown = table[table["change"] == name], pictures[pictures["change"] == name]
        changes.append(
            Change(
                name=str(name),
                invariance=bool(rows["invariance"].iloc[0]),
                means=[(f"{value:.2f}", round(100 * float(np.clip(value, 0, 1)))) for value in values],
                curves=draw_curves(rows, drawn, str(rows["unit"].iloc[0])),
                thumbnails=[(encode_uri(row.picture), f"{row.level:g}") for row in shown.itertuples()],
            )
        )
    scene = str(pictures["scene"].iloc[0])
    return Sensitivity(len(settings["scenes"]), scene, list(means.columns), drawn, changes, settings["left out"])
