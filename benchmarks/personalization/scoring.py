"""Pictures of methods × metrics → tables in a folder: every protocol's scores, compared, and what they are made of."""

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.metrics.base import Maker, Metric, Options, Unmeasurable
from benchmarks.metrics.ours import Embedding
from benchmarks.metrics.table import MEASURED, METRIC_COLUMNS, make_measured_row, make_unavailable_row
from benchmarks.personalization import matrices
from benchmarks.personalization.aggregate import (
    Result,
    compute_figures,
    tabulate_comparisons,
    tabulate_prompts,
    tabulate_scores,
    tabulate_subjects,
)
from benchmarks.personalization.columns import PICTURE_COLUMNS
from benchmarks.personalization.correlations import tabulate_correlations
from benchmarks.personalization.layout import CLASS, CLASS_PROMPT, Gallery, Painting, find_picture_folder, read_pictures
from benchmarks.personalization.pairing import Cell, Pairing
from benchmarks.personalization.protocols import SCORES
from benchmarks.personalization.subjects import Subject
from benchmarks.surroundings import collect_surroundings, find_version
from data_tools.manifest import SETTINGS
from dreamsim_metric.files.json_file import format_json
from dreamsim_metric.files.write import write_files
from dreamsim_metric.messages import say_error
from dreamsim_metric.scale.cache import Cache


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
        pictures: folder in the layout of `layout`, or that of a run that painted them.
        subjects: subjects that there are pictures of, with their photographs and prompts (`subjects.read_subjects`).
        makers: metrics by name (`registry.find_metrics`).
        out: folder for the tables of `columns.TABLES`, each `.parquet`, and `settings.json`.
        cache: cache of what was computed before; a run that was killed goes on from there.
        options: weights and device of a metric, by name.
        copy_below: number of a metric from which on a picture counts as copied, in the metric's own direction: below it
            for distances, above it for similarities. Default: where the model was calibrated, the distance at which
            half of people judge two pictures the same; else copying is not scored.
        draws: number of bootstrap draws.
        seed: seed of the bootstrap draws.
        batch_size: pictures of one size that go through a network at once.
        workers: threads that decode pictures; None for one a core, at most 16.
        command: command line that asked for the run, for the settings.

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
    galleries = read_pictures(find_picture_folder(pictures), subjects)
    with TemporaryDirectory() as scratch:
        pairing = Pairing(galleries, Path(scratch))
        metrics, results = _measure(pairing, makers, options, cache, given, batch_size, workers)
    cells = pairing.cells
    found = compute_figures(cells, results)
    frames = {
        "metrics": pd.DataFrame(metrics, columns=list(METRIC_COLUMNS)),
        "scores": tabulate_scores(found, draws, seed, find_version("dreamsim_metric")),
        "by_subject": tabulate_subjects(found, {subject.name: subject.noun for subject in subjects}),
        "by_prompt": tabulate_prompts(cells, results),
        "pictures": tabulate_pictures(cells, results, pictures),
        "comparisons": tabulate_comparisons(found, draws, seed),
        "correlations": tabulate_correlations(cells, results),
    }
    out.mkdir(parents=True, exist_ok=True)
    files = {out / f"{name}.parquet": frame.to_parquet(index=False) for name, frame in frames.items()}
    settings = _collect_settings(pictures, galleries, results, command, draws, seed)
    write_files(files | {out / SETTINGS: format_json(settings)})
    return frames["scores"]


def _measure(
    pairing: Pairing,
    makers: Mapping[str, Maker],
    options: Callable[[str], Options],
    cache: Cache,
    copy_below: Mapping[str, float],
    batch_size: int,
    workers: int | None,
) -> tuple[list[dict[str, Any]], list[Result]]:
    """Make the rows of the table `metrics`, and collect what those said that could."""
    rows, results = [], []
    for name, make in makers.items():
        print(f"{name} …", file=sys.stderr)
        try:
            metric = make(options(name))
        except (OSError, ImportError) as error:
            rows.append(make_unavailable_row(name, f"weights not available: {say_error(error)}"))
            print(f"{name}: {rows[-1]['status']}", file=sys.stderr)
            continue
        threshold, said = _find_threshold(name, metric, copy_below)
        status = MEASURED
        try:
            measured = pairing.measure(metric, cache, threshold, batch_size, workers)
            results.append(Result(name, metric.card.direction, metric.text is not None, measured, said))
        except Unmeasurable as error:
            status = say_error(error)
            print(f"{name}: {status}", file=sys.stderr)
        rows.append(make_measured_row(name, metric, status, pairing.cells[0].subject.pictures))
    return rows, results


def _find_threshold(name: str, metric: Metric, given: Mapping[str, float]) -> tuple[float, str]:
    """Find the number from which on a nearer picture is a copy, and say where it is from; NaN where nobody knows."""
    if name in given:
        return given[name], f"threshold {given[name]:.4g}, given"
    curve = metric.metric.card.same if isinstance(metric, Embedding) else None
    if curve is None or metric.card.direction == "similarity":
        return float("nan"), ""
    said = f"threshold {curve.threshold:.4g}, where half of people judge pictures of {curve.data} the same"
    return curve.threshold, said


def tabulate_pictures(cells: Sequence[Cell], results: Sequence[Result], folder: Path) -> pd.DataFrame:
    """Make the table `pictures`, a row a painted picture and metric.

    `nearest` and `mean` are to the subject's photographs, `to_prompt` to the prompt with the noun of the class in it,
    all in the metric's own direction; pictures of the class alone have no `to_prompt`.
    """
    rows: list[dict[str, Any]] = []
    for result in results:
        for cell, measured in zip(cells, result.measured, strict=True):
            of_class = matrices.Measured(
                measured.direction, np.zeros(len(cell.of_class), dtype=int), references=measured.of_class
            )
            for painted, numbers in ((cell.pictures, measured), (cell.of_class, of_class)):
                columns = {
                    "nearest": _pad(matrices.take_nearest_reference(numbers), len(painted)),
                    "mean": _pad(matrices.average_references(numbers), len(painted)),
                    "to_prompt": _pad(numbers.text, len(painted)),
                }
                rows += [
                    _name(cell, picture, folder)
                    | {"metric": result.metric}
                    | {name: values[i] for name, values in columns.items()}
                    for i, picture in enumerate(painted)
                ]
    return pd.DataFrame(rows, columns=list(PICTURE_COLUMNS))


def _pad(values: np.ndarray, n: int) -> np.ndarray:
    return values if len(values) else np.full(n, np.nan)


def _name(cell: Cell, picture: Painting, folder: Path) -> dict[str, Any]:
    prompt = picture.prompt
    return {
        "method": cell.method,
        "subject": cell.subject.name,
        "noun": cell.subject.noun,
        "prompt": prompt.text if prompt else CLASS_PROMPT,
        "slug": prompt.slug if prompt else CLASS,
        "kind": prompt.kind if prompt else CLASS,
        "seed": picture.seed,
        "path": picture.path.relative_to(folder).as_posix(),
    }


def _collect_settings(
    pictures: Path,
    galleries: Sequence[Gallery],
    results: Sequence[Result],
    command: Sequence[str],
    draws: int,
    seed: int,
) -> dict[str, Any]:
    methods: dict[str, dict[str, Any]] = {}
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
        **collect_surroundings(),
    }
