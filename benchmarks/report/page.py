"""One HTML file from the tables of `dreamsim-bench human`, `sensitivity` and `speed`, and from nothing else."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.human import run
from benchmarks.report.cells import Difference, FigureColumn, FigureText, Versus
from benchmarks.report.charts import Line, draw_bars, draw_margins, draw_scatter, draw_speeds
from benchmarks.report.examples import Example, read_examples
from benchmarks.report.rendering import write_page
from benchmarks.report.sensitivity import read_sensitivity
from benchmarks.report.speed import read_speed
from benchmarks.sensitivity.run import SETTINGS as CHANGED
from benchmarks.speed.run import SETTINGS as TIMED
from benchmarks.surroundings import SURROUNDINGS
from benchmarks.tables import check_parts, make_no_results_error, read_settings, read_table
from dreamsim_metric.judgements.agreement import group_by_margin

_PART = ["data", "split", "kind"]
_SAID = ("title", "judgements", "pictures", "licence", "citation")  # of each part
_SURE = 0.05  # a corrected p below it
_PEOPLE = {"2AFC": "votes for B", "JND": "say that they are the same", "ratings": "opinion", "RDM": "dissimilarity"}


@dataclass
class Section:
    """A split of a data set, its charts as SVG."""

    title: str
    note: str
    bars: list[str]
    versus: list[Versus]
    margins: str = ""
    speeds: str = ""
    scatters: list[str] = field(default_factory=list)
    examples: dict[str, list[Example]] = field(default_factory=dict)


def write_report(folder: Path, out: Path | None = None) -> Path:
    """Make a page that needs nothing else: no script, no other file, no network.

    Args:
        folder: folder that `dreamsim-bench human --out`, `sensitivity --out` or `speed --out` wrote to, or several of
            them.
        out: file to write; default `report.html` in the folder.

    Returns:
        The file that was written.

    Raises:
        FileNotFoundError: the folder holds no results, or not all of their tables.
        ValueError: a table is damaged.
        OSError: the disk is full or not writable.
    """
    measured = (folder / run.SETTINGS).is_file()
    if not measured and not any((folder / name).is_file() for name in (CHANGED, TIMED)):
        raise make_no_results_error(folder)
    shown = _write_human(folder) if measured else {"settings": None, "metrics": [], "lines": []}
    shown["sensitivity"] = read_sensitivity(folder, shown["lines"])
    shown["speed"] = read_speed(folder)
    return write_page("page.html", shown, out or folder / "report.html")


def _write_human(folder: Path) -> dict[str, Any]:
    tables = {name: read_table(folder, f"{name}.parquet", columns) for name, columns in run.TABLES.items()}
    settings = read_settings(folder / run.SETTINGS, "made", "command", "draws", "seed", "data", *SURROUNDINGS)
    check_parts(folder / run.SETTINGS, settings["data"], *_PART, *_SAID)
    metrics, scores = tables["metrics"], tables["scores"]
    found = {"settings": settings, "metrics": metrics.to_dict("records"), "lines": []}
    if not len(scores):  # no metric could be had
        return found | {"order": list(metrics["metric"]), "columns": [], "sections": []}
    ranks = scores.groupby("metric")["rank"].mean()
    order = sorted(metrics["metric"], key=lambda name: ranks.get(name, math.inf))
    lines = [Line(name, position) for position, name in enumerate(name for name in order if name in ranks)]
    # What is shown as interval: over references where there are any, else over judgements.
    by_reference = scores["ref_low"].notna()
    scores["from"] = scores["ref_low"].where(by_reference, scores["low"])
    scores["to"] = scores["ref_high"].where(by_reference, scores["high"])
    sections = list(_list_sections(settings["data"], tables, lines))
    return found | {"lines": lines, "order": order, "columns": list(_name_columns(scores)), "sections": sections}


def _format_number(value: float, score: str) -> str:
    return f"{value:.1f}" if score.endswith("%") else f"{value:.3f}"


def _name_columns(scores: pd.DataFrame) -> Iterator[FigureColumn]:
    for (data, split, _, score), rows in scores.groupby([*_PART, "score"], sort=False):
        cells = {
            row["metric"]: FigureText(
                _format_number(row["value"], score),
                f"{_format_number(row['from'], score)} – {_format_number(row['to'], score)}",
                row["rank"],
            )
            for row in rows.to_dict("records")
        }
        first = rows.iloc[0]
        kinds = ("people", "others", "ceiling")
        people = {kind: "" if pd.isna(first[kind]) else _format_number(first[kind], score) for kind in kinds}
        yield FigureColumn(f"{data} {split}", score, cells, people)


def _list_sections(
    parts: Sequence[Mapping[str, Any]], tables: Mapping[str, pd.DataFrame], lines: Sequence[Line]
) -> Iterator[Section]:
    questions = {key: rows.reset_index(drop=True) for key, rows in tables["questions"].groupby(_PART, sort=False)}
    for part in parts:
        key = tuple(part[name] for name in _PART)
        scores, comparisons = (_select(tables[name], _PART, key) for name in ("scores", "comparisons"))
        if not len(scores):
            continue
        ranked = {
            str(score): rows.sort_values("value", ascending=False)
            for score, rows in scores.groupby("score", sort=False)
        }
        section = Section(
            f"{part['title']}, {part['split']}",
            f"{part['kind']}: {part['judgements']:,} judgements of {part['pictures']:,} pictures",
            [draw_bars(rows, lines, score) for score, rows in ranked.items()],
            [_arrange_versus(rows, _select(comparisons, ["score"], (score,)), score) for score, rows in ranked.items()],
        )
        if not _is_part_of_another(key, questions):
            _fill(section, key, questions[key], tables, lines)
            score, rows = next(iter(ranked.items()))
            section.speeds = draw_speeds(rows.merge(tables["metrics"], on="metric"), lines, score)
        yield section


def _select(table: pd.DataFrame, columns: Sequence[str], values: tuple[str, ...]) -> pd.DataFrame:
    return table[(table[list(columns)] == list(values)).all(axis=1)]


def _is_part_of_another(key: tuple[str, ...], questions: Mapping[Any, pd.DataFrame]) -> bool:
    """Tell whether all its judgements are in another part too, which shows them."""
    mine = set(questions[key]["id"])
    return any(
        (data, kind) == (key[0], key[2]) and len(rows) > len(mine) and mine <= set(rows["id"])
        for (data, _, kind), rows in questions.items()
    )


def _fill(
    section: Section,
    key: tuple[str, ...],
    asked: pd.DataFrame,
    tables: Mapping[str, pd.DataFrame],
    lines: Sequence[Line],
) -> None:
    """Add what shows single judgements."""
    answers, examples = (_select(tables[name], _PART, key) for name in ("answers", "examples"))
    distances = {
        line.name: answers[answers["metric"] == line.name].set_index("id").reindex(asked["id"]) for line in lines
    }
    distances = {name: d for name, d in distances.items() if d["d0"].notna().all()}
    kind, target = key[2], asked["target"].to_numpy()
    directions = tables["metrics"].set_index("metric")["direction"].to_dict()
    section.examples = read_examples(examples, asked, distances, directions)
    if kind == "2AFC":
        rows = [
            {"metric": name, **row}
            for name, d in distances.items()
            for row in group_by_margin(d["d0"].to_numpy(), d["d1"].to_numpy(), target)
        ]
        if len({row["margin"] for row in rows}) > 1:  # else all are unanimous, as in NIGHTS
            section.margins = draw_margins(pd.DataFrame(rows), lines)
    if kind in _PEOPLE:
        for line in lines:
            if line.name in distances:
                d = distances[line.name]
                x, label = (d["d0"] - d["d1"], "distance of A − of B") if kind == "2AFC" else (d["d0"], "distance")
                section.scatters.append(draw_scatter(x.to_numpy(), target, line, label, _PEOPLE[kind]))


def _arrange_versus(ranked: pd.DataFrame, comparisons: pd.DataFrame, score: str) -> Versus:
    found = {}
    for row in comparisons.itertuples():
        p = "p < 0.001" if row.p_holm < 0.001 else f"p = {row.p_holm:.2g}"
        interval = f"{_format_number(row.low, score)} to {_format_number(row.high, score)}"
        found[row.better, row.worse] = Difference(
            _format_number(row.difference, score), interval, p, row.p_holm < _SURE
        )
    return Versus(score, list(ranked["metric"]), found)
