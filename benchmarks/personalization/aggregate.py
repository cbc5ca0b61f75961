"""From subjects to one figure of a method, its interval, and whether another method's is better."""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from benchmarks.personalization.columns import COMPARISON_COLUMNS, PROMPT_COLUMNS, SCORE_COLUMNS, SUBJECT_COLUMNS
from benchmarks.personalization.layout import PHOTOGRAPHS
from benchmarks.personalization.matrices import Measured
from benchmarks.personalization.pairing import Cell
from benchmarks.personalization.protocols import COPYING, SCORES, Score
from benchmarks.significance import compute_paired_p, correct_holm
from dreamsim_metric.judgements.resampling import Resamples, find_interval


@dataclass(frozen=True)
class Result:
    """All that a metric said of the pictures.

    Attributes:
        metric: name of the metric.
        direction: direction of its numbers.
        text: whether it compares pictures with prompts.
        measured: numbers of each cell of the pairing.
        threshold: origin of `copy_below` in words, for the definition.
    """

    metric: str
    direction: Literal["distance", "similarity"]
    text: bool
    measured: Sequence[Measured]
    threshold: str = ""


@dataclass(frozen=True)
class Figure:
    """One score of one method by one metric.

    Attributes:
        score: score of the protocol.
        metric: name of the metric.
        higher: whether more is better.
        method: name of the method, or of the photographs.
        values: values of each subject that can have it, `(K,)`; no NaN.
        pictures: number of pictures that it looks at.
        threshold: origin of the threshold for copies, for the definition.
    """

    score: Score
    metric: str
    higher: bool
    method: str
    values: Mapping[str, np.ndarray]
    pictures: int
    threshold: str = ""

    @property
    def named(self) -> dict[str, Any]:
        """The columns that tell it from figures of the same method."""
        return {"protocol": self.score.protocol, "score": self.score.name, "metric": self.metric}

    @property
    def definition(self) -> str:
        """The definition in words, with what it depends on."""
        return self.score.definition + (f"; {self.threshold}" if self.score.name == COPYING else "")

    def value(self, names: Iterable[str] | None = None) -> float:
        """Compute the figure over the subjects named; None for all."""
        return float(self._rows(names)[0].mean())

    def resampled(self, draws: int, seed: int, names: Iterable[str] | None = None) -> np.ndarray:
        """Draw subjects with replacement: `(draws,)` figures, the same draws for all figures of these subjects."""
        values, subjects = self._rows(names)
        return Resamples(subjects, draws, seed).means(values)

    def _rows(self, names: Iterable[str] | None) -> tuple[np.ndarray, np.ndarray]:
        """List values of equal weight, and the subject of each."""
        kept = sorted(self.values if names is None else names)
        rows = [self.values[name] if self.score.pooled else self.values[name].mean(keepdims=True) for name in kept]
        return np.concatenate(rows), np.repeat(np.arange(len(kept)), [len(some) for some in rows])


def compute_figures(cells: Sequence[Cell], results: Sequence[Result]) -> list[Figure]:
    """Compute all scores that are defined for these metrics, of all methods that have what they need.

    Args:
        cells: cells of the pairing.
        results: results of all metrics, `measured` in the order of the cells.
    """
    methods = list(dict.fromkeys(cell.method for cell in cells))
    found = []
    for score, result in itertools.product(SCORES, results):
        if not score.takes(result.metric, result.direction, result.text):
            continue
        for method in methods:
            if method == PHOTOGRAPHS and (result.text or not score.photographs):
                continue
            values, pictures = {}, 0
            for cell, measured in zip(cells, result.measured, strict=True):
                if cell.method == method and len(some := _keep(score.values(measured))):
                    values[cell.subject.name] = some
                    pictures += score.counts(measured)
            if values:
                higher = score.higher(result.direction)
                found.append(Figure(score, result.metric, higher, method, values, pictures, result.threshold))
    return found


def _keep(values: np.ndarray) -> np.ndarray:
    return values[~np.isnan(values)]


