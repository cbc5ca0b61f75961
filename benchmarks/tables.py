"""Tables that the benchmarks wrote."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dreamsim_metric.files.json_file import read_json

if TYPE_CHECKING:
    import pandas as pd


def check_results(folder: Path) -> None:
    """Be sure that a folder holds tables.

    Raises:
        FileNotFoundError: it holds none.
    """
    if not any(next(some.glob("*.parquet"), None) for some in (folder, folder / "scores")):
        raise make_no_results_error(folder)


def make_no_results_error(folder: Path) -> FileNotFoundError:
    """Make the error for a folder without results."""
    return FileNotFoundError(
        f"no results in {folder}; expected a folder that `dreamsim-bench human`, `sensitivity` or `speed` wrote "
        "with --out"
    )


def read_table(folder: Path, name: str, columns: Sequence[str]) -> "pd.DataFrame":
    """Read a table of a folder.

    Args:
        folder: folder that the benchmark wrote to.
        name: name of the Parquet file.
        columns: names that it must have.

    Raises:
        FileNotFoundError: it is not there.
        ValueError: it is damaged, or lacks columns, as that of another version may.
    """
    import pandas as pd

    file = folder / name
    if not file.is_file():
        raise FileNotFoundError(f"no {name} in {folder}; measure again into that folder")
    try:
        found = pd.read_parquet(file)
    except Exception as error:  # pyarrow's many kinds
        raise ValueError(f"{file} is damaged ({error}); measure again into that folder") from error
    missing = [column for column in columns if column not in found]
    if missing:
        raise ValueError(
            f"{file} lacks the columns {', '.join(missing)}, perhaps as one of another version; measure again into "
            "that folder"
        )
    return found


def check_parts(file: Path, parts: Iterable[Mapping[str, Any]], *keys: str) -> None:
    """Be sure that all parts of settings that `read_settings` gave have these keys.

    Raises:
        ValueError: one lacks some.
    """
    missing = sorted({key for part in parts for key in keys if key not in part})
    if missing:
        raise ValueError(
            f"{file} has parts without {', '.join(missing)}, perhaps as one of another version; run again into that "
            "folder"
        )


def read_settings(file: Path, *keys: str) -> dict[str, Any]:
    """Read what a run wrote down of itself, as JSON.

    Args:
        file: file to read.
        keys: names that it must have.

    Raises:
        ValueError: the file is damaged, or lacks keys, as that of another version may.
    """
    return read_json(file, "run again into that folder", keys)
