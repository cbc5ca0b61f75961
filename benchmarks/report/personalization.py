"""One HTML file of a run of `dreamsim-bench personalize`: scores, how sure they are, pictures, and what it cost.

Pictures and photographs are read when the page is made, and only if they are still where they were: of the tables alone
there is a page too.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.metrics.table import MEASURED
from benchmarks.personalization.columns import TABLES
from benchmarks.personalization.layout import FITS, PHOTOGRAPHS, SCORES
from benchmarks.personalization.protocols import MEAN, OURS, TEXT
from benchmarks.personalization.subjects import Subject
from benchmarks.report.charts import Line
from benchmarks.report.costs import Cost, read_costs, read_failures
from benchmarks.report.figures import (
    Column,
    arrange_comparisons,
    arrange_scores,
    break_down,
    format_number,
    make_column,
)
from benchmarks.report.painted import Album, choose_cases, list_rounds, list_trees, make_grids
from benchmarks.report.published import PUBLISHED, Published
from benchmarks.report.rendering import write_page
from benchmarks.report.tradeoff import Axis, draw_tradeoff
from benchmarks.surroundings import SURROUNDINGS
from benchmarks.tables import check_parts, read_settings, read_table
from data_tools.manifest import MANIFEST, SETTINGS

_DIVERSITY = "diversity"  # of ours: what fidelity is shown against where nothing measures prompts
_KNOWN = ("methods", "subjects", "pictures", "made", "command", "draws", "seed", "copying", "protocols", *SURROUNDINGS)

Frames = Mapping[str, pd.DataFrame]


def is_scored(run: Path) -> bool:
    """Tell whether a folder holds scores of methods, in `scores` or itself."""
    return any((folder / "by_subject.parquet").is_file() for folder in (run, run / SCORES))


def write_personalization_report(run: Path, subjects: Sequence[Subject] | None = None, out: Path | None = None) -> Path:
    """Make a page that needs nothing else: no script, no other file, no network.

    Args:
        run: folder of a run, with its tables in `scores`, or a folder of the tables alone.
        subjects: subjects whose photographs are shown. Default: those that the tables name, where they were.
        out: file to write; default `report.html` in the folder.

    Returns:
        The file that was written.

    Raises:
        FileNotFoundError: the folder holds no scores, or not all of their tables.
        ValueError: a table or another file of the run is damaged.
        OSError: the disk is full or not writable.
    """
    folder = run / SCORES if (run / SCORES / SETTINGS).is_file() else run
    if not (folder / SETTINGS).is_file() or not (folder / "scores.parquet").is_file():
        raise FileNotFoundError(
            f"no scores in {run}; expected a folder that `dreamsim-bench personalize` or `measure` wrote with --out"
        )
    tables = {name: read_table(folder, f"{name}.parquet", columns) for name, columns in TABLES.items()}
    settings = read_settings(folder / SETTINGS, *_KNOWN)
    check_parts(folder / SETTINGS, settings["methods"].values(), "subjects", "pictures", "of_class")
    check_parts(folder / SETTINGS, settings["subjects"].values(), "noun", "photographs")
    home = _find_home(run, folder, settings)
    shown = _collect_shown(tables, settings, home, _open_album(home, settings, subjects))
    return write_page("personalization.html", shown, out or run / "report.html")


def _find_home(run: Path, folder: Path, settings: Mapping[str, Any]) -> Path | None:
    """Find the folder of the run that painted the pictures, if it is there."""
    scored = Path(settings["pictures"])
    return run if folder != run else scored if (scored / MANIFEST).is_file() else None


def _open_album(home: Path | None, settings: Mapping[str, Any], subjects: Sequence[Subject] | None) -> Album:
    folder = next((one for one in (home, Path(settings["pictures"])) if one and one.is_dir()), None)
    if subjects is None:
        photographs = {name: [Path(file) for file in one["photographs"]] for name, one in settings["subjects"].items()}
    else:
        photographs = {subject.name: list(subject.pictures) for subject in subjects}
    return Album(folder, photographs)


def _collect_shown(tables: Frames, settings: dict[str, Any], home: Path | None, album: Album) -> dict[str, Any]:
    """Collect all that the template names."""
    scores, metrics = tables["scores"], tables["metrics"]
    fidelity = scores[(scores["protocol"] == OURS) & (scores["score"] == MEAN)]
    compared = [name for name in metrics["metric"] if name in set(fidelity["metric"])]
    lead = compared[0] if compared else ""
    of_lead = fidelity[fidelity["metric"] == lead]
    methods = _order(settings["methods"], of_lead)
    lines = [Line(name, position) for position, name in enumerate(methods)]
    costs = read_costs(home, methods)
    found: dict[str, Any] = {
        "settings": settings,
        "plan": read_settings(home / SETTINGS) if home and (home / SETTINGS).is_file() else {},
        "fits": _fit_settings(home, methods),
        "metrics": metrics.to_dict("records"),
        "methods": methods,
        "photographs": PHOTOGRAPHS,
        "lead": lead,
        "protocols": arrange_scores(scores),
        "comparisons": arrange_comparisons(tables["comparisons"], scores),
        "tradeoff": _draw_tradeoffs(scores, compared, metrics, lines),
        "breakdowns": break_down(tables["by_subject"], tables["by_prompt"], scores, lead) if lead else {},
        "costs": costs,
        "cost_chart": _draw_costs(costs, of_lead, lead, lines) if lead else "",
        "lead_figures": {row["method"]: format_number(row["value"]) for row in of_lead.to_dict("records")},
        "trees": list_trees(home, album),
        "rounds": list_rounds(home, album),
        "agreement": _arrange_agreement(tables["correlations"]),
        "failures": read_failures(home),
        "published": [(table, _find_ours(table, scores)) for table in PUBLISHED],
        "grids": [],
        "cases": [],
    }
    if lead:
        pictures = tables["pictures"][tables["pictures"]["metric"] == lead]
        distance = metrics.set_index("metric")["direction"][lead] == "distance"
        found["grids"] = make_grids(pictures, methods, album)
        found["cases"] = choose_cases(pictures, methods, distance, album)
    return found


def _order(methods: Sequence[str], fidelity: pd.DataFrame) -> list[str]:
    """Sort the methods, the best first; those without the figure last."""
    lower = len(fidelity) > 0 and fidelity["better"].iloc[0] == "lower"
    best = fidelity.sort_values("value", ascending=lower, kind="stable")["method"].tolist()
    return [name for name in best if name in methods] + [name for name in methods if name not in best]


def _fit_settings(home: Path | None, methods: Sequence[str]) -> dict[str, dict[str, Any]]:
    files = {name: home / FITS / name / SETTINGS for name in methods} if home else {}
    return {name: read_settings(file) for name, file in files.items() if file.is_file()}


def _draw_tradeoffs(
    scores: pd.DataFrame, compared: Sequence[str], metrics: pd.DataFrame, lines: Sequence[Line]
) -> dict[str, Any]:
    """Draw a chart for each metric of pictures, and say what they are against."""
    ours = scores[scores["protocol"] == OURS]
    prompts = ours[ours["score"] == TEXT]
    words = next((name for name in metrics["metric"] if name in set(prompts["metric"])), "")
    charts = []
    for name in compared:
        across = (TEXT, words) if words else (_DIVERSITY, name)
        x, y = (
            ours[(ours["score"] == score) & (ours["metric"] == of)].set_index("method")
            for score, of in (across, (MEAN, name))
        )
        if not len(x):  # one picture of each prompt has no diversity
            continue
        sides = {
            f"{axis}{suffix}": rows[column]
            for axis, rows in (("x", x), ("y", y))
            for suffix, column in (("", "value"), ("_low", "low"), ("_high", "high"))
        }
        points = pd.DataFrame(sides).drop(index=PHOTOGRAPHS, errors="ignore")
        axes = [
            Axis(f"{what}, {of}", rows["better"].iloc[0] == "higher", float(rows["value"].get(PHOTOGRAPHS, np.nan)))
            for what, of, rows in (
                ("prompt fidelity" if words else _DIVERSITY, across[1], x),
                ("subject fidelity", name, y),
            )
        ]
        charts.append(draw_tradeoff(points.rename_axis("method").reset_index(), lines, *axes))
    away = metrics[metrics["status"] != MEASURED]
    return {
        "charts": [chart for chart in charts if chart],
        "words": words,
        "away": list(away[["metric", "status"]].itertuples(index=False, name=None)),
    }


def _draw_costs(costs: Sequence[Cost], fidelity: pd.DataFrame, lead: str, lines: Sequence[Line]) -> str:
    values = fidelity.set_index("method")
    rows = [
        {"method": cost.method, "x": cost.fit, "y": values["value"][cost.method]}
        | {"y_low": values["low"][cost.method], "y_high": values["high"][cost.method]}
        for cost in costs
        if cost.method in values.index
    ]
    if not rows:
        return ""
    y = Axis(
        f"subject fidelity, {lead}",
        values["better"].iloc[0] == "higher",
        float(values["value"].get(PHOTOGRAPHS, np.nan)),
    )
    return draw_tradeoff(pd.DataFrame(rows), lines, Axis("seconds a fit", higher=False, seconds=True), y)


def _arrange_agreement(table: pd.DataFrame) -> dict[str, Any]:
    """Arrange rows by two metrics, columns by level and score."""
    heads = list(dict.fromkeys(zip(table["level"], table["score"], strict=True)))
    rows: dict[tuple[str, str], dict[tuple[str, str], tuple[str, str, int]]] = {}
    for row in table.itertuples():
        said = (format_number(row.spearman), format_number(row.kendall), row.n)
        rows.setdefault((row.metric_a, row.metric_b), {})[row.level, row.score] = said
    return {"heads": heads, "rows": rows}


def _find_ours(table: Published, scores: pd.DataFrame) -> list[Column]:
    """Find this run's figures of the same names; the first metric's, where a score has several."""
    rows = scores[(scores["protocol"] == table.protocol) & scores["score"].isin(table.columns)]
    found = []
    for name in table.columns:
        some = rows[rows["score"] == name]
        some = some[some["metric"] == some["metric"].iloc[0]] if len(some) else some
        better = some["better"].iloc[0] if len(some) else "higher"
        found.append(
            make_column((name,), better, some[["method", "value", "low", "high"]].itertuples(index=False, name=None))
        )
    return found if len(rows) else []
