"""How fast, on the page: what was to be reached, ratios as bars, growth as curves, the machine named."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.ticker import NullFormatter, NullLocator

from benchmarks.report.charts import INK, MUTED, Line, open_drawing
from benchmarks.speed.printing import format_memory, format_ratio, format_seconds, format_title, list_contests
from benchmarks.speed.run import COLUMNS, SETTINGS, TABLE
from benchmarks.speed.targets import Reached, read_targets
from benchmarks.tables import read_settings, read_table


@dataclass(frozen=True)
class Timing:
    """A subject's row as texts."""

    subject: str
    package: str
    cpu: str
    wall: str
    ratio: str
    difference: str
    memory: str
    error: str


@dataclass(frozen=True)
class Chart:
    """A contest.

    Attributes:
        title: text that its subjects have in common.
        svg: chart as SVG; empty where nothing could be timed.
        first: title of the table's first column.
        unit: unit of work that times are given for.
        reference: subject whose time the ratios are to; empty for a growth curve.
        timings: rows of its table.
    """

    title: str
    svg: str
    first: str
    unit: str
    reference: str
    timings: list[Timing]


@dataclass(frozen=True)
class Speed:
    """All that was timed.

    Attributes:
        targets: targets, on each machine that has a figure.
        lines: look of the packages.
        groups: charts by title.
        machines: facts about each machine, by name.
        versions: packages with their versions.
        commands: command lines that asked for it.
    """

    targets: list[Reached]
    lines: list[Line]
    groups: dict[str, list[Chart]]
    machines: dict[str, dict[str, str]]
    versions: list[str]
    commands: list[str]


def read_speed(folder: Path) -> Speed | None:
    """Read the table that `dreamsim-bench speed` wrote, if it is there.

    Args:
        folder: folder of the table.

    Raises:
        FileNotFoundError: the settings are there and the table is not.
        ValueError: it is damaged.
    """
    if not (folder / SETTINGS).is_file():
        return None
    settings = read_settings(folder / SETTINGS, "machines", "commands")
    table = read_table(folder, TABLE, COLUMNS)
    lines = [Line(name, i) for i, name in enumerate(dict.fromkeys(["dreamsim_metric", "dreamsim", *table["package"]]))]
    drawn = [line for line in lines if line.name in set(table["package"])]
    groups: dict[str, list[Chart]] = {}
    for group, rows in table.groupby("group", sort=False):
        groups[format_title(str(group))] = [
            _choose_chart(text, contest, drawn, several=table["machine"].nunique() > 1)
            for text, contest in list_contests(rows)
        ]
    versions = [f"{row.package} {row.version}" for row in table[["package", "version"]].drop_duplicates().itertuples()]
    machines = {
        name: {key: _write_text(value) for key, value in known.items()} for name, known in settings["machines"].items()
    }
    return Speed(read_targets(table), drawn, groups, machines, versions, settings["commands"])


def _write_text(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _choose_chart(text: str, rows: pd.DataFrame, lines: Sequence[Line], several: bool) -> Chart:
    first = rows.iloc[0]
    timed = rows[rows["error"] == ""]
    grows = bool(first["axis"])
    draw = _draw_curves if grows else _draw_bars
    return Chart(
        f"{text}, {first['machine']}" if several else text,
        draw(timed, lines) if len(timed) > 1 else "",
        str(first["axis"]) if grows else "",
        str(first["unit"]),
        "" if grows else str(first["reference"]),
        [_format_timing(row, grows) for _, row in rows.iterrows()],
    )


def _format_timing(row: pd.Series, grows: bool) -> Timing:
    return Timing(
        f"{row['size']:,.0f}" if grows else row["subject"],
        row["package"],
        format_seconds(row["cpu_s"]),
        format_seconds(row["wall_s"]),
        format_ratio(row),
        "" if row["difference"] != row["difference"] else f"{row['difference']:.1e}",
        format_memory(row["peak_bytes"]),
        row["error"],
    )


def _draw_bars(rows: pd.DataFrame, lines: Sequence[Line]) -> str:
    """Draw times as fast as the reference, with the extremes of the rounds."""
    place = {line.name: line for line in lines}
    wide = rows["ratio"].max() / max(rows["ratio"].min(), 1e-9) > 20
    with open_drawing(4.8, 0.75 + 0.24 * len(rows)) as (figure, made):
        axes = figure.subplots()
        y = -np.arange(len(rows))
        floor = 10 ** np.floor(np.log10(rows["ratio_low"].min() * 0.9)) if wide else 0
        colours = [place[name].colour for name in rows["package"]]
        axes.barh(y, rows["ratio"] - floor, left=floor, height=0.62, color=colours, alpha=0.85)
        axes.hlines(y, rows["ratio_low"], rows["ratio_high"], color=INK, linewidth=1.4)
        axes.axvline(1, color=MUTED, linewidth=1)
        if wide:
            axes.set_xscale("log")
        axes.set_yticks(y, rows["subject"], color=INK)
        axes.tick_params(axis="y", length=0)
        reference = rows["reference"].iloc[0]
        axes.set(
            xlabel=f"times as fast as {reference if len(reference) < 30 else 'the reference'}",
            ylim=(0.6 - len(rows), 0.6),
        )
        axes.margins(x=0.02)
        axes.grid(axis="x")
        axes.set_axisbelow(True)
    return made[0]


def _draw_curves(rows: pd.DataFrame, lines: Sequence[Line]) -> str:
    """Draw time of all, and memory, by size."""
    colour = next(line.colour for line in lines if line.name == rows["package"].iloc[0])
    sizes = rows["size"].to_numpy()
    with open_drawing(4.8, 2.5) as (figure, made):
        left, right = figure.subplots(1, 2)
        memory_mb = rows["peak_bytes"].clip(lower=1e5) / 1e6  # less is not told from nothing
        drawn = (
            (left, rows["wall_s"] * rows["count"], "seconds, in all"),
            (right, memory_mb, "MB beside what was held"),
        )
        for axes, values, label in drawn:
            axes.plot(sizes, values, "o-", color=colour, markersize=3.5)
            axes.set(xscale="log", yscale="log", xlabel=rows["axis"].iloc[0], ylabel=label)
            axes.set_xticks(sizes[:: 1 + len(sizes) // 6], minor=False)
            axes.xaxis.set_major_formatter("{x:g}")
            axes.xaxis.set_minor_locator(NullLocator())
            axes.yaxis.set_minor_formatter(NullFormatter())
            axes.grid()
            axes.set_axisbelow(True)
    return made[0]
