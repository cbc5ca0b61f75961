"""Pictures of methods × metrics → tables in a folder: every protocol's scores, compared, and what they are made of."""

import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.human.run import SETTINGS
from benchmarks.metrics.base import Maker, Metric, Options, Unmeasurable
from benchmarks.metrics.ours import Embedding
from benchmarks.metrics.table import MEASURED, measured_row, unavailable_row
from benchmarks.personalization import matrices
from benchmarks.personalization.aggregate import (
    Result,
    comparison_table,
    figures,
    prompt_table,
    score_table,
    subject_table,
)
from benchmarks.personalization.agreement import agreement_table
from benchmarks.personalization.layout import CLASS, Gallery, Picture, picture_folder, read_pictures
from benchmarks.personalization.pairing import Cell, Pairing
from benchmarks.personalization.protocols import SCORES
from benchmarks.personalization.subjects import Subject
from benchmarks.surroundings import one_line, surroundings, version
from dreamsim_metric.files.write import write_files
from dreamsim_metric.scale.cache import Cache

TABLES = ("metrics", "scores", "by_subject", "by_prompt", "pictures", "comparisons", "agreement")
PICTURE_COLUMNS = (
    *("method", "subject", "noun", "prompt", "kind", "seed", "path", "metric", "nearest", "mean", "text"),
)

Row = dict[str, Any]


def score(
    pictures: Path,
    subjects: Sequence[Subject],
    makers: Mapping[str, Maker],
    out: Path,
    cache: Cache,
    *,
    options: Callable[[str], Options],
    copy_below: Mapping[str, float] | None = None,
    draws: int = 1000,
    seed: int = 0,
    batch_size: int = 32,
    workers: int | None = None,
    command: Sequence[str] = (),
) -> pd.DataFrame:
    """Score what methods painted, and write what was found.

    A metric whose weights are not at hand, or which cannot take the pictures, has its row say so; the others go on.

    Args:
        pictures: folder, as `layout` has it, or that of a run that painted them.
        subjects: that there are pictures of, with their photographs and prompts (`subjects.read_subjects`).
        makers: metrics by name (`registry.find_metrics`).
        out: folder for the tables of `TABLES`, each `.parquet`, and `settings.json`.
        cache: of what was computed before; a run that was killed goes on from there.
        options: weights and device of a metric, by name.
        copy_below: of a metric, the number from which on a picture counts as copied, in the metric's own direction:
            below it for distances, above it for similarities. Default: where the model was calibrated, the distance at
            which half of people judge two pictures the same; else copying is not scored.
        draws, seed: of the bootstrap.
        batch_size, workers: see `metrics.compare.compare_pairs`.
        command: that asked for the run, for the settings.

    Returns:
        The table `scores`.

    Raises:
        FileNotFoundError, ValueError: see `layout.read_pictures`; masks that do not fit; thresholds of no metric.
        OSError: the disk is full or not writable.
    """
    given = dict(copy_below or {})
    unknown = sorted(given.keys() - makers.keys())
    if unknown:
        raise ValueError(f"got a threshold for {', '.join(unknown)}; expected one of {', '.join(makers)}")
    pictures = picture_folder(pictures)
    galleries = read_pictures(pictures, subjects)
    with TemporaryDirectory() as scratch:
        pairing = Pairing(galleries, Path(scratch))
        metrics, results = _measure(pairing, makers, options, cache, given, batch_size, workers)
    cells = pairing.cells
    found = figures(cells, results)
    frames = {
        "metrics": pd.DataFrame(metrics),
        "scores": score_table(found, draws, seed, version("dreamsim_metric")),
        "by_subject": subject_table(found, {subject.name: subject.noun for subject in subjects}),
        "by_prompt": prompt_table(cells, results),
        "pictures": picture_table(cells, results, pictures),
        "comparisons": comparison_table(found, draws, seed),
        "agreement": agreement_table(cells, results),
    }
    out.mkdir(parents=True, exist_ok=True)
    files = {out / f"{name}.parquet": frame.to_parquet(index=False) for name, frame in frames.items()}
    settings = _settings(pictures, galleries, results, command, draws, seed)
    write_files(files | {out / SETTINGS: (json.dumps(settings, indent=2) + "\n").encode()})
    return frames["scores"]


