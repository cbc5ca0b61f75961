"""What the package is to reach, and what a table says of it."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import pandas as pd


@dataclass(frozen=True)
class Target:
    """A figure to reach.

    Attributes:
        text: text that says what it is.
        aim: figure to reach.
        find: function that marks the rows of a table that it is for.
        column: column that the figure is in.
        least: whether it is to be reached from below; else not to be exceeded.
        best: whether the best of the rows counts; else the worst.
        given: machine that the aim was set for; empty: any machine.
    """

    text: str
    aim: float
    find: Callable[[pd.DataFrame], pd.Series]
    column: str = "ratio"
    least: bool = True
    best: bool = False
    given: str = ""


@dataclass(frozen=True)
class Reached:
    """A target and what was found.

    Attributes:
        target: target that the figure is for.
        value: figure with its extremes, as text.
        verdict: whether it is reached, missed, or why it is not known.
        share: share of the aim, 1 where it is reached; NaN where it is not known.
        machine: machine that it was measured on.
    """

    target: Target
    value: str
    verdict: Literal["reached", "missed", "not measured"]
    share: float
    machine: str

    @property
    def aim(self) -> str:
        """The aim as text."""
        return f"{'≥' if self.target.least else '≤'} {_format_number(self.target.aim, self.target.column)}"


def _check_own(
    group: str, device: str, precision: str = "float32", model: str = ""
) -> Callable[[pd.DataFrame], pd.Series]:
    def find(table: pd.DataFrame) -> pd.Series:
        ours = (table["package"] == "dreamsim_metric") & (table["precision"] == precision)
        chosen = ours & (table["group"] == group) & (table["device"] == device)
        if device == "cpu":
            chosen &= table["threads"] == 1
        return chosen & (table["model"] == model if model else table["model"] != "mini")

    return find


def _check_large(find: Callable[[pd.DataFrame], pd.Series]) -> Callable[[pd.DataFrame], pd.Series]:
    return lambda table: find(table) & table["batch"].between(8, 32)


def _import(table: pd.DataFrame) -> pd.Series:
    return (table["group"] == "startup") & (table["subject"] == "import dreamsim_metric")


def _check_opt_in(table: pd.DataFrame) -> pd.Series:
    mini = (table["group"] == "peers") & (table["model"] == "mini") & (table["device"] == "cpu")
    asked_for = (table["precision"] != "float32") | (table["package"] == "onnxruntime")
    return mini & (table["threads"] == 1) & asked_for


def _check_files(table: pd.DataFrame) -> pd.Series:
    ours = (table["group"] == "files") & (table["device"] != "cpu") & (table["package"] == "dreamsim_metric")
    return ours & ~table["subject"].str.startswith("limit")


_ZEN = "AMD with AVX-512"
TARGETS = (
    Target("CPU float32 against released, batch 8 to 32", 2.3, _check_large(_check_own("distance", "cpu")), given=_ZEN),
    Target("CPU float32, difference from released", 1e-6, _check_own("distance", "cpu"), "difference", least=False),
    Target("CPU bfloat16 against released", 4, _check_large(_check_own("distance", "cpu", "bfloat16")), given=_ZEN),
    Target("CPU float32, 1 against 32, to its pairwise call", 4.4, _check_own("one-to-many", "cpu"), given=_ZEN),
    Target("mini float32 against LPIPS-Alex, a core", 1, _check_own("peers", "cpu", model="mini")),
    Target("mini with an opt-in against LPIPS-Alex, a core", 2, _check_opt_in, best=True),
    Target("import dreamsim_metric, CPU seconds", 0.12, _import, "cpu_s", least=False),
    Target("GPU bfloat16, of the matrix product's peak", 0.6, _check_own("peak", "cuda", "bfloat16"), best=True),
    Target(
        "GPU bfloat16 against released as its README runs it", 10, _check_own("readme", "cuda", "bfloat16"), best=True
    ),
    Target("GPU, JPEG files, of the smaller limit", 0.9, _check_files, best=True),
)


def read_targets(table: pd.DataFrame, targets: Sequence[Target] = TARGETS) -> list[Reached]:
    """Read from a table how far each target is reached.

    Args:
        table: table of `run.run`.
        targets: targets to look for; default all.
    """
    return [_mark_reached(target, table) for target in targets]


def _mark_reached(target: Target, table: pd.DataFrame) -> Reached:
    rows = table[target.find(table) & table[target.column].notna()]
    if not len(rows):
        return Reached(target, "–", "not measured", math.nan, "")
    highest = target.best == target.least
    row = rows.loc[rows[target.column].idxmax() if highest else rows[target.column].idxmin()]
    value = float(row[target.column])
    text = _format_number(value, target.column)
    if target.column == "ratio":
        text += f" ({row['ratio_low']:.2f}–{row['ratio_high']:.2f})"
    met = value >= target.aim if target.least else value <= target.aim
    share = value / target.aim if target.least else target.aim / max(value, 1e-300)
    return Reached(target, text, "reached" if met else "missed", min(1.0, share), str(row["machine"]))


def _format_number(value: float, column: str) -> str:
    if column == "difference":
        return f"{value:.1e}"
    return f"{value:.2f} s" if column == "cpu_s" else f"{value:.2f}"
