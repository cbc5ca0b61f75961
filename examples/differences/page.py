"""The page: a table for each subject, written from rows, and its numbers, read again."""

import re
from collections.abc import Callable, Iterable, Mapping

from examples.differences import adapters, exports, formulas, preprocessing, statistics
from examples.differences.rows import Row, Value, measure, name_version

SUBJECTS: Mapping[str, Iterable[Callable[[], Row]]] = {
    "Preprocessing": preprocessing.ROWS,
    "Formulas": formulas.ROWS,
    "Statistics and sets of embeddings": statistics.ROWS,
    "Adapters and pipelines": adapters.ROWS,
    "Exported graphs": exports.ROWS,
}
HEAD = """# Why your number differs

Two tools of this field, one input, two numbers. Each line was computed by the versions named in it:

    python -m examples.differences

writes this page with the versions that you have (lines whose package is missing say so; `--out` keeps it).
What single libraries do against expectation, one script each, is in `findings/`; how exact this package is, in
[precision.md](precision.md).
"""
FIGURE = re.compile(r"([\w.-]+) (\S+?)(?:: ([^*]*?))? \*\*([^*]+)\*\*")


def format_value(value: Value) -> str:
    """Write a value: a number with four digits, or as a whole one from 1,000 on."""
    return value if isinstance(value, str) else f"{value:.4g}" if abs(value) < 1000 else f"{value:.0f}"


def make_line(row: Row) -> tuple[str, dict[str, str]]:
    """Compute a row as a line of a table, and what is missing for the rest of it."""
    values, missing = measure(row)
    figures = [f"{name_version(tool)} **{format_value(value)}**" for tool, value in values.items()]
    figures += [f"{tool}: not run, {module} is not installed" for tool, module in missing.items()]
    return f"| {row.what} | {'<br>'.join(figures)} | {row.why} | {row.ours} |", missing


def make_page() -> tuple[str, dict[str, str]]:
    """Compute the whole page, and the modules that are missing by the tools that need them."""
    parts, missing = [HEAD], dict[str, str]()
    for subject, rows in SUBJECTS.items():
        lines = [make_line(row()) for row in rows]
        parts.append(f"## {subject}\n| what | by whom | why | here |\n|---|---|---|---|")
        parts[-1] += "".join(f"\n{made}" for made, _ in lines) + "\n"
        for _, lacking in lines:
            missing |= lacking
    return "\n".join(parts), missing


def read_figures(page: str, row: Row) -> dict[str, str]:
    """Read the figures of a row from a page: what is printed, by tool with its version."""
    (found,) = [found for found in page.splitlines() if found.startswith(f"| {row.what} |")]
    figures = FIGURE.findall(found)
    return {f"{package} {number}" + (f": {way}" if way else ""): value for package, number, way, value in figures}
