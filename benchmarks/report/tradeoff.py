"""Two figures of every method against each other, and which methods no other beats in both."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.report.charts import INK, MUTED, Line, open_drawing, write_names_beside


@dataclass(frozen=True)
class Axis:
    """A figure that is drawn.

    Attributes:
        label: text that says what it is.
        higher: whether more is better; the axis runs so that better is to the right, or above.
        real: figure of real photographs; NaN where they have none.
        seconds: whether these are times, which are drawn on a scale that is logarithmic from 1 on.
    """

    label: str
    higher: bool
    real: float = float("nan")
    seconds: bool = False


def find_pareto_front(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Find the points that have no other that is as good in both and better in one.

    Args:
        x, y: figures `(N,)`, more is better; no NaN.

    Returns:
        `(N,)` of booleans.

    Example:
        >>> find_pareto_front(np.array([1.0, 2.0, 0.0]), np.array([1.0, 0.0, 0.5])).tolist()
        [True, True, False]
    """
    as_good = (x[:, None] >= x) & (y[:, None] >= y)
    better = (x[:, None] > x) | (y[:, None] > y)
    return np.asarray(~(as_good & better).any(0))


def draw_tradeoff(points: pd.DataFrame, lines: Sequence[Line], x: Axis, y: Axis) -> str:
    """Draw dots with their intervals, and a line through those that no other beats in both.

    Args:
        points: table of `method`, `x`, `y`, and if there are intervals `x_low`, `x_high`, `y_low`, `y_high`; rows
            without both figures are left out.
        lines: look of the methods.
        x, y: axes of the figures.

    Returns:
        SVG; empty of fewer than two methods.
    """
    points = points.dropna(subset=["x", "y"])
    if len(points) < 2:
        return ""
    place = {line.name: line for line in lines}
    signs = (1 if x.higher else -1), (1 if y.higher else -1)
    first = points[find_pareto_front(signs[0] * points["x"].to_numpy(), signs[1] * points["y"].to_numpy())].sort_values(
        ["x", "y"]
    )
    with open_drawing(4.8, max(3.4, 0.2 * len(points) + 0.8)) as (figure, made):
        axes = figure.subplots()
        if x.seconds:
            axes.set_xscale("symlog", linthresh=1)
            axes.xaxis.set_major_formatter("{x:g}")
            axes.set_xlim(-0.2, 2 * max(1.0, points["x"].max()))
        colours = [place[name].colour for name in points["method"]]
        if "x_low" in points:
            axes.hlines(points["y"], points["x_low"], points["x_high"], color=colours, linewidth=1, alpha=0.45)
        if "y_low" in points:
            axes.vlines(points["x"], points["y_low"], points["y_high"], color=colours, linewidth=1, alpha=0.45)
        axes.plot(first["x"], first["y"], color=MUTED, linewidth=1, linestyle="--", zorder=1, gid="front")
        axes.scatter(points["x"], points["y"], s=34, c=colours, linewidths=0, zorder=3)
        small: dict[str, Any] = {"fontsize": 7.5, "textcoords": "offset points"}
        if not np.isnan(y.real):
            axes.axhline(y.real, color=INK, linewidth=1)
            axes.annotate("real photographs", (0, y.real), (3, 3), xycoords=axes.get_yaxis_transform(), **small)
        if not np.isnan(x.real):
            axes.axvline(x.real, color=INK, linewidth=1)
        for axis, invert in ((x, axes.invert_xaxis), (y, axes.invert_yaxis)):
            if not axis.higher:
                invert()
        axes.set(xlabel=f"{x.label} →", ylabel=f"{y.label} →".replace(", ", ",\n", 1))  # names of metrics are long
        axes.grid()
        axes.set_axisbelow(True)
        heights = (axes.transScale + axes.transLimits).transform(points[["x", "y"]].to_numpy(dtype=float))[:, 1]
        order = np.argsort(heights, kind="stable")
        shown = points.iloc[order]
        write_names_beside(axes, shown["method"], shown["x"], shown["y"], heights[order])
    return made[0]
