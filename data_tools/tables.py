"""From rows of the manifest to what people are to judge."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dreamsim_metric.files.table import write_csv
from dreamsim_metric.judgements.columns import PAIR_PATHS, TRIPLET_PATHS

ROLES = ("ref", "left", "right")
TRIPLETS, PAIRS = "triplets.csv", "pairs.csv"
COLUMNS = (  # of a generation's manifest
    *("path", "group", "part", "category", "prompt", "seed", "attempt", "model", "revision", "dtype", "scheduler"),
    *("steps", "guidance", "width", "height", "strength", "of", "sha256", "dropped"),
)


def settle_rows(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Sort rows, keep each picture's last one, and mark pictures like an earlier one as dropped.

    What a row comes to never changes when later attempts or variations are added.
    """
    last = {}
    for row in rows:
        part = ROLES.index(row["part"]) if row["part"] in ROLES else 0
        last[row["strength"] is not None, row["attempt"], row["strength"] or 0, row["group"], part] = row
    seen: dict[str, str] = {}
    found = []
    for _, row in sorted(last.items()):
        if row["dropped"] is None or row["dropped"].startswith("duplicate"):
            first = seen.setdefault(row["sha256"], row["path"])
            row = {**row, "dropped": None if first == row["path"] else f"duplicate of {first}"}
        found.append(row)
    return found


def collect_groups(rows: Sequence[dict[str, Any]]) -> list[tuple[dict[str, Any], ...]]:
    """Collect the complete groups: (reference, left, right), or (picture, variation)."""
    kept: dict[int, dict[str, dict[str, Any]]] = {}
    for row in rows:
        if not row["dropped"]:
            kept.setdefault(row["group"], {})[row["part"]] = row
    found: list[tuple[dict[str, Any], ...]] = []
    for _, parts in sorted(kept.items()):
        if "base" in parts:
            found.extend((parts["base"], row) for part, row in parts.items() if part != "base")
        elif all(role in parts for role in ROLES):
            found.append(tuple(parts[role] for role in ROLES))
    return found


def write_table(out: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Write `triplets.csv` or `pairs.csv`: what people are to judge, in the columns of the judged tables."""
    lines: list[dict[str, Any]] = []
    for index, group in enumerate(collect_groups(rows)):
        about = {"prompt": group[0]["prompt"], "category": group[0]["category"]}
        if len(group) == 3:
            paths = zip(TRIPLET_PATHS, (row["path"] for row in group), strict=True)
            lines.append({"id": group[0]["group"], **dict(paths), **about})
        else:
            paths = zip(PAIR_PATHS, (row["path"] for row in group), strict=True)
            lines.append({"id": index, **dict(paths), "strength": group[1]["strength"], **about})
    pairs = any(row["part"] == "base" for row in rows)
    write_csv(out / (PAIRS if pairs else TRIPLETS), lines)
