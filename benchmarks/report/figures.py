"""Tables of a run's scores → columns of text, methods in rows."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from benchmarks.personalization.layout import CLASS, PHOTOGRAPHS
from benchmarks.personalization.protocols import MEAN, OURS, TEXT
from benchmarks.report.cells import Difference, FigureText, Versus

_SURE = 0.05  # a corrected p below it
_NAMED = ["protocol", "score", "metric"]

Figures = Iterable[tuple[str, float, float, float]]  # method, value, low, high


@dataclass(frozen=True)
class Column:
    """A figure of all methods.

    Attributes:
        head: lines that say what it is.
        better: `higher` or `lower`, whichever is better.
        cells: cell of each method; photographs have rank 0.
    """

    head: tuple[str, ...]
    better: str
    cells: dict[str, FigureText]


@dataclass(frozen=True)
class Scores:
    """A table of scores: columns, and their definitions by what each is of, empty where that is all of them."""

    title: str
    columns: list[Column]
    definitions: list[tuple[str, str]]


@dataclass(frozen=True)
class Compared:
    """All pairs of methods by one score.

    Attributes:
        title: names of protocol, score and metric.
        sure: methods, and those that each is surely better than.
        pairs: number of pairs.
        subjects: fewest subjects of a pair.
        versus: differences of all pairs.
    """

    title: str
    sure: dict[str, list[str]]
    pairs: int
    subjects: int
    versus: Versus

    @property
    def sure_pairs(self) -> int:
        """The number of pairs that differ surely."""
        return sum(map(len, self.sure.values()))


def format_number(value: float) -> str:
    """Write a number in the page's way.

    >>> format_number(0.12345), format_number(23.456), format_number(float("nan"))
    ('0.123', '23.46', '–')
    """
    return "–" if np.isnan(value) else f"{value:.3f}" if abs(value) < 10 else f"{value:.2f}"


def make_column(head: Sequence[str], better: str, figures: Figures) -> Column:
    """Make cells with ranks among the methods.

    Args:
        head: lines that say what it is.
        better: `higher` or `lower`, whichever is better.
        figures: figures of the methods and of photographs.
    """
    rows = list(figures)
    sign = 1 if better == "higher" else -1
    compared = [sign * value for name, value, *_ in rows if name != PHOTOGRAPHS]
    cells = {
        name: FigureText(
            format_number(value),
            "" if np.isnan(low) else f"{format_number(low)} – {format_number(high)}",
            0 if name == PHOTOGRAPHS else 1 + sum(other > sign * value for other in compared),
        )
        for name, value, low, high in rows
    }
    return Column(tuple(head), better, cells)


def arrange_scores(scores: pd.DataFrame) -> dict[str, list[Scores]]:
    """Make tables by protocol: one for each that is published, and for ours one a score, which many metrics have."""
    found: dict[str, list[Scores]] = {}
    for protocol, rows in scores.groupby("protocol", sort=False):
        parts = rows.groupby("score", sort=False) if protocol == OURS else [("", rows)]
        of = "metric" if protocol == OURS else "score"
        found[str(protocol)] = [
            Scores(str(title), list(_name_columns(part, protocol == OURS)), _list_definitions(part, of))
            for title, part in parts
        ]
    return found


def _name_columns(scores: pd.DataFrame, ours: bool) -> Iterator[Column]:
    for (_, score, metric), rows in scores.groupby(_NAMED, sort=False):
        head = (metric,) if ours else (score, metric)
        yield make_column(head, rows["better"].iloc[0], _to_plain(rows, "value", "low", "high"))


def _to_plain(rows: pd.DataFrame, *names: str) -> Figures:
    return rows[["method", *names]].itertuples(index=False, name=None)


def _list_definitions(rows: pd.DataFrame, of: str) -> list[tuple[str, str]]:
    pairs = list(dict.fromkeys(zip(rows[of], rows["definition"], strict=True)))
    return [("", pairs[0][1])] if len({text for _, text in pairs}) == 1 else pairs


def arrange_comparisons(table: pd.DataFrame, scores: pd.DataFrame) -> list[Compared]:
    """Compare every two methods by every score.

    Args:
        table: table `comparisons` of a run.
        scores: table `scores` of a run, which gives the order: the best method first.
    """
    found = []
    for key, rows in table.groupby(_NAMED, sort=False):
        mine = scores[(scores[_NAMED] == list(key)).all(axis=1) & (scores["method"] != PHOTOGRAPHS)]
        better = mine["better"].iloc[0] if len(mine) else "higher"
        ranked = mine.sort_values("value", ascending=better == "lower", kind="stable")["method"]
        order = list(dict.fromkeys([*ranked, *rows["better_method"], *rows["worse_method"]]))
        differences = {}
        for row in rows.itertuples():
            # On the subjects that both have the order may be another than on all.
            pair, sign = (row.better_method, row.worse_method), 1
            if order.index(row.better_method) > order.index(row.worse_method):
                pair, sign = (row.worse_method, row.better_method), -1
            low, high = sorted((sign * row.low, sign * row.high))
            interval = "one subject" if np.isnan(row.low) else f"{format_number(low)} to {format_number(high)}"
            p = "p < 0.001" if row.p_holm < 0.001 else f"p = {row.p_holm:.2g}"
            differences[pair] = Difference(format_number(sign * row.difference), interval, p, row.p_holm < _SURE)
        title = ", ".join(key)
        sure: dict[str, list[str]] = {}
        for row in rows[rows["p_holm"] < _SURE].itertuples():
            sure.setdefault(row.better_method, []).append(row.worse_method)
        found.append(Compared(title, sure, len(rows), int(rows["subjects"].min()), Versus(title, order, differences)))
    return found


def break_down(
    by_subject: pd.DataFrame, by_prompt: pd.DataFrame, scores: pd.DataFrame, metric: str
) -> dict[str, list[Column]]:
    """Average subject fidelity by class and by subject, and with prompt fidelity by kind of prompt.

    Args:
        by_subject, by_prompt, scores: tables of a run.
        metric: name of the metric of subject fidelity.
    """
    better = scores.drop_duplicates(["score", "metric"]).set_index(["score", "metric"])["better"]
    mine = by_subject[
        (by_subject["protocol"] == OURS) & (by_subject["score"] == MEAN) & (by_subject["metric"] == metric)
    ]
    counts = mine.groupby("noun")["subject"].nunique()
    classes = [
        _average(rows, (str(noun), f"{counts[noun]} subject{'s' if counts[noun] > 1 else ''}"), better[MEAN, metric])
        for noun, rows in mine.groupby("noun")
    ]
    subjects = [
        _average(rows, (str(name), rows["noun"].iloc[0]), better[MEAN, metric])
        for name, rows in mine.groupby("subject")
    ]
    kinds = []
    texts = by_prompt[by_prompt["score"] == TEXT]["metric"].unique()[:1]
    for score, of in [(MEAN, metric), *((TEXT, name) for name in texts)]:
        rows = by_prompt[(by_prompt["score"] == score) & (by_prompt["metric"] == of) & (by_prompt["kind"] != CLASS)]
        for kind, some in rows.groupby("kind", sort=False):
            head = (str(kind) or "no kind", f"{score}, {of}", f"{some['prompt'].nunique()} prompts")
            kinds.append(_average(some, head, better[score, of]))
    return {"class": classes, "kind of prompt": kinds, "subject": subjects}


def _average(rows: pd.DataFrame, head: Sequence[str], better: str) -> Column:
    means = rows.groupby("method", sort=False)["value"].mean()
    return make_column(head, better, ((str(name), value, np.nan, np.nan) for name, value in means.items()))
