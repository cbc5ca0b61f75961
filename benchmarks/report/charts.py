"""Charts as SVG text whose colours are the page's: light, dark and on paper."""

import io
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

# Colours that nothing else has, which become the page's variables.
INK, MUTED, _FAINT = "#010101", "#010102", "#010103"
_SERIES = tuple(f"#0102{i:02x}" for i in range(8))
_VARIABLES = {INK: "--ink", MUTED: "--muted", _FAINT: "--faint"} | {
    colour: f"--series-{i}" for i, colour in enumerate(_SERIES)
}
_DASHES = ("-", "--", ":")
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "dreamsim-bench",
    "font.family": "DejaVu Sans",
    "font.size": 8.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": MUTED,
    "axes.titlecolor": INK,
    "axes.titlesize": 8.5,
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "grid.color": _FAINT,
    "grid.linewidth": 0.8,
    "lines.linewidth": 1.6,
}
_LARGEST = 115  # CSS pixels an inch
_SHOWN_POINTS = 300
_BINS = 8
_CHANCE = {"2AFC": 50.0, "odd": 100 / 3}


@dataclass(frozen=True)
class Line:
    """The look of a metric in every chart.

    Attributes:
        name: name of the metric.
        position: position among the metrics.
    """

    name: str
    position: int

    @property
    def colour(self) -> str:
        """Colour of the line, which few others have."""
        return _SERIES[self.position % len(_SERIES)]

    @property
    def dash(self) -> str:
        """Dashes of the line, which those of its colour do not have."""
        return _DASHES[self.position // len(_SERIES) % len(_DASHES)]


@contextmanager
def open_drawing(width: float, height: float) -> Iterator[tuple[Figure, list[str]]]:
    """Open a figure in inches, and a list that its SVG goes to."""
    made: list[str] = []
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        yield figure, made
        data = io.StringIO()
        figure.savefig(data, format="svg", transparent=True, metadata={"Date": None})
    text = data.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.S)
    text = re.sub(
        r' width="[\d.]+pt" height="[\d.]+pt"', f' style="max-width: {round(width * _LARGEST)}px"', text, count=1
    )
    text = re.sub("|".join(_VARIABLES), lambda found: f"var({_VARIABLES[found[0]]})", text)
    made.append(re.sub(r"\s*\n\s*", "\n", text))


def find_chance(score: str) -> float:
    """Tell what guessing gets of a figure; 0 where that is not known."""
    return next((value for name, value in _CHANCE.items() if score.startswith(name)), 0.0)


def draw_bars(rows: pd.DataFrame, lines: Sequence[Line], score: str) -> str:
    """Draw figures as bars from chance on, with intervals, and what people get as upright lines.

    Args:
        rows: rows of `scores` for one score, the best first. `from` and `to` are the intervals.
        lines: look of the metrics.
        score: name of the score.
    """
    place = {line.name: line for line in lines}
    floor = find_chance(score)
    with open_drawing(4.8, 0.65 + 0.22 * len(rows)) as (figure, made):
        axes = figure.subplots()
        y = -np.arange(len(rows))
        axes.barh(
            y,
            rows["value"] - floor,
            left=floor,
            height=0.62,
            color=[place[name].colour for name in rows["metric"]],
            alpha=0.85,
        )
        axes.hlines(y, rows["from"], rows["to"], color=INK, linewidth=1.4)
        axes.set_yticks(y, rows["metric"], color=INK)
        axes.tick_params(axis="y", length=0)
        for column, text, side in (
            ("others", "one person ", "right"),
            ("people", " people", "left"),
            ("ceiling", "at most", "center"),
        ):
            value = rows[column].iloc[0]
            if not np.isnan(value):
                axes.axvline(value, color=INK, linewidth=1, linestyle="--" if column == "ceiling" else "-")
                top: dict[str, Any] = {"xycoords": ("data", "axes fraction"), "textcoords": "offset points"}
                axes.annotate(text, (value, 1), (0, 2), ha=side, fontsize=7.5, **top)
        if floor:
            axes.axvline(floor, color=MUTED, linewidth=1)
        axes.set(xlabel=f"{score}{'; bars begin at chance' if floor else ''}", ylim=(0.6 - len(rows), 0.6))
        axes.margins(x=0.02)
        axes.grid(axis="x")
        axes.set_axisbelow(True)
    return made[0]


def draw_scatter(x: np.ndarray, y: np.ndarray, line: Line, xlabel: str, ylabel: str) -> str:
    """Draw a metric against what people say: a sample of the judgements, and the means of equal parts of all.

    Args:
        x: numbers of the metric, `(N,)`.
        y: answers of people, `(N,)`.
        line: look of the metric.
        xlabel, ylabel: titles of the axes.
    """
    shown = np.random.default_rng(0).permutation(len(x))[:_SHOWN_POINTS]
    parts = [part for part in np.array_split(np.argsort(x, kind="stable"), _BINS) if len(part)]
    jitter = np.random.default_rng(1).uniform(-0.02, 0.02, len(shown)) * (np.ptp(y) or 1)
    with open_drawing(2.9, 2.5) as (figure, made):
        axes = figure.subplots()
        axes.plot(
            x[shown],
            y[shown] + jitter,
            "o",
            markersize=3,
            color=line.colour,
            markeredgewidth=0,
            alpha=0.35,
        )
        axes.plot(
            [x[part].mean() for part in parts],
            [y[part].mean() for part in parts],
            "o-",
            color=INK,
            markersize=3.5,
            linewidth=1.2,
        )
        if len(x) > 20:  # a few far ones would leave the rest a smear
            low, high = np.quantile(x, [0.005, 0.995])
            edge = 0.05 * (high - low) or 1
            axes.set_xlim(low - edge, high + edge)
        axes.set(xlabel=xlabel, ylabel=ylabel, title=line.name)
        axes.locator_params(nbins=4)
        axes.grid()
    return made[0]


