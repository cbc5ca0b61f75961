"""A row of the page: one thing to compute, what each tool makes of it, why, and what this package does."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version

Value = float | str
"""A number, or what a tool does instead of giving one."""


@dataclass(frozen=True)
class Row:
    """One thing to compute, by several tools.

    Attributes:
        what: words for what is computed, and in which unit.
        tools: computation of each tool. A name begins with the distribution's; behind a colon, the way.
        why: reason of the difference.
        ours: consequence in this package.
        tolerance: how far a number may be from the page's on another machine.
    """

    what: str
    tools: Mapping[str, Callable[[], Value]]
    why: str
    ours: str
    tolerance: float = 0.001


def name_version(tool: str) -> str:
    """Add the installed version to a tool's name."""
    package, colon, way = tool.partition(":")
    return f"{package} {version(package)}{colon}{way}"


def measure(row: Row) -> tuple[dict[str, Value], dict[str, str]]:
    """Compute what can be: values by tool, and for the others the module that is not installed."""
    values, missing = {}, {}
    for tool, compute in row.tools.items():
        try:
            values[tool] = compute()
        except ModuleNotFoundError as error:
            missing[tool] = str(error.name)
    return values, missing


def or_error(compute: Callable[[], float]) -> Value:
    """Compute, or name the error that a library ends in."""
    try:
        return compute()
    except ModuleNotFoundError:
        raise
    except Exception as error:  # whatever a library of others raises is what the page tells
        return f"raises {type(error).__name__}"