def _measure(
    pairing: Pairing,
    makers: Mapping[str, Maker],
    options: Callable[[str], Options],
    cache: Cache,
    copy_below: Mapping[str, float],
    batch_size: int,
    workers: int | None,
) -> tuple[list[Row], list[Result]]:
    """Rows of the table `metrics`, and what those said that could."""
    rows, results = [], []
    for name, make in makers.items():
        print(f"{name} …", file=sys.stderr)
        try:
            metric = make(options(name))
        except (OSError, ImportError) as error:
            rows.append(unavailable_row(name, f"weights not available: {one_line(error)}"))
            print(f"{name}: {rows[-1]['status']}", file=sys.stderr)
            continue
        threshold, said = _threshold(name, metric, copy_below)
        status = MEASURED
        try:
            measured = pairing.measure(metric, cache, threshold, batch_size, workers)
            results.append(Result(name, metric.card.direction, metric.text is not None, measured, said))
        except Unmeasurable as error:
            status = one_line(error)
            print(f"{name}: {status}", file=sys.stderr)
        rows.append(measured_row(name, metric, status, pairing.cells[0].subject.pictures))
    return rows, results


def _threshold(name: str, metric: Metric, given: Mapping[str, float]) -> tuple[float, str]:
    """Nearer than this is a copy, and in words; NaN where nobody knows."""
    if name in given:
        return given[name], f"threshold {given[name]:.4g}, given"
    curve = metric.metric.card.same if isinstance(metric, Embedding) else None
    if curve is None or metric.card.direction == "similarity":
        return float("nan"), ""
    said = f"threshold {curve.threshold:.4g}, where half of people judge pictures of {curve.data} the same"
    return curve.threshold, said


def picture_table(cells: Sequence[Cell], results: Sequence[Result], folder: Path) -> pd.DataFrame:
    """A row a painted picture and metric, of `PICTURE_COLUMNS`.

    `nearest` and `mean` are to the subject's photographs, `text` to the prompt with the noun of the class in it, all in
    the metric's own direction; `path` is relative to the folder. Pictures of the class alone have the prompt and the
    kind `class`, and no text.
    """
    rows: list[Row] = []
    for result in results:
        for cell, measured in zip(cells, result.measured, strict=True):
            of_class = matrices.Measured(
                measured.direction, np.zeros(len(cell.of_class), dtype=int), references=measured.of_class
            )
            for painted, numbers in ((cell.pictures, measured), (cell.of_class, of_class)):
                columns = {
                    "nearest": _padded(matrices.nearest_reference(numbers), len(painted)),
                    "mean": _padded(matrices.all_references(numbers), len(painted)),
                    "text": _padded(numbers.text, len(painted)),
                }
                rows += [
                    _named(cell, picture, folder)
                    | {"metric": result.metric}
                    | {name: values[i] for name, values in columns.items()}
                    for i, picture in enumerate(painted)
                ]
    return pd.DataFrame(rows, columns=list(PICTURE_COLUMNS))


def _padded(values: np.ndarray, n: int) -> np.ndarray:
    return values if len(values) else np.full(n, np.nan)


def _named(cell: Cell, picture: Picture, folder: Path) -> Row:
    prompt = picture.prompt
    return {
        "method": cell.method,
        "subject": cell.subject.name,
        "noun": cell.subject.noun,
        "prompt": prompt.text if prompt else CLASS,
        "kind": prompt.kind if prompt else CLASS,
        "seed": picture.seed,
        "path": picture.path.relative_to(folder).as_posix(),
    }


def _settings(
    pictures: Path,
    galleries: Sequence[Gallery],
    results: Sequence[Result],
    command: Sequence[str],
    draws: int,
    seed: int,
) -> Row:
    methods: dict[str, Row] = {}
    for gallery in galleries:
        counts = methods.setdefault(gallery.method, {"subjects": 0, "pictures": 0, "of_class": 0})
        counts["subjects"] += 1
        counts["pictures"] += len(gallery.pictures)
        counts["of_class"] += len(gallery.of_class)
    definitions: dict[str, dict[str, str]] = {}
    for line in SCORES:
        definitions.setdefault(line.protocol, {})[line.name] = line.definition
    return {
        "command": list(command),
        "made": time.strftime("%Y-%m-%d %H:%M:%S %z"),
        "pictures": str(pictures.absolute()),
        "draws": draws,
        "seed": seed,
        "methods": methods,
        "subjects": {
            name: {"noun": subject.noun, "photographs": [str(path.absolute()) for path in subject.pictures]}
            for name, subject in {gallery.subject.name: gallery.subject for gallery in galleries}.items()
        },
        "copying": {result.metric: result.threshold or "no threshold" for result in results if not result.text},
        "protocols": definitions,
        **surroundings(),
    }
