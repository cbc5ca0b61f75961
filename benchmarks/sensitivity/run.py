"""What a metric does and does not notice: its distance against the strength of known changes."""

import itertools
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from benchmarks.metrics.base import Features, Maker, Metric, Options, Unmeasurable
from benchmarks.sensitivity.changes import CHANGES, Image, Scene, apply_changes
from benchmarks.thumbnails import make_thumbnail
from dreamsim_metric.files.json_file import format_json
from dreamsim_metric.files.write import write_files
from dreamsim_metric.messages import say_error

TABLE, PICTURES, SETTINGS = "sensitivity.parquet", "sensitivity-pictures.parquet", "sensitivity.json"
COLUMNS = ("metric", "scene", "change", "unit", "level", "invariance", "distance", "relative")
PICTURE_COLUMNS = ("scene", "change", "level", "picture")

_SIDE = 96  # pixels of a thumbnail


def run(
    makers: Mapping[str, Maker],
    scenes: Sequence[Scene],
    out: Path,
    *,
    options: Callable[[str], Options],
    command: Sequence[str] = (),
) -> pd.DataFrame:
    """Measure every change of every scene, by every metric whose weights are at hand.

    Args:
        makers: metrics by name.
        scenes: pictures to change, two at least.
        out: folder for `sensitivity.parquet`, `sensitivity-pictures.parquet` (thumbnails of one scene's changes) and
            `sensitivity.json`.
        options: weights and device of a metric, by name.
        command: command line that asked for it, for the settings.

    Returns:
        A table with a row a change: metric, scene, change, unit, level, invariance, `distance` (larger the more
        different) and `relative`, which is 0 for a picture and itself and 1 for the median of all pairs of the
        scenes' pictures.

    Raises:
        ValueError: fewer than two scenes.
        OSError: the disk is full or not writable.
    """
    if len(scenes) < 2:
        raise ValueError(f"got {len(scenes)} picture; expected two at least: what is unlike sets the scale")
    out.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    left_out = {}
    for name, make in makers.items():
        print(f"{name} …", file=sys.stderr)
        try:
            rows += [{"metric": name, **row} for row in _measure_rows(make(options(name)), scenes)]
        except Unmeasurable as error:
            left_out[name] = str(error)
        except (OSError, ImportError) as error:
            left_out[name] = f"weights not available: {say_error(error)}"
    for name, why in left_out.items():
        print(f"{name}: {why}", file=sys.stderr)
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    settings = {"command": list(command), "scenes": [scene.name for scene in scenes], "left out": left_out}
    tables = {TABLE: table, PICTURES: _show_changes(scenes)}
    files = {out / name: frame.to_parquet(index=False) for name, frame in tables.items()}
    write_files(files | {out / SETTINGS: format_json(settings)})
    return table


def _show_changes(scenes: Sequence[Scene]) -> pd.DataFrame:
    """Show all changes of one scene, of which all can be made if there is one."""
    scene = next((scene for scene in scenes if scene.other is not None), scenes[0])
    return pd.DataFrame(
        {"scene": scene.name, "change": change.name, "level": float(level), "picture": make_thumbnail(picture, _SIDE)}
        for change, level, picture in apply_changes(scene)
    )


@torch.inference_mode()
def _measure_rows(metric: Metric, scenes: Sequence[Scene]) -> list[dict[str, Any]]:
    if metric.text is not None:
        raise Unmeasurable("it compares pictures with prompts")
    own = [_compute_features(metric, scene.picture) for scene in scenes]
    same = [
        _measure_distance(metric, features, scene.picture, scene.picture)
        for features, scene in zip(own, scenes, strict=True)
    ]
    unlike = [
        _measure_distance(metric, own[i], scenes[i].picture, scenes[j].picture)
        for i, j in itertools.combinations(range(len(scenes)), 2)
    ]
    scale = float(np.median(unlike)) - float(np.median(same))
    if not scale > 0:
        raise Unmeasurable("it finds different pictures no more different than equal ones")
    rows = []
    for scene, features, zero in zip(scenes, own, same, strict=True):
        for change, level, picture in apply_changes(scene):
            d = _measure_distance(metric, features, scene.picture, picture)
            rows.append(
                {"scene": scene.name, "change": change.name, "unit": change.unit, "level": level}
                | {"invariance": change.invariance, "distance": d, "relative": (d - zero) / scale}
            )
    return rows


def _compute_features(metric: Metric, picture: Image, size: tuple[int, int] | None = None) -> Features:
    try:
        return metric.features(metric.read(picture, size)[None].to(metric.device))
    except (ValueError, RuntimeError, AssertionError) as error:
        raise Unmeasurable(f"it cannot take pictures of {picture.height} × {picture.width}: {error}") from error


def _measure_distance(metric: Metric, reference: Features, original: Image, picture: Image) -> float:
    """Measure a distance, larger the more different; of two sizes, the second is seen at the size of the first."""
    features = _compute_features(metric, picture)
    if [part.shape for part in features] != [part.shape for part in reference]:
        features = _compute_features(metric, picture, (original.height, original.width))
    try:
        value = metric.compare(reference, features).item()
    except (ValueError, RuntimeError, AssertionError) as error:
        raise Unmeasurable(f"it cannot compare such pictures: {error}") from error
    return value if metric.card.direction == "distance" else -value


def rank_changes(table: pd.DataFrame) -> pd.DataFrame:
    """Compute how much each metric minds each change: mean of `relative` over scenes and levels, changes by metrics.

    Ordered from what the metrics together mind most.
    """
    means = table.pivot_table(index="change", columns="metric", values="relative", sort=False)
    means = means[list(dict.fromkeys(table["metric"]))]
    return means.loc[means.rank().mean(axis=1).sort_values(ascending=False, kind="stable").index]


def format_ranking(table: pd.DataFrame) -> Iterator[str]:
    """Write the ranking as text, invariances marked."""
    means = rank_changes(table)
    width = max(len(name) for name in CHANGES) + 2
    yield f"{'':{width}}" + "".join(f"  {name[-14:]:>14}" for name in means.columns)
    for change, row in means.iterrows():
        mark = " *" if CHANGES[str(change)].invariance else ""
        yield f"{str(change) + mark:{width}}" + "".join(f"  {value:>14.3f}" for value in row)
    yield "0: no change, 1: as unlike as the pictures are to one another; means over pictures and levels"
    yield "* people would call it the same picture"
