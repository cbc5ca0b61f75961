"""Metrics × human data sets → tables in a folder, of which `report` makes a page."""

import itertools
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.human.examples import COLUMNS as EXAMPLE_COLUMNS
from benchmarks.human.examples import choose_examples
from benchmarks.human.measure import measure
from benchmarks.human.scoring import Figure, find_ceilings, score
from benchmarks.human.sources import Part
from benchmarks.human.tables import COMPARED
from benchmarks.metrics.base import Maker, Metric, Options, Unmeasurable
from benchmarks.metrics.table import MEASURED, METRIC_COLUMNS, make_measured_row, make_unavailable_row
from benchmarks.significance import compute_paired_p, correct_holm
from benchmarks.surroundings import collect_surroundings, find_version
from dreamsim_metric.files.json_file import format_json
from dreamsim_metric.files.write import write_files
from dreamsim_metric.judgements.resampling import find_interval
from dreamsim_metric.messages import say_error
from dreamsim_metric.scale.cache import Cache

SETTINGS = "settings.json"

_PART = ("data", "split", "kind")
TABLES = {  # columns by table
    "metrics": METRIC_COLUMNS,
    "scores": (
        *(*_PART, "score", "metric", "value", "low", "high", "ref_low", "ref_high", "rank"),
        *("ceiling", "people", "others", "n", "draws", "seed", "version"),
    ),
    "comparisons": (*_PART, "score", "better", "worse", "difference", "low", "high", "p", "p_holm"),
    "questions": (*_PART, "id", "picture0", "picture1", "picture2", "target", "votes"),
    "answers": (*_PART, "id", "metric", "d0", "d1", "d2"),
    "examples": EXAMPLE_COLUMNS,
}


def run(
    makers: Mapping[str, Maker],
    parts: Sequence[Part],
    out: Path,
    cache: Cache,
    *,
    options: Callable[[str], Options],
    draws: int = 1000,
    seed: int = 0,
    batch_size: int = 32,
    workers: int | None = None,
    command: Sequence[str] = (),
) -> pd.DataFrame:
    """Measure, score and compare, and write what was found.

    A metric whose weights are not at hand, or which cannot take the pictures, has its row say so; the others go on.

    Args:
        makers: metrics by name (`registry.find_metrics`).
        parts: parts of data sets (`sources.read_parts`).
        out: folder for `metrics`, `scores`, `comparisons`, `questions`, `answers` and `examples`, each `.parquet`, and
            `settings.json`.
        cache: cache of what was computed before; a run that was killed goes on from there.
        options: weights and device of a metric, by name.
        draws: number of bootstrap draws.
        seed: seed of the bootstrap draws.
        batch_size: pictures of one size that go through a network at once.
        workers: threads that decode pictures.
        command: command line that asked for the run, for the settings.

    Returns:
        The table `scores`.

    Raises:
        OSError: the disk is full or not writable.
    """
    out.mkdir(parents=True, exist_ok=True)
    metrics: list[dict[str, Any]] = []
    distances: list[dict[str, np.ndarray]] = [{} for _ in parts]  # of each part, by metric
    scores: dict[tuple[int, str], dict[str, Figure]] = {}  # part and protocol → metric → figure
    for name, make in makers.items():
        print(f"{name} …", file=sys.stderr)
        try:
            metric = make(options(name))
        except (OSError, ImportError) as error:
            metrics.append(make_unavailable_row(name, f"weights not available: {say_error(error)}"))
            print(f"{name}: {metrics[-1]['status']}", file=sys.stderr)
            continue
        failures = []
        for i, part in enumerate(parts):
            try:
                d = measure(metric, part.table, cache, batch_size=batch_size, workers=workers)
                found = score(part.table, d, draws, seed)
            except Unmeasurable as error:
                failures.append(f"{part.data} {part.split}: {say_error(error)}")
                print(f"{name}: {failures[-1]}", file=sys.stderr)
                continue
            distances[i][name] = d
            for figure in found:
                scores.setdefault((i, figure.name), {})[name] = figure
        metrics.append(make_measured_row(name, metric, "; ".join(failures) or MEASURED, parts[0].table.pictures))
    mapper = _make_mapper(makers, options, next(iter(scores.values()), {}))
    answers = [
        _list_answers(part, name, d)
        for part, by_metric in zip(parts, distances, strict=True)
        for name, d in by_metric.items()
    ]
    frames = {
        "metrics": pd.DataFrame(metrics, columns=list(METRIC_COLUMNS)),
        "scores": _tabulate_scores(parts, scores, draws, seed),
        "comparisons": _tabulate_comparisons(parts, scores),
        "questions": pd.concat([_count_questions(part) for part in parts], ignore_index=True),
        "answers": pd.concat(answers, ignore_index=True) if answers else pd.DataFrame(columns=list(TABLES["answers"])),
        "examples": choose_examples(parts, distances, mapper),
    }
    files = {out / f"{name}.parquet": frame.to_parquet(index=False) for name, frame in frames.items()}
    write_files(files | {out / SETTINGS: format_json(_collect_settings(parts, command, draws, seed))})
    return frames["scores"]