def tabulate_scores(found: Sequence[Figure], draws: int, seed: int, version: str) -> pd.DataFrame:
    """Make the table `scores`: `low` and `high` are the 95 % interval over subjects, NaN for a single subject."""
    rows = []
    for figure in found:
        enough = len(figure.values) > 1
        low, high = find_interval(figure.resampled(draws, seed)) if enough else (np.nan, np.nan)
        rows.append(
            {"method": figure.method, **figure.named, "better": "higher" if figure.higher else "lower"}
            | {"value": figure.value(), "low": low, "high": high}
            | {"subjects": len(figure.values), "pictures": figure.pictures, "definition": figure.definition}
            | {"draws": draws, "bootstrap_seed": seed, "version": version}
        )
    return pd.DataFrame(rows, columns=list(SCORE_COLUMNS))


def tabulate_subjects(found: Sequence[Figure], nouns: Mapping[str, str]) -> pd.DataFrame:
    """Make the table `by_subject`."""
    rows = [
        {"method": figure.method, **figure.named, "subject": name, "noun": nouns[name], "value": values.mean()}
        for figure in found
        for name, values in figure.values.items()
    ]
    return pd.DataFrame(rows, columns=list(SUBJECT_COLUMNS))


def tabulate_prompts(cells: Sequence[Cell], results: Sequence[Result]) -> pd.DataFrame:
    """Make the table `by_prompt`: means over subjects, of the scores that go by prompt."""
    rows: list[dict[str, Any]] = []
    for score, result in itertools.product((score for score in SCORES if score.by_prompt), results):
        if not score.takes(result.metric, result.direction, result.text):
            continue
        for cell, measured in zip(cells, result.measured, strict=True):
            named = {"method": cell.method, "protocol": score.protocol, "score": score.name, "metric": result.metric}
            values = score.values(measured) if cell.asked else np.zeros(0)
            rows += [
                named | {"prompt": prompt.text, "kind": prompt.kind, "value": value}
                for prompt, value in zip(cell.asked, values, strict=bool(len(values)))
            ]
    frame = pd.DataFrame(rows, columns=list(PROMPT_COLUMNS)).dropna(subset="value")
    return frame.groupby(list(PROMPT_COLUMNS[:-1]), sort=False, as_index=False).value.mean()


def tabulate_comparisons(found: Sequence[Figure], draws: int, seed: int) -> pd.DataFrame:
    """Make the table `comparisons`: every two methods, on the subjects that both have.

    `difference` is how much better the better one is, in the score's own unit, never below 0. p is corrected for all
    pairs of methods of one score and metric (Holm).
    """
    groups: dict[tuple[str, ...], list[Figure]] = {}
    for figure in found:
        if figure.method != PHOTOGRAPHS:
            groups.setdefault(tuple(figure.named.values()), []).append(figure)
    rows: list[dict[str, Any]] = []
    for group in groups.values():
        compared = [
            row for a, b in itertools.combinations(group, 2) if (row := _compare(a, b, draws, seed)) is not None
        ]
        corrected = correct_holm(np.array([row["p"] for row in compared]))
        rows += [row | {"p_holm": float(p)} for row, p in zip(compared, corrected, strict=True)]
    return pd.DataFrame(rows, columns=list(COMPARISON_COLUMNS))


def _compare(a: Figure, b: Figure, draws: int, seed: int) -> dict[str, Any] | None:
    shared = sorted(a.values.keys() & b.values.keys())
    if not shared:
        return None
    sign = 1 if a.higher else -1
    if sign * (a.value(shared) - b.value(shared)) < 0:
        a, b = b, a
    difference = sign * (a.value(shared) - b.value(shared))
    by_draw = sign * (a.resampled(draws, seed, shared) - b.resampled(draws, seed, shared))
    low, high = find_interval(by_draw) if len(shared) > 1 else (np.nan, np.nan)
    return (
        a.named
        | {"better_method": a.method, "worse_method": b.method, "difference": difference, "low": low, "high": high}
        | {"p": compute_paired_p(difference, by_draw, len(shared)), "subjects": len(shared)}
    )
