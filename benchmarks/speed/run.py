"""Groups of contests → a table in a folder, of which `report` makes a section."""

import math
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.names import check_groups
from benchmarks.speed.groups import GROUPS
from benchmarks.speed.machine import describe, shorten_name
from benchmarks.speed.measure import measure
from benchmarks.speed.plan import Plan
from benchmarks.surroundings import find_version
from benchmarks.tables import read_table
from dreamsim_metric.files.json_file import format_json, read_json
from dreamsim_metric.files.table import Row
from dreamsim_metric.files.write import write_files

TABLE, SETTINGS = "speed.parquet", "speed.json"
COLUMNS = (
    *("group", "axis", "size", "subject", "package", "model", "precision", "device", "threads", "batch", "unit"),
    *("count", "rounds", "clock", "peak_bytes", "error", "wall_s", "cpu_s", "ratio", "ratio_low", "ratio_high"),
    *("ratio_wall", "difference", "reference", "version", "machine"),
)


def run(
    groups: Sequence[str],
    out: Path,
    plan: Plan,
    *,
    rounds: int = 5,
    minutes: float = math.inf,
    command: Sequence[str] = (),
) -> pd.DataFrame:
    """Time what was asked for; the tables are written after each group.

    Args:
        groups: names of groups, see `GROUPS`.
        out: folder for `speed.parquet` and `speed.json`. What other runs wrote there stays, but for the same groups on
            the same machine and device with as many threads and as large batches.
        plan: settings of the machine, see `make_plan`.
        rounds: number of rounds of each contest, at most.
        minutes: minutes for all of it: a contest that has used half of what its group has left ends after the round it
            is in.
        command: command line that asked for it, for the settings.

    Returns:
        The rows of this run (`measure.measure`), each with its `machine` and the `version` of its package.

    Raises:
        ValueError: an unknown group, or fewer than one round.
        OSError: the disk is full or not writable.
    """
    check_groups(groups)
    if rounds < 1 or not minutes > 0:
        raise ValueError(f"got {rounds} rounds and {minutes:g} minutes; expected at least one, and more than none")
    out.mkdir(parents=True, exist_ok=True)
    machine = describe()
    end = time.monotonic() + 60 * minutes
    rows: list[Row] = []
    for place, name in enumerate(groups):
        share = (end - time.monotonic()) / (len(groups) - place)
        rows += _group(name, plan, rounds, share)
        _write(out, pd.DataFrame(rows).assign(machine=shorten_name(machine)), machine, command)
        plan.contenders.drop()
    return pd.DataFrame(rows).assign(machine=shorten_name(machine))


def _group(name: str, plan: Plan, rounds: int, seconds: float) -> list[Row]:
    end = time.monotonic() + seconds
    rows: list[Row] = []
    for contest in GROUPS[name](plan):
        about = f"{contest.axis} {contest.size:g}" if contest.axis else f"batch {contest.batch}"
        print(f"{name}, {contest.unit}s, {about}, threads {contest.threads} …", file=sys.stderr)
        found = measure(contest, rounds, (end - time.monotonic()) / 2)
        for row in found:
            if row["error"]:
                print(f"{row['subject']}: {row['error']}", file=sys.stderr)
        rows += [{**row, "version": find_version(row["package"]) or "unknown"} for row in found]
    return rows


def _write(out: Path, table: pd.DataFrame, machine: dict[str, Any], command: Sequence[str]) -> None:
    settings: dict[str, Any] = {"machines": {}, "commands": []}
    if (out / SETTINGS).is_file() and (out / TABLE).is_file():
        settings = read_json(out / SETTINGS, "choose another folder, or remove it", ("machines", "commands"))
        same = ["group", "device", "threads", "batch", "machine"]
        before = read_table(out, TABLE, COLUMNS)
        mine = set(map(tuple, table[same].to_numpy()))
        kept = before[[key not in mine for key in map(tuple, before[same].to_numpy())]]
        table = pd.concat([kept, table], ignore_index=True) if len(kept) else table
    settings["machines"][shorten_name(machine)] = machine
    settings["commands"] = list(dict.fromkeys([*settings["commands"], " ".join(command)]))
    data = {
        out / TABLE: table.to_parquet(index=False),
        out / SETTINGS: format_json(settings),
    }
    write_files(data)