def _make_mapper(
    makers: Mapping[str, Maker], options: Callable[[str], Options], figures: Mapping[str, Figure]
) -> Metric | None:
    """Make again the best of the metrics that tell where pictures differ: one network is held at a time."""
    for name in sorted(figures, key=lambda name: -figures[name].value):
        metric = makers[name](options(name))
        if metric.maps:
            return metric
    return None


def _add_name(part: Part) -> dict[str, Any]:
    return {"data": part.data, "split": part.split, "kind": part.kind}


def _list_answers(part: Part, metric: str, distances: np.ndarray) -> pd.DataFrame:
    columns = {f"d{k}": distances[:, k] if k < distances.shape[1] else np.nan for k in range(3)}
    return pd.DataFrame(_add_name(part) | {"id": part.table.ids, "metric": metric, **columns})


def _count_questions(part: Part) -> pd.DataFrame:
    table = part.table
    index = np.pad(table.index, ((0, 0), (0, 3 - table.index.shape[1])), constant_values=-1)
    paths = np.array([*(str(path.absolute()) for path in table.pictures), ""], dtype=object)
    target = getattr(table, table._TARGET)
    return pd.DataFrame(
        {
            **_add_name(part),
            "id": table.ids,
            **{f"picture{k}": paths[index[:, k]] for k in range(3)},
            "target": np.nanmean(target, axis=1) if target.ndim == 2 else target.astype(float),
            "votes": table.votes,
        }
    )


def _tabulate_scores(
    parts: Sequence[Part], scores: dict[tuple[int, str], dict[str, Figure]], draws: int, seed: int
) -> pd.DataFrame:
    rows: list[dict[str, Any]] = []
    best = {i: find_ceilings(part.table) for i, part in enumerate(parts)}
    for (i, protocol), figures in scores.items():
        part = parts[i]
        known = best[i].get(protocol, {})
        if protocol in part.source.people:
            known = {"people": part.source.people[protocol]} | known
        for name, figure in figures.items():
            rank = 1 + sum(other.value > figure.value for other in figures.values())
            low, high = find_interval(figure.by_row)
            ref_low, ref_high = find_interval(figure.by_reference)
            rows.append(
                _add_name(part)
                | {"score": protocol, "metric": name, "value": figure.value}
                | {"low": low, "high": high, "ref_low": ref_low, "ref_high": ref_high, "rank": rank}
                | {kind: known.get(kind, np.nan) for kind in ("ceiling", "people", "others")}
                | {"n": figure.n, "draws": draws, "seed": seed, "version": find_version("dreamsim_metric")}
            )
    return pd.DataFrame(rows, columns=list(TABLES["scores"]))


def _tabulate_comparisons(parts: Sequence[Part], scores: dict[tuple[int, str], dict[str, Figure]]) -> pd.DataFrame:
    """Compare every two metrics on the same judgements; p is corrected for all pairs of one figure (Holm)."""
    rows: list[dict[str, Any]] = []
    for (i, protocol), figures in scores.items():
        ordered = sorted(figures.items(), key=lambda item: -item[1].value)
        found: list[dict[str, Any]] = []
        for (better, a), (worse, b) in itertools.combinations(ordered, 2):
            difference, draws = a.value - b.value, a.paired - b.paired
            low, high = find_interval(draws)
            found.append(
                _add_name(parts[i])
                | {"score": protocol, "better": better, "worse": worse}
                | {
                    "difference": difference,
                    "low": low,
                    "high": high,
                    "p": compute_paired_p(difference, draws, a.groups),
                }
            )
        corrected = correct_holm(np.array([row["p"] for row in found]))
        rows += [row | {"p_holm": float(p)} for row, p in zip(found, corrected, strict=True)]
    return pd.DataFrame(rows, columns=list(TABLES["comparisons"]))


def _collect_settings(parts: Sequence[Part], command: Sequence[str], draws: int, seed: int) -> dict[str, Any]:
    return {
        "command": list(command),
        "made": time.strftime("%Y-%m-%d %H:%M:%S %z"),
        "draws": draws,
        "seed": seed,
        "data": [
            {
                **_add_name(part),
                "title": part.source.title or part.data,
                "judgements": len(part.table),
                "pictures": len(part.table.pictures),
                "compared": len(COMPARED[type(part.table)]),
                "licence": part.source.licence,
                "citation": part.source.citation,
            }
            for part in parts
        ],
        **collect_surroundings(),
    }
