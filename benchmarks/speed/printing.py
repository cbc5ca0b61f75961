"""The table as text: Markdown, for a terminal and for docs/performance.md."""

from collections.abc import Iterator, Sequence

import pandas as pd

from benchmarks.speed.targets import Reached

_TITLES = {
    "startup": "Start-up, each in a new process",
    "alone": "Pairs of pictures in memory, each package in a process of its own",
    "distance": "Pairs of pictures in memory, the same random weights in both packages",
    "readme": "Against the released package as its README runs it",
    "one-to-many": "One reference against many",
    "peers": "mini against other metrics, 224 × 224",
    "models": "An embedding of each model, random weights",
    "files": "JPEG files of 1024 × 768 to embeddings",
    "growth": "How time and memory grow",
    "peak": "Against the fastest matrix product",
}


def format_title(group: str) -> str:
    """Say what a group is about."""
    return _TITLES.get(group, group)


def format_seconds(value: float) -> str:
    """Write seconds with a unit that leaves three figures to read.

    Example:
        >>> format_seconds(0.0123)
        '12.3 ms'
    """
    for unit, scale in (("s", 1.0), ("ms", 1e3), ("µs", 1e6)):
        if value * scale >= 0.995 or unit == "µs":
            return f"{value * scale:.3g} {unit}" if value == value else "–"
    raise AssertionError


def format_memory(value: float) -> str:
    """Write bytes as MB or GB."""
    if value != value:
        return "–"
    return f"{value / 1e9:.2f} GB" if value >= 1e9 else f"{max(0.0, value) / 1e6:.0f} MB"


def format_ratio(row: pd.Series) -> str:
    """Write the median and the extremes of a ratio."""
    if row["ratio"] != row["ratio"]:
        return "–"
    digits = 4 if row["ratio"] < 0.1 else 2 if row["ratio"] < 100 else 0
    return f"{row['ratio']:.{digits}f} ({row['ratio_low']:.{digits}f}–{row['ratio_high']:.{digits}f})"


def list_contests(table: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield the rows of each contest of a group, with what they have in common; growth curves by what grows."""
    keys = ["machine", "device", "unit", "threads", "batch", "axis", "precision"]
    if (table["group"] == "growth").all():
        keys = ["machine", "device", "axis"]
    elif (table["group"] != "peak").all():
        keys.remove("precision")
    if (table["group"] == "files").all():
        keys.append("model")
    for _, rows in table.groupby(keys, sort=False):
        first = rows.iloc[0]
        threads = "" if first["device"] != "cpu" else f", threads: {first['threads']}"
        what = f"by {first['axis']}" if first["axis"] else f"batch {first['batch']}"
        if first["group"] == "startup":
            what = f"{first['unit']}s"
        about = f", {first['model']}" if first["group"] == "files" else ""
        yield f"{first['device']}{threads}, {what}{about}", rows


def format_markdown(table: pd.DataFrame, reached: Sequence[Reached] = ()) -> str:
    """Write all of a table in Markdown."""
    parts = []
    for group, rows in table.groupby("group", sort=False):
        parts.append(f"### {format_title(str(group))}\n")
        parts += [_format_contest(text, contest) for text, contest in list_contests(rows)]
    if reached:
        lines = [f"| {found.target.text} | {found.aim} | {found.value} | {found.verdict} |" for found in reached]
        parts.append("### To reach\n\n| what | to reach | reached | |\n|---|---|---|---|\n" + "\n".join(lines) + "\n")
    return "\n".join(parts)


def _format_contest(text: str, rows: pd.DataFrame) -> str:
    first = rows.iloc[0]
    grows = bool(first["axis"])
    same = rows["difference"].notna().any()
    names = [first["axis"] if grows else "", f"CPU a {first['unit']}", f"wall a {first['unit']}"]
    names += [] if grows else [f"times as fast as {first['reference']}"]
    names += (["largest difference"] if same else []) + ["memory"]
    lines = ["| " + " | ".join(names) + " |", "|---" * len(names) + "|"]
    for _, row in rows.iterrows():
        cells = [f"{row['size']:,.0f}" if grows else row["subject"]]
        if row["error"]:
            cells += [row["error"].replace("|", "/")] + [""] * (len(names) - 2)
        else:
            cells += [format_seconds(row["cpu_s"]), format_seconds(row["wall_s"])] + (
                [] if grows else [format_ratio(row)]
            )
            difference = "" if row["difference"] != row["difference"] else f"{row['difference']:.1e}"
            cells += ([difference] if same else []) + [format_memory(row["peak_bytes"])]
        lines.append("| " + " | ".join(cells) + " |")
    return f"{text}:\n\n" + "\n".join(lines) + "\n"