def draw_margins(rows: pd.DataFrame, lines: Sequence[Line]) -> str:
    """Draw agreement with the majority by how clear it is.

    Args:
        rows: rows of `dreamsim_metric.judgements.agreement.group_by_margin`, each with its `metric`.
        lines: look of the metrics.
    """
    first = rows[rows["metric"] == rows["metric"].iloc[0]]
    names, people, counts = first["margin"].tolist(), first["people"].tolist(), first["triplets"].tolist()
    with open_drawing(4.8, 3.4) as (figure, made):
        axes = figure.subplots()
        x = np.arange(len(names))
        axes.plot(x, people, "s-", color=INK, markersize=4, linewidth=1.2)
        axes.annotate("people ", (x[-1], people[-1]), (-4, 0), textcoords="offset points", ha="right", fontsize=7.5)
        for line in lines:
            mine = rows[rows["metric"] == line.name].set_index("margin")["agreement"].reindex(names)
            axes.plot(x, mine, "o", linestyle=line.dash, color=line.colour, markersize=3.5)
        axes.set_xticks(x, [f"{name}\n{n} triplets" for name, n in zip(names, counts, strict=True)], fontsize=7.5)
        axes.axhline(50, color=MUTED, linewidth=1)
        axes.set(xlabel="lead of the majority, share of the votes", ylabel="with the majority, %")
        axes.grid(axis="y")
    return made[0]


def draw_speeds(rows: pd.DataFrame, lines: Sequence[Line], score: str) -> str:
    """Draw agreement against the time of a pair; the larger a dot, the more learnt numbers.

    Args:
        rows: table of `metric`, `value`, `seconds`, `parameters`.
        lines: look of the metrics.
        score: name of the values.

    Returns:
        SVG; empty where no time is known.
    """
    place = {line.name: line for line in lines}
    rows = rows[rows["seconds"] > 0].sort_values("value")
    if not len(rows):
        return ""
    with open_drawing(4.8, max(3.4, 0.2 * len(rows) + 0.6)) as (figure, made):
        axes = figure.subplots()
        axes.set_xscale("log")
        axes.scatter(
            rows["seconds"],
            rows["value"],
            s=18 + 260 * np.sqrt(rows["parameters"] / max(1, rows["parameters"].max())),
            c=[place[name].colour for name in rows["metric"]],
            alpha=0.85,
            linewidths=0,
        )
        low, high = rows["value"].min(), rows["value"].max()
        edge = 0.06 * (high - low) or 1
        axes.set_ylim(low - edge, high + edge)
        axes.margins(x=0.1)
        heights = (rows["value"].to_numpy() - low + edge) / (high - low + 2 * edge)
        write_names_beside(axes, rows["metric"], rows["seconds"], rows["value"], heights)
        axes.set(xlabel="seconds a pair", ylabel=score)
        axes.grid()
        axes.set_axisbelow(True)
    return made[0]


def write_names_beside(
    axes: Axes, names: Iterable[str], x: Iterable[float], y: Iterable[float], heights: np.ndarray
) -> None:
    """Write names on the right, each with a line to its point.

    Args:
        axes: axes to draw in.
        names: names of the points.
        x, y: places of the points.
        heights: places as shares of the axes' height, ascending.
    """
    places = _move_apart(heights, 1 / max(9, len(heights) - 0.5))
    for name, across, up, height in zip(names, x, y, places, strict=True):
        axes.annotate(
            name,
            (across, up),
            (1.03, height),
            textcoords="axes fraction",
            va="center",
            fontsize=7.5,
            arrowprops={
                "arrowstyle": "-",
                "color": MUTED,
                "linewidth": 0.5,
                "shrinkA": 1,
                "shrinkB": 4,
                "relpos": (0, 0.5),
            },
            annotation_clip=False,
            parse_math=False,
        )


def _move_apart(heights: np.ndarray, least: float) -> np.ndarray:
    """Move ascending heights as little as needed to be so far apart, within [0, 1] if there is room."""
    found = heights.copy()
    for i in range(1, len(found)):
        found[i] = max(found[i], found[i - 1] + least)
    if len(found) and found[-1] > 1:
        found[-1] = 1
        for i in range(len(found) - 2, -1, -1):
            found[i] = min(found[i], found[i + 1] - least)
    return found


def draw_curves(rows: pd.DataFrame, lines: Sequence[Line], unit: str) -> str:
    """Draw how different a changed picture is to each metric, by level.

    Args:
        rows: rows of one change: `metric`, `level`, `relative`.
        lines: look of the metrics.
        unit: unit of the levels.
    """
    levels = sorted(rows["level"].unique())
    means = rows.pivot_table(index="level", columns="metric", values="relative")
    with open_drawing(2.9, 2.2) as (figure, made):
        axes: Axes = figure.subplots()
        x = np.arange(1, len(levels) + 1)
        for line in lines:
            if line.name in means:
                y = means[line.name].to_numpy()
                axes.plot(
                    [0, *x] if len(x) > 1 else x,
                    [0, *y] if len(x) > 1 else y,
                    "o",
                    linestyle=line.dash,
                    color=line.colour,
                    markersize=3,
                )
        axes.set_xticks([0, *x] if len(x) > 1 else [*x], ["0", *(f"{level:g}" for level in levels)][len(x) == 1 :])
        axes.set(
            xlim=(-0.3, max(len(x), 1.5) + 0.3), xlabel=unit or " ", ylim=(-0.05, max(1.1, means.max().max() + 0.1))
        )
        axes.axhline(1, color=MUTED, linewidth=1)
        axes.grid(axis="y")
    return made[0]
